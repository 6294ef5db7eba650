"""What a replica says of itself over HTTP: that it lives, whether it is ready, and figures that grow with what happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from structlog.typing import FilteringBoundLogger

from deploy.fleet import SERVICES, kafka_connection
from deploy.health import ask, metrics
from deploy.supervisor import System
from schemas.inventory import Availability
from schemas.topics import AVAILABILITY, owned_by
from services.sourcing.service import service as sourcing
from shared.kernel.codec import state_record
from shared.kernel.engine import Engine
from shared.kernel.health import Health
from shared.kernel.memory_log import Broker, MemoryReader, MemoryTopics, MemoryWriter
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.partition import partition_of
from shared.kernel.pictures import Pictures
from shared.kernel.ports import TIMERS, TopicPartition
from shared.kernel.publisher import Publisher
from shared.kernel.real import RealClock
from shared.settings import Settings
from tests.support.bank import PARTITIONS, Bank

SILENT: FilteringBoundLogger = structlog.wrap_logger(
    structlog.ReturnLogger(), processors=[], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)
FIGURES = {
    "batches_total",
    "batch_seconds_total",
    "inputs_total",
    "collisions_total",
    "retries_total",
    "claims_total",
    "published_total",
    "produce_failures_total",
    "lag_records",
    "outbox_unsent",
    "documents_unsent",
    "view_documents_total",
    "view_refused_total",
    "resident_bytes_peak",
    "stored_outbox",
    "stored_dead_letters",
    "stored_quarantined",
    "stored_spooled",
    "stored_kept",
    "stored_timers",
}


class Sourcing:
    """A replica of sourcing on ports in memory, with a view that reads only while it may."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        clock, broker = RealClock(), Broker(RealClock())
        for topic in (*sourcing.reads, *sourcing.views, *owned_by("sourcing")):
            broker.create(topic.name, 1 if topic.one_partition else PARTITIONS, compacted=topic.compacted)
        self.broker, self.view = broker, sourcing.view()
        partitions = broker.topics() | {TIMERS: PARTITIONS}
        topics = MemoryTopics(broker, self._hook)
        store = MemoryStore(sourcing, Database(clock), owned=[(topic, PARTITIONS) for topic in owned_by("sourcing")])
        publisher = Publisher(sourcing, store, MemoryWriter(broker), topics, clock, SILENT, partitions, timedelta(minutes=1))
        reader = MemoryReader(broker, "sourcing", "sourcing-0", [topic.name for topic in sourcing.reads])
        self.engine = Engine(sourcing, store, reader, publisher, topics, self.view, clock, SILENT, partitions)
        self.pictures = Pictures(sourcing, self.view, topics, clock, SILENT, partitions)
        self.health = Health("sourcing", self.engine, publisher, self.pictures, store)

    async def _hook(self, what: str) -> None:
        if what == "follow":
            await self.may_read.wait()

    def publish(self, sku: str) -> None:
        level = Availability(sku=sku, location="paris", version=1, sellable=1, reserved=0, atp=1)
        key = AVAILABILITY.key_of(level)
        at = TopicPartition(AVAILABILITY.name, partition_of(key, PARTITIONS))
        self.broker.append(at, [state_record("inventory", 1, key, 1, datetime.now(UTC), level)])

    async def said(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(ask, self.health.port, path)


@pytest.fixture
async def replica() -> AsyncIterator[Sourcing]:
    replica = Sourcing()
    await replica.health.start("127.0.0.1", 0)
    yield replica
    await replica.health.stop()


async def test_a_replica_is_ready_when_its_views_are_read_and_partitions_are_its_own(replica: Sourcing) -> None:
    """It lives all the time; ready it is only while both hold, and it says what it waits for."""
    for sku in ("mug", "pot", "tea"):
        replica.publish(sku)
    reading = asyncio.create_task(replica.pictures.catch_up())
    await asyncio.sleep(0.05)
    assert await replica.said("/livez") == (200, "ok")
    assert await replica.said("/readyz") == (503, "views are still being read; no partition is assigned yet")
    replica.may_read.set()
    await reading
    assert replica.pictures.applied == 3, "ready before the whole view was read"
    assert await replica.said("/readyz") == (503, "no partition is assigned yet")
    owned = TopicPartition(next(iter(sourcing.reads)).name, 0)
    replica.engine.feed.claim(owned, 0, 0)
    assert await replica.said("/readyz") == (200, "ready")
    replica.engine.overflow = {owned: 7}
    assert await replica.said("/readyz") == (503, f"{owned.topic}/0 has a gap and its spool is full: nervure lanes")
    replica.engine.overflow = {}
    replica.engine.feed.drop([owned])
    assert await replica.said("/readyz") == (503, "no partition is assigned yet")
    assert await replica.said("/livez") == (200, "ok")


async def test_every_service_tells_all_figures(system: System) -> None:
    await asyncio.to_thread(system.wait_ready)
    for process in system.replicas():
        assert ask(process.health_port, "/livez") == (200, "ok")
        assert ask(process.health_port, "/readyz") == (200, "ready")
        assert metrics(process.health_port).keys() >= FIGURES
        assert ask(process.health_port, "/elsewhere")[0] == 404
    assert {process.service for process in system.replicas()} == set(SERVICES)


# ---- figures that tell of trouble: toy services over the real broker and database ----


@pytest.fixture
async def bank(settings: Settings, tmp_path: Path) -> AsyncIterator[Bank]:
    bank = Bank(settings, kafka_connection(settings), tmp_path)
    await bank.open()
    yield bank
    await bank.close()


async def figures_of(bank: Bank, service: str, published: int = 0, **expected: float) -> dict[str, float]:
    """Waits until the service's figures are these, and it has published at least so many messages; returns all."""
    port = [entry["health_port"] for entry in bank.log(service) if entry.get("action") == "started"][-1]
    found: dict[str, float] = {}

    async def there() -> bool:
        found.update(await asyncio.to_thread(metrics, port))
        return expected.items() <= found.items() and found["published_total"] >= published

    try:
        await bank.until(there, "")
    except AssertionError:
        raise AssertionError(f"{service} must tell {expected}; it tells {found}") from None
    return found


async def test_the_figures_tell_of_batches_dead_letters_quarantines_and_gaps(bank: Bank) -> None:
    """A fact that fails, an event that fails, and events that are lost."""
    lost = "acc"
    failing = next(name for name in ("bad", "worse", "worst", "evil") if partition_of(name, PARTITIONS) != partition_of(lost, PARTITIONS))
    bank.start("teller")
    bank.start("ledger")
    await bank.add(lost, times=5)
    await bank.settled()
    calm = await figures_of(bank, "teller", 5 + 1, lag_records=0, outbox_unsent=0, inputs_total=5, stored_dead_letters=0)
    assert 1 <= calm["batches_total"] <= 5
    assert calm["published_total"] <= 10, "five events, and one to five versions of the balance"
    assert 0 < calm["batch_seconds_total"] < 5

    bank.stop("ledger")
    await bank.add(lost, times=10)
    await bank.add(failing)
    await bank.holds("teller", lost, 15)
    await bank.holds("teller", failing, 1)
    await figures_of(bank, "teller", outbox_unsent=0)
    await bank.expire(bank.lane(lost), 9)
    bank.traps.write_text(f"poison {failing}\n")
    bank.start("ledger")
    await bank.add(failing)
    await bank.logged("ledger", action="quarantine")
    await bank.logged("ledger", event="records expired unread")
    both_rows = 2  # the account's, and the one that stands for its Kafka key
    await figures_of(bank, "ledger", stored_spooled=1, stored_quarantined=both_rows, stored_dead_letters=0)
    await figures_of(bank, "teller", stored_dead_letters=1, stored_spooled=0, stored_quarantined=0)
