"""What follows when units of an order moved on: services are handed over, money is settled, the order closes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schemas.orders import LinesCancelled, OrderClosed
from services.order_capture import money
from services.order_capture.awaiting import leave
from services.order_capture.case import Case, line_quantities
from services.order_capture.events import OrderEnded, UnitsCounted
from services.order_capture.holds import end_all
from services.order_capture.state import Line, Order, Outcome
from shared.kernel.model import Wake, Yield

CANCEL_AFTER = "cancel_after"
"""The timer that cancels what isn't shipped by then."""


def carry_on(case: Case, reason: str) -> Iterator[Yield]:
    """To be called once quantities have changed: money follows them, and the order ends once everything has."""
    if case.order.stage == "accepted" and not case.order.busy:
        yield from _end_services(case)
    yield from money.settle(case, reason)
    if case.order.stage == "accepted" and case.order.all_ended and not case.order.busy:
        yield from close(case, _outcome(case.order))


def hand_over(case: Case, units: Mapping[str, int]) -> Iterator[Yield]:
    """The buyer has these units: they are invoiced. Services and gift cards go with the first of them."""
    handed = {name: count for name, count in units.items() if count > 0}
    if any(case.order.lines[name].kind == "goods" for name in handed):
        handed |= {line.line_id: left for line in case.order.services if (left := case.order.left_of(line)) > 0}
    if handed:
        yield from money.invoice(case, handed)
        yield UnitsCounted(case.order_id, "handed_over", handed)


def cancel_units(case: Case, units: Mapping[str, int], request_id: str | None, reason: str) -> Iterator[Yield]:
    """These units are cancelled for good."""
    cancelled = {name: count for name, count in units.items() if count > 0}
    if cancelled:
        yield UnitsCounted(case.order_id, "cancelled", cancelled)
        yield LinesCancelled(order_id=case.order_id, request_id=request_id, lines=line_quantities(cancelled), reason=reason)


def close(case: Case, outcome: Outcome) -> Iterator[Yield]:
    """Nothing more is expected: holds and timers end, the rest of the authorisations is voided."""
    yield from end_all(case, "release" if outcome in ("completed", "partly_completed") else "cancel")
    yield from leave(case.order_id, case.order.awaits, case.now)
    if case.order.cancel_after is not None:
        yield Wake(case.key, CANCEL_AFTER, None)
    yield OrderEnded(case.order_id, outcome)
    yield OrderClosed(order_id=case.order_id, outcome=outcome)
    yield from money.settle(case, "order closed")
    yield from money.explain_shortage(case)


def _end_services(case: Case) -> Iterator[Yield]:
    """Once no goods are to come: gift cards are handed over all the same, services only where goods were."""
    order = case.order
    if any(line.open > 0 for line in order.goods):
        return
    accompanied = not order.goods or any(line.handed_over > 0 for line in order.goods)
    open_lines = [line for line in order.services if line.open > 0]
    kept = [line for line in open_lines if accompanied or line.kind == "gift_card"]
    yield from hand_over(case, _open(kept))
    yield from cancel_units(case, _open([line for line in open_lines if line not in kept]), None, "without_goods")


def _open(lines: list[Line]) -> dict[str, int]:
    return {line.line_id: line.open for line in lines}


def _outcome(order: Order) -> Outcome:
    if not any(line.handed_over > 0 for line in order.lines.values()):
        return "cancelled"
    whole = all(line.handed_over >= line.quantity for line in order.lines.values())
    return "completed" if whole else "partly_completed"
