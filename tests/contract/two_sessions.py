"""What two sessions may do to each other in a store, as Postgres does it at READ COMMITTED: one function a case, for any store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest

from shared.kernel.model import Key, Slice
from shared.kernel.ports import (
    Changes,
    Collision,
    CommitUnknown,
    InboxMark,
    KeepRow,
    NotOwner,
    OffsetMove,
    OutboxRow,
    Quarantine,
    Record,
    Row,
    RowChange,
    TimerRow,
    TopicPartition,
    Transient,
)
from shared.value import replace
from tests.support.counting import ANSWERS, COMMANDS, Counter, Gauge, Unit
from tests.support.rigs import Rig

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
A, B, C = Key("counter", "a"), Key("counter", "b"), Key("counter", "c")
INPUT = TopicPartition(COMMANDS.name, 0)
LANE = TopicPartition(ANSWERS.name, 0)


# ---- values ----


def counter(key: Key, total: int) -> Counter:
    return Counter(key.id, total, 1)


def made(key: Key, total: int = 1) -> Changes:
    return Changes(rows=[RowChange(key, 0, 1, counter(key, total))])


def changed(key: Key, base: int, total: int) -> Changes:
    return Changes(rows=[RowChange(key, base, base + 1, counter(key, total))])


def unit(name: str, base: int = 0) -> RowChange:
    return RowChange(Key("unit", f"a/{name}"), base, base + 1, Unit("a", name))


def record(offset: int, partition: int = 0) -> Record:
    headers = (("ce_type", b"nervure.Count"), ("nothing", None))
    return Record(COMMANDS.name, partition, offset, 1_772_452_800_000 + offset, b"a", b"{}", headers)


def message(number: int, at: TopicPartition = LANE) -> OutboxRow:
    id = str(uuid5(UUID(int=0), str(number)))
    return OutboxRow(at.topic, at.partition, "a", "Counted", id, NOON, "shop:1", "cause", "", "counter/a", number, b'{"n":%d}' % number)


def timer(name: str, due: datetime = NOON, key: Key = A, rank: int = 50, shard: int = 0) -> TimerRow:
    return TimerRow(key, name, due, rank, shard)


async def write(rig: Rig, changes: Changes) -> None:
    async with rig.first.begin() as transaction:
        await transaction.write(changes)


# ---- the cases ----


async def missing_row(rig: Rig) -> None:
    """Locking a row that doesn't exist locks nothing: both creators go on, and the second one collides."""
    async with rig.session() as one, rig.session() as two:
        assert await rig.soon(one.transaction.load([A])) == {}
        assert await rig.soon(two.transaction.load([A])) == {}
        await one.transaction.write(made(A, 1))
        second = await rig.blocked(two.transaction.write(made(A, 2)))
        await one.commit()
        with pytest.raises(Collision):
            await second
    assert await rig.first.rows("counter", ["a"]) == {"a": Row(1, counter(A, 1))}


async def creator_gives_up(rig: Rig) -> None:
    """Who waits for another creator goes on when that one rolls back."""
    async with rig.session() as two:
        async with rig.session() as one:
            await one.transaction.write(made(A, 1))
            second = await rig.blocked(two.transaction.write(made(A, 2)))
        await second
        await two.commit()
    assert await rig.first.rows("counter", ["a"]) == {"a": Row(1, counter(A, 2))}


async def deadlock_victim(rig: Rig) -> None:
    """Of two sessions that wait for each other one fails, with Transient, and what it wrote is gone; the other gets what it waited for."""
    await write(rig, made(A))
    await write(rig, made(B))
    both_hold = asyncio.Barrier(2)

    async def crossing(first: Key, then: Key) -> str:
        try:
            async with rig.first.begin() as transaction:
                await transaction.write(changed(first, 1, 5))
                await both_hold.wait()
                await transaction.write(changed(then, 1, 5))
        except Transient:
            return "victim"
        return "done"

    outcomes = await rig.soon(asyncio.gather(crossing(A, B), crossing(B, A)))
    assert sorted(outcomes) == ["done", "victim"]
    rows = await rig.first.rows("counter", ["a", "b"])
    assert rows == {"a": Row(2, counter(A, 5)), "b": Row(2, counter(B, 5))}


async def lost_commit_answer(rig: Rig) -> None:
    """Whether an unanswered commit took effect, only the store knows; it tells by the position."""
    other = await rig.store()
    await other.declare([INPUT])
    epoch = (await other.claim([INPUT]))[INPUT].epoch
    for taken, key, offset in ((True, A, 0), (False, B, 1)):
        changes = made(key)
        changes.offsets = [OffsetMove(INPUT, epoch, offset, offset + 1)]
        async with rig.session() as one:
            await one.transaction.write(changes)
            await rig.lose_commit(taken)
            with pytest.raises(CommitUnknown):
                await one.commit()
        other = await rig.store()
        claim = (await rig.soon(other.claim([INPUT])))[INPUT]
        epoch = claim.epoch
        assert claim.offset == offset + taken
        assert (key.id in await other.rows("counter", [key.id])) == taken


async def statement_snapshot(rig: Rig) -> None:
    """A statement sees what was committed when it began; of a row it waited for, the newest; the next statement sees all."""
    await write(rig, made(B))
    await write(rig, made(C))
    async with rig.session() as reader, rig.session() as writer:
        assert await rig.soon(reader.transaction.find([B])) == {B: Row(1, counter(B, 1))}
        await writer.transaction.write(changed(B, 1, 2))
        assert await rig.soon(reader.transaction.find([B])) == {B: Row(1, counter(B, 1))}
        locked = await rig.blocked(reader.transaction.load([B, C, Key("counter", "d")]))
        await rig.soon(write(rig, changed(C, 1, 9)))
        await rig.soon(write(rig, made(Key("counter", "d"))))
        await writer.commit()
        assert await locked == {B: Row(2, counter(B, 2)), C: Row(2, counter(C, 9))}, "d came after the statement began"
        assert set(await rig.soon(reader.transaction.find([B, Key("counter", "d")]))) == {B, Key("counter", "d")}


async def row_gone_while_waiting(rig: Rig) -> None:
    """Who waited for a row that was deleted meanwhile gets none, and may make it anew."""
    await write(rig, made(A))
    async with rig.session() as one, rig.session() as two:
        await one.transaction.write(Changes(rows=[RowChange(A, 1, 2, None)]))
        locked = await rig.blocked(two.transaction.load([A]))
        await one.commit()
        assert await locked == {}
        await two.transaction.write(made(A, 3))
        await two.commit()
    assert await rig.first.rows("counter", ["a"]) == {"a": Row(1, counter(A, 3))}


async def stale_version(rig: Rig) -> None:
    """Who decided on a row without its lock, and finds it changed, collides."""
    await write(rig, made(A))
    async with rig.session() as one, rig.session() as two:
        assert await rig.soon(two.transaction.find([A])) == {A: Row(1, counter(A, 1))}
        await one.transaction.write(changed(A, 1, 2))
        second = await rig.blocked(two.transaction.write(changed(A, 1, 3)))
        await one.commit()
        with pytest.raises(Collision):
            await second


async def stale_epoch(rig: Rig) -> None:
    """A claim makes every earlier owner's commit fail; one that is under way is waited for, and its position counts."""
    heir = await rig.store()
    await rig.first.declare([INPUT])
    claim = (await rig.first.claim([INPUT]))[INPUT]
    async with rig.session() as owner:
        changes = made(A)
        changes.offsets = [OffsetMove(INPUT, claim.epoch, claim.offset, claim.offset + 5)]
        await owner.transaction.write(changes)
        claiming = await rig.blocked(heir.claim([INPUT]))
        await owner.commit()
        assert ((await claiming)[INPUT].epoch, (await claiming)[INPUT].offset) == (claim.epoch + 1, claim.offset + 5)
    async with rig.session() as owner:
        await owner.transaction.load([A])
        await rig.soon(heir.claim([INPUT]))
        changes = changed(A, 1, 2)
        changes.offsets = [OffsetMove(INPUT, claim.epoch + 1, claim.offset + 5, claim.offset + 6)]
        with pytest.raises(NotOwner):
            await owner.transaction.write(changes)
    assert await rig.first.rows("counter", ["a"]) == {"a": Row(1, counter(A, 1))}


async def blocked_lane_row(rig: Rig) -> None:
    """A lane is held until the commit: its order is the order of commits, whoever began first."""
    async with rig.session() as early, rig.session() as late, rig.session() as last:
        await rig.soon(early.transaction.load([A]))
        assert [row.seq for row in await late.transaction.write(Changes(), [message(1), message(2)])] == [1, 2]
        then = await rig.blocked(early.transaction.write(Changes(), [message(3)]))
        at_last = await rig.blocked(last.transaction.write(Changes(), [message(4)]))
        await late.commit()
        assert [row.seq for row in await then] == [3]
        await early.commit()
        assert [row.seq for row in await at_last] == [4]
    lane = await rig.first.outbox(LANE, 0, 10)
    assert [(row.seq, row.row.subject_version) for row in lane] == [(1, 1), (2, 2), (3, 3)], "what was rolled back took no number"


async def locks_in_order(rig: Rig) -> None:
    """Rows by kind, timers' rows before positions, lanes last: who waits for an earlier lock holds none of the later ones."""
    gauge = Changes(rows=[RowChange(Key("gauge", "g"), 0, 1, Gauge(1, NOON, ()))])
    both = Changes(rows=[*gauge.rows, *made(A).rows])
    async with rig.session() as one, rig.session() as two, rig.session() as three:
        await one.transaction.write(made(A))
        second = await rig.blocked(two.transaction.write(both, [message(1)]))
        assert [row.seq for row in await rig.soon(three.transaction.write(gauge, [message(2)]))] == [1]
        await three.commit()
        assert await rig.first.rows("gauge", ["g"]) == {"g": Row(1, Gauge(1, NOON, ()))}
        await one.commit()
        with pytest.raises(Collision):
            await second


async def positions_before_lanes(rig: Rig) -> None:
    """Who waits for a position, because its owner of before is still at work, keeps nobody from publishing."""
    await rig.first.declare([INPUT])
    epoch = (await rig.first.claim([INPUT]))[INPUT].epoch
    move = Changes(offsets=[OffsetMove(INPUT, epoch, 0, 1)])
    async with rig.session() as one, rig.session() as two, rig.session() as three:
        await one.transaction.write(move)
        second = await rig.blocked(two.transaction.write(move, [message(1)]))
        assert [row.seq for row in await rig.soon(three.transaction.write(Changes(), [message(2)]))] == [1]
        await three.commit()
        await one.commit()
        with pytest.raises(NotOwner):
            await second


async def slices_under_a_lock(rig: Rig) -> None:
    """Rows of a slice are read after their owner's lock, without locks of their own: none can come or go meanwhile."""
    await write(rig, made(A))
    await write(rig, Changes(rows=[unit("2")]))
    first_two = [(Slice(A, "unit", lambda _: 2), 2)]
    async with rig.session() as one, rig.session() as two:
        await rig.soon(one.transaction.load([A]))
        locked = await rig.blocked(two.transaction.load([A]))
        await one.transaction.write(Changes(rows=[unit("1"), unit("2", base=1), unit("3")]))
        async with rig.session() as beside:
            seen = await rig.soon(beside.transaction.slices(first_two))
            assert [(key.id, row.version) for key, row in seen[A, "unit"]] == [("a/2", 1)]
        await one.commit()
        await locked
        seen = await rig.soon(two.transaction.slices(first_two))
        assert [(key.id, row.version) for key, row in seen[A, "unit"]] == [("a/1", 1), ("a/2", 2)]


async def kept_row_and_its_creator(rig: Rig) -> None:
    """Keeping makes the row, empty: its creator collides, decides again, and finds the kept message."""
    keep = Changes(rows=[RowChange(A, 0, 1, None, empty=True)], kept=[KeepRow(A, NOON, record(7), 0, False)])
    async with rig.session() as keeper, rig.session() as creator:
        assert await rig.soon(keeper.transaction.load([A])) == await rig.soon(creator.transaction.load([A])) == {}
        await keeper.transaction.write(keep)
        assert not (await rig.soon(creator.transaction.attached([A]))).kept
        creating = await rig.blocked(creator.transaction.write(made(A)))
        await keeper.commit()
        with pytest.raises(Collision):
            await creating
    async with rig.session() as creator:
        assert await creator.transaction.load([A]) == {A: Row(1, None)}
        assert (await creator.transaction.attached([A, B])).kept == {A}
        await creator.transaction.write(changed(A, 1, 1))
        assert [one.record for one in await creator.transaction.kept_for([A])] == [record(7)]
        await creator.commit()


async def timer_moved_while_firing(rig: Rig) -> None:
    """A timer that was moved meanwhile doesn't fire at its old time, and isn't lost."""
    await write(rig, Changes(timers_set=[timer("ring")]))
    later = timer("ring", NOON + timedelta(minutes=5))
    async with rig.session() as mover, rig.session() as firing:
        await mover.transaction.write(Changes(timers_set=[later]))
        fired = await rig.blocked(firing.transaction.write(Changes(timers_fired=[timer("ring")])))
        await mover.commit()
        with pytest.raises(Collision):
            await fired
    assert await rig.first.timers_due([0], NOON + timedelta(hours=1), 10) == [later]


async def mark_lifted_while_queueing(rig: Rig) -> None:
    """Who queues behind a quarantined input holds the mark: who lifts it waits, and leaves it, for the queue isn't empty any more. Where
    the mark has gone meanwhile, who wanted to queue collides, and finds nothing to wait for when it decides again."""
    key = Key("~message", "a")
    await write(rig, Changes(quarantines=[Quarantine((key,), record(1), "ValueError", "boom")]))
    first = await rig.ask_replay()
    async with rig.session() as queueing, rig.session() as lifting:
        assert (await rig.soon(queueing.transaction.attached([key]))).quarantined == {key}
        await queueing.transaction.write(Changes(quarantines=[Quarantine((key,), record(2), "waits", "", behind=(key,))]))
        lifted = await rig.blocked(lifting.transaction.write(Changes(taken=first)))
        await queueing.commit()
        await lifted
        await lifting.commit()
    second = await rig.ask_replay()
    async with rig.session() as queueing, rig.session() as lifting:
        assert (await rig.soon(queueing.transaction.attached([key]))).quarantined == {key}
        await lifting.transaction.write(Changes(taken=second))
        late = await rig.blocked(
            queueing.transaction.write(Changes(quarantines=[Quarantine((key,), record(3), "waits", "", behind=(key,))]))
        )
        await lifting.commit()
        with pytest.raises(Collision):
            await late
    async with rig.session() as after:
        assert not (await after.transaction.attached([key])).quarantined


async def inbox_race(rig: Rig) -> None:
    """One external id in two sessions: the second one collides, whatever its content, and finds it known when it decides again."""
    mark, other = InboxMark("/till", "1", b"digest", NOON), InboxMark("/till", "1", b"other", NOON)
    async with rig.session() as one, rig.session() as two:
        assert await rig.soon(two.transaction.known([("/till", "1")])) == {}
        await one.transaction.write(Changes(inbox=[mark]))
        second = await rig.blocked(two.transaction.write(Changes(inbox=[other])))
        await one.commit()
        with pytest.raises(Collision):
            await second
    async with rig.session() as two:
        assert await two.transaction.known([("/till", "1"), ("/till", "2")]) == {("/till", "1"): b"digest"}
    async with rig.session() as one, rig.session() as two:
        await one.transaction.write(Changes(inbox=[replace(other, before=b"digest")]))
        second = await rig.blocked(two.transaction.write(Changes(inbox=[replace(mark, digest=b"third", before=b"digest")])))
        await one.commit()
        with pytest.raises(Collision):
            await second


async def connection_lost(rig: Rig) -> None:
    """A connection that breaks in the middle takes everything with it, its locks too."""
    await write(rig, made(A))

    async def cut_in_the_middle() -> None:
        async with rig.first.begin() as transaction:
            await transaction.write(changed(A, 1, 2))
            await rig.cut()
            await transaction.find([A])

    with pytest.raises(Transient):
        await rig.soon(cut_in_the_middle())
    other = await rig.store()
    async with rig.session(other) as after:
        assert await rig.soon(after.transaction.load([A])) == {A: Row(1, counter(A, 1))}


Case = Callable[[Rig], Awaitable[None]]
CASES: tuple[Case, ...] = (
    missing_row,
    creator_gives_up,
    deadlock_victim,
    lost_commit_answer,
    statement_snapshot,
    row_gone_while_waiting,
    stale_version,
    stale_epoch,
    blocked_lane_row,
    locks_in_order,
    positions_before_lanes,
    slices_under_a_lock,
    kept_row_and_its_creator,
    timer_moved_while_firing,
    mark_lifted_while_queueing,
    inbox_race,
    connection_lost,
)
