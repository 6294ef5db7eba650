"""One world: five services and their databases, one broker, everybody around them; run until nothing is left to happen."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from deploy.fleet import SERVICES, load_service
from deploy.lanes import lane_of
from schemas.topics import TOPIC_OF, TOPICS, Body, dead_letter_topic, partitions_of
from shared.kernel.codec import external_record
from shared.kernel.journal import journal_topic
from shared.kernel.memory_clock import Hook
from shared.kernel.memory_log import Broker
from shared.kernel.memory_rows import StoredRow
from shared.kernel.memory_tables import Database
from shared.kernel.model import State
from shared.kernel.partition import partition_of
from shared.kernel.ports import TIMERS, Clock, Outgoing, Record, TopicPartition
from tests.sim.agenda import Agenda
from tests.sim.commits import Commits, Tails
from tests.sim.deaf import Deafness
from tests.sim.faults import Faults, SkewedClock
from tests.sim.levels import unsettled_debts, wrong_level
from tests.sim.once import Once
from tests.sim.operator import Operator
from tests.sim.patience import (
    ENGINE_LOOKS,
    ENGINE_S,
    GROUP_READER_S,
    OTHER_ENGINES,
    OTHER_PUBLISHERS,
    PUBLISHER_LOOKS,
    PUBLISHER_S,
    READER_S,
    TIMER_SLACK,
    Deadlines,
    PatientClock,
)
from tests.sim.plan import Plan
from tests.sim.plans import Plans
from tests.sim.restores import Restores
from tests.sim.views import views_hold_their_documents
from tests.sim.watch import watched
from tests.support.replicas import Process
from tests.support.turns import Turns

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AT_MOST = timedelta(hours=48)
"""Longest course of a world."""
TURNS_AT_MOST = 400_000
"""Ten times as many as the longest courses take."""
KEPT_AT_MOST = timedelta(seconds=90)
"""How long a message may be kept for a row that is there: three times as long as until all that is kept is tried again."""


class Unexpected(Exception):
    """A process ended, and no fault explains it."""


class SimBroker(Broker):
    """Tells the world what is appended."""

    def __init__(self, world: World) -> None:
        super().__init__(world.turns.clock)
        self._world = world
        self._hushed: dict[TopicPartition, list[tuple[float, float]]] = {}
        """From when to when, in milliseconds since the epoch, a partition kept silent."""

    def hush(self, at: Collection[TopicPartition]) -> None:
        """Nobody can read these, nor hears how much there is."""
        now_ms = 1000 * self._world.turns.clock.now_s()
        for one in sorted(set(at) - self.silent):
            self._hushed.setdefault(one, []).append((now_ms, math.inf))
        self.silent |= set(at)

    def speak(self, at: Collection[TopicPartition]) -> None:
        now_ms = 1000 * self._world.turns.clock.now_s()
        for one in sorted(self.silent & set(at)):
            began_ms, _ = self._hushed[one].pop()
            self._hushed[one].append((began_ms, now_ms))
        self.silent -= set(at)
        self.wake()

    def readable_ms(self, record: Record) -> float:
        """When a record could be read at the latest, by somebody who looks again every few seconds."""
        at_ms: float = record.appended_ms
        for began_ms, ended_ms in self._hushed.get(record.at, ()):
            if began_ms - 1000 * GROUP_READER_S <= at_ms < ended_ms:
                at_ms = ended_ms
        return at_ms

    def append(self, at: TopicPartition, batch: Sequence[Outgoing]) -> int:
        first = super().append(at, batch)
        self._world.appended(at, first, len(batch))
        self._world.faults.appended(at)
        return first

    def forget_newest(self, at: TopicPartition, most: int) -> list[Record]:
        """The newest records are gone, as after a power cut; their offsets stay unused. Only those of a lane."""
        records, lost = self.partition(at).records, list[Record]()
        while records and len(lost) < most and lane_of(records[-1])[1]:
            lost.append(records.pop())
        return lost


class World:
    """See tests/support/replicas.py: Home."""

    def __init__(self, plan: Plan, *, keep_trace: bool = False) -> None:
        self.plan = plan
        self.turns = Turns(plan.seed, START)
        self.turns.dice = plan.dice("turns")
        self.turns.idle = self._idle
        self.turns.at_most = TURNS_AT_MOST
        self.round_trip, self.snapshots = plan.round_trip, plan.snapshots
        self.logged = LogCapture()
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            structlog.ReturnLogger(), processors=[self.logged], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
        ).bind()
        self.trace: list[str] | None = [] if keep_trace else None
        self.failures: list[BaseException] = []
        self.wrong: list[str] = []
        """Local invariants that did not hold, at the step where it was seen."""
        self.open = False
        """Whether what is appended is told to the people outside."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._noted: list[str] = []
        """What the hash doesn't cover yet."""
        self.broker = SimBroker(self)
        self.broker.fetched_at_once = plan.fetched_at_once
        self.broker.patience_s, self.broker.group_patience_s = READER_S, GROUP_READER_S
        for topic in TOPICS:
            self.broker.create(topic.name, partitions_of(topic, plan.partitions), compacted=topic.compacted)
        services = [load_service(name) for name in SERVICES]
        self._states = {service.name: service.states for service in services}
        for service in services:
            for topic in service.reads:
                self.broker.create(dead_letter_topic(topic.name, service.name), 1)
            if plan.restore == service.name:
                self.broker.create(journal_topic(service.name), 1)
        services = [watched(each, self.wrong.append) if each.name == "sourcing" else each for each in services]
        self._partitions = self.broker.topics() | {TIMERS: plan.partitions}
        self.databases = {service.name: Database(self.turns.clock) for service in services}
        self.deadlines = {name: Deadlines(database) for name, database in self.databases.items()}
        self.agenda = Agenda(self.turns.clock, self.note)
        self._once, self._tails = Once(self), Tails()
        self._commits = {name: Commits(name, database, self._tails) for name, database in self.databases.items()}
        self.restores = Restores(self)
        self.faults = Faults(self)
        self.operator = Operator(self)
        if plan.has("rule_bug"):
            broken = plan.broken or plan.dice("broken service").choice(SERVICES)
            services = [self.faults.bug.planted_in(each) if each.name == broken else each for each in services]
        names = [f"{name}-{replica}" for name in SERVICES for replica in range(plan.replicas)]
        self.clocks: dict[str, Clock] = {
            name: SkewedClock(self.turns.clock, skew) if (skew := self.faults.skew_of(name)) else self.turns.clock for name in names
        }
        self.processes = [
            Process(self, self._once.watched(service, f"{service.name}-{replica}"), replica)
            for service in services
            for replica in range(plan.replicas)
        ]
        self._stills: list[Callable[[], bool]] = [
            *(partial(self._is_still, process) for process in self.processes),
            *(partial(self._is_published, service.name) for service in services),
        ]
        self._plans = Plans(self)
        self._levels_seen: dict[Any, StoredRow] = {}
        self._kept_since: dict[tuple[str, Any], datetime] = {}
        self._idled = 0
        self._sent = 0
        self._unsaid: list[tuple[TopicPartition, Outgoing]] = []

    # ---- what a process asks of its home ----

    def partitions(self) -> Mapping[str, int]:
        return self._partitions

    def clock_of(self, process: str) -> Clock:
        return self.clocks[process]

    def patient_clock(self, process: Process, part: str) -> Clock:
        name = process.service.name
        clock, turns, database, others = self.clocks[process.name], self.turns.clock, self.databases[name], self.plan.replicas > 1
        if part == "publisher":
            gated = PUBLISHER_LOOKS if database.archive is not None else frozenset()
            return PatientClock(clock, PUBLISHER_S, gated | (OTHER_PUBLISHERS if others else frozenset()), turns, database)
        looks = ENGINE_LOOKS | (OTHER_ENGINES if others else frozenset())
        return PatientClock(clock, ENGINE_S, looks, turns, database, self.deadlines[name])

    def hook(self, process: str, failure: type[Exception]) -> Hook:
        return self.restores.hook(process, self.faults.hook(process, failure))

    def caught_up(self, process: Process) -> None:
        self.wrong += views_hold_their_documents(process, self.broker)

    def died(self, process: Process, error: BaseException) -> None:
        """Somebody starts it again, if it may die of this."""
        self.note(f"{process.name} died of {type(error).__name__}")
        if self.restores.refused(process, error):
            return
        if not self.faults.explains(error):
            self.failures.append(error)
            return
        self.agenda.later(self.faults.dice.choice((0.1, 1.0, 8.0)), f"{process.name} starts", process.start)

    # ---- the trace ----

    def note(self, what: str) -> None:
        self._noted.append(what)
        if self.trace is not None:
            self.trace.append(f"{self.turns.clock.now():%H:%M:%S.%f} {what}")

    def begun(self, process: str) -> None:
        """A transaction begins."""
        self._once.begun(process)

    def notes(self) -> Callable[[str], None]:
        """What notes the steps of processes, which are many."""
        return self._noted.append if self.trace is None else self.note

    def committed(self, process: str) -> None:
        """A transaction has taken effect: what must hold at every step is looked at."""
        service = process.rpartition("-")[0]
        told = (*self._once.committed(process, service), *self._commits[service].look())
        self.wrong += [each for each in told if each.partition(":")[0] not in self.plan.unheard]
        self.operator.committed(service)
        if service == "inventory":
            levels, seen = self.databases["inventory"].table("state.level"), self._levels_seen
            for id, row in levels.items():
                if row is not seen.get(id) and row.state is not None and (problem := wrong_level(str(id), row.state)):
                    self.wrong.append(problem)
            self._levels_seen = levels.copy()
            self.wrong += unsettled_debts(self.databases["inventory"])
        elif service == "sourcing":
            self.wrong += self._plans.look()

    def digest(self) -> str:
        """Of everything that happened, in order."""
        self._hash_noted()
        return self._hash.hexdigest()

    def _hash_noted(self) -> None:
        self._hash.update("".join(self._noted).encode())
        self._noted.clear()

    def appended(self, at: TopicPartition, first: int, count: int) -> None:
        partition = self.broker.partition(at)
        for record in partition.records[-count:]:
            kind = (dict(record.headers).get("ce_type") or b"").decode(errors="replace")
            self.note(f"{at.topic}/{at.partition}@{record.offset} {kind} {(record.key or b'').decode(errors='replace')}")
            self._hash_noted()
            self._hash.update(record.value or b"-")
            self._hash.update(b"\n".join([value or b"-" for _, value in record.headers]))
            if problem := self._tails.appended(record):
                self.wrong.append(problem)
            if self.open:
                self.outside.hear(record)

    # ---- what people say ----

    def say(self, body: Body, *, source: str = "/outside", id: str | None = None) -> None:
        """Publishes one message to its external topic, under an id of its own unless one is given."""
        topic = TOPIC_OF[type(body)]
        self._sent += 1
        record = external_record(topic, body, source=source, id=id or f"s{self._sent}", now=self.turns.clock.now())
        at = TopicPartition(topic.name, partition_of(topic.key_of(body), partitions_of(topic, self.plan.partitions)))
        self._unsaid.append((at, record))
        self.say_what_waits()

    def say_what_waits(self) -> None:
        """In order within a partition; what the broker doesn't take now is said later."""
        waits, self._unsaid = self._unsaid, []
        for at, record in waits:
            if self.faults.takes(at):
                self.broker.append(at, [record])
            else:
                self._unsaid.append((at, record))

    def instant(self) -> datetime:
        """Now, a little later each time: no two things happen at once."""
        self._sent += 1
        return self.turns.clock.now() + timedelta(microseconds=self._sent % 900)

    # ---- the course of events ----

    def play(self) -> None:
        """From the opening until nothing is left to happen. Raises what no fault explains, and AssertionError where it doesn't end."""
        from tests.sim.outside import Outside

        self.outside = Outside(self)
        self.outside.publish_reference_data()
        for process in self.processes:
            process.start()
        self.open = True
        self.outside.open()
        self.faults.begin()
        self.deafness = Deafness(self)
        self.deafness.begin()
        self.restores.begin()
        self.turns.run(lambda: bool(self.failures or self.wrong) or self.ended(), START + AT_MOST)
        if self.failures:
            raise Unexpected(f"{type(self.failures[0]).__name__}: {self.failures[0]}") from self.failures[0]

    def ended(self) -> bool:
        return not self.agenda and self.next_deadline() is None and self._at_rest()

    def _at_rest(self) -> bool:
        """Everything was read, published, acknowledged and read back. Who was busy the last time is asked first."""
        for index, is_still in enumerate(self._stills):
            if not is_still():
                self._stills.insert(0, self._stills.pop(index))
                return False
        return True

    def _is_published(self, service: str) -> bool:
        database = self.databases[service]
        sent = database.table("lane_sent")
        if any(head.seq > sent[at] for at, head in database.table("lane_out").items()) or database.sessions:
            return False
        if any(not parked.sent or parked.status == "replay" for parked in database.table("parked").values()):
            return False
        if not self._is_read(database):
            return False
        if not all(self._is_read_back(database, state) for state in self._states[service]):
            return False
        return all(
            row.state is None or self._is_shown(database, state, str(id), row)
            for state in self._states[service]
            for id, row in database.table(f"state.{state.kind}").items()
        )

    def _is_read(self, database: Database) -> bool:
        """Whether a service has decided all there is, but what nobody can read just now."""
        positions: dict[Any, Any] = database.table("position")
        silent = self.broker.silent
        spool: dict[Any, Any] = database.table("spool")
        marks = database.table("lane_in")
        if any(seq <= marks.get(lane, 0) + 1 for lane, seq in spool):
            return False
        return all(at.topic == TIMERS or at in silent or position.next >= self._end(at) for at, position in positions.items())

    def _end(self, at: TopicPartition) -> int:
        """Behind the newest record there is."""
        partition = self.broker.partition(at)
        return partition.records[-1].offset + 1 if partition.records else partition.begin

    def _is_read_back(self, database: Database, state: State[Any]) -> bool:
        """Whether the newest record of each partition was read by its owner."""
        marks = database.table("published")
        for number in range(self._partitions[state.topic.name]):
            records = self.broker.partition(TopicPartition(state.topic.name, number)).records
            mark = marks.get((state.topic.name, (records[-1].key or b"").decode())) if records else None
            if records and (mark is None or mark.offset < records[-1].offset):
                return False
        return True

    @staticmethod
    def _is_shown(database: Database, state: State[Any], id: str, row: StoredRow) -> bool:
        mark = database.table("published").get((state.topic.name, id))
        if mark is None:
            return state.render(id, row.version, row.state) is None
        return bool(mark.version == row.version)

    def _is_still(self, process: Process) -> bool:
        """Whether it has read all there is and sent all it knows of; one that is stopped or dead counts for nothing."""
        if process.frozen or not process.lives:
            return True
        engine, publisher, reader, pictures = process.engine, process.publisher, process.reader, process.pictures
        if self.faults.down or engine is None or publisher is None or reader is None or pictures is None or not pictures.ready:
            return False
        if engine._generation < 0 or reader.knows == 0 or reader._group._joining or engine._generation != reader.assignment().generation:
            return False
        if engine.feed.claimed() != reader.assignment().partitions:
            return False
        partition = self.broker.partition
        if publisher.depth() or publisher.documents():
            return False
        return all(position >= partition(at).end for at, position in pictures.positions().items())

    # ---- idle time ----

    def next_deadline(self) -> datetime | None:
        """When the next timer or kept message is due."""
        return min((due for each in self.deadlines.values() if (due := each.next()) is not None), default=None)

    def _idle(self) -> bool:
        """Nobody is ready. Where everybody would only look whether there is something new, and there isn't, time moves to what is due."""
        self._idled += 1
        assert self._idled < TURNS_AT_MOST, "time passes without end"
        clock, moment = self.turns.clock, self.agenda.next_due()
        due = clock.next_due()
        if not self._at_rest() or self._kept_in_vain():
            if moment is None or (due is not None and due < moment):
                return False
            self.agenda.act()
            return True
        deadline = self.next_deadline()
        target = max(deadline + TIMER_SLACK, due) if deadline is not None and due is not None else None
        if moment is not None and (target is None or moment <= target):
            self.agenda.act()
        elif target is not None:
            clock.advance(target)
        else:
            return False
        self._beat()
        return True

    def _kept_in_vain(self) -> bool:
        """Whether messages wait for rows that are there: they are tried again soon, or it is told that they aren't."""
        now, waits = self.turns.clock.now(), False
        for name, database in self.databases.items():
            for place, kept in database.table("kept").items():
                key = kept.row.key
                row = database.table(f"state.{key.kind}").get(key.id)
                if row is not None and row.state is not None:
                    waits = True
                    if self.broker.silent:  # its deadline waits for what is unread, too
                        self._kept_since[name, place] = now
                    since = self._kept_since.setdefault((name, place), now)
                    if now - since > KEPT_AT_MOST:
                        self.wrong.append(f"kept_in_vain: {name} keeps {kept.row.record.topic} for {key}, which is there since {since}")
        return waits

    def _beat(self) -> None:
        """Time was left out: who lives has given its signs of life meanwhile."""
        now_s = self.turns.clock.now().timestamp()
        for process in self.processes:
            reader = process.reader
            if reader is not None and not process.frozen and reader.instance in reader._group._members:
                reader._group._members[reader.instance].seen_s = now_s

    def alarms(self) -> list[str]:
        """What was told as an alarm, in order."""
        return [entry["event"] for entry in self.logged.entries if entry.get("action") == "alarm"]
