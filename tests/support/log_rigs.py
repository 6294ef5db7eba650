"""The same log on Kafka and in memory, with the troubles a test may want."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaTopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from shared.kernel.kafka import Connection, KafkaReader, KafkaTopics, KafkaWriter
from shared.kernel.memory_log import Broker, MemoryReader, MemoryTopics, MemoryWriter
from shared.kernel.ports import (
    FROM_THE_BEGINNING,
    Begins,
    Follower,
    Outgoing,
    ProduceFailed,
    Reader,
    Record,
    TopicPartition,
    Topics,
    Writer,
)
from shared.kernel.real import RealClock

PATIENCE_S = 15.0


class LogRig:
    """One broker, and what a test opened on it. Topics and groups have a prefix of their own."""

    deletions_kept_ms = 86_400_000
    """How long its compacted topics tell of deletions."""

    def __init__(self) -> None:
        self.prefix = f"contract-{uuid4().hex[:6]}"
        self._open: list[Any] = []

    async def close(self) -> None:
        for one in reversed(self._open):
            await one.stop()

    async def topic(self, partitions: int, compacted: bool = False) -> str:
        """A new topic."""
        raise NotImplementedError

    async def append_with_marker(self, at: TopicPartition, record: Outgoing) -> None:
        """Appends one record, and one offset behind it that no reader will ever see."""
        raise NotImplementedError

    async def expire(self, at: TopicPartition, before: int) -> None:
        raise NotImplementedError

    def fail_next_send(self, writer: Any, taken: bool) -> None:
        """Of the next batch no acknowledgement comes; `taken`: it is in the log all the same."""
        raise NotImplementedError

    def topics(self) -> Topics:
        raise NotImplementedError

    def _reader(self, group: str, instance: str, topics: list[str]) -> Any:
        raise NotImplementedError

    def _writer(self) -> Any:
        raise NotImplementedError

    async def writer(self) -> Writer:
        writer: Writer = await self._opened(self._writer())
        return writer

    async def reader(self, instance: str, *topics: str, group: str = "group") -> Reader:
        reader: Reader = await self._opened(self._reader(f"{self.prefix}-{group}", instance, list(topics)))
        return reader

    async def follower(self, *at: TopicPartition, since: Begins = FROM_THE_BEGINNING) -> Follower:
        follower: Follower = await self._opened(self.topics().follow(at, since))
        return follower

    async def _opened(self, one: Any) -> Any:
        await one.start()
        self._open.append(one)
        return one


class MemoryLogRig(LogRig):
    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker(RealClock())
        self.broker.deletions_kept_ms = self.deletions_kept_ms
        self._trouble = ""

    async def topic(self, partitions: int, compacted: bool = False) -> str:
        name = f"{self.prefix}-{uuid4().hex[:6]}"
        self.broker.create(name, partitions, compacted=compacted)
        return name

    async def append_with_marker(self, at: TopicPartition, record: Outgoing) -> None:
        self.broker.append(at, [record])
        self.broker.skip(at, 1)

    async def expire(self, at: TopicPartition, before: int) -> None:
        self.broker.expire(at, before)

    def fail_next_send(self, writer: Any, taken: bool) -> None:
        self._trouble = "ack" if taken else "append"

    async def _hook(self, what: str) -> None:
        if self._trouble and what.startswith(self._trouble):
            self._trouble = ""
            raise ProduceFailed("no answer")

    def topics(self) -> Topics:
        return MemoryTopics(self.broker)

    def _reader(self, group: str, instance: str, topics: list[str]) -> MemoryReader:
        return MemoryReader(self.broker, group, instance, topics)

    def _writer(self) -> MemoryWriter:
        return MemoryWriter(self.broker, self._hook)


class KafkaLogRig(LogRig):
    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def topic(self, partitions: int, compacted: bool = False) -> str:
        name = f"{self.prefix}-{uuid4().hex[:6]}"
        config = {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact" if compacted else "delete"}
        admin = await self._admin()
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
        await admin.close()
        return name

    async def append_with_marker(self, at: TopicPartition, record: Outgoing) -> None:
        producer = AIOKafkaProducer(**self._connection.arguments(), transactional_id=uuid4().hex)
        await producer.start()
        async with producer.transaction():
            sent = await producer.send_and_wait(at.topic, record.value, record.key, at.partition, headers=list(record.headers))
        await producer.stop()
        # The broker answers before the marker is in the log: what is sent next could come before it.
        for _ in range(100):
            if (await self.topics().ends([at]))[at] >= sent.offset + 2:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"no marker behind offset {sent.offset}")

    async def expire(self, at: TopicPartition, before: int) -> None:
        admin = await self._admin()
        await admin.delete_records({KafkaTopicPartition(*at): RecordsToDelete(before)})
        await admin.close()

    async def _admin(self) -> Any:
        admin = AIOKafkaAdminClient(**self._connection.arguments())
        await admin.start()
        return admin

    def fail_next_send(self, writer: Any, taken: bool) -> None:
        send, deadline_s = writer._send, writer._deadline_s

        async def unanswered(batches: Any) -> None:
            writer._send, writer._deadline_s = send, deadline_s
            if taken:
                await send(batches)
            await asyncio.sleep(PATIENCE_S)

        writer._send, writer._deadline_s = unanswered, 0.5

    def topics(self) -> Topics:
        return KafkaTopics(self._connection)

    def _reader(self, group: str, instance: str, topics: list[str]) -> KafkaReader:
        return KafkaReader(self._connection, group, instance, topics)

    def _writer(self) -> KafkaWriter:
        return KafkaWriter(self._connection)


# ---- waiting ----


async def until(holds: Callable[[], bool], *readers: Reader | Follower) -> None:
    """Lets readers fetch until it holds; what they fetch is forgotten."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                for reader in readers:
                    await reader.fetch(0.05)
    except TimeoutError:
        raise AssertionError("did not come about") from None


async def assigned(reader: Reader, *at: TopicPartition, beside: tuple[Reader, ...] = ()) -> None:
    """Waits until the reader is assigned exactly these."""
    await until(lambda: reader.assignment().partitions == frozenset(at), reader, *beside)


async def fetched(source: Reader | Follower, count: int) -> list[Record]:
    """Waits for as many records."""
    records: list[Record] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(records) < count:
                records += await source.fetch(0.2)
    except TimeoutError:
        raise AssertionError(f"{len(records)} of {count} records: {records}") from None
    return records
