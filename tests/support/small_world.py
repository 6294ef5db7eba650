"""A small world: the counting services, two processes each, wholly on the ports in memory, run by turns, with troubles by the dice.

Nothing in it is an event loop, a socket, a thread or the wall clock; one seed is one course of events.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from schemas.topics import Topic, dead_letter_topic
from shared.kernel.codec import external_record
from shared.kernel.memory_log import Broker
from shared.kernel.memory_tables import Database
from shared.kernel.model import Service
from shared.kernel.partition import partition_of
from shared.kernel.ports import TIMERS, Clock, CommitUnknown, Record, TopicPartition, Transient
from tests.support.counting import ALL, ASKS, COMMANDS, DESK, HOUSE, OPENINGS, SHOWN, Ask, Counter, Gauge, Open, Shown, Tally
from tests.support.replicas import Crash, Process
from tests.support.turns import GIVE_WAY, Turns

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PARTITIONS = 2
SERVICES: tuple[Service[Any], ...] = (DESK, HOUSE)
STALL_S = 7.5
"""Longer than a session: who stalls while fetching is evicted."""


@dataclass
class Troubles:
    """How likely each step fails, and in which ways."""

    chance: float = 0.0
    stall_chance: float = 0.0
    happened: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1


class SmallWorld:
    """The counting services and whoever asks them."""

    def __init__(
        self,
        seed: int,
        troubles: Troubles | None = None,
        round_trip: bool = False,
        services: Sequence[Service[Any]] = SERVICES,
        replicas: int = 2,
    ) -> None:
        self.turns = Turns(seed, START)
        self.troubles = troubles or Troubles()
        self.logged = LogCapture()
        """What all processes have to tell."""
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            structlog.ReturnLogger(), processors=[self.logged], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
        )
        self.round_trip, self.snapshots = round_trip, False
        self.trap: Callable[[str, str], None] = lambda process, what: None
        """Told of every step of every process before it is taken; may raise what it shall fail with, or change the world."""
        self.failures: list[BaseException] = []
        """What no crash explains."""
        self.broker = Broker(self.turns.clock)
        for topic in ALL:
            self.broker.create(topic.name, PARTITIONS, compacted=topic.compacted)
        for service in services:
            for topic in service.reads:
                self.broker.create(dead_letter_topic(topic.name, service.name), 1)
        self.databases = {service.name: Database(self.turns.clock) for service in services}
        self.processes = [Process(self, service, replica) for service in services for replica in range(replicas)]
        self.sent: dict[str, list[int]] = {}

    def partitions(self) -> Mapping[str, int]:
        return self.broker.topics() | {TIMERS: PARTITIONS}

    def process(self, service: str, replica: int = 0) -> Process:
        return next(one for one in self.processes if (one.service.name, one.replica) == (service, replica))

    def started(self) -> SmallWorld:
        for process in self.processes:
            process.start()
        return self

    def clock_of(self, process: str) -> Clock:
        return self.turns.clock

    def patient_clock(self, process: Process, part: str) -> Clock:
        return self.turns.clock

    def caught_up(self, process: Process) -> None:
        """Nothing is held against its views."""

    def died(self, process: Process, error: BaseException) -> None:
        """Somebody starts it again."""
        self.troubles.note(f"died of {type(error).__name__}")
        if not isinstance(error, Crash | Transient):
            self.failures.append(error)
        self.turns.spawn("restart", self._restart(process), self.failures.append)

    async def _restart(self, process: Process) -> None:
        await self.turns.clock.sleep(self.turns.dice.choice((0.1, 1.0, 8.0)))
        process.start()

    def alarms(self) -> list[str]:
        """What was told as an alarm, in order."""
        return [entry["event"] for entry in self.logged.entries if entry.get("action") == "alarm"]

    # ---- troubles ----

    def hook(self, process: str, failure: type[Exception]) -> Callable[[str], Awaitable[None]]:
        async def step(what: str) -> None:
            await GIVE_WAY
            self.trap(process, what)
            dice = self.turns.dice
            if dice.random() < self.troubles.stall_chance:
                self.troubles.note("stalled")
                await self.turns.clock.sleep(STALL_S)
            if dice.random() < self.troubles.chance:
                error = self._error(what, failure)
                self.troubles.note(f"{type(error).__name__} at {what.split(' ', maxsplit=1)[0]}")
                raise error

        return step

    def _error(self, what: str, failure: type[Exception]) -> BaseException:
        if self.turns.dice.random() < 0.3:
            return Crash(what)
        return CommitUnknown(what) if what.startswith("commit") else failure(what)

    # ---- what goes in ----

    def ask(self, counter: str, amount: int) -> None:
        asked = self.sent.setdefault(counter, [])
        asked.append(amount)
        body = Ask(counter=counter, ref=f"r{len(asked)}", amount=amount)
        self._append(ASKS, body, f"ask-{counter}-{len(asked)}", partition_of(counter, PARTITIONS))

    def open(self, counter: str) -> None:
        """By a key of its own: what opens a counter and what it shall count are read by different processes."""
        self._append(OPENINGS, Open(counter=counter), f"open-{counter}", 1 - partition_of(counter, PARTITIONS))

    def _append(self, topic: Topic, body: Ask | Open, id: str, partition: int) -> None:
        record = external_record(topic, body, source="/world", id=id, now=self.turns.clock.now())
        self.broker.append(TopicPartition(topic.name, partition), [record])

    # ---- what came of it ----

    def run(self, until: Callable[[], bool], at_most: timedelta = timedelta(minutes=5)) -> None:
        self.turns.run(lambda: bool(self.failures) or until(), self.turns.clock.now() + at_most)
        if self.failures:
            raise self.failures[0]

    def states(self, service: str, kind: str) -> dict[str, Any]:
        return {str(id): row.state for id, row in self.databases[service].table(f"state.{kind}").items()}

    def run_for(self, time: timedelta) -> None:
        due = self.turns.clock.now() + time
        self.turns.spawn("patience", self.turns.clock.sleep(time.total_seconds()), self.failures.append)
        self.run(lambda: self.turns.clock.now() >= due, time + timedelta(seconds=1))

    def at_rest(self) -> bool:
        """Everything that was sent has come to its end, everywhere."""
        return not self.differences()

    def differences(self) -> dict[str, Any]:
        """What is still other than it must be in the end, by place."""
        asked = {counter: len(amounts) for counter, amounts in self.sent.items()}
        totals = {counter: sum(amounts) for counter, amounts in self.sent.items()}
        found: dict[str, tuple[Any, Any]] = {
            "tallies": (self.states("desk", "tally"), {c: Tally(c, n, n, 0) for c, n in asked.items()}),
            "counters": (self.states("house", "counter"), {c: Counter(c, totals[c], n) for c, n in asked.items()}),
            "gauges": ({c: g.turned for c, g in self.states("house", "gauge").items() if isinstance(g, Gauge)}, asked),
            "units": (self.states("house", "unit"), {}),
            "shown": ({c: shown.total for c, shown in self.newest_shown().items()}, totals),
            "kept": (len(self.databases["house"].table("kept")), 0),
            "timers": (len(self.databases["house"].table("timer")), 0),
        }
        return {place: (is_, must) for place, (is_, must) in found.items() if is_ != must}

    def newest_shown(self) -> dict[str, Shown]:
        records = [r for p in range(PARTITIONS) for r in self.broker.records(TopicPartition(SHOWN.name, p))]
        return {(r.key or b"").decode(): Shown.model_validate_json(r.value) for r in records if r.value is not None}

    def lane(self, partition: int) -> list[int]:
        """The sequences of the commands, as their topic has them."""
        return [_seq(record) for record in self.broker.records(TopicPartition(COMMANDS.name, partition))]


def _seq(record: Record) -> int:
    return int(dict(record.headers)["ce_seq"] or b"0")


def first_times(sequences: list[int]) -> list[int]:
    """The sequences without their repeats."""
    return list(dict.fromkeys(sequences))
