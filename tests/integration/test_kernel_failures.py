"""What the kernel does with inputs that fail, wait in vain or come late, in the small world in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest

from shared.kernel.codec import lane_record
from shared.kernel.engine import QUARANTINES_A_MINUTE, TooManyQuarantines
from shared.kernel.model import Input, Keep, Key, Service, Woken, World
from shared.kernel.partition import partition_of
from shared.kernel.ports import LaneRow, OutboxRow, Outgoing, TopicPartition
from shared.value import replace
from tests.support.counting import COMMANDS, DESK, HOUSE
from tests.support.small_world import PARTITIONS, START, SmallWorld


def broken(service: Service[Any], *counters: str) -> Service[Any]:
    """Its rule raises for these counters."""

    def decide(world: World, given: Input[Any], view: Any) -> Iterator[Any]:
        if getattr(given.body, "counter", "") in counters:
            raise ValueError(f"broken for {given.body.counter}")
        yield from service.decide(world, given, view)

    return replace(service, decide=decide)


def parked(world: SmallWorld, service: str) -> list[tuple[str, str]]:
    """(status, reason) of what is parked, in order."""
    rows = world.databases[service].table("parked").values()
    return [(one.status, one.reason) for one in sorted(rows, key=lambda one: one.number)]


def test_one_bad_input_is_found_by_halving_and_the_others_take_effect() -> None:
    world = SmallWorld(seed=1, services=(broken(DESK, "bad"), HOUSE))
    for number in range(100):
        world.ask("bad" if number == 61 else f"c{number % 5}", 1)
    for counter in set(world.sent) - {"bad"}:
        world.open(counter)
    world.started()
    del world.sent["bad"]
    world.run(world.at_rest)
    assert parked(world, "desk") == [("dead", "ValueError")]
    sizes = [entry["inputs"] for entry in world.logged.entries if entry.get("action") == "halve"]
    assert sizes and max(sizes) > 8, "the batch was not halved"
    assert len(sizes) <= 2 * 8, "halving a batch of 100 takes no more, even if it grows again meanwhile"
    assert len([entry for entry in world.logged.entries if entry.get("action") == "refuse"]) == 1


def test_more_than_twenty_quarantines_a_minute_stop_the_service() -> None:
    """Twenty may be data; followers that only wait are not counted, nor what is longer ago."""
    many = [f"c{number}" for number in range(2 * QUARANTINES_A_MINUTE + 1)]
    world = SmallWorld(seed=2, services=(DESK, broken(HOUSE, *many)))
    world.process("desk").start()
    world.process("house").start()
    for counter in (*many[:QUARANTINES_A_MINUTE], *many[:QUARANTINES_A_MINUTE]):
        world.ask(counter, 1)
    world.run_for(timedelta(seconds=62))
    assert [reason for _, reason in parked(world, "house")].count("ValueError") == QUARANTINES_A_MINUTE
    for counter in many[QUARANTINES_A_MINUTE : 2 * QUARANTINES_A_MINUTE]:
        world.ask(counter, 1)
    world.run_for(timedelta(seconds=10))
    world.ask(many[-1], 1)
    with pytest.raises(TooManyQuarantines, match="21 within a minute"):
        world.run_for(timedelta(seconds=10))


def test_what_follows_an_unreadable_internal_message_waits_in_the_same_batch_too() -> None:
    """Its rows stand still from then on, not from the next batch on."""
    world = SmallWorld(seed=5)
    world.broker.append(TopicPartition(COMMANDS.name, 0), [told(seq, {"amount": "much"} if seq == 1 else {}) for seq in (1, 2, 3)])
    world.process("house").start()
    world.run_for(timedelta(seconds=5))
    assert parked(world, "house") == [("quarantined", "undecodable"), ("quarantined", "waits"), ("quarantined", "waits")]
    assert world.states("house", "counter") == {}
    inputs = [entry for entry in world.logged.entries if entry.get("action") == "quarantine"]
    assert len(inputs) == 1, "those that only wait are no trouble of their own"


def test_a_gap_is_told_once_with_the_command_that_mends_it() -> None:
    """And counted as long as it is open; the next one is told again."""
    world = SmallWorld(seed=6)
    at, house = TopicPartition(COMMANDS.name, 0), world.process("house")
    world.broker.append(at, [told(seq, {}) for seq in (1, 2, 5)])
    house.start()
    world.run_for(timedelta(seconds=2))
    world.broker.append(at, [told(seq, {}) for seq in (6, 7)])
    world.run_for(timedelta(seconds=2))
    assert [entry["mend"] for entry in gaps(world)] == [f"nervure lanes republish {COMMANDS.name} 0 --from 3 --to 4"]
    assert len(world.databases["house"].table("spool")) == 3
    world.broker.append(at, [told(seq, {}) for seq in (3, 4)])
    world.run_for(timedelta(seconds=5))
    assert world.databases["house"].table("spool") == {}
    world.broker.append(at, [told(9, {})])
    world.run_for(timedelta(seconds=2))
    assert [(entry["at"], entry["first"], entry["last"]) for entry in gaps(world)] == [
        (f"{COMMANDS.name}/0", 3, 4),
        (f"{COMMANDS.name}/0", 8, 8),
    ]


def gaps(world: SmallWorld) -> list[Any]:
    return [entry for entry in world.logged.entries if (entry["event"], entry.get("action")) == ("a lane has a gap", "alarm")]


def test_a_lane_met_late_waits_for_its_first_message() -> None:
    """A lane never met begins at 1: what comes before is not there yet, and is no reason to begin elsewhere."""
    world = SmallWorld(seed=7)
    at = TopicPartition(COMMANDS.name, 0)
    world.broker.append(at, [told(seq, {}) for seq in (3, 4)])
    world.process("house").start()
    world.run_for(timedelta(seconds=2))
    assert [(entry["first"], entry["last"]) for entry in gaps(world)] == [(1, 2)]
    assert world.databases["house"].table("kept") == {}
    world.broker.append(at, [told(seq, {}) for seq in (1, 2)])
    world.run_for(timedelta(seconds=5))
    assert [one.row.record.offset for one in world.databases["house"].table("kept").values()] == [2, 3, 0, 1], "in the order of the lane"


def told(seq: int, wrong: dict[str, str]) -> Outgoing:
    """What the desk tells the house under this number of its lane."""
    value = json.dumps({"counter": "a", "ref": f"r{seq}", "amount": 1} | wrong).encode()
    id = str(uuid5(UUID(int=1), str(seq)))
    row = OutboxRow(COMMANDS.name, 0, "a", "Count", id, START, "shop:1", "cause", "", "tally/a", seq, value)
    return lane_record("desk", LaneRow(seq, 1, row))


def test_an_idle_lane_sends_its_last_record_again_once_a_minute() -> None:
    """So a lost tail shows; who has it drops it."""
    world = SmallWorld(seed=3).started()
    world.ask("a", 1)
    world.ask("a", 2)
    world.open("a")
    world.run(world.at_rest)
    lane = partition_of("a", PARTITIONS)
    world.run_for(timedelta(seconds=55))
    assert world.lane(lane) == [1, 2]
    world.run_for(timedelta(seconds=10))
    assert world.lane(lane) == [1, 2, 2]
    world.run_for(timedelta(seconds=60))
    assert world.lane(lane) == [1, 2, 2, 2]
    assert world.at_rest()


def test_what_is_kept_past_its_deadline_counts_as_failed() -> None:
    """An internal message is quarantined, an external one is a dead letter: neither is lost, nor tried for ever."""

    def keeps(_: World, given: Input[Any], __: Any) -> Iterator[Any]:
        if not isinstance(given.body, Woken):
            yield Keep(Key("counter", given.body.counter), given.now + timedelta(seconds=20))

    world = SmallWorld(seed=4, services=(DESK, replace(HOUSE, decide=keeps))).started()
    world.ask("a", 1)
    world.open("b")
    world.run_for(timedelta(seconds=15))
    assert (len(world.databases["house"].table("kept")), parked(world, "house")) == (2, [])
    world.run_for(timedelta(seconds=30))
    assert sorted(parked(world, "house")) == [("dead", "KeptTooLong"), ("quarantined", "KeptTooLong")]
    assert world.databases["house"].table("kept") == {}
