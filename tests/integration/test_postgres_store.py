"""What only a real server does to its clients: it ends sessions at any moment, and it can't hold every value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from deploy.embedded import Endpoints
from shared.kernel.model import Key
from shared.kernel.ports import Changes, HistoryEntry, RowChange, Transaction, Transient
from tests.contract.two_sessions import NOON, A, made, message, write
from tests.support.counting import Gauge, Opened
from tests.support.rigs import PostgresRig

ROUNDS = 10
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def rig(endpoints: Endpoints) -> AsyncIterator[PostgresRig]:
    """A store on a database of its own."""
    name = f"store_{uuid4().hex[:8]}"
    server = await asyncpg.connect(endpoints.postgres)
    await server.execute(f'CREATE DATABASE "{name}"')
    rig = PostgresRig(endpoints.postgres.rpartition("/")[0] + f"/{name}")
    await rig.open()
    yield rig
    await rig.close()
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


@pytest.mark.parametrize("statement", ["load", "write", "copy", "number"])
async def test_a_session_that_the_server_ends_is_no_fault_of_the_batch(rig: PostgresRig, statement: str) -> None:
    """Whichever statement notices, and however far the news has come: it is transient, so no input is put aside for it."""
    await write(rig, made(A))
    for _ in range(ROUNDS):
        with pytest.raises(Transient):
            await ended_before(statement, rig)


async def ended_before(statement: str, rig: PostgresRig) -> None:
    async with rig.first.begin() as transaction:
        await transaction.load([A])
        await rig.beside.execute(END_SESSIONS)
        await attempt(statement, transaction)
        await transaction.load([A])


async def attempt(statement: str, transaction: Transaction) -> None:
    match statement:
        case "load":
            await transaction.find([A])
        case "write":
            await transaction.write(made(Key("counter", "b")))
        case "copy":
            await transaction.write(Changes(history=[HistoryEntry(A, 2, "Opened", Opened("a"), NOON)]))
        case _:
            await transaction.number([message(1)])


async def test_a_value_that_no_column_holds_is_the_fault_of_the_batch(rig: PostgresRig) -> None:
    """Tried again it would fail for ever and stop its partition: the batch is halved until the one input is found."""
    with pytest.raises(asyncpg.DataError, match="out of int64 range"):
        await write(rig, Changes(rows=[RowChange(Key("gauge", "a"), 0, 1, Gauge(2**70, NOON, ()))]))
