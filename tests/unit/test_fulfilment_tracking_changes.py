"""A change that reached published parts is accepted while nobody works on them, or when every location says yes in time."""

from __future__ import annotations

from datetime import timedelta

from schemas.forms import OrderSnapshot
from schemas.fulfilment import AmendOrder, ChangeAnswered, FulfilOrder, ReservationEnded
from schemas.orders import LineQuantity, LinesCancelled, OrderChanged
from services.fulfilment_tracking.state import Content
from tests.support.fulfilment_tracking import (
    ORDER,
    OTHER_PART,
    WAREHOUSE,
    accepted,
    amends,
    at_work,
    change,
    change_passed_on,
    exceptions,
    line,
    minutes,
    names,
    order,
    part,
    picks,
    snapshot,
    sourced,
    status,
    tracking,
    unfillable,
    waits_for,
    work,
)
from tests.support.spec import Spec, in_form


def scheduled() -> Spec:
    return tracking().given(accepted(shirt=2), sourced(part(release_at=minutes(30), shirt=2)))


def answer(spec: Spec) -> bool:
    (answered,) = spec.of(ChangeAnswered)
    return bool(answered.accepted)


def cities(spec: Spec) -> list[tuple[int, str]]:
    return [(amended.revision, amended.ship_to.city) for amended in spec.of(AmendOrder)]


def test_changed_demand_ends_scheduled_parts() -> None:
    """Sourcing plans anew once the order is changed."""
    spec = scheduled().given(change(snapshot(2, shirt=1, mug=1), demand=True)).when(change_passed_on(demand=True))
    assert [(ended.cause, ended.lines[0].quantity) for ended in spec.of(ReservationEnded)] == [("changed", 2)]
    assert answer(spec)
    assert (line(spec).ordered, line(spec, "mug").ordered) == (1, 1)
    spec.given(OrderChanged(order_id=ORDER, order=snapshot(2, shirt=1, mug=1), effect="demand"))
    spec.when(sourced(part(2, shirt=1, mug=1), cause="change"))
    assert [entry.line_id for entry in spec.of(FulfilOrder)[0].lines] == ["shirt", "mug"]


def changed(shirt: int) -> OrderChanged:
    return OrderChanged(order_id=ORDER, order=snapshot(2, shirt=shirt), effect="demand")


def test_what_was_unfillable_of_a_demand_replaced_since_does_not_count() -> None:
    """Before the change is known, or after it: the new demand is planned anew, whole."""
    for inputs in ((unfillable(1, shirt=2), changed(shirt=3)), (changed(shirt=3), unfillable(1, shirt=2))):
        spec = tracking().given(accepted(shirt=2), *inputs)
        assert (line(spec).ordered, line(spec).unfillable) == (3, 0)
        spec.given(unfillable(2, shirt=3))
        assert line(spec).unfillable == 3


def test_what_is_unfillable_waits_for_the_change_it_is_about() -> None:
    spec = tracking().given(accepted(shirt=2), unfillable(1, shirt=2), unfillable(2, shirt=3))
    assert line(spec).unfillable == 2
    spec.given(changed(shirt=3))
    assert (line(spec).ordered, line(spec).unfillable) == (3, 3)


def test_what_was_unfillable_is_wanted_anew_once_the_demand_changes() -> None:
    """Sourcing plans the new demand whole: what it gives up of that comes instead of what it gave up before, not on top."""
    spec = tracking().given(accepted(shirt=1), unfillable(1, shirt=1), change(snapshot(2, shirt=2), demand=True))
    spec.when(change_passed_on(accepted=True, passed_on=False, demand=True))
    assert (line(spec).ordered, line(spec).unfillable) == (2, 0)
    spec.given(unfillable(2, shirt=2), OrderChanged(order_id=ORDER, order=snapshot(2, shirt=2), effect="demand"))
    assert (line(spec).ordered, line(spec).unfillable) == (2, 2)


def test_what_was_cancelled_of_a_demand_replaced_since_does_not_count() -> None:
    """A buyer stayed away while the change was passed on: order capture counts the new demand from nothing."""
    cancelled = LinesCancelled(order_id=ORDER, request_id=None, lines=(LineQuantity(line_id="shirt", quantity=1),), reason="not_collected")
    spec = tracking().given(accepted(shirt=2), cancelled, changed(shirt=4))
    assert (line(spec).ordered, line(spec).cancelled) == (4, 0)
    spec.given(cancelled)
    assert line(spec).cancelled == 1


def test_changed_demand_is_too_late_once_instructed() -> None:
    spec = at_work(shirt=2).given(change(snapshot(2, shirt=1), demand=True)).when(change_passed_on(demand=True))
    assert names(spec) == ["ChangeAnswered"] and not answer(spec)
    assert line(spec).ordered == 2


def test_the_decision_waits_for_the_content_it_is_about() -> None:
    spec = scheduled().when(change_passed_on(demand=True))
    assert spec.published == []
    spec.when(change(snapshot(2, shirt=1), demand=True))
    assert answer(spec)
    spec = scheduled().when(change_passed_on(demand=True), overdue=True)
    assert not answer(spec)


def test_a_plan_of_changed_demand_waits_for_the_change() -> None:
    """Both decisions are read before the request: the change doesn't take back what was planned after it."""
    spec = tracking().given(accepted(shirt=2), change_passed_on(accepted=True, passed_on=False, demand=True))
    spec.when(sourced(part(shirt=1), cause="change", revision=2)).then()
    spec.when(change(snapshot(2, shirt=1), demand=True))
    assert (spec.of(ReservationEnded), [entry.quantity for entry in spec.of(FulfilOrder)[0].lines]) == ([], [1])
    assert work(spec).left == 1


def test_a_changed_address_of_scheduled_parts_is_taken_at_once() -> None:
    spec = scheduled().given(change(snapshot(2, city="Lyon", shirt=2), demand=False)).when(change_passed_on(demand=False))
    assert names(spec) == ["ChangeAnswered"] and answer(spec)
    spec.advance(timedelta(minutes=30))
    assert spec.of(FulfilOrder)[0].ship_to.city == "Lyon"


def test_a_changed_address_is_accepted_when_the_location_says_yes() -> None:
    spec = at_work(shirt=2).given(change(snapshot(2, city="Lyon", shirt=2), demand=False)).when(change_passed_on(demand=False))
    assert cities(spec) == [(2, "Lyon")] and spec.of(ChangeAnswered) == []
    assert ("change_answer", minutes(10)) in waits_for(spec)
    spec.when(amends(2, accepted=True))
    assert answer(spec)
    assert order(spec).content == Content.of(in_form(OrderSnapshot, snapshot(2, city="Lyon", shirt=2)))


def test_one_refusal_reverts_the_others() -> None:
    """All or nothing: the earlier content goes out as a newer revision."""
    spec = tracking().given(accepted(shirt=1, mug=1), sourced(part(1, shirt=1), part(2, WAREHOUSE, mug=1)))
    spec.given(change(snapshot(2, city="Lyon", shirt=1, mug=1), demand=False), change_passed_on(demand=False))
    spec.given(amends(2, accepted=True)).when(amends(2, accepted=False, part_id=OTHER_PART, location=WAREHOUSE))
    assert not answer(spec)
    assert cities(spec) == [(3, "Paris"), (3, "Paris")]
    spec.when(amends(3, accepted=False))
    assert exceptions(spec) == ["contradiction"]


def test_silence_about_a_change_means_no() -> None:
    spec = at_work(shirt=1).given(change(snapshot(2, city="Lyon", shirt=1), demand=False), change_passed_on(demand=False))
    spec.advance(timedelta(minutes=10))
    assert not answer(spec) and cities(spec) == [(3, "Paris")]


def test_a_picked_part_can_not_be_changed() -> None:
    spec = at_work(shirt=2).given(picks(shirt=1), change(snapshot(2, city="Lyon", shirt=2), demand=False))
    spec.when(change_passed_on(demand=False))
    assert names(spec) == ["ChangeAnswered"] and not answer(spec)


def test_nothing_is_instructed_while_a_location_is_asked_about_a_change() -> None:
    """So that no location starts on content that may be replaced."""
    late = part(2, WAREHOUSE, release_at=minutes(5), mug=1)
    spec = tracking().given(accepted(shirt=1, mug=1), sourced(part(1, shirt=1), late))
    spec.given(change(snapshot(2, city="Lyon", shirt=1, mug=1), demand=False), change_passed_on(demand=False))
    spec.advance(timedelta(minutes=5))
    assert spec.published == []
    spec.when(amends(2, accepted=True))
    assert [(told.location, told.ship_to.city) for told in spec.of(FulfilOrder)] == [(WAREHOUSE, "Lyon")]


def test_what_sourcing_decides_itself_is_not_answered_again() -> None:
    """Accepted, its content counts from now on; declined, it is forgotten."""
    spec = tracking().given(accepted(shirt=2), change(snapshot(2, shirt=1), demand=True))
    spec.when(change_passed_on(demand=True, accepted=True, passed_on=False))
    assert spec.published == [] and line(spec).ordered == 1
    spec = tracking().given(accepted(shirt=2), change(snapshot(2, shirt=1), demand=True))
    spec.when(change_passed_on(demand=True, passed_on=False))
    assert spec.published == [] and line(spec).ordered == 2 and order(spec).changes == {}


def test_a_commercial_change_touches_no_location() -> None:
    spec = at_work(shirt=2).when(OrderChanged(order_id=ORDER, order=snapshot(2, shirt=2), effect="commercial"))
    assert spec.published == []
    assert status(spec).revision == 2
