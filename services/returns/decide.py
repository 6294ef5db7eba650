"""Decisions of returns: which rows an input needs, and which part of the service decides it.

Rows: `purchase` (an order, with its open returns and receipts inside), `parcel` (tracking number to order), `receipt` (a location's
receipt to order), `request` (the answer a request got).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from schemas.forms import OrderAccepted, OrderChanged, OrderSnapshot
from schemas.fulfilment import LinesHandedOver, ParcelCameBack, ParcelWasShipped
from schemas.orders import LinesCancelled
from schemas.returns import CancelReturn, GoodsInspected, GoodsReceived, RequestReturn
from services.returns.events import (
    PURCHASE_EVENTS,
    AnswerNoted,
    CancellationNoted,
    HandOverNoted,
    LineItem,
    OrderNoted,
    ParcelNoted,
    ParcelReturnNoted,
    ReceiptAssigned,
    ReuseNoted,
    Units,
    evolve_parcel,
    evolve_purchase,
    evolve_receipt,
    evolve_request,
)
from services.returns.receipts import book, give_credit, order_named, receipt_of, tracking_of
from services.returns.requests import cancel_return, expire_return, refuse_unreadable, request_return
from services.returns.state import (
    Answered,
    Parcel,
    Purchase,
    ReceiptOwner,
    parcel_key,
    purchase_key,
    receipt_key,
    request_key,
    unknown_order,
)
from shared.kernel.model import Found, Input, Key, Kind, Need, Unreadable, Woken, World, Yield
from shared.kernel.views import Documents

Request = RequestReturn | CancelReturn
Report = GoodsReceived | GoodsInspected
Fact = OrderAccepted | OrderChanged | LinesCancelled | LinesHandedOver | ParcelWasShipped | ParcelCameBack
Body = Request | Report | Fact | Unreadable | Woken

KINDS = (
    Kind("purchase", Purchase, lambda _: Purchase(), evolve_purchase, PURCHASE_EVENTS),
    Kind("parcel", Parcel, lambda _: Parcel(), evolve_parcel, (ParcelNoted,)),
    Kind("receipt", ReceiptOwner, lambda _: ReceiptOwner(), evolve_receipt, (ReceiptAssigned,)),
    Kind("request", Answered, lambda _: Answered(), evolve_request, (AnswerNoted, ReuseNoted)),
)


def find(body: Body) -> tuple[Key, ...]:
    """The rows that lead from a report to its order."""
    match body:
        case GoodsReceived() | GoodsInspected():
            return _pointers(body)
        case _:
            return ()


def keys(body: Body, found: Found) -> Need:
    match body:
        case GoodsReceived() | GoodsInspected():
            return Need(_orders_of(body, found) + _pointers(body))
        case RequestReturn() | CancelReturn():
            return Need((purchase_key(body.order_id), request_key(body.order_id, body.request_id)))
        case ParcelWasShipped():
            return Need((parcel_key(body.tracking_number),))
        case Woken():
            return Need((body.key,))
        case _:
            return Need((purchase_key(body.order_id),))


def decide(world: World, given: Input[Body], view: Documents) -> Iterator[Yield]:
    body = given.body
    match body:
        case RequestReturn():
            yield from request_return(world, given, body, view)
        case CancelReturn():
            yield from cancel_return(world, given, body)
        case GoodsReceived() | GoodsInspected():
            yield from book(world, given, body)
        case Woken():
            yield from expire_return(world, body)
        case Unreadable():
            yield from refuse_unreadable(body)
        case _:
            yield from note(world, body)


def note(world: World, fact: Fact) -> Iterator[Yield]:
    """Facts of the neighbours that say what may come back."""
    match fact:
        case OrderAccepted() | OrderChanged():
            yield OrderNoted(fact.order_id, fact.order.policy, _items(fact.order))
        case LinesCancelled():
            yield CancellationNoted(fact.order_id, tuple(Units(line.line_id, line.quantity) for line in fact.lines))
        case LinesHandedOver():
            items = tuple(LineItem(line.line_id, line.sku, line.quantity) for line in fact.lines)
            yield HandOverNoted(fact.order_id, items, fact.occurred_at)
            yield from give_credit(world, fact.order_id, None)
        case ParcelWasShipped():
            yield from note_parcel(world, fact)
        case ParcelCameBack():
            yield from note_parcel_back(world, fact)
        case _:
            assert_never(fact)


def note_parcel(world: World, fact: ParcelWasShipped) -> Iterator[Yield]:
    """The first parcel that bears a tracking number owns it for good."""
    key = parcel_key(fact.tracking_number)
    if world.get(key, Parcel()).order_id is None:
        yield ParcelNoted(fact.tracking_number, fact.order_id, f"{fact.fulfilment_order_id}:{fact.parcel_id}")


def note_parcel_back(world: World, fact: ParcelCameBack) -> Iterator[Yield]:
    parcel = f"{fact.fulfilment_order_id}:{fact.parcel_id}"
    if parcel not in world.get(purchase_key(fact.order_id), Purchase()).came_back:
        lines = tuple(Units(line.line_id, line.quantity) for line in fact.lines)
        yield ParcelReturnNoted(fact.order_id, parcel, lines)


def _items(order: OrderSnapshot) -> tuple[LineItem, ...]:
    return tuple(LineItem(line.line_id, line.sku, line.quantity) for line in order.lines)


def _pointers(report: Report) -> tuple[Key, ...]:
    tracking_number = tracking_of(report)
    receipt = receipt_key(receipt_of(report))
    return (receipt,) if tracking_number is None else (receipt, parcel_key(tracking_number))


def _orders_of(report: Report, found: Found) -> tuple[Key, ...]:
    """Every order a report may turn out to belong to."""
    rows = (found.get(key) for key in _pointers(report))
    pointed = (row.order_id for row in rows if isinstance(row, Parcel | ReceiptOwner))
    orders = dict.fromkeys((order_named(report), *pointed, unknown_order(report.receipt_id)))
    return tuple(purchase_key(order_id) for order_id in orders if order_id is not None)
