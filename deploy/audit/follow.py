"""The audit that goes on: round after round beside the running system, telling only what is certainly wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiokafka.errors import KafkaError

from deploy.audit import read_books, run_checks
from deploy.audit.books import Books
from deploy.audit.cuts import Drift, Suspicion, Tide
from deploy.audit.findings import Violation
from deploy.audit.ledger import Following, Ledger, Settled
from deploy.audit.shelf import Shelf, close_shelves, open_shelves
from deploy.audit.views import ask_processes, processes_of
from deploy.errors import Explained, explain
from deploy.fleet import kafka_connection
from shared.kernel.kafka import KafkaTopics, MissingTopic
from shared.kernel.ports import LaneId, ProduceFailed, TopicPartition, Transient
from shared.settings import Settings

EVERY_S = 10.0
LOOK_S = 0.25
"""How often to look how far the present cut is drained."""
STUCK_S = 60.0
"""A cut that isn't drained by then is told: until it is, differences between services can't be judged."""
MOST_CANDIDATES = 100_000
"""Of one check in one round."""
AWAY = (Explained, Transient, ProduceFailed, MissingTopic, KafkaError, OSError)
"""What a broker or a database that is away for a while makes of a round."""


@dataclass(frozen=True, slots=True)
class Round:
    """One look at everything."""

    number: int
    at: datetime
    seconds: float
    rows: int
    records: int
    """Read in this round."""
    candidates: int
    """Differences that may be mere differences of moments, those that count among them."""
    violations: Mapping[str, int]
    """What counts, by check; every check is named."""
    found: Sequence[Drift]
    gone: Sequence[Drift]


@dataclass(slots=True)
class Watcher:
    """`tell` gets every round, `say` what keeps one from being made, once for each cause; empty when all is well again."""

    settings: Settings
    tell: Callable[[Round], object]
    say: Callable[[str], object]
    processes: Callable[[Path], Mapping[str, int]] = processes_of
    """Of a home: who is asked what its views have come to, by name with the port of its health pages."""
    suspicion: Suspicion = field(default_factory=Suspicion)
    tide: Tide | None = None
    _rounds: int = 0
    _troubles: dict[str, str] = field(default_factory=dict)
    _marks: list[tuple[int, Settled]] = field(default_factory=list)
    """After each round: the number of the first cut behind it, and how far everybody was."""

    async def run(self, every_s: float = EVERY_S, for_s: float | None = None) -> None:
        """Until cancelled, or for so long. Raises NoKafka, NoPostgres, NoDatabase, PostgresSilent where it can't even begin."""
        shelves = await open_shelves(self.settings)
        topics = KafkaTopics(kafka_connection(self.settings))
        following = Following(topics)
        self.tide = Tide(shelves, topics)
        looking = asyncio.create_task(self._look_on(self.tide))
        try:
            await self._go_round(shelves, following, self.tide, every_s, None if for_s is None else time.monotonic() + for_s)
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await following.stop()
            await close_shelves(shelves)

    async def _go_round(self, shelves: Sequence[Shelf], following: Following, tide: Tide, every_s: float, until_s: float | None) -> None:
        books = Books(datetime.now(UTC))
        while until_s is None or time.monotonic() < until_s:
            due_s = time.monotonic() + every_s
            try:
                await self._round(shelves, books, following, tide)
                self._trouble("round", "")
            except AWAY as error:
                self._trouble("round", explain(error))
            await asyncio.sleep(max(0.0, min(due_s, until_s or due_s) - time.monotonic()))

    async def _round(self, shelves: Sequence[Shelf], books: Books, following: Following, tide: Tide) -> None:
        began_s, drained, before = time.monotonic(), tide.drained, following.ledger.records
        await read_books(shelves, books)
        books.views = await ask_processes(self.processes(self.settings.home))
        ledger = await following.read_on()  # after the databases and the views: nobody can have read what isn't in it
        ledger.settled = self._settled(drained)
        findings = await asyncio.to_thread(run_checks, books, ledger, shelves, MOST_CANDIDATES)
        self._marks.append((tide.next, _how_far(books, ledger)))
        violations = [violation for each in findings for violation in each.violations]
        now = datetime.now(UTC)
        found, gone = self.suspicion.judge(violations, drained, tide.next, now)
        self._rounds += 1
        self.tell(
            Round(
                number=self._rounds,
                at=now,
                seconds=time.monotonic() - began_s,
                rows=sum(shelf.rows for shelf in shelves),
                records=ledger.records - before,
                candidates=len(self.suspicion.candidates),
                violations=_counted([each.check for each in findings], [drift.violation for drift in self.suspicion.found.values()]),
                found=found,
                gone=gone,
            )
        )

    def _settled(self, drained: int) -> Settled:
        """The newest moment from which everything was published and read before this round began."""
        while len(self._marks) > 1 and self._marks[1][0] <= drained:
            self._marks.pop(0)
        return self._marks[0][1] if self._marks and self._marks[0][0] <= drained else Settled({}, {})

    async def _look_on(self, tide: Tide) -> None:
        while True:
            try:
                await tide.look()
                stuck = tide.waits_for if time.monotonic() - tide.since_s > STUCK_S else ""
                remark = f"For a minute {stuck}: until that is done, differences between services can't be judged." if stuck else ""
                self._trouble("cut", remark)
            except AWAY as error:
                self._trouble("cut", explain(error))
            await asyncio.sleep(LOOK_S)

    def _trouble(self, where: str, text: str) -> None:
        """Said once, and once more when it is over."""
        before, self._troubles[where] = self._troubles.get(where, ""), text
        if text and text not in (before, *(other for name, other in self._troubles.items() if name != where)):
            self.say(text)
        elif before and not any(self._troubles.values()):
            self.say("")


def _how_far(books: Books, ledger: Ledger) -> Settled:
    committed = {
        (TopicPartition(row["topic"], row["partition"]), LaneId(service, row["incarnation"])): row["seq"]
        for service, kernel in books.kernel.items()
        for row in kernel.lanes_out
    }
    return Settled({name: content.last for name, content in ledger.lanes.items()}, committed)


def _counted(checks: Sequence[str], violations: Sequence[Violation]) -> dict[str, int]:
    counts = dict.fromkeys(checks, 0)
    for violation in violations:
        counts[violation.check] += 1
    return counts
