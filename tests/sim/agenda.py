"""What shall happen at which moment of a world, whoever makes it happen: people, faults, restarts."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

from tests.support.turns import Turns


class Agenda:
    """One task that does everything when its time has come, in order of (due, who was noted first)."""

    def __init__(self, turns: Turns, note: Callable[[str], None]) -> None:
        self._turns = turns
        self._note = note
        self._news = turns.clock.signal()
        self._numbers = count()
        self._due: list[tuple[datetime, int, str, Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._due)

    def later(self, seconds: float, what: str, act: Callable[[], None]) -> None:
        due = self._turns.clock.now() + timedelta(seconds=seconds)
        heapq.heappush(self._due, (due, next(self._numbers), what, act))
        self._news.set()

    def next_due(self) -> datetime | None:
        return self._due[0][0] if self._due else None

    async def run(self) -> None:
        """For ever."""
        clock = self._turns.clock
        while True:
            while self._due and self._due[0][0] <= clock.now():
                _, _, what, act = heapq.heappop(self._due)
                self._note(what)
                act()
            due = self.next_due()
            await self._news.wait((due - clock.now()).total_seconds() if due else 3600.0)
