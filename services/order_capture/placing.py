"""Placing an order, and changing one that nobody else has yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.channel import ChangeOrder, Problem
from schemas.orders import OrderClosed, OrderRejected
from services.order_capture import money
from services.order_capture.acceptance import accept, go_on, watch_cancel_after
from services.order_capture.case import Case, answer
from services.order_capture.content import Content, Payment, PlaceOrder, by_contract
from services.order_capture.ending import CANCEL_AFTER
from services.order_capture.events import (
    ContentStated,
    OrderEnded,
    OrderEvent,
    OrderPlaced,
    PaymentClaimed,
    evolve,
)
from services.order_capture.projection import Catalogue
from services.order_capture.review import Draft, Finding, draft_lines, review
from services.order_capture.rules import charges_net_minor
from services.order_capture.snapshot import lines_of
from services.order_capture.state import Asked, Order
from shared.kernel.model import Wake, Yield


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
    draft = draft_anew(case.order, request.channel, request.order, case.view)
    findings = review(draft, case.view, case.now)
    if any(finding.check is None for finding in findings):
        yield from answer(case, asked, "declined", _problems(findings))
    else:
        yield from _stated(case.order_id, request.order)
        yield watch_cancel_after(case)
        yield from _let_go_on(case, draft, asked, findings)


def draft_anew(order: Order, channel: str, content: Content, view: Catalogue) -> Draft:
    """The order as it would stand with this content and what it says of payments."""
    after = order
    for claim in claims_of(order.order_id, content.payments):
        after = evolve(after, claim)
    lines = lines_of(content)
    owed = charges_net_minor(content) + sum(line.net_minor for line in lines)
    covered = max(after.money.covers_minor, order.money.covers_minor)
    return Draft(channel, content, draft_lines(content, channel, lines, view), owed, covered)


def claims_of(order_id: str, payments: Sequence[Payment]) -> Iterator[OrderEvent]:
    """What the channel says of its payments; pending ones are worth nothing yet."""
    for payment in payments:
        captured = payment.amount_minor if payment.status == "captured" else 0
        authorised = payment.amount_minor if payment.status != "pending" else 0
        yield PaymentClaimed(order_id, payment.payment_id, authorised, captured)


def _take_in(case: Case, request: PlaceOrder, asked: Asked) -> Iterator[Yield]:
    """Content is kept only while the order isn't accepted: one in which nothing is wrong goes on without."""
    content = request.order
    draft = draft_anew(case.order, request.channel, content, case.view)
    findings = review(draft, case.view, case.now)
    yield OrderPlaced(case.order_id, asked, request.placed_at, request.channel)
    if any(finding.check is None for finding in findings):
        yield from _stated(case.order_id, content)
        yield from _reject(case, asked, findings)
        return
    if content.cancel_after is not None:
        yield Wake(case.key, CANCEL_AFTER, content.cancel_after)
    if findings:
        yield from _stated(case.order_id, content)
        yield from _let_go_on(case, draft, asked, findings)
    else:
        yield from claims_of(case.order_id, content.payments)
        yield from answer(case, asked, "accepted")
        yield from accept(case, draft)


def _stated(order_id: str, content: Content) -> Iterator[OrderEvent]:
    charges = charges_net_minor(content)
    yield ContentStated(order_id, by_contract(content), lines_of(content), content.payment_terms, content.currency, charges)
    yield from claims_of(order_id, content.payments)


def _let_go_on(case: Case, draft: Draft, asked: Asked, findings: Sequence[Finding]) -> Iterator[Yield]:
    """Accepted, or held with every reason. The request has its answer before anything follows from it."""
    held = bool(findings) or any(hold.check is None for hold in case.order.holds.values())
    yield from answer(case, asked, "held" if held else "accepted", _problems(findings))
    yield from go_on(case, draft, findings)


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
