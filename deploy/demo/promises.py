"""What Nervure promised and says it shipped, unit by unit, held against what really lay on the shelves: the measure of overselling.

The books of inventory have no say in it: promises come from what orders were told, the rest from the hands of pickers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from deploy.demo.shelves import Shelves, Spot
from schemas.fulfilment import FactLine, LinesHandedOver, LinesWerePicked, ParcelWasShipped
from schemas.inventory import EndedLine, ReservationReleased, ReservationShorted, ReservedLine, StockReserved

Told = StockReserved | ReservationReleased | ReservationShorted | LinesWerePicked | ParcelWasShipped | LinesHandedOver
"""Whatever gives, takes back or keeps a promise."""


class Oversold(NamedTuple):
    """Units of one spot that were sold and never existed."""

    spot: Spot
    in_vain: int
    """Promised and looked for in vain, or promised to the end with nothing behind it, and neither a loss nor a walk-in explains it."""
    on_paper: int
    """Said to have been shipped or handed over, and never left the location."""

    @property
    def units(self) -> int:
        return self.in_vain + self.on_paper

    def __str__(self) -> str:
        told = ((self.in_vain, "promised and not there"), (self.on_paper, "shipped on paper only"))
        return f"{self.spot.sku} at {self.spot.location}: " + ", ".join(f"{units} {what}" for units, what in told if units)


@dataclass(slots=True)
class Promise:
    """One line of a part: units at one spot."""

    spot: Spot
    reserved: int = 0
    ended: int = 0
    picked: int = 0
    shipped: int = 0

    @property
    def open(self) -> int:
        """Units that should still lie on the shelf."""
        return max(0, self.reserved - self.ended - max(self.picked, self.shipped))


class Promises:
    """Every promise of a run, by part, line and spot."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, Spot], Promise] = {}

    def hear(self, told: Told) -> None:
        """One message of an order of this run, each once."""
        match told:
            case StockReserved():
                for reserved in told.lines:
                    self._of(told.part_id, told.location, reserved).reserved += reserved.reserved
            case ReservationReleased() | ReservationShorted():
                for ended in told.lines:
                    self._of(told.part_id, told.location, ended).ended += ended.quantity
            case LinesWerePicked():
                for line in told.lines:
                    self._of(told.fulfilment_order_id, told.location, line).picked += line.quantity
            case ParcelWasShipped() | LinesHandedOver(how="collected"):
                for line in told.lines:
                    self._of(told.fulfilment_order_id, told.location, line).shipped += line.quantity
            case LinesHandedOver():
                """It was shipped with its parcel."""

    def _of(self, part: str, location: str, line: ReservedLine | EndedLine | FactLine) -> Promise:
        spot = Spot(location, line.sku)
        return self._lines.setdefault((part, line.line_id, spot), Promise(spot))

    def oversold(self, shelves: Shelves, lost: Mapping[Spot, int]) -> tuple[Oversold, ...]:
        """What was sold and never existed, once all is at rest.

        A unit missing is excused by one that was counted and wasn't there (`lost`), or by one that somebody who walked in bought.
        """
        still_promised, shipped = self._sums()
        found = []
        for spot in sorted(set(shelves.spots()) | still_promised.keys() | shipped.keys()):
            uncovered = max(0, still_promised[spot] - shelves.on_shelf(spot))
            excused = lost.get(spot, 0) + shelves.bought(spot)
            in_vain = max(0, shelves.missed(spot) + uncovered - excused)
            on_paper = max(0, shipped[spot] - shelves.left(spot))
            if in_vain or on_paper:
                found.append(Oversold(spot, in_vain, on_paper))
        return tuple(found)

    def _sums(self) -> tuple[Counter[Spot], Counter[Spot]]:
        """By spot: units still promised, units shipped or collected."""
        still_promised, shipped = Counter[Spot](), Counter[Spot]()
        for promise in self._lines.values():
            still_promised[promise.spot] += promise.open
            shipped[promise.spot] += promise.shipped
        return still_promised, shipped
