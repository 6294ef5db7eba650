"""What happened to an order, and how its state follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, assert_never

from schemas.channel import OrderContent, PaymentTerms, RequestAnswered
from schemas.forms import OrderLine, OrderSnapshot
from services.order_capture.state import (
    MOST_BOOKED_REPORTS,
    Answered,
    Asked,
    CancelWish,
    Check,
    Effect,
    Hold,
    Line,
    Money,
    Operation,
    Order,
    Outcome,
    Payment,
    PendingCancel,
    PendingChange,
    order_key,
)
from shared.kernel.model import Key
from shared.value import Value, replace


class OrderEventOf(Value, frozen=True):
    """What every event of an order carries."""

    order_id: str

    @property
    def key(self) -> Key:
        return order_key(self.order_id)


# ---- the life of the order ----


class OrderPlaced(OrderEventOf, frozen=True):
    """A channel placed it; whether it may go on is another event."""

    asked: Asked
    placed_at: datetime
    channel: str


class ContentStated(OrderEventOf, frozen=True):
    """The content an order has, until it is accepted."""

    content: OrderContent
    lines: tuple[Line, ...]
    terms: PaymentTerms
    currency: str
    charges_minor: int


class OrderPassedOn(OrderEventOf, frozen=True):
    """It was accepted."""

    snapshot: OrderSnapshot


class SnapshotReplaced(OrderEventOf, frozen=True):
    """An accepted order was changed."""

    snapshot: OrderSnapshot
    effect: Effect


class DocumentsAwaited(OrderEventOf, frozen=True):
    """It waits for these references, of items and of its channel, and for no others."""

    references: tuple[str, ...]


class OrderEnded(OrderEventOf, frozen=True):
    outcome: Outcome


Life = OrderPlaced | ContentStated | OrderPassedOn | SnapshotReplaced | DocumentsAwaited | OrderEnded


# ---- requests and holds ----


class AnswerKept(OrderEventOf, frozen=True):
    """A request was answered; a repeat gets the same answer."""

    request_id: str
    digest: str
    answer: RequestAnswered
    size_bytes: int


class HoldSet(OrderEventOf, frozen=True):
    """A hold was opened, or an open one is about to end."""

    hold: Hold


class HoldGone(OrderEventOf, frozen=True):
    hold_id: str
    waived: Check | None = None
    """The failed check that a person let pass."""


class ChangeAsked(OrderEventOf, frozen=True):
    """Others are asked whether a change may pass."""

    change: PendingChange


class ChangeSettled(OrderEventOf, frozen=True):
    """The change in flight ended, one way or the other."""


Asking = AnswerKept | HoldSet | HoldGone | ChangeAsked | ChangeSettled


# ---- cancels ----


class CancelAsked(OrderEventOf, frozen=True):
    """Others are asked to cancel units."""

    pending: PendingCancel


class CancelHeard(OrderEventOf, frozen=True):
    """One of those who were asked said what it cancelled; `passed_on`: another one will answer for the rest."""

    cancel_id: str
    by: Literal["sourcing", "tracking"]
    cancelled: dict[str, int]
    passed_on: bool = False


class CancelSettled(OrderEventOf, frozen=True):
    cancel_id: str


class CancelQueued(OrderEventOf, frozen=True):
    """It waits for the end of a change."""

    wish: CancelWish


class QueueTaken(OrderEventOf, frozen=True):
    """The waiting cancels are taken up."""


Cancelling = CancelAsked | CancelHeard | CancelSettled | CancelQueued | QueueTaken


# ---- quantities and money ----

Counted = Literal["shipped", "handed_over", "cancelled", "unfillable", "credited", "came_back"]


class UnitsCounted(OrderEventOf, frozen=True):
    """These units by line did this; `came_back`: shipped, returned by the carrier, and so cancelled."""

    what: Counted
    units: dict[str, int]


class InvoiceMade(OrderEventOf, frozen=True):
    """What was handed over was invoiced."""


class PaymentClaimed(OrderEventOf, frozen=True):
    """What the channel says of a payment."""

    payment_id: str
    authorised_minor: int
    captured_minor: int


class ReportBooked(OrderEventOf, frozen=True):
    """A provider's report took effect. `request_id`: the request of ours it answers, if it does."""

    reference: str
    what: Literal["authorised", "captured", "voided", "refunded"]
    payment_id: str
    amount_minor: int
    request_id: str | None = None


class ReportSetAside(OrderEventOf, frozen=True):
    """A provider's report was seen, and does not change the money."""

    reference: str


class AuthorisationDeclined(OrderEventOf, frozen=True):
    """The provider won't authorise: what the channel claimed does not hold."""

    reference: str
    payment_id: str


class RequestRefused(OrderEventOf, frozen=True):
    """The provider refused a request of ours; a person has to look, and we don't ask again."""

    reference: str
    request_id: str


class MoneyRequested(OrderEventOf, frozen=True):
    operation: Operation


class CreditNoted(OrderEventOf, frozen=True):
    credit_id: str


Paying = PaymentClaimed | ReportBooked | ReportSetAside | AuthorisationDeclined | RequestRefused | MoneyRequested | CreditNoted
OrderEvent = Life | Asking | Cancelling | UnitsCounted | InvoiceMade | Paying
ORDER_EVENTS: tuple[type[OrderEventOf], ...] = (
    OrderPlaced,
    ContentStated,
    OrderPassedOn,
    SnapshotReplaced,
    DocumentsAwaited,
    OrderEnded,
    AnswerKept,
    HoldSet,
    HoldGone,
    ChangeAsked,
    ChangeSettled,
    CancelAsked,
    CancelHeard,
    CancelSettled,
    CancelQueued,
    QueueTaken,
    UnitsCounted,
    InvoiceMade,
    PaymentClaimed,
    ReportBooked,
    ReportSetAside,
    AuthorisationDeclined,
    RequestRefused,
    MoneyRequested,
    CreditNoted,
)


def evolve(order: Order, event: OrderEvent) -> Order:
    """The order after the event."""
    if isinstance(event, Life):
        return _live(order, event)
    if isinstance(event, Asking):
        return _ask(order, event)
    if isinstance(event, Cancelling):
        return _cancel(order, event)
    match event:
        case UnitsCounted():
            lines = {name: _counted(line, event.what, event.units.get(name, 0)) for name, line in order.lines.items()}
            return replace(order, lines=lines)
        case InvoiceMade():
            return replace(order, invoices=order.invoices + 1)
        case _:
            return replace(order, money=_pay(order.money, event))


def _live(order: Order, event: Life) -> Order:
    match event:
        case OrderPlaced():
            return replace(order, stage="held", placed=event.asked, placed_at=event.placed_at, channel=event.channel)
        case ContentStated():
            return replace(
                order,
                content=event.content,
                lines={line.line_id: line for line in event.lines},
                terms=event.terms,
                currency=event.currency,
                charges_minor=event.charges_minor,
                waived=(),
            )
        case OrderPassedOn():
            return replace(_under(order, event.snapshot, {}), stage="accepted", currency=event.snapshot.currency, content=None)
        case SnapshotReplaced():
            if event.effect != "demand":
                return _under(order, event.snapshot, order.lines)
            return replace(_under(order, event.snapshot, {}), demand_revision=event.snapshot.revision)
        case DocumentsAwaited():
            return replace(order, awaits=event.references)
        case OrderEnded():
            rejected = event.outcome == "rejected"
            lines = {} if rejected else order.lines
            return replace(order, stage="closed", outcome=event.outcome, content=None, lines=lines)
        case _:
            assert_never(event)


def _under(order: Order, snapshot: OrderSnapshot, counted: Mapping[str, Line]) -> Order:
    """The order under a snapshot; what was counted of a line goes on."""
    lines = {line.line_id: _line_of(line, counted.get(line.line_id)) for line in snapshot.lines}
    return replace(order, snapshot=snapshot, lines=lines, terms=snapshot.payment_terms, charges_minor=snapshot.charges_minor)


def _line_of(line: OrderLine, counted: Line | None) -> Line:
    if counted is None:
        return Line(line.line_id, line.kind, line.quantity, line.net_minor)
    return replace(counted, kind=line.kind, quantity=line.quantity, net_minor=line.net_minor)


def _ask(order: Order, event: Asking) -> Order:
    match event:
        case AnswerKept():
            kept = Answered(event.request_id, event.digest, event.answer, event.size_bytes)
            return replace(order, answers=(*order.answers, kept))
        case HoldSet():
            return replace(order, holds={**order.holds, event.hold.hold_id: event.hold})
        case HoldGone():
            holds = {name: hold for name, hold in order.holds.items() if name != event.hold_id}
            waived = order.waived if event.waived is None else (*order.waived, event.waived)
            return replace(order, holds=holds, waived=waived)
        case ChangeAsked():
            return replace(order, change=event.change)
        case ChangeSettled():
            return replace(order, change=None)
        case _:
            assert_never(event)


def _cancel(order: Order, event: Cancelling) -> Order:
    match event:
        case CancelAsked():
            return replace(order, cancels={**order.cancels, event.pending.wish.cancel_id: event.pending})
        case CancelHeard():
            pending = order.cancels.get(event.cancel_id)
            if pending is None:
                return order
            return replace(order, cancels={**order.cancels, event.cancel_id: _heard(pending, event)})
        case CancelSettled():
            rest = {name: pending for name, pending in order.cancels.items() if name != event.cancel_id}
            return replace(order, cancels=rest)
        case CancelQueued():
            return replace(order, queued=(*order.queued, event.wish))
        case QueueTaken():
            return replace(order, queued=())
        case _:
            assert_never(event)


def _heard(pending: PendingCancel, event: CancelHeard) -> PendingCancel:
    cancelled = dict(pending.cancelled)
    for name, units in event.cancelled.items():
        cancelled[name] = cancelled.get(name, 0) + units
    if event.by == "tracking":
        return replace(pending, cancelled=cancelled, tracking_heard=True)
    return replace(pending, cancelled=cancelled, sourcing_heard=True, passed_on=event.passed_on)


def _counted(line: Line, what: Counted, units: int) -> Line:
    match what:
        case "shipped":
            return replace(line, shipped=line.shipped + units)
        case "handed_over":
            return replace(line, handed_over=line.handed_over + units)
        case "cancelled":
            return replace(line, cancelled=line.cancelled + units)
        case "unfillable":
            return replace(line, unfillable=line.unfillable + units)
        case "credited":
            return replace(line, credited=line.credited + units)
        case "came_back":
            return replace(line, cancelled=line.cancelled + units, shipped=max(0, line.shipped - units))
        case _:
            assert_never(what)


def _pay(money: Money, event: Paying) -> Money:
    match event:
        case PaymentClaimed():
            payment = _payment(money, event.payment_id)
            return _with(
                money,
                replace(
                    payment,
                    claimed_authorised_minor=max(payment.claimed_authorised_minor, event.authorised_minor),
                    claimed_captured_minor=max(payment.claimed_captured_minor, event.captured_minor),
                ),
            )
        case ReportBooked():
            after = _with(money, _booked(_payment(money, event.payment_id), money, event))
            return _seen(_without(after, event.request_id), event.reference)
        case ReportSetAside():
            return _seen(money, event.reference)
        case AuthorisationDeclined():
            payment = replace(_payment(money, event.payment_id), claimed_authorised_minor=0, claimed_captured_minor=0)
            return _seen(_with(money, payment), event.reference)
        case RequestRefused():
            return _seen(_refused(money, money.operations.get(event.request_id)), event.reference)
        case MoneyRequested():
            operations = {**money.operations, event.operation.request_id: event.operation}
            return replace(money, operations=operations, requested=money.requested + 1)
        case CreditNoted():
            return replace(money, credits=(*money.credits, event.credit_id))
        case _:
            assert_never(event)


def _booked(payment: Payment, money: Money, event: ReportBooked) -> Payment:
    amount = event.amount_minor
    operation = money.operations.get(event.request_id) if event.request_id is not None else None
    missing = operation.amount_minor - amount if operation is not None else 0
    match event.what:
        case "authorised":
            return replace(payment, authorised_minor=payment.authorised_minor + amount, capture_refused=False)
        case "captured" if operation is not None:
            captured = payment.captured_for_us_minor + amount
            refused = payment.capture_refused or missing != 0
            return replace(payment, captured_for_us_minor=captured, capture_refused=refused)
        case "captured":
            return replace(payment, captured_minor=payment.captured_minor + amount)
        case "voided":
            refused = payment.void_refused or missing != 0
            return replace(payment, voided_minor=payment.voided_minor + amount, void_refused=refused)
        case "refunded" if operation is not None:
            left = payment.left_to_a_person_minor + max(0, missing)
            refunded = payment.refunded_for_us_minor + amount
            return replace(payment, refunded_for_us_minor=refunded, left_to_a_person_minor=left)
        case "refunded":
            return replace(payment, refunded_minor=payment.refunded_minor + amount)
        case _:
            assert_never(event.what)


def _refused(money: Money, operation: Operation | None) -> Money:
    if operation is None:
        return money
    payment = _payment(money, operation.payment_id)
    match operation.kind:
        case "capture":
            payment = replace(payment, capture_refused=True)
        case "void":
            payment = replace(payment, void_refused=True)
        case "refund":
            left = payment.left_to_a_person_minor + operation.amount_minor
            payment = replace(payment, left_to_a_person_minor=left)
        case _:
            assert_never(operation.kind)
    return _without(_with(money, payment), operation.request_id)


def _payment(money: Money, payment_id: str) -> Payment:
    return money.payments.get(payment_id) or Payment(payment_id)


def _with(money: Money, payment: Payment) -> Money:
    return replace(money, payments={**money.payments, payment.payment_id: payment})


def _without(money: Money, request_id: str | None) -> Money:
    operations = {name: operation for name, operation in money.operations.items() if name != request_id}
    return replace(money, operations=operations)


def _seen(money: Money, reference: str) -> Money:
    return replace(money, booked=(*money.booked, reference)[-MOST_BOOKED_REPORTS:])
