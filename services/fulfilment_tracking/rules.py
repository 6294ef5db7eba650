"""The arithmetic of fulfilment: what a report adds, what a part still has to do, and the statuses that follow from quantities."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, assert_never

from schemas.fulfilment import RejectionReason
from schemas.sourcing import PartLine
from services.fulfilment_tracking.state import (
    AskedUnits,
    Cancel,
    Content,
    Count,
    EndedCause,
    LineCounts,
    Order,
    Part,
    Reason,
    Units,
    Work,
)
from shared.value import replace

PartStatusName = Literal["scheduled", "requested", "accepted", "in_progress", "on_hold", "incomplete", "closed", "cancelled"]
OverKind = Literal["unasked", "shipped_after_cancel", "contradiction", "shipped_too_many"]
ReleasedCause = Literal["cancelled", "rejected", "short", "dropped", "changed", "not_collected"]
"""Causes that end a reservation."""
HandOver = Literal["delivered", "presumed"]
LostCause = Literal["rejected", "short"]
WITHDRAWN: tuple[EndedCause, ...] = ("cancelled", "changed")
"""Causes on which nobody wants the units any more."""
CLOSED = "closed:"
"""Request `closed:<part id>`: the order has ended, and the location still had units to do."""
LOST: tuple[EndedCause, ...] = ("rejected", "short", "dropped")
"""Causes on which sourcing plans again."""


def after_s(at: datetime, seconds: int) -> datetime:
    return at + timedelta(seconds=seconds)


# ---- units of one line of one part ----


def end(work: Work, cause: EndedCause, quantity: int, occurred_at: datetime, *, instructed: bool) -> Work:
    """Units the location won't do; what was not picked ends first. Of units shorted before it was `instructed` it never hears."""
    ended = {**work.ended, cause: work.ended.get(cause, 0) + quantity}
    ended_at = max(work.ended_at or occurred_at, occurred_at)
    shorted_open = work.shorted_open + (quantity if cause == "shorted" and instructed else 0)
    after = replace(work, ended=ended, ended_at=ended_at, shorted_open=shorted_open)
    carted = min(after.carted, after.left)
    kept_picked = after.carted - carted if cause == "shorted" else 0
    return replace(after, carted=carted, shorted_carted=work.shorted_carted + kept_picked)


def serve(work: Work, quantity: int, *, here: bool) -> Work:
    """Units of the plan left for the buyer. From here: the picked ones first."""
    carted = work.carted - min(work.carted, quantity) if here else work.carted
    after = replace(work, served=work.served + quantity)
    return replace(after, carted=min(carted, after.left))


def newly_picked(work: Work, total: int) -> int:
    """Units that left the shelf, given a running total of units picked; what left the location since counts as picked."""
    return max(0, min(total - work.picked, work.left - work.carted))


def shorted_unpicked(work: Work) -> int:
    """Shorted units the location has neither given up nor picked: what it picked beyond the booked units is of them."""
    return max(0, work.shorted_open - max(0, work.picked_said - work.picked))


def left_out_before(work: Work, occurred_at: datetime) -> int:
    """Units a final pick has left out, where it was made after that time: what the location had given up then is of them."""
    return work.unexplained if work.left_out_at is not None and occurred_at < work.left_out_at else 0


def given_up(work: Work) -> int:
    """Units the location gave up because nobody wanted them any more: they lie on its shelf."""
    return sum(work.ended.get(cause, 0) for cause in WITHDRAWN)


def newly_ready(work: Work, total: int) -> int:
    """Units that became ready for the buyer, given a running total; collected ones were ready before."""
    return max(0, min(total - max(work.ready_said, work.collected), work.left - work.awaiting_buyer))


def contradicts(work: Work, total: int, occurred_at: datetime) -> bool:
    """Whether a total is more than there was to do, and not merely an old report of units that ended since."""
    if total <= work.standing:
        return False
    return total > work.planned or work.ended_at is None or occurred_at >= work.ended_at


def over_kind(work: Work) -> OverKind:
    """What it means that more units left than stood in the plan; first of all shorted ones their location has not given up."""
    if work.planned == 0:
        return "unasked"
    if 0 < work.over <= work.shorted_open:
        return "shipped_too_many"
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


def asked_back(order: Order) -> dict[tuple[str, str], int]:
    """Units by (part, line) that a location still has to do, and was asked to give up because the order has ended."""
    parts = [part for part in order.parts.values() if is_asked_back(order, part)]
    return {(part.part_id, line): work.left for part in parts for line, work in part.lines.items() if work.left > 0}


def is_asked_back(order: Order, part: Part) -> bool:
    """Whether tracking has asked the location for what was left of a part at the order's end. A stranger's request may have the same id."""
    cancel = order.cancels.get(f"{CLOSED}{part.part_id}")
    return cancel is not None and cancel.quiet


def is_request(cancel: Cancel) -> bool:
    """Whether somebody asked for it; what else has its id is a location's answer that nobody asked for."""
    return bool(cancel.cancelled or cancel.too_late or any(asked.quantity or asked.lost for asked in cancel.asked))


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


def beyond_left(part: Part, lines: Iterable[PartLine]) -> tuple[Units, ...]:
    """As many of these units as the part hasn't left to do because they went to the buyer."""
    works = {line.line_id: part.lines[line.line_id] for line in lines if line.line_id in part.lines}
    return total(
        Units(line.line_id, max(0, min(line.quantity - works[line.line_id].left, works[line.line_id].served)))
        for line in lines
        if line.line_id in works
    )


def awaiting_buyer(part: Part) -> int:
    return sum([work.awaiting_buyer for work in part.lines.values()])


def is_touched(part: Part, demand_changed: bool) -> bool:
    """Whether it is too late to change a part: for its demand once instructed, for its instruction once picked."""
    begun = any(work.picked for work in part.lines.values())
    return begun or (demand_changed and part.revision > 0)


def asked_changes(order: Order) -> bool:
    """Whether locations are being asked about a change: until they answered, nobody else is instructed."""
    return any(change.answer_by is not None for change in order.changes.values())


# ---- one line of the order ----


def counted(counts: LineCounts, what: Count, quantity: int) -> LineCounts:
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
        case "written_off":
            return replace(counts, written_off=max(0, counts.written_off + quantity))
        case "credited":
            return replace(counts, credited=max(0, counts.credited + quantity))
        case _:
            assert_never(what)


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


# ---- the status of a part ----


def part_status(part: Part) -> PartStatusName:
    works = tuple(part.lines.values())
    done = any(work.served + work.over for work in works)
    if part.left == 0:
        missed = any(cause not in WITHDRAWN for work in works for cause in work.ended)
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


# ---- instructions ----


def to_collect_minor(order: Order, content: Content, part: Part) -> int:
    """What the location collects from the buyer, in minor units: by value of its units, the last part the rest."""
    if content.to_collect_minor == 0:
        return 0
    others = [other for other in order.parts.values() if other.revision > 0 and other.part_id != part.part_id]
    rest = max(0, content.to_collect_minor - sum(other.to_collect_minor for other in others))
    values = {line: _value_minor(order, line) for line, item in content.items.items() if item.kind == "goods"}
    here = sum(_share(content, line, work.left) for line, work in part.lines.items())
    elsewhere = sum(_share(content, line, work.standing) for other in others for line, work in other.lines.items())
    whole = sum(values.values())
    if here + elsewhere >= whole:
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
