"""The topic table at a real broker: made exactly as declared, never by accident, and compared."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from deploy.commands import topics as command
from deploy.fleet import create_topics, kafka_connection
from deploy.supervisor import environ
from schemas.topics import DAY_MS, TOPICS, Topic, dead_letter_topic
from shared.kernel import kafka
from shared.kernel.kafka import KafkaTopics
from shared.settings import Settings
from tests.support.cli import Nervure

RUN = uuid4().hex[:6]
REQUESTS = Topic(f"{RUN}.asks.v1", "request", "external", "k", (), "What is asked.")
REFERENCE = Topic(f"{RUN}.things.v1", "reference", "external", "k", (), "Master data.", one_partition=True)
EVENTS = Topic(f"{RUN}.told.v1", "events", "teller", "k", (), "What is told.", retention_ms=7 * DAY_MS)
STATE = Topic(f"{RUN}.shown.v1", "state", "teller", "k", (), "What is shown.")
LETTERS = dead_letter_topic(REQUESTS.name, "teller")
SMALL = (REQUESTS, REFERENCE, EVENTS, STATE)
SETTINGS = (
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "retention.bytes",
    "retention.ms",
)


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of four topics, one of which a service reads: nobody has made them yet."""
    reads = {"teller": (REQUESTS,)}
    monkeypatch.setattr(kafka, "TOPICS", SMALL)
    monkeypatch.setattr(command, "TOPICS", SMALL)
    monkeypatch.setattr(command, "reads_by_service", lambda: reads)
    monkeypatch.setattr("deploy.fleet.reads_by_service", lambda _services: reads)


async def configured(settings: Settings, topic: str) -> dict[str, str]:
    found = (await KafkaTopics(kafka_connection(settings)).configurations([topic]))[topic]
    return {name: found[name] for name in SETTINGS}


async def alter(settings: Settings, topic: Topic, **changes: str) -> None:
    """Gives a topic its declared configuration but for these settings; `_` stands for a dot."""
    changed = topic.configuration | {name.replace("_", "."): value for name, value in changes.items()}
    admin = AIOKafkaAdminClient(**kafka_connection(settings).arguments())
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=changed)])
    finally:
        await admin.close()


@pytest.mark.usefixtures("small_table")
def test_what_is_missing_is_made_as_declared_and_deviations_are_named(settings: Settings) -> None:
    nervure = Nervure(environ(settings))
    everything = [*(topic.name for topic in SMALL), LETTERS]

    missing = nervure("topics", "list")
    assert missing.code == 1 and "5 are missing; make them with `nervure topics create`." in missing.out

    assert nervure("topics", "create", "--json").json == {"created": everything}
    assert nervure("topics", "create", "--json").json == {"created": []}
    existing = asyncio.run(KafkaTopics(kafka_connection(settings)).existing())
    count = settings.partitions
    assert [existing[name] for name in everything] == [count, 1, count, count, 1]

    fixed = {"message.timestamp.type": "LogAppendTime", "retention.bytes": "-1"}
    found = {name: asyncio.run(configured(settings, name)) for name in everything}
    kept = {"cleanup.policy": "delete", "max.message.bytes": "1048588"}
    assert found[REQUESTS.name].items() >= (fixed | kept | {"retention.ms": str(30 * DAY_MS), "compression.type": "uncompressed"}).items()
    assert found[EVENTS.name].items() >= (fixed | kept | {"retention.ms": str(7 * DAY_MS), "compression.type": "producer"}).items()
    newest = {"cleanup.policy": "compact", "delete.retention.ms": str(30 * DAY_MS), "min.cleanable.dirty.ratio": "0.3"}
    assert found[REFERENCE.name].items() >= (fixed | newest | {"compression.type": "uncompressed"}).items()
    assert found[STATE.name].items() >= (fixed | newest | {"compression.type": "producer"}).items()
    letters = {"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "2200000"}
    assert found[LETTERS].items() >= (fixed | letters).items()

    page = nervure("topics", "list")
    assert page.code == 0
    shown = {line.split()[0]: line for line in page.out.splitlines() if line.startswith(RUN)}
    assert shown[REQUESTS.name].rstrip().endswith("30 days") and shown[EVENTS.name].rstrip().endswith("7 days")
    assert shown[STATE.name].rstrip().endswith("newest of a key") and shown[LETTERS].rstrip().endswith("for ever")

    asyncio.run(alter(settings, EVENTS, retention_ms="1000", message_timestamp_type="CreateTime"))
    seen = nervure.until(lambda seen: seen.code == 1, "topics", "list", "--json")
    assert seen.code == 1
    assert {line["name"]: line["deviations"] for line in seen.json if line["deviations"]} == {
        EVENTS.name: [
            {"setting": "message.timestamp.type", "declared": "LogAppendTime", "found": "CreateTime"},
            {"setting": "retention.ms", "declared": str(7 * DAY_MS), "found": "1000"},
        ]
    }
    told = nervure("topics", "list").out
    assert f"{EVENTS.name}: retention.ms is 1000, declared {7 * DAY_MS}; set it with `kafka-configs" in told


def test_the_broker_keeps_every_topic_as_the_table_says(settings: Settings) -> None:
    asyncio.run(create_topics(settings))
    seen = Nervure(environ(settings))("topics", "list", "--json")
    assert [line["name"] for line in seen.json][: len(TOPICS)] == [topic.name for topic in TOPICS]
    assert {line["name"]: line["deviations"] for line in seen.json if line["deviations"] or not line["partitions"]} == {}
    assert seen.code == 0


async def test_no_topic_is_made_by_a_typing_error(settings: Settings) -> None:
    mistyped = f"{RUN}.askz.v1"
    producer = AIOKafkaProducer(**kafka_connection(settings).arguments() | {"request_timeout_ms": 2_000})
    await producer.start()
    try:
        with pytest.raises(KafkaError):
            await producer.send_and_wait(mistyped, b"x")
    finally:
        await producer.stop()
    assert mistyped not in await KafkaTopics(kafka_connection(settings)).existing()


def test_partitions_other_than_declared_are_a_deviation() -> None:
    declared = command.Declared("t", "reference", "external", "k", (), {}, partitions=1)
    assert list(command.deviations(declared, 4, {})) == [command.Deviation("partitions", "1", "4")]
    chosen = command.Declared("t", "events", "teller", "k", (), {}, partitions=None)
    assert list(command.deviations(chosen, 12, {})) == []
