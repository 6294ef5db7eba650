"""What a partition of documents comes to: the newest document of each key, with one sum that stands for all of them.

Whoever has read the same records has the same sum, in whatever order they came and however often. So an audit can tell from a few bytes
whether a process has lost one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from msgspec import Struct, msgpack

from schemas.topics import Topic
from shared.kernel.codec import state_version
from shared.kernel.ports import Record

MODULUS = 1 << 64
NUMBERS = 1 << 63
"""More than a version's number within its incarnation can be."""

Version = int
"""One number, for millions of them are kept: that of the first incarnation as it is, of the others beyond it; see `version_of`."""
KEYS_A_PIECE = 2000
"""A millisecond's work."""


class Seen(NamedTuple):
    """How far a partition was read, and what it came to."""

    next: int
    """Offset behind the last record that was read."""
    documents: int
    sum: str


class _Piece(Struct, array_like=True):
    """Some of the keys, by incarnation, with their numbers."""

    shown: dict[int, dict[bytes, int]]
    hidden: dict[int, dict[bytes, int]]


_pack, _unpack = msgpack.Encoder().encode, msgpack.Decoder(_Piece).decode


def version_of(incarnation: int, number: int) -> Version:
    """Ordered by incarnation, then by number."""
    return (incarnation - 1) * NUMBERS + number


NOTHING = version_of(0, 0)


class Contents:
    """The newest document of each key of one partition. Documents with versions count by them, reference data by their offsets."""

    def __init__(self) -> None:
        self._versions: dict[bytes, Version] = {}
        self._keys: list[bytes] = []
        """The same keys, as they came: copying those of a million documents would stop everything for a while."""
        self._hidden: set[bytes] = set()
        """Keys whose newest document is gone, or could not be read."""
        self._sum = 0

    def news(self, record: Record, topic: Topic) -> Version | None:
        """The version of a record that is newer than what is known of its key; None of any other. It counts once it is shown or hidden."""
        if record.key is None:
            return None
        version = version_of(*state_version(record)) if topic.kind == "state" else version_of(0, record.offset + 1)
        return version if version > self._versions.get(record.key, NOTHING) else None

    def show(self, key: bytes, version: Version) -> None:
        """The newest document of this key was read, and is one."""
        self._replace(key)
        self._hidden.discard(key)
        self._versions[key] = version
        self._sum += _digest(key, version)

    def hide(self, key: bytes, version: Version) -> None:
        """The newest document of this key is gone, or could not be read."""
        self._replace(key)
        self._hidden.add(key)
        self._versions[key] = version

    def _replace(self, key: bytes) -> None:
        known = self._versions.get(key)
        if known is None:
            self._keys.append(key)
        elif key not in self._hidden:
            self._sum -= _digest(key, known)

    def dump(self) -> Iterator[bytes]:
        """All there was when the first piece was asked for, each key as it is when its piece is made."""
        for first in range(0, len(self._keys), KEYS_A_PIECE):
            yield _pack(self._piece(self._keys[first : first + KEYS_A_PIECE]))

    def _piece(self, keys: Sequence[bytes]) -> _Piece:
        piece, versions, hidden = _Piece({}, {}), self._versions, self._hidden
        for key in keys:
            incarnation, number = divmod(versions[key], NUMBERS)
            (piece.hidden if key in hidden else piece.shown).setdefault(incarnation + 1, {})[key] = number
        return piece

    def load(self, piece: bytes) -> None:
        """Adds a piece of a dump. Raises msgspec.MsgspecError."""
        found = _unpack(piece)
        for incarnation, numbers in found.shown.items():
            for key, number in numbers.items():
                self.show(key, version_of(incarnation, number))
        for incarnation, numbers in found.hidden.items():
            for key, number in numbers.items():
                self.hide(key, version_of(incarnation, number))

    def seen(self, next: int) -> Seen:
        """As it is now, read up to `next`."""
        return Seen(next, len(self._versions) - len(self._hidden), f"{self._sum % MODULUS:016x}")


def _digest(key: bytes, version: Version) -> int:
    incarnation, number = divmod(version, NUMBERS)
    return int.from_bytes(blake2b(b"%b\n%d/%d" % (key, incarnation + 1, number), digest_size=8).digest(), "big")
