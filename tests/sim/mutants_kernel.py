"""Protections of the kernel, switched off: reading, committing, publishing, timers, what is put aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from schemas.topics import INVENTORY_COMMANDS
from services.sourcing.projection import Network
from shared.kernel import engine, feed, memory_store
from shared.kernel.engine import Engine
from shared.kernel.feed import Feed
from shared.kernel.memory_rows import SentRow
from shared.kernel.memory_store import MemoryStore, MemoryTransaction
from shared.kernel.memory_tables import Session
from shared.kernel.pictures import Pictures
from shared.kernel.ports import Changes, CommitUnknown, LaneRow, OutboxRow, Outgoing, ProduceFailed, TimerRow, TopicPartition
from shared.kernel.publisher import Publisher
from shared.kernel.stage import Arrival, Stage
from shared.value import replace
from tests.sim.mutant import mutant, part, switch
from tests.sim.themed import CROWDED, DEAF, LONG_DEAF, OVERTAKEN, STOPPED, TWO, Worlds

# ---- kernel: reading ----


@mutant("records of a lane seen before are dropped")
def lane_dedupe() -> None:
    _take_twice(lambda topic: True)


@part("commands to inventory seen before are dropped: it notes which it has answered")
def commands_deduped() -> None:
    _take_twice(lambda topic: topic == INVENTORY_COMMANDS.name)


def _take_twice(of: Callable[[str], bool]) -> None:
    passes = Stage._passes_lane

    def everything_passes(self: Stage, arrival: Arrival) -> bool:
        if arrival.lane is not None and arrival.record is not None and arrival.envelope is not None and of(arrival.record.topic):
            lane = (arrival.record.at, arrival.lane)
            if 0 < arrival.envelope.seq <= self.moved.get(lane, self.marks.get(lane, 0)):
                return True
        return passes(self, arrival)

    switch(Stage, "_passes_lane", everything_passes)


@mutant("records behind a gap of their lane wait in the spool")
def gap_spool() -> None:
    passes = Stage._passes_lane

    def gaps_pass(self: Stage, arrival: Arrival) -> bool:
        if arrival.lane is not None and arrival.record is not None and arrival.envelope is not None:
            lane = (arrival.record.at, arrival.lane)
            if arrival.envelope.seq > self.moved.get(lane, self.marks.get(lane, 0)):
                self.moved[lane] = arrival.envelope.seq
                return True
        return passes(self, arrival)

    switch(Stage, "_passes_lane", gaps_pass)


@mutant("external messages whose (source, id) is known are dropped")
def inbox() -> None:
    switch(Stage, "_seen", lambda self, arrival: (False, False))


@mutant("after a fetch error all partitions are read again from their positions", worlds=Worlds("fetch_error"))
def seek_again() -> None:
    recorded = Engine.read

    async def read(self: Engine) -> None:
        fetch = self._reader.fetch

        async def swallowed(seconds: float) -> Any:
            try:
                return await fetch(seconds)
            except Exception:  # noqa: BLE001 - that is the mutant
                return []

        self._reader.fetch = swallowed  # type: ignore[assignment,method-assign]
        await recorded(self)

    switch(Engine, "read", read)


@mutant("external records wait while older internal ones are unread", worlds=DEAF)
def time_alignment() -> None:
    switch(Feed, "_free", lambda self, queue: True)


@mutant("after ten minutes what people say is judged, whatever is still unread", worlds=LONG_DEAF)
def waits_have_an_end() -> None:
    switch(feed, "WAIT_AT_MOST_MS", float("inf"))


@mutant("timers wait for every older input")
def timers_wait_for_inputs() -> None:
    switch(Feed, "horizon_ms", lambda self: float("inf"))


@part("the follower of a view passes on only newer documents: the view itself knows versions, too")
def newer_documents_pass() -> None:
    switch(Pictures, "_is_newer", lambda self, record, topic: True)


@part("a view takes a level only in a newer version: its follower passes on no other")
def newer_levels_count() -> None:
    def see(self: Network, sku: str, location: str, version: int, atp: int) -> None:
        self._levels.setdefault(sku, {})[location] = (version, atp)
        self._count(sku, location)

    switch(Network, "_see", see)


@mutant("a view counts only documents newer than the one it has", parts=("newer_documents_pass", "newer_levels_count"))
def newest_document_counts() -> None:
    """Nothing beside its parts."""


@mutant("a message for a row that isn't there yet is kept")
def kept_messages() -> None:
    switch(Stage, "_keep", lambda self, arrival, keep: None)


@part("keeping a message makes an empty row, so that the row's maker collides with it: all that is kept is tried every 30 s")
def kept_row() -> None:
    keep = Stage._keep

    def without_row(self: Stage, arrival: Arrival, kept: Any) -> None:
        row = self._rows[kept.key]
        existed, row.existed = row.existed, True
        keep(self, arrival, kept)
        row.existed = existed

    switch(Stage, "_keep", without_row)


@part("all that is kept is tried again now and then: whoever makes a row sees what was kept for it")
def kept_tried_again() -> None:
    switch(engine, "KEPT_S", 1e9)


@mutant("a message is not left waiting for a row that is there", parts=("kept_row", "kept_tried_again"), worlds=OVERTAKEN)
def kept_row_and_retry() -> None:
    """Nothing beside its parts."""


# ---- kernel: committing ----


@mutant("rows are written only where they are as they were loaded (version)", worlds=CROWDED)
def row_versions() -> None:
    """Nor are they locked before: whoever writes last has written."""

    async def changed(self: MemoryTransaction, name: str, changes: Any) -> None:
        for change in changes:
            session, stored = await self._statement(name), _stored(self, change)
            await session.update(memory_store._table(change.key.kind), [change.key.id], lambda *_: True, _always(stored))

    async def inserted(self: MemoryTransaction, kind: str, changes: Any) -> None:
        for change in changes:
            session, stored = await self._statement(f"insert {kind}"), _stored(self, change)
            await session.upsert(memory_store._table(kind), change.key.id, stored, _always(stored))

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
    switch(memory_store, "_is_as_loaded", lambda move, position: True)


@mutant("how far was read (positions, marks of lanes, the inbox) is committed with what it led to", worlds=Worlds("crash"))
def offsets_in_the_transaction() -> None:
    """As at-least-once systems do: first the effects, then, in a transaction of its own, how far was read."""
    write, begin = MemoryTransaction.write, MemoryStore.begin

    async def effects_only(self: MemoryTransaction, changes: Changes) -> None:
        read = Changes(offsets=changes.offsets, marks=changes.marks, inbox=changes.inbox)
        changes.marks, changes.inbox = [], []
        changes.offsets = [replace(move, next=move.loaded) for move in changes.offsets]
        await write(self, changes)
        changes.offsets, changes.marks, changes.inbox = read.offsets, read.marks, read.inbox
        self.read_so_far = read  # type: ignore[attr-defined]

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

    async def number(self: MemoryTransaction, rows: list[OutboxRow]) -> list[LaneRow]:
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

    switch(MemoryTransaction, "number", number)


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


# ---- kernel: publishing ----


@mutant("at most one batch of a partition is in flight", worlds=Worlds("lost_ack"))
def one_in_flight() -> None:
    """Two halves at once: where the first is refused, a fresh producer id lets the second in."""
    round_ = Publisher.round

    async def two_at_once(self: Publisher) -> bool:
        send = self._writer.send

        async def sent(batches: Mapping[TopicPartition, Any]) -> dict[TopicPartition, int]:
            first: dict[TopicPartition, list[Outgoing]] = {at: batch[: (len(batch) + 1) // 2] for at, batch in batches.items()}
            second = {at: batch[len(first[at]) :] for at, batch in batches.items() if len(batch) > 1}
            refused: ProduceFailed | None = None
            try:
                await send(first)
            except ProduceFailed as error:
                refused = error
            if second:
                await send(second)
            if refused is not None:
                raise refused
            return {at: len(batch) for at, batch in batches.items()}

        self._writer.send = sent  # type: ignore[method-assign]
        try:
            return await round_(self)
        finally:
            self._writer.send = send  # type: ignore[method-assign]

    switch(Publisher, "round", two_at_once)


@mutant("a publisher begins at the last message its topic has")
def acknowledged_tail() -> None:
    own = Publisher.own

    async def from_the_head(self: Publisher, shards: Any) -> None:
        await own(self, shards)
        for lane in self._lanes.values():
            lane.acked = lane.head

    switch(Publisher, "own", from_the_head)


@mutant("only what was acknowledged is taken as sent")
def acknowledged_only() -> None:
    round_ = Publisher.round

    async def hopeful(self: Publisher) -> bool:
        send = self._writer.send

        async def sent(batches: Mapping[TopicPartition, Any]) -> Any:
            try:
                return await send(batches)
            except Exception:  # noqa: BLE001 - that is the mutant
                return {at: len(batch) for at, batch in batches.items()}

        self._writer.send = sent  # type: ignore[method-assign]
        try:
            return await round_(self)
        finally:
            self._writer.send = send  # type: ignore[method-assign]

    switch(Publisher, "round", hopeful)


@mutant("own documents are read back, and stale ones published again", worlds=Worlds("stale_state"))
def read_back() -> None:
    """Marks are noted all the same."""
    read = MemoryStore.read_back

    async def nothing_stale(self: MemoryStore, seen: Any) -> list[str]:
        await read(self, seen)
        return []

    async def nothing_dirty(self: Publisher) -> None:
        return

    switch(MemoryStore, "read_back", nothing_stale)
    switch(Publisher, "_mark_dirty", nothing_dirty)


# ---- kernel: timers and what was put aside ----


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


@part("no row, no effect: a timer that is gone, or was put off, is not run: its shard has one owner, who reads before he runs")
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


@mutant("what a row waits for behind a failed input keeps its order", worlds=Worlds("rule_bug"))
def quarantine_order() -> None:
    switch(Stage, "_waits_in_quarantine", lambda self, arrival, need: False)
