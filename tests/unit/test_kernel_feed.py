"""In which order inputs are taken, and what waits for what, so that nothing is judged on old state."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from shared.kernel.feed import PAUSE_ABOVE, RESUME_BELOW, WAIT_AT_MOST_MS, Feed
from shared.kernel.memory_log import Broker, MemoryReader
from shared.kernel.ports import Record, TopicPartition
from shared.kernel.real import RealClock

FACTS, MORE_FACTS = TopicPartition("facts", 0), TopicPartition("facts", 1)
EVENTS, MORE_EVENTS = TopicPartition("events", 0), TopicPartition("events", 1)
NOW = 1_000_000


class Fetched(MemoryReader):
    """A reader that has come as far as it is told."""

    def __init__(self, ends: Mapping[TopicPartition, int], positions: Mapping[TopicPartition, int]) -> None:
        super().__init__(Broker(RealClock()), "group", "r-0", ())
        self._ends = dict(ends)
        self._positions = dict(positions)


def record(at: TopicPartition, offset: int, appended_ms: int) -> Record:
    return Record(*at, offset, appended_ms, b"k", b"{}")


def feed(**claims: int) -> Feed:
    """Reads the partitions named (`events=3`: from offset 0 to the end 3), and has fetched nothing."""
    feed = Feed(lambda topic: topic == "facts")
    for name, end in claims.items():
        feed.claim(TopicPartition(name.rstrip("_"), int(name.endswith("_"))), 0, end)
    return feed


def push(feed: Feed, *records: Record, ends: Mapping[TopicPartition, int] | None = None, **positions: int) -> None:
    feed.push(records, Fetched(ends or {}, {TopicPartition(topic, 0): offset for topic, offset in positions.items()}))


def taken(feed: Feed, now_ms: int = NOW, limit: int = 100) -> list[tuple[str, int]]:
    return [(one.topic, one.offset) for one in feed.take(limit, now_ms)[0]]


# ---- order ----


def test_heads_are_merged_by_append_time_and_partitions_keep_their_order() -> None:
    """Also where append times step back within a partition."""
    one = feed(events=3, facts=2)
    push(one, record(EVENTS, 0, 50), record(EVENTS, 1, 20), record(EVENTS, 2, 60), record(FACTS, 0, 40), record(FACTS, 1, 55))
    assert taken(one) == [("facts", 0), ("events", 0), ("events", 1), ("facts", 1), ("events", 2)]
    assert one.newest_ms == 60


def test_once_records_may_be_lost_nothing_is_taken_or_judged_until_all_is_claimed_again() -> None:
    """What is fetched next may lie behind what was lost: taken now, the lost ones would be passed over for ever."""
    one = feed(facts=3)
    push(one, record(FACTS, 0, 10))
    one.lose()
    push(one, record(FACTS, 2, 30))
    assert (taken(one), one.horizon_ms()) == ([], -math.inf)
    one.drop([FACTS])
    one.claim(FACTS, 0, 3)
    push(one, record(FACTS, 0, 10), record(FACTS, 1, 20), record(FACTS, 2, 30))
    assert taken(one) == [("facts", 0), ("facts", 1), ("facts", 2)]


def test_what_was_fetched_twice_or_is_not_claimed_is_passed_over() -> None:
    one = feed(events=9)
    push(one, record(EVENTS, 0, 10), record(EVENTS, 1, 11))
    push(one, record(EVENTS, 1, 11), record(EVENTS, 2, 12), record(MORE_EVENTS, 0, 1))
    assert taken(one) == [("events", 0), ("events", 1), ("events", 2)]


def test_what_was_given_back_comes_first_again() -> None:
    one = feed(events=3)
    push(one, record(EVENTS, 0, 10), record(EVENTS, 1, 11), record(EVENTS, 2, 12))
    records, _ = one.take(2, NOW)
    one.give_back(records)
    assert taken(one) == [("events", 0), ("events", 1), ("events", 2)]


def test_no_more_is_taken_than_asked_for() -> None:
    one = feed(events=3)
    push(one, *(record(EVENTS, offset, 10) for offset in range(3)))
    assert taken(one, limit=2) == [("events", 0), ("events", 1)]
    assert one.lag() == {EVENTS: 1}


# ---- what waits ----


def test_an_external_record_waits_while_internal_ones_are_unread_at_the_broker() -> None:
    one = feed(events=2, facts=1)
    push(one, record(FACTS, 0, 90))
    assert taken(one) == []
    push(one, record(EVENTS, 0, 10))
    assert taken(one) == [("events", 0)], "one more may be older, too"
    push(one, record(EVENTS, 1, 95))
    assert taken(one) == [("facts", 0), ("events", 1)]


def test_an_internal_record_waits_for_nothing() -> None:
    one = feed(events=1, events_=5, facts=3)
    push(one, record(EVENTS, 0, 99))
    assert taken(one) == [("events", 0)]


def test_external_records_do_not_wait_for_each_other() -> None:
    one = feed(facts=1, facts_=5, events=0)
    push(one, record(FACTS, 0, 99))
    assert taken(one) == [("facts", 0)]


def test_an_end_that_moved_meanwhile_counts() -> None:
    """The end that the latest fetch told, not the one at the claim."""
    one = feed(events=0, facts=1)
    push(one, record(FACTS, 0, 90), ends={EVENTS: 1})
    assert taken(one) == []


@pytest.mark.parametrize("external", [True, False])
def test_a_partition_read_to_its_end_is_not_behind_although_no_record_is_there(external: bool) -> None:
    """The last offsets may be a transaction's marker, or have expired: nothing will ever come for them."""
    one = feed(events=3, facts=4)
    push(one, *([record(EVENTS, 0, 10)] if external else [record(FACTS, 3, 10)]), events=3, facts=4)
    assert len(taken(one)) == 1
    assert one.horizon_ms() == math.inf


# ---- how long ----


def test_the_wait_has_a_bound_and_what_waited_is_late() -> None:
    one = feed(events=1, facts=2)
    push(one, record(FACTS, 0, 90))
    assert one.take(9, NOW) == ([], False)
    assert one.take(9, NOW + WAIT_AT_MOST_MS) == ([], False)
    records, late = one.take(9, NOW + WAIT_AT_MOST_MS + 1)
    assert ([each.offset for each in records], late) == ([0], True)


def test_the_wait_is_over_when_nothing_is_behind() -> None:
    """The next one has a bound of its own; all are counted."""
    one = feed(events=1, facts=2)
    push(one, record(FACTS, 0, 90))
    assert taken(one, NOW) == []
    push(one, record(EVENTS, 0, 10))
    assert taken(one, NOW + 500) == [("events", 0), ("facts", 0)]
    push(one, record(FACTS, 1, 95), ends={EVENTS: 2})
    assert one.take(9, NOW + WAIT_AT_MOST_MS + 1) == ([], False)
    assert (one.held.count, one.held.over_ms, one.held.lasts_ms(NOW + WAIT_AT_MOST_MS + 31)) == (2, 500, 30)


# ---- the horizon of timers ----


def test_timers_wait_for_every_input_external_ones_too() -> None:
    one = feed(events=1, facts=1)
    assert one.horizon_ms() == -math.inf, "what is unread at the broker may be of any time"
    push(one, record(EVENTS, 0, 70), record(FACTS, 0, 80))
    assert one.horizon_ms() == 70
    assert taken(one, limit=1) == [("events", 0)]
    assert one.horizon_ms() == 80
    assert taken(one) == [("facts", 0)]
    assert one.horizon_ms() == math.inf


# ---- bounded queues ----


def test_a_partition_with_too_much_queued_is_paused_until_most_of_it_is_taken() -> None:
    one = feed(events=10_000)
    push(one, *(record(EVENTS, offset, 10) for offset in range(PAUSE_ABOVE + 1)))
    assert (one.to_pause(), one.to_pause(), one.to_resume()) == ([EVENTS], [], [])
    one.take(PAUSE_ABOVE + 2 - RESUME_BELOW, NOW)
    assert (one.to_resume(), one.to_resume()) == ([EVENTS], [])
