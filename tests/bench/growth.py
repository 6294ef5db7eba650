"""Growth: does it stay as fast and as lean as it fills?

A long run in a closed loop, nothing shipped, so every order stays open: what it leaves are stored orders and open orders at once.

    rate        orders a second in each tenth of the run. Start: the second and third tenth (the first one warms up); end: the last two
    disk        what the broker, the database (its write-ahead log too) and the rest take at the end; the most that all beside the topics
                took, looked at in every twentieth of the run
    bytes       an order in each topic and each table (indexes and long values in), and of memory in each process, of those orders.
                Outbox rows are pruned by the services themselves once they have been sent for long enough (`outbox_keep_s`), so in a long
                run their table stands still and in a short one it counts in full
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Sequence
from contextlib import suppress

from tests.bench import storage, usage
from tests.bench.ground import Ground
from tests.bench.programme import Figures, Sizes
from tests.bench.sending import Sample
from tests.bench.shop import Shop, shop
from tests.bench.storage import Taken, stock_taking

TENTHS = 10
LOOKS = 20
"""At the disk, during a long run."""


async def measure(sizes: Sizes, figures: Figures) -> Figures:
    async with shop(sizes.baskets) as one:
        began = await stock_taking(one.ground)
        disk: list[storage.Bytes] = []
        looking = asyncio.create_task(_look_at_disk(one.ground, sizes.long_run_s / LOOKS, disk))
        samples = await one.load.sustain(sizes.long_run_s)
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await one.ground.rest()
        ended = await stock_taking(one.ground)
        return {"growth": _figures(samples, sizes.long_run_s, began, ended) | await _left(one, disk)}


async def _look_at_disk(at: Ground, every_s: float, disk: list[storage.Bytes]) -> None:
    while True:
        disk.append(await asyncio.to_thread(storage.disk_bytes, at))
        await asyncio.sleep(every_s)


def _figures(samples: Sequence[Sample], seconds: float, began: Taken, ended: Taken) -> Figures:
    rates, orders_done = tenths(samples, seconds), samples[-1].done
    start, end = statistics.mean(rates[1:3]), statistics.mean(rates[-2:])
    print(f"{orders_done} orders in {seconds:.0f} s: {start:.0f} orders/s at the start, {end:.0f} at the end", flush=True)
    names = ("topic_bytes_an_order", "table_bytes_an_order", "memory_bytes_an_open_order")
    grown = [storage.grown(before, after, orders_done) for before, after in zip(began, ended, strict=True)]
    return {
        "orders": orders_done,
        "minutes": round(seconds / 60, 1),
        "rates": [round(rate, 1) for rate in rates],
        "start_orders_per_s": round(start, 1),
        "end_orders_per_s": round(end, 1),
        "end_to_start": round(end / start, 3) if start else 0.0,
        **dict(zip(names, grown, strict=True)),
        "row_bytes_an_open_order": round(sum(size for name, size in grown[1].items() if "/state." in name)),
    }


def tenths(samples: Sequence[Sample], seconds: float) -> list[float]:
    """Orders a second that were done in each tenth of the time."""
    edges = [seconds * n / TENTHS for n in range(TENTHS + 1)]
    done = [_done_at(samples, edge) for edge in edges]
    return [(after - before) * TENTHS / seconds for before, after in itertools.pairwise(done)]


def _done_at(samples: Sequence[Sample], at_s: float) -> float:
    """Between two samples by the straight line."""
    for before, after in itertools.pairwise(samples):
        if after.after_s >= at_s:
            share = (at_s - before.after_s) / max(1e-9, after.after_s - before.after_s)
            return before.done + share * (after.done - before.done)
    return float(samples[-1].done)


async def _left(one: Shop, disk: Sequence[storage.Bytes]) -> Figures:
    last = await asyncio.to_thread(storage.disk_bytes, one.ground)
    beside = max(sum(look.values()) - look["topics"] for look in (*disk, last))
    return {
        "disk_mb": {name: round(size / 1e6) for name, size in last.items()},
        "disk_beside_topics_mb": round(beside / 1e6),
        "outbox_keep_s": one.ground.settings.outbox_keep_s,
        "tables": await storage.tidiness(one.ground),
        "long_run_rss_mb": usage.peak_mb(one.ground),
    }
