"""Messages as people write them: read from JSON, named, checked field by field, with a remedy for each problem."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.topics import TOPIC_OF, Body, Topic, messages
from schemas.types import Instant
from shared.kernel.codec import MAX_ATTRIBUTE_BYTES, MAX_BYTES, PREFIX, is_fit

ENVELOPE = ("specversion", "type", "source", "id", "time", "subject", "data", "datacontenttype", "dataschema", "partitionkey")
EXTENSIONS = ("correlationid", "causationid", "traceparent")
BY_TYPE: Mapping[str, type[Body]] = {kind.__name__: kind for _, kind in messages()}

REMEDIES: Mapping[str, str] = {
    "missing": "add this field",
    "string_type": "write it as text, in quotation marks",
    "int_type": "write a whole number, without quotation marks or decimals",
    "int_from_float": "write a whole number",
    "float_type": "write a number, without quotation marks",
    "bool_type": "write true or false",
    "tuple_type": "write a list, [ ... ]",
    "dict_type": "write an object, {{ ... }}",
    "model_type": "write an object, {{ ... }}",
    "model_attributes_type": "write an object, {{ ... }}",
    "literal_error": "use one of: {expected}",
    "string_pattern_mismatch": "it must match {pattern}",
    "string_too_long": "use at most {max_length} characters",
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}",
    "greater_than_equal": "use a number of at least {ge}",
    "less_than_equal": "use a number of at most {le}",
    "timezone_aware": "add the offset from UTC, as in 2026-11-22T10:00:00Z",
    "datetime_type": "write an instant as text, as in 2026-11-22T10:00:00Z",
    "datetime_from_date_parsing": "write an instant as text, as in 2026-11-22T10:00:00Z",
    "datetime_parsing": "write an instant as text, as in 2026-11-22T10:00:00Z",
    "date_from_datetime_parsing": "write a day as text, as in 2026-11-22",
    "date_type": "write a day as text, as in 2026-11-22",
}
"""By pydantic's error type; {names} come from the error's context."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a message can't be sent, where, and what to do about it."""

    message: int
    """Which one of the input, from 1; 0 for the input as a whole."""
    field: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Draft:
    """One message, ready to be published."""

    number: int
    topic: Topic
    body: Body
    source: str
    id: str
    at: datetime
    correlation: str
    unknown: tuple[str, ...]
    """Fields no contract knows: perhaps misspelt."""


class Faulty(Exception):
    """The input holds messages that can't be sent."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.problem}" for fault in faults))
        self.faults = tuple(faults)


def read_drafts(text: str, now: datetime, source: str, type_name: str | None = None, otherwise: str = "") -> list[Draft]:
    """Every message of the text: one JSON object, a list of them, or one a line.

    `type_name` is the type of all; `otherwise` that of those which don't name one, if it is one at all. Raises Faulty with all faults of
    all messages."""
    drafts: list[Draft] = []
    faults: list[Fault] = []
    for number, entry in enumerate(_entries(text), start=1):
        unnamed = type_name is None and otherwise in BY_TYPE and not _names_its_type(entry)
        try:
            drafts.append(_draft(number, entry, now, source, otherwise if unnamed else type_name))
        except Faulty as error:
            faults += error.faults
    if faults:
        raise Faulty(faults)
    return drafts


def _names_its_type(entry: Any) -> bool:
    return isinstance(entry, dict) and str(entry.get("type")).removeprefix(PREFIX) in BY_TYPE


def _entries(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except RecursionError:
        raise Faulty([_too_deep(0)]) from None
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].rstrip().endswith("}"):
            raise Faulty([_syntax(error, 0)]) from None
        return list(_json_lines(lines))
    return found if isinstance(found, list) else [found]


def _json_lines(lines: Sequence[str]) -> Iterator[Any]:
    faults = []
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except RecursionError:
            faults.append(_too_deep(number))
        except ValueError as error:
            faults.append(_syntax(error, number))
    if faults:
        raise Faulty(faults)


def _syntax(error: ValueError, number: int) -> Fault:
    return Fault(number, "", f"this is no JSON: {error}", "correct it there; several messages stand one a line, or in a list")


def _too_deep(number: int) -> Fault:
    return Fault(number, "", "it is nested too deeply to be read", "write what a message holds, no more than some levels deep")


def _draft(number: int, entry: Any, now: datetime, source: str, type_name: str | None) -> Draft:
    if not isinstance(entry, dict):
        raise Faulty([Fault(number, "", f"a message is an object, this is {type(entry).__name__}", "write { ... }")])
    attributes, data = _parts(entry, type_name)
    kind = _kind(number, attributes.get("type"))
    topic = _open_topic(number, kind)
    body = _body(number, kind, data)
    return Draft(
        number=number,
        topic=topic,
        body=body,
        source=_attribute(number, "source", attributes.get("source") or source),
        id=_attribute(number, "id", attributes.get("id") or _own_id(kind, data)),
        at=_time(number, attributes.get("time"), now),
        correlation=_attribute(number, "correlationid", given) if (given := attributes.get("correlationid")) else "",
        unknown=tuple(unknown_paths(kind, data)),
    )


def _parts(entry: Mapping[str, Any], type_name: str | None) -> tuple[Mapping[str, Any], Any]:
    """(CloudEvents attributes, the message itself), from structured CloudEvents, `{"type", "data"}` or `{"type", ...fields}`."""
    if "specversion" in entry or (isinstance(entry.get("data"), dict) and set(entry) <= {*ENVELOPE, *EXTENSIONS}):
        attributes = {name: value for name, value in entry.items() if name != "data"}
        return attributes if type_name is None else {**attributes, "type": type_name}, entry.get("data")
    if type_name is not None:
        return {"type": type_name}, entry
    return {"type": entry.get("type")}, {name: value for name, value in entry.items() if name != "type"}


def _kind(number: int, type_name: object) -> type[Body]:
    if not isinstance(type_name, str) or not type_name:
        raise Faulty([Fault(number, "type", "it doesn't say what it is", 'add "type": "PlaceOrder" (or another), or use --type')])
    name = type_name.removeprefix(PREFIX)
    if name not in BY_TYPE:
        near = difflib.get_close_matches(name, BY_TYPE, n=3)
        remedy = f"did you mean {' or '.join(near)}?" if near else f"one of: {', '.join(_open_types())}"
        raise Faulty([Fault(number, "type", f"there is no message {name[:64]!r}", remedy)])
    return BY_TYPE[name]


def _open_types() -> list[str]:
    return [kind.__name__ for topic, kind in messages() if topic.external]


def _open_topic(number: int, kind: type[Body]) -> Topic:
    topic = TOPIC_OF[kind]
    if not topic.external:
        problem = f"{kind.__name__} belongs to {topic.name}, which only {topic.owner} writes"
        remedy = f"send what makes {topic.owner} say so; from outside come: {', '.join(_open_types())}"
        raise Faulty([Fault(number, "type", problem, remedy)])
    return topic


def _body(number: int, kind: type[Body], data: Any) -> Body:
    try:
        text = json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Faulty([Fault(number, "", "it holds half a character (a lone surrogate)", "remove the \\ud8.. escape")]) from None
    if len(text) > MAX_BYTES:
        raise Faulty([Fault(number, "", f"it has {len(text)} bytes", f"send at most {MAX_BYTES} bytes a message")])
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise Faulty([_fault(number, entry) for entry in _causes(error)]) from None


def _causes(error: ValidationError) -> list[Any]:
    """Without the lists that are only too short because their entries are wrong."""
    entries: list[Any] = list(error.errors(include_url=False, include_input=False))
    return [entry for entry in entries if entry["type"] != "too_short" or not _has_faults_within(entries, entry["loc"])]


def _has_faults_within(entries: Sequence[Any], path: Sequence[Any]) -> bool:
    return any(len(entry["loc"]) > len(path) and entry["loc"][: len(path)] == path for entry in entries)


def _fault(number: int, entry: Any) -> Fault:
    field = ".".join(str(part) for part in entry["loc"])
    template = REMEDIES.get(entry["type"], "correct it")
    remedy = template.format(**entry.get("ctx", {}))
    if field == "type" and entry["type"] == "missing":
        remedy = 'this message has a field `type` of its own: put the message into "data" beside "type", or use --type'
    return Fault(number, field, str(entry["msg"]).removeprefix("Value error, "), remedy)


def _attribute(number: int, name: str, value: object) -> str:
    """What travels in a header: whoever reads it refuses the message where it is unfit."""
    text = str(value)
    if not is_fit(text):
        raise Faulty([Fault(number, name, f"it is no {name}", f"write printable text of at most {MAX_ATTRIBUTE_BYTES} bytes")])
    return text


def _time(number: int, text: object, now: datetime) -> datetime:
    if text is None:
        return now
    try:
        return TypeAdapter[datetime](Instant).validate_json(json.dumps(text)).astimezone(UTC)
    except ValidationError:
        raise Faulty([Fault(number, "time", f"{text!r} is no instant", REMEDIES["datetime_parsing"])]) from None


def _own_id(kind: type[Body], data: Any) -> str:
    """The same content has the same id: sending a file twice is sending it once."""
    text = json.dumps([kind.__name__, data], sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def unknown_paths(kind: type[BaseModel], data: Any, path: str = "") -> Iterator[str]:
    """Fields of the JSON that the model doesn't have, such as `order.lines.0.deliver_byy`."""
    if not isinstance(data, dict):
        return
    for name, value in data.items():
        field = kind.model_fields.get(name)
        if field is None:
            near = difflib.get_close_matches(name, kind.model_fields, n=1)
            yield f"{path}{name}" + (f" ({near[0]}?)" if near else "")
        else:
            yield from _unknown_within(field.annotation, value, f"{path}{name}.")


def _unknown_within(annotation: Any, value: Any, path: str) -> Iterator[str]:
    inner = next(_models(annotation), None)
    if inner is None:
        return
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from unknown_paths(inner, entry, f"{path}{index}.")
    else:
        yield from unknown_paths(inner, value, path)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models within an annotation: of `tuple[Line, ...]` it is Line."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)
