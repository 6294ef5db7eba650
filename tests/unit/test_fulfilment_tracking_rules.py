"""The arithmetic of fulfilment in figures: units of a line of a part, what cancels count, and the statuses that follow."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import pytest

from schemas.forms import OrderSnapshot, Promise
from services.fulfilment_tracking import rules
from services.fulfilment_tracking.state import AskedUnits, Cancel, Content, Count, LineCounts, Order, Part, Units, Work
from shared.value import replace
from tests.support.fulfilment_tracking import ORDER, OTHER_PART, PART, PROMISE, SHIP_BY, STORE, accepted, minutes, planned
from tests.support.spec import START, in_form

ENDED_AT = minutes(5)


def part(part_id: str = PART, revision: int = 1, to_collect_minor: int = 0, **lines: Work) -> Part:
    return Part(
        part_id,
        STORE,
        "home",
        release_at=START,
        ship_by=SHIP_BY,
        promise=in_form(Promise, PROMISE),
        lines=lines,
        revision=revision,
        to_collect_minor=to_collect_minor,
    )


def order(*parts: Part, **units: int) -> Order:
    """An order of so many units by line, 10.00 each, with these parts."""
    return Order(ORDER, content=content(**units), parts={each.part_id: each for each in parts})


def content(to_collect_minor: int = 0, **units: int) -> Content:
    return replace(Content.of(in_form(OrderSnapshot, accepted("home", (), **units).order)), to_collect_minor=to_collect_minor)


# ---- units of one line of one part ----


def test_units_end_from_those_that_were_not_picked_and_the_last_time_stands() -> None:
    work = Work("shirt", planned=3, carted=2)
    once = rules.end(work, "rejected", 1, ENDED_AT, instructed=True)
    assert once == replace(work, ended={"rejected": 1}, ended_at=ENDED_AT)
    again = rules.end(once, "rejected", 1, minutes(2), instructed=True)
    assert again == replace(work, ended={"rejected": 2}, ended_at=ENDED_AT, carted=1)


def test_units_that_leave_from_here_were_picked_here() -> None:
    work = Work("shirt", planned=3, carted=1)
    assert rules.serve(work, 1, here=True) == replace(work, served=1, carted=0)
    assert rules.serve(work, 1, here=False) == replace(work, served=1)


def test_ready_units_are_what_a_total_adds_and_no_more_than_are_left() -> None:
    assert rules.newly_ready(Work("shirt", planned=3, ready_said=1), 2) == 1
    assert rules.newly_ready(Work("shirt", planned=2, ready_said=1), 5) == 1


@pytest.mark.parametrize(
    ("total", "at", "contradicts"),
    [(2, minutes(6), False), (3, minutes(4), False), (3, ENDED_AT, True), (3, minutes(6), True), (4, minutes(4), True)],
)
def test_a_total_contradicts_unless_it_is_older_than_the_end_of_its_units(total: int, at: datetime, contradicts: bool) -> None:
    """Three planned, one of them rejected at five past."""
    work = Work("shirt", planned=3, ended={"rejected": 1}, ended_at=ENDED_AT)
    assert rules.contradicts(work, total, at) == contradicts


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (Work("shirt"), "unasked"),
        (Work("shirt", planned=1, ended={"cancelled": 1}), "shipped_after_cancel"),
        (Work("shirt", planned=1, ended={"changed": 1}), "shipped_after_cancel"),
        (Work("shirt", planned=1, ended={"rejected": 1}), "contradiction"),
        (Work("shirt", planned=1, ended={"shorted": 1}), "shipped_too_many"),
        (Work("shirt", planned=1), "shipped_too_many"),
    ],
)
def test_units_beyond_the_plan_mean_what_became_of_it(work: Work, kind: rules.OverKind) -> None:
    assert rules.over_kind(work) == kind


# ---- cancels ----


def test_cancels_count_by_line_and_part() -> None:
    asked = (
        AskedUnits(PART, "shirt", 2, lost=1),
        AskedUnits(PART, "mug", 3, lost=2),
        AskedUnits(OTHER_PART, "shirt", 4, lost=4),
    )
    known = Order(ORDER, cancels={"c1": Cancel("c1", START, asked)})
    assert rules.asked_units(known, PART, "shirt") == 2
    assert rules.lost_to_cancels(known, PART, "shirt") == 1


@pytest.mark.parametrize(
    ("work", "asked", "believed", "counted_already", "lost"),
    [
        (Work("shirt", planned=3, ended={"rejected": 2}), 3, 5, 1, 1),
        (Work("shirt", planned=5, ended={"rejected": 4}), 3, 3, 1, 1),
        (Work("shirt", planned=5, ended={"short": 3}, served=1), 3, 3, 0, 1),
        (Work("shirt", planned=5, ended={"dropped": 4}), 1, 5, 0, 1),
        (Work("shirt", planned=5, ended={"dropped": 4}), 3, None, 0, 2),
    ],
    ids=["no more than were lost", "another cancel counted one", "one went to the buyer", "no more than were asked for", "believed unsaid"],
)
def test_units_lost_before_sourcing_could_know(work: Work, asked: int, believed: int | None, counted_already: int, lost: int) -> None:
    assert rules.lost_unseen(work, asked, believed, counted_already) == lost


def test_units_asked_back_at_the_end_are_those_that_the_location_still_has_to_do() -> None:
    """The mugs have left; what has the other part's id was asked for by somebody else."""
    here = part(shirt=Work("shirt", planned=1), mug=Work("mug", planned=2, served=2))
    known = order(here, part(OTHER_PART, hat=Work("hat", planned=1)), shirt=1, mug=2, hat=1)
    requests = (Cancel(f"closed:{PART}", START, quiet=True), Cancel(f"closed:{OTHER_PART}", START))
    assert rules.asked_back(replace(known, cancels={each.request_id: each for each in requests})) == {(PART, "shirt"): 1}


@pytest.mark.parametrize(
    "cancel",
    [
        Cancel("c1", START, asked=(AskedUnits(PART, "mug", 0), AskedUnits(PART, "shirt", 1))),
        Cancel("c1", START, asked=(AskedUnits(PART, "shirt", 0, lost=1),)),
        Cancel("c1", START, cancelled=(Units("shirt", 1),)),
        Cancel("c1", START, too_late=(Units("shirt", 1),)),
    ],
    ids=["asked for", "lost before", "cancelled at once", "too late"],
)
def test_a_request_is_for_some_units_whatever_becomes_of_them(cancel: Cancel) -> None:
    assert rules.is_request(cancel)


def test_an_answer_that_nobody_asked_for_is_no_request() -> None:
    assert not rules.is_request(Cancel("c1", START, asked=(AskedUnits(PART, "shirt", 0, heard=2),), answered=(PART,)))


def test_a_rejection_without_a_reason_has_another_reason() -> None:
    assert rules.rejection("none") == "other"
    assert rules.rejection("damaged") == "damaged"


# ---- a part as a whole ----


def test_units_asked_for_are_those_left_and_those_that_went_to_the_buyer() -> None:
    here = part(shirt=Work("shirt", planned=3, served=2), mug=Work("mug", planned=1))
    lines = planned(shirt=2, mug=1, hat=1)
    assert rules.within_left(here, lines) == (Units("shirt", 1), Units("mug", 1))
    assert rules.beyond_left(here, lines) == (Units("shirt", 1),)


def test_a_part_whose_units_left_is_closed_with_more_than_planned_too() -> None:
    assert rules.part_status(part(shirt=Work("shirt", planned=1, served=1, over=1))) == "closed"


def test_a_part_whose_demand_was_changed_away_is_cancelled() -> None:
    assert rules.part_status(part(shirt=Work("shirt", planned=1, ended={"changed": 1}))) == "cancelled"
    assert rules.part_status(part(shirt=Work("shirt", planned=1, ended={"rejected": 1}))) == "incomplete"


# ---- one line of the order ----


@pytest.mark.parametrize("what", get_args(Count))
def test_what_others_decided_is_counted_and_never_below_zero(what: Count) -> None:
    assert rules.counted(LineCounts(), what, 2) == LineCounts(**{what: 2})
    assert rules.counted(LineCounts(), what, -1) == LineCounts()


def test_what_nobody_ordered_is_no_units() -> None:
    assert rules.ordered(Order(ORDER), "shirt") == 0
    assert rules.ordered(order(shirt=2), "mug") == 0


def test_what_neither_ended_nor_stands_in_a_part_is_with_sourcing() -> None:
    here = part(shirt=Work("shirt", planned=4, served=1, ended={"rejected": 1}), hat=Work("hat", planned=3))
    known = replace(order(here, shirt=6, mug=2, hat=2), lines={"shirt": LineCounts(cancelled=1, unfillable=1)})
    assert [rules.unaccounted(known, name) for name in ("shirt", "mug", "hat")] == [1, 2, 0]


# ---- what the location collects ----


def test_a_part_collects_its_share_and_the_last_one_the_rest() -> None:
    """100 for a shirt and a mug of equal value; the mug's part isn't instructed, then it is."""
    shirts, mugs = part(shirt=Work("shirt", planned=1)), part(OTHER_PART, revision=0, mug=Work("mug", planned=1))
    asked = content(100, shirt=1, mug=1)
    assert rules.to_collect_minor(order(shirts, mugs, shirt=1, mug=1), asked, shirts) == 50
    instructed = replace(shirts, to_collect_minor=30)
    assert rules.to_collect_minor(order(instructed, mugs, shirt=1, mug=1), asked, mugs) == 70


def test_nothing_is_collected_beyond_what_others_were_told_to_collect() -> None:
    shirts, mugs = part(shirt=Work("shirt", planned=1), to_collect_minor=120), part(OTHER_PART, mug=Work("mug", planned=1))
    assert rules.to_collect_minor(order(shirts, mugs, shirt=1, mug=1), content(100, shirt=1, mug=1), mugs) == 0


def test_the_smallest_amount_is_collected_too() -> None:
    shirts = part(shirt=Work("shirt", planned=1))
    assert rules.to_collect_minor(order(shirts, shirt=1), content(1, shirt=1), shirts) == 1


@pytest.mark.parametrize("counts", [LineCounts(cancelled=1), LineCounts(unfillable=1)])
def test_units_that_ended_have_no_share(counts: LineCounts) -> None:
    """Of two shirts and two mugs one mug has ended: a shirt is a third."""
    shirts = part(shirt=Work("shirt", planned=1), hat=Work("hat", planned=5))
    known = replace(order(shirts, shirt=2, mug=2), lines={"mug": counts})
    assert rules.to_collect_minor(known, content(3000, shirt=2, mug=2), shirts) == 1000


def test_without_an_order_a_part_collects_everything() -> None:
    shirts = part(shirt=Work("shirt", planned=1))
    assert rules.to_collect_minor(Order(ORDER, parts={PART: shirts}), content(100, shirt=1), shirts) == 100
