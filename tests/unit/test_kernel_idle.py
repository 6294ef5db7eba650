"""What a replica does while there is nothing to do: it looks around now and then, and doesn't spin."""

from __future__ import annotations

from datetime import timedelta

from tests.support.small_world import PARTITIONS, SmallWorld


def test_a_replica_without_partitions_does_not_spin() -> None:
    """With one replica more than partitions, one has none: it looks some times a second, not a thousand times."""
    world = SmallWorld(seed=1, replicas=PARTITIONS + 1).started()
    world.run_for(timedelta(seconds=20))
    before = world.turns.taken
    world.run_for(timedelta(seconds=20))
    assert world.turns.taken - before < 20_000
