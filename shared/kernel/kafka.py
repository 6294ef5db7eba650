"""The log on Kafka, through aiokafka: the one module that knows it. Every default that loses messages is set."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaTopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, TopicAlreadyExistsError, for_code

from schemas.topics import DEAD_LETTERS, JOURNALS, TOPICS, Topic, dead_letter_topic, partitions_of
from shared.kernel.journal import journal_topic
from shared.kernel.kafka_asking import Asking
from shared.kernel.kafka_refusals import KafkaRefuses, kafka_refusal
from shared.kernel.ports import (
    FROM_THE_BEGINNING,
    Assignment,
    Begins,
    Expired,
    Outgoing,
    ProduceFailed,
    Record,
    TopicPartition,
    Transient,
)
from shared.value import Value

SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 1_500
ACK_DEADLINE_S = 20.0
BATCH_BYTES = 900_000
"""Largest batch sent at once; below the broker's limit for one message set."""
FETCHED_AT_ONCE, FOLLOWED_AT_ONCE = 2_000, 5_000
"""Most records that one fetch brings a group's member, and a follower."""
START_ATTEMPTS, REFUSED_ATTEMPTS = 8, 3
"""How often a client tries to start; how often it is refused before that counts as the answer."""
ASK_MS = 5_000
"""How long a broker that is asked why it refuses may think."""
SHOWN_S, SHOWN_ATTEMPTS = 0.05, 300
"""How often to look whether the broker tells of a topic it has made."""


class Connection(Value, frozen=True):
    """How to reach the brokers."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_context: ssl.SSLContext | None = None

    def arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security_protocol,
            "request_timeout_ms": 15_000,
        }
        if self.ssl_context is not None:
            arguments["ssl_context"] = self.ssl_context
        if self.sasl_username is not None:
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.sasl_password
        return arguments


def _record(message: Any) -> Record:
    return Record(message.topic, message.partition, message.offset, message.timestamp, message.key, message.value, tuple(message.headers))


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """Every assignment begins silent: nothing is fetched until the store's position was sought."""

    def __init__(self, reader: KafkaReader) -> None:
        self._reader = reader

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._reader.set_assignment(frozenset())

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._reader.silence(assigned)
        self._reader.set_assignment(frozenset(TopicPartition(tp.topic, tp.partition) for tp in assigned))


class KafkaReader:
    """The group consumer of one replica; see ports.Reader."""

    def __init__(self, connection: Connection, group: str, instance: str, topics: Sequence[str]) -> None:
        self._assignment = Assignment(0, frozenset())
        self._changed = asyncio.Event()
        self._topics = tuple(topics)
        self._connection = connection
        self._consumer = AIOKafkaConsumer(
            **connection.arguments(),
            group_id=group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=600_000,
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_partition_fetch_bytes=4_000_000,
            fetch_max_wait_ms=250,
            metadata_max_age_ms=30_000,
        )
        self._asking = Asking(self._consumer)

    async def start(self) -> None:
        self._consumer.subscribe(self._topics, listener=_Assigned(self))
        await _retry(self._consumer.start, self._connection)

    def silence(self, assigned: Sequence[Any]) -> None:
        self._asking.assigned((), awake=False)
        for tp in assigned:
            self._consumer.seek(tp, 0)
            self._consumer.pause(tp)

    def set_assignment(self, partitions: frozenset[TopicPartition]) -> None:
        self._assignment = Assignment(self._assignment.generation + 1, partitions)
        self._changed.set()

    def assignment(self) -> Assignment:
        return self._assignment

    def seek(self, at: TopicPartition, offset: int) -> None:
        self._if_assigned(at, lambda tp: self._asking.seek(tp, offset))

    def pause(self, at: Sequence[TopicPartition]) -> None:
        for one in at:
            self._if_assigned(one, self._asking.pause)

    def resume(self, at: Sequence[TopicPartition]) -> None:
        for one in at:
            self._if_assigned(one, self._asking.resume)

    def _if_assigned(self, at: TopicPartition, act: Any) -> None:
        tp = KafkaTopicPartition(*at)
        if tp in self._consumer.assignment():
            act(tp)

    async def fetch(self, wait_s: float) -> list[Record]:
        try:
            return [_record(message) for message in await self._asking.fetch(wait_s, FETCHED_AT_ONCE)]
        except OffsetOutOfRangeError as error:
            raise Expired(f"{error!r}") from error
        except KafkaError as error:
            raise Transient(f"{error!r}") from error

    def end(self, at: TopicPartition) -> int | None:
        tp = KafkaTopicPartition(*at)
        if tp not in self._consumer.assignment():
            return None
        highwater: int | None = self._consumer.highwater(tp)
        return highwater

    def position(self, at: TopicPartition) -> int | None:
        tp = KafkaTopicPartition(*at)
        if tp not in self._consumer.assignment():
            return None
        state = self._consumer._subscription.subscription.assignment.state_value(tp)  # noqa: SLF001 - its `position()` may wait
        return int(state.position) if state.has_valid_position else None

    async def stop(self) -> None:
        await _bounded(self._consumer.stop())


class KafkaWriter:
    """An idempotent producer with an ack deadline of its own; see ports.Writer."""

    def __init__(self, connection: Connection, ack_deadline_s: float = ACK_DEADLINE_S) -> None:
        self._connection = connection
        self._deadline_s = ack_deadline_s
        self._producer: Any = None

    async def start(self) -> None:
        producer = AIOKafkaProducer(
            **self._connection.arguments(),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES + 100_000,
            max_request_size=3_000_000,
        )
        await _retry(producer.start, self._connection)
        self._producer = producer

    async def send(self, batches: Mapping[TopicPartition, Sequence[Outgoing]]) -> dict[TopicPartition, int]:
        if self._producer is None:
            await self._restart()
        try:
            async with asyncio.timeout(self._deadline_s):  # wait_for would swallow a cancellation that meets the last answer
                return await self._send(batches)
        except (KafkaError, TimeoutError, OSError, asyncio.CancelledError, AssertionError) as error:
            await self._throw_away()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise ProduceFailed(f"{error!r}") from error

    async def _restart(self) -> None:
        try:
            await self.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise ProduceFailed(f"{error!r}") from error

    async def _send(self, batches: Mapping[TopicPartition, Sequence[Outgoing]]) -> dict[TopicPartition, int]:
        counts, futures = {}, []
        for at, records in batches.items():
            builder, counts[at] = self._producer.create_batch(), 0
            for record in records:
                if builder.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers)) is None:
                    break
                counts[at] += 1
            if counts[at] == 0:
                raise ProduceFailed(f"a record for {at} is larger than a batch may be")
            futures.append(await self._producer.send_batch(builder, at.topic, partition=at.partition))
        for future in futures:
            await future
        return counts

    async def _throw_away(self) -> None:
        """Cancel the sender and close the client: `stop()` would flush, and an abandoned producer delivers later."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        sender = producer._sender  # noqa: SLF001 - aiokafka has no way to drop a producer without flushing it
        if sender is not None and sender.sender_task is not None:
            sender.sender_task.cancel()
            await asyncio.gather(sender.sender_task, return_exceptions=True)
        producer._closed = True  # noqa: SLF001
        await _bounded(producer.client.close())

    async def stop(self) -> None:
        if self._producer is not None:
            await self._throw_away()


class KafkaFollower:
    """Reads whole partitions; see ports.Follower."""

    def __init__(self, connection: Connection, at: Sequence[TopicPartition], since: Begins = FROM_THE_BEGINNING) -> None:
        self._at = [KafkaTopicPartition(*one) for one in at]
        self._connection = connection
        self._consumer = _free_consumer(connection)
        self._asking = Asking(self._consumer)
        self._positions = dict.fromkeys(at, 0) | dict(since)
        self._since = since

    async def start(self) -> None:
        await _retry(self._consumer.start, self._connection)
        self._consumer.assign(self._at)
        self._asking.assigned(self._at, awake=True)
        for at, offset in self._since.items():
            self._consumer.seek(KafkaTopicPartition(*at), offset)
        if begins := [tp for tp in self._at if TopicPartition(tp.topic, tp.partition) not in self._since]:
            await self._consumer.seek_to_beginning(*begins)

    async def fetch(self, wait_s: float) -> list[Record]:
        try:
            messages = await self._asking.fetch(wait_s, FOLLOWED_AT_ONCE)
            for tp in self._at:
                self._positions[TopicPartition(tp.topic, tp.partition)] = await self._consumer.position(tp)
        except KafkaError as error:
            for tp, offset in self._positions.items():
                self._consumer.seek(KafkaTopicPartition(*tp), offset)
            raise Transient(f"{error!r}") from error
        return [_record(message) for message in messages]

    def position(self, at: TopicPartition) -> int:
        return self._positions.get(at, 0)

    async def stop(self) -> None:
        await _bounded(self._consumer.stop())


class KafkaTopics:
    """Reading outside the group, and declaring topics; see ports.Topics."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def follow(self, at: Sequence[TopicPartition], since: Begins = FROM_THE_BEGINNING) -> KafkaFollower:
        return KafkaFollower(self._connection, at, since)

    async def partitions(self, topic: str) -> int:
        admin = await self._admin()
        try:
            described = await admin.describe_topics([topic])
        finally:
            await admin.close()
        found = described[0]
        if found["error_code"]:
            raise MissingTopic(f"{topic}: {for_code(found['error_code']).__name__}")
        return len(found["partitions"])

    async def ends(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {one: end for one, (_, end) in (await self.bounds(at)).items()}

    async def bounds(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        consumer = _free_consumer(self._connection)
        partitions = [KafkaTopicPartition(*one) for one in at]
        try:
            await _retry(consumer.start, self._connection)
            consumer.assign(partitions)  # one metadata request for all topics, else 0.1 s for each
            consumer.pause(*partitions)
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            return {TopicPartition(tp.topic, tp.partition): (begins[tp], ends[tp]) for tp in partitions}
        except KafkaError as error:
            raise Transient(f"{error!r}") from error
        finally:
            await _bounded(consumer.stop())

    async def tails(self, at: Sequence[TopicPartition], records: int) -> dict[TopicPartition, list[Record]]:
        """The newest records of each partition, at most `records`, oldest first."""
        if not at:
            return {}
        consumer = _free_consumer(self._connection)
        try:
            await _retry(consumer.start, self._connection)
            return await _tails(consumer, at, records)
        except KafkaError as error:
            raise Transient(f"{error!r}") from error
        finally:
            await _bounded(consumer.stop())

    async def appended_after(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offset of the first record of each partition that was appended later; a partition that has none is left out."""
        if not times_ms:
            return {}
        consumer = _free_consumer(self._connection)
        try:
            await _retry(consumer.start, self._connection)
            found = await consumer.offsets_for_times({KafkaTopicPartition(*at): ms + 1 for at, ms in times_ms.items()})
            return {TopicPartition(tp.topic, tp.partition): first.offset for tp, first in found.items() if first is not None}
        except KafkaError as error:
            raise Transient(f"{error!r}") from error
        finally:
            await _bounded(consumer.stop())

    async def deletions_kept_ms(self, topics: Sequence[str]) -> int:
        """For how long the log tells at least that a document was deleted, in all of these topics; 0 where it doesn't say."""
        found = await self.configurations(topics)
        return min((int(found.get(topic, {}).get("delete.retention.ms", 0)) for topic in topics), default=0)

    async def existing(self) -> dict[str, int]:
        """Topic name to partitions, for all topics of the cluster."""
        admin = await self._admin()
        try:
            return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        finally:
            await admin.close()

    async def configurations(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Setting to value, for each of these topics that exists; what a topic doesn't set itself is the broker's own value."""
        if not topics:
            return {}
        admin = await self._admin()
        try:
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in topics])
        finally:
            await admin.close()
        resources = [resource for answer in answers for resource in answer.resources]
        return {name: {entry[0]: entry[1] for entry in entries} for error, _, _, name, entries in resources if not error}

    async def create(
        self, partitions: int, replication: int, services: Mapping[str, Sequence[Topic]], *, journals: bool = False
    ) -> list[str]:
        """Creates what is missing of the topic table, of the dead-letter topics, one for each topic a service reads, and of the services'
        journals, where they keep some. Raises MissingTopic."""
        wanted = [_declared(topic, partitions, replication) for topic in TOPICS]
        for service, reads in services.items():
            wanted += [_dead_letters(topic, service, replication) for topic in reads]
            wanted += [NewTopic(journal_topic(service), 1, replication, topic_configs=JOURNALS)] * journals
        existing = await self.existing()
        missing = [topic for topic in wanted if topic.name not in existing]
        admin = await self._admin()
        try:
            if missing:
                await admin.create_topics(missing, timeout_ms=30_000)
                await _shown(admin, {topic.name for topic in missing})
        except TopicAlreadyExistsError:
            """Another starter was quicker."""
        finally:
            await admin.close()
        return [topic.name for topic in missing]

    async def _admin(self) -> Any:
        admin = AIOKafkaAdminClient(**self._connection.arguments())
        await _retry(admin.start, self._connection)
        return admin


class MissingTopic(Exception):
    """A topic of the table doesn't exist. Remedy: run `nervure topics create`."""


async def _shown(admin: Any, names: set[str]) -> None:
    """The broker answers before it tells of what it has made: returns when it does. Raises MissingTopic where it never made it."""
    for _ in range(SHOWN_ATTEMPTS):
        names = names - {topic["topic"] for topic in await admin.describe_topics()}
        if not names:
            return
        await asyncio.sleep(SHOWN_S)
    raise MissingTopic(f"the broker did not make {', '.join(sorted(names)[:5])}")


def _declared(topic: Topic, partitions: int, replication: int) -> Any:
    return NewTopic(topic.name, partitions_of(topic, partitions), replication, topic_configs=topic.configuration)


def _dead_letters(topic: Topic, service: str, replication: int) -> Any:
    return NewTopic(dead_letter_topic(topic.name, service), 1, replication, topic_configs=DEAD_LETTERS)


def _free_consumer(connection: Connection) -> Any:
    return AIOKafkaConsumer(
        **connection.arguments(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4_000_000,
        fetch_max_wait_ms=250,
    )


async def _tails(consumer: Any, at: Sequence[TopicPartition], records: int) -> dict[TopicPartition, list[Record]]:
    partitions = [KafkaTopicPartition(*one) for one in at]
    consumer.assign(partitions)
    ends, begins = await consumer.end_offsets(partitions), await consumer.beginning_offsets(partitions)
    found: dict[TopicPartition, list[Record]] = {one: [] for one in at}
    waiting = set()
    for tp in partitions:
        if ends[tp] > begins[tp]:
            consumer.seek(tp, max(begins[tp], ends[tp] - records))
            waiting.add(tp)
        else:
            consumer.pause(tp)
    deadline = asyncio.get_running_loop().time() + 30
    while waiting and asyncio.get_running_loop().time() < deadline:
        for tp, messages in (await consumer.getmany(timeout_ms=500)).items():
            found[TopicPartition(tp.topic, tp.partition)] += [_record(message) for message in messages]
        waiting = {tp for tp in waiting if await consumer.position(tp) < ends[tp]}
    if waiting:
        raise Transient(f"could not read the tails of {sorted(waiting)}")
    return {one: entries[-records:] for one, entries in found.items()}


async def _retry(start: Any, connection: Connection) -> None:
    """Group coordinators and metadata may be missing for a moment while internal topics are made, and so may logins while a broker starts.
    Raises KafkaRefuses where waiting doesn't help."""
    for attempt in range(START_ATTEMPTS):
        try:
            await start()
            return
        except (KafkaError, OSError) as error:
            last = attempt == START_ATTEMPTS - 1
            if attempt >= REFUSED_ATTEMPTS and (refusal := await _refusal(connection, last)):
                raise refusal from error
            if last:
                raise
            await asyncio.sleep(0.25 * 2**attempt)


async def _refusal(connection: Connection, last: bool) -> KafkaRefuses | None:
    """Why none of the brokers has us: aiokafka writes that to its log only. One that speaks otherwise may be starting, until the `last`."""
    arguments = {name: value for name, value in connection.arguments().items() if name != "bootstrap_servers"}
    found = None
    for host, port, _ in collect_hosts(connection.bootstrap):
        try:
            conn = await create_conn(host, port, **arguments | {"request_timeout_ms": ASK_MS})
        except (KafkaError, OSError, TimeoutError) as error:
            found = kafka_refusal(error, spoken_to=last and await _listens(host, port)) or found
        else:
            conn.close()
            return None
    return found


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), ASK_MS / 1000)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _bounded(closing: Any, seconds: float = 8.0) -> None:
    try:
        await asyncio.wait_for(closing, seconds)
    except (TimeoutError, KafkaError, OSError, struct.error):
        """It is being thrown away: nothing of it is used again."""
