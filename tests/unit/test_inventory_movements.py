"""Movements are booked once; feed, fulfilment and returns may all report the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.inventory import Availability, DiscrepancyFound, Future, Level, ReservationReleased, ReservationShorted, StockChanged
from schemas.returns import StockWrittenOff
from schemas.stock import InboundAnnounced, InboundClosed, StockMoved, StockStatus
from services.inventory.levels import availability
from services.inventory.service import service
from shared.kernel.codec import value_of
from tests.support.inventory import (
    PARIS,
    SKU,
    at,
    counted,
    dated,
    ended,
    fact,
    figures,
    issued,
    level_of,
    line,
    location,
    moved,
    picked,
    reserve,
    restocked,
    sold,
)
from tests.support.spec import Spec

A, B = "web:A/1", "web:B/1"


@pytest.fixture
def inventory() -> Spec:
    return Spec(service).documents(location())


@pytest.fixture
def fed() -> Spec:
    """A location whose own feed reports issues and customer returns."""
    return Spec(service).documents(location(feed_reports=("issue", "customer_return")))


def found(inventory: Spec) -> list[tuple[str, int]]:
    return [(message.kind, message.quantity) for message in inventory.of(DiscrepancyFound)]


def shown(inventory: Spec, version: int) -> Availability:
    """As its readers get it: written as the contract's own model would write it."""
    written = value_of(availability("", version, level_of(inventory)))
    document = Availability.model_validate_json(written)
    assert value_of(document) == written
    return document


def document(version: int, **quantities: int) -> Availability:
    """The published state of the level: all that isn't named is zero."""
    return Availability.model_validate({"sku": SKU, "location": PARIS, "version": version, "reserved": 0} | quantities)


# ---- booked once ----


def test_a_movement_moves_the_level(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.when(moved("receipt", 3, "in-1"))
    inventory.then(
        StockChanged(
            location=PARIS,
            cause="moved",
            reference="in-1",
            levels=(Level(sku=SKU, location=PARIS, version=2, sellable=8, reserved=0, atp=8),),
            arrived=(SKU,),
        )
    )


def test_scenario_12_a_report_in_parts_and_in_disorder_is_a_running_total(inventory: Spec) -> None:
    inventory.given(counted(9), sold(1, when=at(1)), sold(3, when=at(3)), sold(2, when=at(2)), sold(3, when=at(3)))
    assert figures(inventory) == {"sellable": 6}


def test_a_corrected_total_books_the_difference(inventory: Spec) -> None:
    inventory.given(counted(9), moved("receipt", 5, "in-1", at(1)), moved("receipt", 4, "in-1", at(2)))
    assert figures(inventory) == {"sellable": 13}


def test_a_report_changed_under_the_same_id_books_the_difference_and_says_so(inventory: Spec) -> None:
    inventory.given(counted(9), sold(1, when=at(2)))
    inventory.when(sold(3, when=at(1)), changed=True)
    assert found(inventory) == [("changed_report", -2)]
    assert figures(inventory) == {"sellable": 6}


def test_scenario_14_a_sale_of_more_than_there_is_stops_at_zero(inventory: Spec) -> None:
    inventory.given(counted(3))
    inventory.when(sold(5))
    inventory.then(
        DiscrepancyFound(
            location=PARIS,
            sku=SKU,
            kind="below_zero",
            quantity=-2,
            reference="till-1",
            detail="stopped at zero; count this item here",
        ),
        StockChanged(
            location=PARIS,
            cause="moved",
            reference="till-1",
            levels=(Level(sku=SKU, location=PARIS, version=2, sellable=0, reserved=0, atp=0),),
        ),
    )


def test_a_movement_dated_in_the_future_is_of_the_time_it_was_read(inventory: Spec) -> None:
    inventory.given(counted(9), sold(1, when=at(100_000)), sold(2, "till-2", at(2)))
    inventory.now = at(30)
    inventory.given(counted(6, at(25), "c2"))
    assert figures(inventory) == {"sellable": 6}


def test_a_change_of_status_moves_units_between_statuses(inventory: Spec) -> None:
    inventory.given(counted(5), moved("status_change", 2, "qc-1", to_status="quality_hold"))
    assert figures(inventory) == {"sellable": 3, "quality_hold": 2}
    inventory.given(moved("status_change", 1, "qc-1", at(2), to_status="quality_hold"))
    assert figures(inventory) == {"sellable": 4, "quality_hold": 1}


def test_a_change_of_status_makes_no_units(inventory: Spec) -> None:
    inventory.given(counted(1))
    inventory.when(moved("status_change", 2, "qc-1", to_status="damaged"))
    assert found(inventory) == [("below_zero", -1)]
    assert figures(inventory) == {"damaged": 1}


def changed(units: int, reference: str, minute: float, source: StockStatus, target: StockStatus) -> StockMoved:
    return moved("status_change", units, reference, at(minute), from_status=source, to_status=target)


def test_units_on_display_are_not_promised_and_come_back_to_the_shelf(inventory: Spec) -> None:
    inventory.given(counted(5), changed(2, "window", 1, "sellable", "display"))
    assert figures(inventory) == {"sellable": 3, "display": 2}
    assert shown(inventory, 1) == document(1, sellable=3, display=2, atp=3)
    inventory.given(changed(1, "window-over", 2, "display", "sellable"))
    assert figures(inventory) == {"sellable": 4, "display": 1}


def test_what_is_put_on_display_may_be_reserved_units_whose_order_is_told(inventory: Spec) -> None:
    """The shop takes the last two for its window: who was promised them is sourced anew."""
    inventory.given(counted(2), reserve(A, line(2)))
    inventory.when(changed(2, "window", 1, "sellable", "display"))
    assert figures(inventory) == {"display": 2}
    assert [shorted.part_id for shorted in inventory.of(ReservationShorted)] == [A]


@pytest.mark.parametrize("status", ["sellable", "quality_hold", "damaged", "display"])
def test_a_transfer_out_takes_units_of_the_status_it_names_once(inventory: Spec, status: StockStatus) -> None:
    """A running total: two boxes of the same transfer, then the first one's report again."""
    inventory.given(counted(9), *([changed(6, "before", 1, "sellable", status)] if status != "sellable" else []))
    before = figures(inventory)[status]
    first = moved("transfer_out", -2, "T1:1", at(2), to_status=status)
    inventory.given(first, moved("transfer_out", -5, "T1:1", at(3), to_status=status), first)
    assert figures(inventory)[status] == before - 5


def test_a_transfer_out_of_more_than_is_free_shorts_who_was_promised_it(inventory: Spec) -> None:
    inventory.given(counted(3), reserve(A, line(2)))
    inventory.when(moved("transfer_out", -3, "T1:1"))
    assert figures(inventory) == {}
    assert [(shorted.part_id, shorted.lines[0].quantity) for shorted in inventory.of(ReservationShorted)] == [(A, 2)]


def test_a_transfer_is_on_its_way_until_it_is_received(inventory: Spec) -> None:
    """Dispatched to here, it is in transit and promised to nobody; on receipt it is for sale."""
    inventory.given(counted(1), moved("transfer_in", 4, "T1:1", at(1), to_status="in_transit"))
    assert figures(inventory) == {"sellable": 1, "in_transit": 4}
    assert shown(inventory, 1) == document(1, sellable=1, in_transit=4, atp=1)
    inventory.given(changed(3, "T1:1-received", 2, "in_transit", "sellable"), changed(1, "T1:1-broken", 3, "in_transit", "damaged"))
    assert figures(inventory) == {"sellable": 4, "damaged": 1}


def test_a_transfer_received_at_once_wakes_who_waits_for_it(inventory: Spec) -> None:
    inventory.given(counted(0))
    inventory.when(moved("transfer_in", 4, "T1:1"))
    [told] = inventory.of(StockChanged)
    assert (told.cause, told.arrived, figures(inventory)) == ("moved", (SKU,), {"sellable": 4})


def test_no_more_arrives_than_was_on_its_way(inventory: Spec) -> None:
    inventory.given(moved("transfer_in", 1, "T1:1", at(1), to_status="in_transit"))
    inventory.when(changed(3, "T1:1-received", 2, "in_transit", "sellable"))
    assert (found(inventory), figures(inventory)) == ([("below_zero", -2)], {"sellable": 1})


# ---- reports that come before those of what made them possible ----


def test_a_pick_of_goods_whose_receipt_is_told_later_is_booked_whole(inventory: Spec) -> None:
    """One there, two came and two were picked; the pick is read first, and says so."""
    inventory.given(counted(1), reserve(A, line(1)))
    inventory.when(picked(A, fact(2), when=at(5)))
    assert found(inventory) == [("below_zero", -1)]
    assert figures(inventory) == {"picked": 2}
    inventory.given(moved("receipt", 2, "in-1", at(4)))
    assert figures(inventory) == {"sellable": 1, "picked": 2}
    assert level_of(inventory).left_out == 0


def test_a_sale_that_overtook_the_receipt_of_its_goods_leaves_nothing_for_sale(inventory: Spec) -> None:
    inventory.now = at(10)
    inventory.given(counted(0), sold(1, when=at(5)))
    inventory.given(moved("receipt", 1, "in-1", at(4)))
    assert figures(inventory) == {}
    inventory.given(moved("receipt", 2, "in-2", at(11)))
    assert figures(inventory) == {"sellable": 2}


def test_a_receipt_told_after_a_later_departure_settles_what_an_earlier_sale_left_out(inventory: Spec) -> None:
    """Two there: one was sold, two came, two left. The departure is read first, the others in their order, long after: one is there."""
    inventory.now = at(20)
    inventory.given(counted(2), reserve(A, line(2)), issued(A, fact(2), when=at(20)))
    inventory.now = at(5)
    inventory.given(sold(1, when=at(5)))
    inventory.now = at(6)
    inventory.given(moved("receipt", 2, "in-1", at(6)))
    assert figures(inventory) == {"sellable": 1}


def test_a_receipt_told_after_a_later_pick_settles_what_an_earlier_pick_left_out(inventory: Spec) -> None:
    """Two there: both were picked for B, two came, one was picked for A. A's pick is read first, then the others in their order."""
    inventory.given(counted(2), reserve(A, line(1)))
    for part_id, units, minute in ((A, 1, 8), (B, 2, 4)):
        inventory.now = at(minute)
        inventory.given(picked(part_id, fact(units), when=at(minute)))
    inventory.now = at(7)
    inventory.given(moved("receipt", 2, "in-1", at(7)))
    assert (figures(inventory), level_of(inventory).left_out) == ({"sellable": 1, "picked": 3}, 0)


# ---- a departure whose true time is told later ----


def test_a_departure_its_carrier_reported_first_is_not_taken_twice_though_it_was_counted_in_between(inventory: Spec) -> None:
    """Three there; one left at 5, two were counted at 10, its carrier had it at 15: two are there."""
    inventory.given(counted(3), reserve(A, line(1)), picked(A, fact(1)))
    inventory.now = at(20)
    inventory.given(counted(2, at(10), "c2"), issued(A, fact(1), when=at(15)))
    assert figures(inventory) == {"sellable": 1}
    inventory.when(dated(A, fact(1), booked_at=at(15), when=at(5)))
    inventory.then(
        StockChanged(
            location=PARIS,
            cause="issued",
            reference=A,
            levels=(Level(sku=SKU, location=PARIS, version=6, sellable=2, reserved=0, atp=2),),
            arrived=(SKU,),
        )
    )


def test_without_a_count_in_between_only_the_time_of_a_departure_changes(inventory: Spec) -> None:
    inventory.given(counted(3), reserve(A, line(1)), picked(A, fact(1)), issued(A, fact(1), when=at(15)))
    inventory.when(dated(A, fact(1), booked_at=at(15), when=at(5))).then()
    assert figures(inventory) == {"sellable": 2}
    inventory.now = at(20)
    inventory.given(counted(2, at(10), "c2"))
    assert found(inventory) == []
    assert figures(inventory) == {"sellable": 2}


def test_of_two_departures_of_a_line_one_is_dated(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(3)), picked(A, fact(3)))
    inventory.now = at(20)
    inventory.given(counted(3, at(10), "c2"), issued(A, fact(1), when=at(15)), issued(A, fact(2), when=at(15)))
    inventory.when(dated(A, fact(2), booked_at=at(15), when=at(5)))
    assert figures(inventory) == {"sellable": 2}


# ---- scenario 19: reported by the feed and by fulfilment ----

OWN = (picked(A, fact(2)), issued(A, fact(2), when=at(3)))
FEED = (moved("issue", -2, f"{A}:1", at(3)),)
INTERLEAVINGS: tuple[tuple[Any, ...], ...] = (
    (*OWN, *FEED),
    (*FEED, *OWN),
    (OWN[0], *FEED, OWN[1]),
    (OWN[1], *FEED),
    (*FEED, OWN[1]),
)


@pytest.mark.parametrize("facts", INTERLEAVINGS)
@pytest.mark.parametrize("declared", [True, False])
def test_scenario_19_an_issue_reported_twice_is_booked_once(inventory: Spec, facts: Sequence[Any], declared: bool) -> None:
    inventory.documents(location(feed_reports=("issue",) if declared else ()))
    inventory.given(counted(5), reserve(A, line(2)), *facts)
    assert figures(inventory) == {"sellable": 3}
    assert inventory.state("reservation", f"{A}:1") is None


def test_scenario_19_until_the_feed_reports_it_the_units_are_unsettled(fed: Spec) -> None:
    fed.given(counted(5), reserve(A, line(2)), issued(A, fact(2)))
    assert figures(fed) == {"sellable": 3, "picked": 2, "unsettled": 2}
    fed.when(FEED[0])
    assert figures(fed) == {"sellable": 3}
    assert found(fed) == []


def test_scenario_19_in_parts(fed: Spec) -> None:
    fed.given(counted(9), reserve(A, line(3)), picked(A, fact(1)), issued(A, fact(1)))
    fed.given(moved("issue", -3, f"{A}:1", at(5)))
    assert figures(fed) == {"sellable": 6}
    fed.given(picked(A, fact(2)), issued(A, fact(2)))
    assert figures(fed) == {"sellable": 6}
    assert fed.state("reservation", f"{A}:1") is None


def test_scenario_19_other_orders_keep_their_units(fed: Spec) -> None:
    fed.given(counted(4), reserve(A, line(2)), reserve(B, line(2)), *FEED, *OWN)
    assert figures(fed) == {"sellable": 2, "reserved": 2}


def test_an_unasked_issue_reported_by_the_feed_first_is_booked_once(fed: Spec) -> None:
    fed.given(counted(5), *FEED, picked(A, fact(2)), issued(A, fact(2), unasked=True))
    assert figures(fed) == {"sellable": 3}
    assert fed.state("reservation", f"{A}:1") is None


def test_units_the_feed_saw_leave_can_still_end(fed: Spec) -> None:
    """The location rejects what its own feed reported as gone: the order must hear that it has nothing."""
    fed.given(counted(5), reserve(A, line(2)), *FEED)
    fed.when(ended(A, "rejected", fact(2)))
    assert [message.lines[0].quantity for message in fed.of(ReservationReleased)] == [2]
    assert figures(fed) == {"sellable": 3}


@pytest.mark.parametrize("feed_first", [True, False])
def test_a_pick_reported_by_the_feed_too_is_booked_once(inventory: Spec, feed_first: bool) -> None:
    feed = moved("status_change", 2, f"{A}:1", to_status="picked")
    facts = (feed, OWN[0]) if feed_first else (OWN[0], feed)
    inventory.given(counted(5), reserve(A, line(2)), *facts)
    assert figures(inventory) == {"sellable": 3, "picked": 2}
    inventory.given(OWN[1])
    assert figures(inventory) == {"sellable": 3}


def test_a_pick_the_feed_reports_after_the_issue_is_booked_once(inventory: Spec) -> None:
    inventory.given(counted(5), reserve(A, line(2)), *OWN, moved("status_change", 2, f"{A}:1", to_status="picked"))
    assert figures(inventory) == {"sellable": 3}


# ---- returns ----


def test_returned_units_enter_their_level(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.when(restocked(2))
    assert figures(inventory) == {"sellable": 7}
    assert inventory.of(StockChanged)[0].arrived == (SKU,)


@pytest.mark.parametrize("feed_first", [True, False])
def test_returned_units_wait_for_the_feed_where_it_reports_them(fed: Spec, feed_first: bool) -> None:
    own, feed = restocked(2), moved("customer_return", 2, "r1:1:resell:1", at(4))
    fed.given(counted(5), feed if feed_first else own)
    assert figures(fed) == ({"sellable": 7} if feed_first else {"sellable": 5, "unsettled": 2})
    fed.given(own if feed_first else feed)
    assert figures(fed) == {"sellable": 7}


def test_returned_units_may_enter_quality_hold(inventory: Spec) -> None:
    inventory.given(counted(5), restocked(2, status="quality_hold"))
    assert figures(inventory) == {"sellable": 5, "quality_hold": 2}


def test_what_is_written_off_enters_no_level(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.when(StockWrittenOff(location=PARIS, sku=SKU, quantity=1, disposition="destroy", reference="r1", occurred_at=at(4)))
    inventory.then(StockChanged(location=PARIS, cause="written_off", reference="r1", levels=()))
    assert figures(inventory) == {"sellable": 5}


# ---- announced supply ----


def announced(expected: int, minutes: int = 0, **kept: Any) -> InboundAnnounced:
    return InboundAnnounced(location=PARIS, reference="po-1", sku=SKU, expected=expected, eta=at(600), announced_at=at(minutes), **kept)


def received(total: int, minutes: int = 5) -> StockMoved:
    return moved("receipt", total, "gr-1", at(minutes), inbound_reference="po-1")


def future(inventory: Spec) -> list[int]:
    shown = availability("", 1, level_of(inventory)).future
    return [entry.quantity for entry in shown]


def test_announced_supply_is_shown_until_it_is_received(inventory: Spec) -> None:
    inventory.given(counted(5))
    inventory.when(announced(10))
    assert [message.cause for message in inventory.of(StockChanged)] == ["inbound"]
    assert future(inventory) == [10]
    inventory.given(received(4))
    assert (future(inventory), level_of(inventory).sellable) == ([6], 9)
    inventory.given(received(10, 6))
    assert (future(inventory), level_of(inventory).sellable) == ([], 15)


def test_a_newer_announcement_replaces_the_older_one(inventory: Spec) -> None:
    inventory.given(announced(8, 2), announced(10, 1), received(3))
    assert future(inventory) == [5]


def test_a_receipt_before_its_announcement_lowers_it(inventory: Spec) -> None:
    inventory.given(received(3), announced(8))
    assert future(inventory) == [5]


def test_closed_supply_comes_no_more(inventory: Spec) -> None:
    inventory.given(announced(8))
    inventory.when(InboundClosed(location=PARIS, reference="po-1", sku=SKU, closed_at=at(9)))
    inventory.given(announced(8, 3))
    assert future(inventory) == []
    inventory.given(announced(2, 10))
    assert future(inventory) == [2]


# ---- availability ----


def test_availability_is_the_whole_level(inventory: Spec) -> None:
    inventory.documents(location(safety_stock={SKU: 1})).given(counted(9), reserve(A, line(2)), announced(4))
    assert shown(inventory, 5) == Availability(
        sku=SKU,
        location=PARIS,
        version=5,
        sellable=9,
        reserved=2,
        safety=1,
        atp=6,
        future=(Future(reference="po-1", quantity=4, eta=at(600)),),
    )


def test_figures_beyond_what_a_message_carries_are_capped(inventory: Spec) -> None:
    inventory.given(moved("receipt", 1_000_000_000, "in-1"))
    inventory.when(moved("receipt", 1_000_000_000, "in-2"))
    assert inventory.of(StockChanged)[0].levels[0].sellable == 1_000_000_000
    assert figures(inventory) == {"sellable": 2_000_000_000}
