"""The order load: buyers, locations, carriers, a payment provider and a returns desk, at a steady pace, who put up with outages.

Two little worlds at once, both of the flow tests. In one (BadDay) everybody wants the same few units, cancels, changes, holds; locations
reject, lose, stay silent, report twice and in disorder; a supplier brings a few more units now and then. In the other (Trade) much is sold,
paid by card, returned and credited. Both know what they really did, so the books can be held against the shelves.

Whoever gets no acknowledgement sends the same message again under the same id, as every outbox of a channel does: the broker may then have
it twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from schemas.topics import TOPIC_OF, Body
from shared.kernel.kafka import KafkaWriter
from shared.kernel.ports import Outgoing, ProduceFailed, TopicPartition
from tests.support.bad_day import BadDay, is_ended
from tests.support.desk import Desk, Place
from tests.support.robots import Trade
from tests.support.steps import moved

ACK_DEADLINE_S = 6.0
AGAIN_S = 0.3
MOST_UNDER_WAY = 60
"""Orders of a world that may be under way at once: where a service is away, buyers find the shop slow."""
ENDS_WITHIN_S = 240.0
GIVES_UP_EVERY_S = 2.0
TURN_S = 0.1
RESTOCK_CHANCE = 0.25
"""By order: the scarce items come in again, a few at a time."""
RESTOCKED = {"plenty": 20, "enough": 6, "scarce": 3, "rare": 1}


class StubbornDesk(Desk):
    """A desk that sends again until the broker has taken it, and remembers what it took."""

    acknowledged: dict[str, set[tuple[str, str]]]

    async def start(self) -> None:
        self.acknowledged = {}
        self._writer = KafkaWriter(self._connection, ACK_DEADLINE_S)
        await super().start()

    async def say(self, *bodies: Body, source: str = "/chaos", id: str | None = None) -> None:
        assert id is None, "every message of the load has an id of its own"
        await self.say_all(bodies, source)

    async def say_all(self, bodies: Sequence[Body], source: str = "/chaos") -> None:
        batches: dict[TopicPartition, list[Outgoing]] = {}
        ids: dict[str, set[tuple[str, str]]] = {}
        for body in bodies:
            id = uuid4().hex
            at, record = self.outgoing(body, source, id)
            batches.setdefault(at, []).append(record)
            ids.setdefault(TOPIC_OF[type(body)].name, set()).add((source, id))
        async with self._lock:
            while batches:
                try:
                    sent = await self._writer.send(batches)
                except ProduceFailed:
                    await asyncio.sleep(AGAIN_S)
                    continue
                batches = {at: left for at, records in batches.items() if (left := records[sent[at] :])}
        for topic, told in ids.items():
            self.acknowledged.setdefault(topic, set()).update(told)


@dataclass
class Day(BadDay):
    """A bad day that lasts as long as it is told to, at a steady pace."""

    restocks: int = 0
    received: dict[tuple[str, str], int] = field(default_factory=dict)
    """Units that ever came in, by (location, sku)."""

    async def open(self) -> None:
        await super().open()
        self.received = dict(self.shelves)

    async def go_on(self, until: asyncio.Event, pace_s: float) -> None:
        """An order each `pace_s` where not too many are under way; everybody works all the time."""
        next_s = time.monotonic()
        while not until.is_set():
            if time.monotonic() >= next_s and self._under_way() < MOST_UNDER_WAY:
                next_s = max(next_s + pace_s, time.monotonic() - pace_s)
                await self._one_order()
            await self._turn(0.3)
            await asyncio.sleep(TURN_S)

    async def finish(self) -> str:
        """Everybody finishes what is left. Returns what doesn't end, in words; empty where all does."""
        cancelled: set[str] = set()
        deadline, next_s = time.monotonic() + ENDS_WITHIN_S, 0.0
        while not self._all_ended():
            if time.monotonic() > deadline:
                return self._left()
            await self._turn(1.0)
            if time.monotonic() > next_s:
                next_s = time.monotonic() + GIVES_UP_EVERY_S
                await self._say(self._resolve_all())
                await self._say(self._give_up_waiting(cancelled))
            await asyncio.sleep(TURN_S)
        return ""

    def _under_way(self) -> int:
        return len(self.orders) - sum(map(is_ended, self._statuses()))

    async def _one_order(self) -> None:
        await self._say(self._buy())
        for _ in range(self.dice.randrange(3)):
            await self._say(self._change_of_mind())
        if self.dice.random() < 0.1:
            await self._say(self._walk_in())
        if self.dice.random() < RESTOCK_CHANCE:
            await self._say(self._restock())

    def _restock(self) -> Iterator[Body]:
        location, item = self.dice.choice(("paris", "lyon")), self.dice.choice(list(RESTOCKED))
        at, units = (self.place.at(location), self.place.sku(item)), RESTOCKED[item]
        self.restocks += 1
        self.shelves[at] += units
        self.received[at] += units
        yield moved(self.place, location, item, "receipt", units, f"delivery:{self.restocks}")

    def _left(self) -> str:
        open = [f"{status.order_id} is {status.status}, waits for {status.waiting}" for status in self._statuses() if not is_ended(status)]
        unknown = self.orders.keys() - {status.order_id for status in self._statuses()}
        return "; ".join([*open, *(f"{order} has no status" for order in unknown)]) or "answers or deliveries are missing"


@dataclass
class SteadyTrade(Trade):
    """A trade at a steady pace."""

    pace_s: float = 0.5

    async def _buy(self) -> None:
        while self.open:
            if self._placed() - self._ended() < MOST_UNDER_WAY:
                await self.place.desk.say_all(list(self._one_buyer()))
            await asyncio.sleep(self.pace_s)

    async def go_on(self, until: asyncio.Event) -> str:
        """Trades until then, and until all has ended. Returns what doesn't end, in words."""
        self.open = self.at_work = True
        tasks = [asyncio.create_task(self._buy()), asyncio.create_task(self._work())]
        try:
            await _either(until, tasks)
            self.open = False
            left = await self._ends(tasks)
            self.at_work = False
            await asyncio.gather(*tasks)
            return left
        finally:
            for task in tasks:
                task.cancel()

    async def _ends(self, tasks: Sequence[asyncio.Task[None]]) -> str:
        deadline = time.monotonic() + ENDS_WITHIN_S
        while not self._is_done():
            if time.monotonic() > deadline:
                return self._told()
            if tasks[1].done():
                return "the people of the trade have gone home"
            await asyncio.sleep(TURN_S)
        return ""


async def _either(until: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Returns when it is time, or when one of them failed."""
    waiting = asyncio.create_task(until.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def a_place(desk: Desk, name: str, **arguments: object) -> Place:
    return await Place(desk, f"{name}-{uuid4().hex[:5]}").build(**arguments)  # type: ignore[arg-type]
