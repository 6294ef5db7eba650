"""Catching up: a service is down while orders arrive for it, then does them all.

It is drained by the supervisor, as an operator would; the others go on. Every order's messages for it wait in their topics. Then it is
started again, and what it does with them is told by its own topic:

    live rate       orders a second through all five services at once, just before on the same system
    catch-up rate   orders a second that it does of those that waited, from when it says it is ready until its part of the last one is done
    start           seconds from its start until it is ready

Others unharmed means: no process of theirs ended or lost readiness, those that don't depend on it did their part of all orders while it
was down, at no less than the live rate, and in the end every order is instructed. Memory before and after is told beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.health import ready
from schemas import topics
from schemas.topics import Topic
from tests.bench import sending, usage
from tests.bench.ground import Ground
from tests.bench.meter import Ends, order_of, since, type_of
from tests.bench.nervure import LOOK_S, WAIT_S
from tests.bench.programme import Figures, Sizes
from tests.bench.shop import Shop

Told = tuple[Topic, str]
"""Messages of one type."""
DONE: dict[str, Told] = {
    "order_capture": (topics.ORDER_EVENTS, "OrderAccepted"),
    "sourcing": (topics.SOURCING_DECISIONS, "OrderSourced"),
    "inventory": (topics.RESERVATIONS, "StockReserved"),
    "fulfilment_tracking": (topics.FULFILMENT_ORDERS, "FulfilOrder"),
}
"""What tells that a service has done its part of an order."""
UPSTREAM: dict[str, Told] = {
    "sourcing": (topics.ORDER_EVENTS, "OrderAccepted"),
    "inventory": (topics.INVENTORY_COMMANDS, "ReserveStock"),
    "fulfilment_tracking": (topics.SOURCING_DECISIONS, "OrderSourced"),
}
"""What waits for a service that is down, once the others have done their part of every order."""
LIVE_ORDERS = 8_000
GONE_S, READY_S = 60.0, 300.0


@dataclass(frozen=True, slots=True)
class Part:
    """What was done of a run's orders: how many, and when the first and the last, in milliseconds since the epoch."""

    orders: int
    first_ms: float
    last_ms: float

    def rate_since(self, begin_ms: float) -> float:
        """Orders a second."""
        return 1000 * self.orders / (self.last_ms - begin_ms) if self.last_ms > begin_ms else 0.0


async def measure(shop: Shop, sizes: Sizes, figures: Figures) -> Figures:
    found = {}
    for service in sizes.catch_up_services:
        found[service] = await _one(shop, service, sizes.catch_up_orders)
        print(f"{service} down for {sizes.catch_up_orders} orders: {found[service]}", flush=True)
    return {"catch_up_ratio": min(one["ratio"] for one in found.values()), "catch_up": found}


async def _one(shop: Shop, service: str, count: int) -> Figures:
    live = (await shop.load.run(max(1_000, min(count, LIVE_ORDERS)))).orders_per_s
    begin, prefix, before = await shop.ground.meter.ends(), shop.load.prefix(), usage.resident_bytes(shop.ground)
    started_ms, ready_ms, harm = await _outage(shop, service, prefix, count, begin)
    caught = (await _part(shop.ground, begin, DONE[service], prefix)).rate_since(ready_ms)
    instructed = await _part(shop.ground, begin, DONE["fulfilment_tracking"], prefix)
    upstream = await _upstream(shop.ground, begin, service, prefix, live)
    memory = _memory(before, usage.resident_bytes(shop.ground), service)
    return {
        "orders": count,
        "instructed": instructed.orders,
        "orders_per_s": round(caught, 1),
        "live_orders_per_s": round(live, 1),
        "ratio": round(caught / live, 2) if live else 0.0,
        "start_s": round((ready_ms - started_ms) / 1000, 1),
        "others": {"ended_or_unready": harm, "upstream_to_live": upstream, "rss_mb_before_after": memory},
        "others_unharmed": not harm and instructed.orders == count and (upstream is None or upstream >= 1.0),
    }


async def _outage(shop: Shop, service: str, prefix: str, count: int, begin: Ends) -> tuple[float, float, int]:
    """(when the service was started again, when it was ready, both in milliseconds since the epoch; how often others ended or were not
    ready meanwhile). Returns when every order is instructed."""
    ground = shop.ground
    restarts = _restarts(ground)
    await _down(ground, service)
    await sending.flood(ground.writer, shop.load.records(prefix, count))
    if service in UPSTREAM:
        await _come(ground, since(begin, UPSTREAM[service][0]), count)
    harm, started_ms = _unready(ground, service), time.time() * 1000
    ground.system.launch(service)
    await _ready(ground, service)
    ready_ms = time.time() * 1000
    await shop.load.await_instructions(begin, count)
    return started_ms, ready_ms, harm + _unready(ground, service) + _restarts(ground) - restarts


async def _upstream(ground: Ground, begin: Ends, service: str, prefix: str, live: float) -> float | None:
    """The rate at which what waits for the service came, of the live rate; None for the first of all services."""
    if service not in UPSTREAM:
        return None
    part = await _part(ground, begin, UPSTREAM[service], prefix)
    return round(part.rate_since(part.first_ms) / live, 2) if live else 0.0


async def _down(ground: Ground, service: str) -> None:
    ground.system.terminate(service)
    deadline = time.monotonic() + GONE_S
    while ground.system.pid(service) is not None:
        assert time.monotonic() < deadline, f"{service} does not end"
        await asyncio.sleep(LOOK_S)


async def _ready(ground: Ground, service: str) -> None:
    deadline = time.monotonic() + READY_S
    while waits := await asyncio.to_thread(ready, _ports(ground, service)[0]):
        assert time.monotonic() < deadline, f"{service} is not ready: {waits}"
        await asyncio.sleep(LOOK_S)


async def _come(ground: Ground, begin: Ends, count: int) -> None:
    """Returns once so many records have come, or none has for ten minutes."""
    last, moved = 0, time.monotonic()
    while last < count and time.monotonic() - moved < WAIT_S:
        await asyncio.sleep(LOOK_S)
        come = await ground.meter.come(begin)
        moved = time.monotonic() if come > last else moved
        last = come


async def _part(ground: Ground, begin: Ends, told: Told, prefix: str) -> Part:
    """What these messages say was done of this run's orders since."""
    topic, kind = told
    done: dict[str, int] = {}
    async for record in ground.meter.records(since(begin, topic)):
        order = order_of(record)
        if type_of(record) == kind and f":{prefix}-" in order:
            done[order] = record.appended_ms
    return Part(len(done), min(done.values(), default=0), max(done.values(), default=0))


def _ports(ground: Ground, service: str) -> Sequence[int]:
    return [one.health_port for one in ground.system.replicas() if one.service == service]


def _restarts(ground: Ground) -> int:
    return sum(one.restarts for one in ground.system.replicas())


def _unready(ground: Ground, down: str) -> int:
    """Processes of the other services that don't say they are ready."""
    return sum(1 for one in ground.system.replicas() if one.service != down and ready(one.health_port))


def _memory(before: dict[str, int], after: dict[str, int], down: str) -> dict[str, list[int]]:
    return {name: [int(before[name] / 1e6), int(after.get(name, 0) / 1e6)] for name in before if name != down}
