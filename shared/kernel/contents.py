"""What a partition of documents comes to: the newest document of each key, with one sum that stands for all of them.

Whoever has read the same records has the same sum, in whatever order they came and however often. So an audit can tell from a few bytes
whether a process has lost one.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from schemas.topics import Topic
from shared.kernel.codec import state_version
from shared.kernel.ports import Record

MODULUS = 1 << 64

Version = tuple[int, int]


class Seen(NamedTuple):
    """How far a partition was read, and what it came to."""

    next: int
    """Offset behind the last record that was read."""
    documents: int
    sum: str


class Contents:
    """The newest document of each key of one partition. Documents with versions count by them, reference data by their offsets."""

    def __init__(self) -> None:
        self._versions: dict[bytes, Version] = {}
        self._hidden: set[bytes] = set()
        """Keys whose newest document is gone, or could not be read."""
        self._sum = 0

    def admit(self, record: Record, topic: Topic) -> bool:
        """Whether it is newer than what is known of its key; that is not shown any more."""
        if record.key is None:
            return False
        version = state_version(record) if topic.kind == "state" else (0, record.offset + 1)
        known = self._versions.get(record.key, (0, 0))
        if version <= known:
            return False
        if record.key in self._versions and record.key not in self._hidden:
            self._sum -= _digest(record.key, known)
        self._versions[record.key] = version
        self._hidden.add(record.key)
        return True

    def show(self, key: bytes) -> None:
        """The newest document of this key was read, and is one."""
        if key in self._hidden:
            self._hidden.discard(key)
            self._sum += _digest(key, self._versions[key])

    def seen(self, next: int) -> Seen:
        """As it is now, read up to `next`."""
        return Seen(next, len(self._versions) - len(self._hidden), f"{self._sum % MODULUS:016x}")


def _digest(key: bytes, version: Version) -> int:
    return int.from_bytes(blake2b(b"%b\n%d/%d" % (key, *version), digest_size=8).digest(), "big")
