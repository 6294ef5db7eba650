"""What an order does when its time has come."""

from __future__ import annotations

from collections.abc import Iterator

from services.order_capture.acceptance import look_again
from services.order_capture.awaiting import RECHECK, SECOND_LOOK
from services.order_capture.cancels import cancel
from services.order_capture.case import Case
from services.order_capture.ending import CANCEL_AFTER
from services.order_capture.holds import TIMER, begin_end, end_hold
from services.order_capture.state import CancelWish
from shared.kernel.model import Woken, Yield


def wake(case: Case, woken: Woken) -> Iterator[Yield]:
    """A timer that fires checks that it still means something."""
    if woken.name in (RECHECK, SECOND_LOOK):
        yield from look_again(case)
    elif woken.name == CANCEL_AFTER:
        yield from _cancel_the_rest(case, woken)
    elif woken.name.startswith(TIMER):
        yield from _expire(case, woken.name.removeprefix(TIMER), woken)


def _cancel_the_rest(case: Case, woken: Woken) -> Iterator[Yield]:
    order = case.order
    if order.stage in ("held", "accepted") and order.cancel_after == woken.due:
        wish = CancelWish(f"cancel_after:{case.given.id('cancel_after')}", None, reason="cancel_after passed")
        yield from cancel(case, wish)


def _expire(case: Case, hold_id: str, woken: Woken) -> Iterator[Yield]:
    """The hold's deadline has come. What it waited for may just have arrived; else the order is cancelled."""
    hold = case.order.holds.get(hold_id)
    if hold is None or hold.ending is not None or hold.deadline != woken.due:
        return
    yield from look_again(case)
    if case.order.holds.get(hold_id) != hold:
        return
    cancel_id, reason = f"hold_expired:{case.given.id('hold_expired')}", f"hold {hold_id} expired"
    if case.order.stage == "held":
        yield from end_hold(case, hold_id, "expired")
        yield from cancel(case, CancelWish(cancel_id, None, reason=reason))
    else:
        yield from begin_end(case, hold, "expired")
        yield from cancel(case, CancelWish(cancel_id, None, reason=reason, hold_id=hold_id))
