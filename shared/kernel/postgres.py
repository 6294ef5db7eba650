"""The store on Postgres: READ COMMITTED transactions with explicit row locks, and compare-and-set on everything that matters."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from schemas.topics import Topic
from shared.kernel.model import Key, Service
from shared.kernel.ports import (
    EVERYTHING_KEPT,
    PRUNED_AT_ONCE,
    Begins,
    Claim,
    DeadLetter,
    Horizon,
    LaneId,
    LaneRow,
    ReadBack,
    Row,
    StoredInput,
    TimerRow,
    TopicPartition,
    Transient,
)
from shared.kernel.postgres_columns import columns, kept_of, lane_row_of, record_of
from shared.kernel.postgres_horizon import OPEN, LivingConnection, PublishGate, horizon, note_life
from shared.kernel.postgres_refusals import postgres_refusal
from shared.kernel.postgres_transaction import LOST, TRANSIENT, PostgresTransaction, commit, roll_back, rows_done
from shared.kernel.rows import RowCodec
from shared.kernel.sql import queries, server_and_name

Q = queries(Path(__file__).with_name("queries.sql"))
TABLES = Path(__file__).with_name("tables.sql")
COMMAND_TIMEOUT_S = 40
SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "15s",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Statements over arrays would be planned anew each time otherwise: with an array at hand a plan always seems cheaper."""


class MigrationChanged(Exception):
    """A migration that already ran has other content now. Remedy: put changes into a new migration file."""


class PostgresStore:
    """One service's database. Make it with `open_store`."""

    def __init__(self, service: Service[Any], pool: asyncpg.Pool, gate: PublishGate = OPEN) -> None:
        self.gated = gate.kind != "off"
        self._gate = gate
        self._pool = pool
        self._codecs = {kind.name: RowCodec(kind) for kind in service.kinds}

    # ---- transactions ----

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresTransaction]:
        try:
            connection = await self._pool.acquire(timeout=COMMAND_TIMEOUT_S)
        except TRANSIENT as error:
            raise Transient(f"no connection: {error!r}") from error
        try:
            transaction = connection.transaction(isolation="read_committed")
            try:
                await transaction.start()
                yield PostgresTransaction(connection, self._codecs)
            except BaseException as error:
                await roll_back(connection, transaction)
                if isinstance(error, TRANSIENT):
                    raise Transient(f"{error!r}") from error
                raise
            await commit(connection, transaction)
        finally:
            await self._pool.release(connection)

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """A statement of its own; also for the audit and the command line."""
        try:
            return list(await self._pool.fetch(sql, *args))
        except TRANSIENT as error:
            raise Transient(f"{error!r}") from error

    # ---- set-up and ownership ----

    async def incarnation(self) -> int:
        rows = await self.fetch("SELECT incarnation FROM kernel.incarnation")
        return int(rows[0]["incarnation"])

    async def horizon(self) -> Horizon:
        try:
            async with self._pool.acquire(timeout=COMMAND_TIMEOUT_S) as connection:
                return await horizon(connection, self._gate)
        except TRANSIENT as error:
            raise Transient(f"{error!r}") from error

    async def declare(self, partitions: Sequence[TopicPartition]) -> None:
        await self.fetch(Q["declare"], *columns(partitions))

    async def declare_lanes(self, partitions: Sequence[TopicPartition]) -> None:
        await self.fetch(Q["declare_lanes"], *columns(partitions))
        await self.fetch(Q["declare_sent"], *columns(partitions))

    async def claim(self, partitions: Sequence[TopicPartition], begins: Begins = EVERYTHING_KEPT) -> dict[TopicPartition, Claim]:
        async with self.begin() as transaction:
            rows = await transaction.connection.fetch(Q["claim"], *columns(partitions), [begins.get(at, 0) for at in partitions])
            marks: dict[TopicPartition, dict[LaneId, int]] = {}
            for row in await transaction.connection.fetch(Q["marks"], *columns(partitions)):
                lanes = marks.setdefault(TopicPartition(row["topic"], row["partition"]), {})
                lanes[LaneId(row["service"], row["incarnation"])] = row["seq"]
        claims = {}
        for row in rows:
            at = TopicPartition(row["topic"], row["partition"])
            claims[at] = Claim(row["epoch"], row["next"], marks.get(at, {}), row["headless"], row["spooled"])
        return claims

    # ---- what waits ----

    async def timers_due(self, shards: Sequence[int], until: datetime, limit: int) -> list[TimerRow]:
        rows = await self.fetch(Q["timers_due"], list(shards), until, limit)
        return [TimerRow(Key(r["kind"], r["id"]), r["name"], r["due"], r["rank"], r["shard"], r["trace"]) for r in rows]

    async def next_timer(self, shards: Sequence[int]) -> datetime | None:
        rows = await self.fetch(Q["next_timer"], list(shards))
        return rows[0]["due"] if rows else None

    async def stored_due(self, shards: Sequence[int], now: datetime, limit: int, everything: bool) -> list[StoredInput]:
        [waits] = await self.fetch(Q["stored_waits"], list(shards), now, everything)
        found: list[StoredInput] = []
        if waits["kept"]:
            found += [kept_of(row) for row in await self.fetch(Q["kept_due"], list(shards), now, limit, everything)]
        if waits["replays"] and 0 in shards:
            found += [StoredInput(r["number"], "replay", record_of(r)) for r in await self.fetch(Q["replays"], limit)]
        if waits["spooled"]:
            found += [StoredInput(0, "spooled", record_of(row)) for row in await self.fetch(Q["spool_ready"], limit)]
        return found

    # ---- publishing ----

    async def outbox(self, at: TopicPartition, after: int, limit: int) -> list[LaneRow]:
        return [lane_row_of(row) for row in await self.fetch(Q["outbox"], at.topic, at.partition, after, limit)]

    async def lane_heads(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int, int]]:
        rows = await self.fetch(Q["lane_heads"], *columns(at))
        return {TopicPartition(r["topic"], r["partition"]): (r["incarnation"], r["seq"], r["sent"]) for r in rows}

    async def sent(self, tails: Mapping[TopicPartition, int]) -> None:
        at = sorted(tails)
        await self.fetch(Q["sent"], *columns(at), [tails[one] for one in at])

    async def unsent_dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]:
        rows = await self.fetch(Q["unsent_dead_letters"], limit)
        return [(row["number"], DeadLetter(record_of(row), row["reason"], row["detail"])) for row in rows]

    async def dead_letters_sent(self, ids: Sequence[int]) -> None:
        await self.fetch(Q["dead_letters_sent"], list(ids))

    async def read_back(self, seen: Sequence[ReadBack]) -> list[str]:
        newest = {(one.topic, one.id): one for one in sorted(seen, key=lambda one: one.offset)}.values()
        highest: dict[tuple[str, str], int] = {}
        for one in seen:
            highest[one.topic, one.id] = max(one.version, highest.get((one.topic, one.id), 0))
        rows = await self.fetch(
            Q["read_back"],
            [one.topic for one in newest],
            [one.id for one in newest],
            [one.version for one in newest],
            [one.offset for one in newest],
        )
        return [id for topic, id, version, before in rows if version < max(highest[topic, id], before or 0)]

    async def dirty(self, topic: str, kind: str, after: str, limit: int) -> list[tuple[str, Row]]:
        codec = self._codecs[kind]
        rows = await self.fetch(codec.dirty_sql, topic, after, limit)
        return [(row["id"], Row(row["version"], codec.parse(row))) for row in rows]

    # ---- reading ----

    async def rows(self, kind: str, ids: Sequence[str]) -> dict[str, Row]:
        codec = self._codecs[kind]
        return {r["id"]: Row(r["version"], codec.parse(r)) for r in await self.fetch(codec.find_sql, list(ids))}

    async def scan(self, kind: str) -> AsyncIterator[tuple[str, Row]]:
        codec, after = self._codecs[kind], ""
        while rows := await self.fetch(codec.scan_sql, after, 1000):
            for row in rows:
                yield row["id"], Row(row["version"], codec.parse(row))
            after = rows[-1]["id"]

    async def history(self) -> AsyncIterator[tuple[Key, int, Any]]:
        """Every folded event by row, in commit order: what `rebuild` folds again. None marks a row created empty."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            async for row in connection.cursor('SELECT * FROM kernel.history ORDER BY kind, id COLLATE "C", number', prefetch=1000):
                codec = self._codecs[row["kind"]]
                event = codec.parse_event(row["type"], row["doc"], row["id"], row["at"]) if row["type"] else None
                yield Key(row["kind"], row["id"]), row["version"], event

    # ---- housekeeping ----

    async def prune_outbox(self, lanes: Sequence[TopicPartition], older_than: datetime) -> int:
        return await self._prune("prune_outbox", *columns(lanes), PRUNED_AT_ONCE, older_than)

    async def prune_inbox(self, older_than: datetime) -> int:
        return await self._prune("prune_inbox", older_than)

    async def _prune(self, query: str, *arguments: Any) -> int:
        try:
            return rows_done(await self._pool.execute(Q[query], *arguments))
        except TRANSIENT as error:
            raise Transient(f"{error!r}") from error

    async def depth(self) -> Mapping[str, int]:
        rows = await self.fetch(Q["depth"])
        return {name: int(value) for name, value in rows[0].items()}

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._pool.close(), 10)
        except (TimeoutError, *LOST):
            self._pool.terminate()


async def open_store(
    service: Service[Any],
    dsn: str,
    *,
    owned: Sequence[tuple[Topic, int]] = (),
    journal: TopicPartition | None = None,
    gate: PublishGate = OPEN,
) -> PostgresStore:
    """Opens the service's database (making it where it is missing), brings its tables up to date, and declares the lanes of the
    topics it owns, (topic, partitions), and of its journal, if it keeps one. Raises Transient while the server can't be reached,
    PostgresRefuses where waiting doesn't help."""
    try:
        await _ensure_database(dsn)
        pool = await asyncpg.create_pool(
            dsn, min_size=1, max_size=6, command_timeout=COMMAND_TIMEOUT_S, server_settings=SETTINGS, timeout=10, reset=_as_it_is,
            init=note_life, connection_class=LivingConnection,
        )  # fmt: skip
    except (*TRANSIENT, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise postgres_refusal(error) or Transient(f"{error!r}") from error
    store = PostgresStore(service, pool, gate)
    try:
        await _migrate(service, pool, [RowCodec(kind) for kind in service.kinds])
        lanes = [TopicPartition(topic.name, p) for topic, count in owned if topic.kind == "events" for p in range(count)]
        await store.declare_lanes([*lanes, *([journal] if journal is not None else [])])
    except BaseException:
        await store.close()
        raise
    return store


async def _as_it_is(_: Any) -> None:
    """A connection goes back to the pool as it is: nothing but transactions was begun on it, and they have ended. To have the server
    reset it would be one more round trip for each batch."""


async def _ensure_database(dsn: str) -> None:
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except asyncpg.InvalidCatalogNameError:
        await _create_database(dsn)
    else:
        await connection.close()


async def _create_database(dsn: str) -> None:
    server, name = server_and_name(dsn)
    admin = await asyncpg.connect(server, timeout=10)
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    except asyncpg.DuplicateDatabaseError:
        """Another replica was quicker."""
    except asyncpg.UniqueViolationError:
        """Another replica is making it right now."""
    finally:
        await admin.close()


async def _migrate(service: Service[Any], pool: asyncpg.Pool, codecs: Sequence[RowCodec]) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(4711)")
        await connection.execute(TABLES.read_text(encoding="utf-8"))
        for codec in codecs:
            if sql := codec.table_sql():
                await connection.execute(sql)
        for number, sql in enumerate(service.migrations, start=1):
            await _apply(connection, number, sql)


async def _apply(connection: Any, number: int, sql: str) -> None:
    digest = hashlib.sha256(sql.encode()).hexdigest()
    known = await connection.fetchval("SELECT digest FROM kernel.migration WHERE number = $1", number)
    if known is None:
        await connection.execute(sql)
        await connection.execute("INSERT INTO kernel.migration (number, digest) VALUES ($1, $2)", number, digest)
    elif known != digest:
        raise MigrationChanged(f"migration {number}")
