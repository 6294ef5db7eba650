"""What the flow tests rely on as witnesses must itself notice what is wrong: the dead process' last words, the book of the lanes."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

import pytest

from schemas.topics import CHANNEL_ANSWERS
from shared.kernel.codec import Envelope
from shared.kernel.ports import LaneId, Record
from tests.support.lane_book import LaneBook
from tests.support.last_words import last_words

STARTED = {"action": "started"}
DECIDED, SILENT = {"action": "decided", "publishes": 2}, {"action": "decided", "publishes": 0}
COMMITTED, QUIET = {"action": "committed", "published": 2}, {"action": "committed", "published": 0}
ACKNOWLEDGED, DOCUMENTS = {"action": "acknowledged", "lanes": {"topic/0": 2}}, {"action": "acknowledged", "lanes": {}}


@pytest.mark.parametrize("life", [[DECIDED], [COMMITTED, ACKNOWLEDGED, DECIDED], [STARTED, DECIDED, COMMITTED, ACKNOWLEDGED, DECIDED]])
def test_a_batch_decided_last_was_not_committed(life: list[dict[str, Any]]) -> None:
    words = last_words(life)
    assert (words.uncommitted, words.unpublished) == (DECIDED, None)


@pytest.mark.parametrize("life", [[DECIDED, COMMITTED], [COMMITTED, QUIET], [ACKNOWLEDGED, COMMITTED, DOCUMENTS, SILENT]])
def test_messages_committed_last_were_not_known_to_be_published(life: list[dict[str, Any]]) -> None:
    words = last_words(life)
    assert (words.uncommitted, words.unpublished) == (None, COMMITTED)


@pytest.mark.parametrize(
    "life",
    [
        [],
        [SILENT],
        [DECIDED, COMMITTED, ACKNOWLEDGED],
        [DECIDED, {"action": "decide_again"}],
        [DECIDED, {"action": "claim_again"}],
        [DECIDED, STARTED],
        [COMMITTED, STARTED],
    ],
)
def test_nothing_is_proven_by_what_was_finished_given_up_or_of_an_earlier_life(life: list[dict[str, Any]]) -> None:
    assert not last_words(life)


def test_the_book_of_the_lanes_takes_each_number_once() -> None:
    book = LaneBook()
    assert [noted(book, number) for number in (1, 2, 2, 3, 1)] == [True, True, False, True, False]
    assert (book.repeats, book.faults) == (2, [])


def test_the_book_of_the_lanes_notices_gaps_and_numbers_given_twice() -> None:
    book = LaneBook()
    for number, content in ((1, "a"), (3, "c"), (3, "another")):
        noted(book, number, content)
    gap, twice = book.faults
    assert "3 follows 1" in gap
    assert "number 3" in twice


def noted(book: LaneBook, number: int, content: str = "") -> bool:
    id = uuid5(UUID(int=0), f"{number}{content}")
    record = Record(CHANNEL_ANSWERS.name, 0, number, 0, b"a", b"{}")
    return book.is_new(record, Envelope("T", "/s", str(id), "", "", LaneId("order_capture", 1), number, b"{}", id), CHANNEL_ANSWERS)
