"""Parcels at the carrier: found by tracking number, followed in the order of what happened, handed over or returned."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from schemas.fulfilment import FactLine, IssueDated, LinesHandedOver, ParcelCameBack, ParcelMoved, StockIssued
from schemas.orders import LineQuantity, LinesCancelled
from services.fulfilment_tracking.decide import KEEP, SOON
from services.fulfilment_tracking.service import service
from services.fulfilment_tracking.state import parcel_key
from shared.kernel.model import Input, Keep
from tests.support.fulfilment_tracking import (
    ORDER,
    PART,
    STORE,
    accepted,
    at_work,
    exceptions,
    line,
    minutes,
    moves,
    names,
    packs,
    part,
    ships,
    sourced,
    status,
    tracking,
    waits_for,
)
from tests.support.spec import START, Spec


def on_the_way(shirt: int) -> Spec:
    return at_work(shirt=shirt).given(ships(shirt=shirt))


def test_a_delivered_parcel_is_handed_over() -> None:
    spec = on_the_way(shirt=2).when(moves("delivered"))
    assert names(spec) == ["ParcelMoved", "LinesHandedOver"]
    handed = spec.of(LinesHandedOver)[0]
    assert (handed.how, handed.occurred_at, handed.lines[0].quantity) == ("delivered", minutes(60), 2)
    assert status(spec).status == "completed" and waits_for(spec)[0][0] == "closing"
    spec.advance(timedelta(days=2))
    assert spec.published == []


def test_each_new_status_is_told_once() -> None:
    spec = on_the_way(shirt=1).when(moves("in_transit", at=10))
    assert [moved.status for moved in spec.of(ParcelMoved)] == ["in_transit"]
    spec.when(moves("in_transit", at=20)).then()
    spec.when(moves("out_for_delivery", at=30))
    assert [moved.status for moved in spec.of(ParcelMoved)] == ["out_for_delivery"]
    assert status(spec).parcels[0].status == "out_for_delivery"


def test_an_older_report_of_the_carrier_changes_nothing() -> None:
    spec = on_the_way(shirt=1).given(moves("delivered", at=30)).when(moves("in_transit", at=40))
    spec.then()
    assert status(spec).parcels[0].status == "delivered"


def test_delivery_counts_even_when_the_carrier_s_clock_is_slow() -> None:
    spec = on_the_way(shirt=1).given(moves("in_transit", at=40)).when(moves("delivered", at=30))
    assert len(spec.of(LinesHandedOver)) == 1


def test_silence_counts_as_delivery_after_the_deadline() -> None:
    spec = on_the_way(shirt=1)
    assert waits_for(spec) == [("delivery", START + timedelta(days=1))]
    spec.advance(timedelta(days=1))
    assert [handed.how for handed in spec.of(LinesHandedOver)] == ["presumed"]
    spec.when(moves("delivered", at=2_000))
    assert names(spec) == ["ParcelMoved"]
    assert line(spec).handed_over == 1


def test_silence_after_trouble_is_no_delivery() -> None:
    spec = on_the_way(shirt=1).given(moves("exception")).advance(timedelta(days=1))
    assert "LinesHandedOver" not in names(spec) and exceptions(spec) == ["late"]
    assert waits_for(spec) == [("delivery", None)]


def test_a_parcel_that_comes_back_was_not_handed_over() -> None:
    spec = on_the_way(shirt=1).when(moves("returned"))
    assert names(spec) == ["ParcelMoved", "ParcelCameBack", "FulfilmentExceptionOpened"]
    assert spec.of(ParcelCameBack)[0].lines[0].quantity == 1
    assert waits_for(spec) == [("parcel_returned", None)]
    assert (line(spec).handed_over, status(spec).status) == (0, "shipped")
    lines = (LineQuantity(line_id="shirt", quantity=1),)
    spec.given(LinesCancelled(order_id=ORDER, request_id=None, lines=lines, reason="parcel_returned"))
    assert (line(spec).status, status(spec).status) == ("cancelled", "cancelled")


def test_a_parcel_that_comes_back_after_it_counted_as_delivered() -> None:
    spec = on_the_way(shirt=1)
    spec.advance(timedelta(days=1))
    spec.when(moves("returned", at=2_000))
    assert names(spec) == ["ParcelMoved", "FulfilmentExceptionOpened"]


def test_a_parcel_nobody_has_named_waits_for_its_location() -> None:
    spec = at_work(shirt=1).when(moves("delivered"))
    assert spec.published == [] and spec.kept[0][0].until == START + KEEP
    spec.when(ships(shirt=1))
    assert names(spec) == ["ParcelWasShipped", "StockIssued", "ParcelMoved", "LinesHandedOver"]


def test_a_parcel_named_in_this_very_moment_is_looked_up_again() -> None:
    """The report was read before its parcel was known, so the order's row isn't locked."""
    spec = on_the_way(shirt=1)
    key = parcel_key("post:T-p1")
    spec.world.need = service.keys(moves("delivered"), {})
    given = Input(moves("delivered"), spec.now, UUID(int=0))
    assert list(service.decide(spec.world, given, spec.view)) == [Keep(key, spec.now + SOON)]


def test_a_parcel_nobody_named_in_time_is_remembered_for_its_location() -> None:
    """There is no order to open an exception on: the furthest sighting stays with the tracking number."""
    spec = at_work(shirt=1).given(moves("in_transit", at=20))
    spec.when(moves("in_transit", at=20), overdue=True)
    spec.when(moves("delivered", at=60), overdue=True)
    spec.when(moves("out_for_delivery", at=50), overdue=True)
    assert spec.published == []
    spec.when(ships(shirt=1))
    assert names(spec) == ["ParcelWasShipped", "StockIssued", "ParcelMoved", "LinesHandedOver"]
    assert line(spec).handed_over == 1


def test_the_carrier_has_what_the_location_only_packed() -> None:
    """It has left: the location's late report only says when, since a count may have been taken in between."""
    spec = at_work(shirt=1).given(packs(tracking_number="T-p1", shirt=1)).when(moves("delivered", at=60))
    assert names(spec) == ["ParcelMoved", "ParcelWasShipped", "StockIssued", "LinesHandedOver"]
    spec.when(ships(shirt=1, at=5))
    spec.then(
        IssueDated(
            part_id=PART,
            order_id=ORDER,
            location=STORE,
            lines=(FactLine(line_id="shirt", sku="shirt", quantity=1),),
            booked_at=minutes(60),
            occurred_at=minutes(5),
        )
    )
    assert status(spec).parcels[0].shipped_at == minutes(5)


def test_a_location_that_dates_a_departure_after_its_carrier_had_the_parcel_changes_nothing() -> None:
    spec = at_work(shirt=1).given(packs(tracking_number="T-p1", shirt=1), moves("delivered", at=60))
    spec.when(ships(shirt=1, at=61)).then()
    assert status(spec).parcels[0].shipped_at == minutes(60)


def test_what_a_location_adds_to_a_parcel_its_carrier_had_first_leaves_at_the_same_time() -> None:
    spec = at_work(shirt=2).given(packs(tracking_number="T-p1", shirt=1), moves("in_transit", at=60))
    spec.when(ships(shirt=2, at=5))
    assert names(spec) == ["IssueDated", "ParcelWasShipped", "StockIssued"]
    assert [(dated.lines[0].quantity, dated.occurred_at) for dated in spec.of(StockIssued)] == [(1, minutes(5))]


def test_a_tracking_number_used_twice_belongs_to_its_first_parcel() -> None:
    spec = tracking().given(accepted(shirt=2), sourced(part(shirt=2)), packs("p1", tracking_number="T-p2", shirt=1))
    spec.when(ships("p2", shirt=1))
    assert exceptions(spec) == ["contradiction"]


def test_contents_that_become_known_after_the_delivery_are_handed_over_too() -> None:
    spec = at_work(shirt=2).given(ships(shirt=1), moves("delivered")).when(ships(shirt=2))
    assert [handed.lines[0].quantity for handed in spec.of(LinesHandedOver)] == [1]
    assert line(spec).handed_over == 2


def test_a_tracking_number_leads_to_its_parcel() -> None:
    label = on_the_way(shirt=1).state("parcel", "post:T-p1")
    assert (label.part_id, label.parcel_id) == (PART, "p1")
