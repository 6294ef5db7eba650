"""Runs coroutines by turns, without any event loop: who is ready goes on, by seeded choice; when nobody is, the time moves on.

What awaits anything but a pause of this scheduler fails, so that a world which runs here is known to wait for its ports only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from shared.kernel.memory_clock import VirtualClock

TURNS_AT_MOST = 2_000_000
_yielding = cast("Callable[[tuple[TurnPause, ...]], Generator[TurnPause, None, None]]", iter)
"""What yields these and ends: a generator of Python costs three times as much, at every step."""
_NOTHING = _yielding(())


class TurnPause:
    """A pause (see memory_clock) whose opening makes its task ready."""

    __slots__ = ("_ready", "opened", "task")

    def __init__(self, ready: list[Task]) -> None:
        self.task: Task | None = None
        self.opened = False
        self._ready = ready

    def open(self) -> None:
        if not self.opened:
            self.opened = True
            if self.task is not None:
                self._ready.append(self.task)

    def __await__(self) -> Generator[TurnPause, None, None]:
        return _NOTHING if self.opened else _yielding((self,))


class GivenWay(TurnPause):
    """Open from the beginning: whoever else is ready may go first."""

    def __init__(self) -> None:
        super().__init__([])
        self.opened = True

    def __await__(self) -> Generator[TurnPause, None, None]:
        return _yielding((self,))


class AtOnce:
    """Nothing to wait for."""

    def __await__(self) -> Generator[TurnPause, None, None]:
        return _NOTHING


GIVE_WAY, AT_ONCE = GivenWay(), AtOnce()


@dataclass(eq=False, slots=True)
class Task:
    name: str
    coroutine: Coroutine[Any, Any, None]
    failed: Callable[[BaseException], None]
    done: bool = False
    frozen: bool = False
    """While it is, it takes no turn, ready or not: its process is stopped."""

    def end(self) -> None:
        """Stopped where it waits, as by a crash of its process: it only hears GeneratorExit."""
        self.done = True
        self.coroutine.close()


class Turns:
    """One world: its clock, its tasks, its dice."""

    def __init__(self, seed: int, start: datetime) -> None:
        self.dice = random.Random(seed)
        self.clock = VirtualClock(start, self.pause)
        self.taken = 0
        self.at_most = TURNS_AT_MOST
        self.idle: Callable[[], bool] = lambda: False
        """Asked when nobody is ready: whether it made something happen; otherwise the next sleeper wakes."""
        self._ready: list[Task] = []
        self._stopped: list[Task] = []
        """Frozen, with a turn to take."""

    def pause(self) -> TurnPause:
        return TurnPause(self._ready)

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, None], failed: Callable[[BaseException], None]) -> Task:
        task = Task(name, coroutine, failed)
        self._ready.append(task)
        return task

    def thaw(self, tasks: Sequence[Task]) -> None:
        """They go on where they were stopped."""
        for task in tasks:
            task.frozen = False
        self._ready += [task for task in self._stopped if not task.frozen]
        self._stopped = [task for task in self._stopped if task.frozen]

    def run(self, until: Callable[[], bool], end: datetime) -> None:
        """Runs until the condition holds when nobody is ready; asserts that it does before `end`."""
        ready, random = self._ready, self.dice.random
        while True:
            while ready:
                self._turn(ready.pop(int(random() * len(ready)) if len(ready) > 1 else 0))
            if until():
                return
            if not self.idle():
                due = self.clock.next_due()
                assert due is not None, "nobody is ready and nobody sleeps"
                self.clock.advance(due)
            assert self.clock.now() <= end, f"did not come to rest by {end}"

    def _turn(self, task: Task) -> None:
        if task.done or task.frozen:
            if not task.done:
                self._stopped.append(task)
            return
        self.taken += 1
        assert self.taken < self.at_most, "turns without end"
        try:
            pause = task.coroutine.send(None)
        except StopIteration:
            task.done = True
        except BaseException as error:  # noqa: BLE001 - whoever started the task judges what ended it
            task.done = True
            task.failed(error)
        else:
            assert isinstance(pause, TurnPause), f"{task.name} awaits {pause!r}, which is no port"
            pause.task = task
            if pause.opened:
                self._ready.append(task)
