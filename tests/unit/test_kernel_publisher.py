"""What a publisher that was killed, or stopped, leaves to the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
import structlog
from structlog.testing import capture_logs

from shared.kernel import memory_store, publisher, waiting_documents
from shared.kernel.memory_clock import VirtualClock
from shared.kernel.memory_log import Broker, MemoryTopics, MemoryWriter
from shared.kernel.memory_rows import StoredRow
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.model import State
from shared.kernel.ports import TIMERS, Changes, OutboxRow, ProduceFailed, Row, TopicPartition
from shared.kernel.publisher import IDLE_REPEAT_S, Publisher
from shared.kernel.unrendered import RETRY_S
from shared.value import replace
from tests.support.counting import ALL, COMMANDS, DESK, HOUSE, SHOWN, Counter, Shown, shown
from tests.support.replicas import Crash
from tests.support.small_world import START, SmallWorld

LANES = [TopicPartition(COMMANDS.name, number) for number in range(2)]


def test_what_was_published_before_a_crash_is_known_to_be_after_it() -> None:
    """Killed before the store was told: whoever looks from outside must not see for ever what is still to be published."""
    world = SmallWorld(seed=4).started()
    for counter in ("a", "b", "c"):
        world.ask(counter, 2)
        world.open(counter)
    world.run(world.at_rest)
    for process in world.processes:
        process.die(Crash("killed"))
    for database in world.databases.values():
        database.table("lane_sent").update(dict.fromkeys(database.table("lane_sent"), 0))

    def all_known() -> bool:
        tables = [(database.table("lane_out"), database.table("lane_sent")) for database in world.databases.values()]
        return all(sent[at] == lane.seq for lanes, sent in tables for at, lane in lanes.items())

    assert not all_known()
    world.run(all_known, timedelta(seconds=IDLE_REPEAT_S / 2))


@dataclass
class Desk:
    """The desk's publisher, its store, and a broker that may refuse one lane."""

    publisher: Publisher
    store: MemoryStore
    refused: set[str] = field(default_factory=set)

    async def commit(self, at: TopicPartition, messages: int) -> None:
        """Numbers messages of a lane in a transaction, and hands them over."""
        value = b'{"counter": "a", "ref": "r", "amount": 1}'
        row = OutboxRow(at.topic, at.partition, "a", "Count", str(UUID(int=1)), START, "", "", "", "tally/a", 1, value)
        async with self.store.begin() as transaction:
            numbered = await transaction.write(Changes(), [row] * messages)
        self.publisher.offer(numbered)

    async def told(self) -> dict[TopicPartition, int]:
        """How far each lane was sent, as the store knows."""
        return {at: sent for at, (_, _, sent) in (await self.store.lane_heads(LANES)).items()}


def broker_of_all(clock: VirtualClock) -> Broker:
    """With every topic of the desk and the house."""
    broker = Broker(clock)
    for topic in ALL:
        broker.create(topic.name, len(LANES), compacted=topic.compacted)
    return broker


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
async def desk(clock: VirtualClock) -> Desk:
    broker = broker_of_all(clock)
    store, topics = MemoryStore(DESK, Database(clock), owned=[(COMMANDS, len(LANES))]), MemoryTopics(broker)
    found: list[Desk] = []

    async def refuse(what: str) -> None:
        if what in found[0].refused:
            raise ProduceFailed(what)

    partitions = broker.topics() | {TIMERS: len(LANES)}
    publisher = Publisher(
        DESK, store, MemoryWriter(broker, refuse), topics, clock, structlog.get_logger(), partitions, timedelta(minutes=10)
    )
    found.append(Desk(publisher, store))
    return found[0]


async def test_what_was_sent_is_removed_as_fast_as_it_comes(desk: Desk, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number at once, and again a second later where there may be more."""
    monkeypatch.setattr(publisher, "PRUNED_AT_ONCE", 3)
    monkeypatch.setattr(memory_store, "PRUNED_AT_ONCE", 3)
    await desk.publisher.own([0, 1])
    await desk.publisher.round()
    await desk.commit(LANES[0], 8)
    await desk.commit(LANES[1], 1)
    left = []
    for seconds in (0, 2, 700, 1, 1):
        clock.advance(clock.now() + timedelta(seconds=seconds))
        await desk.publisher.round()
        left.append([len(await desk.store.outbox(at, 0, 10)) for at in LANES])
    assert left == [[8, 1], [8, 1], [5, 0], [2, 0], [0, 0]]


async def test_whoever_stops_tells_how_far_everything_was_sent(desk: Desk) -> None:
    """At once, and not when it would be time again: the next one starts from there, and from outside nothing seems left."""
    await desk.publisher.own([0, 1])
    await desk.commit(LANES[0], 2)
    assert await desk.publisher.round()
    await desk.publisher.round()
    assert await desk.told() == {LANES[0]: 2, LANES[1]: 0}, "the first time at once"
    await desk.commit(LANES[0], 1)
    await desk.commit(LANES[1], 4)
    assert await desk.publisher.round()
    await desk.publisher.round()
    assert await desk.told() == {LANES[0]: 2, LANES[1]: 0}
    await desk.publisher.note_all_sent()
    assert await desk.told() == {LANES[0]: 3, LANES[1]: 4}


async def test_it_tells_of_nothing_that_was_not_acknowledged(desk: Desk) -> None:
    await desk.publisher.own([0, 1])
    await desk.commit(LANES[0], 2)
    desk.refused = {"send"}
    with pytest.raises(ProduceFailed):
        await desk.publisher.round()
    await desk.publisher.note_all_sent()
    assert await desk.told() == {LANES[0]: 0, LANES[1]: 0}


async def test_it_tells_nothing_of_what_others_send(desk: Desk) -> None:
    """Lanes that were given up, or were never owned, are others' by now."""
    await desk.publisher.note_all_sent()
    await desk.publisher.own([0, 1])
    await desk.commit(LANES[0], 2)
    await desk.commit(LANES[1], 2)
    assert await desk.publisher.round()
    await desk.publisher.own([1])
    await desk.store.sent({LANES[0]: 1})
    await desk.publisher.note_all_sent()
    assert await desk.told() == {LANES[0]: 1, LANES[1]: 2}


def test_lanes_that_are_given_up_in_the_middle_of_a_round_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another assignment came while the rows of one lane were read: the rest of the round finds nothing to do for the others."""
    monkeypatch.setattr(publisher, "MEMORY_ROWS", 0)
    world = SmallWorld(seed=4, replicas=1).started()
    given_up: list[str] = []

    def give_up(process: str, what: str) -> None:
        desk = world.process("desk")
        if what == "outbox" and process == desk.name and not given_up and desk.publisher is not None and desk.engine is not None:
            given_up.append(process)
            desk.publisher._lanes = {}
            desk.engine._generation = -1

    world.trap = give_up
    for counter in ("a", "b", "c", "d", "e"):
        world.ask(counter, 2)
        world.open(counter)
    world.run(world.at_rest)
    assert given_up == [world.process("desk").name]


# ---- documents ----


@dataclass
class House:
    """The publisher of the house, whose rule fails on some counters; what it shows and what it tells."""

    publisher: Publisher
    broker: Broker
    clock: VirtualClock
    database: Database
    hopeless: set[str]
    tried: list[tuple[str, int]]

    def change(self, *ids: str, version: int = 1) -> None:
        """These rows were committed with this version."""
        self.publisher.offer_states(SHOWN.name, {id: Row(version, Counter(id, total=version)) for id in ids})

    async def publish(self, after_s: float = 0.0) -> None:
        self.clock.advance(self.clock.now() + timedelta(seconds=after_s))
        while await self.publisher.round():
            """Until nothing is left that can be sent."""

    def shows(self) -> dict[str, int]:
        """By counter: the version its topic shows."""
        records = [record for number in range(len(LANES)) for record in self.broker.records(TopicPartition(SHOWN.name, number))]
        return {(record.key or b"").decode(): int(dict(record.headers)["ce_seq"] or b"") for record in records}


@pytest.fixture
async def house() -> House:
    clock = VirtualClock(START)
    broker = broker_of_all(clock)
    hopeless: set[str] = set()
    tried: list[tuple[str, int]] = []

    def may_fail(id: str, version: int, state: Counter) -> Shown:
        tried.append((id, version))
        if id in hopeless:
            raise ZeroDivisionError("nothing to divide by")
        return shown(id, version, state)

    service = replace(HOUSE, states=(State(SHOWN, "counter", may_fail),))
    database = Database(clock)
    store = MemoryStore(service, database, owned=[])
    partitions = broker.topics() | {TIMERS: len(LANES)}
    made = Publisher(
        service, store, MemoryWriter(broker), MemoryTopics(broker), clock, structlog.get_logger(), partitions, timedelta(minutes=10)
    )
    await made.own([0, 1])
    return House(made, broker, clock, database, hopeless, tried)


@pytest.mark.parametrize(("offered", "stored"), [(1, 2), (3, 2)])
async def test_of_what_waits_and_what_the_database_has_the_newer_one_is_shown(house: House, offered: int, stored: int) -> None:
    """The answer of a commit was lost, and what it changed was still waiting in an older version; or one was offered meanwhile."""
    house.change("a", version=offered)
    house.database.table("state.counter")["a"] = StoredRow(stored, Counter("a", total=stored), None, None)
    await house.publisher.republish_states(SHOWN.name, ["a"])
    await house.publish()
    assert house.shows() == {"a": max(offered, stored)}


async def test_what_is_asked_for_again_while_it_is_on_its_way_goes_out_again(house: House) -> None:
    """A stale document may stand behind it by then, though its acknowledgement is still to come."""
    asked: list[str] = []

    async def ask_at_ack(what: str) -> None:
        if what == "ack" and not asked:
            asked.append(what)
            await house.publisher.republish_states(SHOWN.name, ["a"])

    house.publisher._writer = MemoryWriter(house.broker, ask_at_ack)
    house.database.table("state.counter")["a"] = StoredRow(1, Counter("a", total=1), None, None)
    house.change("a")
    await house.publish()
    assert sum(len(house.broker.records(TopicPartition(SHOWN.name, number))) for number in range(len(LANES))) == 2


async def test_a_document_that_waits_is_placed_once_however_many_rounds_it_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a count of a million levels all of them wait, and each round sends some."""
    ids = [f"c{number}" for number in range(5_000)]
    house.change(*ids)
    monkeypatch.setattr(waiting_documents, "partition_of", lambda key, partitions: pytest.fail(f"{key} was placed again"))
    await house.publish()
    assert sorted(house.tried) == [(id, 1) for id in sorted(ids)]
    assert house.shows() == dict.fromkeys(ids, 1)


async def test_a_row_whose_document_cannot_be_made_holds_nobody_up(house: House) -> None:
    """It is left out and counted; all others are shown, before and after it."""
    house.hopeless.add("c")
    house.change("a", "b", "c", "d", "e")
    await house.publish()
    assert house.shows() == dict.fromkeys("abde", 1)
    assert len(house.publisher.unrendered) == 1
    house.change("a", "f", version=2)
    await house.publish()
    assert house.shows() == {"a": 2, "b": 1, "d": 1, "e": 1, "f": 2}


async def test_somebody_is_told_of_it_once_for_each_of_its_versions(house: House) -> None:
    house.hopeless.add("c")
    with capture_logs() as told:
        house.change("c")
        for _ in range(3):
            await house.publish(after_s=RETRY_S)
        house.change("c", version=2)
        for _ in range(3):
            await house.publish(after_s=RETRY_S)
    alarms = [(each["topic"], each["row"], each["version"], each["error"]) for each in told if each.get("action") == "alarm"]
    assert alarms == [(SHOWN.name, "c", version, "ZeroDivisionError: nothing to divide by") for version in (1, 2)]


async def test_it_is_tried_again_after_some_seconds_and_no_sooner(house: House) -> None:
    """However often the row changes and others are published meanwhile."""
    house.hopeless.add("c")
    house.change("c")
    await house.publish()
    for version in range(2, 12):
        house.change("a", "c", version=version)
        await house.publish(after_s=RETRY_S / 20)
    assert [each for each in house.tried if each[0] == "c"] == [("c", 1)]
    await house.publish(after_s=RETRY_S)
    assert [each for each in house.tried if each[0] == "c"] == [("c", 1), ("c", 11)]


async def test_once_its_document_can_be_made_it_is_shown(house: House) -> None:
    """By itself: the row stayed dirty."""
    house.hopeless.add("c")
    house.change("c", version=4)
    await house.publish()
    house.hopeless.clear()
    await house.publish(after_s=RETRY_S)
    assert house.shows() == {"c": 4}
    assert len(house.publisher.unrendered) == 0
