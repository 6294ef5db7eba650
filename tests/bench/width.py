"""Wider: ten times the items, then ten times the locations too.

In a fresh system: real baskets over a narrow assortment at two locations; then over ten times the items, which lie at both; then with ten
times the locations as well, each of which has every item and may serve; then the first orders again, beside all that. Each rate is the
median of three runs. Bytes of an inventory level are what the last step adds to topics, tables and processes, divided by its levels.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from shared.settings import Settings
from tests.bench import orders, storage
from tests.bench.ground import Ground, ground
from tests.bench.nervure import Load
from tests.bench.programme import Figures, Sizes
from tests.bench.storage import Taken, stock_taking

FACTOR = 10
RUNS = 3
WIDE = "wide"


async def measure(sizes: Sizes, figures: Figures) -> Figures:
    places = more_places(FACTOR * len(orders.LOCATIONS))
    narrow, broad = skus(sizes.growth_skus), skus(FACTOR * sizes.growth_skus)
    cache = Settings().cache
    baskets = [orders.baskets(sizes.baskets, cache, len(some)).lines for some in (narrow, broad)]
    async with ground() as at:
        near = [name for name, _, _ in orders.LOCATIONS]
        sellers = [*orders.seller(orders.CHANNEL, "default", locations=near), *orders.seller(WIDE, WIDE)]
        await at.say([*orders.items(broad), *orders.places(places), *sellers], "reference")
        loads = Load(at, baskets[0]), Load(at, baskets[1]), Load(at, baskets[1], WIDE)
        await _stock(at, narrow, orders.LOCATIONS, "narrow")
        normal, levels = await _rate(loads[0], sizes.growth_orders), await _levels(at)
        await _stock(at, broad[len(narrow) :], orders.LOCATIONS, "broad")
        items = await _rate(loads[1], sizes.growth_orders)
        await at.rest()
        taken, before = await stock_taking(at), await _levels(at)
        await _stock(at, broad, places[len(orders.LOCATIONS) :], "far")
        per_level = _level_figures(taken, await stock_taking(at), await _levels(at) - before)
        locations, again = await _rate(loads[2], sizes.growth_orders), await _rate(loads[0], sizes.growth_orders)
        print(f"{levels} levels: {normal:.0f} orders/s; 10x items: {items:.0f}; 10x locations too: {locations:.0f}", flush=True)
        told: Figures = {
            "levels": {"normal": levels, "items_x10": before, "locations_x10": await _levels(at)},
            "normal_orders_per_s": round(normal, 1),
            "items_x10_orders_per_s": round(items, 1),
            "locations_x10_orders_per_s": round(locations, 1),
            "normal_again_orders_per_s": round(again, 1),
            "items_x10_ratio": round(items / normal, 3),
            "locations_x10_ratio": round(locations / normal, 3),
            **per_level,
        }
        return {"growth": told}


def skus(count: int) -> list[str]:
    """The items that baskets folded to so many may name."""
    return [f"p{number}" for number in range(count)]


def more_places(count: int) -> list[orders.Place]:
    """The two warehouses and others, on a grid over France."""
    grid = [(f"far-{n}", 43.0 + (n % 6), -1.0 + (n // 6) * 7 / max(1, count // 6)) for n in range(count - len(orders.LOCATIONS))]
    return [*orders.LOCATIONS, *grid]


async def _stock(at: Ground, some: Sequence[str], places: Sequence[orders.Place], name: str) -> None:
    await at.rest()
    await at.say(orders.counts(some, places, name=name), name)
    await at.rest()


async def _rate(load: Load, count: int) -> float:
    """The median of some runs, after a short one that warms up."""
    await load.run(count // 10)
    return statistics.median([(await load.run(count)).orders_per_s for _ in range(RUNS)])


async def _levels(at: Ground) -> int:
    return await storage.rows(at, "inventory", "state.level")


def _level_figures(before: Taken, after: Taken, added: int) -> Figures:
    names = ("topic_bytes_a_level", "table_bytes_a_level", "memory_bytes_a_level")
    return {name: storage.grown(one, other, added) for name, one, other in zip(names, before, after, strict=True)}
