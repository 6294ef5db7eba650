"""What every actor has on its desk: a way to report, a way to do something later, and seeded chance.

An actor itself is plain code:

    class Actor:
        reads = {topics.FULFILMENT_ORDERS: (FulfilOrder,)}

        def hear(self, body: Body) -> None: ...
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, Protocol

from deploy.demo.dice import Dice
from deploy.demo.wire import Positions, Reads, hear
from schemas.topics import Body, Topic
from shared.kernel.kafka import Connection


class Actor(Protocol):
    """Somebody outside Nervure who only reads and writes topics."""

    reads: ClassVar[Reads]
    """Which messages of which topics it wants to hear."""

    def hear(self, body: Body) -> None:
        """Called for each, in the order of its key. What follows goes through the desk; it never blocks."""
        ...


class Post(Protocol):
    """Takes messages to their topics."""

    def send(self, topic: Topic, body: Body, *, source: str, id: str) -> None: ...


class Diary(Protocol):
    """Remembers what is to be done later."""

    def later(self, delay_s: float, act: Callable[[], None]) -> None: ...


class Agenda:
    """Things to do later, in the order of their times."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._sooner = asyncio.Event()

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        at = asyncio.get_running_loop().time() + max(0.0, delay_s)
        heapq.heappush(self._due, (at, next(self._count), act))
        if self._due[0][0] == at:
            self._sooner.set()

    @property
    def open(self) -> int:
        """How many things are still to be done."""
        return len(self._due)

    async def run(self) -> None:
        """Do what is due, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            while self._due and self._due[0][0] <= clock():
                heapq.heappop(self._due)[2]()
            self._sooner.clear()
            wait_s = self._due[0][0] - clock() if self._due else None
            try:
                await asyncio.wait_for(self._sooner.wait(), wait_s)
            except TimeoutError:
                continue


class Desk:
    """One actor's desk. `source` is who it says it is (the CloudEvents source)."""

    def __init__(self, source: str, post: Post, diary: Diary, dice: Dice) -> None:
        self._source, self._post, self._diary = source, post, diary
        self.dice = dice

    def send(self, topic: Topic, body: Body, id: str) -> None:
        """Report. `id` is the report's own: sent again under the same one it is recognised as a repeat."""
        self._post.send(topic, body, source=self._source, id=id)

    def reference(self, name: str) -> str:
        """A business reference of this run: on a system that has run before, the same name means something else."""
        return f"{name}.{self.dice.run}" if self.dice.run else name

    def later(self, least_s: float, most_s: float, about: str, act: Callable[[], None]) -> None:
        """Do something after a seeded time between two."""
        self._diary.later(self.dice.between(least_s, most_s, self._source, about), act)

    def now(self) -> datetime:
        return datetime.now(UTC)


async def serve(actor: Actor, connection: Connection, start: Positions) -> None:
    """Let an actor hear what its topics carry from `start` on, for ever."""
    async for batch in hear(connection, actor.reads, start):
        for heard in batch:
            actor.hear(heard.body)
        await asyncio.sleep(0)
