"""Services are killed, doubled and frozen in the middle of trade: nothing is lost, nothing is done twice.

Where a test kills, it proves from the dead process' log that it held a batch that was not committed, or messages that were not
known to be published.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deploy.fleet import SERVICES
from deploy.supervisor import System
from tests.support.aftermath import books_agree
from tests.support.desk import Place
from tests.support.killing import freeze_in_a_batch, kill, kill_in_a_batch, log_of, next_entry, stop
from tests.support.robots import Trade

NewPlace = Callable[..., Awaitable[Place]]

pytestmark = pytest.mark.timeout(300)  # a service starts several times, perhaps on a busy machine

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
    """At any moment; then, while it catches up, where it is proven to hold a batch or messages in flight."""
    dice = random.Random(service)
    async with trade(place):
        await asyncio.sleep(dice.uniform(0.5, 1.5))
        await asyncio.to_thread(kill, system, service)
        held = await asyncio.to_thread(kill_in_a_batch, system, service, dice.uniform(0.0, 0.004))
        await asyncio.to_thread(next_entry, system, service, "committed")
    assert held, "the kill hit neither a batch nor messages in flight"


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


async def test_a_service_that_starts_again_reads_on_from_what_it_had_read(system: System, place: NewPlace) -> None:
    """Sourcing is drained and keeps what its view holds; what it loads is what the audit knows of its topics, and its view goes on."""
    async with trade(place):
        await asyncio.sleep(0.5)
        since = log_of(system, "sourcing").stat().st_size
        await asyncio.to_thread(stop, system, "sourcing")
        kept = await asyncio.to_thread(next_entry, system, "sourcing", "snapshot", since=since)
        system.launch("sourcing")
        loaded = await asyncio.to_thread(next_entry, system, "sourcing", "read_on", since=since)
        await asyncio.to_thread(next_entry, system, "sourcing", "committed")
    assert loaded["documents"] == kept["documents"] > 0


async def test_a_service_that_freezes_for_longer_than_its_session_goes_on(system: System, place: NewPlace) -> None:
    """Inventory stands still in the middle of a batch, its rows locked, until the group has given it up."""
    async with trade(place):
        try:
            await asyncio.to_thread(freeze_in_a_batch, system, "inventory")
            said = log_of(system, "inventory").stat().st_size
            await asyncio.sleep(FROZEN_S)
        finally:
            await asyncio.to_thread(system.resume, "inventory")
        await asyncio.to_thread(next_entry, system, "inventory", "claimed", since=said)
        await asyncio.to_thread(next_entry, system, "inventory", "committed")
