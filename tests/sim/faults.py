"""What breaks in a world, by its dice: at steps of processes, and at moments of time. All of it ends; then the system must mend itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from deploy.fleet import SERVICES
from schemas.topics import BY_NAME, TOPICS
from shared.kernel.memory_clock import Hook, VirtualClock, VirtualSignal
from shared.kernel.ports import CommitUnknown, Outgoing, ProduceFailed, Record, TopicPartition, Transient
from tests.sim.poison import poisoned
from tests.sim.rule_bug import PlantedBug, RuleBug
from tests.support.replicas import Crash, Process
from tests.support.turns import AT_ONCE, GIVE_WAY

if TYPE_CHECKING:
    from tests.sim.world import World

LANES = frozenset(topic.name for topic in TOPICS if topic.kind == "events")
LOG_STEPS = frozenset({"join", "fetch", "follow", "partitions", "existing", "bounds", "tails", "times", "configurations"})
"""Steps of reading from the broker; every other one that isn't the writer's is the store's."""
STALL_S = 7.5
"""Longer than a session: who stalls while fetching is evicted."""
IDLE_IN_TRANSACTION_S = 15.0
"""After so long the database gives up a session whose process is stopped: see shared/kernel/postgres.py."""
NO_ANSWER_S = 1.0
"""After so long a request to a broker that is away is given up."""
CLOCKS_OFF_S = 2.0
THEME_CHANCE, THEME_EVERY_S = 0.02, 0.7
"""How often the fault that a world is about comes: at a step where it can, and at moments of time."""
TELLING, TELLING_TIMES = frozenset({"commit", "commit answer", "ack"}), 5
"""Steps at which it comes so many times as often: something has just taken effect, and not everybody knows."""
SLOW, SLOW_S = "slow_store", 0.1
"""A fault that only some worlds have: every statement takes up to so long, so that transactions of several replicas overlap."""
LOST_AT_MOST_S = 300.0
"""Records that were in their topic for longer are on disk."""


@dataclass
class SkewedClock:
    """A clock that is off by a fixed time; waiting takes as long as everywhere."""

    clock: VirtualClock
    off: timedelta

    def now(self) -> datetime:
        return self.clock.now() + self.off

    def now_s(self) -> float:
        return self.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def signal(self) -> VirtualSignal:
        return self.clock.signal()


class Faults:
    """The troubles of one world."""

    def __init__(self, world: World) -> None:
        plan = world.plan
        self.world = world
        self.dice = plan.dice("faults")
        self.active = False
        self.count = 0
        self.happened: Counter[str] = Counter()
        self.down = False
        """Whether the broker is."""
        self._losing = False
        """Whether the next records of some lane are lost."""
        self.leaderless: set[TopicPartition] = set()
        self._chance = self.dice.choice((0.0005, 0.002, 0.01))
        self._most_chance = self._chance + (THEME_CHANCE * TELLING_TIMES if plan.theme is not None else 0.0)
        self._every_s = self.dice.choice((0.5, 2.0, 6.0))
        self.bug = RuleBug(plan.dice("rule bug"), lambda: self._hit("rule_bug"))
        self._lasting_s = plan.orders * plan.pace_s + self.dice.choice((3, 10, 30))
        self._moments: Mapping[str, Callable[[], None]] = {
            "kill": self._kill,
            "stop": self._stop,
            "rebalance": self._rebalance,
            "duplicates": self._repeat_records,
            "silence": self._silence,
            "leaderless": self._lose_leader,
            "broker_down": self._break_broker,
            "skew": self._turn_clock,
            "poison": self._poison,
            "stale_state": self._stale_document,
            "lost_records": self._lose_records,
            "restore": world.restores.lose_database,
        }
        if plan.theme in self._moments:
            self._every_s = THEME_EVERY_S

    def skew_of(self, process: str) -> timedelta:
        if not self.world.plan.has("skew"):
            return timedelta()
        return timedelta(seconds=self.world.plan.dice("clock", process).uniform(-CLOCKS_OFF_S, CLOCKS_OFF_S))

    def begin(self) -> None:
        if any(self.world.plan.has(what) for what in self.world.plan.faults):
            self.active = True
            self._next_moment()
            self.world.agenda.later(self._lasting_s, "faults end", self._end)
            if self.world.plan.has("rule_bug"):
                self._later(0.0, 5.0, "a rule is broken", self._break_rule)

    def _end(self) -> None:
        self.active = self._losing = False

    def explains(self, error: BaseException) -> bool:
        """Whether a process may end so; it is started again."""
        return isinstance(error, Crash | Transient)

    def excuses(self, entry: Mapping[str, object]) -> bool:
        """Whether a service may complain of this: of the bug, and of what waits behind it."""
        told = f"{entry.get('error')} {entry.get('reason')}"
        return self.world.plan.has("rule_bug") and PlantedBug.__name__ in told

    def _hit(self, what: str) -> bool:
        """Whether one more fault may happen; then it is noted."""
        most = self.world.plan.most_faults
        if most is not None and self.count >= most:
            return False
        self.count += 1
        self.happened[what] += 1
        self.world.note(f"FAULT {what}")
        return True

    # ---- at the steps of processes ----

    def hook(self, process: str, failure: type[Exception]) -> Hook:
        world, random, give_way = self.world, self.world.turns.dice.random, self.world.plan.give_way
        writes, note, thrown_by_faults = failure is ProduceFailed, world.notes(), self.dice.random
        slow = world.plan.has(SLOW) and not writes

        def step(what: str) -> Awaitable[None]:
            note(f"{process} {what}")
            if what == "begin":
                world.begun(process)
            elif what == "commit answer":
                world.committed(process)
            gives_way = random() < give_way
            thrown = thrown_by_faults() if self.active else 1.0
            if self.down or self.leaderless or thrown < self._most_chance or (slow and self.active):
                return disturbed(what, gives_way, thrown)
            return GIVE_WAY if gives_way else AT_ONCE

        async def disturbed(what: str, gives_way: bool, thrown: float) -> None:
            if gives_way:
                await GIVE_WAY
            if self.down and (writes or what in LOG_STEPS):
                await world.turns.clock.sleep(NO_ANSWER_S)
            if self.down or self.leaderless:
                self._check_broker(what, writes)
            if self.active:
                await self._may_fail(process, what, writes, thrown)

        return step

    def _check_broker(self, what: str, writes: bool) -> None:
        if self.down and (writes or what in LOG_STEPS):
            raise (ProduceFailed if writes else Transient)("the broker is down")
        if writes and what.startswith("append "):
            topic, _, partition = what.removeprefix("append ").rpartition("/")
            if TopicPartition(topic, int(partition)) in self.leaderless:
                raise ProduceFailed(f"{what}: no leader")

    async def _may_fail(self, process: str, what: str, writes: bool, thrown: float) -> None:
        plan = self.world.plan
        if plan.has(SLOW) and not writes and what not in LOG_STEPS:
            await self.world.turns.clock.sleep(self.dice.random() * SLOW_S)
        if thrown < self._chance:
            kinds = [kind for kind in self._kinds_at(what, writes) if plan.has(kind)]
        elif plan.theme is not None and thrown < self._chance + THEME_CHANCE * (TELLING_TIMES if what in TELLING else 1):
            kinds = [kind for kind in self._kinds_at(what, writes) if kind == plan.theme and plan.has(kind)]
        else:
            return
        if kinds:
            await self._fail(process, self.dice.choice(kinds), what, writes)

    async def _fail(self, process: str, kind: str, what: str, writes: bool) -> None:
        if not self._hit(kind):
            return
        if kind == "stall":
            await self.world.turns.clock.sleep(STALL_S)
            return
        if kind == "stop":
            self._freeze(self._named(process), self.dice.choice((1.0, 7.0, 7.0, 25.0)))
            await GIVE_WAY
            return
        if kind == "fetch_error" and what == "fetch":
            self._lose_fetched(process)
        raise self._error(kind, f"{kind} at {what}", writes)

    @staticmethod
    def _kinds_at(what: str, writes: bool) -> tuple[str, ...]:
        if writes:
            return ("crash", "stall", "stop", "lost_ack")
        if what in LOG_STEPS:
            return ("crash", "stall", "stop", "fetch_error")
        if what == "commit":
            return ("crash", "stall", "stop", "commit_error", "commit_unknown")
        return ("crash", "commit_unknown") if what == "commit answer" else ("crash", "stall", "stop", "store_error")

    @staticmethod
    def _error(kind: str, told: str, writes: bool) -> BaseException:
        if kind == "crash":
            return Crash(told)
        if kind == "commit_unknown":
            return CommitUnknown(told)
        return ProduceFailed(told) if writes else Transient(told)

    def _lose_fetched(self, name: str) -> None:
        """What another partition's fetch brought is lost with it."""
        process = self._named(name)
        if process.reader is not None:
            process.reader.lose()

    def _named(self, name: str) -> Process:
        return next(process for process in self.world.processes if process.name == name)

    # ---- at moments of time ----

    def _next_moment(self) -> None:
        self.world.agenda.later(self.dice.expovariate(1 / self._every_s), "a moment for faults", self._moment)

    def _moment(self) -> None:
        if not self.active:
            return
        kinds = [kind for kind in self._moments if self.world.plan.has(kind)]
        if kinds:
            theme = self.world.plan.theme if self.world.plan.theme in kinds and self.dice.random() < 0.5 else None
            kind = theme or self.dice.choice(kinds)
            if self._hit(kind):
                self._moments[kind]()
        self._next_moment()

    def _later(self, least_s: float, most_s: float, what: str, act: Callable[[], None]) -> None:
        self.world.agenda.later(self.dice.uniform(least_s, most_s), what, act)

    def _process(self) -> Process:
        return self.dice.choice(self.world.processes)

    def _kill(self) -> None:
        process = self._process()
        if process.lives:
            process.die(Crash("killed"))

    def _stop(self) -> None:
        """Stopped and woken: a zombie that may not have heard what happened meanwhile."""
        process = self._process()
        if process.lives and not process.frozen:
            self._freeze(process, self.dice.choice((1.0, 7.0, 25.0)))

    def _freeze(self, process: Process, seconds: float) -> None:
        process.freeze()
        if seconds > IDLE_IN_TRANSACTION_S and process.store is not None:
            self.world.agenda.later(IDLE_IN_TRANSACTION_S, f"sessions of {process.name} end", process.store.cut)
        self.world.agenda.later(seconds, f"{process.name} wakes", process.thaw)

    def _rebalance(self) -> None:
        self.world.broker.group(self.dice.choice(SERVICES))._rebalance()

    def _some_records(self, *kinds: str) -> list[Record]:
        """A run of records of a partition that has some."""
        held = [records for topic in TOPICS if topic.kind in kinds for records in self._held(topic.name) if records]
        if not held:
            return []
        records = self.dice.choice(held)
        first = self.dice.randrange(len(records))
        return records[first : first + self.dice.randint(1, 3)]

    def _held(self, topic: str) -> list[list[Record]]:
        count = self.world.broker.topics()[topic]
        return [self.world.broker.partition(TopicPartition(topic, p)).records for p in range(count)]

    def _repeat_records(self) -> None:
        """As by producers that heard no acknowledgement, or were woken much later."""
        for record in self._some_records("request", "fact", "events"):
            self._append_again(record)

    def _append_again(self, record: Record) -> None:
        headers = tuple((name, value) for name, value in record.headers if value is not None)
        self.world.broker.append(record.at, [Outgoing(record.key or b"", record.value, headers)])

    def _stale_document(self) -> None:
        for record in self._some_records("state")[:1]:
            self._append_again(record)

    def _lose_records(self) -> None:
        """The newest ones of a lane that had not reached the disk: those of some partition now, or the next ones, before anybody reads
        them. A person sends them again."""
        if self.dice.random() < 0.7:
            self._losing = True
            return
        now_ms = self.world.turns.clock.now().timestamp() * 1000
        held = [records for topic in TOPICS if topic.kind == "events" for records in self._held(topic.name) if records]
        fresh = [records for records in held if records[-1].appended_ms > now_ms - LOST_AT_MOST_S * 1000]
        if fresh:
            self._lose_newest(self.dice.choice(fresh)[-1].at)

    def appended(self, at: TopicPartition) -> None:
        """Something stands in its topic now, for the moment."""
        if self._losing and at.topic in LANES and self.dice.random() < 0.3:
            self._losing = False
            self._lose_newest(at)

    def _lose_newest(self, at: TopicPartition) -> None:
        lost = self.world.broker.forget_newest(at, self.dice.randint(1, 3))
        self.world.operator.miss(at, lost, self.dice.choice((0.5, 5.0, 20.0)) * self.dice.random())

    def _break_rule(self) -> None:
        if self.active:
            self.bug.here = True
            self._later(2.0, 25.0, "the rule is mended", self._mend_rule)

    def _mend_rule(self) -> None:
        self.bug.here = False
        self._later(0.2, 5.0, "operator: dlq replay", self.world.operator.replay_until_done)

    def _partitions(self) -> list[TopicPartition]:
        partitions = self.world.broker.topics()
        names = self.dice.sample([topic.name for topic in TOPICS if topic.kind != "reference"], self.dice.randint(1, 3))
        return [TopicPartition(name, p) for name in names for p in range(partitions[name]) if self.dice.random() < 0.7]

    def _silence(self) -> None:
        at = self._partitions()
        self.world.broker.hush(at)
        self._later(0.5, 20, "partitions speak again", lambda: self._speak(at))
        if self.dice.random() < 0.5:  # whoever claims them meanwhile knows that there is more than it can read
            for service in SERVICES:
                self.world.broker.group(service)._rebalance()

    def _speak(self, at: list[TopicPartition]) -> None:
        self.world.broker.speak(at)

    def _lose_leader(self) -> None:
        at = self._partitions()
        self.leaderless |= set(at)
        self.world.broker.hush(at)
        self._later(0.5, 12, "partitions have leaders again", lambda: self._elect(at))

    def _elect(self, at: list[TopicPartition]) -> None:
        self.leaderless -= set(at)
        self._speak(at)
        self.world.say_what_waits()

    def _break_broker(self) -> None:
        """What was not acknowledged may be in its topics or not; groups begin anew."""
        if not self.down:
            self.down = True
            self.world.broker.wake()
            self._later(0.5, 10, "the broker is back", self._mend_broker)

    def _mend_broker(self) -> None:
        self.down = False
        for service in SERVICES:
            self.world.broker.group(service)._rebalance()
        self.world.say_what_waits()

    def takes(self, at: TopicPartition) -> bool:
        """Whether producers outside can append there just now."""
        return not self.down and at not in self.leaderless

    def _turn_clock(self) -> None:
        """The broker's clock steps, forward or back."""
        self.world.broker.skew = timedelta(seconds=self.dice.uniform(-CLOCKS_OFF_S, CLOCKS_OFF_S))

    def _poison(self) -> None:
        topic = self.dice.choice([topic for topic in TOPICS if topic.kind in ("request", "fact", "events")])
        at = TopicPartition(topic.name, self.dice.randrange(self.world.broker.topics()[topic.name]))
        same = [record for records in self._held(topic.name) for record in records]
        self.world.broker.append(at, [poisoned(self.dice, BY_NAME[topic.name], same)])
