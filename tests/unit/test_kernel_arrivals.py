"""What arrives in a batch: what is refused, and what a message kept in it can count on."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from schemas.fulfilment import LineTotal, ParcelShipped, ParcelTracked
from schemas.topics import BY_NAME, CARRIERS, TOPIC_OF, Body
from services.fulfilment_tracking.service import service
from services.fulfilment_tracking.state import parcel_key
from shared.kernel.arrivals import Arrival, arrive, read_document
from shared.kernel.codec import MAX_BYTES, Undecodable, external_record
from shared.kernel.ports import Record
from shared.kernel.stage import Stage
from tests.support.fulfilment_tracking import ORDER, PART, STORE
from tests.support.spec import START

LABEL = parcel_key("post:trk-1")


def arrival(body: Body, offset: int, *, overdue: bool = False) -> Arrival:
    topic = TOPIC_OF[type(body)]
    sent = external_record(topic, body, source="/test", id=f"{offset}", now=START)
    record = Record(topic.name, 0, offset, int(START.timestamp() * 1000), sent.key, sent.value, sent.headers)
    return arrive(service, record, overdue=overdue)


def stage_with(*arrivals: Arrival, known: Mapping[tuple[str, str], bytes] | None = None) -> Stage:
    """A batch of one service, decided in this order on an empty database, with these external messages in its inbox."""
    stage = Stage(service, service.view(), dict.fromkeys([*BY_NAME, "~timers"], 1), {}, known=known or {})
    for one in arrivals:
        need = service.keys(one.body, {})
        stage.loaded([key for key in need.keys if key not in stage.changed], {})
        stage.take(one, need)
    return stage


def tracked() -> Arrival:
    return arrival(ParcelTracked(carrier="post", tracking_number="trk-1", status="delivered", occurred_at=START), 1)


def shipped(units: int = 1) -> Arrival:
    """Of an order nobody knows, at its last chance, so that it is booked."""
    lines = (LineTotal(line_id="a", total=units, sku="shirt"),)
    body = ParcelShipped(
        order_id=ORDER, fulfilment_order_id=PART, location=STORE, occurred_at=START,
        parcel_id="p1", lines=lines, carrier="post", tracking_number="trk-1",
    )  # fmt: skip
    return arrival(body, 2, overdue=True)


def test_a_message_kept_in_a_batch_is_tried_again_when_the_same_batch_makes_its_row() -> None:
    """Otherwise it would wait for its deadline: nothing else tells the engine that the row is there."""
    stage = stage_with(tracked(), shipped())
    assert [row.key for row in stage.changes.kept] == [LABEL]
    assert stage.awaited == {LABEL}


def test_what_follows_from_another_content_under_a_known_id_has_ids_of_its_own() -> None:
    """Whoever drops messages whose id they know would drop it otherwise."""
    first, second = shipped(1), shipped(2)
    assert first.envelope is not None
    known = {(first.envelope.source, first.envelope.id): first.envelope.digest()}
    before = {row.id for row in stage_with(first).outbox}
    after = {row.id for row in stage_with(second, known=known).outbox}
    assert before and after and before.isdisjoint(after)


def test_a_message_kept_in_a_batch_waits_while_nothing_makes_its_row() -> None:
    stage = stage_with(tracked())
    assert [row.key for row in stage.changes.kept] == [LABEL]
    assert stage.awaited == set()


def test_a_reference_document_is_no_larger_than_any_message() -> None:
    """Fields nobody knows are ignored, but not without bound."""
    value = b'{"carrier":"post","padding":"' + b"x" * MAX_BYTES + b'"}'
    record = Record(CARRIERS.name, 0, 1, int(START.timestamp() * 1000), b"post", value)
    with pytest.raises(Undecodable, match="bytes"):
        read_document(record, CARRIERS)
