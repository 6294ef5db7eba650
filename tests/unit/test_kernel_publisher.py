"""What a publisher that was killed, or stopped, leaves to the next one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
import structlog

from shared.kernel import publisher
from shared.kernel.memory_clock import VirtualClock
from shared.kernel.memory_log import Broker, MemoryTopics, MemoryWriter
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.ports import TIMERS, OutboxRow, ProduceFailed, TopicPartition
from shared.kernel.publisher import IDLE_REPEAT_S, Publisher
from tests.support.counting import ALL, COMMANDS, DESK
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
        row = OutboxRow(at.topic, at.partition, "a", "Count", UUID(int=1), START, "", "", "", "tally/a", 1, value)
        async with self.store.begin() as transaction:
            numbered = await transaction.number([row] * messages)
        self.publisher.offer(numbered)

    async def told(self) -> dict[TopicPartition, int]:
        """How far each lane was sent, as the store knows."""
        return {at: sent for at, (_, _, sent) in (await self.store.lane_heads(LANES)).items()}


@pytest.fixture
async def desk() -> Desk:
    clock = VirtualClock(START)
    broker = Broker(clock)
    for topic in ALL:
        broker.create(topic.name, len(LANES), compacted=topic.compacted)
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
