"""The store on Postgres: READ COMMITTED transactions with explicit row locks, and compare-and-set on everything that matters."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg

from schemas.topics import Topic
from shared.kernel.model import Key, Service, Slice
from shared.kernel.ports import (
    EVERYTHING_KEPT,
    Attached,
    Begins,
    Changes,
    Claim,
    Collision,
    CommitUnknown,
    DeadLetter,
    HistoryEntry,
    Horizon,
    InboxMark,
    LaneId,
    LaneRow,
    NotOwner,
    OutboxRow,
    Quarantine,
    ReadBack,
    Record,
    Row,
    RowChange,
    StoredInput,
    TimerRow,
    TopicPartition,
    Transient,
    parked_of,
)
from shared.kernel.postgres_horizon import OPEN, LivingConnection, PublishGate, horizon, note_life
from shared.kernel.postgres_refusals import postgres_refusal
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
}
OUTBOX_COLUMNS = [
    "topic",
    "partition",
    "seq",
    "incarnation",
    "key",
    "type",
    "id",
    "time",
    "correlation",
    "causation",
    "trace",
    "subject",
    "subject_version",
    "value",
]
HISTORY_COLUMNS = ["kind", "id", "version", "type", "doc", "at"]
LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncio.TimeoutError)
"""InternalClientError is what a statement meets between the server's last word and the end of the connection."""
TRANSIENT = (
    *LOST,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""The last two are a standby's, until it is promoted."""


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
                await _roll_back(connection, transaction)
                if isinstance(error, TRANSIENT):
                    raise Transient(f"{error!r}") from error
                raise
            await _commit(connection, transaction)
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
        await self.fetch(Q["declare"], *_columns(partitions))

    async def declare_lanes(self, partitions: Sequence[TopicPartition]) -> None:
        await self.fetch(Q["declare_lanes"], *_columns(partitions))
        await self.fetch(Q["declare_sent"], *_columns(partitions))

    async def claim(self, partitions: Sequence[TopicPartition], begins: Begins = EVERYTHING_KEPT) -> dict[TopicPartition, Claim]:
        async with self.begin() as transaction:
            rows = await transaction.connection.fetch(Q["claim"], *_columns(partitions), [begins.get(at, 0) for at in partitions])
            marks: dict[TopicPartition, dict[LaneId, int]] = {}
            for row in await transaction.connection.fetch(Q["marks"], *_columns(partitions)):
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
            found += [_kept(row) for row in await self.fetch(Q["kept_due"], list(shards), now, limit, everything)]
        if waits["replays"] and 0 in shards:
            found += [StoredInput(r["number"], "replay", _record(r)) for r in await self.fetch(Q["replays"], limit)]
        if waits["spooled"]:
            found += [StoredInput(0, "spooled", _record(row)) for row in await self.fetch(Q["spool_ready"], limit)]
        return found

    # ---- publishing ----

    async def outbox(self, at: TopicPartition, after: int, limit: int) -> list[LaneRow]:
        return [_lane_row(row) for row in await self.fetch(Q["outbox"], at.topic, at.partition, after, limit)]

    async def lane_heads(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int, int]]:
        rows = await self.fetch(Q["lane_heads"], *_columns(at))
        return {TopicPartition(r["topic"], r["partition"]): (r["incarnation"], r["seq"], r["sent"]) for r in rows}

    async def sent(self, tails: Mapping[TopicPartition, int]) -> None:
        at = sorted(tails)
        await self.fetch(Q["sent"], *_columns(at), [tails[one] for one in at])

    async def unsent_dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]:
        rows = await self.fetch(Q["unsent_dead_letters"], limit)
        return [(row["number"], DeadLetter(_record(row), row["reason"], row["detail"])) for row in rows]

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
                event = codec.parse_event(row["type"], row["doc"]) if row["type"] else None
                yield Key(row["kind"], row["id"]), row["version"], event

    # ---- housekeeping ----

    async def prune_outbox(self, older_than: datetime) -> int:
        return await self._prune("prune_outbox", older_than)

    async def prune_inbox(self, older_than: datetime) -> int:
        return await self._prune("prune_inbox", older_than)

    async def _prune(self, query: str, older_than: datetime) -> int:
        try:
            return _count(await self._pool.execute(Q[query], older_than))
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


class PostgresTransaction:
    """One READ COMMITTED transaction."""

    def __init__(self, connection: Any, codecs: Mapping[str, RowCodec]) -> None:
        self.connection = connection
        self._codecs = codecs

    @property
    def life(self) -> str:
        return str(getattr(self.connection, "life", ""))

    async def find(self, keys: Sequence[Key]) -> dict[Key, Row]:
        return await self._read(keys, locked=False)

    async def load(self, keys: Sequence[Key]) -> dict[Key, Row]:
        return await self._read(keys, locked=True)

    async def _read(self, keys: Sequence[Key], locked: bool) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for kind, group in groupby(sorted(set(keys)), key=lambda key: key.kind):
            codec = self._codecs[kind]
            sql = codec.load_sql if locked else codec.find_sql
            for row in await self.connection.fetch(sql, [key.id for key in group]):
                found[Key(kind, row["id"])] = Row(row["version"], codec.parse(row))
        return found

    async def slices(self, wanted: Sequence[tuple[Slice, int]]) -> dict[tuple[Key, str], list[tuple[Key, Row]]]:
        found: dict[tuple[Key, str], list[tuple[Key, Row]]] = {(of.owner, of.kind): [] for of, _ in wanted}
        for kind, group in groupby(sorted(wanted, key=lambda w: w[0].kind), key=lambda w: w[0].kind):
            codec, asked = self._codecs[kind], list(group)
            most: dict[Key, int] = {}
            for of, count in asked:
                most[of.owner] = max(count, most.get(of.owner, 0))
            by_id = {owner.id: owner for owner in most}
            for row in await self.connection.fetch(codec.slice_sql, [o.id for o in most], list(most.values())):
                found[by_id[row["of"]], kind].append((Key(kind, row["id"]), Row(row["version"], codec.parse(row))))
        return found

    async def attached(self, keys: Sequence[Key]) -> Attached:
        rows = await self.connection.fetch(Q["attached"], [key.kind for key in keys], [key.id for key in keys])
        by_what: dict[str, set[Key]] = {"k": set(), "q": set()}
        for row in rows:
            by_what[row["what"]].add(Key(row["kind"], row["id"]))
        return Attached(frozenset(by_what["k"]), frozenset(by_what["q"]))

    async def kept_for(self, keys: Sequence[Key]) -> list[StoredInput]:
        rows = await self.connection.fetch(Q["kept_for"], [key.kind for key in keys], [key.id for key in keys])
        return [_kept(row) for row in rows]

    async def known(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        rows = await self.connection.fetch(Q["known"], [source for source, _ in ids], [id for _, id in ids])
        return {(row["source"], row["id"]): row["digest"] for row in rows}

    # ---- writing ----

    async def write(self, changes: Changes) -> None:
        await self._write_rows(changes.rows)
        await self._write_history(changes.history)
        await self._write_inbox(changes)
        await self._write_timers(changes)
        await self._take(changes.taken)
        await self._put_aside(changes)
        await self._move_offsets(changes)

    async def _write_rows(self, rows: Sequence[RowChange]) -> None:
        for kind, group in groupby(sorted(rows, key=lambda c: c.key), key=lambda c: c.key.kind):
            codec, changes = self._codecs[kind], list(group)
            gone = [c for c in changes if c.state is None and not c.empty]
            fresh = [c for c in changes if c.base == 0 and (c.state is not None or c.empty)]
            changed = [c for c in changes if c.base > 0 and (c.state is not None or c.empty)]
            if fresh:
                await self._expect(len(fresh), codec.insert_sql, *codec.values(fresh))
            if changed:
                await self._expect(len(changed), codec.update_sql, *codec.values(changed))
            if gone := [c for c in gone if c.base > 0]:
                await self._expect(len(gone), codec.delete_sql, [c.key.id for c in gone], [c.base for c in gone])

    async def _expect(self, count: int, sql: str, *args: Any) -> None:
        done = _count(await self.connection.execute(sql, *args))
        if done != count:
            raise Collision(f"{done} of {count} rows: {sql[:60]}")

    async def _write_history(self, entries: Sequence[HistoryEntry]) -> None:
        if entries:
            records = [
                (
                    e.key.kind,
                    e.key.id,
                    e.version,
                    e.type,
                    self._codecs[e.key.kind].dump_event(e.event) if e.event is not None else "",
                    e.at,
                )
                for e in entries
            ]
            await self.connection.copy_records_to_table("history", schema_name="kernel", records=records, columns=HISTORY_COLUMNS)

    async def _write_inbox(self, changes: Changes) -> None:
        fresh = [mark for mark in changes.inbox if mark.before is None]
        again = [mark for mark in changes.inbox if mark.before is not None]
        if fresh:
            await self._expect(len(fresh), Q["mark_inbox"], *_mark_columns(fresh))
        if again:
            await self._expect(len(again), Q["mark_inbox_again"], *_mark_columns(again), [mark.before for mark in again])

    async def _write_timers(self, changes: Changes) -> None:
        fired, cancelled, made = changes.timers_fired, changes.timers_cancelled, changes.timers_set
        if fired:
            await self._expect(len(fired), Q["fire_timers"], *_timer_columns(fired), [t.due for t in fired])
        if cancelled:
            await self.connection.execute(
                Q["cancel_timers"], [k.kind for k, _ in cancelled], [k.id for k, _ in cancelled], [n for _, n in cancelled]
            )
        if made:
            when = [t.due for t in made], [t.rank for t in made], [t.shard for t in made], [t.trace for t in made]
            await self.connection.execute(Q["set_timers"], *_timer_columns(made), *when)

    async def _take(self, taken: Sequence[StoredInput]) -> None:
        kept = [one.id for one in taken if one.purpose == "kept"]
        replayed = [one.id for one in taken if one.purpose == "replay"]
        spooled = [one.record for one in taken if one.purpose == "spooled"]
        if kept:
            await self._expect(len(kept), Q["forget_kept"], kept)
        if replayed:
            await self._expect(len(replayed), Q["replayed"], replayed)
            await self.connection.execute(Q["lock_marks"], replayed)
            await self.connection.execute(Q["lift"], replayed)
        if spooled:
            await self._expect(len(spooled), Q["unspool"], *_columns([r.at for r in spooled]), [r.offset for r in spooled])

    async def _put_aside(self, changes: Changes) -> None:
        if kept := changes.kept:
            keys = [row.key.kind for row in kept], [row.key.id for row in kept]
            waits = [row.until for row in kept], [row.shard for row in kept]
            await self.connection.execute(Q["keep"], *keys, *waits, *_record_columns([row.record for row in kept]))
        if changes.quarantines:
            await self._quarantine(changes.quarantines)
        if parked := parked_of(changes):
            waits_for = [json.dumps([f"{key.kind} {key.id}" for key in one.waits_for]) for one in parked]
            why = [one.status for one in parked], [one.reason for one in parked], [one.detail for one in parked], waits_for
            await self.connection.execute(Q["park"], *why, *_record_columns([one.record for one in parked]))
        if spooled := changes.spooled:
            lanes = [row.lane.service for row in spooled], [row.lane.incarnation for row in spooled], [row.seq for row in spooled]
            await self.connection.execute(Q["spool"], *lanes, *_record_columns([row.record for row in spooled]))

    async def _quarantine(self, quarantines: Sequence[Quarantine]) -> None:
        if behind := sorted({key for one in quarantines for key in one.behind}):
            held = await self.connection.fetch(Q["hold_marks"], [key.kind for key in behind], [key.id for key in behind])
            if len(held) != len(behind):
                raise Collision(f"{len(held)} of {len(behind)} marks: hold_marks")
        marks = {key: one.reason for one in reversed(quarantines) for key in one.keys}
        await self.connection.execute(Q["quarantine"], [k.kind for k in marks], [k.id for k in marks], list(marks.values()))

    async def _move_offsets(self, changes: Changes) -> None:
        moves, marks = changes.offsets, changes.marks
        if not moves and not marks:
            return
        done = await self.connection.execute(
            Q["move_offsets"],
            *_columns([m.at for m in moves]),
            [m.epoch for m in moves],
            [m.loaded for m in moves],
            [m.next for m in moves],
            *_columns([m.at for m in marks]),
            [m.lane.service for m in marks],
            [m.lane.incarnation for m in marks],
            [m.seq for m in marks],
        )
        if _count(done) != len(moves):
            raise NotOwner(f"{_count(done)} of {len(moves)} positions moved")

    async def ask_again(self, records: Sequence[Record]) -> list[StoredInput]:
        rows = await self.connection.fetch(Q["ask_again"], *_columns([one.at for one in records]), [one.offset for one in records])
        return [StoredInput(row["number"], "replay", _record(row)) for row in rows]

    async def number(self, rows: Sequence[OutboxRow]) -> list[LaneRow]:
        if not rows:
            return []
        counts = Counter(row.at for row in rows)
        taken = await self.connection.fetch(Q["take_lanes"], *_columns(list(counts)), list(counts.values()))
        heads = {TopicPartition(r["topic"], r["partition"]): [r["incarnation"], r["seq"]] for r in taken}
        numbered = []
        for row in rows:
            head = heads[row.at]
            head[1] += 1
            numbered.append(LaneRow(head[1], head[0], row))
        await self.connection.copy_records_to_table(
            "outbox", schema_name="kernel", records=[_outbox_record(r) for r in numbered], columns=OUTBOX_COLUMNS
        )
        return numbered


async def _commit(connection: Any, transaction: Any) -> None:
    try:
        await transaction.commit()
    except (*LOST, asyncpg.OperatorInterventionError) as error:  # a server that is told to stop may have committed already
        _terminate(connection)
        raise CommitUnknown(f"{error!r}") from error
    except asyncio.CancelledError:
        _terminate(connection)
        raise
    except TRANSIENT as error:
        raise Transient(f"{error!r}") from error


def _terminate(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # a lost connection has left the pool already
        connection.terminate()


async def _roll_back(connection: Any, transaction: Any) -> None:
    try:
        await transaction.rollback()
    except (*LOST, asyncpg.PostgresError):
        _terminate(connection)


def _columns(at: Sequence[TopicPartition]) -> tuple[list[str], list[int]]:
    return [one.topic for one in at], [one.partition for one in at]


def _mark_columns(marks: Sequence[InboxMark]) -> tuple[list[str], list[str], list[bytes], list[datetime]]:
    return [m.source for m in marks], [m.id for m in marks], [m.digest for m in marks], [m.at for m in marks]


def _timer_columns(timers: Sequence[TimerRow]) -> tuple[list[str], list[str], list[str]]:
    return [t.key.kind for t in timers], [t.key.id for t in timers], [t.name for t in timers]


def _record_columns(records: Sequence[Record]) -> tuple[list[Any], ...]:
    """topic, partition, off, appended_ms, key, value, headers."""
    headers = [
        json.dumps([[name.replace("\x00", "?"), value.hex() if value is not None else None] for name, value in r.headers]) for r in records
    ]
    return (
        *_columns([r.at for r in records]),
        [r.offset for r in records],
        [r.appended_ms for r in records],
        [r.key for r in records],
        [r.value for r in records],
        headers,
    )


def _record(row: Any) -> Record:
    headers = tuple((name, bytes.fromhex(value) if value is not None else None) for name, value in json.loads(row["headers"]))
    return Record(row["topic"], row["partition"], row["off"], row["appended_ms"], row["key"], row["value"], headers)


def _kept(row: Any) -> StoredInput:
    return StoredInput(row["number"], "kept", _record(row), Key(row["kind"], row["id"]), row["until"])


def _lane_row(row: Any) -> LaneRow:
    fields = {name: row[name] for name in OUTBOX_COLUMNS if name not in ("seq", "incarnation")}
    return LaneRow(row["seq"], row["incarnation"], OutboxRow(**fields))


def _outbox_record(numbered: LaneRow) -> tuple[Any, ...]:
    row = numbered.row
    return (
        row.topic,
        row.partition,
        numbered.seq,
        numbered.incarnation,
        row.key,
        row.type,
        row.id,
        row.time,
        row.correlation,
        row.causation,
        row.trace,
        row.subject,
        row.subject_version,
        row.value,
    )


def _count(status: str) -> int:
    return int(status.rsplit(" ", 1)[-1])


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
