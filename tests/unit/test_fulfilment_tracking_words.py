"""What people are told when news contradict each other or belong to nobody, and which rows such news need."""

from __future__ import annotations

import pytest

from schemas.fulfilment import FulfilmentExceptionOpened
from schemas.returns import ReturnExceptionOpened
from services.fulfilment_tracking.service import service
from services.fulfilment_tracking.state import order_key, parcel_key
from shared.kernel.model import Need, Woken
from tests.support.fulfilment_tracking import ORDER, PART, at_work, exceptions, part, ships, sourced, takes_on, tracking
from tests.support.spec import START


def test_a_decision_about_an_order_nobody_accepted_is_told() -> None:
    spec = tracking()
    spec.when(sourced(part(shirt=1)), overdue=True)
    assert spec.of(FulfilmentExceptionOpened)[0] == FulfilmentExceptionOpened(
        order_id=ORDER,
        exception_id=f"{ORDER}#fulfilment-1",
        kind="unknown_order",
        detail=f"OrderSourced arrived for {ORDER}, which order_capture has not accepted.",
        action="Find out where the order got lost; nothing of it is instructed.",
    )


def test_each_order_nobody_accepted_is_told_once() -> None:
    spec = tracking()
    spec.when(sourced(part(shirt=1)), overdue=True)
    spec.when(sourced(part(2, mug=1)), overdue=True)
    assert not spec.of(FulfilmentExceptionOpened)
    assert [(trouble.kind, trouble.about) for trouble in spec.state("order", ORDER).troubles] == [("unknown_order", ORDER)]


def test_a_report_that_came_again_with_other_content_is_told() -> None:
    spec = at_work(shirt=1).given(takes_on())
    spec.when(takes_on(at=2), changed=True)
    spec.then(
        FulfilmentExceptionOpened(
            order_id=ORDER,
            exception_id=f"{ORDER}#fulfilment-1",
            kind="contradiction",
            detail="paris sent the same WorkAccepted again with other content.",
            action="Compare the order's status with the location's own books.",
        )
    )
    (trouble,) = spec.state("order", ORDER).troubles
    assert trouble.about == f"{PART}:WorkAccepted:again"


def test_what_returns_asks_a_person_stands_in_the_orders_status() -> None:
    spec = at_work(shirt=1)
    spec.when(ReturnExceptionOpened(order_id=ORDER, exception_id=f"{ORDER}/x1", kind="unexpected_goods", detail="a toaster", action="look"))
    assert exceptions(spec) == ["unexpected_goods"]


@pytest.mark.parametrize("unnamed", [{"tracking_number": None}, {"carrier": None}])
def test_a_parcel_without_its_carriers_number_needs_its_order_only(unnamed: dict[str, None]) -> None:
    named = ships(shirt=1)
    assert service.keys(named, {}) == Need((order_key(ORDER), parcel_key("post:T-p1")))
    assert service.keys(named.model_copy(update=unnamed), {}) == Need((order_key(ORDER),))


def test_a_timer_nobody_set_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no timer is called tea:1"):
        at_work(shirt=1).when(Woken(order_key(ORDER), "tea:1", START))
