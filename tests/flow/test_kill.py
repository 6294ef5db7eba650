"""Services are killed, doubled and frozen in the middle of trade: nothing is lost, nothing is done twice.

Where a test kills, it proves from the dead process' log that it held a batch that was not committed, or messages that were not
known to be published.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from deploy.fleet import SERVICES
from deploy.supervisor import System
from tests.support.aftermath import books_agree
from tests.support.desk import Place
from tests.support.last_words import Entry, LastWords, entries, last_words, whole_lines
from tests.support.robots import Trade

NewPlace = Callable[..., Awaitable[Place]]

pytestmark = pytest.mark.timeout(300)  # a service starts several times, perhaps on a busy machine

MOST_KILLS = 12
WAIT_S = 60.0
LOOK_S = 0.001
FROZEN_S = 8.0
"""Longer than the session of a group member lasts: the group believes it dead."""


@asynccontextmanager
async def trade(place: NewPlace) -> AsyncIterator[Trade]:
    """Trade flows while the block runs; afterwards every order has ended or waits, all adds up, and all books agree."""
    trade = await Trade.opened(await place(items=("a", "b", "rare")))
    async with trade.flowing():
        yield trade
    await trade.adds_up()
    await books_agree(trade.place.desk.system.settings)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_is_killed_in_the_middle_of_a_batch(service: str, system: System, place: NewPlace) -> None:
    """At any moment, then while it catches up, then again until a kill is proven to have hit a batch or messages in flight."""
    dice = random.Random(service)
    async with trade(place):
        await asyncio.sleep(dice.uniform(0.5, 1.5))
        held = [await asyncio.to_thread(kill, system, service)]
        while len(held) < 2 or (not any(held) and len(held) < MOST_KILLS):
            held.append(await asyncio.to_thread(kill_in_a_batch, system, service, dice.uniform(0.0, 0.004)))
        await asyncio.to_thread(next_entry, system, service, "committed")
    assert any(held), f"none of {len(held)} kills hit a batch or messages in flight"


async def test_a_replica_that_joins_and_leaves_changes_nothing(system: System, place: NewPlace) -> None:
    """Partitions move over to the second replica of sourcing and back, in the middle of trade."""
    async with trade(place):
        await asyncio.sleep(0.5)
        try:
            await asyncio.to_thread(system.launch, "sourcing", 1)
            await asyncio.to_thread(next_entry, system, "sourcing", "committed", 1)
            await asyncio.sleep(1.0)
        finally:
            await asyncio.to_thread(system.dismiss, "sourcing", 1)
        await asyncio.to_thread(next_entry, system, "sourcing", "committed")


async def test_a_service_that_freezes_for_longer_than_its_session_goes_on(system: System, place: NewPlace) -> None:
    """Inventory stands still in the middle of a batch, its rows locked, until the group has given it up."""
    async with trade(place):
        await asyncio.to_thread(next_entry, system, "inventory", "decided")
        await asyncio.to_thread(system.pause, "inventory")
        try:
            await asyncio.sleep(FROZEN_S)
        finally:
            await asyncio.to_thread(system.resume, "inventory")
        await asyncio.to_thread(next_entry, system, "inventory", "claimed")
        await asyncio.to_thread(next_entry, system, "inventory", "committed")


# ---- killing, and reading what was left undone ----


def kill(system: System, service: str) -> LastWords:
    """kill -9; what the process held. The supervisor starts the service again."""
    pid = system.kill(service)
    assert pid is not None
    gone(pid)
    return last_words(entries(log_of(system, service)))


def kill_in_a_batch(system: System, service: str, later_s: float) -> LastWords:
    """Kill the process a moment after it has decided something to be published."""
    next_entry(system, service, "committed")
    next_entry(system, service, "decided", with_messages=True)
    time.sleep(later_s)
    return kill(system, service)


def gone(pid: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} survives kill -9"
        time.sleep(LOOK_S)


def next_entry(system: System, service: str, action: str, number: int = 0, *, with_messages: bool = False) -> Entry:
    """Waits for the next log entry of a service with that action; looks often enough to catch a batch before its commit."""
    for entry in follow(log_of(system, service, number)):
        if entry.get("action") == action and (entry.get("publishes") or not with_messages):
            return entry
    raise AssertionError(f"{service}-{number} did nothing within {WAIT_S:.0f} s that it calls {action}")


def follow(log: Path) -> Iterator[Entry]:
    """What is written into a log from now on, for a bounded time."""
    deadline = time.monotonic() + WAIT_S
    with log.open("rb") as file:
        file.seek(0, 2)
        while time.monotonic() < deadline:
            yield from whole_lines(file)
            time.sleep(LOOK_S)


def log_of(system: System, service: str, number: int = 0) -> Path:
    return next(replica.log for replica in system.replicas() if (replica.service, replica.number) == (service, number))
