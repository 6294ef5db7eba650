"""Locks between processes: the kernel frees them when all who hold or inherited one are gone, however they ended."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.embedded.errors import EmbeddedError

POLL_S = 0.05


@contextmanager
def held(path: Path, wait_s: float, otherwise: EmbeddedError) -> Iterator[int]:
    """Hold the lock file; yields its descriptor, for children that shall hold it too. Raises `otherwise` after `wait_s`."""
    deadline = time.monotonic() + wait_s
    with path.open("a") as file:
        while not _try(file.fileno()):
            if time.monotonic() > deadline:
                raise otherwise
            time.sleep(POLL_S)
        yield file.fileno()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
