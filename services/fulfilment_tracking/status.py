"""The unified status document of one order, rendered from what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter

from msgspec.structs import asdict

from schemas.forms import Promise
from services.fulfilment_tracking import rules
from services.fulfilment_tracking.document import (
    FulfilmentStatus,
    LineStatus,
    OpenException,
    OrderStatus,
    ParcelStatus,
    TimelineEntry,
    Waiting,
)
from services.fulfilment_tracking.quantities import UNNAMED, LineQuantities, line_status, order_status, quantities
from services.fulfilment_tracking.state import Order, Parcel, Part, Trouble, Units
from shared.value import replace

CLOSING_S = 86_400
"""Seconds order_capture may take to settle the money of an order whose goods are done."""
MOST_UNITS = 1_000_000_000
"""The most units of a line that a contract can tell."""


def render(order_id: str, version: int, order: Order) -> OrderStatus | None:
    """None for what nobody placed: reports alone don't make an order."""
    if order.phase == "unknown" and order.outcome is None:
        return None
    lines = quantities(order)
    goods = [line for line in lines.values() if line.is_goods]
    content = order.content
    return OrderStatus(
        order_id=order_id,
        version=version,
        channel=order.channel,
        status=order_status(order, goods),
        revision=content.revision if content else 0,
        placed_at=content.placed_at if content else None,
        lines=[_line(line_id, line) for line_id, line in lines.items()],
        holds=list(order.holds),
        promise=_promise(order),
        fulfilment_orders=[_fulfilment(part) for part in order.parts.values() if part.promise],
        parcels=[_parcel(parcel) for parcel in order.parcels.values()],
        exceptions=[_exception(trouble) for trouble in order.troubles],
        waiting=[] if order.outcome else _waiting(order, goods),
        timeline=[TimelineEntry(entry.at, entry.what, entry.detail) for entry in sorted(order.timeline, key=attrgetter("at"))],
    )


def _line(line_id: str, line: LineQuantities) -> LineStatus:
    counted = (
        line.ordered,
        line.cancelled,
        line.unfillable,
        line.backordered,
        line.reserved,
        line.released,
        line.picked,
        line.packed,
        line.shipped,
        line.ready,
        line.handed_over,
        line.return_requested,
        line.received_back,
        line.written_off,
        line.credited,
    )
    shown = LineStatus(line_id, line.sku or UNNAMED, *counted, line_status(line))
    return shown if max(counted) <= MOST_UNITS else _capped(shown)


def _capped(line: LineStatus) -> LineStatus:
    units = {name: as_shown(value) for name, value in asdict(line).items() if isinstance(value, int)}
    return replace(line, **units)


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
        lines=[Units(units.line_id, as_shown(units.quantity)) for units in contents],
        shipped_at=parcel.shipped_at,
        delivered_at=parcel.delivered_at,
    )


def _exception(trouble: Trouble) -> OpenException:
    return OpenException(
        exception_id=trouble.exception_id,
        kind=trouble.kind,
        detail=trouble.detail,
        action=trouble.action,
        opened_at=trouble.opened_at,
    )


# ---- what it waits for ----


def _waiting(order: Order, goods: Sequence[LineQuantities]) -> list[Waiting]:
    """Every order that has not ended waits for something, until a date or for a person."""
    found = [
        *(Waiting("hold", until) for until in order.holds.values()),
        *_waiting_for_answers(order),
        *_waiting_for_goods(order, goods),
        *(waiting for part in order.parts.values() for waiting in _waiting_for_part(order, part)),
        *(waiting for parcel in order.parcels.values() for waiting in _waiting_for_parcel(order, parcel)),
    ]
    return list(dict.fromkeys(found)) or [_waiting_for_capture(order)]


def _waiting_for_capture(order: Order) -> Waiting:
    reason = "closing" if order.known else "acceptance"
    return Waiting(reason, rules.after_s(order.touched_at, CLOSING_S) if order.touched_at else None)


def _waiting_for_answers(order: Order) -> Iterator[Waiting]:
    for cancel in order.cancels.values():
        if not cancel.settled and not cancel.quiet:
            yield Waiting("cancel_answer", cancel.answer_by)
    for change in order.changes.values():
        yield Waiting("change_answer", change.answer_by or order.plan_by)


def _waiting_for_goods(order: Order, goods: Sequence[LineQuantities]) -> Iterator[Waiting]:
    unplanned = [line for line in goods if line.unaccounted > 0]
    backordered = any(line.backordered for line in unplanned)
    if backordered:
        yield Waiting("stock", order.stock_by)
    if any(line.unaccounted > line.backordered for line in unplanned):
        yield Waiting("sourcing", _planned_by(order, backordered=backordered))


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
        yield Waiting("release", _later(part.release_at, order.holds.values()))
        return
    awaiting = rules.awaiting_buyer(part)
    if awaiting:
        yield Waiting("collection", part.collect_by)
    if awaiting < left:
        yield Waiting("location", _work_until(order, part))


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
        yield Waiting("parcel_returned", None)
    elif order.has_trouble("late", f"{parcel.part_id}:{parcel.parcel_id}"):
        yield Waiting("delivery", None)
    else:
        yield Waiting("delivery", parcel.presume_at)


def _later(instant: datetime, deadlines: Iterable[datetime | None]) -> datetime:
    return max([instant, *(deadline for deadline in deadlines if deadline)])
