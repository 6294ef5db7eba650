"""The order's money follows its quantities: whatever is missing between the two is asked of the payment providers.

    owed      what the buyer owes in the end, as things stand
    billed    what the buyer owes for what has left so far
    taken     what we captured or are capturing, less what we gave back or are giving back

Billed above taken is captured; what was captured above what may be kept is refunded; what is authorised beyond the end is voided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from schemas.orders import InvoicedLine, OrderInvoiced
from schemas.payments import CapturePayment, PaymentRequest, RefundPayment, VoidPayment
from services.order_capture.case import Case, money_exception
from services.order_capture.events import InvoiceMade, MoneyRequested
from services.order_capture.rules import spread
from services.order_capture.state import CAPTURING_TERMS, MoneyRequest, Operation, Order, Payment
from shared.kernel.model import Yield

_TYPES: Mapping[MoneyRequest, type[PaymentRequest]] = {
    "capture": CapturePayment,
    "void": VoidPayment,
    "refund": RefundPayment,
}


def settle(case: Case, reason: str) -> Iterator[Yield]:
    """Ask for whatever is missing between the money and the quantities; asked again, it asks for nothing."""
    if case.order.stage == "unknown" or not case.order.money.payments:
        return
    yield from _capture(case, reason)
    yield from _refund(case, reason)
    if case.order.stage == "closed":
        yield from _void(case, reason)


def shortage_minor(order: Order) -> int:
    """What left for the buyer and can't be captured, where this service is to take the money."""
    return max(0, order.billed_minor - order.money.taken_minor) if order.terms in CAPTURING_TERMS else 0


def invoice(case: Case, units: Mapping[str, int]) -> Iterator[Yield]:
    """Invoice units about to be counted as handed over: the pieces of a line add up to the line to the cent."""
    order = case.order
    lines = tuple(_invoiced(order, name, count) for name, count in units.items())
    charges = order.charges_minor if order.invoices == 0 else 0
    yield InvoiceMade(case.order_id)
    yield OrderInvoiced(
        order_id=case.order_id,
        invoice_id=f"{case.order_id}/invoice-{order.invoices + 1}",
        lines=lines,
        charges_minor=charges,
        amount_minor=charges + sum(line.amount_minor for line in lines),
        currency=order.currency,
    )


def explain_shortage(case: Case) -> Iterator[Yield]:
    """At the end of an order: a person collects what no payment covers."""
    short = shortage_minor(case.order)
    if short > 0:
        detail = f"{short} {case.order.currency} (minor units) of what was delivered is covered by no payment."
        yield money_exception(case, "amount_differs", detail, "Collect the rest from the buyer.")


def _capture(case: Case, reason: str) -> Iterator[Yield]:
    money = case.order.money
    payments = tuple(money.payments.values())
    rooms = [money.capturable_of(payment) for payment in payments]
    yield from _request(case, "capture", payments, spread(shortage_minor(case.order), rooms), reason)


def _refund(case: Case, reason: str) -> Iterator[Yield]:
    money = case.order.money
    excess = max(0, money.refundable_minor - case.order.keepable_minor)
    payments = tuple(reversed(money.payments.values()))
    rooms = [money.refundable_of(payment) for payment in payments]
    yield from _request(case, "refund", payments, spread(excess, rooms), reason)


def _void(case: Case, reason: str) -> Iterator[Yield]:
    money = case.order.money
    payments = tuple(payment for payment in money.payments.values() if not payment.void_refused)
    yield from _request(case, "void", payments, [money.unused_of(payment) for payment in payments], reason)


def _request(case: Case, kind: MoneyRequest, payments: Sequence[Payment], amounts: Sequence[int], reason: str) -> Iterator[Yield]:
    for payment, amount in zip(payments, amounts, strict=True):
        if amount > 0:
            request_id = str(case.given.id(kind, case.order.money.requested))
            yield MoneyRequested(case.order_id, Operation(request_id, kind, payment.payment_id, amount))
            yield _TYPES[kind](
                request_id=request_id,
                order_id=case.order_id,
                payment_id=payment.payment_id,
                amount_minor=amount,
                currency=case.order.currency,
                reason=reason,
            )


def _invoiced(order: Order, name: str, units: int) -> InvoicedLine:
    line = order.lines[name]
    amount = line.value_between_minor(line.handed_over, units)
    return InvoicedLine(line_id=name, quantity=units, amount_minor=amount)
