"""CloudEvents 1.0 on Kafka: what we write the library reads, what it writes we read, and what a message hands on to all that follow."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas import generate
from schemas.channel import CancelOrder, PlaceOrder
from schemas.inventory import Availability, ReserveStock
from schemas.topics import AVAILABILITY, CHANNEL_ORDERS, Body, Topic, messages
from schemas.types import Message
from shared.kernel.codec import MAX_BYTES, Envelope, Undecodable, external_record, lane_record, open_envelope, read_body, state_record
from shared.kernel.model import Event, Input, Key, Service, Wake, Woken, World
from shared.kernel.partition import partition_of
from shared.kernel.ports import LaneRow, OutboxRow, Outgoing, Record, TopicPartition
from shared.kernel.views import Documents
from shared.value import replace
from tests.support.counting import ANSWERS, ASKS, COMMANDS, COUNTER, OPENINGS, Ask, Counted, Open, house_keys
from tests.support.small_world import PARTITIONS, SmallWorld

NOW = datetime(2026, 3, 2, 9, 14, 3, 250_000, tzinfo=UTC)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = f"00-{TRACE_ID}-b7ad6b7169203331-01"
EXTERNAL = [pytest.param(t, k, id=k.__name__) for t, k in messages() if t.external and t.kind != "reference"]
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
Document = dict[str, Any]


def example(kind: type[Body]) -> Body:
    return kind.model_validate_json((generate.EXAMPLES / f"{kind.__name__}.json").read_text("utf-8"))


def cancel() -> Document:
    """A structured event, as a channel may write it."""
    body = CancelOrder(request_id="c-1", channel="web", channel_order_ref="100", reason="Größe passt nicht 🙁")
    return {
        "specversion": "1.0",
        "type": "nervure.CancelOrder",
        "source": "/shops/web",
        "id": "e-1",
        "time": "2026-03-02T09:14:03Z",
        "datacontenttype": "application/json",
        "correlationid": "case-7",
        "traceparent": TRACE,
        "data": body.model_dump(mode="json", exclude_unset=True),
    }


def without(name: str) -> Document:
    return {key: value for key, value in cancel().items() if key != name}


def record(value: bytes | None, headers: Any = STRUCTURED, topic: Topic = CHANNEL_ORDERS, key: bytes = b"web:100") -> Record:
    return Record(topic.name, 0, 0, 0, key, value, tuple(headers))


def opened(event: Any, headers: Any = STRUCTURED) -> Envelope:
    return open_envelope(record(event if isinstance(event, bytes) else json.dumps(event).encode(), headers), CHANNEL_ORDERS)


def received(topic: Topic, sent: Outgoing) -> Record:
    return Record(topic.name, 0, 0, 0, sent.key, sent.value, sent.headers)


def as_the_library_reads(sent: Outgoing) -> tuple[Document, Any]:
    assert sent.value is not None
    event = from_binary(KafkaMessage({name: value or b"" for name, value in sent.headers}, sent.key, sent.value), JSONFormat())
    return dict(event.get_attributes()), event.get_data()


# ---- what we write ----


def test_the_library_reads_an_external_message_as_it_was_meant() -> None:
    body = example(PlaceOrder)
    attributes, data = as_the_library_reads(
        external_record(CHANNEL_ORDERS, body, source="/shops/web-fr", id="e-1", now=NOW, correlation="case-7")
    )
    assert attributes == {
        "specversion": "1.0",
        "type": "nervure.PlaceOrder",
        "source": "/shops/web-fr",
        "id": "e-1",
        "time": NOW,
        "partitionkey": "web-fr:100234",
        "datacontenttype": "application/json",
        "correlationid": "case-7",
    }
    assert PlaceOrder.model_validate_json(json.dumps(data)) == body


def test_the_library_reads_an_event_with_its_lane_and_its_causes() -> None:
    body, id = example(ReserveStock), str(UUID(int=7))
    row = OutboxRow(
        "oms.inventory.commands.v1", 0, "lyon-02", "ReserveStock", id, NOW,
        "case-7", "e-1", TRACE, "order/web-fr:100234", 3, body.model_dump_json(exclude_none=True).encode(),
    )  # fmt: skip
    attributes, data = as_the_library_reads(lane_record("sourcing", LaneRow(41, 2, row)))
    assert attributes == {
        "specversion": "1.0",
        "type": "nervure.ReserveStock",
        "source": "/nervure/sourcing",
        "id": id,
        "time": NOW,
        "partitionkey": "lyon-02",
        "datacontenttype": "application/json",
        "correlationid": "case-7",
        "causationid": "e-1",
        "traceparent": TRACE,
        "lane": "sourcing/2",
        "seq": "41",
        "subject": "order/web-fr:100234",
        "subjectversion": "3",
    }
    assert ReserveStock.model_validate_json(json.dumps(data)) == body


def test_the_library_reads_a_state_document_with_its_version() -> None:
    body = example(Availability)
    key = AVAILABILITY.key_of(body)
    attributes, data = as_the_library_reads(state_record("inventory", 2, key, 41, NOW, body))
    assert attributes == {
        "specversion": "1.0",
        "type": "nervure.Availability",
        "source": "/nervure/inventory",
        "id": f"{key}@2.41",
        "time": NOW,
        "partitionkey": key,
        "datacontenttype": "application/json",
        "lane": "inventory/2",
        "seq": "41",
    }
    assert Availability.model_validate_json(json.dumps(data)) == body


# ---- what we read ----


@pytest.mark.parametrize(("topic", "kind"), EXTERNAL)
@pytest.mark.parametrize("write", [to_binary, to_structured])
def test_what_the_library_writes_is_read_whichever_mode_it_chose(write: Any, topic: Topic, kind: type[Body]) -> None:
    body = example(kind)
    attributes = {"type": f"nervure.{kind.__name__}", "source": "/shop", "id": "e-1", "correlationid": "case-7", "traceparent": TRACE}
    event = CloudEvent(attributes | {"datacontenttype": "application/json"}, json.loads(body.model_dump_json(exclude_unset=True)))
    sent = write(event, JSONFormat())
    envelope = open_envelope(record(sent.value, sent.headers.items(), topic), topic)
    assert (envelope.type, envelope.source, envelope.id) == (kind.__name__, "/shop", "e-1")
    assert (envelope.correlation, envelope.trace, envelope.lane) == ("case-7", TRACE, None)
    assert read_body(envelope, topic) == body


def test_both_modes_are_one_message() -> None:
    """Whoever repeats a message in the other mode sends the same message: its identity and its effects derive from source and id."""
    body = example(CancelOrder)
    sent = external_record(CHANNEL_ORDERS, body, source="/shops/web", id="e-1", now=NOW, correlation="case-7")
    binary = open_envelope(received(CHANNEL_ORDERS, sent), CHANNEL_ORDERS)
    structured = opened(cancel() | {"traceparent": None, "data": json.loads(sent.value or b"")})
    assert replace(structured, data=b"") == replace(binary, data=b"")
    assert read_body(structured, CHANNEL_ORDERS) == read_body(binary, CHANNEL_ORDERS) == body


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", b"application/cloudevents+json; charset=UTF-8")],
        [("Content-Type", b"application/cloudevents+json")],
        [("content-type", b" Application/CloudEvents+JSON")],
        [*STRUCTURED, ("ce_type", b"nervure.PlaceOrder"), ("ce_id", b"other")],
        [*STRUCTURED, ("ce_id", None), ("x-whatever", b"\xff\xfe")],
    ],
    ids=["charset", "header in capitals", "media type in capitals", "binary headers beside it", "foreign headers"],
)
def test_the_content_type_alone_says_that_an_event_is_structured(headers: Any) -> None:
    envelope = opened(cancel(), headers)
    assert (envelope.type, envelope.id) == ("CancelOrder", "e-1")
    assert isinstance(read_body(envelope, CHANNEL_ORDERS), CancelOrder)


@pytest.mark.parametrize(
    "value",
    [
        json.dumps(cancel(), indent=4).encode(),
        json.dumps(cancel(), ensure_ascii=False).encode(),
        json.dumps(cancel(), ensure_ascii=False).encode("utf-8-sig"),
        json.dumps(cancel() | {"sampledrate": 30, "urgent": True, "dataschema": None, "nested": {"a": [1]}}).encode(),
        json.dumps(without("data") | {"data_base64": base64.b64encode(json.dumps(cancel()["data"]).encode()).decode()}).encode(),
    ],
    ids=["spread out", "plain text", "byte order mark", "other attributes", "base64"],
)
def test_odd_structured_events_are_read(value: bytes) -> None:
    envelope = opened(value)
    assert (envelope.type, envelope.source, envelope.id) == ("CancelOrder", "/shops/web", "e-1")
    assert (envelope.correlation, envelope.trace) == ("case-7", TRACE)
    assert read_body(envelope, CHANNEL_ORDERS) == CancelOrder.model_validate(cancel()["data"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, "e-1"), ("a\x00b", "ab"), ("x" * 900, "x" * 500), ("a\ud800b", "a?b"), (7, "e-1")],
    ids=["none", "NUL", "endless", "lone surrogate", "number"],
)
def test_a_correlation_id_is_one_that_every_column_and_header_can_hold(given: Any, kept: str) -> None:
    envelope = opened(cancel() | {"correlationid": given})
    assert envelope.correlation == kept
    assert envelope.correlation.encode()


def test_a_structured_event_as_large_as_any_message_is_read() -> None:
    """Letters beyond ASCII count once: they are not escaped on the way in."""
    event = cancel()
    event["data"]["padding"] = "é" * 400_000
    value = json.dumps(event, ensure_ascii=False).encode()
    assert len(value) < MAX_BYTES
    assert isinstance(read_body(opened(value), CHANNEL_ORDERS), CancelOrder)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe\xfa", "not_json"),
        (b'{"data":' * 100_000, "not_json"),
        (json.dumps([cancel()]).encode(), "no_data"),
        (json.dumps(without("data")).encode(), "no_data"),
        (json.dumps(without("data") | {"data_base64": 7}).encode(), "no_data"),
        (json.dumps(without("data") | {"data_base64": "no base64!"}).encode(), "not_json"),
        (json.dumps(without("type")).encode(), "no_type"),
        (json.dumps(cancel() | {"type": "com.example.Cancel"}).encode(), "no_type"),
        (json.dumps(without("source")).encode(), "no_source"),
        (json.dumps(cancel() | {"id": 7}).encode(), "no_id"),
        (json.dumps(cancel() | {"id": "x" * 501}).encode(), "no_id"),
        (b" " * (MAX_BYTES + 1), "too_large"),
    ],
    ids=[
        "empty", "half", "no text", "deep", "a batch", "no data", "base64 of a number", "no base64", "no type", "foreign type",
        "no source", "id of a number", "endless id", "too large",
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_with_what_is_wrong(value: bytes, code: str) -> None:
    with pytest.raises(Undecodable) as caught:
        opened(value)
    assert [problem.code for problem in caught.value.problems] == [code]


@pytest.mark.parametrize("data", [None, "text", [1], json.dumps(cancel()["data"]), {"request_id": "\ud800"}])
def test_data_that_is_no_message_is_refused_by_its_model(data: Any) -> None:
    envelope = opened(cancel() | {"data": data})
    with pytest.raises(Undecodable) as caught:
        read_body(envelope, CHANNEL_ORDERS)
    assert caught.value.type_name == "CancelOrder"


def test_a_batch_of_events_is_refused_it_has_no_place_on_kafka() -> None:
    with pytest.raises(Undecodable, match="the type is ''"):
        opened([cancel()], [("content-type", b"application/cloudevents-batch+json")])


# ---- what a message hands on ----


@dataclass
class Case:
    """One ask in the small world: two services, kept messages and a timer follow from it."""

    world: SmallWorld
    counter: str = "a"
    asks: list[str] = field(default_factory=list)

    def ask(self, id: str, *headers: tuple[str, bytes], structured: bool = False) -> None:
        self.asks.append(id)
        ask = Ask(counter=self.counter, ref=f"r{len(self.asks)}", amount=2)
        if structured:
            event = {"specversion": "1.0", "type": "nervure.Ask", "source": "/world", "id": id, "data": ask.model_dump()}
            value = json.dumps(event | {name.removeprefix("ce_"): text.decode() for name, text in headers}).encode()
            sent = Outgoing(self.counter.encode(), value, STRUCTURED)
        else:
            plain = external_record(ASKS, ask, source="/world", id=id, now=self.world.turns.clock.now())
            sent = Outgoing(plain.key, plain.value, (*plain.headers, *headers))
        self.world.broker.append(TopicPartition(ASKS.name, partition_of(self.counter, PARTITIONS)), [sent])
        self.world.sent.setdefault(self.counter, []).append(2)

    def settle(self) -> None:
        self.world.open(self.counter)
        self.world.run(self.world.at_rest, timedelta(minutes=2))

    def told(self, topic: Topic) -> list[dict[str, str]]:
        """The headers of every message of a topic."""
        records = [r for p in range(PARTITIONS) for r in self.world.broker.records(TopicPartition(topic.name, p))]
        return [{name: (value or b"").decode() for name, value in r.headers} for r in records]


@pytest.fixture
def case() -> Case:
    world = SmallWorld(seed=1)
    for process in world.processes:
        process.start()
    return Case(world)


@pytest.mark.parametrize("structured", [False, True])
def test_correlation_and_trace_reach_every_message_that_follows(case: Case, structured: bool) -> None:
    """Through two services, and through a message that had to be kept; each message is a span of its own."""
    case.ask("ask-1", ("ce_correlationid", b"case-7"), ("ce_traceparent", TRACE.encode()), structured=structured)
    case.world.run(lambda: len(case.world.databases["house"].table("kept")) == 1)
    case.settle()
    [command], [answer] = case.told(COMMANDS), case.told(ANSWERS)
    assert [told["ce_correlationid"] for told in (command, answer)] == ["case-7", "case-7"]
    assert (command["ce_causationid"], answer["ce_causationid"]) == ("ask-1", command["ce_id"])
    spans = [told["ce_traceparent"].split("-") for told in (command, answer)]
    assert [(version, trace, flags) for version, trace, _, flags in spans] == [("00", TRACE_ID, "01")] * 2
    assert len({"b7ad6b7169203331", *(span for _, _, span, _ in spans)}) == 3


def test_cases_side_by_side_are_not_mixed_up(case: Case) -> None:
    """Asks of one counter are decided in one batch."""
    for number in range(6):
        case.ask(f"ask-{number}", ("ce_correlationid", f"case-{number}".encode()))
    case.settle()
    commands = {told["ce_id"]: told for told in case.told(COMMANDS)}
    assert sorted((told["ce_causationid"], told["ce_correlationid"]) for told in commands.values()) == [
        (f"ask-{number}", f"case-{number}") for number in range(6)
    ]
    answers = case.told(ANSWERS)
    assert len(answers) == 6
    assert all(told["ce_correlationid"] == commands[told["ce_causationid"]]["ce_correlationid"] for told in answers)


@pytest.mark.parametrize("trace", [None, b"", b"nonsense", b"00-short-b7ad6b7169203331-01"])
def test_without_correlation_or_trace_a_message_begins_its_own(case: Case, trace: bytes | None) -> None:
    case.ask("ask-1", *([("ce_traceparent", trace)] if trace is not None else []))
    case.settle()
    [command], [answer] = case.told(COMMANDS), case.told(ANSWERS)
    assert command["ce_correlationid"] == answer["ce_correlationid"] == "ask-1"
    begun, went_on = command["ce_traceparent"].split("-"), answer["ce_traceparent"].split("-")
    assert begun[1] == went_on[1] == UUID(command["ce_id"]).hex
    assert begun[2] != went_on[2]


# ---- what a timer hands on ----


def reminds(_: World, given: Input[Any], __: Documents) -> Iterator[Event | Message | Wake]:
    """Opened, it sets a timer; that one tells something and sets another, which tells something, too."""
    if isinstance(given.body, Open):
        yield Wake(Key("counter", given.body.counter), "first", given.now)
    else:
        yield Counted(counter=given.body.key.id, ref=given.body.name, total=0)
        if given.body.name == "first":
            yield Wake(given.body.key, "second", given.now)


REMINDER: Service[Documents] = Service(
    name="house", reads={OPENINGS: (Open,)}, kinds=(COUNTER,), keys=house_keys, decide=reminds, view=Documents
)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("trace", [TRACE, "", "nonsense"])
def test_what_timers_set_off_belongs_to_the_trace_of_who_set_them(trace: str, fails: bool) -> None:
    """Through a timer that a timer has set, and through one that failed and was replayed. Without a trace each message begins its own."""
    world = SmallWorld(seed=1, services=[REMINDER], round_trip=True)
    poisoned = [fails]

    def perhaps(rows: World, given: Input[Any], view: Documents) -> Iterator[Event | Message | Wake]:
        if poisoned[0] and isinstance(given.body, Woken):
            raise ValueError("poisoned")
        yield from reminds(rows, given, view)

    for process in world.processes:
        process.service = replace(REMINDER, decide=perhaps)
        process.start()
    plain = external_record(OPENINGS, Open(counter="a"), source="/world", id="open-a", now=world.turns.clock.now())
    headers = (*plain.headers, ("ce_traceparent", trace.encode()))
    world.broker.append(TopicPartition(OPENINGS.name, 0), [Outgoing(plain.key, plain.value, headers)])
    parked = world.databases["house"].table("parked")
    if fails:
        world.run(lambda: bool(parked))
        poisoned[0] = False
        parked |= {place: row._replace(parked=row.parked._replace(status="replay")) for place, row in parked.items()}
    case = Case(world)
    world.run(lambda: len(case.told(ANSWERS)) == 2)
    told = case.told(ANSWERS)
    ids = [trace_id for _, trace_id, _, _ in (one["ce_traceparent"].split("-") for one in told)]
    assert ids == ([TRACE_ID] * 2 if trace == TRACE else [UUID(one["ce_id"]).hex for one in told])
    assert [one["ce_causationid"] for one in told] == ["timer:first", "timer:second"]
