"""Everything the topics hold about one order: its own messages, what caused them, and how they hang together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploy.reading import whole
from deploy.story import explain_sourcing, tell, why_timer
from schemas.fulfilment import ParcelPacked, ParcelShipped, ParcelTracked
from schemas.sourcing import OrderSourced
from schemas.topics import BY_NAME, FULFILMENT_ORDERS, RETURN_RECEIPTS, TOPICS, Body, Topic
from shared.kernel.codec import Envelope, Undecodable, open_envelope, read_body
from shared.kernel.kafka import KafkaTopics
from shared.kernel.partition import partition_of
from shared.kernel.ports import Record, TopicPartition

DEAD_LETTERS = ".dlq."
PLACES = {topic.name: place for place, topic in enumerate(TOPICS)} | {FULFILMENT_ORDERS.name: len(TOPICS)}
"""What happened at the same time for the same reason is told in this order; an instruction after what it was made of."""
TRACED = ("request", "fact", "events")
"""Kinds of topics that tell what happened; state and reference topics tell what is."""


@dataclass(slots=True)
class Chapter:
    """One message of the story."""

    record: Record
    envelope: Envelope | None
    """None where the record could not be read."""
    body: Body | None
    problem: str = ""
    causation: str = ""
    number: int = 0
    """Its place in the story, from 1."""
    cause: int = 0
    """The number of the message that caused it; 0 where that isn't in the story."""
    depth: int = 0
    """How many causes lie behind it."""

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.record.appended_ms / 1000, UTC)

    @property
    def who(self) -> str:
        """The service that said it, or whoever reported it."""
        name, _, dead = self.record.topic.partition(DEAD_LETTERS)
        if dead:
            return dead.replace("-", "_")
        topic = BY_NAME[name]
        return topic.owner if not topic.external else _outsider(topic, self.body)

    @property
    def says(self) -> str:
        if DEAD_LETTERS in self.record.topic:
            return f"put a message into the dead letters: {self.problem or 'see `nervure dlq list`'}"
        return tell(self.body) if self.body is not None else f"sent what can't be read: {self.problem}"

    @property
    def why(self) -> str:
        """The cause in words, where it isn't a message of the story."""
        return why_timer(self.causation.removeprefix("timer:")) if self.causation.startswith("timer:") else ""

    @property
    def details(self) -> list[str]:
        return explain_sourcing(self.body) if isinstance(self.body, OrderSourced) else []


@dataclass(slots=True)
class _Found:
    """Records by their identity, while the topics are read."""

    chapters: dict[tuple[str, int, int], Chapter] = field(default_factory=dict)
    elsewhere: dict[str, Record] = field(default_factory=dict)
    """By ce_id: messages about locations and carriers that don't name the order, but may have caused something of it."""

    def add(self, chapter: Chapter) -> None:
        """Once: a lane may hold a message again, and readers drop the repeats."""
        record, envelope = chapter.record, chapter.envelope
        number = envelope.seq if envelope is not None and envelope.lane is not None else -1 - record.offset
        self.chapters.setdefault((record.topic, record.partition, number), chapter)

    def ids(self, topic: Topic | None = None) -> set[str]:
        """Of the messages found so far, or of those in this topic."""
        chapters = (chapter for chapter in self.chapters.values() if topic is None or chapter.record.topic == topic.name)
        return {chapter.envelope.id for chapter in chapters if chapter.envelope}


async def story_of(topics: KafkaTopics, order: str) -> list[Chapter]:
    """All messages of an order, the oldest first, numbered, each with its cause; empty where no topic knows the order."""
    existing = await topics.existing()
    found = _Found()
    async for record in whole(topics, _where(existing, order)):
        _sort_in(found, record, order)
    _follow_parcels(found)
    own = found.ids()
    _follow_causes(found)
    _follow_effects(found, order, own | found.ids(RETURN_RECEIPTS))
    return put_in_order(list(found.chapters.values()))


def _where(existing: Mapping[str, int], order: str) -> list[TopicPartition]:
    """The order's own partition where orders are the key, else all."""
    at: list[TopicPartition] = []
    for name, count in existing.items():
        source, _, dead = name.partition(DEAD_LETTERS)
        if source not in BY_NAME or BY_NAME[source].kind not in TRACED:
            continue
        own = BY_NAME[source].key == "order_id" and not dead
        at += [TopicPartition(name, number) for number in ([partition_of(order, count)] if own else range(count))]
    return at


def _sort_in(found: _Found, record: Record, order: str) -> None:
    key, value = record.key or b"", record.value or b""
    if key == order.encode():
        found.add(read_chapter(record))
    elif f'"{order}"'.encode() in value or f'"{order}/'.encode() in value:
        chapter = read_chapter(record)
        if chapter.body is None or _concerns(chapter.body, order):
            found.add(chapter)
            return
    if key != order.encode() and (identity := dict(record.headers).get("ce_id")):
        found.elsewhere[identity.decode(errors="replace")] = record


def _concerns(body: Body, order: str) -> bool:
    """Whether a message keyed by something else is about this order: by its order, or by a reference to one of its parts."""
    named = getattr(body, "order_id", None)
    reference = str(getattr(body, "reference", "") or "")
    return named == order or (named is None and reference.startswith(f"{order}/"))


def read_chapter(record: Record) -> Chapter:
    """The record with its message, where it can be read."""
    topic = BY_NAME[record.topic.partition(DEAD_LETTERS)[0]]
    causation = (dict(record.headers).get("ce_causationid") or b"").decode(errors="replace")
    reason = (dict(record.headers).get("__connect.errors.exception.message") or b"").decode(errors="replace")
    try:
        envelope = open_envelope(record, topic)
    except Undecodable as error:
        return Chapter(record, None, None, reason or str(error), causation)
    try:
        return Chapter(record, envelope, read_body(envelope, topic), reason, causation)
    except Undecodable as error:
        return Chapter(record, envelope, None, reason or str(error), causation)


def _follow_parcels(found: _Found) -> None:
    """Carriers know parcels, not orders."""
    bodies = [chapter.body for chapter in found.chapters.values()]
    ours = {f"{body.carrier}:{body.tracking_number}".encode() for body in bodies if isinstance(body, ParcelPacked | ParcelShipped)}
    for record in list(found.elsewhere.values()):
        if record.key in ours:
            chapter = read_chapter(record)
            if isinstance(chapter.body, ParcelTracked):
                found.add(chapter)


def _follow_effects(found: _Found, order: str, causes: set[str]) -> None:
    """What these messages caused elsewhere: units back in a level, say. Neighbours' messages are not ours."""
    caused: dict[str, list[Record]] = defaultdict(list)
    for record in found.elsewhere.values():
        caused[(dict(record.headers).get("ce_causationid") or b"").decode(errors="replace")].append(record)
    waiting = sorted(causes)
    while waiting:
        for chapter in map(read_chapter, caused.pop(waiting.pop(), [])):
            if getattr(chapter.body, "order_id", order) == order:
                found.add(chapter)
                waiting += [chapter.envelope.id] if chapter.envelope else []


def _follow_causes(found: _Found) -> None:
    """What didn't name the order but made something happen to it: a sale in the store, a count."""
    causes = {chapter.causation for chapter in found.chapters.values()}
    for identity in causes - found.ids():
        if identity in found.elsewhere:
            found.add(read_chapter(found.elsewhere[identity]))


def put_in_order(chapters: list[Chapter]) -> list[Chapter]:
    """By append time, causes before what they caused; numbered, each with the number of its cause."""
    by_id = {chapter.envelope.id: chapter for chapter in _newest_first(chapters) if chapter.envelope}
    for chapter in chapters:
        chapter.depth = len(list(_causes_of(chapter, by_id)))
    chapters.sort(key=lambda c: (c.record.appended_ms, c.depth, PLACES.get(c.record.topic, 99), c.record.partition, c.record.offset))
    for number, chapter in enumerate(chapters, start=1):
        chapter.number = number
    for chapter in chapters:
        cause = by_id.get(chapter.causation)
        chapter.cause = cause.number if cause is not None and cause is not chapter else 0
    return chapters


def _newest_first(chapters: Iterable[Chapter]) -> Sequence[Chapter]:
    """So that of repeats the first one stands for the id."""
    return sorted(chapters, key=lambda chapter: -chapter.record.appended_ms)


def _causes_of(chapter: Chapter, by_id: Mapping[str, Chapter]) -> Iterator[Chapter]:
    seen = {id(chapter)}
    cause = by_id.get(chapter.causation)
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = by_id.get(cause.causation)


def _outsider(topic: Topic, body: Body | None) -> str:
    for name in ("location", "carrier", "channel"):
        if value := getattr(body, name, None):
            return str(value)
    return {"oms.payments.reports.v1": "payments"}.get(topic.name, "channel")
