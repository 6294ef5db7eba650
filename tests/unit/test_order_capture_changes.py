"""Changes of accepted orders: prices at once, goods after the word of whoever holds them."""

from __future__ import annotations

import pytest

from schemas.channel import OrderContent, Party, RequestAnswered
from schemas.fulfilment import ChangeAnswered
from schemas.orders import ChangeRequested, LinesCancelled, OrderChanged
from schemas.sourcing import ChangePassedOn, LinesUnfillable, PartLine
from tests.support.order_capture import (
    ADDRESS,
    ORDER,
    authorised,
    cancel,
    capture,
    change,
    content,
    mug,
    paid,
    passed_on,
    place,
    shipped,
    shirts,
)
from tests.support.spec import Spec


def names(spec: Spec) -> list[str]:
    return [type(message).__name__ for message in spec.published]


def outcome(spec: Spec) -> tuple[str, list[str]]:
    (answer,) = spec.of(RequestAnswered)
    return answer.outcome, [problem.code for problem in answer.problems]


def sourcing_says(accepted: bool, passed: bool = False) -> ChangePassedOn:
    return ChangePassedOn(order_id=ORDER, request_id="change-1", accepted=accepted, passed_on=passed, demand_changed=True)


def tracking_says(accepted: bool) -> ChangeAnswered:
    return ChangeAnswered(order_id=ORDER, request_id="change-1", accepted=accepted, detail="Already picked.")


def test_scenario_05_a_change_of_price_only_touches_nobodys_goods() -> None:
    """Nothing is asked of anybody: the new revision is announced as commercial, with the same goods."""
    spec = capture().given(place()).when(change(content(shirts(unit_price_minor=900), mug())))
    assert names(spec) == ["OrderChanged", "RequestAnswered"]
    changed = spec.of(OrderChanged)[0]
    assert (changed.effect, changed.order.revision, changed.order.total_minor) == ("commercial", 2, 2301)
    assert outcome(spec) == ("accepted", [])


@pytest.mark.parametrize(
    ("drawn", "demand_changed"),
    [
        (content(shirts(3), mug()), True),
        (content(shirts()), True),
        (content(completeness="single_location"), True),
        (content(ship_to=ADDRESS.model_copy(update={"street": ("2 rue B",)})), False),
        (content(shirts(gift_message="For you"), mug()), False),
    ],
)
def test_anything_about_the_goods_is_asked_of_those_who_hold_them(drawn: OrderContent, demand_changed: bool) -> None:
    spec = capture().given(place()).when(change(drawn))
    assert names(spec) == ["ChangeRequested"]
    assert spec.of(ChangeRequested)[0].demand_changed is demand_changed
    assert spec.of(ChangeRequested)[0].order.revision == 2


def test_a_change_holds_once_sourcing_accepts_it() -> None:
    spec = capture().given(place(), change(content(shirts(5)))).when(sourcing_says(True))
    assert names(spec) == ["OrderChanged", "RequestAnswered"]
    assert spec.of(OrderChanged)[0].effect == "demand"
    assert {name: line.quantity for name, line in spec.state("order", ORDER).lines.items()} == {"shirts": 5}


@pytest.mark.parametrize(("revision", "left"), [(1, 5), (2, 3), (None, 3)], ids=["the old demand", "the new one", "nobody knows"])
def test_what_nobody_has_of_a_replaced_demand_counts_no_more(revision: int | None, left: int) -> None:
    """Sourcing gave units up before it read of the change; tracking's word on the change was quicker."""
    spec = capture().given(place(), change(content(shirts(5))), tracking_says(True))
    lines = (PartLine(line_id="shirts", sku="shirts", quantity=2),)
    spec.when(LinesUnfillable(order_id=ORDER, lines=lines, reason="no_stock", revision=revision))
    assert spec.state("order", ORDER).lines["shirts"].kept == left


def test_what_nobody_has_counts_whatever_was_changed_but_the_goods() -> None:
    spec = capture().given(place(), change(content(shirts(2, gift_message="For you"), mug())), sourcing_says(True))
    lines = (PartLine(line_id="shirts", sku="shirts", quantity=2),)
    spec.given(LinesUnfillable(order_id=ORDER, lines=lines, reason="no_stock", revision=1))
    assert spec.state("order", ORDER).lines["shirts"].kept == 0


def test_a_change_passed_on_waits_for_tracking() -> None:
    spec = capture().given(place(), change(content(shirts(5))))
    spec.when(sourcing_says(False, passed=True)).then()
    spec.when(tracking_says(False))
    assert names(spec) == ["RequestAnswered"]
    assert outcome(spec) == ("declined", ["too_late"])
    assert spec.state("order", ORDER).snapshot.revision == 1


def test_trackings_word_counts_even_where_it_comes_first() -> None:
    spec = capture().given(place(), change(content(shirts(5)))).when(tracking_says(True))
    assert names(spec) == ["OrderChanged", "RequestAnswered"]
    spec.when(sourcing_says(False, passed=True)).then()


def test_the_same_content_again_changes_nothing() -> None:
    spec = capture().given(place()).when(change(content()))
    assert names(spec) == ["RequestAnswered"]
    assert outcome(spec) == ("accepted", [])


def test_one_change_at_a_time() -> None:
    spec = capture().given(place(), change(content(shirts(5)))).when(change(content(shirts(6)), "change-2"))
    assert outcome(spec) == ("declined", ["busy"])
    spec = capture().given(place(), cancel(mug=1)).when(change(content(shirts(6))))
    assert outcome(spec) == ("declined", ["busy"])


def test_a_change_is_checked_like_a_new_order_with_every_reason() -> None:
    spec = capture().given(place())
    spec.when(change(content(shirts(sku="coat"), ship_to=Party(country="FR"), payment_terms="marketplace")))
    assert outcome(spec) == ("declined", ["unknown_item", "no_street", "fixed"])


def test_a_dearer_order_must_be_covered() -> None:
    spec = capture().given(place(paid()))
    dearer = paid(shirts(3), mug(), amount_minor=2501)
    assert outcome(spec.when(change(dearer))) == ("declined", ["not_covered"])
    spec.given(authorised(3501, minute=1))
    assert names(spec.when(change(dearer, "change-2"))) == ["ChangeRequested"]


def test_nothing_changes_once_units_have_left() -> None:
    spec = capture().given(place(), shipped(mug=1))
    assert outcome(spec.when(change(content(shirts(unit_price_minor=900), mug())))) == ("declined", ["too_late"])


def test_lines_are_not_replaced_once_units_were_cancelled() -> None:
    spec = capture().given(place(), cancel(mug=1), passed_on(cancelled={"mug": 1}))
    assert outcome(spec.when(change(content(shirts(5), mug())))) == ("declined", ["partly_ended"])
    cheaper = change(content(shirts(unit_price_minor=900), mug()), "change-2")
    assert outcome(spec.when(cheaper)) == ("accepted", [])
    assert spec.state("order", ORDER).owed_minor == 1800


def test_a_cancel_that_waited_for_a_declined_change_is_seen_to() -> None:
    spec = capture().given(place(), change(content(shirts(5))), cancel()).when(sourcing_says(False))
    assert names(spec) == ["RequestAnswered", "CancellationRequested"]
    spec.when(passed_on(cancelled={"shirts": 2, "mug": 1}))
    assert len(spec.of(LinesCancelled)) == 1
