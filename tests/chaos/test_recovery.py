"""When an injured service counts as working again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.kernel.ports import TopicPartition
from tests.chaos import recovery
from tests.chaos.observer import Observer
from tests.chaos.recovery import Recoveries

FIRST, SECOND = TopicPartition("in", 0), TopicPartition("in", 1)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    time = monotonic


class Case:
    """A service with two input partitions, and what the observer sees of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr(recovery, "time", self.clock)
        self.ends = {FIRST: 5, SECOND: 5}
        self.seen: dict[str, Any] = {"newest_ms": {FIRST: 0.0}, "positions": {"s": {FIRST: 5, SECOND: 5}}, "looked_s": {"s": 0.0}}
        observer = SimpleNamespace(**self.seen, ends_for=lambda service: dict(self.ends))
        self.recoveries = Recoveries(cast(Observer, observer))

    def appended(self, at: TopicPartition) -> None:
        self.ends[at] += 1
        self.seen["newest_ms"][at] = self.clock.now_s * 1000

    def committed(self, at: TopicPartition) -> None:
        self.seen["positions"]["s"][at] = self.ends[at]

    def after(self, seconds: float) -> dict[str, list[float]]:
        """Time passes, the observer looks, and what is known by then."""
        self.clock.now_s += seconds
        self.seen["looked_s"]["s"] = self.clock.now_s
        pending = self.recoveries._pending
        self.recoveries._pending = [each for each in pending if not self.recoveries._is_over(each)]
        return self.recoveries.figures()


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(monkeypatch)


def test_a_service_with_nothing_to_do_has_not_shown_that_it_works(case: Case) -> None:
    case.recoveries.open("kill", ["s"])
    assert (case.after(1.0), case.after(5.0), case.recoveries.left) == ({}, {}, 1)


def test_it_works_again_when_all_partitions_are_taken_up_to_something_new(case: Case) -> None:
    """Those of the other replica do not count for those of the dead one."""
    case.recoveries.open("kill", ["s"])
    case.clock.now_s += 0.2
    case.appended(FIRST)
    case.appended(SECOND)
    case.committed(FIRST)
    assert case.after(0.8) == {}
    assert case.after(2.0) == {}
    case.committed(SECOND)
    assert case.after(1.0) == {"kill": [4.0]}


def test_an_outage_of_what_it_needs_starts_the_clock_again(case: Case) -> None:
    case.recoveries.open("kill", ["s"])
    case.after(30.0)
    case.recoveries.outage_ended(["s"])
    case.clock.now_s += 0.5
    case.appended(FIRST)
    assert case.after(0.5) == {}
    case.committed(FIRST)
    assert case.after(1.0) == {"kill": [2.0]}


def test_an_injury_of_several_services_is_over_with_the_last_one(case: Case) -> None:
    case.seen["positions"]["t"], case.seen["looked_s"]["t"] = {FIRST: 5, SECOND: 5}, 0.0
    case.recoveries.open("broker", ["s", "t"])
    case.clock.now_s += 1.0
    case.appended(FIRST)
    case.committed(FIRST)
    case.after(1.0)
    assert case.after(1.0) == {}
    case.seen["positions"]["t"][FIRST], case.seen["looked_s"]["t"] = case.ends[FIRST], case.clock.now_s
    assert list(case.after(1.0)) == ["broker"]
