"""Overselling as the demo measures it: promises and parcels against what lay on the shelves, whatever the books say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from deploy.demo.promises import Promises
from deploy.demo.shelves import Shelves, Spot
from schemas.fulfilment import FactLine, LinesHandedOver, LinesWerePicked, ParcelWasShipped
from schemas.inventory import EndedLine, Level, ReservationReleased, ReservationShorted, ReservedLine, StockChanged, StockReserved

NOW = datetime(2017, 6, 15, 12, tzinfo=UTC)
SPOT = Spot("store-1", "tea")


class Story:
    """What orders are told of one spot, and what happens at it."""

    def __init__(self, on_shelf: int, lost: int = 0) -> None:
        """`lost` units were counted and aren't there."""
        self.promises, self.shelves = Promises(), Shelves({SPOT: on_shelf})
        self._now = NOW
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
        picked = self.look(order, units)
        if picked < units:
            self.release(order, units - picked)
        return picked

    def look(self, order: str, units: int) -> int:
        """The same, of a promise that has ended before: nothing is left of it to end."""
        picked = self.shelves.pick(SPOT, units, f"{order}/1", self._later())
        if picked:
            self.promises.hear(LinesWerePicked.model_validate(self._fact(order, picked)))
        return picked

    def walk_in(self, units: int, reference: str = "till:1", *, booked: bool = False) -> None:
        """Somebody buys from the shelf; inventory hears of it at once, or not yet."""
        assert self.shelves.sell(SPOT, units, reference, self._later()) == units
        if booked:
            self.book("moved", reference)

    def book(self, cause: Literal["moved", "counted"], reference: str = "till:1") -> None:
        level = Level(sku=SPOT.sku, location=SPOT.location, version=1, sellable=0, reserved=0, atp=0)
        told = StockChanged(location=SPOT.location, cause=cause, reference=reference, levels=(level,))
        self.promises.learn(told, self._later())

    def _later(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

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
    if bought:
        story.walk_in(bought)
    story.pick("web:1", 5)
    assert sum(units for units, _ in story.oversold()) == in_vain


# ---- a walk-in excuses only what inventory could not know ----


def test_a_walk_in_whom_inventory_knew_of_when_it_promised_excuses_nothing() -> None:
    """Three lie there, two are sold and booked; then two are promised where one is left. As many units are missing as were sold."""
    story = Story(on_shelf=3)
    story.walk_in(2, booked=True)
    story.promise("web:1", 3)
    assert story.pick("web:1", 3) == 1
    assert story.oversold() == [(2, 0)]


def test_a_walk_in_who_took_nothing_from_a_promise_excuses_nothing() -> None:
    """Ten lie there, three are promised, two sold and booked: seven to spare. What is promised too much then was not theirs."""
    story = Story(on_shelf=10)
    story.promise("web:1", 3)
    story.walk_in(2, booked=True)
    story.promise("web:2", 7)
    assert story.pick("web:2", 7) == 7
    assert story.pick("web:1", 3) == 1
    assert story.oversold() == [(2, 0)]


def test_a_walk_in_whom_inventory_books_after_the_picker_looked_excuses_what_he_took() -> None:
    story = Story(on_shelf=2)
    story.promise("web:1", 2)
    story.walk_in(1)
    story.pick("web:1", 2)
    story.book("moved")
    assert story.oversold() == []


def test_one_walk_in_excuses_one_picker_only() -> None:
    """The last unit is sold, and it was promised twice."""
    story = Story(on_shelf=1)
    story.promise("web:1", 1)
    story.promise("web:2", 1)
    story.walk_in(1)
    story.pick("web:1", 1)
    story.pick("web:2", 1)
    assert story.oversold() == [(1, 0)]


@pytest.mark.parametrize("who_looks_first", ["web:1", "web:2"])
def test_whoever_looks_in_spite_of_a_shortage_is_excused_or_takes_the_others_unit(who_looks_first: str) -> None:
    """Booked, the sale shorts web:2; its picker has the instruction already and looks."""
    story = Story(on_shelf=2)
    story.promise("web:1", 1)
    story.promise("web:2", 1)
    story.walk_in(1, booked=True)
    story.short("web:2", 1)
    looked = [story.look(order, 1) for order in sorted(("web:1", "web:2"), key=lambda order: order != who_looks_first)]
    if who_looks_first == "web:2":
        story.release("web:1", 1)
    assert (looked, story.oversold()) == ([1, 0], [])


def test_a_shortage_nobody_looked_for_excuses_nobody_else() -> None:
    """web:2 is shorted and withdrawn in time: so web:1's unit is there, and what web:3 was promised beside it never was."""
    story = Story(on_shelf=2)
    story.promise("web:1", 1)
    story.promise("web:2", 1)
    story.walk_in(1, booked=True)
    story.short("web:2", 1)
    story.promise("web:3", 1)
    assert [story.pick(order, 1) for order in ("web:1", "web:3")] == [1, 0]
    assert story.oversold() == [(1, 0)]


def test_a_shortage_excuses_no_more_than_was_bought() -> None:
    """Three were promised where two lay; the sale of one shorts two of them, and both look."""
    story = Story(on_shelf=2)
    for order in ("web:1", "web:2", "web:3"):
        story.promise(order, 1)
    story.walk_in(1, booked=True)
    story.short("web:2", 1)
    story.short("web:3", 1)
    assert [story.look(order, 1) for order in ("web:1", "web:2", "web:3")] == [1, 0, 0]
    assert story.oversold() == [(1, 0)]


def test_a_count_tells_inventory_of_the_walk_ins_before_it() -> None:
    """A sale that the count contains moves nothing and is never told: from the count on nobody is excused by it."""
    story = Story(on_shelf=2)
    story.promise("web:1", 1)
    story.walk_in(1)
    story.book("counted", "count-1")
    story.promise("web:2", 1)
    assert [story.pick(order, 1) for order in ("web:1", "web:2")] == [1, 0]
    assert story.oversold() == [(1, 0)]


def test_what_is_promised_to_the_end_is_excused_by_no_walk_in() -> None:
    """Nobody looked; by then every sale is booked, and the promise stands all the same."""
    story = Story(on_shelf=1)
    story.promise("web:1", 1)
    story.walk_in(1, booked=True)
    assert story.oversold() == [(1, 0)]


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
