"""What a location picks, and what it rejects or finds missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from schemas.fulfilment import LinesPicked, LinesWerePicked, RejectedLine, StockPicked, WorkRejected
from services.fulfilment_tracking import rules, shortages
from services.fulfilment_tracking.cancels import lose
from services.fulfilment_tracking.case import Case, as_units, fact_lines, open_exception
from services.fulfilment_tracking.events import UnitsPicked, UnitsRefused
from services.fulfilment_tracking.naming import goods_of, planned_only
from services.fulfilment_tracking.state import Goods, Part, Reason, Units
from services.fulfilment_tracking.timeline import listed
from shared.kernel.model import Yield


def picked(case: Case, report: LinesPicked) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    totals = goods_of(case, part, report.lines)
    planned = yield from planned_only(case, part, totals)
    yield from _check(case, part, planned, report.occurred_at)
    yield from pick(case, part, planned, report.occurred_at)
    if report.final:
        yield from _short(case, part.part_id, report.occurred_at)


def pick(case: Case, part: Part, totals: tuple[Goods, ...], occurred_at: datetime) -> Iterator[Yield]:
    """Book running totals of planned lines, told or implied by a later stage."""
    units = as_units({g.line_id: rules.newly_picked(part.lines[g.line_id], g.quantity) for g in totals})
    if units or any(g.quantity > part.lines[g.line_id].picked_said for g in totals):
        yield UnitsPicked(part.part_id, case.now, occurred_at, totals, units)
    if not units:
        return
    lines = fact_lines(part, units)
    yield StockPicked(part_id=part.part_id, order_id=case.order_id, location=part.location, lines=lines, occurred_at=occurred_at)
    yield LinesWerePicked(
        order_id=case.order_id,
        fulfilment_order_id=part.part_id,
        location=part.location,
        occurred_at=occurred_at,
        lines=lines,
    )


def _check(case: Case, part: Part, totals: Iterable[Goods], occurred_at: datetime) -> Iterator[Yield]:
    """Units that ended can't be picked afterwards."""
    works = part.lines
    news = (g for g in totals if g.quantity > works[g.line_id].picked_said)
    odd = tuple(g for g in news if rules.contradicts(works[g.line_id], g.quantity, occurred_at))
    if odd:
        yield from open_exception(
            case,
            "contradiction",
            f"{part.part_id}:picked",
            f"{part.location} says it picked {listed(odd)} for {part.part_id}: more than there was left to do.",
            "Ask the location to put back what is too many before it ships.",
        )


def _short(case: Case, part_id: str, occurred_at: datetime) -> Iterator[Yield]:
    """Picking is over: what is missing will not come, be it that a shortage has taken it off already."""
    works = case.part(part_id).lines
    missing = as_units({line: work.left - work.carted for line, work in works.items()})
    shorted = as_units({line: rules.shorted_unpicked(work) for line, work in works.items()})
    if missing or shorted:
        yield UnitsRefused(part_id, case.now, rules.total((*missing, *shorted)), shorted, by_pick=True, picked_at=occurred_at)
    if missing:
        yield from lose(case, part_id, missing, "short", "none", occurred_at)


# ---- rejections ----


class _Refusal(NamedTuple):
    """What a rejection adds for one line and reason."""

    line_id: str
    reason: Reason
    told: int
    """Units not told before."""
    shorted: int
    """Of these, taken off by a shortage already."""
    lost: int
    """Of these, units that were still to be done."""
    explained: int
    """Beside these, units that a final pick had left out before."""
    ended: int
    """Of those told, units that had been given up for a cancellation or a change."""


def rejected(case: Case, report: WorkRejected) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    named = goods_of(case, part, report.lines)
    planned = yield from planned_only(case, part, named)
    known = {goods.line_id for goods in planned}
    refusals = tuple(_refusals(part, [line for line in report.lines if line.line_id in known]))
    if not refusals:
        return
    yield from _check_refusals(case, part, refusals)
    yield UnitsRefused(
        part.part_id,
        case.now,
        rules.total(Units(r.line_id, r.told) for r in refusals),
        rules.total(Units(r.line_id, r.shorted) for r in refusals),
        explained=rules.total(Units(r.line_id, r.explained) for r in refusals),
    )
    for reason in dict.fromkeys(refusal.reason for refusal in refusals):
        shorted = rules.total(Units(r.line_id, r.shorted) for r in refusals if r.reason == reason)
        yield from shortages.given_up(case, part.part_id, shorted, report.occurred_at)
        if reason == "damaged":
            found = rules.total(Units(r.line_id, r.shorted + r.explained + r.ended) for r in refusals if r.reason == reason)
            yield from shortages.found_damaged(case, part.part_id, found, report.occurred_at)
        lost = rules.total(Units(r.line_id, r.lost) for r in refusals if r.reason == reason)
        if lost:
            yield from lose(case, part.part_id, lost, "rejected", reason, report.occurred_at)


def _refusals(part: Part, lines: Iterable[RejectedLine]) -> Iterator[_Refusal]:
    """Totals are per line; where a line is named with several reasons, together they are its total."""
    told = {line: work.told_off for line, work in part.lines.items()}
    shorted_open = {line: work.shorted_open for line, work in part.lines.items()}
    left = {line: work.left for line, work in part.lines.items()}
    unexplained = {line: work.unexplained for line, work in part.lines.items()}
    for line in lines:
        name = line.line_id
        rejected = told[name] - unexplained[name]
        known = min(told[name], line.total)
        told[name] -= known
        explained = max(0, min(line.total - rejected, unexplained[name]))
        unexplained[name] -= explained
        news = line.total - known
        shorted = min(news, shorted_open[name])
        shorted_open[name] -= shorted
        lost = min(news - shorted, left[name])
        left[name] -= lost
        ended = min(news - shorted - lost, rules.given_up(part.lines[name]))
        if news or explained:
            yield _Refusal(name, line.reason, news, shorted, lost, explained, ended)


def _check_refusals(case: Case, part: Part, refusals: Iterable[_Refusal]) -> Iterator[Yield]:
    """Units that left can't be rejected."""
    works = part.lines
    odd = rules.total(
        Units(r.line_id, r.told)
        for r in refusals
        if works[r.line_id].told_off + r.told > works[r.line_id].planned - works[r.line_id].served
    )
    if odd:
        yield from open_exception(
            case,
            "contradiction",
            f"{part.part_id}:rejected",
            f"{part.location} rejected {listed(odd)} of {part.part_id}, part of which had left.",
            "Ask the location what really left, and correct its stock.",
        )
