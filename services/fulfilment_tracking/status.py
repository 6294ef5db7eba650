"""The unified status document of one order, rendered from what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from schemas.orders import LineQuantity
from schemas.sourcing import Promise
from schemas.status import FulfilmentStatus, LineStatus, OpenException, OrderStatus, ParcelStatus, TimelineEntry, Waiting
from services.fulfilment_tracking import rules
from services.fulfilment_tracking.quantities import UNNAMED, LineQuantities, line_status, order_status, quantities
from services.fulfilment_tracking.state import Order, Parcel, Part, Units

CLOSING_S = 86_400
"""Seconds order_capture may take to settle the money of an order whose goods are done."""


def render(order_id: str, version: int, order: Order) -> OrderStatus | None:
    """None for what nobody placed: reports alone don't make an order."""
    if order.phase == "unknown" and order.outcome is None:
        return None
    lines = quantities(order)
    goods = tuple(line for line in lines.values() if line.is_goods)
    return OrderStatus(
        order_id=order_id,
        version=version,
        channel=order.channel,
        status=order_status(order, goods),
        revision=order.content.revision if order.content else 0,
        placed_at=order.content.placed_at if order.content else None,
        lines=tuple(_line(line_id, line) for line_id, line in lines.items()),
        holds=tuple(order.holds),
        promise=_promise(order),
        fulfilment_orders=tuple(_fulfilment(part) for part in order.parts.values() if part.promise),
        parcels=tuple(_parcel(parcel) for parcel in order.parcels.values()),
        exceptions=tuple(
            OpenException(
                exception_id=trouble.exception_id,
                kind=trouble.kind,
                detail=trouble.detail,
                action=trouble.action,
                opened_at=trouble.opened_at,
            )
            for trouble in order.troubles
        ),
        waiting=() if order.outcome else tuple(_waiting(order, goods)),
        timeline=tuple(
            TimelineEntry(at=entry.at, what=entry.what, detail=entry.detail) for entry in sorted(order.timeline, key=lambda entry: entry.at)
        ),
    )


MOST_UNITS = 1_000_000_000
"""The most units of a line that a contract can tell."""
COUNTED = tuple(name for name, field in LineStatus.model_fields.items() if field.default == 0)
"""The quantities of a line that most lines have none of."""


def _line(line_id: str, line: LineQuantities) -> LineStatus:
    counted = {name: as_shown(units) for name in COUNTED if (units := getattr(line, name))}
    return LineStatus(line_id=line_id, sku=line.sku or UNNAMED, ordered=as_shown(line.ordered), status=line_status(line), **counted)


def as_shown(units: int) -> int:
    """Reports are booked whatever they say, and their sums may be more than a document can tell."""
    return min(units, MOST_UNITS)


def _promise(order: Order) -> Promise | None:
    """The latest of the parts that stand; without any, the last one given."""
    standing = (part for part in order.parts.values() if any(work.standing for work in part.lines.values()))
    promises = [part.promise for part in standing if part.promise]
    return max(promises, key=lambda promise: promise.latest) if promises else order.promise


def _fulfilment(part: Part) -> FulfilmentStatus:
    return FulfilmentStatus(
        fulfilment_order_id=part.part_id,
        location=part.location,
        method=part.method,
        status=rules.part_status(part),
        revision=part.revision,
        release_at=part.release_at,
        ship_by=part.ship_by,
    )


def _parcel(parcel: Parcel) -> ParcelStatus:
    contents = rules.total(Units(goods.line_id, goods.quantity) for goods in parcel.contents)
    return ParcelStatus(
        parcel_id=parcel.parcel_id,
        fulfilment_order_id=parcel.part_id,
        carrier=parcel.carrier,
        tracking_number=parcel.tracking_number,
        status=parcel.status,
        raw_code=parcel.raw_code,
        lines=tuple(LineQuantity(line_id=units.line_id, quantity=as_shown(units.quantity)) for units in contents),
        shipped_at=parcel.shipped_at,
        delivered_at=parcel.delivered_at,
    )


# ---- what it waits for ----


def _waiting(order: Order, goods: Sequence[LineQuantities]) -> list[Waiting]:
    """Every order that has not ended waits for something, until a date or for a person."""
    found = [
        *(Waiting(reason="hold", until=until) for until in order.holds.values()),
        *_waiting_for_answers(order),
        *_waiting_for_goods(order, goods),
        *(waiting for part in order.parts.values() for waiting in _waiting_for_part(order, part)),
        *(waiting for parcel in order.parcels.values() for waiting in _waiting_for_parcel(order, parcel)),
    ]
    return list(dict.fromkeys(found)) or [_waiting_for_capture(order)]


def _waiting_for_capture(order: Order) -> Waiting:
    reason = "closing" if order.known else "acceptance"
    return Waiting(reason=reason, until=rules.after_s(order.touched_at, CLOSING_S) if order.touched_at else None)


def _waiting_for_answers(order: Order) -> Iterator[Waiting]:
    for cancel in order.cancels.values():
        if not cancel.settled and not cancel.quiet:
            yield Waiting(reason="cancel_answer", until=cancel.answer_by)
    for change in order.changes.values():
        yield Waiting(reason="change_answer", until=change.answer_by or order.plan_by)


def _waiting_for_goods(order: Order, goods: Sequence[LineQuantities]) -> Iterator[Waiting]:
    backordered = any(line.backordered for line in goods)
    if backordered:
        yield Waiting(reason="stock", until=order.stock_by)
    if any(line.unaccounted > line.backordered for line in goods):
        yield Waiting(reason="sourcing", until=_planned_by(order, backordered=backordered))


def _planned_by(order: Order, *, backordered: bool) -> datetime | None:
    """What is delivered together is kept by sourcing until the backordered lines are there, or their deadline has come."""
    if backordered and order.plan_by and order.stock_by:
        return max(order.plan_by, order.stock_by)
    return order.plan_by


def _waiting_for_part(order: Order, part: Part) -> Iterator[Waiting]:
    left = part.left
    if left == 0:
        return
    if part.revision == 0:
        yield Waiting(reason="release", until=_later(part.release_at, order.holds.values()))
        return
    awaiting = rules.awaiting_buyer(part)
    if awaiting:
        yield Waiting(reason="collection", until=part.collect_by)
    if awaiting < left:
        yield Waiting(reason="location", until=_work_until(order, part))


def _work_until(order: Order, part: Part) -> datetime | None:
    """The part's next deadline; None once it has passed and a person was told."""
    if order.has_trouble("late", f"{part.part_id}#ship"):
        return None
    if part.accepted:
        return part.ship_by
    return None if order.has_trouble("late", f"{part.part_id}#accept") else part.accept_by


def _waiting_for_parcel(order: Order, parcel: Parcel) -> Iterator[Waiting]:
    if not parcel.shipped or parcel.handed_over:
        return
    if parcel.came_back:
        yield Waiting(reason="parcel_returned", until=None)
    elif order.has_trouble("late", f"{parcel.part_id}:{parcel.parcel_id}"):
        yield Waiting(reason="delivery", until=None)
    else:
        yield Waiting(reason="delivery", until=parcel.presume_at)


def _later(instant: datetime, deadlines: Iterable[datetime | None]) -> datetime:
    return max([instant, *(deadline for deadline in deadlines if deadline)])
