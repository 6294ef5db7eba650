"""The observer: it reads every record of every topic and every move of every reader, writes all of it down, and judges it in the end.

What was produced stands in `records.jsonl`, one line a record: place, append time, key, type, id, lane and number. What was consumed stands
in `positions.jsonl`, one line for each time a service is seen to have committed further. A Jepsen history, in short: what it says must be
explained by every message taking effect once, in the order of its lane.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TextIO

from deploy.audit.books import Q
from deploy.fleet import SERVICES, kafka_connection, load_service
from deploy.reading import database
from schemas.topics import BY_NAME, TOPICS, Topic
from shared.kernel.codec import Envelope, Undecodable, open_envelope, read_body, state_version
from shared.kernel.kafka import KafkaFollower, KafkaTopics
from shared.kernel.ports import Record, TopicPartition, Transient
from shared.kernel.postgres import PostgresStore
from shared.settings import Settings
from tests.chaos.findings import Findings
from tests.support.lane_book import LaneBook

FETCH_S = 0.2
POLL_S = 0.25
"""How often the positions of the services are read."""
PATIENCE_S = 5.0
"""How long one look into a database may take; it may be away just now."""

Positions = Mapping[TopicPartition, int]


class Observer:
    """Watches a system from its first record on."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self.records = 0
        self.seen: dict[TopicPartition, int] = {}
        """How far every partition was seen to reach."""
        self.newest_ms: dict[TopicPartition, int] = {}
        """When the newest record seen was appended."""
        self.positions: dict[str, dict[TopicPartition, int]] = {service: {} for service in SERVICES}
        """How far every service was last seen to have committed."""
        self.looked_s: dict[str, float] = dict.fromkeys(SERVICES, 0.0)
        """When that look began, on the monotonic clock."""
        self._lanes = LaneBook()
        self._numbers: dict[tuple[str, str], int] = {}
        """(topic, id) of what services published to its lane's number."""
        self._told: dict[str, Counter[tuple[str, str]]] = {}
        """By external topic: (source, id) of what came from outside, and how often it stands there."""
        self._versions: dict[tuple[str, bytes], tuple[int, int]] = {}
        self._wrong = Findings()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        connection = kafka_connection(self._settings)
        existing = await KafkaTopics(connection).existing()
        names = [topic.name for topic in TOPICS] + [name for name in existing if ".dlq." in name]
        at = [TopicPartition(name, number) for name in names for number in range(existing[name])]
        self._follower = KafkaFollower(connection, at)
        await self._follower.start()
        self._records_log = self._open("records.jsonl")
        self._positions_log = self._open("positions.jsonl")
        self._tasks = [asyncio.create_task(self._read())]
        self._tasks += [asyncio.create_task(self._look_at(service)) for service in SERVICES]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._follower.stop()
        await self._stack.aclose()

    def _open(self, name: str) -> TextIO:
        return self._stack.enter_context((self._folder / name).open("w", buffering=1))

    def raise_failure(self) -> None:
        """What ended the observer, if something did: then nothing was watched."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    # ---- what is produced ----

    async def _read(self) -> None:
        while True:
            try:
                records = await self._follower.fetch(FETCH_S)
            except Transient:
                await asyncio.sleep(FETCH_S)
                continue
            for record in records:
                self._note(record)

    def _note(self, record: Record) -> None:
        at = record.at
        if record.offset < self.seen.get(at, 0):
            return
        self.seen[at], self.newest_ms[at] = record.offset + 1, record.appended_ms
        self.records += 1
        topic = BY_NAME.get(record.topic)
        line: dict[str, Any] = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        line |= {"at_ms": record.appended_ms, "key": (record.key or b"").decode(errors="replace")}
        if topic is None:
            self._wrong.other(f"a dead letter: {record.topic} at {record.offset}")
        elif topic.kind == "state":
            line |= self._note_state(record)
        else:
            line |= self._note_message(record, topic)
        self._records_log.write(json.dumps(line) + "\n")

    def _note_state(self, record: Record) -> dict[str, Any]:
        version, key = state_version(record), (record.topic, record.key or b"")
        self._versions[key] = max(version, self._versions.get(key, version))
        return {"version": version}

    def _note_message(self, record: Record, topic: Topic) -> dict[str, Any]:
        try:
            envelope = open_envelope(record, topic)
        except Undecodable as error:
            self._wrong.other(f"unreadable: {record.topic}/{record.partition} at {record.offset}: {error}")
            return {}
        if topic.external:
            self._told.setdefault(topic.name, Counter())[envelope.source, envelope.id] += 1
        elif topic.kind == "events":
            self._note_effect(record, topic, envelope)
        return {"type": envelope.type, "source": envelope.source, "id": envelope.id, "lane": str(envelope.lane), "seq": envelope.seq}

    def _note_effect(self, record: Record, topic: Topic, envelope: Envelope) -> None:
        """The id of a message derives from its cause: one that comes under two numbers is an effect that came twice, if it isn't an answer
        that is told again, and says so, to who asks again under the same id."""
        self._lanes.is_new(record, envelope, topic)
        number = self._numbers.setdefault((topic.name, envelope.id), envelope.seq)
        if number != envelope.seq and not _is_told_again(envelope, topic):
            self._wrong.doubled(f"{topic.name}: {envelope.type} {envelope.id} under the numbers {number} and {envelope.seq}")

    # ---- what is consumed ----

    async def _look_at(self, service: str) -> None:
        async with database(self._settings, service) as store:
            while True:
                began = time.monotonic()
                try:
                    rows = await asyncio.wait_for(store.fetch(Q["positions"]), PATIENCE_S)
                except (Transient, TimeoutError):
                    await asyncio.sleep(POLL_S)
                    continue
                self._note_positions(service, {TopicPartition(row["topic"], row["partition"]): row["next"] for row in rows})
                self.looked_s[service] = began
                await asyncio.sleep(POLL_S)

    def _note_positions(self, service: str, now: Mapping[TopicPartition, int]) -> None:
        before = self.positions[service]
        for at, position in now.items():
            if position < before.get(at, 0):
                self._wrong.doubled(f"{service} has gone back in {at.topic}/{at.partition} from {before[at]} to {position}")
            if position != before.get(at, 0):
                line = {"at_s": time.time(), "service": service, "topic": at.topic, "partition": at.partition, "next": position}
                self._positions_log.write(json.dumps(line) + "\n")
        self.positions[service] = dict(now)

    def ends_for(self, service: str) -> Positions:
        """How far its inputs were seen to reach."""
        reads = {topic.name for topic in load_service(service).reads}
        return {at: end for at, end in self.seen.items() if at.topic in reads}

    # ---- the judgement ----

    async def caught_up(self, within_s: float) -> None:
        """Returns when it has seen all that stands in the topics, or when the time is over."""
        ends = await KafkaTopics(kafka_connection(self._settings)).ends(list(self._follower._positions))
        deadline = time.monotonic() + within_s
        while any(self._follower.position(at) < end for at, end in ends.items()) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(FETCH_S)

    async def judge(self, acknowledged: Mapping[str, set[tuple[str, str]]]) -> Findings:
        """Every message once and in order. `acknowledged`: by external topic, (source, id) of what the broker took."""
        found = Findings().with_all(self._wrong)
        for fault in self._lanes.faults:
            found.reordered(fault)
        for topic, told in acknowledged.items():
            for source, id in told - self._told.get(topic, Counter()).keys():
                found.lost(f"{topic}: {source} {id} was acknowledged and does not stand there")
        for service in SERVICES:
            await self._judge_inbox(service, found)
        return found

    async def _judge_inbox(self, service: str, found: Findings) -> None:
        """Every fact from outside that this service listens to was taken by it, in the transaction of its effects."""
        facts = [topic for topic in load_service(service).reads if topic.kind == "fact"]
        async with database(self._settings, service) as store:
            taken = await _inbox(store)
            for topic in facts:
                for source, id in self._told.get(topic.name, Counter()).keys() - taken:
                    found.lost(f"{service} never took {source} {id} of {topic.name}")

    @property
    def repeats(self) -> int:
        """Records that a publisher sent again, not sure whether they had arrived; readers drop them."""
        return self._lanes.repeats


async def _inbox(store: PostgresStore) -> set[tuple[str, str]]:
    return {(row["source"], row["id"]) for row in await store.fetch("SELECT source, id FROM kernel.inbox")}


def _is_told_again(envelope: Envelope, topic: Topic) -> bool:
    try:
        return bool(getattr(read_body(envelope, topic), "repeated", False))
    except Undecodable:
        return False
