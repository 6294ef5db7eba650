"""One replica of a service on the ports in memory: assembled as shared/kernel/replica.py does, run by turns, killed and stopped at will."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from schemas.topics import owned_by
from shared.kernel.engine import Engine
from shared.kernel.journal import Journal, journal_of
from shared.kernel.memory_clock import Hook
from shared.kernel.memory_log import Broker, MemoryReader, MemoryTopics, MemoryWriter
from shared.kernel.memory_shelf import MemoryShelf
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.model import Service
from shared.kernel.pictures import Pictures, ReadBacks
from shared.kernel.ports import TIMERS, Clock, ProduceFailed, TopicPartition, Transient
from shared.kernel.publisher import Publisher
from shared.kernel.snapshots import Snapshots
from tests.support.turns import Task, Turns

SNAPSHOTS_S = 2.0
"""How often a process sees whether it has read anything since its last snapshot."""
PAUSE_S = 0.3
"""Between two pieces of one: there are few, so much has to happen meanwhile."""


class Crash(BaseException):
    """The process dies here."""


class Home(Protocol):
    """The world a process lives in."""

    turns: Turns
    round_trip: bool
    """Whether rows are stored as text and parsed again."""
    snapshots: bool
    """Whether processes keep what their views hold, and begin with that when they start again."""

    @property
    def broker(self) -> Broker: ...

    @property
    def databases(self) -> Mapping[str, Database]: ...

    @property
    def log(self) -> FilteringBoundLogger: ...

    def partitions(self) -> Mapping[str, int]: ...

    def clock_of(self, process: str) -> Clock: ...

    def patient_clock(self, process: Process, part: str) -> Clock:
        """For the `engine` and the `publisher`: it may leave out looks that would find nothing."""
        ...

    def hook(self, process: str, failure: type[Exception]) -> Hook:
        """Awaited before each step; raises what the step shall fail with, by default `failure`."""
        ...

    def caught_up(self, process: Process) -> None:
        """Told when it has read its views, before it decides anything."""
        ...

    def died(self, process: Process, error: BaseException) -> None:
        """Told once nothing of it runs any more."""
        ...


class Process:
    """One replica: it starts, works, dies, and is started again."""

    def __init__(self, world: Home, service: Service[Any], replica: int) -> None:
        self.world = world
        self.service = service
        self.replica = replica
        self.name = f"{service.name}-{replica}"
        self.frozen = False
        self.store: MemoryStore | None = None
        self.engine: Engine | None = None
        self.publisher: Publisher | None = None
        self.reader: MemoryReader | None = None
        self.pictures: Pictures | None = None
        self.shelf = MemoryShelf()
        self._tasks: list[Task] = []

    @property
    def lives(self) -> bool:
        return bool(self._tasks)

    def start(self) -> None:
        self._spawn("main", self._main())

    def die(self, error: BaseException) -> None:
        """Everything stops where it is; the servers notice."""
        for task in self._tasks:
            task.end()
        self._tasks.clear()
        self.frozen = False
        if self.store is not None:
            self.store.cut()
        self.store, self.engine, self.publisher, self.reader, self.pictures = None, None, None, None, None
        self.world.died(self, error)

    def freeze(self) -> None:
        """Stopped as by SIGSTOP: it doesn't know, and holds what it holds."""
        self.frozen = True
        for task in self._tasks:
            task.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        self.world.turns.thaw(self._tasks)

    def _spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self.world.turns.spawn(f"{self.name} {name}", coroutine, self.die))

    async def _main(self) -> None:
        world, service, clock = self.world, self.service, self.world.clock_of(self.name)
        log, name, partitions = world.log, self.name, world.partitions()
        owned = [(topic, partitions[topic.name]) for topic in owned_by(service.name)]
        hook = world.hook(name, Transient)
        journal = Journal(service) if journal_of(service.name).topic in partitions else None
        at = journal.at if journal is not None else None
        self.store = store = MemoryStore(
            service, world.databases[service.name], owned=owned, hook=hook, round_trip=world.round_trip, journal=at
        )
        topics, view = MemoryTopics(world.broker, hook), service.view()
        self.pictures = pictures = Pictures(service, view, topics, clock, log, partitions)
        writer = MemoryWriter(world.broker, world.hook(name, ProduceFailed))
        publishers, engines = world.patient_clock(self, "publisher"), world.patient_clock(self, "engine")
        self.publisher = publisher = Publisher(service, store, writer, topics, publishers, log, partitions, timedelta(minutes=10), at)
        reads = [topic.name for topic in service.reads]
        self.reader = reader = MemoryReader(world.broker, service.name, name, reads, hook)
        self.engine = engine = Engine(service, store, reader, publisher, topics, view, engines, log, partitions, journal)
        backs = ReadBacks(service, store, publisher, topics, clock, log, partitions)
        shards = [TopicPartition(TIMERS, p) for p in range(partitions[TIMERS])]
        await store.declare([*(TopicPartition(each, p) for each in reads for p in range(partitions[each])), *shards])
        snapshots = Snapshots(service, pictures, topics, self.shelf, clock, log, look_s=SNAPSHOTS_S, least=1, pause_s=PAUSE_S)
        keeps = world.snapshots and bool(service.views)
        if keeps:
            await snapshots.load()
        await pictures.catch_up()
        self.world.caught_up(self)
        await reader.start()
        self._spawn("reader", engine.read())
        self._spawn("publisher", publisher.run())
        self._spawn("read back", backs.run())
        if service.views:
            self._spawn("pictures", pictures.run())
        if keeps:
            self._spawn("snapshots", snapshots.run())
        self._spawn("engine", engine.run())
