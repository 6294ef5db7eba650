"""After a batch, records gather for a moment: as long as it took, after one of many twice as long, and never long; nobody waits where
nothing is going on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from shared.kernel import engine
from shared.kernel.engine import CARRY_S, GATHER_S
from shared.value import replace
from tests.support.counting import DESK, HOUSE, Ask
from tests.support.small_world import SmallWorld

MS = timedelta(milliseconds=1)


class SlowStore(SmallWorld):
    """One process of the desk, whose commits take their time; it notes when it decides, and how many asks."""

    def __init__(self, commit: timedelta, *, unhurried: bool = False) -> None:
        self.batches: list[tuple[datetime, int]] = []
        self._commit_s = commit.total_seconds()
        super().__init__(seed=1, services=(replace(DESK, unhurried=frozenset({Ask})) if unhurried else DESK, HOUSE))
        self.process("desk").start()
        self.run_for(timedelta(seconds=3))

    def hook(self, process: str, failure: type[Exception]) -> Callable[[str], Awaitable[None]]:
        step = super().hook(process, failure)

        async def slowly(what: str) -> None:
            await step(what)
            if what == "known":
                self.batches.append((self.turns.clock.now(), 0))
            if what == "commit" and self.batches:
                await self.turns.clock.sleep(self._commit_s)
            if what == "commit answer" and self.batches:
                self.batches[-1] = (self.batches[-1][0], self._asked())

        return slowly

    def _asked(self) -> int:
        """How many were decided by this batch."""
        asked: int = sum(tally.asked for tally in self.states("desk", "tally").values())
        return asked - sum(count for _, count in self.batches[:-1])

    def asks(self, *after: timedelta) -> list[tuple[timedelta, int]]:
        """One ask after each of these times from now; the batches they were decided in: when from now, and how many."""
        began = self.turns.clock.now()
        for time in after:
            self.run_for(began + time - self.turns.clock.now())
            self.ask("a", 1)
        self.run_for(timedelta(seconds=1))
        return [(at - began, count) for at, count in self.batches]


def test_what_arrives_within_the_time_of_a_batch_is_decided_together() -> None:
    """The first took 10 ms: the next one waits until 20 ms."""
    world = SlowStore(commit=10 * MS)
    assert world.asks(0 * MS, 2 * MS, 15 * MS, 29 * MS, 50 * MS) == [(0 * MS, 1), (20 * MS, 2), (40 * MS, 1), (60 * MS, 1)]


def test_after_a_batch_of_many_twice_its_time_is_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first took 10 ms: the next one waits until 30 ms."""
    monkeypatch.setattr(engine, "MANY", 1)
    world = SlowStore(commit=10 * MS)
    assert world.asks(0 * MS, 2 * MS, 15 * MS, 29 * MS, 50 * MS) == [(0 * MS, 1), (30 * MS, 3), (60 * MS, 1)]


def test_nobody_waits_when_nothing_is_going_on() -> None:
    world = SlowStore(commit=10 * MS)
    assert world.asks(0 * MS, 31 * MS, 200 * MS) == [(0 * MS, 1), (31 * MS, 1), (200 * MS, 1)]


def test_however_long_a_batch_took_the_next_one_waits_no_longer_than_a_moment() -> None:
    world = SlowStore(commit=400 * MS)
    assert world.asks(0 * MS, 10 * MS, 410 * MS) == [(0 * MS, 1), (400 * MS + timedelta(seconds=GATHER_S), 2)]


def test_after_a_whole_batch_the_next_whole_one_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_BATCH", 3)
    world = SlowStore(commit=10 * MS)
    assert world.asks(0 * MS, *([1 * MS] * 6), 2 * MS) == [(0 * MS, 1), (20 * MS, 3), (30 * MS, 3), (50 * MS, 1)]


def test_what_nobody_waits_for_is_decided_together_and_soon() -> None:
    world = SlowStore(commit=10 * MS, unhurried=True)
    soon = timedelta(seconds=CARRY_S)
    assert world.asks(0 * MS, 100 * MS, 240 * MS, 255 * MS) == [(soon, 3), (2 * soon + 20 * MS, 1)]
