"""Answers and reports about orders nobody accepted, requests of orders that ended, and the queues that inputs look at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas import forms
from schemas.forms import Form
from schemas.fulfilment import FactLine, ParcelWasShipped
from schemas.inventory import Level, ReleaseStock, ReservationReleased, ReservationShorted, ReservedLine, StockReserved
from schemas.orders import OrderClosed
from schemas.sourcing import ChangePassedOn, SourcingExceptionOpened
from services.sourcing.decide import KEEP_S
from services.sourcing.service import service
from services.sourcing.state import order_key, queue_key
from shared.kernel.model import Keep, Need, Woken
from tests.support.sourcing import ORDER, Inventory, Trade, accepted, change_requested, goods, place
from tests.support.spec import START, Spec, in_form

PART = f"{ORDER}/1"


@pytest.fixture
def sourcing() -> Spec:
    return Spec(service)


def reserved() -> StockReserved:
    return StockReserved(
        part_id=PART,
        order_id=ORDER,
        location="a",
        lines=(ReservedLine(line_id="1", sku="tea", asked=1, reserved=1),),
        levels=(Level(sku="tea", location="a", version=1, sellable=1, reserved=1, atp=0),),
    )


def ended(kind: type[ReservationReleased] | type[ReservationShorted]) -> Any:
    inventory = Inventory()
    inventory.put("tea", "a", 1)
    inventory.held[PART] = {"1": ("tea", "a", 1)}
    return inventory.end(PART, "cancelled", ("1", 1)) if kind is ReservationReleased else inventory.short(PART, ("1", 1))


def left() -> ParcelWasShipped:
    return ParcelWasShipped(
        order_id=ORDER,
        fulfilment_order_id=PART,
        location="a",
        occurred_at=START,
        parcel_id="p1",
        carrier="post",
        tracking_number="T1",
        lines=(FactLine(line_id="1", sku="tea", quantity=1),),
    )


def stray(name: str) -> SourcingExceptionOpened:
    return SourcingExceptionOpened(
        order_id=ORDER,
        exception_id=f"{ORDER}:unknown:{name}",
        kind="unexpected_answer",
        detail=f"{name} came for an order that was never accepted",
        action="Find out who reported it; nothing was booked.",
    )


# ---- about an order nobody accepted ----


@pytest.mark.parametrize("body", [reserved(), ended(ReservationReleased), left()], ids=["answer", "end", "report"])
def test_what_is_about_an_order_not_accepted_yet_is_kept_for_it(sourcing: Spec, body: Any) -> None:
    sourcing.when(body)
    sourcing.then()
    assert [keep for keep, _ in sourcing.kept] == [Keep(order_key(ORDER), START + timedelta(seconds=KEEP_S))]


def test_a_reservation_for_an_order_never_accepted_is_given_back(sourcing: Spec) -> None:
    sourcing.when(reserved(), overdue=True)
    sourcing.then(
        ReleaseStock(part_id=PART, order_id=ORDER, location="a", reason="unexpected"),
        SourcingExceptionOpened(
            order_id=ORDER,
            exception_id=f"{PART}:unexpected",
            kind="unexpected_answer",
            detail="location a reserved stock for a part that isn't waiting for it",
            action="Check the part's history; a reservation of an unknown part was given back.",
        ),
    )


def test_a_reservation_that_ended_for_an_order_never_accepted_is_told(sourcing: Spec) -> None:
    sourcing.when(ended(ReservationReleased), overdue=True)
    sourcing.then(stray("ReservationReleased"))


def test_a_parcel_of_an_order_never_accepted_is_told(sourcing: Spec) -> None:
    sourcing.when(left(), overdue=True)
    sourcing.then(stray("ParcelWasShipped"))


# ---- which queues an input looks at ----


@pytest.mark.parametrize(
    ("kind", "form"), [(ReservationReleased, forms.ReservationReleased), (ReservationShorted, forms.ReservationShorted)]
)
def test_units_that_lost_their_stock_may_wait_in_the_queues_of_their_items(
    kind: type[ReservationReleased] | type[ReservationShorted], form: type[Form]
) -> None:
    assert service.keys(in_form(form, ended(kind)), {}) == Need((order_key(ORDER), queue_key("tea")))


def test_an_answer_that_reserves_needs_its_order_only() -> None:
    assert service.keys(reserved(), {}) == Need((order_key(ORDER),))


# ---- timers ----


def test_a_timer_nobody_set_is_a_mistake(sourcing: Spec) -> None:
    with pytest.raises(ValueError, match="nobody set a timer named 'tea:1': a release that knows it must run"):
        sourcing.when(Woken(order_key(ORDER), "tea:1", START))


def test_stock_that_arrives_is_looked_at_soon_again_and_an_idle_queue_ever_later() -> None:
    trade = Trade(place("a")).stock({("tea", "a"): 0})
    trade.run(accepted(goods("1", "tea")))
    queue = trade.spec.state("queue", "tea")
    trade.advance(queue.look_at - trade.spec.now)
    looked = trade.spec.state("queue", "tea")
    assert looked.looks == queue.looks + 1
    trade.tell(trade.arrive("jam", "a", 1))
    assert trade.spec.state("queue", "tea").looks == looked.looks
    trade.tell(trade.arrive("tea", "a", 0))
    assert trade.spec.state("queue", "tea").looks == 0


def test_a_change_of_an_order_that_is_over_is_declined() -> None:
    trade = Trade(place("a")).stock({("tea", "a"): 1})
    trade.run(accepted(goods("1", "tea")), OrderClosed(order_id=ORDER, outcome="cancelled"))
    assert trade.tell(change_requested(goods("1", "tea", 2))) == [
        ChangePassedOn(order_id=ORDER, request_id="change-1", accepted=False, passed_on=False, demand_changed=True)
    ]
