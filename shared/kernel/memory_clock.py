"""Time for the in-memory ports: a clock that stands still until somebody moves it.

All waiting goes through `Pause`, so that the same code runs on asyncio and under a scheduler without any event loop.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol

SECOND = 1_000_000
"""In microseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Hook = Callable[[str], Awaitable[None]]
"""Awaited with the name of a step before it is taken: it may let others go first, or raise what the step shall fail with."""


async def undisturbed(what: str) -> None:
    """The hook of a world in which nothing goes wrong."""


class Pause(Protocol):
    """What a task awaits until somebody opens it; opening it twice, or before, is fine."""

    def open(self) -> None: ...

    def __await__(self) -> Generator[Any, Any, None]: ...


class AsyncioPause:
    """A pause on the running event loop."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._future.__await__()


@dataclass(slots=True)
class _Act:
    """What an alarm does where nobody sleeps."""

    open: Callable[[], None]


class _Alarm:
    """A pause that the time will open, unless somebody does before."""

    __slots__ = ("live", "pause")

    def __init__(self, pause: Pause | _Act) -> None:
        self.pause = pause
        self.live = True


def _microseconds(instant: datetime) -> int:
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


class VirtualClock:
    """Wakes sleepers in order of (due, who slept first); see ports.Clock. It counts in whole microseconds."""

    def __init__(self, start: datetime, pause: Callable[[], Pause] = AsyncioPause) -> None:
        self._pause = pause
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._numbers = count()
        self._set(_microseconds(start.astimezone(UTC)))

    def _set(self, now: int) -> None:
        self._microseconds = now
        self._now, self._now_s = _instant(now), now / SECOND

    def now(self) -> datetime:
        return self._now

    def now_s(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        pause = self._pause()
        alarm = self.alarm(seconds, pause)
        try:
            await pause
        finally:
            alarm.live = False

    def signal(self) -> VirtualSignal:
        return VirtualSignal(self, self._pause)

    def alarm(self, seconds: float, pause: Pause | _Act) -> _Alarm:
        """Opens the pause when so much time has passed, while it lives."""
        alarm = _Alarm(pause)
        due = self._microseconds + (max(1, round(seconds * SECOND)) if seconds > 0 else 0)
        heapq.heappush(self._alarms, (due, next(self._numbers), alarm))
        return alarm

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Acts when so much time has passed."""
        self.alarm(seconds, _Act(act))

    def next_due(self) -> datetime | None:
        """When the next sleeper wakes; None where nobody sleeps."""
        while self._alarms and not self._alarms[0][2].live:
            heapq.heappop(self._alarms)
        return _instant(self._alarms[0][0]) if self._alarms else None

    def pass_to(self, to: datetime) -> None:
        """Moves the time on, never back, and wakes nobody: whose time has come wakes at the next advance."""
        if to > self._now:
            self._set(_microseconds(to))

    def advance(self, to: datetime) -> None:
        """Moves the time on, never back, and wakes whose time has come."""
        self.pass_to(to)
        while self._alarms and self._alarms[0][0] <= self._microseconds:
            alarm = heapq.heappop(self._alarms)[2]
            if alarm.live:
                alarm.live = False
                alarm.pause.open()


class VirtualSignal:
    """See ports.Signal."""

    def __init__(self, clock: VirtualClock, pause: Callable[[], Pause]) -> None:
        self._clock = clock
        self._pause = pause
        self._is_set = False
        self._waiting: list[Pause] = []

    def set(self) -> None:
        self._is_set = True
        for pause in self._waiting:
            pause.open()

    async def wait(self, at_most_s: float) -> None:
        if not self._is_set:
            pause = self._pause()
            self._waiting.append(pause)
            alarm = self._clock.alarm(at_most_s, pause)
            try:
                await pause
            finally:
                alarm.live = False
                self._waiting.remove(pause)
        self._is_set = False
