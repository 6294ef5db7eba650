"""Loopback ports, remembered by the home and kept as long as nobody else took them."""

from __future__ import annotations

import random
import socket
import time

LOOPBACK = "127.0.0.1"
# Below those that systems choose for outgoing connections, so that none of these takes ours while we are down.
CANDIDATES = range(20_000, 32_000)
MAX_TRIES = 2_000
RELEASE_WAIT_S = 0.5
POLL_S = 0.02


def free_port(remembered: int | None, taken: set[int]) -> int:
    """The remembered port if it is free, else another free one; never one of `taken`, to which the answer is added."""
    if remembered and remembered not in taken and _becomes_free(remembered):
        port = remembered
    else:
        port = next(each for each in random.sample(CANDIDATES, MAX_TRIES) if each not in taken and is_free(each))
    taken.add(port)
    return port


def _becomes_free(port: int) -> bool:
    """A server that was just killed may hold its port for another moment."""
    deadline = time.monotonic() + RELEASE_WAIT_S
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def is_free(port: int) -> bool:
    """Whether a server could listen there now (connections of an earlier one that linger don't count)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
