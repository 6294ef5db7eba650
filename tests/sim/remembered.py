"""What the same record says is worked out once in a world, however many services, auditors and people read it: values don't change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.topics import Body, Topic
from shared.kernel import arrivals, codec
from shared.kernel.codec import Envelope
from shared.kernel.ports import Record

OfLane = Callable[[Record, bytes, Topic], Envelope | None]
BodyOf = Callable[[type[Body], bytes], Body]


@contextmanager
def remembered() -> Iterator[None]:
    """While it lasts, bytes that were parsed are not parsed again. What can't be read is tried each time."""
    lanes, bodies = codec._of_lane, codec.body_of
    _read_by(_lanes_remembered(lanes), _bodies_remembered(bodies))
    try:
        yield
    finally:
        _read_by(lanes, bodies)


def _read_by(of_lane: OfLane, body_of: BodyOf) -> None:
    vars(codec).update(_of_lane=of_lane, body_of=body_of)
    vars(arrivals).update(body_of=body_of)


def _lanes_remembered(of_lane: OfLane) -> OfLane:
    known: dict[int, tuple[Record, Envelope | None]] = {}
    """By the record's identity, which lasts as long as it is held here."""

    def remember(record: Record, value: bytes, topic: Topic) -> Envelope | None:
        found = known.get(id(record))
        if found is None:
            found = known[id(record)] = record, of_lane(record, value, topic)
        return found[1]

    return remember


def _bodies_remembered(body_of: BodyOf) -> BodyOf:
    known: dict[tuple[type[Body], bytes], Body] = {}

    def remember(kind: type[Body], data: bytes) -> Body:
        found = known.get((kind, data))
        if found is None:
            found = known[kind, data] = body_of(kind, data)
        return found

    return remember
