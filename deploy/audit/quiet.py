"""Waiting, for a bounded time, until nothing moves: an audit compares what several services keep, and they are never at one moment."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from deploy.audit.books import Q
from deploy.fleet import SERVICES, load_service
from deploy.reading import database, partitions_in
from schemas.topics import BY_NAME, TOPICS
from shared.kernel.kafka import KafkaTopics
from shared.kernel.ports import TopicPartition
from shared.settings import Settings

POLL_S = 0.5
ARRIVING = "messages keep arriving"
CALM_POLLS = 2
"""So often in a row nothing may have moved."""


Heads = tuple[dict[TopicPartition, int], dict[str, int]]
"""Ends of the external topics, and what each service has committed to its lanes: idle lanes repeat their last message, which is no news."""


async def wait_until_quiet(settings: Settings, topics: KafkaTopics, until_s: float) -> tuple[str, Heads]:
    """(empty once nothing moves, else what still does at the monotonic time `until_s`; how far everybody is then)."""
    calm, before = 0, None
    while True:
        moving, heads = await moves(settings, topics)
        calm = calm + 1 if not moving and heads == before else 0
        if calm >= CALM_POLLS:
            return "", heads
        if time.monotonic() > until_s:
            return moving or ARRIVING, heads
        before = heads
        await asyncio.sleep(POLL_S)


async def moves(settings: Settings, topics: KafkaTopics) -> tuple[str, Heads]:
    """(what is unread, unpublished or due, in words; how far everybody is)."""
    ends = await topics.ends(partitions_in(await topics.existing(), TOPICS))
    works = {service: await _work_of(settings, service, ends) for service in SERVICES}
    external = {at: end for at, end in ends.items() if BY_NAME[at.topic].external}
    texts = [f"{service} has {text}" for service, (text, _) in works.items() if text]
    return "; ".join(texts), (external, {service: committed for service, (_, committed) in works.items()})


async def _work_of(settings: Settings, service: str, ends: dict[TopicPartition, int]) -> tuple[str, int]:
    reads = {topic.name for topic in load_service(service).reads}
    async with database(settings, service) as store:
        positions = {TopicPartition(row["topic"], row["partition"]): row["next"] for row in await store.fetch(Q["positions"])}
        work = (await store.fetch(Q["at_work"], datetime.now(UTC)))[0]
    lag = sum(max(0, end - positions.get(at, 0)) for at, end in ends.items() if at.topic in reads)
    texts = {"messages to read": lag, "to publish": work["unpublished"], "timers due": work["timers"], "to replay": work["replays"]}
    return ", ".join(f"{count} {what}" for what, count in texts.items() if count), work["committed"]
