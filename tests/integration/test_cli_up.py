"""`nervure up` as a process: everything comes up, a killed service comes back, nothing is left behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.embedded import Embedded
from deploy.fleet import SERVICES
from deploy.health import ready
from deploy.supervisor import Fleet, NotUp, fleet
from shared.settings import Settings
from tests.support.cli import Nervure

START_S, END_S = 120.0, 60.0
POLL_S = 0.2


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own, with servers of its own: one broker serves one system."""
    tmp_path.chmod(0o711)
    yield tmp_path / "home"
    Embedded(tmp_path / "home", cache=Settings().cache).erase()


@pytest.fixture
def nervure(home: Path) -> Nervure:
    return Nervure({"NERVURE_HOME": str(home), "NERVURE_KAFKA": "", "NERVURE_POSTGRES": ""})


def up(home: Path, *options: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "NERVURE_HOME": str(home), "NERVURE_KAFKA": "", "NERVURE_POSTGRES": "", "NERVURE_PARTITIONS": "2"}
    command = [sys.executable, "-m", "deploy.cli", "up", "--replicas", "returns=2", *options]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Ready after "), process.poll()


def await_ready_json(process: subprocess.Popen[str], home: Path) -> None:
    """For machines one object a line: what happens to each replica, then that all is ready, and what runs."""
    assert process.stdout is not None
    told = [json.loads(line) for line in until_ready(process.stdout)]
    names = [each.name for each in fleet(home).replicas]
    assert [line["replica"] for line in told[:-1] if line["what"] == "started"] == names
    assert [each["service"] for each in told[-1]["replicas"]] == [each.service for each in fleet(home).replicas]
    assert all(not ready(each["health_port"]) for each in told[-1]["replicas"])


def until_ready(lines: Iterable[str]) -> Iterator[str]:
    """Up to the line that says so."""
    for line in lines:
        yield line
        if json.loads(line).get("ready"):
            return


def until(holds: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def runs(home: Path) -> Fleet | None:
    try:
        return fleet(home)
    except NotUp:
        return None


def pids(home: Path) -> list[int]:
    return [replica.pid for replica in fleet(home).replicas if replica.pid]


def back(home: Path, name: str, killed: int) -> bool:
    replica = next(each for each in fleet(home).replicas if each.name == name)
    return replica.pid not in (None, killed) and replica.restarts == 1 and not ready(replica.health_port)


@pytest.mark.timeout(400)
def test_everything_comes_up_comes_back_and_goes(home: Path, nervure: Nervure) -> None:
    with up(home) as process:
        await_ready(process)
        assert sorted(each.name for each in fleet(home).replicas) == sorted([*(f"{name}-0" for name in SERVICES), "returns-1"])

        sourcing = next(each.pid for each in fleet(home).replicas if each.service == "sourcing")
        assert sourcing is not None
        os.kill(sourcing, signal.SIGKILL)
        assert until(lambda: back(home, "sourcing-0", sourcing), END_S)
        assert "sourcing-0" in nervure("watch", "--once").out

        again = nervure("up")
        assert again.code == 1 and f"started by process {process.pid}" in again.err

        left = pids(home)
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0
    assert not any(map(psutil.pid_exists, left))
    assert runs(home) is None
    assert not Embedded(home, cache=Settings().cache).status().up

    crowded = nervure("up", "--replicas", "returns=3")
    assert crowded.code == 1 and "the topics have 2 partitions" in crowded.err

    with up(home, "--json") as process:
        await_ready_json(process, home)
        left = pids(home)
        process.kill()
    assert until(lambda: not any(map(psutil.pid_exists, left)), END_S), "services outlived who started them"
    assert nervure("watch", "--once").code == 3
