"""Work at locations and parcels under way: cancelled while picked, shipped from elsewhere, told twice or in the wrong order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas.inventory import Availability, DiscrepancyFound, ReservationReleased
from schemas.orders import OrderChanged, OrderInvoiced, rank_of
from schemas.sourcing import LinesBackordered, OrderSourced
from schemas.status import OrderStatus
from schemas.topics import Body
from tests.support.desk import Desk, Place, soon
from tests.support.steps import (
    accept,
    answer_cancel,
    answered,
    ask,
    cancel,
    cancel_request,
    collect,
    deliver,
    ended,
    left_clean,
    line,
    make_ready,
    moved,
    pick,
    quantities,
    reject,
    request,
    ship,
    shipped,
    track,
    tracking_number,
    words,
)

NewPlace = Callable[..., Awaitable[Place]]


def kinds_of(status: OrderStatus) -> set[str]:
    return {found.kind for found in status.exceptions}


async def exception(desk: Desk, order_id: str, kind: str) -> ff.FulfilmentExceptionOpened:
    """A person is called: the exception is published and stands on the order's document."""
    opened = await desk.see(ff.FulfilmentExceptionOpened, order_id=order_id, kind=kind)
    await desk.status_is(order_id, where=lambda status: kind in kinds_of(status))
    assert opened.action
    return opened


async def test_scenario_06_fulfilled_from_another_location_than_planned(desk: Desk, place: NewPlace) -> None:
    """Both levels are right: one lost the units, the other lost nothing but the reservation; a person is told."""
    here = await place(items=("a",))
    await here.stock("paris", a=10)
    await here.stock("lyon", a=5)
    order = await here.place({"a": 2})
    [work] = await here.instructed(order)
    assert work.location == here.at("paris")
    left = shipped(here, work).model_copy(update={"location": here.at("lyon")})
    await desk.say(left, left)
    assert (await exception(desk, order, "other_location")).detail.count(here.at("lyon")) == 1
    await here.holds("lyon", "a", sellable=3, reserved=0, picked=0)
    await here.holds("paris", "a", sellable=10, reserved=0, picked=0, atp=10)
    await track(here, left.tracking_number, "delivered")
    status = await ended(here, order, "completed")
    assert (line(status, "a")["shipped"], line(status, "a")["handed_over"]) == (2, 2)
    await desk.see(OrderInvoiced, order_id=order, amount_minor=2000)
    await left_clean(here)
    assert len(desk.all(OrderSourced, order_id=order)) == 1


async def test_scenario_08_one_line_of_three_is_cancelled_while_the_store_picks(desk: Desk, place: NewPlace) -> None:
    """The store has the last word on its line; the others are not touched, and its unit is for sale again."""
    here = await place(items=("a", "b", "c"))
    await here.stock("paris", a=5, b=5, c=5)
    order = await here.place({"a": 1, "b": 1, "c": 1})
    [work] = await here.instructed(order)
    await accept(here, work)
    await pick(here, work, b=0, c=0)
    await here.holds("paris", "a", sellable=4, reserved=0, picked=1)
    asked = cancel_request(here, order, c=1)
    await desk.say(asked)
    withdrawal = await desk.see(ff.CancelFulfilment, order_id=order)
    assert (withdrawal.location, quantities(withdrawal.lines)) == (here.at("paris"), {"c": 1})
    await desk.sees_no(ch.RequestAnswered, request_id=asked.request_id)
    await answer_cancel(here, withdrawal, c=1)
    answer = await answered(desk, asked)
    assert (answer.outcome, words(answer)) == ("accepted", {"c": (1, 0)})
    await here.holds("paris", "c", sellable=5, reserved=0, atp=5)
    await here.holds("paris", "b", sellable=5, reserved=1)
    await deliver(here, work.model_copy(update={"lines": work.lines[:2]}))
    status = await ended(here, order, "partly_completed")
    assert {each.line_id: (each.handed_over, each.cancelled) for each in status.lines} == {"a": (1, 0), "b": (1, 0), "c": (0, 1)}
    await desk.see(OrderInvoiced, order_id=order, amount_minor=2000)
    await left_clean(here)


async def test_scenario_08_a_picked_unit_is_cancelled_in_part(desk: Desk, place: NewPlace) -> None:
    """The store gives up one of the two units asked for; it goes back to the shelf, the other is too late."""
    here = await place(items=("a",))
    await here.stock("paris", a=3)
    order = await here.place({"a": 3})
    [work] = await here.instructed(order)
    await pick(here, work)
    await here.holds("paris", "a", sellable=0, reserved=0, picked=3)
    asked = cancel_request(here, order, a=2)
    await desk.say(asked)
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=order), a=1)
    assert words(await answered(desk, asked)) == {"a": (1, 1)}
    await here.holds("paris", "a", sellable=1, reserved=0, picked=2, atp=1)
    await desk.say(shipped(here, work, a=2))
    await track(here, tracking_number(work), "delivered")
    await ended(here, order, "partly_completed")
    await here.holds("paris", "a", sellable=1, picked=0)
    await left_clean(here)


async def test_scenario_08_the_store_says_nothing_until_the_deadline(desk: Desk, place: NewPlace) -> None:
    """Silence means no; a yes that comes after it drops the line, which is sourced again, and a person is told."""
    here = await place(items=("a", "b"), cancel_answer_s=1)
    await here.stock("paris", a=5, b=5)
    order = await here.place({"a": 1, "b": 1})
    [work] = await here.instructed(order)
    await accept(here, work)
    asked = cancel_request(here, order, b=1)
    await desk.say(asked)
    withdrawal = await desk.see(ff.CancelFulfilment, order_id=order)
    answer = await answered(desk, asked)
    assert (answer.outcome, words(answer)) == ("declined", {"b": (0, 1)})
    await here.holds("paris", "b", sellable=5, reserved=1)
    await answer_cancel(here, withdrawal, b=1)
    await exception(desk, order, "accepted_after_deadline")
    again = await desk.see(OrderSourced, order_id=order, cause="resourced")
    assert [quantities(part.lines) for part in again.parts] == [{"b": 1}]
    [_, second] = await here.instructed(order, 2)
    await deliver(here, work.model_copy(update={"lines": work.lines[:1]}), second)
    status = await ended(here, order, "completed")
    assert {each.line_id: (each.handed_over, each.cancelled) for each in status.lines} == {"a": (1, 0), "b": (1, 0)}
    await here.holds("paris", "b", sellable=4, reserved=0)
    await left_clean(here)


async def test_a_cancel_over_two_locations_adds_up_their_words(desk: Desk, place: NewPlace) -> None:
    """One location gives up all it was asked for, the other refuses; the channel hears of it once."""
    here = await place(items=("a",))
    await here.stock("paris", a=3)
    await here.stock("lyon", a=3)
    order = await here.place({"a": 5})
    works = {work.location: work for work in await here.instructed(order, 2)}
    asked = cancel_request(here, order, a=4)
    await desk.say(asked)
    requests = {found.location: found for found in await desk.sees(ff.CancelFulfilment, 2, order_id=order)}
    wanted = {name: quantities(found.lines)["a"] for name, found in requests.items()}
    assert sum(wanted.values()) == 4
    willing, refusing = here.at("paris"), here.at("lyon")
    await answer_cancel(here, requests[willing], a=wanted[willing])
    await desk.sees_no(ch.RequestAnswered, request_id=asked.request_id)
    await answer_cancel(here, requests[refusing])
    assert words(await answered(desk, asked)) == {"a": (wanted[willing], wanted[refusing])}
    kept = works[willing].lines[0].quantity - wanted[willing]
    if kept:
        rest = works[willing].lines[0].model_copy(update={"quantity": kept})
        await deliver(here, works[willing].model_copy(update={"lines": (rest,)}))
    await deliver(here, works[refusing])
    status = await ended(here, order, "partly_completed")
    assert (line(status, "a")["cancelled"], line(status, "a")["handed_over"]) == (wanted[willing], 5 - wanted[willing])
    await here.holds("paris", "a", sellable=3 - kept)
    await here.holds("lyon", "a", sellable=3 - works[refusing].lines[0].quantity)
    await left_clean(here)


async def test_what_a_location_rejects_while_a_cancel_is_open_counts_as_cancelled(desk: Desk, place: NewPlace) -> None:
    """It is not sourced again, and the request is answered by it."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    await here.stock("lyon", a=5)
    order = await here.place({"a": 2})
    [work] = await here.instructed(order)
    asked = cancel_request(here, order)
    await desk.say(asked)
    await desk.see(ff.CancelFulfilment, order_id=order)
    await reject(here, work, "no_capacity")
    assert words(await answered(desk, asked)) == {"a": (2, 0)}
    await ended(here, order, "cancelled")
    assert (await desk.see(ReservationReleased, order_id=order)).cause == "cancelled"
    await left_clean(here)
    assert len(desk.all(OrderSourced, order_id=order)) == 1


async def test_scenario_12_reports_come_twice_and_in_the_wrong_order(desk: Desk, place: NewPlace) -> None:
    """Under the same id, under another, backwards: the same quantities, the same stock, the same parcels."""
    items = ("straight", "doubled", "again", "backwards")
    here = await place(items=items)
    await here.stock("paris", **dict.fromkeys(items, 5))
    orders = {item: await here.place({item: 2}) for item in items}
    works = {item: (await here.instructed(order))[0] for item, order in orders.items()}

    def reports(item: str) -> list[Body]:
        work, lines = works[item], here.totals(works[item])
        label, at = tracking_number(work), [soon(second) for second in range(6)]
        left = shipped(here, work).model_copy(update={"occurred_at": at[3]})
        return [
            here.report(ff.WorkAccepted, work, occurred_at=at[0]),
            here.report(ff.LinesPicked, work, lines=lines, occurred_at=at[1]),
            here.report(ff.ParcelPacked, work, parcel_id="p1", lines=lines, occurred_at=at[2]),
            left,
            ff.ParcelTracked(carrier=here.carrier, tracking_number=label, status="in_transit", occurred_at=at[4]),
            ff.ParcelTracked(carrier=here.carrier, tracking_number=label, status="delivered", occurred_at=at[5]),
        ]

    await desk.say(*reports("straight"))
    for number, report in enumerate(reports("doubled")):
        for _ in range(2):
            await desk.say(report, id=f"{here.name}-{number}")
    for report in reports("again"):
        await desk.say(report, report)
    for report in reversed(reports("backwards")):
        await desk.say(report)
    for order in orders.values():
        await ended(here, order, "completed")
    await desk.rest()
    straight = await desk.status_is(orders["straight"])
    for item, order in orders.items():
        await here.holds("paris", item, sellable=3, reserved=0, picked=0)
        status = await desk.status_is(order)
        assert line(status, item) == line(straight, "straight")
        assert (status.exceptions, [parcel.status for parcel in status.parcels]) == ((), ["delivered"])
        for once in (ff.ParcelWasShipped, ff.LinesHandedOver, ff.StockIssued, OrderInvoiced):
            assert len(desk.all(once, order_id=order)) == 1, (item, once)
        for implied in (ff.FulfilmentAccepted, ff.LinesWerePicked, ff.ParcelWasPacked):
            assert len(desk.all(implied, order_id=order)) == 1 or item == "backwards", (item, implied)
    assert desk.all(DiscrepancyFound, location=here.at("paris")) == []
    await left_clean(here)


async def test_scenario_13_a_store_rejects_an_order_that_was_to_be_collected(desk: Desk, place: NewPlace) -> None:
    """The line isn't lost: it waits with a reason and a date, and the buyer may have it elsewhere."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    await here.stock("lyon", a=5)
    order = here.order({"a": 2}, delivery=ch.Delivery(method="click_and_collect", location=here.at("paris")))
    await ask(here, order)
    [work] = await here.instructed(order.order_id)
    assert work.method == "click_and_collect"
    await reject(here, work, "not_found")
    await desk.see(ff.LinesRejectedByLocation, order_id=order.order_id, reason="not_found")
    waits = await desk.see(LinesBackordered, order_id=order.order_id)
    assert (quantities(waits.lines), waits.deadline > soon()) == ({"a": 2}, True)
    status = await desk.status_is(order.order_id, "backordered")
    assert [(entry.reason, entry.until) for entry in status.waiting] == [("stock", waits.deadline)]
    blocked = await here.holds("paris", "a", sellable=5, reserved=0, atp=0)
    assert blocked.blocked_until is not None

    again = here.order({"a": 2}, ref=order.channel_order_ref, delivery=ch.Delivery(method="click_and_collect", location=here.at("lyon")))
    answer = await ask(here, request(here, ch.ChangeOrder, order.order_id, order=again.order))
    assert answer.outcome == "accepted"
    assert (await desk.see(OrderChanged, order_id=order.order_id)).effect == "demand"
    [_, elsewhere] = await here.instructed(order.order_id, 2)
    assert elsewhere.location == here.at("lyon")
    await make_ready(here, elsewhere)
    await collect(here, elsewhere)
    await ended(here, order.order_id, "completed")
    await here.holds("lyon", "a", sellable=3, reserved=0)
    await left_clean(here)


async def test_scenario_17_shipped_although_the_cancel_was_accepted(desk: Desk, place: NewPlace) -> None:
    """Stock is right, the order stays cancelled, and a person is told to stop the parcel."""
    here = await place(items=("a",))
    await here.stock("paris", a=10)
    order = await here.place({"a": 2})
    [work] = await here.instructed(order)
    asked = cancel_request(here, order)
    await desk.say(asked)
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=order), a=2)
    assert words(await answered(desk, asked)) == {"a": (2, 0)}
    await ended(here, order, "cancelled")
    await here.holds("paris", "a", sellable=10, reserved=0, atp=10)
    await ship(here, work)
    await exception(desk, order, "shipped_after_cancel")
    await here.holds("paris", "a", sellable=8, reserved=0, picked=0, atp=8)
    await track(here, tracking_number(work), "in_transit", "returning", "returned")
    await exception(desk, order, "parcel_returned")
    await desk.sees_no(OrderInvoiced, order_id=order)
    status = await desk.status_is(order)
    assert (status.status, line(status, "a")["cancelled"]) == ("cancelled", 2)
    await left_clean(here)


# ---- rejections ----


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("not_found", {"sellable": 5, "atp": 0, "damaged": 0}),
        ("damaged", {"sellable": 3, "atp": 3, "damaged": 2}),
        ("no_capacity", {"sellable": 5, "atp": 5, "damaged": 0}),
    ],
)
async def test_a_rejected_line_is_sourced_elsewhere(desk: Desk, place: NewPlace, reason: ff.RejectionReason, left: dict[str, int]) -> None:
    """The reason says what becomes of the units; the location isn't asked for the line again, and when all said no it waits."""
    here = await place(items=("a", "b"))
    await here.stock("paris", a=5, b=1)
    await here.stock("lyon", a=5)
    order = await here.place({"a": 2, "b": 1})
    [first] = await here.instructed(order)
    await reject(here, first, reason, b=0)
    rejected = await desk.see(ff.LinesRejectedByLocation, order_id=order)
    assert (rejected.reason, quantities(rejected.lines)) == (reason, {"a": 2})
    await here.holds("paris", "a", reserved=0, **left)
    await here.holds("paris", "b", reserved=1)
    again = await desk.see(OrderSourced, order_id=order, cause="resourced")
    assert ([part.location for part in again.parts], again.split) == ([here.at("lyon")], True)
    [_, second] = await here.instructed(order, 2)
    await reject(here, second, "no_capacity", a=1)
    waits = await desk.see(LinesBackordered, order_id=order)
    assert quantities(waits.lines) == {"a": 1}
    await deliver(here, second.model_copy(update={"lines": (second.lines[0].model_copy(update={"quantity": 1}),)}))
    await deliver(here, first.model_copy(update={"lines": first.lines[1:]}))
    status = await desk.status_is(order, "partly_shipped", where=lambda document: [e.reason for e in document.waiting] == ["stock"])
    assert line(status, "a")["backordered"] == 1
    assert words(await cancel(here, order)) == {"a": (1, 0)}
    await ended(here, order, "partly_completed")
    await left_clean(here)


async def test_a_refused_line_is_asked_a_bounded_number_of_times(desk: Desk, place: NewPlace) -> None:
    """Each location once, and in the end the order says that it waits."""
    stores = tuple(f"store{n}" for n in range(5))
    here = await place(items=("a",), locations=stores)
    for store in stores:
        await here.stock(store, a=1)
    order = await here.place({"a": 1})
    for number in range(1, 6):
        work = (await here.instructed(order, number))[-1]
        await reject(here, work, "no_capacity")
    await desk.status_is(order, "backordered")
    asked = desk.all(ff.FulfilOrder, order_id=order)
    assert {work.location for work in asked} == set(here.locations)
    assert len(asked) == 5
    await cancel(here, order)
    await ended(here, order, "cancelled")
    await left_clean(here)


# ---- parcels ----


async def test_two_parcels_of_one_line(desk: Desk, place: NewPlace) -> None:
    """Each goes its own way; the pieces are invoiced to the cent."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = await here.place({"a": 3}, price_minor=333)
    [work] = await here.instructed(order)
    await pick(here, work)
    await desk.say(shipped(here, work, "p1", a=2))
    status = await desk.status_is(order, "partly_shipped")
    assert (line(status, "a")["shipped"], line(status, "a")["picked"]) == (2, 3)
    await here.holds("paris", "a", sellable=2, reserved=0, picked=1)
    await track(here, tracking_number(work, "p1"), "out_for_delivery", "delivered")
    await desk.see(OrderInvoiced, order_id=order, amount_minor=666)
    await desk.say(shipped(here, work, "p2", a=1))
    status = await desk.status_is(order, "shipped")
    assert {parcel.parcel_id: parcel.status for parcel in status.parcels} == {"p1": "delivered", "p2": "unknown"}
    assert [entry.reason for entry in status.waiting] == ["delivery"]
    await track(here, tracking_number(work, "p2"), "delivered")
    await desk.see(OrderInvoiced, order_id=order, amount_minor=333)
    await ended(here, order, "completed")
    await left_clean(here)


async def test_the_carrier_has_what_the_location_only_packed(desk: Desk, place: NewPlace) -> None:
    """A labelled parcel in transit has left, told or not; the location's own word afterwards changes nothing."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = await here.place({"a": 2})
    [work] = await here.instructed(order)
    label = tracking_number(work)
    lines = here.totals(work)
    await desk.say(here.report(ff.ParcelPacked, work, parcel_id="p1", lines=lines, carrier=here.carrier, tracking_number=label))
    await here.holds("paris", "a", sellable=3, reserved=0, picked=2)
    await track(here, label, "in_transit")
    await desk.see(ff.ParcelWasShipped, order_id=order)
    await here.holds("paris", "a", sellable=3, reserved=0, picked=0)
    await desk.say(shipped(here, work))
    await track(here, label, "delivered", "in_transit")
    status = await ended(here, order, "completed")
    assert [parcel.status for parcel in status.parcels] == ["delivered"]
    await left_clean(here)
    assert len(desk.all(ff.StockIssued, order_id=order)) == 1


async def test_facts_nobody_asked_for_are_booked_and_a_person_is_told(desk: Desk, place: NewPlace) -> None:
    """More than ordered, a line nobody knows, a part nobody planned, work reported by another location."""
    here = await place(items=("a", "b"))
    await here.stock("paris", a=10, b=10)
    await here.stock("lyon", a=10, b=10)
    order = await here.place({"a": 1})
    [work] = await here.instructed(order)
    await desk.say(here.report(ff.WorkAccepted, work, location=here.at("lyon")))
    await exception(desk, order, "other_location")
    extra = ff.LineTotal(line_id="gift", total=1, sku=here.sku("b"))
    left = shipped(here, work, a=3)
    await desk.say(left.model_copy(update={"lines": (*left.lines, extra)}))
    await exception(desk, order, "shipped_too_many")
    await exception(desk, order, "unknown_line")
    await here.holds("paris", "a", sellable=7, reserved=0, picked=0)
    await here.holds("paris", "b", sellable=9, reserved=0)
    stranger = work.model_copy(update={"fulfilment_order_id": f"{order}/9", "location": here.at("lyon")})
    await desk.say(shipped(here, stranger, "p9"))
    await exception(desk, order, "unasked")
    await here.holds("lyon", "a", sellable=9, reserved=0)
    await track(here, tracking_number(work), "delivered")
    await track(here, tracking_number(stranger, "p9"), "delivered")
    await ended(here, order, "completed")
    await desk.see(OrderInvoiced, order_id=order, amount_minor=1000)
    await desk.rest()
    assert sum(invoice.amount_minor for invoice in desk.all(OrderInvoiced, order_id=order)) == 1000
    await left_clean(here)


async def test_lines_that_shall_arrive_together_wait_for_each_other(desk: Desk, place: NewPlace) -> None:
    """What is there is reserved, and nobody is instructed until the rest is there too; then both are promised for one day."""
    here = await place(items=("a", "b"))
    await here.stock("paris", a=2, b=0)
    order = await here.place({"a": 1, "b": 1}, completeness="deliver_together")
    await desk.see(LinesBackordered, order_id=order)
    await here.holds("paris", "a", sellable=2, reserved=1)
    await desk.sees_no(OrderSourced, order_id=order)
    await desk.say(moved(here, "lyon", "b", "receipt", 3, "delivery:1"))
    decision = await desk.see(OrderSourced, order_id=order)
    assert {part.location: quantities(part.lines) for part in decision.parts} == {here.at("paris"): {"a": 1}, here.at("lyon"): {"b": 1}}
    assert len({(part.release_at, part.promise.day) for part in decision.parts}) == 1
    await deliver(here, *await here.instructed(order, 2))
    await ended(here, order, "completed")
    await left_clean(here)


# ---- click and collect ----


async def test_click_and_collect_is_ready_and_collected(desk: Desk, place: NewPlace) -> None:
    """The buyer pays at the counter; the location is told how much."""
    here = await place(items=("a", "b"))
    await here.stock("paris", a=5, b=5)
    await here.stock("lyon", a=50, b=50)
    counter = ch.Delivery(method="click_and_collect", location=here.at("paris"))
    order = await here.place({"a": 2, "b": 1}, delivery=counter, payment_terms="pay_at_collection")
    [work] = await here.instructed(order)
    assert (work.location, work.method, work.to_collect_minor, work.promise.kind) == (
        here.at("paris"),
        "click_and_collect",
        3000,
        "collection",
    )
    ready = await make_ready(here, work, b=0)
    assert quantities(ready.lines) == {"a": 2}
    await here.holds("paris", "a", sellable=3, reserved=0, picked=2)
    await desk.status_is(order, "in_fulfilment", where=lambda status: {e.reason for e in status.waiting} == {"collection", "location"})
    await make_ready(here, work)
    status = await desk.status_is(order, "ready_for_collection")
    assert [entry.reason for entry in status.waiting] == ["collection"]
    await collect(here, work)
    await desk.see(ff.LinesHandedOver, order_id=order, how="collected")
    status = await ended(here, order, "completed")
    assert {each.line_id: each.handed_over for each in status.lines} == {"a": 2, "b": 1}
    await here.holds("paris", "a", sellable=3, reserved=0, picked=0)
    await left_clean(here)


async def test_click_and_collect_is_collected_in_part(desk: Desk, place: NewPlace) -> None:
    """What the buyer left behind goes back to the shelf and is cancelled."""
    here = await place(items=("a",))
    await here.stock("paris", a=3)
    order = await here.place({"a": 3}, delivery=ch.Delivery(method="click_and_collect", location=here.at("paris")))
    [work] = await here.instructed(order)
    await make_ready(here, work)
    await collect(here, work, a=2)
    await here.holds("paris", "a", sellable=0, reserved=0, picked=1)
    await desk.say(here.report(ff.NotCollected, work), here.report(ff.NotCollected, work))
    left = await desk.see(ff.LinesNotCollected, order_id=order)
    assert quantities(left.lines) == {"a": 1}
    status = await ended(here, order, "partly_completed")
    assert (line(status, "a")["handed_over"], line(status, "a")["cancelled"]) == (2, 1)
    await here.holds("paris", "a", sellable=1, reserved=0, picked=0, atp=1)
    await left_clean(here)


async def test_nobody_comes_to_collect(desk: Desk, place: NewPlace) -> None:
    """At the deadline the units are for sale again; a buyer who comes all the same is served, and a person is told."""
    here = await place(items=("a",), collect_deadline_s=1)
    await here.stock("paris", a=3)
    order = await here.place({"a": 2}, delivery=ch.Delivery(method="click_and_collect", location=here.at("paris")))
    [work] = await here.instructed(order)
    await here.holds("paris", "a", reserved=2)
    await make_ready(here, work)
    await desk.see(ff.LinesNotCollected, order_id=order)
    await ended(here, order, "cancelled")
    await here.holds("paris", "a", sellable=3, reserved=0, picked=0, atp=3)
    await collect(here, work)
    await here.holds("paris", "a", sellable=1, reserved=0, picked=0)
    await desk.see(ff.FulfilmentExceptionOpened, order_id=order)
    assert max(level.reserved for level in desk.all(Availability, sku=here.sku("a"))) == 2
    await left_clean(here)


async def test_an_instruction_says_all_that_the_location_needs(desk: Desk, place: NewPlace) -> None:
    """Goods, receiver, carrier, dates, wishes: nothing has to be looked up elsewhere."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = here.order({"a": 2}, priority=3)
    [wanted] = order.order.lines
    wish = wanted.model_copy(update={"gift_message": "Bravo", "attributes": {"engraving": "N"}, "substitution_allowed": True})
    order = order.model_copy(update={"order": order.order.model_copy(update={"lines": (wish,)})})
    await ask(here, order)
    [work] = await here.instructed(order.order_id)
    [told] = work.lines
    assert (told.sku, told.quantity, told.weight_g, told.gift_message) == (here.sku("a"), 2, 500, "Bravo")
    assert (told.attributes, told.substitution_allowed) == ({"engraving": "N"}, True)
    assert (work.ship_to.name, work.ship_to.street, work.ship_to.city) == ("Buyer", ("1 rue de Test",), "Paris")
    assert (work.carrier, work.revision, work.currency, work.channel) == (here.carrier, 1, "EUR", here.channel)
    assert (work.priority, work.promise.zone) == (rank_of("consumer", 3), "Europe/Paris")
    assert work.ship_by <= work.promise.latest
    await deliver(here, work)
    await ended(here, order.order_id, "completed")
    await left_clean(here)
