"""A request that can't be decoded is answered where anybody can tell which order it is about."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from schemas.topics import CHANNEL_ORDERS, RETURN_REQUESTS, STOCK_REPORTS, Topic
from services.inventory.service import service as inventory
from services.order_capture.service import service as order_capture
from services.returns.service import service as returns
from shared.kernel.arrivals import Arrival, arrive
from shared.kernel.codec import MAX_BYTES
from shared.kernel.model import Service, Unreadable
from shared.kernel.ports import Record

HEADERS = (("ce_type", b"nervure.PlaceOrder"), ("ce_source", b"/shop"), ("ce_id", b"e-1"))
NAMED = {"channel": "web", "channel_order_ref": "100", "request_id": "place-1"}


def arrival(
    value: Any, *, key: bytes | None = b"no order", headers: Any = HEADERS, topic: Topic = CHANNEL_ORDERS, to: Service[Any] = order_capture
) -> Arrival:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return arrive(to, Record(topic.name, 0, 7, 0, key, text, tuple(headers)))


def answered(arrival: Arrival) -> tuple[str, str, str | None] | None:
    """Order, type and request id of the answer to come; None where it becomes a dead letter."""
    said = arrival.body
    if arrival.broken is not None:
        assert said is None
        return None
    assert isinstance(said, Unreadable)
    assert said.problems
    return said.order_id, said.type, said.request_id


@pytest.mark.parametrize("key", [None, b"", b"web/100", b"\xff\xfe", b"k" * 20_000])
def test_the_body_names_the_order_where_the_key_does_not(key: bytes | None) -> None:
    assert answered(arrival(NAMED, key=key)) == ("web:100", "PlaceOrder", "place-1")


def test_the_key_goes_before_the_body() -> None:
    assert answered(arrival(NAMED, key=b"web:7")) == ("web:7", "PlaceOrder", "place-1")


@pytest.mark.parametrize(
    "headers",
    [(), HEADERS[:1], (("ce_type", b"com.example.Order"), *HEADERS[1:]), (("ce_type", b"nervure.DropTable"), *HEADERS[1:])],
    ids=["none", "only a type", "foreign type", "unknown type"],
)
def test_whatever_is_wrong_with_its_headers(headers: Any) -> None:
    assert answered(arrival(NAMED, headers=headers)) == ("web:100", "unknown", "place-1")


@pytest.mark.parametrize(
    "event",
    [{"data": NAMED}, {"type": "nervure.PlaceOrder", "source": "/shop", "id": "e-1", "data": NAMED}],
    ids=["without attributes", "with a broken message"],
)
def test_inside_a_structured_event_too(event: Any) -> None:
    found = answered(arrival(event, headers=(("content-type", b"application/cloudevents+json"),)))
    assert found is not None
    assert (found[0], found[2]) == ("web:100", "place-1")


def test_inside_a_structured_event_in_base64_too() -> None:
    encoded = base64.b64encode(json.dumps(NAMED).encode()).decode()
    event = {"type": "nervure.PlaceOrder", "source": "/shop", "id": "e-1", "data_base64": encoded}
    headers = (("content-type", b"application/cloudevents+json"),)
    assert answered(arrival(event, headers=headers)) == ("web:100", "PlaceOrder", "place-1")


def test_requests_of_returns_name_their_order_whole() -> None:
    headers = (("ce_type", b"nervure.RequestReturn"), *HEADERS[1:])
    value = {"order_id": "web:100+1", "request_id": "back-1", "lines": "none"}
    found = arrival(value, headers=headers, topic=RETURN_REQUESTS, to=returns)
    assert answered(found) == ("web:100+1", "RequestReturn", "back-1")


@pytest.mark.parametrize("request_id", ["", "two words", "x" * 129, "é", "a\x00b", 7, None])
def test_a_request_id_that_no_answer_can_name_is_left_out(request_id: Any) -> None:
    assert answered(arrival(NAMED | {"request_id": request_id})) == ("web:100", "PlaceOrder", None)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"\xff\xfe\x00\x01",
        b"[" * 200_000,
        json.dumps(NAMED).encode() * 2,
        [NAMED],
        "web:100",
        {},
        {"channel": "web"},
        {"channel": "web", "channel_order_ref": 100},
        {"channel": "we b", "channel_order_ref": "100"},
        {"channel": "web", "channel_order_ref": "1" * 65},
        {"data": [NAMED]},
        NAMED | {"padding": "x" * MAX_BYTES},
    ],
    ids=[
        "empty", "nonsense", "no text", "deep", "two documents", "a list", "a word", "nothing in it", "no reference",
        "reference a number", "no channel code", "endless reference", "a list in it", "too large",
    ],
)  # fmt: skip
def test_what_names_no_order_is_a_dead_letter(value: Any) -> None:
    assert answered(arrival(value)) is None


def test_a_fact_is_never_answered() -> None:
    headers = (("ce_type", b"nervure.StockCounted"), *HEADERS[1:])
    assert answered(arrival(NAMED, key=b"web:100", headers=headers, topic=STOCK_REPORTS, to=inventory)) is None


def test_a_record_without_a_value_names_nothing() -> None:
    assert answered(arrive(order_capture, Record(CHANNEL_ORDERS.name, 0, 7, 0, b"no order", None, HEADERS))) is None
    assert answered(arrive(order_capture, Record(CHANNEL_ORDERS.name, 0, 7, 0, b"web:100", None, HEADERS))) == ("web:100", "unknown", None)
