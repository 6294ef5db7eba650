"""What sourcing, fulfilment tracking and returns say happened to units. Facts are booked, never declined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from schemas.fulfilment import LinesHandedOver, LinesNotCollected, ParcelCameBack, ParcelWasShipped
from schemas.orders import LinesCancelled
from schemas.returns import CreditDue
from schemas.sourcing import LinesUnfillable
from services.order_capture.case import Case, line_quantities, money_exception
from services.order_capture.ending import cancel_units, carry_on, hand_over
from services.order_capture.events import CreditNoted, UnitsCounted
from services.order_capture.state import Line, Order
from shared.kernel.model import Yield


class _Named(Protocol):
    """Units of a line, as every fact names them."""

    @property
    def line_id(self) -> str: ...
    @property
    def quantity(self) -> int: ...


def unfillable(case: Case, fact: LinesUnfillable) -> Iterator[Yield]:
    """What sourcing said of a demand that a change has replaced since counts no more: the new one is planned anew, whole."""
    if fact.revision is not None and fact.revision < case.order.demand_revision:
        return
    units = _within(case.order, fact.lines, lambda line: line.open)
    if units:
        yield UnitsCounted(case.order_id, "unfillable", units)
        yield from carry_on(case, "unfillable")


def shipped(case: Case, fact: ParcelWasShipped) -> Iterator[Yield]:
    """More than was ordered is tracking's exception; the buyer pays what was ordered."""
    units = _within(case.order, fact.lines, lambda line: line.unshipped)
    if units:
        yield UnitsCounted(case.order_id, "shipped", units)
        yield from carry_on(case, "shipped")


def handed_over(case: Case, fact: LinesHandedOver) -> Iterator[Yield]:
    units = _within(case.order, fact.lines, lambda line: line.open)
    if units:
        yield from hand_over(case, units)
        yield from carry_on(case, "handed over")


def not_collected(case: Case, fact: LinesNotCollected) -> Iterator[Yield]:
    units = _within(case.order, fact.lines, lambda line: line.open)
    if units:
        yield from cancel_units(case, units, None, "not_collected")
        yield from carry_on(case, "not collected")


def came_back(case: Case, fact: ParcelCameBack) -> Iterator[Yield]:
    """The carrier returned what the buyer never had: cancelled, and refunded."""
    units = _within(case.order, fact.lines, lambda line: line.open)
    if units:
        yield UnitsCounted(case.order_id, "came_back", units)
        yield LinesCancelled(order_id=case.order_id, request_id=None, lines=line_quantities(units), reason="parcel_returned")
        yield from carry_on(case, "parcel returned")


def credit(case: Case, due: CreditDue) -> Iterator[Yield]:
    """The value of returned units is owed to the buyer. A return does not reopen the order."""
    order = case.order
    if order.stage == "unknown" or due.credit_id in order.money.credits:
        return
    units = _within(order, due.lines, lambda line: line.kept - line.credited)
    yield CreditNoted(case.order_id, due.credit_id)
    yield from _beyond_captured(case, due, units)
    yield UnitsCounted(case.order_id, "credited", units)
    yield from carry_on(case, "returned")


def _beyond_captured(case: Case, due: CreditDue, units: Mapping[str, int]) -> Iterator[Yield]:
    """Never more is given back than was captured; who settles with the buyer otherwise is a person's business."""
    order = case.order
    lines = [order.lines[name] for name in units]
    unclear = _sum(due.lines) > sum(units.values())
    left_already = all(line.billable - line.credited >= units[line.line_id] for line in lines)
    value = sum(_value(line, units[line.line_id]) for line in lines)
    available = order.money.refundable_minor + order.money.under_way("capture")
    settled_elsewhere = order.terms in ("on_account", "marketplace")
    if unclear or (left_already and value > available and not settled_elsewhere):
        detail = f"{value} is due for {due.credit_id}, {available} is left of what was captured."
        action = "Check the return" if unclear else "Pay the buyer back by other means, as the order was paid."
        yield money_exception(case, "refund_exceeds_captured", detail[:500], action)


def _value(line: Line, units: int) -> int:
    """What the next `units` to be credited are worth."""
    return line.value_between_minor(max(0, line.billable - line.credited - units), units)


def _within(order: Order, lines: Sequence[_Named], room: _Room) -> dict[str, int]:
    """Units by line, as far as there is room for them; lines the order doesn't have are left out."""
    units: dict[str, int] = {}
    for named in lines:
        units[named.line_id] = units.get(named.line_id, 0) + named.quantity
    fitting = {name: min(count, room(order.lines[name])) for name, count in units.items() if name in order.lines}
    return {name: count for name, count in fitting.items() if count > 0}


def _sum(lines: Sequence[_Named]) -> int:
    return sum(line.quantity for line in lines)


class _Room(Protocol):
    def __call__(self, line: Line, /) -> int: ...
