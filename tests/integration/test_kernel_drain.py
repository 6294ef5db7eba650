"""A replica that is told to stop finishes its batch and publishes what was committed before it ends."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import structlog

from schemas.topics import owned_by
from shared.kernel.codec import external_record
from shared.kernel.engine import Engine
from shared.kernel.memory_log import Broker, MemoryReader, MemoryTopics, MemoryWriter
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.pictures import Pictures, ReadBacks
from shared.kernel.ports import TIMERS, TopicPartition
from shared.kernel.publisher import Publisher
from shared.kernel.real import RealClock
from shared.kernel.replica import work_until
from tests.support.counting import ALL, ASKS, COMMANDS, DESK, Ask

SILENT = logging.CRITICAL
SLOW_COMMIT_S = 1.5
"""Longer than an idle publisher waits before it looks whether it shall stop."""


class SlowDesk:
    """One replica of the desk on ports in memory, whose commits take long."""

    def __init__(self) -> None:
        clock, log = (
            RealClock(),
            structlog.wrap_logger(structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(SILENT)),
        )
        self.stop = asyncio.Event()
        self.committing = asyncio.Event()
        self.broker = Broker(clock)
        for topic in ALL:
            self.broker.create(topic.name, 1)
        partitions = self.broker.topics() | {TIMERS: 1}
        self.store = MemoryStore(DESK, Database(clock), owned=[(topic, 1) for topic in owned_by("desk")], hook=self._hook)
        topics, view, reads = MemoryTopics(self.broker), DESK.view(), [topic.name for topic in DESK.reads]
        publisher = Publisher(DESK, self.store, MemoryWriter(self.broker), topics, clock, log, partitions, timedelta(minutes=1))
        self.reader = MemoryReader(self.broker, "desk", "desk-0", reads)
        self.engine = Engine(DESK, self.store, self.reader, publisher, topics, view, clock, log, partitions)
        self.parts = (
            self.engine,
            publisher,
            Pictures(DESK, view, topics, clock, log, partitions),
            ReadBacks(DESK, self.store, publisher, topics, clock, log, partitions),
        )
        self._declared = [TopicPartition(name, 0) for name in (*reads, TIMERS)]

    async def _hook(self, what: str) -> None:
        if what == "commit" and self.engine.feed.claimed():
            self.committing.set()
            await asyncio.sleep(SLOW_COMMIT_S)

    async def work(self) -> None:
        await self.store.declare(self._declared)
        await self.reader.start()
        await work_until(self.stop, *self.parts)


async def test_what_the_last_batch_committed_is_in_its_topic_when_the_replica_ends() -> None:
    """Although the publisher had nothing to do when it was told to stop; and the database knows what was sent."""
    desk = SlowDesk()
    asks = [external_record(ASKS, Ask(counter="a", ref=f"{n}", amount=1), source="/t", id=f"{n}", now=datetime.now(UTC)) for n in range(9)]
    working = asyncio.create_task(desk.work())
    desk.broker.append(TopicPartition(ASKS.name, 0), asks)
    await asyncio.wait_for(desk.committing.wait(), 10)
    desk.stop.set()
    await asyncio.wait_for(working, 20)
    lane = TopicPartition(COMMANDS.name, 0)
    assert len(desk.broker.records(lane)) == len(asks)
    assert await desk.store.lane_heads([lane]) == {lane: (1, len(asks), len(asks))}
