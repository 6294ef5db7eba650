"""What Nervure promised and says it shipped, unit by unit, held against what really lay on the shelves: the measure of overselling.

The books of inventory have no say in it: promises come from what orders were told, the rest from the hands of pickers. Of inventory counts
only when it learned of something: a unit that is gone excuses a promise as long as inventory could not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from deploy.demo.shelves import Miss, Sale, Shelves, Spot
from schemas.fulfilment import FactLine, LinesHandedOver, LinesWerePicked, ParcelWasShipped
from schemas.inventory import EndedLine, ReservationReleased, ReservationShorted, ReservedLine, StockChanged, StockReserved

Told = StockReserved | ReservationReleased | ReservationShorted | LinesWerePicked | ParcelWasShipped | LinesHandedOver
"""Whatever gives, takes back or keeps a promise."""

NEVER = datetime.max.replace(tzinfo=UTC)


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
    part_id: str
    reserved: int = 0
    ended: int = 0
    shorted: int = 0
    """Of the ended ones: those that inventory took back because a fact left too few."""
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
        self._booked: dict[tuple[Spot, str], datetime] = {}
        self._counted: dict[Spot, list[datetime]] = {}

    def hear(self, told: Told) -> None:
        """One message of an order of this run, each once."""
        match told:
            case StockReserved():
                for reserved in told.lines:
                    self._of(told.part_id, told.location, reserved).reserved += reserved.reserved
            case ReservationReleased() | ReservationShorted():
                for ended in told.lines:
                    promise = self._of(told.part_id, told.location, ended)
                    promise.ended += ended.quantity
                    promise.shorted += ended.quantity if isinstance(told, ReservationShorted) else 0
            case LinesWerePicked():
                for line in told.lines:
                    self._of(told.fulfilment_order_id, told.location, line).picked += line.quantity
            case ParcelWasShipped() | LinesHandedOver(how="collected"):
                for line in told.lines:
                    self._of(told.fulfilment_order_id, told.location, line).shipped += line.quantity
            case LinesHandedOver():
                """It was shipped with its parcel."""

    def learn(self, told: StockChanged, at: datetime) -> None:
        """Inventory knows of a movement, or what somebody counted, since this moment at the latest."""
        for level in told.levels:
            spot = Spot(told.location, level.sku)
            if told.cause == "moved" and told.reference is not None:
                self._booked.setdefault((spot, told.reference), at)
            elif told.cause == "counted":
                self._counted.setdefault(spot, []).append(at)

    def _of(self, part: str, location: str, line: ReservedLine | EndedLine | FactLine) -> Promise:
        spot = Spot(location, line.sku)
        return self._lines.setdefault((part, line.line_id, spot), Promise(spot, part))

    def oversold(self, shelves: Shelves, lost: Mapping[Spot, int]) -> tuple[Oversold, ...]:
        """What was sold and never existed, once all is at rest.

        A unit missing is excused by one that was counted and wasn't there (`lost`), or by a walk-in that inventory could not know of.
        """
        still_promised, shipped = self._sums()
        promised = self._by_spot()
        found = []
        for spot in sorted(set(shelves.spots()) | still_promised.keys() | shipped.keys()):
            uncovered = max(0, still_promised[spot] - shelves.on_shelf(spot))
            misses = shelves.misses(spot)
            excused = lost.get(spot, 0) + self._excused_by_walk_ins(spot, shelves.sales(spot), misses, promised.get(spot, ()))
            in_vain = max(0, sum(miss.units for miss in misses) + uncovered - excused)
            on_paper = max(0, shipped[spot] - shelves.left(spot))
            if in_vain or on_paper:
                found.append(Oversold(spot, in_vain, on_paper))
        return tuple(found)

    def _excused_by_walk_ins(self, spot: Spot, sales: Sequence[Sale], misses: Sequence[Miss], promised: Sequence[Promise]) -> int:
        """Units that pickers missed because of somebody who walked in, where inventory could not spare them the way.

        Either it had not booked the sale when they looked. Or it had, and took units back from a part (shorted it), whose picker looked all
        the same: then that one missed them, or whoever came after. Never more units than were bought.
        """
        unbooked = [(sale.at, self._known(spot, sale), sale.units) for sale in sales]
        looked = Counter[str]()
        excused = 0
        for miss in misses:
            left, unbooked = _took(miss, unbooked)
            excused += miss.units - left
            looked[miss.part_id] += left
        for part in {promise.part_id for promise in promised}:
            lines = [promise for promise in promised if promise.part_id == part]
            shorted = sum(line.shorted for line in lines)
            beyond = looked[part] + sum(line.picked - line.reserved for line in lines) + shorted
            excused += min(shorted, max(0, beyond))
        return min(excused, sum(sale.units for sale in sales))

    def _known(self, spot: Spot, sale: Sale) -> datetime:
        """When inventory had booked a sale, or a count that contains it."""
        counted = (at for at in self._counted.get(spot, ()) if at > sale.at)
        return self._booked.get((spot, sale.reference)) or min(counted, default=NEVER)

    def _by_spot(self) -> dict[Spot, list[Promise]]:
        found: dict[Spot, list[Promise]] = {}
        for promise in self._lines.values():
            found.setdefault(promise.spot, []).append(promise)
        return found

    def _sums(self) -> tuple[Counter[Spot], Counter[Spot]]:
        """By spot: units still promised, units shipped or collected."""
        still_promised, shipped = Counter[Spot](), Counter[Spot]()
        for promise in self._lines.values():
            still_promised[promise.spot] += promise.open
            shipped[promise.spot] += promise.shipped
        return still_promised, shipped


_Unbooked = tuple[datetime, datetime, int]
"""A sale: since when units are gone, when inventory knew, how many of them no miss accounts for yet."""


def _took(miss: Miss, sales: Sequence[_Unbooked]) -> tuple[int, list[_Unbooked]]:
    """How many of the missed units no sale explains that was made before and not known yet; and what is left of the sales, of which those
    that become known first are taken first."""
    left, rest = miss.units, []
    for since, known, units in sorted(sales, key=lambda sale: sale[1]):
        taken = min(left, units) if since <= miss.at < known else 0
        left -= taken
        rest.append((since, known, units - taken))
    return left, rest
