"""A small discrete-event simulation: machines whose cores are shared by turns, and loops that work in batches, as the services do.

A machine gives each task that runs on it one core, or its share where there are more tasks than cores. A loop takes what waits for it, at
most a batch; it spends CPU of its own, then CPU of its database, then waits for the commit, and is free again. What it sends costs the
broker, travels for a while, and is there for the next. Time is in milliseconds.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MAX_BATCH = 256
Then = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU milliseconds: for each batch, and for each input in it."""

    a_batch: float
    an_input: float

    def of(self, inputs: int) -> float:
        return self.a_batch + self.an_input * inputs


class Machine:
    """So many cores."""

    def __init__(self, name: str, cores: int) -> None:
        self.name = name
        self.busy_ms = 0.0
        """Core milliseconds spent."""
        self._cores = cores
        self._left: dict[int, tuple[float, Then]] = {}
        self._at = 0.0

    def run(self, now: float, work_ms: float, then: Then, number: int) -> None:
        self._go_on(now)
        self._left[number] = (work_ms, then)

    def _go_on(self, now: float) -> None:
        """Each task gets its share of the time since."""
        given = (now - self._at) * self._speed()
        self._at = now
        self.busy_ms += given * len(self._left)
        self._left = {number: (left - given, then) for number, (left, then) in self._left.items()}

    def advance(self, now: float) -> list[Then]:
        """What is done by now."""
        self._go_on(now)
        done = [number for number, (left, _) in self._left.items() if left <= 1e-9]
        return [self._left.pop(number)[1] for number in done]

    def next_done(self) -> float:
        """When the first of its tasks is done, if none comes."""
        if not self._left:
            return float("inf")
        return self._at + max(0.0, min(left for left, _ in self._left.values())) / self._speed()

    def _speed(self) -> float:
        return min(1.0, self._cores / len(self._left)) if self._left else 1.0


class Clock:
    """What happens when."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.now = 0.0
        self._machines = machines
        self._later: list[tuple[float, int, Then]] = []
        self._numbers = itertools.count()

    def after(self, ms: float, then: Then) -> None:
        heapq.heappush(self._later, (self.now + ms, next(self._numbers), then))

    def work(self, machine: Machine, ms: float, then: Then) -> None:
        machine.run(self.now, ms, then, next(self._numbers))

    def run_until(self, end: float) -> None:
        while True:
            soonest = min(self._machines, key=Machine.next_done)
            later = self._later[0][0] if self._later else float("inf")
            at = min(later, soonest.next_done())
            if at > end:
                self.now = end
                for machine in self._machines:
                    for then in machine.advance(end):
                        then()
                return
            self.now = at
            if later <= at:
                heapq.heappop(self._later)[2]()
            for then in soonest.advance(at):
                then()


@dataclass(slots=True)
class Loop:
    """One replica of one service. `sends` is told which orders a batch has done."""

    name: str
    clock: Clock
    home: Machine
    database: Machine
    broker: Machine
    cost: Cost
    database_cost: Cost
    broker_cost: Cost
    commit_ms: float
    hop_ms: float
    sends: Callable[[Sequence[int]], None]
    waiting: deque[int] = field(default_factory=deque)
    busy_ms: float = 0.0
    _began: float = -1.0

    def put(self, orders: Sequence[int]) -> None:
        self.waiting.extend(orders)
        self._take()

    def _take(self) -> None:
        if self._began >= 0 or not self.waiting:
            return
        self._began = self.clock.now
        batch = [self.waiting.popleft() for _ in range(min(MAX_BATCH, len(self.waiting)))]
        self.clock.work(self.home, self.cost.of(len(batch)), lambda: self._store(batch))

    def _store(self, batch: Sequence[int]) -> None:
        self.clock.work(
            self.database, self.database_cost.of(len(batch)), lambda: self.clock.after(self.commit_ms, lambda: self._end(batch))
        )

    def _end(self, batch: Sequence[int]) -> None:
        self.busy_ms += self.clock.now - self._began
        self._began = -1.0
        self.clock.work(self.broker, self.broker_cost.of(len(batch)), lambda: self.clock.after(self.hop_ms, lambda: self.sends(batch)))
        self._take()
