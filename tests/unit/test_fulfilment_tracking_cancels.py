"""A cancellation races against the work: scheduled units at once, the rest by the location's word or its silence."""

from __future__ import annotations

from datetime import timedelta

from schemas.fulfilment import (
    CancelFulfilment,
    CancellationAnswered,
    FactLine,
    FulfilOrder,
    ReservationEnded,
    StockIssued,
)
from schemas.orders import LineQuantity, LinesCancelled
from tests.support.fulfilment_tracking import (
    ORDER,
    OTHER_PART,
    PART,
    STORE,
    WAREHOUSE,
    accepted,
    at_work,
    cancel,
    exceptions,
    gives_up,
    line,
    minutes,
    names,
    part,
    picks,
    published,
    rejects,
    ships,
    shorted,
    sourced,
    status,
    tracking,
    waits_for,
    work,
)
from tests.support.spec import Spec


def shirts(n: int) -> tuple[FactLine, ...]:
    return (FactLine(line_id="shirt", sku="shirt", quantity=n),)


def last_word(spec: Spec) -> tuple[str, dict[str, int], dict[str, int]]:
    (answer,) = spec.of(CancellationAnswered)
    return (
        answer.request_id,
        {entry.line_id: entry.quantity for entry in answer.cancelled},
        {entry.line_id: entry.quantity for entry in answer.too_late},
    )


def ended(spec: Spec) -> list[tuple[str, int]]:
    return [(end.cause, sum(entry.quantity for entry in end.lines)) for end in spec.of(ReservationEnded)]


def test_scheduled_units_are_cancelled_at_once() -> None:
    spec = tracking().given(accepted(shirt=3), sourced(part(release_at=minutes(30), shirt=3))).when(cancel(shirt=2))
    assert ended(spec) == [("cancelled", 2)]
    assert last_word(spec) == ("c1", {"shirt": 2}, {})
    spec.advance(timedelta(minutes=30))
    assert [entry.quantity for entry in spec.of(FulfilOrder)[0].lines] == [1]


def test_a_wholly_cancelled_part_is_never_instructed() -> None:
    spec = tracking().given(accepted(shirt=1), sourced(part(release_at=minutes(30), shirt=1)), cancel(shirt=1))
    spec.advance(timedelta(minutes=30))
    assert spec.published == []
    assert status(spec).fulfilment_orders[0].status == "cancelled"


def test_scenario_08_cancel_one_line_of_three_while_the_store_picks() -> None:
    """The location has the word; the two other lines go on."""
    spec = at_work(shirt=1, mug=1, hat=1).given(picks(shirt=1)).when(cancel(mug=1))
    spec.then(
        CancelFulfilment(
            fulfilment_order_id=PART,
            order_id=ORDER,
            location=STORE,
            request_id="c1",
            lines=(LineQuantity(line_id="mug", quantity=1),),
            answer_by=minutes(10),
        )
    )
    assert ("cancel_answer", minutes(10)) in waits_for(spec)
    spec.when(gives_up(mug=1))
    assert ended(spec) == [("cancelled", 1)]
    assert last_word(spec) == ("c1", {"mug": 1}, {})
    spec.given(LinesCancelled(order_id=ORDER, request_id="c1", lines=(LineQuantity(line_id="mug", quantity=1),)))
    spec.when(ships(shirt=1, hat=1))
    assert exceptions(spec) == [] and status(spec).status == "shipped"
    assert line(spec, "mug").status == "cancelled"


def test_the_location_refuses() -> None:
    spec = at_work(shirt=2).given(cancel(shirt=1)).when(gives_up())
    assert names(spec) == ["CancellationAnswered"]
    assert last_word(spec) == ("c1", {}, {"shirt": 1})
    spec.advance(timedelta(hours=1))
    assert spec.of(CancellationAnswered) == []


def test_silence_means_no() -> None:
    spec = at_work(shirt=1).given(cancel(shirt=1)).advance(timedelta(minutes=10))
    assert last_word(spec) == ("c1", {}, {"shirt": 1})
    assert work(spec).left == 1


def test_a_yes_after_the_deadline_drops_the_line() -> None:
    """It is sourced again, and a person hears of it."""
    spec = at_work(shirt=1).given(cancel(shirt=1))
    spec.advance(timedelta(minutes=10))
    spec.when(gives_up(shirt=1))
    assert ended(spec) == [("dropped", 1)]
    assert exceptions(spec) == ["accepted_after_deadline"]
    assert status(spec).fulfilment_orders[0].status == "incomplete"


def test_a_rejection_while_a_cancel_is_open_counts_as_cancelled() -> None:
    """The unit is not sourced again, and the location's own yes adds nothing."""
    spec = at_work(shirt=3).given(cancel(shirt=1)).when(rejects(shirt=2))
    assert ended(spec) == [("cancelled", 1), ("rejected", 1)]
    assert last_word(spec) == ("c1", {"shirt": 1}, {})
    spec.when(gives_up(shirt=1)).then()
    assert work(spec).left == 1


def test_a_short_pick_while_a_cancel_is_open_counts_as_cancelled() -> None:
    spec = at_work(shirt=2).given(cancel(shirt=1)).when(picks(final=True, shirt=1))
    assert ended(spec) == [("cancelled", 1)]
    assert last_word(spec) == ("c1", {"shirt": 1}, {})


def test_a_unit_lost_before_the_cancel_arrived_counts_as_cancelled() -> None:
    """Sourcing passed on more than is left: the lost unit is among them, and it does not plan it again."""
    spec = at_work(shirt=2).given(rejects(shirt=1)).when(cancel(shirt=2))
    assert [entry.quantity for request in spec.of(CancelFulfilment) for entry in request.lines] == [1]
    spec.when(gives_up(shirt=1))
    assert last_word(spec) == ("c1", {"shirt": 2}, {})


def test_sourcing_says_how_many_units_it_took_to_stand() -> None:
    """Of 3 it knew none lost, 1 is: the cancel of 1 is done. Where it knew of the loss, the location is asked."""
    spec = at_work(shirt=3).given(rejects(shirt=1)).when(cancel(standing=3, shirt=1))
    assert last_word(spec) == ("c1", {"shirt": 1}, {})
    spec.when(cancel("c2", standing=3, shirt=1))
    assert names(spec) == ["CancelFulfilment"]
    spec = at_work(shirt=3).given(rejects(shirt=1)).when(cancel(standing=2, shirt=1))
    assert names(spec) == ["CancelFulfilment"]


def test_what_has_shipped_is_too_late() -> None:
    spec = at_work(shirt=2).given(ships(shirt=2)).when(cancel(shirt=2))
    assert last_word(spec) == ("c1", {}, {"shirt": 2})


def test_several_cancels_are_open_at_once() -> None:
    """Each gets its own answer; no unit is asked for twice."""
    spec = at_work(shirt=3).given(cancel("c1", shirt=2)).when(cancel("c2", shirt=2))
    assert [entry.quantity for request in spec.of(CancelFulfilment) for entry in request.lines] == [1]
    spec.when(gives_up("c2", shirt=1))
    assert last_word(spec) == ("c2", {"shirt": 1}, {"shirt": 1})
    spec.when(gives_up("c1", shirt=2))
    assert last_word(spec) == ("c1", {"shirt": 2}, {})
    assert work(spec).left == 0


def test_a_cancel_of_two_parts_is_answered_once_both_have() -> None:
    spec = tracking().given(accepted(shirt=1, mug=1), sourced(part(1, shirt=1), part(2, WAREHOUSE, release_at=minutes(90), mug=1)))
    both = cancel(shirt=1).model_copy(update={"passed_on": (*cancel(shirt=1).passed_on, *cancel(part_id=OTHER_PART, mug=1).passed_on)})
    spec.when(both)
    assert ended(spec) == [("cancelled", 1)] and spec.of(CancellationAnswered) == []
    spec.when(gives_up(shirt=1))
    assert last_word(spec) == ("c1", {"mug": 1, "shirt": 1}, {})


def test_scenario_17_shipped_although_the_cancel_was_accepted() -> None:
    """The stock is right, and an exception is open."""
    spec = at_work(shirt=2).given(cancel(shirt=1), gives_up(shirt=1)).when(ships(shirt=2))
    assert [(stock.unasked, stock.lines) for stock in spec.of(StockIssued)] == [(False, shirts(1)), (True, shirts(1))]
    assert exceptions(spec) == ["shipped_after_cancel"]
    assert len(status(spec).exceptions) == 1
    assert (line(spec).shipped, work(spec).over) == (2, 1)


def test_scenario_17_the_yes_arrives_after_the_parcel_left() -> None:
    spec = at_work(shirt=1).given(cancel(shirt=1), ships(shirt=1)).when(gives_up(shirt=1))
    assert ended(spec) == []
    assert last_word(spec) == ("c1", {}, {"shirt": 1})
    assert exceptions(spec) == ["shipped_after_cancel"]


def test_units_given_up_without_being_asked_are_sourced_again() -> None:
    spec = at_work(shirt=2).when(gives_up("nobody-asked", shirt=1))
    assert ended(spec) == [("dropped", 1)] and exceptions(spec) == ["unasked"]


def test_an_answer_that_nobody_asked_for_does_not_stand_in_for_a_request_with_its_id() -> None:
    """The buyer's request is asked, and answered, as any other."""
    spec = at_work(shirt=2).given(gives_up("c1", shirt=1)).when(cancel("c1", shirt=1))
    assert published(spec, CancelFulfilment).model_dump()["request_id"] == "c1"
    spec.when(gives_up("c1", at=4, shirt=1))
    assert last_word(spec) == ("c1", {"shirt": 1}, {})
    assert work(spec).left == 0


def test_a_shorted_unit_can_not_be_cancelled_again() -> None:
    spec = at_work(shirt=1).given(shorted(shirt=1)).when(cancel(shirt=1))
    assert last_word(spec) == ("c1", {}, {"shirt": 1})


def test_a_cancel_that_passes_nothing_on_is_not_tracking_s_business() -> None:
    spec = at_work(shirt=1).when(cancel())
    assert spec.published == []
