"""What happened before a count, told late: figures a count has, facts it contains, and units of one reservation told twice."""

from __future__ import annotations

import pytest

from schemas.inventory import DiscrepancyFound
from schemas.stock import CountedLine
from services.inventory.rules import Booking, book
from services.inventory.service import service
from services.inventory.state import level_key, new_booked
from shared.kernel.model import Need, Woken
from shared.value import replace
from tests.support.inventory import PARIS, SKU, at, counted, fact, figures, issued, line, location, moved, picked, reserve, sold
from tests.support.spec import Spec

A = "web:A/1"


@pytest.fixture
def inventory() -> Spec:
    return Spec(service).documents(location())


def found(inventory: Spec) -> list[tuple[str, int]]:
    return [(message.kind, message.quantity) for message in inventory.of(DiscrepancyFound)]


# ---- facts a count contains ----


def test_a_physical_count_contains_the_picked_unit_that_had_left_before_it(inventory: Spec) -> None:
    """Five, one picked; four are counted since it had left: the late news takes it from what is picked, not from the shelf."""
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(1)), counted(4, at(10), "c2"))
    inventory.when(issued(A, fact(1), when=at(5)))
    assert figures(inventory) == {"sellable": 4, "reserved": 1}


@pytest.mark.parametrize("minute", [5, 10])
def test_units_that_changed_status_before_the_count_arrive_though_the_shelf_lacks_them(inventory: Spec, minute: int) -> None:
    """Of five, three were found damaged; two are counted, up to and with that very moment."""
    inventory.given(counted(5), counted(2, at(10), "c2"))
    inventory.given(moved("status_change", 3, "qc-1", at(minute), to_status="damaged"))
    assert figures(inventory) == {"sellable": 2, "damaged": 3}


def test_what_happened_at_the_very_moment_of_a_count_is_in_it(inventory: Spec) -> None:
    inventory.given(counted(10), counted(7, at(10), "c2"), sold(2, when=at(10)))
    assert figures(inventory) == {"sellable": 7}


def test_a_pick_at_the_very_moment_of_a_physical_count_takes_the_unit_from_the_shelf(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), counted(5, at(10), "c2"), picked(A, fact(1), when=at(10)))
    assert figures(inventory) == {"sellable": 4, "reserved": 1, "picked": 1}


def test_what_happened_at_the_very_moment_of_a_count_of_damaged_units_is_in_it(inventory: Spec) -> None:
    inventory.given(counted(5), counted(0, at(10), "c2", lines=(CountedLine(sku=SKU, quantity=2, status="damaged"),)))
    inventory.given(moved("adjustment", 1, "found-1", at(10), to_status="damaged"))
    assert figures(inventory) == {"sellable": 5, "damaged": 2}


# ---- counts of a time before what is known ----


def test_a_sale_at_the_very_moment_of_a_count_that_is_read_later_is_in_it(inventory: Spec) -> None:
    inventory.given(counted(10), sold(2, when=at(5)), sold(1, "till-2", at(7)))
    inventory.when(counted(8, at(5), "c2"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 7}


def test_what_was_free_before_a_reservation_was_free_though_a_unit_of_it_is_picked_now(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.now = at(2)
    inventory.given(reserve(A, line(2)), picked(A, fact(1), when=at(3)))
    inventory.when(counted(5, at(1), "c2", basis="available_after_allocations"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 4, "reserved": 1, "picked": 1}


def test_a_physical_figure_is_the_same_before_and_after_a_pick_that_was_issued_since(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(2)), issued(A, fact(2), when=at(5)))
    inventory.when(counted(5, at(1), "c2"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 3}


def test_the_units_that_left_first_are_those_that_were_picked_first(inventory: Spec) -> None:
    """Picked at two and at six past, one issued at seven; the shelf as of three past lacks the first pick only."""
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(1)), picked(A, fact(1), when=at(6)), issued(A, fact(1), when=at(7)))
    inventory.when(counted(4, at(3), "c2", basis="shelf_without_picked"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 3, "picked": 1}


# ---- whose units left ----


def test_picked_units_leave_before_reserved_ones(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(1)), issued(A, fact(1)))
    assert figures(inventory) == {"sellable": 4, "reserved": 1}


def test_what_leaves_unasked_leaves_the_reservation_alone(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), issued(A, fact(1), unasked=True))
    assert figures(inventory) == {"sellable": 4, "reserved": 2}


def test_a_feed_that_is_ahead_again_after_both_said_the_same_is_ahead_by_the_difference(inventory: Spec) -> None:
    """One left, both say so; the feed says two; fulfilment's pick and issue of the second move nothing more."""
    feed = [moved("issue", -units, f"{A}:1", at(minute)) for units, minute in ((1, 3), (2, 5))]
    inventory.given(counted(5), reserve(A, line(3)), feed[0], issued(A, fact(1)), feed[1])
    assert figures(inventory) == {"sellable": 3, "reserved": 1}
    inventory.given(picked(A, fact(1), when=at(4)))
    assert figures(inventory) == {"sellable": 3, "reserved": 1}
    inventory.given(issued(A, fact(1), when=at(5)))
    assert figures(inventory) == {"sellable": 3, "reserved": 1}


def test_a_feed_is_ahead_by_what_it_says_beyond_the_others() -> None:
    """Both said one; the feed says two, and moves the level where it isn't the only one to do so."""
    both_said_one = replace(new_booked(f"{SKU}:{PARIS}/issue/{A}:1"), feed=-1, own=-1, moved=-1)
    assert book(both_said_one, -2, -1, declared=False) == Booking(moved=-1, unsettled=0, ahead=1)


# ---- timers ----


def test_the_end_of_a_block_locks_its_level_and_nothing_of_the_location() -> None:
    level = level_key(SKU, PARIS)
    assert service.keys(Woken(level, "unblock", at(1)), {}) == Need((level,))
