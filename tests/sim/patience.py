"""Who looks again and again whether there is something new looks once after each change, not ten times a second while nothing happens.

What a look would find is the same; it takes no turn, and no die is thrown for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial

from shared.kernel.memory_clock import VirtualClock
from shared.kernel.memory_tables import ARCHIVE, Database
from shared.kernel.ports import Clock, Signal

READER_S, GROUP_READER_S = 30.0, 2.0
"""How long a fetch waits where nothing arrives. Members of a group of two look more often, for the other one may be silent."""
PUBLISHER_S, ENGINE_S = 2.0, 3.0
"""Longest time between two looks at a database where nothing was committed: for what is due by time alone."""
TIMER_SLACK = timedelta(milliseconds=310)
"""How long after its due time a timer runs at the soonest where nothing newer was read."""


ENGINE_LOOKS, OTHER_ENGINES = frozenset({"kept", "parked", "spool"}), frozenset({"timer"})
"""The tables in which an engine looks for work; and in which other replicas leave some. Of its own timers it knows."""
PUBLISHER_LOOKS, OTHER_PUBLISHERS = frozenset({ARCHIVE}), frozenset({"lane_out", "lane_sent", "parked"})
"""The same of a publisher, to which its engine hands over what it commits: its gate waits for the archive."""
DEADLINES = ("timer", "kept")


class Deadlines:
    """When the next timer or kept message of a database is due, sought again only where one was written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._news: object = None
        self._next: datetime | None = None

    def next(self) -> datetime | None:
        news = self._database.news(DEADLINES)
        if news != self._news:
            timers = (timer.due for timer in self._database.table("timer").values())
            kept = (kept.row.until for kept in self._database.table("kept").values())
            self._news, self._next = news, min((*timers, *kept), default=None)
        return self._next


def _none() -> None:
    """No deadline."""


class PatientClock:
    """The clock of whoever looks for what others have committed: its process's, with other signals."""

    def __init__(
        self,
        clock: Clock,
        patience_s: float,
        looks: Collection[str],
        turns: VirtualClock,
        database: Database,
        deadlines: Deadlines | None = None,
    ) -> None:
        """`looks`: the tables it looks at; `deadlines`: those it has to keep."""
        self.patience_s = patience_s
        self.looks = looks
        self.turns = turns
        self.database = database
        self.deadlines = deadlines
        self.now, self.now_s, self.sleep = clock.now, clock.now_s, clock.sleep

    def signal(self) -> PatientSignal:
        """It must be told of what its own process commits."""
        return PatientSignal(self)


class PatientSignal:
    """See ports.Signal. Where nothing it looks at was written since the wait before, the last look has seen all there is: the next one
    comes as late after the next commit as it would at most, or when a timer is due."""

    def __init__(self, clock: PatientClock) -> None:
        self._clock = clock.turns
        self._signal: Signal = self._clock.signal()
        self._database = clock.database
        self._next_deadline = clock.deadlines.next if clock.deadlines is not None else _none
        self._patience_s = clock.patience_s
        self._looks = clock.looks
        self._seen: object = None

    def set(self) -> None:
        self._signal.set()

    async def wait(self, at_most_s: float) -> None:
        looks = self._looks if not self._database.table("spool") else (*self._looks, "lane_in")
        news = self._database.news(looks)
        if self._seen != news or at_most_s >= self._patience_s:
            self._seen = news
            await self._signal.wait(at_most_s)
            return
        if not looks:
            await self._signal.wait(max(at_most_s, self._patient_s()))
            return
        soon: Callable[[], None] = partial(self._clock.later, at_most_s, self._signal.set)
        self._database.watch(looks, soon)
        await self._signal.wait(max(at_most_s, self._patient_s()))
        self._database.unwatch(soon)

    def _patient_s(self) -> float:
        due = self._next_deadline()
        left_s = (due + TIMER_SLACK - self._clock.now()).total_seconds() if due is not None else self._patience_s
        return min(left_s, self._patience_s)
