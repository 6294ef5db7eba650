"""Payment reports: facts, booked once each, whatever their order; money and held orders follow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal, assert_never

from schemas.payments import PaymentAuthorised, PaymentCaptured, PaymentDeclined, PaymentRefunded, PaymentVoided
from services.order_capture import money
from services.order_capture.acceptance import look_again
from services.order_capture.case import Case, money_exception
from services.order_capture.events import AuthorisationDeclined, ReportBooked, ReportSetAside, RequestRefused
from services.order_capture.state import Operation
from shared.kernel.model import Keep, Yield

Report = PaymentAuthorised | PaymentCaptured | PaymentDeclined | PaymentRefunded | PaymentVoided
KEPT_FOR = timedelta(minutes=10)
"""How long a report waits for its order, which comes on another topic."""


def book(case: Case, report: Report) -> Iterator[Yield]:
    """Book a report once per payment, kind, and request or instant."""
    if case.order.stage == "unknown" and not case.given.overdue:
        yield Keep(case.key, case.now + KEPT_FOR)
        return
    earlier = [seen for seen in case.order.money.booked if seen.startswith(_identity(report) + " ")]
    if _reference(report) in earlier:
        return
    yield from _doubts(case, report)
    if earlier or _foreign(case, report):
        yield from _set_aside(case, report, "Reported before with another amount" if earlier else "Another currency")
        return
    yield from _take_in(case, report)
    yield from look_again(case)
    yield from money.settle(case, "payment reported")


def _take_in(case: Case, report: Report) -> Iterator[Yield]:
    operation = _operation(case, report)
    if isinstance(report, PaymentDeclined):
        yield from _declined(case, report, operation)
        return
    request_id = operation.request_id if operation is not None else None
    if operation is not None and operation.amount_minor != report.amount_minor:
        detail = f"Asked to {operation.kind} {operation.amount_minor}, reported {report.amount_minor}."
        yield money_exception(case, "amount_differs", detail, "Check the payment with its provider.")
    yield ReportBooked(case.order_id, _reference(report), _what(report), report.payment_id, report.amount_minor, request_id)


def _declined(case: Case, report: PaymentDeclined, operation: Operation | None) -> Iterator[Yield]:
    reason = report.reason or "no reason given"
    if operation is None:
        detail = f"Payment {report.payment_id} was declined: {reason}"
        yield AuthorisationDeclined(case.order_id, _reference(report), report.payment_id)
        yield money_exception(case, "payment_declined", detail[:500], "Ask the buyer for another payment.")
        return
    detail = f"The {operation.kind} of {operation.amount_minor} on payment {report.payment_id} was refused: {reason}"
    yield RequestRefused(case.order_id, _reference(report), operation.request_id)
    kind: Literal["capture_refused", "payment_declined"] = "capture_refused" if operation.kind == "capture" else "payment_declined"
    yield money_exception(case, kind, detail[:500], _ACTIONS[operation.kind])


_ACTIONS = {
    "capture": "Collect the amount from the buyer, or have the payment authorised anew.",
    "void": "Give up the authorisation at the provider by hand, or let it expire.",
    "refund": "Pay the amount back by other means.",
}


def _doubts(case: Case, report: Report) -> Iterator[Yield]:
    """A fact is booked all the same; a person should look."""
    order = case.order
    known = order.stage != "unknown" and report.payment_id in order.money.payments
    moved = isinstance(report, PaymentCaptured | PaymentRefunded | PaymentVoided)
    if order.stage == "unknown" or (moved and not known):
        detail = f"{type(report).__name__} of {report.amount_minor} for payment {report.payment_id}, which nobody named."
        yield money_exception(case, "unknown_payment", detail, "Find the order this payment belongs to.")
    if isinstance(report, PaymentRefunded) and known and _operation(case, report) is None:
        payment = order.money.payments[report.payment_id]
        if report.amount_minor > order.money.refundable_of(payment):
            detail = f"{report.amount_minor} was refunded on payment {report.payment_id}, more than was left of it."
            yield money_exception(case, "refund_exceeds_captured", detail, "Check the refunds with the provider.")


def _set_aside(case: Case, report: Report, why: str) -> Iterator[Yield]:
    yield ReportSetAside(case.order_id, _reference(report))
    detail = f"{why}: {type(report).__name__} of {report.amount_minor} {report.currency} for {report.payment_id}."
    yield money_exception(case, "amount_differs", detail, "Check the payment with its provider; it was not booked.")


def _foreign(case: Case, report: Report) -> bool:
    return case.order.currency not in ("", report.currency)


def _operation(case: Case, report: Report) -> Operation | None:
    """The request of ours that this report answers."""
    operation = case.order.money.operations.get(report.request_id) if report.request_id is not None else None
    if operation is None or isinstance(report, PaymentDeclined):
        return operation
    answers = {"capture": "captured", "void": "voided", "refund": "refunded"}[operation.kind] == _what(report)
    return operation if answers and operation.payment_id == report.payment_id else None


def _what(
    report: PaymentAuthorised | PaymentCaptured | PaymentRefunded | PaymentVoided,
) -> Literal["authorised", "captured", "voided", "refunded"]:
    match report:
        case PaymentAuthorised():
            return "authorised"
        case PaymentCaptured():
            return "captured"
        case PaymentVoided():
            return "voided"
        case PaymentRefunded():
            return "refunded"
        case _:
            assert_never(report)


def _identity(report: Report) -> str:
    """What makes a report the same one: payment, kind, and the request it answers or its instant."""
    return f"{report.payment_id}:{type(report).__name__}:{report.request_id or report.occurred_at.isoformat()}"


def _reference(report: Report) -> str:
    return f"{_identity(report)} {report.amount_minor} {report.currency}"
