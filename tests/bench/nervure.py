"""Nervure under load: five service processes, from the channel's topic to the instruction."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import psutil

from deploy.embedded import Embedded
from deploy.health import ask, metrics
from deploy.supervisor import System
from schemas import topics
from schemas.topics import Topic
from shared.kernel.codec import external_record
from shared.kernel.kafka import Connection, KafkaFollower, KafkaTopics, KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, TopicPartition
from tests.bench import orders
from tests.support.desk import Desk

TICK_S = 0.01
WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did. Latencies in milliseconds, from the channel record's append to the (last) instruction's."""

    sent: int
    instructed: int
    seconds: float
    latencies_ms: tuple[int, ...]

    @property
    def orders_per_s(self) -> float:
        return self.instructed / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> int:
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


class Load:
    """Sends orders into a running system and measures from the topics."""

    def __init__(self, system: System, connection: Connection, baskets: orders.Baskets) -> None:
        self._system = system
        self._connection = connection
        self._baskets = baskets
        self._writer = KafkaWriter(connection)
        self._partitions = system.settings.partitions
        self._runs = 0

    async def open(self) -> None:
        """Reference data and stock; returns when every service has them."""
        await self._writer.start()
        desk = Desk(self._system, self._connection, self._partitions)
        await desk.start()
        skus = self._baskets.skus
        await desk.say_all(orders.reference_data(skus))
        await desk.views_caught_up()
        await desk.say_all(orders.counts(skus))
        for name, _, _ in orders.LOCATIONS:
            for sku in skus:
                await desk.level_is(sku, name, sellable=orders.PLENTY)
        await desk.stop()
        await asyncio.to_thread(self._sourcing_has_read, len(skus) * len(orders.LOCATIONS))

    def _sourcing_has_read(self, levels: int) -> None:
        port = next(one.health_port for one in self._system.replicas() if one.service == "sourcing")
        deadline = time.monotonic() + 60
        while metrics(port).get("view_documents_total", 0) < levels and time.monotonic() < deadline:
            time.sleep(0.2)

    async def close(self) -> None:
        await self._writer.stop()

    async def run(self, count: int, rate: float | None = None) -> Run:
        """Sends `count` orders, as fast as they go or at `rate` a second (open loop), and waits for their instructions."""
        self._runs += 1
        prefix = f"b{self._runs}-{uuid4().hex[:4]}"
        begin = await self._ends(topics.CHANNEL_ORDERS), await self._ends(topics.FULFILMENT_ORDERS)
        records = [self._record(f"{prefix}-{n}", self._baskets.lines[n % len(self._baskets.lines)]) for n in range(count)]
        await self._send(records, rate)
        await self._instructed(begin[1], count)
        placed = await self._appended(topics.CHANNEL_ORDERS, begin[0], prefix)
        instructed = await self._appended(topics.FULFILMENT_ORDERS, begin[1], prefix)
        both = sorted(placed.keys() & instructed.keys())
        seconds = (max(instructed.values()) - min(placed.values())) / 1000 if both else 0.0
        return Run(count, len(both), seconds, tuple(instructed[one] - placed[one] for one in both))

    def _record(self, ref: str, lines: Sequence[tuple[str, int]]) -> tuple[TopicPartition, Outgoing]:
        order, topic = orders.order(ref, lines), topics.CHANNEL_ORDERS
        record = external_record(topic, order, source="/bench", id=order.request_id, now=datetime.now(UTC))
        return TopicPartition(topic.name, partition_of(order.order_id, self._partitions)), record

    async def _send(self, records: Sequence[tuple[TopicPartition, Outgoing]], rate: float | None) -> None:
        started, sent = time.monotonic(), 0
        while sent < len(records):
            due = len(records) if rate is None else min(len(records), int((time.monotonic() - started) * rate) + 1)
            batches: dict[TopicPartition, list[Outgoing]] = {}
            for at, record in records[sent : min(due, sent + 1000)]:
                batches.setdefault(at, []).append(record)
            sent = min(due, sent + 1000)
            while batches:
                done = await self._writer.send(batches)
                batches = {at: left for at, many in batches.items() if (left := many[done[at] :])}
            if rate is not None:
                await asyncio.sleep(TICK_S)

    async def _ends(self, topic: Topic) -> dict[TopicPartition, int]:
        return await KafkaTopics(self._connection).ends([TopicPartition(topic.name, p) for p in range(self._partitions)])

    async def _instructed(self, begin: dict[TopicPartition, int], count: int) -> None:
        """Waits until as many instructions as orders are there and no more come."""
        deadline, last = time.monotonic() + WAIT_S, -1
        while time.monotonic() < deadline:
            ends = await self._ends(topics.FULFILMENT_ORDERS)
            come = sum(ends[at] - begin[at] for at in ends)
            if come >= count and come == last:
                return
            last = come
            await asyncio.sleep(0.5)

    async def _appended(self, topic: Topic, begin: dict[TopicPartition, int], prefix: str) -> dict[str, int]:
        """Append time of the newest record of each order, in milliseconds."""
        ends = await self._ends(topic)
        follower = KafkaFollower(self._connection, sorted(ends))
        await follower.start()
        found: dict[str, int] = {}
        while any(follower.position(at) < end for at, end in ends.items()):
            for record in await follower.fetch(0.2):
                if record.offset >= begin[record.at] and record.value is not None:
                    ref = _ref(record.value)
                    if ref.startswith(prefix):
                        found[ref] = max(found.get(ref, 0), record.appended_ms)
        await follower.stop()
        return found

    def rss_mb(self) -> dict[str, int]:
        """Peak resident memory of each service."""
        found = {}
        for replica in self._system.replicas():
            status, _ = ask(replica.health_port, "/livez")
            figures = metrics(replica.health_port) if status == 200 else {}
            found[replica.service] = int(figures.get("resident_bytes_peak", 0) / 1e6)
        return found


def cpu_s(system: System) -> dict[str, float]:
    """CPU seconds used so far by each service, the broker and the database."""
    found = {one.service: _cpu_s(one.pid) for one in system.replicas() if one.pid}
    for server in Embedded.of(system.settings).status().servers:
        if server.pid is not None:
            found[server.server.lower()] = _cpu_s(server.pid)
    return found


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    times = process.cpu_times()
    return sum((times.user, times.system, times.children_user, times.children_system)) + sum(
        child.cpu_times().user + child.cpu_times().system for child in process.children(recursive=True)
    )


def _ref(value: bytes) -> str:
    body = json.loads(value)
    return str(body.get("channel_order_ref") or body.get("order_id", "").partition(":")[2])
