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


@dataclass(slots=True)
class _Alarm:
    pause: Pause | _Act
    live: bool = True


class VirtualClock:
    """Wakes sleepers in order of (due, who slept first); see ports.Clock."""

    def __init__(self, start: datetime, pause: Callable[[], Pause] = AsyncioPause) -> None:
        self._now = start.astimezone(UTC)
        self._pause = pause
        self._alarms: list[tuple[datetime, int, _Alarm]] = []
        self._numbers = count()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await self.until(self._now + timedelta(seconds=max(0.0, seconds)), self._pause())

    def signal(self) -> VirtualSignal:
        return VirtualSignal(self, self._pause)

    async def until(self, due: datetime, pause: Pause) -> None:
        """Waits until the pause is opened, by somebody or by the time."""
        alarm = self.alarm(due, pause)
        try:
            await pause
        finally:
            alarm.live = False

    def alarm(self, due: datetime, pause: Pause) -> _Alarm:
        """Opens the pause when it is time, while it lives."""
        alarm = _Alarm(pause)
        heapq.heappush(self._alarms, (due, next(self._numbers), alarm))
        return alarm

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Acts when so much time has passed."""
        heapq.heappush(self._alarms, (self._now + timedelta(seconds=seconds), next(self._numbers), _Alarm(_Act(act))))

    def next_due(self) -> datetime | None:
        """When the next sleeper wakes; None where nobody sleeps."""
        while self._alarms and not self._alarms[0][2].live:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def pass_to(self, to: datetime) -> None:
        """Moves the time on, never back, and wakes nobody: whose time has come wakes at the next advance."""
        self._now = max(self._now, to)

    def advance(self, to: datetime) -> None:
        """Moves the time on, never back, and wakes whose time has come."""
        self.pass_to(to)
        while (due := self.next_due()) is not None and due <= self._now:
            alarm = heapq.heappop(self._alarms)[2]
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
            alarm = self._clock.alarm(self._clock.now() + timedelta(seconds=max(0.0, at_most_s)), pause)
            try:
                await pause
            finally:
                alarm.live = False
                self._waiting.remove(pause)
        self._is_set = False
