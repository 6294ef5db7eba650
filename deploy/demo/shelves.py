"""What is really on the shelves: the demo's physical world, which tills, pickers and lorries change. Nervure only hears reports of it.

The shelves also remember what they can prove against Nervure: who looked for units that weren't there, and how many really left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple


class Spot(NamedTuple):
    location: str
    sku: str


class Sale(NamedTuple):
    """What somebody who walked in took off the shelf."""

    at: datetime
    reference: str
    """Of the till's report of it."""
    units: int


class Miss(NamedTuple):
    """What a picker looked for in vain."""

    at: datetime
    part_id: str
    units: int


class Shelves:
    """Units on the shelf and units in picking carts, by location and item."""

    def __init__(self, opening: Mapping[Spot, int]) -> None:
        self._shelf = Counter(opening)
        self._carts: Counter[Spot] = Counter()
        self._misses: defaultdict[Spot, list[Miss]] = defaultdict(list)
        self._sales: defaultdict[Spot, list[Sale]] = defaultdict(list)
        self._left: Counter[Spot] = Counter()

    def take(self, spot: Spot, units: int) -> int:
        """Takes off the shelf for good what is there, at most `units`; returns how many."""
        taken = min(units, self._shelf[spot])
        self._shelf[spot] -= taken
        return taken

    def sell(self, spot: Spot, units: int, reference: str, at: datetime) -> int:
        """Over the till, to somebody who walked in; returns how many were there."""
        sold = self.take(spot, units)
        if sold:
            self._sales[spot].append(Sale(at, reference, sold))
        return sold

    def put(self, spot: Spot, units: int) -> None:
        self._shelf[spot] += units

    def pick(self, spot: Spot, units: int, part_id: str, at: datetime) -> int:
        """From the shelf into a cart, for a part of an order; returns how many were there."""
        picked = self.take(spot, units)
        self._carts[spot] += picked
        if picked < units:
            self._misses[spot].append(Miss(at, part_id, units - picked))
        return picked

    def put_back(self, spot: Spot, units: int) -> None:
        self._carts[spot] -= units
        self._shelf[spot] += units

    def leave(self, spot: Spot, units: int) -> None:
        """Out of the cart, with the buyer or the carrier."""
        self._carts[spot] -= units
        self._left[spot] += units

    def on_shelf(self, spot: Spot) -> int:
        return self._shelf[spot]

    def physical(self, spot: Spot) -> int:
        """What somebody who counts finds: shelf and carts."""
        return self._shelf[spot] + self._carts[spot]

    def misses(self, spot: Spot) -> Sequence[Miss]:
        """What pickers looked for and did not find, in the order of time."""
        return self._misses[spot]

    def sales(self, spot: Spot) -> Sequence[Sale]:
        """What people who walked in bought, in the order of time."""
        return self._sales[spot]

    def left(self, spot: Spot) -> int:
        """Units that left with a buyer or a carrier, in all."""
        return self._left[spot]

    def spots(self) -> tuple[Spot, ...]:
        """Every spot that ever held something."""
        return tuple(self._shelf)
