"""Waiting for a server that was just spawned: it answers, or it has ended, or time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from deploy.embedded.errors import ServerFailed, ServerSlow
from deploy.embedded.process import Identity, exit_code

# Recovery after a crash may take a while; a start without it takes a few seconds.
START_WAIT_S = 120.0
POLL_S = 0.05
TAIL_LINES = 15


def await_ready(server: str, identity: Identity, log: Path, answers: Callable[[], bool]) -> None:
    """Return once `answers()`. Raises ServerFailed when the process ends before that, ServerSlow after START_WAIT_S."""
    deadline = time.monotonic() + START_WAIT_S
    while not answers():
        if not identity.alive:
            raise ServerFailed(server=server, code=exit_code(identity), log=log, tail=tail(log))
        if time.monotonic() > deadline:
            raise ServerSlow(server=server, seconds=START_WAIT_S, log=log)
        time.sleep(POLL_S)


def tail(log: Path) -> str:
    """The last lines of a log, set apart from the sentence around them."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n" + "\n".join(f"    {line}" for line in lines) + "\n"
