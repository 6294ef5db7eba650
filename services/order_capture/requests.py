"""The front door: every request of a channel gets its final answer once; a repeat gets the same answer again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import assert_never

from schemas.channel import (
    CancelOrder,
    ChangeOrder,
    HoldOrder,
    Problem,
    RequestAnswered,
    ResolveHold,
)
from schemas.topics import CHANNEL_ORDERS
from services.order_capture import changes
from services.order_capture.acceptance import draft_of, look_again
from services.order_capture.cancels import cancel
from services.order_capture.case import Case, answer, asked_by, decline
from services.order_capture.content import PlaceOrder
from services.order_capture.holds import begin_end, deadline_of, end_hold, open_hold
from services.order_capture.placing import change_held, place
from services.order_capture.review import awaited_references
from services.order_capture.state import MOST_OPEN_HOLDS, Asked, CancelWish, Hold
from shared.kernel.model import Unreadable, Yield

ChannelOrder = PlaceOrder | ChangeOrder | CancelOrder | HoldOrder | ResolveHold
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+-]{1,128}", re.ASCII)
_MOST_UNITS = 1_000_000_000
_TYPES = frozenset(kind.__name__ for kind in CHANNEL_ORDERS.types)


def take(case: Case, request: ChannelOrder) -> Iterator[Yield]:
    """Answer a repeat as before, keep silent while its answer is still to come, else see to it."""
    asked = asked_by(request)
    answered = case.order.answers_to(asked.request_id)
    waiting = [other for other in case.order.waiting_requests() if other.request_id == asked.request_id]
    same = [earlier.answer for earlier in answered if earlier.digest == asked.digest]
    if same:
        yield same[0].model_copy(update={"repeated": True})
    elif answered or any(other.digest != asked.digest for other in waiting):
        message = "This request id was used before for another request."
        problem = Problem(code="request_id_reused", field="request_id", message=message, remedy="Use a new one.")
        yield from answer(case, asked, "conflict", (problem,))
    elif not waiting:
        yield from _see_to(case, request, asked)


def refuse_unreadable(case: Case, said: Unreadable) -> Iterator[Yield]:
    """What could not be read is answered too; nothing is kept of it, so that its mended form may use the same request id."""
    readable = said.request_id is not None and _REQUEST_ID.fullmatch(said.request_id)
    yield RequestAnswered(
        order_id=case.order_id,
        request_id=said.request_id if readable else None,
        request=said.type if said.type in _TYPES else "unknown",
        outcome="declined",
        problems=said.problems,
    )


def _see_to(case: Case, request: ChannelOrder, asked: Asked) -> Iterator[Yield]:
    if isinstance(request, PlaceOrder):
        yield from place(case, request, asked)
    elif case.order.stage == "unknown":
        yield from decline(case, asked, "unknown_order", "Nobody placed this order.", "Place the order first.")
    elif case.order.stage == "closed":
        message = f"The order is closed: {case.order.outcome}."
        yield from decline(case, asked, "order_closed", message, "Request a return for what was handed over.")
    else:
        yield from _see_to_open(case, request, asked)


def _see_to_open(case: Case, request: ChangeOrder | CancelOrder | HoldOrder | ResolveHold, asked: Asked) -> Iterator[Yield]:
    match request:
        case ChangeOrder():
            held = case.order.stage == "held"
            yield from (change_held if held else changes.change)(case, request, asked)
        case CancelOrder():
            yield from cancel(case, _wish(request, asked))
        case HoldOrder():
            yield from _hold(case, request, asked)
        case ResolveHold():
            yield from _resolve(case, request, asked)
        case _:
            assert_never(request)


def _wish(request: CancelOrder, asked: Asked) -> CancelWish:
    units: dict[str, int] = {}
    for line in request.lines:
        units[line.line_id] = min(units.get(line.line_id, 0) + line.quantity, _MOST_UNITS)
    return CancelWish(request.request_id, asked, units, request.reason)


def _hold(case: Case, request: HoldOrder, asked: Asked) -> Iterator[Yield]:
    order = case.order
    if request.hold_id in order.holds:
        message = f"Hold {request.hold_id} is open already."
        yield from decline(case, asked, "hold_exists", message, "Use another hold id.")
    elif len(order.holds) >= MOST_OPEN_HOLDS:
        message = f"The order has {len(order.holds)} open holds."
        yield from decline(case, asked, "too_many_holds", message, "Resolve some first.")
    elif request.deadline is not None and request.deadline <= case.now:
        message = "The hold's deadline has passed."
        yield from decline(case, asked, "deadline_passed", message, "State a later deadline, or none.")
    elif not any(line.unshipped > 0 for line in order.goods or order.services):
        message = "Nothing is left to hold: every unit has left."
        yield from decline(case, asked, "too_late", message, "Ask the carrier, or request a return.")
    else:
        hold = Hold(request.hold_id, request.type, deadline_of(case, request.deadline, None))
        yield from answer(case, asked, "accepted")
        yield from open_hold(case, hold)


def _resolve(case: Case, request: ResolveHold, asked: Asked) -> Iterator[Yield]:
    hold = case.order.holds.get(request.hold_id)
    if hold is None or hold.ending is not None:
        message = f"No hold {request.hold_id} is open."
        yield from decline(case, asked, "no_such_hold", message, f"Open: {', '.join(case.order.holds) or 'none'}."[:500])
    elif request.resolution == "cancel":
        yield from _resolve_by_cancelling(case, hold, request, asked)
    elif hold.check in ("channel", "item") and (awaited := awaited_references(draft_of(case.order, case.view), case.view)):
        message = f"Nothing can be shipped without these documents: {', '.join(awaited)}."[:4000]
        yield from decline(case, asked, f"unknown_{hold.check}", message, "Publish them, or change or cancel the order.")
    else:
        yield from answer(case, asked, "accepted")
        yield from end_hold(case, hold.hold_id, "release", waived=hold.check)
        yield from look_again(case)


def _resolve_by_cancelling(case: Case, hold: Hold, request: ResolveHold, asked: Asked) -> Iterator[Yield]:
    if case.order.stage == "held":
        yield from end_hold(case, hold.hold_id, "cancel")
        yield from cancel(case, CancelWish(request.request_id, asked, reason=request.reason))
    else:
        yield from begin_end(case, hold, "cancel")
        yield from cancel(case, CancelWish(request.request_id, asked, reason=request.reason, hold_id=hold.hold_id))
