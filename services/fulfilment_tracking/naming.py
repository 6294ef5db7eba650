"""Which item a report is about: its own word, else the part's line, else the order's."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from schemas.fulfilment import LineTotal, RejectedLine
from services.fulfilment_tracking.case import Case, open_exception
from services.fulfilment_tracking.state import Goods, Part
from services.fulfilment_tracking.timeline import listed
from shared.kernel.model import Yield


def goods_of(case: Case, part: Part, lines: Iterable[LineTotal | RejectedLine]) -> tuple[Goods, ...]:
    """Running totals with their items; the item stays empty where nobody names it."""
    sums: dict[tuple[str, str], int] = {}
    for line in lines:
        told = line.sku if isinstance(line, LineTotal) else None
        named = (line.line_id, told or item_of(case, part, line.line_id))
        sums[named] = sums.get(named, 0) + line.total
    return tuple(Goods(line_id, sku, total) for (line_id, sku), total in sums.items())


def item_of(case: Case, part: Part, line_id: str) -> str:
    work = part.lines.get(line_id)
    if work is not None:
        return work.sku
    item = case.order.content.item(line_id) if case.order.content else None
    return item.sku if item else ""


def planned_only(case: Case, part: Part, totals: Iterable[Goods]) -> Generator[Yield, None, tuple[Goods, ...]]:
    """Totals by line of the part, whatever item stood for it; an exception for lines that are none of its business."""
    sums: dict[str, int] = {}
    strange: list[Goods] = []
    for goods in totals:
        if goods.line_id in part.lines:
            sums[goods.line_id] = sums.get(goods.line_id, 0) + goods.quantity
        elif goods.quantity:
            strange.append(goods)
    if strange and part.promise is not None:
        yield from open_exception(
            case,
            "unknown_line",
            f"{part.part_id}:work",
            f"{part.location} reports work on {listed(strange)}, which {part.part_id} does not have.",
            "Ask the location what it is doing.",
        )
    return tuple(Goods(line_id, part.lines[line_id].sku, total) for line_id, total in sums.items())
