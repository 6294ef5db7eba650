"""The rows a batch names: one statement for as many kinds as can share it, since each statement is a round trip.

To be looked at, the document kinds and a typed one share a statement. To be locked, kinds that are stored as documents can, where they
follow each other in the order of kinds: locks are taken in one order, by kind and id; so each part of the statement asks for the count of
the one before, for Postgres promises no order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from shared.kernel.model import Key
from shared.kernel.ports import Row
from shared.kernel.rows import IN_ORDER, RowCodec

Shape = tuple[RowCodec, ...]


class LoadStatement:
    """One statement and what it asks for."""

    def __init__(self, groups: Sequence[tuple[RowCodec, Sequence[str]]], text: Callable[[Shape], str]) -> None:
        """Kinds in their order, each with the ids of its rows."""
        self._codecs = [codec for codec, _ in groups]
        self.sql = text(tuple(self._codecs))
        self.arguments = [list(ids) for _, ids in groups]

    def rows(self, answer: Sequence[Any]) -> Iterator[tuple[Key, Row]]:
        for record in answer:
            codec = self._codecs[record["of"]]
            yield Key(codec.kind.name, record["id"]), Row(record["version"], codec.parse(record), record["mark"])


def locking(codecs: Mapping[str, RowCodec], keys: Sequence[Key]) -> Iterator[LoadStatement]:
    """What locks and reads these rows, in the order in which it is to be run."""
    for typed, groups in groupby(_by_kind(codecs, keys), key=lambda group: group[0].kind.typed):
        if typed:
            yield from (LoadStatement([group], _locking) for group in groups)
        else:
            yield LoadStatement([*groups], _locking)


def looking(codecs: Mapping[str, RowCodec], keys: Sequence[Key]) -> Iterator[LoadStatement]:
    """What reads these rows, whoever has locked them."""
    groups = [*_by_kind(codecs, keys)]
    typed = [group for group in groups if group[0].kind.typed]
    if together := [group for group in groups if group not in typed[1:]]:
        yield LoadStatement(together, _looking)
    yield from (LoadStatement([group], _looking) for group in typed[1:])


def _by_kind(codecs: Mapping[str, RowCodec], keys: Sequence[Key]) -> Iterator[tuple[RowCodec, list[str]]]:
    for kind, group in groupby(sorted(keys), key=lambda key: key.kind):
        yield codecs[kind], [key.id for key in group]


@cache
def _looking(shape: Shape) -> str:
    typed = next((codec for codec in shape if codec.kind.typed), None)
    return " UNION ALL ".join(f"SELECT {place} AS of, r.* FROM ({codec.look_sql(place + 1, typed)}) r" for place, codec in enumerate(shape))


@cache
def _locking(shape: Shape) -> str:
    if len(shape) == 1:
        return f"SELECT 0 AS of, r.* FROM ({shape[0].load_sql(1)} {IN_ORDER}) r"
    parts = []
    for place, codec in enumerate(shape):
        after = f" AND (SELECT count(*) FROM rows_{place - 1}) >= 0" if place else ""
        parts.append(f"rows_{place} AS ({codec.load_sql(place + 1)}{after} {IN_ORDER})")
    answer = " UNION ALL ".join(f"SELECT {place} AS of, rows_{place}.* FROM rows_{place}" for place in range(len(shape)))
    return f"WITH {', '.join(parts)} {answer}"
