"""Cancellations and changes: answered for the units sourcing still holds, passed on for those in published parts. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.forms import ChangeRequested, OrderChanged, OrderSnapshot
from schemas.fulfilment import CancellationAnswered, ChangeAnswered
from schemas.orders import CancellationRequested, LineQuantity
from schemas.sourcing import CancellationPassedOn, ChangePassedOn, PassedLine
from services.sourcing.events import (
    CancelPassed,
    CancelSettled,
    ChangeAwaited,
    ChangeRefused,
    DemandTaken,
    OrderEnded,
    TermsReplaced,
    UnitsCancelled,
    UnitsReopened,
)
from services.sourcing.flow import Desk, go_on, requeue, withdraw, withdraw_unpublished
from services.sourcing.state import Cause, Line, Order, Passed, Terms, queue_key
from shared.kernel.model import Wake, Yield

# ---- cancellations ----


def cancel(desk: Desk, request: CancellationRequested) -> Iterator[Yield]:
    """What sourcing holds is cancelled, what locations may work on is passed on, what has ended is too late."""
    wanted: dict[str, int] = {}
    for line in request.lines:
        wanted[line.line_id] = wanted.get(line.line_id, 0) + line.quantity
    yield from make_free(desk, wanted)
    order = desk.order
    own = {i: min(n, held(order, i)) for i, n in wanted.items()}
    passed = tuple(p for i, n in wanted.items() for p in passed_on(order, request.request_id, i, n - own[i]))
    late = {i: n - own[i] - sum(p.quantity for p in passed if p.line_id == i) for i, n in wanted.items()}
    own = {line_id: units for line_id, units in own.items() if units}
    if own:
        yield UnitsCancelled(order.order_id, order.units(own))
    if passed:
        yield CancelPassed(order.order_id, passed)
    yield CancellationPassedOn(
        order_id=order.order_id,
        request_id=request.request_id,
        cancelled=quantities(own),
        passed_on=tuple(
            PassedLine(
                part_id=order.part_id(p.number),
                line_id=p.line_id,
                quantity=p.quantity,
                standing=order.parts[p.number].standing(p.line_id),
            )
            for p in passed
        ),
        too_late=quantities(late),
    )
    yield from requeue(desk, {line_id: units for line_id, units in own.items() if order.lines[line_id].waiting})
    yield from go_on(desk)


def make_free(desk: Desk, wanted: dict[str, int]) -> Iterator[Yield]:
    """Gives up as many unpublished parts as the cancelled units need, the newest first; the rest of them is planned anew."""
    for line_id, units in wanted.items():
        for part in reversed(desk.order.parts_in("asked", "reserved")):
            if units > held(desk.order, line_id) and part.units(line_id):
                yield from withdraw(desk, part, "cancelled")


def held(order: Order, line_id: str) -> int:
    """Units that only sourcing holds."""
    line = order.lines.get(line_id)
    return line.open + line.waiting if line is not None else 0


def passed_on(order: Order, request_id: str, line_id: str, units: int) -> Iterator[Passed]:
    for part in order.parts_in("published"):
        share = min(units, order.cancellable(part, line_id))
        if share > 0:
            units -= share
            yield Passed(request_id, part.number, line_id, share)


def settle(desk: Desk, answer: CancellationAnswered) -> Iterator[Yield]:
    """Tracking decided about what was passed on."""
    order = desk.order
    if all(passed.request_id != answer.request_id for passed in order.passed):
        return
    cancelled = {line.line_id: line.quantity for line in answer.cancelled if line.line_id in order.lines}
    yield CancelSettled(order.order_id, answer.request_id, order.units(cancelled))
    yield from reconcile(desk)
    yield from go_on(desk)


def reconcile(desk: Desk) -> Iterator[Yield]:
    """Units taken for cancelled beyond what was are open again."""
    order = desk.order
    reopened: dict[str, int] = {}
    for line in order.lines.values():
        passed = sum(entry.quantity for entry in order.passed if entry.line_id == line.line_id)
        excess = min(line.absorbed, line.dropped - line.conceded - passed)
        if excess > 0:
            reopened[line.line_id] = excess
    if reopened:
        yield UnitsReopened(order.order_id, order.units(reopened))


# ---- changes ----


def change(desk: Desk, request: ChangeRequested) -> Iterator[Yield]:
    """Accepted while nothing is published; then, or until tracking answers, nothing goes on."""
    order = desk.order
    parts = order.parts_in("published")
    yield ChangeAwaited(order.order_id, request.request_id)
    yield ChangePassedOn(
        order_id=order.order_id,
        request_id=request.request_id,
        accepted=not parts,
        passed_on=bool(parts),
        demand_changed=request.demand_changed,
        parts=tuple(order.part_id(part.number) for part in parts),
    )


def change_answered(desk: Desk, answer: ChangeAnswered) -> Iterator[Yield]:
    """A refused change lets the order go on; an accepted one is followed by the changed order."""
    if not answer.accepted and desk.order.changing == answer.request_id:
        yield ChangeRefused(desk.order_id)
        yield from go_on(desk)
        for sku in desk.order.skus(desk.order.waiting_units):
            yield Wake(queue_key(sku), "look", desk.now)


def changed(desk: Desk, change: OrderChanged) -> Iterator[Yield]:
    """Prices touch nothing; new instructions keep the reservations; a new demand is planned anew, whole."""
    match change.effect:
        case "commercial":
            return
        case "instructions":
            yield TermsReplaced(desk.order_id, Terms.of(change.order))
        case "demand":
            waiting = desk.order.waiting_units
            yield from withdraw_unpublished(desk, "changed")
            yield from requeue(desk, waiting)
            yield demand_of(desk.order, change.order, "change")
    yield from go_on(desk)


def demand_of(order: Order, snapshot: OrderSnapshot, cause: Cause) -> DemandTaken:
    """Only goods are sourced. Units that have left already are not planned again."""
    lines: list[Line] = []
    for line in snapshot.lines:
        if line.kind == "goods":
            before = order.lines.get(line.line_id)
            done, excluded = (before.done, before.excluded) if before else (0, ())
            fresh = Line(line.line_id, line.sku, line.weight_g, line.quantity, open=max(0, line.quantity - done))
            lines.append(fresh if before is None else replaced(fresh, done, excluded))
    return DemandTaken(order.order_id, Terms.of(snapshot), tuple(lines), cause)


def replaced(line: Line, done: int, excluded: tuple[str, ...]) -> Line:
    return Line(line.line_id, line.sku, line.weight_g, line.ordered, open=line.open, done=done, excluded=excluded)


def close(desk: Desk) -> Iterator[Yield]:
    """Nothing more is expected: what might still be held is given back."""
    order = desk.order
    yield from withdraw_unpublished(desk, "closed")
    yield from requeue(desk, order.waiting_units)
    yield OrderEnded(order.order_id)
    yield Wake(desk.key, "deadline", None)
    yield Wake(desk.key, "answers", None)


def refuse(request: CancellationRequested) -> CancellationPassedOn:
    """Of an order that sourcing doesn't have (any more) nothing can be cancelled here."""
    return CancellationPassedOn(
        order_id=request.order_id, request_id=request.request_id, cancelled=(), passed_on=(), too_late=request.lines
    )


def decline(request: ChangeRequested) -> ChangePassedOn:
    """An order that sourcing doesn't have (any more) can't be changed."""
    return ChangePassedOn(
        order_id=request.order_id,
        request_id=request.request_id,
        accepted=False,
        passed_on=False,
        demand_changed=request.demand_changed,
    )


def quantities(units: dict[str, int]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=line_id, quantity=n) for line_id, n in units.items() if n > 0)
