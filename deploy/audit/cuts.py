"""When a difference counts: once it has outlived everything that was in flight when it was seen.

A cut is drained when all that services had committed at a moment is in its topics, all that stood in topics then is read, and all that
was due then is done. What that brought about is in flight again; so cut follows cut, each begun when the one before is drained, and
HOPS of them in a row carry the consequences of everything as far as they go.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from deploy.audit import REBUILD, flow, stock, views
from deploy.audit.books import Q
from deploy.audit.findings import Violation
from deploy.audit.shelf import Shelf
from deploy.fleet import SERVICES, load_service
from deploy.reading import partitions_in, snapshot
from shared.kernel.kafka import KafkaTopics
from shared.kernel.ports import TopicPartition

HOPS = 5
"""The longest way a message takes through services until all books that are compared know of it: capture, sourcing, inventory,
sourcing, tracking, capture."""
ROUNDS, EXACT_ROUNDS = 3, 2
"""In so many rounds in a row a violation has to be there; see EXACT."""
TIMERS_WAIT = timedelta(seconds=60)
"""A timer that is late by more than this isn't waited for: it is a violation itself."""
EXACT = frozenset(
    {
        REBUILD,
        stock.reserved_is_the_sum_of_reservations.__name__,
        stock.levels_equal_their_history.__name__,
        flow.lanes_are_gapless.__name__,
        flow.outboxes_are_in_their_topics.__name__,
        flow.readers_are_at_the_ends.__name__,
        views.views_show_their_topics.__name__,
    }
)
"""Checks on what one database holds at one moment, on one topic, or against a cut that is drained: right under any load. What they find
counts when it is there in two rounds, whatever its figures are by then."""
_FIGURE = re.compile(r"-?\d+")


class Tide:
    """Cut after cut through the running system."""

    def __init__(self, shelves: Sequence[Shelf], topics: KafkaTopics) -> None:
        self.drained = 0
        """So many cuts are."""
        self.waits_for = ""
        """What the present cut still waits for, in words."""
        self.since_s = time.monotonic()
        """When the present cut was made."""
        self._shelves = shelves
        self._topics = topics
        self._reads = {name: {topic.name for topic in load_service(name).reads} for name in SERVICES}
        self._read = {topic.name: topic for name in SERVICES for topic in load_service(name).reads}
        self._at: list[TopicPartition] = []
        self._moment: datetime | None = None
        self._committed: dict[str, dict[TopicPartition, int]] = {}
        self._ends: Mapping[TopicPartition, int] | None = None

    @property
    def next(self) -> int:
        """The number of the next cut: whatever is so by now is so before it."""
        return self.drained + 2

    async def look(self) -> None:
        """See how far it is, and begin the next cut if this one is drained. Raises PostgresSilent, Transient, MissingTopic."""
        flows = {shelf.service: await _flow(shelf, self._moment) for shelf in self._shelves}
        if self._moment is None:
            self._begin(flows)
        elif waits := self._unpublished(flows):
            self.waits_for = waits
        elif self._ends is None:
            self._at = self._at or partitions_in(await self._topics.existing(), list(self._read.values()))
            self._ends = await self._topics.ends(self._at)
        elif waits := self._unread(flows, self._ends):
            self.waits_for = waits
        else:
            self.drained += 1
            self._begin(flows)

    def _begin(self, flows: Mapping[str, Flow]) -> None:
        self._moment, self.since_s, self.waits_for = datetime.now(UTC), time.monotonic(), ""
        self._committed = {service: dict(stands.committed) for service, stands in flows.items()}
        self._ends = None

    def _unpublished(self, flows: Mapping[str, Flow]) -> str:
        for service, committed in self._committed.items():
            if left := sum(max(0, seq - flows[service].sent.get(at, 0)) for at, seq in committed.items()):
                return f"{service} has {left} messages to publish"
        return ""

    def _unread(self, flows: Mapping[str, Flow], ends: Mapping[TopicPartition, int]) -> str:
        for service, stands in flows.items():
            if left := sum(max(0, end - stands.positions.get(at, 0)) for at, end in ends.items() if at.topic in self._reads[service]):
                return f"{service} has {left} messages to read"
            if stands.timers:
                return f"{service} has {stands.timers} timers due"
        return ""


class Flow(NamedTuple):
    """How far one service has got."""

    committed: Mapping[TopicPartition, int]
    sent: Mapping[TopicPartition, int]
    positions: Mapping[TopicPartition, int]
    timers: int


async def _flow(shelf: Shelf, until: datetime | None) -> Flow:
    until = until or datetime.now(UTC)
    async with snapshot(shelf.pool, shelf.service) as now:
        lanes = await now.fetch(Q["flow"])
        positions = await now.fetch(Q["positions"])
        timers = await now.fetch(Q["timers_between"], until - TIMERS_WAIT, until)
    return Flow(
        {TopicPartition(row["topic"], row["partition"]): row["seq"] for row in lanes},
        {TopicPartition(row["topic"], row["partition"]): row["sent"] for row in lanes},
        {TopicPartition(row["topic"], row["partition"]): row["next"] for row in positions},
        timers[0]["timers"],
    )


@dataclass(slots=True)
class Candidate:
    """What was seen and may be a mere difference of moments."""

    first_seen: datetime
    counts_from: int
    """It counts in a round that begins when so many cuts are drained."""
    rounds: int = 0
    """In a row, in which it was there."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A violation that counts."""

    violation: Violation
    first_seen: datetime
    found: datetime


class Subject(NamedTuple):
    """What a violation is about: while one of them is there, a drift that was found isn't gone, whatever its figures."""

    check: str
    service: str
    what: str


@dataclass(slots=True)
class Suspicion:
    """Candidates, and what has come of them."""

    candidates: dict[Violation, Candidate] = field(default_factory=dict)
    found: dict[Subject, Drift] = field(default_factory=dict)

    def judge(self, violations: Iterable[Violation], drained: int, next_cut: int, now: datetime) -> tuple[list[Drift], list[Drift]]:
        """(newly found, gone since), after a round that began when `drained` cuts were, and ended before cut `next_cut`."""
        before, self.candidates = self.candidates, {}
        there: dict[Subject, Violation] = {}
        news: list[Drift] = []
        for violation in violations:
            subject = Subject(*violation[:3])
            there[subject] = violation
            name = _name(violation)
            exact = violation.check in EXACT
            known = before.get(name) or Candidate(now, 0 if exact else next_cut + HOPS - 1)
            known.rounds += name not in self.candidates
            self.candidates[name] = known
            enough = known.rounds >= (EXACT_ROUNDS if exact else ROUNDS)
            if enough and drained >= known.counts_from and subject not in self.found:
                self.found[subject] = Drift(violation, known.first_seen, now)
                news.append(self.found[subject])
        gone = [self.found.pop(subject) for subject in self.found.keys() - there.keys()]
        return news, gone


def _name(violation: Violation) -> Violation:
    """What has to be there again. Where others may just be moving, the figures are part of it: a difference that stays the same while
    everything goes on is none of moments."""
    return violation._replace(detail=_FIGURE.sub("#", violation.detail)) if violation.check in EXACT else violation
