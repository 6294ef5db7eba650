"""Whose units came back: which line, return or parcel explains them when several could, and how many nothing explains."""

from __future__ import annotations

import pytest

from schemas.returns import (
    CreditDue,
    InspectedLine,
    LeftLine,
    ReturnAuthorised,
    ReturnDeclined,
    ReturnExceptionOpened,
    ReturnInspected,
    ReturnReceived,
)
from services.returns.events import ReturnEnded, ReturnOpened, Units
from services.returns.rules import MAX_EXPECTED_LINES, MAX_RETURNS
from services.returns.service import service
from services.returns.state import Line, receipt_key
from tests.support.returns import ORDER, accepted, came_back, handed_over, inspected, received, request, shipped, units
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


@pytest.fixture
def gift_undelivered(returns: Spec) -> Spec:
    """A lamp with the buyer; another one, a gift, that the carrier could not deliver."""
    returns.given(accepted(line_2=1, line_3=1), handed_over("line-2", 1))
    return returns.given(shipped("T3", "line-3", 1), came_back("T3", "line-3", 1))


def lines_told(returns: Spec) -> list[tuple[object, object]]:
    """Units received and units unexpected, by message."""
    return [(told.lines, told.unexpected) for told in returns.of(ReturnReceived)]


def line(returns: Spec, line_id: str) -> Line:
    found = returns.state("purchase", ORDER).line(line_id)
    assert isinstance(found, Line)
    return found


def troubles(returns: Spec) -> list[tuple[str, str]]:
    return [(opened.kind, opened.detail.partition(": ")[2]) for opened in returns.of(ReturnExceptionOpened)]


# ---- which line ----


def test_a_line_that_is_named_is_booked_before_units_without_a_line(delivered: Spec) -> None:
    """Two gift lamps and a lamp of no line: the one of no line is the other line's, though it is reported first."""
    delivered.when(received((None, "lamp", 1), ("line-3", "lamp", 2), order_id=ORDER))
    assert (line(delivered, "line-2").received, line(delivered, "line-3").received) == (1, 2)
    assert troubles(delivered) == [("more_than_handed_over", "1 x line-3 more than were handed over")]


def test_units_of_no_line_are_those_the_named_return_expects(delivered: Spec) -> None:
    delivered.given(request("ask-1", line_2=1), request("ask-2", line_3=1))
    delivered.when(received((None, "lamp", 1), return_id=R2))
    assert lines_told(delivered) == [(units(line_3=1), ())]


def test_units_of_no_line_are_those_some_return_expects(delivered: Spec) -> None:
    delivered.given(request(line_3=1))
    delivered.when(received((None, "lamp", 1), order_id=ORDER))
    assert lines_told(delivered) == [(units(line_3=1), ())]


def test_units_of_no_line_are_those_of_the_undelivered_parcel_they_came_in(gift_undelivered: Spec) -> None:
    gift_undelivered.when(received((None, "lamp", 1), tracking_number="T3"))
    gift_undelivered.then()
    assert (line(gift_undelivered, "line-3").undelivered, line(gift_undelivered, "line-2").received) == (1, 0)


def test_units_of_no_line_that_nothing_explains_are_the_first_lines(gift_undelivered: Spec) -> None:
    """One is the undelivered gift, one is the buyer's; the third is booked where the parcel's was."""
    gift_undelivered.when(received((None, "lamp", 3), tracking_number="T3"), overdue=True)
    assert lines_told(gift_undelivered) == [(units(line_2=1, line_3=1), units(line_2=1, line_3=1))]
    assert troubles(gift_undelivered) == [("more_than_handed_over", "1 x line-3 more than were handed over")]


def test_a_parcel_that_came_back_before_its_order_was_heard_of_is_remembered(returns: Spec) -> None:
    returns.given(came_back("T1", "line-1", 1))
    assert returns.state("purchase", ORDER).came_back == {f"{ORDER}/1:box-T1": {"line-1": 1}}


def test_a_receipt_without_tracking_number_needs_its_own_row_and_its_orders() -> None:
    body = received(("line-1", "mug", 1), order_id=ORDER)
    assert service.find(body) == (receipt_key("paris-01:R1"),)


# ---- what explains them ----


def test_of_three_units_one_was_announced_one_was_handed_over_and_one_is_too_many(delivered: Spec) -> None:
    delivered.given(request(line_1=1))
    delivered.when(received(("line-1", "mug", 3), return_id=R1))
    assert lines_told(delivered) == [(units(line_1=3), units(line_1=2))]
    assert troubles(delivered) == [("more_than_handed_over", "1 x line-1 more than were handed over")]


def test_a_return_of_another_line_explains_nothing(delivered: Spec) -> None:
    delivered.given(request(line_2=1))
    delivered.when(received(("line-1", "mug", 1), order_id=ORDER))
    assert lines_told(delivered) == [(units(line_1=1), units(line_1=1))]


def test_an_undelivered_parcel_of_another_line_explains_nothing(returns: Spec) -> None:
    returns.given(accepted(line_1=2, line_3=1), handed_over("line-1", 1))
    returns.given(shipped("T3", "line-3", 1), came_back("T3", "line-3", 1))
    returns.when(received(("line-1", "mug", 2), order_id=ORDER), overdue=True)
    assert lines_told(returns) == [(units(line_1=2), units(line_1=2))]
    assert troubles(returns) == [("more_than_handed_over", "1 x line-1 more than were handed over")]


def test_before_its_acceptance_is_read_an_order_takes_undelivered_units_as_the_parcel_says(returns: Spec) -> None:
    returns.given(shipped("T1", "line-1", 1), shipped("T2", "line-1", 1), handed_over("line-1", 1), came_back("T2", "line-1", 1))
    returns.when(received((None, "mug", 1), tracking_number="T2"))
    returns.then()
    assert (line(returns, "line-1").undelivered, line(returns, "line-1").received) == (1, 0)


def test_what_the_buyer_has_explains_a_unit_before_a_parcel_nobody_named(returns: Spec) -> None:
    """One mug is with the buyer, two lie in a parcel the carrier brought back; two come, and nobody says from whom."""
    returns.given(accepted(line_1=3), shipped("T2", "line-1", 2), handed_over("line-1", 1), came_back("T2", "line-1", 2))
    returns.when(received(("line-1", "mug", 2), order_id=ORDER))
    assert lines_told(returns) == [(units(line_1=1), units(line_1=1))]
    assert line(returns, "line-1").undelivered == 1


def test_a_parcel_explains_no_more_units_than_it_held(returns: Spec) -> None:
    returns.given(accepted(line_1=2), shipped("T1", "line-1", 1), came_back("T1", "line-1", 1))
    returns.when(received(("line-1", "mug", 2), tracking_number="T1"), overdue=True)
    assert lines_told(returns) == [(units(line_1=1), units(line_1=1))]
    assert line(returns, "line-1").undelivered == 1


def test_parcels_explain_no_more_units_than_were_never_handed_over(returns: Spec) -> None:
    """Two were ordered; the carrier says that three came back."""
    returns.given(accepted(line_1=2), shipped("T1", "line-1", 1), shipped("T2", "line-1", 2))
    returns.given(came_back("T1", "line-1", 1), came_back("T2", "line-1", 2))
    returns.when(received((None, "mug", 3), tracking_number="T1"), overdue=True)
    assert lines_told(returns) == [(units(line_1=1), units(line_1=1))]
    assert line(returns, "line-1").undelivered == 2


# ---- which units were inspected ----


def judged(returns: Spec) -> list[tuple[tuple[str, int], ...]]:
    return [tuple((found.line_id, found.quantity) for found in told.lines) for told in returns.of(ReturnInspected)]


def test_inspected_units_of_no_line_count_beside_the_lines_of_their_report(delivered: Spec) -> None:
    delivered.when(inspected(("line-2", "lamp", "resell", 1), ("line-1", "mug", "resell", 2), (None, "lamp", "resell", 1), order_id=ORDER))
    assert delivered.of(ReturnInspected)[0].lines == (
        InspectedLine(line_id="line-2", sku="lamp", disposition="resell", quantity=1),
        InspectedLine(line_id="line-1", sku="mug", disposition="resell", quantity=2),
        InspectedLine(line_id="line-3", sku="lamp", disposition="resell", quantity=1),
    )
    assert not troubles(delivered)


def test_inspected_units_of_no_line_are_those_that_were_received(delivered: Spec) -> None:
    delivered.given(received(("line-3", "lamp", 1), order_id=ORDER))
    delivered.when(inspected((None, "lamp", "resell", 1)))
    assert judged(delivered) == [(("line-3", 1),)]
    assert not delivered.of(ReturnReceived)


def test_inspected_units_of_no_line_that_nobody_received_are_received_for_a_line_of_their_item(delivered: Spec) -> None:
    delivered.when(inspected((None, "mug", "resell", 1), order_id=ORDER))
    assert lines_told(delivered) == [(units(line_1=1), units(line_1=1))]
    assert judged(delivered) == [(("line-1", 1),)]


def test_what_is_inspected_later_is_credited_once(returns: Spec) -> None:
    returns.given(accepted(line_1=3), handed_over("line-1", 3), received(("line-1", "mug", 3), order_id=ORDER))
    returns.given(inspected(("line-1", "mug", "resell", 1)))
    returns.when(inspected(("line-1", "mug", "resell", 2)))
    assert [due.lines for due in returns.of(CreditDue)] == [units(line_1=1)]
    assert line(returns, "line-1").inspected == 2


def test_of_a_slot_the_undelivered_unit_is_inspected_first_and_the_buyers_is_credited_then(returns: Spec) -> None:
    returns.given(accepted(line_1=2), shipped("T2", "line-1", 1), handed_over("line-1", 1), came_back("T2", "line-1", 1))
    returns.given(received((None, "mug", 2), tracking_number="T2"))
    returns.when(inspected(("line-1", "mug", "resell", 1)))
    assert not returns.of(CreditDue)
    returns.when(inspected(("line-1", "mug", "resell", 2)))
    assert [due.lines for due in returns.of(CreditDue)] == [units(line_1=1)]


# ---- how many returns ----


def opened(number: int, *lines: str) -> ReturnOpened:
    return ReturnOpened(ORDER, f"{ORDER}/r{number}", tuple(Units(name, 1) for name in lines), "paris-01", START)


def too_many(line_id: str = "line-1", left: int = 1) -> ReturnDeclined:
    return ReturnDeclined(
        order_id=ORDER,
        request_id="one-more",
        reason="too_many_returns",
        lines=(LeftLine(line_id=line_id, asked=1, left=left),),
    )


def test_ended_returns_count_among_those_an_order_may_have(delivered: Spec) -> None:
    half = MAX_RETURNS // 2
    delivered.given(*(opened(number) for number in range(1, MAX_RETURNS + 1)))
    delivered.given(*(ReturnEnded(ORDER, f"{ORDER}/r{number}", "cancelled") for number in range(1, half + 1)))
    delivered.when(request("one-more", line_1=1))
    delivered.then(too_many(left=2))


def test_an_order_has_a_bounded_number_of_expected_lines(delivered: Spec) -> None:
    """Up to the bound they are authorised, and not one line further."""
    delivered.given(opened(1, *(f"many-{number}" for number in range(MAX_EXPECTED_LINES - 1))))
    delivered.when(request("last", line_1=1))
    assert delivered.of(ReturnAuthorised)
    delivered.when(request("one-more", line_1=1))
    delivered.then(too_many())
