"""The supplier: announces goods, thinks again, and brings what was announced, or less, or more.

In worlds where it sells (`SUPPLIER`); what it announced is what a level must show as coming, and what sourcing reckons with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from deploy.demo.shelves import Spot
from schemas import stock
from tests.sim.plan import SUPPLIER

if TYPE_CHECKING:
    from tests.sim.outside import Outside
    from tests.sim.world import World


@dataclass
class Consignment:
    """Goods of one item for one location, under one reference."""

    reference: str
    spot: Spot
    dice: Random
    expected: int
    announced: bool = False
    received: int = 0
    closed: bool = False

    @property
    def left(self) -> int:
        """Units still to come."""
        return max(0, self.expected - self.received) if self.announced and not self.closed else 0


class Supplier:
    """What it has announced in one world."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._plan = outside.world.plan
        self.consignments: dict[str, Consignment] = {}

    def open(self) -> None:
        if not self._plan.has(SUPPLIER) or self._plan.quiet_trade:
            return
        dice, day_s = self._plan.dice(SUPPLIER), self._plan.orders * self._plan.pace_s + 5
        for number in range(dice.randint(2, 8)):
            goods = Consignment(
                f"po:{number}", dice.choice(sorted(self._outside.opening)), self._plan.dice(SUPPLIER, number), dice.randint(1, 4)
            )
            self.consignments[goods.reference] = goods
            self._later(dice.uniform(0.5, day_s), goods, "is announced", self._announce)

    def _later(self, seconds: float, goods: Consignment, what: str, act: Callable[[Consignment], None]) -> None:
        self._outside.later(seconds, f"{goods.reference} {what}", lambda: act(goods))

    def _announce(self, goods: Consignment) -> None:
        goods.announced = True
        self._say(goods)
        if goods.dice.random() < 0.5:
            self._later(goods.dice.uniform(0.1, 4), goods, "is announced anew", self._announce_anew)
        arrives_s = goods.dice.uniform(1, 20)
        self._later(arrives_s, goods, "arrives", self._bring)
        if goods.dice.random() < 0.4:
            self._later(arrives_s + goods.dice.uniform(0.1, 5), goods, "arrives too", self._bring)
        if goods.dice.random() < 0.4:
            self._later(arrives_s + goods.dice.uniform(0.1, 10), goods, "is closed", self._close)

    def _say(self, goods: Consignment) -> None:
        now = self._outside.world.instant()
        self._outside.world.say(
            stock.InboundAnnounced(
                location=goods.spot.location,
                sku=goods.spot.sku,
                reference=goods.reference,
                expected=goods.expected,
                eta=now + timedelta(seconds=goods.dice.uniform(1, 60)),
                announced_at=now,
            )
        )

    def _announce_anew(self, goods: Consignment) -> None:
        """Not once it is closed: that would open it again."""
        if not goods.closed:
            goods.expected = goods.dice.randint(1, 4)
            self._say(goods)

    def _bring(self, goods: Consignment) -> None:
        units = goods.dice.randint(1, 3)
        goods.received += units
        self._outside.stock_people.bring(goods.spot, units, goods.reference)

    def _close(self, goods: Consignment) -> None:
        goods.closed = True
        now = self._outside.world.instant()
        self._outside.world.say(
            stock.InboundClosed(location=goods.spot.location, sku=goods.spot.sku, reference=goods.reference, closed_at=now)
        )


def supply_is_what_was_announced(world: World) -> Iterator[str]:
    """A level shows of each consignment what is still to come."""
    coming: dict[str, dict[str, int]] = {}
    for goods in world.outside.supplier.consignments.values():
        if goods.left:
            coming.setdefault(f"{goods.spot.sku}:{goods.spot.location}", {})[goods.reference] = goods.left
    levels = {str(id): row for id, row in world.databases["inventory"].table("state.level").items()}
    for id in sorted(coming.keys() | levels.keys()):
        row = levels.get(id)
        shown = {each.reference: each.units for each in row.state.supply} if row is not None and row.state is not None else {}
        if shown != (wanted := coming.get(id, {})):
            yield f"supply_is_what_was_announced: {id} shows {shown}, and {wanted} is to come"
