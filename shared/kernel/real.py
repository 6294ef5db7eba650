"""The real clock and signals, on asyncio."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class RealSignal:
    """An asyncio event that clears itself when somebody wakes."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        try:
            await asyncio.wait_for(self._event.wait(), at_most_s)
        except TimeoutError:
            return
        finally:
            self._event.clear()


class RealClock:
    """Wall time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def now_s(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def signal(self) -> RealSignal:
        return RealSignal()
