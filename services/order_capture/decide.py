"""Order capture decides whether an order is valid and may go on, and what happens to its money.

One aggregate, the order (kind `order`, its id is the order's id), and two kinds of rows for orders that wait for a document (awaiting.py).
What arrives is told apart here; each concern has a module of its own:

    requests    the front door: repeats, conflicts, holds      cancels    cancelling, at any stage
    placing     new orders, and changes of held ones           changes    changes of accepted orders
    acceptance  from held to accepted                          facts      what neighbours say happened to units
    review      is it valid                                    ending     what follows from it, closing
    payments    reports of providers                           money      what is asked of providers
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from schemas.channel import CancelOrder, ChangeOrder, HoldOrder, ResolveHold
from schemas.fulfilment import (
    CancellationAnswered,
    ChangeAnswered,
    LinesHandedOver,
    LinesNotCollected,
    ParcelCameBack,
    ParcelWasShipped,
)
from schemas.payments import PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentRefunded, PaymentVoided
from schemas.reference import Channel, Item
from schemas.returns import CreditDue
from schemas.sourcing import CancellationPassedOn, ChangePassedOn, LinesUnfillable
from services.order_capture import awaiting, cancels, changes, facts, payments, requests, timers
from services.order_capture.case import Case
from services.order_capture.content import PlaceOrder
from services.order_capture.projection import Catalogue
from services.order_capture.state import order_key
from shared.kernel.model import Found, Input, Need, Unreadable, Woken, World, Yield

Ask = PlaceOrder | ChangeOrder | CancelOrder | HoldOrder | ResolveHold
Paid = PaymentAuthorised | PaymentCaptured | PaymentDeclined | PaymentRefunded | PaymentVoided
Word = CancellationPassedOn | CancellationAnswered | ChangePassedOn | ChangeAnswered
Fact = LinesUnfillable | ParcelWasShipped | LinesHandedOver | LinesNotCollected | ParcelCameBack | CreditDue
OfOrder = Ask | Paid | Word | Fact | Unreadable
Inbound = OfOrder | Item | Channel | Woken


def keys(body: Inbound, _: Found) -> Need:
    """An order's own row; for documents and those who wait for them, their rows."""
    if isinstance(body, Item | Channel):
        return awaiting.need_of_document(body)
    if isinstance(body, Woken):
        return _need_of_timer(body)
    return Need((order_key(body.order_id),))


def decide(world: World, given: Input[Inbound], view: Catalogue) -> Iterator[Yield]:
    body = given.body
    match body:
        case Item() | Channel():
            yield from awaiting.arrived(world, body, given.now)
        case Woken():
            yield from _wake(world, given, body, view)
        case _:
            case = Case(world, order_key(body.order_id), given, view)
            yield from _about_order(case, body)


def _about_order(case: Case, body: OfOrder) -> Iterator[Yield]:
    if isinstance(body, Ask):
        yield from requests.take(case, body)
    elif isinstance(body, Paid):
        yield from payments.book(case, body)
    elif isinstance(body, Word):
        yield from _hear(case, body)
    elif isinstance(body, Fact):
        yield from _note(case, body)
    else:
        yield from requests.refuse_unreadable(case, body)


def _hear(case: Case, word: Word) -> Iterator[Yield]:
    match word:
        case CancellationPassedOn():
            yield from cancels.hear_sourcing(case, word)
        case CancellationAnswered():
            yield from cancels.hear_tracking(case, word)
        case ChangePassedOn():
            yield from changes.hear_sourcing(case, word)
        case ChangeAnswered():
            yield from changes.hear_tracking(case, word)
        case _:
            assert_never(word)


def _note(case: Case, fact: Fact) -> Iterator[Yield]:
    match fact:
        case LinesUnfillable():
            yield from facts.unfillable(case, fact)
        case ParcelWasShipped():
            yield from facts.shipped(case, fact)
        case LinesHandedOver():
            yield from facts.handed_over(case, fact)
        case LinesNotCollected():
            yield from facts.not_collected(case, fact)
        case ParcelCameBack():
            yield from facts.came_back(case, fact)
        case CreditDue():
            yield from facts.credit(case, fact)
        case _:
            assert_never(fact)


def _need_of_timer(woken: Woken) -> Need:
    match woken.key.kind:
        case "awaited":
            return awaiting.need_of_awaited(woken.key)
        case "waiter":
            return awaiting.need_of_waiter(woken.key)
        case _:
            return Need((woken.key,))


def _wake(world: World, given: Input[Inbound], woken: Woken, view: Catalogue) -> Iterator[Yield]:
    match woken.key.kind:
        case "awaited":
            yield from awaiting.wake_waiters(world, woken.key.id, given.now)
        case "waiter":
            yield from awaiting.begin_or_end(world, woken.key, woken.name, view, given.now)
        case _:
            yield from timers.wake(Case(world, woken.key, given, view), woken)
