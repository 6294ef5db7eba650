"""What generated input has found, each by the smallest input that shows it. Before its mend each of these failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from deploy.messages import Faulty, read_drafts
from schemas.fulfilment import LinesCollected
from schemas.orders import OrderAccepted
from schemas.status import OrderStatus
from schemas.topics import AVAILABILITY, FULFILMENT_REPORTS, INVENTORY_COMMANDS, ORDER_STATUS, STOCK_REPORTS, Topic
from services.fulfilment_tracking.service import service as fulfilment_tracking
from services.inventory.service import service as inventory
from shared.kernel.arrivals import Arrival, arrive
from shared.kernel.codec import Undecodable, body_of, open_envelope, state_version, value_of
from shared.kernel.model import Service
from shared.kernel.pictures import read_back_of
from shared.kernel.ports import Record
from shared.kernel.postgres_columns import record_columns, record_of
from shared.value import replace
from tests.hostile.values import EXAMPLES
from tests.support.spec import Spec

NOW = datetime(2026, 3, 2, tzinfo=UTC)
Headers = dict[str, bytes]


def record(topic: Topic, type_name: str, *, headers: Headers | None = None, key: bytes = b"key", **changes: Any) -> Record:
    """The example of this type with some fields changed, from a stranger, with these headers beside the usual ones."""
    value = json.dumps(json.loads(EXAMPLES[type_name]) | changes).encode()
    named = {"ce_type": f"nervure.{type_name}".encode(), "ce_source": b"/stranger", "ce_id": str(uuid4()).encode()} | (headers or {})
    return Record(topic.name, 0, 0, 0, key, value, tuple(named.items()))


def refused_fields(service: Service[Any], found: Record) -> set[str]:
    """The fields that the reason of its dead letter names."""
    arrival: Arrival = arrive(service, found)
    assert arrival.broken is not None
    return {problem.field for problem in arrival.broken.problems}


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_that_utc_cannot_name_stops_no_service(instant: str) -> None:
    """It went through the reading loop as an OverflowError: the process ended, and ended again after each start."""
    assert refused_fields(inventory, record(STOCK_REPORTS, "StockMoved", occurred_at=instant)) == {"occurred_at"}


def test_a_report_about_the_part_of_another_order_has_no_meaning() -> None:
    """It raised in the rules, among the good messages of its batch."""
    mixed = record(FULFILMENT_REPORTS, "WorkAccepted", order_id="web:1", fulfilment_order_id="web:2/1")
    assert refused_fields(fulfilment_tracking, mixed) == {""}


def test_more_than_a_document_can_tell_is_booked_and_shown_as_the_most_it_can() -> None:
    """Each report was within its bounds, their sum was not: the document could not be written, and the service ended at each start."""
    tracking = Spec(fulfilment_tracking).given(body_of(OrderAccepted, EXAMPLES["OrderAccepted"]))
    for part in ("web-fr:100234/1", "web-fr:100234/2"):
        report = json.loads(EXAMPLES["LinesCollected"]) | {
            "order_id": "web-fr:100234",
            "fulfilment_order_id": part,
            "lines": [{"line_id": "line-1", "total": 10**9}],
        }
        tracking.when(body_of(LinesCollected, json.dumps(report).encode()))
    [documents] = fulfilment_tracking.states
    shown = documents.render("web-fr:100234", 3, tracking.state("order", "web-fr:100234"))
    assert shown is not None
    document = OrderStatus.model_validate_json(value_of(shown))
    assert max(line.handed_over for line in document.lines) == 10**9


@pytest.mark.parametrize(
    "lane",
    [
        {"ce_lane": b"evil/1", "ce_seq": b"1"},
        {"ce_lane": b"sourcing/1", "ce_seq": b"9223372036854775808"},
        {"ce_lane": b"sourcing/1", "ce_seq": b"0"},
        {"ce_lane": b"sourcing/1", "ce_seq": b"-1"},
        {"ce_lane": b"sourcing/1", "ce_seq": b"1_0"},
        {"ce_lane": b"sourcing/2147483648", "ce_seq": b"1"},
        {"ce_lane": b"sourc\x00ing/1", "ce_seq": b"1"},
    ],
    ids=["of somebody else", "too large", "zero", "negative", "odd", "incarnation too large", "NUL"],
)
@pytest.mark.parametrize("shape", [{}, {"content-type": b"application/json", "ce_correlationid": b"c", "ce_traceparent": b"t"}])
def test_a_lane_belongs_to_the_owner_of_its_topic_and_its_numbers_fit_a_column(lane: Headers, shape: Headers) -> None:
    """`evil/1` began a lane of its own and was obeyed; a number too large for its column stopped the partition for good."""
    with pytest.raises(Undecodable, match="ce_lane"):
        open_envelope(record(INVENTORY_COMMANDS, "ReserveStock", headers=lane | shape), INVENTORY_COMMANDS)


def test_a_lane_is_told_by_headers_alone() -> None:
    """A structured event told one in its attributes, unseen by the audit, which looks where services write it."""
    attributes = {"type": "nervure.ReserveStock", "source": "/s", "id": str(uuid4()), "lane": "sourcing/1", "seq": "1"}
    event = json.dumps(attributes | {"data": json.loads(EXAMPLES["ReserveStock"])}).encode()
    structured = Record(INVENTORY_COMMANDS.name, 0, 0, 0, b"key", event, (("content-type", b"application/cloudevents+json"),))
    with pytest.raises(Undecodable):
        open_envelope(structured, INVENTORY_COMMANDS)


def test_the_owners_lane_is_read() -> None:
    good = {"ce_lane": b"sourcing/1", "ce_seq": b"9223372036854775807"}
    envelope = open_envelope(record(INVENTORY_COMMANDS, "ReserveStock", headers=good), INVENTORY_COMMANDS)
    assert (envelope.lane, envelope.seq) == (("sourcing", 1), 2**63 - 1)


@pytest.mark.parametrize("lane", [b"evil/1", b"1", b"inventory/99999999999"])
def test_a_strangers_document_has_no_version(lane: bytes) -> None:
    forged = record(AVAILABILITY, "Availability", headers={"ce_lane": lane, "ce_seq": b"7"})
    assert state_version(forged) == (0, 0)


@pytest.mark.parametrize("key", [b"\xff\xfe", b"a\x00b", b"", b"k" * 20_000])
def test_what_a_stranger_wrote_under_no_key_of_ours_is_not_read_back(key: bytes) -> None:
    """The reading back ended with the first of them, and with it the process."""
    assert read_back_of(record(ORDER_STATUS, "OrderStatus", key=key)) is None


@pytest.mark.parametrize("name", ["\\u0000", "\x00", "\\\x00", '"', "\\"])
def test_a_record_with_such_a_header_can_be_put_aside(name: str) -> None:
    """A header named by the six characters of an escape made its dead letter unwritable."""
    odd = replace(record(STOCK_REPORTS, "StockMoved"), headers=((name, b"1"),))
    names = ("topic", "partition", "off", "appended_ms", "key", "value", "headers")
    row = dict(zip(names, (column[0] for column in record_columns([odd])), strict=True))
    assert "\x00" not in json.loads(row["headers"])[0][0]
    assert record_of(row).headers == ((name.replace("\x00", "?"), b"1"),)


def test_source_and_id_fit_the_index_of_the_inbox_in_any_script() -> None:
    """500 characters of four bytes each, twice, are more than an index row holds."""
    with pytest.raises(Undecodable, match="ce_source"):
        open_envelope(record(STOCK_REPORTS, "StockMoved", headers={"ce_source": ("😀" * 200).encode()}), STOCK_REPORTS)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"type": "PlaceOrder", "order": ' + '{"a":' * 100_000, '{"a": 1}\n' + "[" * 100_000])
def test_a_file_nested_without_end_is_told_so(text: str) -> None:
    with pytest.raises(Faulty, match="nested too deeply"):
        read_drafts(text, NOW, "/test")


@pytest.mark.parametrize(("name", "text"), [("id", "\ud800"), ("source", "a\r\nb"), ("id", "x" * 501), ("correlationid", "\ud800")])
def test_nothing_is_sent_that_its_reader_would_refuse(name: str, text: str) -> None:
    event = {"specversion": "1.0", "type": "StockMoved", name: text, "data": json.loads(EXAMPLES["StockMoved"])}
    with pytest.raises(Faulty, match=f"^{name}: "):
        read_drafts(json.dumps(event), NOW, "/test")
