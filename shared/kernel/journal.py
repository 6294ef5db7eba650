"""The journal of a service: every commit, whole, in a topic of its own. What a database that was restored to an older state lacks is there.

A commit's entry is one message, or several where it is large, of the lane (service, incarnation, journal topic, 0): numbered with the
commit, so in the order of all commits of the service. The publisher sends it before anything else of its commit (gate.py). So no topic
shows anything that the journal doesn't tell how to do again: shared/kernel/reconcile.py does.

An entry has what can't be had otherwise: events by row and version, timers, marks, positions, what was put aside, the messages. Rows
aren't in it: folding the events makes them again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import msgpack

from shared.kernel.model import Key, Service, derived_text
from shared.kernel.ports import (
    Changes,
    DeadLetter,
    InboxMark,
    KeepRow,
    LaneMark,
    OffsetMove,
    OutboxRow,
    Quarantine,
    Record,
    SpoolRow,
    StoredInput,
    TimerRow,
    TopicPartition,
)
from shared.kernel.rows import RowCodec
from shared.value import Value, field

PART_BYTES = 500_000
"""Largest part of an entry that one message carries."""
TYPE = "Committed"
"""Type of its messages. The subject says which part of an entry one is: `1/2`."""
QUICK = 1
"""Level of compression: a fifth of the size for a tenth of a millisecond."""


def journal_topic(service: str) -> str:
    """One partition, for all replicas: it has the order of all commits."""
    return f"oms.{service.replace('_', '-')}.journal.v1"


def journal_of(service: str) -> TopicPartition:
    return TopicPartition(journal_topic(service), 0)


class Folded(NamedTuple):
    """One event of one row; no type: the row was made empty, for a message kept for it."""

    key: Key
    version: int
    type: str
    doc: str
    at: datetime


class Changed(NamedTuple):
    """A row that was written: its version before (0: there was none), and after; `empty` where it is only kept for."""

    key: Key
    base: int
    version: int
    empty: bool


class Entry(Value, frozen=True):
    """One commit."""

    folded: list[Folded] = field(default_factory=list)
    rows: list[Changed] = field(default_factory=list)
    inbox: list[InboxMark] = field(default_factory=list)
    timers_set: list[TimerRow] = field(default_factory=list)
    timers_cancelled: list[tuple[Key, str]] = field(default_factory=list)
    timers_fired: list[TimerRow] = field(default_factory=list)
    offsets: list[OffsetMove] = field(default_factory=list)
    marks: list[LaneMark] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    kept: list[KeepRow] = field(default_factory=list)
    taken: list[StoredInput] = field(default_factory=list)
    quarantines: list[Quarantine] = field(default_factory=list)
    spooled: list[SpoolRow] = field(default_factory=list)
    messages: list[OutboxRow] = field(default_factory=list)


class JournalUnreadable(Exception):
    """The journal holds something that is no entry of it. Remedy: see who else writes to its topic; restore the database to its newest
    state, the end of its archive."""


class Journal:
    """Writes the journal of one service."""

    def __init__(self, service: Service[Any]) -> None:
        self.at = journal_of(service.name)
        self._codecs = {kind.name: RowCodec(kind) for kind in service.kinds}

    def rows(self, changes: Changes, messages: Sequence[OutboxRow], cause: UUID, now: datetime) -> list[OutboxRow]:
        """The messages that tell of a commit, without their numbers; `cause` is that of its first input."""
        packed = zlib.compress(_encoder.encode(self._entry(changes, messages)), QUICK)
        parts = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
        return [
            _row(self.at, f"{number}/{len(parts)}", derived_text(cause, f"journal:{number}"), now, part)
            for number, part in enumerate(parts, start=1)
        ]

    def _entry(self, changes: Changes, messages: Sequence[OutboxRow]) -> Entry:
        return Entry(
            folded=[self._folded(one.key, one.version, one.type, one.event, one.at) for one in changes.history],
            rows=[Changed(one.key, one.base, one.version, one.empty) for one in changes.rows],
            inbox=changes.inbox,
            timers_set=changes.timers_set,
            timers_cancelled=changes.timers_cancelled,
            timers_fired=changes.timers_fired,
            offsets=changes.offsets,
            marks=changes.marks,
            dead_letters=changes.dead_letters,
            kept=changes.kept,
            taken=changes.taken,
            quarantines=changes.quarantines,
            spooled=changes.spooled,
            messages=list(messages),
        )

    def _folded(self, key: Key, version: int, type: str, event: Any, at: datetime) -> Folded:
        return Folded(key, version, type, self._codecs[key.kind].dump_event(event) if event is not None else "", at)


def _row(at: TopicPartition, part: str, id: str, now: datetime, value: bytes) -> OutboxRow:
    return OutboxRow(at.topic, at.partition, "journal", TYPE, id, now, "", "", "", part, 0, value)


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder(Entry)


class Written(NamedTuple):
    """An entry as it stands in the topic."""

    seq: int
    """Of its last part."""
    entry: Entry | None
    """None: its last parts are missing. Then nothing else of its commit was sent."""
    parts: list[OutboxRow]


def entries(records: Iterable[Record], service: str, after: int) -> Iterator[Written]:
    """The entries of a journal's lane behind sequence `after`, each once, in order; duplicates and strangers' records are passed over.
    Raises JournalUnreadable."""
    parts: list[OutboxRow] = []
    reached = after
    for record in records:
        seq = _seq_of(record, service)
        if seq <= reached:
            continue
        if seq != reached + 1:
            raise JournalUnreadable(f"{record.topic}: {seq} follows {reached}")
        part = _part_of(record)
        number, _, count = part.subject.partition("/")
        if number == "1" and parts:
            yield Written(reached, None, parts)
            parts = []
        reached = seq
        parts.append(part)
        if number == count:
            yield Written(seq, _read(record, b"".join(one.value for one in parts)), parts)
            parts = []
    if parts:
        yield Written(reached, None, parts)


def _seq_of(record: Record, service: str) -> int:
    """0 where it is none of the service's journal."""
    headers = dict(record.headers)
    lane, seq = (headers.get("ce_lane") or b"").decode(errors="replace"), headers.get("ce_seq") or b""
    return int(seq) if lane.rpartition("/")[0] == service and seq.isdigit() else 0


def _part_of(record: Record) -> OutboxRow:
    headers = dict(record.headers)
    try:
        id, part = str(UUID((headers["ce_id"] or b"").decode())), (headers["ce_subject"] or b"").decode()
    except (KeyError, ValueError) as error:
        raise JournalUnreadable(f"{record.topic}/{record.partition}/{record.offset}: {error!r}") from error
    return _row(record.at, part, id, datetime.fromtimestamp(record.appended_ms / 1000, UTC), record.value or b"")


def _read(record: Record, packed: bytes) -> Entry:
    try:
        return _decoder.decode(zlib.decompress(packed))
    except (zlib.error, ValueError) as error:
        raise JournalUnreadable(f"{record.topic}/{record.partition}/{record.offset}: {error}") from error
