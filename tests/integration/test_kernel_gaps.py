"""Lanes whose beginning is gone, and gaps behind which more comes than there is room for: nothing is lost, nobody waits in vain."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.kernel import engine, stage
from shared.kernel.ports import TopicPartition
from tests.integration.test_kernel_failures import gaps, told
from tests.support.counting import COMMANDS
from tests.support.replicas import Crash
from tests.support.small_world import SmallWorld, Troubles

AT = TopicPartition(COMMANDS.name, 0)
UNREAD = "records expired unread"
FULL = "a spool is full, its partition stops until the gap is closed"


def lane(world: SmallWorld, *numbers: int) -> None:
    """The desk tells the house these of its lane, in this order."""
    world.broker.append(AT, [told(number, {}) for number in numbers])


def heard(world: SmallWorld) -> list[int]:
    """What the house has made of them, in the order in which it did: each is kept, for its counter never opened."""
    rows = sorted((row.number, row.row.record) for row in world.databases["house"].table("kept").values())
    return [int(dict(record.headers)["ce_seq"] or b"0") for _, record in rows]


def spooled(world: SmallWorld) -> list[int]:
    places: Any = world.databases["house"].table("spool")
    return sorted(seq for _, seq in places)


def start(world: SmallWorld) -> SmallWorld:
    world.process("house").start()
    world.run_for(timedelta(seconds=3))
    return world


# ---- the log's head had expired ----


def test_a_lane_whose_head_expired_before_anybody_read_begins_with_what_is_left() -> None:
    """A service that starts later than the others by more than the topic keeps: nobody could ever close that gap."""
    world = SmallWorld(seed=1)
    lane(world, 1, 2, 3, 4, 5)
    world.broker.expire(AT, 3)
    start(world)
    assert (heard(world), world.alarms()) == ([4, 5], [])
    world.process("house").die(Crash("restarted"))
    lane(world, 6, 8)
    world.run_for(timedelta(seconds=10))
    assert (heard(world), spooled(world)) == ([4, 5, 6], [8]), "a lane once met has no gaps"
    assert [(entry["first"], entry["last"]) for entry in gaps(world)] == [(7, 7)]


def test_it_is_remembered_until_the_lane_is_met() -> None:
    """Nothing of it was read when the first owner died."""
    world = SmallWorld(seed=2)
    lane(world, 1, 2, 3, 4, 5)
    world.broker.expire(AT, 3)
    world.broker.silent = {AT}
    start(world)
    assert world.databases["house"].table("position")[AT].next == 3
    world.process("house").die(Crash("restarted"))
    world.broker.silent = set()
    world.run_for(timedelta(seconds=10))
    assert (heard(world), world.alarms()) == ([4, 5], [])


@pytest.mark.parametrize("expired_before", [0, 2])
def test_what_expires_once_somebody_reads_is_a_gap(expired_before: int) -> None:
    """Also of a lane never met: these records should have been read."""
    world = SmallWorld(seed=3)
    lane(world, 1, 2, 3, 4, 5)
    world.broker.expire(AT, expired_before)
    world.broker.silent = {AT}
    start(world)
    world.broker.expire(AT, 4)
    world.broker.silent = set()
    world.broker.wake()
    world.run_for(timedelta(seconds=5))
    assert (heard(world), spooled(world)) == ([], [5])
    assert (world.alarms(), gaps(world)[0]["first"], gaps(world)[0]["last"]) == ([UNREAD, "a lane has a gap"], 1, 4)
    lane(world, 1, 2, 3, 4)
    world.run_for(timedelta(seconds=5))
    assert heard(world) == [1, 2, 3, 4, 5]


# ---- more waits behind a gap than there is room for ----


@pytest.fixture
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engine, stage):
        monkeypatch.setattr(module, "SPOOL_MOST", 3)


@pytest.mark.usefixtures("room_for_three")
def test_a_full_spool_stops_its_partition_until_the_gap_is_closed() -> None:
    """The position stays where there was no more room, over a crash too; what closes the gap is found behind all that waits."""
    world = SmallWorld(seed=4)
    lane(world, 1, 3, 4, 5, 6, 7, 8, 9)
    start(world)
    house = world.process("house")
    for _ in range(2):
        assert (heard(world), spooled(world)) == ([1], [3, 4, 5])
        assert world.databases["house"].table("position")[AT].next == 4
        assert house.engine is not None and house.engine.overflow == {AT: 4}
        house.die(Crash("restarted"))
        world.run_for(timedelta(seconds=10))
    assert world.alarms() == ["a lane has a gap", FULL] * 3, "told again by whoever takes the partition over"
    lane(world, 2)
    world.run_for(timedelta(seconds=10))
    assert (heard(world), spooled(world)) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], [])
    assert house.engine is not None and house.engine.overflow == {}
    assert world.databases["house"].table("position")[AT].next == 9


@pytest.mark.usefixtures("room_for_three")
@pytest.mark.parametrize(("statement", "before"), [("keep", [1]), ("unspool", [1, 2])])
def test_only_the_owner_goes_on_behind_a_gap(statement: str, before: list[int]) -> None:
    """Somebody else has claimed the partition meanwhile: what closes the gap, and what was spooled, has no effect here."""
    world = SmallWorld(seed=6)
    lane(world, 1, 3, 4, 5, 6, 7)
    start(world)
    positions = world.databases["house"].table("position")
    seen: list[list[int]] = []

    def claimed_by_another(process: str, what: str) -> None:
        if what == statement and not seen:
            seen.append(heard(world))
            positions[AT] = positions[AT]._replace(epoch=positions[AT].epoch + 1)
        elif what == "claim" and len(seen) == 1:
            seen.append(heard(world))

    world.trap = claimed_by_another
    lane(world, 2)
    world.run_for(timedelta(seconds=15))
    assert [entry["error"] for entry in world.logged.entries if entry["event"] == "batch failed"] == ["NotOwner: 0 of 1 positions moved"]
    assert seen == [before, before], "nothing was committed in between"
    assert heard(world) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.usefixtures("room_for_three")
def test_others_go_on_while_a_partition_stops() -> None:
    world = SmallWorld(seed=5)
    lane(world, 2, 3, 4, 5, 6)
    start(world)
    world.open("a")
    world.run_for(timedelta(seconds=5))
    assert world.states("house", "counter")["a"].inputs == 0
    lane(world, 1)
    world.run_for(timedelta(seconds=10))
    assert world.states("house", "counter")["a"].inputs == 6


@pytest.mark.usefixtures("room_for_three")
@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_missing_and_whatever_fails_all_is_heard_once_in_order(seed: int) -> None:
    """Some of forty are missing and come later in any order, some twice; crashes, lost connections and lost answers all the while."""
    world = SmallWorld(seed, Troubles(chance=0.01))
    dice, numbers = world.turns.dice, range(1, 41)
    late = dice.sample(numbers, 12)
    lane(world, *(number for number in numbers if number not in late))
    for replica in range(2):
        world.process("house", replica).start()
    while late:
        world.run_for(timedelta(seconds=dice.choice((0.1, 1, 4))))
        lane(world, *(late.pop() for _ in range(min(len(late), dice.randint(1, 4)))), *dice.sample(numbers, 2))
        late = [number for number in late if number not in heard(world)]
    lane(world, *numbers)
    world.troubles.chance = 0.0
    world.run(lambda: heard(world) == list(numbers) and not spooled(world))
