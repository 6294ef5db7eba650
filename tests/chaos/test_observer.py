"""The observer sees what must not be: each thing it is there for is shown to it once, and it says so."""

from __future__ import annotations

import io
import json
from pathlib import Path
from uuid import UUID

import pytest

from schemas.topics import ORDER_EVENTS, RETURN_EVENTS, Topic
from shared.kernel.ports import Record, TopicPartition
from shared.settings import Settings
from tests.chaos.observer import Observer

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
AT = TopicPartition(ORDER_EVENTS.name, 0)


@pytest.fixture
def observer(tmp_path: Path) -> Observer:
    observer = Observer(Settings(home=tmp_path), tmp_path)
    observer._records_log = observer._positions_log = io.StringIO()
    return observer


def record(offset: int, seq: int, id: int) -> Record:
    """A message of order capture's lane, number `seq`, caused by `id`."""
    return message(ORDER_EVENTS, "OrderAccepted", b"{}", offset, seq, id)


def authorised(offset: int, seq: int, *, repeated: bool) -> Record:
    """The answer to one request to send something back, told for the first time or again."""
    example = json.loads((EXAMPLES / "ReturnAuthorised.json").read_text()) | {"repeated": repeated}
    return message(RETURN_EVENTS, "ReturnAuthorised", json.dumps(example).encode(), offset, seq, 11)


def message(topic: Topic, kind: str, value: bytes, offset: int, seq: int, id: int) -> Record:
    headers = {
        "content-type": "application/json",
        "ce_type": f"nervure.{kind}",
        "ce_source": "/order-capture",
        "ce_id": str(UUID(int=id)),
        "ce_correlationid": "-",
        "ce_traceparent": "",
        "ce_lane": f"{topic.owner}/1",
        "ce_seq": str(seq),
    }
    return Record(topic.name, 0, offset, 1_000, b"web:1", value, tuple((name, text.encode()) for name, text in headers.items()))


def show(observer: Observer, *records: Record) -> None:
    for each in records:
        observer._note(each)


def counts(observer: Observer) -> dict[str, int]:
    """What it found in the lanes, and in single records."""
    found = dict(observer._wrong.counts)
    found["reordered"] += len(observer._lanes.faults)
    return {kind: count for kind, count in found.items() if count}


def test_a_lane_in_order_with_a_record_sent_again_is_as_it_should_be(observer: Observer) -> None:
    show(observer, record(0, 1, 11), record(1, 2, 12), record(2, 2, 12), record(3, 3, 13))
    assert (counts(observer), observer.repeats, observer.records) == ({}, 1, 4)


def test_an_effect_that_comes_under_two_numbers_is_doubled(observer: Observer) -> None:
    show(observer, record(0, 1, 11), record(1, 2, 11))
    assert counts(observer) == {"doubled": 1}


def test_an_answer_that_is_told_again_and_says_so_is_none(observer: Observer) -> None:
    """Its sender had no acknowledgement of the request, and sent it again."""
    show(observer, authorised(0, 1, repeated=False), authorised(1, 2, repeated=True))
    assert counts(observer) == {}
    show(observer, authorised(2, 3, repeated=False))
    assert counts(observer) == {"doubled": 1}


def test_a_number_for_two_messages_and_a_number_left_out_are_told(observer: Observer) -> None:
    show(observer, record(0, 1, 11), record(1, 1, 12), record(2, 3, 13))
    assert counts(observer) == {"reordered": 2}


def test_a_record_fetched_twice_is_noted_once(observer: Observer) -> None:
    show(observer, record(0, 1, 11), record(0, 1, 11))
    assert (counts(observer), observer.repeats, observer.records) == ({}, 0, 1)


def test_a_service_that_goes_back_would_do_things_twice(observer: Observer) -> None:
    observer._note_positions("sourcing", {AT: 5})
    observer._note_positions("sourcing", {AT: 7})
    assert counts(observer) == {}
    observer._note_positions("sourcing", {AT: 6})
    assert counts(observer) == {"doubled": 1}
