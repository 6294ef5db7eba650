"""The store in memory: the statements of queries.sql, one by one, on tables as weak as Postgres (see memory_tables.py).

Several stores may share one database, as replicas do. Each awaits its hook before every statement, before a commit (`commit`) and after it
(`commit answer`): raise Transient there for a lost connection, CommitUnknown for a lost answer, anything else for a crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import cache
from itertools import groupby, islice
from typing import Any

from schemas.topics import Topic
from shared.kernel.memory_clock import Hook, undisturbed
from shared.kernel.memory_rows import KeptRow, LaneHead, ParkedRow, Position, Published, SentRow, StoredCodec
from shared.kernel.memory_tables import Database, Session
from shared.kernel.model import Key, Kind, Service, Slice
from shared.kernel.ports import (
    EVERYTHING_KEPT,
    Attached,
    Begins,
    Changes,
    Claim,
    Collision,
    DeadLetter,
    HistoryEntry,
    Horizon,
    InboxMark,
    LaneId,
    LaneRow,
    NotOwner,
    OffsetMove,
    OutboxRow,
    Parked,
    Quarantine,
    ReadBack,
    Record,
    Row,
    RowChange,
    StoredInput,
    TimerRow,
    TopicPartition,
    parked_of,
)
from shared.kernel.rows import RowCodec
from shared.value import replace

PRUNED_AT_ONCE = 5000


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
        return [_kept_input(one) for one in sorted(kept, key=lambda one: one.number)[:limit]]

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
            rows = sorted((id, row) for id, row in session.items(_table(kind)) if id > after)
            shown = {id: session.get("published", (topic, id)) for id, _ in rows}
        dirty = [(id, row) for id, row in rows if (mark := shown[id]) is None or mark.version != row.version]
        return [(id, Row(row.version, row.state)) for id, row in dirty[:limit]]

    # ---- reading ----

    async def rows(self, kind: str, ids: Sequence[str]) -> dict[str, Row]:
        async with self._statement("rows") as session:
            found = {id: session.get(_table(kind), id) for id in ids}
        return {id: Row(row.version, row.state) for id, row in found.items() if row is not None}

    async def scan(self, kind: str) -> AsyncIterator[tuple[str, Row]]:
        async with self._statement("scan") as session:
            rows = sorted((id, Row(row.version, row.state)) for id, row in session.items(_table(kind)))
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

    async def prune_outbox(self, older_than: datetime) -> int:
        async with self._statement("prune_outbox") as session:
            old = [(at, seq) for (at, seq), row in session.items("outbox") if row.at < older_than]
            gone = [(at, seq) for at, seq in old if seq <= (session.get("lane_sent", at) or 0)]
            return await session.delete("outbox", gone[:PRUNED_AT_ONCE])

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


class MemoryTransaction:
    """One READ COMMITTED transaction; see ports.Transaction."""

    def __init__(self, session: Session, codecs: Mapping[str, StoredCodec], hook: Hook) -> None:
        self.life = str(session.database.life)
        self._session = session
        self._codecs = codecs
        self._hook = hook

    async def _statement(self, name: str) -> Session:
        """The session, ready for its next statement."""
        await self._hook(name)
        self._session.check()
        return self._session

    # ---- reading ----

    async def find(self, keys: Sequence[Key]) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for kind, group in groupby(sorted(set(keys)), key=lambda key: key.kind):
            session = await self._statement(f"find {kind}")
            rows = {key: session.get(_table(kind), key.id) for key in group}
            found |= {key: Row(row.version, row.state) for key, row in rows.items() if row is not None}
        return found

    async def load(self, keys: Sequence[Key]) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for kind, group in groupby(sorted(set(keys)), key=lambda key: key.kind):
            session = await self._statement(f"load {kind}")
            table = _table(kind)
            there = [key for key in group if session.get(table, key.id) is not None]
            for key in there:
                row = session.get(table, key.id) if session.lock_now(table, key.id) else await session.lock(table, key.id)
                if row is not None:
                    found[key] = Row(row.version, row.state)
        return found

    async def slices(self, wanted: Sequence[tuple[Slice, int]]) -> dict[tuple[Key, str], list[tuple[Key, Row]]]:
        found: dict[tuple[Key, str], list[tuple[Key, Row]]] = {(of.owner, of.kind): [] for of, _ in wanted}
        for kind, group in groupby(sorted(wanted, key=lambda w: w[0].kind), key=lambda w: w[0].kind):
            session = await self._statement(f"slices {kind}")
            most: dict[Key, int] = {}
            for of, count in group:
                most[of.owner] = max(count, most.get(of.owner, 0))
            rows = sorted(session.items(_table(kind)), key=lambda entry: (entry[1].rank is None, entry[1].rank or "", entry[0]))
            for owner, count in most.items():
                owned = [(Key(kind, id), Row(row.version, row.state)) for id, row in rows if row.owner == owner.id]
                found[owner, kind] = owned[:count]
        return found

    async def attached(self, keys: Sequence[Key]) -> Attached:
        session = await self._statement("attached")
        kept = frozenset([kept.row.key for _, kept in session.items("kept")]).intersection(keys)
        marks = dict(session.items("quarantine"))
        return Attached(kept, frozenset([key for key in keys if key in marks]) if marks else frozenset())

    async def kept_for(self, keys: Sequence[Key]) -> list[StoredInput]:
        session = await self._statement("kept_for")
        kept = [kept for _, kept in session.items("kept") if kept.row.key in keys]
        return [_kept_input(one) for one in sorted(kept, key=lambda one: one.number)]

    async def known(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        session = await self._statement("known")
        marks = {id: session.get("inbox", id) for id in ids}
        return {id: mark.digest for id, mark in marks.items() if mark is not None}

    # ---- ownership ----

    async def claim(self, partitions: Sequence[TopicPartition], begins: Begins) -> tuple[dict[TopicPartition, Position], Counter[Any]]:
        """The positions, and how many records of each partition are spooled."""
        session = await self._statement("claim")
        there = [at for at in sorted(set(partitions)) if session.get("position", at) is not None]
        claimed = {}
        for at in there:
            claimed[at] = (await session.lock("position", at)).claimed(begins.get(at, 0))
        for at, position in claimed.items():
            session.put("position", at, position)
        return claimed, Counter(at for ((at, _), _), _ in session.items("spool"))

    async def marks(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, dict[LaneId, int]]:
        session = await self._statement("marks")
        marks: dict[TopicPartition, dict[LaneId, int]] = {}
        for (at, lane), seq in session.items("lane_in"):
            if at in partitions:
                marks.setdefault(at, {})[lane] = seq
        return marks

    # ---- writing ----

    async def write(self, changes: Changes) -> None:
        if changes.rows:
            await self._write_rows(changes.rows)
        if changes.history:
            await self._write_history(changes.history)
        if changes.inbox:
            await self._write_inbox(changes.inbox)
        if changes.timers_fired or changes.timers_cancelled or changes.timers_set:
            await self._write_timers(changes)
        if changes.taken:
            await self._take(changes.taken)
        if changes.kept or changes.quarantines or changes.dead_letters or changes.spooled:
            await self._put_aside(changes)
        if changes.offsets or changes.marks:
            await self._move_offsets(changes)

    async def _write_rows(self, rows: Sequence[RowChange]) -> None:
        for kind, group in groupby(sorted(rows, key=lambda c: c.key), key=lambda c: c.key.kind):
            changes = list(group)
            there = [c for c in changes if c.state is not None or c.empty]
            await self._insert_rows(kind, [c for c in there if c.base == 0])
            await self._change_rows(f"update {kind}", [c for c in there if c.base > 0])
            await self._change_rows(f"delete {kind}", [c for c in changes if c not in there and c.base > 0])

    async def _insert_rows(self, kind: str, changes: Sequence[RowChange]) -> None:
        if changes:
            stored = [(c.key.id, self._codecs[kind].stored(c)) for c in changes]
            session = await self._statement(f"insert {kind}")
            done = [await session.insert(_table(kind), id, row) for id, row in stored]
            _expect(len(changes), sum(done), f"insert {kind}")

    async def _change_rows(self, name: str, changes: Sequence[RowChange]) -> None:
        if changes:
            kind = changes[0].key.kind
            by_id = {c.key.id: c for c in changes}
            stored = {id: self._codecs[kind].stored(c) if c.state is not None or c.empty else None for id, c in by_id.items()}
            session = await self._statement(name)
            done = await session.update(_table(kind), by_id, lambda of, row: row.version == by_id[of].base, lambda of, _: stored[of])
            _expect(len(changes), done, name)

    async def _write_history(self, entries: Sequence[HistoryEntry]) -> None:
        parsed = [self._codecs[entry.key.kind].entry(entry) for entry in entries]
        session = await self._statement("history")
        for entry in parsed:
            session.put("history", session.database.number("history"), entry)

    async def _write_inbox(self, marks: Sequence[InboxMark]) -> None:
        fresh = sorted((mark for mark in marks if mark.before is None), key=lambda mark: (mark.source, mark.id))
        again = {(mark.source, mark.id): mark for mark in marks if mark.before is not None}
        if fresh:
            session = await self._statement("mark_inbox")
            _expect(len(fresh), sum([await session.insert("inbox", (mark.source, mark.id), mark) for mark in fresh]), "mark_inbox")
        if again:
            session = await self._statement("mark_inbox_again")
            done = await session.update("inbox", again, lambda of, mark: mark.digest == again[of].before, lambda of, _: again[of])
            _expect(len(again), done, "mark_inbox_again")

    async def _write_timers(self, changes: Changes) -> None:
        if changes.timers_fired:
            due = {(timer.key, timer.name): timer.due for timer in changes.timers_fired}
            session = await self._statement("fire_timers")
            done = await session.delete("timer", due, lambda of, timer: timer.due == due[of])
            _expect(len(changes.timers_fired), done, "fire_timers")
        if changes.timers_cancelled:
            session = await self._statement("cancel_timers")
            await session.delete("timer", changes.timers_cancelled)
        if changes.timers_set:
            session = await self._statement("set_timers")
            for timer in changes.timers_set:
                await session.upsert("timer", (timer.key, timer.name), timer, _moved_to(timer))

    async def _take(self, taken: Sequence[StoredInput]) -> None:
        await self._take_kept([one.id for one in taken if one.purpose == "kept"])
        await self._take_replayed([one.id for one in taken if one.purpose == "replay"])
        spooled = {_place(one.record) for one in taken if one.purpose == "spooled"}
        if spooled:
            session = await self._statement("unspool")
            keys = [key for key, record in session.items("spool") if _place(record) in spooled]
            _expect(len(spooled), await session.delete("spool", keys), "unspool")

    async def _take_kept(self, numbers: Sequence[int]) -> None:
        if numbers:
            session = await self._statement("forget_kept")
            keys = [place for place, kept in session.items("kept") if kept.number in numbers]
            _expect(len(numbers), await session.delete("kept", keys), "forget_kept")

    async def _take_replayed(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        session = await self._statement("replayed")
        keys = [place for place, row in session.items("parked") if row.number in numbers]
        done = await session.update("parked", keys, lambda _, row: row.status == "replay", lambda _, row: _in_status(row, "replayed"))
        _expect(len(numbers), done, "replayed")
        await self._lift(keys)

    async def _lift(self, places: Sequence[Hashable]) -> None:
        session = await self._statement("lock_marks")
        waited_for = {key for place in places for key in session.get("parked", place).parked.waits_for}
        marks = [key for key in sorted(waited_for) if session.get("quarantine", key) is not None]
        for key in marks:
            await session.lock("quarantine", key)
        session = await self._statement("lift")
        waiting = {key for _, row in session.items("parked") if row.status in ("quarantined", "replay") for key in row.parked.waits_for}
        await session.delete("quarantine", [key for key in marks if key not in waiting])

    async def _put_aside(self, changes: Changes) -> None:
        if changes.kept:
            session = await self._statement("keep")
            for row in changes.kept:
                record = _storable(row.record)
                await session.insert("kept", _place(record), KeptRow(session.database.number("kept"), replace(row, record=record)))
        if changes.quarantines:
            await self._quarantine(changes.quarantines)
        if parked := parked_of(changes):
            session = await self._statement("park")
            for one in parked:
                fresh = ParkedRow(session.database.number("parked"), one._replace(record=_storable(one.record)))
                await session.upsert("parked", _place(one.record), fresh, _parked_again(fresh.parked))
        if changes.spooled:
            session = await self._statement("spool")
            for spooled in changes.spooled:
                await session.insert("spool", ((spooled.at, spooled.lane), spooled.seq), _storable(spooled.record))

    async def _quarantine(self, quarantines: Sequence[Quarantine]) -> None:
        behind = sorted({key for one in quarantines for key in one.behind})
        if behind:
            session = await self._statement("hold_marks")
            there = [key for key in behind if session.get("quarantine", key) is not None]
            held = [await session.lock("quarantine", key) for key in there]
            _expect(len(behind), len([mark for mark in held if mark is not None]), "hold_marks")
        session = await self._statement("quarantine")
        marks = {key: one.reason for one in reversed(quarantines) for key in one.keys}
        for key in sorted(marks):
            await session.insert("quarantine", key, marks[key])

    async def _move_offsets(self, changes: Changes) -> None:
        session = await self._statement("move_offsets")
        for mark in changes.marks:
            await session.upsert("lane_in", (mark.at, mark.lane), mark.seq, _forward(mark.seq))
        moves = {move.at: move for move in changes.offsets}
        done = await session.update(
            "position",
            moves,
            lambda at, position: _is_as_loaded(moves[at], position),
            lambda at, position: position._replace(next=moves[at].next),
        )
        if done != len(moves):
            raise NotOwner(f"{done} of {len(moves)} positions moved")

    async def ask_again(self, records: Sequence[Record]) -> list[StoredInput]:
        session = await self._statement("ask_again")
        places = [place for place in map(_place, records) if session.get("parked", place) is not None]
        await session.update("parked", places, lambda *_: True, lambda _, row: _in_status(row, "replay"))
        rows = [session.get("parked", place) for place in places]
        return [StoredInput(row.number, "replay", row.parked.record) for row in rows]

    async def number(self, rows: Sequence[OutboxRow]) -> list[LaneRow]:
        if not rows:
            return []
        destinations = sorted({row.at for row in rows})
        session = await self._statement("take_lanes")
        there = [at for at in destinations if session.get("lane_out", at) is not None]
        heads = {at: await session.lock("lane_out", at) for at in there}
        numbered = []
        for row in rows:
            at = row.at
            heads[at] = heads[at]._replace(seq=heads[at].seq + 1)
            numbered.append(LaneRow(heads[at].seq, heads[at].incarnation, row))
        for at, head in heads.items():
            session.put("lane_out", at, head)
        session = await self._statement("copy outbox")
        for lane_row in numbered:
            key = (lane_row.row.at, lane_row.seq)
            session.put("outbox", key, SentRow(lane_row, session.database.clock.now()))
        return numbered


@cache
def _codec_of(kind: Kind[Any]) -> RowCodec:
    """Made once in a process: it takes milliseconds."""
    return RowCodec(kind)


def _table(kind: str) -> str:
    return f"state.{kind}"


def _expect(count: int, done: int, what: str) -> None:
    if done != count:
        raise Collision(f"{done} of {count} rows: {what}")


def _place(record: Record) -> Hashable:
    return record.topic, record.partition, record.offset


def _storable(record: Record) -> Record:
    """Header names lose their NULs, which jsonb can't hold."""
    return record._replace(headers=tuple((name.replace("\x00", "?"), value) for name, value in record.headers))


def _is_due(kept: KeptRow, shards: Sequence[int], now: datetime, everything: bool) -> bool:
    return kept.row.shard in shards and (kept.row.until <= now or everything)


def _kept_input(kept: KeptRow) -> StoredInput:
    return StoredInput(kept.number, "kept", kept.row.record, kept.row.key, kept.row.until)


def _ready(spool: Sequence[tuple[Any, Record]], marks: Mapping[Any, int]) -> Iterator[Record]:
    """Of each lane the run that follows its mark, and what the mark has passed."""
    reached = dict(marks)
    for (lane, seq), record in spool:
        if seq <= reached.get(lane, 0) + 1:
            reached[lane] = max(seq, reached.get(lane, 0))
            yield record


def _is_as_loaded(move: OffsetMove, position: Position) -> bool:
    return position.epoch == move.epoch and position.next == move.loaded


def _moved_to(timer: TimerRow) -> Callable[[TimerRow], TimerRow]:
    return lambda known: replace(known, due=timer.due, rank=timer.rank, trace=timer.trace)


def _forward(seq: int) -> Callable[[int], int | None]:
    return lambda known: seq if known < seq else None


def _in_status(row: ParkedRow, status: str) -> ParkedRow:
    return row._replace(parked=row.parked._replace(status=status))


def _parked_again(fresh: Parked) -> Callable[[ParkedRow], ParkedRow]:
    return lambda known: known._replace(parked=fresh._replace(record=known.parked.record))
