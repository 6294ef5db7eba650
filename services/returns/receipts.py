"""Goods that are back at a location: received and inspected, announced or not. Facts: booked, never refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from schemas.orders import LineQuantity
from schemas.returns import (
    CreditDue,
    GoodsInspected,
    GoodsReceived,
    InspectedLine,
    ReturnInspected,
    ReturnReceived,
    StockRestocked,
    StockWrittenOff,
)
from services.returns.events import (
    CreditNoted,
    ReceiptAssigned,
    ReturnEnded,
    Units,
    UnitsClaimed,
    UnitsInspected,
    UnitsReceived,
)
from services.returns.exceptions import Trouble, in_words, open_exception
from services.returns.requests import expiry_of
from services.returns.rules import Delivery, arrivals, credit_due, findings
from services.returns.state import (
    Parcel,
    Purchase,
    ReceiptOwner,
    in_order,
    is_line,
    is_unknown,
    order_of_return,
    parcel_key,
    purchase_key,
    receipt_key,
    slot_of_item,
    unknown_order,
)
from shared.kernel.model import Input, Keep, Key, Wake, World, Yield

FACT_WAIT = timedelta(minutes=10)
"""How long goods wait for the news that explains them: topics have no order among each other."""
WHOSE = "Find the order; report receipt and inspection again with its order id: they then count for it, stock moves once."
OTHERS = "Find out whose they are. Once inspected they enter stock; nothing is credited for them."
TOO_MANY = "Count again and find out whose they are. Nothing is credited beyond what was handed over."
TWO_ORDERS = "Check whose goods these are; they are booked on the order of the return."
CHANGED = "Check the sender: what is more than before was booked, what is less was not taken back."
LATE = "Check that these units were handed over."

Report = GoodsReceived | GoodsInspected


def receipt_of(report: Report) -> str:
    return f"{report.location}:{report.receipt_id}"


def order_named(report: Report) -> str | None:
    """The order a report names itself."""
    return order_of_return(report.return_id) or report.order_id


def tracking_of(report: Report) -> str | None:
    return report.tracking_number if isinstance(report, GoodsReceived) else None


def book(world: World, given: Input[object], report: Report) -> Iterator[Yield]:
    """What a report adds to what is booked of its receipt: the units, what they do to stock, what is owed, what is odd."""
    keep = None if given.overdue else _missing_news(world, report, given.now)
    if keep is not None:
        yield keep
        return
    delivery = _delivery(world, report)
    before = world.get(purchase_key(delivery.order_id), Purchase())
    events = _additions(before, delivery, report)
    received = [event for event in events if isinstance(event, UnitsReceived)]
    inspected = [event for event in events if isinstance(event, UnitsInspected)]
    if events:
        yield from _assign(world, delivery)
    yield from events
    yield from _tell_received(world, report, delivery, before, received)
    yield from _tell_inspected(world, report, delivery, inspected)
    yield from _open_exceptions(world, given, report, delivery, before, received)


def give_credit(world: World, order_id: str, return_id: str | None) -> Iterator[Yield]:
    """Credit for units that are inspected and were handed over, each once, whichever was told first."""
    purchase = world.get(purchase_key(order_id), Purchase())
    due = credit_due(purchase)
    if due:
        yield CreditNoted(order_id, due)
        credit_id = f"{order_id}/c{purchase.credits + 1}"
        yield CreditDue(order_id=order_id, credit_id=credit_id, return_id=return_id, lines=_quantities(due))


def _additions(
    purchase: Purchase, delivery: Delivery, report: Report
) -> tuple[UnitsReceived, ...] | tuple[UnitsReceived | UnitsInspected, ...]:
    if isinstance(report, GoodsReceived):
        return arrivals(purchase, delivery, report.lines)
    return findings(purchase, delivery, report.units)


# ---- whose goods these are ----


def _owner(world: World, report: Report) -> str | None:
    """The order the report names, else that of its parcel, else that of its receipt; None where nobody knows."""
    named, tracking_number = order_named(report), tracking_of(report)
    if named is not None and world.get(purchase_key(named), Purchase()).known:
        return named
    parcel = world.get(parcel_key(tracking_number), Parcel()) if tracking_number else Parcel()
    if named is not None:
        return parcel.order_id
    owner = world.get(receipt_key(receipt_of(report)), ReceiptOwner()).order_id
    return parcel.order_id or (None if is_unknown(owner) else owner)


def _delivery(world: World, report: Report) -> Delivery:
    owner = _owner(world, report)
    order_id = owner if owner and _is_locked(world, owner) else unknown_order(report.receipt_id)
    purchase = world.get(purchase_key(order_id), Purchase())
    known = purchase.receipts.get(receipt_of(report))
    return_id = report.return_id if purchase.has_return(report.return_id) else known.return_id if known else None
    return Delivery(order_id, receipt_of(report), return_id, _parcel_of(world, report, order_id))


def _parcel_of(world: World, report: Report, order_id: str) -> str | None:
    tracking_number = tracking_of(report)
    if tracking_number is None:
        return None
    parcel = world.get(parcel_key(tracking_number), Parcel())
    return parcel.parcel if parcel.order_id == order_id else None


def _assign(world: World, delivery: Delivery) -> Iterator[Yield]:
    """The first order a receipt is booked on; goods of nobody may find theirs later."""
    owner = world.get(receipt_key(delivery.receipt), ReceiptOwner()).order_id
    if is_unknown(owner) and owner != delivery.order_id:
        yield ReceiptAssigned(delivery.receipt, delivery.order_id)


# ---- what to wait for ----


def _missing_news(world: World, report: Report, now: datetime) -> Keep | None:
    """Wait for what would explain these goods: who owns them, that they were handed over, or that the parcel came back."""
    until = now + FACT_WAIT
    owner = _owner(world, report)
    if owner is None:
        awaited = _awaited(world, report)
        return Keep(awaited, until) if awaited else None
    if not _is_locked(world, owner):
        return Keep(_pointer(report), now)
    purchase = world.get(purchase_key(owner), Purchase())
    delivery = _delivery(world, report)
    received = (event for event in _additions(purchase, delivery, report) if isinstance(event, UnitsReceived))
    waits = any(_may_be_explained(purchase, delivery, event) for event in received)
    return Keep(purchase_key(owner), until) if waits else None


def _is_locked(world: World, order_id: str) -> bool:
    """False where the row that leads to the order is younger than what `find` read without lock."""
    try:
        world.get(purchase_key(order_id), Purchase())
    except KeyError:
        return False
    return True


def _awaited(world: World, report: Report) -> Key | None:
    """The row that would tell the owner; None where the report names nothing, or where the wait has been in vain before."""
    if world.get(receipt_key(receipt_of(report)), ReceiptOwner()).order_id is not None:
        return None
    named, tracking_number = order_named(report), tracking_of(report)
    if named is not None:
        return purchase_key(named)
    if tracking_number is not None:
        return parcel_key(tracking_number)
    return receipt_key(receipt_of(report)) if isinstance(report, GoodsInspected) else None


def _pointer(report: Report) -> Key:
    tracking_number = tracking_of(report)
    return receipt_key(receipt_of(report)) if tracking_number is None else parcel_key(tracking_number)


def _may_be_explained(purchase: Purchase, delivery: Delivery, event: UnitsReceived) -> bool:
    """Units nobody announced, of a line with units under way: they may be in the parcel, or their hand-over unread."""
    if purchase.policy is None:
        return event.unexpected > 0
    if not is_line(event.slot) or not purchase.line(event.slot).under_way:
        return False
    in_parcel = delivery.parcel is not None and delivery.parcel not in purchase.came_back
    return event.beyond > 0 or (in_parcel and event.unannounced > 0)


# ---- what is told ----


def _tell_received(world: World, report: Report, delivery: Delivery, before: Purchase, events: Sequence[UnitsReceived]) -> Iterator[Yield]:
    """One message for each return the units belong to; units nobody announced go with the named or first one."""
    after = world.get(purchase_key(delivery.order_id), Purchase())
    shares = _by_return([event for event in events if is_line(event.slot)])
    unexpected = shares.pop(None, {})
    primary = delivery.return_id or next(iter(shares), None)
    for return_id in dict.fromkeys((primary, *shares)):
        extra = unexpected if return_id == primary else {}
        lines = _sum(shares.get(return_id, {}), extra)
        if lines:
            yield ReturnReceived(
                order_id=delivery.order_id,
                return_id=return_id,
                receipt_id=report.receipt_id,
                location=report.location,
                announced_at_location=_announced_at(before, return_id),
                lines=_line_quantities(lines),
                unexpected=_line_quantities(extra),
                missing=_line_quantities(_still_expected(after, return_id)),
            )
    yield from _end_received(delivery.order_id, after)


def _by_return(events: Sequence[UnitsReceived]) -> dict[str | None, dict[str, int]]:
    """Units by return and line; under None those no request covers."""
    shares: dict[str | None, dict[str, int]] = {}
    for event in events:
        parts = [(units.name, units.quantity) for units in event.covered]
        for return_id, quantity in (*parts, (None, event.unexpected)):
            if quantity:
                lines = shares.setdefault(return_id, {})
                lines[event.slot] = lines.get(event.slot, 0) + quantity
    return shares


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in (*one, *other)}


def _announced_at(purchase: Purchase, return_id: str | None) -> str | None:
    expected = purchase.returns.get(return_id) if return_id else None
    return expected.return_to if expected else None


def _still_expected(purchase: Purchase, return_id: str | None) -> dict[str, int]:
    expected = purchase.returns.get(return_id) if return_id else None
    return {name: quantity for name, quantity in in_order(expected.lines) if quantity} if expected else {}


def _end_received(order_id: str, purchase: Purchase) -> Iterator[Yield]:
    """A return ends when nothing more is expected of it; a shortfall stays open until its deadline."""
    for return_id, expected in in_order(purchase.returns):
        if not any(expected.lines.values()):
            yield ReturnEnded(order_id, return_id, "received")
            yield Wake(purchase_key(order_id), expiry_of(return_id), None)


def _tell_inspected(world: World, report: Report, delivery: Delivery, events: Sequence[UnitsInspected]) -> Iterator[Yield]:
    if not events or not isinstance(report, GoodsInspected):
        return
    for event in events:
        yield from _move_stock(world, report, event)
    lines = tuple(
        InspectedLine(line_id=event.slot, sku=event.sku, disposition=event.disposition, quantity=event.quantity)
        for event in events
        if is_line(event.slot)
    )
    if lines:
        yield ReturnInspected(
            order_id=delivery.order_id,
            return_id=delivery.return_id,
            receipt_id=report.receipt_id,
            location=report.location,
            lines=lines,
        )
    yield from give_credit(world, delivery.order_id, delivery.return_id)


# ---- effects on stock ----


def _move_stock(world: World, report: GoodsInspected, event: UnitsInspected) -> Iterator[Yield]:
    claimed = _claimable(world, report, event)
    if claimed:
        unknown, slot = unknown_order(report.receipt_id), slot_of_item(event.sku)
        yield UnitsClaimed(unknown, event.receipt, slot, event.disposition, claimed)
    if event.quantity > claimed:
        reference = _reference(world, report, event)
        yield _effect(report, event, event.quantity - claimed, reference)


def _claimable(world: World, report: GoodsInspected, event: UnitsInspected) -> int:
    """Units among them that moved stock before, when nobody knew their order."""
    unknown = unknown_order(report.receipt_id)
    if event.order_id == unknown:
        return 0
    slot = world.get(purchase_key(unknown), Purchase()).slot(event.receipt, slot_of_item(event.sku), event.sku)
    moved = slot.inspected.get(event.disposition, 0) - slot.claimed.get(event.disposition, 0)
    return min(event.quantity, moved)


def _reference(world: World, report: GoodsInspected, event: UnitsInspected) -> str:
    """`<receipt>:<line or sku>:<disposition>:<running total>`; a receipt's second order is told apart by its short hash."""
    owner = world.get(receipt_key(event.receipt), ReceiptOwner()).order_id
    receipt = report.receipt_id if owner == event.order_id else f"{report.receipt_id}+{_short_hash(event.order_id)}"
    return f"{receipt}:{event.slot.removeprefix('/')}:{event.disposition}:{event.total}"


def _short_hash(order_id: str) -> str:
    return hashlib.sha256(order_id.encode()).hexdigest()[:8]


def _effect(report: GoodsInspected, event: UnitsInspected, quantity: int, reference: str) -> Yield:
    match event.disposition:
        case "resell" | "refurbish":
            return StockRestocked(
                location=report.location,
                sku=event.sku,
                quantity=quantity,
                status="sellable" if event.disposition == "resell" else "quality_hold",
                reference=reference,
                occurred_at=report.inspected_at,
            )
        case "donate" | "destroy" | "back_to_supplier":
            return StockWrittenOff(
                location=report.location,
                sku=event.sku,
                quantity=quantity,
                disposition=event.disposition,
                reference=reference,
                occurred_at=report.inspected_at,
            )


# ---- exceptions ----


def _open_exceptions(
    world: World,
    given: Input[object],
    report: Report,
    delivery: Delivery,
    before: Purchase,
    events: Sequence[UnitsReceived],
) -> Iterator[Yield]:
    for kind, trouble, action in _troubles(given, report, delivery, before, events):
        purchase = world.get(purchase_key(delivery.order_id), Purchase())
        detail = f"receipt {report.receipt_id} at {report.location}: {trouble}"
        yield from open_exception(purchase, delivery.order_id, kind, detail, action, report.location)


def _troubles(
    given: Input[object], report: Report, delivery: Delivery, before: Purchase, events: Sequence[UnitsReceived]
) -> Iterator[tuple[Trouble, str, str]]:
    """Kind, detail and action of each exception that a report opens."""
    strange = [Units(event.slot, event.unexpected) for event in events if not is_line(event.slot)]
    beyond = [Units(event.slot, event.beyond) for event in events if event.beyond]
    if is_unknown(delivery.order_id) and events and delivery.receipt not in before.receipts:
        claimed = order_named(report) or tracking_of(report) or "nothing"
        yield "unknown_goods", f"{in_words(strange)}; it names {claimed}, which nobody knows", WHOSE
    elif strange and not is_unknown(delivery.order_id):
        yield "unexpected_goods", f"{in_words(strange)}: no item of this order", OTHERS
    if beyond:
        yield "more_than_handed_over", f"{in_words(beyond)} more than were handed over", TOO_MANY
    if events and _names_two_orders(report):
        yield "contradiction", f"its return is of {delivery.order_id}, it names {report.order_id}", TWO_ORDERS
    if given.changed:
        yield "contradiction", "it was sent before under the same id with other content", CHANGED
    if given.late and any(event.unexpected for event in events):
        yield "late_fact", "booked while older news was unread", LATE


def _names_two_orders(report: Report) -> bool:
    of_return = order_of_return(report.return_id)
    return of_return is not None and report.order_id is not None and of_return != report.order_id


def _quantities(units: Sequence[Units]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=part.name, quantity=part.quantity) for part in units)


def _line_quantities(lines: dict[str, int]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=line_id, quantity=quantity) for line_id, quantity in lines.items())
