"""Checks on the quantities of order lines: each service's books add up, and they say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.audit.books import Books, Captured, CapturedLine, Tracked
from deploy.audit.findings import Findings
from deploy.audit.ledger import Ledger
from schemas.status import LineStatus
from services.fulfilment_tracking.status import as_shown
from services.sourcing.state import Line as SourcingLine

CAPTURE, TRACKING, SOURCING, RETURNS = "order_capture", "fulfilment_tracking", "sourcing", "returns"
OVERSHIPPED = frozenset({"shipped_too_many", "shipped_after_cancel", "unasked", "contradiction", "unknown_line", "other_location"})
"""Exceptions that explain why more left than was wanted; facts are booked, and a person looks."""


def lines_add_up(books: Books, _: Ledger, found: Findings) -> None:
    """Of every line: what was ordered is cancelled, unfillable, handed over or still open, and nothing is open once the order has ended."""
    for order, captured in books.captured.items():
        excused = _excused(books, order)
        for name, line in captured.lines.items():
            ended = line.cancelled + line.unfillable + line.handed_over
            figures = f"{line.quantity} ordered, {line.cancelled} cancelled, {line.unfillable} unfillable, {line.handed_over} handed over"
            found.require(ended <= line.quantity or excused, CAPTURE, f"{order} {name}", figures)
            if captured.stage == "closed" and captured.outcome != "rejected":
                found.require(ended >= line.quantity, CAPTURE, f"{order} {name}", f"{figures}: the order ended with units open")


def documents_add_up(books: Books, _: Ledger, found: Findings) -> None:
    """In every status document: no more is cancelled, unfillable and handed over than was ordered, nothing goes back that wasn't there."""
    for order, tracked in books.tracked.items():
        for name in tracked.goods:
            line = tracked.lines[name]
            ended = line.cancelled + line.unfillable + line.handed_over
            found.require(ended <= line.ordered or _is_excused(tracked), TRACKING, f"{order} {name}", _told(line))
            back = line.credited <= max(line.handed_over, line.received_back)
            found.require(back, TRACKING, f"{order} {name}", f"{line.credited} credited of {line.handed_over} handed over")


def services_agree_on_lines(books: Books, _: Ledger, found: Findings) -> None:
    """Order capture and fulfilment tracking count the same units of a line as ordered, cancelled, unfillable, handed over, credited."""
    for order, name, line, shown in _both(books):
        pairs = {
            "ordered": (line.quantity, shown.ordered),
            "cancelled": (line.cancelled, shown.cancelled),
            "unfillable": (line.unfillable, shown.unfillable),
            "handed over": (line.handed_over, shown.handed_over),
            "credited": (line.credited, shown.credited),
        }
        differing = [f"{what}: capture {ours}, tracking {theirs}" for what, (ours, theirs) in pairs.items() if ours != theirs]
        found.require(not differing or _excused(books, order), CAPTURE, f"{order} {name}", "; ".join(differing))


def sourcing_accounts_for_every_unit(books: Books, _: Ledger, found: Findings) -> None:
    """Sourcing has each unit of an open order in exactly one place, and counts as many ordered and ended as order capture: which counts
    no unit as unfillable that somebody handed over unasked."""
    for order, sourced in books.sourced.items():
        captured = books.captured.get(order)
        if captured is None or sourced.closed or sourced.changing:
            continue
        for name, line in sourced.lines.items():
            placed = line.open + line.waiting + line.done + line.cancelled + line.unfillable + _in_parts(sourced.held, name)
            figures = f"{line.open} open, {line.waiting} waiting, {_in_parts(sourced.held, name)} in parts, {line.done} done"
            told = f"{line.ordered} ordered: {figures}, {line.cancelled} cancelled, {line.unfillable} unfillable"
            found.require(placed == line.ordered, SOURCING, f"{order} {name}", told)
            ours = captured.lines.get(name)
            found.require(
                ours is not None and ours.quantity == line.ordered and _same_given_up(ours, line, excused=_excused(books, order)),
                SOURCING,
                f"{order} {name}",
                f"capture has {ours}, sourcing {line.ordered} ordered, {line.unfillable} unfillable",
            )


def _same_given_up(ours: CapturedLine, line: SourcingLine, *, excused: bool) -> bool:
    """Where a person was told, units that sourcing gave up and that were handed over all the same are no difference; no others are."""
    handed_over = ours.handed_over if excused else 0
    return ours.unfillable <= line.unfillable <= ours.unfillable + handed_over


def returns_stay_within_what_was_handed_over(books: Books, _: Ledger, found: Findings) -> None:
    """Returns and fulfilment tracking count the same units handed over, as far as a document can tell, and never more credited than
    inspected and handed over."""
    for order, lines in books.returned.items():
        tracked = books.tracked.get(order)
        for name, line in lines.items():
            within = line.credited <= min(line.inspected, line.handed_over)
            found.require(
                within,
                RETURNS,
                f"{order} {name}",
                f"{line.credited} credited of {line.inspected} inspected, {line.handed_over} handed over",
            )
            if tracked is not None and name in tracked.goods:
                shown = tracked.lines[name].handed_over
                told = f"{line.handed_over} handed over, tracking counts {shown}"
                found.require(shown == as_shown(line.handed_over), RETURNS, f"{order} {name}", told)


def nothing_is_credited_twice(books: Books, _: Ledger, found: Findings) -> None:
    """No line is credited for more units than left for the buyer."""
    for order, captured in books.captured.items():
        for name, line in captured.lines.items():
            left = max(line.shipped, line.handed_over)
            found.require(line.credited <= left, CAPTURE, f"{order} {name}", f"{line.credited} credited of {left} that left")


def _both(books: Books) -> Iterator[tuple[str, str, CapturedLine, LineStatus]]:
    for order, captured in books.captured.items():
        tracked = books.tracked.get(order)
        if tracked is not None and _is_accepted(captured):
            for name, line in captured.lines.items():
                if line.goods and name in tracked.lines:
                    yield order, name, line, tracked.lines[name]


def _is_accepted(captured: Captured) -> bool:
    """Before that, nobody else knows the order's lines."""
    return captured.stage == "accepted" or (captured.stage == "closed" and captured.outcome != "rejected")


def _in_parts(held: Mapping[tuple[str, str], int], name: str) -> int:
    return sum(units for (_, line), units in held.items() if line == name)


def _excused(books: Books, order: str) -> bool:
    return order in books.tracked and _is_excused(books.tracked[order])


def _is_excused(tracked: Tracked) -> bool:
    return not OVERSHIPPED.isdisjoint(tracked.exceptions)


def _told(line: LineStatus) -> str:
    return f"{line.ordered} ordered, {line.cancelled} cancelled, {line.unfillable} unfillable, {line.handed_over} handed over"
