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
from tests.bench.nervure import percentiles
from tests.bench.programme import Figures, Sizes
from tests.bench.rate import batch_figures
from tests.bench.shop import Shop

SLOW_PER_S = 50.0


async def measure(shop: Shop, sizes: Sizes, figures: Figures) -> Figures:
    half = figures["orders_per_s"] / 2
    before = await usage.cpu_s(shop.ground), usage.work(shop.ground)
    ours = {SLOW_PER_S: await shop.load.run(int(SLOW_PER_S * sizes.latency_s), SLOW_PER_S)}
    after = await usage.cpu_s(shop.ground), usage.work(shop.ground)
    ours[half] = await shop.load.run(int(half * sizes.latency_s), half)
    async with Floor(shop.ground.connection, shop.ground.postgres, shop.ground.partitions) as floor:
        floors = {rate: await floor.latencies(int(rate * sizes.latency_s), rate) for rate in ours}
    orders = ours[SLOW_PER_S].instructed
    slow = {
        "cpu_ms_an_order": {name: round(ms, 3) for name, ms in usage.spent_ms(before[0], after[0], orders).items()},
        "batches": {name: batch_figures(done, orders) for name, done in usage.done_between(before[1], after[1]).items()},
    }
    told = {rate: _told(rate, run.latencies_ms, floors[rate]) for rate, run in ours.items()}
    return {"latency_ms": told[half] | {"at_50_per_s": told[SLOW_PER_S] | slow}}


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
