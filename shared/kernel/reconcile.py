"""Repair of a database that was restored to an older state: its journal (journal.py) does again what it lacks, commit by commit.

Nothing is decided again. Each entry is written through the statements that wrote it the first time, which compare and set: rows by version,
positions by offset, timers by due time, lanes by number. So it fits exactly, or is refused; and since the publisher sends nothing before
its commit's entry, the database ends with everything that any topic shows. What was committed and not journaled is lost, and nobody has
seen it: its inputs are read, and decided, again.

All replicas of the service must be stopped. Who was only frozen is fenced: all positions are claimed first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.topics import owned_by
from shared.kernel.behind import compare_documents, compare_lanes
from shared.kernel.journal import Entry, Written, entries, journal_of
from shared.kernel.model import Key, Service
from shared.kernel.ports import (
    TIMERS,
    Changes,
    Claim,
    Collision,
    HistoryEntry,
    NotOwner,
    OffsetMove,
    Record,
    Row,
    RowChange,
    Store,
    StoredInput,
    TopicPartition,
    Topics,
    Transaction,
)
from shared.kernel.rows import RowCodec
from shared.value import replace

FETCH_S = 0.5
FETCHES_AT_MOST = 240
"""How often in a row the journal's topic may give nothing although it isn't read to its end."""


class NoJournal(Exception):
    """The service keeps no journal, so nothing tells what its database lacks. Remedy: restore it to its newest state, the end of its
    archive; set NERVURE_JOURNAL=on for the time after."""


class JournalUnfit(Exception):
    """The journal doesn't go on from where the database is: it begins later, or the database has other commits than the journal.
    Remedy: restore the database to its newest state, the end of its archive, or to any older backup that the journal covers."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a repair did, or in a dry run would do."""

    service: str
    journal: int
    """How far the journal is in its topic."""
    commits: int
    """Done again."""
    inputs: int
    """Records, timers and stored inputs these had consumed."""
    messages: int
    """Messages these had published, or were to publish."""
    rows: int
    """Versions of rows these had written."""


async def reconcile(service: Service[Any], store: Store, topics: Topics, partitions: Mapping[str, int], *, dry: bool = False) -> Reconciled:
    """Rolls the database forward to the end of its journal, and compares it with all its topics. It may be run again after whatever
    failure, and when there is nothing to do. Raises NoJournal, JournalUnfit, JournalUnreadable, DatabaseBehind, Transient."""
    journal = journal_of(service.name)
    heads = await store.lane_heads([journal])
    if journal not in heads or journal.topic not in partitions:
        raise NoJournal(service.name)
    after = heads[journal][1]
    missing = list(entries([record async for record in _whole(topics, journal)], service.name, after))
    if not dry:
        await _roll_forward(service, store, partitions, missing)
        destinations = [at for at in _lanes(service, partitions) if at.topic in partitions]
        await compare_lanes(service, store, topics, [*destinations, journal])
        await compare_documents(service, store, topics, partitions, await store.incarnation())
    done = [one.entry for one in missing if one.entry is not None]
    return Reconciled(
        service=service.name,
        journal=missing[-1].seq if missing else after,
        commits=len(done),
        inputs=sum(sum(move.next > move.loaded for move in entry.offsets) + len(entry.timers_fired) + len(entry.taken) for entry in done),
        messages=sum(len(entry.messages) for entry in done),
        rows=sum(len(entry.rows) for entry in done),
    )


def _lanes(service: Service[Any], partitions: Mapping[str, int]) -> list[TopicPartition]:
    owned = [topic for topic in owned_by(service.name) if topic.kind == "events"]
    return [TopicPartition(topic.name, p) for topic in owned for p in range(partitions[topic.name])]


async def _whole(topics: Topics, at: TopicPartition) -> AsyncIterator[Record]:
    """Everything the topic holds now. Raises JournalUnfit where it doesn't come."""
    end = (await topics.ends([at]))[at]
    follower = topics.follow([at])
    await follower.start()
    try:
        idle = 0
        while follower.position(at) < end:
            records = await follower.fetch(FETCH_S)
            idle = 0 if records else idle + 1
            if idle > FETCHES_AT_MOST:
                raise JournalUnfit(f"{at.topic} could not be read to its end {end}")
            for record in records:
                yield record
    finally:
        await follower.stop()


async def _roll_forward(service: Service[Any], store: Store, partitions: Mapping[str, int], missing: Sequence[Written]) -> None:
    reads = [TopicPartition(topic.name, p) for topic in service.reads for p in range(partitions[topic.name])]
    owned = [*reads, *(TopicPartition(TIMERS, p) for p in range(partitions[TIMERS]))]
    await store.declare(owned)
    again = _Again(service, store, await store.claim(owned))
    for one in missing:
        try:
            await again.do(one)
        except (Collision, NotOwner) as error:
            raise JournalUnfit(f"{service.name}: entry {one.seq}: {error}") from error


class _Again:
    """Does commits again, one by one."""

    def __init__(self, service: Service[Any], store: Store, claims: Mapping[TopicPartition, Claim]) -> None:
        self._kinds = {kind.name: kind for kind in service.kinds}
        self._codecs = {kind.name: RowCodec(kind) for kind in service.kinds}
        self._store = store
        self._claims = claims
        self._positions = {at: claim.offset for at, claim in claims.items()}

    async def do(self, one: Written) -> None:
        entry = one.entry
        async with self._store.begin() as transaction:
            changes = await self._changes(transaction, entry) if entry is not None else Changes()
            messages = entry.messages if entry is not None else []
            numbered = await transaction.write(changes, [*one.parts, *messages])
            reached = numbered[len(one.parts) - 1].seq
            if reached != one.seq:
                raise JournalUnfit(f"the database numbers {reached} what the journal has as {one.seq}")
        self._positions |= {move.at: move.next for move in changes.offsets}

    async def _changes(self, transaction: Transaction, entry: Entry) -> Changes:
        rows = await self._load(transaction, entry)
        states, history = self._fold(entry, rows)
        return Changes(
            rows=[RowChange(row.key, row.base, row.version, None if row.empty else states.get(row.key), row.empty) for row in entry.rows],
            history=history,
            inbox=entry.inbox,
            timers_set=entry.timers_set,
            timers_cancelled=entry.timers_cancelled,
            timers_fired=entry.timers_fired,
            offsets=[self._move(move) for move in entry.offsets],
            marks=entry.marks,
            dead_letters=entry.dead_letters,
            kept=entry.kept,
            taken=await self._taken(transaction, entry.taken),
            quarantines=entry.quarantines,
            spooled=entry.spooled,
        )

    async def _load(self, transaction: Transaction, entry: Entry) -> dict[Key, Row]:
        rows = await transaction.load(sorted({row.key for row in entry.rows}))
        for row in entry.rows:
            version = rows[row.key].version if row.key in rows else 0
            if version != row.base:
                raise Collision(f"{row.key} has version {version}, not {row.base}")
        return rows

    def _fold(self, entry: Entry, rows: Mapping[Key, Row]) -> tuple[dict[Key, Any], list[HistoryEntry]]:
        states: dict[Key, Any] = {key: row.state for key, row in rows.items()}
        history = []
        for key, version, name, doc, at in entry.folded:
            kind, event = self._kinds[key.kind], self._codecs[key.kind].parse_event(name, doc, key.id, at) if name else None
            history.append(HistoryEntry(key, version, name, event, at))
            if event is not None:
                before = states.get(key)
                states[key] = kind.evolve(kind.initial(key.id) if before is None else before, event)
        return states, history

    def _move(self, move: OffsetMove) -> OffsetMove:
        """Under the epoch of our own claim."""
        position, epoch = self._positions[move.at], self._claims[move.at].epoch
        if position != move.loaded and not (epoch == 1 and position <= move.next):
            raise NotOwner(f"{move.at} is read to {position}, not to {move.loaded}")
        return replace(move, epoch=epoch, loaded=position, next=max(position, move.next))

    async def _taken(self, transaction: Transaction, taken: Sequence[StoredInput]) -> list[StoredInput]:
        """Under the numbers they have here."""
        keys = sorted({one.key for one in taken if one.purpose == "kept" and one.key is not None})
        kept = await transaction.kept_for(keys) if keys else []
        replays = [one.record for one in taken if one.purpose == "replay"]
        there = {_place(one): one for one in (*kept, *(await transaction.ask_again(replays) if replays else ()))}
        try:
            return [one if one.purpose == "spooled" else there[_place(one)] for one in taken]
        except KeyError as error:
            raise Collision(f"nothing is put aside from {error}") from error


def _place(one: StoredInput) -> tuple[str, TopicPartition, int]:
    return one.purpose, one.record.at, one.record.offset
