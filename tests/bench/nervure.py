"""Nervure under load: from the channel's topic to the instruction, through five service processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from schemas import topics
from tests.bench import orders, sending
from tests.bench.ground import Ground
from tests.bench.meter import Ends, order_of, since

WAIT_S = 600.0
LOOK_S = 0.25
CALM_LOOKS = 4
"""So often in a row nothing may have come: counts alone may be too high by messages that idle lanes repeat."""
UNDER_WAY = 2_000
"""Orders a closed loop keeps under way: enough for full batches at every service."""


class Latency(NamedTuple):
    """In milliseconds; of each percentile the least latency that so many orders didn't exceed."""

    p50: int
    p99: int
    p999: int


def percentiles(latencies_ms: Sequence[float]) -> Latency:
    """Of all orders that were instructed; zeros where none was."""
    ordered = sorted(latencies_ms) or [0.0]
    return Latency(*(round(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for share in (0.5, 0.99, 0.999)))


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did. The rate counts from the first order's append to the last instruction's; latencies, in milliseconds, from when an
    order was due (open loop) or appended (all at once) to its last instruction's append."""

    sent: int
    instructed: int
    seconds: float
    latencies_ms: tuple[float, ...]

    @property
    def orders_per_s(self) -> float:
        return self.instructed / self.seconds if self.seconds else 0.0


class Load:
    """Sends orders of one channel into a running system and measures from the topics."""

    def __init__(self, ground: Ground, lines: Sequence[Sequence[tuple[str, int]]], channel: str = orders.CHANNEL) -> None:
        self._ground = ground
        self._templates = orders.Templates.of(lines, ground.partitions, channel)
        self._channel = channel

    def prefix(self) -> str:
        """Begins the references of one run's orders, as no other run's."""
        return f"b{uuid4().hex[:8]}"

    def records(self, prefix: str, count: int) -> Iterator[sending.Addressed]:
        """Made as they are taken: a list of them is made before a clock starts."""
        return (self._templates.record(number, f"{prefix}-{number}") for number in range(count))

    async def run(self, count: int, rate: float | None = None) -> Run:
        """Sends `count` orders, as fast as they go or at `rate` a second (open loop), and waits for their instructions."""
        prefix, begin = self.prefix(), await self._ground.meter.ends(topics.CHANNEL_ORDERS.name, topics.FULFILMENT_ORDERS.name)
        records = list(self.records(prefix, count))
        if rate is None:
            await sending.flood(self._ground.writer, records)
            due_ms: Mapping[str, float] = await self._placed(begin, prefix)
        else:
            began_ms = await sending.pace(self._ground.writer, records, rate)
            due_ms = {f"{self._channel}:{prefix}-{number}": began_ms + 1000 * number / rate for number in range(count)}
        await self.await_instructions(begin, count)
        return run_of(count, due_ms, await self._instructed(begin, prefix))

    async def _placed(self, begin: Ends, prefix: str) -> dict[str, float]:
        """Append time of each order."""
        found: dict[str, float] = {}
        async for record in self._ground.meter.records(since(begin, topics.CHANNEL_ORDERS)):
            name = (record.key or b"").decode()
            if name.startswith(f"{self._channel}:{prefix}-"):
                found[name] = record.appended_ms
        return found

    async def _instructed(self, begin: Ends, prefix: str) -> dict[str, float]:
        """Append time of each order's last instruction."""
        found: dict[str, float] = {}
        async for record in self._ground.meter.records(since(begin, topics.FULFILMENT_ORDERS)):
            name = order_of(record)
            if name.startswith(f"{self._channel}:{prefix}-"):
                found[name] = max(found.get(name, 0.0), record.appended_ms)
        return found

    async def await_instructions(self, begin: Ends, count: int) -> None:
        """Returns once as many instructions as orders have come and no more do, or nothing has for ten minutes."""
        instructions = since(begin, topics.FULFILMENT_ORDERS)
        last, calm, moved = -1, 0, time.monotonic()
        while calm < CALM_LOOKS and time.monotonic() - moved < WAIT_S:
            await asyncio.sleep(LOOK_S)
            come = await self._ground.meter.come(instructions)
            calm = calm + 1 if come == last and come >= count else 0
            moved = time.monotonic() if come != last else moved
            last = come

    async def sustain(self, seconds: float, under_way: int = UNDER_WAY) -> list[sending.Sample]:
        """Closed loop: as many orders as the system does in so many seconds. Each needs one instruction, as where every location has
        everything. Raises Stalled."""
        prefix, begin = self.prefix(), await self._ground.meter.ends(topics.FULFILMENT_ORDERS.name)
        return await sending.keep_up(
            self._ground.writer,
            lambda number: self._templates.record(number, f"{prefix}-{number}"),
            lambda: self._ground.meter.come(begin),
            seconds=seconds,
            under_way=under_way,
        )


def run_of(sent: int, due_ms: Mapping[str, float], instructed_ms: Mapping[str, float]) -> Run:
    """The figures of a run, from when each order was due and when it was instructed."""
    both = due_ms.keys() & instructed_ms.keys()
    seconds = (max(instructed_ms[one] for one in both) - min(due_ms.values())) / 1000 if both else 0.0
    return Run(sent, len(both), seconds, tuple(instructed_ms[one] - due_ms[one] for one in both))


async def open_shop(ground: Ground, skus: Sequence[str]) -> None:
    """Two warehouses with more of everything than can be sold; returns when every service knows."""
    await ground.say(orders.reference_data(skus), "reference")
    await ground.rest()
    await ground.say(orders.counts(skus), "counts")
    await ground.rest()
