"""The network keeps a location's dates until its next cut-off: they must be those worked out anew."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from random import Random

import pytest

from schemas.reference import Carrier, Location, OpeningHours
from services.sourcing.projection import Network
from services.sourcing.promise import schedule

CLOCKS_CHANGE = datetime(2026, 10, 23, tzinfo=UTC)
"""Two days before Paris leaves summer time."""


def location(dice: Random, zone: str) -> Location:
    days = dice.sample(range(7), dice.randint(1, 7))
    hours = tuple(OpeningHours(weekday=day, opens=time(dice.choice((0, 2, 8))), closes=time(dice.choice((3, 12, 20)))) for day in days)
    return Location(
        location="place",
        kind="warehouse",
        zone=zone,
        country="FR",
        latitude=50.6,
        longitude=3.1,
        order_cut_off=time(dice.choice((2, 14, 23)), dice.choice((0, 30))),
        preparation_minutes=dice.choice((0, 15, 60, 1_000)),
        hours=hours if dice.random() < 0.6 else (),
        closed_on=((CLOCKS_CHANGE + timedelta(days=dice.randint(0, 5))).date(),),
    )


@pytest.mark.parametrize("zone", ["Europe/Paris", "Australia/Lord_Howe", "America/New_York", "UTC"])
@pytest.mark.parametrize("seed", range(10))
def test_kept_dates_are_those_worked_out_anew(zone: str, seed: int) -> None:
    """Whatever the order of the releases, around a change of clocks too."""
    dice = Random(seed)
    view, carrier = Network(), Carrier(carrier="post", collection=time(dice.choice((2, 9, 17)), dice.choice((0, 15))))
    place = location(dice, zone)
    for document in (place, carrier):
        view.apply(document)
    at = CLOCKS_CHANGE
    for _ in range(300):
        at += timedelta(minutes=dice.choice((-30, 1, 7, 20, 60)))
        km = dice.choice((10, 700))
        assert view.schedule(place, "home", carrier, km, at, "Europe/Paris") == schedule(place, "home", carrier, km, at, "Europe/Paris")


def test_a_newer_document_counts_at_once() -> None:
    view, carrier, at = Network(), Carrier(carrier="post"), CLOCKS_CHANGE
    early, late = location(Random(1), "UTC"), location(Random(1), "UTC").model_copy(update={"preparation_minutes": 9_000})
    view.apply(early)
    before = view.schedule(early, "home", carrier, 10, at, "UTC")
    view.apply(late)
    after = view.schedule(late, "home", carrier, 10, at, "UTC")
    assert after == schedule(late, "home", carrier, 10, at, "UTC") != before
