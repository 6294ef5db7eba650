"""Which partition a key belongs to: murmur2 as the Java client and aiokafka do it. The one place where this is computed."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """The partition of a key among `partitions`."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
