"""Immutable values: rows, what happened to them, and what the kernel hands around.

A `Value` is made, copied, compared and stored as JSON at about a tenth of what a frozen dataclass costs: rows are folded and written line
by line, so that is what a batch's time goes into.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, field
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace
from pydantic import BaseModel


class Value(Struct, frozen=True, omit_defaults=True, gc=False):
    """An immutable record: `class X(Value, frozen=True)`. It never is part of a cycle; what holds functions may be, and says `gc=True`.
    Stored, it leaves out what has its default."""


class Light(Struct, frozen=True, array_like=True, gc=False):
    """A value that is made some hundred times an order, at a quarter of what a named tuple costs. It never is part of a cycle; stored, it
    is an array of its fields."""


def decoder(kind: Any) -> Decoder[Any]:
    """Reads what `encode` wrote of this type. Raises msgspec.ValidationError, which names the field."""
    return Decoder(kind, dec_hook=_model)


def _text(value: Any) -> Raw:
    """A contract model inside a value is stored as its own JSON."""
    if isinstance(value, BaseModel):
        return Raw(value.__pydantic_serializer__.to_json(value, exclude_defaults=True))
    raise NotImplementedError(f"{type(value).__name__} can't be stored")


def _model(kind: type, value: Any) -> Any:
    if issubclass(kind, BaseModel):
        return kind.__pydantic_validator__.validate_json(encode(value))
    raise NotImplementedError(f"{kind.__name__} can't be stored")


encode = Encoder(enc_hook=_text).encode
"""A value as JSON; instants in UTC end in Z."""

__all__ = ["Light", "Value", "decoder", "encode", "field", "replace"]
