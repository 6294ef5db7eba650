"""Hostile records end to end: thrown at a running system among good orders, until everything has come to rest and is accounted for."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import psutil

from deploy.audit.books import Q
from deploy.fleet import load_service
from deploy.health import metrics
from deploy.supervisor import System
from schemas.topics import BY_NAME, CHANNEL_ORDERS, partitions_of
from shared.kernel.ports import TopicPartition
from tests.hostile.account import Account, compare_answers, gathered, settle
from tests.hostile.arena import ITEMS, QUICK, Arena, by_partition
from tests.hostile.records import Hostile
from tests.support.desk import Desk, Place
from tests.support.steps import deliver, ended

WAVE = 250
"""Hostile records thrown at once."""
REAL_ORDERS = 24
"""Orders placed in the arena for the others to be about."""
WARM_UP = 0.2
"""Share of the records after which memory counts as warmed up."""
READ_WITHIN_S = 1_800.0
ANSWERS_WITHIN_S = 180.0
LOOK_S = 1.0


@dataclass
class Siege:
    """One run. `tell` is told now and then how far it is."""

    desk: Desk
    records: int
    seed: int
    tell: Callable[[str], None] = lambda _: None
    thrown: dict[str, Hostile] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    good: list[str] = field(default_factory=list)
    rss_mb: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.restarts = _restarts(self.desk.system)

    async def run(self) -> Account:
        """Returns when all is accounted for; what is wrong stands in the account."""
        began = time.monotonic()
        arena = await self._open_arena()
        shop = await Place(self.desk, f"shop-{uuid4().hex[:5]}").build(items=ITEMS)
        await shop.stock("paris", **dict.fromkeys(ITEMS, 5_000))
        while len(self.thrown) < self.records:
            await self._wave(arena, min(WAVE, self.records - len(self.thrown)))
            await self._place_one(shop)
            if "warm" not in self.rss_mb and len(self.thrown) >= WARM_UP * self.records:
                await self._read_all()
                self.rss_mb["warm"] = rss_mb(self.desk.system)
        self.tell(f"{len(self.thrown)} thrown after {time.monotonic() - began:.0f} s")
        await self._read_all()
        self.tell(f"all read after {time.monotonic() - began:.0f} s")
        for order_id in self.good:
            await deliver(shop, *await shop.instructed(order_id))
        for order_id in self.good:
            await ended(shop, order_id, "completed")
        account = await self._account()
        self.rss_mb["end"] = rss_mb(self.desk.system)
        self.tell(f"accounted for after {time.monotonic() - began:.0f} s")
        return account

    async def _open_arena(self) -> Arena:
        place = await Place(self.desk, f"arena-{uuid4().hex[:5]}").build(items=ITEMS, channel={"hold_deadline_s": 5}, **QUICK)
        for location in ("paris", "lyon"):
            await place.stock(location, **dict.fromkeys(ITEMS, 100))
        arena = Arena(place, self.dice)
        for number in range(REAL_ORDERS):
            order_id = await place.place(dict.fromkeys(ITEMS, 1 + number % 3))
            arena.orders.append(order_id)
            self.asked[CHANNEL_ORDERS.name, order_id] += 1
        return arena

    async def _wave(self, arena: Arena, count: int) -> None:
        sent = []
        for _ in range(count):
            mark, hostile, record = arena.throw()
            self.thrown[mark] = hostile
            sent.append((hostile.topic, self.dice.randrange(partitions_of(hostile.topic, self.desk.partitions)), record))
        for (topic, partition), records in by_partition(sent).items():
            await self.desk.raw(topic, partition, *records)

    async def _place_one(self, shop: Place) -> None:
        """A good order amid the storm; nobody waits for it yet."""
        order = shop.order({self.dice.choice(ITEMS): self.dice.randint(1, 3)})
        await self.desk.say(order)
        self.good.append(order.order_id)

    async def _read_all(self) -> None:
        """No partition is stuck: every service has read every input to the end it has now."""
        deadline = time.monotonic() + READ_WITHIN_S
        while lag := await self._lag():
            if time.monotonic() > deadline:
                raise AssertionError(f"partitions are stuck: {lag}")
            await asyncio.sleep(LOOK_S)

    async def _lag(self) -> dict[str, int]:
        ends = await self.desk.ends()
        found: dict[str, int] = {}
        for service, store in self.desk.stores.items():
            rows = await store.fetch(Q["positions"])
            positions = {TopicPartition(row["topic"], row["partition"]): row["next"] for row in rows}
            reads = {topic.name for topic in load_service(service).reads}
            behind = sum(max(0, end - positions.get(at, 0)) for at, end in ends.items() if at.topic in reads)
            if behind:
                found[service] = behind
        return found

    async def _account(self) -> Account:
        """Requests about orders nobody knows are answered after a while: looked at until nothing is wrong, or for some minutes."""
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while True:
            await self._read_all()
            account, due = settle(self.thrown, await gathered(self.desk))
            compare_answers(account, self.desk, due, self.asked)
            if not account.wrong or time.monotonic() > deadline:
                account.wrong += [f"lanes_in of {lane}" for lane in await self._forged_lanes()]
                account.wrong += [f"{name} started again {count} times" for name, count in self._started_again().items() if count]
                return account
            await asyncio.sleep(5 * LOOK_S)

    async def _forged_lanes(self) -> list[str]:
        """Lanes that a service believes to have read, on topics from outside or of somebody who doesn't own the topic."""
        return [
            f"{row['topic']}/{row['partition']} {row['service']} {row['incarnation']} in {service}"
            for service, store in self.desk.stores.items()
            for row in await store.fetch(Q["lanes_in"])
            if BY_NAME[row["topic"]].external or BY_NAME[row["topic"]].owner != row["service"]
        ]

    def _started_again(self) -> dict[str, int]:
        now = _restarts(self.desk.system)
        return {name: now[name] - before for name, before in self.restarts.items()}


def _restarts(system: System) -> dict[str, int]:
    return {replica.name: replica.restarts for replica in system.replicas()}


def rss_mb(system: System) -> dict[str, int]:
    """Resident memory of each service now."""
    return {each.service: psutil.Process(each.pid).memory_info().rss // 2**20 for each in system.replicas() if each.pid is not None}


def counted(system: System) -> dict[str, Any]:
    """What each service counted of its inputs."""
    wanted = ("inputs_decided", "inputs_dead", "dead_letters", "quarantines", "retries", "collisions")
    return {each.service: {name: int(metrics(each.health_port).get(name, 0)) for name in wanted} for each in system.replicas()}


def shown(account: Account) -> str:
    return json.dumps(
        {"fates": account.fates, "outcomes": account.outcomes, "reasons": account.reasons, "wrong": account.wrong[:30]}, indent=1
    )
