"""Click and collect: ready at the counter, collected, or not collected in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from schemas.fulfilment import (
    LinesCollected,
    LinesHandedOver,
    LinesNotCollected,
    LinesReadyForCollection,
    NotCollected,
    ReadyForCollection,
)
from services.fulfilment_tracking import loads, rules, shortages
from services.fulfilment_tracking.cancels import end_units
from services.fulfilment_tracking.case import Case, as_units, fact_lines, goods_lines
from services.fulfilment_tracking.events import BuyerStayedAway, UnitsCollected, UnitsReady
from services.fulfilment_tracking.issuing import issue
from services.fulfilment_tracking.naming import goods_of, planned_only
from services.fulfilment_tracking.parts import finished
from services.fulfilment_tracking.picking import pick
from services.fulfilment_tracking.state import Goods, Part, Units
from shared.kernel.model import Wake, Yield

COLLECT = "collect:"
"""Timer `collect:<n>`: the buyer of part n should have come."""


def ready(case: Case, report: ReadyForCollection) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    totals = yield from planned_only(case, part, goods_of(case, part, report.lines))
    units = as_units({g.line_id: rules.newly_ready(part.lines[g.line_id], g.quantity) for g in totals})
    collect_by = rules.after_s(case.now, case.policy.collect_deadline_s) if units else None
    yield from pick(case, part, totals, report.occurred_at)
    if any(g.quantity > part.lines[g.line_id].ready_said for g in totals):
        said = tuple(Units(g.line_id, g.quantity) for g in totals)
        yield UnitsReady(part.part_id, case.now, report.occurred_at, said, collect_by)
    if units and collect_by:
        yield LinesReadyForCollection(
            order_id=case.order_id,
            fulfilment_order_id=part.part_id,
            location=part.location,
            occurred_at=report.occurred_at,
            lines=fact_lines(part, units),
            collect_by=collect_by,
        )
        yield from _await_buyer(case, part, report.occurred_at, collect_by)


def _await_buyer(case: Case, part: Part, occurred_at: datetime, collect_by: datetime) -> Iterator[Yield]:
    if part.stayed_away_at and occurred_at <= part.stayed_away_at:
        yield from _give_back(case, part.part_id, part.stayed_away_at)
    else:
        yield Wake(case.key, f"{COLLECT}{part.number}", collect_by)


def collected(case: Case, report: LinesCollected) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    totals = goods_of(case, part, report.lines)
    more = _newly_collected(part, totals)
    if not more:
        return
    gone = loads.departure(part, more)
    said = rules.total(Units(g.line_id, g.quantity) for g in totals)
    yield UnitsCollected(part.part_id, case.now, report.occurred_at, report.location, said, gone.served, gone.over)
    if lines := goods_lines(more):
        yield LinesHandedOver(
            order_id=case.order_id,
            fulfilment_order_id=part.part_id,
            location=report.location,
            occurred_at=report.occurred_at,
            lines=lines,
            how="collected",
            unplanned=goods_lines(gone.over),
        )
    part = case.part(part.part_id)
    yield from issue(case, part, report.location, gone, report.occurred_at, f"{part.part_id}:counter")
    yield from finished(case, part.part_id)
    if part.collect_by and rules.awaiting_buyer(part) == 0:
        yield Wake(case.key, f"{COLLECT}{part.number}", None)


def _newly_collected(part: Part, totals: tuple[Goods, ...]) -> tuple[Goods, ...]:
    """Totals are per line: what is known is taken off the items in the order they are named."""
    known = {line: work.collected for line, work in part.lines.items()}
    more: list[Goods] = []
    for goods in totals:
        before = min(known.get(goods.line_id, 0), goods.quantity)
        known[goods.line_id] = known.get(goods.line_id, 0) - before
        more.append(Goods(goods.line_id, goods.sku, goods.quantity - before))
    return tuple(goods for goods in more if goods.quantity > 0)


def not_collected(case: Case, report: NotCollected) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    if part.stayed_away_at is None or report.occurred_at > part.stayed_away_at:
        yield BuyerStayedAway(part.part_id, case.now, report.occurred_at)
        yield from shortages.all_put_back(case, part.part_id, report.occurred_at)
        yield from _give_back(case, part.part_id, report.occurred_at)


def deadline(case: Case, part: Part) -> Iterator[Yield]:
    """The buyer did not come in time; without a word of the location the goods count as back on the shelf."""
    if part.collect_by is not None and part.collect_by <= case.now:
        yield from _give_back(case, part.part_id, case.now)


def _give_back(case: Case, part_id: str, occurred_at: datetime) -> Iterator[Yield]:
    part = case.part(part_id)
    units = as_units({line: work.awaiting_buyer for line, work in part.lines.items()})
    if not units:
        return
    yield LinesNotCollected(
        order_id=case.order_id,
        fulfilment_order_id=part_id,
        location=part.location,
        occurred_at=occurred_at,
        lines=fact_lines(part, units),
    )
    yield from end_units(case, part_id, "not_collected", units, occurred_at)
    yield Wake(case.key, f"{COLLECT}{part.number}", None)
