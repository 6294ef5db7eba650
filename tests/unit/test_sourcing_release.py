"""When a location is told: after the grace period, in time for its deadlines, and not so early that the buyer has the goods too soon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.reference import Policy
from schemas.sourcing import OrderSourced, Part
from tests.support.sourcing import Trade, accepted, goods, place
from tests.support.spec import START

PARIS = place("paris", preparation_minutes=60)
NICE = place("nice", 43.7, 7.27)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRACE = 6 * HOUR
"""From Monday 10:00 in Paris to 16:00, past the cut-off at 14:00."""


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """In March 2026, UTC; Paris is an hour ahead. The second is a Monday."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def parts(trade: Trade, **terms: Any) -> tuple[Part, ...]:
    (decision,) = trade.run(accepted(goods("a", "shirt"), **terms))
    assert isinstance(decision, OrderSourced)
    return decision.parts


def part(grace: timedelta = timedelta(0), **terms: Any) -> Part:
    """The only part of an order that Paris ships: collected at 17:00, with the buyer on the next working day."""
    trade = Trade(PARIS, policy=Policy(policy="default", grace_s=round(grace.total_seconds()))).stock({("shirt", "paris"): 3})
    (only,) = parts(trade, **terms)
    return only


def test_by_default_a_part_is_released_when_the_grace_period_ends() -> None:
    assert part().release_at == START
    late = part(GRACE)
    assert (late.release_at, late.ship_by, late.promise.day.day) == (START + GRACE, at(3, 16), 4)


@pytest.mark.parametrize(
    ("earliest", "release_at", "arrives"),
    [
        (at(3, 7), START, 3),
        (at(10, 7), at(8, 23), 10),
        (at(8, 12), at(5, 23), 9),
        (at(1, 7), START, 3),
    ],
    ids=["it comes no earlier anyway", "a week ahead", "a Sunday: on the Monday after", "in the past"],
)
def test_nothing_comes_before_the_street_date(earliest: datetime, release_at: datetime, arrives: int) -> None:
    """Released at the begin of the local day from which the buyer doesn't have it too early, and not a day later."""
    made = part(earliest=earliest)
    assert (made.release_at, made.promise.day.day) == (release_at, arrives)


def test_who_collects_does_not_find_it_before_the_street_date() -> None:
    made = part(earliest=at(10, 7), method="click_and_collect", collect_at="paris")
    assert (made.release_at, made.promise.day.day) == (at(9, 23), 10)


@pytest.mark.parametrize("terms", [{"ship_by": at(2, 16)}, {"deliver_by": at(3, 22)}], ids=["ship_by", "deliver_by"])
def test_a_deadline_that_the_grace_period_would_miss_shortens_it(terms: dict[str, datetime]) -> None:
    made = part(GRACE, **terms)
    assert (made.release_at, made.ship_by, made.promise.day.day) == (START, at(2, 16), 3)


def test_a_deadline_precedes_a_street_date() -> None:
    """The latest start that keeps it: the day itself."""
    made = part(earliest=at(20, 7), ship_by=at(4, 16))
    assert (made.release_at, made.ship_by) == (at(3, 23), at(4, 16))


def test_what_is_late_already_is_released_at_once() -> None:
    assert part(GRACE, ship_by=at(1, 16)).release_at == START


def test_parts_delivered_together_are_each_released_for_the_same_day() -> None:
    """One is a day farther from the buyer: it starts a day earlier."""
    trade = Trade(PARIS, NICE).stock({("shirt", "paris"): 1, ("hat", "nice"): 1})
    body = accepted(goods("a", "shirt"), goods("b", "hat"), completeness="deliver_together", earliest=at(12, 7))
    (decision,) = trade.run(body)
    assert isinstance(decision, OrderSourced)
    releases = {each.location: each.release_at for each in decision.parts}
    assert releases == {"paris": at(10, 23), "nice": at(9, 23)}
    assert {each.promise.day.day for each in decision.parts} == {12}


def test_a_date_at_the_end_of_time_is_survived() -> None:
    """Put off, but not for ever."""
    end = datetime.max.replace(tzinfo=UTC)
    assert part(earliest=end, ship_by=end, deliver_by=end).release_at == datetime(2028, 11, 23, 23, tzinfo=UTC)
