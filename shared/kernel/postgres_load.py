"""The rows a batch names, locked: one statement for as many kinds as can share it, since each statement is a round trip.

Kinds that are stored as documents can, where they follow each other in the order of kinds; a typed kind has columns of its own. Locks are
taken in one order, by kind and id: so each part of the statement asks for the count of the one before, for Postgres promises no order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

from shared.kernel.model import Key
from shared.kernel.ports import Row
from shared.kernel.rows import RowCodec


class LoadStatement:
    """One statement and what it asks for."""

    def __init__(self, groups: Sequence[tuple[RowCodec, Sequence[str]]]) -> None:
        """Kinds in their order, each with the ids of its rows."""
        self._codecs = [codec for codec, _ in groups]
        self.arguments = [list(ids) for _, ids in groups]

    def sql(self) -> str:
        return _text(tuple(self._codecs))

    def rows(self, answer: Sequence[Any]) -> Iterator[tuple[Key, Row]]:
        for record in answer:
            codec = self._codecs[record["of"]]
            yield Key(codec.kind.name, record["id"]), Row(record["version"], codec.parse(record))


def statements(codecs: Mapping[str, RowCodec], keys: Sequence[Key]) -> Iterator[LoadStatement]:
    """What loads these rows, in the order in which it is to be run."""
    by_kind = [(codecs[kind], [key.id for key in group]) for kind, group in groupby(sorted(keys), key=lambda key: key.kind)]
    for typed, groups in groupby(by_kind, key=lambda group: group[0].kind.typed):
        if typed:
            yield from (LoadStatement([group]) for group in groups)
        else:
            yield LoadStatement([*groups])


@cache
def _text(shape: tuple[RowCodec, ...]) -> str:
    if len(shape) == 1:
        return f"SELECT 0 AS of, r.* FROM ({shape[0].load_sql(1)} ORDER BY id FOR UPDATE) r"
    parts = []
    for place, codec in enumerate(shape):
        after = f" AND (SELECT count(*) FROM rows_{place - 1}) >= 0" if place else ""
        parts.append(f"rows_{place} AS ({codec.load_sql(place + 1)}{after} ORDER BY id FOR UPDATE)")
    answer = " UNION ALL ".join(f"SELECT {place} AS of, rows_{place}.* FROM rows_{place}" for place in range(len(shape)))
    return f"WITH {', '.join(parts)} {answer}"
