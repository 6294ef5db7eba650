"""Looking at topics beside the load: where they end, cheaply, and afterwards what was appended to them, and when."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaTopicPartition

from schemas.topics import BY_NAME, TOPICS, Topic
from shared.kernel.kafka import Connection, KafkaTopics
from shared.kernel.ports import Record, TopicPartition

Ends = dict[TopicPartition, int]
_ORDER = re.compile(rb'"order_id":"([^"]+)"')
FETCH_MS = 500


class Meter:
    """One consumer of no group for all looks: a new one for each would cost the machine more than the look."""

    def __init__(self, connection: Connection, names: Sequence[str] = ()) -> None:
        self._connection = connection
        self._names = tuple(names) or tuple(topic.name for topic in TOPICS)
        self._partitions: dict[str, list[Any]] = {}
        self._consumer: Any = AIOKafkaConsumer(
            **connection.arguments(), enable_auto_commit=False, auto_offset_reset="earliest", max_partition_fetch_bytes=4_000_000
        )

    async def start(self) -> None:
        existing = await KafkaTopics(self._connection).existing()
        self._partitions = {name: [KafkaTopicPartition(name, p) for p in range(existing[name])] for name in self._names}
        await self._consumer.start()
        every = [one for some in self._partitions.values() for one in some]
        self._consumer.assign(every)
        self._consumer.pause(*every)

    async def stop(self) -> None:
        await self._consumer.stop()

    async def ends(self, *names: str) -> Ends:
        """Where these topics end now; all, where none is named."""
        some = [one for name in names or self._names for one in self._partitions[name]]
        found: Mapping[Any, int] = await self._consumer.end_offsets(some)
        return {TopicPartition(tp.topic, tp.partition): end for tp, end in found.items()}

    async def come(self, begin: Ends) -> int:
        """Records appended since."""
        ends = await self.ends(*{at.topic for at in begin})
        return sum(ends[at] - offset for at, offset in begin.items())

    async def records(self, begin: Ends) -> AsyncIterator[Record]:
        """What was appended since, up to now; in order within a partition, each message of a lane once."""
        last: dict[tuple[TopicPartition, bytes], int] = {}
        async for record in self._appended(begin):
            if _is_new(record, last):
                yield record

    async def _appended(self, begin: Ends) -> AsyncIterator[Record]:
        ends = await self.ends(*{at.topic for at in begin})
        waiting = {KafkaTopicPartition(*at): ends[at] for at, offset in begin.items() if ends[at] > offset}
        for tp in waiting:
            self._consumer.seek(tp, begin[TopicPartition(tp.topic, tp.partition)])
        self._consumer.resume(*waiting)
        while waiting:
            for tp, messages in (await self._consumer.getmany(*waiting, timeout_ms=FETCH_MS, max_records=5_000)).items():
                for message in messages:
                    if message.offset < ends[TopicPartition(tp.topic, tp.partition)]:
                        yield _record(message)
            ready = [tp for tp, end in waiting.items() if await self._consumer.position(tp) >= end]
            self._consumer.pause(*ready)
            for tp in ready:
                del waiting[tp]


def _is_new(record: Record, last: dict[tuple[TopicPartition, bytes], int]) -> bool:
    """Whether it isn't a message that stands in its topic already: an idle lane repeats its last one. Notes it."""
    if not (headers := dict(record.headers)).get("ce_seq") or BY_NAME[record.topic].kind != "events":
        return True
    lane, seq = (record.at, headers["ce_lane"] or b""), int(headers["ce_seq"] or 0)
    is_new = seq > last.get(lane, 0)
    last[lane] = max(seq, last.get(lane, 0))
    return is_new


def since(ends: Ends, topic: Topic) -> Ends:
    """Of these ends the ones of one topic."""
    return {at: end for at, end in ends.items() if at.topic == topic.name}


def type_of(record: Record) -> str:
    """The message's type without its prefix; empty for a deletion."""
    kind = next((value for name, value in record.headers if name == "ce_type"), None) or b""
    return kind.decode().rpartition(".")[2]


def order_of(record: Record) -> str:
    """The order a message of a service belongs to; empty where it names none."""
    found = _ORDER.search(record.value or b"")
    return found[1].decode() if found else ""


def _record(message: Any) -> Record:
    return Record(message.topic, message.partition, message.offset, message.timestamp, message.key, message.value, tuple(message.headers))
