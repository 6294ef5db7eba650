"""Placing: valid, held with every reason, or declined; once per channel and reference."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from schemas.channel import Discount, Party, Problem, RequestAnswered, Tax, Totals
from schemas.orders import (
    Contact,
    Destination,
    HoldResolved,
    OrderAccepted,
    OrderClosed,
    OrderHeld,
    OrderInvoiced,
    OrderLine,
    OrderRejected,
    OrderSnapshot,
    PackingSlip,
)
from schemas.payments import VoidPayment
from schemas.reference import Channel, Item
from services.order_capture.service import service
from shared.kernel.model import Unreadable
from shared.kernel.rows import RowCodec
from shared.value import decoder
from tests.support.order_capture import (
    ADDRESS,
    ORDER,
    authorised,
    capture,
    change,
    collected_at,
    content,
    mug,
    paid,
    place,
    shipping,
    shirts,
)
from tests.support.spec import START, as_stored


def said(outcome: str, *problems: Problem, request: str = "PlaceOrder", request_id: str = "place-1") -> RequestAnswered:
    return RequestAnswered.model_validate(
        {
            "order_id": ORDER,
            "request_id": request_id,
            "request": request,
            "outcome": outcome,
            "problems": problems,
        }
    )


def codes(answer: RequestAnswered) -> list[str]:
    return [problem.code for problem in answer.problems]


SNAPSHOT = OrderSnapshot(
    revision=1,
    channel="web",
    kind="consumer",
    policy="default",
    placed_at=START,
    currency="EUR",
    lines=(
        OrderLine(line_id="shirts", sku="shirt", gtin="4006381333931", quantity=2, weight_g=200, net_minor=2000),
        OrderLine(line_id="mug", sku="mug", quantity=1, net_minor=501),
    ),
    total_minor=2501,
    payment_terms="on_account",
    method="home",
    destination=Destination(country="FR", postal_code="69001"),
    ship_to=Contact(name="A Buyer", street=("1 rue A",), postal_code="69001", city="Lyon", country="FR", email="a@example.org"),
    packing_slip=PackingSlip(order_ref=ORDER.partition(":")[2], legal_entity="main"),
)


def test_a_valid_order_is_accepted_with_its_whole_snapshot() -> None:
    """The item's data and the line's share of the price are in it; personal data only in `ship_to`."""
    capture().when(place()).then(said("accepted"), OrderAccepted(order_id=ORDER, order=SNAPSHOT))


def test_what_the_packing_slip_says_travels_with_the_order() -> None:
    """The order's number as the buyer knows it; the channel's company where the order names none."""
    stated = content(display_ref="#1001", brand="bleue", purchase_order="PO 7", note="Ring twice")
    spec = capture(Channel(channel="web", legal_entity="maison-bleue")).when(place(stated))
    slip = PackingSlip(order_ref="#1001", legal_entity="maison-bleue", brand="bleue", purchase_order="PO 7", note="Ring twice")
    assert spec.of(OrderAccepted)[0].order.packing_slip == slip


def test_discounts_and_taxes_on_top_are_in_the_net_of_each_line() -> None:
    line = shirts(discounts=(Discount(amount_minor=150),), taxes=(Tax(rate_ppm=200_000, amount_minor=370),))
    spec = capture().when(place(content(line, charges=(shipping(490),), taxes_included=False)))
    order = spec.of(OrderAccepted)[0].order
    assert (order.lines[0].net_minor, order.charges_minor, order.total_minor) == (2220, 490, 2710)


@pytest.mark.parametrize("named", [{"gtin": "4006381333931"}, {"sku": "unheard-of", "gtin": "4006381333931"}])
def test_an_item_is_found_by_its_gtin(named: dict[str, str]) -> None:
    line = shirts().model_copy(update={"sku": None} | named)
    spec = capture().when(place(content(line)))
    assert spec.of(OrderAccepted)[0].order.lines[0].sku == "shirt"


def test_an_item_is_found_by_the_channels_own_sku() -> None:
    spec = capture().when(place(content(mug(sku=None, channel_sku="M-1"))))
    assert spec.of(OrderAccepted)[0].order.lines[0].sku == "mug"


def test_scenario_20_same_reference_and_content_gets_the_same_answer_again() -> None:
    """Whoever sends it, and under whatever request id."""
    spec = capture().given(place())
    spec.when(place(request_id="place-2", actor="somebody else"))
    spec.then(said("accepted", request_id="place-2").model_copy(update={"repeated": True}))


def test_scenario_20_same_reference_with_other_content_is_a_conflict() -> None:
    """The first order stands untouched."""
    spec = capture().given(place())
    before = spec.state("order", ORDER).snapshot
    spec.when(place(content(shirts(3)), request_id="place-2"))
    assert [answer.outcome for answer in spec.of(RequestAnswered)] == ["conflict"]
    assert len(spec.published) == 1
    assert spec.state("order", ORDER).snapshot == before


def test_the_same_request_id_for_another_request_is_a_conflict() -> None:
    spec = capture().given(place())
    spec.when(change(content(shirts(3)), request_id="place-1"))
    assert len(spec.published) == 1
    assert [answer.outcome for answer in spec.of(RequestAnswered)] == ["conflict"]


def test_every_reason_is_collected() -> None:
    """Of an unknown channel, a location nobody knows, an unknown item, and totals that don't add up."""
    drawn = content(shirts(sku="nothing"), delivery=collected_at("nowhere"), totals=Totals(lines_minor=1, total_minor=2))
    spec = capture().when(place(drawn, channel="elsewhere"))
    answer = spec.of(RequestAnswered)[0]
    assert codes(answer) == ["unknown_location", "unknown_channel", "unknown_item", "totals_differ", "totals_differ"]
    assert answer.outcome == "declined"


def test_a_rejected_order_ends_and_its_money_is_given_back() -> None:
    spec = capture(Channel(channel="web", unknown_item="reject")).when(place(paid(shirts(sku="nothing"))))
    problem = Problem(code="unknown_item", field="order.lines.0", message="Nobody knows sku:nothing.", remedy="Publish the item.")
    void = spec.of(VoidPayment)[0]
    assert (void.payment_id, void.amount_minor) == ("card", 2000)
    spec.then(
        said("declined", problem),
        OrderRejected(order_id=ORDER, channel="web", problems=(problem,)),
        OrderClosed(order_id=ORDER, outcome="rejected"),
        void,
    )


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        (Channel(channel="web", active=False), "inactive_channel"),
        (Channel(channel="web", currency="CHF"), "wrong_currency"),
    ],
)
def test_a_channel_that_does_not_sell_this_way_is_declined(channel: Channel, code: str) -> None:
    spec = capture(channel).when(place())
    assert codes(spec.of(RequestAnswered)[0]) == [code]


@pytest.mark.parametrize(
    ("location", "method", "code"),
    [("nowhere", "click_and_collect", "unknown_location"), ("paris-01", "locker", "method_not_served")],
)
def test_the_place_of_collection_is_known_and_capable(location: str, method: str, code: str) -> None:
    spec = capture().when(place(content(delivery=collected_at(location, method))))
    assert codes(spec.of(RequestAnswered)[0]) == [code]


def test_a_collected_order_needs_no_address_and_goes_to_its_store() -> None:
    drawn = content(ship_to=None, sold_to=Party(name="A Buyer"), delivery=collected_at("paris-01"))
    order = capture().when(place(drawn)).of(OrderAccepted)[0].order
    assert (order.collect_at, order.destination.postal_code, order.ship_to.name) == ("paris-01", "75001", "A Buyer")


def test_a_replenishment_goes_to_the_location_it_names() -> None:
    drawn = content(kind="replenishment", ship_to=None, delivery=collected_at("paris-01", "home"))
    order = capture().when(place(drawn)).of(OrderAccepted)[0].order
    assert (order.kind, order.collect_at, order.ship_to.postal_code) == ("replenishment", None, "75001")


def test_unknown_fields_are_listed_and_not_kept() -> None:
    drawn = content(shirts(deliver_byy="tomorrow")).model_dump(mode="json")
    request = place().model_dump(mode="json") | {"order": drawn, "hurry": "\x00"}
    spec = capture().when(type(place()).model_validate_json(json.dumps(request)))
    assert spec.of(RequestAnswered)[0].unknown_fields == ("hurry", "order.lines.0.deliver_byy")


def test_unknown_items_hold_the_order_until_they_arrive() -> None:
    """Both of them: the first alone doesn't let it go on."""
    lines = (shirts(sku="coat"), mug(sku=None, gtin="96385074"))
    spec = capture().when(place(content(*lines)))
    held = spec.of(OrderHeld)[0]
    assert (held.type, held.before_acceptance, held.deadline) == ("item", True, START + timedelta(days=7))
    assert codes(spec.of(RequestAnswered)[0]) == ["unknown_item", "unknown_item"]

    coat, cup = Item(sku="coat"), Item(sku="cup", gtins=("96385074",))
    spec.documents(coat).when(coat).then()
    spec.documents(cup).when(cup)
    assert [type(message) for message in spec.published] == [HoldResolved, OrderAccepted]
    assert not [state for key, state in spec.world.states.items() if key.kind != "order"]


def test_an_order_waits_for_its_channel() -> None:
    """Its document may come later than the first order does."""
    spec = capture().when(place(channel="pop-up"))
    assert codes(spec.of(RequestAnswered)[0]) == ["unknown_channel"]
    assert [(held.hold_id, held.type) for held in spec.of(OrderHeld)] == [("channel", "other")]

    opened = Channel(channel="pop-up")
    spec.documents(opened).when(opened)
    assert [type(message) for message in spec.published] == [HoldResolved, OrderAccepted]
    assert not [state for key, state in spec.world.states.items() if key.kind != "order"]


def test_a_channel_that_arrives_and_does_not_sell_this_way_is_the_new_reason_to_hold() -> None:
    spec = capture().given(place(channel="pop-up"))
    opened = Channel(channel="pop-up", currency="CHF")
    spec.documents(opened).when(opened, repeat_yields="a document wakes whoever waits for it, and waits again: rows of waiters change")
    assert spec.of(OrderAccepted) == []
    opened = Channel(channel="pop-up", currency="EUR")
    spec.documents(opened).when(opened)
    assert len(spec.of(OrderAccepted)) == 1


def test_many_orders_that_wait_for_one_item_are_woken_page_by_page() -> None:
    spec = capture()
    for number in range(250):
        spec.given(place(content(shirts(sku="coat")), channel_order_ref=str(number)))
    assert spec.state("awaited", "sku:coat").waiting == 250
    coat = Item(sku="coat")
    assert len(spec.documents(coat).when(coat).of(OrderAccepted)) == 250
    assert spec.state("awaited", "sku:coat") is None


def test_an_item_that_arrived_just_before_the_order_began_to_wait_is_noticed() -> None:
    """Its arrival was decided elsewhere, before the wait was written down; a second look finds it."""
    spec = capture().given(place(content(shirts(sku="coat"))))
    spec.documents(Item(sku="coat")).advance(timedelta(seconds=60))
    assert len(spec.of(OrderAccepted)) == 1


def test_an_incomplete_address_is_mended_by_a_change() -> None:
    spec = capture().when(place(content(ship_to=Party(name="A Buyer"))))
    assert codes(spec.of(RequestAnswered)[0]) == ["no_country", "no_street"]
    assert [held.type for held in spec.of(OrderHeld)] == ["address"]
    spec.when(change(content(ship_to=ADDRESS))).then(
        said("accepted", request="ChangeOrder", request_id="change-1"),
        HoldResolved(order_id=ORDER, hold_id="address", resolution="release"),
        OrderAccepted(order_id=ORDER, order=SNAPSHOT),
    )


def test_a_change_of_a_held_order_that_is_no_better_is_declined_and_changes_nothing() -> None:
    spec = capture().given(place(content(ship_to=Party(name="A Buyer"))))
    before = spec.state("order", ORDER).content
    spec.when(change(content(totals=Totals(lines_minor=0, total_minor=0))))
    assert len(spec.published) == 1
    assert [answer.outcome for answer in spec.of(RequestAnswered)] == ["declined"]
    assert spec.state("order", ORDER).content == before


def test_wrong_totals_are_rejected_or_held_as_the_channel_likes() -> None:
    wrong = content(totals=Totals(lines_minor=2500, total_minor=2500))
    assert capture().when(place(wrong)).of(RequestAnswered)[0].outcome == "declined"
    lenient = capture(Channel(channel="web", bad_totals="hold")).when(place(wrong))
    assert lenient.of(RequestAnswered)[0].outcome == "held"
    assert [held.type for held in lenient.of(OrderHeld)] == ["other"]


def test_an_order_waits_until_its_payments_cover_it() -> None:
    spec = capture().when(place(paid(status="pending")))
    assert [held.type for held in spec.of(OrderHeld)] == ["payment"]
    spec.when(authorised(2500)).then()
    spec.when(authorised(1, minute=1))
    assert [type(message) for message in spec.published] == [HoldResolved, OrderAccepted]


def test_a_channel_may_let_unpaid_orders_go_on() -> None:
    spec = capture(Channel(channel="web", unpaid="accept")).when(place(paid(status="pending")))
    assert spec.of(RequestAnswered)[0].outcome == "accepted"


def test_a_payment_reported_before_its_order_counts() -> None:
    spec = capture().given(authorised(2501))
    spec.when(place(paid(status="pending")))
    assert len(spec.of(OrderAccepted)) == 1


def test_services_alone_are_handed_over_at_once() -> None:
    card = mug(kind="gift_card", sku=None, quantity=1)
    spec = capture().when(place(paid(card)))
    names = [type(message).__name__ for message in spec.published]
    assert names == ["RequestAnswered", "OrderAccepted", "OrderInvoiced", "CapturePayment", "OrderClosed"]
    assert spec.of(OrderInvoiced)[0].amount_minor == 501


def test_amounts_no_message_can_carry_are_refused() -> None:
    huge = shirts(quantity=1_000_000_000, unit_price_minor=1_000_000_000_000)
    drawn = content(shirts()).model_copy(update={"lines": (huge,)})
    assert "amount_too_large" in codes(capture().when(place(drawn)).of(RequestAnswered)[0])


def test_discounts_beyond_the_price_are_refused() -> None:
    drawn = content(mug(), shirts(quantity=1, unit_price_minor=100, discounts=(Discount(amount_minor=101),)))
    assert codes(capture().when(place(drawn)).of(RequestAnswered)[0]) == ["negative_amount"]


def test_an_unreadable_request_is_answered() -> None:
    problem = Problem(code="unreadable", message="not JSON")
    spec = capture().when(Unreadable(ORDER, "no such type", None, (problem,)))
    spec.then(RequestAnswered(order_id=ORDER, request_id=None, request="unknown", outcome="declined", problems=(problem,)))


def test_every_kind_and_event_can_be_stored() -> None:
    for kind in service.kinds:
        assert RowCodec(kind).kind is kind
        assert all(decoder(event) for event in kind.events)


def test_the_state_survives_being_stored() -> None:
    spec = capture().given(place(content(ship_to=Party(name="A Buyer", latitude=1.5))))
    state = spec.state("order", ORDER)
    assert as_stored(state) == state
