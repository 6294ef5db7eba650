"""Click and collect: ready at the counter, collected, or back on the shelf after the deadline."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.fulfilment import (
    FactLine,
    LinesHandedOver,
    LinesNotCollected,
    LinesReadyForCollection,
    ReservationEnded,
    StockIssued,
)
from schemas.orders import LineQuantity, LinesCancelled
from tests.support.fulfilment_tracking import (
    ORDER,
    PART,
    STORE,
    WAREHOUSE,
    accepted,
    at_work,
    collected,
    exceptions,
    line,
    minutes,
    names,
    nobody_came,
    part,
    ready,
    rejects,
    shorted,
    sourced,
    status,
    tracking,
    unfillable,
    waits_for,
    work,
)


def shirts(n: int) -> tuple[FactLine, ...]:
    return (FactLine(line_id="shirt", sku="shirt", quantity=n),)


def test_ready_goods_wait_for_their_buyer() -> None:
    spec = at_work("click_and_collect", shirt=2).when(ready(shirt=2))
    assert names(spec) == ["StockPicked", "LinesWerePicked", "LinesReadyForCollection"]
    assert spec.of(LinesReadyForCollection)[0].collect_by == minutes(120)
    assert status(spec).status == "ready_for_collection"
    assert waits_for(spec) == [("collection", minutes(120))]


def test_collecting_hands_over_and_issues_the_stock() -> None:
    spec = at_work("click_and_collect", shirt=2).given(ready(shirt=2)).when(collected(shirt=2))
    spec.then(
        LinesHandedOver(
            order_id=ORDER,
            fulfilment_order_id=PART,
            location=STORE,
            occurred_at=minutes(6),
            lines=shirts(2),
            how="collected",
        ),
        StockIssued(part_id=PART, order_id=ORDER, location=STORE, lines=shirts(2), occurred_at=minutes(6)),
    )
    assert (line(spec).ready, line(spec).handed_over, line(spec).shipped) == (2, 2, 0)
    assert status(spec).status == "completed"
    spec.advance(timedelta(hours=9))
    assert spec.published == []


def test_a_late_report_of_readiness_adds_nothing_to_what_was_collected() -> None:
    spec = at_work("click_and_collect", shirt=2).given(collected(shirt=2)).when(ready(shirt=2))
    spec.then()


def test_goods_nobody_collects_go_back_to_the_shelf() -> None:
    spec = at_work("click_and_collect", shirt=2).given(ready(shirt=2), collected(shirt=1)).when(nobody_came())
    spec.then(
        LinesNotCollected(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=minutes(90), lines=shirts(1)),
        ReservationEnded(part_id=PART, order_id=ORDER, location=STORE, cause="not_collected", lines=shirts(1), occurred_at=minutes(90)),
    )
    assert work(spec).left == 0


@pytest.mark.parametrize("unfillable_first", [True, False])
def test_goods_nobody_collects_are_not_unfillable_as_well(unfillable_first: bool) -> None:
    """Their reservation was shorted meanwhile, and nobody else had one: the unit is cancelled, once."""
    gone = LinesCancelled(order_id=ORDER, request_id=None, lines=(LineQuantity(line_id="shirt", quantity=1),), reason="not_collected")
    decided = (shorted(shirt=1), unfillable(shirt=1))
    spec = at_work("click_and_collect", shirt=1).given(ready(shirt=1), nobody_came())
    spec.given(*((*decided, gone) if unfillable_first else (gone, *decided)))
    assert (line(spec).cancelled, line(spec).unfillable) == (1, 0)
    assert exceptions(spec) == []


def test_the_deadline_alone_sends_goods_back() -> None:
    spec = at_work("click_and_collect", shirt=1).given(ready(shirt=1)).advance(timedelta(hours=2))
    assert names(spec) == ["LinesNotCollected", "ReservationEnded"]
    spec.when(nobody_came(at=121))
    assert spec.published == []


def test_goods_collected_after_all_are_a_fact_with_an_exception() -> None:
    spec = at_work("click_and_collect", shirt=1).given(ready(shirt=1), nobody_came()).when(collected(shirt=1))
    assert [stock.unasked for stock in spec.of(StockIssued)] == [True]
    assert [handed.how for handed in spec.of(LinesHandedOver)] == ["collected"]
    assert exceptions(spec) == ["contradiction"]


def test_nobody_came_is_told_before_it_was_known_to_be_ready() -> None:
    """Out of order: the goods were ready, and are on the shelf again."""
    spec = at_work("click_and_collect", shirt=1).given(nobody_came(at=90)).when(ready(at=4, shirt=1))
    assert names(spec) == [
        "StockPicked",
        "LinesWerePicked",
        "LinesReadyForCollection",
        "LinesNotCollected",
        "ReservationEnded",
    ]
    assert work(spec).left == 0


def test_scenario_13_a_store_rejects_a_click_and_collect_order() -> None:
    """The line is not lost: it waits for sourcing, and another store takes it."""
    spec = at_work("click_and_collect", shirt=1).when(rejects("no_capacity", shirt=1))
    assert names(spec) == ["LinesRejectedByLocation", "ReservationEnded"]
    assert waits_for(spec) == [("sourcing", minutes(1_000 / 60))]
    assert status(spec).status == "accepted"
    spec.when(sourced(part(2, WAREHOUSE, "click_and_collect", shirt=1), cause="resourced"))
    assert names(spec) == ["FulfilOrder", "FulfilmentInstructed"]
    assert [told.status for told in status(spec).fulfilment_orders] == ["incomplete", "requested"]
    assert (line(spec).released, status(spec).status) == (1, "in_fulfilment")


def test_collected_at_another_store() -> None:
    spec = tracking().given(accepted("click_and_collect", shirt=1), sourced(part(method="click_and_collect", shirt=1)))
    spec.when(collected(location=WAREHOUSE, shirt=1))
    assert [(stock.location, stock.unasked) for stock in spec.of(StockIssued)] == [(WAREHOUSE, True)]
    assert [(ended.location, ended.cause) for ended in spec.of(ReservationEnded)] == [(STORE, "served")]
    assert exceptions(spec) == ["other_location"]
