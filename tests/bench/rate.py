"""Orders a second, channel to instruction, beside the floor of this machine.

Runs of Nervure and of the floor take turns, all orders of a run sent at once: the medians and the median of the ratios count, for the
machine's speed changes from minute to minute. Then, in the whole programme, five minutes without a pause in a closed loop. CPU clocks of
all processes give milliseconds an order; `load` is what the benchmark itself took of the same cores.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from schemas import topics
from tests.bench import usage
from tests.bench.floor import Floor
from tests.bench.ground import Ground
from tests.bench.meter import Ends
from tests.bench.nervure import Run
from tests.bench.programme import Figures, Sizes
from tests.bench.shop import Shop


async def measure(shop: Shop, sizes: Sizes, figures: Figures) -> Figures:
    ours: list[Run] = []
    floors: list[float] = []
    spent: list[dict[str, float]] = []
    before, commands = usage.work(shop.ground), await shop.ground.meter.ends(topics.INVENTORY_COMMANDS.name)
    for number in range(1, sizes.runs + 1):
        began = await usage.cpu_s(shop.ground)
        ours.append(await shop.load.run(sizes.orders))
        spent.append(usage.spent_ms(began, await usage.cpu_s(shop.ground), ours[-1].instructed))
        floors.append(await floor_rate(shop.ground, sizes.floor_orders))
        print(f"run {number}: {ours[-1].orders_per_s:.0f} orders/s, floor {floors[-1]:.0f}", flush=True)
    worked = usage.done_between(before, usage.work(shop.ground))
    instructed = sum(run.instructed for run in ours)
    return {
        "orders_per_s": round(statistics.median(run.orders_per_s for run in ours), 1),
        "floor_orders_per_s": round(statistics.median(floors), 1),
        "ratio": round(statistics.median(run.orders_per_s / floor for run, floor in zip(ours, floors, strict=True)), 3),
        "runs": [_run(run, floor) for run, floor in zip(ours, floors, strict=True)],
        "sustained": await _sustained(shop, sizes.sustained_s, floors),
        "median_lines": shop.baskets.median_lines,
        "cpu_ms_an_order": _medians(spent),
        "batches": {name: batch_figures(done, instructed) for name, done in worked.items()},
        "location_shares": await _shares(shop.ground, commands),
        "rss_mb": usage.peak_mb(shop.ground),
    }


async def _shares(ground: Ground, begin: Ends) -> list[float]:
    """Of the messages that have come since, by partition."""
    ends = await ground.meter.ends(*{at.topic for at in begin})
    come = [ends[at] - begin[at] for at in sorted(begin)]
    return [round(one / max(1, sum(come)), 3) for one in come]


async def floor_rate(ground: Ground, count: int) -> float:
    async with Floor(ground.connection, ground.postgres, ground.partitions) as floor:
        return await floor.rate(count)


async def _sustained(shop: Shop, seconds: float, floors: Sequence[float]) -> Figures | None:
    """The rate of a run without a pause, against the median floor of the runs before it."""
    if not seconds:
        return None
    samples = await shop.load.sustain(seconds)
    rate = samples[-1].done / samples[-1].after_s
    return {"seconds": round(samples[-1].after_s), "orders_per_s": round(rate, 1), "ratio": round(rate / statistics.median(floors), 3)}


def _run(run: Run, floor: float) -> Figures:
    return {
        "orders_per_s": round(run.orders_per_s, 1),
        "floor_orders_per_s": round(floor, 1),
        "sent": run.sent,
        "instructed": run.instructed,
    }


def _medians(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one.get(name, 0.0) for one in spent), 3) for name in spent[0]}


def batch_figures(done: usage.Work, orders: int) -> Figures:
    """What a service's loop did an order: its inputs, and how large and how long its transactions were."""
    return {
        "inputs_an_order": round(done.inputs / max(1, orders), 2),
        "inputs_a_batch": round(done.inputs / max(1, done.batches), 1),
        "ms_a_batch": round(1000 * done.seconds / max(1, done.batches), 2),
    }
