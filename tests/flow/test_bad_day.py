"""Everything at once: whatever buyers, locations and carriers do, every order ends and the books agree with the shelves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from schemas import payments as pay
from schemas.orders import OrderClosed, OrderInvoiced
from schemas.status import LineStatus, OrderStatus
from tests.support.bad_day import ITEMS, BadDay
from tests.support.desk import Desk, Place
from tests.support.steps import left_clean

NewPlace = Callable[..., Awaitable[Place]]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_bad_day_ends_with_the_books_in_order(desk: Desk, place: NewPlace, seed: int) -> None:
    """Units: what left the shelves is what was sold. Orders: every unit was handed over, cancelled or unfillable. Money: as invoiced."""
    here = await place(items=ITEMS, cancel_answer_s=2, channel={"hold_deadline_s": 3600})
    day = BadDay(here, seed)
    await day.open()
    await day.trade(orders=60)
    await day.close()
    await left_clean(here)
    for (location, sku), units in day.shelves.items():
        level = desk.level(sku, location)
        assert level is not None
        there = units, day.damaged[location, sku], 0, 0
        assert (level.sellable, level.damaged, level.reserved, level.picked) == there, (location, sku)
    for status in desk.statuses(here.channel):
        assert len(desk.all(OrderClosed, order_id=status.order_id)) == 1
        assert [line for line in status.lines if unaccounted(line, status)] == []
        assert captured(desk, status.order_id) in (0, invoiced(desk, status.order_id))


def unaccounted(line: LineStatus, status: OrderStatus) -> int:
    """Units that are neither at the buyer's nor given up; more than ordered only where a person was told."""
    rest = line.ordered - line.handed_over - line.cancelled - line.unfillable
    return rest if rest > 0 or not status.exceptions else 0


def captured(desk: Desk, order_id: str) -> int:
    """In minor units, less what was given back."""
    taken = sum(asked.amount_minor for asked in desk.all(pay.CapturePayment, order_id=order_id))
    return taken - sum(asked.amount_minor for asked in desk.all(pay.RefundPayment, order_id=order_id))


def invoiced(desk: Desk, order_id: str) -> int:
    return sum(invoice.amount_minor for invoice in desk.all(OrderInvoiced, order_id=order_id))
