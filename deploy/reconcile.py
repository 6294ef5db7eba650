"""`nervure lanes reconcile`: whether it may begin, and the repair itself on the real database and broker."""

from __future__ import annotations

import asyncio

from deploy.errors import Explained
from deploy.fleet import load_service, service_name
from deploy.reading import COMMANDS, database
from schemas.topics import owned_by
from shared.kernel.journal import journal_of
from shared.kernel.kafka import ACK_DEADLINE_S, KafkaTopics
from shared.kernel.ports import TIMERS, TopicPartition
from shared.kernel.postgres import PostgresStore
from shared.kernel.reconcile import Reconciled
from shared.kernel.reconcile import reconcile as roll_forward
from shared.settings import Settings

LANDED_S = 2 * ACK_DEADLINE_S
"""How long after its process has ended a message may still reach its topic, at most."""
CONNECTED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name IS DISTINCT FROM $1
"""


class StillRuns(Explained):
    """Somebody is connected to the database of {service}: a replica, or a person. Stop all replicas, close all sessions, then try again."""


class StillArriving(Explained):
    """Messages of {service} still arrived while this waited: somebody publishes for it. Stop all its replicas, the zombies too, then try
    again."""


async def reconcile(settings: Settings, topics: KafkaTopics, service: str, *, dry: bool, landed_s: float = LANDED_S) -> Reconciled:
    """Wait until nothing of the service can arrive any more, then do again what its database lacks. Raises StillRuns, StillArriving, and
    what shared/kernel/reconcile.py does."""
    wiring = load_service(service_name(service))
    async with database(settings, wiring.name) as store:
        await _check_alone(store, wiring.name)
        partitions = await topics.existing()
        anchor = next(topic.name for topic in wiring.reads if not topic.one_partition)
        if not dry:
            await _wait_until_landed(topics, wiring.name, partitions, landed_s)
        return await roll_forward(wiring, store, topics, {**partitions, TIMERS: partitions[anchor]}, dry=dry)


async def _check_alone(store: PostgresStore, service: str) -> None:
    if (await store.fetch(CONNECTED, COMMANDS))[0]["count"]:
        raise StillRuns(service=service)


async def _wait_until_landed(topics: KafkaTopics, service: str, partitions: dict[str, int], landed_s: float) -> None:
    """Abandoned producers may still deliver; afterwards, nobody may."""
    journal = journal_of(service)
    names = [topic.name for topic in owned_by(service)] + [journal.topic] * (journal.topic in partitions)
    at = [TopicPartition(name, p) for name in names for p in range(partitions[name])]
    await asyncio.sleep(landed_s)
    ends = await topics.ends(at)
    await asyncio.sleep(min(landed_s, 2.0))
    if await topics.ends(at) != ends:
        raise StillArriving(service=service)
