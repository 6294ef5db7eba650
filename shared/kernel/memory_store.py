"""The store in memory: the statements of queries.sql, one by one, on tables as weak as Postgres (see memory_tables.py).

Several stores may share one database, as replicas do. Each awaits its hook before every statement, before a commit (`commit`) and after it
(`commit answer`): raise Transient there for a lost connection, CommitUnknown for a lost answer, anything else for a crash.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import cache
from itertools import groupby, islice
from typing import Any

from schemas.topics import Topic
from shared.kernel.memory_clock import Hook, undisturbed
from shared.kernel.memory_rows import KeptRow, LaneHead, Position, Published, StoredCodec
from shared.kernel.memory_tables import Database, Session
from shared.kernel.memory_transaction import MemoryTransaction, kept_input, table_of
from shared.kernel.model import Key, Kind, Service
from shared.kernel.ports import (
    EVERYTHING_KEPT,
    PRUNED_AT_ONCE,
    Begins,
    Claim,
    DeadLetter,
    Horizon,
    LaneRow,
    ReadBack,
    Record,
    Row,
    StoredInput,
    TimerRow,
    TopicPartition,
)
from shared.kernel.rows import RowCodec


class MemoryStore:
    """One process's connection to one service's database; see ports.Store."""

    def __init__(
        self,
        service: Service[Any],
        database: Database,
        *,
        owned: Sequence[tuple[Topic, int]] = (),
        hook: Hook = undisturbed,
        round_trip: bool = False,
        journal: TopicPartition | None = None,
    ) -> None:
        """`owned` are the topics it writes, with their partitions; `journal` is where it keeps its journal, if it does. With `round_trip`
        states and events are stored as Postgres stores them, as text or columns, and parsed again. A database with an archive is gated."""
        self.gated = database.archive is not None
        self._database = database
        self._hook = hook
        self._codecs = {kind.name: StoredCodec(_codec_of(kind), round_trip) for kind in service.kinds}
        database.provide("incarnation", "one", 1)
        self._declare_lanes([TopicPartition(topic.name, p) for topic, count in owned if topic.kind == "events" for p in range(count)])
        self._declare_lanes([journal] if journal is not None else [])

    def _declare_lanes(self, lanes: Sequence[TopicPartition]) -> None:
        incarnation = self._database.table("incarnation")["one"]
        for at in lanes:
            self._database.provide("lane_out", at, LaneHead(incarnation, 0))
            self._database.provide("lane_sent", at, 0)

    # ---- transactions ----

    def begin(self) -> AbstractAsyncContextManager[MemoryTransaction]:
        return _Begun(self, self._codecs, self._hook)

    def _statement(self, name: str) -> _Statement:
        return _Statement(self, name, self._hook)

    def open(self) -> Session:
        """A connection of this process, with a transaction on it."""
        return Session(self._database, self)

    def cut(self) -> None:
        """All connections of this process break: what it had open is rolled back."""
        for session in [session for session in self._database.sessions if session.client is self]:
            session.lose("connection lost")

    # ---- set-up and ownership ----

    async def incarnation(self) -> int:
        async with self._statement("incarnation") as session:
            return int(session.get("incarnation", "one"))

    async def horizon(self) -> Horizon:
        async with self._statement("horizon"):
            database = self._database
            held = database.archive.position if database.archive is not None else database.position
            return Horizon(str(database.life), database.position, held)

    async def declare(self, partitions: Sequence[TopicPartition]) -> None:
        async with self._statement("declare") as session:
            for at in partitions:
                await session.insert("position", at, Position())

    async def claim(self, partitions: Sequence[TopicPartition], begins: Begins = EVERYTHING_KEPT) -> dict[TopicPartition, Claim]:
        async with self.begin() as transaction:
            positions, spooled = await transaction.claim(partitions, begins)
            marks = await transaction.marks(partitions)
        return {at: Claim(p.epoch, p.next, marks.get(at, {}), p.began > 0, spooled[at]) for at, p in positions.items()}

    # ---- what waits ----

    async def timers_due(self, shards: Sequence[int], until: datetime, limit: int) -> list[TimerRow]:
        async with self._statement("timers_due") as session:
            due = [timer for _, timer in session.items("timer") if timer.shard in shards and timer.due <= until]
        return sorted(due, key=lambda timer: (timer.due, timer.rank, timer.key, timer.name))[:limit]

    async def next_timer(self, shards: Sequence[int]) -> datetime | None:
        async with self._statement("next_timer") as session:
            return min((timer.due for _, timer in session.items("timer") if timer.shard in shards), default=None)

    async def stored_due(self, shards: Sequence[int], now: datetime, limit: int, everything: bool) -> list[StoredInput]:
        async with self._statement("stored_waits") as session:
            kept = any(_is_due(one, shards, now, everything) for _, one in session.items("kept"))
            replays = any(parked.status == "replay" for _, parked in session.items("parked"))
            spooled = any(True for _ in session.items("spool"))
        found = await self._kept_due(shards, now, limit, everything) if kept else []
        if replays and 0 in shards:
            found += await self._replays(limit)
        return found + (await self._spool_ready(limit) if spooled else [])

    async def _kept_due(self, shards: Sequence[int], now: datetime, limit: int, everything: bool) -> list[StoredInput]:
        async with self._statement("kept_due") as session:
            kept = [one for _, one in session.items("kept") if _is_due(one, shards, now, everything)]
        return [kept_input(one) for one in sorted(kept, key=lambda one: one.number)[:limit]]

    async def _replays(self, limit: int) -> list[StoredInput]:
        async with self._statement("replays") as session:
            replays = [parked for _, parked in session.items("parked") if parked.status == "replay"]
        return [StoredInput(one.number, "replay", one.parked.record) for one in sorted(replays, key=lambda one: one.number)[:limit]]

    async def _spool_ready(self, limit: int) -> list[StoredInput]:
        async with self._statement("spool_ready") as session:
            spool, marks = sorted(session.items("spool"), key=lambda entry: entry[0]), dict(session.items("lane_in"))
        return [StoredInput(0, "spooled", record) for record in islice(_ready(spool, marks), limit)]

    # ---- publishing ----

    async def outbox(self, at: TopicPartition, after: int, limit: int) -> list[LaneRow]:
        async with self._statement("outbox") as session:
            head = session.get("lane_out", at)
            kept = (session.get("outbox", (at, seq)) for seq in range(after + 1, head.seq + 1 if head is not None else 0))
            return [row.row for row in islice((row for row in kept if row is not None), limit)]

    async def lane_heads(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int, int]]:
        async with self._statement("lane_heads") as session:
            lanes = {one: session.get("lane_out", one) for one in at}
            return {one: (*lane, session.get("lane_sent", one) or 0) for one, lane in lanes.items() if lane is not None}

    async def sent(self, tails: Mapping[TopicPartition, int]) -> None:
        async with self._statement("sent") as session:
            await session.update("lane_sent", sorted(tails), lambda at, seq: seq < tails[at], lambda at, _: tails[at])

    async def unsent_dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]:
        async with self._statement("unsent_dead_letters") as session:
            unsent = sorted((p for _, p in session.items("parked") if not p.sent), key=lambda parked: parked.number)
        return [(one.number, DeadLetter(one.parked.record, one.reason, one.parked.detail)) for one in unsent[:limit]]

    async def dead_letters_sent(self, ids: Sequence[int]) -> None:
        async with self._statement("dead_letters_sent") as session:
            await session.update(
                "parked",
                [key for key, parked in session.items("parked") if parked.number in ids],
                lambda *_: True,
                lambda _, row: row._replace(sent=True),
            )

    async def read_back(self, seen: Sequence[ReadBack]) -> list[str]:
        newest = {(one.topic, one.id): one for one in sorted(seen, key=lambda one: one.offset)}
        async with self._statement("read_back") as session:
            before = {key: session.get("published", key) for key in newest}
            moved = [one for key, one in sorted(newest.items()) if await self._publish(session, key, one)]
        highest = {key: known.version for key, known in before.items() if known is not None}
        for one in seen:
            highest[one.topic, one.id] = max(one.version, highest.get((one.topic, one.id), 0))
        return [one.id for one in moved if one.version < highest[one.topic, one.id]]

    async def _publish(self, session: Session, key: tuple[str, str], one: ReadBack) -> bool:
        mark = Published(one.version, one.offset)
        return await session.upsert("published", key, mark, lambda known: mark if known.offset < one.offset else None)

    async def dirty(self, topic: str, kind: str, after: str, limit: int) -> list[tuple[str, Row]]:
        async with self._statement("dirty") as session:
            rows = sorted((id, row) for id, row in session.items(table_of(kind)) if id > after)
            shown = {id: session.get("published", (topic, id)) for id, _ in rows}
        dirty = [(id, row) for id, row in rows if (mark := shown[id]) is None or mark.version != row.version]
        return [(id, Row(row.version, row.state)) for id, row in dirty[:limit]]

    # ---- reading ----

    async def rows(self, kind: str, ids: Sequence[str]) -> dict[str, Row]:
        async with self._statement("rows") as session:
            found = {id: session.get(table_of(kind), id) for id in ids}
        return {id: Row(row.version, row.state) for id, row in found.items() if row is not None}

    async def scan(self, kind: str) -> AsyncIterator[tuple[str, Row]]:
        async with self._statement("scan") as session:
            rows = sorted((id, Row(row.version, row.state)) for id, row in session.items(table_of(kind)))
        for entry in rows:
            yield entry

    async def history(self) -> AsyncIterator[tuple[Key, int, Any]]:
        """See PostgresStore.history."""
        async with self._statement("history") as session:
            entries = sorted((entry.key, number, entry.version, entry.event) for number, entry in session.items("history"))
        for key, _, version, event in entries:
            yield key, version, event

    # ---- housekeeping ----

    async def prune_inbox(self, older_than: datetime) -> int:
        async with self._statement("prune_inbox") as session:
            return await session.delete("inbox", [at for at, mark in session.items("inbox") if mark.at < older_than])

    async def prune_outbox(self, lanes: Sequence[TopicPartition], older_than: datetime) -> int:
        async with self._statement("prune_outbox") as session:
            sent = {lane: session.get("lane_sent", lane) or 0 for lane in lanes}
            gone = []
            for lane, rows in groupby(sorted(key for key, _ in session.items("outbox")), key=lambda key: key[0]):
                first = [key for key in rows if key[1] <= sent.get(lane, 0)][:PRUNED_AT_ONCE]
                old = [key for key in first if session.get("outbox", key).at < older_than]
                gone += [key for key in first if old and key <= old[-1]]
            return await session.delete("outbox", gone)

    async def depth(self) -> Mapping[str, int]:
        async with self._statement("depth") as session:
            lanes = [(lane.seq, session.get("lane_sent", at)) for at, lane in session.items("lane_out")]
            return {
                "outbox": sum(seq - sent for seq, sent in lanes if sent is not None),
                "dead_letters": sum(parked.status == "dead" for _, parked in session.items("parked")),
                "quarantined": sum(1 for _ in session.items("quarantine")),
                "spooled": len({at for (at, _), _ in session.items("spool")}),
                "kept": sum(1 for _ in session.items("kept")),
                "timers": sum(1 for _ in session.items("timer")),
            }

    async def close(self) -> None:
        self.cut()


class _Begun:
    """A transaction from its beginning to its end. A class, for there are many: a generator costs three times as much."""

    def __init__(self, store: MemoryStore, codecs: Mapping[str, StoredCodec], hook: Hook) -> None:
        self._store = store
        self._codecs = codecs
        self._hook = hook
        self._session: Session | None = None

    async def __aenter__(self) -> MemoryTransaction:
        await self._hook("begin")
        self._session = session = self._store.open()
        return MemoryTransaction(session, self._codecs, self._hook)

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        session = self._session
        assert session is not None
        try:
            if kind is None:
                await self._hook("commit")
                session.commit()
                await self._hook("commit answer")
        finally:
            session.roll_back()


class _Statement:
    """A statement of its own; where its answer is lost, it took effect all the same."""

    __slots__ = ("_hook", "_name", "_session", "_store")

    def __init__(self, store: MemoryStore, name: str, hook: Hook) -> None:
        self._store = store
        self._name = name
        self._hook = hook
        self._session: Session | None = None

    async def __aenter__(self) -> Session:
        await self._hook(self._name)
        self._session = self._store.open()
        return self._session

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        session = self._session
        assert session is not None
        try:
            if kind is None:
                session.commit()
        finally:
            session.roll_back()
        if kind is None:
            await self._hook(f"{self._name} answer")


@cache
def _codec_of(kind: Kind[Any]) -> RowCodec:
    """Made once in a process: it takes milliseconds."""
    return RowCodec(kind)


def _is_due(kept: KeptRow, shards: Sequence[int], now: datetime, everything: bool) -> bool:
    return kept.row.shard in shards and (kept.row.until <= now or everything)


def _ready(spool: Sequence[tuple[Any, Record]], marks: Mapping[Any, int]) -> Iterator[Record]:
    """Of each lane the run that follows its mark, and what the mark has passed."""
    reached = dict(marks)
    for (lane, seq), record in spool:
        if seq <= reached.get(lane, 0) + 1:
            reached[lane] = max(seq, reached.get(lane, 0))
            yield record
