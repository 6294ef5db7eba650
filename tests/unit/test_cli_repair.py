"""What may be mended without a guess, and what is left to a person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.audit import CHECKS, REBUILD, Audit
from deploy.audit.findings import Violation
from deploy.lanes import Lane, Reading
from deploy.parked import Letter
from deploy.repair import BY_A_PERSON, OTHERWISE, UNDECODABLE, Document, Left, can_be_read_now, documents_to_send, gaps, left_of
from schemas.topics import AVAILABILITY, ORDER_STATUS, STOCK_REPORTS
from shared.kernel.ports import Record

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EXAMPLE = Path("schemas/examples/StockCounted.json").read_bytes()
STALE = Violation("state_topics_show_the_rows", "inventory", "tea:paris", f"{AVAILABILITY.name}: the document has version 3, the row 4")
UNMARKED = Violation("read_back_marks_are_true", "fulfilment_tracking", "web:1", f"{ORDER_STATUS.name}: version 0 at -1 is marked, ...")
EDITED = Violation(REBUILD, "inventory", "level tea:paris", "sellable: the row has 6, its events make 5")


def letter(reason: str, value: bytes, type: str = "nervure.StockCounted") -> Letter:
    headers = (("ce_type", type.encode()), ("ce_source", b"/store"), ("ce_id", b"1"), ("content-type", b"application/json"))
    record = Record(STOCK_REPORTS.name, 0, 7, 0, b"paris", value, headers)
    return Letter("inventory", 1, "dead", reason, "", NOW, record, ())


def test_a_document_is_sent_again_where_its_row_is_right() -> None:
    documents = documents_to_send([STALE, UNMARKED, STALE])
    assert documents == [
        Document("inventory", AVAILABILITY.name, "tea:paris"),
        Document("fulfilment_tracking", ORDER_STATUS.name, "web:1"),
    ]


def test_a_document_of_a_row_that_is_wrong_is_not_sent() -> None:
    """It may be the document that is right."""
    assert documents_to_send([STALE, EDITED]) == []


def test_a_document_that_cannot_be_made_is_not_sent() -> None:
    """Somebody mends the rule; then its service sends it."""
    unmade = Violation("every_row_can_be_shown", "inventory", "tea:paris", f"{AVAILABILITY.name}: version 4 can't be shown: KeyError")
    assert documents_to_send([unmade, STALE]) == []


def test_other_complaints_send_nothing() -> None:
    assert documents_to_send([EDITED, Violation("lines_add_up", "order_capture", "web:1 l1", "...")]) == []


def test_all_that_readers_of_a_lane_miss_is_sent_at_once() -> None:
    def lane(*readers: Reading) -> Lane:
        return Lane("oms.orders.events.v1", 0, "order_capture", 1, 9, 9, 1, readers)

    whole = lane(Reading("sourcing", 9, 0))
    holed = lane(Reading("sourcing", 3, 6, 2, (4, 6)), Reading("returns", 1, 8, 1, (2, 4)), Reading("fulfilment_tracking", 9, 0))
    assert gaps([whole, holed]) == [(holed, 2, 6)]


@pytest.mark.parametrize(
    ("seen", "readable"),
    [
        (letter(UNDECODABLE, EXAMPLE), True),
        (letter(UNDECODABLE, b"{"), False),
        (letter(UNDECODABLE, EXAMPLE, "nervure.StockDreamt"), False),
        (letter("KeyError", EXAMPLE), False),
    ],
    ids=["its type is known by now", "still no message", "still no type", "a rule failed: nobody knows whether it would again"],
)
def test_only_a_letter_that_can_be_read_by_now_runs_again(seen: Letter, readable: bool) -> None:
    assert can_be_read_now(seen) is readable


def test_what_is_left_is_named_with_what_to_do() -> None:
    other = Violation("lines_add_up", "order_capture", "web:1 l1", "...")
    found = Audit(True, "", {}, (EDITED, STALE, other), ())
    assert left_of(found, {("inventory", "tea:paris")}) == [Left(EDITED, BY_A_PERSON[REBUILD]), Left(other, OTHERWISE)]


def test_remedies_are_for_checks_there_are() -> None:
    assert set(BY_A_PERSON) <= {REBUILD, *(check.__name__ for check in CHECKS)}
