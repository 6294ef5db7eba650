"""The log's contract, kept by Kafka and by memory alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from deploy.fleet import kafka_connection
from shared.kernel import kafka, memory_log
from shared.kernel.kafka import MissingTopic
from shared.kernel.ports import Expired, Outgoing, ProduceFailed, Reader, Record, TopicPartition
from tests.support.log_rigs import KafkaLogRig, LogRig, MemoryLogRig, assigned, fetched, until


@pytest.fixture(params=["kafka", "memory"])
def kind_of_rig(request: pytest.FixtureRequest) -> Callable[[], LogRig]:
    if request.param == "memory":
        return MemoryLogRig
    connection = kafka_connection(request.getfixturevalue("settings"))
    return lambda: KafkaLogRig(connection)


@pytest.fixture
async def rig(kind_of_rig: Callable[[], LogRig], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LogRig]:
    monkeypatch.setattr(kafka, "SESSION_TIMEOUT_MS", 2500)
    monkeypatch.setattr(kafka, "HEARTBEAT_MS", 200)
    monkeypatch.setattr(memory_log, "SESSION_TIMEOUT_S", 2.5)
    rig = kind_of_rig()
    yield rig
    await rig.close()


def numbered(*numbers: int) -> list[Outgoing]:
    return [Outgoing(b"k%d" % number, b"v%d" % number, (("n", b"%d" % number),)) for number in numbers]


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


async def one_partition(rig: LogRig) -> TopicPartition:
    return TopicPartition(await rig.topic(1), 0)


async def reading(rig: LogRig, at: TopicPartition, offset: int = 0) -> Reader:
    reader = await rig.reader("r-0", at.topic)
    await assigned(reader, at)
    reader.seek(at, offset)
    return reader


# ---- appending and reading ----


async def test_records_come_as_they_were_appended(rig: LogRig) -> None:
    at = await one_partition(rig)
    writer = await rig.writer()
    before_ms = int(time.time() * 1000)
    assert await writer.send({at: [Outgoing(b"key", b"value", (("a", b"1"), ("b", b""))), Outgoing(b"", None, ())]}) == {at: 2}
    first, second = await fetched(await reading(rig, at), 2)
    assert (first.at, first.offset, first.key, first.value, first.headers) == (at, 0, b"key", b"value", (("a", b"1"), ("b", b"")))
    assert (second.offset, second.key, second.value, second.headers) == (1, b"", None, ())
    assert before_ms - 1 <= first.appended_ms == second.appended_ms <= time.time() * 1000 + 1, "one batch, one append time, the broker's"


async def test_each_destination_keeps_its_order(rig: LogRig) -> None:
    topic = await rig.topic(2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    writer = await rig.writer()
    assert await writer.send({one: numbered(1, 2), two: numbered(3)}) == {one: 2, two: 1}
    assert await writer.send({two: numbered(4, 5)}) == {two: 2}
    follower = await rig.follower(one, two)
    records = await fetched(follower, 5)
    assert values([r for r in records if r.at == one]) == [b"v1", b"v2"]
    assert values([r for r in records if r.at == two]) == [b"v3", b"v4", b"v5"]


async def test_a_partition_is_silent_until_it_is_sought(rig: LogRig) -> None:
    at = await one_partition(rig)
    await (await rig.writer()).send({at: numbered(1, 2, 3)})
    reader = await rig.reader("r-0", at.topic)
    await assigned(reader, at)
    assert await reader.fetch(0.3) == []
    reader.seek(at, 1)
    assert values(await fetched(reader, 2)) == [b"v2", b"v3"]
    assert reader.end(at) == 3
    reader.seek(at, 0)
    assert values(await fetched(reader, 3)) == [b"v1", b"v2", b"v3"], "and may be sought again"
    assert (reader.end(TopicPartition(at.topic, 7)), reader.position(TopicPartition(at.topic, 7))) == (None, None)


async def test_a_paused_partition_waits(rig: LogRig) -> None:
    topic = await rig.topic(2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    reader = await rig.reader("r-0", topic)
    await assigned(reader, one, two)
    reader.seek(one, 0)
    reader.seek(two, 0)
    reader.pause([one])
    await (await rig.writer()).send({one: numbered(1), two: numbered(2)})
    assert values(await fetched(reader, 1)) == [b"v2"]
    assert await reader.fetch(0.3) == []
    reader.resume([one])
    assert values(await fetched(reader, 1)) == [b"v1"]


async def test_offsets_may_be_sparse(rig: LogRig) -> None:
    at = await one_partition(rig)
    await rig.append_with_marker(at, *numbered(1))
    await (await rig.writer()).send({at: numbered(2)})
    await rig.append_with_marker(at, *numbered(3))
    reader = await reading(rig, at)
    assert reader.position(at) == 0
    assert [(r.offset, r.value) for r in await fetched(reader, 3)] == [(0, b"v1"), (2, b"v2"), (3, b"v3")]
    assert (reader.end(at), reader.position(at)) == (5, 5), "read to its end, although no record is behind the last offset"
    follower = await rig.follower(at)
    await fetched(follower, 3)
    await until(lambda: follower.position(at) == 5, follower)
    assert await rig.topics().ends([at]) == {at: 5}


async def test_records_that_expired_are_missed_aloud(rig: LogRig) -> None:
    at = await one_partition(rig)
    await (await rig.writer()).send({at: numbered(1, 2, 3)})
    await rig.expire(at, 2)
    assert await rig.topics().bounds([at]) == {at: (2, 3)}
    reader = await reading(rig, at)
    with pytest.raises(Expired):
        await fetched(reader, 1)
    reader.seek(at, 2)
    assert values(await fetched(reader, 1)) == [b"v3"]
    assert values(await fetched(await rig.follower(at), 1)) == [b"v3"], "who begins at the beginning begins at what is left"


# ---- what a writer may hear ----


async def test_a_batch_larger_than_the_broker_takes_is_cut(rig: LogRig) -> None:
    at = await one_partition(rig)
    writer = await rig.writer()
    large = [Outgoing(b"k", bytes(400_000), ()) for _ in range(4)]
    assert await writer.send({at: large}) == {at: 2}
    assert await writer.send({at: large[2:]}) == {at: 2}
    with pytest.raises(ProduceFailed):
        await writer.send({at: [Outgoing(b"k", bytes(1_100_000), ())]})
    assert await writer.send({at: numbered(1)}) == {at: 1}
    assert [len(record.value or b"") for record in await fetched(await rig.follower(at), 5)] == [400_000] * 4 + [2]


@pytest.mark.parametrize("taken", [True, False])
async def test_what_was_not_acknowledged_may_be_there_or_not(rig: LogRig, taken: bool) -> None:
    """Sent again from the tail nothing is missing, and nothing of the failed attempt comes later."""
    at = await one_partition(rig)
    writer = await rig.writer()
    await writer.send({at: numbered(1)})
    rig.fail_next_send(writer, taken)
    with pytest.raises(ProduceFailed):
        await writer.send({at: numbered(2)})
    assert await writer.send({at: numbered(2, 3)}) == {at: 2}
    expected = [b"v1", b"v2", b"v2", b"v3"] if taken else [b"v1", b"v2", b"v3"]
    follower = await rig.follower(at)
    assert values(await fetched(follower, len(expected))) == expected
    assert await follower.fetch(0.3) == []


# ---- reading outside the group ----


async def test_a_follower_reads_all_there_is_and_goes_on(rig: LogRig) -> None:
    topic = await rig.topic(2, compacted=True)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    writer = await rig.writer()
    await writer.send({one: numbered(1, 2)})
    follower = await rig.follower(one, two)
    assert values(await fetched(follower, 2)) == [b"v1", b"v2"]
    assert (follower.position(one), follower.position(two)) == (2, 0)
    assert await follower.fetch(0.1) == []
    await writer.send({two: numbered(3)})
    assert values(await fetched(follower, 1)) == [b"v3"]
    assert follower.position(two) == 1


async def test_a_follower_reads_on_from_where_it_is_told(rig: LogRig) -> None:
    """The other partitions from their beginning."""
    topic = await rig.topic(2, compacted=True)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await (await rig.writer()).send({one: numbered(1, 2, 3), two: numbered(4)})
    follower = await rig.follower(one, two, since={one: 2})
    assert sorted(r.value or b"" for r in await fetched(follower, 2)) == [b"v3", b"v4"]
    assert (follower.position(one), follower.position(two)) == (3, 1)
    assert await (await rig.follower(one, since={one: 3})).fetch(0.3) == []


async def test_topics_tell_what_was_appended_later(rig: LogRig) -> None:
    """The first such record; none where nothing was."""
    topic = await rig.topic(3)
    one, two, three = (TopicPartition(topic, number) for number in range(3))
    writer = await rig.writer()
    await writer.send({one: numbered(1, 2), two: numbered(3)})
    early = (await fetched(await rig.follower(one), 2))[1].appended_ms
    await asyncio.sleep(0.01)
    await writer.send({one: numbered(4, 5)})
    assert await rig.topics().appended_after({one: early, two: early + 60_000, three: 0}) == {one: 2}
    assert await rig.topics().appended_after({one: early - 1}) == {one: 0}
    assert await rig.topics().appended_after({}) == {}


async def test_topics_tell_for_how_long_deletions_are_told(rig: LogRig) -> None:
    """The least of all of them."""
    names = [await rig.topic(1, compacted=True) for _ in range(2)]
    assert await rig.topics().deletions_kept_ms(names) == rig.deletions_kept_ms


async def test_topics_tell_their_bounds_and_tails(rig: LogRig) -> None:
    topic = await rig.topic(2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await (await rig.writer()).send({one: numbered(1, 2, 3)})
    topics = rig.topics()
    assert await topics.partitions(topic) == 2
    assert await topics.ends([one, two]) == {one: 3, two: 0}
    assert await topics.bounds([one, two]) == {one: (0, 3), two: (0, 0)}
    tails = await topics.tails([one, two], 2)
    assert {at: values(records) for at, records in tails.items()} == {one: [b"v2", b"v3"], two: []}
    assert await topics.tails([], 2) == {}
    with pytest.raises(MissingTopic):
        await topics.partitions(f"{topic}-unknown")


# ---- the group ----


async def test_partitions_are_assigned_by_range_and_anew_when_somebody_joins(rig: LogRig) -> None:
    topic, other = await rig.topic(3), await rig.topic(1)
    first = await rig.reader("r-0", topic, other)
    await assigned(first, *(TopicPartition(topic, p) for p in range(3)), TopicPartition(other, 0))
    alone = first.assignment().generation
    assert alone > 0
    second = await rig.reader("r-1", topic, other)
    await assigned(second, TopicPartition(topic, 2), beside=(first,))
    await assigned(first, TopicPartition(topic, 0), TopicPartition(topic, 1), TopicPartition(other, 0), beside=(second,))
    assert first.assignment().generation > alone, "everybody gives up everything first"


async def test_what_was_read_before_a_rebalance_is_silent_after_it(rig: LogRig) -> None:
    topic = await rig.topic(2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    first = await rig.reader("r-0", topic)
    await assigned(first, one, two)
    first.seek(one, 0)
    second = await rig.reader("r-1", topic)
    await assigned(first, one, beside=(second,))
    await (await rig.writer()).send({one: numbered(1)})
    assert await first.fetch(0.3) == []
    first.seek(one, 0)
    assert values(await fetched(first, 1)) == [b"v1"]


async def test_a_static_member_that_comes_back_disturbs_nobody(rig: LogRig) -> None:
    topic = await rig.topic(2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    first, second = await rig.reader("r-0", topic), await rig.reader("r-1", topic)
    await assigned(first, one, beside=(second,))
    await assigned(second, two, beside=(first,))
    generation = first.assignment().generation
    await second.stop()
    again = await rig.reader("r-1", topic)
    await assigned(again, two, beside=(first,))
    assert first.assignment() == (generation, frozenset([one]))


async def test_who_is_silent_for_a_session_is_replaced(rig: LogRig) -> None:
    topic = await rig.topic(2)
    one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
    first, second = await rig.reader("r-0", topic), await rig.reader("r-1", topic)
    await assigned(first, one, beside=(second,))
    await assigned(second, two, beside=(first,))
    await second.stop()
    await assigned(first, one, two)
