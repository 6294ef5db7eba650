"""The floor: five bare processes on the same broker and database, without decoding or deciding.

Each does `getmany` -> one transaction (state upserts, outbox COPY, offsets) -> `send_batch`; the second one also locks and updates five
inventory levels an order. Same fsync, same batch sizes: no order management of this design can be faster on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from uuid import uuid4

import asyncpg
import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.kernel.kafka import Connection, KafkaFollower, KafkaTopics, KafkaWriter
from shared.kernel.ports import Outgoing, Record, TopicPartition

STAGES = 5
LEVELS = 4_000
LEVELS_AN_ORDER = 5
BATCH = 256
VALUE = b"x" * 1024
HEADERS = tuple((f"ce_header{n}", b"some attribute of an event") for n in range(8))
TABLES = f"""
CREATE TABLE IF NOT EXISTS state (id text PRIMARY KEY, version bigint NOT NULL, doc text NOT NULL) WITH (fillfactor = 80);
CREATE TABLE IF NOT EXISTS level (id int PRIMARY KEY, reserved bigint NOT NULL) WITH (fillfactor = 80);
CREATE TABLE IF NOT EXISTS outbox (seq bigint GENERATED ALWAYS AS IDENTITY, key text, headers text, value bytea);
CREATE TABLE IF NOT EXISTS position (topic text, partition int, next bigint, PRIMARY KEY (topic, partition));
INSERT INTO level SELECT n, 0 FROM generate_series(0, {LEVELS - 1}) n ON CONFLICT DO NOTHING;
"""


class Stage:
    """One bare process."""

    def __init__(self, connection: Connection, dsn: str, run: str, number: int, partitions: int) -> None:
        self._reads = [TopicPartition(f"floor.{run}.{number}", p) for p in range(partitions)]
        self._writes = f"floor.{run}.{number + 1}"
        self._follower = KafkaFollower(connection, self._reads)
        self._writer = KafkaWriter(connection)
        self._dsn = dsn
        self._has_levels = number == 1
        self._random = random.Random(number)

    async def run(self) -> None:
        await self._follower.start()
        await self._writer.start()
        database = await asyncpg.connect(self._dsn)
        waiting: list[Record] = []
        while True:
            if not waiting:
                waiting = await self._follower.fetch(0.2)
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            if not batch:
                continue
            async with database.transaction():
                await self._write(database, batch)
            out: dict[TopicPartition, list[Outgoing]] = {}
            for record in batch:
                out.setdefault(TopicPartition(self._writes, record.partition), []).append(Outgoing(record.key or b"", VALUE, HEADERS))
            await self._writer.send(out)

    async def _write(self, database: asyncpg.Connection, batch: Sequence[Record]) -> None:
        keys = [(record.key or b"").decode() for record in batch]
        if self._has_levels:
            wanted = sorted(self._random.randrange(LEVELS) for _ in range(LEVELS_AN_ORDER * len(keys)))
            units = {level: wanted.count(level) for level in set(wanted)} if len(wanted) < 50 else _counted(wanted)
            await database.fetch("SELECT id, reserved FROM level WHERE id = ANY($1::int[]) ORDER BY id FOR UPDATE", list(units))
            await database.execute(
                "UPDATE level l SET reserved = l.reserved + u.n FROM unnest($1::int[], $2::int[]) AS u(id, n) WHERE l.id = u.id",
                list(units),
                list(units.values()),
            )
        await database.execute(
            "INSERT INTO state (id, version, doc) SELECT id, 1, $2 FROM unnest($1::text[]) AS u(id) "
            "ON CONFLICT (id) DO UPDATE SET version = state.version + 1, doc = excluded.doc",
            sorted(set(keys)),
            VALUE.decode(),
        )
        rows = [(key, "headers", VALUE) for key in keys]
        await database.copy_records_to_table("outbox", records=rows, columns=["key", "headers", "value"])
        tails = {record.at: record.offset + 1 for record in batch}
        await database.executemany(
            "INSERT INTO position VALUES ($1, $2, $3) ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
            [(*at, offset) for at, offset in tails.items()],
        )


def _counted(wanted: Sequence[int]) -> dict[int, int]:
    units: dict[int, int] = {}
    for level in wanted:
        units[level] = units.get(level, 0) + 1
    return units


async def measure(connection: Connection, postgres: str, count: int, partitions: int = 4) -> float:
    """Orders a second through the five processes; topics and databases of its own, dropped afterwards."""
    run = uuid4().hex[:6]
    admin = AIOKafkaAdminClient(**connection.arguments())
    await admin.start()
    stamped = {"message.timestamp.type": "LogAppendTime"}
    names = [f"floor.{run}.{n}" for n in range(STAGES + 1)]
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=stamped) for name in names])
    head = postgres.rpartition("/")[0]
    server = await asyncpg.connect(f"{head}/postgres")
    for n in range(STAGES):
        await server.execute(f'CREATE DATABASE "floor_{run}_{n}"')
        database = await asyncpg.connect(f"{head}/floor_{run}_{n}")
        await database.execute(TABLES)
        await database.close()
    arguments = [connection.bootstrap, run, str(partitions)]
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - started once, before anything is measured
            [sys.executable, "-m", "tests.bench.floor", f"{head}/floor_{run}_{n}", str(n), *arguments]
        )
        for n in range(STAGES)
    ]
    try:
        await asyncio.sleep(3)
        return await _through(connection, names[0], names[-1], count, partitions)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for n in range(STAGES):
            await server.execute(f'DROP DATABASE IF EXISTS "floor_{run}_{n}" WITH (FORCE)')
        await server.close()
        await admin.delete_topics(names)
        await admin.close()


async def _through(connection: Connection, first: str, last: str, count: int, partitions: int) -> float:
    writer = KafkaWriter(connection)
    await writer.start()
    started, sent = time.monotonic(), 0
    while sent < count:
        batches = {
            TopicPartition(first, p): [
                Outgoing(f"{p}-{n}".encode(), VALUE, HEADERS) for n in range(sent // partitions, sent // partitions + 100)
            ]
            for p in range(partitions)
        }
        sent += sum((await writer.send(batches)).values())
    ends = [TopicPartition(last, p) for p in range(partitions)]
    while sum((await KafkaTopics(connection).ends(ends)).values()) < sent:  # noqa: ASYNC110 - the broker is asked
        await asyncio.sleep(0.25)
    seconds = time.monotonic() - started
    await writer.stop()
    return sent / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("dsn", "number", "bootstrap", "run", "partitions"):
        parser.add_argument(name)
    asked = parser.parse_args()

    async def run() -> None:
        await Stage(Connection(asked.bootstrap), asked.dsn, asked.run, int(asked.number), int(asked.partitions)).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(run())


if __name__ == "__main__":
    main()
