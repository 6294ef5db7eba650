"""The status document: every quantity of every line, and what an order that has not ended waits for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import Struct
from msgspec.structs import fields
from pydantic import BaseModel

from schemas import status as contract
from schemas.channel import Problem
from schemas.orders import (
    HoldResolved,
    LineQuantity,
    LinesCancelled,
    MoneyExceptionOpened,
    OrderRejected,
)
from schemas.returns import (
    CreditDue,
    Disposition,
    InspectedLine,
    ReturnAuthorised,
    ReturnCancelled,
    ReturnExpired,
    ReturnInspected,
    ReturnReceived,
)
from schemas.sourcing import LinesBackordered, SourcingExceptionOpened
from schemas.status import OrderStatus
from services.fulfilment_tracking import document
from services.fulfilment_tracking.state import Order
from services.fulfilment_tracking.status import render
from services.fulfilment_tracking.timeline import LENGTH
from tests.support.fulfilment_tracking import (
    ORDER,
    WAREHOUSE,
    accepted,
    at_work,
    closed,
    held,
    line,
    minutes,
    moves,
    order,
    part,
    picks,
    planned,
    rejects,
    ships,
    snapshot,
    sourced,
    status,
    takes_on,
    tracking,
    unfillable,
    waits_for,
)
from tests.support.spec import START, Spec

PATIENCE = START + timedelta(seconds=1_000)


@pytest.mark.parametrize(
    "written",
    [
        document.OrderStatus,
        document.LineStatus,
        document.FulfilmentStatus,
        document.ParcelStatus,
        document.OpenException,
        document.TimelineEntry,
        document.Waiting,
    ],
)
def test_what_is_written_has_the_fields_of_the_contract_in_its_order(written: type[Struct]) -> None:
    """Those that may be missing are optional in both."""
    model: type[BaseModel] = getattr(contract, written.__name__)
    assert [field.name for field in fields(written)] == list(model.model_fields)
    optional = [name for name, field in model.model_fields.items() if not field.is_required() and field.default is None]
    assert [field.name for field in fields(written) if not field.required] == optional


def some(**units: int) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=name, quantity=n) for name, n in units.items())


def backordered(**units: int) -> LinesBackordered:
    return LinesBackordered(order_id=ORDER, lines=planned(**units), reason="no_stock", deadline=minutes(500))


def test_an_order_held_before_acceptance() -> None:
    spec = tracking().given(held(before_acceptance=True))
    assert status(spec).status == "held"
    assert waits_for(spec) == [("hold", minutes(1_000))]
    spec.given(HoldResolved(order_id=ORDER, hold_id="h1", resolution="release"))
    assert waits_for(spec) == [("acceptance", START + timedelta(days=1))]


def test_a_rejected_order_has_ended_and_says_why() -> None:
    problem = Problem(code="unknown_channel", message="Nobody knows channel web.")
    spec = tracking().given(OrderRejected(order_id=ORDER, channel="web", problems=(problem,)))
    assert (status(spec).status, status(spec).waiting) == ("rejected", ())
    assert "Nobody knows channel web." in [entry.detail for entry in status(spec).timeline]


def test_an_order_nobody_placed_has_no_status() -> None:
    spec = tracking()
    spec.when(ships(sku="shirt", shirt=1), overdue=True)
    assert render(ORDER, 1, order(spec)) is None
    assert render(ORDER, 0, Order(ORDER)) is None


def test_the_whole_life_of_an_order() -> None:
    """Each stage has its status, on the line, the fulfilment order and the order."""
    spec = tracking().given(accepted(shirt=2))
    told = [_statuses(spec)]
    for step in (
        sourced(part(release_at=START, shirt=2)),
        takes_on(),
        picks(shirt=2),
        ships(shirt=2),
        moves("delivered"),
        closed("completed"),
    ):
        spec.given(step)
        told.append(_statuses(spec))
    assert told == [
        ("accepted", "open", ""),
        ("in_fulfilment", "released", "requested"),
        ("in_fulfilment", "released", "accepted"),
        ("in_fulfilment", "picked", "in_progress"),
        ("shipped", "shipped", "closed"),
        ("completed", "handed_over", "closed"),
        ("completed", "handed_over", "closed"),
    ]
    assert status(spec).waiting == ()


def _statuses(spec: Spec) -> tuple[str, str, str]:
    document = status(spec)
    return document.status, document.lines[0].status, "".join(part.status for part in document.fulfilment_orders)


def test_scenario_12_the_same_report_twice_or_in_the_wrong_order_has_no_effect() -> None:
    spec = at_work(shirt=2).given(takes_on(), picks(shirt=2), ships(shirt=2), moves("delivered"))
    before = status(spec)
    for again in (moves("in_transit", at=30), ships(shirt=2), picks(shirt=1), takes_on(), ships(shirt=1), moves("delivered")):
        spec.when(again)
        assert spec.published == []
    assert status(spec) == before.model_copy(update={"parcels": status(spec).parcels})


def test_backordered_units_are_those_nobody_else_accounts_for() -> None:
    spec = tracking().given(accepted(shirt=3), backordered(shirt=1), sourced(part(shirt=2)))
    assert (line(spec).backordered, line(spec).released) == (1, 2)
    assert ("stock", minutes(500)) in waits_for(spec)
    spec.given(sourced(part(2, WAREHOUSE, shirt=1), cause="backorder"))
    assert (line(spec).backordered, line(spec).released) == (0, 3)


def test_a_wholly_backordered_order() -> None:
    spec = tracking().given(accepted(shirt=3), backordered(shirt=3))
    assert (status(spec).status, line(spec).status) == ("backordered", "backordered")
    spec.given(LinesCancelled(order_id=ORDER, request_id="c1", lines=some(shirt=1)))
    assert (line(spec).backordered, line(spec).cancelled) == (2, 1)
    spec.given(unfillable(shirt=2))
    assert (line(spec).backordered, line(spec).unfillable) == (0, 2)
    assert status(spec).status == "cancelled"


def test_part_of_an_order_is_unfillable() -> None:
    spec = at_work(shirt=1, mug=1).given(unfillable(mug=1))
    spec.given(ships(shirt=1), moves("delivered"))
    assert (status(spec).status, line(spec, "mug").status) == ("partly_completed", "unfillable")


def test_quantities_of_returns() -> None:
    """Requested and received are both kept; cancelled and expired requests are not."""
    spec = at_work(shirt=3).given(ships(shirt=3), moves("delivered"))
    for return_id, n in (("r1", 1), ("r2", 1), ("r3", 1)):
        spec.given(ReturnAuthorised(order_id=ORDER, request_id=return_id, return_id=return_id, lines=some(shirt=n), expires_at=minutes(99)))
    assert line(spec).return_requested == 3
    spec.given(ReturnCancelled(order_id=ORDER, request_id="x", return_id="r2"))
    spec.given(ReturnExpired(order_id=ORDER, return_id="r3", lines=some(shirt=1)))
    spec.given(ReturnReceived(order_id=ORDER, return_id="r1", receipt_id="i1", location=WAREHOUSE, lines=some(shirt=1)))
    spec.given(CreditDue(order_id=ORDER, credit_id="k1", return_id="r1", lines=some(shirt=1)))
    told = line(spec)
    assert (told.return_requested, told.received_back, told.credited, told.handed_over) == (1, 1, 1, 3)


def test_returned_units_that_are_never_sold_again_are_written_off() -> None:
    """Resold and refurbished ones are not; received and credited they all are."""
    spec = at_work(shirt=5).given(ships(shirt=5), moves("delivered"))
    spec.given(ReturnReceived(order_id=ORDER, receipt_id="i1", location=WAREHOUSE, lines=some(shirt=5)))
    dispositions: tuple[Disposition, ...] = ("resell", "refurbish", "donate", "destroy", "back_to_supplier")
    fates = tuple(InspectedLine(line_id="shirt", sku="shirt", disposition=fate, quantity=1) for fate in dispositions)
    spec.given(ReturnInspected(order_id=ORDER, receipt_id="i1", location=WAREHOUSE, lines=fates))
    told = line(spec)
    assert (told.received_back, told.written_off, told.status) == (5, 3, "returned")


def test_exceptions_of_other_services_stand_on_the_order() -> None:
    money = MoneyExceptionOpened(order_id=ORDER, exception_id="m1", kind="capture_refused", detail="No.", action="Call.")
    plan = SourcingExceptionOpened(order_id=ORDER, exception_id="s1", kind="no_reference_data", detail="No.", action="Call.")
    spec = at_work(shirt=1).given(money, plan, plan)
    assert [entry.exception_id for entry in status(spec).exceptions] == ["m1", "s1"]


def test_the_promise_is_the_latest_of_the_parts_that_stand() -> None:
    later = part(2, WAREHOUSE, mug=1).model_copy(
        update={"promise": part(shirt=1).promise.model_copy(update={"latest": START + timedelta(days=9)})}
    )
    spec = tracking().given(accepted(shirt=1, mug=1), sourced(part(shirt=1), later))
    promise = status(spec).promise
    assert promise is not None and promise.latest == START + timedelta(days=9)


def test_scenario_15_an_order_waits_for_a_reason_until_a_date() -> None:
    """From acceptance to the end, at each step; or, where a person must act, without a date."""
    spec = tracking().given(accepted(shirt=2))
    assert waits_for(spec) == [("sourcing", PATIENCE)]
    spec.given(sourced(part(release_at=minutes(30), shirt=2)))
    assert waits_for(spec) == [("release", minutes(30))]
    spec.advance(timedelta(minutes=30))
    assert waits_for(spec) == [("location", minutes(90))]
    spec.given(takes_on(), rejects(shirt=1))
    assert [reason for reason, _ in waits_for(spec)] == ["sourcing", "location"]
    spec.given(unfillable(shirt=1), ships(shirt=1))
    assert waits_for(spec) == [("delivery", START + timedelta(days=1, minutes=30))]
    spec.given(moves("delivered"))
    assert waits_for(spec) == [("closing", START + timedelta(days=1, minutes=30))]
    spec.given(closed("partly_completed"))
    assert waits_for(spec) == []


def test_lines_delivered_together_wait_for_sourcing_as_long_as_the_backordered_ones_wait_for_stock() -> None:
    """Sourcing keeps what it has reserved until the others are there, or their deadline has come."""
    spec = tracking().given(accepted(shirt=1, mug=1), backordered(mug=1))
    assert waits_for(spec) == [("stock", minutes(500)), ("sourcing", minutes(500))]
    spec.given(sourced(part(shirt=1)))
    assert [reason for reason, _ in waits_for(spec)] == ["stock", "location"]


def test_services_are_given_by_capture_when_it_closes_the_order() -> None:
    """They are no work for a location, and nobody waits for it."""
    order = snapshot(shirt=1, wrapping=1)
    wrapping = order.lines[1].model_copy(update={"kind": "service"})
    placed = accepted(shirt=1).model_copy(update={"order": order.model_copy(update={"lines": (order.lines[0], wrapping)})})
    spec = tracking().given(placed, sourced(part(shirt=1)), ships(shirt=1), moves("delivered"))
    assert (status(spec).status, line(spec, "wrapping").handed_over) == ("completed", 0)
    assert waits_for(spec)[0][0] == "closing"
    spec.given(closed("completed"))
    assert line(spec, "wrapping").handed_over == 1


def test_the_timeline_tells_the_story_oldest_first_and_is_bounded() -> None:
    spec = at_work(shirt=500).given(takes_on(at=1))
    document = status(spec)
    assert isinstance(document, OrderStatus)
    assert [entry.what for entry in document.timeline] == ["order_opened", "part_scheduled", "part_instructed", "part_accepted"]
    for n in range(LENGTH + 10):
        spec.given(picks(shirt=n + 1, at=n + 2))
    assert len(status(spec).timeline) == LENGTH
    assert status(spec).timeline[-1].at == minutes(LENGTH + 11)
