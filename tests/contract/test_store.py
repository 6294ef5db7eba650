"""The store's contract, kept by Postgres and by memory alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from deploy.embedded import Endpoints
from shared.kernel.model import Key, Slice
from shared.kernel.ports import (
    NOTHING_ATTACHED,
    PRUNED_AT_ONCE,
    Changes,
    Claim,
    Collision,
    DeadLetter,
    HistoryEntry,
    InboxMark,
    KeepRow,
    LaneId,
    LaneMark,
    LaneRow,
    NotOwner,
    OffsetMove,
    OutboxRow,
    Quarantine,
    ReadBack,
    Row,
    RowChange,
    SomethingAttached,
    SpoolRow,
    StoredInput,
    TopicPartition,
)
from shared.kernel.rows import DocumentTooLarge
from shared.value import replace
from tests.contract.two_sessions import (
    CASES,
    INPUT,
    LANE,
    NOON,
    A,
    B,
    C,
    Case,
    changed,
    counter,
    made,
    message,
    record,
    timer,
    unit,
    write,
)
from tests.support.counting import Counter, Gauge, Noted, Opened, Turned, Unit
from tests.support.dict_store import DictRig
from tests.support.rigs import MemoryRig, PostgresRig, Rig

D = Key("counter", "d")
OTHER_LANE = TopicPartition(LANE.topic, 1)
UPSTREAM = LaneId("desk", 1)


@pytest.fixture(scope="module")
def database(endpoints: Endpoints) -> Iterator[str]:
    """The DSN of a database of this module's own."""
    name = f"contract_{uuid4().hex[:8]}"
    asyncio.run(execute(endpoints.postgres, f'CREATE DATABASE "{name}"'))
    yield endpoints.postgres.rpartition("/")[0] + f"/{name}"
    asyncio.run(execute(endpoints.postgres, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def execute(server: str, sql: str) -> None:
    connection = await asyncpg.connect(server)
    await connection.execute(sql)
    await connection.close()


@pytest.fixture(params=["postgres", "memory"])
def kind_of_rig(request: pytest.FixtureRequest) -> Callable[[], Rig]:
    if request.param == "memory":
        return MemoryRig
    dsn = request.getfixturevalue("database")
    return lambda: PostgresRig(dsn)


@pytest.fixture
async def rig(kind_of_rig: Callable[[], Rig]) -> AsyncIterator[Rig]:
    rig = kind_of_rig()
    await rig.open()
    yield rig
    await rig.close()


# ---- two sessions ----


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_two_sessions(rig: Rig, case: Case) -> None:
    await case(rig)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_a_dict_behind_one_lock_fails(case: Case) -> None:
    """None of these cases can be seen in such a store: that is why it is no store to test with."""
    rig = DictRig()
    await rig.open()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await case(rig)
    await rig.close()


# ---- whose database it is ----


async def test_a_transaction_tells_which_run_of_the_database_it_is_in(rig: Rig) -> None:
    """The same for all connections to it; a store without a gate holds back nothing."""
    horizon, other = await rig.first.horizon(), await rig.store()
    async with rig.session() as one, rig.session(other) as two:
        assert one.transaction.life == two.transaction.life == horizon.life != ""
    assert horizon.held >= horizon.committed
    assert not rig.first.gated


async def test_what_was_parked_is_asked_for_again_by_its_place(rig: Rig) -> None:
    letters = [DeadLetter(record=record(offset), reason="bad", detail="") for offset in (5, 6)]
    await write(rig, Changes(dead_letters=letters))
    async with rig.first.begin() as transaction:
        asked = await transaction.ask_again([record(6), record(7)])
    due = [one for one in await rig.first.stored_due([0], NOON, 10, False) if one.purpose == "replay"]
    assert [one.record.offset for one in asked] == [6]
    assert due == asked


# ---- rows ----


async def test_rows_of_documents_and_of_columns(rig: Rig) -> None:
    """States come back as they were written; a row that was only kept for has none."""
    gauge = Gauge(3, NOON, ("x", "y"))
    rows = [
        RowChange(A, 0, 2, counter(A, 5)),
        RowChange(B, 0, 1, None, empty=True),
        RowChange(Key("gauge", "a"), 0, 1, gauge),
        RowChange(Key("gauge", "b"), 0, 1, Gauge()),
    ]
    await write(rig, Changes(rows=rows))
    expected = {A: Row(2, counter(A, 5)), B: Row(1, None), Key("gauge", "a"): Row(1, gauge), Key("gauge", "b"): Row(1, Gauge())}
    async with rig.first.begin() as transaction:
        assert await transaction.find([*expected, C]) == expected
        assert await transaction.load([*expected, C, A]) == expected
    assert await rig.first.rows("gauge", ["a", "c"]) == {"a": Row(1, gauge)}
    assert [entry async for entry in rig.first.scan("counter")] == [("a", Row(2, counter(A, 5))), ("b", Row(1, None))]


async def test_rows_are_changed_and_deleted_by_version(rig: Rig) -> None:
    await write(rig, Changes(rows=[RowChange(A, 0, 1, counter(A, 1)), RowChange(B, 0, 3, counter(B, 1))]))
    await write(rig, Changes(rows=[RowChange(A, 1, 4, counter(A, 2)), RowChange(B, 3, 4, None), RowChange(C, 0, 1, counter(C, 1))]))
    assert await rig.first.rows("counter", ["a", "b", "c"]) == {"a": Row(4, counter(A, 2)), "c": Row(1, counter(C, 1))}
    for stale in (made(A), changed(A, 1, 9), changed(B, 4, 9), Changes(rows=[RowChange(C, 2, 3, None)])):
        with pytest.raises(Collision):
            await write(rig, Changes(rows=[*stale.rows, RowChange(Key("counter", "d"), 0, 1, counter(A, 1))]))
    assert set(await rig.first.rows("counter", ["a", "b", "c", "d"])) == {"a", "c"}
    await write(rig, Changes(rows=[RowChange(B, 0, 5, None)]))
    assert not await rig.first.rows("counter", ["b"]), "what came and went within one batch leaves no row"


async def test_columns_that_are_as_they_were_loaded_stay(rig: Rig) -> None:
    """Of two rows written together each keeps what didn't change in it, whatever changed in the other."""
    a, b = Key("gauge", "a"), Key("gauge", "b")
    first, second = Gauge(3, NOON, ("x", "y")), Gauge(5, None, ())
    await write(rig, Changes(rows=[RowChange(a, 0, 1, first), RowChange(b, 0, 1, second)]))
    turned, dated = replace(first, turned=4), replace(second, last=NOON)
    changes = [RowChange(a, 1, 2, turned, before=first), RowChange(b, 1, 2, dated, before=second)]
    await write(rig, Changes(rows=changes))
    assert await rig.first.rows("gauge", ["a", "b"]) == {"a": Row(2, turned), "b": Row(2, dated)}
    await write(rig, Changes(rows=[RowChange(a, 2, 3, turned, before=turned)]))
    await write(rig, Changes(rows=[RowChange(b, 2, 3, Gauge(6, None, ("z",)))]))
    assert await rig.first.rows("gauge", ["a", "b"]) == {"a": Row(3, turned), "b": Row(3, Gauge(6, None, ("z",)))}


async def test_an_exception_rolls_back(rig: Rig) -> None:
    async def fail_in_the_middle() -> None:
        async with rig.first.begin() as transaction:
            await transaction.write(made(A))
            assert await transaction.find([A]) == {A: Row(1, counter(A, 1))}, "its own writes it sees"
            raise LookupError

    with pytest.raises(LookupError):
        await fail_in_the_middle()
    assert not await rig.first.rows("counter", ["a"])


async def test_a_document_has_a_largest_size(rig: Rig) -> None:
    with pytest.raises(DocumentTooLarge):
        await write(rig, Changes(rows=[RowChange(A, 0, 1, Counter("x" * 512_000))]))


async def test_slices_by_rank_as_many_as_wanted(rig: Rig) -> None:
    other = RowChange(Key("unit", "b/0"), 0, 1, Unit("b", "0"))
    await write(rig, Changes(rows=[unit("2"), unit("10"), unit("Z"), unit("a"), other]))
    many, none = Slice(A, "unit", lambda _: 3), Slice(B, "unit", lambda _: 0)
    async with rig.first.begin() as transaction:
        found = await transaction.slices([(many, 3), (none, 0), (Slice(A, "unit", lambda _: 1), 1), (Slice(C, "unit", lambda _: 1), 1)])
    assert {of: [key.id for key, _ in rows] for of, rows in found.items()} == {
        (A, "unit"): ["a/10", "a/2", "a/Z"],
        (B, "unit"): [],
        (C, "unit"): [],
    }, "ranks are compared as bytes"


async def test_history_by_row_and_in_order(rig: Rig) -> None:
    entries = [
        HistoryEntry(B, 1, "Opened", Opened("b"), NOON),
        HistoryEntry(A, 1, "", None, NOON),
        HistoryEntry(A, 2, "Noted", Noted("a", 4), NOON),
        HistoryEntry(Key("gauge", "a"), 1, "Turned", Turned("a", "1", NOON), NOON),
    ]
    await write(rig, Changes(history=entries))
    await write(rig, Changes(history=[HistoryEntry(A, 1, "Opened", Opened("a"), NOON)]))
    assert [entry async for entry in rig.first.history()] == [
        (A, 1, None),
        (A, 2, Noted("a", 4)),
        (A, 1, Opened("a")),
        (B, 1, Opened("b")),
        (Key("gauge", "a"), 1, Turned("a", "1", NOON)),
    ]


# ---- positions, lanes in, the inbox ----


async def test_claims_raise_the_epoch_and_tell_where_to_go_on(rig: Rig) -> None:
    other = TopicPartition(INPUT.topic, 1)
    await rig.first.declare([INPUT, other])
    await rig.first.declare([INPUT])
    assert await rig.first.claim([INPUT]) == {INPUT: Claim(1, 0, {})}
    marks = [LaneMark(INPUT, UPSTREAM, 7), LaneMark(INPUT, LaneId("desk", 2), 1), LaneMark(other, UPSTREAM, 3)]
    await write(rig, Changes(offsets=[OffsetMove(INPUT, 1, 0, 12)], marks=marks))
    await write(rig, Changes(marks=[LaneMark(INPUT, UPSTREAM, 6)]))
    assert await rig.first.claim([other, INPUT, TopicPartition("unknown", 0)]) == {
        INPUT: Claim(2, 12, {UPSTREAM: 7, LaneId("desk", 2): 1}),
        other: Claim(1, 0, {UPSTREAM: 3}),
    }, "marks never go back"
    for epoch, loaded in ((1, 12), (2, 11)):
        with pytest.raises(NotOwner):
            await write(rig, Changes(offsets=[OffsetMove(other, 1, 0, 1), OffsetMove(INPUT, epoch, loaded, 13)]))
    assert (await rig.first.claim([other]))[other].offset == 0, "one that doesn't fit moves none"


async def test_the_first_claim_begins_where_the_log_begins_and_remembers_that(rig: Rig) -> None:
    """Until records expire that should have been read."""
    whole = TopicPartition(INPUT.topic, 1)
    await rig.first.declare([INPUT, whole])
    assert await rig.first.claim([INPUT, whole], {INPUT: 40}) == {
        INPUT: Claim(1, 40, {}, headless=True),
        whole: Claim(1, 0, {}),
    }
    assert (await rig.first.claim([INPUT], {INPUT: 40}))[INPUT] == Claim(2, 40, {}, headless=True)
    assert (await rig.first.claim([INPUT]))[INPUT] == Claim(3, 40, {}, headless=True)
    await write(rig, Changes(offsets=[OffsetMove(INPUT, 3, 40, 50)]))
    assert (await rig.first.claim([INPUT, whole], {INPUT: 50, whole: 7})) == {
        INPUT: Claim(4, 50, {}, headless=True),
        whole: Claim(2, 0, {}),
    }, "whatever expires later isn't the first claim's affair"
    assert (await rig.first.claim([INPUT], {INPUT: 51}))[INPUT] == Claim(5, 50, {})
    assert (await rig.first.claim([INPUT], {INPUT: 50}))[INPUT] == Claim(6, 50, {})


async def test_a_claim_tells_how_many_records_are_spooled(rig: Rig) -> None:
    whole = TopicPartition(INPUT.topic, 1)
    await rig.first.declare([INPUT, whole])
    rows = [SpoolRow(INPUT, lane, seq, record(seq + lane.incarnation * 10)) for lane in (UPSTREAM, LaneId("desk", 2)) for seq in (5, 6)]
    await write(rig, Changes(spooled=rows))
    assert await rig.first.claim([INPUT, whole]) == {INPUT: Claim(1, 0, {}, spooled=4), whole: Claim(1, 0, {})}


async def test_the_inbox_knows_what_was_seen(rig: Rig) -> None:
    await write(rig, Changes(inbox=[InboxMark("/b", "1", b"x", NOON), InboxMark("/a", "1", b"y", NOON)]))
    async with rig.first.begin() as transaction:
        assert await transaction.known([("/a", "1"), ("/b", "1"), ("/b", "2")]) == {("/a", "1"): b"y", ("/b", "1"): b"x"}
    await write(rig, Changes(inbox=[InboxMark("/b", "1", b"other", NOON, before=b"x"), InboxMark("/c", "1", b"c", NOON)]))
    for before in (None, b"x"):
        with pytest.raises(Collision):
            await write(rig, Changes(inbox=[InboxMark("/b", "2", b"z", NOON), InboxMark("/b", "1", b"third", NOON, before)]))
    async with rig.first.begin() as transaction:
        assert await transaction.known([("/b", "1"), ("/b", "2")]) == {("/b", "1"): b"other"}


# ---- timers ----


async def test_timers_by_due_rank_and_key(rig: Rig) -> None:
    soon, late = NOON, NOON + timedelta(seconds=5)
    timers = [
        timer("z", late),
        timer("b", soon, B),
        timer("a", soon, A, rank=60),
        timer("c", soon, A),
        timer("far", NOON + timedelta(days=9)),
        timer("elsewhere", soon, shard=1),
    ]
    await write(rig, Changes(timers_set=timers))
    due = await rig.first.timers_due([0], late, 10)
    assert [(one.key.id, one.name) for one in due] == [("a", "c"), ("b", "b"), ("a", "a"), ("a", "z")]
    assert due[0] == timer("c", soon, A)
    assert [one.name for one in await rig.first.timers_due([0, 1], soon, 2)] == ["c", "elsewhere"]
    assert await rig.first.next_timer([0, 1]) == soon
    assert await rig.first.next_timer([3]) is None


async def test_a_timer_fires_at_its_due_time_only(rig: Rig) -> None:
    await write(rig, Changes(timers_set=[timer("x"), timer("y"), timer("z")]))
    later = timer("x", NOON + timedelta(minutes=1), rank=10)
    await write(rig, Changes(timers_fired=[timer("x")], timers_set=[later], timers_cancelled=[(A, "y"), (B, "unknown")]))
    for stale in (timer("x"), timer("y")):
        with pytest.raises(Collision):
            await write(rig, Changes(timers_fired=[timer("z"), stale]))
    assert await rig.first.timers_due([0], NOON + timedelta(hours=1), 10) == [timer("z"), later]


async def test_a_timer_belongs_to_the_trace_of_who_set_it_last(rig: Rig) -> None:
    first, again = (replace(timer("x", due), trace=UUID(int=number)) for number, due in ((1, NOON), (2, NOON + timedelta(minutes=1))))
    await write(rig, Changes(timers_set=[first, timer("y")]))
    assert await rig.first.timers_due([0], NOON, 10) == [first, timer("y")]
    await write(rig, Changes(timers_set=[again]))
    assert await rig.first.timers_due([0], NOON + timedelta(hours=1), 10) == [timer("y"), again]


# ---- what is put aside ----


def kept(key: Key, offset: int, until: datetime = NOON, shard: int = 0) -> KeepRow:
    return KeepRow(key, until, record(offset), shard, False)


async def test_kept_messages_wait_for_their_row_or_their_deadline(rig: Rig) -> None:
    later = NOON + timedelta(hours=1)
    await write(rig, Changes(kept=[kept(A, 3), kept(B, 1, later), kept(A, 2, later), kept(C, 5, shard=1), kept(B, 3, later)]))
    async with rig.first.begin() as transaction:
        assert (await transaction.attached([A, B, Key("unit", "a")])).kept == {A, B}
        waiting = await transaction.kept_for([A])
        assert [(one.purpose, one.key, one.until, one.record) for one in waiting] == [
            ("kept", A, NOON, record(3)),
            ("kept", A, later, record(2)),
        ]
    assert [one.record.offset for one in await rig.first.stored_due([0], NOON, 10, False)] == [3]
    assert [one.record.offset for one in await rig.first.stored_due([0, 1], NOON, 10, True)] == [3, 1, 2, 5]
    assert [one.record.offset for one in await rig.first.stored_due([0, 1], NOON, 2, True)] == [3, 1]
    await write(rig, Changes(taken=waiting))
    with pytest.raises(Collision):
        await write(rig, Changes(taken=waiting[:1]))
    async with rig.first.begin() as transaction:
        assert not (await transaction.attached([A])).kept


@pytest.mark.parametrize(
    "put_aside",
    [Changes(kept=[kept(A, 3)]), Changes(quarantines=[Quarantine((A,), record(1), "ValueError", "boom")])],
    ids=["kept", "quarantined"],
)
async def test_whoever_has_not_looked_what_is_attached_writes_nothing_where_something_is(rig: Rig, put_aside: Changes) -> None:
    """Not even where it hangs on another row: who looks sees that."""
    async with rig.first.begin() as transaction:
        assert await transaction.attached([B]) is NOTHING_ATTACHED
        await transaction.write(put_aside, unattached=True)
    with pytest.raises(SomethingAttached):
        async with rig.first.begin() as transaction:
            await transaction.write(made(B), [message(1)], unattached=True)
    async with rig.first.begin() as transaction:
        assert await transaction.attached([B]) is not NOTHING_ATTACHED
        assert await transaction.load([B]) == {}
        assert [row.seq for row in await transaction.write(made(B), [message(1)])] == [1]


async def test_dead_letters_until_they_are_sent(rig: Rig) -> None:
    await write(rig, Changes(dead_letters=[DeadLetter(record(4), "Undecodable", "no\x00thing"), DeadLetter(record(2), "x" * 300, "y")]))
    await write(rig, Changes(dead_letters=[DeadLetter(record(4), "Again", "z")]))
    unsent = await rig.first.unsent_dead_letters(10)
    assert [letter for _, letter in unsent] == [DeadLetter(record(4), "Again", "z"), DeadLetter(record(2), "x" * 200, "y")]
    assert len(await rig.first.unsent_dead_letters(1)) == 1
    await rig.first.dead_letters_sent([unsent[0][0]])
    assert await rig.first.unsent_dead_letters(10) == unsent[1:]
    assert (await rig.first.depth())["dead_letters"] == 2


async def test_quarantined_rows_wait(rig: Rig) -> None:
    await write(rig, Changes(quarantines=[Quarantine((A, B), record(1), "ValueError", "boom"), Quarantine((B, C), None, "waits", "")]))
    await write(rig, Changes(quarantines=[Quarantine((A,), record(2), "waits", "behind")]))
    async with rig.first.begin() as transaction:
        assert (await transaction.attached([A, B, C, Key("unit", "a")])).quarantined == {A, B, C}
    assert (await rig.first.depth())["quarantined"] == 3
    assert [letter.reason for _, letter in await rig.first.unsent_dead_letters(10)] == ["ValueError", "waits"]
    assert await rig.first.stored_due([0], NOON, 10, True) == [], "nobody asked for a replay"


async def test_only_marks_that_nothing_waits_behind_are_lifted(rig: Rig) -> None:
    """Of what is replayed; others' stay."""
    boom = [Quarantine((A, B), record(1), "ValueError", "boom"), Quarantine((B, C), record(2), "waits", "", behind=())]
    await write(rig, Changes(quarantines=boom))
    first, second = await rig.ask_replay()
    assert (first.record, second.record) == (record(1), record(2))
    await write(rig, Changes(taken=[first]))
    async with rig.first.begin() as transaction:
        assert (await transaction.attached([A, B, C])).quarantined == {B, C}
    with pytest.raises(Collision):
        await write(rig, Changes(taken=[first]))
    await write(rig, Changes(taken=[second]))
    async with rig.first.begin() as transaction:
        assert not (await transaction.attached([A, B, C])).quarantined


async def test_spooled_records_are_ready_when_the_gap_has_closed(rig: Rig) -> None:
    spooled = [SpoolRow(INPUT, UPSTREAM, seq, record(seq + 10)) for seq in (5, 4, 6, 8)]
    await write(rig, Changes(spooled=spooled, marks=[LaneMark(INPUT, UPSTREAM, 2)]))
    await write(rig, Changes(spooled=[SpoolRow(INPUT, UPSTREAM, 4, record(90)), SpoolRow(INPUT, LaneId("desk", 2), 1, record(30))]))
    assert [one.record.offset for one in await rig.first.stored_due([1], NOON, 10, False)] == [30], "a lane's first needs no mark"
    await write(rig, Changes(marks=[LaneMark(INPUT, UPSTREAM, 4)]))
    ready = await rig.first.stored_due([0], NOON, 10, False)
    assert ready == [StoredInput(0, "spooled", record(offset)) for offset in (14, 15, 16, 30)], "one run, up to the next gap"
    assert await rig.first.stored_due([0], NOON, 2, False) == ready[:2]
    assert (await rig.first.depth())["spooled"] == 2
    await write(rig, Changes(taken=ready[:2], marks=[LaneMark(INPUT, UPSTREAM, 5)]))
    with pytest.raises(Collision):
        await write(rig, Changes(taken=ready[:1]))
    assert await rig.first.stored_due([0], NOON, 10, False) == ready[2:]


# ---- lanes out ----


async def test_lanes_are_numbered_kept_and_noted_as_sent(rig: Rig) -> None:
    async with rig.first.begin() as transaction:
        numbered = await transaction.write(Changes(), [message(1), message(2, OTHER_LANE), message(3)])
        assert [(row.seq, row.incarnation) for row in numbered] == [(1, 1), (1, 1), (2, 1)]
    async with rig.first.begin() as transaction:
        assert await transaction.write(Changes(), []) == []
        numbered += await transaction.write(Changes(), [message(4)])
    assert await rig.first.outbox(LANE, 0, 10) == [numbered[0], numbered[2], numbered[3]]
    assert await rig.first.outbox(LANE, 1, 1) == [numbered[2]]
    assert await rig.first.outbox(OTHER_LANE, 1, 10) == []
    await rig.first.sent({LANE: 2, OTHER_LANE: 0})
    await rig.first.sent({LANE: 1})
    assert await rig.first.lane_heads([LANE, OTHER_LANE, INPUT]) == {LANE: (1, 3, 2), OTHER_LANE: (1, 1, 0)}
    assert (await rig.first.depth())["outbox"] == 2
    assert await rig.first.incarnation() == 1


@pytest.mark.parametrize("many", [1, 200])
async def test_a_batch_of_any_size_is_written_whole_or_not_at_all(rig: Rig, many: int) -> None:
    """Rows of several kinds that are made, changed and removed, their history, timers, positions, lanes."""
    await rig.first.declare([INPUT])
    epoch = (await rig.first.claim([INPUT]))[INPUT].epoch
    await write(rig, Changes(rows=[*made(A).rows, *made(B).rows], timers_set=[timer("x")]))
    changes = Changes(
        rows=[
            *(unit(f"{n}") for n in range(many)),
            *changed(A, 1, 5).rows,
            RowChange(B, 1, 2, None),
            RowChange(C, 0, 0, None),
            *made(D).rows,
        ],
        history=[HistoryEntry(A, 2 + n, "Noted", Noted("a", n), NOON) for n in range(many)],
        timers_fired=[timer("x")],
        timers_set=[timer("x"), timer("y", key=D)],
        offsets=[OffsetMove(INPUT, epoch, 0, many)],
        marks=[LaneMark(INPUT, UPSTREAM, many)],
    )
    messages = [message(n, (LANE, OTHER_LANE)[n % 2]) for n in range(many)]
    for taken in (unit("0"), *made(D).rows, RowChange(A, 1, 2, counter(A, 4))):
        await write(rig, Changes(rows=[taken]))
        with pytest.raises(Collision):
            await write_all(rig, changes, messages)
        await write(rig, Changes(rows=[RowChange(taken.key, taken.version, taken.version + 1, None)]))
        if taken.key == A:
            await write(rig, made(A))
    assert ((await rig.first.lane_heads([LANE]))[LANE], [one async for one in rig.first.history()]) == ((1, 0, 0), [])
    numbered = await write_all(rig, changes, messages)
    assert await rig.first.rows("counter", ["a", "b", "c", "d"]) == {"a": Row(2, counter(A, 5)), "d": Row(1, counter(D, 1))}
    assert len(await rig.first.rows("unit", [f"a/{n}" for n in range(many)])) == many
    assert [(key, version) async for key, version, _ in rig.first.history()] == [(A, 2 + n) for n in range(many)]
    assert [(row.seq, row.row) for row in numbered] == [(1 + n // 2, one) for n, one in enumerate(messages)]
    assert await rig.first.outbox(LANE, 0, many) == numbered[::2]
    assert await rig.first.timers_due([0], NOON, 10) == [timer("x"), timer("y", key=D)]
    claim = (await rig.first.claim([INPUT]))[INPUT]
    assert (claim.offset, claim.marks) == (many, {UPSTREAM: many})
    with pytest.raises(NotOwner):
        await write_all(rig, Changes(offsets=changes.offsets, history=changes.history), messages)


async def write_all(rig: Rig, changes: Changes, messages: list[OutboxRow]) -> list[LaneRow]:
    async with rig.first.begin() as transaction:
        numbered: list[LaneRow] = await transaction.write(changes, messages)
        return numbered


async def test_only_sent_rows_and_old_marks_are_pruned(rig: Rig) -> None:
    async with rig.first.begin() as transaction:
        numbered = await transaction.write(Changes(), [message(1), message(2), message(3, OTHER_LANE)])
        await transaction.write(Changes(inbox=[InboxMark("/a", "1", b"x", NOON), InboxMark("/a", "2", b"x", NOON + timedelta(days=1))]))
    await rig.first.sent({LANE: 1})
    before, after = datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC) + timedelta(minutes=1)
    assert await rig.first.prune_outbox([LANE, OTHER_LANE], before) == 0
    assert await rig.first.prune_outbox([OTHER_LANE], after) == 0
    assert await rig.first.prune_outbox([LANE, OTHER_LANE], after) == 1
    assert await rig.first.prune_inbox(NOON) == 0
    assert await rig.first.prune_inbox(NOON + timedelta(seconds=1)) == 1
    assert await rig.first.outbox(LANE, 0, 10) == [numbered[1]]
    assert await rig.first.outbox(OTHER_LANE, 0, 10) == [numbered[2]]
    async with rig.first.begin() as transaction:
        assert set(await transaction.known([("/a", "1"), ("/a", "2")])) == {("/a", "2")}


async def test_so_many_rows_of_a_lane_are_pruned_at_once_the_oldest_first(rig: Rig) -> None:
    count = PRUNED_AT_ONCE + 3
    async with rig.first.begin() as transaction:
        await transaction.write(Changes(), [message(number) for number in range(count)] + [message(1, OTHER_LANE)])
    await rig.first.sent({LANE: count, OTHER_LANE: 1})
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await rig.first.prune_outbox([LANE, OTHER_LANE], later) == PRUNED_AT_ONCE + 1
    assert [row.seq for row in await rig.first.outbox(LANE, 0, 10)] == [count - 2, count - 1, count]
    assert await rig.first.prune_outbox([LANE, OTHER_LANE], later) == 3


# ---- state topics ----


def shown(version: int, offset: int, id: str = "a") -> ReadBack:
    return ReadBack("shown", id, version, offset)


async def test_a_row_is_dirty_until_its_topic_shows_its_version(rig: Rig) -> None:
    await write(rig, Changes(rows=[*made(A).rows, *made(B).rows, RowChange(C, 0, 2, counter(C, 1))]))
    assert await rig.first.read_back([shown(1, 10), shown(1, 11, "c")]) == []
    assert await rig.first.dirty("shown", "counter", "", 10) == [("b", Row(1, counter(B, 1))), ("c", Row(2, counter(C, 1)))]
    assert [id for id, _ in await rig.first.dirty("shown", "counter", "", 1)] == ["b"]
    assert [id for id, _ in await rig.first.dirty("shown", "counter", "b", 10)] == ["c"]
    await write(rig, changed(A, 1, 2))
    assert [id for id, _ in await rig.first.dirty("shown", "counter", "", 10)] == ["a", "b", "c"]


async def test_a_document_older_than_one_before_it_is_told(rig: Rig) -> None:
    """Marks move by offset only: what compaction will keep is what counts."""
    assert await rig.first.read_back([shown(3, 10)]) == []
    assert await rig.first.read_back([shown(2, 11)]) == ["a"]
    assert await rig.first.read_back([shown(2, 11), shown(9, 5)]) == [], "read before"
    assert await rig.first.read_back([shown(3, 12), shown(4, 13)]) == []
    assert await rig.first.read_back([shown(7, 15), shown(6, 16), shown(1, 4, "b")]) == ["a"], "read at once"


async def test_depths_count_what_waits(rig: Rig) -> None:
    assert await rig.first.depth() == {"outbox": 0, "dead_letters": 0, "quarantined": 0, "spooled": 0, "kept": 0, "timers": 0}
    changes = Changes(timers_set=[timer("x"), timer("y")], kept=[kept(A, 1)], rows=[RowChange(A, 0, 1, None, empty=True)])
    await write(rig, changes)
    assert await rig.first.depth() == {"outbox": 0, "dead_letters": 0, "quarantined": 0, "spooled": 0, "kept": 1, "timers": 2}
