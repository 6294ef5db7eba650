"""Every quantity of an order's lines, counted in one walk over its parts and parcels, and the statuses that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from schemas.status import OrderStatusName
from services.fulfilment_tracking.loads import in_parcels
from services.fulfilment_tracking.state import Item, LineCounts, Order, Parcel, Part, Work

UNNAMED = "unknown"
"""Stands for the item of a line that nobody named."""


class LineQuantities(Struct):
    """One line's quantities in its item's base unit; grows while the order is walked through, then only read."""

    sku: str = ""
    is_goods: bool = True
    """Only goods are fulfilled; a line the order doesn't have can only be goods."""
    ordered: int = 0
    cancelled: int = 0
    unfillable: int = 0
    backordered: int = 0
    in_plans: int = 0
    """Units that some part has done or still has to do."""
    reserved: int = 0
    released: int = 0
    picked: int = 0
    packed: int = 0
    shipped: int = 0
    ready: int = 0
    collected: int = 0
    came_back: int = 0
    """By the carrier, before the buyer had them."""
    handed_over: int = 0
    return_requested: int = 0
    received_back: int = 0
    written_off: int = 0
    credited: int = 0

    @property
    def open(self) -> int:
        """Units that are still wanted."""
        return max(0, self.ordered - self.cancelled - self.unfillable)

    @property
    def gone(self) -> int:
        """Units that left for the buyer."""
        return self.shipped + self.collected

    @property
    def away(self) -> int:
        """Units that left and did not come back by the carrier."""
        return self.gone - self.came_back

    @property
    def unaccounted(self) -> int:
        """Units that are neither cancelled, unfillable nor in a part: sourcing has them."""
        return max(0, self.ordered - self.cancelled - self.unfillable - self.in_plans)


def quantities(order: Order) -> dict[str, LineQuantities]:
    """By line: the order's own lines, then those that only fulfilment has seen.

    A unit that was cancelled because its buyer stayed away is not unfillable as well, though its reservation was shorted meanwhile and
    sourcing found no other: whichever is heard first, order capture counts it once."""
    items = order.content.items if order.content else {}
    lines = {line_id: _ordered(item, order.lines.get(line_id)) for line_id, item in items.items()}
    for part in order.parts.values():
        _add_part(lines, order, part)
    for parcel in order.parcels.values():
        _add_parcel(lines, parcel)
    for line in lines.values():
        if line.unfillable:
            line.unfillable = min(line.unfillable, max(0, line.ordered - line.cancelled))
        if line.backordered:
            line.backordered = min(line.backordered, line.unaccounted)
        if not line.is_goods:
            line.handed_over = line.open if order.outcome else 0
    return lines


def _ordered(item: Item | None, decided: LineCounts | None) -> LineQuantities:
    sku, is_goods, ordered = (item.sku, item.kind == "goods", item.quantity) if item else ("", True, 0)
    if decided is None:
        return LineQuantities(sku, is_goods, ordered)
    return LineQuantities(
        sku,
        is_goods,
        ordered,
        cancelled=decided.cancelled,
        unfillable=decided.unfillable,
        backordered=decided.backordered,
        return_requested=decided.return_requested,
        received_back=decided.received_back,
        written_off=decided.written_off,
        credited=decided.credited,
    )


def _add_part(lines: dict[str, LineQuantities], order: Order, part: Part) -> None:
    packed = in_parcels(order, part.part_id)
    for line_id, work in part.lines.items():
        line = lines.get(line_id)
        if line is None:
            line = lines[line_id] = _ordered(None, order.lines.get(line_id))
        _add_work(line, work, packed.get(line_id, 0), instructed=part.revision > 0)


def _add_work(line: LineQuantities, work: Work, packed: int, *, instructed: bool) -> None:
    left, served, collected = work.left, work.served, work.collected
    out = served + work.over
    picked = work.carted + out
    line.sku = line.sku or work.sku
    line.in_plans += left + served
    if instructed:
        line.released += out + left
    else:
        line.released += out
        line.reserved += left
    line.picked += picked
    line.packed += min(packed, picked)
    line.shipped += out - collected
    line.ready += work.awaiting_buyer + collected
    line.collected += collected
    line.handed_over += collected


def _add_parcel(lines: Mapping[str, LineQuantities], parcel: Parcel) -> None:
    """Its units are handed over, or came back, or are on their way."""
    for goods in parcel.shipped:
        if parcel.handed_over:
            lines[goods.line_id].handed_over += goods.quantity
        elif parcel.came_back:
            lines[goods.line_id].came_back += goods.quantity


# ---- the status of a line, and of the order ----


def line_status(line: LineQuantities) -> str:
    """The furthest stage that all wanted units of a line have reached."""
    still_wanted, gone = line.open, line.gone
    if still_wanted == 0 and gone == line.came_back:
        return "unfillable" if line.unfillable and not line.cancelled else "cancelled"
    if line.received_back >= line.handed_over > 0:
        return "returned"
    return _stage_reached(line, gone, max(still_wanted, gone))


def _stage_reached(line: LineQuantities, gone: int, wanted: int) -> str:
    if line.handed_over >= wanted:
        return "handed_over"
    if gone >= wanted:
        return "shipped"
    if line.ready + line.shipped >= wanted:
        return "ready_for_collection"
    if line.packed >= wanted:
        return "packed"
    if line.picked >= wanted:
        return "picked"
    if line.released >= wanted:
        return "released"
    if line.released + line.reserved >= wanted:
        return "reserved"
    return "backordered" if line.backordered else "open"


def order_status(order: Order, goods: Sequence[LineQuantities]) -> OrderStatusName:
    if order.outcome:
        return order.outcome
    if order.phase in ("unknown", "held"):
        return "held"
    if order.holds and not any(line.released for line in goods):
        return "held"
    return _status_by_quantity(goods)


def _status_by_quantity(goods: Sequence[LineQuantities]) -> OrderStatusName:
    wanted = gone = waiting = 0
    for line in goods:
        wanted += line.open
        gone += line.gone
        waiting += line.ready - line.collected
    if gone >= wanted:
        return _status_of_gone(goods, wanted)
    if waiting and gone + waiting >= wanted:
        return "ready_for_collection"
    if gone:
        return "partly_shipped"
    if any(line.released for line in goods):
        return "in_fulfilment"
    if any(line.backordered for line in goods) and not any(line.reserved for line in goods):
        return "backordered"
    return "accepted"


def _status_of_gone(goods: Sequence[LineQuantities], wanted: int) -> OrderStatusName:
    """Everything that is wanted has left."""
    if wanted == 0 and not any(line.away for line in goods):
        return "cancelled" if goods else "accepted"
    if sum(line.handed_over for line in goods) < max(wanted, 1):
        return "shipped"
    return "partly_completed" if any(line.cancelled or line.unfillable for line in goods) else "completed"
