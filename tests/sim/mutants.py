"""Protections switched off, one by one or together where they back each other up: what the simulation must notice.

Only here, in test code: a mutant replaces a method or a function of the product in this process, for good. Each names what it takes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import services.inventory.reservations as inventory_reservations
import services.inventory.rules as inventory_rules
import services.returns.requests as returns_requests
import services.sourcing.answers as sourcing_answers
from services.inventory.state import Part, part_key
from services.order_capture.state import Money
from services.returns.state import Line as ReturnLine
from services.sourcing.projection import Network
from shared.kernel import memory_store
from shared.kernel.engine import Engine
from shared.kernel.feed import Feed
from shared.kernel.memory_rows import SentRow
from shared.kernel.memory_store import MemoryStore, MemoryTransaction
from shared.kernel.model import Key
from shared.kernel.pictures import Pictures
from shared.kernel.ports import Changes, CommitUnknown, LaneRow, OutboxRow, TopicPartition
from shared.kernel.publisher import Publisher
from shared.kernel.stage import Arrival, Stage
from shared.value import replace as put


@dataclass(frozen=True)
class Mutant:
    """A protection, and how it is switched off."""

    name: str
    takes_away: str
    apply: Callable[[], None]


MUTANTS: dict[str, Mutant] = {}


def mutant(takes_away: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(apply: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[apply.__name__] = Mutant(apply.__name__, takes_away, apply)
        return apply

    return register


def switch(owner: Any, name: str, to: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant is out of date"
    setattr(owner, name, to)


# ---- kernel: reading ----


@mutant("records of a lane seen before are dropped")
def lane_dedupe() -> None:
    passes = Stage._passes_lane

    def everything_passes(self: Stage, arrival: Arrival) -> bool:
        if arrival.lane is not None and arrival.record is not None and arrival.envelope is not None:
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


@mutant("after a fetch error all partitions are read again from their positions")
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


@mutant("external records wait while older internal ones are unread")
def time_alignment() -> None:
    switch(Feed, "_free", lambda self, queue: True)


@mutant("timers wait for every older input")
def timers_wait_for_inputs() -> None:
    switch(Feed, "horizon_ms", lambda self: float("inf"))


@mutant("a view counts only documents newer than the one it has")
def newest_document_counts() -> None:
    switch(Pictures, "_is_newer", lambda self, record, topic: True)


@mutant("a message for a row that isn't there yet is kept")
def kept_messages() -> None:
    switch(Stage, "_keep", lambda self, arrival, keep: None)


@mutant("keeping a message makes an empty row, so that the row's maker collides with it")
def kept_row() -> None:
    keep = Stage._keep

    def without_row(self: Stage, arrival: Arrival, kept: Any) -> None:
        row = self._rows[kept.key]
        existed, row.existed = row.existed, True
        keep(self, arrival, kept)
        row.existed = existed

    switch(Stage, "_keep", without_row)


# ---- kernel: committing ----


@mutant("rows are written only where they are as they were loaded (version)")
def row_versions() -> None:
    async def changed(self: MemoryTransaction, name: str, changes: Any) -> None:
        for change in changes:
            session = await self._statement(name)
            codec = self._codecs[change.key.kind]
            stored = codec.stored(change) if change.state is not None or change.empty else None
            session.put(memory_store._table(change.key.kind), change.key.id, stored)

    async def inserted(self: MemoryTransaction, kind: str, changes: Any) -> None:
        await changed(self, f"insert {kind}", changes)

    async def unlocked(self: MemoryTransaction, keys: Any) -> Any:
        return await self.find(keys)

    switch(MemoryTransaction, "_change_rows", changed)
    switch(MemoryTransaction, "_insert_rows", inserted)
    switch(MemoryTransaction, "load", unlocked)


@mutant("positions move only for their owner (epoch) and from where they were loaded (offset)")
def epoch_and_offset() -> None:
    switch(memory_store, "_is_as_loaded", lambda move, position: True)


@mutant("positions are part of the batch's transaction; and lanes and the inbox drop repeats")
def offsets_in_the_transaction_and_dedupe() -> None:
    async def forgotten(self: MemoryTransaction, changes: Changes) -> None:
        moves = changes.offsets
        changes.offsets = [move for move in moves if self._session.database.number("offset coin") % 3]
        await move_offsets(self, changes)
        changes.offsets = moves

    move_offsets = MemoryTransaction._move_offsets
    switch(MemoryTransaction, "_move_offsets", forgotten)
    lane_dedupe()
    inbox()


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


@mutant("lanes are locked, and locked last")
def lanes_locked() -> None:
    async def numbered(self: MemoryTransaction, rows: list[OutboxRow]) -> list[LaneRow]:
        heads: dict[TopicPartition, Any] = {}
        session = await self._statement("take_lanes")
        found = []
        for row in rows:
            at = TopicPartition(row.topic, row.partition)
            head = heads.get(at) or self._session.database.table("lane_out")[at]
            heads[at] = head._replace(seq=head.seq + 1)
            found.append(LaneRow(heads[at].seq, heads[at].incarnation, row))
        session = await self._statement("copy outbox")
        for at, head in heads.items():
            session.database.table("lane_out")[at] = head
        for lane_row in found:
            key = (TopicPartition(lane_row.row.topic, lane_row.row.partition), lane_row.seq)
            session.put("outbox", key, SentRow(lane_row, session.database.clock.now()))
        return found

    switch(MemoryTransaction, "number", numbered)


# ---- kernel: publishing ----


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


@mutant("after a failed commit nothing is sent from memory")
def memory_forgotten() -> None:
    switch(Publisher, "forget_memory", lambda self: None)


@mutant("own documents are read back, and stale ones published again")
def read_back() -> None:
    async def nothing_stale(self: MemoryStore, seen: Any) -> list[str]:
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


@mutant("what a row waits for behind a failed input keeps its order")
def quarantine_order() -> None:
    switch(Stage, "_waits_in_quarantine", lambda self, arrival, need: False)


# ---- inventory ----


@mutant("no more is reserved than is there")
def reserved_within_stock() -> None:
    switch(inventory_rules, "allot", lambda asked, levels: [quantity for _, quantity in asked])


@mutant("what is blocked, kept as safety or reserved already isn't available")
def available_only() -> None:
    switch(inventory_rules, "atp", lambda level: max(0, level.sellable))


class Forgetful:
    """A world in which some rows are as if nothing had happened to them yet."""

    def __init__(self, world: Any, kind: str) -> None:
        self._world = world
        self._kind = kind

    def get(self, key: Key, absent: Any) -> Any:
        return absent if key.kind == self._kind else self._world.get(key, absent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


@mutant("a command to reserve is answered once")
def reserve_answered_once() -> None:
    reserve = inventory_reservations.reserve
    switch(inventory_reservations, "reserve", lambda case, command: reserve(put(case, world=Forgetful(case.world, "part")), command))
    lane_dedupe()


@mutant("a fact is booked once under its reference")
def booked_once() -> None:
    def anew(row: Any, feed: int, own: int, declared: bool) -> Any:
        return inventory_rules.Booking(moved=feed if declared else inventory_rules.larger(feed, own), unsettled=0, ahead=0)

    switch(inventory_rules, "book", anew)


@mutant("a count pins its figure at its time; facts before it are in it")
def counts_before_movements() -> None:
    switch(inventory_rules, "beside_counts", lambda level, change, at: change)


@mutant("what was counted is compared with what was believed at the count's time")
def counts_at_their_time() -> None:
    believed = inventory_rules.believed
    switch(inventory_rules, "believed", lambda level, status, basis, as_of, effects: believed(level, status, basis, as_of, ()))


@mutant("reservations beyond what is left are shorted")
def shorting() -> None:
    switch(inventory_reservations, "short", lambda case, woken: iter(()))


@mutant("a release before its reserve is remembered")
def released_before_reserved() -> None:
    reserve = inventory_reservations.reserve

    def forgetting(case: Any, command: Any) -> Iterator[Any]:
        part = case.world.get(part_key(command.part_id), Part())
        return reserve(put(case, world=Forgetful(case.world, "part")) if part.released and not part.answered else case, command)

    switch(inventory_reservations, "reserve", forgetting)


# ---- sourcing ----


@mutant("an answer nobody waits for gives its units back")
def strays_given_back() -> None:
    switch(sourcing_answers, "unexpected", lambda answer, *, give_back: iter(()))


@mutant("plans in flight are taken off what is free")
def flights() -> None:
    switch(Network, "fold", lambda self, event: None)


# ---- order capture ----


@mutant("no more is captured than was authorised")
def capture_bound() -> None:
    switch(Money, "capturable_of", lambda self, payment: 10**9)


@mutant("no more is refunded than was captured")
def refund_bound() -> None:
    switch(Money, "refundable_of", lambda self, payment: 10**9)


# ---- returns ----


@mutant("no more is returned than was handed over")
def return_bound() -> None:
    switch(returns_requests, "_left", lambda purchase, line_id, request, now, policy: 10**6)


@mutant("what is credited is credited once")
def credit_once() -> None:
    switch(ReturnLine, "credit_due", property(lambda self: max(0, self.received)))
