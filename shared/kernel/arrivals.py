"""What arrives on its way to a decision: records read as far as the service reads them, timers woken up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from schemas.forms import Form
from schemas.placing import Asked
from schemas.topics import BY_NAME, Body, Topic
from shared.kernel.codec import Envelope, Undecodable, asked_of, body_of, form_of, open_envelope, read_body, said_by
from shared.kernel.model import Key, Service, Unreadable, Woken, derived
from shared.kernel.ports import (
    LaneId,
    Record,
    StoredInput,
    TimerRow,
)
from shared.value import Value, replace

TIMER_NAMESPACE = UUID("b3a5e7c0-5f0c-5f6a-9c3e-6d1f1f0a7a11")
MESSAGE = "~message"
"""Kind of the stand-in row that quarantines a Kafka key, where a message names no row of its own."""


class Arrival(Value, frozen=True):
    """One input on its way to a decision."""

    now: datetime
    cause: UUID
    record: Record | None = None
    topic: Topic | None = None
    envelope: Envelope | None = None
    body: Any = None
    """The message, Woken or Unreadable; None where there is nothing to decide (skipped or broken)."""
    broken: Undecodable | None = None
    timer: TimerRow | None = None
    stored: StoredInput | None = None
    late: bool = False
    overdue: bool = False

    @property
    def lane(self) -> LaneId | None:
        return self.envelope.lane if self.envelope is not None else None

    @property
    def internal(self) -> bool:
        """Of a lane, or a timer: it can't be skipped."""
        return self.timer is not None or self.lane is not None

    @property
    def replayed(self) -> bool:
        return self.stored is not None and self.stored.purpose == "replay"

    @property
    def kept(self) -> bool:
        return self.stored is not None and self.stored.purpose == "kept"

    @property
    def skipped(self) -> bool:
        """Of a type this service doesn't read: only its lane and its position move."""
        return self.body is None and self.broken is None

    @property
    def message_key(self) -> Key:
        key = self.record.key if self.record is not None else None
        return Key(MESSAGE, (key or b"").decode("utf-8", "replace").replace("\x00", "?")[:300])


@lru_cache(maxsize=64)
def instant(ms: float) -> datetime:
    """The time of a record: those appended together share it."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def arrive(
    service: Service[Any], record: Record, *, stored: StoredInput | None = None, late: bool = False, overdue: bool = False
) -> Arrival:
    """Decodes one record, as far as this service reads it."""
    topic, now = BY_NAME[record.topic], instant(record.appended_ms)
    if topic.kind == "reference":
        return _reference(service, record, topic, now, _nameless(record))
    try:
        envelope = open_envelope(record, topic)
    except Undecodable as error:
        return _broken(Arrival(now, _nameless(record), record, topic, stored=stored, late=late, overdue=overdue), error)
    reading = service.reading(topic, envelope.type)
    if reading is None and topic.type_named(envelope.type) is not None:
        return Arrival(now, envelope.cause, record, topic, envelope, None, None, None, stored, late, overdue)
    try:
        body = _body(reading, envelope, topic)
    except Undecodable as error:
        return _broken(Arrival(now, envelope.cause, record, topic, envelope, None, None, None, stored, late, overdue), error)
    return Arrival(now, envelope.cause, record, topic, envelope, body, None, None, stored, late, overdue)


def _body(reading: type[Body | Form] | None, envelope: Envelope, topic: Topic) -> Body | Form:
    if reading is None:
        return read_body(envelope, topic)
    if issubclass(reading, Asked):
        return asked_of(reading, envelope.data)
    if issubclass(reading, Form):
        return form_of(reading, envelope.data)
    return body_of(reading, envelope.data)


def _nameless(record: Record) -> UUID:
    """The cause of what follows from a record without an identity of its own."""
    return derived(TIMER_NAMESPACE, f"{record.topic}/{record.partition}/{record.offset}")


def _reference(service: Service[Any], record: Record, topic: Topic, now: datetime, cause: UUID) -> Arrival:
    arrival = Arrival(now, cause, record, topic)
    if record.value is None:
        return arrival
    try:
        body = read_document(record, topic)
        return _with(arrival, body=body) if type(body) in service.reads[topic] else arrival
    except Undecodable as error:
        return _with(arrival, broken=error)


def read_document(record: Record, topic: Topic) -> Body:
    """The document of a state or reference record; its type header may be missing, for there is one type a topic."""
    return body_of(topic.types[0], record.value or b"")


def read_viewed(service: Service[Any], record: Record, topic: Topic) -> Body | Form:
    """The same as this service's view takes it."""
    form = service.viewed.get(topic)
    return form_of(form, record.value or b"") if form is not None else read_document(record, topic)


def _with(arrival: Arrival, body: Any = None, broken: Undecodable | None = None) -> Arrival:
    return replace(arrival, body=body, broken=broken)


def _broken(arrival: Arrival, error: Undecodable) -> Arrival:
    """A request is answered where its Kafka key or its body names the order; anything else broken has no meaning."""
    record, topic = arrival.record, arrival.topic
    if record is None or topic is None or topic.kind != "request":
        return _with(arrival, broken=error)
    order_id, request_id = said_by(record, arrival.envelope)
    if order_id is None:
        return _with(arrival, broken=error)
    return _with(arrival, body=Unreadable(order_id, error.type_name, request_id, error.problems))


def wake_up(timer: TimerRow, newest_ms: int) -> Arrival:
    """The arrival of a due timer: its now is the later of its due time and the newest append time read."""
    now = max(timer.due, instant(newest_ms))
    cause = derived(TIMER_NAMESPACE, f"{timer.key.kind}\n{timer.key.id}\n{timer.name}\n{timer.due.isoformat()}")
    return Arrival(now, cause, body=Woken(timer.key, timer.name, timer.due), timer=timer)


def kept_for(arrivals: Sequence[Arrival]) -> set[Key]:
    """The rows that kept ones among these wait for."""
    return {a.stored.key for a in arrivals if a.stored is not None and a.stored.key is not None}


def apart(due: Sequence[StoredInput]) -> list[list[StoredInput]]:
    """Replays each alone; the rest together."""
    alone = [[one] for one in due if one.purpose == "replay"]
    together = [one for one in due if one.purpose != "replay"]
    return [*([together] if together else []), *alone]
