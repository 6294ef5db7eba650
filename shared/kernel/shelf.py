"""Where a replica keeps a snapshot of its view: one file, replaced as a whole and checked as a whole. See ports.Shelf.

The file is a row of pieces, each behind its length in four bytes, and a digest of all of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import IO

from shared.kernel.ports import Damaged, NotKept

LENGTH_BYTES, DIGEST_BYTES = 4, 32
READ_BYTES = 1_000_000


class FileShelf:
    """Keeps the pieces in a file; beside it lies a draft while they are written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count()

    async def read(self) -> Iterator[bytes] | None:
        size = await asyncio.to_thread(self._checked_size)
        return self._pieces(size) if size is not None else None

    def _checked_size(self) -> int | None:
        """Bytes of all pieces, behind which their digest stands."""
        try:
            with self._path.open("rb") as file:
                left = size = max(0, os.fstat(file.fileno()).st_size - DIGEST_BYTES)
                digest = _digest()
                while left and (read := file.read(min(left, READ_BYTES))):
                    digest.update(read)
                    left -= len(read)
                if file.read() != digest.digest():
                    raise Damaged(f"{self._path.name}: its digest is another one")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Damaged(f"{self._path.name}: {error}") from error
        return size

    def _pieces(self, size: int) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                while file.tell() < size:
                    yield file.read(int.from_bytes(file.read(LENGTH_BYTES), "big"))
        except OSError as error:
            raise Damaged(f"{self._path.name}: {error}") from error

    async def write(self, pieces: AsyncIterator[bytes]) -> int:
        draft = self._path.with_name(f"{self._path.name}.{next(self._numbers)}.new")
        try:
            file = await asyncio.to_thread(_opened, draft)
            with file:
                digest = _digest()
                async for piece in pieces:
                    framed = len(piece).to_bytes(LENGTH_BYTES, "big") + piece
                    file.write(framed)
                    digest.update(framed)
                file.write(digest.digest())
                return await asyncio.to_thread(self._settle, file, draft)
        except OSError as error:
            raise NotKept(f"{self._path}: {error}") from error
        finally:
            self._remove(draft)

    def _settle(self, file: IO[bytes], draft: Path) -> int:
        file.flush()
        os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return file.tell()

    async def clear(self) -> None:
        self._remove(self._path)

    @staticmethod
    def _remove(path: Path) -> None:
        """Where that can't be done, it is refused or replaced the next time."""
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _opened(draft: Path) -> IO[bytes]:
    """A new file, in the place of what a run before may have left."""
    draft.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    return os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _digest() -> blake2b:
    return blake2b(digest_size=DIGEST_BYTES)
