"""How rows of the kernel's own tables are handed to Postgres, by column, and read from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.kernel.model import Key
from shared.kernel.ports import (
    HistoryEntry,
    InboxMark,
    LaneRow,
    OutboxRow,
    Record,
    StoredInput,
    TimerRow,
    TopicPartition,
)
from shared.kernel.rows import RowCodec

OUTBOX_COLUMNS = [
    "topic",
    "partition",
    "seq",
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
    "incarnation",
]
HISTORY_COLUMNS = ["kind", "id", "version", "type", "doc", "at"]


def columns(at: Sequence[TopicPartition]) -> tuple[list[str], list[int]]:
    return [one.topic for one in at], [one.partition for one in at]


def mark_columns(marks: Sequence[InboxMark]) -> tuple[list[str], list[str], list[bytes], list[datetime]]:
    return [m.source for m in marks], [m.id for m in marks], [m.digest for m in marks], [m.at for m in marks]


def timer_columns(timers: Sequence[TimerRow]) -> tuple[list[str], list[str], list[str]]:
    return [t.key.kind for t in timers], [t.key.id for t in timers], [t.name for t in timers]


def record_columns(records: Sequence[Record]) -> tuple[list[Any], ...]:
    """topic, partition, off, appended_ms, key, value, headers."""
    headers = [
        json.dumps([[name.replace("\x00", "?"), value.hex() if value is not None else None] for name, value in r.headers]) for r in records
    ]
    return (
        *columns([r.at for r in records]),
        [r.offset for r in records],
        [r.appended_ms for r in records],
        [r.key for r in records],
        [r.value for r in records],
        headers,
    )


def record_of(row: Any) -> Record:
    headers = tuple((name, bytes.fromhex(value) if value is not None else None) for name, value in json.loads(row["headers"]))
    return Record(row["topic"], row["partition"], row["off"], row["appended_ms"], row["key"], row["value"], headers)


def kept_of(row: Any) -> StoredInput:
    return StoredInput(row["number"], "kept", record_of(row), Key(row["kind"], row["id"]), row["until"])


def lane_row_of(row: Any) -> LaneRow:
    fields = {name: row[name] for name in OUTBOX_COLUMNS if name not in ("seq", "incarnation")} | {"id": str(row["id"])}
    return LaneRow(row["seq"], row["incarnation"], OutboxRow(**fields))


def history_columns(codecs: Mapping[str, RowCodec], entries: Sequence[HistoryEntry]) -> tuple[list[Any], ...]:
    return (
        [e.key.kind for e in entries],
        [e.key.id for e in entries],
        [e.version for e in entries],
        [e.type for e in entries],
        [codecs[e.key.kind].dump_event(e.event) if e.event is not None else "" for e in entries],
        [e.at for e in entries],
    )


def outbox_columns(rows: Sequence[OutboxRow], numbers: Sequence[int]) -> tuple[Sequence[Any], ...]:
    """In the order of OUTBOX_COLUMNS, but the incarnation, which comes last there."""
    return (
        *columns([row.at for row in rows]),
        numbers,
        [row.key for row in rows],
        [row.type for row in rows],
        [row.id for row in rows],
        [row.time for row in rows],
        [row.correlation for row in rows],
        [row.causation for row in rows],
        [row.trace for row in rows],
        [row.subject for row in rows],
        [row.subject_version for row in rows],
        [row.value for row in rows],
    )
