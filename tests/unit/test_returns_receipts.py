"""Goods that are back at a location: less, more, unasked, elsewhere, twice, out of order, or of nobody."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from schemas.returns import ReturnAuthorised, ReturnExceptionOpened, ReturnReceived
from services.returns.service import service
from services.returns.state import Parcel, parcel_key
from shared.kernel.model import Input, Keep
from tests.support.returns import (
    ORDER,
    accepted,
    came_back,
    handed_over,
    inspected,
    received,
    request,
    shipped,
    units,
)
from tests.support.spec import START, Spec

R1, R2 = f"{ORDER}/r1", f"{ORDER}/r2"


@pytest.fixture
def returns() -> Spec:
    return Spec(service)


@pytest.fixture
def delivered(returns: Spec) -> Spec:
    """Two mugs, a lamp, and another lamp as a gift, all with the buyer."""
    returns.given(accepted(line_1=2, line_2=1, line_3=1))
    return returns.given(handed_over("line-1", 2), handed_over("line-2", 1), handed_over("line-3", 1))


def back(return_id: str | None = R1, receipt: str = "R1", location: str = "paris-01", **quantities: int) -> ReturnReceived:
    """Goods announced at paris-01, all of them expected."""
    return ReturnReceived(
        order_id=ORDER,
        return_id=return_id,
        receipt_id=receipt,
        location=location,
        announced_at_location="paris-01" if return_id else None,
        lines=units(**quantities),
    )


def exceptions(returns: Spec) -> list[str]:
    return [opened.kind for opened in returns.of(ReturnExceptionOpened)]


def test_what_was_announced_comes_back(delivered: Spec) -> None:
    delivered.given(request(line_1=2))
    delivered.when(received(("line-1", "mug", 2), return_id=R1))
    delivered.then(back(line_1=2))


def test_scenario_09_a_return_is_received_at_another_location_than_announced(delivered: Spec) -> None:
    delivered.given(request(return_to="paris-01", line_1=1))
    delivered.when(received(("line-1", "mug", 1), return_id=R1, location="lyon-02"))
    delivered.then(back(location="lyon-02", line_1=1))


def test_less_than_announced_leaves_the_rest_expected(delivered: Spec) -> None:
    delivered.given(request(line_1=2, line_2=1))
    delivered.when(received(("line-1", "mug", 1), return_id=R1))
    delivered.then(back(line_1=1).model_copy(update={"missing": units(line_1=1, line_2=1)}))
    delivered.when(received(("line-1", "mug", 1), ("line-2", "lamp", 1), return_id=R1, receipt="R2"))
    delivered.then(back(receipt="R2", line_1=1, line_2=1))
    assert delivered.state("purchase", ORDER).ended == {R1: "received"}


def test_more_than_announced_is_received_as_unexpected(delivered: Spec) -> None:
    delivered.given(request(line_1=1))
    delivered.when(received(("line-1", "mug", 2), return_id=R1))
    delivered.then(back(line_1=2).model_copy(update={"unexpected": units(line_1=1)}))


def test_what_nobody_announced_is_received_as_unexpected(delivered: Spec) -> None:
    delivered.when(received(("line-1", "mug", 1), order_id=ORDER))
    delivered.then(back(None, line_1=1).model_copy(update={"unexpected": units(line_1=1)}))


def test_a_receipt_that_names_only_the_order_finds_its_returns_oldest_first(delivered: Spec) -> None:
    delivered.given(request("ask-1", line_1=1), request("ask-2", line_1=1))
    delivered.when(received(("line-1", "mug", 2), order_id=ORDER))
    delivered.then(back(R1, line_1=1), back(R2, line_1=1))


def test_a_receipt_that_names_a_return_finds_that_one_first(delivered: Spec) -> None:
    delivered.given(request("ask-1", line_1=1), request("ask-2", line_1=1))
    delivered.when(received(("line-1", "mug", 1), return_id=R2))
    delivered.then(back(R2, line_1=1))


def test_scenario_10_goods_beyond_what_was_bought_are_booked_with_an_exception(delivered: Spec) -> None:
    delivered.when(received(("line-1", "mug", 3), order_id=ORDER))
    (told,) = delivered.of(ReturnReceived)
    assert (told.lines, told.unexpected) == (units(line_1=3), units(line_1=3))
    assert delivered.of(ReturnExceptionOpened) == [
        ReturnExceptionOpened(
            order_id=ORDER,
            exception_id=f"{ORDER}/x1",
            kind="more_than_handed_over",
            location="paris-01",
            detail="receipt R1 at paris-01: 1 x line-1 more than were handed over",
            action="Count again and find out whose they are. Nothing is credited beyond what was handed over.",
        )
    ]


def test_scenario_12_running_totals_make_repeats_and_disorder_harmless(delivered: Spec) -> None:
    delivered.given(received(("line-1", "mug", 2), order_id=ORDER))
    delivered.when(received(("line-1", "mug", 1), order_id=ORDER))
    delivered.then()
    delivered.when(received(("line-1", "mug", 2), ("line-2", "lamp", 1), order_id=ORDER))
    delivered.then(back(None, line_2=1).model_copy(update={"unexpected": units(line_2=1)}))


def test_two_receipts_are_two_deliveries(delivered: Spec) -> None:
    delivered.given(received(("line-1", "mug", 1), order_id=ORDER, receipt="R1"))
    delivered.when(received(("line-1", "mug", 1), order_id=ORDER, receipt="R1", location="lyon-02"))
    assert delivered.of(ReturnReceived)[0].lines == units(line_1=1)
    assert delivered.state("purchase", ORDER).line("line-1").received == 2


def test_goods_without_a_line_go_to_the_line_that_expects_them(delivered: Spec) -> None:
    delivered.given(request(line_3=1))
    delivered.when(received((None, "lamp", 1), return_id=R1))
    delivered.then(back(line_3=1))


def test_goods_without_a_line_spread_over_all_lines_of_their_item(delivered: Spec) -> None:
    delivered.when(received((None, "lamp", 3), order_id=ORDER))
    (told,) = delivered.of(ReturnReceived)
    assert sum(line.quantity for line in told.lines) == 3
    assert exceptions(delivered) == ["more_than_handed_over"]


def test_a_total_without_a_line_counts_beside_the_lines_of_its_report(delivered: Spec) -> None:
    delivered.when(received(("line-2", "lamp", 1), (None, "lamp", 1), order_id=ORDER))
    assert delivered.of(ReturnReceived)[0].lines == units(line_2=1, line_3=1)
    delivered.when(received((None, "lamp", 2), order_id=ORDER))
    delivered.then()


def test_goods_of_another_item_open_an_exception_and_are_nobodys_return(delivered: Spec) -> None:
    delivered.when(received(("line-1", "toaster", 1), order_id=ORDER))
    assert not delivered.of(ReturnReceived)
    assert exceptions(delivered) == ["unexpected_goods"]


def test_a_line_named_wrongly_is_found_by_its_item(delivered: Spec) -> None:
    delivered.when(received(("line-2", "mug", 1), order_id=ORDER))
    assert delivered.of(ReturnReceived)[0].lines == units(line_1=1)


def test_an_item_handed_over_in_anothers_place_may_come_back_as_itself(returns: Spec) -> None:
    substitute = handed_over("line-1", 1)
    substitute = substitute.model_copy(update={"lines": (substitute.lines[0].model_copy(update={"sku": "mug-blue"}),)})
    returns.given(accepted(line_1=1), substitute)
    returns.when(received(("line-1", "mug-blue", 1), order_id=ORDER))
    assert returns.of(ReturnReceived)[0].lines == units(line_1=1)


def test_a_return_that_expired_is_received_as_unexpected_under_its_name(delivered: Spec) -> None:
    delivered.given(request(line_1=1))
    delivered.advance(timedelta(days=400))
    delivered.when(received(("line-1", "mug", 1), return_id=R1))
    (told,) = delivered.of(ReturnReceived)
    assert (told.return_id, told.unexpected) == (R1, units(line_1=1))


def test_a_tracking_number_alone_finds_the_order(delivered: Spec) -> None:
    delivered.given(shipped("T1", "line-1", 2))
    delivered.when(received((None, "mug", 2), tracking_number="T1"))
    delivered.then(back(None, line_1=2).model_copy(update={"unexpected": units(line_1=2)}))


def test_the_first_parcel_owns_a_tracking_number(delivered: Spec) -> None:
    delivered.given(shipped("T1", "line-1", 2), shipped("T1", "line-1", 1, order_id="web-fr:7"))
    delivered.when(received((None, "mug", 1), tracking_number="T1"))
    assert delivered.of(ReturnReceived)[0].order_id == ORDER


def test_a_tracking_number_nobody_knows_yet_is_waited_for(delivered: Spec) -> None:
    delivered.when(received((None, "mug", 1), tracking_number="T1"))
    delivered.then()
    delivered.when(shipped("T1", "line-1", 2))
    delivered.then(back(None, line_1=1).model_copy(update={"unexpected": units(line_1=1)}))


def test_a_parcel_noted_after_it_was_looked_up_is_looked_up_again_at_once(delivered: Spec) -> None:
    """`find` reads without lock; by the time the rows are locked another replica may have noted the parcel."""
    delivered.given(shipped("T1", "line-1", 2))
    body = received((None, "mug", 1), tracking_number="T1")
    delivered.world.need = service.keys(body, {})
    given = Input(body=body, now=START, cause=UUID(int=1))
    assert list(service.decide(delivered.world, given, delivered.view)) == [Keep(key=service.find(body)[1], until=START)]


def test_goods_that_overtook_their_hand_over_are_waited_for(returns: Spec) -> None:
    returns.given(accepted(line_1=1))
    returns.when(received(("line-1", "mug", 1), order_id=ORDER))
    returns.then()
    returns.when(handed_over("line-1", 1))
    returns.then(back(None, line_1=1).model_copy(update={"unexpected": units(line_1=1)}))


def test_goods_that_overtook_their_whole_order_are_waited_for(returns: Spec) -> None:
    returns.given(received(("line-1", "mug", 1), order_id=ORDER), handed_over("line-1", 1))
    returns.when(accepted(line_1=1))
    assert not exceptions(returns)
    assert returns.state("purchase", ORDER).line("line-1").received == 1


def test_after_ten_minutes_they_are_booked_with_an_exception(returns: Spec) -> None:
    returns.given(accepted(line_1=1))
    returns.when(received(("line-1", "mug", 1), order_id=ORDER), overdue=True)
    assert returns.of(ReturnReceived)[0].lines == units(line_1=1)
    assert exceptions(returns) == ["more_than_handed_over"]


def test_goods_of_nobody_open_an_exception_at_once(returns: Spec) -> None:
    returns.when(received((None, "mug", 2), (None, "vase", 1)))
    returns.then(
        ReturnExceptionOpened(
            order_id="unknown:R1",
            exception_id="unknown:R1/x1",
            kind="unknown_goods",
            location="paris-01",
            detail="receipt R1 at paris-01: 2 x mug, 1 x vase; it names nothing, which nobody knows",
            action="Find the order; report receipt and inspection again with its order id: they then count for it, stock moves once.",
        )
    )
    returns.when(received((None, "mug", 3)))
    returns.then()


@pytest.mark.parametrize("names", [{"order_id": "web-fr:404"}, {"return_id": "web-fr:404/r1"}, {"tracking_number": "T9"}])
def test_goods_of_an_order_nobody_knows_wait_and_open_an_exception(returns: Spec, names: dict[str, str]) -> None:
    returns.when(received((None, "mug", 1), **names))
    returns.then()
    assert returns.kept[0][0].until == START + timedelta(minutes=10)
    returns.when(received((None, "mug", 1), **names), overdue=True)
    assert [opened.order_id for opened in returns.of(ReturnExceptionOpened)] == ["unknown:R1"]


def test_another_systems_return_number_is_no_obstacle(delivered: Spec) -> None:
    delivered.when(received(("line-1", "mug", 1), return_id="RMA-77", order_id=ORDER))
    assert delivered.of(ReturnReceived)[0].return_id is None


def test_a_return_of_one_order_and_the_name_of_another_contradict_each_other(delivered: Spec) -> None:
    delivered.given(request(line_1=1))
    delivered.when(received(("line-1", "mug", 1), return_id=R1, order_id="web-fr:7"))
    assert delivered.of(ReturnReceived) == [back(line_1=1)]
    assert exceptions(delivered) == ["contradiction"]


def test_the_same_fact_with_other_content_is_booked_and_opens_an_exception(delivered: Spec) -> None:
    delivered.given(received(("line-1", "mug", 1), order_id=ORDER))
    delivered.when(received(("line-1", "mug", 2), order_id=ORDER), changed=True)
    assert delivered.of(ReturnReceived)[0].lines == units(line_1=1)
    assert exceptions(delivered) == ["contradiction"]


def test_a_parcel_the_carrier_could_not_deliver_is_no_return(returns: Spec) -> None:
    returns.given(accepted(line_1=2), shipped("T1", "line-1", 1), shipped("T2", "line-1", 1))
    returns.given(handed_over("line-1", 1), came_back("T2", "line-1", 1))
    returns.when(received((None, "mug", 1), tracking_number="T2"))
    returns.then()
    returns.when(request(line_1=1))
    assert returns.of(ReturnAuthorised)


def test_an_undelivered_parcel_is_waited_for_if_its_news_are_late(returns: Spec) -> None:
    returns.given(accepted(line_1=2), shipped("T1", "line-1", 1), shipped("T2", "line-1", 1), handed_over("line-1", 1))
    returns.when(received((None, "mug", 1), tracking_number="T2"))
    returns.then()
    returns.when(came_back("T2", "line-1", 1))
    returns.then()
    line = returns.state("purchase", ORDER).line("line-1")
    assert (line.undelivered, line.received) == (1, 0)


def test_undelivered_units_are_recognised_without_their_tracking_number(returns: Spec) -> None:
    returns.given(accepted(line_1=1), shipped("T1", "line-1", 1), came_back("T1", "line-1", 1))
    returns.when(received(("line-1", "mug", 1), order_id=ORDER))
    returns.then()
    assert returns.state("purchase", ORDER).line("line-1").undelivered == 1


def test_more_than_the_undelivered_parcel_held_needs_an_explanation(returns: Spec) -> None:
    returns.given(accepted(line_1=1), shipped("T1", "line-1", 1), came_back("T1", "line-1", 1), came_back("T1", "line-1", 1))
    returns.when(received((None, "mug", 2), tracking_number="T1"), overdue=True)
    assert returns.of(ReturnReceived)[0].lines == units(line_1=1)
    assert exceptions(returns) == ["more_than_handed_over"]


def test_a_parcel_presumed_delivered_that_came_back_counts_as_the_buyers(returns: Spec) -> None:
    returns.given(accepted(line_1=1), shipped("T1", "line-1", 1), handed_over("line-1", 1), came_back("T1", "line-1", 1))
    returns.when(received((None, "mug", 1), tracking_number="T1"))
    assert returns.of(ReturnReceived)[0].unexpected == units(line_1=1)


def test_a_receipt_locks_its_own_order_only() -> None:
    """What was found for the other messages of its batch is none of its business."""
    body = received((None, "mug", 1), tracking_number="T1")
    found = {parcel_key("T1"): Parcel(ORDER), parcel_key("T2"): Parcel("web-fr:7")}
    orders = [key.id for key in service.keys(body, found).keys if key.kind == "purchase"]
    assert orders == [ORDER, "unknown:R1"]


def test_an_inspected_receipt_that_names_nothing_waits_for_its_receipt(delivered: Spec) -> None:
    delivered.given(inspected(("line-1", "mug", "destroy", 1)))
    delivered.when(received(("line-1", "mug", 1), order_id=ORDER))
    line = delivered.state("purchase", ORDER).line("line-1")
    assert (line.received, line.inspected) == (1, 1)
