"""Protections of the kernel's transactions, switched off: what is compared, what is locked, what is committed together, timers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shared.kernel import memory_transaction
from shared.kernel.engine import Engine
from shared.kernel.memory_rows import SentRow
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Session
from shared.kernel.memory_transaction import MemoryTransaction
from shared.kernel.ports import Changes, CommitUnknown, LaneRow, OutboxRow, TimerRow, TopicPartition
from shared.kernel.stage import Stage
from shared.value import replace
from tests.sim.mutant import mutant, part, switch
from tests.sim.themed import CROWDED, STOPPED, TWO, Worlds


@mutant("rows are written only where they are as they were loaded (version)", worlds=CROWDED)
def row_versions() -> None:
    """Nor are they locked before: whoever writes last has written."""

    async def changed(self: MemoryTransaction, name: str, changes: Any) -> None:
        for change in changes:
            session, stored = await self._statement(name), _stored(self, change)
            await session.update(memory_transaction.table_of(change.key.kind), [change.key.id], lambda *_: True, _always(stored))

    async def inserted(self: MemoryTransaction, kind: str, changes: Any) -> None:
        for change in changes:
            session, stored = await self._statement(f"insert {kind}"), _stored(self, change)
            await session.upsert(memory_transaction.table_of(kind), change.key.id, stored, _always(stored))

    async def unlocked(self: MemoryTransaction, keys: Any) -> Any:
        return await self.find(keys)

    switch(MemoryTransaction, "_change_rows", changed)
    switch(MemoryTransaction, "_insert_rows", inserted)
    switch(MemoryTransaction, "load", unlocked)


def _stored(transaction: MemoryTransaction, change: Any) -> Any:
    return transaction._codecs[change.key.kind].stored(change) if change.state is not None or change.empty else None


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_: value


@mutant("positions move only for their owner (epoch) and from where they were loaded (offset)", worlds=STOPPED)
def epoch_and_offset() -> None:
    switch(memory_transaction, "_is_as_loaded", lambda move, position: True)


@mutant("how far was read (positions, marks of lanes, the inbox) is committed with what it led to", worlds=Worlds("crash"))
def offsets_in_the_transaction() -> None:
    """As at-least-once systems do: first the effects, then, in a transaction of its own, how far was read."""
    write, begin = MemoryTransaction.write, MemoryStore.begin

    async def effects_only(
        self: MemoryTransaction, changes: Changes, messages: Sequence[OutboxRow] = (), *, unattached: bool = False
    ) -> list[LaneRow]:
        read = Changes(offsets=changes.offsets, marks=changes.marks, inbox=changes.inbox)
        changes.marks, changes.inbox = [], []
        changes.offsets = [replace(move, next=move.loaded) for move in changes.offsets]
        numbered = await write(self, changes, messages, unattached=unattached)
        changes.offsets, changes.marks, changes.inbox = read.offsets, read.marks, read.inbox
        self.read_so_far = read  # type: ignore[attr-defined]
        return numbered

    def in_two_steps(self: MemoryStore) -> Any:
        @asynccontextmanager
        async def within() -> Any:
            async with begin(self) as transaction:
                yield transaction
            read = getattr(transaction, "read_so_far", None)
            if read is not None:
                async with begin(self) as second:
                    await write(second, read)

        return within()

    switch(MemoryTransaction, "write", effects_only)
    switch(MemoryStore, "begin", in_two_steps)


@mutant("marks of lanes are read anew after a failed batch")
def marks_forgotten() -> None:
    attempt = Engine._transact

    async def remembered(self: Engine, batch: Any) -> Any:
        outcome = None
        stages: list[Stage] = []
        write = self._write

        async def noted(transaction: Any, stage: Stage, consumed: Any) -> Any:
            stages.append(stage)
            return await write(transaction, stage, consumed)

        self._write = noted  # type: ignore[method-assign]
        try:
            outcome = await attempt(self, batch)
        finally:
            del self._write
            if outcome is None:
                for stage in stages:
                    self._marks |= stage.moved
        return outcome

    claim = Engine._claim

    async def claimed(self: Engine, partitions: Any) -> None:
        marks = dict(self._marks)
        await claim(self, partitions)
        for lane, seq in marks.items():
            self._marks[lane] = max(seq, self._marks.get(lane, 0))

    switch(Engine, "_transact", remembered)
    switch(Engine, "_claim", claimed)


@mutant("an unknown commit is taken for a failed one until the store has said")
def unknown_commits() -> None:
    begin = MemoryStore.begin

    def hopeful(self: MemoryStore) -> Any:
        @asynccontextmanager
        async def within() -> Any:
            try:
                async with begin(self) as transaction:
                    yield transaction
            except CommitUnknown:
                return

        return within()

    switch(MemoryStore, "begin", hopeful)


@mutant("a dead letter is written in the transaction that moves past its record")
def dead_letters_in_the_transaction() -> None:
    put_aside = MemoryTransaction._put_aside

    async def later(self: MemoryTransaction, changes: Changes) -> None:
        letters, changes.dead_letters = changes.dead_letters, []
        await put_aside(self, changes)
        if letters and self._session.database.number("letter coin") % 4:
            changes.dead_letters = letters
            await put_aside(self, Changes(dead_letters=letters))

    switch(MemoryTransaction, "_put_aside", later)


@mutant("the numbers of a lane are taken under its lock, which is held until the commit", worlds=Worlds("commit_error", given=TWO))
def lanes_held() -> None:
    """Numbers of a sequence: whoever took the later one may commit first, and a roll-back leaves a hole."""

    async def number(self: MemoryTransaction, rows: Sequence[OutboxRow]) -> list[LaneRow]:
        session, found = await self._statement("take_lanes"), list[LaneRow]()
        heads: dict[TopicPartition, Any] = {}
        for row in rows:
            at = TopicPartition(row.topic, row.partition)
            heads[at] = session.get("lane_out", at)._replace(seq=session.database.number(f"lane {at}"))
            found.append(LaneRow(heads[at].seq, heads[at].incarnation, row))
        session = await self._statement("copy outbox")
        for at, head in sorted(heads.items()):
            await session.upsert("lane_out", at, head, _higher(head))
        for one in found:
            key = (TopicPartition(one.row.topic, one.row.partition), one.seq)
            session.put("outbox", key, SentRow(one, session.database.clock.now()))
        return found

    switch(MemoryTransaction, "_number", number)


def _higher(head: Any) -> Callable[[Any], Any]:
    return lambda known: head if known.seq < head.seq else None


@mutant("lanes are locked last, by everybody", worlds=CROWDED)
def lanes_locked_last() -> None:
    """Every other transaction locks them first."""
    load = MemoryTransaction.load

    async def lanes_first(self: MemoryTransaction, keys: Any) -> Any:
        if self._session.database.number("lane coin") % 2:
            session = await self._statement("take_lanes")
            for at in sorted(self._session.database.table("lane_out")):  # type: ignore[type-var]
                await session.lock("lane_out", at)
        return await load(self, keys)

    switch(MemoryTransaction, "load", lanes_first)


@mutant("rows are locked in one global order", worlds=CROWDED)
def lock_order() -> None:
    load = MemoryTransaction.load

    async def any_order(self: MemoryTransaction, keys: Any) -> Any:
        found: dict[Any, Any] = {}
        for key in sorted(set(keys), reverse=self._session.database.number("order coin") % 2 == 0):
            found |= await load(self, [key])
        return found

    switch(MemoryTransaction, "load", any_order)


@mutant("a timer fires once, under its own time")
def timers_fire_once() -> None:
    async def write_timers(self: MemoryTransaction, changes: Changes) -> None:
        fired, changes.timers_fired = changes.timers_fired, []
        if self._session.database.number("timer coin") % 2:
            changes.timers_fired = fired
        await write(self, changes)
        changes.timers_fired = fired

    write = MemoryTransaction._write_timers
    switch(MemoryTransaction, "_write_timers", write_timers)


@part("a timer shard is run by its owner only: of two who run one timer, the second finds no row to delete")
def timer_ownership() -> None:
    due, upcoming = MemoryStore.timers_due, MemoryStore.next_timer

    async def anybodys(self: MemoryStore, shards: Any, until: Any, limit: int) -> list[TimerRow]:
        return await due(self, range(100), until, limit)

    async def next_of_anybody(self: MemoryStore, shards: Any) -> Any:
        return await upcoming(self, range(100))

    switch(MemoryStore, "timers_due", anybodys)
    switch(MemoryStore, "next_timer", next_of_anybody)


@mutant("no row, no effect: a timer that is gone, or was put off, is not run", worlds=STOPPED)
def timers_counted() -> None:
    write = MemoryTransaction._write_timers

    async def whatever_is_there(self: MemoryTransaction, changes: Changes) -> None:
        fired, changes.timers_fired = changes.timers_fired, []
        session: Session = await self._statement("fire_timers")
        await session.delete("timer", [(timer.key, timer.name) for timer in fired])
        await write(self, changes)
        changes.timers_fired = fired

    switch(MemoryTransaction, "_write_timers", whatever_is_there)


@mutant("a timer is run once, by its owner", parts=("timer_ownership", "timers_counted"), worlds=STOPPED)
def timer_owners_and_counts() -> None:
    """Nothing beside its parts."""
