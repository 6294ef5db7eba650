"""Changing an accepted order: prices at once, anything about the goods after the word of whoever holds them."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.channel import ChangeOrder, Problem
from schemas.forms import ChangeRequested, OrderChanged, OrderSnapshot
from schemas.fulfilment import ChangeAnswered
from schemas.sourcing import ChangePassedOn
from services.order_capture.acceptance import watch_cancel_after
from services.order_capture.cancels import take_queue
from services.order_capture.case import Case, answer, decline
from services.order_capture.ending import carry_on
from services.order_capture.events import ChangeAsked, ChangeSettled, SnapshotReplaced
from services.order_capture.placing import claims_of, draft_anew
from services.order_capture.review import Draft, review
from services.order_capture.snapshot import effect_of, snapshot_of
from services.order_capture.state import Asked, Effect, Order, PendingChange
from shared.kernel.model import Yield


def change(case: Case, request: ChangeOrder, asked: Asked) -> Iterator[Yield]:
    """The channel states the whole content again. Declined with every reason, or passed on by what it touches."""
    old = case.order.snapshot
    assert old is not None
    draft = draft_anew(case.order, request.channel, request.order, case.view)
    problems = _problems(case, draft, old)
    if problems:
        yield from answer(case, asked, "declined", problems)
        return
    new = snapshot_of(draft, case.view, order_id=case.order_id, placed_at=old.placed_at, revision=old.revision + 1)
    effect = effect_of(old, new)
    refusal = _refusal(case.order, new, effect)
    if refusal is not None:
        yield from answer(case, asked, "declined", (refusal,))
        return
    yield from claims_of(case.order_id, request.order.payments)
    if effect == "commercial" or effect is None:
        yield from _pass(case, PendingChange(asked, new, "commercial") if effect else None, asked)
    else:
        yield from _ask(case, PendingChange(asked, new, effect))


def hear_sourcing(case: Case, said: ChangePassedOn) -> Iterator[Yield]:
    if _waits_for(case.order, said.request_id) and not said.passed_on:
        yield from _end(case, said.accepted, "Work on the order has begun.")


def hear_tracking(case: Case, said: ChangeAnswered) -> Iterator[Yield]:
    """Only asked where sourcing passed the change on, so it is the last word, even where it comes first."""
    if _waits_for(case.order, said.request_id):
        yield from _end(case, said.accepted, said.detail or "Work on the order has begun.")


def _waits_for(order: Order, request_id: str) -> bool:
    return order.change is not None and order.change.asked.request_id == request_id


def _ask(case: Case, pending: PendingChange) -> Iterator[Yield]:
    yield ChangeAsked(case.order_id, pending)
    yield ChangeRequested(
        order_id=case.order_id,
        request_id=pending.asked.request_id,
        order=pending.snapshot,
        demand_changed=pending.effect == "demand",
    )


def _end(case: Case, accepted: bool, why_not: str) -> Iterator[Yield]:
    pending = case.order.change
    assert pending is not None
    yield ChangeSettled(case.order_id)
    if accepted:
        yield from _pass(case, pending, pending.asked)
    else:
        yield from decline(case, pending.asked, "too_late", why_not, "Cancel the order and place a new one.")
    yield from take_queue(case)
    yield from carry_on(case, "order changed")


def _pass(case: Case, change: PendingChange | None, asked: Asked) -> Iterator[Yield]:
    """The change holds. None: it changes nothing but payments."""
    if change is not None:
        yield SnapshotReplaced(case.order_id, change.snapshot, change.effect)
        yield OrderChanged(order_id=case.order_id, order=change.snapshot, effect=change.effect)
        yield watch_cancel_after(case)
    yield from answer(case, asked, "accepted")
    yield from carry_on(case, "order changed")


def _problems(case: Case, draft: Draft, old: OrderSnapshot) -> tuple[Problem, ...]:
    """Everything that speaks against the content itself."""
    order = case.order
    if order.busy:
        message = "A cancel or change of this order is under way."
        return (Problem(code="busy", message=message, remedy="Send it again once that one is answered."),)
    content = draft.content
    fixed = {
        "kind": (old.kind, content.kind),
        "currency": (old.currency, content.currency),
        "payment_terms": (old.payment_terms, content.payment_terms),
    }
    findings = review(draft, case.view, case.now)
    return (
        *(finding.problem for finding in findings),
        *(
            Problem(code="fixed", field=f"order.{name}", message=f"It is {was} and stays so once accepted.")
            for name, (was, wished) in fixed.items()
            if was != wished
        ),
    )


def _refusal(order: Order, new: OrderSnapshot, effect: Effect | None) -> Problem | None:
    """What already happened to the order and can't be undone by a change."""
    lines = order.lines.values()
    if effect is not None and any(line.shipped or line.handed_over for line in lines):
        message = "Units of the order have left already."
        return Problem(code="too_late", message=message, remedy="Cancel what is left and place a new order.")
    started = any(line.cancelled or line.unfillable for line in lines)
    quantities = {line.line_id: line.quantity for line in new.lines}
    if started and (effect == "demand" or quantities != {line.line_id: line.quantity for line in lines}):
        message = "Units of the order were cancelled or can't be had: its lines can no longer be replaced."
        return Problem(code="partly_ended", message=message, remedy="Cancel what is left and place a new order.")
    return None
