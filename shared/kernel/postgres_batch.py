"""What a batch usually writes, as one statement: a small batch costs as much as its round trips, on both sides.

The statement is made of parts, each a data-modifying CTE: the rows of each kind that are made, changed and removed, and then always the
same (`write` in queries.sql). Postgres promises no order among them, and locks are to be taken in the order of the protocol; so each part
asks for the count of the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from shared.kernel.ports import (
    Changes,
    Collision,
    LaneRow,
    NotOwner,
    OffsetMove,
    OutboxRow,
    RowChange,
    SomethingAttached,
    TopicPartition,
)
from shared.kernel.postgres_columns import columns, history_columns, mark_columns, outbox_columns, timer_columns
from shared.kernel.rows import RowCodec
from shared.kernel.sql import placeholders, queries

WRITE = queries(Path(__file__).with_name("queries.sql"))["write"]
EXPECTED = placeholders(WRITE) + 1
"""Number of the parameter that says how many rows each of the first parts writes; their own follow."""


class Part(NamedTuple):
    """Rows of one kind to which the same is done. Parts of one shape have one text."""

    codec: RowCodec
    what: str
    names: tuple[str, ...]

    def sql(self, first: int) -> str:
        match self.what:
            case "insert":
                return self.codec.insert_sql(self.names, first)
            case "update":
                return self.codec.update_sql(self.names, first)
            case _:
                return self.codec.delete_sql(first)

    def arguments(self, changes: Sequence[RowChange]) -> list[Any]:
        bases = [change.base for change in changes]
        if self.what == "delete":
            return [[change.key.id for change in changes], bases]
        arrays = [*self.codec.head(changes), *self.codec.values(changes, self.names)]
        return arrays if self.what == "insert" else [*arrays, bases]


class BatchWrite:
    """One batch's statement, with its parameters, and what its answer means. Without `stores` it only takes the messages' numbers."""

    def __init__(self, codecs: Mapping[str, RowCodec], changes: Changes, messages: Sequence[OutboxRow], *, stores: bool = True) -> None:
        self._parts = _parts(codecs, changes.rows)
        self._changes = changes
        self._messages = messages
        self._codecs = codecs
        self._stores = stores

    def sql(self) -> str:
        return _text(tuple(part for part, _ in self._parts))

    def arguments(self) -> list[Any]:
        lanes = Counter(row.at for row in self._messages)
        return [
            *history_columns(self._codecs, self._changes.history),
            *mark_columns([mark for mark in self._changes.inbox if mark.before is None]),
            *_timers(self._changes),
            *_positions(self._changes),
            *columns(list(lanes)),
            list(lanes.values()),
            *_outbox(self._messages if self._stores else ()),
            [len(rows) for _, rows in self._parts],
            *(argument for part, rows in self._parts for argument in part.arguments(rows)),
        ]

    def numbered(self, answer: Sequence[Any], *, unattached: bool = False) -> list[LaneRow]:
        """The messages with their numbers. Raises Collision or NotOwner where less was done than was asked, and SomethingAttached."""
        self._check(answer[0])
        if unattached and answer[0]["attached"]:
            raise SomethingAttached
        heads = {TopicPartition(r["topic"], r["partition"]): (r["incarnation"], r["seq"]) for r in answer}
        numbered = []
        for row in self._messages:
            incarnation, seq = heads[row.at]
            heads[row.at] = incarnation, seq + 1
            numbered.append(LaneRow(seq + 1, incarnation, row))
        return numbered

    def _check(self, done: Any) -> None:
        for (part, rows), count in zip(self._parts, done["rows"], strict=True):
            _expect(len(rows), count, f"{part.what} {part.codec.kind.name}")
        _expect(sum(mark.before is None for mark in self._changes.inbox), done["inbox"], "inbox")
        _expect(len(self._changes.timers_fired), done["fired"], "timers fired")
        if done["moved"] != len(self._changes.offsets):
            raise NotOwner(f"{done['moved']} of {len(self._changes.offsets)} positions moved")


def _expect(count: int, done: int, what: str) -> None:
    if done != count:
        raise Collision(f"{done} of {count} rows: {what}")


def _parts(codecs: Mapping[str, RowCodec], rows: Sequence[RowChange]) -> list[tuple[Part, list[RowChange]]]:
    """In the order in which they are written: by kind, and by id within a part."""
    parts: list[tuple[Part, list[RowChange]]] = []
    for kind, group in groupby(sorted(rows, key=lambda c: c.key), key=lambda c: c.key.kind):
        codec, changes = codecs[kind], list(group)
        if fresh := [c for c in changes if is_fresh(c)]:
            parts.append((Part(codec, "insert", codec.names), fresh))
        if changed := [c for c in changes if c.base > 0 and _stays(c)]:
            parts.append((Part(codec, "update", codec.differing(changed)), changed))
        if gone := [c for c in changes if c.base > 0 and not _stays(c)]:
            parts.append((Part(codec, "delete", ()), gone))
    return parts


def is_fresh(change: RowChange) -> bool:
    """Whether it makes a row; one that was made and has ended within a batch never was there."""
    return change.base == 0 and _stays(change)


def _stays(change: RowChange) -> bool:
    return change.state is not None or change.empty


@cache
def _text(shape: tuple[Part, ...]) -> str:
    """The statement for these parts."""
    parts, first = [], EXPECTED + 1
    for place, part in enumerate(shape):
        after = f" AND (SELECT count(*) FROM rows_{place - 1}) = (${EXPECTED}::bigint[])[{place}]" if place else ""
        parts.append(f"rows_{place} AS ({part.sql(first)}{after} RETURNING 1)")
        first = placeholders(part.sql(first)) + 1
    counts = ", ".join(f"(SELECT count(*) FROM rows_{place})" for place in range(len(shape)))
    counted = f"written AS (SELECT counts, counts = ${EXPECTED}::bigint[] AS done FROM (SELECT ARRAY[{counts}]::bigint[] AS counts) c)"
    return "WITH " + ",\n".join([*parts, counted, WRITE])


def _timers(changes: Changes) -> tuple[Any, ...]:
    """Those that end, each once; those that are made; how many fire."""
    ended: dict[Any, Any] = dict.fromkeys(changes.timers_cancelled) | {(t.key, t.name): t.due for t in changes.timers_fired}
    made = changes.timers_set
    return (
        [key.kind for key, _ in ended],
        [key.id for key, _ in ended],
        [name for _, name in ended],
        list(ended.values()),
        *timer_columns(made),
        [t.due for t in made],
        [t.rank for t in made],
        [t.shard for t in made],
        [t.trace for t in made],
        len(changes.timers_fired),
    )


def _positions(changes: Changes) -> tuple[Any, ...]:
    moves: Sequence[OffsetMove] = changes.offsets
    marks = changes.marks
    return (
        *columns([m.at for m in moves]),
        [m.epoch for m in moves],
        [m.loaded for m in moves],
        [m.next for m in moves],
        *columns([m.at for m in marks]),
        [m.lane.service for m in marks],
        [m.lane.incarnation for m in marks],
        [m.seq for m in marks],
    )


def _outbox(messages: Sequence[OutboxRow]) -> tuple[Sequence[Any], ...]:
    """With the place of each among those of its lane, from 1."""
    lanes: Counter[TopicPartition] = Counter()
    places = []
    for row in messages:
        lanes[row.at] += 1
        places.append(lanes[row.at])
    return outbox_columns(messages, places)
