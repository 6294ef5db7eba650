"""Asking a service process how it is, over its loopback port."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping

TIMEOUT_S = 2.0
_SAMPLE = re.compile(r"^nervure_(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$")
_OUTCOME = re.compile(r'outcome="(\w+)"')


def ask(port: int, path: str) -> tuple[int, str]:
    """(HTTP status, text) of /livez, /readyz or /metrics; (0, the reason) where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def ready(port: int) -> str:
    """Empty where the process is ready, else what it waits for."""
    status, text = ask(port, "/readyz")
    return "" if status == 200 else text


def metrics(port: int) -> Mapping[str, float]:
    """Figures by name, without `nervure_`; outcomes of inputs as `inputs_<outcome>`. Empty where nobody answers."""
    status, text = ask(port, "/metrics")
    found: dict[str, float] = {}
    for match in map(_SAMPLE.match, text.splitlines() if status == 200 else ()):
        if match:
            outcome = _OUTCOME.search(match["labels"])
            found[f"inputs_{outcome[1]}" if outcome else match["name"]] = float(match["value"])
    return found
