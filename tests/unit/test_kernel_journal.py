"""The journal of a service: what is written of a commit is read again, whole or not at all."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.kernel import journal as journals
from shared.kernel.codec import lane_record
from shared.kernel.journal import Journal, JournalUnreadable, entries
from shared.kernel.model import Key
from shared.kernel.ports import Changes, HistoryEntry, InboxMark, LaneRow, OffsetMove, OutboxRow, Record, RowChange, TopicPartition
from shared.value import replace
from tests.support.counting import HOUSE, Counter, Opened
from tests.support.small_world import START

CAUSE = UUID(int=7)
A = Key("counter", "a")
ASKS = TopicPartition("oms.asks", 0)
MESSAGE = OutboxRow("oms.added", 0, "a", "Added", str(UUID(int=1)), START, "c", "d", "e", "counter/a", 1, b"{}")


def changes(number: int) -> Changes:
    return Changes(
        rows=[RowChange(A, number - 1, number, Counter("a", 0, 0))],
        history=[HistoryEntry(A, number, "Opened", Opened("a"), START)],
        inbox=[InboxMark(source="/s", id=f"{number}", digest=bytes(range(200, 256)) * 5, at=START)],
        offsets=[OffsetMove(at=ASKS, epoch=3, loaded=number, next=number + 1)],
    )


def written(commits: int) -> list[Record]:
    """The topic, as the publisher makes it."""
    journal, records = Journal(HOUSE), list[Record]()
    for number in range(1, commits + 1):
        for row in journal.rows(changes(number), [MESSAGE], CAUSE, START):
            out = lane_record("house", LaneRow(len(records) + 1, 1, row))
            records.append(Record(*journal.at, len(records), 0, out.key, out.value, tuple(out.headers)))
    return records


def read(records: list[Record], after: int = 0) -> list[tuple[int, int | None]]:
    """(sequence, offset its commit had read on from) of each entry; None where it is not whole."""
    return [(one.seq, one.entry.offsets[0].loaded if one.entry is not None else None) for one in entries(records, "house", after)]


def test_an_entry_says_all_that_its_commit_wrote() -> None:
    [one] = entries(written(1), "house", 0)
    assert one.entry is not None
    entry, made = one.entry, changes(1)
    assert (entry.inbox, entry.offsets, entry.messages) == (made.inbox, made.offsets, [MESSAGE])
    assert [(row.key, row.base, row.version, row.empty) for row in entry.rows] == [(A, 0, 1, False)]
    assert [(folded.key, folded.version, folded.type, folded.at) for folded in entry.folded] == [(A, 1, "Opened", START)]


def test_only_what_the_database_lacks_is_read() -> None:
    assert read(written(4), after=2) == [(3, 3), (4, 4)]


def test_records_that_come_again_are_passed_over() -> None:
    records = written(3)
    assert read([*records[:2], records[0], records[1], *records]) == [(1, 1), (2, 2), (3, 3)]


def test_a_journal_that_begins_too_late_is_refused() -> None:
    with pytest.raises(JournalUnreadable, match="2 follows 0"):
        read(written(3)[1:])


def test_a_large_commit_is_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "PART_BYTES", 60)
    records = written(2)
    each = len(records) // 2
    assert each > 1
    assert read(records) == [(each, 1), (2 * each, 2)]


def test_a_commit_whose_last_parts_are_missing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of it was sent, either; what comes after it counts."""
    monkeypatch.setattr(journals, "PART_BYTES", 60)
    records = written(2)
    each = len(records) // 2
    torn = records[: each + 1]
    assert read(torn) == [(each, 1), (each + 1, None)]
    later = [_numbered(record, each + 2 + index) for index, record in enumerate(records[each:])]
    assert read([*torn, *later]) == [(each, 1), (each + 1, None), (2 * each + 1, 2)]


def _numbered(record: Record, seq: int) -> Record:
    return replace(record, headers=tuple((name, str(seq).encode() if name == "ce_seq" else value) for name, value in record.headers))


def test_what_is_no_entry_is_named() -> None:
    [record] = written(1)
    with pytest.raises(JournalUnreadable, match=r"oms\.house\.journal\.v1/0/0"):
        read([replace(record, value=b"nonsense")])
