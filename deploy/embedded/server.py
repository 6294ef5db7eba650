"""Waiting for what was started: a server until it answers, a preparation until it is done."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.embedded.errors import ServerFailed, ServerSlow
from deploy.embedded.process import Identity, User, exit_code

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


def run_to_end(
    title: str,
    command: Sequence[str],
    *,
    lock: int,
    log: Path,
    cwd: Path,
    environ: Mapping[str, str],
    user: User | None = None,
) -> None:
    """Run a preparation, its output to the log; like a server it inherits `lock`.

    Raises ServerFailed unless it succeeds, ServerSlow after START_WAIT_S."""
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=START_WAIT_S,
                check=False,
                pass_fds=(lock,),
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerSlow(server=title, seconds=START_WAIT_S, log=log) from error
    if done.returncode != 0:
        raise ServerFailed(server=title, code=done.returncode, log=log, tail=tail(log))


def tail(log: Path) -> str:
    """The last lines of a log, set apart from the sentence around them."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n" + "\n".join(f"    {line}" for line in lines) + "\n"
