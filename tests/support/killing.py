"""kill -9 for a service of the running system, at any moment or in the middle of a batch; what it held is read in its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.supervisor import System
from tests.support.last_words import Entry, LastWords, entries, last_words, whole_lines

WAIT_S = 60.0
LOOK_S = 0.001


def kill(system: System, service: str) -> None:
    """kill -9. The supervisor starts the service again."""
    pid = system.kill(service)
    assert pid is not None
    gone(pid)


def stop(system: System, service: str) -> None:
    """Drain the process; it stays stopped."""
    pid = system.terminate(service)
    assert pid is not None
    gone(pid)


def kill_in_a_batch(system: System, service: str, later_s: float) -> LastWords:
    """Kill the process in the middle of its work; what it held, which is something."""
    held = freeze_in_a_batch(system, service, later_s)
    kill(system, service)
    return held


def freeze_in_a_batch(system: System, service: str, later_s: float = 0.0) -> LastWords:
    """Freeze the process a moment after it has decided something to be published; what it holds. Where it was quicker, and holds
    nothing, it goes on and is frozen again."""
    log, deadline = log_of(system, service), time.monotonic() + WAIT_S
    next_entry(system, service, "committed")
    while True:
        since = log.stat().st_size
        next_entry(system, service, "decided", with_messages=True, since=since)
        time.sleep(later_s)
        pid = system.pause(service)
        assert pid is not None
        stopped(pid)
        if held := last_words(entries(log, since)):
            return held
        system.resume(service)
        assert time.monotonic() < deadline, f"{service} is never met in the middle of a batch"


def stopped(pid: int) -> None:
    """Returns when a process that was told to stand still does."""
    deadline = time.monotonic() + WAIT_S
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline, f"process {pid} does not stand still"
        time.sleep(LOOK_S)


def gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"process {pid} survives kill -9"
            time.sleep(LOOK_S)


def next_entry(
    system: System, service: str, action: str, number: int = 0, *, with_messages: bool = False, since: int | None = None
) -> Entry:
    """Waits for the next log entry of a service with that action, from now or from a byte of its log on; looks often enough to catch a
    batch before its commit."""
    for entry in follow(log_of(system, service, number), since):
        if entry.get("action") == action and (entry.get("publishes") or not with_messages):
            return entry
    raise AssertionError(f"{service}-{number} did nothing within {WAIT_S:.0f} s that it calls {action}")


def follow(log: Path, since: int | None = None) -> Iterator[Entry]:
    """What is written into a log from now, or from a byte on, for a bounded time."""
    deadline = time.monotonic() + WAIT_S
    with log.open("rb") as file:
        file.seek(*((0, 2) if since is None else (since, 0)))
        while time.monotonic() < deadline:
            yield from whole_lines(file)
            time.sleep(LOOK_S)


def log_of(system: System, service: str, number: int = 0) -> Path:
    return next(replica.log for replica in system.replicas() if (replica.service, replica.number) == (service, number))
