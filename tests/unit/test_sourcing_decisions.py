"""Sourcing of new orders: plan, reserve, publish; declines; completeness; the promise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import pytest

from schemas.channel import Completeness
from schemas.forms import Availability, Explanation, OrderSnapshot
from schemas.inventory import ReleaseStock, ReserveLine, ReserveStock
from schemas.reference import Costs, OpeningHours, Policy
from schemas.sourcing import LinesBackordered, LinesUnfillable, OrderSourced, SourcingExceptionOpened
from schemas.topics import LOCATIONS
from services.sourcing.events import PartDeclined, PartReserved
from services.sourcing.planning import Ask, computed_again
from services.sourcing.state import LevelSeen, Terms
from shared.kernel.codec import value_of
from shared.kernel.model import Key
from shared.value import replace
from tests.support.sourcing import (
    ORDER,
    Trade,
    accepted,
    goods,
    part_lines,
    place,
    snapshot,
    where,
)
from tests.support.spec import START, in_form

LYON = place("lyon", 45.76, 4.84)
PARIS = place("paris")
LILLE = place("lille", 50.63, 3.06)


def sourced(bodies: Sequence[object]) -> OrderSourced:
    found = [body for body in bodies if isinstance(body, OrderSourced)]
    assert len(found) == 1, bodies
    return found[0]


def test_one_command_goes_to_the_cheapest_location_and_the_decision_waits_for_its_answer() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 3, ("shirt", "lyon"): 3})
    assert trade.tell(accepted(goods("a", "shirt", 2))) == []
    command = trade.unanswered[0]
    assert isinstance(command, ReserveStock)
    assert (command.part_id, command.location, command.rank) == (f"{ORDER}/1", "paris", 15)
    assert command.lines == (ReserveLine(line_id="a", sku="shirt", quantity=2, minimum=0),)
    decision = sourced(trade.settle())
    assert where(decision.parts) == {"paris": {"a": 2}}
    assert (decision.decision, decision.cause, decision.split) == (1, "new", False)


def test_an_order_is_split_where_that_is_needed_or_cheaper() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 3, ("shoes", "lyon"): 3})
    decision = sourced(trade.run(accepted(goods("a", "shirt"), goods("b", "shoes"))))
    assert where(decision.parts) == {"paris": {"a": 1}, "lyon": {"b": 1}}
    assert [part.part_id for part in decision.parts] == [f"{ORDER}/1", f"{ORDER}/2"]
    assert decision.split
    assert decision.promise == max((part.promise for part in decision.parts), key=lambda promise: promise.latest)


def test_the_explanation_tells_candidates_ruled_out_locations_costs_and_alternatives() -> None:
    closed = place("nice", 43.7, 7.27, active=False)
    shop = place("brest", 48.39, -4.49, methods=("click_and_collect",))
    trade = Trade(PARIS, LYON, LILLE, closed, shop).stock({("shirt", "paris"): 3, ("shirt", "lyon"): 2})
    explanation = sourced(trade.run(accepted(goods("a", "shirt", 1, weight_g=1_001)))).explanation[0]
    assert explanation.eliminated == {"inactive": 1, "method": 1, "no_stock": 1}
    assert [(c.location, c.distance_km, c.levels[0].atp) for c in explanation.candidates] == [("lyon", 392, 2), ("paris", 0, 3)]
    chosen = explanation.chosen.cost
    assert (chosen.parcels, chosen.handling, chosen.distance, chosen.weight, chosen.labour) == (500, 100, 0, 51, 40)
    assert chosen.total == 691
    assert [plan.cost.total for plan in explanation.alternatives] == [691 + 236]


def test_from_its_recorded_inputs_the_decision_is_computed_again_byte_for_byte() -> None:
    """The locations worth a look, their levels and distances, the reference data, and the order: nothing else."""
    places = [place(f"s{n:02}", 43 + n % 7, 1 + n % 5, costs=Costs(handling_minor=100 + n % 3)) for n in range(40)]
    trade = Trade(*places)
    trade.stock({(f"sku-{i}", f"s{n:02}"): 1 + (n * i) % 3 for i in range(4) for n in range(40) if (n + i) % 3})
    lines = [goods(f"l{i}", f"sku-{i}", 1 + i % 2) for i in range(4)]
    recorded = in_form(Explanation, sourced(trade.run(accepted(*lines))).explanation[0])
    order = trade.spec.state("order", ORDER)
    fresh = Trade(*places).spec.view
    terms = Terms.of(in_form(OrderSnapshot, snapshot(*lines)))
    again = computed_again(Ask(order, terms, {f"l{i}": 1 + i % 2 for i in range(4)}, START), recorded, fresh)
    assert value_of(again) == value_of(recorded)


def test_two_orders_planned_before_any_answer_do_not_count_on_the_same_unit() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 1, ("shirt", "lyon"): 1})
    trade.tell(accepted(goods("a", "shirt"), order_id="web:1"), accepted(goods("a", "shirt"), order_id="web:2"))
    assert [command.location for command in trade.unanswered if isinstance(command, ReserveStock)] == ["paris", "lyon"]


def test_plans_in_flight_are_rolled_back_with_their_batch_and_known_again_after_a_restart() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 3})
    trade.tell(accepted(goods("a", "shirt", 2)))
    assert trade.spec.view.free("shirt") == {"paris": 1}
    fresh = Trade(PARIS).stock({("shirt", "paris"): 3}).spec.view
    fresh.restore(Key("order", ORDER), trade.spec.state("order", ORDER))
    assert fresh.free("shirt") == {"paris": 1}
    fresh.commit()
    fresh.fold(PartDeclined(ORDER, 1, ()))
    assert fresh.free("shirt") == {"paris": 3}
    fresh.rollback()
    assert fresh.free("shirt") == {"paris": 1}


def test_flights_that_settled_in_a_batch_of_unknown_outcome_end_when_it_was_committed() -> None:
    """The batch is rolled back in memory; then the rows come as the store has them. Else the units would be missing until a restart."""
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 3, ("shoes", "lyon"): 2})
    trade.tell(accepted(goods("a", "shirt", 2), goods("b", "shoes")))
    view = trade.spec.view
    view.commit()
    assert (view.free("shirt"), view.free("shoes")) == ({"paris": 1}, {"lyon": 1})
    order = trade.spec.state("order", ORDER)
    view.fold(PartDeclined(ORDER, 2, ()))
    view.rollback()
    view.restore(Key("order", ORDER), replace(order, parts={1: replace(order.parts[1], state="reserved")}))
    flying = {sku: view.free(sku) for sku in ("shirt", "shoes")}
    assert flying == {"shirt": {"paris": 3}, "shoes": {"lyon": 2}}, "one part was reserved, the other declined"


def test_flights_of_orders_that_another_replica_owns_now_end() -> None:
    """It hears what becomes of them, this one never does: a document that waited for them counts."""
    trade = Trade(PARIS).stock({("shirt", "paris"): 5})
    trade.tell(accepted(goods("a", "shirt", 2)))
    view, document = trade.spec.view, in_form(Availability, trade.inventory.document("shirt", "paris"))
    view.commit()
    view.apply(replace(document, version=document.version + 1, atp=1))
    assert view.free("shirt") == {"paris": 3}
    view.clear()
    assert view.free("shirt") == {"paris": 1}
    view.rollback()
    assert view.free("shirt") == {"paris": 1}


def test_a_document_that_may_hold_units_in_flight_already_counts_once_they_have_settled() -> None:
    """Inventory's answer and its document race: whichever comes first, the units are taken off once."""
    trade = Trade(PARIS).stock({("shirt", "paris"): 5})
    trade.tell(accepted(goods("a", "shirt", 2)))
    view, document = trade.spec.view, in_form(Availability, trade.inventory.document("shirt", "paris"))
    view.commit()
    reserved = replace(document, version=document.version + 1, atp=3, reserved=2)
    view.apply(reserved)
    assert view.free("shirt") == {"paris": 3}, "the units in flight, or the document's: not both"
    view.apply(replace(reserved, version=document.version + 2, atp=2))
    view.apply(reserved)
    view.fold(PartReserved(ORDER, 1, (), (LevelSeen("shirt", "paris", reserved.version, 3),)))
    assert view.free("shirt") == {"paris": 2}, "settled: the newest word counts"


def test_a_decline_is_planned_again_with_the_true_level_and_its_siblings_stay() -> None:
    trade = Trade(PARIS, LYON, LILLE)
    trade.stock({("shirt", "paris"): 1, ("shirt", "lyon"): 1, ("shoes", "lille"): 1})
    trade.walk_in("shirt", "paris")
    decision = sourced(trade.run(accepted(goods("a", "shirt"), goods("b", "shoes"))))
    assert where(decision.parts) == {"lille": {"b": 1}, "lyon": {"a": 1}}
    assert [part.part_id for part in decision.parts] == [f"{ORDER}/2", f"{ORDER}/3"]
    assert [explanation.attempt for explanation in decision.explanation] == [1, 2]
    assert trade.spec.view.free("shirt") == {}


def test_what_a_location_gave_stays_and_the_rest_is_planned_elsewhere() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 3, ("shirt", "lyon"): 3})
    trade.walk_in("shirt", "paris", 2)
    decision = sourced(trade.run(accepted(goods("a", "shirt", 3))))
    assert where(decision.parts) == {"paris": {"a": 1}, "lyon": {"a": 2}}


def test_a_line_is_tried_a_bounded_number_of_times() -> None:
    places = [place(f"s{n}", 48 - n, 2) for n in range(9)]
    trade = Trade(*places, policy=Policy(policy="default", max_attempts=3))
    trade.stock({("shirt", f"s{n}"): 1 for n in range(9)})
    for n in range(9):
        trade.walk_in("shirt", f"s{n}")
    assert trade.run(accepted(goods("a", "shirt"))) == [
        LinesBackordered(
            order_id=ORDER,
            lines=part_lines(("a", "shirt", 1)),
            reason="attempts",
            deadline=START + timedelta(seconds=1_209_600),
        )
    ]
    assert trade.spec.state("order", ORDER).next_part == 4


# ---- completeness ----


def test_scenario_07_free_orders_are_divided_over_locations() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 2, ("shirt", "lyon"): 3})
    decision = sourced(trade.run(accepted(goods("a", "shirt", 5))))
    assert where(decision.parts) == {"paris": {"a": 2}, "lyon": {"a": 3}}
    assert decision.split


def test_scenario_07_what_nobody_has_waits_and_the_rest_goes() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 2})
    backordered, decision = trade.run(accepted(goods("a", "shirt", 5)))
    assert isinstance(backordered, LinesBackordered)
    assert backordered.lines == part_lines(("a", "shirt", 3))
    assert isinstance(decision, OrderSourced)
    assert where(decision.parts) == {"paris": {"a": 2}}


@pytest.mark.parametrize("completeness", ["allocate_complete", "single_location"])
def test_scenario_07_a_complete_order_waits_and_reserves_nothing(completeness: Completeness) -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 2, ("shirt", "lyon"): 3})
    (waits,) = trade.run(accepted(goods("a", "shirt", 5), completeness=completeness))
    assert isinstance(waits, LinesBackordered)
    assert waits.lines == part_lines(("a", "shirt", 5))
    assert trade.inventory.held == {}


def test_a_complete_order_may_come_from_several_locations_line_by_line() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 2, ("shoes", "lyon"): 3})
    order = accepted(goods("a", "shirt", 2), goods("b", "shoes", 2), completeness="allocate_complete")
    decision = sourced(trade.run(order))
    assert where(decision.parts) == {"paris": {"a": 2}, "lyon": {"b": 2}}


def test_a_complete_order_that_loses_one_part_gives_the_others_back_and_waits() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 1, ("shoes", "lyon"): 1})
    trade.walk_in("shoes", "lyon")
    (waits,) = trade.run(accepted(goods("a", "shirt"), goods("b", "shoes"), completeness="allocate_complete"))
    assert isinstance(waits, LinesBackordered)
    assert waits.lines == part_lines(("a", "shirt", 1), ("b", "shoes", 1))
    assert all(units == 0 for lines in trade.inventory.held.values() for _, _, units in lines.values())
    assert trade.spec.view.free("shirt") == {"paris": 1}
    assert trade.spec.state("order", ORDER).parts == {}


def test_a_single_location_is_chosen_even_if_it_is_far() -> None:
    trade = Trade(PARIS, LYON, LILLE)
    trade.stock({("shirt", "paris"): 1, ("shoes", "lille"): 1, ("shirt", "lyon"): 1, ("shoes", "lyon"): 1})
    order = accepted(goods("a", "shirt"), goods("b", "shoes"), completeness="single_location")
    assert where(sourced(trade.run(order)).parts) == {"lyon": {"a": 1, "b": 1}}


def test_what_is_delivered_together_is_published_together_with_one_promise() -> None:
    far = place("nice", 43.7, 7.27, preparation_minutes=3_000)
    trade = Trade(PARIS, far).stock({("shirt", "paris"): 1, ("shoes", "nice"): 1})
    order = accepted(goods("a", "shirt"), goods("b", "shoes"), completeness="deliver_together")
    decision = sourced(trade.run(order))
    assert len({part.promise for part in decision.parts}) == len({part.release_at for part in decision.parts}) == 1


def test_what_is_delivered_together_waits_reserved_for_what_is_backordered() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 1})
    order = accepted(goods("a", "shirt"), goods("b", "shoes"), completeness="deliver_together")
    (waits,) = trade.run(order)
    assert isinstance(waits, LinesBackordered)
    assert waits.lines == part_lines(("b", "shoes", 1))
    decision = sourced(trade.run(trade.arrive("shoes", "paris", 1)))
    assert where(decision.parts[:1]) == {"paris": {"a": 1}}
    assert {line.line_id for part in decision.parts for line in part.lines} == {"a", "b"}


def test_the_remainder_is_cancelled_where_the_order_says_so() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 1})
    unfillable, decision = trade.run(accepted(goods("a", "shirt", 3), completeness="cancel_remainder"))
    assert unfillable == LinesUnfillable(order_id=ORDER, lines=part_lines(("a", "shirt", 2)), reason="remainder", revision=1)
    assert isinstance(decision, OrderSourced)


def test_without_backorders_what_nobody_has_is_unfillable_at_once() -> None:
    trade = Trade(PARIS, policy=Policy(policy="default", backorder=False))
    assert trade.run(accepted(goods("a", "shirt"))) == [
        LinesUnfillable(order_id=ORDER, lines=part_lines(("a", "shirt", 1)), reason="no_stock", revision=1)
    ]


# ---- methods ----


def test_who_collects_is_served_by_that_location_only() -> None:
    trade = Trade(PARIS, LYON).stock({("shirt", "paris"): 5, ("shirt", "lyon"): 5})
    decision = sourced(trade.run(accepted(goods("a", "shirt"), method="click_and_collect", collect_at="lyon")))
    assert where(decision.parts) == {"lyon": {"a": 1}}
    assert decision.parts[0].carrier is None
    assert decision.promise.kind == "collection"
    cost = decision.explanation[0].chosen.cost
    assert (cost.parcels, cost.distance, cost.weight, cost.total) == (0, 0, 0, 140)
    assert decision.explanation[0].eliminated == {"not_collection_point": 1}


def test_a_location_that_cannot_hand_over_leaves_the_order_waiting_with_an_exception() -> None:
    trade = Trade(place("paris", methods=("home",))).stock({("shirt", "paris"): 5})
    waits, exception = trade.run(accepted(goods("a", "shirt"), method="click_and_collect", collect_at="paris"))
    assert isinstance(waits, LinesBackordered)
    assert waits.reason == "no_location"
    assert isinstance(exception, SourcingExceptionOpened)
    assert exception.kind == "no_reference_data"


def test_the_policy_says_which_locations_may_serve() -> None:
    trade = Trade(PARIS, LYON, policy=Policy(policy="default", locations=("lyon",)))
    trade.stock({("shirt", "paris"): 5, ("shirt", "lyon"): 5})
    decision = sourced(trade.run(accepted(goods("a", "shirt"))))
    assert where(decision.parts) == {"lyon": {"a": 1}}
    assert decision.explanation[0].eliminated == {"not_in_policy": 1}


def test_only_goods_are_sourced() -> None:
    trade = Trade(PARIS)
    service = goods("a", "engraving").model_copy(update={"kind": "service"})
    assert trade.run(accepted(service)) == []


# ---- dates ----


def test_the_promise_is_a_local_day_after_cut_off_collection_and_transport() -> None:
    """Monday 09:00 UTC is 10:00 in Paris: prepared by 11:00, collected at 17:00 (16:00 UTC), one working day on the road."""
    trade = Trade(PARIS, policy=Policy(policy="default", grace_s=600)).stock({("shirt", "paris"): 5})
    part = sourced(trade.run(accepted(goods("a", "shirt")))).parts[0]
    assert part.release_at == START + timedelta(minutes=10)
    assert (part.carrier, part.carrier_service) == ("post", "standard")
    assert part.ship_by == datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
    assert (part.promise.day, part.promise.zone) == (date(2026, 3, 3), "Europe/Paris")
    assert part.promise.latest == datetime(2026, 3, 3, 22, 59, 59, tzinfo=UTC)


def test_after_the_cut_off_work_starts_on_the_next_day_the_location_is_open() -> None:
    hours = tuple(OpeningHours(weekday=day, opens=time(9), closes=time(19)) for day in (0, 2, 3))
    shop = place("paris", order_cut_off=time(9, 30), hours=hours, closed_on=(date(2026, 3, 4),))
    part = sourced(Trade(shop).stock({("shirt", "paris"): 5}).run(accepted(goods("a", "shirt")))).parts[0]
    assert part.ship_by == datetime(2026, 3, 5, 16, 0, tzinfo=UTC)
    assert part.promise.day == date(2026, 3, 6)


def test_a_buyer_may_collect_once_it_is_prepared_and_open() -> None:
    hours = (OpeningHours(weekday=0, opens=time(10), closes=time(11)), OpeningHours(weekday=1, opens=time(10), closes=time(18)))
    shop = place("paris", hours=hours, preparation_minutes=120)
    order = accepted(goods("a", "shirt"), method="click_and_collect", collect_at="paris")
    part = sourced(Trade(shop).stock({("shirt", "paris"): 5}).run(order)).parts[0]
    assert part.ship_by == datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
    assert (part.promise.kind, part.promise.day) == ("collection", date(2026, 3, 3))
    assert (part.carrier, part.carrier_service) == (None, None)


def test_a_location_that_would_be_late_costs_more() -> None:
    far = place("far", 43.3, 5.37, costs=Costs(parcel_base_minor=0, per_100_km_minor=0))
    trade = Trade(PARIS, far).stock({("shirt", "paris"): 5, ("shirt", "far"): 5})
    cheap = accepted(goods("a", "shirt"), order_id="web:1")
    urgent = accepted(goods("a", "shirt"), order_id="web:2", deliver_by=datetime(2026, 3, 3, 22, tzinfo=UTC))
    assert where(sourced(trade.run(cheap)).parts) == {"far": {"a": 1}}
    assert where(sourced(trade.run(urgent)).parts) == {"paris": {"a": 1}}


def test_an_answer_that_never_comes_is_a_persons_business_and_the_order_keeps_waiting() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 1})
    trade.tell(accepted(goods("a", "shirt")))
    trade.spec.advance(timedelta(hours=3))
    assert [(type(body), body.kind) for body in trade.spec.published if isinstance(body, SourcingExceptionOpened)] == [
        (SourcingExceptionOpened, "reservation_unanswered")
    ]
    assert any(name == "answers" for _, name in trade.spec.timers)
    sourced(trade.settle())
    assert not any(name == "answers" for _, name in trade.spec.timers)


def test_a_location_deleted_after_it_was_planned_is_published_all_the_same() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 1})
    trade.tell(accepted(goods("a", "shirt")))
    trade.spec.view.forget(LOCATIONS, "paris")
    assert where(sourced(trade.settle()).parts) == {"paris": {"a": 1}}


def test_a_reservation_nobody_asked_for_is_given_back() -> None:
    trade = Trade(PARIS).stock({("shirt", "paris"): 2})
    trade.run(accepted(goods("a", "shirt")))
    stray = ReserveStock(
        part_id=f"{ORDER}/9",
        order_id=ORDER,
        location="paris",
        lines=(ReserveLine(line_id="a", sku="shirt", quantity=1),),
        promised_at=START,
    )
    (exception,) = trade.tell(trade.inventory.reserve(stray))
    assert isinstance(exception, SourcingExceptionOpened)
    assert trade.unanswered == [ReleaseStock(part_id=f"{ORDER}/9", order_id=ORDER, location="paris", reason="unexpected")]
