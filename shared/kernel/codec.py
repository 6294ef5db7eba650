"""CloudEvents 1.0 on Kafka: binary mode both ways by an own codec (the hot path), structured mode on input.

Binary mode: attributes are headers `ce_<name>`, the value is the JSON of the message. Beside the standard attributes travel `ce_lane`
(`<service>/<incarnation>`) and `ce_seq` on internal topics, `ce_subject` and `ce_subjectversion` for readers outside. On external topics
lane headers mean nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar
from uuid import NAMESPACE_URL, UUID

from msgspec import DecodeError, convert
from msgspec import ValidationError as ValidationFailed
from msgspec.json import Decoder, Encoder
from pydantic import ValidationError

from schemas.channel import Problem
from schemas.forms import Form
from schemas.placing import Asked
from schemas.topics import BY_NAME, Body, Topic
from schemas.types import is_order_id, is_request_id, order_id_of
from shared.kernel.model import derived
from shared.kernel.ports import LaneId, LaneRow, Outgoing, Record
from shared.value import Light

F = TypeVar("F", bound=Form)
A = TypeVar("A", bound=Asked)
PREFIX = "nervure."
JSON = b"application/json"
STRUCTURED = "application/cloudevents+json"
"""The media type of a whole event as one JSON object; parameters may follow."""
NUL = b"\\u0000"
"""How JSON writes it."""
MAX_BYTES = 1_000_000
"""Largest value accepted on input, in bytes."""
MAX_ATTRIBUTE_BYTES = 500
"""Longest `ce_source` and `ce_id`, in bytes: both stand in one index."""
MAX_SEQ, MAX_INCARNATION = 2**63 - 1, 2**31 - 1
"""What the columns of lanes and versions hold."""

_ATTRIBUTES = frozenset(("ce_type", "ce_source", "ce_id", "ce_correlationid", "ce_traceparent", "ce_lane", "ce_seq", "content-type"))


class Envelope(Light, frozen=True):
    """The attributes of one message, without its body."""

    type: str
    """Without the prefix: `PlaceOrder`."""
    source: str
    id: str
    correlation: str
    trace: str
    lane: LaneId | None
    seq: int
    data: bytes
    cause: UUID
    """Identity of the input: its own id where that is a uuid of a lane, else derived from source and id."""

    def digest(self) -> bytes:
        """Digest of type and content, to tell a repeat from a changed report."""
        return hashlib.blake2b(self.type.encode() + b"\n" + self.data, digest_size=16).digest()


class Undecodable(Exception):
    """The record is no message of its topic; `problems` say where and what to do."""

    def __init__(self, problems: tuple[Problem, ...], type_name: str = "unknown") -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems)[:2000])
        self.problems = problems
        self.type_name = type_name


def _undecodable(code: str, message: str, remedy: str, field: str = "") -> Undecodable:
    return Undecodable((Problem(code=code, field=field[:500], message=message[:4000], remedy=remedy[:500]),))


def open_envelope(record: Record, topic: Topic) -> Envelope:
    """The message's attributes; raises Undecodable."""
    if record.value is None:
        raise _undecodable("no_value", "the record has no value", "send the message as JSON in the record's value")
    _check_size(record.value)
    if not topic.external and (envelope := _of_lane(record, record.value, topic)) is not None:
        return envelope
    attributes: dict[str, str] = {}
    try:
        for header, value in record.headers:
            name = header if header in _ATTRIBUTES else header.lower()
            if name in _ATTRIBUTES and value is not None:
                attributes[name.removeprefix("ce_")] = value.decode()
    except UnicodeDecodeError as error:
        raise _undecodable("bad_header", f"a header is not UTF-8: {error}", "encode headers as UTF-8") from None
    if topic.external and attributes.get("content-type", "").strip().lower().startswith(STRUCTURED):
        return _structured(record.value, topic)
    return _envelope(attributes, record.value, topic)


def _of_lane(record: Record, value: bytes, topic: Topic) -> Envelope | None:
    """The envelope of a record as services write it, read without detours; None for any other record."""
    found = dict(record.headers)
    try:
        writer = _writer(found["ce_type"], found["ce_source"], found["ce_lane"], topic.owner)
        id, seq = found["ce_id"].decode(), number_of(found["ce_seq"])  # type: ignore[union-attr]
        correlation, trace = found["ce_correlationid"].decode(), found["ce_traceparent"].decode()  # type: ignore[union-attr]
        cause = convert(id, UUID)  # so it is fit
    except (KeyError, ValueError, AttributeError, ValidationFailed):
        return None
    if writer is None or not seq or found.get("content-type") != JSON:
        return None
    kind, source, lane = writer
    return Envelope(kind, source, id, _tame(correlation, 500), _tame(trace, 55), lane, seq, value, cause)


@lru_cache(maxsize=1000)
def _writer(kind: bytes | None, source: bytes | None, lane: bytes | None, owner: str) -> tuple[str, str, LaneId] | None:
    """(type, source, lane) of what the owner of a topic writes, the same for many records; None where somebody else wrote it. Raises
    ValueError."""
    if kind is None or source is None or lane is None:
        return None
    name, place, found = kind.decode(), source.decode(), _lane_id(lane)
    if not name.startswith(PREFIX) or not is_fit(place) or found.service != owner or not found.incarnation:
        return None
    return name[len(PREFIX) :][:64], place, found


def _tame(text: str, most: int) -> str:
    """As much of it as a database column takes."""
    return text[:most].replace("\x00", "")


@lru_cache(maxsize=1000)
def _lane_id(header: bytes) -> LaneId:
    service, _, incarnation = header.decode().rpartition("/")
    return LaneId(service, number_of(incarnation.encode(), MAX_INCARNATION))


def number_of(header: bytes | None, most: int = MAX_SEQ) -> int:
    """A number from 1 as a service writes it into a header; 0 for anything else, for who knows who wrote it."""
    if header is None or not header.isdigit() or len(header) > 19:
        return 0
    number = int(header)
    return number if number <= most else 0


def is_fit(attribute: str) -> bool:
    """Whether it can be told and stored as `ce_source` or `ce_id`."""
    return 0 < len(attribute) <= MAX_ATTRIBUTE_BYTES and attribute.isprintable() and len(attribute.encode()) <= MAX_ATTRIBUTE_BYTES


def _structured(value: bytes, topic: Topic) -> Envelope:
    try:
        event = json.loads(value)
        data = _data(event)
    except (ValueError, RecursionError) as error:
        raise _undecodable("not_json", f"{error}", "send one CloudEvents JSON object") from None
    if data is None:
        raise _undecodable("no_data", "no CloudEvents object with `data`", "put the message into `data`", "data")
    return _envelope({name: text for name, text in event.items() if isinstance(text, str)}, data, topic)


def _data(event: Any) -> bytes | None:
    """The message inside a structured event, as its own JSON; some writers give it as base64. Raises ValueError, RecursionError."""
    if not isinstance(event, dict):
        return None
    if "data" in event:
        return json.dumps(event["data"], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    encoded = event.get("data_base64")
    return base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None


def _envelope(attributes: dict[str, str], data: bytes, topic: Topic) -> Envelope:
    kind = attributes.get("type", "")
    if not kind.startswith(PREFIX):
        raise _undecodable("no_type", f"the type is {kind[:100]!r}", f"set header ce_type to {PREFIX}<Message>", "ce_type")
    for name in ("source", "id"):
        if not is_fit(attributes.get(name, "")):
            remedy = f"set header ce_{name}: printable, at most {MAX_ATTRIBUTE_BYTES} bytes"
            raise _undecodable("no_" + name, f"ce_{name} is missing or unfit", remedy, f"ce_{name}")
    if topic.external or topic.kind == "fact":
        lane, seq, cause = None, 0, derived(NAMESPACE_URL, f"{attributes['source']}\n{attributes['id']}")
    else:
        lane, seq, cause = _lane(attributes, topic)
    return Envelope(
        type=kind[len(PREFIX) :][:64],
        source=attributes["source"],
        id=attributes["id"],
        correlation=_tame(_encodable(attributes.get("correlationid", attributes["id"])), 500),
        trace=_tame(_encodable(attributes.get("traceparent", "")), 55),
        lane=lane,
        seq=seq,
        data=data,
        cause=cause,
    )


def _lane(attributes: dict[str, str], topic: Topic) -> tuple[LaneId | None, int, UUID]:
    """Of the topic's owner: nobody else has a lane there."""
    try:
        lane, seq, cause = _lane_id(attributes["lane"].encode()), number_of(attributes["seq"].encode()), UUID(attributes["id"])
    except (KeyError, ValueError):
        raise _undecodable("no_lane", "no ce_lane and ce_seq", "only the owning service writes this topic") from None
    if lane.service != topic.owner or not (lane.incarnation and seq):
        raise _undecodable("no_lane", f"ce_lane and ce_seq are not those of {topic.owner}", "only the owning service writes this topic")
    return lane, seq, cause


def read_body(envelope: Envelope, topic: Topic) -> Body:
    """The typed message; raises Undecodable naming every field that is wrong."""
    kind = topic.type_named(envelope.type)
    if kind is None:
        known = ", ".join(PREFIX + t.__name__ for t in topic.types)
        raise _undecodable("unknown_type", f"{envelope.type!r} is not a message of {topic.name}", f"one of: {known}", "ce_type")
    return body_of(kind, envelope.data)


def form_of(form: type[F], data: bytes) -> F:
    """The message in a form of its contract. The contract judges what the form can't read, and texts with NUL; raises Undecodable."""
    _check_size(data)
    if b"\\" in data and NUL in data:
        return _judged(form, data)
    try:
        read: F = _decoder(form).decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return _judged(form, data)
    return read


def asked_of(form: type[A], data: bytes) -> A | Body:
    """A request in its form; what that doesn't take, as its contract's model. Raises Undecodable.

    Of an instant's fraction the contract cuts off what is finer than microseconds, where a form would round."""
    _check_size(data)
    if NUL not in data and not _TOO_FINE.search(data):
        with suppress(DecodeError, UnicodeDecodeError, RecursionError):
            read: A = _decoder(form).decode(data)
            return read
    return body_of(form.contract, data)


_TOO_FINE = re.compile(rb"\.[0-9]{7}")


def _judged(form: type[F], data: bytes) -> F:
    read: F = _decoder(form).decode(value_of(body_of(form.contract, data)))
    return read


@cache
def _decoder(form: type[F]) -> Decoder[F]:
    return Decoder(form)


def body_of(kind: type[Body], data: bytes) -> Body:
    """The typed message of a known type; raises Undecodable."""
    _check_size(data)
    try:
        body: Body = kind.__pydantic_validator__.validate_json(data)
    except ValidationError as error:
        problems = tuple(_problem(entry) for entry in error.errors(include_url=False, include_context=False)[:20])
        raise Undecodable(problems, kind.__name__) from None
    return body


def _check_size(value: bytes) -> None:
    if len(value) > MAX_BYTES:
        raise _undecodable("too_large", f"{len(value)} bytes", f"send at most {MAX_BYTES} bytes a message")


def _problem(entry: Any) -> Problem:
    field = ".".join(str(part) for part in entry["loc"])
    return Problem(code=str(entry["type"])[:64], field=_clean(field)[:500], message=_clean(entry["msg"])[:4000])


def _clean(text: str) -> str:
    return _encodable(text.replace("\x00", "\\0"))


def _encodable(text: str) -> str:
    """Without lone surrogates, which only JSON can hold."""
    return text.encode("utf-8", "replace").decode()


class Said(NamedTuple):
    """What a request says of itself, however little else of it can be read."""

    order_id: str | None = None
    """Whose answer it gets; None where nobody can tell."""
    request_id: str | None = None


def said_by(record: Record, envelope: Envelope | None) -> Said:
    """The order a request's Kafka key names, else its body; and the request id its body names."""
    said = _said_in(envelope.data if envelope is not None else record.value)
    key = (record.key or b"").decode("utf-8", "replace")
    return said._replace(order_id=key) if is_order_id(key) else said


def _said_in(data: bytes | None) -> Said:
    if data is None or len(data) > MAX_BYTES:
        return Said()
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return Said()
    if isinstance(found, dict) and isinstance(found.get("data"), dict):
        found = found["data"]
    texts = {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
    by_channel = order_id_of(texts.get("channel", ""), texts.get("channel_order_ref", ""))
    order_id = next((text for text in (by_channel, texts.get("order_id", "")) if is_order_id(text)), None)
    request_id = texts.get("request_id", "")
    return Said(order_id, request_id if is_request_id(request_id) else None)


def value_of(body: Body | Form) -> bytes:
    """The value of a message's record: its JSON, without the fields that say nothing."""
    if isinstance(body, Form):
        return _encode(body)
    return body.__pydantic_serializer__.to_json(body, exclude_none=True)  # as bytes: `model_dump_json` makes a text of them


_encode = Encoder().encode


def lane_record(service: str, lane_row: LaneRow) -> Outgoing:
    """The record of one numbered message."""
    row = lane_row.row
    key = row.key.encode()
    headers = (
        *_named(row.type, service),
        ("ce_id", row.id.encode()),
        ("ce_time", _rfc3339(row.time)),
        ("ce_partitionkey", key),
        ("ce_correlationid", row.correlation.encode()),
        ("ce_causationid", row.causation.encode()),
        ("ce_traceparent", row.trace.encode()),
        ("ce_lane", _lane_header(service, lane_row.incarnation)),
        ("ce_seq", b"%d" % lane_row.seq),
        ("ce_subject", row.subject.encode()),
        ("ce_subjectversion", b"%d" % row.subject_version),
        _AS_JSON,
    )
    return Outgoing(key, row.value, headers)


def state_record(service: str, incarnation: int, key: str, version: int, now: datetime, body: Body | Form | None) -> Outgoing:
    """The record of one state document; None deletes."""
    raw = key.encode()
    headers = (
        *_named(type(body).__name__ if body is not None else "", service),
        ("ce_id", b"%s@%d.%d" % (raw, incarnation, version)),
        ("ce_time", _rfc3339(now)),
        ("ce_partitionkey", raw),
        ("ce_lane", _lane_header(service, incarnation)),
        ("ce_seq", b"%d" % version),
        _AS_JSON,
    )
    return Outgoing(raw, value_of(body) if body is not None else None, headers)


_AS_JSON = ("content-type", JSON)


@cache
def _named(name: str, service: str) -> tuple[tuple[str, bytes], ...]:
    """The headers that all records of one type and source share; no name deletes a document."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", (PREFIX + name).encode() if name else b""),
        ("ce_source", f"/nervure/{service}".encode()),
    )


@cache
def _lane_header(service: str, incarnation: int) -> bytes:
    return f"{service}/{incarnation}".encode()


def state_version(record: Record) -> tuple[int, int]:
    """(incarnation, version) of a state record; (0, 0) where it carries none of the topic's owner."""
    headers = dict(record.headers)
    incarnation, version = _incarnation(headers.get("ce_lane") or b"", record.topic), number_of(headers.get("ce_seq"))
    return (incarnation, version) if incarnation and version else (0, 0)


@lru_cache(maxsize=1000)
def _incarnation(lane: bytes, topic: str) -> int:
    """The incarnation of a lane of the topic's owner; 0 for any other."""
    service, _, incarnation = lane.rpartition(b"/")
    return number_of(incarnation, MAX_INCARNATION) if service == BY_NAME[topic].owner.encode() else 0


def external_record(topic: Topic, body: Body, *, source: str, id: str, now: datetime, correlation: str = "") -> Outgoing:
    """What an adapter or `nervure send` appends to an external topic, in binary mode."""
    key = topic.key_of(body)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", (PREFIX + type(body).__name__).encode()),
        ("ce_source", source.encode()),
        ("ce_id", id.encode()),
        ("ce_time", _rfc3339(now)),
        ("ce_partitionkey", key.encode()),
        ("content-type", b"application/json"),
    ]
    if correlation:
        headers.append(("ce_correlationid", correlation.encode()))
    return Outgoing(key.encode(), value_of(body), tuple(headers))


@lru_cache(maxsize=64)
def _rfc3339(instant: datetime) -> bytes:
    """Messages of one moment are written together."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
