"""Reports of locations, in running totals: late, twice, out of order, or about what nobody asked for."""

from __future__ import annotations

from schemas.fulfilment import (
    FactLine,
    FulfilmentAccepted,
    LinesPicked,
    LinesRejectedByLocation,
    LinesWerePicked,
    LineTotal,
    ParcelWasPacked,
    ParcelWasShipped,
    ReservationEnded,
    StockIssued,
    StockPicked,
)
from services.fulfilment_tracking.decide import KEEP
from tests.support.fulfilment_tracking import (
    ORDER,
    OTHER_PART,
    PART,
    STORE,
    WAREHOUSE,
    accepted,
    at_work,
    exceptions,
    line,
    minutes,
    names,
    packs,
    part,
    picks,
    rejects,
    ships,
    sourced,
    status,
    takes_on,
    tracking,
    waits_for,
    work,
)
from tests.support.spec import START


def shirts(n: int) -> tuple[FactLine, ...]:
    return (FactLine(line_id="shirt", sku="shirt", quantity=n),)


def test_a_location_accepts_once() -> None:
    spec = at_work(shirt=2).when(takes_on())
    spec.then(FulfilmentAccepted(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=minutes(1)))
    spec.when(takes_on(at=2)).then()


def test_picks_are_running_totals() -> None:
    """Each report adds the difference; the lower total adds nothing."""
    spec = at_work(shirt=3).when(picks(shirt=1))
    spec.then(
        StockPicked(part_id=PART, order_id=ORDER, location=STORE, lines=shirts(1), occurred_at=minutes(3)),
        LinesWerePicked(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=minutes(3), lines=shirts(1)),
    )
    spec.when(picks(shirt=3))
    assert spec.of(StockPicked)[0].lines == shirts(2)
    spec.when(picks(shirt=2)).then()
    assert line(spec).picked == 3


def test_a_final_pick_tells_what_is_short() -> None:
    spec = at_work(shirt=3, mug=1).when(picks(final=True, shirt=2))
    assert names(spec) == ["StockPicked", "LinesWerePicked", "LinesRejectedByLocation", "ReservationEnded"]
    assert spec.of(ReservationEnded) == [
        ReservationEnded(
            part_id=PART,
            order_id=ORDER,
            location=STORE,
            cause="short",
            lines=(*shirts(1), FactLine(line_id="mug", sku="mug", quantity=1)),
            occurred_at=minutes(3),
        )
    ]
    assert waits_for(spec)[0][0] == "sourcing"


def test_a_rejection_ends_the_reservation_with_its_reason() -> None:
    spec = at_work(shirt=3).when(rejects("damaged", shirt=1))
    spec.then(
        LinesRejectedByLocation(
            order_id=ORDER,
            fulfilment_order_id=PART,
            location=STORE,
            occurred_at=minutes(2),
            lines=shirts(1),
            reason="damaged",
        ),
        ReservationEnded(
            part_id=PART,
            order_id=ORDER,
            location=STORE,
            cause="rejected",
            reason="damaged",
            lines=shirts(1),
            occurred_at=minutes(2),
        ),
    )
    assert line(spec).released == 2


def test_a_unit_found_missing_is_not_rejected_a_second_time() -> None:
    spec = at_work(shirt=3).given(picks(final=True, shirt=2)).when(rejects(shirt=1))
    spec.then()
    assert work(spec).left == 2


def test_a_later_stage_implies_the_earlier_one() -> None:
    """Packed without picked; shipped without either. The late reports add nothing."""
    spec = at_work(shirt=2).when(packs(shirt=1))
    assert names(spec) == ["ParcelWasPacked", "StockPicked", "LinesWerePicked"]
    spec.when(ships("p2", shirt=1))
    assert names(spec) == ["ParcelWasShipped", "StockIssued", "StockPicked", "LinesWerePicked"]
    spec.when(picks(shirt=2)).then()
    spec.when(packs("p2", shirt=1)).then()
    assert (line(spec).picked, line(spec).packed, line(spec).shipped) == (2, 2, 1)


def test_shipping_issues_the_stock_once() -> None:
    spec = at_work(shirt=2).given(picks(shirt=2), packs(shirt=2)).when(ships(shirt=2))
    spec.then(
        ParcelWasShipped(
            order_id=ORDER,
            fulfilment_order_id=PART,
            location=STORE,
            occurred_at=minutes(5),
            parcel_id="p1",
            carrier="post",
            tracking_number="T-p1",
            lines=shirts(2),
        ),
        StockIssued(part_id=PART, order_id=ORDER, location=STORE, lines=shirts(2), occurred_at=minutes(5)),
    )
    spec.when(ships(shirt=1)).then()
    assert work(spec).served == 2 and status(spec).status == "shipped"
    assert status(spec).fulfilment_orders[0].status == "closed"


def test_a_part_ships_in_two_parcels() -> None:
    spec = at_work(shirt=3).given(ships(shirt=1))
    assert status(spec).status == "partly_shipped"
    spec.when(ships("p2", shirt=2))
    assert spec.of(ParcelWasShipped)[0].lines == shirts(2)
    assert line(spec).shipped == 3


def test_a_parcel_told_of_by_pieces_adds_up() -> None:
    """Its contents are totals: the second report adds what the first one missed."""
    spec = at_work(shirt=2, mug=1).given(ships(shirt=1)).when(ships(shirt=2, mug=1))
    assert spec.of(StockIssued)[0].lines == (*shirts(1), FactLine(line_id="mug", sku="mug", quantity=1))
    assert spec.of(ParcelWasPacked) == []


def test_a_unit_that_was_rejected_and_shipped_all_the_same_is_booked() -> None:
    """Facts win; a person hears of the contradiction."""
    spec = at_work(shirt=2).given(rejects(shirt=1)).when(ships(shirt=2))
    assert [(stock.unasked, stock.lines) for stock in spec.of(StockIssued)] == [(False, shirts(1)), (True, shirts(1))]
    assert exceptions(spec) == ["contradiction"]
    assert (line(spec).released, line(spec).shipped) == (2, 2)


def test_a_unit_that_was_rejected_can_not_be_picked_later() -> None:
    spec = at_work(shirt=2).given(rejects(shirt=1)).when(picks(shirt=2))
    assert names(spec) == ["FulfilmentExceptionOpened", "StockPicked", "LinesWerePicked"]
    assert spec.of(StockPicked)[0].lines == shirts(1)


def test_too_many_shipped_are_booked_with_an_exception() -> None:
    spec = at_work(shirt=1).when(ships(shirt=3))
    assert [(stock.unasked, stock.lines) for stock in spec.of(StockIssued)] == [(False, shirts(1)), (True, shirts(2))]
    assert exceptions(spec) == ["shipped_too_many"]
    assert (line(spec).ordered, line(spec).shipped) == (1, 3)


def test_scenario_06_fulfilled_from_another_location_than_planned() -> None:
    """Stock leaves the level it really left; the planned location gets its units back, and nobody plans them again."""
    spec = at_work(shirt=2).given(picks(shirt=1)).when(ships(location=WAREHOUSE, shirt=2))
    assert spec.of(StockIssued) == [
        StockIssued(part_id=PART, order_id=ORDER, location=WAREHOUSE, lines=shirts(2), occurred_at=minutes(5), unasked=True)
    ]
    assert spec.of(ReservationEnded) == [
        ReservationEnded(part_id=PART, order_id=ORDER, location=STORE, cause="served", lines=shirts(2), occurred_at=minutes(5))
    ]
    assert exceptions(spec) == ["other_location"]
    assert (work(spec).left, line(spec).shipped, status(spec).status) == (0, 2, "shipped")


def test_the_planned_location_ships_after_another_one_did() -> None:
    """Its units leave, too: unasked, for their reservation is gone."""
    spec = at_work(shirt=1).given(ships(location=WAREHOUSE, shirt=1)).when(ships("p2", shirt=1))
    assert [(stock.location, stock.unasked) for stock in spec.of(StockIssued)] == [(STORE, True)]
    assert spec.of(ReservationEnded) == []
    assert exceptions(spec) == ["other_location", "shipped_too_many"]


def test_another_location_can_not_reject_or_pick_what_was_not_asked_of_it() -> None:
    spec = at_work(shirt=1).when(rejects(location=WAREHOUSE, shirt=1))
    assert names(spec) == ["FulfilmentExceptionOpened"]
    spec.when(picks(location=WAREHOUSE, shirt=1)).then()
    assert work(spec).left == 1


def test_another_item_in_place_of_the_ordered_one() -> None:
    spec = at_work(shirt=1).when(ships(sku="blouse", shirt=1))
    assert [(stock.unasked, stock.lines[0].sku) for stock in spec.of(StockIssued)] == [(True, "blouse")]
    assert [ended.lines for ended in spec.of(ReservationEnded)] == [shirts(1)]
    assert exceptions(spec) == ["unasked"]


def test_an_unknown_line_is_booked_where_its_item_is_named() -> None:
    spec = at_work(shirt=1).when(ships(hat=1))
    assert spec.of(StockIssued) == [] and exceptions(spec) == ["unknown_line"]
    spec.when(ships("p2", sku="hat-1", hat=1))
    assert [(stock.unasked, stock.lines[0].sku) for stock in spec.of(StockIssued)] == [(True, "hat-1")]


def test_an_unknown_part_is_booked_where_it_happened() -> None:
    """A fulfilment order nobody planned: stock moves, and a person hears of it once."""
    spec = at_work(shirt=1).when(ships(part_id=OTHER_PART, location=WAREHOUSE, shirt=1))
    assert [(stock.location, stock.unasked) for stock in spec.of(StockIssued)] == [(WAREHOUSE, True)]
    assert exceptions(spec) == ["unasked"]
    spec.when(ships("p2", part_id=OTHER_PART, location=WAREHOUSE, shirt=1))
    assert exceptions(spec) == ["unasked"]


def test_a_part_planned_after_it_was_shipped_keeps_no_reservation() -> None:
    spec = tracking().given(accepted(shirt=2), ships(shirt=2)).when(sourced(part(shirt=2)))
    assert names(spec) == ["FulfilmentScheduled", "ReservationEnded"]
    assert spec.of(ReservationEnded)[0].cause == "cancelled"
    assert (work(spec).left, work(spec).served, work(spec).over) == (0, 2, 0)


def test_a_report_for_an_unknown_order_waits_and_is_then_booked() -> None:
    spec = tracking().when(ships(shirt=1))
    assert spec.published == [] and spec.kept[0][0].until == START + KEEP
    spec.when(ships(sku="shirt", shirt=1), overdue=True)
    assert names(spec) == ["FulfilmentExceptionOpened", "StockIssued"]
    assert spec.of(StockIssued)[0].unasked and exceptions(spec) == ["unknown_order"]
    spec.when(ships(sku="shirt", shirt=1), overdue=True)
    assert spec.published == []


def test_a_report_again_with_other_content_is_booked_with_an_exception() -> None:
    spec = at_work(shirt=2).given(ships(shirt=1)).when(ships(shirt=2), changed=True)
    assert spec.of(StockIssued)[0].lines == shirts(1)
    assert exceptions(spec) == ["contradiction"]


def test_picks_of_unknown_lines_have_no_effect_on_stock() -> None:
    spec = at_work(shirt=1).when(
        LinesPicked(
            order_id=ORDER,
            fulfilment_order_id=PART,
            location=STORE,
            occurred_at=minutes(3),
            lines=(LineTotal(line_id="hat", total=1, sku="hat"),),
        )
    )
    assert names(spec) == ["FulfilmentExceptionOpened"]
