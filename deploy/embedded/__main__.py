"""`python -m deploy.embedded start|stop|status|download|erase`: the servers without the services."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.embedded import Embedded, EmbeddedError, progress
from deploy.embedded.jars import kafka_jars, lock
from shared.settings import Settings

NOT_UP = 3
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 done, 1 failed with the remedy on stderr, 3 if `status` finds a server down."""
    asked = _parser().parse_args(arguments)
    settings = Settings()
    if asked.home:
        settings = settings.model_copy(update={"home": asked.home})
    try:
        return COMMANDS[asked.command](settings)
    except EmbeddedError as error:
        progress.say(str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def start(settings: Settings) -> int:
    """Start both servers, to stay until `stop`; print the variables that point to them."""
    began = time.monotonic()
    servers = Embedded.of(settings)
    endpoints = servers.start(stays=True)
    progress.say(f"Kafka and Postgres of {servers.home} answer after {time.monotonic() - began:.1f} s.")
    if starter := servers.status().starter:
        progress.say(f"They were running, and stop when process {starter} ends.")
    for name, value in endpoints.environ().items():
        print(f"export {name}={value}")
    return 0


def stop(settings: Settings) -> int:
    """Stop both servers; their data stays."""
    Embedded.of(settings).stop()
    return 0


def status(settings: Settings) -> int:
    """Print what runs, as JSON."""
    found = Embedded.of(settings).status()
    servers = [{"server": each.server, "pid": each.pid, "port": each.port, "log": str(each.log)} for each in found.servers]
    print(json.dumps({"home": str(found.home), "servers": servers, "starter": found.starter}, indent=2))
    return 0 if found.up else NOT_UP


def download(settings: Settings) -> int:
    """Fetch what the first start would fetch."""
    jars = kafka_jars(settings.cache, settings.maven)
    progress.say(f"{len(jars)} jars in {settings.cache}, each as listed.")
    return 0


def erase(settings: Settings) -> int:
    """Stop both servers and delete the home with all its data."""
    Embedded.of(settings).erase()
    return 0


def relock(_: Settings) -> int:
    """For engineers: write jars.sha256 anew."""
    lock()
    return 0


COMMANDS: dict[str, Callable[[Settings], int]] = {
    "start": start,
    "stop": stop,
    "status": status,
    "download": download,
    "erase": erase,
    "lock": relock,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description="Kafka and Postgres on one laptop.")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--home", type=Path, help="folder of the servers and their data (default: NERVURE_HOME, .nervure)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
