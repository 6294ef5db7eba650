"""Databases that are lost in the middle of trade, over the real broker and real databases: a standby takes over, an old backup is repaired.

A system of its own: its services keep journals, and publish only what the standby holds.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.embedded import Embedded
from deploy.fleet import kafka_connection
from deploy.supervisor import System, environ
from shared.settings import Settings, database_dsn, database_name
from tests.support.aftermath import books_agree
from tests.support.cli import Nervure
from tests.support.desk import Desk, Place
from tests.support.robots import Trade
from tests.support.standby import SPARE, Pair

pytestmark = pytest.mark.timeout(400)  # servers and services start, perhaps on a busy machine

INVENTORY = database_name("inventory")
HALTED_S = 1.0
"""How long the standby receives nothing before the primary is killed."""


@pytest.fixture(scope="module")
async def pair() -> AsyncIterator[Pair]:
    pair = Pair(Path(tempfile.mkdtemp(prefix="nervure-pair-")))  # where the user of Postgres can reach it
    yield pair
    await pair.stop()


@pytest.fixture(scope="module")
async def system(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    home = tmp_path_factory.mktemp("restores")
    dsn = SecretStr(await pair.start())
    gate = {"publish_gate": "standby", "publish_gate_standbys": SPARE, "journal": "on"}
    asked = Settings().model_copy(update={"home": home, "kafka": None, "postgres": dsn, "partitions": 2, **gate})
    system = System(asked)
    await asyncio.to_thread(system.start)
    try:
        await asyncio.to_thread(system.wait_ready)
        yield system
    finally:
        await asyncio.to_thread(system.stop)
        Embedded(home, cache=asked.cache).erase()


@pytest.fixture(scope="module")
async def desk(system: System) -> AsyncIterator[Desk]:
    desk = Desk(system, kafka_connection(system.settings), system.settings.partitions)
    await desk.start()
    yield desk
    await desk.stop()


async def committed(system: System, service: str) -> int:
    """How many events of a service are in its database."""
    assert system.settings.postgres is not None
    connection = await asyncpg.connect(database_dsn(system.settings.postgres, service))
    try:
        return int(await connection.fetchval("SELECT max(number) FROM kernel.history"))
    finally:
        await connection.close()


async def test_a_database_restored_from_an_old_backup_is_refused_and_repaired(pair: Pair, system: System, desk: Desk) -> None:
    """Inventory has promised, counted and shown more since: it doesn't start, until its journal has done that again."""
    trade = await Trade.opened(await Place(desk, "backup").build(items=("a", "b", "rare")))
    async with trade.flowing():
        await asyncio.sleep(1.0)
        dump = await asyncio.to_thread(pair.back_up, INVENTORY)
        await asyncio.sleep(1.0)
    await trade.adds_up()
    await asyncio.to_thread(system.dismiss, "inventory", 0)
    await asyncio.to_thread(pair.restore, INVENTORY, dump)
    await asyncio.to_thread(system.launch, "inventory", 0)
    await until(lambda: state_of(system, "inventory") == "needs a person")
    nervure = Nervure(environ(system.settings))
    lacks = await asyncio.to_thread(nervure, "lanes", "reconcile", "inventory", "--dry-run", "--json")
    done = await asyncio.to_thread(nervure, "lanes", "reconcile", "inventory", "--wait", "1", "--json")
    assert (lacks.code, done.code, done.err) == (0, 0, "")
    assert done.json == lacks.json and done.json["commits"] > 0 and done.json["messages"] > 0
    again = await asyncio.to_thread(nervure, "lanes", "reconcile", "inventory", "--dry-run")
    assert again.out == "inventory: its database has everything its journal has.\n"
    await asyncio.to_thread(system.launch, "inventory", 0)
    await asyncio.to_thread(system.wait_ready)
    await books_agree(system.settings)
    assert desk.lanes.faults == []


def state_of(system: System, service: str) -> str:
    return next(each.state for each in system.replicas() if each.service == service)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        await asyncio.sleep(0.1)
    pytest.fail("it did not come within a minute")


async def test_a_standby_that_takes_over_is_never_behind_the_topics(pair: Pair, system: System, desk: Desk) -> None:
    """The primary is killed with commits that its standby has not: nothing of them was published, so all services go on by themselves."""
    trade = await Trade.opened(await Place(desk, "failover").build(items=("a", "b", "rare")))
    async with trade.flowing():
        await asyncio.sleep(2.0)
        pair.halt_standby()
        await asyncio.sleep(HALTED_S)
        before = await committed(system, "order_capture")
        await asyncio.to_thread(pair.kill_primary)
        await asyncio.to_thread(pair.promote)
        assert await committed(system, "order_capture") < before, "the standby had everything"
        await asyncio.sleep(1.0)
    await trade.adds_up()
    await books_agree(system.settings)
    assert desk.lanes.faults == []
    assert {each.restarts for each in system.replicas()} == {0}, "nobody had to be started again"
