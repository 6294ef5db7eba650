"""Kafka as an integrator's adapter uses it: append in batches, read from a position on, CloudEvents both ways.

Nothing awaits a single message:

    async with Sender(connection) as sender:
        sender.send(topics.CHANNEL_ORDERS, order, source="/shop", id="order-1")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaTopicPartition
from pydantic import ValidationError

from deploy.errors import Explained
from schemas.topics import Body, Topic
from shared.kernel.codec import Undecodable, external_record, open_envelope, read_body
from shared.kernel.kafka import Connection
from shared.kernel.ports import Record, TopicPartition

LINGER_MS = 5
MOST_UNSENT = 200_000
FETCH_WAIT_MS, FETCH_LEAST_BYTES = 100, 100_000
"""What trickles in is fetched ten times a second, not message by message."""
MOST_RECORDS = 500
"""Handled at once; then everybody else has a turn."""
REMEMBERED = 5_000
"""Ids of each partition's newest messages, more than a publisher ever sends again."""

Positions = Mapping[TopicPartition, int]
Reads = Mapping[Topic, tuple[type[Body], ...]]
"""Which messages of which topics somebody wants to hear; of a state topic one type, perhaps a smaller one than it carries."""


class Heard(NamedTuple):
    """One message of a topic. `at` is when the broker appended it."""

    topic: Topic
    body: Body
    at: datetime


class SendFailed(Explained):
    """The broker did not take a message: {cause}. See its log in the home; the run can't go on without it."""


class Sender:
    """Appends messages in the order of `send`, batched; the partition follows from the key, as everywhere."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unsent: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(MOST_UNSENT)
        self._acks: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None
        self.sent = 0

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            **self._connection.arguments(), acks="all", enable_idempotence=True, linger_ms=LINGER_MS, max_request_size=1_048_000
        )
        await self._producer.start()
        self._loop = asyncio.create_task(self._append(), name="sender")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        await self._producer.stop()

    def send(self, topic: Topic, body: Body, *, source: str, id: str) -> None:
        """To be appended soon. Raises SendFailed once any message could not be appended."""
        self.raise_failure()
        self._unsent.put_nowait((topic.name, external_record(topic, body, source=source, id=id, now=datetime.now(UTC))))

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise SendFailed(cause=repr(self._failure)) from self._failure

    async def flush(self) -> None:
        """Return when everything sent so far is acknowledged. Raises SendFailed."""
        await self._unsent.join()
        await asyncio.gather(*self._acks, return_exceptions=True)
        self.raise_failure()

    async def _append(self) -> None:
        while True:
            topic, record = await self._unsent.get()
            try:
                ack = await self._producer.send(topic, value=record.value, key=record.key, headers=list(record.headers))
            except Exception as error:  # noqa: BLE001 - told to whoever sends next
                self._failure = error
            else:
                self._acks.add(ack)
                ack.add_done_callback(self._acknowledged)
            self._unsent.task_done()

    def _acknowledged(self, ack: asyncio.Future[Any]) -> None:
        self._acks.discard(ack)
        if not ack.cancelled() and ack.exception() is not None:
            self._failure = ack.exception()
        else:
            self.sent += 1


async def hear(connection: Connection, reads: Reads, start: Positions) -> AsyncIterator[list[Heard]]:
    """Batches of these messages of these topics, from `start` on, each once, for ever. What can't be read is skipped: its dead letter is
    elsewhere."""
    known = Known()
    by_name = {topic.name: (topic, {kind.__name__: kind for kind in kinds}) for topic, kinds in reads.items()}
    async for records in records_of(connection, by_name, start):
        heard = (_heard(record, *by_name[record.topic], known) for record in records)
        if batch := [one for one in heard if one is not None]:
            yield batch


class Known:
    """Ids of the newest messages: a service that was killed sends again what it wasn't sure of, under the same id."""

    def __init__(self) -> None:
        self._newest: dict[TopicPartition, dict[str, None]] = {}

    def is_new(self, at: TopicPartition, id: str) -> bool:
        """Notes a message; whether it wasn't among the newest ones of its partition."""
        newest = self._newest.setdefault(at, {})
        if id in newest:
            return False
        newest[id] = None
        if len(newest) > REMEMBERED:
            del newest[next(iter(newest))]
        return True


async def records_of(connection: Connection, names: Collection[str], start: Positions) -> AsyncIterator[list[Record]]:
    """Batches of records of these topics, from `start` on, for ever."""
    at = {KafkaTopicPartition(*where): offset for where, offset in start.items() if where.topic in names}
    consumer = AIOKafkaConsumer(
        **connection.arguments(), enable_auto_commit=False, fetch_max_wait_ms=FETCH_WAIT_MS, fetch_min_bytes=FETCH_LEAST_BYTES
    )
    await consumer.start()
    try:
        consumer.assign(list(at))
        for where, offset in at.items():
            consumer.seek(where, offset)
        while True:
            fetched = await consumer.getmany(timeout_ms=1000, max_records=MOST_RECORDS)
            records = [_record(message) for messages in fetched.values() for message in messages]
            if records:
                yield records
    finally:
        await consumer.stop()


def _record(message: Any) -> Record:
    headers = tuple(message.headers)
    return Record(message.topic, message.partition, message.offset, message.timestamp, message.key, message.value, headers)


def _heard(record: Record, topic: Topic, wanted: Mapping[str, type[Body]], known: Known) -> Heard | None:
    """None for what isn't wanted, is known, is deleted, or can't be read. Of a state document only what the wanted type has is read."""
    at = datetime.fromtimestamp(record.appended_ms / 1000, UTC)
    try:
        if topic.kind == "state":
            (kind,) = wanted.values()
            return Heard(topic, kind.model_validate_json(record.value), at) if record.value else None
        envelope = open_envelope(record, topic)
        is_wanted = envelope.type in wanted and known.is_new(record.at, f"{envelope.source} {envelope.id}")
        return Heard(topic, read_body(envelope, topic), at) if is_wanted else None
    except (Undecodable, ValidationError):
        return None
