"""Corruptions, planted on purpose into databases and topics that work, and taken out again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog
from structlog.typing import FilteringBoundLogger

from deploy.fleet import kafka_connection, service_dsn
from schemas.reference import Location
from schemas.topics import LOCATIONS, ORDER_STATUS, Topic
from services.fulfilment_tracking.service import service as tracking
from services.sourcing.service import service as sourcing
from shared.kernel.codec import external_record, state_record
from shared.kernel.health import Health
from shared.kernel.kafka import KafkaFollower, KafkaTopics, KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.pictures import Pictures
from shared.kernel.ports import FROM_THE_BEGINNING, Begins, Outgoing, Record, TopicPartition
from shared.kernel.real import RealClock
from shared.kernel.rows import RowCodec
from shared.settings import Settings

WRONG_ROWS = {
    "order_capture": ("order", "doc", "jsonb_set(doc::jsonb, '{charges_minor}', '77')::json"),
    "inventory": ("level", "display", "display + 7"),
    "sourcing": ("order", "doc", "jsonb_set(doc::jsonb, '{decisions}', '77')::json"),
    "fulfilment_tracking": ("order", "doc", "jsonb_set(doc::jsonb, '{patience_s}', '77')::json"),
    "returns": ("purchase", "doc", "jsonb_set(doc::jsonb, '{credits}', '77')::json"),
}
"""By service: kind, column, and a wrong value for it."""


@asynccontextmanager
async def database_of(settings: Settings, service: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(service_dsn(settings, service))
    try:
        yield connection
    finally:
        await connection.close()


async def edit_row(settings: Settings, service: str, row: str) -> Any:
    """Another value in one column; returns what it was."""
    kind, column, wrong = WRONG_ROWS[service]
    async with database_of(settings, service) as connection:
        before = await connection.fetchval(f'SELECT {column} FROM state."{kind}" WHERE id = $1', row)
        await connection.execute(f'UPDATE state."{kind}" SET {column} = {wrong} WHERE id = $1', row)
    return before


async def put_back(settings: Settings, service: str, row: str, before: Any) -> None:
    kind, column, _ = WRONG_ROWS[service]
    async with database_of(settings, service) as connection:
        await connection.execute(f'UPDATE state."{kind}" SET {column} = $2 WHERE id = $1', row, before)


async def drop_purchase(settings: Settings, order: str) -> Any:
    """Returns has never heard of the order; returned: the row as it was."""
    async with database_of(settings, "returns") as connection:
        return await connection.fetchrow("DELETE FROM state.purchase WHERE id = $1 RETURNING *", order)


async def restore_purchase(settings: Settings, row: Any) -> None:
    values = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    async with database_of(settings, "returns") as connection:
        await connection.execute(f"INSERT INTO state.purchase ({', '.join(row.keys())}) VALUES ({values})", *row.values())


async def mark_read_back(settings: Settings, order: str, version: int) -> int:
    """Tracking takes this version to be the newest one its status topic shows; returns what it took before."""
    async with database_of(settings, "fulfilment_tracking") as connection:
        marked = "SELECT version FROM kernel.published WHERE topic = $1 AND id = $2"
        before: int = await connection.fetchval(marked, ORDER_STATUS.name, order)
        await connection.execute("UPDATE kernel.published SET version = $3 WHERE topic = $1 AND id = $2", ORDER_STATUS.name, order, version)
    return before


async def show_stale(settings: Settings, order: str) -> None:
    """An old status comes last in its topic, and tracking has forgotten that there was a newer one."""
    await mark_read_back(settings, order, 0)
    [state] = [each for each in tracking.states if each.topic == ORDER_STATUS]
    codec = RowCodec(next(kind for kind in tracking.kinds if kind.name == state.kind))
    async with database_of(settings, "fulfilment_tracking") as connection:
        row = (await connection.fetch(codec.find_sql, [order]))[0]
    record = state_record("fulfilment_tracking", 1, order, 1, datetime.now(UTC), state.render(order, 1, codec.parse(row)))
    await _publish(settings, ORDER_STATUS, record)


async def _publish(settings: Settings, topic: Topic, record: Outgoing) -> None:
    partition = 0 if topic.one_partition else partition_of(record.key.decode(), settings.partitions)
    writer = KafkaWriter(kafka_connection(settings))
    await writer.start()
    try:
        await writer.send({TopicPartition(topic.name, partition): [record]})
    finally:
        await writer.stop()


LOST = Location(location="planted-lost", kind="store", zone="Europe/Paris", country="FR", latitude=48.8, longitude=2.3)


class _Forgetful(KafkaFollower):
    """Loses one location on its way to the view."""

    async def fetch(self, wait_s: float) -> list[Record]:
        return [each for each in await super().fetch(wait_s) if each.key != LOST.location.encode()]


LOST = Location(location="planted-lost", kind="store", zone="Europe/Paris", country="FR", latitude=48.8, longitude=2.3)


class _ForgetfulTopics(KafkaTopics):
    def follow(self, at: Sequence[TopicPartition], since: Begins = FROM_THE_BEGINNING) -> KafkaFollower:
        return _Forgetful(self._connection, at, since)


@asynccontextmanager
async def a_view_that_lost_a_document(settings: Settings) -> AsyncIterator[int]:
    """The view of a replica of sourcing, with a location missing that its topic has; gives the port of its health pages."""
    await _publish(settings, LOCATIONS, external_record(LOCATIONS, LOST, source="/planted", id=LOST.location, now=datetime.now(UTC)))
    topics = _ForgetfulTopics(kafka_connection(settings))
    partitions = {topic.name: 1 if topic.one_partition else settings.partitions for topic in sourcing.views}
    nothing: Any = None
    pictures = Pictures(sourcing, sourcing.view(), topics, RealClock(), SILENT, partitions)
    health = Health(sourcing.name, nothing, nothing, pictures, nothing)
    await pictures.catch_up()
    await health.start("127.0.0.1", 0)
    reading = asyncio.create_task(pictures.run())
    try:
        yield health.port
    finally:
        pictures.stopping = True
        await reading
        await pictures.stop()
        await health.stop()


SILENT: FilteringBoundLogger = structlog.wrap_logger(
    structlog.ReturnLogger(), processors=[], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)
