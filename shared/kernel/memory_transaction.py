"""A transaction on the database in memory: the statements of a batch, one by one, as queries.sql has them (see memory_store.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import groupby
from typing import Any

from shared.kernel.memory_clock import Hook
from shared.kernel.memory_rows import KeptRow, ParkedRow, Position, SentRow, StoredCodec
from shared.kernel.memory_tables import Session
from shared.kernel.model import Key, Slice
from shared.kernel.ports import (
    NOTHING_ATTACHED,
    Attached,
    Begins,
    Changes,
    Collision,
    HistoryEntry,
    InboxMark,
    LaneId,
    LaneRow,
    NotOwner,
    OffsetMove,
    OutboxRow,
    Parked,
    Quarantine,
    Record,
    Row,
    RowChange,
    SomethingAttached,
    StoredInput,
    TimerRow,
    TopicPartition,
    parked_of,
)
from shared.value import replace


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
            rows = {key: session.get(table_of(kind), key.id) for key in group}
            found |= {key: Row(row.version, row.state) for key, row in rows.items() if row is not None}
        return found

    async def load(self, keys: Sequence[Key]) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for kind, group in groupby(sorted(set(keys)), key=lambda key: key.kind):
            session = await self._statement(f"load {kind}")
            table = table_of(kind)
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
            rows = sorted(session.items(table_of(kind)), key=lambda entry: (entry[1].rank is None, entry[1].rank or "", entry[0]))
            for owner, count in most.items():
                owned = [(Key(kind, id), Row(row.version, row.state)) for id, row in rows if row.owner == owner.id]
                found[owner, kind] = owned[:count]
        return found

    async def attached(self, keys: Sequence[Key]) -> Attached:
        session = await self._statement("attached")
        kept, marks = [one.row.key for _, one in session.items("kept")], dict(session.items("quarantine"))
        if not kept and not marks:
            return NOTHING_ATTACHED
        return Attached(frozenset(kept).intersection(keys), frozenset([key for key in keys if key in marks]))

    async def kept_for(self, keys: Sequence[Key]) -> list[StoredInput]:
        session = await self._statement("kept_for")
        kept = [kept for _, kept in session.items("kept") if kept.row.key in keys]
        return [kept_input(one) for one in sorted(kept, key=lambda one: one.number)]

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

    async def write(self, changes: Changes, messages: Sequence[OutboxRow] = (), *, unattached: bool = False) -> list[LaneRow]:
        if unattached and await self.attached(()) is not NOTHING_ATTACHED:
            raise SomethingAttached
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
        return await self._number(messages) if messages else []

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
            done = [await session.insert(table_of(kind), id, row) for id, row in stored]
            _expect(len(changes), sum(done), f"insert {kind}")

    async def _change_rows(self, name: str, changes: Sequence[RowChange]) -> None:
        if changes:
            kind = changes[0].key.kind
            by_id = {c.key.id: c for c in changes}
            stored = {id: self._codecs[kind].stored(c) if c.state is not None or c.empty else None for id, c in by_id.items()}
            session = await self._statement(name)
            done = await session.update(table_of(kind), by_id, lambda of, row: row.version == by_id[of].base, lambda of, _: stored[of])
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

    async def _number(self, rows: Sequence[OutboxRow]) -> list[LaneRow]:
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


def table_of(kind: str) -> str:
    return f"state.{kind}"


def _expect(count: int, done: int, what: str) -> None:
    if done != count:
        raise Collision(f"{done} of {count} rows: {what}")


def _place(record: Record) -> Hashable:
    return record.topic, record.partition, record.offset


def _storable(record: Record) -> Record:
    """Header names lose their NULs, which jsonb can't hold."""
    return replace(record, headers=tuple((name.replace("\x00", "?"), value) for name, value in record.headers))


def kept_input(kept: KeptRow) -> StoredInput:
    return StoredInput(kept.number, "kept", kept.row.record, kept.row.key, kept.row.until)


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
