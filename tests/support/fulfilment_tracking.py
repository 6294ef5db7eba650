"""Messages and questions for the tests of fulfilment tracking: one order, two locations, short sentences."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal

from schemas.fulfilment import (
    AmendmentAnswered,
    CancelAnswered,
    LinesCollected,
    LinesPicked,
    LineTotal,
    NotCollected,
    ParcelPacked,
    ParcelShipped,
    ParcelTracked,
    ReadyForCollection,
    RejectedLine,
    RejectionReason,
    WorkAccepted,
    WorkRejected,
)
from schemas.orders import (
    ChangeRequested,
    Contact,
    HoldResolved,
    LineQuantity,
    OrderAccepted,
    OrderClosed,
    OrderHeld,
    OrderLine,
    OrderSnapshot,
)
from schemas.reference import Method, Policy
from schemas.sourcing import (
    CancellationPassedOn,
    ChangePassedOn,
    LinesUnfillable,
    OrderSourced,
    Part,
    PartLine,
    PartShorted,
    PassedLine,
    Promise,
)
from schemas.status import LineStatus, OrderStatus, TrackingStatus
from schemas.topics import Body
from services.fulfilment_tracking.service import service
from services.fulfilment_tracking.state import Order, Work
from services.fulfilment_tracking.status import render
from shared.kernel.codec import value_of
from tests.support.spec import START, Spec

ORDER = "web:100"
STORE, WAREHOUSE = "paris", "lyon"
PART, OTHER_PART = f"{ORDER}/1", f"{ORDER}/2"
POLICY = Policy(
    policy="default",
    cancel_answer_s=600,
    accept_deadline_s=3_600,
    collect_deadline_s=7_200,
    presume_delivered_s=86_400,
    backorder_deadline_s=1_000,
)
SHIP_BY = START + timedelta(hours=8)
PROMISE = Promise(kind="delivery", day=date(2026, 3, 4), zone="Europe/Paris", latest=START + timedelta(days=2))


def tracking() -> Spec:
    return Spec(service).documents(POLICY)


def minutes(count: float) -> datetime:
    """An instant so many minutes after the tests begin."""
    return START + timedelta(minutes=count)


def snapshot(revision: int = 1, *, city: str = "Paris", method: Method = "home", **units: int) -> OrderSnapshot:
    return OrderSnapshot(
        revision=revision,
        channel="web",
        kind="consumer",
        policy="default",
        placed_at=START,
        currency="EUR",
        lines=tuple(
            OrderLine(line_id=line, sku=line, description=f"A {line}", quantity=n, net_minor=1_000 * n) for line, n in units.items()
        ),
        total_minor=sum(1_000 * n for n in units.values()),
        payment_terms="prepaid",
        method=method,
        ship_to=Contact(name="Ada", city=city),
    )


def accepted(method: Method = "home", held: tuple[str, ...] = (), **units: int) -> OrderAccepted:
    return OrderAccepted(order_id=ORDER, order=snapshot(1, city="Paris", method=method, **units), held=held)


def part(number: int = 1, location: str = STORE, method: Method = "home", release_at: datetime = START, **units: int) -> Part:
    return Part(
        part_id=f"{ORDER}/{number}",
        location=location,
        method=method,
        lines=tuple(PartLine(line_id=line, sku=line, quantity=n) for line, n in units.items()),
        release_at=release_at,
        ship_by=SHIP_BY,
        carrier="post",
        promise=PROMISE,
    )


def sourced(*parts: Part, cause: Literal["new", "resourced", "backorder", "change"] = "new", revision: int | None = None) -> OrderSourced:
    return OrderSourced(
        order_id=ORDER,
        decision=1,
        cause=cause,
        parts=parts,
        split=len(parts) > 1,
        promise=PROMISE,
        explanation=(),
        revision=revision,
    )


def at_work(method: Method = "home", **units: int) -> Spec:
    """An order whose only part its store has been instructed to do."""
    return tracking().given(accepted(method, (), **units), sourced(part(1, STORE, method, START, **units)))


# ---- the location speaks ----


def totals(units: dict[str, int], sku: str | None = None) -> tuple[LineTotal, ...]:
    return tuple(LineTotal(line_id=line, total=n, sku=sku) for line, n in units.items())


def takes_on(part_id: str = PART, location: str = STORE, at: float = 1) -> WorkAccepted:
    return WorkAccepted(order_id=ORDER, fulfilment_order_id=part_id, location=location, occurred_at=minutes(at))


def rejects(reason: RejectionReason = "not_found", at: float = 2, location: str = STORE, **units: int) -> WorkRejected:
    lines = tuple(RejectedLine(line_id=line, total=n, reason=reason) for line, n in units.items())
    return WorkRejected(order_id=ORDER, fulfilment_order_id=PART, location=location, occurred_at=minutes(at), lines=lines)


def picks(*, final: bool = False, at: float = 3, location: str = STORE, **units: int) -> LinesPicked:
    return LinesPicked(
        order_id=ORDER, fulfilment_order_id=PART, location=location, occurred_at=minutes(at), lines=totals(units), final=final
    )


def packs(parcel_id: str = "p1", at: float = 4, tracking_number: str | None = None, **units: int) -> ParcelPacked:
    return ParcelPacked(
        order_id=ORDER,
        fulfilment_order_id=PART,
        location=STORE,
        occurred_at=minutes(at),
        parcel_id=parcel_id,
        lines=totals(units),
        carrier="post" if tracking_number else None,
        tracking_number=tracking_number,
    )


def ships(
    parcel_id: str = "p1",
    at: float = 5,
    location: str = STORE,
    part_id: str = PART,
    order_id: str = ORDER,
    sku: str | None = None,
    **units: int,
) -> ParcelShipped:
    return ParcelShipped(
        order_id=order_id,
        fulfilment_order_id=part_id,
        location=location,
        occurred_at=minutes(at),
        parcel_id=parcel_id,
        lines=totals(units, sku),
        carrier="post",
        tracking_number=f"T-{parcel_id}",
    )


def ready(at: float = 4, **units: int) -> ReadyForCollection:
    return ReadyForCollection(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=minutes(at), lines=totals(units))


def collected(at: float = 6, location: str = STORE, **units: int) -> LinesCollected:
    return LinesCollected(order_id=ORDER, fulfilment_order_id=PART, location=location, occurred_at=minutes(at), lines=totals(units))


def nobody_came(at: float = 90) -> NotCollected:
    return NotCollected(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=minutes(at))


def gives_up(request_id: str = "c1", at: float = 3, **units: int) -> CancelAnswered:
    return CancelAnswered(
        order_id=ORDER,
        fulfilment_order_id=PART,
        location=STORE,
        occurred_at=minutes(at),
        request_id=request_id,
        accepted=totals(units),
    )


def amends(revision: int, *, accepted: bool, part_id: str = PART, location: str = STORE) -> AmendmentAnswered:
    return AmendmentAnswered(
        order_id=ORDER,
        fulfilment_order_id=part_id,
        location=location,
        occurred_at=minutes(3),
        revision=revision,
        accepted=accepted,
    )


def moves(status: TrackingStatus, at: float = 60, parcel_id: str = "p1") -> ParcelTracked:
    return ParcelTracked(carrier="post", tracking_number=f"T-{parcel_id}", status=status, occurred_at=minutes(at))


# ---- neighbours speak ----


def cancel(request_id: str = "c1", part_id: str = PART, standing: int | None = None, **units: int) -> CancellationPassedOn:
    lines = tuple(PassedLine(part_id=part_id, line_id=line, quantity=n, standing=standing) for line, n in units.items())
    return CancellationPassedOn(order_id=ORDER, request_id=request_id, cancelled=(), passed_on=lines)


def shorted(part_id: str = PART, *, ended: bool = False, **units: int) -> PartShorted:
    lines = tuple(PartLine(line_id=line, sku=line, quantity=n) for line, n in units.items())
    return PartShorted(order_id=ORDER, part_id=part_id, location=STORE, lines=lines, ended=ended)


def change(order: OrderSnapshot, *, demand: bool, request_id: str = "ch1") -> ChangeRequested:
    return ChangeRequested(order_id=ORDER, request_id=request_id, order=order, demand_changed=demand)


def change_passed_on(*, demand: bool, request_id: str = "ch1", accepted: bool = False, passed_on: bool = True) -> ChangePassedOn:
    return ChangePassedOn(
        order_id=ORDER, request_id=request_id, accepted=accepted, passed_on=passed_on, demand_changed=demand, parts=(PART,)
    )


def planned(**units: int) -> tuple[PartLine, ...]:
    return tuple(PartLine(line_id=name, sku=name, quantity=n) for name, n in units.items())


def unfillable(revision: int = 1, **units: int) -> LinesUnfillable:
    return LinesUnfillable(order_id=ORDER, lines=planned(**units), reason="no_stock", revision=revision)


def closed(outcome: str) -> OrderClosed:
    return OrderClosed.model_validate({"order_id": ORDER, "outcome": outcome})


def held(hold_id: str = "h1", *, before_acceptance: bool = False) -> OrderHeld:
    return OrderHeld(order_id=ORDER, hold_id=hold_id, type="fraud", before_acceptance=before_acceptance, deadline=minutes(1_000))


def resolved(hold_id: str = "h1", open_holds: tuple[str, ...] = ()) -> HoldResolved:
    return HoldResolved(order_id=ORDER, hold_id=hold_id, resolution="release", open_holds=open_holds)


# ---- what is known ----


def names(spec: Spec) -> list[str]:
    return [type(message).__name__ for message in spec.published]


def published(spec: Spec, kind: type[Body]) -> Body:
    (found,) = spec.of(kind)
    assert isinstance(found, kind)
    return found


def units(lines: tuple[LineQuantity, ...]) -> dict[str, int]:
    return {line.line_id: line.quantity for line in lines}


def order(spec: Spec) -> Order:
    state = spec.state("order", ORDER)
    assert isinstance(state, Order)
    return state


def work(spec: Spec, line: str = "shirt", part_id: str = PART) -> Work:
    return order(spec).parts[part_id].lines[line]


def status(spec: Spec) -> OrderStatus:
    """As its readers get it: written as the contract's own model would write it."""
    document = render(ORDER, 1, order(spec))
    assert document is not None
    written = value_of(document)
    shown = OrderStatus.model_validate_json(written)
    assert value_of(shown) == written
    return shown


def line(spec: Spec, line_id: str = "shirt") -> LineStatus:
    return next(line for line in status(spec).lines if line.line_id == line_id)


def waits_for(spec: Spec) -> list[tuple[str, datetime | None]]:
    return [(waiting.reason, waiting.until) for waiting in status(spec).waiting]


def exceptions(spec: Spec) -> list[str]:
    return [trouble.kind for trouble in order(spec).troubles]
