"""Latency: from when an order was due to be sent to its instruction on the topic.

The load is an open loop with a plan made beforehand: order n is due n/rate seconds after the begin, whatever the system does, and its
latency counts from then, not from its append. An order that could only be sent late, because the broker didn't answer or the machine was
busy with something else, has waited all the same (coordinated omission would leave that wait out, just where it is longest). Each order
counts once, at its last instruction. The floor is loaded in the same way, at the same rates, in the same run: what of the latency is the
design's hops and what is Nervure's shows in the ratio of the medians.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import usage
from tests.bench.floor import Floor
from tests.bench.nervure import Run, percentiles
from tests.bench.programme import Figures, Sizes
from tests.bench.rate import batch_figures
from tests.bench.shop import Shop

SLOW_PER_S = 50.0


async def measure(shop: Shop, sizes: Sizes, figures: Figures) -> Figures:
    half = figures["orders_per_s"] / 2
    ours = {rate: await _loaded(shop, rate, sizes.latency_s) for rate in (SLOW_PER_S, half)}
    async with Floor(shop.ground.connection, shop.ground.postgres, shop.ground.partitions) as floor:
        floors = {rate: await floor.latencies(int(rate * sizes.latency_s), rate) for rate in ours}
    told = {rate: _told(rate, run.latencies_ms, floors[rate]) | spent for rate, (run, spent) in ours.items()}
    return {"latency_ms": told[half] | {"at_50_per_s": told[SLOW_PER_S]}}


async def _loaded(shop: Shop, rate: float, seconds: float) -> tuple[Run, Figures]:
    """A run at that rate, and what it cost: batches are smaller than at the full rate, so an order costs more."""
    cpu, work = await usage.cpu_s(shop.ground), usage.work(shop.ground)
    run = await shop.load.run(int(rate * seconds), rate)
    spent = usage.spent_ms(cpu, await usage.cpu_s(shop.ground), run.instructed)
    worked = usage.done_between(work, usage.work(shop.ground))
    return run, {
        "cpu_ms_an_order": {name: round(ms, 3) for name, ms in spent.items()},
        "batches": {name: batch_figures(done, run.instructed) for name, done in worked.items()},
    }


def _told(rate: float, ours: Sequence[float], floor: Sequence[float]) -> Figures:
    mine, bare = percentiles(ours), percentiles(floor)
    print(f"at {rate:.0f} orders/s: {mine}, floor {bare}", flush=True)
    return {
        "orders_per_s": round(rate, 1),
        "orders": len(ours),
        **mine._asdict(),
        "floor": bare._asdict(),
        "p50_ratio": round(mine.p50 / max(1, bare.p50), 2),
    }
