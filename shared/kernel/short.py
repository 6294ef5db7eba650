"""Values as JSON documents, without the fields that stand beside them in their row anyway."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from msgspec import NODEFAULT, defstruct
from msgspec.structs import FieldInfo, astuple, fields

from shared.value import Value, decoder, encode, field


class Told(Value, frozen=True):
    """Fields that are known from beside a document: of a state from its row's id, owner and rank, of an event from the row's id and the
    time of the input. As many of them as a type begins with; the very first has no default."""

    fields: tuple[str, ...]
    by: Callable[..., tuple[Any, ...]]
    """Their values, in this order."""


class Stored:
    """How values of one type are written and read. A document that was written whole is read as it is."""

    def __init__(self, kind: type, told: Told | None) -> None:
        every, names = fields(kind), told.fields if told is not None else ()
        self._count = sum(1 for _ in takewhile(lambda pair: pair[0].name == pair[1], zip(every, names, strict=False)))
        self._kind = kind
        self._by = told.by if told is not None and self._count else None
        self._whole = decoder(kind)
        rest = every[self._count :]
        self._short = defstruct(kind.__name__, [_as_it_is(each) for each in rest], bases=(Value,), frozen=True, omit_defaults=True)
        self._rest = decoder(self._short)
        self._begins_whole = f'{{"{every[0].name}"' if every else ""

    def dump(self, value: Any) -> bytes:
        return encode(self._short(*astuple(value)[self._count :]) if self._by is not None else value)

    def parse(self, doc: str, *beside: Any) -> Any:
        """`beside`: what `Told.by` is asked. Raises msgspec.DecodeError."""
        if self._by is None or doc.startswith(self._begins_whole):
            return self._whole.decode(doc)
        return self._kind(*self._by(*beside)[: self._count], *astuple(self._rest.decode(doc)))


def _as_it_is(each: FieldInfo) -> tuple[str, Any, Any]:
    if each.default_factory is not NODEFAULT:
        return each.name, each.type, field(default_factory=each.default_factory)
    return each.name, each.type, field(default=each.default) if each.default is not NODEFAULT else field()
