"""The whole road of one order: placed, sourced, instructed, picked, packed, shipped, delivered, returned, credited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from schemas import fulfilment as ff
from schemas import returns as rt
from schemas.orders import OrderClosed, OrderInvoiced
from schemas.sourcing import OrderSourced
from tests.support.desk import Desk, Place, soon

NewPlace = Callable[..., Awaitable[Place]]


async def ship(place: Place, instruction: ff.FulfilOrder, parcel: str = "p1", **quantities: int) -> str:
    """Accepts, picks, packs and ships; returns the tracking number."""
    tracking = f"trk-{instruction.fulfilment_order_id}-{parcel}".replace(":", "-").replace("/", "-")[:64]
    lines = place.totals(instruction, **quantities)
    await place.desk.say(
        place.report(ff.WorkAccepted, instruction),
        place.report(ff.LinesPicked, instruction, lines=lines),
        place.report(ff.ParcelPacked, instruction, parcel_id=parcel, lines=lines),
        place.report(ff.ParcelShipped, instruction, parcel_id=parcel, lines=lines, carrier=f"{place.name}-post", tracking_number=tracking),
    )
    return tracking


async def deliver(place: Place, tracking: str, status: ff.TrackingStatus = "delivered") -> None:
    await place.desk.say(ff.ParcelTracked(carrier=f"{place.name}-post", tracking_number=tracking, status=status, occurred_at=soon()))


async def test_an_order_is_placed_shipped_delivered_and_one_unit_comes_back(desk: Desk, place: NewPlace) -> None:
    """Every step is told, stock is right at the end, and no reservation is left behind."""
    here = await place()
    await here.stock("paris", a=10, b=5)
    order = await here.place({"a": 2, "b": 1})
    sourced = await desk.see(OrderSourced, order_id=order)
    assert [part.location for part in sourced.parts] == [here.at("paris")]
    await desk.level_is(here.sku("a"), here.at("paris"), sellable=10, reserved=2, atp=8)
    [instruction] = await here.instructed(order)
    tracking = await ship(here, instruction)
    await desk.see(ff.ParcelWasShipped, order_id=order)
    await desk.level_is(here.sku("a"), here.at("paris"), sellable=8, reserved=0, picked=0)
    await deliver(here, tracking)
    await desk.see(ff.LinesHandedOver, order_id=order, how="delivered")
    await desk.see(OrderInvoiced, order_id=order, amount_minor=3000)
    await desk.see(OrderClosed, order_id=order, outcome="completed")
    await desk.status_is(order, "completed", where=lambda status: status.waiting == ())

    await desk.say(rt.RequestReturn(request_id="r1", order_id=order, lines=(rt.ReturnLine(line_id="a", quantity=1),), requested_at=soon()))
    authorised = await desk.see(rt.ReturnAuthorised, order_id=order)
    await desk.say(
        rt.GoodsReceived(
            location=here.at("lyon"), receipt_id=f"{here.name}-r", return_id=authorised.return_id, received_at=soon(),
            lines=(rt.ReceivedLine(line_id="a", sku=here.sku("a"), total=1),),
        ),
        rt.GoodsInspected(
            location=here.at("lyon"), receipt_id=f"{here.name}-r", return_id=authorised.return_id, inspected_at=soon(),
            units=(rt.InspectedUnits(line_id="a", sku=here.sku("a"), disposition="resell", total=1),),
        ),
    )  # fmt: skip
    await desk.see(rt.CreditDue, order_id=order)
    await desk.level_is(here.sku("a"), here.at("lyon"), sellable=1, reserved=0)
