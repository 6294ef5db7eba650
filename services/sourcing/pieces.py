"""The pieces in which what sourcing knows of stock is kept from one run to the next: levels, and what is announced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from msgspec import Struct, msgpack

from schemas.inventory import Future
from shared.kernel.views import Written

Levels = dict[str, dict[str, tuple[int, int]]]
"""sku to location to (version, available to promise)."""


class LevelsPiece(Struct, tag="levels", array_like=True):
    levels: Levels


class AnnouncedPiece(Struct, tag="announced", array_like=True):
    """By sku and location; each as its JSON."""

    future: dict[str, dict[str, list[bytes]]]

    @classmethod
    def of(cls, future: Mapping[str, Mapping[str, Iterable[Future]]]) -> Self:
        return cls(
            {sku: {place: [each.model_dump_json().encode() for each in all] for place, all in at.items()} for sku, at in future.items()}
        )

    def read(self) -> dict[str, dict[str, tuple[Future, ...]]]:
        """Raises pydantic.ValidationError."""
        read = Future.model_validate_json
        return {sku: {place: tuple(map(read, all)) for place, all in at.items()} for sku, at in self.future.items()}


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
