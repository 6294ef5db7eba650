"""Whether a server process lives, at the edges of its life."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from deploy.embedded.process import Identity

WAIT_S = 10.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()", "this-one"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def identity(child: subprocess.Popen[bytes]) -> Identity:
    return Identity(pid=child.pid, started_s=psutil.Process(child.pid).create_time(), mark="this-one")


def test_a_process_that_has_no_command_line_yet_lives(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its starter goes on a moment before the system has set the new program's arguments."""
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: [])
    assert identity(child).alive


def test_a_stranger_that_has_no_command_line_yet_is_waited_for(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    tellings = iter([[], [], ["a stranger"]])
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: next(tellings))
    assert not identity(child).model_copy(update={"mark": "another"}).alive


def test_a_process_that_ended_and_was_not_reaped_is_dead(child: subprocess.Popen[bytes]) -> None:
    this = identity(child)
    child.kill()
    deadline = time.monotonic() + WAIT_S
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
    assert not this.alive


def test_a_stranger_with_its_id_is_not_this_process(child: subprocess.Popen[bytes]) -> None:
    assert not identity(child).model_copy(update={"mark": "another"}).alive
