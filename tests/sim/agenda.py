"""What shall happen at which moment of a world, whoever makes it happen: people, faults, restarts."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

from shared.kernel.memory_clock import VirtualClock


class Agenda:
    """Everything that is to happen, in order of (due, who was noted first)."""

    def __init__(self, clock: VirtualClock, note: Callable[[str], None]) -> None:
        self._clock = clock
        self._note = note
        self._numbers = count()
        self._due: list[tuple[datetime, int, str, Callable[[], None]]] = []

    def __len__(self) -> int:
        return len(self._due)

    def later(self, seconds: float, what: str, act: Callable[[], None]) -> None:
        due = self._clock.now() + timedelta(seconds=seconds)
        heapq.heappush(self._due, (due, next(self._numbers), what, act))

    def next_due(self) -> datetime | None:
        return self._due[0][0] if self._due else None

    def act(self) -> None:
        """The next thing happens: it becomes the time for it."""
        due, _, what, act = heapq.heappop(self._due)
        self._clock.pass_to(due)
        self._note(what)
        act()
