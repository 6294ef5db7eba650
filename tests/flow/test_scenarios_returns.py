"""Goods that come back: announced or not, elsewhere, too many, too few, by the buyer or by the carrier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from schemas import fulfilment as ff
from schemas import returns as rt
from tests.support.desk import Desk, Place, soon
from tests.support.steps import (
    authorise_return,
    deliver,
    ended,
    inspected,
    left_clean,
    line,
    moved,
    quantities,
    received,
    return_request,
    ship,
    track,
)

NewPlace = Callable[..., Awaitable[Place]]


async def bought(place: Place, **units: int) -> str:
    """An order delivered from Paris, where nothing is left."""
    await place.stock("paris", **units)
    order = await place.place(units)
    await deliver(place, *await place.instructed(order))
    await ended(place, order, "completed")
    return order


async def credited(desk: Desk, order_id: str) -> dict[str, int]:
    """Units by line for which the buyer gets money back, once the system is at rest."""
    await desk.rest()
    units: dict[str, int] = {}
    for due in desk.all(rt.CreditDue, order_id=order_id):
        for line_id, quantity in quantities(due.lines).items():
            units[line_id] = units.get(line_id, 0) + quantity
    return units


async def test_scenario_09_received_at_another_location_than_announced(desk: Desk, place: NewPlace) -> None:
    """The receiving location gets the stock, the one announced gets nothing, and the buyer's credit doesn't care."""
    here = await place(items=("a",))
    order = await bought(here, a=2)
    request = return_request(order, a=2).model_copy(update={"return_to": here.at("paris")})
    await desk.say(request)
    authorised = await desk.see(rt.ReturnAuthorised, order_id=order)
    assert (authorised.return_to, quantities(authorised.lines)) == (here.at("paris"), {"a": 2})
    status = await desk.status_is(order, where=lambda document: line(document, "a").get("return_requested") == 2)
    assert status.status == "completed"
    goods = received(here, "lyon", "r1", return_id=authorised.return_id, a=2)
    await desk.say(goods, goods)
    told = await desk.see(rt.ReturnReceived, order_id=order)
    assert (told.location, told.announced_at_location, told.unexpected, told.missing) == (here.at("lyon"), here.at("paris"), (), ())
    await desk.say(inspected(here, "lyon", "r1", a=2), inspected(here, "lyon", "r1", a=2))
    await here.holds("lyon", "a", sellable=2, reserved=0, atp=2)
    assert await credited(desk, order) == {"a": 2}
    await here.holds("paris", "a", sellable=0, reserved=0)
    assert len(desk.all(rt.ReturnReceived, order_id=order)) == 1
    status = await desk.status_is(order, where=lambda document: line(document, "a").get("credited") == 2)
    assert (line(status, "a")["received_back"], line(status, "a").get("return_requested", 0)) == (2, 2)
    assert desk.all(rt.ReturnExceptionOpened, order_id=order) == []
    await left_clean(here)


async def test_scenario_10_more_comes_back_than_was_bought(desk: Desk, place: NewPlace) -> None:
    """Declined with the number left; what arrives all the same is booked as unexpected, and credited up to what was bought."""
    here = await place(items=("a",))
    order = await bought(here, a=2)
    too_many = return_request(order, a=3)
    await desk.say(too_many)
    declined = await desk.see(rt.ReturnDeclined, request_id=too_many.request_id)
    assert declined.reason == "exceeds_returnable"
    assert [(left.line_id, left.asked, left.left) for left in declined.lines] == [("a", 3, 2)]
    authorised = await authorise_return(here, order, a=1)
    again = return_request(order, a=2)
    await desk.say(again)
    declined = await desk.see(rt.ReturnDeclined, request_id=again.request_id)
    assert [(left.asked, left.left) for left in declined.lines] == [(2, 1)]

    await desk.say(received(here, "paris", "r1", return_id=authorised.return_id, a=3))
    told = await desk.see(rt.ReturnReceived, order_id=order)
    assert (quantities(told.lines), quantities(told.unexpected)) == ({"a": 3}, {"a": 2})
    opened = await desk.see(rt.ReturnExceptionOpened, order_id=order)
    assert opened.kind == "more_than_handed_over"
    await desk.say(inspected(here, "paris", "r1", a=3))
    await here.holds("paris", "a", sellable=3, reserved=0)
    assert await credited(desk, order) == {"a": 2}
    nothing_left = return_request(order, a=1)
    await desk.say(nothing_left)
    declined = await desk.see(rt.ReturnDeclined, request_id=nothing_left.request_id)
    assert [left.left for left in declined.lines] == [0]
    await desk.status_is(order, where=lambda document: "more_than_handed_over" in {found.kind for found in document.exceptions})
    await left_clean(here)


async def test_each_return_request_is_answered_once(desk: Desk, place: NewPlace) -> None:
    """A repeat gets the same answer again, marked; the same id for other units is refused; a cancelled return may be asked anew."""
    here = await place(items=("a",))
    order = await bought(here, a=2)
    request = return_request(order, a=2)
    await desk.say(request, request)
    first, repeat = await desk.sees(rt.ReturnAuthorised, 2, order_id=order)
    assert (first.repeated, repeat) == (False, first.model_copy(update={"repeated": True}))
    await desk.say(return_request(order, a=1).model_copy(update={"request_id": request.request_id}))
    assert (await desk.see(rt.ReturnDeclined, request_id=request.request_id)).reason == "request_id_reused"
    dropped = rt.CancelReturn(request_id="keep-it", order_id=order, return_id=first.return_id)
    await desk.say(dropped, dropped)
    cancelled = await desk.sees(rt.ReturnCancelled, 2, order_id=order)
    assert [answer.repeated for answer in cancelled] == [False, True]
    assert (await authorise_return(here, order, a=2)).return_id != first.return_id
    for wrong, reason in (
        (return_request(order, b=1), "unknown_line"),
        (rt.CancelReturn(request_id="again", order_id=order, return_id=first.return_id), "unknown_return"),
    ):
        await desk.say(wrong)
        assert (await desk.see(rt.ReturnDeclined, request_id=wrong.request_id)).reason == reason
    await left_clean(here)


async def test_a_return_that_nobody_sends_expires(desk: Desk, place: NewPlace) -> None:
    """One of two units came: the other is missing until the deadline, and may then be asked for again."""
    here = await place(items=("a",), return_deadline_s=5)
    order = await bought(here, a=2)
    authorised = await authorise_return(here, order, a=2)
    await desk.say(received(here, "paris", "r1", return_id=authorised.return_id, a=1))
    told = await desk.see(rt.ReturnReceived, order_id=order)
    assert (quantities(told.lines), quantities(told.missing)) == ({"a": 1}, {"a": 1})
    expired = await desk.see(rt.ReturnExpired, order_id=order)
    assert (expired.return_id, quantities(expired.lines)) == (authorised.return_id, {"a": 1})
    assert quantities((await authorise_return(here, order, a=1)).lines) == {"a": 1}
    await left_clean(here)


async def test_a_return_is_declined_when_its_window_is_over(desk: Desk, place: NewPlace) -> None:
    """The time counts from when the goods were handed over to when the buyer asked."""
    here = await place(items=("a",), return_window_s=2)
    order = await bought(here, a=2)
    handed_over = (await desk.see(ff.LinesHandedOver, order_id=order)).occurred_at
    asked_in_time = return_request(order, a=1).model_copy(update={"requested_at": handed_over + timedelta(seconds=1)})
    await desk.until(lambda: (soon() - handed_over).total_seconds() > 2, lambda: "the window is over")
    late = return_request(order, a=1)
    await desk.say(asked_in_time, late)
    assert (await desk.see(rt.ReturnAuthorised, order_id=order)).request_id == asked_in_time.request_id
    declined = await desk.see(rt.ReturnDeclined, order_id=order)
    assert (declined.request_id, declined.reason, [left.left for left in declined.lines]) == (late.request_id, "window_over", [0])
    await left_clean(here)


async def test_a_return_asked_for_before_the_delivery_is_known(desk: Desk, place: NewPlace) -> None:
    """Topics have no order among each other: the answer waits for the news that makes it a yes."""
    here = await place(items=("a",))
    await here.stock("paris", a=1)
    order = await here.place({"a": 1})
    [work] = await here.instructed(order)
    tracking = await ship(here, work)
    await desk.see(ff.ParcelWasShipped, order_id=order)
    request = return_request(order, a=1)
    await desk.say(request)
    await track(here, tracking, "delivered")
    authorised = await desk.see(rt.ReturnAuthorised, request_id=request.request_id)
    assert quantities(authorised.lines) == {"a": 1}
    assert desk.all(rt.ReturnDeclined, request_id=request.request_id) == []
    await ended(here, order, "completed")
    await left_clean(here)


async def test_goods_that_come_back_unasked(desk: Desk, place: NewPlace) -> None:
    """Booked and credited without a request; another item than the order's, and goods of nobody, call a person."""
    here = await place(items=("a", "b"))
    order = await bought(here, a=1)
    await desk.say(received(here, "lyon", "r1", order_id=order, a=1), inspected(here, "lyon", "r1", order_id=order, a=1))
    told = await desk.see(rt.ReturnReceived, order_id=order)
    assert (told.return_id, quantities(told.unexpected)) == (None, {"a": 1})
    await here.holds("lyon", "a", sellable=1)
    assert await credited(desk, order) == {"a": 1}

    await desk.say(received(here, "lyon", "r2", order_id=order, b=2), inspected(here, "lyon", "r2", order_id=order, b=2))
    opened = await desk.see(rt.ReturnExceptionOpened, order_id=order)
    assert opened.kind == "unexpected_goods"
    await here.holds("lyon", "b", sellable=2)
    await desk.say(received(here, "lyon", "r3", a=1), inspected(here, "lyon", "r3", a=1))
    nobody = await desk.see(rt.ReturnExceptionOpened, lambda found: found.location == here.at("lyon"), order_id=f"unknown:{here.name}-r3")
    assert nobody.kind == "unknown_goods"
    await here.holds("lyon", "a", sellable=2)
    assert await credited(desk, order) == {"a": 1}
    await left_clean(here)


async def test_what_becomes_of_each_unit_is_decided_by_the_inspection(desk: Desk, place: NewPlace) -> None:
    """Resellable units are for sale again, refurbished ones wait, destroyed ones never enter a level; all are credited."""
    here = await place(items=("a",))
    order = await bought(here, a=4)
    authorised = await authorise_return(here, order, a=4)
    await desk.say(received(here, "paris", "r1", return_id=authorised.return_id, a=4))
    for disposition, total in (("resell", 1), ("refurbish", 1), ("destroy", 1), ("resell", 2)):
        units = (rt.InspectedUnits.model_validate({"line_id": "a", "sku": here.sku("a"), "disposition": disposition, "total": total}),)
        await desk.say(inspected(here, "paris", "r1", a=1).model_copy(update={"units": units}))
    await here.holds("paris", "a", sellable=2, quality_hold=1, damaged=0, reserved=0, atp=2)
    written_off = await desk.see(rt.StockWrittenOff, location=here.at("paris"))
    assert (written_off.quantity, written_off.disposition) == (1, "destroy")
    assert await credited(desk, order) == {"a": 4}
    await left_clean(here)


@pytest.mark.parametrize("feed_first", [False, True], ids=["inspected-first", "movement-first"])
async def test_scenario_19_inspected_and_the_own_movement_of_the_store(desk: Desk, place: NewPlace, feed_first: bool) -> None:
    """A store whose till reports customer returns itself: the unit enters the level once."""
    here = await place(items=("a",), location={"feed_reports": ("customer_return",)})
    order = await bought(here, a=1)
    authorised = await authorise_return(here, order, a=1)
    await desk.say(received(here, "lyon", "r1", return_id=authorised.return_id, a=1))
    await desk.see(rt.ReturnReceived, order_id=order)
    movement = moved(here, "lyon", "a", "customer_return", 1, f"{here.name}-r1:a:resell:1")
    inspection = inspected(here, "lyon", "r1", a=1)
    if feed_first:
        await desk.say(movement)
        await here.holds("lyon", "a", sellable=1, unsettled=0)
        await desk.say(inspection)
        await desk.see(rt.StockRestocked, location=here.at("lyon"))
    else:
        await desk.say(inspection)
        await desk.see(rt.StockRestocked, location=here.at("lyon"))
        await here.holds("lyon", "a", sellable=0, unsettled=1)
        await desk.say(movement)
    await desk.say(movement, inspection)
    await here.holds("lyon", "a", sellable=1, unsettled=0)
    assert await credited(desk, order) == {"a": 1}
    await here.holds("lyon", "a", sellable=1, unsettled=0)
    await left_clean(here)


async def test_a_parcel_that_the_carrier_brings_back_is_received_without_credit(desk: Desk, place: NewPlace) -> None:
    """The buyer never had it: its units are cancelled, restocked when they are inspected, and no return is credited."""
    here = await place(items=("a",))
    await here.stock("paris", a=2)
    order = await here.place({"a": 2})
    [work] = await here.instructed(order)
    tracking = await ship(here, work)
    await track(here, tracking, "in_transit", "returning", "returned")
    back = await desk.see(ff.ParcelCameBack, order_id=order)
    assert quantities(back.lines) == {"a": 2}
    await ended(here, order, "cancelled")
    goods = received(here, "paris", "r1", a=2).model_copy(update={"tracking_number": tracking})
    await desk.say(goods, inspected(here, "paris", "r1", a=2))
    await here.holds("paris", "a", sellable=2, reserved=0)
    assert await credited(desk, order) == {}
    await left_clean(here)
