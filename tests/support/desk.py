"""The outside world of a flow test: publishes to external topics and reads what was published, nothing else.

A scenario gets a `Place`: items, locations, a channel and a policy of its own, so that hundreds of scenarios share one running system.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from deploy.audit.books import Q
from deploy.fleet import load_service
from deploy.health import ask
from deploy.reading import database
from deploy.supervisor import System
from schemas import channel as ch
from schemas import reference, stock
from schemas.fulfilment import FulfilOrder, LineTotal
from schemas.inventory import Availability
from schemas.status import OrderStatus
from schemas.topics import BY_NAME, TOPIC_OF, TOPICS, Body, Topic, partitions_of
from shared.kernel.arrivals import read_document
from shared.kernel.codec import Undecodable, external_record, open_envelope, read_body, state_version
from shared.kernel.kafka import Connection, KafkaFollower, KafkaTopics, KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.ports import LaneId, Outgoing, Record, TopicPartition, Transient
from shared.kernel.postgres import PostgresStore
from tests.support.lane_book import LaneBook

B = TypeVar("B", bound=Body)
WAIT_S = 40.0
"""How long a scenario waits for what must come; the machine may be busy."""
QUIET_S = 0.4
"""How long nothing may move until the system counts as at rest."""
LOOK_S = 0.02
DIRTY_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it stands in its topic."""

    body: Any
    record: Record


class Desk:
    """Publishes and observes; one for a whole test run."""

    def __init__(self, system: System, connection: Connection, partitions: int) -> None:
        self.system = system
        self.partitions = partitions
        self._connection = connection
        self._writer = KafkaWriter(connection)
        self._seen: dict[type, list[Seen]] = {}
        self._statuses: dict[str, tuple[tuple[int, int], OrderStatus]] = {}
        self._levels: dict[tuple[str, str], tuple[tuple[int, int], Availability]] = {}
        self.requests: list[Body] = []
        """What was said that has to be answered, in order."""
        self.dead_letters: list[Record] = []
        self.lanes = LaneBook()
        self.stores: dict[str, PostgresStore] = {}
        """The databases of the services, by name."""
        self._open = AsyncExitStack()
        self._at: list[TopicPartition] = []
        """All that is watched or read by a service."""
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        await self._writer.start()
        existing = await KafkaTopics(self._connection).existing()
        names = [topic.name for topic in TOPICS if topic.owner != "external"] + [name for name in existing if ".dlq." in name]
        at = [TopicPartition(name, p) for name in names for p in range(existing[name])]
        read = [TopicPartition(topic.name, p) for topic in TOPICS if topic.owner == "external" for p in range(existing[topic.name])]
        self._at = [*at, *read]
        self.stores = {name: await self._open.enter_async_context(database(self.system.settings, name)) for name in self.system.services}
        self._follower = KafkaFollower(self._connection, at)
        await self._follower.start()
        self._task = asyncio.create_task(self._observe())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._open.aclose()
        # Clients whose loop stood still for long, while tests without one ran, may end in disorder: nobody needs them any more.
        await asyncio.gather(self._follower.stop(), self._writer.stop(), return_exceptions=True)

    async def _observe(self) -> None:
        while True:
            try:
                records = await self._follower.fetch(0.2)
            except Transient:  # it reads on where it was; who waits in vain says so
                await asyncio.sleep(LOOK_S)
                continue
            for record in records:
                self._note(record)
            self._news.set()

    def _note(self, record: Record) -> None:
        if ".dlq." in record.topic:
            self.dead_letters.append(record)
            return
        topic = BY_NAME[record.topic]
        try:
            body = read_document(record, topic) if topic.compacted else self._read_event(record, topic)
        except Undecodable:
            return
        if body is None:
            return
        self._seen.setdefault(type(body), []).append(Seen(body, record))
        version = state_version(record) if topic.compacted else (0, 0)
        if isinstance(body, OrderStatus) and version > self._statuses.get(body.order_id, ((0, 0), body))[0]:
            self._statuses[body.order_id] = (version, body)
        if isinstance(body, Availability) and version > self._levels.get((body.sku, body.location), ((0, 0), body))[0]:
            self._levels[body.sku, body.location] = (version, body)

    def _read_event(self, record: Record, topic: Topic) -> Body | None:
        """None where it stands in its topic a second time, as after a crash of its publisher: readers drop it."""
        envelope = open_envelope(record, topic)
        return read_body(envelope, topic) if self.lanes.is_new(record, envelope, topic) else None

    # ---- publishing ----

    async def say(self, *bodies: Body, source: str = "/flow-test", id: str | None = None) -> None:
        """Publishes messages to their external topics, in order."""
        async with self._lock:
            for body in bodies:
                at, record = self.outgoing(body, source, id)
                await self._writer.send({at: [record]})

    async def say_all(self, bodies: Sequence[Body], source: str = "/flow-test") -> None:
        """Publishes many messages at once, in order within each partition."""
        batches: dict[TopicPartition, list[Outgoing]] = {}
        for body in bodies:
            at, record = self.outgoing(body, source, None)
            batches.setdefault(at, []).append(record)
        async with self._lock:
            while batches:
                sent = await self._writer.send(batches)
                batches = {at: left for at, records in batches.items() if (left := records[sent[at] :])}

    def outgoing(self, body: Body, source: str, id: str | None) -> tuple[TopicPartition, Outgoing]:
        """Where a message belongs, and its record; under an id of its own unless one is given."""
        topic = TOPIC_OF[type(body)]
        if topic.kind == "request":
            self.requests.append(body)
        record = external_record(topic, body, source=source, id=id or uuid4().hex, now=datetime.now(UTC))
        return TopicPartition(topic.name, partition_of(topic.key_of(body), partitions_of(topic, self.partitions))), record

    async def raw(self, topic: str, partition: int, *records: Outgoing) -> None:
        """Publishes bytes as they are, in order."""
        at, left = TopicPartition(topic, partition), list(records)
        async with self._lock:
            while left:
                left = left[(await self._writer.send({at: left}))[at] :]

    async def views_caught_up(self, *states: Topic) -> None:
        """Returns when every service's views have read all reference data, and all of these state topics, published so far."""
        viewed = (*(topic for topic in TOPICS if topic.kind == "reference"), *states)
        at = [TopicPartition(topic.name, p) for topic in viewed for p in range(partitions_of(topic, self.partitions))]
        ends = await KafkaTopics(self._connection).ends(at)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            ports = [replica.health_port for replica in self.system.replicas()]
            if all(await asyncio.gather(*(asyncio.to_thread(_has_read, port, ends) for port in ports))):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("views did not catch up with the reference topics")

    async def ends(self) -> Mapping[TopicPartition, int]:
        """The ends of all topics that are watched or read by a service."""
        return await KafkaTopics(self._connection).ends(self._at)

    # ---- observing ----

    def all(self, kind: type[B], /, where: Callable[[B], bool] = lambda _: True, **fields: Any) -> list[B]:
        return [
            one.body
            for one in self._seen.get(kind, ())
            if all(getattr(one.body, name) == value for name, value in fields.items()) and where(one.body)
        ]

    def records(self, kind: type) -> list[Seen]:
        return list(self._seen.get(kind, ()))

    async def sees(self, kind: type[B], /, count: int = 1, where: Callable[[B], bool] = lambda _: True, **fields: Any) -> list[B]:
        """Waits until at least `count` such messages were published; returns them."""
        await self.until(lambda: len(self.all(kind, where, **fields)) >= count, lambda: f"{count} {kind.__name__} with {fields}")
        return self.all(kind, where, **fields)

    async def see(self, kind: type[B], /, where: Callable[[B], bool] = lambda _: True, **fields: Any) -> B:
        """Waits for such a message; returns the newest."""
        return (await self.sees(kind, 1, where, **fields))[-1]

    async def sees_no(self, kind: type[B], /, where: Callable[[B], bool] = lambda _: True, **fields: Any) -> None:
        """Nothing like it was published once everything sent so far has had its effect."""
        await self.rest()
        found = self.all(kind, where, **fields)
        assert found == [], f"must not be published: {found}"

    async def rest(self) -> None:
        """Returns when every service has done all it was told, all it published was seen here, and nothing came for a short while.

        Inputs that are kept and timers that aren't due may remain. An input whose row has just come runs by itself, unknown to topics
        and databases until then: hence the short while.
        """
        deadline = time.monotonic() + WAIT_S
        before, ends = None, await self.settled()
        while before != ends:
            assert time.monotonic() < deadline, "the system does not come to rest: messages keep arriving"
            await asyncio.sleep(QUIET_S)
            before, ends = ends, await self.settled()

    async def settled(self) -> Mapping[TopicPartition, int]:
        """Returns when every service has read all its inputs and done what is due, as its database says, and all it published was
        seen here; the ends of all topics then."""
        deadline = time.monotonic() + WAIT_S
        while True:
            ends = await KafkaTopics(self._connection).ends(self._at)
            moving = [text for service in self.system.services async for text in self._work_of(service, ends)]
            moving += [f"{at} was not seen up to {end}" for at, end in ends.items() if self._position(at, end) < end]
            if not moving and await KafkaTopics(self._connection).ends(self._at) == ends:
                return ends
            assert time.monotonic() < deadline, f"does not come to an end: {moving or 'messages keep arriving'}"
            await asyncio.sleep(LOOK_S)

    async def _work_of(self, service: str, ends: Mapping[TopicPartition, int]) -> AsyncIterator[str]:
        """What a service has not done yet, or not shown. Positions first: what they stand for was committed with them."""
        store, definition = self.stores[service], load_service(service)
        reads = {topic.name for topic in definition.reads}
        positions = {TopicPartition(row["topic"], row["partition"]): row["next"] for row in await store.fetch(Q["positions"])}
        for at, end in ends.items():
            if at.topic in reads and positions.get(at, 0) < end:
                yield f"{service} has read {at} up to {positions.get(at, 0)} of {end}"
        [work] = await store.fetch(Q["at_work"], datetime.now(UTC))
        for what in ("timers", "replays", "letters"):
            if work[what]:
                yield f"{service} has {work[what]} {what}"
        for lane in await store.fetch(Q["lanes_out"]):
            at = TopicPartition(lane["topic"], lane["partition"])
            if self.lanes.last(at, LaneId(service, lane["incarnation"])) < lane["seq"]:
                yield f"{at} was not seen up to {lane['seq']} of {service}"
        for state in definition.states:
            for id, row in await store.dirty(state.topic.name, state.kind, "", DIRTY_ROWS):
                if row.state is not None and state.render(id, row.version, row.state) is not None:
                    yield f"{service} has not shown {id} in version {row.version}"

    def _position(self, at: TopicPartition, otherwise: int) -> int:
        """How far a watched topic was seen; those that come from outside aren't watched."""
        return otherwise if at.topic in BY_NAME and BY_NAME[at.topic].external else self._follower.position(at)

    def status(self, order_id: str) -> OrderStatus | None:
        found = self._statuses.get(order_id)
        return found[1] if found else None

    async def status_is(self, order_id: str, *statuses: str, where: Callable[[OrderStatus], bool] = lambda _: True) -> OrderStatus:
        """Waits until the order's document shows one of the statuses (any, if none is named) and fulfils the condition."""

        def there() -> bool:
            found = self.status(order_id)
            return found is not None and (not statuses or found.status in statuses) and where(found)

        await self.until(there, lambda: f"status {statuses} of {order_id}; it is {self.status(order_id)}")
        found = self.status(order_id)
        assert found is not None
        return found

    async def until(self, holds: Callable[[], bool], what: Callable[[], str], within_s: float = WAIT_S) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            left = deadline - time.monotonic()
            assert left > 0, f"did not come within {within_s:.0f} s: {what()}"
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), min(left, 1.0))
            except TimeoutError:
                continue

    def statuses(self, channel: str) -> list[OrderStatus]:
        """The newest documents of all orders of a channel."""
        return [status for _, status in self._statuses.values() if status.channel == channel]

    def level(self, sku: str, location: str) -> Availability | None:
        """The newest availability document of a level."""
        found = self._levels.get((sku, location))
        return found[1] if found else None

    def levels(self, location: str) -> list[Availability]:
        """The newest documents of all levels of a location."""
        return [level for (_, at), (_, level) in self._levels.items() if at == location]

    async def level_is(self, sku: str, location: str, **fields: int) -> Availability:
        """Waits until the level's document has these quantities."""

        def there() -> bool:
            level = self.level(sku, location)
            return level is not None and all(getattr(level, name) == value for name, value in fields.items())

        await self.until(there, lambda: f"level {sku}:{location} with {fields}; it is {self.level(sku, location)}")
        found = self.level(sku, location)
        assert found is not None
        return found


_POSITION = re.compile(r'nervure_view_position\{service="[^"]+",topic="([^"]+)",partition="(\d+)"\} (\d+)')


def _has_read(port: int, ends: dict[TopicPartition, int]) -> bool:
    status, text = ask(port, "/metrics")
    if status != 200:
        return False
    positions = {TopicPartition(t, int(p)): int(position) for t, p, position in _POSITION.findall(text)}
    return all(position >= ends.get(at, 0) for at, position in positions.items())


@dataclass
class Place:
    """A small world of one scenario."""

    desk: Desk
    name: str
    """Prefix of everything in it."""
    locations: list[str] = field(default_factory=list)
    policy: dict[str, Any] = field(default_factory=dict)
    _orders: int = 0

    @property
    def channel(self) -> str:
        return self.name

    @property
    def carrier(self) -> str:
        return f"{self.name}-post"

    def sku(self, name: str) -> str:
        return f"{self.name}-{name}"

    def at(self, name: str) -> str:
        return f"{self.name}-{name}"

    async def build(
        self,
        items: Sequence[str] = ("a", "b", "c"),
        locations: Sequence[str] = ("paris", "lyon"),
        location: dict[str, Any] | None = None,
        channel: dict[str, Any] | None = None,
        **policy: Any,
    ) -> Place:
        """Publishes the reference data and waits until every service has it. Latitude grows by one a location: the first is nearest."""
        quick: dict[str, Any] = {
            "cancel_answer_s": 600,
            "collect_deadline_s": 600,
            "presume_delivered_s": 3600,
            "backorder_deadline_s": 3600,
        }
        self.locations = [self.at(name) for name in locations]
        bodies: list[Body] = [reference.Item(sku=self.sku(name), weight_g=500) for name in items]
        bodies += [self.location_document(name, index, **(location or {})) for index, name in enumerate(locations)]
        bodies.append(
            reference.Policy(policy=self.name, carrier=self.carrier, locations=tuple(self.locations), **(quick | self.policy | policy))
        )
        bodies.append(reference.Channel(channel=self.channel, policy=self.name, **({"unpaid": "accept"} | (channel or {}))))
        bodies.append(reference.Carrier(carrier=self.carrier))
        await self.desk.say_all(bodies)
        await self.desk.views_caught_up()
        return self

    def location_document(self, name: str, index: int = 0, /, **fields: Any) -> reference.Location:
        document: dict[str, Any] = {
            "location": self.at(name),
            "kind": "store",
            "zone": "Europe/Paris",
            "country": "FR",
            "latitude": 48.8 + index,
            "longitude": 2.3,
            "methods": ("home", "click_and_collect"),
        }
        return reference.Location(**(document | fields))

    async def stock(self, location: str, **quantities: int) -> None:
        """A full physical count; waits until the levels show it."""
        await self.desk.say(
            stock.StockCounted(
                location=self.at(location),
                count_id=f"count-{uuid4().hex[:8]}",
                as_of=datetime.now(UTC),
                lines=tuple(stock.CountedLine(sku=self.sku(name), quantity=count) for name, count in quantities.items()),
            )
        )
        for name, count in quantities.items():
            await self.desk.level_is(self.sku(name), self.at(location), sellable=count)

    async def holds(self, location: str, item: str, **figures: int) -> Availability:
        """Waits until the level has these figures."""
        return await self.desk.level_is(self.sku(item), self.at(location), **figures)

    def order(self, lines: dict[str, int], /, ref: str | None = None, price_minor: int = 1000, **content: Any) -> ch.PlaceOrder:
        """A PlaceOrder with one line for each item; line ids are the item names."""
        self._orders += 1
        total = price_minor * sum(lines.values())
        document: dict[str, Any] = {
            "ship_to": ch.Party(
                name="Buyer", street=("1 rue de Test",), postal_code="75001", city="Paris", country="FR", latitude=48.8, longitude=2.3
            ),
            "lines": tuple(
                ch.Line(channel_line_ref=name, sku=self.sku(name), quantity=count, unit_price_minor=price_minor)
                for name, count in lines.items()
            ),
            "totals": ch.Totals(lines_minor=total, total_minor=total),
            "payment_terms": "on_account",
        }
        reference_ = ref or f"{self._orders}"
        return ch.PlaceOrder(
            request_id=f"place-{reference_}-{uuid4().hex[:6]}",
            channel=self.channel,
            channel_order_ref=reference_,
            placed_at=datetime.now(UTC),
            order=ch.OrderContent(**(document | content)),
        )

    async def place(self, lines: dict[str, int], **content: Any) -> str:
        """Places an order and waits until it is accepted; returns its id."""
        order = self.order(lines, **content)
        await self.desk.say(order)
        answer = await self.desk.see(ch.RequestAnswered, request_id=order.request_id)
        assert answer.outcome == "accepted", answer
        return order.order_id

    async def instructed(self, order_id: str, count: int = 1) -> list[FulfilOrder]:
        return await self.desk.sees(FulfilOrder, count, order_id=order_id)

    def report(self, kind: type[B], instruction: FulfilOrder, **fields: Any) -> B:
        """A report of the instructed location about that instruction."""
        document: dict[str, Any] = {
            "order_id": instruction.order_id,
            "fulfilment_order_id": instruction.fulfilment_order_id,
            "location": instruction.location,
            "occurred_at": datetime.now(UTC),
        }
        return kind(**(document | fields))

    def totals(self, instruction: FulfilOrder, **quantities: int) -> tuple[LineTotal, ...]:
        """Running totals: the instructed quantities unless named."""
        return tuple(LineTotal(line_id=line.line_id, total=quantities.get(line.line_id, line.quantity)) for line in instruction.lines)


def soon(seconds: float = 0.0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
