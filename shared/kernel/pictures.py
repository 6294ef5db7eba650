"""Keeps a service's view fed from whole state and reference topics, and reads its own state topics back.

A view is ready only when it has read every partition to the end it had at the start. A state document counts only if its
(incarnation, version) is higher than the one known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from structlog.typing import FilteringBoundLogger

from schemas.topics import BY_NAME, Topic
from shared.kernel.arrivals import read_viewed
from shared.kernel.codec import Undecodable, state_version
from shared.kernel.contents import Contents, Seen
from shared.kernel.model import Service
from shared.kernel.ports import Clock, Follower, ReadBack, Record, Store, TopicPartition, Topics, Transient
from shared.kernel.publisher import Publisher

GATHER_S = 0.02
"""How long documents gather before they are read; for so long a view may be older than its topics anyway."""
MAX_ID_CHARACTERS = 300
"""Longer than any id of a row."""


class Place(NamedTuple):
    """How far a partition was read, and until when what was read had been appended."""

    begin: int
    """Where the partition began when reading it did."""
    last: int | None = None
    """Offset of the last record; None where there was none."""
    appended_ms: int = 0
    """The newest append time of all that was read."""


class Pictures:
    """The follower of one replica's views."""

    def __init__(
        self, service: Service[Any], view: Any, topics: Topics, clock: Clock, log: FilteringBoundLogger, partitions: Mapping[str, int]
    ) -> None:
        self._service = service
        self.stopping = False
        self.ready = False
        self.broken = 0
        self.applied = 0
        self.misnamed = 0
        """Reference documents under another key than their own: what becomes of them depends on their order among others."""
        self.records = 0
        """How many were read, whether they counted or not."""
        self.read_s = 0.0
        """When the log was asked last for what `places` comes to."""
        self.view = view
        self._topics = topics
        self._clock = clock
        self._log = log
        self.at = partitions_of_all(service.views, partitions)
        self._contents = {at: Contents() for at in self.at}
        self._read_to = dict.fromkeys(self.at, 0)
        self._places: dict[TopicPartition, Place] = {}
        self._follower: Follower | None = None

    def positions(self) -> dict[TopicPartition, int]:
        """How far each topic was read into the view."""
        return dict(self._read_to)

    def seen(self) -> dict[TopicPartition, Seen]:
        """What the view has come to, by partition: for the audit, which knows what it should have come to."""
        return {at: self._contents[at].seen(next) for at, next in self._read_to.items()}

    def documents(self) -> int:
        """How many count."""
        return sum(seen.documents for seen in self.seen().values())

    def places(self) -> dict[TopicPartition, Place]:
        return dict(self._places)

    def contents(self) -> list[Contents]:
        """In the order of `places`."""
        return [self._contents[at] for at in self._places]

    def begin_with(self, view: Any, contents: Mapping[TopicPartition, Contents], places: Mapping[TopicPartition, Place]) -> None:
        """Instead of reading everything: reads on from these places. Before `catch_up`."""
        self.view.become(view)
        self._contents, self._places = dict(contents), dict(places)
        self._read_to = {at: 0 if place.last is None else place.last + 1 for at, place in places.items()}

    async def catch_up(self) -> None:
        """Reads everything there was when it began."""
        if self.at:
            self._follower = self._topics.follow(self.at, {at: next for at, next in self._read_to.items() if next})
            await self._follower.start()
            self.read_s, bounds = self._clock.now_s(), await self._topics.bounds(self.at)
            self._places = {at: self._places.get(at, Place(bounds[at][0])) for at in self.at}
            while any(self._follower.position(at) < bounds[at][1] for at in self.at):
                await self._read(self._follower)
        self.ready = True

    async def run(self) -> None:
        while not self.stopping:
            if self._follower is None:
                await self._clock.sleep(0.5)
                continue
            before = self.records
            await self._read(self._follower)
            if self.records > before:
                await self._clock.sleep(GATHER_S)

    async def stop(self) -> None:
        if self._follower is not None:
            await self._follower.stop()

    async def _read(self, follower: Follower) -> None:
        asked_s = self._clock.now_s()
        try:
            records = await follower.fetch(0.2)
        except Transient as error:
            self._log.warning("view fetch failed", action="try_again", error=str(error)[:200])
            await self._clock.sleep(0.3)
            return
        newest: dict[TopicPartition, Record] = {}
        for record in records:
            at = record.at
            self._apply(record, BY_NAME[at.topic], self._contents[at])
            newest[at] = record
        for at, record in newest.items():
            begin, _, appended_ms = self._places[at]
            self._places[at] = Place(begin, record.offset, max(appended_ms, record.appended_ms))
        self.records += len(records)
        self._read_to = {at: follower.position(at) for at in self.at}
        self.read_s = asked_s

    def _apply(self, record: Record, topic: Topic, contents: Contents) -> None:
        version, key = contents.news(record, topic), record.key
        if version is None or key is None:
            return
        if record.value is None:
            self.view.forget(topic, key.decode("utf-8", "replace"))
            contents.hide(key, version)
            return
        try:
            document = read_viewed(self._service, record, topic)
            self.view.apply(document)
        except Undecodable as error:
            self.broken += 1
            contents.hide(key, version)
            where = f"{record.topic}/{record.partition}/{record.offset}"
            self._log.error("document refused", action="keep_the_last_good_one", at=where, error=str(error)[:500])
        else:
            self.applied += 1
            self.misnamed += topic.external and topic.key_of(document).encode() != key
            contents.show(key, version)


class ReadBacks:
    """Reads own state topics back: marks what they show, and has stale documents published again."""

    def __init__(
        self, service: Service[Any], store: Store, publisher: Publisher, topics: Topics, clock: Clock, log: FilteringBoundLogger,
        partitions: Mapping[str, int],
    ) -> None:  # fmt: skip
        self.stopping = False
        self.repaired = 0
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._log = log
        self._topics = topics
        self._at = partitions_of_all([state.topic for state in service.states], partitions)
        self._follower = topics.follow(self._at) if self._at else None
        self._life = ""

    async def run(self) -> None:
        if self._follower is None:
            await self._rest()
            return
        await self._follower.start()
        waiting: list[Record] = []
        in_doubt = False
        while not self.stopping:
            try:
                waiting += await self._follower.fetch(0.0 if in_doubt else 0.5)
                await self._mark(waiting)
                waiting.clear()
                await self._follow_life()
                if in_doubt:
                    await self._publisher.republish_dirty()
                in_doubt = False
            except Transient as error:
                in_doubt = True  # the marks may have moved, and the answer that named what is stale was lost
                self._log.warning("read-back failed", action="try_again", error=str(error)[:200])
            await self._clock.sleep(0.25)

    async def stop(self) -> None:
        if self._follower is not None:
            await self._follower.stop()

    async def _follow_life(self) -> None:
        """Marks may be lost with their database: over one that was restored under a running replica everything is read again. Without
        a gate such a replica refuses to run, or has lost nothing."""
        life = (await self._store.horizon()).life if self._store.gated else ""
        if life != self._life and self._follower is not None:
            anew, before = self._topics.follow(self._at), self._follower
            await anew.start()
            self._follower = anew
            await before.stop()
        self._life = life

    async def _rest(self) -> None:
        """A service without state topics has nothing to read back."""
        while not self.stopping:
            await self._clock.sleep(0.5)

    async def _mark(self, records: Sequence[Record]) -> None:
        by_topic: dict[str, list[ReadBack]] = {}
        for one in filter(None, map(read_back_of, records)):
            by_topic.setdefault(one.topic, []).append(one)
        for topic, seen in by_topic.items():
            if stale := await self._store.read_back(seen):
                self.repaired += len(stale)
                self._log.warning("stale document repaired", action="publish_again", topic=topic, ids=stale[:5])
                await self._publisher.republish_states(topic, stale)


def read_back_of(record: Record) -> ReadBack | None:
    """What a record of an own state topic shows; None where its key names no row of ours: a stranger wrote it."""
    try:
        id = (record.key or b"").decode()
    except UnicodeDecodeError:
        return None
    if not 0 < len(id) <= MAX_ID_CHARACTERS or not id.isprintable():
        return None
    return ReadBack(record.topic, id, state_version(record)[1], record.offset)


def partitions_of_all(topics: Sequence[Topic], partitions: Mapping[str, int]) -> list[TopicPartition]:
    return [TopicPartition(topic.name, p) for topic in topics for p in range(partitions[topic.name])]
