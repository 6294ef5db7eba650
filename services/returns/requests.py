"""Requests to send goods back, and to keep them after all. Each is answered once; a repeat gets the stored answer again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from schemas.orders import LineQuantity
from schemas.reference import Location, Policy
from schemas.returns import (
    CancelReturn,
    LeftLine,
    RequestReturn,
    ReturnAuthorised,
    ReturnCancelled,
    ReturnDeclined,
    ReturnExpired,
)
from services.returns.events import AnswerNoted, ReturnEnded, ReturnOpened, ReuseNoted, Units
from services.returns.exceptions import open_exception
from services.returns.rules import is_full, window_is_over
from services.returns.state import (
    Answer,
    Answered,
    Purchase,
    in_order,
    purchase_key,
    request_key,
    return_id_of,
)
from shared.kernel.model import Input, Keep, Unreadable, Wake, Woken, World, Yield
from shared.kernel.views import Documents

UNKNOWN_ORDER_WAIT = timedelta(seconds=30)
"""How long a request waits for its order to be known: orders exist long before their returns."""
HAND_OVER_WAIT = timedelta(seconds=5)
"""How long a request waits for the news that units still under way were handed over."""
MAX_REUSES = 20
"""Most other contents of one request id that are remembered."""

Reason = Literal["exceeds_returnable", "unknown_order", "unknown_line", "window_over", "too_many_returns"]


def request_return(world: World, given: Input[object], request: RequestReturn, view: Documents) -> Iterator[Yield]:
    answered = world.get(request_key(request.order_id, request.request_id), Answered())
    if answered.answer is not None:
        yield from _answer_again(answered, request)
        return
    purchase = world.get(purchase_key(request.order_id), Purchase())
    wait = _wait(purchase, request)
    if wait and not given.overdue:
        yield Keep(purchase_key(request.order_id), given.now + wait)
        return
    policy = _policy(purchase, view)
    reason = _refusal(purchase, request, given.now, policy)
    if reason is None:
        yield from _authorise(purchase, request, given.now, policy, view)
    else:
        yield from _decline(purchase, given, request, reason, policy)


def cancel_return(world: World, given: Input[object], request: CancelReturn) -> Iterator[Yield]:
    answered = world.get(request_key(request.order_id, request.request_id), Answered())
    if answered.answer is not None:
        yield from _answer_again(answered, request)
        return
    purchase = world.get(purchase_key(request.order_id), Purchase())
    if not purchase.known and not given.overdue:
        yield Keep(purchase_key(request.order_id), given.now + UNKNOWN_ORDER_WAIT)
        return
    if request.return_id in purchase.returns:
        yield ReturnEnded(request.order_id, request.return_id, "cancelled")
        yield Wake(purchase_key(request.order_id), expiry_of(request.return_id), None)
    yield from _answer(request, _word_on_cancel(purchase, request))


def expire_return(world: World, woken: Woken) -> Iterator[Yield]:
    """The deadline of a return has come; whatever is still expected of it may be requested again."""
    order_id, return_id = woken.key.id, return_of_expiry(woken.key.id, woken.name)
    expected = world.get(woken.key, Purchase()).returns.get(return_id)
    if expected is None or expected.expires_at > woken.due:
        return
    yield ReturnEnded(order_id, return_id, "expired")
    lines = tuple(LineQuantity(line_id=name, quantity=n) for name, n in in_order(expected.lines) if n)
    yield ReturnExpired(order_id=order_id, return_id=return_id, lines=lines)


def refuse_unreadable(body: Unreadable) -> Iterator[Yield]:
    detail = "; ".join(f"{problem.field}: {problem.message}" for problem in body.problems)
    yield ReturnDeclined(order_id=body.order_id, request_id=body.request_id, reason="unreadable", detail=detail[:500])


def expiry_of(return_id: str) -> str:
    """The name of the timer of a return's deadline: `expire:r<n>`."""
    return f"expire:{return_id.rpartition('/')[2]}"


def return_of_expiry(order_id: str, timer: str) -> str:
    return f"{order_id}/{timer.removeprefix('expire:')}"


def _policy(purchase: Purchase, view: Documents) -> Policy:
    name = purchase.policy or "default"
    return view.get(Policy, name) or Policy(policy=name)


def _asked(request: RequestReturn) -> dict[str, int]:
    asked: dict[str, int] = {}
    for line in request.lines:
        asked[line.line_id] = asked.get(line.line_id, 0) + line.quantity
    return asked


def _wait(purchase: Purchase, request: RequestReturn) -> timedelta | None:
    """How long to wait for news that may turn a no into a yes."""
    if purchase.policy is None:
        return UNKNOWN_ORDER_WAIT
    for line_id, quantity in _asked(request).items():
        lacking = quantity - purchase.returnable(line_id)
        if 0 < lacking <= purchase.line(line_id).under_way:
            return HAND_OVER_WAIT
    return None


def _refusal(purchase: Purchase, request: RequestReturn, now: datetime, policy: Policy) -> Reason | None:
    asked = _asked(request)
    if not purchase.known:
        return "unknown_order"
    if any(line_id not in purchase.lines for line_id in asked):
        return "unknown_line"
    if any(_is_over(purchase, line_id, request, now, policy) for line_id in asked):
        return "window_over"
    if any(quantity > purchase.returnable(line_id) for line_id, quantity in asked.items()):
        return "exceeds_returnable"
    return "too_many_returns" if is_full(purchase, len(asked)) else None


def _is_over(purchase: Purchase, line_id: str, request: RequestReturn, now: datetime, policy: Policy) -> bool:
    """Judged at the time the buyer asked: a request does not grow late in a queue."""
    asked_at = min(request.requested_at, now)
    return window_is_over(purchase, line_id, asked_at, timedelta(seconds=policy.return_window_s))


def _authorise(purchase: Purchase, request: RequestReturn, now: datetime, policy: Policy, view: Documents) -> Iterator[Yield]:
    return_id = return_id_of(request.order_id, len(purchase.returns) + len(purchase.ended) + 1)
    expires_at = now + timedelta(seconds=policy.return_deadline_s)
    return_to = _destination(request, view)
    asked = _asked(request)
    lines = tuple(Units(line_id, quantity) for line_id, quantity in asked.items())
    yield ReturnOpened(request.order_id, return_id, lines, return_to, expires_at)
    yield Wake(purchase_key(request.order_id), expiry_of(return_id), expires_at)
    answer = ReturnAuthorised(
        order_id=request.order_id,
        request_id=request.request_id,
        return_id=return_id,
        lines=tuple(LineQuantity(line_id=name, quantity=quantity) for name, quantity in asked.items()),
        return_to=return_to,
        expires_at=expires_at,
    )
    yield from _answer(request, answer)


def _destination(request: RequestReturn, view: Documents) -> str | None:
    """Where it shall come back: where the buyer said, unless that location has closed for good; None: anywhere."""
    location = view.get(Location, request.return_to) if request.return_to else None
    return None if location is not None and not location.active else request.return_to


def _decline(purchase: Purchase, given: Input[object], request: RequestReturn, reason: Reason, policy: Policy) -> Iterator[Yield]:
    lines = tuple(
        LeftLine(line_id=line_id, asked=quantity, left=_left(purchase, line_id, request, given.now, policy))
        for line_id, quantity in _asked(request).items()
    )
    declined = ReturnDeclined(
        order_id=request.order_id,
        request_id=request.request_id,
        reason=reason,
        lines=() if reason == "unknown_order" else lines,
    )
    yield from _answer(request, declined)
    if given.late:
        detail = f"request {request.request_id} was declined ({reason}) while older news was unread"
        yield from open_exception(
            purchase, request.order_id, "late_fact", detail, "Look at the order now; ask again for the buyer if it may."
        )


def _left(purchase: Purchase, line_id: str, request: RequestReturn, now: datetime, policy: Policy) -> int:
    return 0 if _is_over(purchase, line_id, request, now, policy) else purchase.returnable(line_id)


def _word_on_cancel(purchase: Purchase, request: CancelReturn) -> ReturnCancelled | ReturnDeclined:
    if request.return_id in purchase.returns:
        return ReturnCancelled(order_id=request.order_id, request_id=request.request_id, return_id=request.return_id)
    ending = purchase.ended.get(request.return_id)
    return ReturnDeclined(
        order_id=request.order_id,
        request_id=request.request_id,
        reason=_why_not_cancelled(purchase, request),
        detail="" if ending is None else f"it has ended: {ending}",
    )


def _why_not_cancelled(purchase: Purchase, request: CancelReturn) -> Literal["unknown_order", "already_received", "unknown_return"]:
    if not purchase.known:
        return "unknown_order"
    return "already_received" if purchase.ended.get(request.return_id) == "received" else "unknown_return"


def _answer(request: RequestReturn | CancelReturn, answer: Answer) -> Iterator[Yield]:
    yield AnswerNoted.of(_digest(request), request.request_id, answer)
    yield answer


def _answer_again(answered: Answered, request: RequestReturn | CancelReturn) -> Iterator[Yield]:
    """The stored answer for the same content; for other content under the same request id a refusal."""
    digest = _digest(request)
    if answered.answer is not None and digest == answered.digest:
        yield answered.answer.model_copy(update={"repeated": True})
        return
    seen = digest in answered.reused
    if not seen and len(answered.reused) < MAX_REUSES:
        yield ReuseNoted(request.order_id, request.request_id, digest)
    yield ReturnDeclined(
        order_id=request.order_id,
        request_id=request.request_id,
        reason="request_id_reused",
        detail="this request id has its answer for other content; ask again under a new one",
        repeated=seen,
    )


def _digest(request: RequestReturn | CancelReturn) -> str:
    """Of what is asked; who asked and when may differ between two sendings of one request."""
    content = request.model_dump_json(exclude={"requested_at", "actor"})
    return hashlib.sha256(f"{type(request).__name__} {content}".encode()).hexdigest()[:32]
