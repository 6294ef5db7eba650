"""What channels ask for: placed once, held, changed, never stuck; each request has its one answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import reference
from schemas.inventory import ReservationReleased, ReserveStock, StockReserved
from schemas.orders import HoldResolved, OrderAccepted, OrderChanged, OrderClosed, OrderHeld, OrderInvoiced, OrderRejected
from schemas.sourcing import LinesBackordered, LinesUnfillable, OrderSourced, SourcingExceptionOpened
from schemas.status import OrderStatus
from schemas.types import order_id_of
from tests.support.desk import Desk, Place
from tests.support.steps import (
    answer_cancel,
    answered,
    ask,
    cancel,
    cancel_request,
    codes,
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
    words,
)

NewPlace = Callable[..., Awaitable[Place]]


def change_request(place: Place, order: ch.PlaceOrder, lines: dict[str, int], **content: Any) -> ch.ChangeOrder:
    """The whole order again, with these lines and other content."""
    again = place.order(lines, ref=order.channel_order_ref, **content)
    return request(place, ch.ChangeOrder, order.order_id, order=again.order)


def waits_for(status: OrderStatus) -> set[str]:
    """Reasons of an order's waits that have a date."""
    return {waiting.reason for waiting in status.waiting if waiting.until is not None}


def waits_only_for(reason: str, status: OrderStatus) -> bool:
    return waits_for(status) == {reason}


async def said(desk: Desk, order_id: str, where: Callable[[OrderStatus], bool]) -> OrderStatus:
    """A document that once said so, whatever newer ones say: what has a date may be over when somebody looks."""
    return await desk.see(OrderStatus, where, order_id=order_id)


async def test_scenario_05_a_change_of_price_does_not_touch_the_reservation(desk: Desk, place: NewPlace) -> None:
    """Nobody at a location hears of it, the level keeps its version, and the new price is invoiced."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = here.order({"a": 2})
    assert (await ask(here, order)).outcome == "accepted"
    [instruction] = await here.instructed(order.order_id)
    await desk.rest()
    before = await here.holds("paris", "a", reserved=2)
    cheaper = change_request(here, order, {"a": 2}, price_minor=900)
    assert (await ask(here, cheaper)).outcome == "accepted"
    changed = await desk.see(OrderChanged, order_id=order.order_id)
    assert (changed.effect, changed.order.revision, changed.order.total_minor) == ("commercial", 2, 1800)
    await desk.rest()
    assert desk.level(here.sku("a"), here.at("paris")) == before
    assert len(desk.all(ReserveStock, order_id=order.order_id)) == 1
    assert len(desk.all(OrderSourced, order_id=order.order_id)) == 1
    for nothing in (ff.AmendOrder, ff.CancelFulfilment, ReservationReleased):
        assert desk.all(nothing, order_id=order.order_id) == []
    await deliver(here, instruction)
    await desk.see(OrderInvoiced, order_id=order.order_id, amount_minor=1800)
    await ended(here, order.order_id, "completed")
    await left_clean(here)


async def test_scenario_12_the_same_order_sent_again_has_no_effect(desk: Desk, place: NewPlace) -> None:
    """Under the same transport id, another one, or another request id: one order, and the stored answer marked as repeated."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = here.order({"a": 2})
    again = order.model_copy(update={"request_id": f"{order.request_id}-again"})
    await desk.say(order, id=f"{here.name}-1")
    await desk.say(order, id=f"{here.name}-1")
    await desk.say(order)
    await desk.say(again)
    first, *repeats = await desk.sees(ch.RequestAnswered, 3, order_id=order.order_id, request_id=order.request_id)
    assert (first.outcome, first.repeated) == ("accepted", False)
    assert [answer.model_copy(update={"repeated": False}) for answer in repeats] == [first] * len(repeats)
    assert all(answer.repeated for answer in repeats)
    other = await desk.see(ch.RequestAnswered, request_id=again.request_id)
    assert (other.outcome, other.repeated) == ("accepted", True)
    await desk.rest()
    assert len(desk.all(OrderAccepted, order_id=order.order_id)) == 1
    assert len(desk.all(StockReserved, order_id=order.order_id)) == 1
    [instruction] = await here.instructed(order.order_id)

    asked = cancel_request(here, order.order_id, a=1)
    await desk.say(asked, asked)
    withdrawal = await desk.see(ff.CancelFulfilment, order_id=order.order_id)
    await answer_cancel(here, withdrawal, a=1)
    assert words(await answered(desk, asked)) == {"a": (1, 0)}
    await desk.say(asked)
    repeat = await desk.see(ch.RequestAnswered, request_id=asked.request_id, repeated=True)
    assert words(repeat) == {"a": (1, 0)}
    await deliver(here, instruction.model_copy(update={"lines": (instruction.lines[0].model_copy(update={"quantity": 1}),)}))
    status = await ended(here, order.order_id, "partly_completed")
    assert line(status, "a")["cancelled"] == 1
    await here.holds("paris", "a", sellable=4, reserved=0)
    await left_clean(here)
    assert len(desk.all(ff.CancelFulfilment, order_id=order.order_id)) == 1


async def test_scenario_20_the_same_reference_with_other_content(desk: Desk, place: NewPlace) -> None:
    """A conflict is answered, and the first order goes its way untouched."""
    here = await place(items=("a", "b"))
    await here.stock("paris", a=5, b=5)
    order = here.order({"a": 2})
    assert (await ask(here, order)).outcome == "accepted"
    [instruction] = await here.instructed(order.order_id)
    other = here.order({"b": 3}, ref=order.channel_order_ref)
    answer = await ask(here, other)
    assert (answer.outcome, codes(answer)) == ("conflict", {"conflict"})
    reused = here.order({"b": 1}, ref=order.channel_order_ref).model_copy(update={"request_id": order.request_id})
    await desk.say(reused)
    answer = await desk.see(ch.RequestAnswered, request_id=order.request_id, outcome="conflict")
    assert codes(answer) == {"request_id_reused"}
    await desk.rest()
    assert len(desk.all(OrderAccepted, order_id=order.order_id)) == 1
    assert len(desk.all(ff.FulfilOrder, order_id=order.order_id)) == 1
    await here.holds("paris", "a", reserved=2)
    await here.holds("paris", "b", sellable=5, reserved=0)
    await deliver(here, instruction)
    status = await ended(here, order.order_id, "completed")
    assert {each.line_id: each.handed_over for each in status.lines} == {"a": 2}
    await left_clean(here)


SILENT_CASES = (
    "unknown",
    "unpaid",
    "suspect",
    "sold-out",
    "unserved",
    "silent",
    "carried",
    "lost",
    "away",
    "asked",
    "moving",
    "refused",
    "back",
)


class Silence(NamedTuple):
    """One order for each way in which somebody may stay silent, by case."""

    here: Place
    orders: Mapping[str, ch.PlaceOrder]
    ids: Mapping[str, str]
    work: Mapping[str, ff.FulfilOrder]
    """Of the orders that were instructed."""


async def test_scenario_15_no_order_is_stuck(desk: Desk, place: NewPlace) -> None:
    """Whoever stays silent, the order ends, or waits for a named reason until a date, or for a person an exception calls."""
    found = await placed_in_hurry(desk, place)
    for case, reason in (("unknown", "hold"), ("unpaid", "hold"), ("sold-out", "stock"), ("unserved", "stock"), ("silent", "location")):
        await said(desk, found.ids[case], partial(waits_only_for, reason))
    asked, moving = await left_halfway(desk, found)
    await end_at_their_deadlines(desk, found)
    assert words(await answered(desk, asked)) == {"asked": (0, 1)}
    declined = await answered(desk, moving)
    assert (declined.outcome, codes(declined)) == ("declined", {"too_late"})
    await call_a_person(desk, found)
    open_ends = [case for case in SILENT_CASES if not desk.all(OrderClosed, order_id=found.ids[case])]
    assert open_ends == ["suspect", "silent", "lost", "asked", "moving"]
    await track(found.here, shipped(found.here, found.work["lost"]).tracking_number, "delivered")
    await deliver(found.here, *(found.work[case] for case in open_ends if case != "lost"))
    for case in open_ends:
        await ended(found.here, found.ids[case], "completed")
    await left_clean(found.here)


async def placed_in_hurry(desk: Desk, place: NewPlace) -> Silence:
    """Where every deadline is two seconds; the orders are placed, and instructed as far as they go."""
    hurry = {"cancel_answer_s": 2, "collect_deadline_s": 2, "presume_delivered_s": 2, "backorder_deadline_s": 2, "accept_deadline_s": 2}
    here = await place(items=SILENT_CASES[1:], channel={"hold_deadline_s": 2, "unpaid": "hold"}, **hurry)
    await here.stock("paris", **{case: 1 for case in SILENT_CASES[1:] if case != "sold-out"})
    content: dict[str, dict[str, Any]] = {
        "unpaid": {"payment_terms": "prepaid"},
        "unserved": {"delivery": ch.Delivery(method="express")},
        "away": {"delivery": ch.Delivery(method="click_and_collect", location=here.at("paris"))},
    }
    orders = {case: here.order({case: 1}, **content.get(case, {})) for case in SILENT_CASES}
    ids = {case: order.order_id for case, order in orders.items()}
    await desk.say_all(list(orders.values()))
    work = {case: (await here.instructed(ids[case]))[0] for case in ("suspect", *SILENT_CASES[5:])}
    return Silence(here, orders, ids, work)


async def left_halfway(desk: Desk, found: Silence) -> tuple[ch.CancelOrder, ch.ChangeOrder]:
    """Everybody begins something and then says no more; returns the two requests nobody answers. What each order waits for is told."""
    here, ids, work = found.here, found.ids, found.work
    await desk.say(request(here, ch.HoldOrder, ids["suspect"], hold_id="fraud-1", type="fraud"))
    asked, lyon = cancel_request(here, ids["asked"]), ch.Party(name="B", street=("2 rue",), city="Lyon", country="FR")
    moving = change_request(here, found.orders["moving"], {"moving": 1}, ship_to=lyon)
    await desk.say(asked, moving)
    await ship(here, work["carried"])
    await track(here, await ship(here, work["lost"]), "in_transit", "exception")
    await track(here, await ship(here, work["back"]), "in_transit", "returning", "returned")
    await make_ready(here, work["away"])
    await reject(here, work["refused"], "closed")
    waiting = await said(desk, ids["asked"], lambda status: "cancel_answer" in waits_for(status))
    assert waiting.status == "in_fulfilment"
    await said(desk, ids["moving"], lambda status: "change_answer" in waits_for(status))
    await said(desk, ids["away"], lambda status: (status.status, waits_for(status)) == ("ready_for_collection", {"collection"}))
    await said(desk, ids["suspect"], lambda status: "hold" in waits_for(status))
    return asked, moving


async def end_at_their_deadlines(desk: Desk, found: Silence) -> None:
    """Cancelled, presumed delivered, or let go on, each with its reason."""
    for case in ("unknown", "unpaid", "sold-out", "unserved", "away", "refused", "back"):
        await ended(found.here, found.ids[case], "cancelled")
    await ended(found.here, found.ids["carried"], "completed")
    assert (await desk.see(ff.LinesHandedOver, order_id=found.ids["carried"])).how == "presumed"
    assert (await desk.see(LinesUnfillable, order_id=found.ids["sold-out"])).reason == "deadline"
    assert (await desk.see(SourcingExceptionOpened, order_id=found.ids["unserved"])).kind == "no_reference_data"
    assert (await desk.see(HoldResolved, order_id=found.ids["suspect"])).resolution == "expired"
    await desk.see(ff.ResumeFulfilment, order_id=found.ids["suspect"])


async def call_a_person(desk: Desk, found: Silence) -> None:
    """What no deadline can end waits for a reason without a date, and an exception says what to do."""
    for case, reason in (("silent", "location"), ("lost", "delivery")):
        status = await desk.status_is(found.ids[case], where=lambda document: "late" in {each.kind for each in document.exceptions})
        assert [(waiting.reason, waiting.until) for waiting in status.waiting] == [(reason, None)]
        assert status.exceptions[0].action != ""
    await desk.rest()


# ---- holds ----


async def test_an_order_waits_for_its_channel_until_it_arrives(desk: Desk, place: NewPlace) -> None:
    """A new shop's first order may be quicker than its document."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    shop = f"{here.channel}-new"
    order = here.order({"a": 1}).model_copy(update={"channel": shop})
    answer = await ask(here, order)
    assert (answer.outcome, [problem.code for problem in answer.problems]) == ("held", ["unknown_channel"])
    await desk.say(reference.Channel(channel=shop, policy=here.name, unpaid="accept"))
    await desk.see(OrderAccepted, order_id=order.order_id)
    await deliver(here, *await here.instructed(order.order_id))
    await ended(here, order.order_id, "completed")
    await left_clean(here)


async def test_an_order_waits_for_an_unknown_item_until_it_arrives(desk: Desk, place: NewPlace) -> None:
    """Held with every reason, sourced by nobody, accepted by itself once the last item is known under any of its names."""
    here = await place(items=("a",))
    await here.stock("paris", a=5, later=5, coded=5)
    plain = here.order({"a": 1, "later": 1})
    gtin = f"{uuid4().int % 10**13:013d}"
    coded = ch.Line(channel_line_ref="coded", gtin=gtin, quantity=1, unit_price_minor=500)
    content = plain.order.model_copy(update={"lines": (*plain.order.lines, coded), "totals": ch.Totals(lines_minor=2500, total_minor=2500)})
    order = plain.model_copy(update={"order": content})
    answer = await ask(here, order)
    assert answer.outcome == "held"
    assert [(problem.code, problem.field) for problem in answer.problems] == [
        ("unknown_item", "order.lines.1"),
        ("unknown_item", "order.lines.2"),
    ]
    held = await desk.see(OrderHeld, order_id=order.order_id)
    assert (held.type, held.before_acceptance) == ("item", True)
    status = await desk.status_is(order.order_id, "held")
    assert waits_for(status) == {"hold"}
    await desk.say(reference.Item(sku=here.sku("later"), weight_g=100))
    await desk.sees_no(OrderAccepted, order_id=order.order_id)
    await desk.say(reference.Item(sku=here.sku("coded"), gtins=(gtin,), weight_g=100))
    accepted = await desk.see(OrderAccepted, order_id=order.order_id)
    assert {each.line_id: each.sku for each in accepted.order.lines} == {name: here.sku(name) for name in ("a", "later", "coded")}
    await deliver(here, *await here.instructed(order.order_id))
    await ended(here, order.order_id, "completed")
    await left_clean(here)


async def test_a_channel_that_wants_no_unknown_items_has_the_order_rejected(desk: Desk, place: NewPlace) -> None:
    """Declined with the reason, and the order ends there."""
    here = await place(items=("a",), channel={"unknown_item": "reject"})
    order = here.order({"a": 1, "nobody-knows": 1})
    answer = await ask(here, order)
    assert (answer.outcome, codes(answer)) == ("declined", {"unknown_item"})
    rejected = await desk.see(OrderRejected, order_id=order.order_id)
    assert [problem.field for problem in rejected.problems] == ["order.lines.1"]
    await ended(here, order.order_id, "rejected")
    await left_clean(here)
    assert desk.all(ReserveStock, order_id=order.order_id) == []


async def test_typed_holds_keep_the_units_and_are_resolved_one_by_one(desk: Desk, place: NewPlace) -> None:
    """Sourced and reserved at once, instructed only when the last hold is gone; a later order without holds is long on its way."""
    here = await place(items=("a",), grace_s=2)
    await here.stock("paris", a=5)
    types: tuple[ch.HoldType, ...] = ("fraud", "payment", "credit", "address", "other")
    placed = here.order({"a": 2})
    order = placed.order_id
    holds = [request(here, ch.HoldOrder, order, hold_id=f"{kind}-1", type=kind) for kind in types]
    await desk.say_all([placed, *holds])
    for asked in (placed, *holds):
        assert (await answered(desk, asked)).outcome == "accepted"
    again = await ask(here, request(here, ch.HoldOrder, order, hold_id="fraud-1", type="fraud"))
    assert (again.outcome, codes(again)) == ("declined", {"hold_exists"})
    status = await desk.status_is(order, "held", where=lambda document: len(document.holds) == 5)
    assert set(status.holds) == {f"{kind}-1" for kind in types}
    await here.holds("paris", "a", sellable=5, reserved=2)
    later = await here.place({"a": 1})
    await deliver(here, *await here.instructed(later))
    for number, kind in enumerate(types, start=1):
        await desk.sees_no(ff.FulfilOrder, order_id=order)
        answer = await ask(here, request(here, ch.ResolveHold, order, hold_id=f"{kind}-1"))
        assert answer.outcome == "accepted"
        resolved = await desk.see(HoldResolved, order_id=order, hold_id=f"{kind}-1")
        assert (resolved.resolution, len(resolved.open_holds)) == ("release", 5 - number)
    [instruction] = await here.instructed(order)

    answer = await ask(here, request(here, ch.HoldOrder, order, hold_id="fraud-2", type="fraud"))
    paused = await desk.see(ff.HoldFulfilment, order_id=order)
    assert paused.fulfilment_order_id == instruction.fulfilment_order_id
    status = await desk.status_is(order, where=lambda document: document.holds == ("fraud-2",))
    assert [part.status for part in status.fulfilment_orders] == ["on_hold"]
    await ask(here, request(here, ch.ResolveHold, order, hold_id="fraud-2"))
    await desk.see(ff.ResumeFulfilment, order_id=order)
    await deliver(here, instruction)
    await ended(here, order, "completed")
    await ended(here, later, "completed")
    await left_clean(here)


async def test_a_hold_resolved_by_cancelling_gives_the_units_back(desk: Desk, place: NewPlace) -> None:
    """Nobody was instructed: the order is cancelled at once."""
    here = await place(items=("a",), grace_s=600)
    await here.stock("paris", a=5)
    order = await here.place({"a": 2})
    await here.holds("paris", "a", reserved=2)
    await ask(here, request(here, ch.HoldOrder, order, hold_id="fraud-1", type="fraud"))
    answer = await ask(here, request(here, ch.ResolveHold, order, hold_id="fraud-1", resolution="cancel"))
    assert (answer.outcome, words(answer)) == ("accepted", {"a": (2, 0)})
    await desk.see(HoldResolved, order_id=order, hold_id="fraud-1", resolution="cancel")
    await ended(here, order, "cancelled")
    await here.holds("paris", "a", sellable=5, reserved=0)
    await left_clean(here)
    assert desk.all(ff.FulfilOrder, order_id=order) == []


async def test_an_address_that_is_missing_is_mended_by_a_change(desk: Desk, place: NewPlace) -> None:
    """Held with each reason, then accepted with the whole content stated again."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = here.order({"a": 1}, ship_to=ch.Party(name="Somebody"))
    answer = await ask(here, order)
    assert (answer.outcome, codes(answer)) == ("held", {"no_country", "no_street"})
    answer = await ask(here, change_request(here, order, {"a": 1}))
    assert answer.outcome == "accepted"
    assert (await desk.see(HoldResolved, order_id=order.order_id)).resolution == "release"
    [instruction] = await here.instructed(order.order_id)
    assert instruction.ship_to.city == "Paris"
    await deliver(here, instruction)
    await ended(here, order.order_id, "completed")
    await left_clean(here)


async def test_a_misspelt_field_is_named_in_the_answer(desk: Desk, place: NewPlace) -> None:
    """Unknown fields are accepted, and listed so that they don't vanish."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = here.order({"a": 1})
    content = ch.OrderContent.model_validate(order.order.model_dump() | {"deliver_byy": "tomorrow"})
    order = order.model_copy(update={"order": content})
    answer = await ask(here, order)
    assert (answer.outcome, answer.unknown_fields) == ("accepted", ("order.deliver_byy",))
    await deliver(here, *await here.instructed(order.order_id))
    await ended(here, order.order_id, "completed")
    await left_clean(here)


async def test_totals_that_do_not_add_up_to_the_cent_are_declined(desk: Desk, place: NewPlace) -> None:
    """Every wrong sum is named."""
    here = await place(items=("a",))
    order = here.order({"a": 2}, totals=ch.Totals(lines_minor=2001, total_minor=2000))
    answer = await ask(here, order)
    assert answer.outcome == "declined"
    assert [problem.field for problem in answer.problems] == ["order.totals.lines_minor"]
    await ended(here, order.order_id, "rejected")
    unknown = request(here, ch.CancelOrder, order_id_of(here.channel, "never-placed"))
    answer = await ask(here, unknown)
    assert (answer.outcome, codes(answer)) == ("declined", {"unknown_order"})
    await left_clean(here)


# ---- changes ----


async def test_a_change_of_address_reaches_the_location_before_it_picks(desk: Desk, place: NewPlace) -> None:
    """A whole new revision goes out; with the location's yes the change holds, and the reservation was never touched."""
    here = await place(items=("a",))
    await here.stock("paris", a=5)
    order = here.order({"a": 2})
    await ask(here, order)
    [instruction] = await here.instructed(order.order_id)
    lyon = ch.Party(name="Buyer", street=("2 rue Neuve",), postal_code="69001", city="Lyon", country="FR", latitude=45.8, longitude=4.8)
    wish = change_request(here, order, {"a": 2}, ship_to=lyon)
    await desk.say(wish)
    amended = await desk.see(ff.AmendOrder, order_id=order.order_id)
    assert (amended.revision, amended.ship_to.city, quantities(amended.lines)) == (2, "Lyon", {"a": 2})
    await desk.say(here.report(ff.AmendmentAnswered, instruction, revision=2, accepted=True))
    assert (await answered(desk, wish)).outcome == "accepted"
    assert (await desk.see(OrderChanged, order_id=order.order_id)).effect == "instructions"

    back = change_request(here, order, {"a": 2})
    await desk.say(back)
    await desk.see(ff.AmendOrder, order_id=order.order_id, revision=3)
    await desk.say(here.report(ff.AmendmentAnswered, instruction, revision=3, accepted=False))
    refused = await answered(desk, back)
    assert (refused.outcome, codes(refused)) == ("declined", {"too_late"})
    restored = await desk.see(ff.AmendOrder, order_id=order.order_id, revision=4)
    assert restored.ship_to.city == "Lyon"

    await pick(here, instruction)
    await desk.see(ff.LinesWerePicked, order_id=order.order_id)
    late = await ask(here, change_request(here, order, {"a": 2}))
    assert (late.outcome, codes(late)) == ("declined", {"too_late"})
    await deliver(here, instruction)
    await ended(here, order.order_id, "completed")
    await left_clean(here)
    assert len(desk.all(ReserveStock, order_id=order.order_id)) == 1


async def test_a_change_of_lines_before_work_starts_is_sourced_anew(desk: Desk, place: NewPlace) -> None:
    """The old reservations go, the whole order is planned again under new numbers, and only the new content is instructed."""
    here = await place(items=("a", "b"), grace_s=5)
    await here.stock("paris", a=5, b=5)
    order = here.order({"a": 2})
    await ask(here, order)
    await here.holds("paris", "a", sellable=5, reserved=2)
    answer = await ask(here, change_request(here, order, {"a": 1, "b": 3}))
    assert answer.outcome == "accepted"
    assert (await desk.see(OrderChanged, order_id=order.order_id)).effect == "demand"
    decision = await desk.see(OrderSourced, order_id=order.order_id, cause="change")
    assert [part.part_id for part in decision.parts] == [f"{order.order_id}/2"]
    await here.holds("paris", "a", sellable=5, reserved=1)
    await here.holds("paris", "b", sellable=5, reserved=3)
    [instruction] = await here.instructed(order.order_id)
    assert (instruction.fulfilment_order_id, quantities(instruction.lines)) == (f"{order.order_id}/2", {"a": 1, "b": 3})

    late = await ask(here, change_request(here, order, {"a": 4}))
    assert (late.outcome, codes(late)) == ("declined", {"too_late"})
    await deliver(here, instruction)
    status = await ended(here, order.order_id, "completed")
    assert {each.line_id: (each.ordered, each.handed_over) for each in status.lines if each.ordered} == {"a": (1, 1), "b": (3, 3)}
    await left_clean(here)


async def test_a_change_of_lines_while_the_order_waits_for_stock(desk: Desk, place: NewPlace) -> None:
    """What nobody has any more is no longer waited for."""
    here = await place(items=("a", "b"))
    await here.stock("paris", a=0, b=2)
    order = here.order({"a": 2})
    await ask(here, order)
    await desk.see(LinesBackordered, order_id=order.order_id)
    assert (await ask(here, change_request(here, order, {"b": 2}))).outcome == "accepted"
    [instruction] = await here.instructed(order.order_id)
    assert quantities(instruction.lines) == {"b": 2}
    await desk.say(moved(here, "paris", "a", "receipt", 5, "delivery:1"))
    await here.holds("paris", "a", sellable=5, reserved=0, atp=5)
    await deliver(here, instruction)
    await ended(here, order.order_id, "completed")
    await left_clean(here)


# ---- who orders ----


async def test_a_shop_is_replenished_and_a_business_buys(desk: Desk, place: NewPlace) -> None:
    """Every kind of order takes the same road; goods for a location go to its own address, businesses are served first."""
    here = await place(items=("a",))
    await desk.say(here.location_document("lyon", 1, name="Shop of Lyon", city="Lyon", postal_code="69001"))
    await desk.views_caught_up()
    await here.stock("paris", a=10)
    refill = here.order({"a": 4}, kind="replenishment", ship_to=None, delivery=ch.Delivery(method="home", location=here.at("lyon")))
    company = here.order({"a": 3}, kind="business", purchase_order="PO-7", sold_to=ch.Party(company="Company", country="FR"))
    await desk.say(refill, company)
    [to_shop], [to_company] = await here.instructed(refill.order_id), await here.instructed(company.order_id)
    assert (to_shop.location, to_shop.ship_to.name, to_shop.ship_to.city) == (here.at("paris"), "Shop of Lyon", "Lyon")
    ranks = {command.order_id: command.rank for command in await desk.sees(ReserveStock, 2, location=here.at("paris"))}
    assert ranks[company.order_id] < ranks[refill.order_id]
    await here.holds("paris", "a", sellable=10, reserved=7)
    await deliver(here, to_shop, to_company)
    for order in (refill, company):
        await ended(here, order.order_id, "completed")
    await left_clean(here)


@pytest.mark.parametrize("when", ["waiting", "scheduled"])
async def test_cancelling_before_any_location_is_told(desk: Desk, place: NewPlace, when: str) -> None:
    """Answered at once, line by line; more than there is counts as too late."""
    here = await place(items=("a", "b"), grace_s=600)
    await here.stock("paris", a=5 if when == "scheduled" else 0, b=5)
    order = await here.place({"a": 3, "b": 1})
    await desk.status_is(
        order, "accepted" if when == "scheduled" else "backordered", "accepted", where=lambda s: line(s, "b").get("reserved") == 1
    )
    assert words(await cancel(here, order, a=2)) == {"a": (2, 0)}
    assert words(await cancel(here, order, a=5)) == {"a": (1, 4)}
    status = await desk.status_is(order, where=lambda document: line(document, "a").get("cancelled") == 3)
    assert line(status, "a") == {"ordered": 3, "cancelled": 3}
    await here.holds("paris", "a", reserved=0)
    await here.holds("paris", "b", reserved=1)
    assert words(await cancel(here, order)) == {"b": (1, 0)}
    await ended(here, order, "cancelled")
    await left_clean(here)
    assert desk.all(ff.FulfilOrder, order_id=order) == []
