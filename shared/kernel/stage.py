"""One batch in memory: arrivals are decided one by one, and everything they change is gathered for one commit.

Nothing here awaits: what a decision sees was loaded before, what it yields is written after.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from msgspec import Struct, convert

from schemas.forms import Form
from schemas.topics import TOPIC_OF, Body
from schemas.types import Data, OpenData
from shared.kernel.arrivals import TIMER_NAMESPACE, Arrival
from shared.kernel.codec import value_of
from shared.kernel.model import Input, Keep, Key, Kind, Need, Service, Slice, Wake, Woken, Yield, derived, derived_text
from shared.kernel.partition import partition_of
from shared.kernel.ports import (
    NOTHING_ATTACHED,
    TIMERS,
    Attached,
    Changes,
    DeadLetter,
    HistoryEntry,
    InboxMark,
    KeepRow,
    LaneId,
    LaneMark,
    OutboxRow,
    Quarantine,
    Record,
    Row,
    RowChange,
    SpoolRow,
    StoredInput,
    TimerRow,
    TopicPartition,
)
from shared.value import replace

NO_ROW = Key("", "")
"""Subject of what follows from an input that names none."""
POSTPONE_S = 30
SPOOL_MOST = 10_000
"""Records of one partition that are put aside behind gaps."""


@cache
def _events_of(kinds: tuple[Kind[Any], ...]) -> frozenset[type]:
    return frozenset(event for kind in kinds for event in kind.events)


class _Loaded(Struct, gc=False):
    base: int
    version: int
    state: Any
    """None: the row doesn't exist, or nothing has happened to it."""
    existed: bool
    before: Any
    """The state as it was loaded."""


def _loaded(row: Row) -> _Loaded:
    return _Loaded(row.version, row.version, row.state, True, row.state)


@dataclass(slots=True)
class Stage:
    """The world of one batch."""

    service: Service[Any]
    view: Any
    partitions: Mapping[str, int]
    """Topic to partitions, for everything this service publishes; `~timers` to shards."""
    marks: Mapping[tuple[TopicPartition, LaneId], int]
    headless: frozenset[TopicPartition] = frozenset()
    """Partitions whose head had expired when they were first read."""
    room: dict[TopicPartition, int] = field(default_factory=dict)
    """How many more records of a partition may be spooled; SPOOL_MOST where it isn't named."""
    overflow: dict[TopicPartition, int] = field(default_factory=dict)
    """Partitions whose spool is full, by the offset at which they will be read again: until then only what is next in its lane counts."""
    attached: Attached = NOTHING_ATTACHED
    unlooked: bool = False
    """Whether nobody has looked what is attached."""
    known: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    outbox: list[OutboxRow] = field(default_factory=list)
    moved: dict[tuple[TopicPartition, LaneId], int] = field(default_factory=dict)
    next_offset: dict[TopicPartition, int] = field(default_factory=dict)
    changed: set[Key] = field(default_factory=set)
    awaited: set[Key] = field(default_factory=set)
    """Rows something happened to after this very batch kept a message for them."""
    behind: list[SpoolRow] = field(default_factory=list)
    """Lane records read behind a gap, whether there was room for them or not."""
    counts: Counter[str] = field(default_factory=Counter)
    _rows: dict[Key, _Loaded] = field(default_factory=dict)
    _slices: dict[tuple[Key, str], list[Key]] = field(default_factory=dict)
    _timers: dict[tuple[Key, str], tuple[Wake, str]] = field(default_factory=dict)
    """With the id of the trace that each belongs to."""
    _digests: dict[tuple[str, str], InboxMark] = field(default_factory=dict)
    _roles: dict[UUID, dict[str, int]] = field(default_factory=dict)
    """By cause, how many messages of a type follow from it so far."""
    _kept: set[Key] = field(default_factory=set)
    _moved_under: set[tuple[str, str]] = field(default_factory=set)
    """(kind, owner's id) of owned rows that came, moved or went: slices loaded before don't show it."""
    _marked: set[Key] = field(default_factory=set)
    """Rows that wait since this very batch."""
    _named: dict[Key, _Loaded] = field(default_factory=dict)
    """The rows that the input under decision has named."""
    _subject: Key = NO_ROW
    _changed: list[Key] = field(default_factory=list)
    """In order, once all is finished."""
    _kinds: Mapping[str, Kind[Any]] = field(init=False)
    _events: frozenset[type] = field(init=False)

    def __post_init__(self) -> None:
        self._kinds = {kind.name: kind for kind in self.service.kinds}
        self._events = _events_of(self.service.kinds)

    # ---- loading ----

    def loaded(self, keys: Iterable[Key], rows: Mapping[Key, Row]) -> None:
        for key in keys:
            row = rows.get(key)
            self._rows[key] = _loaded(row) if row is not None else _Loaded(0, 0, None, False, None)

    def loaded_slices(self, slices: Mapping[tuple[Key, str], list[tuple[Key, Row]]]) -> None:
        for of, rows in slices.items():
            self._slices[of] = [key for key, _ in rows]
            for key, row in rows:
                self._rows.setdefault(key, _loaded(row))

    # ---- the world a decision sees ----

    def get(self, key: Key, absent: Any) -> Any:
        try:
            state = self._named[key].state
        except KeyError:
            raise KeyError(f"{key} was not named by keys()") from None
        return absent if state is None else state

    def version(self, key: Key) -> int:
        return self._rows[key].version

    def rows(self, of: Slice) -> Sequence[Any]:
        return [self._rows[key].state for key in self._slices[of.owner, of.kind] if self._rows[key].state is not None]

    # ---- taking arrivals ----

    def must_wait(self, need: Need, found: Iterable[Key], kept: bool = False) -> bool:
        """Whether this message needs rows that were loaded before this batch changed them, or others that were kept for its rows go
        first: it starts the next batch. Those that were `kept` run together, in their order."""
        if not self.changed:
            return False
        for of in need.slices:
            if of.owner in self.changed or (of.kind, of.owner.id) in self._moved_under:
                return True
        kept_first = not kept and self.attached.kept and any(key in self.changed and key in self.attached.kept for key in need.keys)
        return bool(kept_first or not self.changed.isdisjoint(found))

    def take(self, arrival: Arrival, need: Need) -> None:
        """Decides one arrival, or drops it where it was seen before."""
        if not self._passes_lane(arrival):
            return
        if arrival.timer is not None and (arrival.timer.key, arrival.timer.name) in self._timers:
            self._count("moved")
            return
        self._advance(arrival)
        if arrival.broken is not None:
            self._count("dead")
            self._refuse(arrival, "undecodable", str(arrival.broken), need)
        elif arrival.body is None:
            self._count("skipped")
        elif self._waits_in_quarantine(arrival, need):
            self._count("queued")
        else:
            self._decide(arrival, need)

    def refuse(self, arrival: Arrival, need: Need | None, error: BaseException) -> None:
        """The one arrival that failed alone: a dead letter, or its rows are quarantined."""
        if self._passes_lane(arrival):
            self._advance(arrival)
            self._refuse(arrival, type(error).__name__, f"{error}"[:2000], need or Need(()))

    def _passes_lane(self, arrival: Arrival) -> bool:
        """Whether a lane's record is the next of its lane; duplicates are dropped, records behind a gap are spooled."""
        envelope, record = arrival.envelope, arrival.record
        if envelope is None or envelope.lane is None or record is None or _runs_again(arrival.stored):
            return True
        lane, seq = (record.at, envelope.lane), envelope.seq
        mark = self._mark(lane, seq)
        if seq == mark + 1:
            self.moved[lane] = seq
            return True
        if seq <= mark:
            self._advance(arrival)
            self._count("duplicates")
        elif arrival.stored is None:
            self._spool(SpoolRow(record.at, envelope.lane, seq, record))
        return False

    def _mark(self, lane: tuple[TopicPartition, LaneId], seq: int) -> int:
        """How far the lane was read. One never met begins at 1; where the log's head had expired before anybody read, with what is left."""
        unmet = seq - 1 if lane[0] in self.headless else 0
        return self.moved.get(lane, self.marks.get(lane, unmet))

    def _spool(self, row: SpoolRow) -> None:
        """Put aside while there is room. Then the partition's position stays: the record is read again when the spool has run."""
        self.behind.append(row)
        room = self.room.get(row.at, SPOOL_MOST)
        if room <= 0 or row.at in self.overflow:
            self.overflow.setdefault(row.at, row.record.offset)
            self._count("overflowed")
            return
        self.room[row.at] = room - 1
        self._move(row.record)
        self.changes.spooled.append(row)
        self._count("spooled")

    def _advance(self, arrival: Arrival) -> None:
        if arrival.stored is not None:
            if not arrival.kept:
                self.changes.taken.append(arrival.stored)
        elif arrival.record is not None:
            self._move(arrival.record)

    def _move(self, record: Record) -> None:
        at = record.at
        if at not in self.overflow:
            self.next_offset[at] = record.offset + 1

    def _waits_in_quarantine(self, arrival: Arrival, need: Need) -> bool:
        if not self.attached.quarantined or arrival.replayed:
            return False
        keys = tuple(dict.fromkeys((*need.keys, arrival.message_key) if arrival.record is not None else need.keys))
        marked = self.attached.quarantined.intersection(keys)
        if not marked:
            return False
        if arrival.timer is not None:
            self._postpone(arrival.timer)
        else:
            self._take_kept(arrival)
            behind = tuple(sorted(marked - self._marked))
            self._quarantine(Quarantine(keys, arrival.record, "waits", "waits behind a quarantined input", behind))
        return True

    def _quarantine(self, quarantine: Quarantine) -> None:
        """Its rows wait from now on, in this very batch, too."""
        self.changes.quarantines.append(quarantine)
        self._marked |= set(quarantine.keys) - self.attached.quarantined
        self.attached = self.attached._replace(quarantined=self.attached.quarantined | set(quarantine.keys))

    def _postpone(self, timer: TimerRow) -> None:
        self.changes.timers_fired.append(timer)
        later = datetime.fromtimestamp(timer.due.timestamp() + POSTPONE_S, UTC)
        self.changes.timers_set.append(TimerRow(timer.key, timer.name, later, timer.rank, timer.shard, timer.trace))

    def _refuse(self, arrival: Arrival, reason: str, detail: str, need: Need) -> None:
        self._take_kept(arrival)
        if arrival.timer is not None:
            self.changes.timers_fired.append(arrival.timer)
            record = _record_of(arrival.timer)
            self._quarantine(Quarantine((arrival.timer.key,), record, reason, detail))
        elif arrival.lane is not None and arrival.record is not None:
            keys = tuple(dict.fromkeys((*need.keys, arrival.message_key)))
            self._quarantine(Quarantine(keys, arrival.record, reason, detail))
        elif arrival.record is not None:
            self.changes.dead_letters.append(DeadLetter(arrival.record, reason, detail))

    def _take_kept(self, arrival: Arrival) -> None:
        if arrival.kept and arrival.stored is not None:
            self.changes.taken.append(arrival.stored)

    # ---- deciding ----

    def _decide(self, arrival: Arrival, need: Need) -> None:
        changed = False
        if arrival.topic is not None and arrival.topic.kind == "fact" and arrival.stored is None:
            repeat, changed = self._seen(arrival)
            if repeat:
                self._count("duplicates")
                return
            if changed and arrival.envelope is not None:  # another message under a known id: what follows has ids of its own
                arrival = replace(arrival, cause=derived(arrival.cause, arrival.envelope.digest().hex()))
        if arrival.topic is not None and arrival.topic.kind == "reference":
            self.view.apply(arrival.body)
        if isinstance(arrival.body, Woken):  # set twice for one moment, it wakes twice: what follows has ids of its own
            arrival = replace(arrival, cause=derived(arrival.cause, str(self._rows[arrival.body.key].version)))
        if arrival.timer is not None:
            self.changes.timers_fired.append(arrival.timer)
        given = Input(arrival.body, arrival.now, arrival.cause, changed, arrival.overdue, arrival.late)
        rows, keys = self._rows, need.keys
        self._named, self._subject = {key: rows[key] for key in keys}, keys[0] if keys else NO_ROW
        kept = False
        for output in self.service.decide(self, given, self.view):
            if type(output) in self._events:  # they are many
                self._fold(output, arrival.now)
            else:
                kept = self._obey(arrival, output) or kept
        if not kept:
            self._take_kept(arrival)
        self._count("decided")

    def _obey(self, arrival: Arrival, output: Yield) -> bool:
        """Anything but an event; whether the input is kept."""
        if isinstance(output, MESSAGES):
            self._publish(arrival, output)
        elif isinstance(output, Wake):
            self._timers[output.key, output.name] = output, _links(arrival, output.key)[2]
        elif isinstance(output, Keep):
            self._keep(arrival, output)
            return True
        else:
            raise TypeError(f"{type(output).__name__} is neither a message nor an event of a kind of {self.service.name}")
        return False

    def _seen(self, arrival: Arrival) -> tuple[bool, bool]:
        """(a repeat, seen with other content)."""
        assert arrival.envelope is not None
        identity, digest = (arrival.envelope.source, arrival.envelope.id), arrival.envelope.digest()
        earlier, stored = self._digests.get(identity), self.known.get(identity)
        before = earlier.digest if earlier is not None else stored
        if before == digest:
            return True, False
        self._digests[identity] = InboxMark(*identity, digest, arrival.now, stored)
        return False, before is not None

    def _keep(self, arrival: Arrival, keep: Keep) -> None:
        if arrival.overdue or arrival.record is None:
            raise KeptTooLong(f"{type(arrival.body).__name__} still waits for {keep.key}")
        if arrival.kept:
            return
        self._count("kept")
        self._kept.add(keep.key)
        shard = partition_of(keep.key.id, self.partitions["~timers"])
        self.changes.kept.append(KeepRow(keep.key, keep.until, arrival.record, shard, False))
        row = self._rows[keep.key]
        if not row.existed and row.version == 0:
            row.version = 1
            self.changed.add(keep.key)
            self.changes.history.append(HistoryEntry(keep.key, 1, "", None, arrival.now))

    def _fold(self, event: Any, now: datetime) -> None:
        key = event.key
        kind, row = self._kinds[key.kind], self._rows.get(key)
        if row is None:
            raise KeyError(f"{type(event).__name__} changes {key}, which keys() did not name")
        before = row.state
        row.state = after = kind.evolve(kind.initial(key.id) if before is None else before, event)
        row.version = version = row.version + 1
        self.changed.add(key)
        if self._kept and key in self._kept:
            self.awaited.add(key)
        if kind.owner is not None:
            self._note_move(kind, kind.owner, before, after)
        self.changes.history.append(HistoryEntry(key, version, type(event).__name__, event, now))
        if self.service.overlay:
            self.view.fold(event)

    def _note_move(self, kind: Kind[Any], owner: Callable[[Any], str | None], before: Any, after: Any) -> None:
        here = owner(before) if before is not None else None
        there = owner(after) if after is not None else None
        stays = before is not None and after is not None and here == there
        if not (stays and (kind.rank is None or kind.rank(before) == kind.rank(after))):
            self._moved_under.update((kind.name, id) for id in (here, there) if id is not None)

    def _publish(self, arrival: Arrival, body: Body | Form) -> None:
        topic = TOPIC_OF[body.contract if isinstance(body, Form) else type(body)]
        key, name = topic.key_of(body), type(body).__name__
        subject, row = self._subject, self._rows.get(self._subject)
        id = derived_text(arrival.cause, self._role(arrival, name))
        correlation, causation, trace = _links(arrival, subject)
        self.outbox.append(
            OutboxRow(
                topic=topic.name,
                partition=partition_of(key, self.partitions[topic.name]),
                key=key,
                type=name,
                id=id,
                time=arrival.now,
                correlation=correlation,
                causation=causation,
                trace=_next_span(trace, id),
                subject=f"{subject.kind}/{subject.id}",
                subject_version=row.version if row is not None else 0,
                value=value_of(body),
            )
        )

    def _role(self, arrival: Arrival, name: str) -> str:
        roles = self._roles.setdefault(arrival.cause, {})
        index = roles[name] = roles.get(name, -1) + 1
        return f"{self.service.name}:{name}:{index}"

    # ---- what is written ----

    def finish(self) -> Changes:
        """Everything gathered, ready to write; positions are added by the engine."""
        self._changed = self._changed_in_order()
        for key in self._changed:
            row = self._rows[key]
            empty = row.state is None and key in self._kept
            if row.state is not None or row.base > 0 or empty:
                self.changes.rows.append(RowChange(key, row.base, row.version, row.state, empty, row.before))
        self._finish_timers()
        self.changes.marks = [LaneMark(at, lane, seq) for (at, lane), seq in self.moved.items()]
        self.changes.inbox = list(self._digests.values())
        return self.changes

    def positions(self) -> dict[str, int]:
        """Where reading goes on after this batch, as `topic/partition`."""
        return {f"{at.topic}/{at.partition}": offset for at, offset in self.next_offset.items()}

    def unmoved(self, arrivals: Iterable[Arrival]) -> set[TopicPartition]:
        """Partitions whose positions stay although inputs of theirs take effect: only their owner may do that."""
        spooled = {a.stored.record.at for a in arrivals if a.stored is not None and a.stored.purpose == "spooled"}
        return spooled | {a.record.at for a in arrivals if a.stored is None and a.record is not None and a.record.at in self.overflow}

    def states(self, kind: str) -> dict[str, Row]:
        """Changed rows of one kind, for its state topic; once all is finished."""
        changed = ((key.id, self._rows[key]) for key in self._changed if key.kind == kind)
        return {id: Row(row.version, row.state) for id, row in changed}

    def _changed_in_order(self) -> list[Key]:
        """Rows are loaded in order, but for those of slices: little is left to sort."""
        return sorted([key for key, row in self._rows.items() if row.version != row.base])

    def _finish_timers(self) -> None:
        shards = self.partitions["~timers"]
        for (key, name), (wake, trace) in self._timers.items():
            if wake.due is None:
                self.changes.timers_cancelled.append((key, name))
            else:
                shard, of = partition_of(key.id, shards), convert(trace, UUID) if trace else None
                self.changes.timers_set.append(TimerRow(key, name, wake.due, wake.rank, shard, of))

    def _count(self, what: str) -> None:
        self.counts[what] += 1


MESSAGES = (Form, Data, OpenData)
"""Most are forms, and what a model is takes longer to tell."""


def _runs_again(stored: StoredInput | None) -> bool:
    """What its lane has let pass before."""
    return stored is not None and stored.purpose in ("replay", "kept")


class KeptTooLong(Exception):
    """A message waited for a row that never came. Remedy: find out why the row's creator was not read, then replay it."""


def _record_of(timer: TimerRow) -> Record:
    """A timer as a record, so that it can be parked and replayed like any input."""
    key = f"{timer.key.kind} {timer.key.id} {timer.name} {timer.due.isoformat()}"
    offset = int.from_bytes(derived(TIMER_NAMESPACE, key).bytes[:7], "big")
    headers = (("rank", str(timer.rank).encode()), ("trace", timer.trace.hex.encode() if timer.trace else b""))
    return Record("~timers", timer.shard, offset, int(timer.due.timestamp() * 1000), key.encode(), None, headers)


def timer_of(record: Record) -> TimerRow:
    """The timer that `_record_of` made a record of."""
    kind, id, name, due = (record.key or b"").decode().split(" ")
    headers = dict(record.headers)
    rank, trace = int(headers.get("rank") or b"50"), headers.get("trace")
    return TimerRow(Key(kind, id), name, datetime.fromisoformat(due), rank, record.partition, UUID(trace.decode()) if trace else None)


def _links(arrival: Arrival, subject: Key) -> tuple[str, str, str]:
    """(correlation, causation, id of the trace) of what follows from an input; no id where it brought no trace."""
    if arrival.envelope is not None:
        found = _TRACEPARENT.fullmatch(arrival.envelope.trace)
        return arrival.envelope.correlation, arrival.envelope.id, found[1] if found else ""
    timer = arrival.timer
    if timer is None and arrival.record is not None and arrival.record.topic == TIMERS:
        timer = timer_of(arrival.record)
    if timer is not None:
        return timer.key.id, f"timer:{timer.name}", timer.trace.hex if timer.trace else ""
    return subject.id, str(arrival.cause), ""


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def _next_span(trace: str, id: str) -> str:
    """W3C trace context: the same trace, a new span; a new trace where none came in."""
    digits = id.replace("-", "")
    return f"00-{trace or digits}-{digits[:16]}-01"
