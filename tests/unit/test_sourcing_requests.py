"""Cancellations and changes at every stage, and the end of units."""

from __future__ import annotations

from typing import Any

from schemas.fulfilment import CancellationAnswered, ChangeAnswered, LinesNotCollected
from schemas.inventory import ReleaseStock, ReserveStock
from schemas.orders import OrderClosed
from schemas.sourcing import CancellationPassedOn, ChangePassedOn, LinesBackordered, OrderSourced, Part, PartShorted, PassedLine
from services.sourcing.state import Order
from tests.support.sourcing import (
    ORDER,
    Trade,
    accepted,
    cancellation,
    change_requested,
    changed,
    collected,
    fact,
    goods,
    place,
    quantities,
    shipped,
    where,
)

PARIS = place("paris")
LYON = place("lyon", 45.76, 4.84)


def trade_with(shirts: int = 5, shoes: int = 5) -> Trade:
    return Trade(PARIS, LYON).stock({("shirt", "paris"): shirts, ("shirt", "lyon"): shirts, ("shoes", "paris"): shoes})


def published(trade: Trade, *lines: Any, **terms: Any) -> tuple[Part, ...]:
    (decision,) = trade.run(accepted(*lines, **terms))
    assert isinstance(decision, OrderSourced)
    return decision.parts


def word(**fields: Any) -> CancellationPassedOn:
    given = {"cancelled": (), "passed_on": (), "too_late": ()} | fields
    return CancellationPassedOn(order_id=ORDER, request_id=given.pop("request_id", "cancel-1"), **given)


def passed(*lines: tuple[int, str, int, int]) -> tuple[PassedLine, ...]:
    return tuple(
        PassedLine(part_id=f"{ORDER}/{part}", line_id=line, quantity=quantity, standing=standing)
        for part, line, quantity, standing in lines
    )


def answered(*cancelled: tuple[str, int], too_late: tuple[tuple[str, int], ...] = ()) -> CancellationAnswered:
    return CancellationAnswered(order_id=ORDER, request_id="cancel-1", cancelled=quantities(*cancelled), too_late=quantities(*too_late))


# ---- cancellations ----


def test_what_waits_is_cancelled_here() -> None:
    trade = Trade(PARIS)
    trade.run(accepted(goods("a", "shirt", 3)))
    assert trade.run(cancellation(("a", 2))) == [word(cancelled=quantities(("a", 2)))]
    assert trade.spec.state("queue", "shirt").units == 1
    assert trade.run(cancellation(("a", 1), request_id="cancel-2")) == [word(request_id="cancel-2", cancelled=quantities(("a", 1)))]
    assert trade.spec.state("queue", "shirt") is None


def test_what_is_being_reserved_is_cancelled_here_and_given_back() -> None:
    trade = trade_with()
    trade.tell(accepted(goods("a", "shirt"), goods("b", "shoes")))
    assert trade.tell(cancellation(("a", 1), ("b", 1))) == [word(cancelled=quantities(("a", 1), ("b", 1)))]
    assert [type(command) for command in trade.unanswered] == [ReserveStock, ReleaseStock]
    assert trade.settle() == []
    assert trade.spec.state("order", ORDER).parts == {}
    assert trade.spec.view.free("shirt") == {"paris": 5, "lyon": 5}


def test_the_rest_of_a_cancelled_part_is_planned_anew() -> None:
    """A reservation is given up whole; the rest goes to a part of a new number, at the same place as its units come back first."""
    trade = trade_with(shirts=1, shoes=1)
    trade.tell(accepted(goods("a", "shirt"), goods("b", "shoes")))
    trade.tell(cancellation(("a", 1)))
    (decision,) = trade.settle()
    assert isinstance(decision, OrderSourced)
    assert (decision.parts[0].part_id, where(decision.parts)) == (f"{ORDER}/2", {"paris": {"b": 1}})


def test_units_given_up_count_as_free_before_inventory_says_so() -> None:
    """The release comes before any later command at that location, so the rest may be asked of it again at once."""
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 2, ("hat", "lyon"): 1})
    trade.tell(accepted(goods("a", "shirt", 2), goods("b", "hat")))
    (first,) = (c for c in trade.unanswered if isinstance(c, ReserveStock) and c.location == "paris")
    trade.unanswered.remove(first)
    trade.tell(trade.inventory.reserve(first))
    trade.tell(cancellation(("a", 1)))
    (decision,) = trade.settle()
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"paris": {"a": 1}, "lyon": {"b": 1}}


def test_what_is_published_is_passed_on_and_what_left_is_too_late() -> None:
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 3), goods("b", "shoes", 1))
    trade.run(shipped(part, ("a", 1)))
    assert trade.run(cancellation(("a", 3), ("b", 1))) == [
        word(passed_on=passed((1, "a", 2, 3), (1, "b", 1, 1)), too_late=quantities(("a", 1)))
    ]


def test_each_unit_is_cancelled_passed_on_or_too_late() -> None:
    """Two published, two waiting: the waiting ones are cancelled first."""
    trade = Trade(PARIS).stock({("shirt", "paris"): 2})
    trade.run(accepted(goods("a", "shirt", 4)))
    assert trade.run(cancellation(("a", 5))) == [
        word(cancelled=quantities(("a", 2)), passed_on=passed((1, "a", 2, 2)), too_late=quantities(("a", 1)))
    ]


def test_a_unit_whose_cancellation_is_asked_for_is_not_passed_on_twice() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt", 2))
    trade.run(cancellation(("a", 2)))
    assert trade.run(cancellation(("a", 2), request_id="cancel-2")) == [word(request_id="cancel-2", too_late=quantities(("a", 2)))]


def test_cancelled_units_of_a_published_part_are_not_planned_again() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt", 2))
    trade.run(cancellation(("a", 1)))
    assert trade.run(trade.inventory.end(f"{ORDER}/1", "cancelled", ("a", 1)), answered(("a", 1))) == []
    line = trade.spec.state("order", ORDER).lines["a"]
    assert (line.cancelled, line.open) == (1, 0)


def test_a_rejection_of_units_passed_on_counts_as_cancelled() -> None:
    """Whichever of the two facts comes first."""
    for rejection_first in (True, False):
        trade = trade_with()
        published(trade, goods("a", "shirt", 1))
        trade.run(cancellation(("a", 1)))
        facts = [trade.inventory.end(f"{ORDER}/1", "rejected", ("a", 1)), answered(("a", 1))]
        assert trade.run(*(facts if rejection_first else reversed(facts))) == []
        assert trade.spec.state("order", ORDER).lines["a"].cancelled == 1


def test_a_shortage_of_units_passed_on_is_told_but_not_planned_again() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt", 1))
    trade.run(cancellation(("a", 1)))
    assert [type(body).__name__ for body in trade.run(trade.inventory.short(f"{ORDER}/1", ("a", 1)))] == ["PartShorted"]


def test_units_taken_for_cancelled_are_planned_after_all_when_the_cancel_came_too_late() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt", 2))
    trade.run(cancellation(("a", 1)))
    assert trade.run(trade.inventory.end(f"{ORDER}/1", "rejected", ("a", 1))) == []
    (decision,) = trade.run(answered(too_late=(("a", 1),)))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"lyon": {"a": 1}}


def test_more_units_lost_than_cancelled_are_planned_again() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt", 3))
    trade.run(cancellation(("a", 1)))
    (decision,) = trade.run(trade.inventory.end(f"{ORDER}/1", "rejected", ("a", 3)))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"lyon": {"a": 2}}


def test_of_an_order_nobody_accepted_or_that_is_closed_everything_is_too_late() -> None:
    trade = trade_with()
    assert trade.run(cancellation(("a", 1))) == [word(too_late=quantities(("a", 1)))]
    published(trade, goods("a", "shirt"))
    trade.run(OrderClosed(order_id=ORDER, outcome="completed"))
    assert trade.run(cancellation(("a", 1))) == [word(too_late=quantities(("a", 1)))]


# ---- changes ----


def test_scenario_05_a_change_of_prices_touches_nothing() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt"))
    before = trade.spec.state("order", ORDER)
    assert trade.run(changed(goods("a", "shirt"), effect="commercial")) == []
    assert trade.spec.state("order", ORDER) == before


def test_a_change_before_publication_is_accepted_and_nothing_is_published_until_it_comes() -> None:
    trade = trade_with()
    trade.tell(accepted(goods("a", "shirt")))
    assert trade.tell(change_requested(goods("a", "shirt", 2))) == [
        ChangePassedOn(order_id=ORDER, request_id="change-1", accepted=True, passed_on=False, demand_changed=True)
    ]
    assert trade.settle() == []
    (decision,) = trade.run(changed(goods("a", "shirt", 2)))
    assert isinstance(decision, OrderSourced)
    assert (decision.cause, decision.parts[0].part_id) == ("change", f"{ORDER}/2")
    assert where(decision.parts) == {"paris": {"a": 2}}
    assert sum(n for lines in trade.inventory.held.values() for _, _, n in lines.values()) == 2


def test_a_published_order_passes_the_change_on_with_its_parts() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt"))
    assert trade.run(change_requested(goods("a", "shirt", 2))) == [
        ChangePassedOn(
            order_id=ORDER,
            request_id="change-1",
            accepted=False,
            passed_on=True,
            demand_changed=True,
            parts=(f"{ORDER}/1",),
        )
    ]


def test_a_changed_demand_is_planned_anew_whole_and_the_old_parts_are_forgotten() -> None:
    trade = trade_with()
    published(trade, goods("a", "shirt", 2))
    trade.run(change_requested(goods("b", "shoes", 1)))
    ended = trade.inventory.end(f"{ORDER}/1", "changed", ("a", 2))
    (decision,) = trade.run(changed(goods("b", "shoes", 1)), ended)
    assert isinstance(decision, OrderSourced)
    assert (decision.decision, where(decision.parts)) == (2, {"paris": {"b": 1}})
    assert set(trade.spec.state("order", ORDER).parts) == {2}


def test_a_refused_change_lets_the_order_go_on() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 1})
    trade.run(accepted(goods("a", "shirt"), goods("b", "shoes")))
    trade.run(change_requested(goods("a", "shirt")))
    assert trade.run(trade.arrive("shoes", "lyon", 1)) == []
    (decision,) = trade.run(ChangeAnswered(order_id=ORDER, request_id="change-1", accepted=False))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"lyon": {"b": 1}}


def test_new_instructions_keep_the_reservations() -> None:
    trade = trade_with()
    trade.tell(accepted(goods("a", "shirt")))
    trade.tell(change_requested(goods("a", "shirt"), demand_changed=False))
    trade.settle()
    (decision,) = trade.run(changed(goods("a", "shirt"), effect="instructions"))
    assert isinstance(decision, OrderSourced)
    assert decision.parts[0].part_id == f"{ORDER}/1"


# ---- the end ----


def test_shipped_collected_and_uncollected_units_have_ended() -> None:
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 3), method="click_and_collect", collect_at="paris")
    trade.run(collected(part, ("a", 2)), LinesNotCollected(**fact(part, (("a", 1),))))
    line = trade.spec.state("order", ORDER).lines["a"]
    assert (line.done, line.cancelled) == (2, 1)
    assert trade.run(trade.inventory.end(part.part_id, "not_collected", ("a", 1))) == []
    assert trade.run(cancellation(("a", 3))) == [word(too_late=quantities(("a", 3)))]


def test_units_that_left_are_not_planned_again_whatever_else_is_said_of_them() -> None:
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 1))
    trade.run(shipped(part, ("a", 1)))
    assert trade.run(trade.inventory.end(part.part_id, "rejected", ("a", 1))) == []


def test_a_unit_that_another_location_served_is_done_once() -> None:
    """Its reservation is free again; the other unit is still to be done, and to be planned again if its location won't."""
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 2))
    trade.run(collected(part, ("a", 1)), trade.inventory.end(part.part_id, "served", ("a", 1)))
    (again,) = trade.run(trade.inventory.end(part.part_id, "rejected", ("a", 1)))
    assert isinstance(again, OrderSourced) and where(again.parts) == {"lyon": {"a": 1}}


def test_units_that_left_beyond_the_plan_are_not_those_of_the_part() -> None:
    """Tracking says which: of three only one was still to be done."""
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 2))
    beyond = shipped(part, ("a", 2)).lines
    trade.run(shipped(part, ("a", 3)).model_copy(update={"unplanned": beyond}))
    (again,) = trade.run(trade.inventory.end(part.part_id, "rejected", ("a", 1)))
    assert isinstance(again, OrderSourced) and where(again.parts) == {"lyon": {"a": 1}}


def test_a_closed_order_is_lean_and_leaves_no_reservation_behind() -> None:
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 1))
    trade.run(shipped(part, ("a", 1)), OrderClosed(order_id=ORDER, outcome="completed"))
    assert trade.spec.state("order", ORDER) == Order(ORDER, closed=True, next_part=2)
    assert not any(key.kind == "order" for key, _ in trade.spec.timers)


def test_units_of_a_closed_order_that_lose_their_stock_come_off_their_part_and_are_not_planned_again() -> None:
    """Something else ended the order: the location still had to do them."""
    trade = trade_with()
    (part,) = published(trade, goods("a", "shirt", 1))
    trade.run(OrderClosed(order_id=ORDER, outcome="partly_completed"))
    (told,) = trade.run(trade.inventory.short(part.part_id, ("a", 1)))
    assert isinstance(told, PartShorted)
    assert (told.part_id, told.location, told.lines, told.ended) == (part.part_id, "paris", part.lines, True)


def test_scenario_04_an_order_closed_while_it_is_reserved_gives_its_units_back() -> None:
    trade = trade_with()
    trade.tell(accepted(goods("a", "shirt", 1)))
    trade.tell(OrderClosed(order_id=ORDER, outcome="cancelled"))
    assert trade.settle() == []
    assert trade.spec.state("order", ORDER).parts == {}
    assert trade.inventory.atp("shirt", "paris") == 5


def test_a_waiting_order_that_is_closed_leaves_its_queue() -> None:
    trade = Trade(PARIS)
    (waits,) = trade.run(accepted(goods("a", "shirt", 1)))
    assert isinstance(waits, LinesBackordered)
    trade.run(OrderClosed(order_id=ORDER, outcome="cancelled"))
    assert trade.spec.state("queue", "shirt") is None
