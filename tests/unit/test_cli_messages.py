"""What `nervure send` makes of what people write: messages, or every fault with its remedy."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.messages import Draft, Fault, Faulty, read_drafts
from schemas.channel import CancelOrder, HoldOrder
from schemas.topics import CHANNEL_ORDERS

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
CANCEL = {"request_id": "c-1", "channel": "web-fr", "channel_order_ref": "100234"}
HOLD = CANCEL | {"hold_id": "fraud-1", "type": "fraud"}


def read(message: Any, **more: Any) -> list[Draft]:
    return read_drafts(message if isinstance(message, str) else json.dumps(message), NOW, "/test", **more)


def faults(message: Any, **more: Any) -> tuple[Fault, ...]:
    with pytest.raises(Faulty) as caught:
        read(message, **more)
    return caught.value.faults


def test_a_message_names_its_type_beside_its_fields() -> None:
    [draft] = read(CANCEL | {"type": "CancelOrder"})
    assert (draft.topic, draft.body, draft.source, draft.at) == (
        CHANNEL_ORDERS,
        CancelOrder.model_validate_json(json.dumps(CANCEL)),
        "/test",
        NOW,
    )


def test_a_cloudevents_object_brings_its_attributes() -> None:
    event = {"specversion": "1.0", "type": "nervure.CancelOrder", "source": "/shop", "id": "e-1", "time": "2026-11-22T11:00:00+01:00"}
    [draft] = read(event | {"correlationid": "web-fr:100234", "data": CANCEL})
    assert (draft.source, draft.id, draft.at, draft.correlation) == ("/shop", "e-1", NOW, "web-fr:100234")


def test_a_field_called_type_stays_a_field_where_the_type_is_given_otherwise() -> None:
    body = HoldOrder.model_validate_json(json.dumps(HOLD))
    assert [draft.body for draft in read(HOLD, type_name="HoldOrder")] == [body]
    assert [draft.body for draft in read({"type": "HoldOrder", "data": HOLD})] == [body]
    assert [draft.body for draft in read(HOLD, otherwise="HoldOrder")] == [body]


def test_a_field_called_type_that_was_taken_for_the_type_is_asked_for() -> None:
    [fault] = faults({**CANCEL, "hold_id": "fraud-1", "type": "HoldOrder"})
    assert fault.field == "type" and '"data"' in fault.remedy


def test_several_messages_stand_one_a_line_or_in_a_list() -> None:
    one, two = CANCEL | {"type": "CancelOrder"}, CANCEL | {"type": "CancelOrder", "request_id": "c-2"}
    in_lines, in_list = read(f"{json.dumps(one)}\n\n{json.dumps(two)}\n"), read([one, two])
    assert [draft.body for draft in in_lines] == [draft.body for draft in in_list]
    assert len(in_lines) == 2


def test_the_same_content_has_the_same_id() -> None:
    [first], [again] = read(CANCEL | {"type": "CancelOrder"}), read({"type": "CancelOrder", **CANCEL})
    [other] = read(CANCEL | {"type": "CancelOrder", "reason": "changed my mind"})
    assert first.id == again.id != other.id


def test_every_fault_of_every_message_is_told_with_its_field_and_remedy() -> None:
    bad = [
        CANCEL | {"type": "CancelOrder", "channel": "web fr", "lines": [{"line_id": "l1", "quantity": "2"}]},
        {"type": "CancelOrder"},
    ]
    found = {(fault.message, fault.field): fault.remedy for fault in faults(bad)}
    assert found == {
        (1, "channel"): "it must match ^[A-Za-z0-9._-]{1,64}$",
        (1, "lines.0.quantity"): "write a whole number, without quotation marks or decimals",
        (2, "request_id"): "add this field",
        (2, "channel"): "add this field",
        (2, "channel_order_ref"): "add this field",
    }


def test_an_internal_message_is_refused() -> None:
    [fault] = faults({"type": "OrderClosed", "order_id": "web-fr:100234", "outcome": "completed"})
    assert fault.problem == "OrderClosed belongs to oms.orders.events.v1, which only order_capture writes"


def test_a_misspelt_type_names_what_was_meant() -> None:
    assert faults({"type": "CancelOrdr"})[0].remedy.startswith("did you mean CancelOrder")


def test_what_is_no_json_is_told_by_line() -> None:
    assert faults("{'type': 1}")[0].message == 0
    assert [fault.message for fault in faults('{"type": "CancelOrder"}\n{x}\n')] == [2]


def test_fields_no_contract_knows_are_listed() -> None:
    [draft] = read(CANCEL | {"type": "CancelOrder", "reasn": "late", "lines": [{"line_id": "l1", "quantity": 1, "why": "x"}]})
    assert draft.unknown == ("reasn (reason?)", "lines.0.why")


def test_text_no_database_can_hold_is_refused() -> None:
    assert "NUL" in faults(CANCEL | {"type": "CancelOrder", "reason": "\x00"})[0].problem
    assert "surrogate" in faults('{"type": "CancelOrder", "reason": "\\ud800"}')[0].problem
