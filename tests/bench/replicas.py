"""Replicas: a second process of the busiest service costs no correctness.

Busiest is which took the most CPU for the orders of a first run. Then its second replica is started, which takes half of the partitions
over, and as many orders are sent again while both work. After the load `nervure audit` compares all databases and all topics; clean means
that nothing was lost, done twice or promised twice. The rate beside it says what the second replica gives on this one machine, where it
has no core of its own: what it gives elsewhere is the model's to say.
"""

from __future__ import annotations

import asyncio

from deploy.audit import audit
from deploy.fleet import SERVICES
from tests.bench import usage
from tests.bench.ground import Ground
from tests.bench.nervure import Run
from tests.bench.programme import Figures, Sizes
from tests.bench.shop import Shop, shop

MOST_NAMED = 5
"""Violations that the figures name."""


async def measure(sizes: Sizes, figures: Figures) -> Figures:
    async with shop(sizes.baskets) as one:
        busiest, alone = await _busiest(one, sizes.replica_orders)
        await asyncio.to_thread(one.ground.system.launch, busiest, 1)
        await asyncio.to_thread(one.ground.system.wait_ready)
        before = _inputs(one.ground, busiest)
        both = await one.load.run(sizes.replica_orders)
        shared = [after - earlier for earlier, after in zip(before, _inputs(one.ground, busiest), strict=True)]
        await one.ground.rest()
        found = await audit(one.ground.settings)
        print(f"{busiest} twice: {both.orders_per_s:.0f} orders/s, audit {'clean' if found.clean else 'NOT CLEAN'}", flush=True)
        return {
            "replicas": {
                "service": busiest,
                "one_orders_per_s": round(alone.orders_per_s, 1),
                "two_orders_per_s": round(both.orders_per_s, 1),
                "inputs_by_replica": shared,
                "sent": alone.sent + both.sent,
                "instructed": alone.instructed + both.instructed,
                "audit_checks": found.checks,
                "audit_clean": found.clean and found.at_rest,
                "violations": [violation._asdict() for violation in found.violations[:MOST_NAMED]],
            }
        }


async def _busiest(one: Shop, orders: int) -> tuple[str, Run]:
    before = await usage.cpu_s(one.ground)
    run = await one.load.run(orders)
    spent = usage.spent_ms(before, await usage.cpu_s(one.ground), run.instructed)
    return max(SERVICES, key=lambda service: spent[service]), run


def _inputs(at: Ground, service: str) -> list[int]:
    """What each replica has taken in so far."""
    return [int(usage.inputs(one.health_port)) for one in at.system.replicas() if one.service == service]
