"""Cold start: how long until a service that holds all inventory levels in its view is ready.

That is sourcing: it reads the whole availability topic before it takes its first order. The levels are published in bulk, as inventory
publishes them (state documents with a version, in the partition of their key), while no service runs. Then sourcing starts: the time
counts from the start of its process until /readyz says so. Memory of a level in the view is what the process grew by, against the same
process over an empty topic. A hundred locations have every item.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.health import metrics, ready
from schemas.inventory import Availability
from schemas.topics import AVAILABILITY
from shared.kernel.codec import state_record
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, TopicPartition
from tests.bench import sending, storage, usage
from tests.bench.ground import Ground, ground
from tests.bench.programme import Figures, Sizes
from tests.bench.template import REF, filled

SERVICE = "sourcing"
LOCATIONS = 100
CHUNK = 20_000
READY_S, GONE_S, LOOK_S = 1_800.0, 60.0, 0.1


async def measure(sizes: Sizes, figures: Figures) -> Figures:
    async with ground(services=(SERVICE,)) as at:
        empty = usage.resident_bytes(at)[SERVICE]
        await _stop(at)
        published_s = await _publish(at, sizes.cold_levels)
        seconds = await _start(at)
        full, told = usage.resident_bytes(at)[SERVICE], metrics(at.system.replicas()[0].health_port)
        topic = (await asyncio.to_thread(storage.topic_bytes, at))[AVAILABILITY.name]
        print(f"{sizes.cold_levels} levels published in {published_s:.0f} s; ready after {seconds:.1f} s", flush=True)
        return {
            "cold_start": {
                "levels": sizes.cold_levels,
                "in_view": int(told.get("view_documents_total", 0)),
                "seconds": round(seconds, 1),
                "levels_per_s": round(sizes.cold_levels / seconds),
                "rss_mb": round(full / 1e6),
                "view_bytes_a_level": round((full - empty) / sizes.cold_levels),
                "topic_bytes_a_level": round(topic / sizes.cold_levels),
            }
        }


async def _stop(at: Ground) -> None:
    at.system.terminate(SERVICE)
    deadline = time.monotonic() + GONE_S
    while at.system.pid(SERVICE) is not None:
        assert time.monotonic() < deadline, f"{SERVICE} does not end"
        await asyncio.sleep(LOOK_S)


async def _publish(at: Ground, levels: int) -> float:
    """Seconds it took."""
    began, chunk = time.monotonic(), list[sending.Addressed]()
    for addressed in _levels(levels, at.partitions):
        chunk.append(addressed)
        if len(chunk) == CHUNK:
            await sending.flood(at.writer, chunk)
            chunk.clear()
    await sending.flood(at.writer, chunk)
    return time.monotonic() - began


def _levels(count: int, partitions: int) -> Iterator[sending.Addressed]:
    """Documents of so many levels: item by item, at every location."""
    templates = [_template(f"store-{number}") for number in range(LOCATIONS)]
    for number in range(count):
        sku, template = f"p{number // LOCATIONS}", templates[number % LOCATIONS]
        record = filled(template, sku)
        yield TopicPartition(AVAILABILITY.name, partition_of(record.key.decode(), partitions)), record


def _template(location: str) -> Outgoing:
    body = Availability(sku=REF, location=location, version=1, sellable=40, reserved=3, safety=1, atp=36)
    return state_record(AVAILABILITY.owner, 1, body.level_id, body.version, datetime.now(UTC), body)


async def _start(at: Ground) -> float:
    """Seconds from its start until it is ready."""
    began = time.monotonic()
    at.system.launch(SERVICE)
    port = at.system.replicas()[0].health_port
    while waits := await asyncio.to_thread(ready, port):
        assert time.monotonic() - began < READY_S, f"{SERVICE} is not ready: {waits}"
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began
