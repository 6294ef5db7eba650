"""What was committed waits until it can't be lost: every standby or the archive has it, and the journal tells of it."""

from __future__ import annotations

import pytest

from shared.kernel import gate as gates
from shared.kernel.gate import UNKNOWN, Gate, Waiting
from shared.kernel.ports import Horizon, Row, TopicPartition
from shared.kernel.postgres_horizon import end_of

LANE, JOURNAL = TopicPartition("oms.added", 0), TopicPartition("oms.desk.journal.v1", 0)


def commit(seq: int, journal: int = UNKNOWN) -> Waiting:
    return Waiting({LANE: seq}, journal=journal)


def at(committed: int) -> Horizon:
    return Horizon("one", committed, 0)


def sequences(passed: list[Waiting]) -> list[int]:
    return [one.heads[LANE] for one in passed]


def test_nothing_passes_before_its_position_is_held() -> None:
    gate = Gate(gated=True, journal=None)
    for seq, position in ((1, 100), (2, 200)):
        gate.wait(commit(seq))
        gate.place(gate.unplaced(), at(position))
    passed = []
    for held in (99, 100, 199, 200):
        gate.held(held)
        passed.append(sequences(gate.journaled(0)))
    assert passed == [[], [1], [], [2]]
    assert not gate


def test_what_is_committed_while_the_database_answers_is_not_covered_by_the_answer() -> None:
    gate = Gate(gated=True, journal=None)
    gate.wait(commit(1))
    asked = gate.unplaced()
    gate.wait(commit(2))
    gate.place(asked, at(100))
    gate.held(1_000)
    assert sequences(gate.journaled(0)) == [1]
    assert gate.wants_horizon()


def test_messages_wait_until_the_journal_has_told_of_them() -> None:
    gate = Gate(gated=False, journal=JOURNAL)
    gate.wait(commit(5, journal=1))
    gate.wait(commit(6, journal=2))
    assert gate.held(0) == 2, "the journal itself may go at once"
    assert [sequences(gate.journaled(seq)) for seq in (0, 1, 2)] == [[], [5], [6]]


def test_the_journal_waits_for_the_standby_too() -> None:
    gate = Gate(gated=True, journal=JOURNAL)
    gate.wait(commit(5, journal=1))
    gate.place(gate.unplaced(), at(100))
    assert gate.held(99) == 0
    assert gate.held(100) == 1


def test_what_nobody_told_of_is_covered_by_the_journals_head() -> None:
    gate = Gate(gated=False, journal=JOURNAL)
    gate.wait(commit(5))
    gate.held(0)
    assert gate.journaled(1_000) == [], "its journal isn't known"
    gate.journal_head(gate.unplaced(), 7)
    gate.held(0)
    assert gate.journaled(6) == []
    assert sequences(gate.journaled(7)) == [5]


def test_while_nothing_passes_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed last joins what waits last, and passes with it: the newest heads and documents, at the later position."""
    monkeypatch.setattr(gates, "MOST_WAITING", 2)
    gate = Gate(gated=True, journal=None)
    for seq in (1, 2, 3):
        waiting = commit(seq)
        waiting.states = {"oms.shown": {"a": Row(seq, "state"), f"b{seq}": Row(1, "state")}}
        gate.wait(waiting)
        gate.place(gate.unplaced(), at(100 * seq))
    gate.held(299)
    assert sequences(gate.journaled(0)) == [1]
    gate.held(300)
    [last] = gate.journaled(0)
    assert last.heads == {LANE: 3}
    assert last.states == {"oms.shown": {"a": Row(3, "state"), "b2": Row(1, "state"), "b3": Row(1, "state")}}


@pytest.mark.parametrize(
    ("file", "segment_bytes", "end"),
    [
        ("000000010000000000000003", 16 << 20, 4 * (16 << 20)),
        ("0000000200000001000000FF", 16 << 20, 2 << 32),
        ("000000010000000A00000000", 1 << 30, (10 << 32) + (1 << 30)),
    ],
)
def test_an_archived_file_holds_everything_up_to_its_end(file: str, segment_bytes: int, end: int) -> None:
    assert end_of(file, segment_bytes) == end
