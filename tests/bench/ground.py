"""What a part of the benchmark stands on: a fresh home with embedded servers and services, and what looks at them."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from deploy.audit.quiet import wait_until_quiet
from deploy.embedded import Embedded
from deploy.fleet import SERVICES, kafka_connection
from deploy.health import ask
from deploy.supervisor import System
from schemas.topics import AVAILABILITY, TOPIC_OF, TOPICS, Body, partitions_of
from shared.kernel.codec import external_record
from shared.kernel.kafka import Connection, KafkaTopics, KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.ports import TopicPartition
from shared.settings import Settings
from tests.bench.meter import Ends, Meter
from tests.bench.sending import Addressed, flood

HOME_PREFIX = "nervure-bench-"
REST_S, VIEWS_S, LOOK_S = 1_800.0, 1_800.0, 0.2
"""How long setting up may take until it counts as failed; how often it is looked at."""


class NotAtRest(Exception):
    """The system did not come to rest: {moving}. Remedy: see the services' logs in the home; a benchmark on top of work left over tells
    nothing."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A running system, and clients of its broker."""

    system: System
    connection: Connection
    meter: Meter
    writer: KafkaWriter

    @property
    def settings(self) -> Settings:
        return self.system.settings

    @property
    def partitions(self) -> int:
        return self.system.settings.partitions

    @property
    def postgres(self) -> str:
        """The server's DSN."""
        assert isinstance(self.settings.postgres, SecretStr)
        return self.settings.postgres.get_secret_value()

    async def say(self, bodies: Sequence[Body], name: str) -> None:
        """Publishes external messages, in order within a partition; `name` makes their ids."""
        await flood(self.writer, [self._addressed(body, f"{name}-{number}") for number, body in enumerate(bodies)])

    def _addressed(self, body: Body, id: str) -> Addressed:
        topic = TOPIC_OF[type(body)]
        record = external_record(topic, body, source="/bench", id=id, now=datetime.now(UTC))
        return TopicPartition(topic.name, partition_of(topic.key_of(body), partitions_of(topic, self.partitions))), record

    async def rest(self) -> None:
        """Returns when every service has done all it was told and shown it, and the views know all reference data and levels. Raises
        NotAtRest."""
        moving, _ = await wait_until_quiet(self.settings, KafkaTopics(self.connection), time.monotonic() + REST_S)
        if moving:
            raise NotAtRest(moving)
        await self._until(_has_shown, "documents are still being published")
        viewed = [topic.name for topic in TOPICS if topic.kind == "reference"]
        await self.views_have_read(await self.meter.ends(*viewed, AVAILABILITY.name))

    async def views_have_read(self, ends: Ends) -> None:
        """Returns when the view of every process has. Raises NotAtRest."""
        await self._until(lambda port: _has_read(port, ends), "views are still being read")

    async def _until(self, holds: Callable[[int], bool], otherwise: str) -> None:
        """Returns when it holds for the health port of every process."""
        deadline = time.monotonic() + VIEWS_S
        ports = [replica.health_port for replica in self.system.replicas()]
        while not all(await asyncio.gather(*(asyncio.to_thread(holds, port) for port in ports))):
            if time.monotonic() > deadline:
                raise NotAtRest(otherwise)
            await asyncio.sleep(LOOK_S)


def _has_shown(port: int) -> bool:
    status, text = ask(port, "/metrics")
    return status == 200 and any(line.startswith("nervure_documents_unsent{") and line.endswith(" 0") for line in text.splitlines())


def _has_read(port: int, ends: Ends) -> bool:
    status, text = ask(port, "/views")
    if status != 200:
        return False
    seen = {_at(place): int(values[0]) for place, values in json.loads(text).items()}
    return all(position >= ends.get(at, 0) for at, position in seen.items())


def _at(place: str) -> TopicPartition:
    topic, _, partition = place.rpartition("/")
    return TopicPartition(topic, int(partition))


@asynccontextmanager
async def ground(replicas: Mapping[str, int] | None = None, services: Sequence[str] = SERVICES) -> AsyncIterator[Ground]:
    """Everything up and ready in a home of its own, which is deleted at the end."""
    home = _new_home()
    system = System(Settings().model_copy(update={"home": home, "log_level": "warning"}), replicas, services=services)
    try:
        await asyncio.to_thread(system.start)
        await asyncio.to_thread(system.wait_ready)
        connection = kafka_connection(system.settings)
        made = Ground(system, connection, Meter(connection), KafkaWriter(connection))
        await made.meter.start()
        await made.writer.start()
        try:
            yield made
        finally:
            await made.writer.stop()
            await made.meter.stop()
    finally:
        await asyncio.to_thread(system.stop)
        await asyncio.to_thread(Embedded.of(system.settings).erase)


def _new_home() -> Path:
    """A folder that the database's user can pass through."""
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    home.chmod(0o711)
    return home
