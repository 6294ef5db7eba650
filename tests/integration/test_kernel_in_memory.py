"""The real engine, publisher and views on the ports in memory: they await nothing else, and end with the same counts whatever fails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.topics import Topic
from shared.kernel.behind import DatabaseBehind
from shared.kernel.codec import state_record
from shared.kernel.engine import TIMER_SKEW
from shared.kernel.model import Key
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, TopicPartition, Transient
from shared.value import replace
from tests.support.counting import COMMANDS, DESK, HOUSE, OPENINGS, SHOWN, Ask, Count, Counted, Open, Refused, Shown
from tests.support.replicas import Crash
from tests.support.small_world import PARTITIONS, START, SmallWorld, Troubles, first_times

COUNTERS = ("a", "b", "c", "d", "e")


def play(world: SmallWorld, asks: int) -> None:
    """Asks come over a minute, some counters open late; troubles end with the asking; then everything must come to rest."""
    dice = world.turns.dice
    world.started()
    for number in range(asks):
        world.ask(dice.choice(COUNTERS), dice.randint(1, 9))
        if number % 7 == 3:
            world.open(dice.choice(sorted(world.sent)))
        world.run_for(timedelta(seconds=dice.choice((0, 0, 0.2, 3))))
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


@pytest.mark.parametrize("seed", range(5))
def test_what_nobody_waits_for_comes_to_the_same_end(seed: int) -> None:
    """Before the timers of its rows, and before what is kept for them."""
    desk = replace(DESK, unhurried=frozenset({Ask, Counted, Refused}))
    house = replace(HOUSE, unhurried=frozenset({Open, Count}))
    world = SmallWorld(seed, Troubles(chance=0.02, stall_chance=0.001), services=(desk, house))
    play(world, asks=30)
    check_lanes(world)
    assert world.troubles.happened


def test_a_timer_that_moves_before_it_fires_waits_for_its_new_time() -> None:
    """Moved by somebody else between looking and firing, it is looked for again; the replica doesn't insist on the old time."""
    world = SmallWorld(seed=3).started()
    timers = world.databases["house"].table("timer")
    moved: list[str] = []

    def move_once(process: str, what: str) -> None:
        due = {of: timer for of, timer in timers.items() if timer.due <= world.turns.clock.now() - TIMER_SKEW}
        if what == "timers_due answer" and not moved:
            for of, timer in due.items():
                moved.append(timer.name)
                timers[of] = replace(timer, due=timer.due + timedelta(seconds=20))

    world.trap = move_once
    for number in range(5):
        world.ask("a", number + 1)
    world.open("a")
    world.run(world.at_rest, timedelta(minutes=1))
    assert moved
    assert world.turns.clock.now() - START > timedelta(seconds=20)


def test_kept_messages_are_found_when_who_made_their_row_dies_at_once() -> None:
    """The replica that opened the counter dies before it looks for what waited; another one, whose shard it is, does."""
    world = SmallWorld(seed=3).started()

    def die(process: str, what: str) -> None:
        if what == "kept_for":
            world.trap = lambda process, what: None
            raise Crash(what)

    world.trap = die
    world.ask("a", 2)
    world.run(lambda: len(world.databases["house"].table("kept")) == 1)
    world.open("a")
    world.run(world.at_rest, timedelta(minutes=2))
    assert world.troubles.happened == {"died of Crash": 1}
    assert world.turns.clock.now() - START > timedelta(seconds=10), "it came back before a session was over: nobody claimed anew"


def test_a_database_older_than_its_topics_refuses_to_run() -> None:
    world = SmallWorld(seed=6).started()
    world.ask("a", 1)
    world.open("a")
    world.run(world.at_rest)
    backup = world.databases["house"].backup()
    world.ask("a", 1)
    world.run(world.at_rest)
    world.databases["house"].restore(backup)
    with pytest.raises(DatabaseBehind):
        world.run(lambda: False, timedelta(minutes=1))


def test_strangers_records_do_not_hide_that_a_topic_is_ahead() -> None:
    """However many they wrote behind the service's own last record."""
    world = SmallWorld(seed=6).started()
    world.ask("a", 1)
    world.run(lambda: world.lane(partition_of("a", PARTITIONS)) == [1])
    backup = world.databases["desk"].backup()
    world.ask("a", 1)
    world.run(lambda: world.lane(partition_of("a", PARTITIONS)) == [1, 2])
    at = TopicPartition(COMMANDS.name, partition_of("a", PARTITIONS))
    world.broker.append(at, [Outgoing(b"a", b"{}", ()) for _ in range(300)])
    world.databases["desk"].restore(backup)
    world.process("desk").die(Crash("restarted"))
    world.process("desk", 1).die(Crash("restarted"))
    with pytest.raises(DatabaseBehind, match="shows seq 2, the database 1"):
        world.run_for(timedelta(minutes=1))


@pytest.mark.parametrize("strangers", [0, 300])
@pytest.mark.parametrize("seed", range(10))
def test_a_database_older_than_its_documents_refuses_to_run(seed: int, strangers: int) -> None:
    """Although its lanes are where they were: opening a counter is told by its document only. Whichever replica comes back first, it
    looks at the other one's documents, too: else it would open the counter again, and the other one would notice nothing."""
    world = SmallWorld(seed).started()
    world.run_for(timedelta(seconds=5))
    backup = world.databases["house"].backup()
    world.open("a")
    world.run(lambda: "a" in world.newest_shown())
    at = TopicPartition(SHOWN.name, partition_of("a", PARTITIONS))
    world.broker.append(at, [Outgoing(b"a", b"{}", ()) for _ in range(strangers)])
    world.databases["house"].restore(backup)
    world.process("house").die(Crash("restarted"))
    world.process("house", 1).die(Crash("restarted"))
    with pytest.raises(DatabaseBehind, match="shows a in version 1, the database 0"):
        world.run_for(timedelta(minutes=1))
    assert world.states("house", "counter") == {}, "nothing was decided before"


@pytest.mark.parametrize("seed", range(10))
def test_a_database_that_is_exchanged_under_running_replicas_is_compared_first(seed: int) -> None:
    """Nobody was restarted: the next transaction meets another database than the one that was compared."""
    world = SmallWorld(seed).started()
    world.run_for(timedelta(seconds=5))
    backup = world.databases["house"].backup()
    world.open("a")
    world.run(lambda: "a" in world.newest_shown())
    world.databases["house"].restore(backup)
    world.ask("b", 1)
    with pytest.raises(DatabaseBehind, match="shows a in version 1, the database 0"):
        world.run_for(timedelta(minutes=1))
    assert world.states("house", "counter") == {}


@pytest.mark.parametrize("answer_lost", [False, True])
def test_a_stale_document_is_published_again(answer_lost: bool) -> None:
    """A publisher that was paused appends an old version behind the newest: compaction would keep it."""
    world = SmallWorld(seed=7).started()
    world.ask("a", 3)
    world.open("a")
    world.run(world.at_rest)
    lost: list[str] = []

    def lose_first_answer(process: str, what: str) -> None:
        if answer_lost and what == "read_back answer" and not lost:
            lost.append(process)
            raise Transient(what)

    world.trap = lose_first_answer
    stale = state_record("house", 1, "a", 1, START, Shown(counter="a", total=0, version=1))
    world.broker.append(TopicPartition(SHOWN.name, partition_of("a", PARTITIONS)), [stale])
    assert not world.at_rest()
    world.run(world.at_rest, timedelta(minutes=1))
    assert bool(lost) == answer_lost


# ---- nothing is judged on old state ----

HELD = "external messages are judged while older internal ones are unread"


def after_an_outage(world: SmallWorld) -> None:
    """The house comes back, one replica for all: `a` was asked for before it opened, and of all internal commands none can be read."""
    world.process("desk").start()
    world.ask("a", 2)
    world.ask("b", 3)
    world.run(lambda: sum(len(world.lane(p)) for p in range(PARTITIONS)) == 2)
    world.open("a")
    world.open("b")
    world.broker.silent = {TopicPartition(COMMANDS.name, p) for p in range(PARTITIONS)}
    world.process("house").start()


def first_of(world: SmallWorld, counter: str) -> str:
    """What happened to a counter first: empty where a message was kept for it."""
    history = world.databases["house"].table("history")
    return next(str(entry.type) for _, entry in sorted(history.items()) if entry.key == Key("counter", counter))


def test_an_external_message_waits_for_older_internal_ones() -> None:
    world = SmallWorld(seed=8)
    after_an_outage(world)
    world.run_for(timedelta(minutes=9))
    assert world.states("house", "counter") == {}
    world.broker.silent = set()
    world.broker.wake()
    world.run(world.at_rest)
    assert (first_of(world, "a"), first_of(world, "b")) == ("", ""), "what was asked for before was decided before"
    engine = world.process("house").engine
    assert engine is not None
    assert (engine.counters.late, engine.feed.held.count, world.alarms()) == (0, 1, [])
    assert engine.feed.held.over_ms > timedelta(minutes=8).total_seconds() * 1000


def test_the_wait_for_older_internal_messages_ends_with_an_alarm() -> None:
    world = SmallWorld(seed=8)
    after_an_outage(world)
    world.run_for(timedelta(minutes=11))
    assert (first_of(world, "a"), first_of(world, "b")) == ("Opened", "Opened")
    engine = world.process("house").engine
    assert engine is not None
    assert (engine.counters.late, world.alarms()) == (2, [HELD])
    world.broker.silent = set()
    world.broker.wake()
    world.run(world.at_rest)


@pytest.mark.parametrize("unread", [OPENINGS, COMMANDS])
def test_a_timer_waits_for_every_older_input(unread: Topic) -> None:
    """External ones too, however long it takes; after ten minutes somebody is told, once."""
    world = SmallWorld(seed=9)
    world.process("desk").start()
    world.process("house").start()
    world.ask("a", 2)
    world.open("a")
    world.run(lambda: len(world.databases["house"].table("timer")) == 1)
    world.broker.silent = {TopicPartition(unread.name, p) for p in range(PARTITIONS)}
    house = world.process("house")
    house.die(Crash("restarted"))
    (world.ask if unread is COMMANDS else lambda counter, _: world.open(counter))("b", 1)
    world.run_for(timedelta(minutes=9))
    assert len(world.databases["house"].table("timer")) == 1
    assert world.alarms() == []
    world.run_for(timedelta(minutes=30))
    assert len(world.databases["house"].table("timer")) == 1
    assert world.alarms() == ["timers wait for older inputs"]
    world.broker.silent = set()
    world.broker.wake()
    world.run(lambda: not world.databases["house"].table("timer"))
