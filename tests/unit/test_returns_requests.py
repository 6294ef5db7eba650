"""What may come back: authorised, declined with the number left, cancelled, expired; each request answered once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.channel import Problem
from schemas.orders import OrderChanged
from schemas.reference import Location, Policy
from schemas.returns import (
    LeftLine,
    ReturnAuthorised,
    ReturnCancelled,
    ReturnDeclined,
    ReturnExceptionOpened,
    ReturnExpired,
    ReturnLine,
)
from services.returns.rules import MAX_RETURNS
from services.returns.service import service
from shared.kernel.model import Unreadable
from tests.support.returns import (
    ORDER,
    accepted,
    cancel,
    cancelled,
    handed_over,
    inspected,
    received,
    request,
    snapshot,
    units,
)
from tests.support.spec import START, Spec

DEADLINE = timedelta(seconds=Policy(policy="default").return_deadline_s)
WINDOW = timedelta(seconds=Policy(policy="default").return_window_s)


@pytest.fixture
def returns() -> Spec:
    return Spec(service)


@pytest.fixture
def delivered(returns: Spec) -> Spec:
    """Two mugs and a lamp, all with the buyer."""
    return returns.given(accepted(line_1=2, line_2=1), handed_over("line-1", 2), handed_over("line-2", 1))


def authorised(n: int, request_id: str, return_to: str | None = "paris-01", **lines: int) -> ReturnAuthorised:
    return ReturnAuthorised(
        order_id=ORDER,
        request_id=request_id,
        return_id=f"{ORDER}/r{n}",
        lines=units(**lines),
        return_to=return_to,
        expires_at=START + DEADLINE,
    )


def test_what_was_handed_over_may_come_back(delivered: Spec) -> None:
    delivered.when(request(line_1=1, line_2=1))
    delivered.then(authorised(1, "ask-1", line_1=1, line_2=1))


def test_scenario_10_no_more_is_authorised_than_was_handed_over(delivered: Spec) -> None:
    delivered.given(request("ask-1", line_1=1))
    delivered.when(request("ask-2", line_1=2))
    delivered.then(
        ReturnDeclined(
            order_id=ORDER,
            request_id="ask-2",
            reason="exceeds_returnable",
            lines=(LeftLine(line_id="line-1", asked=2, left=1),),
        )
    )


def test_one_line_too_many_declines_the_whole_request_and_tells_what_is_left_of_each(delivered: Spec) -> None:
    delivered.when(request(line_1=3, line_2=1))
    delivered.then(
        ReturnDeclined(
            order_id=ORDER,
            request_id="ask-1",
            reason="exceeds_returnable",
            lines=(LeftLine(line_id="line-1", asked=3, left=2), LeftLine(line_id="line-2", asked=1, left=1)),
        )
    )


def test_a_line_named_twice_in_one_request_counts_twice(delivered: Spec) -> None:
    twice = request(line_1=2).model_copy(
        update={"lines": (ReturnLine(line_id="line-1", quantity=2), ReturnLine(line_id="line-1", quantity=1))}
    )
    delivered.when(twice)
    assert delivered.of(ReturnDeclined)[0].lines == (LeftLine(line_id="line-1", asked=3, left=2),)


def test_units_that_came_back_may_not_come_back_again(delivered: Spec) -> None:
    delivered.given(received(("line-1", "mug", 2), order_id=ORDER))
    delivered.when(request(line_1=1))
    assert delivered.of(ReturnDeclined)[0].lines == (LeftLine(line_id="line-1", asked=1, left=0),)


def test_a_line_nobody_ordered_is_declined(delivered: Spec) -> None:
    delivered.when(request(line_9=1))
    delivered.then(
        ReturnDeclined(
            order_id=ORDER,
            request_id="ask-1",
            reason="unknown_line",
            lines=(LeftLine(line_id="line-9", asked=1, left=0),),
        )
    )


def test_the_window_is_the_policys_and_counts_from_the_last_hand_over(returns: Spec) -> None:
    policy = Policy(policy="short", return_window_s=60)
    returns.documents(policy).given(accepted(policy="short", line_1=2), handed_over("line-1", 1))
    returns.given(handed_over("line-1", 1, at=START + timedelta(seconds=30)))
    returns.when(request("in-time", line_1=1, at=START + timedelta(seconds=90)))
    returns.now = START + timedelta(seconds=91)
    returns.when(request("in-time-2", line_1=1, at=START + timedelta(seconds=90)))
    assert returns.of(ReturnAuthorised)
    returns.when(request("late", line_1=1, at=START + timedelta(seconds=91)))
    returns.then(
        ReturnDeclined(
            order_id=ORDER,
            request_id="late",
            reason="window_over",
            lines=(LeftLine(line_id="line-1", asked=1, left=0),),
        )
    )


def test_a_request_of_the_future_is_judged_now(delivered: Spec) -> None:
    delivered.when(request(line_1=1, at=START + 2 * WINDOW))
    assert delivered.of(ReturnAuthorised)


def test_a_request_for_an_unknown_order_waits_half_a_minute_and_is_declined(returns: Spec) -> None:
    returns.when(request(line_1=1))
    returns.then()
    assert [keep.until for keep, _ in returns.kept[:1]] == [START + timedelta(seconds=30)]
    returns.when(request(line_1=1), overdue=True)
    returns.then(ReturnDeclined(order_id=ORDER, request_id="ask-1", reason="unknown_order"))


def test_a_request_that_overtook_its_order_is_answered_when_the_news_come(returns: Spec) -> None:
    returns.given(request(line_1=1)).when(accepted(line_1=1))
    returns.then()
    returns.when(handed_over("line-1", 1))
    returns.then(authorised(1, "ask-1", line_1=1))


def test_units_still_under_way_are_not_returnable_but_their_news_are_waited_for(returns: Spec) -> None:
    returns.given(accepted(line_1=2), handed_over("line-1", 1))
    returns.when(request(line_1=2))
    returns.then()
    returns.when(request(line_1=2), overdue=True)
    assert returns.of(ReturnDeclined)[0].lines == (LeftLine(line_id="line-1", asked=2, left=1),)


def test_cancelled_units_are_not_waited_for(returns: Spec) -> None:
    returns.given(accepted(line_1=2), handed_over("line-1", 1), cancelled("line-1", 1))
    returns.when(request(line_1=2))
    assert returns.of(ReturnDeclined)[0].reason == "exceeds_returnable"


def test_a_changed_order_keeps_what_was_handed_over(delivered: Spec) -> None:
    changed = OrderChanged(order_id=ORDER, order=snapshot({"line-1": 1, "line-4": 1}), effect="demand")
    delivered.given(changed)
    delivered.when(request(line_1=2, line_2=1))
    delivered.then(authorised(1, "ask-1", line_1=2, line_2=1))


def test_a_repeat_gets_the_stored_answer_marked_so(delivered: Spec) -> None:
    delivered.given(request(line_1=1))
    delivered.when(request(line_1=1, actor="another till", at=START + timedelta(minutes=1)))
    delivered.then(authorised(1, "ask-1", line_1=1).model_copy(update={"repeated": True}))


def test_a_declined_request_stays_declined_under_its_id(delivered: Spec) -> None:
    delivered.given(request("ask-1", line_2=1), request("ask-2", line_2=1), cancel("ask-3", f"{ORDER}/r1"))
    delivered.when(request("ask-2", line_2=1))
    (declined,) = delivered.of(ReturnDeclined)
    assert declined.repeated
    assert declined.reason == "exceeds_returnable"


def test_another_content_under_the_same_request_id_is_declined(delivered: Spec) -> None:
    delivered.given(request(line_1=1))
    delivered.when(request(line_1=2))
    (declined,) = delivered.of(ReturnDeclined)
    assert (declined.reason, declined.repeated) == ("request_id_reused", False)
    delivered.when(cancel("ask-1", f"{ORDER}/r1"))
    assert delivered.of(ReturnDeclined)[0].reason == "request_id_reused"
    assert delivered.state("purchase", ORDER).expected("line-1") == 1


def test_it_comes_back_anywhere_if_the_named_location_has_closed(delivered: Spec) -> None:
    closed = Location(
        location="paris-01",
        kind="store",
        zone="Europe/Paris",
        country="FR",
        latitude=48.85,
        longitude=2.35,
        active=False,
    )
    delivered.documents(closed).when(request(line_1=1))
    delivered.then(authorised(1, "ask-1", return_to=None, line_1=1))


def test_the_buyer_keeps_the_goods_and_may_ask_again(delivered: Spec) -> None:
    delivered.given(request("ask-1", line_1=2))
    delivered.when(cancel("ask-2", f"{ORDER}/r1"))
    delivered.then(ReturnCancelled(order_id=ORDER, request_id="ask-2", return_id=f"{ORDER}/r1"))
    assert not delivered.timers
    delivered.when(request("ask-3", line_1=2))
    delivered.then(authorised(2, "ask-3", line_1=2))


@pytest.mark.parametrize("return_id", [f"{ORDER}/r7", "RMA-77"])
def test_a_return_nobody_authorised_cannot_be_cancelled(delivered: Spec, return_id: str) -> None:
    delivered.when(cancel("ask-1", return_id))
    delivered.then(ReturnDeclined(order_id=ORDER, request_id="ask-1", reason="unknown_return"))


def test_what_has_come_back_cannot_be_cancelled(delivered: Spec) -> None:
    delivered.given(request(line_1=1), received(("line-1", "mug", 1), return_id=f"{ORDER}/r1"))
    delivered.when(cancel("ask-2", f"{ORDER}/r1"))
    delivered.then(ReturnDeclined(order_id=ORDER, request_id="ask-2", reason="already_received", detail="it has ended: received"))


def test_cancelling_a_return_of_an_unknown_order_waits_and_is_declined(returns: Spec) -> None:
    returns.when(cancel("ask-1", f"{ORDER}/r1"))
    returns.then()
    returns.when(cancel("ask-1", f"{ORDER}/r1"), overdue=True)
    returns.then(ReturnDeclined(order_id=ORDER, request_id="ask-1", reason="unknown_order"))


def test_a_return_nobody_sends_expires_and_may_be_asked_again(delivered: Spec) -> None:
    delivered.given(request(line_1=2))
    delivered.advance(DEADLINE - timedelta(seconds=1)).then()
    delivered.advance(timedelta(seconds=1))
    delivered.then(ReturnExpired(order_id=ORDER, return_id=f"{ORDER}/r1", lines=units(line_1=2)))
    delivered.when(request("ask-2", line_1=2, at=START))
    assert delivered.of(ReturnAuthorised)


def test_only_the_shortfall_expires(delivered: Spec) -> None:
    delivered.given(request(line_1=2, line_2=1), received(("line-1", "mug", 1), return_id=f"{ORDER}/r1"))
    delivered.advance(DEADLINE)
    delivered.then(ReturnExpired(order_id=ORDER, return_id=f"{ORDER}/r1", lines=units(line_1=1, line_2=1)))


def test_a_return_that_came_whole_does_not_expire(delivered: Spec) -> None:
    delivered.given(request(line_1=2), received(("line-1", "mug", 2), return_id=f"{ORDER}/r1"))
    delivered.advance(2 * DEADLINE).then()


def test_a_request_nobody_can_read_is_answered(returns: Spec) -> None:
    problem = Problem(code="type_error", field="lines.0.quantity", message="should be an integer")
    returns.when(Unreadable(ORDER, "RequestReturn", "ask-1", (problem,)))
    returns.then(
        ReturnDeclined(
            order_id=ORDER,
            request_id="ask-1",
            reason="unreadable",
            detail="lines.0.quantity: should be an integer",
        )
    )


def test_an_order_has_a_bounded_number_of_returns(returns: Spec) -> None:
    returns.given(accepted(line_1=MAX_RETURNS + 1), handed_over("line-1", MAX_RETURNS + 1))
    for n in range(MAX_RETURNS):
        returns.given(request(f"ask-{n}", line_1=1))
    returns.when(request("one-more", line_1=1))
    returns.then(
        ReturnDeclined(
            order_id=ORDER,
            request_id="one-more",
            reason="too_many_returns",
            lines=(LeftLine(line_id="line-1", asked=1, left=1),),
        )
    )


def test_a_decline_made_on_old_news_opens_an_exception(delivered: Spec) -> None:
    delivered.when(request(line_1=3), late=True)
    assert delivered.of(ReturnDeclined)[0].reason == "exceeds_returnable"
    (opened,) = delivered.of(ReturnExceptionOpened)
    assert (opened.kind, opened.exception_id) == ("late_fact", f"{ORDER}/x1")


def test_inspected_units_are_no_longer_returnable(delivered: Spec) -> None:
    delivered.given(inspected(("line-2", "lamp", "resell", 1), order_id=ORDER))
    delivered.when(request(line_2=1))
    assert delivered.of(ReturnDeclined)[0].lines[0].left == 0
