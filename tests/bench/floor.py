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
from typing import Self
from uuid import uuid4

import asyncpg
import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.kernel.kafka import Connection, KafkaFollower, KafkaTopics, KafkaWriter
from shared.kernel.ports import Outgoing, Record, TopicPartition
from tests.bench.meter import Ends, Meter
from tests.bench.nervure import Run, run_of
from tests.bench.sending import Addressed, flood, pace

STAGES = 5
LEVELS = 4_000
LEVELS_AN_ORDER = 5
BATCH = 256
WARM = 500
"""Orders that go through before anything is measured: then every stage is there."""
WAIT_S, LOOK_S = 120.0, 0.1
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
        await database.execute(TABLES)
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


class Floor:
    """The five processes, with topics and databases of their own, which are dropped at the end.

    async with Floor(connection, postgres, partitions) as floor:
        rate = await floor.rate(20_000)
    """

    def __init__(self, connection: Connection, postgres: str, partitions: int = 4) -> None:
        self._connection = connection
        self._server = postgres.rpartition("/")[0]
        self._partitions = partitions
        self._run = uuid4().hex[:6]
        self._names = [f"floor.{self._run}.{n}" for n in range(STAGES + 1)]
        self._databases = [f"floor_{self._run}_{n}" for n in range(STAGES)]
        self._writer = KafkaWriter(connection)
        self._meter = Meter(connection, self._names)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._sent = 0

    async def __aenter__(self) -> Self:
        await self._create_topics()
        for name in self._databases:
            await self._on_server(f'CREATE DATABASE "{name}"')
        self._processes = [self._spawn(number) for number in range(STAGES)]
        await self._writer.start()
        await self._meter.start()
        await self._through(WARM)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        await self._writer.stop()
        await self._meter.stop()
        for name in self._databases:
            await self._on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin = AIOKafkaAdminClient(**self._connection.arguments())
        await admin.start()
        await admin.delete_topics(self._names)
        await admin.close()

    async def rate(self, count: int) -> float:
        """Orders a second, sent as fast as the broker takes them, from the first append to the last stage's last append."""
        return (await self._through(count)).orders_per_s

    async def latencies(self, count: int, rate: float) -> tuple[float, ...]:
        """Milliseconds from when each order was due, `rate` a second (open loop), to its append by the last stage."""
        return (await self._through(count, rate)).latencies_ms

    async def _through(self, count: int, rate: float | None = None) -> Run:
        begin = await self._meter.ends()
        first, self._sent = self._sent, self._sent + count
        records = [self._record(number) for number in range(first, self._sent)]
        if rate is None:
            await flood(self._writer, records)
            due_ms = await self._appended(begin, self._names[0])
        else:
            began_ms = await pace(self._writer, records, rate)
            due_ms = {str(first + n): began_ms + 1000 * n / rate for n in range(count)}
        last = {at: end for at, end in begin.items() if at.topic == self._names[-1]}
        deadline = time.monotonic() + WAIT_S
        while await self._meter.come(last) < count and time.monotonic() < deadline:  # noqa: ASYNC110 - the broker is asked
            await asyncio.sleep(LOOK_S)
        return run_of(count, due_ms, await self._appended(begin, self._names[-1]))

    def _record(self, number: int) -> Addressed:
        return TopicPartition(self._names[0], number % self._partitions), Outgoing(str(number).encode(), VALUE, HEADERS)

    async def _appended(self, begin: Ends, name: str) -> dict[str, float]:
        """Append time of each order."""
        at = {at: offset for at, offset in begin.items() if at.topic == name}
        return {(record.key or b"").decode(): float(record.appended_ms) async for record in self._meter.records(at)}

    async def _create_topics(self) -> None:
        admin = AIOKafkaAdminClient(**self._connection.arguments())
        await admin.start()
        stamped = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics([NewTopic(name, self._partitions, 1, topic_configs=stamped) for name in self._names])
        await admin.close()
        while not await self._shown():  # noqa: ASYNC110 - the broker is asked
            await asyncio.sleep(LOOK_S)

    async def _shown(self) -> bool:
        """Whether the broker tells of the topics: it answers before it does."""
        return set(self._names) <= (await KafkaTopics(self._connection).existing()).keys()

    async def _on_server(self, statement: str) -> None:
        server = await asyncpg.connect(f"{self._server}/postgres")
        await server.execute(statement)
        await server.close()

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        dsn = f"{self._server}/{self._databases[number]}"
        arguments = [dsn, str(number), self._connection.bootstrap, self._run, str(self._partitions)]
        return subprocess.Popen([sys.executable, "-m", "tests.bench.floor", *arguments])


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
