"""What a publisher that was killed leaves to the next one."""

from __future__ import annotations

from datetime import timedelta

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
