"""Fulfilment tracking decides what each fact adds to an order's fulfilment, and what its locations are told.

Reads    sourcing decisions, order events, reports of locations and carriers, return events
Writes   instructions, fulfilment events, effects on stock; the rows its status documents are rendered from
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import assert_never

from schemas.forms import ChangeRequested, Form, OrderAccepted, OrderChanged, OrderSourced
from schemas.fulfilment import (
    AmendmentAnswered,
    CancelAnswered,
    FulfilmentExceptionOpened,
    IssueDated,
    LinesCollected,
    LinesPicked,
    NotCollected,
    ParcelPacked,
    ParcelShipped,
    ParcelTracked,
    ReadyForCollection,
    ReceivedAtDestination,
    StockIssued,
    WorkAccepted,
    WorkRejected,
)
from schemas.orders import (
    HoldResolved,
    LinesCancelled,
    MoneyExceptionOpened,
    OrderClosed,
    OrderHeld,
    OrderRejected,
)
from schemas.returns import (
    CreditDue,
    ReturnAuthorised,
    ReturnCancelled,
    ReturnExceptionOpened,
    ReturnExpired,
    ReturnInspected,
    ReturnReceived,
)
from schemas.sourcing import (
    CancellationPassedOn,
    ChangePassedOn,
    LinesBackordered,
    LinesUnfillable,
    PartShorted,
    SourcingExceptionOpened,
)
from schemas.types import Data, OpenData, order_of_part
from services.fulfilment_tracking import cancels, changes, collecting, orders, parcels, parts, reports, sightings
from services.fulfilment_tracking.case import Case, open_exception
from services.fulfilment_tracking.events import LabelUnclaimed
from services.fulfilment_tracking.reports import Report
from services.fulfilment_tracking.state import Label, Order, Sighting, order_key, parcel_key
from shared.kernel.model import Found, Input, Keep, Key, Need, Wake, Woken, World, Yield
from shared.kernel.views import Documents

KEEP = timedelta(minutes=10)
"""How long a message waits for the order or parcel it is about."""
SOON = timedelta(seconds=1)
"""How long a carrier's report waits where its parcel became known in this very moment."""

OrderFact = (
    OrderAccepted
    | OrderRejected
    | OrderHeld
    | HoldResolved
    | ChangeRequested
    | OrderChanged
    | LinesCancelled
    | OrderClosed
    | MoneyExceptionOpened
)
Decision = OrderSourced | LinesBackordered | LinesUnfillable | PartShorted | CancellationPassedOn | ChangePassedOn | SourcingExceptionOpened
ReturnFact = ReturnAuthorised | ReturnCancelled | ReturnExpired | ReturnReceived | ReturnInspected | CreditDue | ReturnExceptionOpened
Body = OrderFact | Decision | Report | ParcelTracked | ReturnFact | Woken

ORDER_FACTS = (
    OrderAccepted,
    OrderRejected,
    OrderHeld,
    HoldResolved,
    ChangeRequested,
    OrderChanged,
    LinesCancelled,
    OrderClosed,
    MoneyExceptionOpened,
)
DECISIONS = (
    OrderSourced,
    LinesBackordered,
    LinesUnfillable,
    PartShorted,
    CancellationPassedOn,
    ChangePassedOn,
    SourcingExceptionOpened,
)
REPORTS = (
    WorkAccepted,
    WorkRejected,
    LinesPicked,
    ParcelPacked,
    ParcelShipped,
    ReadyForCollection,
    LinesCollected,
    NotCollected,
    CancelAnswered,
    AmendmentAnswered,
    ReceivedAtDestination,
)
RETURN_FACTS = (
    ReturnAuthorised,
    ReturnCancelled,
    ReturnExpired,
    ReturnReceived,
    ReturnInspected,
    CreditDue,
    ReturnExceptionOpened,
)


# ---- which rows an input needs ----


def find(body: Body) -> tuple[Key, ...]:
    """Carriers know parcels by tracking number only."""
    return (parcel_key(body.carrier_tracking),) if isinstance(body, ParcelTracked) else ()


def keys(body: Body, found: Found) -> Need:
    match body:
        case Woken():
            return Need((body.key,))
        case ParcelTracked():
            label = found.get(parcel_key(body.carrier_tracking))
            owner = (order_key(order_of_part(label.part_id)),) if isinstance(label, Label) and label.part_id else ()
            return Need((parcel_key(body.carrier_tracking), *owner))
        case ParcelPacked() | ParcelShipped() if body.carrier and body.tracking_number:
            return Need((order_key(body.order_id), parcel_key(f"{body.carrier}:{body.tracking_number}")))
        case _:
            return Need((order_key(body.order_id),))


# ---- deciding ----


def decide(world: World, given: Input[Body], view: Documents) -> Iterator[Yield]:
    body = given.body
    if isinstance(body, ParcelTracked):
        yield from _carrier(world, given, body, view)
        return
    case = Case(world, _order_id(body), given.now, view)
    match body:
        case Woken():
            yield from _woken(case, body)
        case _ if isinstance(body, ORDER_FACTS):
            yield from _order_fact(case, body)
        case _ if _waits(case.order, body) and not given.overdue:
            yield Keep(case.key, given.now + KEEP)
        case _ if isinstance(body, DECISIONS):
            yield from _decision(case, body)
        case _ if isinstance(body, REPORTS):
            yield from _report(case, body, changed=given.changed)
        case _ if isinstance(body, RETURN_FACTS):
            yield from _return_fact(case, body)
        case _:
            assert_never(body)


def _order_id(body: OrderFact | Decision | Report | ReturnFact | Woken) -> str:
    return body.key.id if isinstance(body, Woken) else body.order_id


def _waits(order: Order, body: Decision | Report | ReturnFact) -> bool:
    """Topics have no order among each other: what an input builds on may still be on its way."""
    if isinstance(body, ChangePassedOn):
        return body.request_id not in order.changes
    if isinstance(body, LinesUnfillable | OrderSourced) and order.content is not None and body.revision is not None:
        return body.revision > order.content.revision
    return not order.known


def _order_fact(case: Case, fact: OrderFact) -> Iterator[Yield]:
    match fact:
        case OrderAccepted():
            yield from orders.accepted(case, fact)
        case OrderRejected():
            yield from orders.rejected(case, fact)
        case OrderHeld():
            yield from orders.held(case, fact)
        case HoldResolved():
            yield from orders.hold_resolved(case, fact)
        case ChangeRequested():
            yield from changes.requested(case, fact)
        case OrderChanged():
            yield from orders.changed(case, fact)
        case LinesCancelled():
            yield from orders.cancelled(case, fact)
        case OrderClosed():
            yield from orders.closed(case, fact)
            yield from cancels.withdraw(case)
        case MoneyExceptionOpened():
            yield from orders.troubled(case, fact)
        case _:
            assert_never(fact)


def _decision(case: Case, decision: Decision) -> Iterator[Yield]:
    if not case.order.known:
        yield from _unknown_order(case, type(decision).__name__)
    match decision:
        case OrderSourced():
            yield from parts.sourced(case, decision)
            if case.order.outcome is not None:
                yield from cancels.withdraw(case)
        case LinesBackordered():
            yield from orders.backordered(case, decision)
        case LinesUnfillable():
            yield from orders.unfillable(case, decision)
        case PartShorted():
            yield from parts.shorted(case, decision)
        case CancellationPassedOn():
            yield from cancels.passed_on(case, decision)
        case ChangePassedOn():
            yield from changes.passed_on(case, decision)
        case SourcingExceptionOpened():
            yield from orders.troubled(case, decision)
        case _:
            assert_never(decision)


def _return_fact(case: Case, fact: ReturnFact) -> Iterator[Yield]:
    match fact:
        case ReturnAuthorised():
            yield from orders.return_authorised(case, fact)
        case ReturnCancelled():
            yield from orders.return_cancelled(case, fact)
        case ReturnExpired():
            yield from orders.return_expired(case, fact)
        case ReturnReceived():
            yield from orders.return_received(case, fact)
        case ReturnInspected():
            yield from orders.return_inspected(case, fact)
        case CreditDue():
            yield from orders.credit_due(case, fact)
        case ReturnExceptionOpened():
            yield from orders.troubled(case, fact)
        case _:
            assert_never(fact)


def _unknown_order(case: Case, what: str) -> Iterator[Yield]:
    yield from open_exception(
        case,
        "unknown_order",
        case.order_id,
        f"{what} arrived for {case.order_id}, which order_capture has not accepted.",
        "Find out where the order got lost; nothing of it is instructed.",
    )


# ---- reports ----


def _report(case: Case, report: Report, *, changed: bool) -> Iterator[Yield]:
    if case.order.known:
        yield from reports.hear(case, report)
    else:
        yield from _stock_only(case, report)
    if changed:
        yield from open_exception(
            case,
            "contradiction",
            f"{report.fulfilment_order_id}:{type(report).__name__}:again",
            f"{report.location} sent the same {type(report).__name__} again with other content.",
            "Compare the order's status with the location's own books.",
        )


def _stock_only(case: Case, report: Report) -> Iterator[Yield]:
    """Nobody placed this order: what left is booked and a person is told; there is nothing else to tell or to wait for."""
    for out in reports.hear(case, report):
        is_message = isinstance(out, Data | OpenData | Form)
        if isinstance(out, StockIssued | IssueDated | FulfilmentExceptionOpened) or not (is_message or isinstance(out, Wake)):
            yield out


def _carrier(world: World, given: Input[Body], report: ParcelTracked, view: Documents) -> Iterator[Yield]:
    key = parcel_key(report.carrier_tracking)
    label = world.get(key, Label(report.carrier_tracking))
    sighting = Sighting(report.status, report.raw_code, report.occurred_at)
    if label.part_id:
        yield from _sighted(world, given, label, sighting, view)
    elif not given.overdue:
        yield Keep(key, given.now + KEEP)
    elif sightings.further(label.unclaimed, sighting):
        yield LabelUnclaimed(report.carrier_tracking, report.status, report.raw_code, report.occurred_at)


def _sighted(world: World, given: Input[Body], label: Label, sighting: Sighting, view: Documents) -> Iterator[Yield]:
    """Where the parcel was named after this report looked it up, the order's row isn't locked: once more, in a moment."""
    case = Case(world, order_of_part(label.part_id), given.now, view)
    if _is_locked(world, case.key):
        yield from parcels.sighted(case, label.part_id, label.parcel_id, sighting)
    else:
        yield Keep(parcel_key(label.carrier_tracking), given.now + SOON)


def _is_locked(world: World, key: Key) -> bool:
    try:
        world.get(key, Order(key.id))
    except KeyError:
        return False
    return True


# ---- timers ----


def _woken(case: Case, timer: Woken) -> Iterator[Yield]:
    """A timer that comes too late for what it was set for does nothing."""
    name, _, about = timer.name.partition(":")
    match name:
        case "release" | "late" | "collect":
            yield from _woken_part(case, name, about)
        case "presume":
            number, _, parcel_id = about.partition(":")
            yield from parcels.presume(case, f"{case.order_id}/{number}", parcel_id)
        case "cancel":
            yield from cancels.silence(case, about)
        case "change":
            yield from changes.silence(case, about)
        case _:
            raise AssertionError(f"no timer is called {timer.name}")


def _woken_part(case: Case, name: str, number: str) -> Iterator[Yield]:
    part = case.part_numbered(number)
    if part is None:
        return
    if name == "release":
        yield from parts.release(case, part)
    elif name == "late":
        yield from parts.watch(case, part)
    else:
        yield from collecting.deadline(case, part)
