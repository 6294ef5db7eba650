"""The log in memory: one broker that readers, writers and followers share, as a real one treats them.

Offsets may be sparse, append times may step back, topics are compacted and expire when told. Groups rebalance eagerly, by range: everybody
gives up everything and joins again, and only then is it assigned. Who is silent for a session is evicted and doesn't know it; a static
member that comes back takes its place without a rebalance.

Every client awaits its hook before each step: raise there for a broker that can't be reached, or for a crash.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from schemas.topics import COMPACTED
from shared.kernel.kafka import BATCH_BYTES, MissingTopic
from shared.kernel.memory_clock import Hook, undisturbed
from shared.kernel.ports import (
    FROM_THE_BEGINNING,
    Assignment,
    Begins,
    Clock,
    Expired,
    Outgoing,
    ProduceFailed,
    Record,
    Signal,
    TopicPartition,
)

SESSION_TIMEOUT_S = 6.0
"""How long a member may be silent before its group goes on without it."""
FETCHED_AT_ONCE = 2000
RECORD_OVERHEAD_BYTES = 70


@dataclass(slots=True)
class _Partition:
    records: list[Record] = field(default_factory=list)
    begin: int = 0
    end: int = 0

    def read(self, offset: int, limit: int) -> list[Record]:
        first = bisect_left(self.records, offset, key=lambda record: record.offset)
        return self.records[first : first + limit]


class Broker:
    """The topics and groups of one cluster."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.skew = timedelta()
        """How far its clock is off."""
        self.silent: set[TopicPartition] = set()
        """Partitions that take records and give none to groups just now."""
        self.deletions_kept_ms = int(COMPACTED["delete.retention.ms"])
        self.fetched_at_once = FETCHED_AT_ONCE
        """Most records that one fetch of a group's member brings, of some partitions before others; the ends of all are known then."""
        self.patience_s = self.group_patience_s = 0.0
        """How long a fetch that may wait at all waits at least, while nothing happens to what it reads; and where its group has other
        members, whose silence it shall notice."""
        self._topics: dict[str, int] = {}
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._compacted: set[str] = set()
        self._groups: dict[str, Group] = {}
        self._listening: list[tuple[Signal, frozenset[str]]] = []

    # ---- topics ----

    def create(self, topic: str, partitions: int, *, compacted: bool = False) -> None:
        """Makes the topic, where it is missing."""
        for number in range(self._topics.setdefault(topic, partitions)):
            self._partitions.setdefault(TopicPartition(topic, number), _Partition())
        if compacted:
            self._compacted.add(topic)

    def topics(self) -> dict[str, int]:
        return dict(self._topics)

    def partition(self, at: TopicPartition) -> _Partition:
        """Raises MissingTopic."""
        try:
            return self._partitions[at]
        except KeyError:
            raise MissingTopic(f"{at.topic}/{at.partition}") from None

    def append(self, at: TopicPartition, batch: Sequence[Outgoing]) -> int:
        """Appends all records at one append time; returns the offset of the first."""
        partition, first = self.partition(at), self.partition(at).end
        appended_ms = int((self.clock.now() + self.skew).timestamp() * 1000)
        for one in batch:
            partition.records.append(Record(*at, partition.end, appended_ms, one.key, one.value, tuple(one.headers)))
            partition.end += 1
        self.wake(at.topic)
        return first

    def records(self, at: TopicPartition) -> list[Record]:
        """What the partition holds now."""
        return list(self.partition(at).records)

    # ---- what brokers do to topics ----

    def skip(self, at: TopicPartition, offsets: int) -> None:
        """Offsets that no reader will ever see, as control records take them."""
        self.partition(at).end += offsets
        self.wake()

    def compact(self, at: TopicPartition, dirty: int = 1) -> None:
        """Leaves the newest record of each key; the last `dirty` records aren't touched."""
        if at.topic not in self._compacted:
            return
        partition = self.partition(at)
        newest = {record.key: record.offset for record in partition.records}
        safe = len(partition.records) - dirty
        partition.records = [r for index, r in enumerate(partition.records) if index >= safe or newest[r.key] == r.offset]

    def expire(self, at: TopicPartition, before: int) -> None:
        """Forgets the records below an offset: their time was over."""
        partition = self.partition(at)
        partition.begin = max(partition.begin, min(before, partition.end))
        partition.records = partition.read(partition.begin, len(partition.records))

    # ---- who reads ----

    def group(self, name: str) -> Group:
        return self._groups.setdefault(name, Group(self))

    def deadline_s(self, wait_s: float, patience_s: float) -> float:
        """When a fetch that begins now comes back with nothing."""
        return self.clock.now_s() + (max(wait_s, patience_s) if wait_s else 0.0)

    def listen(self, signal: Signal, topics: Iterable[str]) -> None:
        """Whoever reads these topics is woken when one of them grows, and when anything happens to groups."""
        self._listening.append((signal, frozenset(topics)))

    def leave(self, signal: Signal) -> None:
        self._listening = [(listening, topics) for listening, topics in self._listening if listening is not signal]

    def wake(self, topic: str | None = None) -> None:
        for signal, topics in list(self._listening):
            if topic is None or topic in topics:
                signal.set()


@dataclass(slots=True)
class _Member:
    reader: MemoryReader
    topics: tuple[str, ...]
    seen_s: float
    joined: bool = False


class Group:
    """One consumer group: who is in it, and who reads what."""

    def __init__(self, broker: Broker) -> None:
        self.generation = 0
        self._broker = broker
        self._members: dict[str, _Member] = {}
        self._assigned: dict[str, frozenset[TopicPartition]] = {}
        self._joining = False

    def is_one(self) -> bool:
        """Whether it has one member."""
        return len(self._members) == 1

    def join(self, reader: MemoryReader) -> None:
        """A static member that was never missed takes its old place; anybody else makes all join again."""
        known = self._members.get(reader.instance)
        self._members[reader.instance] = _Member(reader, reader.topics, self._now_s())
        if known is None or self._joining or known.topics != reader.topics:
            self._rebalance()

    def beat(self, reader: MemoryReader) -> None:
        """A sign of life: what the reader doesn't know yet, it is told."""
        if len(self._members) > 1:
            self._evict_silent(reader)
        member = self._members.get(reader.instance)
        if member is None or member.reader is not reader:
            reader.assign(0, frozenset())
            self.join(reader)
            member = self._members[reader.instance]
        member.seen_s = self._now_s()
        if self._joining and not member.joined:
            reader.assign(0, frozenset())
            member.joined = True
            self._complete()
        if not self._joining and reader.knows != self.generation:
            reader.assign(self.generation, self._assigned[reader.instance])

    def evict(self, instance: str) -> None:
        """The group goes on without this member, which doesn't know it."""
        del self._members[instance]
        self._rebalance()

    def _evict_silent(self, alive: MemoryReader) -> None:
        late = self._now_s() - SESSION_TIMEOUT_S
        for instance in [name for name, member in self._members.items() if member.seen_s < late and member.reader is not alive]:
            self.evict(instance)

    def _rebalance(self) -> None:
        self._joining = True
        for member in self._members.values():
            member.joined = False
        self._broker.wake()

    def _complete(self) -> None:
        if all(member.joined for member in self._members.values()):
            self._joining = False
            self.generation += 1
            self._assigned = _by_range(self._broker.topics(), {name: member.topics for name, member in self._members.items()})
            self._broker.wake()

    def _now_s(self) -> float:
        return self._broker.clock.now_s()


def _by_range(topics: Mapping[str, int], members: Mapping[str, Sequence[str]]) -> dict[str, frozenset[TopicPartition]]:
    """Each topic's partitions in runs, by the members' names; the first ones get one more."""
    assigned: dict[str, set[TopicPartition]] = {name: set() for name in members}
    for topic in sorted({topic for subscribed in members.values() for topic in subscribed}):
        readers = sorted(name for name, subscribed in members.items() if topic in subscribed)
        each, extra = divmod(topics.get(topic, 0), len(readers))
        first = 0
        for index, name in enumerate(readers):
            count = each + (index < extra)
            assigned[name] |= {TopicPartition(topic, p) for p in range(first, first + count)}
            first += count
    return {name: frozenset(partitions) for name, partitions in assigned.items()}


class MemoryReader:
    """See ports.Reader. Its signs of life are its fetches: one that stops fetching is a zombie, soon."""

    def __init__(self, broker: Broker, group: str, instance: str, topics: Sequence[str], hook: Hook = undisturbed) -> None:
        self.instance = instance
        self.topics = tuple(topics)
        self.knows = 0
        """The group's generation as far as this member knows; 0 while it has none."""
        self._broker = broker
        self._group = broker.group(group)
        self._hook = hook
        self._signal = broker.clock.signal()
        self._assignment = Assignment(0, frozenset())
        self._positions: dict[TopicPartition, int] = {}
        """In order of their partitions."""
        self._paused: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._turn = 0
        self._has_all = False
        """Whether the last fetch left nothing behind: then there is something new once the signal says so."""

    async def start(self) -> None:
        await self._hook("join")
        self._broker.listen(self._signal, self.topics)
        self._group.join(self)

    def assign(self, generation: int, partitions: frozenset[TopicPartition]) -> None:
        """Every assignment begins silent; positions and pauses of the one before are forgotten."""
        self.knows = generation
        if generation or self._assignment.partitions:
            self._assignment = Assignment(self._assignment.generation + 1, partitions)
        self._positions, self._paused, self._ends = {}, set(), {}

    def assignment(self) -> Assignment:
        return self._assignment

    def seek(self, at: TopicPartition, offset: int) -> None:
        if at in self._assignment.partitions:
            if at not in self._positions:
                self._positions = dict(sorted([*self._positions.items(), (at, offset)]))
            self._positions[at] = offset
            self._paused.discard(at)
            self._signal.set()

    def pause(self, at: Sequence[TopicPartition]) -> None:
        self._paused.update(at)

    def resume(self, at: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(at)
        if at:
            self._signal.set()

    async def fetch(self, wait_s: float) -> list[Record]:
        broker = self._broker
        patience_s = broker.patience_s if self._group.is_one() else broker.group_patience_s
        deadline_s = broker.deadline_s(wait_s, patience_s)
        if patience_s and wait_s and self._has_all:
            await self._signal.wait(patience_s)
        while True:
            await self._hook("fetch")
            self._group.beat(self)
            records = self._drain()
            self._has_all = len(records) < broker.fetched_at_once
            left_s = deadline_s - broker.clock.now_s()
            if records or left_s <= 0:
                return records
            await self._signal.wait(left_s)

    def _drain(self) -> list[Record]:
        found: list[Record] = []
        limit, silent, ends = self._broker.fetched_at_once, self._broker.silent, self._ends
        for at in self._in_turn():
            partition, position = self._broker.partition(at), self._positions[at]
            if position == partition.end:
                if at not in silent:
                    ends[at] = position
            elif at not in self._paused and len(found) < limit:
                found += self._drain_one(at, partition, limit - len(found))
            elif at not in silent:
                ends[at] = partition.end
        return found

    def _in_turn(self) -> list[TopicPartition]:
        """Whoever had none left for at the last fetch comes first at the next."""
        partitions, self._turn = list(self._positions), self._turn + 1
        if not partitions or self._broker.fetched_at_once >= FETCHED_AT_ONCE:
            return partitions
        first = self._turn % len(partitions)
        return partitions[first:] + partitions[:first]

    def _drain_one(self, at: TopicPartition, partition: _Partition, limit: int) -> Sequence[Record]:
        position = self._positions[at]
        if position < partition.begin:
            raise Expired(f"{at} begins at {partition.begin}, not {position}")
        if at in self._broker.silent:
            return ()
        records = partition.read(position, limit)
        self._positions[at] = records[-1].offset + 1 if len(records) == limit else partition.end
        self._ends[at] = partition.end
        return records

    def lose(self) -> None:
        """What is there now is fetched and lost on the way, as when another partition's fetch fails: seek again."""
        self._drain()

    def end(self, at: TopicPartition) -> int | None:
        return self._ends.get(at)

    def position(self, at: TopicPartition) -> int | None:
        return self._positions.get(at)

    async def stop(self) -> None:
        """A static member doesn't leave: its place is kept for a session."""
        self._broker.leave(self._signal)


class MemoryWriter:
    """See ports.Writer. The hook's steps: `send`, for each destination `append TOPIC/PARTITION`, then `ack`."""

    def __init__(self, broker: Broker, hook: Hook = undisturbed, batch_bytes: int = BATCH_BYTES) -> None:
        self._broker = broker
        self._hook = hook
        self._batch_bytes = batch_bytes

    async def start(self) -> None:
        await self._hook("start")

    async def send(self, batches: Mapping[TopicPartition, Sequence[Outgoing]]) -> dict[TopicPartition, int]:
        await self._hook("send")
        counts: dict[TopicPartition, int] = {}
        for at, batch in batches.items():
            fitting = _fitting(batch, self._batch_bytes)
            if not fitting:
                raise ProduceFailed(f"a record for {at} is larger than a batch may be")
            await self._hook(f"append {at.topic}/{at.partition}")
            self._append(at, fitting)
            counts[at] = len(fitting)
        await self._hook("ack")
        return counts

    def _append(self, at: TopicPartition, batch: Sequence[Outgoing]) -> None:
        try:
            self._broker.append(at, batch)
        except MissingTopic as error:
            raise ProduceFailed(f"{error!r}") from error

    async def stop(self) -> None:
        """Nothing is on its way."""


def _fitting(batch: Sequence[Outgoing], most_bytes: int) -> list[Outgoing]:
    fitting, size = [], 0
    for record in batch:
        size += len(record.key) + len(record.value or b"") + RECORD_OVERHEAD_BYTES + sum(len(n) + len(v) for n, v in record.headers)
        if size > most_bytes:
            break
        fitting.append(record)
    return fitting


class MemoryTopics:
    """See ports.Topics."""

    def __init__(self, broker: Broker, hook: Hook = undisturbed) -> None:
        self._broker = broker
        self._hook = hook

    async def partitions(self, topic: str) -> int:
        await self._hook("partitions")
        if topic not in self._broker.topics():
            raise MissingTopic(topic)
        return self._broker.topics()[topic]

    async def existing(self) -> dict[str, int]:
        """Topic name to partitions, for all topics of the cluster."""
        await self._hook("existing")
        return self._broker.topics()

    async def ends(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {one: end for one, (_, end) in (await self.bounds(at)).items()}

    async def bounds(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        await self._hook("bounds")
        return {one: (self._broker.partition(one).begin, self._broker.partition(one).end) for one in at}

    async def tails(self, at: Sequence[TopicPartition], records: int) -> dict[TopicPartition, list[Record]]:
        await self._hook("tails")
        partitions = {one: self._broker.partition(one) for one in at}
        return {one: partition.read(max(partition.begin, partition.end - records), records) for one, partition in partitions.items()}

    async def appended_after(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        await self._hook("times")
        found = {at: [r.offset for r in self._broker.partition(at).records if r.appended_ms > ms] for at, ms in times_ms.items()}
        return {at: offsets[0] for at, offsets in found.items() if offsets}

    async def deletions_kept_ms(self, topics: Sequence[str]) -> int:
        await self._hook("configurations")
        return self._broker.deletions_kept_ms

    def follow(self, at: Sequence[TopicPartition], since: Begins = FROM_THE_BEGINNING) -> MemoryFollower:
        return MemoryFollower(self._broker, at, self._hook, since)


class MemoryFollower:
    """See ports.Follower."""

    def __init__(self, broker: Broker, at: Sequence[TopicPartition], hook: Hook = undisturbed, since: Begins = FROM_THE_BEGINNING) -> None:
        self._broker = broker
        self._hook = hook
        self._positions = dict.fromkeys(sorted(at), 0) | dict(since)
        self._signal = broker.clock.signal()
        self._has_all = False

    async def start(self) -> None:
        await self._hook("follow")
        self._broker.listen(self._signal, {at.topic for at in self._positions})

    async def fetch(self, wait_s: float) -> list[Record]:
        broker = self._broker
        deadline_s = broker.deadline_s(wait_s, broker.patience_s)
        if broker.patience_s and wait_s and self._has_all:
            await self._signal.wait(broker.patience_s)
        while True:
            await self._hook("follow")
            self._has_all = True
            records = self._drain_all()
            left_s = deadline_s - broker.clock.now_s()
            if records or left_s <= 0:
                return records
            await self._signal.wait(left_s)

    def _drain_all(self) -> list[Record]:
        found: list[Record] = []
        for at, position in self._positions.items():
            partition = self._broker.partition(at)
            if position != partition.end:
                records = partition.read(position, FETCHED_AT_ONCE)
                self._positions[at] = records[-1].offset + 1 if len(records) == FETCHED_AT_ONCE else partition.end
                found += records
        return found

    def position(self, at: TopicPartition) -> int:
        return self._positions.get(at, 0)

    async def stop(self) -> None:
        self._broker.leave(self._signal)
