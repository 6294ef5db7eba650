"""Placing an order, and changing one that nobody else has yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.channel import ChangeOrder, OrderContent, Payment, PlaceOrder, Problem
from schemas.orders import OrderClosed, OrderRejected
from services.order_capture import money
from services.order_capture.acceptance import draft_of, go_on, watch_cancel_after
from services.order_capture.case import Case, answer
from services.order_capture.events import (
    ContentStated,
    OrderEnded,
    OrderEvent,
    OrderPlaced,
    PaymentClaimed,
    evolve,
)
from services.order_capture.review import Finding, review
from services.order_capture.rules import charges_net_minor
from services.order_capture.snapshot import lines_of, without_unknown
from services.order_capture.state import Asked
from shared.kernel.model import Yield


def place(case: Case, request: PlaceOrder, asked: Asked) -> Iterator[Yield]:
    """A channel's own reference is placed once: the same content again has no effect, other content is a conflict."""
    placed = case.order.placed
    if placed is None:
        yield from _take_in(case, request, asked)
    elif placed.digest == asked.digest:
        yield from _repeat(case, placed, asked)
    else:
        message = "This reference was placed before with other content; the first order stands untouched."
        remedy = "Change it with ChangeOrder, or place a new order under a new reference."
        yield from answer(case, asked, "conflict", (Problem(code="conflict", message=message, remedy=remedy),))


def change_held(case: Case, request: ChangeOrder, asked: Asked) -> Iterator[Yield]:
    """Nobody else has the order: its content is replaced, if the new one isn't refused."""
    stated = tuple(_stated(case.order_id, request.order, asked))
    after = case.order
    for event in stated:
        after = evolve(after, event)
    findings = review(draft_of(after), case.view, case.now)
    if any(finding.check is None for finding in findings):
        yield from answer(case, asked, "declined", _problems(findings))
    else:
        yield from stated
        yield watch_cancel_after(case)
        yield from _let_go_on(case, asked, findings)


def claims_of(order_id: str, payments: Sequence[Payment]) -> Iterator[OrderEvent]:
    """What the channel says of its payments; pending ones are worth nothing yet."""
    for payment in payments:
        captured = payment.amount_minor if payment.status == "captured" else 0
        authorised = payment.amount_minor if payment.status != "pending" else 0
        yield PaymentClaimed(order_id, payment.payment_id, authorised, captured)


def _take_in(case: Case, request: PlaceOrder, asked: Asked) -> Iterator[Yield]:
    yield OrderPlaced(case.order_id, asked, request.placed_at, request.channel)
    yield from _stated(case.order_id, request.order, asked)
    findings = review(draft_of(case.order), case.view, case.now)
    if any(finding.check is None for finding in findings):
        yield from _reject(case, asked, findings)
    else:
        if case.order.cancel_after is not None:
            yield watch_cancel_after(case)
        yield from _let_go_on(case, asked, findings)


def _stated(order_id: str, content: OrderContent, asked: Asked) -> Iterator[OrderEvent]:
    charges = charges_net_minor(content)
    kept = without_unknown(content) if asked.unknown_fields else content
    yield ContentStated(order_id, kept, lines_of(content), content.payment_terms, content.currency, charges)
    yield from claims_of(order_id, content.payments)


def _let_go_on(case: Case, asked: Asked, findings: Sequence[Finding]) -> Iterator[Yield]:
    """Accepted, or held with every reason. The request has its answer before anything follows from it."""
    held = bool(findings) or any(hold.check is None for hold in case.order.holds.values())
    yield from answer(case, asked, "held" if held else "accepted", _problems(findings))
    yield from go_on(case, findings)


def _reject(case: Case, asked: Asked, findings: Sequence[Finding]) -> Iterator[Yield]:
    problems = _problems(findings)
    yield from answer(case, asked, "declined", problems)
    yield OrderEnded(case.order_id, "rejected")
    yield OrderRejected(order_id=case.order_id, channel=case.order.channel, problems=problems)
    yield OrderClosed(order_id=case.order_id, outcome="rejected")
    yield from money.settle(case, "order rejected")


def _repeat(case: Case, placed: Asked, asked: Asked) -> Iterator[Yield]:
    for answered in case.order.answers_to(placed.request_id):
        if answered.digest == placed.digest:
            yield answered.answer.model_copy(update={"request_id": asked.request_id, "repeated": True})


def _problems(findings: Sequence[Finding]) -> tuple[Problem, ...]:
    return tuple(finding.problem for finding in findings)
