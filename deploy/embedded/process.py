"""Server processes: started in a session of their own, recognised later, stopped without ever hitting a stranger."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from deploy.embedded.errors import ServerStuck

KILL_WAIT_S = 10.0
POLL_S = 0.05
# How far two readings of one process's start time may lie apart: the clock may be set in between.
START_TOLERANCE_S = 60.0
BEGINS_S = 0.5
"""Until a new process has a command line, at most."""
LOG_LIMIT_BYTES = 10_000_000

# What this process started and must reap when it ends.
_children: dict[int, subprocess.Popen[bytes]] = {}


class Identity(BaseModel):
    """A process as we remember it; a process id alone may belong to a stranger by now.

    `mark` is an argument of its command line that tells it from others, `started_s` is in seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started_s: float
    mark: str

    @property
    def alive(self) -> bool:
        """Whether it still runs, and is really this one."""
        return self.find() is not None

    def find(self) -> psutil.Process | None:
        """The process, if it is alive."""
        _reap()
        try:
            process = psutil.Process(self.pid)
            same_start = abs(process.create_time() - self.started_s) < START_TOLERANCE_S
            return process if same_start and self._has_mark(process) else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    def _has_mark(self, process: psutil.Process) -> bool:
        """One that has only just begun has no command line yet, so we wait for it: it may be a stranger. One that is ending has none any
        more: it counts as ours until it is gone."""
        deadline = time.monotonic() + BEGINS_S
        while not (line := process.cmdline()):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            if time.monotonic() > deadline:
                return True
            time.sleep(POLL_S)
        return self.mark in line


@dataclass(frozen=True, slots=True)
class User:
    """Whom a server runs as where that isn't ourselves; the account needs no name."""

    uid: int
    gid: int


def own_identity() -> Identity:
    """This very process."""
    process = psutil.Process()
    return Identity(pid=process.pid, started_s=process.create_time(), mark=process.cmdline()[0])


def find_marked(mark: str) -> Identity | None:
    """The oldest process with this argument: a server whose starter was killed before it could note it down."""
    found = [each for each in psutil.process_iter(["cmdline", "create_time"]) if mark in (each.info["cmdline"] or ())]
    oldest = min(found, key=lambda each: each.info["create_time"], default=None)
    return Identity(pid=oldest.pid, started_s=oldest.info["create_time"], mark=mark) if oldest else None


def spawn(
    command: Sequence[str],
    *,
    mark: str,
    lock: int,
    log: Path,
    cwd: Path,
    environ: Mapping[str, str],
    user: User | None = None,
) -> Identity:
    """Start a server in a session of its own, so that Ctrl-C in the terminal reaches only who started it.

    It inherits the descriptor `lock`, so that whoever holds that lock knows that no process of the server is left."""
    _rotate(log)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(lock,),
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    _children[child.pid] = child
    return Identity(pid=child.pid, started_s=psutil.Process(child.pid).create_time(), mark=mark)


def exit_code(identity: Identity) -> int | None:
    """How a process we started ended; None if it runs, or if somebody else started it."""
    child = _children.get(identity.pid)
    return child.poll() if child else None


def stop(identity: Identity, polite: signal.Signals, wait_s: float, server: str) -> None:
    """End it: `polite` first, SIGKILL after `wait_s`. Does nothing to a stranger who has its id. Raises ServerStuck."""
    for number, patience_s in ((polite, wait_s), (signal.SIGKILL, KILL_WAIT_S)):
        process = identity.find()
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        if _gone(identity, patience_s):
            return
    raise ServerStuck(server=server, pid=identity.pid, seconds=KILL_WAIT_S)


def _gone(identity: Identity, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while identity.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _reap() -> None:
    for child in tuple(_children.values()):
        child.poll()


def _rotate(log: Path) -> None:
    """Keep one older log, so that a home that lives for years doesn't fill the disk with them."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".old.log"))
