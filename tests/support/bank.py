"""Runs the toy services as processes over the real broker and database, and looks at what became of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka import TopicPartition as KafkaTopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from deploy import fleet, parked
from schemas.topics import Topic, dead_letter_topic
from shared.kernel.arrivals import read_document
from shared.kernel.codec import external_record, open_envelope
from shared.kernel.kafka import Connection, KafkaFollower, KafkaTopics, KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.ports import ProduceFailed, Record, TopicPartition
from shared.settings import Settings, database_dsn
from tests.support.cli import Nervure
from tests.support.lane_book import LaneBook
from tests.support.last_words import Entry, entries
from tests.support.toy import LEDGER, TELLER, TRAPS, Add, Balance, Close, toy_topics

PARTITIONS = 2
WAIT_S = 45.0


class Bank:
    """One pair of toy services under a name of its own."""

    def __init__(self, settings: Settings, connection: Connection, folder: Path) -> None:
        self.name = f"toy{uuid4().hex[:6]}"
        self.adds, self.added, self.balances, self.closings = toy_topics(self.name)
        self.traps = folder / "traps"
        self._settings = settings
        self._connection = connection
        self._folder = folder
        self._writer = KafkaWriter(connection)
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self.sent: dict[str, int] = {}

    async def open(self) -> None:
        await self._writer.start()
        admin = AIOKafkaAdminClient(**self._connection.arguments())
        await admin.start()
        stamped = {"message.timestamp.type": "LogAppendTime"}
        compacted = stamped | {"cleanup.policy": "compact"}
        letters = [
            NewTopic(dead_letter_topic(self.adds.name, f"{self.name}_teller"), 1, 1),
            NewTopic(dead_letter_topic(self.added.name, f"{self.name}_ledger"), 1, 1),
            NewTopic(dead_letter_topic(self.closings.name, f"{self.name}_ledger"), 1, 1),
        ]
        await admin.create_topics(
            [
                NewTopic(self.adds.name, PARTITIONS, 1, topic_configs=stamped),
                NewTopic(self.added.name, PARTITIONS, 1, topic_configs=stamped),
                NewTopic(self.closings.name, PARTITIONS, 1, topic_configs=stamped),
                NewTopic(self.balances.name, PARTITIONS, 1, topic_configs=compacted),
                *letters,
            ]
        )
        await admin.close()

    async def close(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        await self._writer.stop()

    # ---- processes ----

    def start(self, service: str, replica: int = 0, postgres: str | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {"NERVURE_TOY_NAME": self.name, TRAPS: str(self.traps)}
        command = [sys.executable, "-m", "tests.support.toy", service, "--kafka", self._connection.bootstrap]
        command += ["--postgres", postgres or self.dsn(service), "--replica", str(replica)]
        with self.log_path(service, replica).open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._processes[service, replica] = process
        return process

    def lives(self, service: str, replica: int = 0) -> bool:
        """Whether the process that was started last still runs."""
        return self._processes[service, replica].poll() is None

    def stop(self, service: str, replica: int = 0) -> int:
        """SIGTERM and wait; the exit code."""
        process = self._processes[service, replica]
        process.terminate()
        return process.wait(30)

    def dsn(self, service: str) -> str:
        assert self._settings.postgres is not None
        return database_dsn(self._settings.postgres, f"{self.name}_{service}")

    def log_path(self, service: str, replica: int = 0) -> Path:
        return self._folder / f"{service}-{replica}.log"

    def log(self, service: str, replica: int = 0) -> list[Entry]:
        """Its entries so far, without one that is still being written."""
        path = self.log_path(service, replica)
        return list(entries(path)) if path.exists() else []

    def account(self, partition: int, number: int = 0) -> str:
        """Names of accounts whose messages go to this partition."""
        return [name for name in map("acc-{}".format, range(50)) if partition_of(name, PARTITIONS) == partition][number]

    async def logged(self, service: str, replica: int = 0, since: int = 0, **fields: Any) -> Entry:
        """Waits for a log entry with these fields, beyond so many entries of any kind."""

        async def there() -> bool:
            return any(fields.items() <= entry.items() for entry in self.log(service, replica)[since:])

        await self.until(there, f"log entry {fields} of {service}-{replica}")
        return next(entry for entry in self.log(service, replica)[since:] if fields.items() <= entry.items())

    def command_line(self, monkeypatch: pytest.MonkeyPatch) -> Nervure:
        """`nervure` as it would be if the toys were services of the fleet."""
        services = {f"{self.name}_teller": TELLER, f"{self.name}_ledger": LEDGER}
        for module in (fleet, parked):
            monkeypatch.setattr(module, "SERVICES", tuple(services))
        for name, service in services.items():
            monkeypatch.setitem(sys.modules, f"services.{name}.service", SimpleNamespace(service=service))
        assert self._settings.postgres is not None
        return Nervure({"NERVURE_KAFKA": self._connection.bootstrap, "NERVURE_POSTGRES": self._settings.postgres.get_secret_value()})

    # ---- the business ----

    async def add(self, account: str, amount: int = 1, times: int = 1) -> None:
        """Sends amounts to book, each with an id of its own."""
        self.sent[account] = self.sent.get(account, 0) + amount * times
        await self._send(self.adds, account, [Add(account=account, amount=amount) for _ in range(times)])

    async def close_account(self, account: str) -> None:
        """Asks the ledger to note what it holds."""
        await self._send(self.closings, account, [Close(account=account)])

    async def _send(self, topic: Topic, account: str, bodies: Sequence[Add | Close]) -> None:
        """Sends again, for a bounded time, what the broker did not acknowledge."""
        left = [external_record(topic, body, source="/bank", id=uuid4().hex, now=datetime.now(UTC)) for body in bodies]
        at, deadline = TopicPartition(topic.name, partition_of(account, PARTITIONS)), time.monotonic() + WAIT_S
        while left:
            try:
                left = left[(await self._writer.send({at: left}))[at] :]
            except ProduceFailed:
                assert time.monotonic() < deadline, "the broker does not come back"
                await asyncio.sleep(0.2)

    async def totals(self, service: str) -> dict[str, int]:
        rows = await self.query(service, "SELECT id, (doc->>'total')::int AS total FROM state.account WHERE doc IS NOT NULL")
        return {row["id"]: row["total"] for row in rows}

    async def shown(self) -> dict[str, int]:
        """The newest balance documents, as a reader of the state topic finds them."""
        newest: dict[str, tuple[tuple[int, int], int]] = {}
        for record in await self.records(self.balances):
            body = read_document(record, self.balances)
            assert isinstance(body, Balance)
            newest[body.account] = max(newest.get(body.account, ((0, 0), 0)), (_version(record), body.total))
        return {account: total for account, (_, total) in newest.items()}

    async def last_shown(self, account: str) -> int:
        """The total in the last document of an account, the one that compaction keeps."""
        records = [record for record in await self.records(self.balances) if record.key == account.encode()]
        body = read_document(records[-1], self.balances)
        assert isinstance(body, Balance)
        return body.total

    async def lanes(self) -> LaneBook:
        """What the teller told, as a careful reader of its lanes notes it down."""
        book = LaneBook()
        for record in await self.records(self.added):
            book.is_new(record, open_envelope(record, self.added), self.added)
        return book

    async def records(self, topic: Topic) -> list[Record]:
        """All records of a topic, as of now."""
        at = [TopicPartition(topic.name, p) for p in range(PARTITIONS)]
        ends, found = await KafkaTopics(self._connection).ends(at), list[Record]()
        follower = KafkaFollower(self._connection, at)
        await follower.start()
        while any(follower.position(one) < ends[one] for one in at):
            found += await follower.fetch(0.2)
        await follower.stop()
        return found

    async def query(self, service: str, sql: str, *arguments: Any) -> list[Any]:
        try:
            connection = await asyncpg.connect(self.dsn(service))
        except asyncpg.InvalidCatalogNameError:
            return []
        try:
            return list(await connection.fetch(sql, *arguments))
        except asyncpg.UndefinedTableError:
            return []
        finally:
            await connection.close()

    async def told(self, account: str) -> list[int]:
        """The teller's totals in the order in which the ledger booked them."""
        rows = await self.query("ledger", "SELECT doc->'told' AS told FROM state.account WHERE id = $1", account)
        return list(json.loads(rows[0]["told"])) if rows else []

    async def closed(self, account: str) -> list[int]:
        """What the ledger held whenever it was asked to close the account."""
        rows = await self.query("ledger", "SELECT doc->'closed' AS closed FROM state.account WHERE id = $1", account)
        return list(json.loads(rows[0]["closed"])) if rows else []

    async def parked(self, service: str) -> list[tuple[str, str]]:
        """(name on the command line, status) of what is parked, in order."""
        rows = await self.query(service, "SELECT number, status FROM kernel.parked ORDER BY number")
        return [(f"{self.name}_{service}/{row['number']}", row["status"]) for row in rows]

    async def settled(self) -> None:
        """Waits until teller and ledger hold exactly what was sent; asserts that the ledger booked it in the teller's order."""

        async def there() -> bool:
            return await self.totals("teller") == self.sent and await self.totals("ledger") == self.sent

        try:
            await self.until(there, "both services hold what was sent")
        except AssertionError:
            raise AssertionError(f"sent {self.sent}, teller {await self.totals('teller')}, ledger {await self.totals('ledger')}") from None
        for account in self.sent:
            told = await self.told(account)
            assert told == sorted(set(told)), f"{account}: the ledger booked the teller's totals as {told}"

    async def holds(self, service: str, account: str, total: int) -> None:
        async def there() -> bool:
            return (await self.totals(service)).get(account) == total

        await self.until(there, f"{account} of {service} is {total}")

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str, within_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + within_s
        while not await holds():
            assert time.monotonic() < deadline, f"did not come within {within_s:.0f} s: {what}"
            await asyncio.sleep(0.1)

    async def expire(self, at: TopicPartition, before: int) -> None:
        """Lets the broker drop the records before an offset, as its retention would."""
        admin = AIOKafkaAdminClient(**self._connection.arguments())
        await admin.start()
        await admin.delete_records({KafkaTopicPartition(*at): RecordsToDelete(before)})
        await admin.close()

    async def end(self, at: TopicPartition) -> int:
        return (await KafkaTopics(self._connection).ends([at]))[at]

    def lane(self, account: str) -> TopicPartition:
        return TopicPartition(self.added.name, partition_of(account, PARTITIONS))

    @property
    def writer(self) -> KafkaWriter:
        return self._writer


def _version(record: Record) -> tuple[int, int]:
    """(incarnation, version) of a balance: the kernel of this process doesn't know who owns the toys' topics."""
    headers = dict(record.headers)
    return int((headers["ce_lane"] or b"").rpartition(b"/")[2]), int(headers["ce_seq"] or b"")
