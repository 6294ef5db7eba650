"""Who looks again and again whether there is something new looks once after each change, not ten times a second while nothing happens.

What a look would find is the same; it takes no turn, and no die is thrown for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from shared.kernel.memory_clock import VirtualClock
from shared.kernel.memory_tables import Database
from shared.kernel.ports import Clock, Signal

READER_S, GROUP_READER_S = 30.0, 2.0
"""How long a fetch waits where nothing arrives. Members of a group of two look more often, for the other one may be silent."""
PUBLISHER_S, ENGINE_S = 2.0, 3.0
"""Longest time between two looks at a database where nothing was committed: for what is due by time alone."""
TIMER_SLACK = timedelta(milliseconds=310)
"""How long after its due time a timer runs at the soonest where nothing newer was read."""


def next_deadline(database: Database) -> datetime | None:
    """When the next timer or kept message is due."""
    timers = (timer.due for timer in database.table("timer").values())
    kept = (kept.row.until for kept in database.table("kept").values())
    return min((*timers, *kept), default=None)


@dataclass(frozen=True)
class PatientClock:
    """The clock of whoever looks for what others have committed."""

    clock: Clock
    """Its process's."""
    patience_s: float
    turns: VirtualClock
    database: Database

    def now(self) -> datetime:
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def signal(self) -> PatientSignal:
        return PatientSignal(self.turns, self.database, self.patience_s)


class PatientSignal:
    """See ports.Signal. Where nothing was committed since the wait before, the last look has seen all there is: the next one comes as
    late after the next commit as it would at most, or when a timer is due."""

    def __init__(self, clock: VirtualClock, database: Database, patience_s: float) -> None:
        self._signal: Signal = clock.signal()
        self._clock = clock
        self._database = database
        self._patience_s = patience_s
        self._seen = -1

    def set(self) -> None:
        self._signal.set()

    async def wait(self, at_most_s: float) -> None:
        if self._seen != self._database.commits or at_most_s >= self._patience_s:
            self._seen = self._database.commits
            await self._signal.wait(at_most_s)
            return
        soon: Callable[[], None] = partial(self._clock.later, at_most_s, self._signal.set)
        self._database.watching.append(soon)
        await self._signal.wait(max(at_most_s, self._patient_s()))
        if soon in self._database.watching:
            self._database.watching.remove(soon)

    def _patient_s(self) -> float:
        due = next_deadline(self._database)
        left_s = (due + TIMER_SLACK - self._clock.now()).total_seconds() if due is not None else self._patience_s
        return min(left_s, self._patience_s)
