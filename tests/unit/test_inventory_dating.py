"""When units really left: which effects move to another time, what of each stays, and what a count in between makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.inventory.rules import Split, between, dated_anew, issue, taken
from services.inventory.state import Effect, Figures, Level
from tests.support.spec import START


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def test_units_of_several_departures_are_dated_anew_in_their_order_and_the_rest_keeps_its_time() -> None:
    """Four of those that left at 15: all three of the first departure, one of the second; what came or left at other times stays."""
    earlier, received = Effect(at(10), issue(Split(2, 0, 0))), Effect(at(15), {"sellable": 5})
    broken, first, second = Effect(at(15), {"damaged": 1}), Effect(at(15), issue(Split(1, 1, 1))), Effect(at(15), issue(Split(0, 0, 2)))
    effects, moved = dated_anew((earlier, received, broken, first, second), 4, at(15), at(5))
    assert effects == (
        earlier,
        received,
        broken,
        Effect(at(5), {"picked": -1, "reserved": -1, "sellable": -2}),
        Effect(at(5), {"picked": 0, "reserved": 0, "sellable": -1}),
        Effect(at(15), {"sellable": -1}),
    )
    assert moved == {"picked": -1, "reserved": -1, "sellable": -3}


def test_picked_units_are_dated_before_reserved_ones_and_these_before_the_shelf() -> None:
    left = (Effect(at(15), issue(Split(2, 1, 1))),)
    dated = {units: dated_anew(left, units, at(15), at(5))[1] for units in (1, 2, 3, 4, 5)}
    assert dated == {
        1: {"picked": -1, "reserved": 0, "sellable": 0},
        2: {"picked": -2, "reserved": 0, "sellable": 0},
        3: {"picked": -2, "reserved": -1, "sellable": -1},
        4: {"picked": -2, "reserved": -1, "sellable": -2},
        5: {"picked": -2, "reserved": -1, "sellable": -2},
    }


def test_what_a_departure_did_beside_its_units_keeps_its_time() -> None:
    """One of two is dated, of which one still waits for the feed: that it waits is not dated, and what is nothing isn't kept."""
    effects, _ = dated_anew((Effect(at(15), {"sellable": -2, "unsettled": 1, "damaged": 0}),), 1, at(15), at(5))
    assert effects == (Effect(at(5), {"picked": 0, "reserved": 0, "sellable": -1}), Effect(at(15), {"sellable": -1, "unsettled": 1}))


def test_two_that_left_from_one_place_are_dated_both() -> None:
    """Only from the picked ones, or only from the shelf."""
    picked: Figures = {"picked": -2, "reserved": 0, "sellable": 0}
    shelf: Figures = {"picked": 0, "reserved": 0, "sellable": -2}
    assert dated_anew((Effect(at(15), {"picked": -2}),), 2, at(15), at(5)) == ((Effect(at(5), picked),), picked)
    assert dated_anew((Effect(at(15), {"sellable": -2}),), 2, at(15), at(5)) == ((Effect(at(5), shelf),), shelf)


def test_what_a_count_in_between_left_out_already_is_given_back_and_taken_where_it_had_not() -> None:
    """Of damaged units counted at 10, one left."""
    level = Level("sku", "paris", damaged=3, counted={"damaged": at(10)})
    assert between(level, {"damaged": -1}, at(15), at(5)) == {"damaged": 1}
    assert between(level, {"damaged": -1}, at(5), at(15)) == {"damaged": -1}
    assert between(level, {"damaged": -1}, at(15), at(12)) == {}


def test_of_a_late_departure_only_its_own_units_are_missing_not_those_left_out_before() -> None:
    """Nothing is there, two were left out before: one more that left late is the third, and one is missing now."""
    assert taken(Level("sku", "paris", left_out=2), {"sellable": -1}, late=True) == ({"left_out": 1}, 1)
