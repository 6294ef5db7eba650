"""What is in parcels: totals by line and item, and what a report adds to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.fulfilment_tracking.state import Goods, Order, Part
from shared.value import replace


def as_planned(part: Part, location: str, goods: Goods) -> bool:
    """Whether goods come from the level that was reserved for them."""
    work = part.lines.get(goods.line_id)
    return location == part.location and work is not None and work.sku == goods.sku


def _by_item(goods: Iterable[Goods]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for entry in goods:
        found[entry.line_id, entry.sku] = found.get((entry.line_id, entry.sku), 0) + entry.quantity
    return found


def _goods(by_item: Mapping[tuple[str, str], int]) -> tuple[Goods, ...]:
    return tuple(Goods(line, sku, quantity) for (line, sku), quantity in by_item.items() if quantity > 0)


def sum_of(known: Iterable[Goods], more: Iterable[Goods]) -> tuple[Goods, ...]:
    return _goods(_by_item((*known, *more)))


def most_of(known: Iterable[Goods], other: Iterable[Goods]) -> tuple[Goods, ...]:
    """Of each item the higher total."""
    ours, theirs = _by_item(known), _by_item(other)
    return _goods({item: max(ours.get(item, 0), theirs.get(item, 0)) for item in (*ours, *theirs)})


def added(known: Iterable[Goods], contents: Iterable[Goods]) -> tuple[Goods, ...]:
    """What whole contents add to what is known; a lower total adds nothing."""
    ours = _by_item(known)
    return _goods({item: total - ours.get(item, 0) for item, total in _by_item(contents).items()})


class Departure(NamedTuple):
    """Goods that left, told apart by whether they were still in the part's plan."""

    served: tuple[Goods, ...]
    over: tuple[Goods, ...]


def departure(part: Part, goods: Iterable[Goods]) -> Departure:
    left = {line: work.left for line, work in part.lines.items()}
    served: list[Goods] = []
    over: list[Goods] = []
    for entry in goods:
        planned = min(entry.quantity, left.get(entry.line_id, 0))
        left[entry.line_id] = left.get(entry.line_id, 0) - planned
        served.append(replace(entry, quantity=planned))
        over.append(replace(entry, quantity=entry.quantity - planned))
    return Departure(_there(served), _there(over))


def _there(goods: Iterable[Goods]) -> tuple[Goods, ...]:
    return tuple(entry for entry in goods if entry.quantity > 0)


def in_parcels(order: Order, part_id: str) -> dict[str, int]:
    """Units by line that are or were in parcels of a part."""
    totals: dict[str, int] = {}
    for parcel in order.parcels.values():
        if parcel.part_id == part_id:
            for goods in parcel.contents:
                totals[goods.line_id] = totals.get(goods.line_id, 0) + goods.quantity
    return totals


def ever_packed(order: Order, part_id: str) -> dict[str, int]:
    """Units by line that went into parcels of a part, be it that some were taken out again before they left."""
    totals: dict[str, int] = {}
    for parcel in order.parcels.values():
        if parcel.part_id == part_id:
            for goods in most_of(parcel.packed, parcel.shipped):
                totals[goods.line_id] = totals.get(goods.line_id, 0) + goods.quantity
    return totals
