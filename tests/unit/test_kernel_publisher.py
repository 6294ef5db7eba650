"""What a publisher that was killed leaves to the next one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.kernel import publisher
from shared.kernel.publisher import IDLE_REPEAT_S
from tests.support.replicas import Crash
from tests.support.small_world import SmallWorld


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
