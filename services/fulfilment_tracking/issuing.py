"""Goods that leave a location: their effect on stock, and what was odd about it. What happened is booked, asked for or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.fulfilment import ReservationEnded, StockIssued
from services.fulfilment_tracking import loads, rules
from services.fulfilment_tracking.case import Case, fact_lines, goods_lines, open_exception
from services.fulfilment_tracking.loads import Departure
from services.fulfilment_tracking.state import Goods, Part, Units
from services.fulfilment_tracking.timeline import listed
from shared.kernel.model import Yield

OVER_ACTION: dict[rules.OverKind, str] = {
    "unasked": "Ask the location why it shipped; stop the parcel or expect a return.",
    "shipped_after_cancel": "Stop the parcel or expect a return: the buyer was told that these units are cancelled.",
    "contradiction": "The units were given up before and are sourced again: stop one of the two.",
    "shipped_too_many": "Ask the buyer to send back what is too many, or charge for it.",
}


def issue(case: Case, part: Part, location: str, gone: Departure, occurred_at: datetime, about: str) -> Iterator[Yield]:
    """`about` names the parcel or counter, for exceptions."""
    asked = tuple(goods for goods in gone.served if loads.as_planned(part, location, goods))
    instead = tuple(goods for goods in gone.served if not loads.as_planned(part, location, goods))
    yield from _book(case, part, location, asked, occurred_at, unasked=False)
    yield from _book(case, part, location, loads.sum_of(instead, gone.over), occurred_at, unasked=True)
    if instead:
        yield _release_planned(case, part, instead, occurred_at)
    yield from _explain_instead(case, part, location, instead, about)
    yield from _explain_over(case, part, location, gone.over, about)


def _book(case: Case, part: Part, location: str, goods: Iterable[Goods], occurred_at: datetime, *, unasked: bool) -> Iterator[Yield]:
    lines = goods_lines(goods)
    if lines:
        yield StockIssued(
            part_id=part.part_id,
            order_id=case.order_id,
            location=location,
            lines=lines,
            occurred_at=occurred_at,
            unasked=unasked,
        )


def _release_planned(case: Case, part: Part, instead: Iterable[Goods], occurred_at: datetime) -> ReservationEnded:
    """These very units were served from another location or by another item: what was reserved for them is free again."""
    units = rules.total(Units(goods.line_id, goods.quantity) for goods in instead)
    return ReservationEnded(
        part_id=part.part_id,
        order_id=case.order_id,
        location=part.location,
        cause="served",
        lines=fact_lines(part, units),
        occurred_at=occurred_at,
    )


def _explain_instead(case: Case, part: Part, location: str, instead: tuple[Goods, ...], about: str) -> Iterator[Yield]:
    if instead and location != part.location:
        yield from open_exception(
            case,
            "other_location",
            about,
            f"{location} served {listed(instead)} of {part.part_id}, planned at {part.location}.",
            f"Make sure that {part.location} does not ship them too.",
        )
    others = tuple(goods for goods in instead if _is_other_item(case, part, goods))
    if others:
        yield from open_exception(
            case,
            "unasked",
            f"{about}:item",
            f"{location} sent another item for {listed(others)} of {part.part_id}.",
            "Ask the buyer whether it is welcome; otherwise replace it.",
        )


def _is_other_item(case: Case, part: Part, goods: Goods) -> bool:
    """Whether an item stands in for the line's own without leave."""
    item = case.order.content.item(goods.line_id) if case.order.content else None
    return goods.sku != part.lines[goods.line_id].sku and not (item and item.substitution_allowed)


def _explain_over(case: Case, part: Part, location: str, over: tuple[Goods, ...], about: str) -> Iterator[Yield]:
    if part.promise is None:
        return
    unknown = tuple(goods for goods in over if not _is_known(case, goods))
    if unknown:
        yield from open_exception(
            case,
            "unknown_line",
            about,
            f"{location} sent {listed(unknown)}: the order has no such line. Items: {_items(unknown)}.",
            "Find out what left; correct the stock where no item is named.",
        )
    for kind, action in OVER_ACTION.items():
        goods = tuple(g for g in over if g not in unknown and _kind(part, g) == kind)
        if goods:
            detail = f"{location} sent {listed(goods)} beyond what {part.part_id} still had to do."
            yield from open_exception(case, kind, about, detail, action)


def _kind(part: Part, goods: Goods) -> rules.OverKind:
    work = part.lines.get(goods.line_id)
    return "unasked" if work is None else rules.over_kind(work)


def _is_known(case: Case, goods: Goods) -> bool:
    return case.order.content is not None and case.order.content.item(goods.line_id) is not None


def _items(goods: Iterable[Goods]) -> str:
    return ", ".join(entry.sku or "not named" for entry in goods)
