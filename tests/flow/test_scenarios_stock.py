"""Stock under pressure: rivals, counts, walk-ins and feeds; who gets which unit, and that none is sold twice or kept for nobody."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas.inventory import Availability, DiscrepancyFound, ReservationShorted, StockReserved
from schemas.orders import OrderClosed
from schemas.sourcing import LinesBackordered, LinesUnfillable, OrderSourced, PartShorted
from schemas.stock import CountedLine, StockCounted
from schemas.topics import AVAILABILITY, STOCK_REPORTS
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing
from tests.support.desk import Desk, Place, soon
from tests.support.steps import (
    accept,
    answer_cancel,
    answered,
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
    ship,
    shipped,
    track,
    words,
)

NewPlace = Callable[..., Awaitable[Place]]


def counted(place: Place, location: str, as_of: datetime, **units: int) -> StockCounted:
    """A physical count of some items."""
    lines = tuple(CountedLine(sku=place.sku(item), quantity=quantity) for item, quantity in units.items())
    return StockCounted(location=place.at(location), count_id=f"count-{uuid4().hex[:8]}", as_of=as_of, lines=lines)


def locations_of(decision: OrderSourced) -> dict[str, int]:
    """Units by location."""
    return {part.location: sum(line.quantity for line in part.lines) for part in decision.parts}


async def test_scenario_01_two_buyers_one_unit_same_millisecond(desk: Desk, place: NewPlace) -> None:
    """One gets it, the other waits for stock until a date; ten times over."""
    items = [f"i{n}" for n in range(10)]
    here = await place(items=items, locations=("paris",))
    await here.stock("paris", **dict.fromkeys(items, 1))
    rivals = [(here.order({item: 1}), here.order({item: 1})) for item in items]
    await desk.say_all([order for pair in rivals for order in pair])
    for item, pair in zip(items, rivals, strict=True):
        statuses = [await desk.status_is(order.order_id, "in_fulfilment", "backordered") for order in pair]
        winner, loser = sorted(statuses, key=lambda status: status.status, reverse=True)
        assert (winner.status, loser.status) == ("in_fulfilment", "backordered")
        assert line(winner, item) == {"ordered": 1, "released": 1}
        assert line(loser, item) == {"ordered": 1, "backordered": 1}
        assert [(waiting.reason, waiting.until is not None) for waiting in loser.waiting] == [("stock", True)]
        await here.holds("paris", item, sellable=1, reserved=1, atp=0)
        [instruction] = await here.instructed(winner.order_id)
        await deliver(here, instruction)
        assert words(await cancel(here, loser.order_id)) == {item: (1, 0)}
        await ended(here, winner.order_id, "completed")
        await ended(here, loser.order_id, "cancelled")
        await here.holds("paris", item, sellable=0, reserved=0)
    await left_clean(here)
    assert len(desk.all(StockReserved, location=here.at("paris"))) == 10


async def test_scenario_02_twenty_units_a_thousand_buyers(desk: Desk, place: NewPlace) -> None:
    """Exactly twenty are sold; everybody else waits with a date, and is told when it has passed."""
    here = await place(items=("a",), locations=("paris", "lyon"), backorder_deadline_s=6)
    await here.stock("paris", a=12)
    await here.stock("lyon", a=8)
    await desk.say_all([here.order({"a": 1}) for _ in range(1000)])
    instructions = await desk.sees(ff.FulfilOrder, 20, channel=here.channel)
    await deliver(here, *instructions)

    def closed(outcome: str) -> list[OrderClosed]:
        return desk.all(OrderClosed, lambda order: order.order_id.startswith(f"{here.channel}:"), outcome=outcome)

    await desk.until(lambda: len(closed("completed") + closed("cancelled")) >= 1000, lambda: f"1000 closed; {len(closed('cancelled'))}", 60)
    await desk.rest()
    assert len(closed("completed")) == 20
    waited = desk.all(LinesBackordered, lambda message: message.order_id.startswith(f"{here.channel}:"))
    given_up = desk.all(LinesUnfillable, lambda message: message.order_id.startswith(f"{here.channel}:"))
    assert len(waited) == len({message.order_id for message in waited}) == 980
    assert [message.reason for message in given_up] == ["deadline"] * 980
    reserved = desk.all(StockReserved, lambda message: message.location in here.locations)
    assert sum(line.reserved for message in reserved for line in message.lines) == 20
    assert len(desk.all(ff.FulfilOrder, channel=here.channel)) == 20
    statuses = desk.statuses(here.channel)
    assert sum(line(status, "a").get("shipped", 0) for status in statuses) == 20
    assert sum(line(status, "a").get("unfillable", 0) for status in statuses) == 980
    await here.holds("paris", "a", sellable=0, reserved=0, atp=0)
    await here.holds("lyon", "a", sellable=0, reserved=0, atp=0)
    await left_clean(here)


async def test_scenario_03_a_count_arrives_during_a_sale(desk: Desk, place: NewPlace) -> None:
    """It holds as of its time, what happened since stays on top, and who loses a unit to it gets it elsewhere."""
    here = await place(items=("a",))
    await here.stock("paris", a=10)
    await here.stock("lyon", a=5)
    instructions: dict[str, ff.FulfilOrder] = {}
    for _ in range(3):
        order = await here.place({"a": 1})
        [instructions[order]] = await here.instructed(order)
    first, second, third = instructions
    as_of = datetime.now(UTC)
    await deliver(here, instructions[first])
    await here.holds("paris", "a", sellable=9, reserved=2)
    await desk.say(counted(here, "paris", as_of, a=9))
    await here.holds("paris", "a", sellable=8, reserved=2, atp=6)
    difference = await desk.see(DiscrepancyFound, location=here.at("paris"), sku=here.sku("a"))
    assert (difference.kind, difference.quantity) == ("count_difference", -1)

    await desk.say(counted(here, "paris", datetime.now(UTC), a=1))
    shorted = await desk.see(PartShorted, order_id=third)
    assert quantities(shorted.lines) == {"a": 1}
    await here.holds("paris", "a", sellable=1, reserved=1, atp=0)
    withdrawal = await desk.see(ff.CancelFulfilment, order_id=third)
    await answer_cancel(here, withdrawal, a=1)
    again = await desk.see(OrderSourced, order_id=third, cause="resourced")
    assert locations_of(again) == {here.at("lyon"): 1}
    assert desk.all(PartShorted, order_id=second) == []
    [_, elsewhere] = await here.instructed(third, 2)
    await deliver(here, instructions[second], elsewhere)
    for order in (first, second, third):
        await ended(here, order, "completed")
    await here.holds("paris", "a", sellable=0, reserved=0)
    await here.holds("lyon", "a", sellable=4, reserved=0)
    await left_clean(here)


async def test_scenario_03_counts_and_walk_ins_in_the_middle_of_a_rush(desk: Desk, place: NewPlace) -> None:
    """Forty buyers, twenty-five units, five of them sold over the counter while counts come in: twenty buyers are served."""
    here = await place(items=("a",), locations=("paris",))
    await here.stock("paris", a=25)
    for n in range(5):
        orders = [here.order({"a": 1}) for _ in range(8)]
        sale = moved(here, "paris", "a", "sale", -1, f"till:{n}")
        await desk.say_all([*orders, sale, counted(here, "paris", soon(), a=24 - n)])
    await here.holds("paris", "a", sellable=20, reserved=20, atp=0)

    def by_status(name: str) -> list[str]:
        return [status.order_id for status in desk.statuses(here.channel) if status.status == name]

    await desk.until(
        lambda: (len(by_status("in_fulfilment")), len(by_status("backordered"))) == (20, 20),
        lambda: f"twenty served, twenty waiting: {by_status('in_fulfilment')}",
    )
    await desk.rest()
    served, waiting = by_status("in_fulfilment"), by_status("backordered")
    assert (len(served), len(waiting)) == (20, 20)
    for order in served:
        await deliver(here, (await here.instructed(order))[-1])
    cancels = [cancel_request(here, order) for order in waiting]
    await desk.say_all(cancels)
    for order, asked in zip(waiting, cancels, strict=True):
        assert words(await answered(desk, asked)) == {"a": (1, 0)}
        await ended(here, order, "cancelled")
    for order in served:
        await ended(here, order, "completed")
    await here.holds("paris", "a", sellable=0, reserved=0)
    await left_clean(here)


async def test_scenario_04_no_reservation_is_left_behind(desk: Desk, place: NewPlace) -> None:
    """However an order ends, its units are where they must be and nothing stays reserved."""
    cases = ("shipped", "dropped", "refused", "rejected", "short", "collected", "abandoned", "expired")
    here = await place(items=cases)
    await here.stock("paris", **dict.fromkeys(cases, 2))
    await here.stock("lyon", rejected=2, short=2)
    counter = ch.Delivery(method="click_and_collect", location=here.at("paris"))
    orders = {case: here.order({case: 2}) for case in cases if case not in ("collected", "abandoned", "expired")}
    orders |= {case: here.order({case: 2}, delivery=counter) for case in ("collected", "abandoned")}
    orders["expired"] = here.order({"expired": 2}, cancel_after=soon(6))
    await desk.say_all(list(orders.values()))
    ids = {case: order.order_id for case, order in orders.items()}
    work = {case: (await here.instructed(order))[0] for case, order in ids.items()}
    for case in cases:
        await here.holds("paris", case, sellable=2, reserved=2)

    await deliver(here, work["shipped"])
    dropped, refused = cancel_request(here, ids["dropped"]), cancel_request(here, ids["refused"])
    await desk.say(dropped, refused)
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=ids["dropped"]), dropped=2)
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=ids["refused"]))
    await reject(here, work["rejected"], "damaged")
    [_, second] = await here.instructed(ids["rejected"], 2)
    await reject(here, second, "no_capacity")
    await desk.see(LinesBackordered, order_id=ids["rejected"])
    await cancel(here, ids["rejected"])
    await pick(here, work["short"], final=True, short=1)
    [_, rest] = await here.instructed(ids["short"], 2)
    await desk.say(shipped(here, work["short"], short=1))
    await track(here, shipped(here, work["short"]).tracking_number, "delivered")
    await deliver(here, rest)
    await make_ready(here, work["collected"])
    await collect(here, work["collected"])
    await make_ready(here, work["abandoned"])
    await desk.say(here.report(ff.NotCollected, work["abandoned"]))
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=ids["expired"]), expired=2)
    assert words(await answered(desk, dropped)) == {"dropped": (2, 0)}
    assert words(await answered(desk, refused)) == {"refused": (0, 2)}
    await deliver(here, work["refused"])

    for case in ("shipped", "refused", "short", "collected"):
        await ended(here, ids[case], "completed")
    for case in ("dropped", "rejected", "abandoned", "expired"):
        await ended(here, ids[case], "cancelled")
    left = {"shipped": 0, "dropped": 2, "refused": 0, "rejected": 0, "short": 1, "collected": 0, "abandoned": 2, "expired": 2}
    for case, sellable in left.items():
        await here.holds("paris", case, sellable=sellable, reserved=0, picked=0)
    await here.holds("paris", "rejected", damaged=2)
    await here.holds("lyon", "rejected", sellable=2, reserved=0)
    await here.holds("lyon", "short", sellable=1, reserved=0)
    short = await here.holds("paris", "short", atp=0)
    assert short.blocked_until is not None, "what was not found is not for sale until it is counted"
    await left_clean(here)


async def test_scenario_07_enough_in_total_but_nowhere_together(desk: Desk, place: NewPlace) -> None:
    """Split, or wait, as the order says; never sold as one and sent as two, and who waits keeps no units from others."""
    here = await place(items=("free", "one", "x", "y"))
    await here.stock("paris", free=3, one=3, x=3)
    await here.stock("lyon", free=3, one=3, y=1)
    await desk.views_caught_up(AVAILABILITY)  # sourcing may hear of the last levels later than the desk
    split = await here.place({"free": 5})
    decision = await desk.see(OrderSourced, order_id=split)
    assert decision.split
    assert locations_of(decision) == {here.at("paris"): 3, here.at("lyon"): 2}

    together = await here.place({"one": 5}, completeness="single_location")
    waiting = await desk.see(LinesBackordered, order_id=together)
    assert (quantities(waiting.lines), waiting.reason) == ({"one": 5}, "no_stock")
    complete = await here.place({"x": 3, "y": 2}, completeness="allocate_complete")
    waiting = await desk.see(LinesBackordered, order_id=complete)
    assert (quantities(waiting.lines), waiting.reason) == ({"x": 3, "y": 2}, "no_stock")
    await desk.sees_no(OrderSourced, lambda message: message.order_id in (together, complete))
    for location, item, sellable in (("paris", "one", 3), ("lyon", "one", 3), ("paris", "x", 3), ("lyon", "y", 1)):
        await here.holds(location, item, sellable=sellable, reserved=0)
    for order in (together, complete):
        status = await desk.status_is(order, "backordered")
        assert [entry.reason for entry in status.waiting] == ["stock"]

    await desk.say(moved(here, "lyon", "one", "receipt", 2, "delivery:1"), moved(here, "lyon", "y", "receipt", 1, "delivery:2"))
    decision = await desk.see(OrderSourced, order_id=together, cause="backorder")
    assert (locations_of(decision), decision.split) == ({here.at("lyon"): 5}, False)
    decision = await desk.see(OrderSourced, order_id=complete, cause="backorder")
    assert locations_of(decision) == {here.at("paris"): 3, here.at("lyon"): 2}
    for order, parts in ((split, 2), (together, 1), (complete, 2)):
        await deliver(here, *await here.instructed(order, parts))
        await ended(here, order, "completed")
    await here.holds("lyon", "free", sellable=1, reserved=0)
    await here.holds("paris", "one", sellable=3, reserved=0)
    await left_clean(here)


async def test_scenario_07_an_order_that_keeps_no_remainder(desk: Desk, place: NewPlace) -> None:
    """With `cancel_remainder` what nobody has ends at once, and the rest is sent."""
    here = await place(items=("a",))
    await here.stock("paris", a=2)
    order = await here.place({"a": 5}, completeness="cancel_remainder")
    ends = await desk.see(LinesUnfillable, order_id=order)
    assert (quantities(ends.lines), ends.reason) == ({"a": 3}, "remainder")
    await deliver(here, *await here.instructed(order))
    status = await ended(here, order, "partly_completed")
    assert line(status, "a") == {"ordered": 5, "unfillable": 3, "released": 2, "picked": 2, "packed": 2, "shipped": 2, "handed_over": 2}
    await left_clean(here)


KINDS = ("sale", "issue", "transfer_out", "adjustment", "damage", "receipt", "customer_return", "transfer_in")


async def test_scenario_14_nobody_can_write_negative_stock(desk: Desk, place: NewPlace) -> None:
    """Every way an outsider has ends at zero, with the rest told as a discrepancy."""
    items = (*KINDS, "status_change", "again", "counted", "many", "elsewhere", "picked", "collected")
    here = await place(items=items)
    await here.stock("paris", **dict.fromkeys(items, 3))
    for kind in KINDS:
        await desk.say(moved(here, "paris", kind, kind, -100, f"wild:{kind}"))
    await desk.say(moved(here, "paris", "status_change", "status_change", 100, "wild:status", to_status="damaged"))
    await desk.say(moved(here, "lyon", "sale", "sale", -1_000_000_000, "wild:nothing-there"))
    await desk.say(moved(here, "paris", "again", "sale", -3, "till:1"), id=f"{here.name}-till")
    await desk.say(moved(here, "paris", "again", "sale", -50, "till:1"), id=f"{here.name}-till")
    for kind in KINDS:
        await here.holds("paris", kind, sellable=0, reserved=0, atp=0)
        found = await desk.see(DiscrepancyFound, location=here.at("paris"), sku=here.sku(kind))
        assert (found.kind, found.quantity) == ("below_zero", -97)
    await here.holds("paris", "status_change", sellable=0, damaged=3)
    await here.holds("paris", "again", sellable=0)
    told = await desk.sees(DiscrepancyFound, 2, sku=here.sku("again"))
    assert {(one.kind, one.quantity) for one in told} == {("changed_report", -47), ("below_zero", -47)}
    assert (await desk.see(DiscrepancyFound, location=here.at("lyon"), sku=here.sku("sale"))).quantity == -1_000_000_000

    minus = json.loads(counted(here, "paris", soon(), counted=3).model_dump_json())
    minus["lines"][0]["quantity"] = -1
    partition = partition_of(here.at("paris"), desk.partitions)
    headers = (("ce_type", b"nervure.StockCounted"), ("ce_source", b"/flow-test"), ("ce_id", uuid4().hex.encode()))
    await desk.raw(STOCK_REPORTS.name, partition, Outgoing(here.at("paris").encode(), json.dumps(minus).encode(), headers))

    many, elsewhere, picked = [await here.place({item: 2}) for item in ("many", "elsewhere", "picked")]
    collected = await here.place({"collected": 2}, delivery=ch.Delivery(method="click_and_collect", location=here.at("paris")))
    work = {order: (await here.instructed(order))[0] for order in (many, elsewhere, picked, collected)}
    await desk.say(shipped(here, work[many], many=50))
    await desk.say(shipped(here, work[elsewhere]).model_copy(update={"location": here.at("lyon")}))
    await pick(here, work[picked], picked=50)
    await collect(here, work[collected], collected=50)
    for order in (many, picked, collected, elsewhere):
        await desk.see(ff.FulfilmentExceptionOpened, order_id=order)
    await here.holds("paris", "many", sellable=0, reserved=0, picked=0)
    await here.holds("lyon", "elsewhere", sellable=0, reserved=0)
    await here.holds("paris", "elsewhere", sellable=3, reserved=0)
    await here.holds("paris", "picked", sellable=1, reserved=0, picked=2)
    await here.holds("paris", "collected", sellable=0, reserved=0)
    await desk.say(counted(here, "paris", soon(), picked=0))
    await here.holds("paris", "picked", sellable=0, picked=2)
    await ship(here, work[picked])
    await here.holds("paris", "picked", sellable=0, picked=0)

    greedy = await here.place({"counted": 1_000_000_000})
    await desk.status_is(greedy, "in_fulfilment", where=lambda status: line(status, "counted").get("backordered") == 999_999_997)
    await here.holds("paris", "counted", sellable=3, reserved=3)
    asked = cancel_request(here, greedy)
    await desk.say(asked)
    await answer_cancel(here, await desk.see(ff.CancelFulfilment, order_id=greedy), counted=3)
    assert words(await answered(desk, asked)) == {"counted": (1_000_000_000, 0)}
    await left_clean(here, dead_letters=1)


async def test_scenario_18_a_walk_in_buys_the_last_reserved_unit(desk: Desk, place: NewPlace) -> None:
    """The level is zero; the least urgent order loses it and is sourced elsewhere, the urgent one keeps its own."""
    here = await place(items=("a",))
    await here.stock("paris", a=2)
    await here.stock("lyon", a=1)
    relaxed = await here.place({"a": 1}, priority=9)
    await here.instructed(relaxed)
    urgent = await here.place({"a": 1}, priority=0)
    [keeps] = await here.instructed(urgent)
    await here.holds("paris", "a", sellable=2, reserved=2, atp=0)
    await desk.say(moved(here, "paris", "a", "sale", -1, "till:7:1"))
    await here.holds("paris", "a", sellable=1, reserved=1, atp=0)
    loses = await desk.see(ReservationShorted, location=here.at("paris"))
    assert (loses.order_id, quantities(loses.lines)) == (relaxed, {"a": 1})
    told = await desk.see(ff.CancelFulfilment, order_id=relaxed)
    assert (told.location, quantities(told.lines)) == (here.at("paris"), {"a": 1})
    assert locations_of(await desk.see(OrderSourced, order_id=relaxed, cause="resourced")) == {here.at("lyon"): 1}
    [_, instead] = await here.instructed(relaxed, 2)
    await desk.say(moved(here, "paris", "a", "sale", -1, "till:7:2"))
    await here.holds("paris", "a", sellable=0, reserved=0, atp=0)
    waits = await desk.see(LinesBackordered, order_id=urgent)
    assert quantities(waits.lines) == {"a": 1}
    status = await desk.status_is(urgent, "backordered", where=lambda document: document.waiting != ())
    assert [entry.reason for entry in status.waiting] == ["stock"]
    await deliver(here, instead)
    await ended(here, relaxed, "completed")

    await desk.say(shipped(here, keeps))
    await desk.see(ff.FulfilmentExceptionOpened, order_id=urgent)
    await here.holds("paris", "a", sellable=0)
    await cancel(here, urgent)
    await left_clean(here)


@pytest.mark.parametrize("declared", [True, False], ids=["feed-declares-issues", "feed-declares-nothing"])
@pytest.mark.parametrize("feed_first", [False, True], ids=["shipped-first", "movement-first"])
async def test_scenario_19_shipped_and_the_own_movement_of_the_wms(desk: Desk, place: NewPlace, declared: bool, feed_first: bool) -> None:
    """The same units are booked once, in whichever order and however often both are told."""
    here = await place(items=("a",), locations=("paris",), location={"feed_reports": ("issue",) if declared else ()})
    await here.stock("paris", a=10)
    order = await here.place({"a": 2})
    [work] = await here.instructed(order)
    left = shipped(here, work)
    issue = moved(here, "paris", "a", "issue", -2, f"{work.fulfilment_order_id}:a")
    if feed_first:
        await desk.say(issue)
        await here.holds("paris", "a", sellable=8, reserved=0, picked=0, unsettled=0)
        await desk.say(left)
    else:
        await desk.say(left)
        await desk.see(ff.ParcelWasShipped, order_id=order)
        waits = {"picked": 2, "unsettled": 2} if declared else {"picked": 0, "unsettled": 0}
        await here.holds("paris", "a", sellable=8, reserved=0, **waits)
        await desk.say(issue)
    await desk.say(issue, left)
    await track(here, left.tracking_number, "delivered")
    await ended(here, order, "completed")
    await desk.rest()
    await here.holds("paris", "a", sellable=8, reserved=0, picked=0, unsettled=0, atp=8)
    assert min(level.sellable for level in desk.all(Availability, sku=here.sku("a"), where=lambda level: level.version > 1)) == 8
    assert desk.all(DiscrepancyFound, location=here.at("paris")) == []
    await left_clean(here)


async def test_backorders_are_served_by_rank_when_stock_arrives(desk: Desk, place: NewPlace) -> None:
    """Business before consumers before replenishment, within a kind the more urgent first, then the older; a newcomer doesn't overtake."""
    here = await place(items=("a",), locations=("paris",))
    await here.stock("paris", a=0)
    wanted = {
        "replenishment": here.order({"a": 2}, kind="replenishment"),
        "late": here.order({"a": 2}),
        "older": here.order({"a": 2}).model_copy(update={"placed_at": soon(-3600)}),
        "business": here.order({"a": 2}, kind="business"),
        "urgent": here.order({"a": 2}, priority=1),
    }
    for order in wanted.values():
        await desk.say(order)
        await desk.status_is(order.order_id, "backordered")
    orders = {name: order.order_id for name, order in wanted.items()}
    ranked = ("business", "urgent", "older", "late", "replenishment")
    for n, name in enumerate(ranked):
        await desk.say(moved(here, "paris", "a", "receipt", 2, f"delivery:{n}"))
        decision = await desk.see(OrderSourced, order_id=orders[name], cause="backorder")
        assert locations_of(decision) == {here.at("paris"): 2}
        await desk.rest()
        served = {sourced.order_id for sourced in desk.all(OrderSourced, lambda m: m.order_id in orders.values())}
        assert served == {orders[earlier] for earlier in ranked[: n + 1]}
    for order_id in orders.values():
        await deliver(here, *await here.instructed(order_id))
        await ended(here, order_id, "completed")
    await here.holds("paris", "a", sellable=0, reserved=0)
    await left_clean(here)


async def test_a_partial_arrival_is_taken_by_who_waits_longest(desk: Desk, place: NewPlace) -> None:
    """Three units for two who wait for two each: the first is served, the second gets one and waits for the other."""
    here = await place(items=("a",), locations=("paris",))
    await here.stock("paris", a=0)
    first = await here.place({"a": 2})
    second = await here.place({"a": 2})
    await desk.status_is(second, "backordered")
    await desk.status_is(first, "backordered")
    await desk.say(moved(here, "paris", "a", "receipt", 3, "delivery:1"))
    await desk.status_is(first, "in_fulfilment", where=lambda status: line(status, "a") == {"ordered": 2, "released": 2})
    await desk.status_is(second, "in_fulfilment", where=lambda status: line(status, "a") == {"ordered": 2, "released": 1, "backordered": 1})
    await deliver(here, *await here.instructed(first), *await here.instructed(second))
    await ended(here, first, "completed")
    await desk.status_is(second, "partly_shipped", where=lambda status: [entry.reason for entry in status.waiting] == ["stock"])
    assert words(await cancel(here, second)) == {"a": (1, 0)}
    await ended(here, second, "partly_completed")
    await left_clean(here)


async def test_who_waits_to_collect_at_one_store_is_served_there_only(desk: Desk, place: NewPlace) -> None:
    """Units elsewhere go to others meanwhile; what arrives at the store goes to the one who waits for it."""
    here = await place(items=("a",))
    await here.stock("paris", a=1)
    await here.stock("lyon", a=0)
    collects = await here.place({"a": 2}, delivery=ch.Delivery(method="click_and_collect", location=here.at("lyon")))
    await desk.status_is(collects, "backordered")
    home = await here.place({"a": 1})
    assert locations_of(await desk.see(OrderSourced, order_id=home)) == {here.at("paris"): 1}
    await desk.say(moved(here, "lyon", "a", "receipt", 2, "delivery:1"))
    decision = await desk.see(OrderSourced, order_id=collects)
    assert locations_of(decision) == {here.at("lyon"): 2}
    [instruction] = await here.instructed(collects)
    await accept(here, instruction)
    await make_ready(here, instruction)
    await collect(here, instruction)
    await deliver(here, *await here.instructed(home))
    await ended(here, collects, "completed")
    await ended(here, home, "completed")
    await left_clean(here)
