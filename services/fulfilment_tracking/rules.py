"""The arithmetic of fulfilment: what a report adds, what a part still has to do, and the statuses that follow from quantities."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from schemas.fulfilment import RejectionReason
from schemas.sourcing import PartLine
from services.fulfilment_tracking.loads import in_parcels, shipped_in
from services.fulfilment_tracking.state import (
    AskedUnits,
    Cancel,
    Content,
    EndedCause,
    LineCounts,
    Order,
    Part,
    Reason,
    Units,
    Work,
)
from shared.frozen import replace

OrderStatusName = Literal[
    "held",
    "accepted",
    "backordered",
    "in_fulfilment",
    "partly_shipped",
    "shipped",
    "ready_for_collection",
    "completed",
    "cancelled",
    "rejected",
    "partly_completed",
]
PartStatusName = Literal["scheduled", "requested", "accepted", "in_progress", "on_hold", "incomplete", "closed", "cancelled"]
OverKind = Literal["unasked", "shipped_after_cancel", "contradiction", "shipped_too_many"]
ReleasedCause = Literal["cancelled", "rejected", "short", "dropped", "changed", "not_collected"]
"""Causes that end a reservation."""
HandOver = Literal["delivered", "presumed"]
LostCause = Literal["rejected", "short"]
LOST: tuple[EndedCause, ...] = ("rejected", "short", "dropped")
"""Causes on which sourcing plans again."""

KIND_RANK = {"consumer": 0, "business": 10, "replenishment": 20}
"""Order kinds by priority; the order's own priority, 0 to 9, counts within its kind."""


def after_s(at: datetime, seconds: int) -> datetime:
    return at + timedelta(seconds=seconds)


# ---- units of one line of one part ----


def end(work: Work, cause: EndedCause, quantity: int, occurred_at: datetime) -> Work:
    """Units the location won't do; what was not picked ends first."""
    ended = {**work.ended, cause: work.ended.get(cause, 0) + quantity}
    ended_at = max(work.ended_at or occurred_at, occurred_at)
    shorted_open = work.shorted_open + (quantity if cause == "shorted" else 0)
    after = replace(work, ended=ended, ended_at=ended_at, shorted_open=shorted_open)
    return replace(after, carted=min(after.carted, after.left))


def serve(work: Work, quantity: int, *, here: bool) -> Work:
    """Units of the plan left for the buyer. From here: the picked ones first."""
    carted = work.carted - min(work.carted, quantity) if here else work.carted
    after = replace(work, served=work.served + quantity)
    return replace(after, carted=min(carted, after.left))


def newly_picked(work: Work, total: int) -> int:
    """Units that left the shelf, given a running total of units picked; what left the location since counts as picked."""
    return max(0, min(total - work.picked, work.left - work.carted))


def newly_ready(work: Work, total: int) -> int:
    """Units that became ready for the buyer, given a running total; collected ones were ready before."""
    return max(0, min(total - max(work.ready_said, work.collected), work.left - work.awaiting_buyer))


def contradicts(work: Work, total: int, occurred_at: datetime) -> bool:
    """Whether a total is more than there was to do, and not merely an old report of units that ended since."""
    if total <= work.standing:
        return False
    return total > work.planned or work.ended_at is None or occurred_at >= work.ended_at


def over_kind(work: Work) -> OverKind:
    """What it means that more units left than stood in the plan."""
    if work.planned == 0:
        return "unasked"
    if work.ended.get("cancelled") or work.ended.get("changed"):
        return "shipped_after_cancel"
    if work.ended and "shorted" not in work.ended:
        return "contradiction"
    return "shipped_too_many"


# ---- cancels ----


def open_units(cancel: Cancel, asked: AskedUnits) -> int:
    """Units a location may still give up for this request in time."""
    return 0 if cancel.settled or cancel.quiet else asked.quantity - max(asked.heard, asked.cancelled)


def asked_units(order: Order, part_id: str, line_id: str) -> int:
    """Units of a line that some open cancellation has asked for already."""
    return sum(
        open_units(cancel, asked)
        for cancel in order.cancels.values()
        for asked in cancel.asked
        if asked.part_id == part_id and asked.line_id == line_id
    )


def is_answered(cancel: Cancel) -> bool:
    """Whether nothing more can be learned about a request by waiting."""
    return all(asked.part_id in cancel.answered or open_units(cancel, asked) <= 0 for asked in cancel.asked)


def cancelled_by(cancel: Cancel) -> tuple[Units, ...]:
    return total((*cancel.cancelled, *(Units(a.line_id, a.cancelled + a.lost) for a in cancel.asked)))


def too_late_for(cancel: Cancel) -> tuple[Units, ...]:
    return total((*cancel.too_late, *(Units(asked.line_id, asked.quantity - asked.cancelled) for asked in cancel.asked)))


def total(units: Iterable[Units]) -> tuple[Units, ...]:
    """Summed by line, without the empty ones."""
    sums: dict[str, int] = {}
    for entry in units:
        sums[entry.line_id] = sums.get(entry.line_id, 0) + entry.quantity
    return tuple(Units(line, quantity) for line, quantity in sums.items() if quantity > 0)


def lost_unseen(work: Work, asked: int, believed: int | None, counted_already: int) -> int:
    """Of the units asked for, those the location lost before sourcing could know.

    `believed`: units sourcing took to stand in the part; where it doesn't say, what is asked beyond the standing ones.
    `counted_already`: lost units that other cancellations have counted as theirs."""
    lost = sum(work.ended.get(cause, 0) for cause in LOST) - counted_already
    unseen = (asked if believed is None else believed) - work.left - work.served - counted_already
    return max(0, min(asked, lost, unseen))


def lost_to_cancels(order: Order, part_id: str, line_id: str) -> int:
    """Lost units of a line that cancellations have counted as theirs."""
    return sum(
        asked.lost for cancel in order.cancels.values() for asked in cancel.asked if asked.part_id == part_id and asked.line_id == line_id
    )


def less(units: Iterable[Units], taken: Iterable[Units]) -> tuple[Units, ...]:
    """Units by line, without those taken."""
    return total((*units, *(Units(entry.line_id, -entry.quantity) for entry in taken)))


def rejection(reason: Reason) -> RejectionReason:
    return "other" if reason == "none" else reason


# ---- a part as a whole ----


def within_left(part: Part, lines: Iterable[PartLine]) -> tuple[Units, ...]:
    """As many of these units as the part still has to do."""
    left = {line: work.left for line, work in part.lines.items()}
    return total(Units(line.line_id, min(line.quantity, left.get(line.line_id, 0))) for line in lines)


def awaiting_buyer(part: Part) -> int:
    return sum(work.awaiting_buyer for work in part.lines.values())


def is_touched(part: Part, demand_changed: bool) -> bool:
    """Whether it is too late to change a part: for its demand once instructed, for its instruction once picked."""
    begun = any(work.picked for work in part.lines.values())
    return begun or (demand_changed and part.revision > 0)


def asked_changes(order: Order) -> bool:
    """Whether locations are being asked about a change: until they answered, nobody else is instructed."""
    return any(change.answer_by is not None for change in order.changes.values())


# ---- one line of the order ----

UNNAMED = "unknown"
"""Stands for the item of a line that nobody named."""


def is_goods(order: Order, line_id: str) -> bool:
    """Only goods are fulfilled; a line the order doesn't have can only be goods."""
    item = order.content.item(line_id) if order.content else None
    return item is None or item.kind == "goods"


def sku_of(order: Order, line_id: str) -> str:
    item = order.content.item(line_id) if order.content else None
    if item:
        return item.sku
    works = (part.lines[line_id] for part in order.parts.values() if line_id in part.lines)
    return next((work.sku for work in works if work.sku), UNNAMED)


def counted(counts: LineCounts, what: str, quantity: int) -> LineCounts:
    match what:
        case "cancelled":
            return replace(counts, cancelled=max(0, counts.cancelled + quantity))
        case "unfillable":
            return replace(counts, unfillable=max(0, counts.unfillable + quantity))
        case "backordered":
            return replace(counts, backordered=max(0, counts.backordered + quantity))
        case "return_requested":
            return replace(counts, return_requested=max(0, counts.return_requested + quantity))
        case "received_back":
            return replace(counts, received_back=max(0, counts.received_back + quantity))
        case _:
            return replace(counts, credited=max(0, counts.credited + quantity))


def ordered(order: Order, line_id: str) -> int:
    item = order.content.item(line_id) if order.content else None
    return item.quantity if item else 0


def in_plans(order: Order, line_id: str) -> int:
    """Units of a line that some part has done or still has to do."""
    works = (part.lines.get(line_id) for part in order.parts.values())
    return sum(work.left + work.served for work in works if work)


def unaccounted(order: Order, line_id: str) -> int:
    """Units of a line that are neither cancelled, unfillable nor in a part: sourcing has them."""
    counts = order.lines.get(line_id, LineCounts())
    return max(0, ordered(order, line_id) - counts.cancelled - counts.unfillable - in_plans(order, line_id))


def handed_over(order: Order, line_id: str) -> int:
    """Units of a line the buyer has, by parcel or at the counter."""
    works = (part.lines.get(line_id) for part in order.parts.values())
    delivered = (parcel for parcel in order.parcels.values() if parcel.handed_over)
    return shipped_in(delivered, line_id) + sum(work.collected for work in works if work)


def came_back(order: Order, line_id: str) -> int:
    """Units of a line the carrier brought back before the buyer had them."""
    return shipped_in((p for p in order.parcels.values() if p.came_back and not p.handed_over), line_id)


def _given(order: Order, line_id: str) -> int:
    """Units of a service or gift card the buyer has: order_capture gives them, and closes the order when it has."""
    counts = order.lines.get(line_id, LineCounts())
    return max(0, ordered(order, line_id) - counts.cancelled - counts.unfillable) if order.outcome else 0


class LineQuantities(NamedTuple):
    """Every quantity of one line, in its item's base unit."""

    ordered: int
    cancelled: int
    unfillable: int
    backordered: int
    reserved: int
    released: int
    picked: int
    packed: int
    shipped: int
    ready: int
    collected: int
    came_back: int
    handed_over: int
    return_requested: int
    received_back: int
    credited: int

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


def quantities(order: Order, line_id: str) -> LineQuantities:
    counts = order.lines.get(line_id, LineCounts())
    parts = [(part, part.lines[line_id]) for part in order.parts.values() if line_id in part.lines]
    out = [(part, work) for part, work in parts if part.revision > 0 or work.served + work.over > 0]
    return LineQuantities(
        ordered=ordered(order, line_id),
        cancelled=counts.cancelled,
        unfillable=counts.unfillable,
        backordered=min(counts.backordered, unaccounted(order, line_id)),
        reserved=sum(work.left for part, work in parts if part.revision == 0),
        released=sum(work.standing if part.revision > 0 else work.served + work.over for part, work in out),
        picked=sum(work.picked for _, work in parts),
        packed=sum(min(in_parcels(order, part.part_id, line_id), work.picked) for part, work in parts),
        shipped=sum(work.shipped for _, work in parts),
        ready=sum(work.awaiting_buyer + work.collected for _, work in parts),
        collected=sum(work.collected for _, work in parts),
        came_back=came_back(order, line_id),
        handed_over=handed_over(order, line_id) if is_goods(order, line_id) else _given(order, line_id),
        return_requested=counts.return_requested,
        received_back=counts.received_back,
        credited=counts.credited,
    )


def line_status(line: LineQuantities) -> str:
    """The furthest stage that all wanted units of a line have reached."""
    if line.open == 0 and line.away == 0:
        return "unfillable" if line.unfillable and not line.cancelled else "cancelled"
    if line.received_back >= line.handed_over > 0:
        return "returned"
    stages = (
        ("handed_over", line.handed_over),
        ("shipped", line.gone),
        ("ready_for_collection", line.ready + line.shipped),
        ("packed", line.packed),
        ("picked", line.picked),
        ("released", line.released),
        ("reserved", line.released + line.reserved),
    )
    wanted = max(line.open, line.gone)
    for stage, reached in stages:
        if reached >= wanted:
            return stage
    return "backordered" if line.backordered else "open"


def part_status(part: Part) -> PartStatusName:
    works = tuple(part.lines.values())
    done = any(work.served + work.over for work in works)
    if part.left == 0:
        missed = any(cause not in ("cancelled", "changed") for work in works for cause in work.ended)
        if missed:
            return "incomplete"
        return "closed" if done else "cancelled"
    if part.revision == 0:
        return "scheduled"
    if part.paused:
        return "on_hold"
    if done or any(work.carted for work in works):
        return "in_progress"
    return "accepted" if part.accepted else "requested"


def order_status(order: Order, lines: Iterable[LineQuantities]) -> OrderStatusName:
    """Lines are those of goods."""
    if order.outcome:
        return order.outcome
    if order.phase in ("unknown", "held"):
        return "held"
    lines = tuple(lines)
    released = sum(line.released for line in lines)
    if order.holds and not released:
        return "held"
    return _status_by_quantity(lines)


def _status_by_quantity(lines: tuple[LineQuantities, ...]) -> OrderStatusName:
    wanted = sum(line.open for line in lines)
    gone, handed = sum(line.gone for line in lines), sum(line.handed_over for line in lines)
    waiting = sum(line.ready - line.collected for line in lines)
    if gone >= wanted:
        return _status_of_gone(lines, wanted, handed)
    if waiting and gone + waiting >= wanted:
        return "ready_for_collection"
    if gone:
        return "partly_shipped"
    if any(line.released for line in lines):
        return "in_fulfilment"
    if any(line.backordered for line in lines) and not any(line.reserved for line in lines):
        return "backordered"
    return "accepted"


def _status_of_gone(lines: tuple[LineQuantities, ...], wanted: int, handed: int) -> OrderStatusName:
    """Everything that is wanted has left."""
    if wanted == 0 and not any(line.away for line in lines):
        return "cancelled" if lines else "accepted"
    if handed < max(wanted, 1):
        return "shipped"
    return "partly_completed" if any(line.cancelled or line.unfillable for line in lines) else "completed"


# ---- instructions ----


def to_collect_minor(order: Order, content: Content, part: Part) -> int:
    """What the location collects from the buyer, in minor units: by value of its units, the last part the rest."""
    others = [other for other in order.parts.values() if other.revision > 0 and other.part_id != part.part_id]
    rest = max(0, content.to_collect_minor - sum(other.to_collect_minor for other in others))
    values = {line: _value_minor(order, line) for line, item in content.items.items() if item.kind == "goods"}
    here = sum(_share(content, line, work.left) for line, work in part.lines.items())
    elsewhere = sum(_share(content, line, work.standing) for other in others for line, work in other.lines.items())
    whole = sum(values.values())
    if whole == 0 or here + elsewhere >= whole:
        return rest
    return min(rest, content.to_collect_minor * here // whole)


def _value_minor(order: Order, line_id: str) -> int:
    counts = order.lines.get(line_id, LineCounts())
    wanted = ordered(order, line_id) - counts.cancelled - counts.unfillable
    return _share(order.content, line_id, wanted) if order.content else 0


def _share(content: Content, line_id: str, quantity: int) -> int:
    """Value of so many units of a line, in minor units, rounded down."""
    item = content.item(line_id)
    return item.net_minor * quantity // item.quantity if item else 0


def priority(content: Content) -> int:
    return KIND_RANK[content.kind] + content.priority
