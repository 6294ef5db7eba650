"""Sending load: as fast as it is taken, at a rate (open loop), or as fast as orders are done (closed loop).

An open loop decides beforehand when each record is due and never waits for the system: a record that leaves late, because the broker or
this machine was busy, was due all the same, and whoever waits for it waits from then. A closed loop keeps so many orders under way and
sends the next when one is done: what it measures is the rate the system sustains, not how long anybody waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from shared.kernel.kafka import KafkaWriter
from shared.kernel.ports import Outgoing, TopicPartition

Addressed = tuple[TopicPartition, Outgoing]
TICK_S = 0.005
"""How often records that have become due are sent."""
MOST_AT_ONCE = 1_000
LOOK_S = 0.1
"""How often a closed loop asks what is done."""
SAMPLE_S = 1.0
STALLED_S = 120.0
"""A closed loop that sees nothing done for so long ends."""


class Stalled(Exception):
    """Nothing was done for two minutes although orders are under way. Remedy: see the services' logs in the home, and `nervure audit`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many were sent and done so many seconds after the begin."""

    after_s: float
    sent: int
    done: int


async def send(writer: KafkaWriter, records: Sequence[Addressed]) -> None:
    """Returns when all are acknowledged."""
    batches: dict[TopicPartition, list[Outgoing]] = {}
    for at, record in records:
        batches.setdefault(at, []).append(record)
    while batches:
        done = await writer.send(batches)
        batches = {at: left for at, many in batches.items() if (left := many[done[at] :])}


async def flood(writer: KafkaWriter, records: Iterable[Addressed]) -> None:
    """As fast as the broker takes them."""
    left = iter(records)
    while some := list(islice(left, MOST_AT_ONCE)):
        await send(writer, some)


async def pace(writer: KafkaWriter, records: Sequence[Addressed], rate: float) -> float:
    """Open loop: record n is due n/rate seconds after the begin, which is returned as milliseconds since the epoch."""
    began_ms, began, sent = time.time() * 1000, time.monotonic(), 0
    while sent < len(records):
        due = min(len(records), int((time.monotonic() - began) * rate) + 1)
        if due > sent:
            await send(writer, records[sent : min(due, sent + MOST_AT_ONCE)])
            sent = min(due, sent + MOST_AT_ONCE)
        await asyncio.sleep(TICK_S)
    return began_ms


async def keep_up(
    writer: KafkaWriter,
    record: Callable[[int], Addressed],
    done: Callable[[], Awaitable[int]],
    *,
    seconds: float,
    under_way: int,
) -> list[Sample]:
    """Closed loop: so many orders under way for so many seconds, then until all are done. Raises Stalled."""
    began, sent, finished = time.monotonic(), 0, 0
    moved, samples = began, [Sample(0.0, 0, 0)]
    while (now := time.monotonic()) - began < seconds or finished < sent:
        room = under_way - (sent - finished) if now - began < seconds else 0
        if room > 0:
            await flood(writer, [record(number) for number in range(sent, sent + room)])
            sent += room
        await asyncio.sleep(LOOK_S)
        before, finished = finished, await done()
        moved = now if finished > before else moved
        if now - moved > STALLED_S:
            raise Stalled
        if now - began >= samples[-1].after_s + SAMPLE_S or finished >= sent:
            samples.append(Sample(time.monotonic() - began, sent, finished))
    return samples
