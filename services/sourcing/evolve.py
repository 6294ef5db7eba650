"""How each event changes its row: one arm for each, no judgement. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import assert_never

from services.sourcing.events import (
    AnyOrderEvent,
    AnyQueueEvent,
    AnyWaitingEvent,
    CancelPassed,
    CancelSettled,
    ChangeAwaited,
    ChangeRefused,
    DemandTaken,
    LevelsSeen,
    OrderEnded,
    PartDeclined,
    PartReleased,
    PartReserved,
    PartsPublished,
    PartWithdrawn,
    PlaceLeft,
    PlaceTaken,
    PlanMade,
    ProtectionJudged,
    QueueLookedAt,
    QueueMoved,
    TermsReplaced,
    UnitsCalled,
    UnitsCancelled,
    UnitsDone,
    UnitsDropped,
    UnitsGivenUp,
    UnitsLost,
    UnitsNotCollected,
    UnitsPutBack,
    UnitsReopened,
    UnitsTakenBack,
    WithdrawnPartReserved,
)
from services.sourcing.state import Cause, Line, Order, Part, Queue, Units, Waiting
from shared.value import replace

_OfParts = PlanMade | PartReserved | PartDeclined | PartWithdrawn | WithdrawnPartReserved | PartReleased | PartsPublished
_OfUnits = (
    UnitsPutBack
    | UnitsCalled
    | UnitsGivenUp
    | UnitsCancelled
    | UnitsLost
    | UnitsReopened
    | UnitsDropped
    | UnitsTakenBack
    | UnitsNotCollected
    | UnitsDone
)


def evolve_order(order: Order, event: AnyOrderEvent) -> Order:  # noqa: C901 - one arm for each event
    match event:
        case DemandTaken():
            return _demanded(order, event)
        case TermsReplaced():
            return replace(order, terms=event.terms, changing=None)
        case ChangeAwaited():
            return replace(order, changing=event.request_id)
        case ChangeRefused():
            return replace(order, changing=None)
        case OrderEnded():
            leaving = {n: part for n, part in order.parts.items() if part.state in ("withdrawn", "releasing")}
            return Order(order.order_id, closed=True, parts=leaving, next_part=order.next_part)
        case ProtectionJudged():
            return replace(order, protects=event.protects)
        case CancelPassed():
            return replace(order, passed=(*order.passed, *event.passed))
        case CancelSettled():
            left = tuple(passed for passed in order.passed if passed.request_id != event.request_id)
            settled = _moved(order, event.lines, lambda line, n: replace(line, conceded=line.conceded + n))
            return replace(settled, passed=left)
        case LevelsSeen():
            return order
        case PlanMade() | PartReserved() | PartDeclined() | PartWithdrawn() | WithdrawnPartReserved() | PartReleased() | PartsPublished():
            return _evolve_parts(order, event)
        case _:
            return _evolve_units(order, event)


def _evolve_parts(order: Order, event: _OfParts) -> Order:
    """What became of parts, from the plan to the location."""
    match event:
        case PlanMade():
            return _planned(order, event)
        case PartReserved():
            return _reserved(order, event)
        case PartDeclined():
            part = order.parts[event.number]
            back = () if part.state == "withdrawn" else part.lines
            return _without(_moved(order, back, _opened), event.number)
        case PartWithdrawn():
            part = replace(order.parts[event.number], state="releasing" if event.reserved else "withdrawn")
            return _with_part(_moved(order, event.lines, _opened), part)
        case WithdrawnPartReserved():
            return _with_part(order, replace(order.parts[event.number], state="releasing", lines=event.lines))
        case PartReleased():
            return _without(order, event.number)
        case PartsPublished():
            published = {n: replace(order.parts[n], state="published") for n in event.numbers}
            parts = {**order.parts, **published}
            return replace(order, parts=parts, decisions=order.decisions + 1, reasons=())
        case _:
            assert_never(event)


def _evolve_units(order: Order, event: _OfUnits) -> Order:  # noqa: C901 - one arm for each event
    """What became of units: of each line, how many are where."""
    match event:
        case UnitsPutBack():
            moved = _moved(order, event.lines, lambda line, n: _waits(line, n, event.until))
            return replace(moved, protects=True)
        case UnitsCalled():
            return replace(_moved(order, event.lines, _called), cause="backorder")
        case UnitsGivenUp():
            return _moved(order, event.lines, lambda line, n: replace(_taken(line, n), unfillable=line.unfillable + n))
        case UnitsCancelled():
            return _moved(order, event.lines, lambda line, n: replace(_taken(line, n), cancelled=line.cancelled + n))
        case UnitsLost():
            return _lost(order, event)
        case UnitsReopened():
            return replace(_moved(order, event.lines, _reopened), cause="resourced")
        case UnitsDropped():
            return _moved(_shrunk(order, event.number, event.lines), event.lines, _dropped)
        case UnitsTakenBack():
            return _shrunk(order, event.number, event.lines)
        case UnitsNotCollected():
            shrunk = _shrunk(order, event.number, event.lines)
            return _moved(shrunk, event.lines, lambda line, n: replace(line, cancelled=line.cancelled + n))
        case UnitsDone():
            return _done(order, event)
        case _:
            assert_never(event)


def evolve_queue(queue: Queue, event: AnyQueueEvent) -> Queue | None:
    match event:
        case QueueMoved():
            return _queued(queue, event)
        case QueueLookedAt():
            return replace(queue, look_at=event.look_at, looks=0 if event.arrived else queue.looks + 1)
        case _:
            assert_never(event)


def evolve_waiting(waiting: Waiting, event: AnyWaitingEvent) -> Waiting | None:
    match event:
        case PlaceTaken():
            return replace(waiting, sku=event.sku, order_id=event.order_id, place=event.place)
        case PlaceLeft():
            return None
        case _:
            assert_never(event)


def _demanded(order: Order, event: DemandTaken) -> Order:
    """Parts that left for the buyer or are still being given up stay; every other one ended with the old demand."""
    kept = {
        n: part if part.state != "published" else replace(part, lines=())
        for n, part in order.parts.items()
        if part.done or part.state in ("withdrawn", "releasing")
    }
    return replace(
        order,
        terms=event.terms,
        lines={line.line_id: line for line in event.lines},
        parts=kept,
        cause=event.cause,
        reasons=(),
        passed=(),
        changing=None,
        protects=True,
    )


def _planned(order: Order, event: PlanMade) -> Order:
    planned: dict[str, int] = {}
    for part in event.parts:
        for units in part.lines:
            planned[units.line_id] = planned.get(units.line_id, 0) + units.quantity
    lines = {i: replace(order.lines[i], open=order.lines[i].open - n, attempts=order.lines[i].attempts + 1) for i, n in planned.items()}
    return replace(
        order,
        lines={**order.lines, **lines},
        parts={**order.parts, **{part.number: part for part in event.parts}},
        next_part=max(part.number for part in event.parts) + 1,
        reasons=(*order.reasons, event.reasons),
    )


def _reserved(order: Order, event: PartReserved) -> Order:
    part = order.parts[event.number]
    got = {entry.line_id: entry.quantity for entry in event.lines}
    missing = (Units(e.line_id, e.sku, e.quantity - got.get(e.line_id, 0)) for e in part.lines if e.quantity > got.get(e.line_id, 0))
    order = _moved(order, missing, _opened)
    if not event.lines:
        return _without(order, event.number)
    return _with_part(order, replace(part, state="reserved", lines=event.lines))


def _lost(order: Order, event: UnitsLost) -> Order:
    location, state = order.parts[event.number].location, order.parts[event.number].state
    lines = dict(order.lines)
    for lost in event.lines:
        line = _dropped(lines[lost.line_id], lost.absorbed)
        excluded = {*line.excluded, location} if event.exclude else line.excluded
        lines[lost.line_id] = replace(
            line,
            open=line.open + lost.reopened,
            absorbed=line.absorbed + lost.absorbed,
            excluded=tuple(sorted(excluded)),
        )
    gone = order.units({lost.line_id: lost.reopened + lost.absorbed for lost in event.lines})
    cause: Cause = "resourced" if state == "published" else order.cause
    return _shrunk(replace(order, lines=lines, cause=cause), event.number, gone)


def _queued(queue: Queue, event: QueueMoved) -> Queue | None:
    orders, units, protected = queue.orders, queue.units, dict(queue.protected)
    for place, sign in ((event.before, -1), (event.after, 1)):
        if place is not None:
            orders, units = orders + sign, units + sign * place.quantity
            if place.protects:
                name = f"{place.urgency:02d}" + (f"@{place.location}" if place.location else "")
                protected[name] = protected.get(name, 0) + sign * place.quantity
    if orders <= 0:
        return None
    kept = {name: count for name, count in protected.items() if count > 0}
    return replace(queue, orders=orders, units=units, protected=kept, look_at=event.look_at, looks=0)


def _moved(order: Order, units: Iterable[Units], move: Callable[[Line, int], Line]) -> Order:
    lines = dict(order.lines)
    for entry in units:
        lines[entry.line_id] = move(lines[entry.line_id], entry.quantity)
    return replace(order, lines=lines)


def _opened(line: Line, units: int) -> Line:
    return replace(line, open=line.open + units)


def _waits(line: Line, units: int, until: datetime) -> Line:
    return replace(line, open=line.open - units, waiting=line.waiting + units, until=until, attempts=0)


def _called(line: Line, units: int) -> Line:
    left = line.waiting - units
    return replace(line, waiting=left, open=line.open + units, until=line.until if left else None)


def _taken(line: Line, units: int) -> Line:
    """Takes units from the waiting ones first, then from the open ones."""
    waiting = min(units, line.waiting)
    left = line.waiting - waiting
    return replace(line, waiting=left, open=line.open - (units - waiting), until=line.until if left else None)


def _dropped(line: Line, units: int) -> Line:
    return replace(line, cancelled=line.cancelled + units, dropped=line.dropped + units)


def _reopened(line: Line, units: int) -> Line:
    return replace(_dropped(line, -units), absorbed=line.absorbed - units, open=line.open + units)


def _done(order: Order, event: UnitsDone) -> Order:
    part = order.parts[event.number]
    left = {**part.done}
    for entry in event.lines:
        left[entry.line_id] = left.get(entry.line_id, 0) + entry.quantity
    shrunk = _shrunk(_with_part(order, replace(part, done=left)), event.number, event.lines)
    return _moved(shrunk, event.lines, lambda line, n: replace(line, done=line.done + n))


def _shrunk(order: Order, number: int, units: Iterable[Units]) -> Order:
    """The part without these units; it falls away once it holds none, unless some left for the buyer."""
    part = order.parts[number]
    gone = {entry.line_id: entry.quantity for entry in units}
    lines = tuple(replace(entry, quantity=entry.quantity - gone.get(entry.line_id, 0)) for entry in part.lines)
    left = replace(part, lines=tuple(entry for entry in lines if entry.quantity > 0))
    return _with_part(order, left) if left.lines or left.done else _without(order, number)


def _with_part(order: Order, part: Part) -> Order:
    return replace(order, parts={**order.parts, part.number: part})


def _without(order: Order, number: int) -> Order:
    return replace(order, parts={n: part for n, part in order.parts.items() if n != number})
