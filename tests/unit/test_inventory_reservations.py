"""Who gets which unit, and when a reservation ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.inventory import (
    DiscrepancyFound,
    EndedLine,
    Level,
    ReservationDeclined,
    ReservationReleased,
    ReservationShorted,
    ReservedLine,
    StockChanged,
    StockReserved,
)
from schemas.reference import Item, Policy
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

A, B, C = "web:A/1", "web:B/1", "web:C/1"


@pytest.fixture
def inventory() -> Spec:
    return Spec(service).documents(location())


def shown(version: int, sellable: int, reserved: int, atp: int) -> Level:
    return Level(sku=SKU, location=PARIS, version=version, sellable=sellable, reserved=reserved, atp=atp)


def lines_of(reservation: StockReserved | ReservationDeclined) -> list[tuple[str, int, int]]:
    return [(entry.line_id, entry.asked, entry.reserved) for entry in reservation.lines]


# ---- reserving ----


def test_scenario_01_of_two_buyers_of_one_unit_one_gets_it(inventory: Spec) -> None:
    inventory.given(counted(1), reserve(A, line(1)))
    inventory.when(reserve(B, line(1)))
    inventory.then(
        ReservationDeclined(
            part_id=B,
            order_id="web:B",
            location=PARIS,
            reason="insufficient_stock",
            lines=(ReservedLine(line_id="1", sku=SKU, asked=1, reserved=0),),
            levels=(shown(2, 1, 1, 0),),
        )
    )


def test_scenario_02_twenty_units_and_a_thousand_buyers_make_twenty_sales(inventory: Spec) -> None:
    inventory.given(counted(20))
    won = 0
    for buyer in range(1000):
        won += len(inventory.when(reserve(f"web:{buyer}/1", line(1))).of(StockReserved))
    assert won == 20
    assert figures(inventory) == {"sellable": 20, "reserved": 20}


def test_a_reservation_carries_the_resulting_level(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.when(reserve(A, line(3)))
    inventory.then(
        StockReserved(
            part_id=A,
            order_id="web:A",
            location=PARIS,
            lines=(ReservedLine(line_id="1", sku=SKU, asked=3, reserved=3),),
            levels=(shown(2, 5, 3, 2),),
        )
    )


def test_without_a_minimum_a_line_takes_what_there_is(inventory: Spec) -> None:
    inventory.given(counted(2))
    inventory.when(reserve(A, line(3)))
    assert lines_of(inventory.of(StockReserved)[0]) == [("1", 3, 2)]


def test_a_line_below_its_minimum_declines_all_lines(inventory: Spec) -> None:
    inventory.given(counted(5), counted(1, count_id="c2", sku="jam"))
    inventory.when(reserve(A, line(3), line(2, "2", minimum=2, sku="jam")))
    [declined] = inventory.published
    assert isinstance(declined, ReservationDeclined)
    assert lines_of(declined) == [("1", 3, 3), ("2", 2, 1)]
    assert figures(inventory) == {"sellable": 5}


def test_two_lines_of_one_item_are_served_one_after_the_other(inventory: Spec) -> None:
    inventory.given(counted(3))
    inventory.when(reserve(A, line(2, "1"), line(2, "2")))
    assert lines_of(inventory.of(StockReserved)[0]) == [("1", 2, 2), ("2", 2, 1)]
    assert figures(inventory) == {"sellable": 3, "reserved": 3}


def test_a_command_that_gets_nothing_at_all_is_declined(inventory: Spec) -> None:
    inventory.when(reserve(A, line(1)))
    [declined] = inventory.of(ReservationDeclined)
    assert declined.levels == (shown(0, 0, 0, 0),)
    assert inventory.state("level", f"{SKU}:{PARIS}") is None


def test_a_command_is_answered_once(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(3)))
    inventory.when(reserve(A, line(3)))
    inventory.then()
    assert figures(inventory) == {"sellable": 5, "reserved": 3}


def test_safety_stock_is_not_promised(inventory: Spec) -> None:
    inventory.documents(Item(sku=SKU, safety_stock=2)).given(counted(3))
    inventory.when(reserve(A, line(3)))
    assert lines_of(inventory.of(StockReserved)[0]) == [("1", 3, 1)]


def test_a_location_has_its_own_safety_stock(inventory: Spec) -> None:
    inventory.documents(Item(sku=SKU, safety_stock=2)).given(counted(3))
    inventory.documents(location(safety_stock={SKU: 0}))
    inventory.when(reserve(A, line(3)))
    assert lines_of(inventory.of(StockReserved)[0]) == [("1", 3, 3)]


# ---- releasing ----


def test_a_release_frees_the_units_and_wakes_waiting_demand(inventory: Spec) -> None:
    inventory.given(counted(2), reserve(A, line(2)))
    inventory.when(release(A))
    freed = (shown(3, 2, 0, 2),)
    inventory.then(
        ReservationReleased(
            part_id=A,
            order_id="web:A",
            location=PARIS,
            cause="released",
            lines=(EndedLine(line_id="1", sku=SKU, quantity=2),),
            levels=freed,
        ),
        StockChanged(location=PARIS, cause="released", reference=A, levels=freed, arrived=(SKU,)),
    )
    assert inventory.state("reservation", f"{A}:1") is None


def test_a_release_is_answered_once(inventory: Spec) -> None:
    inventory.given(counted(2), reserve(A, line(2)), release(A))
    inventory.when(release(A)).then()
    inventory.when(reserve(A, line(2))).then()


def test_a_release_before_its_reserve_is_remembered(inventory: Spec) -> None:
    inventory.given(counted(2))
    inventory.when(release(A))
    inventory.then(ReservationReleased(part_id=A, order_id="web:A", location=PARIS, cause="released", lines=()))
    inventory.when(reserve(A, line(2)))
    [declined] = inventory.of(ReservationDeclined)
    assert declined.reason == "already_ended"
    assert figures(inventory) == {"sellable": 2}


# ---- from the shelf to the buyer ----


def test_scenario_04_nothing_is_left_reserved_after_fulfilment(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.when(picked(A, fact(2)))
    inventory.then(StockChanged(location=PARIS, cause="picked", reference=A, levels=(shown(3, 3, 0, 3),)))
    assert figures(inventory) == {"sellable": 3, "picked": 2}
    inventory.when(issued(A, fact(2)))
    inventory.then(StockChanged(location=PARIS, cause="issued", reference=A, levels=(shown(4, 3, 0, 3),)))
    assert figures(inventory) == {"sellable": 3}
    assert inventory.state("reservation", f"{A}:1") is None


@pytest.mark.parametrize("cause", ["cancelled", "rejected", "dropped", "changed"])
def test_scenario_04_nothing_is_left_reserved_after_an_end(inventory: Spec, cause: str) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.when(ended(A, cause, fact(2)))
    [released] = inventory.of(ReservationReleased)
    assert (released.cause, released.lines[0].quantity) == (cause, 2)
    assert inventory.of(StockChanged)[0].arrived == (SKU,)
    assert figures(inventory) == {"sellable": 5}
    inventory.when(ended(A, cause, fact(2))).then()


def test_units_issued_without_a_pick_come_from_the_reserved_shelf(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.when(issued(A, fact(2)))
    assert figures(inventory) == {"sellable": 3}


def test_picked_units_that_are_not_collected_go_back_to_the_shelf(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(3)), picked(A, fact(2)))
    inventory.when(ended(A, "not_collected", fact(3)))
    assert figures(inventory) == {"sellable": 5}
    assert inventory.of(StockChanged)[0].arrived == (SKU,)


def test_a_partial_end_takes_units_from_the_shelf_before_picked_ones(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(3)), picked(A, fact(2)))
    inventory.when(ended(A, "cancelled", fact(1)))
    assert figures(inventory) == {"sellable": 3, "picked": 2}


def test_damaged_units_are_written_down_in_the_same_step(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.when(ended(A, "rejected", fact(2), reason="damaged"))
    assert figures(inventory) == {"sellable": 3, "damaged": 2}
    assert [type(message) for message in inventory.published] == [ReservationReleased]


def test_scenario_06_units_issued_elsewhere_leave_both_levels_right(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.given(counted(4).model_copy(update={"location": "lyon"}))
    inventory.given(issued(A, fact(2), location="lyon", unasked=True), ended(A, "cancelled", fact(2)))
    assert level_of(inventory, where="lyon").sellable == 2
    assert figures(inventory) == {"sellable": 5}


def test_scenario_17_shipped_after_an_accepted_cancel_is_booked(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), ended(A, "cancelled", fact(2)))
    inventory.when(issued(A, fact(2), unasked=True))
    inventory.then(StockChanged(location=PARIS, cause="issued", reference=A, levels=(shown(4, 3, 0, 3),)))


def test_what_nobody_reserved_can_be_picked_and_issued(inventory: Spec) -> None:
    inventory.given(counted(5), picked(A, fact(2)))
    assert figures(inventory) == {"sellable": 3, "picked": 2}
    inventory.given(issued(A, fact(2), unasked=True))
    assert figures(inventory) == {"sellable": 3}


def test_more_issued_than_reserved_takes_the_rest_from_the_shelf_and_says_so(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)))
    inventory.when(issued(A, fact(3)))
    [found] = inventory.of(DiscrepancyFound)
    assert (found.kind, found.quantity, found.reference) == ("unknown_reference", -1, f"{A}:1")
    assert figures(inventory) == {"sellable": 2}


def test_a_substitute_does_not_use_the_reservation_of_the_line(inventory: Spec) -> None:
    inventory.given(counted(5), counted(5, count_id="c2", sku="jam"), reserve(A, line(2)))
    inventory.given(picked(A, fact(2, sku="jam")), issued(A, fact(2, sku="jam"), unasked=True))
    assert level_of(inventory, "jam").sellable == 3
    assert figures(inventory) == {"sellable": 5, "reserved": 2}


# ---- blocking ----


@pytest.mark.parametrize(("cause", "reason"), [("rejected", "not_found"), ("short", "none")])
def test_what_was_not_found_is_blocked_until_the_block_runs_out(inventory: Spec, cause: str, reason: str) -> None:
    inventory.documents(Policy(policy="default", block_s=60)).given(counted(5), reserve(A, line(2)))
    inventory.when(ended(A, cause, fact(2), reason=reason))
    inventory.then(
        ReservationReleased(
            part_id=A,
            order_id="web:A",
            location=PARIS,
            cause="rejected" if cause == "rejected" else "short",
            lines=(EndedLine(line_id="1", sku=SKU, quantity=2),),
            levels=(shown(4, 5, 0, 0),),
        ),
        StockChanged(location=PARIS, cause="blocked", reference=A, levels=(shown(4, 5, 0, 0),)),
    )
    [declined] = inventory.when(reserve(B, line(1))).of(ReservationDeclined)
    assert declined.reason == "blocked"
    inventory.advance(timedelta(seconds=61))
    inventory.then(
        StockChanged(location=PARIS, cause="unblocked", levels=(shown(5, 5, 0, 5),), arrived=(SKU,)),
    )


def test_a_count_lifts_the_block(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), ended(A, "short", fact(2)))
    inventory.when(counted(3, at(10), "c2"))
    assert inventory.of(StockChanged)[0].arrived == (SKU,)
    assert len(inventory.when(reserve(B, line(3))).of(StockReserved)) == 1
    inventory.advance(timedelta(days=2)).then()


def test_a_count_taken_before_the_search_does_not_lift_the_block(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), ended(A, "short", fact(2)))
    inventory.given(counted(5, at(1), "c2"))
    assert inventory.when(reserve(B, line(1))).of(ReservationDeclined)[0].reason == "blocked"


def test_a_search_reported_after_the_count_that_followed_it_does_not_block(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), counted(4, at(10), "c2"))
    inventory.given(ended(A, "short", fact(2), when=at(5)))
    assert len(inventory.when(reserve(B, line(1))).of(StockReserved)) == 1


# ---- shorting ----


def shorted(part_id: str, units: int, level: Level) -> ReservationShorted:
    return ReservationShorted(
        part_id=part_id,
        order_id=part_id.partition("/")[0],
        location=PARIS,
        lines=(EndedLine(line_id="1", sku=SKU, quantity=units),),
        levels=(level,),
    )


def test_scenario_18_a_walk_in_takes_the_last_reserved_unit(inventory: Spec) -> None:
    """The level is zero, and the least urgent order loses its unit."""
    inventory.given(counted(2), reserve(A, line(1), rank=10), reserve(B, line(1), rank=60))
    inventory.when(sold(1))
    assert inventory.of(ReservationShorted) == [shorted(B, 1, shown(6, 1, 1, 0))]
    inventory.when(sold(1, "till-2"))
    assert inventory.of(ReservationShorted) == [shorted(A, 1, shown(9, 0, 0, 0))]
    assert figures(inventory) == {}


def test_a_shorted_unit_that_was_picked_all_the_same_goes_back_to_the_shelf(inventory: Spec) -> None:
    """Nothing of it is reserved: whoever was shorted has been told, and isn't told again."""
    inventory.given(counted(2), reserve(A, line(2)), sold(1), moved("receipt", 1, "in-1", at(2)), picked(A, fact(2)))
    assert figures(inventory) == {"picked": 2}
    inventory.when(ended(A, "shorted", fact(1)))
    assert [type(message) for message in inventory.published] == [StockChanged]
    assert figures(inventory) == {"sellable": 1, "picked": 1}


def test_of_a_line_with_units_to_be_picked_only_picked_ones_are_put_back(inventory: Spec) -> None:
    inventory.given(counted(3), reserve(A, line(3)), picked(A, fact(1)))
    inventory.when(ended(A, "shorted", fact(2)))
    assert figures(inventory) == {"sellable": 3, "reserved": 2}


def test_a_shorted_unit_found_damaged_is_taken_off_the_shelf(inventory: Spec) -> None:
    """Two there, one sold over the counter: A lost its unit, and rejects the one that B still counts on."""
    inventory.given(counted(2), reserve(B, line(1)), reserve(A, line(1), rank=90), sold(1))
    inventory.when(ended(A, "shorted", fact(1), reason="damaged"))
    assert [message.part_id for message in inventory.of(ReservationShorted)] == [B]
    assert inventory.of(ReservationReleased) == []
    assert figures(inventory) == {"damaged": 1}


def test_a_damaged_unit_is_booked_though_its_reservation_was_shorted_meanwhile(inventory: Spec) -> None:
    """The rejection was on its way when the unit was shorted."""
    inventory.given(counted(2), reserve(B, line(1)), reserve(A, line(1), rank=90), sold(1))
    inventory.when(ended(A, "rejected", fact(1), reason="damaged"))
    assert [message.part_id for message in inventory.of(ReservationShorted)] == [B]
    assert figures(inventory) == {"damaged": 1}


def test_a_damaged_unit_that_the_level_has_written_off_already_changes_nothing(inventory: Spec) -> None:
    inventory.given(counted(1), reserve(A, line(1)), sold(1))
    inventory.when(ended(A, "shorted", fact(1), reason="damaged")).then()
    assert figures(inventory) == {}


def test_a_damaged_unit_that_a_later_count_has_left_out_lies_beside_it(inventory: Spec) -> None:
    inventory.given(counted(2), reserve(A, line(1)), reserve(B, line(1)))
    inventory.now = at(20)
    inventory.given(counted(1, at(10), "c2"), ended(A, "shorted", fact(1), reason="damaged", when=at(5)))
    assert figures(inventory) == {"sellable": 1, "reserved": 1, "damaged": 1}


def test_among_equals_the_latest_promise_is_shorted_first(inventory: Spec) -> None:
    inventory.given(counted(3))
    for part, minutes in ((A, 100), (B, 300), (C, 200)):
        inventory.given(reserve(part, line(1), promised_at=at(minutes)))
    inventory.when(sold(2))
    assert [message.part_id for message in inventory.of(ReservationShorted)] == [B, C]


def test_only_the_missing_units_of_a_line_are_shorted(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(5)))
    inventory.when(sold(2))
    assert inventory.of(ReservationShorted)[0].lines == (EndedLine(line_id="1", sku=SKU, quantity=2),)
    assert figures(inventory) == {"sellable": 3, "reserved": 3}


def test_picked_units_are_never_shorted(inventory: Spec) -> None:
    inventory.given(counted(2), reserve(A, line(1), rank=99), picked(A, fact(1)), reserve(B, line(1)))
    inventory.when(sold(1))
    assert [message.part_id for message in inventory.of(ReservationShorted)] == [B]
    assert figures(inventory) == {"picked": 1}


def test_units_issued_unasked_may_short_others(inventory: Spec) -> None:
    inventory.given(counted(2), reserve(A, line(2)))
    inventory.when(issued(B, fact(1), unasked=True))
    assert [message.part_id for message in inventory.of(ReservationShorted)] == [A]
    assert figures(inventory) == {"sellable": 1, "reserved": 1}


def test_many_reservations_are_shorted_in_bounded_steps(inventory: Spec) -> None:
    inventory.given(counted(450), *(reserve(f"web:{buyer}/1", line(1)) for buyer in range(450)))
    inventory.when(counted(10, at(5), "c2"))
    assert len(inventory.of(ReservationShorted)) == 440
    assert figures(inventory) == {"sellable": 10, "reserved": 10}


def test_a_receipt_in_time_saves_what_was_about_to_be_shorted(inventory: Spec) -> None:
    """Between a fact and the shorting it causes the level says what is owed; nothing of it can be promised."""
    inventory.given(counted(2), reserve(A, line(2)))
    inventory._decide(sold(2))
    assert figures(inventory) == {"sellable": 2, "reserved": 2, "owed": 2}
    inventory._decide(moved("receipt", 1, "in-1"))
    assert figures(inventory) == {"sellable": 2, "reserved": 2, "owed": 1}
    inventory._decide(release(A))
    assert figures(inventory) == {"sellable": 1}
    inventory.advance(timedelta(seconds=1)).then()


def test_a_pick_before_the_shorting_proves_the_unit_was_there(inventory: Spec) -> None:
    inventory.given(counted(1), reserve(A, line(1)))
    inventory._decide(sold(1))
    inventory.when(picked(A, fact(1)))
    assert [found.quantity for found in inventory.of(DiscrepancyFound)] == [-1]
    assert inventory.of(ReservationShorted) == []
    assert figures(inventory) == {"picked": 1}
