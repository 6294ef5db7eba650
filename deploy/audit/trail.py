"""What a partition of documents came to behind each of its newest records, so that a reader can be judged wherever it is."""

from __future__ import annotations

from bisect import bisect_right

from schemas.topics import Topic
from shared.kernel.arrivals import read_document
from shared.kernel.codec import Undecodable
from shared.kernel.contents import Contents, Seen
from shared.kernel.ports import Record

MOST_STEPS = 20_000
"""Newest records of a partition behind which its contents are known."""


class Trail:
    """The contents of one partition, record by record."""

    def __init__(self) -> None:
        self._contents = Contents()
        self._steps: list[Seen] = [self._contents.seen(0)]
        self._judged_from: int | None = None

    def note(self, record: Record, topic: Topic) -> None:
        """One more record, in order."""
        version, key = self._contents.news(record, topic), record.key or b""
        if version is not None and record.value is not None and _is_one(record, topic):
            self._contents.show(key, version)
        elif version is not None:
            self._contents.hide(key, version)
        self._steps.append(self._contents.seen(record.offset + 1))
        if len(self._steps) > 2 * MOST_STEPS:
            del self._steps[:MOST_STEPS]

    def note_caught_up(self, end: int) -> None:
        """Everything up to here was read. Before the first such end compaction may have taken records away that others did read."""
        if self._judged_from is None:
            self._judged_from = end

    def up_to(self, next: int) -> Seen | None:
        """What the records before this offset came to; None where that isn't known (any more)."""
        after = bisect_right(self._steps, next, key=lambda step: step.next)
        known = self._judged_from is not None and next >= self._judged_from and after > 0
        return self._steps[after - 1] if known else None


def _is_one(record: Record, topic: Topic) -> bool:
    """Anybody may write to a topic from outside: what no contract reads is in no view, and a dead letter. State documents are our own, and
    a view that can't read one lacks it."""
    if not topic.external:
        return True
    try:
        read_document(record, topic)
    except Undecodable:
        return False
    return True
