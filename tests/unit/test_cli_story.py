"""The story `nervure trace` tells: a sentence for each message, causes, and the sourcing explanation in words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from deploy.story import FAMILIES, explain_sourcing, tell, why_timer
from deploy.tracing import TRACED, Chapter, put_in_order, read_chapter
from schemas.channel import CancelOrder, RequestAnswered
from schemas.orders import LineQuantity, LinesCancelled
from schemas.sourcing import OrderSourced
from schemas.topics import BY_NAME, TOPIC_OF, Body, messages
from shared.kernel.codec import external_record, lane_record
from shared.kernel.ports import LaneRow, OutboxRow, Record

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
ORDER = "web-fr:100234"
SPACE = UUID(int=0)
TOLD = [kind for topic, kind in messages() if topic.kind in TRACED]


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
def test_every_message_has_a_sentence_of_its_own(kind: type[Body]) -> None:
    body = kind.model_validate_json((EXAMPLES / f"{kind.__name__}.json").read_bytes())
    [said] = [text for family in FAMILIES if (text := family(body))]
    assert tell(body) == said
    assert "None" not in said and "  " not in said


def test_a_decision_explains_itself() -> None:
    decision = OrderSourced.model_validate_json((EXAMPLES / "OrderSourced.json").read_bytes())
    told = explain_sourcing(decision)
    assert told[0].startswith("Policy fr-standard version 3, attempt 2: ")
    assert "lyon-02 (4 km, 73 x mug-blue-350, 4 x lamp-oak, 0 x notes-a5)" in told[0]
    assert [line.partition(":")[0] for line in told[1:]] == ["Ruled out", "Chosen", "Instead", "Promise"]
    assert told[-1] == "Promise: delivery by Thursday 05 March (Europe/Paris)."


def test_a_timer_is_told_as_what_it_means() -> None:
    assert why_timer("cancel:c-1") == "the time to answer the cancellation was over"
    assert why_timer("nobody:knows") == "the timer nobody:knows fired"


def test_messages_are_numbered_by_time_and_causes_come_first() -> None:
    answer = _published(_answer(), seq=1, causation="r-1", at_ms=5)
    request = _asked(at_ms=5)
    cancelled = _published(LinesCancelled(order_id=ORDER, request_id="c-1", lines=(LineQuantity(line_id="l1", quantity=1),)), 1, "r-1", 9)
    chapters = put_in_order([read_chapter(record) for record in (cancelled, answer, request)])
    assert [(chapter.number, chapter.cause, chapter.who) for chapter in chapters] == [
        (1, 0, "web-fr"),
        (2, 1, "order_capture"),
        (3, 1, "order_capture"),
    ]


def test_what_cannot_be_read_is_told_too() -> None:
    record = Record("oms.channel.orders.v1", 0, 0, 1, ORDER.encode(), b"\xff", ())
    chapter: Chapter = read_chapter(record)
    assert chapter.says.startswith("sent what can't be read: ")


def _answer() -> RequestAnswered:
    return RequestAnswered(order_id=ORDER, request_id="c-1", request="CancelOrder", outcome="accepted")


def _asked(at_ms: int) -> Record:
    body = CancelOrder(request_id="c-1", channel="web-fr", channel_order_ref="100234")
    sent = external_record(BY_NAME["oms.channel.orders.v1"], body, source="/shop", id="r-1", now=datetime(2026, 1, 1, tzinfo=UTC))
    return Record("oms.channel.orders.v1", 0, 0, at_ms, sent.key, sent.value, sent.headers)


def _published(body: Body, seq: int, causation: str, at_ms: int) -> Record:
    topic, name = TOPIC_OF[type(body)], type(body).__name__
    row = OutboxRow(
        topic=topic.name,
        partition=0,
        key=topic.key_of(body),
        type=name,
        id=str(uuid5(SPACE, name)),
        time=datetime(2026, 1, 1, tzinfo=UTC),
        correlation=ORDER,
        causation=causation,
        trace="",
        subject=f"order/{ORDER}",
        subject_version=1,
        value=body.model_dump_json(exclude_none=True).encode(),
    )
    sent = lane_record(topic.owner, LaneRow(seq, 1, row))
    return Record(topic.name, 0, 0, at_ms, sent.key, sent.value, sent.headers)
