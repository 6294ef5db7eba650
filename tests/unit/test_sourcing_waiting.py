"""Backorders: queues by rank, arrivals, no overtaking, deadlines; and sourcing again what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from schemas.inventory import Future, ReserveStock
from schemas.orders import rank_of
from schemas.reference import OrderKind, Policy
from schemas.sourcing import LinesBackordered, LinesUnfillable, OrderSourced, PartShorted
from tests.support.sourcing import (
    ORDER,
    Trade,
    accepted,
    goods,
    part_lines,
    place,
    where,
)
from tests.support.spec import START

PARIS = place("paris")
LYON = place("lyon", 45.76, 4.84)
DAY = timedelta(days=1)


def served(bodies: Sequence[object]) -> list[str]:
    """The orders sourced, in turn."""
    return [body.order_id for body in bodies if isinstance(body, OrderSourced)]


def test_arriving_stock_serves_who_waits() -> None:
    trade = Trade(PARIS)
    (waits,) = trade.run(accepted(goods("a", "shirt", 2)))
    assert isinstance(waits, LinesBackordered)
    (decision,) = trade.run(trade.arrive("shirt", "paris", 5))
    assert isinstance(decision, OrderSourced)
    assert (decision.cause, where(decision.parts)) == ("backorder", {"paris": {"a": 2}})
    assert trade.spec.state("queue", "shirt") is None
    assert not any(key.kind == "queue" for key, _ in trade.spec.timers)


def test_waiting_demand_is_served_by_rank_not_by_who_came_first() -> None:
    trade = Trade(PARIS)
    trade.run(
        accepted(goods("a", "shirt"), order_id="web:late", placed_at=START),
        accepted(goods("a", "shirt"), order_id="web:early", placed_at=START - DAY),
        accepted(goods("a", "shirt"), order_id="web:dated", deliver_by=START + 5 * DAY),
        accepted(goods("a", "shirt"), order_id="web:business", kind="business"),
        accepted(goods("a", "shirt"), order_id="web:urgent", priority=1),
        accepted(goods("a", "shirt"), order_id="web:refill", priority=0, kind="replenishment"),
    )
    order = []
    for _ in range(6):
        order += served(trade.run(trade.arrive("shirt", "paris", 1)))
    assert order == ["web:business", "web:urgent", "web:dated", "web:early", "web:late", "web:refill"]


def test_the_kind_of_an_order_comes_first_its_own_priority_counts_within_it() -> None:
    """One number for waiting demand, for shorting and for instructions, without gap or overlap."""
    kinds: tuple[OrderKind, ...] = ("business", "consumer", "replenishment")
    assert [rank_of(kind, priority) for kind in kinds for priority in range(10)] == list(range(30))
    trade = Trade(PARIS).stock({("shirt", "paris"): 9})
    ranks = {}
    for kind in kinds:
        trade.tell(accepted(goods("a", "shirt"), order_id=f"web:{kind}", kind=kind, priority=7))
        ranks[kind] = trade.spec.state("order", f"web:{kind}").terms.urgency
    commands = [body for body in trade.unanswered if isinstance(body, ReserveStock)]
    assert [command.rank for command in commands] == list(ranks.values()) == [7, 17, 27]


def test_a_partial_arrival_serves_a_part_and_the_rest_keeps_its_place() -> None:
    trade = Trade(PARIS)
    trade.run(accepted(goods("a", "shirt", 3)))
    (decision,) = trade.run(trade.arrive("shirt", "paris", 2))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"paris": {"a": 2}}
    assert trade.spec.state("queue", "shirt").units == 1


def test_nobody_overtakes_who_waits_with_a_better_rank() -> None:
    """The stock is seen, and its arrival isn't read yet: a newcomer leaves it to who waits."""
    trade = Trade(PARIS)
    trade.run(accepted(goods("a", "shirt", 2), order_id="web:first"))
    arrived = trade.arrive("shirt", "paris", 3)
    trade.spec.documents(trade.inventory.document("shirt", "paris"))
    newcomer, decision = trade.run(accepted(goods("a", "shirt", 2), order_id="web:second"))
    assert isinstance(newcomer, LinesBackordered)
    assert newcomer.reason == "waiting_in_line"
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"paris": {"a": 1}}
    assert served(trade.run(arrived)) == ["web:first"]


def test_a_more_urgent_newcomer_may_take_what_is_there() -> None:
    trade = Trade(PARIS)
    trade.run(accepted(goods("a", "shirt"), order_id="web:first"))
    trade.arrive("shirt", "paris", 1)
    trade.spec.documents(trade.inventory.document("shirt", "paris"))
    assert served(trade.run(accepted(goods("a", "shirt"), order_id="web:vip", priority=0))) == ["web:vip"]


def test_who_waits_for_a_collection_point_keeps_only_its_units() -> None:
    trade = Trade(PARIS, LYON)
    trade.run(accepted(goods("a", "shirt"), order_id="web:collects", method="click_and_collect", collect_at="lyon"))
    for location in ("paris", "lyon"):
        trade.arrive("shirt", location, 1)
        trade.spec.documents(trade.inventory.document("shirt", location))
    newcomer = trade.run(accepted(goods("a", "shirt", 2), order_id="web:second"))
    assert [where(body.parts) for body in newcomer if isinstance(body, OrderSourced)] == [{"paris": {"a": 1}}]


def test_an_order_that_cannot_be_completed_in_time_keeps_nobody_from_stock_but_keeps_its_rank() -> None:
    trade = Trade(PARIS)
    whole = accepted(goods("a", "shirt", 5), order_id="web:whole", completeness="allocate_complete", priority=0)
    trade.run(whole)
    assert served(trade.run(trade.arrive("shirt", "paris", 3))) == []
    assert served(trade.run(accepted(goods("a", "shirt"), order_id="web:small"))) == ["web:small"]
    assert served(trade.run(trade.arrive("shirt", "paris", 3))) == ["web:whole"]


def test_an_order_that_announced_supply_will_complete_keeps_its_units() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 3})
    coming = Future(reference="asn-1", quantity=2, eta=START + DAY)
    trade.spec.documents(trade.inventory.document("shirt", "paris", future=(coming,)))
    whole = accepted(goods("a", "shirt", 5), order_id="web:whole", completeness="allocate_complete", placed_at=START - DAY)
    trade.run(whole)
    (waits,) = trade.run(accepted(goods("a", "shirt"), order_id="web:small"))
    assert isinstance(waits, LinesBackordered)
    assert served(trade.run(trade.arrive("shirt", "paris", 2))) == ["web:whole"]


def test_who_comes_second_takes_only_what_the_first_does_not_keep() -> None:
    """Three shirts arrive. The first order keeps two until its hat comes too, so the second gets one of its two."""
    trade = Trade(PARIS)
    coming = Future(reference="asn-1", quantity=2, eta=START + DAY)
    for sku in ("shirt", "hat"):
        trade.inventory.put(sku, "paris", 0)
        trade.spec.documents(trade.inventory.document(sku, "paris", future=(coming,)))
    whole = accepted(goods("a", "shirt", 2), goods("b", "hat"), order_id="web:whole", completeness="allocate_complete", priority=0)
    trade.run(whole, accepted(goods("a", "shirt", 2), order_id="web:small"))
    (decision,) = trade.run(trade.arrive("shirt", "paris", 3))
    assert isinstance(decision, OrderSourced)
    assert (decision.order_id, where(decision.parts)) == ("web:small", {"paris": {"a": 1}})


def test_an_arrival_read_just_before_an_order_joined_is_found_by_the_next_look() -> None:
    trade = Trade(PARIS)
    arrived = trade.arrive("shirt", "paris", 1)
    assert trade.run(arrived) == []
    trade.run(accepted(goods("a", "shirt")))
    trade.spec.documents(trade.inventory.document("shirt", "paris"))
    assert served(trade.advance(timedelta(seconds=10))) == [ORDER]


def test_a_queue_is_looked_at_ever_more_rarely() -> None:
    trade = Trade(PARIS)
    trade.run(accepted(goods("a", "shirt")))
    trade.spec.advance(timedelta(hours=10))
    assert trade.spec.state("queue", "shirt").looks < 15


# ---- deadlines ----


def test_scenario_15_waiting_ends_at_its_deadline() -> None:
    trade = Trade(PARIS, policy=Policy(policy="default", backorder_deadline_s=3_600))
    (waits,) = trade.run(accepted(goods("a", "shirt", 2)))
    assert isinstance(waits, LinesBackordered)
    assert waits.deadline == START + timedelta(hours=1)
    assert trade.advance(timedelta(minutes=59)) == []
    assert trade.advance(timedelta(minutes=1)) == [
        LinesUnfillable(order_id=ORDER, lines=part_lines(("a", "shirt", 2)), reason="deadline", revision=1)
    ]
    assert trade.spec.state("queue", "shirt") is None
    assert trade.run(trade.arrive("shirt", "paris", 5)) == []


@pytest.mark.parametrize("term", ["cancel_after", "deliver_by"])
def test_scenario_15_the_orders_own_dates_end_waiting_earlier(term: str) -> None:
    trade = Trade(PARIS)
    dates: dict[str, Any] = {term: START + timedelta(minutes=5)}
    (waits,) = trade.run(accepted(goods("a", "shirt"), **dates))
    assert isinstance(waits, LinesBackordered)
    assert waits.deadline == START + timedelta(minutes=5)


def test_scenario_15_an_order_past_its_dates_does_not_wait_at_all() -> None:
    trade = Trade(PARIS)
    (ended,) = trade.run(accepted(goods("a", "shirt"), cancel_after=START - DAY))
    assert isinstance(ended, LinesUnfillable)
    assert ended.reason == "deadline"


def test_what_is_delivered_together_goes_once_the_rest_is_unfillable() -> None:
    trade = Trade(PARIS, policy=Policy(policy="default", backorder_deadline_s=60)).stock({("shirt", "paris"): 1})
    trade.run(accepted(goods("a", "shirt"), goods("b", "shoes"), completeness="deliver_together"))
    unfillable, decision = trade.advance(timedelta(minutes=1))
    assert isinstance(unfillable, LinesUnfillable)
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"paris": {"a": 1}}


# ---- what was lost is sourced again ----


@pytest.mark.parametrize("cause", ["rejected", "short"])
def test_scenario_13_what_a_store_rejects_is_sourced_elsewhere(cause: str) -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 5, ("shirt", "lyon"): 5})
    trade.run(accepted(goods("a", "shirt", 2)))
    (decision,) = trade.run(trade.inventory.end(f"{ORDER}/1", cause, ("a", 1)))
    assert isinstance(decision, OrderSourced)
    assert (decision.cause, decision.decision, decision.split) == ("resourced", 2, True)
    assert where(decision.parts) == {"lyon": {"a": 1}}
    assert decision.parts[0].part_id == f"{ORDER}/2"
    assert decision.explanation[0].eliminated == {"rejected_before": 1}


def test_scenario_13_a_rejected_collection_waits_or_ends_it_is_not_lost() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 5, ("shirt", "lyon"): 5})
    trade.run(accepted(goods("a", "shirt"), method="click_and_collect", collect_at="paris"))
    (waits,) = trade.run(trade.inventory.end(f"{ORDER}/1", "rejected", ("a", 1)))
    assert isinstance(waits, LinesBackordered)
    assert waits.lines == part_lines(("a", "shirt", 1))


def test_what_a_location_dropped_may_be_asked_of_it_again() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 5})
    trade.run(accepted(goods("a", "shirt")))
    (decision,) = trade.run(trade.inventory.end(f"{ORDER}/1", "dropped", ("a", 1)))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"paris": {"a": 1}}


def test_rejections_are_bounded_then_it_waits() -> None:
    trade = Trade(PARIS, policy=Policy(policy="default", max_attempts=2)).stock({("shirt", "paris"): 9})
    trade.run(accepted(goods("a", "shirt")))
    trade.run(trade.inventory.end(f"{ORDER}/1", "dropped", ("a", 1)))
    (waits,) = trade.run(trade.inventory.end(f"{ORDER}/2", "dropped", ("a", 1)))
    assert isinstance(waits, LinesBackordered)
    assert waits.reason == "attempts"


def test_scenario_18_a_published_part_that_loses_its_stock_is_told_and_sourced_again() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 2, ("shirt", "lyon"): 5})
    trade.run(accepted(goods("a", "shirt", 2)))
    shorted, decision = trade.run(trade.inventory.short(f"{ORDER}/1", ("a", 1)))
    assert shorted == PartShorted(order_id=ORDER, part_id=f"{ORDER}/1", location="paris", lines=part_lines(("a", "shirt", 1)))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"lyon": {"a": 1}}


def test_a_reserved_part_that_loses_its_stock_before_it_is_published_is_just_planned_again() -> None:
    """Tracking has never heard of it: nothing is shorted there."""
    nice = place("nice", 43.7, 7.27)
    trade = Trade(PARIS, LYON, nice).stock({("shirt", "paris"): 1, ("shoes", "lyon"): 1, ("shirt", "nice"): 1})
    trade.tell(accepted(goods("a", "shirt"), goods("b", "shoes")))
    first = trade.unanswered.pop(0)
    assert isinstance(first, ReserveStock)
    assert trade.tell(trade.inventory.reserve(first), trade.inventory.short(first.part_id, ("a", 1))) == []
    (decision,) = trade.settle()
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"lyon": {"b": 1}, "nice": {"a": 1}}


def test_units_changed_cancelled_or_released_are_not_planned_again() -> None:
    for cause in ("changed", "cancelled", "not_collected"):
        trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 5, ("shirt", "lyon"): 5})
        trade.run(accepted(goods("a", "shirt")))
        assert trade.run(trade.inventory.end(f"{ORDER}/1", cause, ("a", 1))) == []


def test_who_loses_its_stock_does_not_overtake_who_waits_with_a_better_rank() -> None:
    """The one shirt at Lyon is seen, and its arrival isn't read yet: it stays for the urgent order."""
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 1})
    (decision,) = trade.run(accepted(goods("a", "shirt"), order_id="web:small"))
    assert isinstance(decision, OrderSourced)
    trade.run(accepted(goods("a", "shirt", 2), order_id="web:urgent", priority=0))
    arrived = trade.arrive("shirt", "lyon", 1)
    trade.spec.documents(trade.inventory.document("shirt", "lyon"))
    shorted, waits = trade.run(trade.inventory.short(decision.parts[0].part_id, ("a", 1)))
    assert isinstance(shorted, PartShorted)
    assert isinstance(waits, LinesBackordered)
    assert (waits.order_id, waits.reason) == ("web:small", "waiting_in_line")
    assert served(trade.run(arrived)) == ["web:urgent"]
