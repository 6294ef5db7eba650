"""Who looks again and again whether there is something new looks once after each change, not ten times a second while nothing happens.

What a look would find is the same; it takes no turn, and no die is thrown for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from shared.kernel.memory_clock import VirtualClock
from shared.kernel.memory_tables import Database
from shared.kernel.ports import Clock, Signal

PATIENCE_S = 1.0
"""Longest time between two looks: for what is due by time alone."""


@dataclass(frozen=True)
class PatientClock:
    """The clock of a publisher: it looks for what others have committed into its lanes."""

    clock: Clock
    """Its process's."""
    turns: VirtualClock
    database: Database

    def now(self) -> datetime:
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def signal(self) -> PatientSignal:
        return PatientSignal(self.turns, self.database)


class PatientSignal:
    """See ports.Signal. Where nothing was committed since the wait before, the last look has seen all there is: the next one comes as
    late after the next commit as it would at most."""

    def __init__(self, clock: VirtualClock, database: Database) -> None:
        self._signal: Signal = clock.signal()
        self._clock = clock
        self._database = database
        self._seen = -1

    def set(self) -> None:
        self._signal.set()

    async def wait(self, at_most_s: float) -> None:
        if self._seen != self._database.commits:
            self._seen = self._database.commits
            await self._signal.wait(at_most_s)
            return
        soon = partial(self._clock.later, at_most_s, self._signal.set)
        self._database.watching.append(soon)
        await self._signal.wait(max(at_most_s, PATIENCE_S))
        if soon in self._database.watching:
            self._database.watching.remove(soon)
