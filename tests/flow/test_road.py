"""The whole road of one order: placed, sourced, instructed, picked, packed, shipped, delivered, returned, credited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from schemas import fulfilment as ff
from schemas import returns as rt
from schemas.orders import OrderInvoiced
from schemas.sourcing import OrderSourced
from tests.support.desk import Desk, Place
from tests.support.steps import authorise_return, ended, inspected, left_clean, received, ship, track

NewPlace = Callable[..., Awaitable[Place]]


async def test_an_order_is_placed_shipped_delivered_and_one_unit_comes_back(desk: Desk, place: NewPlace) -> None:
    """Every step is told, stock is right at the end, and no reservation is left behind."""
    here = await place()
    await here.stock("paris", a=10, b=5)
    order = await here.place({"a": 2, "b": 1})
    sourced = await desk.see(OrderSourced, order_id=order)
    assert [part.location for part in sourced.parts] == [here.at("paris")]
    await here.holds("paris", "a", sellable=10, reserved=2, atp=8)
    [instruction] = await here.instructed(order)
    tracking = await ship(here, instruction)
    await desk.see(ff.ParcelWasShipped, order_id=order)
    await here.holds("paris", "a", sellable=8, reserved=0, picked=0)
    await track(here, tracking, "delivered")
    await desk.see(ff.LinesHandedOver, order_id=order, how="delivered")
    await desk.see(OrderInvoiced, order_id=order, amount_minor=3000)
    await ended(here, order, "completed")

    authorised = await authorise_return(here, order, a=1)
    await desk.say(received(here, "lyon", "r", return_id=authorised.return_id, a=1), inspected(here, "lyon", "r", a=1))
    await desk.see(rt.CreditDue, order_id=order)
    await here.holds("lyon", "a", sellable=1, reserved=0)
    await left_clean(here)
