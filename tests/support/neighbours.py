"""One service runs alone, for real; the test is everybody around it: it says what they would, through their own lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from deploy.audit.books import Q
from deploy.fleet import kafka_connection, load_service
from deploy.rebuild import rebuild_store
from deploy.supervisor import System
from schemas.fulfilment import FactLine
from schemas.orders import LineQuantity, OrderAccepted
from schemas.topics import BY_NAME, TOPIC_OF, Body
from shared.kernel.codec import lane_record, state_record
from shared.kernel.ports import LaneRow, OutboxRow, Outgoing, TopicPartition
from shared.kernel.postgres import PostgresStore
from shared.value import replace
from tests.support import sourcing
from tests.support.desk import Desk, Place, soon

B = TypeVar("B", bound=Body)
INCARNATION = 1
EVENTS = "SELECT count(*) AS folded FROM kernel.history"


class Books(NamedTuple):
    """How much a service has done so far, as its database says."""

    events: int
    """Folded into its rows."""
    messages: int
    """Numbered in its lanes."""
    letters: int
    """Dead letters, and inputs in quarantine."""
    timers: int
    kept: int
    """Messages that wait for their row."""


class Neighbours(Desk):
    """A desk beside one service: events and states of its neighbours are said as their owners would publish them."""

    def __init__(self, system: System) -> None:
        super().__init__(system, kafka_connection(system.settings), system.settings.partitions)
        self.said: list[tuple[TopicPartition, Outgoing]] = []
        """What was said, in order; whoever counts on it clears it first."""
        [self.name] = system.services
        self.reads = tuple(load_service(self.name).reads)
        self._numbers: dict[TopicPartition, int] = {}

    def outgoing(self, body: Body, source: str, id: str | None) -> tuple[TopicPartition, Outgoing]:
        at, record = super().outgoing(body, source, id)
        topic = TOPIC_OF[type(body)]
        assert topic.owner != self.name, f"{topic.name} is written by the service itself"
        if topic.kind == "events":
            record = self._numbered(at, topic.owner, topic.key_of(body), body)
        elif topic.kind == "state":
            record = state_record(topic.owner, INCARNATION, topic.key_of(body), getattr(body, "version", 1), datetime.now(UTC), body)
        self.said.append((at, record))
        return at, record

    def _numbered(self, at: TopicPartition, owner: str, key: str, body: Body) -> Outgoing:
        """The next record of the owner's lane."""
        seq = self._numbers[at] = self._numbers.get(at, 0) + 1
        row = OutboxRow(
            topic=at.topic,
            partition=at.partition,
            key=key,
            type=type(body).__name__,
            id=str(uuid4()),
            time=datetime.now(UTC),
            correlation=key,
            causation=key,
            trace="",
            subject=key,
            subject_version=1,
            value=body.model_dump_json(exclude_none=True).encode(),
        )
        return lane_record(owner, LaneRow(seq, INCARNATION, row))

    @property
    def store(self) -> PostgresStore:
        """The service's database."""
        return self.stores[self.name]

    # ---- what it has done ----

    async def row(self, kind: str, id: str) -> Any:
        """The state of one row in the service's database, once the service has done all it was told; None where there is none."""
        await self.settled()
        found = (await self.store.rows(kind, [id])).get(id)
        return found.state if found else None

    async def books(self) -> Books:
        """Once the service has done all it was told."""
        await self.settled()
        [row], depth = await self.store.fetch(EVENTS), await self.store.depth()
        messages = sum(lane["seq"] for lane in await self.store.fetch(Q["lanes_out"]))
        return Books(row["folded"], messages, depth["dead_letters"] + depth["quarantined"], depth["timers"], depth["kept"])

    # ---- what it must bear ----

    async def hears_nothing_new(self) -> None:
        """All that was said is said again: the same records, and what comes from outside once more under other ids. Nothing comes of
        it, but the same answer to each request."""
        before = await self.books()
        again = [copy for at, record in self.said for copy in self._copies(at, record)]
        for at, record in again:
            await self.raw(at.topic, at.partition, record)
        requests = sum(BY_NAME[at.topic].kind == "request" for at, _ in again)
        assert await self.books() == before._replace(messages=before.messages + requests)

    def _copies(self, at: TopicPartition, record: Outgoing) -> Iterator[tuple[TopicPartition, Outgoing]]:
        yield at, record
        if BY_NAME[at.topic].external:
            others = tuple((name, uuid4().hex.encode() if name == "ce_id" else value) for name, value in record.headers)
            yield at, replace(record, headers=others)

    @asynccontextmanager
    async def killed_after(self) -> AsyncIterator[None]:
        """The service stands still while the block runs; then it is killed (kill -9), and comes back."""
        self.system.pause(self.name)
        try:
            yield
        finally:
            self.system.kill(self.name)
            await asyncio.to_thread(self.system.wait_ready)

    async def leaves_no_fault(self) -> None:
        """Its lanes are gapless, nothing waits in quarantine or behind a gap, and its events make exactly its rows."""
        await self.settled()
        depth = await self.store.depth()
        assert (self.lanes.faults, depth["quarantined"], depth["spooled"]) == ([], 0, 0)
        assert (await rebuild_store(self.store, self.name)).differences == ()


# ---- what neighbours say, about orders of a place; lines have the names of their items ----


def accepted(here: Place, order_id: str, /, **units: int) -> OrderAccepted:
    """Order capture: the order is valid."""
    lines = (sourcing.goods(name, here.sku(name), quantity) for name, quantity in units.items())
    return sourcing.accepted(*lines, order_id=order_id, channel=here.channel, policy=here.name, placed_at=soon())


def fact(here: Place, kind: type[B], order_id: str, /, units: dict[str, int], **fields: Any) -> B:
    """Fulfilment tracking: a fact about part 1, which Paris has."""
    return kind(**(_of_part(here, order_id, units, "fulfilment_order_id") | fields))


def effect(here: Place, kind: type[B], order_id: str, /, units: dict[str, int], **fields: Any) -> B:
    """Fulfilment tracking: what part 1 does to the stock of Paris."""
    return kind(**(_of_part(here, order_id, units, "part_id") | fields))


def _of_part(here: Place, order_id: str, units: dict[str, int], part: str) -> dict[str, Any]:
    lines = tuple(FactLine(line_id=name, sku=here.sku(name), quantity=quantity) for name, quantity in units.items())
    return {"order_id": order_id, part: f"{order_id}/1", "location": here.at("paris"), "occurred_at": soon(), "lines": lines}


def counted(**units: int) -> tuple[LineQuantity, ...]:
    """Units by line, as many messages carry them."""
    return tuple(LineQuantity(line_id=name, quantity=quantity) for name, quantity in units.items())
