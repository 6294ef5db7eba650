"""Every decoder that bytes from outside reach, and what must hold of it: a typed value, or its one declared error with a reason.

wire <topic>      the envelope (binary or structured CloudEvents) and the body; what is read is written, read and stored again
arrive <service>  a record on its way into a service: every reason is fit for a dead letter and for an answer; rows named, labels found
view <service>    documents of state and reference topics, and versions of theirs, into a view
decide <service>  what arrived, decided on a world where others were decided before: what follows can be stored and published
asked             PlaceOrder in its form: what its contract takes, and as it takes it
ids               order, request, part and level ids; what a Kafka key is taken for
send              the files of `nervure send`, up to the record
told              what the command line reads of any record: trace, lanes, status
parked            a record put aside in the database, whatever its headers are called
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from deploy.fleet import SERVICES, load_service
from deploy.lanes import lane_of
from deploy.messages import Faulty, read_drafts
from deploy.orders import status_of
from deploy.tracing import read_chapter
from schemas import placing
from schemas.channel import PlaceOrder, RequestAnswered
from schemas.topics import TOPIC_OF, TOPICS, Body, Topic
from schemas.types import is_order_id, is_request_id, order_of_part, unknown_fields
from services.order_capture.content import by_contract, in_order
from shared.kernel.arrivals import Arrival, arrive, read_document
from shared.kernel.codec import (
    MAX_BYTES,
    Undecodable,
    asked_of,
    body_of,
    external_record,
    open_envelope,
    read_body,
    said_by,
    state_version,
    value_of,
)
from shared.kernel.model import Key, Service, Unreadable
from shared.kernel.partition import partition_of
from shared.kernel.pictures import read_back_of
from shared.kernel.ports import Record
from shared.kernel.postgres_columns import record_columns, record_of
from shared.value import encode
from tests.hostile.records import Hostile, hostile_record
from tests.hostile.values import EXAMPLES, broken, hostile_value, mutated, text_of
from tests.hostile.words import ODDITIES, TEXTS
from tests.support.spec import Spec, as_stored

BIGINT = 2**63
INDEXED_BYTES = 2_600
"""What an index of Postgres takes of one row, with some room."""
LIVES = 300
"""Inputs that one world is decided on, before a new one begins."""
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Unfit(AssertionError):
    """A decoder let something pass that nobody behind it can take, or refused without saying why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case."""

    typed: bool
    sign: tuple[str, ...]
    """What distinguishes it: a new sign makes its input worth mutating further."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """One decoder under test. `make` draws an input, `read` decodes it and judges; what it raises is a finding."""

    name: str
    make: Callable[[Random, Mapping[str, bytes]], Any]
    read: Callable[[Any], Outcome]


# ---- what must hold ----


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Unfit(what)


def storable_text(text: str, what: str) -> None:
    must("\x00" not in text, f"{what} holds NUL: {text[:80]!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{what} holds half a character: {text[:80]!r}") from None


def storable(value: Any, what: str) -> None:
    """Nothing in it that a column or a JSON document of Postgres refuses."""
    if isinstance(value, str):
        storable_text(value, what)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        must(-BIGINT <= value < BIGINT, f"{what} is no bigint: {str(value)[:40]}")
    elif isinstance(value, float):
        must(math.isfinite(value), f"{what} is no finite number")
    elif isinstance(value, dict):
        for name, entry in value.items():
            storable(name, f"a name in {what}")
            storable(entry, f"{what}.{name}")
    elif isinstance(value, list | tuple):
        for entry in value:
            storable(entry, what)


def known_part(body: Any) -> Any:
    """The document without the fields that no contract knows: they are listed, and never stored."""
    if hasattr(body, "model_extra"):
        return {name: known_part(getattr(body, name)) for name in type(body).model_fields}
    if isinstance(body, dict):
        return {name: known_part(value) for name, value in body.items()}
    return [known_part(entry) for entry in body] if isinstance(body, tuple | list) else body


def refused(error: Undecodable) -> Outcome:
    """Its reason is fit for a dead letter's row and header, and for an answer, and says where or what to do."""
    detail = str(error)
    storable_text(detail, "the reason")
    must(bool(detail.strip()) and len(error.problems) > 0, "no reason is given")
    for problem in error.problems:
        must(bool(problem.message), "a problem says nothing")
        must(bool(problem.field or problem.remedy or len(problem.message) > 10), f"neither field nor remedy: {problem}")
    answer = RequestAnswered(order_id="a:b", request="unknown", outcome="declined", problems=error.problems)
    must(body_of(RequestAnswered, value_of(answer)) == answer, "the answer can't be read")
    return Outcome(False, tuple(sorted({f"{problem.code} {_generic(problem.field)}" for problem in error.problems}))[:4])


def _generic(field: str) -> str:
    return ".".join("#" if part.isdecimal() else part for part in field.split("."))[:60]


def typed(body: Body, topic: Topic) -> Outcome:
    """What was read can be named, stored, written, and read again as the same."""
    storable(known_part(body), type(body).__name__)
    storable_text(topic.key_of(body), "the key")
    for path in unknown_fields(body):
        must(isinstance(path, str), "a path is no text")
    written = value_of(type(body).model_validate(known_part_typed(body))) if not unknown_fields(body) else b""
    if written:
        must(body_of(type(body), written) == body, f"{type(body).__name__} is another one when it is read again")
    return Outcome(True, (type(body).__name__,))


def known_part_typed(body: Any) -> Any:
    return {name: getattr(body, name) for name in type(body).model_fields}


# ---- records ----


def read_wire(hostile: Hostile) -> Outcome:
    record, topic = hostile.record(), hostile.topic
    said = said_by(record, None)
    must(said.order_id is None or is_order_id(said.order_id), "an order id that is none")
    must(said.request_id is None or is_request_id(said.request_id), "a request id that is none")
    try:
        envelope = open_envelope(record, topic)
        attributes = envelope.source + envelope.id + envelope.correlation + envelope.trace
        storable_text(attributes, "an attribute")
        must(len((envelope.source + envelope.id).encode()) <= INDEXED_BYTES, "source and id are too long for the inbox")
        must(envelope.lane is None or not topic.external, "a lane on an external topic")
        if envelope.lane is not None:
            must(envelope.lane.service == topic.owner, f"a lane of {envelope.lane.service[:40]!r} on a topic of {topic.owner}")
            must(0 < envelope.seq < BIGINT and 0 < envelope.lane.incarnation < 2**31, "a number no lane can have")
        envelope.digest()
        return typed(read_body(envelope, topic), topic)
    except Undecodable as error:
        return refused(error)


def read_arrival(service: Service[Any]) -> Callable[[Hostile], Outcome]:
    def read(hostile: Hostile) -> Outcome:
        arrival = arrive(service, hostile.record())
        return _judge(service, arrival)

    return read


def _judge(service: Service[Any], arrival: Arrival) -> Outcome:
    storable_text(arrival.message_key.id, "the stand-in row")
    if arrival.broken is not None:
        return refused(arrival.broken)
    if arrival.body is None:
        return Outcome(True, ("skipped",))
    need = service.keys(arrival.body, {})
    for key in (*need.keys, *service.find(arrival.body)):
        storable_text(key.id, f"the id of a {key.kind}")
        must(len(key.id.encode()) <= INDEXED_BYTES, f"the id of a {key.kind} is too long for its index")
    if isinstance(arrival.body, Unreadable):
        storable(arrival.body.order_id, "the order")
        return Outcome(False, ("unreadable", arrival.body.type, *(problem.code for problem in arrival.body.problems[:2])))
    return Outcome(True, (type(arrival.body).__name__,))


def read_view(service: Service[Any]) -> Callable[[Hostile], Outcome]:
    view = service.view()

    def read(hostile: Hostile) -> Outcome:
        record = hostile.record()
        incarnation, version = state_version(record)
        must(0 <= version < BIGINT and 0 <= incarnation < 2**31, f"no version: {str((incarnation, version))[:60]}")
        back = read_back_of(record)
        if back is not None:
            storable_text(back.id, "the id read back")
            must(len(back.id.encode()) <= INDEXED_BYTES, "the id read back is too long for its index")
        if record.value is None:
            view.forget(hostile.topic, (record.key or b"").decode("utf-8", "replace"))
            return Outcome(True, ("forgotten",))
        try:
            body = read_document(record, hostile.topic)
        except Undecodable as error:
            return refused(error)
        view.apply(body)
        return typed(body, hostile.topic)

    return read


# ---- deciding ----


class Worlds:
    """A world of a service in which hostile inputs are decided one after the other, and a new one after some hundreds of them."""

    def __init__(self, service: Service[Any]) -> None:
        self._service = service
        self._left = 0
        self._spec = Spec(service)

    def spec(self) -> Spec:
        if self._left == 0:
            self._spec, self._left = Spec(self._service), LIVES
            for topic in (*self._service.views, *self._service.reads):
                for kind in topic.types:
                    body = body_of(kind, EXAMPLES[kind.__name__])
                    if topic in self._service.views:
                        self._spec.documents(body)
                    if topic in self._service.reads and self._service.reading(topic, kind.__name__) is not None:
                        self._spec.given(body)
        self._left -= 1
        return self._spec

    def read(self, hostile: Hostile) -> Outcome:
        arrival = arrive(self._service, hostile.record())
        judged = _judge(self._service, arrival)
        if arrival.body is None or arrival.broken is not None:
            return judged
        spec = self.spec()
        versions = dict(spec.world.versions)
        try:
            spec._run(arrival.body)
        except BaseException:
            self._left = 0
            raise
        said = tuple(type(body).__name__ for body in spec.published)
        for body in spec.published:
            must(body_of(type(body), value_of(body)) == body, f"{type(body).__name__} can't be read by its readers")
            storable(known_part(body), type(body).__name__)
            storable_text(TOPIC_OF[type(body)].key_of(body), "a key")
        for key, version in spec.world.versions.items():
            state = spec.world.states.get(key)
            if state is not None and versions.get(key) != version:
                must(as_stored(state) == state, f"the row {key} is another one when it is read again")
                storable(json.loads(encode(state)), key.kind)
                _show(self._service, key, version, state)
        spec.published.clear()
        spec.view.commit()
        return Outcome(judged.typed, (*judged.sign, *said[:3]))


def _show(service: Service[Any], key: Key, version: int, state: Any) -> None:
    """The document of a row in its state topic, where it has one."""
    for shown in service.states:
        if shown.kind == key.kind and (document := shown.render(key.id, version, state)) is not None:
            [contract], written = shown.topic.types, value_of(document)
            must(value_of(body_of(contract, written)) == written, f"the document of {key} can't be read by its readers")


# ---- what else reads them ----


def read_ids(text: str) -> Outcome:
    order, request = is_order_id(text), is_request_id(text)
    must(order_of_part(text) in text, "the order of a part is not in it")
    key = text.encode("utf-8", "replace")
    must(0 <= partition_of(key.decode(), 4) < 4, "no such partition")
    if order:
        storable_text(text, "an order id")
        must(text.count(":") == 1 and "/" not in text, f"no order id: {text!r}")
        RequestAnswered(order_id=text, request="unknown", outcome="accepted")
    return Outcome(order, (str(order), str(request)))


def read_file(text: str) -> Outcome:
    try:
        drafts = read_drafts(text, NOW, "/nervure/cli")
    except Faulty as error:
        must(len(error.faults) > 0, "no fault is named")
        for fault in error.faults:
            must(bool(fault.problem) and bool(fault.remedy), f"no problem or no remedy: {fault}")
        return Outcome(False, tuple(sorted({f"{_generic(fault.field)} {fault.problem[:16]}" for fault in error.faults}))[:3])
    for draft in drafts:
        record = external_record(draft.topic, draft.body, source=draft.source, id=draft.id, now=draft.at, correlation=draft.correlation)
        sent = Record(draft.topic.name, 0, 0, 0, record.key, record.value, record.headers)
        must(len(record.value or b"") <= MAX_BYTES, "larger than Nervure takes")
        open_envelope(sent, draft.topic)
    return Outcome(True, tuple(sorted({type(draft.body).__name__ for draft in drafts}))[:3])


def read_told(hostile: Hostile) -> Outcome:
    record = hostile.record()
    chapter = read_chapter(record)
    lane, seq = lane_of(record)
    must(seq < BIGINT and lane.incarnation < BIGINT, "a number no lane can have")
    status_of(record)
    return Outcome(chapter.body is not None, (type(chapter.body).__name__, (chapter.who + chapter.says)[:20]))


def read_parked(hostile: Hostile) -> Outcome:
    """Its columns are JSON and texts that Postgres takes, and give the record again."""
    record = hostile.record()
    row = dict(
        zip(
            ("topic", "partition", "off", "appended_ms", "key", "value", "headers"),
            (each[0] for each in record_columns([record])),
            strict=True,
        )
    )
    storable(json.loads(row["headers"]), "the headers")
    again = record_of(row)
    must([value for _, value in again.headers] == [value for _, value in record.headers], "the headers are other ones")
    must(again.value == record.value and again.key == record.key, "the bytes are other ones")
    return Outcome(True, ("parked",))


def read_asked(data: bytes) -> Outcome:
    """A request's form takes less than its contract, never more, and never anything else; what it is asked has one digest."""
    try:
        model: Any = body_of(PlaceOrder, data)
    except Undecodable as error:
        found = refused(error)
        try:
            asked_of(placing.PlaceOrder, data)
        except Undecodable as same:
            must(same.problems == error.problems, "its form names other problems")
            return found
        raise Unfit("its form takes what its contract refuses") from None
    read: Any = asked_of(placing.PlaceOrder, data)
    must(isinstance(read, PlaceOrder) or body_of(PlaceOrder, value_of(read)) == model, "its form is another one")
    must(in_order(read) == in_order(model), "its form has another digest")
    must(by_contract(read.order) == by_contract(model.order), "its content is kept in another way")
    return Outcome(True, (type(read).__module__,))


# ---- the table ----


def _of_topics(topics: Sequence[Topic]) -> Callable[[Random, Mapping[str, bytes]], Hostile]:
    weighed = [topic for topic in topics for _ in topic.types]
    return lambda dice, corpus: hostile_record(dice, dice.choice(weighed), corpus, number=dice.randrange(10**9))


def _text(dice: Random, _: Mapping[str, bytes]) -> str:
    text = dice.choice(TEXTS)
    return broken(dice, text.encode("utf-8", "replace")).decode("utf-8", "replace") if dice.random() < 0.7 else text


def _request(dice: Random, corpus: Mapping[str, bytes]) -> bytes:
    """PlaceOrder, and mostly something that may still be one."""
    data = corpus.get("PlaceOrder", EXAMPLES["PlaceOrder"])
    return hostile_value(dice, data) if dice.random() < 0.5 else text_of(mutated(dice, json.loads(EXAMPLES["PlaceOrder"])))


def _file(dice: Random, corpus: Mapping[str, bytes]) -> str:
    """One message, several in a list, or one a line: the example's fields beside its type, or a CloudEvents object."""
    written: list[bytes] = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        name = dice.choice(list(corpus))
        document = json.loads(EXAMPLES[name])
        event = {"specversion": "1.0", "type": name, "id": dice.choice(TEXTS), "source": dice.choice(("/s", *TEXTS)), "data": document}
        attributed = event if dice.random() < 0.3 else {"type": name, **document}
        entry = json.dumps(attributed).encode()
        written.append(hostile_value(dice, entry) if dice.random() < 0.8 else entry)
    text = dice.choice(ODDITIES) if dice.random() < 0.03 else dice.choice((b"\n".join(written), b"[" + b",".join(written) + b"]"))
    return text.decode("utf-8", "replace")


def decoders() -> list[Decoder]:
    services = {name: load_service(name) for name in SERVICES}
    table = [Decoder(f"wire {topic.name}", _of_topics([topic]), read_wire) for topic in TOPICS]
    for name, service in services.items():
        external = [topic for topic in service.reads if topic.external]
        table.append(Decoder(f"arrive {name}", _of_topics(list(service.reads)), read_arrival(service)))
        table.append(Decoder(f"decide {name}", _of_topics(external), Worlds(service).read))
        table.append(Decoder(f"view {name}", _of_topics([t for t in TOPICS if t.compacted]), read_view(service)))
    table.append(Decoder("asked", _request, read_asked))
    table.append(Decoder("ids", _text, read_ids))
    table.append(Decoder("send", _file, read_file))
    table.append(Decoder("told", _of_topics([topic for topic in TOPICS if topic.kind != "state"]), read_told))
    table.append(Decoder("parked", _of_topics(TOPICS), read_parked))
    return [one for one in table if one.name.split()[0] != "decide" or any(t.external for t in services[one.name.split()[1]].reads)]
