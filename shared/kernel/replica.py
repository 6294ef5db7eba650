"""One replica of a service, assembled: store, reader, publisher, views, health; started, watched, drained."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from schemas.topics import owned_by
from shared.kernel.engine import Engine
from shared.kernel.health import Health
from shared.kernel.journal import Journal
from shared.kernel.kafka import Connection, KafkaReader, KafkaTopics, KafkaWriter, MissingTopic
from shared.kernel.model import Service
from shared.kernel.pictures import Pictures, ReadBacks
from shared.kernel.ports import TIMERS, TopicPartition, Transient
from shared.kernel.postgres import PostgresStore, open_store
from shared.kernel.postgres_horizon import OPEN, PublishGate
from shared.kernel.publisher import Publisher
from shared.kernel.real import RealClock
from shared.kernel.shelf import FileShelf
from shared.kernel.snapshots import Snapshots
from shared.value import Value

START_ATTEMPTS = 30
LAST_BATCH_S = 8.0
"""How long the batch under way may take once the replica is told to stop."""
DRAIN_S = 8.0
"""How long what was committed may take to be published after that."""

LAST_SNAPSHOT_S = 8.0
"""How long keeping what the view holds may take at the end; what was kept before stays otherwise."""


class Running(Value, frozen=True):
    """Where and as what a replica runs."""

    kafka: Connection
    postgres: str
    """DSN of the service's own database."""
    replica: int = 0
    """Its number among the service's replicas: it names the static group member."""
    health_port: int = 0
    """Loopback port of /livez, /readyz and /metrics; 0 picks a free one."""
    health_host: str = "127.0.0.1"
    outbox_keep: timedelta = timedelta(days=7)
    gate: PublishGate = OPEN
    """What must hold a commit before anything of it is published."""
    snapshot: Path | None = None
    """The file that keeps what its view holds from one run to the next; None keeps nothing."""
    journal: bool = False
    """Whether every commit is written to the service's journal topic too."""


class Replica:
    """Runs one service until SIGTERM or SIGINT; drains on the way out."""

    def __init__(self, service: Service[Any], running: Running) -> None:
        self.service = service
        self.running = running
        self._log: FilteringBoundLogger = structlog.get_logger(service=service.name, replica=running.replica)
        self._clock = RealClock()
        self._journal = Journal(service) if running.journal else None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Finish the batch, publish what was committed, and end `run`."""
        self._stop.set()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT drain the replica; called inside the running loop."""
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self.stop)

    async def run(self) -> None:
        """Start, work, drain. Raises what a person must mend: DatabaseBehind, MissingTopic, TooManyQuarantines, MigrationChanged."""
        topics = KafkaTopics(self.running.kafka)
        partitions = await self._partitions(topics)
        store = await self._open_store(partitions)
        try:
            await self._work(topics, partitions, store)
        finally:
            await store.close()

    async def _partitions(self, topics: KafkaTopics) -> Mapping[str, int]:
        existing = await topics.existing()
        touched = (*self.service.reads, *self.service.views, *owned_by(self.service.name))
        names = [topic.name for topic in touched] + ([self._journal.at.topic] if self._journal is not None else [])
        if missing := [name for name in names if name not in existing]:
            raise MissingTopic(", ".join(missing[:5]))
        anchor = next(topic.name for topic in self.service.reads if not topic.one_partition)
        return existing | {TIMERS: existing[anchor]}

    async def _open_store(self, partitions: Mapping[str, int]) -> PostgresStore:
        owned = [(topic, partitions[topic.name]) for topic in owned_by(self.service.name)]
        cause, journal = "", self._journal.at if self._journal is not None else None
        for attempt in range(START_ATTEMPTS):
            try:
                store = await open_store(self.service, self.running.postgres, owned=owned, journal=journal, gate=self.running.gate)
                reads = [TopicPartition(topic.name, p) for topic in self.service.reads for p in range(partitions[topic.name])]
                await store.declare([*reads, *(TopicPartition(TIMERS, p) for p in range(partitions[TIMERS]))])
                return store
            except Transient as error:
                cause = str(error)[:200]
                self._log.warning("database not reachable", action="try_again", attempt=attempt, error=cause)
                await asyncio.sleep(min(5.0, 0.2 * 2**attempt))
        raise DatabaseUnreachable(f"after {START_ATTEMPTS} attempts: {cause}")

    async def _work(self, topics: KafkaTopics, partitions: Mapping[str, int], store: PostgresStore) -> None:
        service, clock, log, journal = self.service, self._clock, self._log, self._journal
        view = service.view()
        pictures = Pictures(service, view, topics, clock, log, partitions)
        snapshots = self._snapshots(pictures, topics)
        writer = KafkaWriter(self.running.kafka)
        publisher = Publisher(
            service, store, writer, topics, clock, log, partitions, self.running.outbox_keep, journal.at if journal is not None else None
        )
        reader = KafkaReader(
            self.running.kafka,
            group=f"nervure-{service.name}",
            instance=f"{service.name}-{self.running.replica}",
            topics=[topic.name for topic in service.reads],
        )
        engine = Engine(service, store, reader, publisher, topics, view, clock, log, partitions, journal)
        backs = ReadBacks(service, store, publisher, topics, clock, log, partitions)
        health = Health(service.name, engine, publisher, pictures, store)
        await health.start(self.running.health_host, self.running.health_port)
        try:
            await writer.start()
            gc.disable()  # what views hold is no garbage, and there is more of it each time
            if snapshots is not None:
                await snapshots.load()
            await pictures.catch_up()
            await reader.start()
            _collect_seldom()
            gc.enable()
            log.info("ready", action="started", host=socket.gethostname(), health_port=health.port)
            await work_until(self._stop, engine, publisher, pictures, backs, snapshots)
        finally:
            await asyncio.gather(reader.stop(), pictures.stop(), backs.stop(), writer.stop(), health.stop())
            log.info("stopped", action="drained")
        if snapshots is not None:  # only now: its share of the work may be another's already
            with suppress(TimeoutError):
                await asyncio.wait_for(snapshots.make_last(), LAST_SNAPSHOT_S)

    def _snapshots(self, pictures: Pictures, topics: KafkaTopics) -> Snapshots | None:
        file = self.running.snapshot
        return Snapshots(self.service, pictures, topics, FileShelf(file), self._clock, self._log) if file is not None else None


async def work_until(
    stop: asyncio.Event, engine: Engine, publisher: Publisher, pictures: Pictures, backs: ReadBacks, snapshots: Snapshots | None = None
) -> None:
    """Runs all of them until `stop` is set, then drains. Raises what ended one of them before."""
    main = asyncio.create_task(engine.run(), name="engine")
    publishing = asyncio.create_task(publisher.run(), name="publisher")
    beside = [asyncio.create_task(one, name=name) for name, one in (
        ("reader", engine.read()), ("pictures", pictures.run()), ("read_back", backs.run()),
    )]  # fmt: skip
    if snapshots is not None:
        beside.append(asyncio.create_task(snapshots.run(), name="snapshots"))
    stopped = asyncio.create_task(stop.wait(), name="stop")
    tasks = (main, publishing, *beside)
    await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if not any(task.done() for task in tasks):
        engine.stopping = True
        await asyncio.wait({main}, timeout=LAST_BATCH_S)
        publisher.stopping = True  # only now: the last batch has something to publish, too
        await asyncio.wait({publishing}, timeout=DRAIN_S)
        await publisher.note_all_sent()
    engine.stopping = publisher.stopping = pictures.stopping = backs.stopping = True
    for task in (stopped, *tasks):
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


def _collect_seldom() -> None:
    """What a replica makes is freed by its reference counts; only failures leave cycles behind. Looking for them after every 700 new
    objects, and through all documents of the views now and then, would take a fifth of its time. One batch makes up to 300,000."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(400_000, 20, 20)


class DatabaseUnreachable(Exception):
    """Postgres did not answer at start. Remedy: check NERVURE_POSTGRES, or `nervure up`, and start the service again."""
