"""Each service alone, as a process over a real broker and a real database; the test is all its neighbours.

What it reads comes as it would from them, through their lanes; what it publishes, and what its database holds, is compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.fleet import SERVICES, kafka_connection
from deploy.supervisor import System
from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import inventory as inv
from schemas import orders as od
from schemas import payments as pay
from schemas import returns as rt
from schemas import sourcing as so
from schemas.topics import AVAILABILITY, dead_letter_topic
from services.order_capture.state import Line as CapturedLine
from shared.kernel.kafka import Connection, KafkaTopics
from shared.kernel.ports import Outgoing
from shared.settings import Settings, database_name
from tests.support.desk import WAIT_S, Place, soon
from tests.support.infra import servers
from tests.support.neighbours import Neighbours, accepted, counted, effect, fact
from tests.support.sourcing import Inventory
from tests.support.steps import (
    answer_cancel,
    answered,
    ask,
    cancel_request,
    ended,
    inspected,
    line,
    moved,
    obey,
    paid,
    pick,
    received,
    reject,
    return_request,
    ship,
    shipped,
    track,
    words,
)

NewPlace = Callable[..., Awaitable[Place]]
HOUR_S = 3600


# ---- one service, its servers, its neighbours ----


@pytest.fixture(scope="module")
def quiet_servers() -> Iterator[Settings]:
    """A broker and a database server of this file's own: over those of the test run all five services work on the same topics."""
    settings = Settings().model_copy(update={"kafka": None, "postgres": None, "partitions": 2, "log_level": "debug"})
    with servers(settings) as found:
        yield found.applied_to(settings)


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, quiet_servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One service, ready; afterwards its topics and its database are gone."""
    home = tmp_path_factory.mktemp(request.param)
    with System(quiet_servers.model_copy(update={"home": home}), services=(request.param,)) as running:
        running.wait_ready()
        yield running
    asyncio.run(forget(quiet_servers, request.param))


async def forget(settings: Settings, service: str) -> None:
    """Drops the service's database and all topics; returns when the broker no longer shows them."""
    assert settings.postgres is not None
    server = await asyncpg.connect(settings.postgres.get_secret_value())
    await server.execute(f'DROP DATABASE "{database_name(service)}"')
    await server.close()
    connection, deadline = kafka_connection(settings), time.monotonic() + WAIT_S
    admin = AIOKafkaAdminClient(**connection.arguments())
    await admin.start()
    await admin.delete_topics(await ours(connection))
    await admin.close()
    while left := await ours(connection):
        assert time.monotonic() < deadline, f"the broker does not let go of {left}"


async def ours(connection: Connection) -> list[str]:
    return [name for name in await KafkaTopics(connection).existing() if name.startswith("oms.")]


@pytest.fixture(scope="module")
async def around(system: System) -> AsyncIterator[Neighbours]:
    neighbours = Neighbours(system)
    await neighbours.start()
    yield neighbours
    await asyncio.shield(neighbours.stop())


@pytest.fixture
def place(around: Neighbours) -> NewPlace:
    """Builds the test's own little world; what was said before it is forgotten."""
    around.said.clear()

    async def build(**arguments: Any) -> Place:
        return await Place(around, f"alone-{uuid4().hex[:6]}").build(**arguments)

    return build


def only(*services: str) -> pytest.MarkDecorator:
    """The test runs beside this service, or beside each of these in turn."""
    return pytest.mark.parametrize("system", services, indirect=True)


# ---- order capture ----


async def place_and_pay(around: Neighbours, here: Place) -> str:
    """Two of a and one of b, held until they are paid."""
    claimed = ch.Payment(payment_id="card-1", amount_minor=3000)
    order = here.order({"a": 2, "b": 1}, payment_terms="capture_on_shipment", payments=(claimed,))
    assert (await ask(here, order)).outcome == "held"
    await around.say(paid(pay.PaymentAuthorised, order.order_id, 3000))
    taken = await around.see(od.OrderAccepted, order_id=order.order_id)
    assert {line.line_id: line.quantity for line in taken.order.lines} == {"a": 2, "b": 1}
    return order.order_id


async def sell(around: Neighbours, here: Place) -> str:
    """All of it is shipped and handed over; a unit of a is credited."""
    order = await place_and_pay(around, here)
    units = {"a": 2, "b": 1}
    left = fact(here, ff.ParcelWasShipped, order, units, parcel_id="p1", carrier=here.carrier, tracking_number="t1")
    await around.say(left)
    await obey(here, await around.see(pay.CapturePayment, order_id=order, amount_minor=3000))
    await around.say(fact(here, ff.LinesHandedOver, order, units, how="delivered"))
    await around.see(od.OrderInvoiced, order_id=order, amount_minor=3000)
    await around.see(od.OrderClosed, order_id=order, outcome="completed")
    await around.say(rt.CreditDue(order_id=order, credit_id="credit-1", lines=counted(a=1)))
    await obey(here, await around.see(pay.RefundPayment, order_id=order, amount_minor=1000))
    return order


@only("order_capture")
async def test_order_capture_takes_an_order_its_money_and_its_end(around: Neighbours, place: NewPlace) -> None:
    """Held, paid, accepted, shipped, captured, handed over, invoiced, closed; and what came back is refunded."""
    here = await place(channel={"unpaid": "hold"})
    order = await sell(around, here)
    kept = await around.row("order", order)
    assert (kept.stage, kept.outcome, kept.holds) == ("closed", "completed", {})
    assert kept.lines["a"] == CapturedLine("a", "goods", 2, 2000, shipped=2, handed_over=2, credited=1)
    card = kept.money.payments["card-1"]
    assert (card.authorised_minor, card.captured_for_us_minor, card.refunded_for_us_minor) == (3000, 3000, 1000)


@only("order_capture")
async def test_order_capture_adds_up_what_its_neighbours_say_of_a_cancel(around: Neighbours, place: NewPlace) -> None:
    """Sourcing had one unit in hand, a location gave up one, one was too late."""
    here = await place()
    order = here.order({"a": 3})
    assert (await ask(here, order)).outcome == "accepted"
    asked = cancel_request(here, order.order_id)
    await around.say(asked)
    await around.see(od.CancellationRequested, order_id=order.order_id, request_id=asked.request_id, lines=counted(a=3))
    passed = so.PassedLine(part_id=f"{order.order_id}/1", line_id="a", quantity=2)
    word: dict[str, Any] = {"order_id": order.order_id, "request_id": asked.request_id}
    await around.say(so.CancellationPassedOn(**word, cancelled=counted(a=1), passed_on=(passed,)))
    await around.say(ff.CancellationAnswered(**word, cancelled=counted(a=1), too_late=counted(a=1)))
    answer = await answered(around, asked)
    assert (answer.outcome, words(answer)) == ("accepted", {"a": (2, 1)})
    assert (await around.row("order", order.order_id)).lines["a"].cancelled == 2
    assert [done.lines for done in around.all(od.LinesCancelled, order_id=order.order_id)] == [counted(a=2)]


@only("order_capture")
async def test_order_capture_hears_nothing_new_in_a_repeat(around: Neighbours, place: NewPlace) -> None:
    here = await place(channel={"unpaid": "hold"})
    await sell(around, here)
    await around.hears_nothing_new()


@only("order_capture")
async def test_order_capture_goes_on_where_it_was_killed(around: Neighbours, place: NewPlace) -> None:
    """What was shipped, and a second order, come while it is away: money is asked for once."""
    here = await place(channel={"unpaid": "hold"})
    first = await place_and_pay(around, here)
    second = here.order({"a": 1}, payment_terms="on_account")
    async with around.killed_after():
        left = fact(here, ff.ParcelWasShipped, first, {"a": 2, "b": 1}, parcel_id="p1", carrier=here.carrier, tracking_number="t1")
        await around.say(second, left, fact(here, ff.LinesHandedOver, first, {"a": 2, "b": 1}, how="delivered"))
    capture = await around.see(pay.CapturePayment, order_id=first)
    await obey(here, capture)
    assert (await answered(around, second)).outcome == "accepted"
    await around.see(od.OrderClosed, order_id=first, outcome="completed")
    await around.settled()
    assert around.all(pay.CapturePayment, order_id=first) == [capture]
    await around.leaves_no_fault()


# ---- inventory ----


def reserve(here: Place, order_id: str, /, minimum: int = 0, **units: int) -> inv.ReserveStock:
    """Sourcing: keep these units of Paris for part 1."""
    lines = (inv.ReserveLine(line_id=name, sku=here.sku(name), quantity=n, minimum=minimum) for name, n in units.items())
    return inv.ReserveStock(
        part_id=f"{order_id}/1", order_id=order_id, location=here.at("paris"), lines=tuple(lines), promised_at=soon(HOUR_S)
    )


async def move_stock(around: Neighbours, here: Place) -> str:
    """Ten counted; three reserved, picked and issued; one sold at the till; one comes back."""
    order = f"{here.channel}:1"
    await here.stock("paris", a=10)
    await around.say(reserve(here, order, a=3))
    await around.see(inv.StockReserved, order_id=order)
    await here.holds("paris", "a", sellable=10, reserved=3, atp=7)
    await around.say(effect(here, ff.StockPicked, order, {"a": 3}))
    await here.holds("paris", "a", sellable=7, reserved=0, picked=3)
    await around.say(effect(here, ff.StockIssued, order, {"a": 3}), moved(here, "paris", "a", "sale", -1, "till-1"))
    back: dict[str, Any] = {"location": here.at("paris"), "sku": here.sku("a"), "reference": "r1:a:resell:1", "occurred_at": soon()}
    await around.say(rt.StockRestocked(**back, quantity=1, status="sellable"))
    await here.holds("paris", "a", sellable=7, reserved=0, picked=0, atp=7)
    return order


@only("inventory")
async def test_inventory_keeps_units_for_an_order_until_they_leave(around: Neighbours, place: NewPlace) -> None:
    """The level, its document and its messages agree; the reservation has ended with the last unit."""
    here = await place()
    order = await move_stock(around, here)
    level = await around.row("level", f"{here.sku('a')}:{here.at('paris')}")
    assert (level.sellable, level.reserved, level.picked, level.owed) == (7, 0, 0, 0)
    assert await around.row("reservation", f"{order}/1:a") is None
    causes = [told.cause for told in around.all(inv.StockChanged, location=here.at("paris"))]
    assert sorted(causes) == ["counted", "issued", "moved", "picked", "restocked"]


@only("inventory")
async def test_inventory_declines_with_the_true_level_and_ends_what_a_location_rejects(around: Neighbours, place: NewPlace) -> None:
    """What a location did not find is not for sale until it is counted."""
    here = await place()
    await here.stock("paris", a=4)
    await around.say(reserve(here, f"{here.channel}:greedy", minimum=5, a=5))
    declined = await around.see(inv.ReservationDeclined, order_id=f"{here.channel}:greedy")
    assert [(line.asked, line.reserved) for line in declined.lines] == [(5, 4)]
    assert [(level.sellable, level.reserved, level.atp) for level in declined.levels] == [(4, 0, 4)]
    order = f"{here.channel}:1"
    await around.say(reserve(here, order, a=2), effect(here, ff.ReservationEnded, order, {"a": 2}, cause="rejected", reason="not_found"))
    released = await around.see(inv.ReservationReleased, order_id=order, cause="rejected")
    assert [(line.line_id, line.quantity) for line in released.lines] == [("a", 2)]
    blocked = await here.holds("paris", "a", sellable=4, reserved=0, atp=0)
    assert blocked.blocked_until is not None


@only("inventory")
async def test_inventory_hears_nothing_new_in_a_repeat(around: Neighbours, place: NewPlace) -> None:
    here = await place()
    await move_stock(around, here)
    await around.hears_nothing_new()


@only("inventory")
async def test_inventory_goes_on_where_it_was_killed(around: Neighbours, place: NewPlace) -> None:
    """Two orders want the last units while it is away: the first gets them, the second what is left."""
    here = await place()
    await here.stock("paris", a=3)
    first, second = f"{here.channel}:1", f"{here.channel}:2"
    async with around.killed_after():
        await around.say(reserve(here, first, a=2), reserve(here, second, a=2))
    await here.holds("paris", "a", sellable=3, reserved=3, atp=0)
    got = {told.order_id: told.lines[0].reserved for told in await around.sees(inv.StockReserved, 2, location=here.at("paris"))}
    assert got == {first: 2, second: 1}
    assert (await around.row("reservation", f"{second}/1:a")).open == 1
    await around.leaves_no_fault()


# ---- sourcing ----


async def stocked(around: Neighbours, here: Place, item: str = "a", **units: int) -> Inventory:
    """An inventory with so many units of an item at each location; sourcing has seen its levels."""
    inventory = Inventory()
    for location, quantity in units.items():
        inventory.put(here.sku(item), here.at(location), quantity)
        await around.say(inventory.document(here.sku(item), here.at(location)))
    await around.views_caught_up(AVAILABILITY)
    return inventory


async def answer_command(around: Neighbours, inventory: Inventory, order_id: str, count: int = 1) -> inv.ReserveStock:
    """Inventory's word on the order's newest of so many commands."""
    command = (await around.sees(inv.ReserveStock, count, order_id=order_id))[-1]
    answer = inventory.answer(command)
    assert answer is not None
    await around.say(answer)
    return command


async def source(around: Neighbours, here: Place) -> so.OrderSourced:
    """Paris is nearest, and has it."""
    inventory, order = await stocked(around, here, paris=5, lyon=5), f"{here.channel}:1"
    await around.say(accepted(here, order, a=2))
    await answer_command(around, inventory, order)
    return await around.see(so.OrderSourced, order_id=order)


@only("sourcing")
async def test_sourcing_reserves_then_decides(around: Neighbours, place: NewPlace) -> None:
    """The decision explains itself and is published once the units are reserved."""
    here = await place()
    decision = await source(around, here)
    assert [(part.location, part.lines[0].quantity) for part in decision.parts] == [(here.at("paris"), 2)]
    assert {candidate.location for candidate in decision.explanation[0].candidates} == {here.at("paris"), here.at("lyon")}
    kept = await around.row("order", decision.order_id)
    assert [(part.state, part.location, part.units("a")) for part in kept.parts.values()] == [("published", here.at("paris"), 2)]


@only("sourcing")
async def test_sourcing_plans_again_on_a_decline_and_waits_for_what_nobody_has(around: Neighbours, place: NewPlace) -> None:
    """Walk-ins were quicker in Paris, then Lyon has too few; the rest waits until stock arrives."""
    here = await place()
    inventory, order = await stocked(around, here, paris=2, lyon=1), f"{here.channel}:1"
    inventory.put(here.sku("a"), here.at("paris"), -2)
    await around.say(accepted(here, order, a=2))
    assert (await answer_command(around, inventory, order)).location == here.at("paris")
    assert (await answer_command(around, inventory, order, 2)).location == here.at("lyon")
    waiting = await around.see(so.LinesBackordered, order_id=order)
    assert [(line.line_id, line.quantity) for line in waiting.lines] == [("a", 1)]
    inventory.put(here.sku("a"), here.at("paris"), 3)
    level = inventory.level(here.sku("a"), here.at("paris"))
    await around.say(inv.StockChanged(location=here.at("paris"), cause="counted", levels=(level,), arrived=(here.sku("a"),)))
    assert (await answer_command(around, inventory, order, 3)).location == here.at("paris")
    await around.see(so.OrderSourced, order_id=order, cause="backorder")
    kept = await around.row("order", order)
    assert (kept.open_units, kept.waiting_units) == ({}, {})


@only("sourcing")
async def test_sourcing_hears_nothing_new_in_a_repeat(around: Neighbours, place: NewPlace) -> None:
    """Neither in events and states of its neighbours nor in reference data."""
    here = await place()
    await source(around, here)
    await around.hears_nothing_new()


@only("sourcing")
async def test_sourcing_goes_on_where_it_was_killed(around: Neighbours, place: NewPlace) -> None:
    """The answer to its command comes while it is away, and another order: its units are not planned a second time."""
    here = await place()
    inventory, first, second = await stocked(around, here, paris=3, lyon=3), f"{here.channel}:1", f"{here.channel}:2"
    await around.say(accepted(here, first, a=2))
    await around.see(inv.ReserveStock, order_id=first)
    async with around.killed_after():
        assert (await answer_command(around, inventory, first)).location == here.at("paris")
        await around.say(accepted(here, second, a=2))
    assert (await answer_command(around, inventory, second)).location == here.at("lyon")
    for order in (first, second):
        await around.see(so.OrderSourced, order_id=order)
        await around.settled()
        assert len(around.all(inv.ReserveStock, order_id=order)) == len(around.all(so.OrderSourced, order_id=order)) == 1
    await around.leaves_no_fault()


# ---- fulfilment tracking ----


def sourced(here: Place, order_id: str, /, release_in_s: float = 0.0, **units: int) -> so.OrderSourced:
    """Sourcing: Paris does it all."""
    promise = so.Promise(kind="delivery", day=soon(24 * HOUR_S).date(), zone="Europe/Paris", latest=soon(24 * HOUR_S))
    part = so.Part(
        part_id=f"{order_id}/1",
        location=here.at("paris"),
        method="home",
        lines=tuple(so.PartLine(line_id=name, sku=here.sku(name), quantity=quantity) for name, quantity in units.items()),
        release_at=soon(release_in_s),
        ship_by=soon(HOUR_S),
        carrier=here.carrier,
        promise=promise,
    )
    return so.OrderSourced(order_id=order_id, decision=1, cause="new", parts=(part,), split=False, promise=promise, explanation=())


async def instruct(around: Neighbours, here: Place) -> ff.FulfilOrder:
    order = f"{here.channel}:1"
    await around.say(accepted(here, order, a=2), sourced(here, order, a=2))
    return await around.see(ff.FulfilOrder, order_id=order)


async def fulfil(around: Neighbours, here: Place) -> str:
    """Instructed, accepted, picked, packed, shipped, delivered; order capture closes the order."""
    work = await instruct(around, here)
    await track(here, await ship(here, work), "in_transit", "delivered")
    await around.see(ff.LinesHandedOver, order_id=work.order_id, how="delivered")
    await around.say(od.OrderClosed(order_id=work.order_id, outcome="completed"))
    await ended(here, work.order_id, "completed")
    return work.order_id


@only("fulfilment_tracking")
async def test_fulfilment_tracking_follows_an_order_to_its_buyer(around: Neighbours, place: NewPlace) -> None:
    """Every report becomes an event, an effect on stock, and a line of the status."""
    here = await place()
    order = await fulfil(around, here)
    kept = await around.row("order", order)
    [part], [parcel] = kept.parts.values(), kept.parcels.values()
    assert (kept.outcome, part.left, parcel.status) == ("completed", 0, "delivered")
    for kind in (ff.FulfilmentAccepted, ff.LinesWerePicked, ff.ParcelWasPacked, ff.ParcelWasShipped, ff.StockPicked, ff.StockIssued):
        assert len(around.all(kind, order_id=order)) == 1, kind
    document = await around.status_is(order, "completed")
    assert line(document, "a") == {"ordered": 2, "released": 2, "picked": 2, "packed": 2, "shipped": 2, "handed_over": 2}


@only("fulfilment_tracking")
async def test_fulfilment_tracking_takes_the_word_of_the_location(around: Neighbours, place: NewPlace) -> None:
    """One unit is rejected, one cancelled: their reservations end with the cause of each."""
    here = await place()
    work = await instruct(around, here)
    await reject(here, work, "damaged", a=1)
    await around.see(ff.ReservationEnded, order_id=work.order_id, cause="rejected", reason="damaged")
    passed = so.PassedLine(part_id=work.fulfilment_order_id, line_id="a", quantity=1, standing=1)
    await around.say(so.CancellationPassedOn(order_id=work.order_id, request_id="cancel-1", cancelled=(), passed_on=(passed,)))
    await answer_cancel(here, await around.see(ff.CancelFulfilment, order_id=work.order_id, request_id="cancel-1"), a=1)
    word = await around.see(ff.CancellationAnswered, order_id=work.order_id, request_id="cancel-1")
    assert (word.cancelled, word.too_late) == (counted(a=1), ())
    await around.see(ff.ReservationEnded, order_id=work.order_id, cause="cancelled")
    part = (await around.row("order", work.order_id)).parts[work.fulfilment_order_id]
    assert (part.left, part.lines["a"].ended) == (0, {"rejected": 1, "cancelled": 1})


@only("fulfilment_tracking")
async def test_fulfilment_tracking_hears_nothing_new_in_a_repeat(around: Neighbours, place: NewPlace) -> None:
    here = await place()
    await fulfil(around, here)
    await around.hears_nothing_new()


@only("fulfilment_tracking")
async def test_fulfilment_tracking_goes_on_where_it_was_killed(around: Neighbours, place: NewPlace) -> None:
    """Reports come while it is away, and so does the time at which another order is to be instructed."""
    here = await place()
    work, later = await instruct(around, here), f"{here.channel}:2"
    await around.say(accepted(here, later, b=1), sourced(here, later, 3.0, b=1))
    await around.settled()
    async with around.killed_after():
        await pick(here, work)
        await around.say(shipped(here, work))
    await around.see(ff.ParcelWasShipped, order_id=work.order_id)
    await around.see(ff.FulfilOrder, order_id=later)
    await around.settled()
    for order in (work.order_id, later):
        assert len(around.all(ff.FulfilOrder, order_id=order)) == 1
    assert [told.lines[0].quantity for told in around.all(ff.StockIssued, order_id=work.order_id)] == [2]
    await around.leaves_no_fault()


# ---- returns ----


async def hand_over(around: Neighbours, here: Place) -> str:
    order = f"{here.channel}:1"
    await around.say(accepted(here, order, a=2), fact(here, ff.LinesHandedOver, order, {"a": 2}, how="delivered"))
    return order


async def authorise(around: Neighbours, order: str) -> rt.ReturnAuthorised:
    asked = return_request(order, a=1)
    await around.say(asked)
    return await around.see(rt.ReturnAuthorised, order_id=order, request_id=asked.request_id)


async def bring_back(around: Neighbours, here: Place) -> str:
    """One of two comes back, elsewhere, as new."""
    order = await hand_over(around, here)
    allowed = await authorise(around, order)
    await around.say(received(here, "lyon", "r1", return_id=allowed.return_id, a=1), inspected(here, "lyon", "r1", a=1))
    await around.see(rt.CreditDue, order_id=order, lines=counted(a=1))
    return order


@only("returns")
async def test_returns_authorises_receives_inspects_and_credits(around: Neighbours, place: NewPlace) -> None:
    here = await place()
    order = await bring_back(around, here)
    back = await around.see(rt.ReturnReceived, order_id=order)
    assert (back.location, back.lines, back.unexpected) == (here.at("lyon"), counted(a=1), ())
    restocked = await around.see(rt.StockRestocked, location=here.at("lyon"), sku=here.sku("a"))
    assert (restocked.quantity, restocked.status) == (1, "sellable")
    line = (await around.row("purchase", order)).lines["a"]
    assert (line.handed_over, line.received, line.inspected, line.credited) == (2, 1, 1, 1)


@only("returns")
async def test_returns_declines_with_the_number_that_may_still_come(around: Neighbours, place: NewPlace) -> None:
    here = await place()
    order = await bring_back(around, here)
    asked = return_request(order, a=2)
    await around.say(asked)
    declined = await around.see(rt.ReturnDeclined, order_id=order, request_id=asked.request_id)
    assert (declined.reason, declined.lines) == ("exceeds_returnable", (rt.LeftLine(line_id="a", asked=2, left=1),))
    assert (await around.row("purchase", order)).returns == {}


@only("returns")
async def test_returns_hears_nothing_new_in_a_repeat(around: Neighbours, place: NewPlace) -> None:
    here = await place()
    await bring_back(around, here)
    await around.hears_nothing_new()


@only("returns")
async def test_returns_goes_on_where_it_was_killed(around: Neighbours, place: NewPlace) -> None:
    """Goods arrive while it is away, and so does the order of others that wait for it."""
    here = await place()
    order, later = await hand_over(around, here), f"{here.channel}:2"
    allowed = await authorise(around, order)
    await around.say(received(here, "paris", "r2", order_id=later, a=1))
    await around.settled()
    async with around.killed_after():
        await around.say(received(here, "lyon", "r1", return_id=allowed.return_id, a=1), inspected(here, "lyon", "r1", a=1))
        await around.say(accepted(here, later, a=1), fact(here, ff.LinesHandedOver, later, {"a": 1}, how="collected"))
    await around.see(rt.CreditDue, order_id=order)
    assert (await around.see(rt.ReturnReceived, order_id=later)).unexpected == counted(a=1)
    await around.settled()
    for kind in (rt.ReturnAuthorised, rt.ReturnReceived, rt.ReturnInspected, rt.CreditDue):
        assert len(around.all(kind, order_id=order)) == 1, kind
    assert len(around.all(rt.StockRestocked, location=here.at("lyon"))) == 1
    await around.leaves_no_fault()


# ---- all of them ----


@only(*SERVICES)
async def test_what_nobody_can_read_is_one_dead_letter_or_one_answer(around: Neighbours, place: NewPlace) -> None:
    """Nonsense on every topic the service reads; it reads on behind it."""
    here = await place()
    before, order = await around.books(), f"{here.channel}:1"
    asked = [topic for topic in around.reads if topic.kind == "request"]
    told = [topic for topic in around.reads if topic.kind != "request"]
    for topic in around.reads:
        key = order if topic in asked else here.name
        await around.raw(topic.name, 0, Outgoing(key.encode(), b"nonsense", (("ce_type", b"nervure.Nonsense"),)))
    assert await around.books() == before._replace(letters=before.letters + len(told), messages=before.messages + len(asked))
    assert len(around.all(ch.RequestAnswered, order_id=order) + around.all(rt.ReturnDeclined, order_id=order)) == len(asked)

    def letters() -> list[str]:
        return sorted(letter.topic for letter in around.dead_letters if letter.key == here.name.encode())

    await around.until(lambda: len(letters()) >= len(told), lambda: f"{letters()} of {len(told)}")
    assert letters() == sorted(dead_letter_topic(topic.name, around.name) for topic in told)
