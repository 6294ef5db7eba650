"""A topic that its readers can't read for a while, and they know that there is more in it: what waits for it, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

from deploy.fleet import SERVICES, load_service
from schemas.topics import TOPICS, Topic
from shared.kernel.feed import WAIT_AT_MOST_MS
from shared.kernel.memory_rows import Position
from shared.kernel.ports import TIMERS, Record, TopicPartition

if TYPE_CHECKING:
    from tests.sim.world import World

DEAF, LONG_DEAF = "deaf", "long_deaf"
"""Faults that only some worlds have: again and again for seconds, or once for longer than anything waits."""
READERS = {topic: [name for name in SERVICES if topic in load_service(name).reads] for topic in TOPICS if not topic.compacted}
ASKED = tuple(topic for topic, readers in READERS.items() if any(each.external for name in readers for each in load_service(name).reads))
"""What people say, and lanes of those who are told it: one waits for the other, and deadlines for both."""
LONG_S = WAIT_AT_MOST_MS / 1000 + 300.0
SLACK = timedelta(seconds=60)
CLAIMED_S = 1.0
"""How long after it claims its partitions anew a reader knows where they end."""


class Deafness:
    """What can't be read in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.plan.dice(DEAF)
        self._until = timedelta(seconds=world.plan.orders * world.plan.pace_s + 20)
        self._claims_ms: dict[str, list[float]] = {}
        """When the readers of a topic claimed its partitions anew, in milliseconds since the epoch."""

    def known_ms(self, record: Record) -> float:
        """When its readers could know that it is there, in milliseconds since the epoch: once they can read it, or have asked where its
        partition ends. Where silence outlasts every wait (`long_deaf`), that doesn't count."""
        readable_ms = self._world.broker.readable_ms(record)
        asked = (at_ms for at_ms in self._claims_ms.get(record.at.topic, ()) if at_ms > record.appended_ms)
        return min(readable_ms, next(asked, inf) + CLAIMED_S * 1000)

    def begin(self) -> None:
        began = self._world.turns.clock.now()
        if self._world.plan.has(DEAF):
            self._later(self._dice.uniform(1, 4), lambda: self._again(began + self._until))
        if self._world.plan.has(LONG_DEAF):
            self._later(self._dice.uniform(1, 6), lambda: self._silence(LONG_S))

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._world.agenda.later(seconds, "a topic that can't be read", act)

    def _again(self, until: datetime) -> None:
        if self._world.turns.clock.now() < until:
            lasts_s = self._dice.uniform(5, 25)
            self._silence(lasts_s)
            self._later(lasts_s + self._dice.uniform(0.5, 4), lambda: self._again(until))

    def _silence(self, lasts_s: float) -> None:
        """Its readers claim it anew now and then meanwhile, and so hear how much there is."""
        topic = self._dice.choice(ASKED)
        at = {TopicPartition(topic.name, p) for p in range(self._world.partitions()[topic.name])}
        self._world.broker.hush(at)
        second = 0.0
        while (second := second + self._dice.uniform(0.3, 1.5)) < min(lasts_s, 20.0):
            self._later(second, lambda: self._claim_anew(topic))
        self._later(lasts_s, lambda: self._speak(at))

    def _claim_anew(self, topic: Topic) -> None:
        if self._world.plan.has(DEAF):
            self._claims_ms.setdefault(topic.name, []).append(self._world.turns.clock.now().timestamp() * 1000)
        for service in READERS[topic]:
            self._world.broker.group(service)._rebalance()

    def _speak(self, at: set[TopicPartition]) -> None:
        self._world.wrong += self._waits_too_long()
        self._world.broker.speak(at)

    def _waits_too_long(self) -> Iterator[str]:
        """What people say is judged in the end, whatever is still unread."""
        world = self._world
        late = world.turns.clock.now() - timedelta(milliseconds=WAIT_AT_MOST_MS) - SLACK
        for service in SERVICES:
            positions: Mapping[Any, Position] = world.databases[service].table("position")
            for at, position in positions.items():
                records = world.broker.records(at) if at.topic != TIMERS else []
                unread = [record for record in records if record.offset >= position.next and record.appended_ms < late.timestamp() * 1000]
                if unread and at not in world.broker.silent:
                    yield f"nothing_waits_for_ever: {service} has not read {at.topic}/{at.partition} from {position.next} on"
