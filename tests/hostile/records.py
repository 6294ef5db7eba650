"""Hostile records: a hostile or a good value under hostile or good headers and keys, of any topic."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from schemas.topics import Topic
from shared.kernel.ports import Record
from tests.hostile.values import EXAMPLES, hostile_leaf, hostile_value, text_of
from tests.hostile.words import TEXTS, TIMES

Headers = tuple[tuple[str, bytes | None], ...]
LANES = ("order_capture", "inventory", "sourcing", "fulfilment_tracking", "returns", "evil", "", "a\x00b", "x" * 5_000)
NUMBERS = (
    b"0",
    b"1",
    b"2",
    b"-1",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1" + b"0" * 400,
    b"9" * 5_000,
    b"1_0",
    b" 1 ",
    b"1.0",
    b"",
    b"NaN",
    "\u0661".encode(),
    b"\xff",
    b"1\x00",
)
TYPES = (
    b"",
    b"nervure.",
    b"nervure.DropTable",
    b"com.example.Order",
    b"PlaceOrder",
    b"nervure.PlaceOrder.v2",
    b"NERVURE.PLACEORDER",
    b"\xff\xfe",
    b"nervure.a\x00b",
    b"nervure." + b"x" * 5_000,
    b"nervure.PlaceOrder ",
    "nervure.\u202e".encode(),
)
CONTENT_TYPES = (
    b"application/json",
    b"application/cloudevents+json",
    b"application/cloudevents+json; charset=utf-16",
    b"APPLICATION/CloudEvents+JSON",
    b"application/cloudevents-batch+json",
    b"application/avro",
    b"text/plain",
    b"",
    b"\xff",
)
NAMES = (
    "ce_type",
    "CE_TYPE",
    "Ce_Id",
    "ce_source",
    "ce_specversion",
    "",
    "x",
    "a\x00b",
    "\\u0000",
    "\\",
    '"',
    "é" * 300,
    "ce_" + "y" * 5_000,
    "ce_data",
    "ce_subject",
    "__connect.errors.topic",
    "ce_time",
)
KEYS = (
    None,
    b"",
    b"\xff\x00\xfe",
    b"k" * 20_000,
    b"a:b",
    b"no order",
    b"a\x00b",
    b"web-fr:100234",
    b"web-fr:100234/1",
    b"::",
    "é:é".encode(),
)
STRUCTURED = b"application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One record to be thrown at a topic."""

    topic: Topic
    type: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    def record(self, offset: int = 0, partition: int = 0) -> Record:
        return Record(self.topic.name, partition, offset, 1_772_442_843_000 + offset, self.key, self.value, self.headers)


def good_headers(topic: Topic, type_name: str, source: bytes, id: bytes, seq: int = 1) -> dict[str, bytes | None]:
    """Those that a sound writer of this topic sets."""
    named: dict[str, bytes | None] = {
        "ce_specversion": b"1.0",
        "ce_type": f"nervure.{type_name}".encode(),
        "ce_source": source,
        "ce_id": id,
        "content-type": b"application/json",
    }
    if topic.kind in ("events", "state"):
        named["ce_id"] = str(uuid5(NAMESPACE_URL, id.decode())).encode()
        lane = {"ce_lane": f"{topic.owner}/1".encode(), "ce_seq": str(seq).encode(), "ce_correlationid": b"c", "ce_traceparent": b""}
        named |= lane
    return named


def hostile_headers(dice: Random, named: Mapping[str, bytes | None]) -> Headers:
    """The headers after one or two changes; a name may then stand there twice."""
    headers = list(named.items())
    for _ in range(dice.randint(1, 2)):
        match dice.randrange(9):
            case 0:
                headers = [] if dice.random() < 0.2 else [header for header in headers if dice.random() < 0.7]
            case 1:
                headers.append(("ce_type", dice.choice(TYPES)))
            case 2:
                headers.append((dice.choice(("ce_id", "ce_source")), hostile_bytes(dice)))
            case 3:
                headers.append(("content-type", dice.choice(CONTENT_TYPES)))
            case 4:
                headers.append((dice.choice(NAMES), hostile_bytes(dice)))
            case 5:
                headers.append((dice.choice(("ce_correlationid", "ce_traceparent", "ce_causationid", "ce_time")), hostile_bytes(dice)))
            case 6:
                headers.append((dice.choice([name for name, _ in named.items()]), None))
            case 7:
                headers.append(("ce_specversion", dice.choice((b"0.3", b"2.0", b"", b"\xff"))))
            case _:
                headers += forged_lane(dice)
    return tuple(headers)


def forged_lane(dice: Random) -> Headers:
    """What only a service may say of itself."""
    lane = f"{dice.choice(LANES)}/".encode() + dice.choice(NUMBERS)
    return (("ce_lane", dice.choice((lane, b"", b"/", b"\xff/1"))), ("ce_seq", dice.choice(NUMBERS)))


def hostile_bytes(dice: Random) -> bytes | None:
    if dice.random() < 0.1:
        return dice.choice((None, b"", b"\xff\xfe", b"x" * 501, b"x" * 50_000))
    return dice.choice((*TEXTS, *TIMES)).encode("utf-8", "surrogatepass")


def structured(dice: Random, value: bytes, named: Mapping[str, bytes | None]) -> bytes:
    """The message as one CloudEvents object; its data as JSON, as base64, or as something else, its attributes perhaps hostile."""
    event: dict[str, Any] = {name.removeprefix("ce_"): (text or b"").decode("utf-8", "replace") for name, text in named.items()}
    try:
        data: Any = json.loads(value)
    except (ValueError, RecursionError):
        data = value.decode("utf-8", "replace")
    match dice.randrange(6):
        case 0:
            event["data_base64"] = base64.b64encode(value).decode()
        case 1:
            event["data_base64"] = hostile_leaf(dice)
        case 2:
            event["data"] = hostile_leaf(dice)
        case _:
            event["data"] = data
    if dice.random() < 0.4:
        event[dice.choice(list(event))] = hostile_leaf(dice)
    try:
        return text_of(event)
    except RecursionError:
        return value


def hostile_record(
    dice: Random, topic: Topic, data: Mapping[str, bytes] = EXAMPLES, *, number: int = 0, source: bytes = b"/stranger"
) -> Hostile:
    """A record of this topic, hostile in its value, its headers or its key; now and then good in all of them. `data`: documents by type."""
    kind = dice.choice(topic.types)
    type_name = kind.__name__
    base = data[type_name] if dice.random() < 0.95 else data[dice.choice(list(data))]
    value: bytes | None = hostile_value(dice, base) if dice.random() < 0.7 else base
    named = good_headers(topic, type_name, source, f"hostile-{number}".encode(), dice.randint(1, 5))
    headers: Headers = tuple(named.items())
    if value is not None and dice.random() < 0.12:
        value, headers = structured(dice, value, named), (("content-type", STRUCTURED),)
        if dice.random() < 0.3:
            headers = (*headers, *hostile_headers(dice, named))
    elif dice.random() < 0.2:
        headers = hostile_headers(dice, named)
    if dice.random() < 0.01:
        value = None
    return Hostile(topic, type_name, key_of(dice, base, topic, EXAMPLES[type_name]), value, headers)


def key_of(dice: Random, base: bytes, topic: Topic, otherwise: bytes) -> bytes | None:
    """The right key of the document that the record was made of (`otherwise` of that one), or, one time in six, another."""
    if dice.random() < 0.1:
        return dice.choice(KEYS)
    try:
        document = json.loads(base)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        document = json.loads(otherwise)
    match topic.key:
        case "order_id":
            key = document.get("order_id") or f"{document.get('channel')}:{document.get('channel_order_ref')}"
        case "carrier_tracking":
            key = f"{document.get('carrier')}:{document.get('tracking_number')}"
        case "level_id":
            key = f"{document.get('sku')}:{document.get('location')}"
        case name:
            key = document.get(name, "")
    return str(key)[:20_000].encode("utf-8", "surrogatepass")
