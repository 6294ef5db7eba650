"""Parts are scheduled, instructed at their release, paused by holds, cut down by shortages, and watched."""

from __future__ import annotations

from datetime import timedelta

from schemas.fulfilment import (
    CancelFulfilment,
    FactLine,
    FulfilmentExceptionOpened,
    FulfilmentInstructed,
    FulfilmentScheduled,
    FulfilOrder,
    HoldFulfilment,
    InstructionLine,
    ParcelWasShipped,
    ReservationEnded,
    ResumeFulfilment,
    StockIssued,
)
from schemas.orders import Contact, LineQuantity, OrderAccepted, OrderLine, PackingSlip
from services.fulfilment_tracking.state import Reason
from tests.support.fulfilment_tracking import (
    ORDER,
    PART,
    PROMISE,
    SHIP_BY,
    STORE,
    WAREHOUSE,
    accepted,
    at_work,
    cancel,
    closed,
    exceptions,
    gives_up,
    held,
    line,
    minutes,
    names,
    nobody_came,
    part,
    picks,
    published,
    ready,
    rejects,
    resolved,
    ships,
    shorted,
    snapshot,
    sourced,
    status,
    takes_on,
    tracking,
    units,
    waits_for,
    work,
)
from tests.support.spec import START


def test_a_sourced_part_that_is_due_is_instructed_at_once() -> None:
    """The instruction says all the location needs."""
    spec = tracking().given(accepted(shirt=2))
    spec.when(sourced(part(shirt=2)))
    assert spec.published == [
        FulfilOrder(
            fulfilment_order_id=PART,
            order_id=ORDER,
            location=STORE,
            revision=1,
            method="home",
            lines=(InstructionLine(line_id="shirt", sku="shirt", description="A shirt", quantity=2),),
            ship_to=Contact(name="Ada", city="Paris"),
            carrier="post",
            ship_by=SHIP_BY,
            promise=PROMISE,
            priority=15,
            currency="EUR",
            channel="web",
            placed_at=START,
        ),
        FulfilmentInstructed(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=START, revision=1),
    ]


def test_an_instruction_is_self_contained() -> None:
    """The location asks nobody: what to scan and weigh, whom to call, which service to book, when it leaves, what to print and enclose."""
    slip = PackingSlip(order_ref="#100", legal_entity="maison-bleue", brand="bleue", purchase_order="PO 7", note="Ring twice")
    contact = Contact(name="Ada", street=("1 rue A",), postal_code="75001", city="Paris", country="FR", phone="+33 1 00 00 00 00")
    shirt = OrderLine(
        line_id="shirt", sku="shirt", gtin="4006381333931", description="A shirt", quantity=2, weight_g=210, net_minor=2_000,
        attributes={"engraving": "A.L."}, gift_message="Happy birthday!", substitution_allowed=True,
    )  # fmt: skip
    order = snapshot(shirt=2).model_copy(
        update={"lines": (shirt,), "ship_to": contact, "packing_slip": slip, "to_collect_minor": 2_000, "total_minor": 2_000}
    )
    planned = part(shirt=2).model_copy(update={"carrier_service": "express"})
    spec = tracking().given(OrderAccepted(order_id=ORDER, order=order)).when(sourced(planned))
    [told] = spec.of(FulfilOrder)
    [line_told] = told.lines
    assert (line_told.gtin, line_told.weight_g, line_told.quantity) == ("4006381333931", 210, 2)
    assert (line_told.attributes, line_told.gift_message) == ({"engraving": "A.L."}, "Happy birthday!")
    assert line_told.substitution_allowed
    assert (told.ship_to, told.packing_slip, told.placed_at) == (contact, slip, START)
    assert (told.carrier, told.carrier_service, told.ship_by, told.promise) == ("post", "express", SHIP_BY, PROMISE)
    assert (told.to_collect_minor, told.currency) == (2_000, "EUR")


def test_a_part_waits_for_its_release() -> None:
    spec = tracking().given(accepted(shirt=2)).when(sourced(part(release_at=minutes(30), shirt=2)))
    release_at = minutes(30)
    assert spec.published == [
        FulfilmentScheduled(order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=START, release_at=release_at)
    ]
    assert waits_for(spec) == [("release", release_at)]
    spec.advance(timedelta(minutes=29))
    assert spec.published == []
    spec.advance(timedelta(minutes=1))
    assert names(spec) == ["FulfilOrder", "FulfilmentInstructed"]


def test_a_decision_waits_for_the_order_it_is_about() -> None:
    """Topics have no order among each other."""
    spec = tracking().when(sourced(part(shirt=2)))
    assert spec.published == [] and len(spec.kept) == 1
    spec.when(accepted(shirt=2))
    assert names(spec) == ["FulfilOrder", "FulfilmentInstructed"]


def test_a_decision_without_its_order_is_booked_with_an_exception_and_instructed_once_the_order_comes() -> None:
    spec = tracking().when(sourced(part(shirt=2)), overdue=True)
    assert names(spec) == ["FulfilmentExceptionOpened", "FulfilmentScheduled"]
    assert published(spec, FulfilmentExceptionOpened).model_dump()["kind"] == "unknown_order"
    spec.when(accepted(shirt=2))
    assert names(spec) == ["FulfilOrder", "FulfilmentInstructed"]


def test_a_held_order_is_not_instructed_until_its_last_hold_is_resolved() -> None:
    spec = tracking().given(held("h1"), held("h2"), accepted(held=("h1", "h2"), shirt=2))
    spec.when(sourced(part(shirt=2)))
    assert names(spec) == ["FulfilmentScheduled"]
    assert status(spec).status == "held" and waits_for(spec)[0] == ("hold", minutes(1_000))
    spec.when(resolved("h1", open_holds=("h2",)))
    assert spec.published == []
    spec.when(resolved("h2"))
    assert names(spec) == ["FulfilOrder", "FulfilmentInstructed"]


def test_a_hold_resolved_before_the_release_and_read_after_it_keeps_no_part_back() -> None:
    """Topics have no order among each other: what the decision found held is released by an older fact."""
    spec = tracking().given(accepted(shirt=3), held("h1"), sourced(part(shirt=3)))
    spec.now = START - timedelta(minutes=5)
    spec.when(resolved("h1")).then()
    spec.advance(timedelta(minutes=5))
    assert names(spec) == ["FulfilOrder", "FulfilmentInstructed"]


def test_a_hold_after_the_instruction_pauses_the_location() -> None:
    spec = at_work(shirt=2).when(held())
    spec.then(HoldFulfilment(fulfilment_order_id=PART, order_id=ORDER, location=STORE))
    assert status(spec).fulfilment_orders[0].status == "on_hold"
    spec.when(held("h2"))
    assert spec.published == []
    spec.given(resolved("h1", open_holds=("h2",))).when(resolved("h2"))
    spec.then(ResumeFulfilment(fulfilment_order_id=PART, order_id=ORDER, location=STORE))
    assert status(spec).fulfilment_orders[0].status == "requested"


def test_a_shortage_reduces_a_scheduled_part() -> None:
    """Its reservation is gone already: nothing is released a second time."""
    spec = tracking().given(accepted(shirt=3), sourced(part(release_at=minutes(30), shirt=3)))
    spec.when(shorted(shirt=1))
    assert spec.published == []
    spec.advance(timedelta(minutes=30))
    instruction = published(spec, FulfilOrder)
    assert isinstance(instruction, FulfilOrder) and [entry.quantity for entry in instruction.lines] == [2]


def test_a_shortage_of_an_instructed_part_asks_the_location_to_give_the_units_up() -> None:
    """Whatever it answers, sourcing has them: no cancellation is answered, and nothing ends twice."""
    spec = at_work(shirt=3).when(shorted(shirt=1))
    spec.then(
        CancelFulfilment(
            fulfilment_order_id=PART,
            order_id=ORDER,
            location=STORE,
            request_id=f"short:{PART}",
            lines=(LineQuantity(line_id="shirt", quantity=1),),
            answer_by=minutes(10),
        )
    )
    spec.when(gives_up(f"short:{PART}", shirt=1)).then()
    assert work(spec).left == 2
    spec.when(shorted(shirt=1))
    assert published(spec, CancelFulfilment).model_dump()["request_id"] == f"short:{PART}:2"


def test_the_rejection_of_a_shorted_unit_is_no_news() -> None:
    """The location looked for it, too."""
    spec = at_work(shirt=3).given(shorted(shirt=1)).when(rejects(shirt=1))
    spec.then()
    assert work(spec).left == 2
    spec.when(rejects(shirt=2))
    assert names(spec) == ["LinesRejectedByLocation", "ReservationEnded"]
    assert work(spec).left == 1


def test_a_shorted_unit_that_was_picked_and_is_given_up_goes_back_to_the_shelf() -> None:
    """Inventory has booked the pick, and nobody else takes it back; sourcing has planned the unit again."""
    spec = at_work(shirt=2).given(picks(shirt=2), shorted(shirt=1))
    spec.when(gives_up(f"short:{PART}", at=7, shirt=1))
    spec.then(_back("none", shirt=1, at=7))
    assert work(spec).carted == work(spec).left == 1
    spec.when(gives_up(f"short:{PART}", at=8, shirt=1)).then()


def test_a_shorted_unit_that_was_picked_and_leaves_is_not_put_back() -> None:
    spec = at_work(shirt=2).given(picks(shirt=2), shorted(shirt=1), ships(shirt=2))
    assert work(spec).shorted_carted == 0
    spec.when(gives_up(f"short:{PART}", shirt=1)).then()


def test_shorted_units_that_wait_at_the_counter_go_back_with_the_others() -> None:
    spec = at_work("click_and_collect", shirt=2).given(ready(shirt=2), shorted(shirt=1))
    spec.when(nobody_came(at=9))
    assert [(end.cause, end.lines[0].quantity) for end in spec.of(ReservationEnded)] == [("shorted", 1), ("not_collected", 1)]


def test_a_shorted_unit_that_is_rejected_as_damaged_can_not_be_sold() -> None:
    """Another unit was missing, and this one is damaged: inventory may count it as sellable."""
    spec = at_work(shirt=3).given(shorted(shirt=1))
    spec.when(rejects("damaged", at=6, shirt=1))
    spec.then(_back("damaged", shirt=1, at=6))
    assert work(spec).left == 2


def test_a_cancelled_unit_that_is_rejected_as_damaged_can_not_be_sold() -> None:
    """The location gave it up for the cancellation, and found the damage when it put it back. No more than it gave up."""
    spec = at_work(shirt=3).given(cancel(shirt=1), gives_up(shirt=1))
    spec.when(rejects("damaged", at=6, shirt=1))
    assert [(each.cause, each.reason, units(each.lines)) for each in spec.of(ReservationEnded)] == [("rejected", "damaged", {"shirt": 1})]
    spec.when(rejects("damaged", at=7, shirt=5))
    ended = [(each.cause, each.reason, units(each.lines)) for each in spec.of(ReservationEnded)]
    assert ended == [("shorted", "damaged", {"shirt": 1}), ("rejected", "damaged", {"shirt": 1})]


def test_a_unit_that_a_final_pick_left_out_may_be_explained_as_damaged_later() -> None:
    """The rejection was made before the pick and is read after it: the unit has ended as short, and can't be sold."""
    spec = at_work(shirt=3).given(picks(shirt=2, final=True))
    spec.when(rejects("damaged", at=2, shirt=1))
    spec.then(_back("damaged", shirt=1, at=2))
    assert (work(spec).ended, work(spec).left) == ({"short": 1}, 2)


def test_a_shorted_unit_that_a_final_pick_leaves_out_is_given_up_by_it() -> None:
    """What the location gives up afterwards is the unit it has picked, and sourcing plans it again."""
    spec = at_work(shirt=2).given(shorted(shirt=1), picks(shirt=1, final=True))
    assert (work(spec).shorted_open, work(spec).told_off) == (0, 1)
    spec.when(gives_up(f"short:{PART}", shirt=1))
    assert [(end.cause, end.lines[0].quantity) for end in spec.of(ReservationEnded)] == [("dropped", 1)]
    assert work(spec).left == 0


def test_what_was_given_up_before_the_final_pick_is_what_the_pick_left_out() -> None:
    """The answer is read after the pick that followed it: neither is the picked unit dropped, nor has anything left that was cancelled."""
    spec = at_work(shirt=2).given(shorted(shirt=1), picks(shirt=1, final=True))
    spec.when(gives_up(f"short:{PART}", at=2, shirt=1)).then()
    assert work(spec).left == 1
    spec = at_work(shirt=2).given(shorted(shirt=1), picks(shirt=1, final=True), ships(shirt=1))
    spec.when(gives_up(f"short:{PART}", at=2, shirt=1)).then()


def test_a_shorted_unit_that_was_picked_all_the_same_is_not_given_up_by_the_final_pick() -> None:
    spec = at_work(shirt=2).given(shorted(shirt=1), picks(shirt=2, final=True))
    assert work(spec).shorted_open == 1
    spec.when(gives_up(f"short:{PART}", shirt=1)).then()
    assert work(spec).left == 1


def _back(reason: Reason, at: float, **units: int) -> ReservationEnded:
    return ReservationEnded(
        part_id=PART,
        order_id=ORDER,
        location=STORE,
        cause="shorted",
        reason=reason,
        lines=tuple(FactLine(line_id=line, sku=line, quantity=n) for line, n in units.items()),
        occurred_at=minutes(at),
    )


def test_a_shorted_unit_that_is_shipped_all_the_same_is_booked_with_an_exception() -> None:
    spec = at_work(shirt=2).given(shorted(shirt=1)).when(ships(shirt=2))
    assert [(stock.unasked, stock.lines[0].quantity) for stock in spec.of(type(spec.published[1]))] == [(False, 1), (True, 1)]
    assert exceptions(spec) == ["shipped_too_many"]


def test_what_leaves_beyond_the_plan_is_told_apart() -> None:
    """Sourcing counts it for no part."""
    spec = at_work(shirt=2).when(ships(shirt=3))
    (left,) = spec.of(ParcelWasShipped)
    assert (units(left.lines), units(left.unplanned)) == ({"shirt": 3}, {"shirt": 1})


def test_a_shorted_unit_that_is_shipped_is_not_taken_for_one_the_buyer_was_told_is_cancelled() -> None:
    """The cancelled one was never asked of the location."""
    spec = tracking().given(accepted(shirt=3), sourced(part(release_at=minutes(1), shirt=3)), cancel(shirt=1))
    spec.advance(timedelta(minutes=1))
    spec.given(shorted(shirt=1)).when(ships(shirt=2))
    assert exceptions(spec) == ["shipped_too_many"]


def test_a_shortage_of_units_that_have_left_tells_a_person_that_they_are_sent_twice() -> None:
    """A count overtook the report of the departure; sourcing can't know."""
    spec = at_work(shirt=2).given(ships(shirt=2)).when(shorted(shirt=1))
    assert exceptions(spec) == ["shipped_too_many"]
    assert work(spec).left == 0


def test_a_location_that_never_accepts_is_late_once() -> None:
    spec = at_work(shirt=1)
    assert waits_for(spec) == [("location", minutes(60))]
    spec.advance(timedelta(hours=1))
    assert names(spec) == ["FulfilmentExceptionOpened"]
    assert waits_for(spec) == [("location", None)]
    spec.given(takes_on())
    assert waits_for(spec) == [("location", SHIP_BY)]
    spec.advance(timedelta(hours=8))
    assert exceptions(spec) == ["late", "late"]
    assert waits_for(spec) == [("location", None)]


def test_a_location_that_accepted_is_not_late() -> None:
    spec = at_work(shirt=1).given(takes_on()).advance(timedelta(hours=1))
    assert spec.published == []


def test_parts_of_a_split_order_are_apart() -> None:
    spec = tracking().given(accepted(shirt=2)).when(sourced(part(1, shirt=1), part(2, WAREHOUSE, shirt=1)))
    assert [instruction.location for instruction in spec.of(FulfilOrder)] == [STORE, WAREHOUSE]
    spec.when(rejects(shirt=1))
    assert [ended.part_id for ended in spec.of(ReservationEnded)] == [PART]
    assert line(spec).released == 1


def test_what_a_buyer_pays_at_the_counter_is_split_to_the_cent() -> None:
    """By value of what each location hands over; the last one collects the rest."""
    placed = accepted(shirt=2, mug=1)
    placed = placed.model_copy(update={"order": placed.order.model_copy(update={"to_collect_minor": 3_499})})
    spec = tracking().given(placed).when(sourced(part(1, shirt=1), part(2, WAREHOUSE, shirt=1, mug=1)))
    assert [told.to_collect_minor for told in spec.of(FulfilOrder)] == [1_166, 2_333]


def test_what_is_sourced_once_the_order_has_ended_keeps_no_units() -> None:
    """A unit was shorted and shipped all the same: sourcing learns too late that nothing is missing any more."""
    spec = at_work(shirt=2).given(shorted(shirt=1), ships(shirt=2), closed("completed"))
    spec.when(sourced(part(2, WAREHOUSE, shirt=1), cause="backorder"))
    ended = spec.of(ReservationEnded)
    assert [(each.part_id, each.cause, units(each.lines)) for each in ended] == [(f"{ORDER}/2", "cancelled", {"shirt": 1})]
    assert spec.of(FulfilOrder) == []


def test_what_nobody_was_told_to_do_when_the_order_ends_keeps_no_units() -> None:
    """The same, where sourcing was quicker."""
    spec = at_work(shirt=2).given(shorted(shirt=1), ships(shirt=2))
    spec.given(sourced(part(2, WAREHOUSE, release_at=minutes(500), shirt=1), cause="backorder"))
    spec.when(closed("completed"))
    assert [(each.part_id, each.cause) for each in spec.of(ReservationEnded)] == [(f"{ORDER}/2", "cancelled")]


def test_what_a_location_was_told_to_do_is_asked_back_when_the_order_ends() -> None:
    """A parcel of another part had a unit of the mug that nobody asked for, and sourcing gave up the rest of that line."""
    spec = at_work(mug=2).when(closed("completed"))
    spec.then(_asks_back(mug=2))
    spec.when(gives_up(f"closed:{PART}", at=5, mug=1))
    assert [(each.cause, units(each.lines)) for each in spec.of(ReservationEnded)] == [("cancelled", {"mug": 1})]
    spec.when(ships(mug=1))
    assert [(each.unasked, units(each.lines)) for each in spec.of(StockIssued)] == [(False, {"mug": 1})]
    assert exceptions(spec) == [] and work(spec, "mug").left == 0


def test_an_order_that_ends_twice_asks_its_locations_once() -> None:
    """Sourcing's decisions may still arrive, and each is looked through."""
    spec = at_work(mug=2).given(closed("completed")).when(sourced(part(2, WAREHOUSE, mug=1), cause="backorder"))
    assert spec.of(CancelFulfilment) == []
    assert [(each.part_id, each.cause) for each in spec.of(ReservationEnded)] == [(f"{ORDER}/2", "cancelled")]


def test_an_answer_that_names_the_request_before_it_was_made_does_not_keep_it_from_being_made() -> None:
    spec = at_work(mug=2).given(gives_up(f"closed:{PART}", mug=0)).when(closed("completed"))
    spec.then(_asks_back(mug=2))


def test_a_location_that_keeps_what_was_asked_back_is_late_in_the_end() -> None:
    """Nobody waits for its answer; the units stay with it, until a person asks."""
    spec = at_work(mug=1).given(closed("completed"), gives_up(f"closed:{PART}", mug=0))
    assert work(spec, "mug").left == 1
    spec.advance(timedelta(hours=1))
    assert exceptions(spec) == ["late"]


def test_units_that_were_asked_back_and_lose_their_stock_are_asked_for_once() -> None:
    """What the location gives up then frees nothing a second time."""
    spec = at_work(mug=2).given(closed("completed")).when(shorted(mug=1))
    assert names(spec) == [] and work(spec, "mug").left == 1
    spec.when(gives_up(f"closed:{PART}", at=5, mug=2))
    assert [(each.cause, units(each.lines)) for each in spec.of(ReservationEnded)] == [("cancelled", {"mug": 1})]


def test_nobody_sends_again_what_had_left_before_its_stock_was_taken_and_its_order_ended() -> None:
    spec = at_work(mug=1).given(ships(mug=1), closed("completed")).when(shorted(mug=1, ended=True))
    spec.then()


def test_a_shortage_that_was_planned_again_is_told_also_when_the_order_has_ended_since() -> None:
    """Sourcing found nothing more and gave the units up, and so the order ended without those that had left."""
    spec = at_work(mug=1).given(ships(mug=1), closed("partly_completed")).when(shorted(mug=1))
    assert exceptions(spec) == ["shipped_too_many"]


def _asks_back(**units: int) -> CancelFulfilment:
    return CancelFulfilment(
        fulfilment_order_id=PART,
        order_id=ORDER,
        location=STORE,
        request_id=f"closed:{PART}",
        lines=tuple(LineQuantity(line_id=line, quantity=n) for line, n in units.items()),
        answer_by=minutes(10),
    )


def test_units_shorted_before_the_instruction_are_none_that_the_location_rejects() -> None:
    """It was asked for two, and rejects those two: the third it never heard of."""
    spec = tracking().given(accepted(shirt=3), sourced(part(release_at=minutes(1), shirt=3)), shorted(shirt=1))
    spec.advance(timedelta(minutes=1))
    spec.when(rejects("closed", at=3, shirt=2))
    assert [(each.cause, units(each.lines)) for each in spec.of(ReservationEnded)] == [("rejected", {"shirt": 2})]
    assert waits_for(spec)[0][0] == "sourcing"
