"""Cancelling: at once what nobody else has, otherwise after the word of sourcing and tracking; the last word is per line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas.channel import AnsweredLine, Problem
from schemas.fulfilment import CancellationAnswered
from schemas.orders import CancellationRequested, LineQuantity, LinesCancelled
from schemas.sourcing import CancellationPassedOn
from services.order_capture import money
from services.order_capture.acceptance import look_again
from services.order_capture.case import Case, answer, decline, line_quantities
from services.order_capture.ending import cancel_units, carry_on, close
from services.order_capture.events import (
    CancelAsked,
    CancelHeard,
    CancelQueued,
    CancelSettled,
    QueueTaken,
    UnitsCounted,
)
from services.order_capture.holds import end_hold
from services.order_capture.state import MOST_CANCELS_IN_FLIGHT, CancelWish, Order, PendingCancel
from shared.kernel.model import Yield


class _Parts(NamedTuple):
    """A wish, cut to what is there; units by line."""

    goods: dict[str, int]
    services: dict[str, int]
    beyond: dict[str, int]

    @property
    def there(self) -> dict[str, int]:
        return {**self.goods, **self.services}


def cancel(case: Case, wish: CancelWish) -> Iterator[Yield]:
    """Begin to cancel. A wish of our own is never turned away."""
    order = case.order
    in_flight = len(order.cancels) + len(order.queued)
    if wish.asked is not None and in_flight >= MOST_CANCELS_IN_FLIGHT:
        message = f"{in_flight} cancels of this order are under way."
        yield from decline(case, wish.asked, "busy", message, "Send it again once they are answered.")
    elif order.stage == "held":
        yield from _cancel_held(case, wish)
    elif order.change is not None:
        yield CancelQueued(case.order_id, wish)
    else:
        yield from _ask(case, wish)


def take_queue(case: Case) -> Iterator[Yield]:
    """The change that the waiting cancels waited for has ended."""
    waiting = case.order.queued
    if waiting:
        yield QueueTaken(case.order_id)
    for wish in waiting:
        yield from _ask(case, wish)


def hear_sourcing(case: Case, said: CancellationPassedOn) -> Iterator[Yield]:
    if said.request_id in case.order.cancels:
        cancelled, passed_on = _units(said.cancelled), bool(said.passed_on)
        yield CancelHeard(case.order_id, said.request_id, "sourcing", cancelled, passed_on)
        yield from _finish_if_answered(case, said.request_id)


def hear_tracking(case: Case, said: CancellationAnswered) -> Iterator[Yield]:
    """It may come before sourcing's word, on another topic."""
    if said.request_id in case.order.cancels:
        yield CancelHeard(case.order_id, said.request_id, "tracking", _units(said.cancelled))
        yield from _finish_if_answered(case, said.request_id)


def _cancel_held(case: Case, wish: CancelWish) -> Iterator[Yield]:
    """Nobody else has the order. Cancelled units never enter its snapshot; so only the end of the whole order is announced."""
    parts = _parts(case.order, wish)
    if parts.there:
        yield UnitsCounted(case.order_id, "cancelled", parts.there)
    yield from _answer(case, wish, parts.there, parts)
    if case.order.all_ended:
        everything = {line.line_id: line.cancelled for line in case.order.lines.values()}
        yield LinesCancelled(order_id=case.order_id, request_id=wish.cancel_id, lines=line_quantities(everything), reason=wish.reason)
        yield from close(case, "cancelled")
    else:
        yield from money.settle(case, "cancelled")
        yield from look_again(case)


def _ask(case: Case, wish: CancelWish) -> Iterator[Yield]:
    """Ask whoever holds the goods; where no goods are concerned, the last word is spoken at once."""
    parts = _parts(case.order, wish)
    pending = PendingCancel(wish, parts.goods, parts.services, parts.beyond)
    if parts.goods:
        yield CancelAsked(case.order_id, pending)
        yield CancellationRequested(
            order_id=case.order_id,
            request_id=wish.cancel_id,
            lines=line_quantities(parts.goods),
            reason=wish.reason,
        )
    else:
        yield from _finish(case, pending)


def _finish_if_answered(case: Case, cancel_id: str) -> Iterator[Yield]:
    pending = case.order.cancels[cancel_id]
    if pending.answered:
        yield CancelSettled(case.order_id, cancel_id)
        yield from _finish(case, pending)


def _finish(case: Case, pending: PendingCancel) -> Iterator[Yield]:
    """The last word, per line: cancelled n, too late m."""
    wish, lines = pending.wish, case.order.lines
    cancelled = {name: min(pending.cancelled.get(name, 0), units) for name, units in pending.goods.items()}
    heard = {**cancelled, **pending.services}
    done = {name: min(units, lines[name].open) for name, units in heard.items() if name in lines}
    yield from cancel_units(case, done, wish.cancel_id, wish.reason)
    yield from _answer(case, wish, done, _Parts(pending.goods, pending.services, pending.beyond))
    if wish.hold_id is not None and wish.hold_id in case.order.holds:
        yield from end_hold(case, wish.hold_id, case.order.holds[wish.hold_id].ending or "cancel")
    yield from carry_on(case, "cancelled")


def _answer(case: Case, wish: CancelWish, done: Mapping[str, int], parts: _Parts) -> Iterator[Yield]:
    if wish.asked is None:
        return
    lines = tuple(_answered(name, done, parts) for name in dict.fromkeys((*parts.there, *parts.beyond)))
    cancelled = any(line.done for line in lines)
    yield from answer(case, wish.asked, "accepted" if cancelled else "declined", _problems(case, lines), lines)


def _answered(name: str, done: Mapping[str, int], parts: _Parts) -> AnsweredLine:
    units = done.get(name, 0)
    wanted = parts.there.get(name, 0) + parts.beyond.get(name, 0)
    return AnsweredLine(line_id=name, done=units, too_late=wanted - units)


def _problems(case: Case, lines: tuple[AnsweredLine, ...]) -> tuple[Problem, ...]:
    """Why something was not cancelled."""
    if not lines:
        return (Problem(code="nothing_left", message="Nothing of the order is left to cancel."),)
    late = [line for line in lines if line.too_late > 0]
    known = case.order.lines
    return tuple(
        Problem(code="too_late", field=line.line_id, message=f"{line.too_late} units can no longer be cancelled.")
        if line.line_id in known
        else Problem(code="unknown_line", field=line.line_id, message="The order has no such line.")
        for line in late
    )


def _parts(order: Order, wish: CancelWish) -> _Parts:
    """What of a wish can still be asked for: units in flight with another cancel count once."""
    left = {line.line_id: order.left_of(line) for line in order.lines.values()}
    wanted = wish.units or {name: units for name, units in left.items() if units > 0}
    there = {name: min(units, left.get(name, 0)) for name, units in wanted.items()}
    beyond = {name: units - there[name] for name, units in wanted.items() if units > there[name]}
    there = {name: units for name, units in there.items() if units > 0}
    goods = {name: units for name, units in there.items() if order.lines[name].kind == "goods"}
    services = {name: units for name, units in there.items() if name not in goods}
    return _Parts(goods, services, beyond)


def _units(lines: tuple[LineQuantity, ...]) -> dict[str, int]:
    """Units by line; a line may be named more than once."""
    units: dict[str, int] = {}
    for line in lines:
        units[line.line_id] = units.get(line.line_id, 0) + line.quantity
    return units
