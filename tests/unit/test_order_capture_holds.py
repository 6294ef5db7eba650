"""Holds: set and resolved one by one, before or after acceptance, or ended by their deadline."""

from __future__ import annotations

from datetime import timedelta

from schemas.channel import AnsweredLine, RequestAnswered
from schemas.orders import CancellationRequested, HoldResolved, LinesCancelled, OrderAccepted, OrderClosed, OrderHeld
from schemas.payments import VoidPayment
from schemas.reference import Channel, Item
from tests.support.order_capture import (
    ORDER,
    answered,
    capture,
    change,
    content,
    handed_over,
    hold,
    paid,
    passed_on,
    place,
    quantities,
    resolve,
    shipped,
    shirts,
)
from tests.support.spec import START, Spec


def names(spec: Spec) -> list[str]:
    return [type(message).__name__ for message in spec.published]


def outcome(spec: Spec) -> tuple[str, list[str]]:
    """Of the one answer, with the codes of its problems."""
    (answer,) = spec.of(RequestAnswered)
    return answer.outcome, [problem.code for problem in answer.problems]


def test_a_hold_after_acceptance_is_announced_with_its_deadline() -> None:
    capture().given(place()).when(hold(hours=5)).then(
        RequestAnswered(order_id=ORDER, request_id="hold-1", request="HoldOrder", outcome="accepted"),
        OrderHeld(
            order_id=ORDER,
            hold_id="fraud-1",
            type="fraud",
            before_acceptance=False,
            deadline=START + timedelta(hours=5),
        ),
    )


def test_holds_are_resolved_one_by_one() -> None:
    spec = capture().given(place(), hold(), hold("credit-1", "hold-2"))
    spec.when(resolve("fraud-1"))
    assert spec.of(HoldResolved)[0].open_holds == ("credit-1",)
    spec.when(resolve("credit-1", request_id="resolve-2"))
    assert spec.of(HoldResolved)[0].open_holds == ()


def test_a_held_order_goes_on_only_when_its_last_hold_is_resolved() -> None:
    spec = capture().given(place(content(shirts(sku="coat"))), hold())
    assert spec.state("order", ORDER).stage == "held"
    coat = Item(sku="coat")
    spec.documents(coat).when(coat)
    assert names(spec) == ["HoldResolved"]
    spec.when(resolve())
    assert names(spec) == ["RequestAnswered", "HoldResolved", "OrderAccepted"]


def test_an_unknown_item_cannot_be_released_by_hand() -> None:
    spec = capture().given(place(content(shirts(sku="coat")))).when(resolve("item"))
    assert outcome(spec) == ("declined", ["unknown_item"])


def test_a_person_may_let_an_unpaid_order_pass() -> None:
    spec = capture().given(place(paid(status="pending"))).when(resolve("payment"))
    assert names(spec) == ["RequestAnswered", "HoldResolved", "OrderAccepted"]


def test_a_held_order_is_cancelled_when_its_deadline_comes() -> None:
    """And what was authorised for it is given up."""
    spec = capture(Channel(channel="web", hold_deadline_s=60)).given(place(paid(amount_minor=100)))
    spec.advance(timedelta(seconds=59)).then()
    spec.advance(timedelta(seconds=1))
    assert names(spec) == ["HoldResolved", "LinesCancelled", "OrderClosed", "VoidPayment"]
    assert spec.of(HoldResolved)[0].resolution == "expired"
    assert spec.of(OrderClosed)[0].outcome == "cancelled"
    assert spec.of(VoidPayment)[0].amount_minor == 100


def test_at_its_deadline_an_order_is_looked_at_once_more() -> None:
    spec = capture(Channel(channel="web", hold_deadline_s=30)).given(place(content(shirts(sku="coat"))))
    spec.documents(Item(sku="coat")).advance(timedelta(seconds=30))
    assert names(spec) == ["HoldResolved", "OrderAccepted"]


def test_no_hold_outlives_the_instant_by_which_the_order_must_be_accepted() -> None:
    spec = capture().when(place(content(shirts(sku="coat"), accept_by=START + timedelta(hours=1))))
    assert spec.of(OrderHeld)[0].deadline == START + timedelta(hours=1)


def test_after_acceptance_an_expired_hold_stays_until_its_cancellation_is_answered() -> None:
    """So that no location takes the work up in between."""
    spec = capture().given(place(), hold(hours=1)).advance(timedelta(hours=1))
    (request,) = spec.of(CancellationRequested)
    assert names(spec) == ["CancellationRequested"]
    assert request.lines == quantities(shirts=2, mug=1)
    spec.when(passed_on(request.request_id, {"shirts": 2, "mug": 1})).then(
        LinesCancelled(order_id=ORDER, request_id=request.request_id, lines=request.lines, reason="hold fraud-1 expired"),
        HoldResolved(order_id=ORDER, hold_id="fraud-1", resolution="expired"),
        OrderClosed(order_id=ORDER, outcome="cancelled"),
    )


def test_resolving_by_cancelling_is_answered_with_the_last_word_per_line() -> None:
    spec = capture().given(place(), hold()).when(resolve(resolution="cancel"))
    assert names(spec) == ["CancellationRequested"]
    spec.when(passed_on("resolve-1", {"shirts": 2}, {"mug": 1})).then()
    spec.when(answered("resolve-1", mug=1))
    (answer,) = spec.of(RequestAnswered)
    assert answer.lines == (AnsweredLine(line_id="shirts", done=2), AnsweredLine(line_id="mug", too_late=1))
    assert names(spec) == ["LinesCancelled", "RequestAnswered", "HoldResolved"]


def test_resolving_by_cancelling_ends_a_held_order() -> None:
    spec = capture().given(place(content(shirts(sku="coat")))).when(resolve("item", "cancel"))
    assert names(spec) == ["HoldResolved", "RequestAnswered", "LinesCancelled", "OrderClosed"]


def test_requests_that_make_no_sense_are_declined() -> None:
    spec = capture().when(hold())
    assert outcome(spec) == ("declined", ["unknown_order"])
    spec.given(place(), hold(request_id="hold-2"))
    assert outcome(spec.when(hold(request_id="hold-3"))) == ("declined", ["hold_exists"])
    assert outcome(spec.when(hold("other", "hold-4", hours=-1))) == ("declined", ["deadline_passed"])
    assert outcome(spec.when(resolve("nothing"))) == ("declined", ["no_such_hold"])
    spec.given(shipped(shirts=2, mug=1))
    assert outcome(spec.when(hold("late", "hold-5"))) == ("declined", ["too_late"])


def test_holds_end_with_their_order() -> None:
    spec = capture().given(place(), hold()).when(handed_over(shirts=2, mug=1))
    assert [resolved.resolution for resolved in spec.of(HoldResolved)] == ["release"]
    assert outcome(spec.when(hold("late", "hold-9"))) == ("declined", ["order_closed"])
    spec.advance(timedelta(days=30)).then()


def test_a_change_does_not_lose_a_channels_hold() -> None:
    spec = capture().given(place(content(shirts(sku="coat"))), hold()).when(change(content()))
    assert spec.of(RequestAnswered)[0].outcome == "held"
    assert spec.of(OrderAccepted) == []
    assert len(spec.when(resolve()).of(OrderAccepted)) == 1
