"""The sum that stands for a partition of documents: equal for whoever has read the same, other as soon as one is missing or older."""

from __future__ import annotations

from deploy.audit.trail import MOST_STEPS, Trail
from schemas.topics import AVAILABILITY, LOCATIONS, Topic
from shared.kernel.contents import Contents, version_of
from shared.kernel.ports import Record


def document(offset: int, key: str, version: int, *, incarnation: int = 1, value: bytes | None = b"{}") -> Record:
    headers = (("ce_lane", f"inventory/{incarnation}".encode()), ("ce_seq", str(version).encode()))
    return Record(AVAILABILITY.name, 0, offset, 0, key.encode(), value, headers)


def reference(offset: int, key: str) -> Record:
    return Record(LOCATIONS.name, 0, offset, 0, key.encode(), b"{}", ())


def contents(*records: Record, topic: Topic = AVAILABILITY) -> Contents:
    made = Contents()
    for record in records:
        version, key = made.news(record, topic), record.key or b""
        if version is not None and record.value is not None:
            made.show(key, version)
        elif version is not None:
            made.hide(key, version)
    return made


def test_repeats_and_older_documents_change_nothing() -> None:
    one, two, newer = document(0, "a", 1), document(1, "b", 4), document(2, "a", 2)
    assert contents(one, two, newer).seen(3) == contents(two, newer, one, newer, two).seen(3)


def test_a_document_that_was_lost_shows() -> None:
    one, two = document(0, "a", 1), document(1, "b", 1)
    assert contents(one, two).seen(2).sum != contents(one).seen(2).sum


def test_an_older_document_shows() -> None:
    assert contents(document(0, "a", 1)).seen(2).sum != contents(document(0, "a", 1), document(1, "a", 2)).seen(2).sum


def test_a_new_incarnation_is_newer_than_every_version_before_it() -> None:
    restored = document(1, "a", 1, incarnation=2)
    assert contents(document(0, "a", 9), restored).seen(2) == contents(restored).seen(2)


def test_a_document_that_is_gone_counts_no_more() -> None:
    assert contents(document(0, "a", 1), document(1, "a", 2, value=None)).seen(2) == contents().seen(2)


def test_a_document_that_could_not_be_read_shows() -> None:
    unread, version = Contents(), version_of(1, 1)
    assert unread.news(document(0, "a", 1), AVAILABILITY) == version
    unread.hide(b"a", version)
    assert unread.seen(1).sum != contents(document(0, "a", 1)).seen(1).sum


def test_reference_data_counts_by_its_last_record() -> None:
    first, again = reference(0, "paris"), reference(1, "paris")
    assert contents(first, topic=LOCATIONS).seen(2).sum != contents(first, again, topic=LOCATIONS).seen(2).sum
    assert contents(first, again, topic=LOCATIONS).seen(2) == contents(again, topic=LOCATIONS).seen(2)


def test_a_reader_is_judged_where_it_is_and_not_before_the_trail_was_whole() -> None:
    trail = Trail()
    trail.note(document(3, "a", 1), AVAILABILITY)
    assert trail.up_to(4) is None
    trail.note_caught_up(4)
    trail.note(document(7, "a", 2), AVAILABILITY)
    assert trail.up_to(3) is None
    assert trail.up_to(4) == trail.up_to(7) == contents(document(3, "a", 1)).seen(4)
    assert trail.up_to(8) == trail.up_to(99) == contents(document(7, "a", 2)).seen(8)


def test_only_the_newest_steps_of_a_trail_are_known() -> None:
    trail = Trail()
    trail.note_caught_up(0)
    for offset in range(2 * MOST_STEPS + 1):
        trail.note(document(offset, "a", offset + 1), AVAILABILITY)
    assert trail.up_to(1) is None
    assert trail.up_to(2 * MOST_STEPS) is not None
