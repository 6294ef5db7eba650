"""The broker, then the database, is killed (kill -9) under two toy services and comes back: they resume by themselves, totals are right."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.embedded import Embedded
from deploy.fleet import kafka_connection
from shared.settings import Settings
from tests.support.bank import Bank
from tests.support.infra import temporary_home

RESUMED_WITHIN_S = 20.0
ACCOUNTS = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def servers() -> Iterator[Embedded]:
    """A broker and a database of their own: nobody else's are killed."""
    with temporary_home(Settings()) as home:
        servers = Embedded(home, cache=Settings().cache, mirror=Settings().maven)
        servers.start()
        yield servers


@pytest.fixture
async def bank(servers: Embedded, tmp_path: Path) -> AsyncIterator[Bank]:
    settings = servers.endpoints().applied_to(Settings())
    bank = Bank(settings, kafka_connection(settings), tmp_path)
    await bank.open()
    yield bank
    await bank.close()


@pytest.mark.parametrize("server", ["Kafka", "Postgres"])
async def test_services_go_on_after_a_server_was_killed(server: str, servers: Embedded, bank: Bank) -> None:
    """The same processes, without help; amounts go on coming all the time; nothing is lost, nothing booked twice."""
    bank.start("teller")
    bank.start("ledger")
    await bank.add("alice")
    await bank.settled()
    async with amounts_coming(bank):
        await asyncio.sleep(1.0)
        kill(servers, server)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(servers.start)
    back_s = time.monotonic()
    await bank.settled()
    assert time.monotonic() - back_s < RESUMED_WITHIN_S
    assert bank.lives("teller") and bank.lives("ledger")
    assert (await bank.lanes()).faults == []
    assert await bank.shown() == bank.sent


@asynccontextmanager
async def amounts_coming(bank: Bank) -> AsyncIterator[None]:
    """Some amounts a moment, for all accounts, until the block ends."""
    coming = asyncio.Event()
    coming.set()

    async def add() -> None:
        while coming.is_set():
            for account in ACCOUNTS:
                await bank.add(account, times=2)
            await asyncio.sleep(0.05)

    adding = asyncio.create_task(add())
    try:
        yield
    finally:
        coming.clear()
        await adding


def kill(servers: Embedded, server: str) -> None:
    """kill -9 of one of our own servers."""
    pid = next(each.pid for each in servers.status().servers if each.server == server)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
