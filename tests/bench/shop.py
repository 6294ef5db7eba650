"""A running system with real baskets to sell and more stock than they can take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.settings import Settings
from tests.bench import orders
from tests.bench.ground import Ground, ground
from tests.bench.nervure import Load, open_shop

WARM = 500


@dataclass(frozen=True, slots=True)
class Shop:
    """`load` sends the baskets."""

    ground: Ground
    baskets: orders.Baskets
    load: Load


@asynccontextmanager
async def shop(baskets: int, replicas: Mapping[str, int] | None = None) -> AsyncIterator[Shop]:
    """Open and warm: some orders have gone through."""
    chosen = orders.baskets(baskets, Settings().cache)
    async with ground(replicas) as made:
        await open_shop(made, chosen.skus)
        load = Load(made, chosen.lines)
        await load.run(WARM)
        yield Shop(made, chosen, load)
