"""A shelf in memory: see ports.Shelf. It outlives the process that fills it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator


class MemoryShelf:
    """Keeps the pieces as they are."""

    def __init__(self) -> None:
        self.pieces: list[bytes] | None = None

    async def read(self) -> Iterator[bytes] | None:
        return iter(self.pieces) if self.pieces is not None else None

    async def write(self, pieces: AsyncIterator[bytes]) -> int:
        self.pieces = [piece async for piece in pieces]
        return sum(map(len, self.pieces))

    async def clear(self) -> None:
        self.pieces = None
