"""What each input means for an order and for the queues of its items: the rows it needs, and who decides. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import assert_never

from schemas.forms import (
    ChangeRequested,
    OrderAccepted,
    OrderChanged,
    ReservationDeclined,
    ReservationReleased,
    ReservationShorted,
    StockChanged,
    StockReserved,
)
from schemas.fulfilment import (
    CancellationAnswered,
    ChangeAnswered,
    LinesHandedOver,
    LinesNotCollected,
    ParcelWasShipped,
)
from schemas.orders import CancellationRequested, OrderClosed
from schemas.sourcing import SourcingExceptionOpened
from services.sourcing import answers, backorders, requests
from services.sourcing.flow import Desk, go_on
from services.sourcing.projection import Network
from services.sourcing.state import order_key, queue_key, waiting_key
from shared.kernel.model import Found, Input, Keep, Need, Woken, World, Yield

Request = OrderAccepted | OrderChanged | ChangeRequested | CancellationRequested | OrderClosed
Answer = StockReserved | ReservationDeclined | ReservationReleased | ReservationShorted
Report = ParcelWasShipped | LinesHandedOver | LinesNotCollected | CancellationAnswered | ChangeAnswered
Incoming = Request | Answer | Report | StockChanged | Woken

KEEP_S = 600
"""Seconds an answer or report waits for its order to be known."""


def keys(body: Incoming, found: Found) -> Need:  # noqa: ARG001 - nothing is looked up beforehand
    """The order, and the queues that its demand or its end touches: only an item with waiting demand has a queue to lock."""
    match body:
        case StockChanged():
            return Need(tuple(map(queue_key, body.arrived)), tuple(map(backorders.head, body.arrived)))
        case Woken():
            return woken_keys(body)
        case _:
            return Need((order_key(body.order_id), *map(queue_key, queued_skus(body))))


def woken_keys(woken: Woken) -> Need:
    if woken.key.kind == "queue":
        return Need((woken.key,), (backorders.head(woken.key.id),))
    what, _, sku = woken.name.partition(":")
    if what == "queue":
        return Need((woken.key, queue_key(sku), waiting_key(sku, woken.key.id)))
    return Need((woken.key,))


def queued_skus(body: Request | Answer | Report) -> tuple[str, ...]:
    """Items whose queues the input may look at."""
    match body:
        case OrderAccepted() | OrderChanged():
            return tuple(sorted({line.sku for line in body.order.lines if line.kind == "goods"}))
        case ReservationReleased() | ReservationShorted():
            return tuple(sorted({line.sku for line in body.lines}))
        case _:
            return ()


def decide(world: World, given: Input[Incoming], view: Network) -> Iterator[Yield]:
    body = given.body
    match body:
        case StockChanged():
            for sku in body.arrived:
                yield from backorders.offer(world, given.now, view, sku, levels=body.levels, arrived=True)
        case Woken():
            yield from woken(world, given, body, view)
        case OrderAccepted() | OrderChanged() | ChangeRequested() | CancellationRequested() | OrderClosed():
            desk = Desk(world, given.now, view, order_key(body.order_id), queued_skus(body), newcomer=isinstance(body, OrderAccepted))
            yield from requested(desk, body)
        case StockReserved() | ReservationDeclined() | ReservationReleased() | ReservationShorted():
            desk = Desk(world, given.now, view, order_key(body.order_id), queued_skus(body))
            yield from answered(desk, body) if desk.order.known else stray(given, body)
        case _:
            desk = Desk(world, given.now, view, order_key(body.order_id))
            yield from reported(desk, body) if desk.order.known else stray(given, body)


def requested(desk: Desk, body: Request) -> Iterator[Yield]:
    """Order events come in the order's own sequence: what isn't accepted before any of them never was, or is closed."""
    order = desk.order
    if isinstance(body, OrderAccepted):
        if not order.known:
            yield requests.demand_of(order, body.order, "new")
            yield from go_on(desk)
    elif order.terms is None:
        if isinstance(body, CancellationRequested):
            yield requests.refuse(body)
        elif isinstance(body, ChangeRequested):
            yield requests.decline(body)
    else:
        yield from of_a_live_order(desk, body)


def of_a_live_order(desk: Desk, body: OrderChanged | ChangeRequested | CancellationRequested | OrderClosed) -> Iterator[Yield]:
    match body:
        case OrderChanged():
            yield from requests.changed(desk, body)
        case ChangeRequested():
            yield from requests.change(desk, body)
        case CancellationRequested():
            yield from requests.cancel(desk, body)
        case OrderClosed():
            yield from requests.close(desk)
        case _:
            assert_never(body)


def answered(desk: Desk, body: Answer) -> Iterator[Yield]:
    match body:
        case StockReserved():
            yield from answers.reserved(desk, body)
        case ReservationDeclined():
            yield from answers.declined(desk, body)
        case ReservationReleased():
            yield from answers.released(desk, body)
        case ReservationShorted():
            yield from answers.shorted(desk, body)
        case _:
            assert_never(body)


def reported(desk: Desk, body: Report) -> Iterator[Yield]:
    match body:
        case ParcelWasShipped() | LinesNotCollected():
            yield from answers.ended_for_good(desk, body)
        case LinesHandedOver():
            if body.how == "collected":
                yield from answers.ended_for_good(desk, body)
        case CancellationAnswered():
            yield from requests.settle(desk, body)
        case ChangeAnswered():
            yield from requests.change_answered(desk, body)
        case _:
            assert_never(body)


def woken(world: World, given: Input[Incoming], body: Woken, view: Network) -> Iterator[Yield]:
    if body.key.kind == "queue":
        yield from backorders.offer(world, given.now, view, body.key.id, arrived=False)
        return
    desk = Desk(world, given.now, view, body.key)
    what, *words = body.name.split(":")
    match what:
        case "deadline":
            yield from backorders.expire(desk)
        case "answers":
            yield from backorders.remind(desk)
        case "queue":
            yield from backorders.keep_place(desk, words[0])
        case "serve":
            yield from backorders.serve(desk, words[0], int(words[1]))
        case _:
            raise ValueError(f"nobody set a timer named {body.name!r}: a release that knows it must run")


def stray(given: Input[Incoming], body: Answer | Report) -> Iterator[Yield]:
    """About an order nobody accepted so far: wait for it, and in the end leave no reservation behind."""
    if not given.overdue:
        yield Keep(order_key(body.order_id), given.now + timedelta(seconds=KEEP_S))
    elif isinstance(body, StockReserved):
        yield from answers.unexpected(body, give_back=True)
    else:
        yield SourcingExceptionOpened(
            order_id=body.order_id,
            exception_id=f"{body.order_id}:unknown:{type(body).__name__}",
            kind="unexpected_answer",
            detail=f"{type(body).__name__} came for an order that was never accepted",
            action="Find out who reported it; nothing was booked.",
        )
