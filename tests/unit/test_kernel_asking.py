"""The broker is asked once for each fetch, and never for a partition that somebody paused."""

from __future__ import annotations

from aiokafka import TopicPartition

from shared.kernel.kafka_asking import Asking

MOST = 3
A, B, C = (TopicPartition("orders", number) for number in range(3))


class Consumer:
    """What aiokafka's consumer does of it: it reads what isn't paused, and hands out what is there."""

    def __init__(self) -> None:
        self.reads = {A, B, C}
        self.there: dict[TopicPartition, list[str]] = {}
        self.sought: list[tuple[TopicPartition, int]] = []
        self.read: list[set[TopicPartition]] = []
        """What was read at each fetch."""

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.sought.append((tp, offset))

    def pause(self, *partitions: TopicPartition) -> None:
        self.reads -= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.reads |= set(partitions)

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[str]]:
        self.read.append(set(self.reads))
        return {tp: self.there.pop(tp)[:max_records] for tp in sorted(self.reads) if tp in self.there}


def asking(*partitions: TopicPartition) -> tuple[Asking, Consumer]:
    consumer = Consumer()
    found = Asking(consumer)
    found.assigned(partitions, awake=True)
    return found, consumer


async def test_after_a_fetch_that_brought_something_nothing_is_read_until_the_next() -> None:
    asks, consumer = asking(A, B, C)
    consumer.there = {A: ["one"], C: ["two"]}
    assert await asks.fetch(0.1, MOST) == ["one", "two"]
    assert consumer.reads == set()
    assert await asks.fetch(0.1, MOST) == []
    assert consumer.read == [{A, B, C}, {A, B, C}]
    assert consumer.reads == {A, B, C}, "who waits for something goes on waiting"


async def test_a_backlog_is_read_on() -> None:
    asks, consumer = asking(A, B, C)
    consumer.there = {A: ["x"] * MOST}
    assert len(await asks.fetch(0.1, MOST)) == MOST
    assert consumer.reads == {A, B, C}


async def test_what_is_paused_stays_so_until_it_is_resumed() -> None:
    asks, consumer = asking(A, B)
    asks.pause(C)
    consumer.there = {A: ["one"], B: ["two"]}
    await asks.fetch(0.1, MOST)
    asks.pause(A)
    await asks.fetch(0.1, MOST)
    assert consumer.reads == {B}
    asks.resume(A)
    assert consumer.reads == {A, B}


async def test_a_partition_is_silent_until_it_is_sought() -> None:
    asks, consumer = asking(A, B)
    consumer.there = {A: ["one"]}
    await asks.fetch(0.1, MOST)
    asks.assigned((), awake=False)
    consumer.reads = set()
    asks.seek(C, 7)
    await asks.fetch(0.1, MOST)
    assert (consumer.sought, consumer.read[-1]) == ([(C, 7)], {C})
