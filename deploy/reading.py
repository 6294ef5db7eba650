"""Reading what is there, beside the services: whole topics up to their present end, and the services' databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import asyncpg

from deploy.errors import Explained
from deploy.fleet import load_service, service_dsn
from schemas.topics import Topic
from shared.kernel.kafka import KafkaTopics, MissingTopic
from shared.kernel.ports import Record, TopicPartition
from shared.kernel.postgres import PostgresStore
from shared.kernel.postgres_refusals import postgres_refusal
from shared.kernel.postgres_transaction import TRANSIENT
from shared.kernel.rows import RowCodec
from shared.settings import Settings

STALL_S = 30.0
"""A topic that gives nothing for so long, although it isn't read to its end, is given up."""
CONNECT_S = 5.0
QUERY_S = 120.0
ROWS_AT_ONCE = 1000
COMMANDS = "nervure command"
"""How Postgres names these connections, beside those of services."""


class TopicStalled(Explained):
    """{topics} could not be read to the end: nothing came for {seconds} s. See whether the broker runs (its log is in the home), then
    try again."""


class KafkaSilent(Explained):
    """Kafka does not answer at {address}: {cause}. Start it (`nervure up` starts one), or correct NERVURE_KAFKA."""


class PostgresSilent(Explained):
    """Postgres does not answer: {cause}. Start it (`nervure up` starts one), or correct NERVURE_POSTGRES."""


class NoDatabase(Explained):
    """The service {service} has no database yet: it never ran here. Start it with `nervure up` or `nervure run {service}`."""


async def check_kafka(bootstrap: str) -> None:
    """Return when one of the brokers accepts connections. Raises KafkaSilent."""
    cause: object = "no address"
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), CONNECT_S)
        except (OSError, TimeoutError, ValueError) as error:
            cause = str(error) or type(error).__name__
            continue
        writer.close()
        return
    raise KafkaSilent(address=bootstrap, cause=cause)


def partitions_in(existing: Mapping[str, int], topics: Sequence[Topic]) -> list[TopicPartition]:
    """All partitions of these topics. Raises MissingTopic."""
    if missing := [topic.name for topic in topics if topic.name not in existing]:
        raise MissingTopic(", ".join(missing))
    return [TopicPartition(topic.name, number) for topic in topics for number in range(existing[topic.name])]


async def whole(topics: KafkaTopics, at: Sequence[TopicPartition]) -> AsyncIterator[Record]:
    """Every record up to the ends as they are when this begins; in offset order within a partition. Raises TopicStalled."""
    ends = await topics.ends(at) if at else {}
    waiting = {one for one in at if ends[one] > 0}
    if not waiting:
        return
    follower = topics.follow(sorted(waiting))
    await follower.start()
    try:
        quiet_since = asyncio.get_running_loop().time()
        while waiting:
            records = await follower.fetch(0.5)
            for record in records:
                if record.offset < ends[record.at]:
                    yield record
            still = {one for one in waiting if follower.position(one) < ends[one]}
            now = asyncio.get_running_loop().time()
            quiet_since = now if records or still != waiting else quiet_since
            waiting = still
            if now - quiet_since > STALL_S:
                raise TopicStalled(topics=", ".join(sorted({one.topic for one in waiting})), seconds=round(STALL_S))
    finally:
        await follower.stop()


@asynccontextmanager
async def database(settings: Settings, service: str) -> AsyncIterator[PostgresStore]:
    """A service's own database, as it is: nothing is created or migrated. Raises NoDatabase, PostgresSilent, PostgresRefuses."""
    pool = await _pool(service_dsn(settings, service), service)
    store = PostgresStore(load_service(service), pool)
    try:
        yield store
    finally:
        await store.close()


class Snapshot:
    """A service's database as it was at one moment: all that is read through it is read in one transaction, which changes nothing."""

    def __init__(self, service: str, connection: Any) -> None:
        self.service = service
        self.codecs = codecs_of(service)
        self._connection = connection

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        return list(await self._connection.fetch(sql, *args))

    async def stream(self, sql: str, *args: Any) -> AsyncIterator[Any]:
        """What may be more than fits the memory, row by row."""
        async for row in self._connection.cursor(sql, *args, prefetch=ROWS_AT_ONCE):
            yield row

    async def rows(self, kind: str) -> AsyncIterator[Any]:
        """Every row of a kind as it is stored, by id."""
        after = ""
        while page := await self.fetch(self.codecs[kind].scan_sql, after, ROWS_AT_ONCE):
            for row in page:
                yield row
            after = page[-1]["id"]


@cache
def codecs_of(service: str) -> Mapping[str, RowCodec]:
    """How the rows of each kind of a service are stored."""
    return {kind.name: RowCodec(kind) for kind in load_service(service).kinds}


@asynccontextmanager
async def snapshot(pool: asyncpg.Pool, service: str) -> AsyncIterator[Snapshot]:
    """The database of a service at this moment. Raises PostgresSilent where the connection is lost."""
    try:
        async with pool.acquire(timeout=CONNECT_S) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield Snapshot(service, connection)
    except (*TRANSIENT, asyncpg.PostgresError) as error:
        raise PostgresSilent(cause=f"{service}: {str(error) or type(error).__name__}") from error


async def open_pool(settings: Settings, service: str) -> asyncpg.Pool:
    """Connections to a service's database, for who closes them. Raises NoDatabase, PostgresSilent."""
    return await _pool(service_dsn(settings, service), service)


async def _pool(dsn: str, service: str) -> asyncpg.Pool:
    try:
        named = {"application_name": COMMANDS}
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2, timeout=CONNECT_S, command_timeout=QUERY_S, server_settings=named)
        tables = await pool.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'kernel'")
    except asyncpg.InvalidCatalogNameError:
        raise NoDatabase(service=service) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise postgres_refusal(error) or PostgresSilent(cause=str(error) or type(error).__name__) from error
    if not tables:
        await pool.close()
        raise NoDatabase(service=service)
    return pool
