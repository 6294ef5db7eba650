"""The race between a cancellation and the work: scheduled units at once, the rest by the location's word or its silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from schemas.fulfilment import (
    CancelAnswered,
    CancelFulfilment,
    CancellationAnswered,
    LinesRejectedByLocation,
    ReservationEnded,
)
from schemas.sourcing import CancellationPassedOn, PassedLine
from services.fulfilment_tracking import rules, shortages
from services.fulfilment_tracking.case import Case, as_units, fact_lines, line_quantities, open_exception
from services.fulfilment_tracking.events import CancelHeard, CancelOpened, CancelSettled, UnitsEnded
from services.fulfilment_tracking.parts import ask_back, finished
from services.fulfilment_tracking.state import AskedUnits, Cancel, Reason, Units
from services.fulfilment_tracking.timeline import listed
from shared.kernel.model import Wake, Yield

CANCEL = "cancel:"
"""Timer `cancel:<request id>`: silence means no."""


# ---- a cancellation arrives ----


class _Fate(NamedTuple):
    """What becomes of the units of one passed line."""

    part_id: str
    line_id: str
    lost: int
    """The location gave them up before sourcing could know."""
    now: int
    """Nobody was instructed: cancelled at once."""
    asked: int
    """The location has the last word."""
    too_late: int


def passed_on(case: Case, request: CancellationPassedOn) -> Iterator[Yield]:
    known = case.order.cancels.get(request.request_id)
    if not request.passed_on or (known is not None and rules.is_request(known)):
        return
    fates = _fates(case, request.passed_on)
    answer_by = rules.after_s(case.now, case.policy.cancel_answer_s)
    yield CancelOpened(
        case.order_id,
        case.now,
        request.request_id,
        answer_by,
        asked=tuple(AskedUnits(fate.part_id, fate.line_id, fate.asked, lost=fate.lost) for fate in fates if fate.asked or fate.lost),
        cancelled=rules.total(Units(fate.line_id, fate.now) for fate in fates),
        too_late=rules.total(Units(fate.line_id, fate.too_late) for fate in fates),
        quiet=False,
    )
    for part_id in dict.fromkeys(fate.part_id for fate in fates if fate.part_id in case.order.parts):
        yield from _act(case, request.request_id, part_id, [f for f in fates if f.part_id == part_id], answer_by)
    if any(fate.asked for fate in fates):
        yield Wake(case.key, f"{CANCEL}{request.request_id}", answer_by)
    yield from settle_if_answered(case, request.request_id)


def _fates(case: Case, lines: Iterable[PassedLine]) -> list[_Fate]:
    """A line of a part is named once."""
    order = case.order
    fates: list[_Fate] = []
    for line in lines:
        part = order.parts.get(line.part_id)
        work = part.lines.get(line.line_id) if part else None
        if part is None or work is None:
            fates.append(_Fate(line.part_id, line.line_id, 0, 0, 0, line.quantity))
            continue
        counted = rules.lost_to_cancels(order, line.part_id, line.line_id)
        lost = rules.lost_unseen(work, line.quantity, line.standing, counted)
        free = work.left - rules.asked_units(order, line.part_id, line.line_id)
        still = max(0, min(line.quantity - lost, free))
        now, asked = (0, still) if part.revision else (still, 0)
        fates.append(_Fate(line.part_id, line.line_id, lost, now, asked, line.quantity - lost - still))
    return fates


def _act(case: Case, request_id: str, part_id: str, fates: list[_Fate], answer_by: datetime) -> Iterator[Yield]:
    now = rules.total(Units(fate.line_id, fate.now) for fate in fates)
    asked = rules.total(Units(fate.line_id, fate.asked) for fate in fates)
    if now:
        yield from end_units(case, part_id, "cancelled", now, case.now)
    if asked:
        yield CancelFulfilment(
            fulfilment_order_id=part_id,
            order_id=case.order_id,
            location=case.part(part_id).location,
            request_id=request_id,
            lines=line_quantities(asked),
            answer_by=answer_by,
        )


# ---- the location's word ----


def answered(case: Case, report: CancelAnswered) -> Iterator[Yield]:
    part_id = report.fulfilment_order_id
    if report.request_id not in case.order.cancels:
        yield from _unasked(case, report)
    cancel = case.order.cancels[report.request_id]
    said = {line.line_id: line.total for line in report.accepted}
    heard = [_hear(case, cancel, report, line_id, total) for line_id, total in said.items()]
    if any(word.news for word in heard) or part_id not in cancel.answered:
        yield CancelHeard(
            part_id,
            case.now,
            report.request_id,
            heard=as_units(said),
            cancelled=rules.total(Units(word.line_id, word.cancelled) for word in heard),
            shorted=rules.total(Units(word.line_id, word.shorted) for word in heard),
            answered=part_id not in cancel.answered,
        )
    yield from _book(case, cancel, report, heard)
    yield from settle_if_answered(case, report.request_id)


class _Word(NamedTuple):
    """What an answer adds for one line."""

    line_id: str
    news: int
    """Units accepted beyond what was heard before."""
    cancelled: int
    """Of these, cancelled in time."""
    dropped: int
    """Of these, given up although nobody waits for the answer any more, or nobody asked."""
    shorted: int
    """Of these, ended by a shortage already."""
    left_out: int = 0
    """Of these, ended by a shortage, and given up by a final pick that was made later and read before."""

    @property
    def gone(self) -> int:
        """Units accepted that had left or ended already."""
        return self.news - self.cancelled - self.dropped - self.shorted - self.left_out


def _hear(case: Case, cancel: Cancel, report: CancelAnswered, line_id: str, total: int) -> _Word:
    part = case.part(report.fulfilment_order_id)
    mine = (entry for entry in cancel.asked if entry.part_id == part.part_id and entry.line_id == line_id)
    asked = next(mine, AskedUnits(part.part_id, line_id, 0))
    work = part.lines.get(line_id)
    news = max(0, total - asked.heard)
    if work is None:
        return _Word(line_id, news, 0, 0, 0)
    if cancel.quiet:
        wanted = min(news, max(0, asked.quantity - asked.heard))
        shorted = min(wanted, work.shorted_open)
        left_out = min(wanted - shorted, rules.left_out_before(work, report.occurred_at))
        return _Word(line_id, news, 0, min(news - shorted - left_out, work.left), shorted, left_out)
    in_time = min(news, rules.open_units(cancel, asked), work.left)
    others = rules.asked_units(case.order, part.part_id, line_id) - rules.open_units(cancel, asked)
    free = max(0, work.left - in_time - others)
    return _Word(line_id, news, in_time, min(news - in_time, free), 0)


def _book(case: Case, cancel: Cancel, report: CancelAnswered, heard: list[_Word]) -> Iterator[Yield]:
    part_id, at = report.fulfilment_order_id, report.occurred_at
    cancelled = rules.total(Units(word.line_id, word.cancelled) for word in heard)
    shorted = rules.total(Units(word.line_id, word.shorted) for word in heard)
    dropped = rules.total(Units(word.line_id, word.dropped) for word in heard)
    gone = rules.total(Units(word.line_id, word.gone) for word in heard)
    if cancelled:
        yield from end_units(case, part_id, "cancelled", cancelled, at)
    if dropped:
        yield from _drop(case, cancel, part_id, dropped, at)
    yield from shortages.given_up(case, part_id, shorted, at)
    if gone and case.part(part_id).promise is not None:
        yield from _explain_gone(case, part_id, gone)


def _drop(case: Case, cancel: Cancel, part_id: str, units: tuple[Units, ...], at: datetime) -> Iterator[Yield]:
    """Sourcing plans these units again, and a person is told; of an order that has ended nobody waits for them."""
    if case.order.outcome is not None:
        yield from end_units(case, part_id, "cancelled", units, at)
    else:
        yield from end_units(case, part_id, "dropped", units, at)
        yield from _explain_dropped(case, cancel, part_id, units)


def _explain_dropped(case: Case, cancel: Cancel, part_id: str, dropped: tuple[Units, ...]) -> Iterator[Yield]:
    if cancel.settled and any(asked.quantity for asked in cancel.asked):
        yield from open_exception(
            case,
            "accepted_after_deadline",
            f"{part_id}:{cancel.request_id}",
            f"{part_id} cancelled {listed(dropped)} after the buyer was told it was too late.",
            "The units are sourced again. Ask the buyer whether they are still wanted.",
        )
    else:
        yield from open_exception(
            case,
            "unasked",
            f"{part_id}:{cancel.request_id}",
            f"{part_id} cancelled {listed(dropped)} that nobody asked it to.",
            "The units are sourced again. Ask the location why it dropped them.",
        )


def _explain_gone(case: Case, part_id: str, gone: tuple[Units, ...]) -> Iterator[Yield]:
    shipped = any(case.part(part_id).lines[units.line_id].shipped for units in gone if _is_in(case, part_id, units))
    yield from open_exception(
        case,
        "shipped_after_cancel" if shipped else "contradiction",
        f"{part_id}:cancelled",
        f"{part_id} cancelled {listed(gone)} that it had shipped or given up before.",
        "Ask the location where these units are; stop the parcel or expect a return.",
    )


def _is_in(case: Case, part_id: str, units: Units) -> bool:
    return units.line_id in case.part(part_id).lines


def _unasked(case: Case, report: CancelAnswered) -> Iterator[Yield]:
    """An answer to a request nobody made: kept as settled, so that its units are dropped once."""
    yield CancelOpened(case.order_id, case.now, report.request_id, case.now, (), (), (), quiet=False)
    yield CancelSettled(case.order_id, case.now, report.request_id)


# ---- the last word ----


def silence(case: Case, request_id: str) -> Iterator[Yield]:
    """The deadline has come: silence means no."""
    cancel = case.order.cancels.get(request_id)
    if cancel is not None and not cancel.settled:
        yield from _settle(case, cancel)


def settle_if_answered(case: Case, request_id: str) -> Iterator[Yield]:
    cancel = case.order.cancels[request_id]
    if not cancel.settled and not cancel.quiet and rules.is_answered(cancel):
        yield from _settle(case, cancel)
        if cancel.asked:
            yield Wake(case.key, f"{CANCEL}{request_id}", None)


def _settle(case: Case, cancel: Cancel) -> Iterator[Yield]:
    yield CancelSettled(case.order_id, case.now, cancel.request_id)
    yield CancellationAnswered(
        order_id=case.order_id,
        request_id=cancel.request_id,
        cancelled=line_quantities(rules.cancelled_by(cancel)),
        too_late=line_quantities(rules.too_late_for(cancel)),
    )


# ---- units end ----


def end_units(
    case: Case,
    part_id: str,
    cause: rules.ReleasedCause,
    units: tuple[Units, ...],
    occurred_at: datetime,
    reason: Reason = "none",
) -> Iterator[Yield]:
    """The location won't do these units: their reservation ends."""
    part = case.part(part_id)
    yield UnitsEnded(part_id, case.now, occurred_at, cause, units)
    yield ReservationEnded(
        part_id=part_id,
        order_id=case.order_id,
        location=part.location,
        cause=cause,
        reason=reason,
        lines=fact_lines(part, units),
        occurred_at=occurred_at,
    )
    yield from finished(case, part_id)


def withdraw(case: Case) -> Iterator[Yield]:
    """The order has ended: what no location was told to do is not done, and keeps no units; who was told is asked to give up the rest."""
    for part in tuple(case.order.parts.values()):
        units = as_units({line: work.left for line, work in part.lines.items()})
        if units and part.revision == 0:
            yield from end_units(case, part.part_id, "cancelled", units, case.now)
        elif units and not rules.is_asked_back(case.order, part):
            yield from ask_back(case, part, f"{rules.CLOSED}{part.part_id}", units)


def lose(
    case: Case,
    part_id: str,
    units: tuple[Units, ...],
    cause: rules.LostCause,
    reason: Reason,
    occurred_at: datetime,
) -> Iterator[Yield]:
    """The location rejected units or could not pick them. What an open cancellation asked for counts as cancelled."""
    taken = [(cancel_id, line) for line in units for cancel_id, line in _taken_by_cancels(case, part_id, line)]
    cancelled = rules.total(line for _, line in taken)
    lost = rules.less(units, cancelled)
    if cancelled:
        yield from end_units(case, part_id, "cancelled", cancelled, occurred_at, reason)
    if lost:
        yield LinesRejectedByLocation(
            order_id=case.order_id,
            fulfilment_order_id=part_id,
            location=case.part(part_id).location,
            occurred_at=occurred_at,
            lines=fact_lines(case.part(part_id), lost),
            reason="short" if cause == "short" else rules.rejection(reason),
        )
        yield from end_units(case, part_id, cause, lost, occurred_at, reason)
    for cancel_id in dict.fromkeys(cancel_id for cancel_id, _ in taken):
        yield from _count(case, part_id, cancel_id, tuple(line for taker, line in taken if taker == cancel_id))


def _taken_by_cancels(case: Case, part_id: str, units: Units) -> Iterator[tuple[str, Units]]:
    left = units.quantity
    for cancel in case.order.cancels.values():
        for asked in cancel.asked:
            if asked.part_id == part_id and asked.line_id == units.line_id:
                taken = min(left, rules.open_units(cancel, asked))
                left -= taken
                if taken > 0:
                    yield cancel.request_id, Units(units.line_id, taken)


def _count(case: Case, part_id: str, request_id: str, units: tuple[Units, ...]) -> Iterator[Yield]:
    """These lost units answer an open cancellation."""
    before = {a.line_id: a.heard for a in case.order.cancels[request_id].asked if a.part_id == part_id}
    heard = tuple(Units(line.line_id, before[line.line_id] + line.quantity) for line in units)
    yield CancelHeard(part_id, case.now, request_id, heard, units, (), answered=False)
    yield from settle_if_answered(case, request_id)
