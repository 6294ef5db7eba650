"""How long it takes until an injured service works again.

The clock starts at the injury where it is a blow (kill -9, a database session ended), and at the end of the outage where it lasts
(SIGCONT, broker or database answering again, network mended, space given back, the extra replica gone). It stops when the service has
committed all that was seen in its inputs, on every partition, at a goal: a moment at least GOAL_AFTER_S later at which something had been
appended to its inputs since. So it can't stop because another replica had nothing to do. What it tells is when the look at the database
began that proved it: at most a look (a quarter of a second, and the time it takes) too much.

Injuries overlap. One that still runs when an outage of something the same service needs comes to its end starts its clock again there: a
service can't resume without its broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tests.chaos.observer import Observer, Positions

GOAL_AFTER_S = 0.5
LOOK_S = 0.1


@dataclass(slots=True)
class Pending:
    """A service that was injured and isn't known to work again."""

    kind: str
    number: int
    """Which injury; one may hit several services."""
    service: str
    since_s: float
    since_wall_ms: float
    goal: Positions | None = None


class Recoveries:
    """Measures all injuries of a round."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._pending: list[Pending] = []
        self._numbers = 0
        self._slowest: dict[int, float] = {}
        self._kinds: dict[int, str] = {}

    def open(self, kind: str, services: Iterable[str]) -> None:
        """The clock of these services starts now; an injury of several is over when the last one works."""
        self._numbers += 1
        self._kinds[self._numbers] = kind
        for service in services:
            self._pending.append(Pending(kind, self._numbers, service, time.monotonic(), time.time() * 1000))

    def outage_ended(self, services: Iterable[str]) -> None:
        """What these services need is there again: what they still had to recover from begins anew."""
        now, wall_ms, names = time.monotonic(), time.time() * 1000, set(services)
        for pending in self._pending:
            if pending.service in names:
                pending.since_s, pending.since_wall_ms, pending.goal = now, wall_ms, None

    @property
    def left(self) -> int:
        return len(self._pending)

    async def watch(self) -> None:
        while True:
            self._pending = [each for each in self._pending if not self._is_over(each)]
            await asyncio.sleep(LOOK_S)

    def figures(self) -> dict[str, list[float]]:
        """Seconds of every injury that is over, by kind. Those that aren't have no figure."""
        unfinished = {pending.number for pending in self._pending}
        found: dict[str, list[float]] = {}
        for number, seconds in self._slowest.items():
            if number not in unfinished:
                found.setdefault(self._kinds[number], []).append(round(seconds, 2))
        return found

    def _is_over(self, pending: Pending) -> bool:
        if pending.goal is None:
            pending.goal = self._goal_of(pending)
            return False
        looked_s = self._observer.looked_s[pending.service]
        positions = self._observer.positions[pending.service]
        if looked_s < pending.since_s or any(positions.get(at, 0) < end for at, end in pending.goal.items()):
            return False
        self._slowest[pending.number] = max(self._slowest.get(pending.number, 0.0), looked_s - pending.since_s)
        return True

    def _goal_of(self, pending: Pending) -> Positions | None:
        if time.monotonic() < pending.since_s + GOAL_AFTER_S:
            return None
        ends = self._observer.ends_for(pending.service)
        later = any(self._observer.newest_ms.get(at, 0) > pending.since_wall_ms for at in ends)
        return ends if later else None
