"""The real engine, publisher and views on the ports in memory: they await nothing else, and end with the same counts whatever fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.small_world import PARTITIONS, SmallWorld, Troubles, first_times

COUNTERS = ("a", "b", "c", "d", "e")


def play(world: SmallWorld, asks: int) -> None:
    """Asks come over a minute, some counters open late; troubles end with the asking; then everything must come to rest."""
    dice = world.turns.dice
    for process in world.processes:
        process.start()
    for number in range(asks):
        world.ask(dice.choice(COUNTERS), dice.randint(1, 9))
        if number % 7 == 3:
            world.open(dice.choice(sorted(world.sent)))
        pause = timedelta(seconds=dice.choice((0, 0, 0.2, 3)))
        due = world.turns.clock.now() + pause
        world.turns.spawn("customer", world.turns.clock.sleep(pause.total_seconds()), world.failures.append)
        world.run(lambda due=due: world.turns.clock.now() >= due)  # type: ignore[misc]
    world.troubles.chance = world.troubles.stall_chance = 0.0
    for counter in world.sent:
        world.open(counter)
    try:
        world.run(world.at_rest)
    except AssertionError as error:
        raise AssertionError(f"{error}: {world.differences()}; {world.troubles.happened}") from None


def check_lanes(world: SmallWorld) -> None:
    for partition in range(PARTITIONS):
        sequences = world.lane(partition)
        assert first_times(sequences) == list(range(1, len(set(sequences)) + 1)), "lanes have no gaps and no disorder, only repeats"


def test_services_run_without_an_event_loop() -> None:
    """Counts, timers, kept messages, state documents: all come to their end, and nothing waits for anything but the ports."""
    world = SmallWorld(seed=1, round_trip=True)
    play(world, asks=60)
    check_lanes(world)
    assert world.troubles.happened == {}


def test_one_seed_is_one_course_of_events() -> None:
    def course(seed: int) -> tuple[int, list[int]]:
        world = SmallWorld(seed, Troubles(0.01, 0.0005))
        play(world, asks=20)
        return world.turns.taken, world.lane(0)

    assert course(5) == course(5)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_the_counts_are_the_same(seed: int) -> None:
    """Crashes, lost connections, lost answers and stalls at any port call."""
    world = SmallWorld(seed, Troubles(chance=0.02, stall_chance=0.001))
    play(world, asks=30)
    check_lanes(world)
    assert world.troubles.happened
