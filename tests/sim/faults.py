"""What breaks in a world, by its dice."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.kernel.memory_clock import Hook, VirtualClock, VirtualSignal

if TYPE_CHECKING:
    from tests.sim.world import World


class SkewedClock:
    """A clock that is off by a fixed time; waiting takes as long as everywhere."""

    def __init__(self, clock: VirtualClock, off: timedelta) -> None:
        self._clock = clock
        self._off = off

    def now(self) -> datetime:
        return self._clock.now() + self._off

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def signal(self) -> VirtualSignal:
        return self._clock.signal()


class Faults:
    def __init__(self, world: World) -> None:
        self.world = world
        self.active = False
        self.dice = world.plan.dice("faults")
        self.count = 0
        self.happened: Counter[str] = Counter()

    def skew_of(self, process: str) -> timedelta:
        return timedelta()

    def hook(self, process: str, failure: type[Exception]) -> Hook:
        world, dice, give_way = self.world, self.world.turns.dice, self.world.plan.give_way

        async def step(what: str) -> None:
            world.note(f"{process} {what}")
            if dice.random() < give_way:
                await world.turns.give_way(what)

        return step

    def explains(self, error: BaseException) -> bool:
        return False

    def excuses(self, entry: object) -> bool:
        return False

    def begin(self) -> None:
        pass
