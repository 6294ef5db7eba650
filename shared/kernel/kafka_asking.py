"""A consumer that asks the broker once for each fetch.

aiokafka asks again as soon as something was handed out, and the broker answers as soon as there is something: where records trickle, nearly
each of them is an answer of its own, which costs service and broker as much as an answer with hundreds. Here partitions rest between two
fetches, so that all that has gathered comes in one answer. A backlog is read as fast as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition


class Asking:
    """An AIOKafkaConsumer, and which of its partitions rest; whoever pauses, resumes or seeks does it through here."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self._awake: set[TopicPartition] = set()
        """Those that are to be read."""
        self._resting: list[TopicPartition] = []

    def assigned(self, partitions: Iterable[TopicPartition], *, awake: bool) -> None:
        """Instead of those before: what aiokafka knew of them is forgotten."""
        self._awake, self._resting = set(partitions) if awake else set(), []

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Reads it, and from here."""
        self.consumer.seek(tp, offset)
        self.resume(tp)

    def resume(self, tp: TopicPartition) -> None:
        self._awake.add(tp)
        self.consumer.resume(tp)

    def pause(self, tp: TopicPartition) -> None:
        self._awake.discard(tp)
        self.consumer.pause(tp)

    async def fetch(self, wait_s: float, most: int) -> list[Any]:
        """What there is of all partitions that are read, or will be within that time; at most so many messages. Raises KafkaError."""
        resting, self._resting = self._resting, []
        self.consumer.resume(*(tp for tp in resting if tp in self._awake))
        fetched = await self.consumer.getmany(timeout_ms=int(wait_s * 1000), max_records=most)
        messages = [message for of_one in fetched.values() for message in of_one]
        if 0 < len(messages) < most:
            self._resting = list(self._awake)
            self.consumer.pause(*self._resting)
        return messages
