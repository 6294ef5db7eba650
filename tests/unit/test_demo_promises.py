"""Overselling as the demo measures it: promises and parcels against what lay on the shelves, whatever the books say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploy.demo.promises import Promises
from deploy.demo.shelves import Shelves, Spot
from schemas.fulfilment import FactLine, LinesHandedOver, LinesWerePicked, ParcelWasShipped
from schemas.inventory import EndedLine, ReservationReleased, ReservationShorted, ReservedLine, StockReserved

NOW = datetime(2017, 6, 15, 12, tzinfo=UTC)
SPOT = Spot("store-1", "tea")


class Story:
    """What orders are told of one spot, and what happens at it."""

    def __init__(self, on_shelf: int, lost: int = 0) -> None:
        """`lost` units were counted and aren't there."""
        self.promises, self.shelves = Promises(), Shelves({SPOT: on_shelf})
        self._lost = {SPOT: lost} if lost else {}

    def promise(self, order: str, units: int) -> None:
        line = ReservedLine(line_id="1", sku=SPOT.sku, asked=units, reserved=units)
        self.promises.hear(StockReserved(part_id=f"{order}/1", order_id=order, location=SPOT.location, lines=(line,)))

    def release(self, order: str, units: int) -> None:
        self.promises.hear(
            ReservationReleased(part_id=f"{order}/1", order_id=order, location=SPOT.location, cause="short", lines=self._ended(units))
        )

    def short(self, order: str, units: int) -> None:
        self.promises.hear(ReservationShorted(part_id=f"{order}/1", order_id=order, location=SPOT.location, lines=self._ended(units)))

    def pick(self, order: str, units: int) -> int:
        """As far as units lie there; the rest of the promise ends."""
        picked = self.shelves.pick(SPOT, units)
        if picked:
            self.promises.hear(LinesWerePicked.model_validate(self._fact(order, picked)))
        if picked < units:
            self.release(order, units - picked)
        return picked

    def ship(self, order: str, units: int, *, really: bool = True) -> None:
        number = order.replace(":", "-")
        parcel = {"parcel_id": number, "carrier": "overland", "tracking_number": number}
        self.promises.hear(ParcelWasShipped.model_validate(self._fact(order, units) | parcel))
        if really:
            self.shelves.leave(SPOT, units)

    def hand_over(self, order: str, units: int, how: str) -> None:
        self.promises.hear(LinesHandedOver.model_validate(self._fact(order, units) | {"how": how}))

    def oversold(self) -> list[tuple[int, int]]:
        """Units promised in vain and units shipped on paper."""
        return [(each.in_vain, each.on_paper) for each in self.promises.oversold(self.shelves, self._lost)]

    def _ended(self, units: int) -> tuple[EndedLine, ...]:
        return (EndedLine(line_id="1", sku=SPOT.sku, quantity=units),)

    def _fact(self, order: str, units: int) -> dict[str, object]:
        lines = (FactLine(line_id="1", sku=SPOT.sku, quantity=units),)
        return {"order_id": order, "fulfilment_order_id": f"{order}/1", "location": SPOT.location, "occurred_at": NOW, "lines": lines}


def test_what_lies_there_may_be_promised_picked_and_shipped() -> None:
    story = Story(on_shelf=5)
    story.promise("web:1", 3)
    story.promise("web:2", 2)
    assert story.pick("web:1", 3) == 3
    story.ship("web:1", 3)
    story.hand_over("web:1", 3, "delivered")
    assert story.oversold() == []


def test_the_last_unit_promised_twice_is_one_too_many_as_soon_as_somebody_looks_for_it() -> None:
    story = Story(on_shelf=1)
    for order in ("web:1", "web:2"):
        story.promise(order, 1)
    assert story.oversold() == [(1, 0)]
    assert [story.pick(order, 1) for order in ("web:1", "web:2")] == [1, 0]
    story.ship("web:1", 1)
    assert story.oversold() == [(1, 0)]
    [named] = map(str, story.promises.oversold(story.shelves, {}))
    assert named == "tea at store-1: 1 promised and not there"


def test_a_promise_that_ended_needs_nothing_on_the_shelf() -> None:
    story = Story(on_shelf=1)
    story.promise("web:1", 1)
    story.promise("web:2", 4)
    story.release("web:2", 3)
    story.short("web:2", 1)
    assert story.oversold() == []


@pytest.mark.parametrize(("lost", "bought", "in_vain"), [(0, 0, 3), (1, 0, 2), (0, 2, 3), (3, 0, 0), (2, 2, 1)])
def test_losses_and_walk_ins_excuse_as_many_units_as_they_took(lost: int, bought: int, in_vain: int) -> None:
    """Three units are missing beyond those that a walk-in bought from under the promise."""
    story = Story(on_shelf=2, lost=lost)
    story.promise("web:1", 5)
    assert story.shelves.sell(SPOT, bought) == bought
    story.pick("web:1", 5)
    assert sum(units for units, _ in story.oversold()) == in_vain


def test_a_parcel_that_never_left_is_shipped_on_paper() -> None:
    story = Story(on_shelf=5)
    story.promise("web:1", 2)
    story.pick("web:1", 2)
    story.ship("web:1", 2, really=False)
    assert story.oversold() == [(0, 2)]


def test_what_is_collected_left_over_the_counter() -> None:
    story = Story(on_shelf=5)
    story.promise("web:1", 2)
    story.pick("web:1", 2)
    story.hand_over("web:1", 2, "collected")
    assert story.oversold() == [(0, 2)]
    story.shelves.leave(SPOT, 2)
    assert story.oversold() == []
