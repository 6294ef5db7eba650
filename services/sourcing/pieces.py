"""The pieces in which what sourcing knows of stock is kept from one run to the next: levels, and what is announced."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, msgpack

from schemas.forms import Future
from shared.kernel.views import Written

Levels = dict[str, dict[str, tuple[int, int]]]
"""sku to location to (version, available to promise)."""


class LevelsPiece(Struct, tag="levels", array_like=True):
    levels: Levels


class AnnouncedPiece(Struct, tag="announced", array_like=True):
    """By sku and location."""

    future: dict[str, dict[str, tuple[Future, ...]]]


AnyPiece = Written | LevelsPiece | AnnouncedPiece
_decoder: msgpack.Decoder[AnyPiece] = msgpack.Decoder(AnyPiece)


def decode(piece: bytes) -> AnyPiece:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(piece)


def by_sku(levels: Iterable[tuple[tuple[str, str], tuple[int, int]]]) -> Levels:
    found: Levels = {}
    for (sku, location), level in levels:
        found.setdefault(sku, {})[location] = level
    return found
