"""What only a real server does to its clients: it ends sessions at any moment, and it can't hold every value."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from deploy.embedded import Endpoints
from shared.kernel.model import Key
from shared.kernel.ports import (
    Changes,
    Claim,
    DeadLetter,
    HistoryEntry,
    InboxMark,
    KeepRow,
    LaneId,
    LaneMark,
    Quarantine,
    Row,
    RowChange,
    SpoolRow,
    StoredInput,
    TopicPartition,
    Transaction,
    Transient,
)
from tests.contract.two_sessions import INPUT, NOON, A, made, message, record, timer, write
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


@pytest.mark.parametrize("statement", ["load", "rows", "history", "messages"])
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
        case "rows":
            await transaction.write(made(Key("counter", "b")))
        case "history":
            await transaction.write(Changes(history=[HistoryEntry(A, 2, "Opened", Opened("a"), NOON)]))
        case _:
            await transaction.write(Changes(), [message(1)])


async def test_a_value_that_no_column_holds_is_the_fault_of_the_batch(rig: PostgresRig) -> None:
    """Tried again it would fail for ever and stop its partition: the batch is halved until the one input is found."""
    with pytest.raises(asyncpg.DataError, match="out of int64 range"):
        await write(rig, Changes(rows=[RowChange(Key("gauge", "a"), 0, 1, Gauge(2**70, NOON, ()))]))
    await write(rig, Changes(rows=[RowChange(Key("gauge", "a"), 0, 1, Gauge(2, NOON, ()))]))
    with pytest.raises(asyncpg.DataError, match="out of int64 range"):
        await write(rig, Changes(rows=[RowChange(Key("gauge", "a"), 1, 2, Gauge(2**70, NOON, ()))]))
    assert await rig.first.rows("gauge", ["a"]) == {"a": Row(1, Gauge(2, NOON, ()))}


async def test_a_batch_takes_as_many_statements_for_many_as_for_one(rig: PostgresRig) -> None:
    """What it usually writes is one statement, and whatever else it may write and take back is one each. What is new is copied
    where it is very much; that isn't told here."""
    await statements_of(rig, range(900, 901))  # a new connection asks for the types it meets
    assert await statements_of(rig, range(1)) == await statements_of(rig, range(100, 150))
    assert await statements_of(rig, range(1000, 1200)) == await statements_of(rig, range(2000, 2400))


async def statements_of(rig: PostgresRig, numbers: range) -> list[str]:
    """What is sent for a batch that does everything to so many rows, and for one that takes what waits again."""
    said: list[str] = []
    async with rig.first.begin() as transaction:
        with transaction.connection.query_logger(lambda record: said.append(record.query)):
            await transaction.write(everything(numbers), [message(number) for number in numbers])
    due = await rig.ask_replay()
    async with rig.first.begin() as transaction:
        kept = await transaction.kept_for([A])
        spooled = [StoredInput(0, "spooled", record(number, 2)) for number in numbers]
        with transaction.connection.query_logger(lambda record: said.append(record.query)):
            await transaction.write(Changes(taken=[*due, *kept, *spooled]))
    assert (len(due), len(kept)) == (2 * len(numbers), len(numbers))
    return said


def everything(numbers: range) -> Changes:
    keys = [Key("counter", f"c{number}") for number in numbers]
    return Changes(
        rows=[change for key in keys for change in made(key).rows],
        inbox=[InboxMark("/till", f"{number}", b"digest", NOON) for number in numbers],
        timers_set=[timer("ring", key=key) for key in keys],
        timers_cancelled=[(key, "other") for key in keys],
        marks=[LaneMark(TopicPartition(INPUT.topic, number), LaneId("desk", 1), 1) for number in numbers],
        dead_letters=[DeadLetter(record(number, 0), "Undecodable", "") for number in numbers],
        quarantines=[Quarantine((A, key), record(number, 1), "ValueError", "") for number, key in zip(numbers, keys, strict=True)],
        spooled=[SpoolRow(TopicPartition(INPUT.topic, 2), LaneId("desk", 1), number + 2, record(number, 2)) for number in numbers],
        kept=[KeepRow(A, NOON, record(number, 3), 0, False) for number in numbers],
    )


async def test_a_database_made_before_gets_what_it_lacks(rig: PostgresRig) -> None:
    """Columns that its tables had not when they were made; what it holds stays."""
    await write(rig, Changes(timers_set=[timer("x")]))
    await rig.first.declare([INPUT])
    await rig.beside.execute("ALTER TABLE kernel.position DROP COLUMN began; ALTER TABLE kernel.timer DROP COLUMN trace")
    later = await rig.store()
    assert await later.timers_due([0], NOON, 10) == [timer("x")]
    assert (await later.claim([INPUT]))[INPUT] == Claim(1, 0, {})
