"""Counts replace a level as of their time; movements after it stay on top, whatever arrived first."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.inventory import DiscrepancyFound, Level, ReservationShorted, StockChanged, StockReserved
from schemas.stock import CountedLine
from services.inventory.service import service
from tests.support.inventory import (
    PARIS,
    SKU,
    at,
    counted,
    ended,
    fact,
    figures,
    issued,
    level_of,
    line,
    location,
    moved,
    picked,
    release,
    reserve,
    sold,
)
from tests.support.spec import Spec

A, B = "web:A/1", "web:B/1"


@pytest.fixture
def inventory() -> Spec:
    return Spec(service).documents(location())


def found(inventory: Spec) -> list[tuple[str, int]]:
    return [(message.kind, message.quantity) for message in inventory.of(DiscrepancyFound)]


def test_an_opening_count_is_no_discrepancy(inventory: Spec) -> None:
    inventory.when(counted(7))
    inventory.then(
        StockChanged(
            location=PARIS,
            cause="counted",
            reference="c1",
            levels=(Level(sku=SKU, location=PARIS, version=1, sellable=7, reserved=0, atp=7),),
            arrived=(SKU,),
        )
    )


def test_the_difference_of_a_count_is_a_fact(inventory: Spec) -> None:
    inventory.given(counted(7), sold(2))
    inventory.when(counted(4, at(10), "c2"))
    inventory.then(
        DiscrepancyFound(location=PARIS, sku=SKU, kind="count_difference", quantity=-1, reference="c2", detail="sellable counted 4"),
        StockChanged(
            location=PARIS,
            cause="counted",
            reference="c2",
            levels=(Level(sku=SKU, location=PARIS, version=3, sellable=4, reserved=0, atp=4),),
        ),
    )


def test_the_same_count_again_changes_nothing_though_stock_moved_on(inventory: Spec) -> None:
    inventory.given(counted(7), sold(2, when=at(1)))
    inventory.when(counted(7)).then()


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_arrival_order_does_not_matter(inventory: Spec, order: tuple[int, ...]) -> None:
    """Counted 10 at ten past; before it a sale the count already knows, after it a sale and a receipt."""
    facts = [
        counted(10, at(10)),
        sold(3, "till-1", at(5)),
        sold(2, "till-2", at(15)),
        moved("receipt", 6, "in-1", at(20)),
    ]
    inventory.now = at(20)
    inventory.given(counted(10, at(-60), "c0"), *(facts[index] for index in order))
    assert figures(inventory) == {"sellable": 14}


def test_a_movement_the_count_already_contains_is_told(inventory: Spec) -> None:
    inventory.given(counted(7, at(10)))
    inventory.when(sold(2, when=at(5)))
    assert found(inventory) == [("late_fact", -2)]
    assert inventory.of(StockChanged) == []


def test_a_count_dated_in_the_future_hides_no_movement(inventory: Spec) -> None:
    inventory.given(counted(7, at(100_000)), sold(2, when=at(1)))
    assert figures(inventory) == {"sellable": 5}


def test_an_older_count_changes_nothing_but_its_difference_is_recorded(inventory: Spec) -> None:
    inventory.given(counted(7, at(10)))
    inventory.when(counted(9, at(5), "c0"))
    assert found(inventory) == [("count_difference", 2)]
    assert figures(inventory) == {"sellable": 7}


def test_an_older_count_is_judged_by_what_moved_since(inventory: Spec) -> None:
    inventory.given(counted(9, at(0), "c0"), sold(2, when=at(7)), counted(7, at(10), "c2"))
    inventory.when(counted(9, at(5), "c1"))
    assert found(inventory) == []


def test_a_sale_that_stopped_at_zero_counts_in_full_on_a_later_count(inventory: Spec) -> None:
    """Believed 3, sold 5; then a count from before the sale says there were 8."""
    inventory.given(counted(3, at(0)), sold(5, when=at(10)))
    assert figures(inventory) == {}
    inventory.given(counted(8, at(5), "c2"))
    assert figures(inventory) == {"sellable": 3}


# ---- what a figure means ----


def test_scenario_03_a_count_during_a_sale_loses_no_order_and_sells_no_unit_twice(inventory: Spec) -> None:
    """Five there; two reserved, of which one was picked; the physical count sees five."""
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(1)))
    inventory.when(counted(5, at(10), "c2"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 4, "reserved": 1, "picked": 1}
    assert len(inventory.when(reserve(B, line(3), rank=60)).of(StockReserved)) == 1


def test_a_count_below_the_reservations_shorts_and_never_a_picked_unit(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2), rank=90), picked(A, fact(2)), reserve(B, line(3)))
    inventory.when(counted(3, at(10), "c2"))
    assert [(m.part_id, m.lines[0].quantity) for m in inventory.of(ReservationShorted)] == [(B, 2)]
    assert figures(inventory) == {"sellable": 1, "reserved": 1, "picked": 2}


def test_more_picked_than_counted_stops_at_zero(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(4)), picked(A, fact(4)))
    inventory.when(counted(3, at(10), "c2"))
    assert found(inventory) == [("count_difference", -2), ("below_zero", -1)]
    assert figures(inventory) == {"picked": 4}


def test_a_count_read_before_the_report_of_a_departure_remembers_what_its_stop_left_out(inventory: Spec) -> None:
    """Four picked; two of them had left when two were counted, which their location says later: nothing lies on the shelf."""
    inventory.given(counted(4), reserve(A, line(2)), picked(A, fact(2)), reserve(B, line(2)), picked(B, fact(2)))
    inventory.now = at(20)
    inventory.given(counted(2, at(10), "c2"))
    assert figures(inventory) == {"picked": 4}
    inventory.when(issued(A, fact(2), when=at(9)))
    assert figures(inventory) == {"picked": 2}
    assert level_of(inventory).left_out == 0


def test_goods_that_come_after_such_a_count_are_for_sale_at_once(inventory: Spec) -> None:
    """What the stop left out is settled by what happened before it only."""
    inventory.given(counted(4), reserve(A, line(2)), picked(A, fact(2)), reserve(B, line(2)), picked(B, fact(2)))
    inventory.now = at(11)
    inventory.given(counted(2, at(10), "c2"), moved("receipt", 3, "in-1", at(12)))
    assert figures(inventory) == {"sellable": 3, "picked": 4}
    inventory.now = at(20)
    inventory.given(issued(A, fact(2), when=at(9)), ended(B, "cancelled", fact(2), when=at(15)))
    assert figures(inventory) == {"sellable": 5}


def test_the_next_count_begins_anew(inventory: Spec) -> None:
    inventory.given(counted(4), reserve(A, line(4)), picked(A, fact(4)))
    inventory.now = at(30)
    inventory.given(counted(2, at(10), "c2"), counted(4, at(20), "c3"))
    assert level_of(inventory).left_out == 0
    inventory.given(ended(A, "cancelled", fact(4), when=at(25)))
    assert figures(inventory) == {"sellable": 4}


def test_a_pick_that_a_count_overtook_is_settled_by_the_departure_it_belongs_to(inventory: Spec) -> None:
    """The only unit was picked and had left when nothing was counted; both reports come after the count."""
    inventory.given(counted(1), reserve(A, line(1)))
    inventory.now = at(20)
    inventory.given(counted(0, at(10), "c2"), picked(A, fact(1), when=at(5)), issued(A, fact(1), when=at(6), unasked=True))
    assert figures(inventory) == {}


def test_of_a_pick_and_a_departure_read_after_a_count_the_later_one_settles_what_the_earlier_left_out(inventory: Spec) -> None:
    """The same, but each fact is decided as of when it was told: before the count."""
    inventory.given(counted(1), reserve(A, line(1)))
    inventory.now = at(10)
    inventory.given(counted(0, at(10), "c2"))
    inventory.now = at(5)
    inventory.given(picked(A, fact(1), when=at(5)))
    inventory.now = at(6)
    inventory.given(issued(A, fact(1), when=at(6), unasked=True))
    assert (figures(inventory), level_of(inventory).left_out) == ({}, 0)


def test_goods_of_before_the_sales_that_a_late_count_stops_at_are_not_added_on_top(inventory: Spec) -> None:
    """One was counted, two came, two were sold; the sales are read first, then the count, then the receipt: one is there."""
    for minute in (3, 4):
        inventory.now = at(minute)
        inventory.given(sold(1, f"till-{minute}", at(minute)))
    inventory.now = at(0)
    inventory.given(counted(1))
    inventory.now = at(2)
    inventory.given(moved("receipt", 2, "in-1", at(2)))
    assert (figures(inventory), level_of(inventory).left_out) == ({"sellable": 1}, 0)


def test_goods_of_before_a_pick_that_a_late_count_stops_at_are_not_added_on_top(inventory: Spec) -> None:
    """None was counted at 10, two came at 12, one was picked at 16. The pick is read first, then the others in their order."""
    inventory.given(counted(5), reserve(A, line(1)))
    inventory.now = at(16)
    inventory.given(picked(A, fact(1), when=at(16)))
    inventory.now = at(10)
    inventory.given(counted(0, at(10), "c2"))
    inventory.now = at(12)
    inventory.given(moved("receipt", 2, "in-1", at(12)))
    assert (figures(inventory), level_of(inventory).left_out) == ({"sellable": 1, "picked": 1}, 0)


def test_a_figure_without_picked_units(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(2)))
    inventory.given(counted(3, at(10), "c2", basis="shelf_without_picked"))
    assert figures(inventory) == {"sellable": 3, "picked": 2}


def test_a_figure_without_reserved_units(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.given(counted(3, at(10), "c2", basis="available_after_allocations"))
    assert figures(inventory) == {"sellable": 5, "reserved": 2}


@pytest.mark.parametrize("basis", ["physical", "shelf_without_picked", "available_after_allocations"])
@pytest.mark.parametrize("late", [False, True])
def test_picks_and_issues_around_a_count_are_neither_lost_nor_doubled(inventory: Spec, basis: str, late: bool) -> None:
    """Ten there; two picked and issued before the count, one picked after it. The count is read before or after all that."""
    figure = {"physical": 8, "shelf_without_picked": 8, "available_after_allocations": 7}[basis]
    inventory.given(counted(10), reserve(A, line(2)), reserve(B, line(1)))
    count = counted(figure, at(10), "c2", basis=basis)
    around = (
        picked(A, fact(2), when=at(5)),
        issued(A, fact(2), when=at(6)),
        picked(B, fact(1), when=at(15)),
    )
    inventory.now = at(20)
    inventory.given(*((count, *around) if late else (*around, count)))
    assert figures(inventory) == {"sellable": 7, "picked": 1}


def test_reservations_made_and_released_after_a_count_are_no_difference(inventory: Spec) -> None:
    inventory.given(counted(10), reserve(A, line(2)))
    inventory.now = at(20)
    inventory.given(reserve(B, line(3)), release(A))
    inventory.when(counted(8, at(10), "c2", basis="available_after_allocations"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 10, "reserved": 3}


def test_units_shorted_after_a_count_are_no_difference(inventory: Spec) -> None:
    inventory.given(counted(2), reserve(A, line(2)))
    inventory.now = at(20)
    inventory.given(sold(1, when=at(20)))
    inventory.when(counted(0, at(10), "c2", basis="available_after_allocations"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 1, "reserved": 1}


def test_other_statuses_are_counted_on_their_own(inventory: Spec) -> None:
    inventory.given(counted(5), moved("status_change", 1, "qc-1", to_status="damaged"))
    inventory.given(counted(0, at(10), "c2", lines=(CountedLine(sku=SKU, quantity=3, status="damaged"),)))
    assert figures(inventory) == {"sellable": 4, "damaged": 3}
    inventory.given(moved("damage", -1, "bin-1", at(5), to_status="damaged"))
    assert figures(inventory) == {"sellable": 4, "damaged": 3}


def test_an_item_on_two_shelves_is_added_up(inventory: Spec) -> None:
    shelves = (CountedLine(sku=SKU, quantity=2), CountedLine(sku=SKU, quantity=3))
    inventory.given(counted(0, lines=shelves))
    assert figures(inventory) == {"sellable": 5}


# ---- full counts ----


def test_a_full_count_brings_what_it_does_not_list_to_zero(inventory: Spec) -> None:
    inventory.now = at(20)
    inventory.given(counted(5), counted(4, count_id="c2", sku="jam"), moved("receipt", 2, "in-1", at(20), sku="jam"))
    inventory.when(counted(5, at(10), "c3", scope="full"))
    assert level_of(inventory, "jam").sellable == 2
    assert found(inventory) == [("count_difference", -4)]
    assert figures(inventory) == {"sellable": 5}


def test_a_full_count_shorts_what_was_reserved_of_an_unlisted_item(inventory: Spec) -> None:
    inventory.given(counted(5), counted(4, count_id="c2", sku="jam"), reserve(A, line(1, sku="jam")))
    inventory.when(counted(5, at(10), "c3", scope="full"))
    assert [message.part_id for message in inventory.of(ReservationShorted)] == [A]


def test_a_full_count_leaves_what_was_counted_later(inventory: Spec) -> None:
    inventory.now = at(20)
    inventory.given(counted(5), counted(4, at(20), count_id="c2", sku="jam"))
    inventory.given(counted(5, at(10), "c3", scope="full"))
    assert level_of(inventory, "jam").sellable == 4


def test_a_count_that_came_again_with_other_content_counts(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.when(counted(6), changed=True)
    assert found(inventory) == [("changed_report", 1)]
    assert figures(inventory) == {"sellable": 6}


def test_units_given_back_before_a_count_are_in_it(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), picked(A, fact(2)))
    inventory.given(counted(5, at(10), "c2", basis="shelf_without_picked"))
    inventory.given(ended(A, "not_collected", fact(2), when=at(5)))
    assert figures(inventory) == {"sellable": 5}
