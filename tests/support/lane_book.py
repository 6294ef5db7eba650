"""What a careful reader of all lanes notes down: every number once, in order, and what is doubled on the way is the same message."""

from __future__ import annotations

from schemas.topics import Topic
from shared.kernel.codec import Envelope
from shared.kernel.ports import LaneId, Record, TopicPartition


class LaneBook:
    """The lanes of all events topics, as they stand in them from their beginning."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """Gaps, and numbers that were given to two messages."""
        self.repeats = 0
        """Records that were in their topic already: a publisher that isn't sure sends again."""
        self._ids: dict[tuple[TopicPartition, LaneId], list[str]] = {}

    def is_new(self, record: Record, envelope: Envelope, topic: Topic) -> bool:
        """Notes a record; whether it is the first of its number."""
        if topic.kind != "events" or envelope.lane is None:
            return True
        ids = self._ids.setdefault((record.at, envelope.lane), [])
        if envelope.seq <= len(ids):
            self._compare(record, envelope, ids[envelope.seq - 1])
            self.repeats += 1
            return False
        if envelope.seq != len(ids) + 1:
            self.faults.append(f"{_name(record)}: {envelope.seq} follows {len(ids)} of {envelope.lane}")
            ids += [""] * (envelope.seq - len(ids) - 1)
        ids.append(envelope.id)
        return True

    def last(self, at: TopicPartition, lane: LaneId) -> int:
        """The highest number noted of a lane; 0 where it wasn't met."""
        return len(self._ids.get((at, lane), ()))

    def _compare(self, record: Record, envelope: Envelope, first: str) -> None:
        if envelope.id != first:
            self.faults.append(f"{_name(record)}: number {envelope.seq} of {envelope.lane} is {envelope.id} and was {first}")


def _name(record: Record) -> str:
    return f"{record.topic}/{record.partition} at {record.offset}"
