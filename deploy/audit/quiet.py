"""Waiting, for a bounded time, until nothing moves: an audit compares what several services keep, and they are never at one moment."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from deploy.audit.books import Q
from deploy.fleet import SERVICES, load_service
from deploy.reading import database, partitions_in
from schemas.topics import TOPICS
from shared.kernel.kafka import KafkaTopics
from shared.kernel.ports import TopicPartition
from shared.settings import Settings

POLL_S = 0.5
CALM_POLLS = 2
"""So often in a row nothing may have moved."""


async def wait_until_quiet(settings: Settings, topics: KafkaTopics, within_s: float) -> str:
    """Empty once nothing moves; else, after that time, what still does."""
    deadline, calm, before = time.monotonic() + within_s, 0, None
    while True:
        moving, ends = await moves(settings, topics)
        calm = calm + 1 if not moving and ends == before else 0
        if calm >= CALM_POLLS:
            return ""
        if time.monotonic() > deadline:
            return moving or "messages keep arriving"
        before = ends
        await asyncio.sleep(POLL_S)


async def moves(settings: Settings, topics: KafkaTopics) -> tuple[str, dict[TopicPartition, int]]:
    """(what is unread, unpublished or due, in words; the ends of all topics)."""
    ends = await topics.ends(partitions_in(await topics.existing(), TOPICS))
    found = [text for service in SERVICES if (text := await _work_of(settings, service, ends))]
    return "; ".join(found), {at: end for at, end in ends.items() if not _is_state(at.topic)}


async def _work_of(settings: Settings, service: str, ends: dict[TopicPartition, int]) -> str:
    reads = {topic.name for topic in load_service(service).reads}
    async with database(settings, service) as store:
        positions = {TopicPartition(row["topic"], row["partition"]): row["next"] for row in await store.fetch(Q["positions"])}
        work = (await store.fetch(Q["at_work"], datetime.now(UTC)))[0]
    lag = sum(max(0, end - positions.get(at, 0)) for at, end in ends.items() if at.topic in reads)
    texts = {"messages to read": lag, "to publish": work["unpublished"], "timers due": work["timers"], "to replay": work["replays"]}
    named = ", ".join(f"{count} {what}" for what, count in texts.items() if count)
    return f"{service} has {named}" if named else ""


def _is_state(topic: str) -> bool:
    """State topics are written to until they show the rows; who is idle may still repeat a record there."""
    return any(each.name == topic and each.kind == "state" for each in TOPICS)
