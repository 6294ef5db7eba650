"""What only the ports in memory can be told to do, on a clock that stands still until nobody is ready."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.kernel.memory_log import Broker, MemoryReader
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import LOCK_TIMEOUT_S, Database
from shared.kernel.model import Key
from shared.kernel.ports import Changes, Outgoing, Row, RowChange, TopicPartition, Transient
from tests.support.counting import HOUSE, Counter
from tests.support.turns import Turns

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
A = Key("counter", "a")
AT = TopicPartition("topic", 0)


class World:
    """Some coroutines, run by turns to their end."""

    def __init__(self) -> None:
        self.turns = Turns(1, START)
        self.clock = self.turns.clock
        self.failures: list[BaseException] = []

    def run(self, *coroutines: Coroutine[Any, Any, None]) -> None:
        tasks = [self.turns.spawn(f"{one}", one, self.failures.append) for one in coroutines]
        self.turns.run(lambda: all(task.done for task in tasks), START + timedelta(hours=1))
        if self.failures:
            raise self.failures[0]

    def passed_s(self) -> float:
        return (self.clock.now() - START).total_seconds()


@pytest.fixture
def world() -> World:
    return World()


def made(version: int = 1) -> Changes:
    return Changes(rows=[RowChange(A, version - 1, version, Counter("a", version))])


async def change(store: MemoryStore, changes: Changes) -> None:
    await change_while(store, changes, lambda: None)


async def change_while(store: MemoryStore, changes: Changes, happens: Callable[[], None]) -> None:
    async with store.begin() as transaction:
        await transaction.write(changes)
        happens()


# ---- the clock ----


def test_sleepers_wake_in_order_and_a_signal_before_the_wait_is_not_lost(world: World) -> None:
    woken: list[tuple[str, float]] = []
    signal = world.clock.signal()

    async def sleeps(name: str, seconds: float) -> None:
        await world.clock.sleep(seconds)
        woken.append((name, world.passed_s()))

    async def waits() -> None:
        signal.set()
        await signal.wait(100)
        woken.append(("at once", world.passed_s()))
        await signal.wait(5)
        woken.append(("in vain", world.passed_s()))
        await signal.wait(100)
        woken.append(("called", world.passed_s()))

    async def calls() -> None:
        await world.clock.sleep(7)
        signal.set()

    world.run(sleeps("late", 6), sleeps("soon", 1), waits(), calls())
    assert woken == [("at once", 0.0), ("soon", 1.0), ("in vain", 5.0), ("late", 6.0), ("called", 7.0)]


# ---- the store ----


def test_who_waits_too_long_for_a_lock_fails(world: World) -> None:
    store = MemoryStore(HOUSE, Database(world.clock))

    async def holds() -> None:
        async with store.begin() as transaction:
            await transaction.write(made())
            await world.clock.sleep(LOCK_TIMEOUT_S + 5)

    async def waits() -> None:
        await world.clock.sleep(1)
        with pytest.raises(Transient):
            await change(store, made())
        assert world.passed_s() == LOCK_TIMEOUT_S + 1

    world.run(holds(), waits())


def test_who_waits_first_is_served_first(world: World) -> None:
    store = MemoryStore(HOUSE, Database(world.clock))
    order: list[int] = []

    async def takes(number: int) -> None:
        await world.clock.sleep(number)
        async with store.begin() as transaction:
            await transaction.load([A])
            order.append(number)
            await world.clock.sleep(4)

    world.run(change(store, made()))
    world.run(*(takes(number) for number in (3, 1, 4, 2)))
    assert order == [1, 2, 3, 4]
    assert world.passed_s() == 1 + 4 * 4


def test_restored_to_an_older_state(world: World) -> None:
    """What came after the backup is gone, and every open session with it."""
    database = Database(world.clock)
    store = MemoryStore(HOUSE, database, round_trip=True)

    async def restored() -> None:
        await change(store, made())
        backup = database.backup()
        await change(store, made(2))
        with pytest.raises(Transient):
            await change_while(store, made(3), lambda: database.restore(backup))
        assert await store.rows("counter", ["a"]) == {"a": Row(1, Counter("a", 1))}
        await change(store, made(2))

    world.run(restored())
    assert database.sessions == []


def test_a_cut_connection_frees_its_locks_and_fails_its_waiters(world: World) -> None:
    database = Database(world.clock)
    frozen, other = MemoryStore(HOUSE, database), MemoryStore(HOUSE, database)

    async def stalled() -> None:
        async with frozen.begin() as transaction:
            await transaction.write(made())
            await world.clock.sleep(100)
            await transaction.find([A])

    async def freezes() -> None:
        with pytest.raises(Transient):
            await stalled()

    async def goes_on() -> None:
        await world.clock.sleep(1)
        await change(other, made())
        assert world.passed_s() == 2

    async def cuts() -> None:
        await world.clock.sleep(2)
        frozen.cut()

    world.run(freezes(), goes_on(), cuts())


def test_who_watches_tables_is_told_once_and_only_of_what_was_written_there(world: World) -> None:
    """A restore tells everybody: nothing is as it was."""
    database, told = Database(world.clock), list[str]()
    seen = database.news(("a", "b"))
    for table in ("a", "b", "c"):
        database.watch((table,), lambda table=table: told.append(table))  # type: ignore[misc]
    for _ in range(2):
        database.committed({("b", 1): "written"})
    assert (told, database.news(("a", "b")) == seen, database.news(("a",)) == (database.life, 0)) == (["b"], False, True)
    database.restore(database.backup())
    assert (told, database.news(("a",)) == seen) == (["b", "a", "c"], False)


# ---- the log ----


def numbered(*keys: str) -> list[Outgoing]:
    return [Outgoing(key.encode(), f"{index}".encode(), ()) for index, key in enumerate(keys)]


def test_compaction_leaves_the_newest_of_each_key(world: World) -> None:
    broker = Broker(world.clock)
    broker.create("topic", 1, compacted=True)
    broker.append(AT, numbered("a", "b", "a", "b", "a", "a"))
    broker.compact(AT, dirty=2)
    assert [(record.offset, record.key) for record in broker.records(AT)] == [(3, b"b"), (4, b"a"), (5, b"a")]
    assert broker.append(AT, numbered("c")) == 6


def test_a_patient_reader_takes_no_look_that_would_find_nothing(world: World) -> None:
    """It looks where something was appended, and once its patience ends, to give a sign of life."""
    broker, looks = Broker(world.clock), list[float]()
    broker.create("topic", 1)
    broker.patience_s = 30.0

    async def look(what: str) -> None:
        if what == "fetch":
            looks.append(world.passed_s())

    reader = MemoryReader(broker, "group", "r-0", ["topic"], look)

    async def reads() -> None:
        await reader.start()
        assert await reader.fetch(0.2) == []
        reader.seek(AT, 0)
        assert len(await reader.fetch(0.2)) == 1
        assert await reader.fetch(0.2) == []

    async def appends() -> None:
        await world.clock.sleep(37)
        broker.append(AT, numbered("a"))

    world.run(reads(), appends())
    assert looks[-2:] == [37.0, 67.0]


def test_append_times_may_step_back(world: World) -> None:
    broker = Broker(world.clock)
    broker.create("topic", 1)
    broker.append(AT, numbered("a"))
    broker.skew = timedelta(seconds=-3)
    broker.append(AT, numbered("b"))
    first, second = broker.records(AT)
    assert second.appended_ms - first.appended_ms == -3000


def test_what_a_failed_fetch_lost_comes_again_when_it_is_sought(world: World) -> None:
    broker = Broker(world.clock)
    broker.create("topic", 1)
    reader = MemoryReader(broker, "group", "r-0", ["topic"])

    async def reads() -> None:
        await reader.start()
        await reader.fetch(0)
        reader.seek(AT, 0)
        broker.append(AT, numbered("a"))
        reader.lose()
        assert await reader.fetch(1) == []
        reader.seek(AT, 0)
        assert len(await reader.fetch(1)) == 1

    world.run(reads())


def test_a_zombie_does_not_know_that_it_was_evicted(world: World) -> None:
    broker = Broker(world.clock)
    broker.create("topic", 2)
    zombie, heir = (MemoryReader(broker, "group", f"r-{number}", ["topic"]) for number in range(2))
    both = frozenset({AT, TopicPartition("topic", 1)})

    async def lives() -> None:
        await zombie.start()
        await zombie.fetch(0)
        await heir.start()
        for _ in range(40):
            await heir.fetch(0.2)

    world.run(lives())
    assert zombie.assignment().partitions == heir.assignment().partitions == both

    async def wakes() -> None:
        await zombie.fetch(0)

    world.run(wakes())
    assert zombie.assignment().partitions == frozenset(), "it hears so with its first sign of life"
