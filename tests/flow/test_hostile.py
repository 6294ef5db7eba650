"""Hostile bytes on every input topic: exactly one dead letter or one answer each, and whatever comes behind them is served.

One order walks its whole road. Before each of its messages the same partition gets every attack there is.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.fleet import reads_by_service
from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas import reference, topics
from schemas import returns as rt
from schemas.orders import OrderAccepted
from schemas.stock import CountedLine, StockCounted
from schemas.topics import TOPIC_OF, Body, Topic, partitions_of
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, Record
from tests.support.desk import Desk, Place, soon
from tests.support.steps import (
    answered,
    deliver,
    ended,
    inspected,
    left_clean,
    paid,
    received,
    return_request,
    shipped,
    tracking_number,
)

NewPlace = Callable[..., Awaitable[Place]]
MARK = "x-attack"
EXAMPLES = Path(topics.__file__).parent / "examples"
Headers = tuple[tuple[str, bytes], ...]
Document = dict[str, Any]
PLANTED = "planted-here"
"""Stands in a text of the document where bytes are put that no text may hold."""
FIGURES = {"infinite": "1e999", "huge": "1" + "0" * 400, "no number": "NaN", "below zero": "-1", "text": '"1"'}
BIG = 1_020_000
"""Bytes: more than a message may have, fewer than the broker refuses."""


def headers_of(body: Body, **changes: bytes | None) -> Headers:
    """Those of a good message, changed; None leaves one out."""
    named = {"ce_type": f"nervure.{type(body).__name__}".encode(), "ce_source": b"/stranger", "ce_id": uuid4().hex.encode()} | changes
    return tuple((name, value) for name, value in named.items() if value is not None)


def broken_values(body: Body, text: str, odd: str) -> Iterator[tuple[str, bytes]]:
    """Values that are no document of this type. `text` names a field of text, `odd` one that is neither text nor a number."""
    document: Document = json.loads(body.model_dump_json(exclude_none=True))
    planted = json.dumps(document | {text: PLANTED}).encode()
    yield "empty", b""
    yield "no text", b"\xff\xfe\x00\x01 no text at all \xc3\x28"
    yield "half", planted[: len(planted) // 2]
    yield "two documents", planted + planted
    yield "a list", b"[1, 2, 3]"
    yield "a word", b'"hello"'
    yield "nothing in it", b"{}"
    yield "deep", b"[" * 200_000
    yield "deep objects", b'{"a":' * 100_000
    yield "NUL", planted.replace(PLANTED.encode(), b"a\\u0000b")
    yield "raw NUL", planted.replace(PLANTED.encode(), b"a\x00b")
    yield "lone surrogate", planted.replace(PLANTED.encode(), b"a\\ud800b")
    yield "bytes in a text", planted.replace(PLANTED.encode(), b"a\xff\xfeb")
    yield "endless text", planted.replace(PLANTED.encode(), b"x" * 9_000)
    for name, figure in FIGURES.items():
        yield f"{name} figure", planted[:-1] + f', "{odd}": {figure}}}'.encode()
    yield "too large", planted[:-1] + b', "padding": "' + b"x" * BIG + b'"}'


def broken_headers(body: Body) -> Iterator[tuple[str, Headers]]:
    """Headers under which a good document can't be read."""
    yield "no headers", ()
    yield "no type", headers_of(body, ce_type=None)
    yield "foreign type", headers_of(body, ce_type=b"com.example.Order")
    yield "unknown type", headers_of(body, ce_type=b"nervure.DropTable")
    yield "type no text", headers_of(body, ce_type=b"\xff\xfe")
    yield "no id", headers_of(body, ce_id=None)
    yield "endless id", headers_of(body, ce_id=b"x" * 5_000)
    yield "NUL in the source", headers_of(body, ce_source=b"/a\x00b")
    yield "structured in name only", (*headers_of(body), ("content-type", b"application/cloudevents+json"))


def names_an_order(value: bytes) -> bool:
    """Whether a reader of its body can tell whose answer it gets."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return len(value) < BIG and isinstance(document, dict) and not {"channel_order_ref", "order_id"}.isdisjoint(document)


def about(order_id: str, named: str, value: bytes) -> bytes:
    """The same body about another order than the one it names: by its id, or by channel and reference."""
    for was, is_ in zip((named, *named.split(":")), (order_id, *order_id.split(":")), strict=True):
        value = value.replace(f'"{was}"'.encode(), f'"{is_}"'.encode())
    return value


@dataclass
class Siege:
    """The attacks on one system, and what became of each."""

    desk: Desk
    place: Place
    letters: dict[str, Topic] = field(default_factory=dict)
    """Attack to its topic, where every service that reads it owes a dead letter."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Order id to the attack, where an answer is due."""

    async def attack(self, body: Body, text: str, odd: str) -> None:
        """Everything hostile, on the partition of this message, in front of it. The fields are those of `broken_values`."""
        topic = TOPIC_OF[type(body)]
        key = topic.key_of(body)
        at = partition_of(key, partitions_of(topic, self.desk.partitions))
        await self.desk.raw(topic.name, at, *self._attacks(body, text, odd))
        await self.desk.say(body)

    def _attacks(self, body: Body, text: str, odd: str) -> Iterator[Outgoing]:
        topic = TOPIC_OF[type(body)]
        key, value = topic.key_of(body), body.model_dump_json(exclude_none=True).encode()
        for name, broken in broken_values(body, text, odd):
            yield from self._attack(topic, name, key, broken, headers_of(body))
        if topic.kind != "reference":
            for name, headers in broken_headers(body):
                yield from self._attack(topic, name, key, value, headers)
            for name, bad_key in (("key no text", b"\xff\x00\xfe"), ("endless key", b"k" * 20_000), ("no key", b"")):
                yield self._marked(topic, name, bad_key, b"nonsense", headers_of(body))

    def _attack(self, topic: Topic, name: str, key: str, value: bytes, headers: Headers) -> Iterator[Outgoing]:
        """On a topic of requests twice: under an order's id it is answered, under another key only if its body names an order."""
        if topic.kind != "request":
            yield self._marked(topic, name, key.encode(), value, headers)
            return
        yield Outgoing(self._refused(topic, name).encode(), value, headers)
        stray = f"no order {name}".encode()
        if names_an_order(value):
            order_id = self._refused(topic, f"{name} under another key")
            yield Outgoing(stray, about(order_id, key, value), headers)
        else:
            yield self._marked(topic, name, stray, value, headers)

    def _refused(self, topic: Topic, name: str) -> str:
        """The order that an attack is about, whose answer is due; of a channel of its own, for nobody asks in good faith there."""
        order_id = f"{self.place.channel}-attack:{uuid4().hex[:12]}"
        self.refusals[order_id] = f"{topic.name} {name}"
        return order_id

    def _marked(self, topic: Topic, name: str, key: bytes, value: bytes, headers: Headers) -> Outgoing:
        mark = f"{self.place.name} {topic.name} {name} {len(self.letters)}"
        self.letters[mark] = topic
        return Outgoing(key, value, (*headers, (MARK, mark.encode())))

    async def hail(self, topic: Topic, at: int, count: int) -> None:
        """Nonsense, all at once."""
        await self.desk.raw(topic.name, at, *(self._marked(topic, "hail", b"key", b"nonsense", ()) for _ in range(count)))

    async def trespass(self, topic: Topic) -> None:
        """A stranger writes to a topic that a service owns: nonsense, and good-looking messages without the owner's lane."""
        for kind in topic.types:
            headers = (("ce_type", f"nervure.{kind.__name__}".encode()), ("ce_source", b"/stranger"), ("ce_id", uuid4().hex.encode()))
            example = (EXAMPLES / f"{kind.__name__}.json").read_bytes()
            for value in (b"nonsense", example):
                await self.desk.raw(topic.name, 0, self._marked(topic, kind.__name__, b"key", value, headers))

    def letters_of(self, mark: str) -> list[Record]:
        return [letter for letter in self.desk.dead_letters if dict(letter.headers).get(MARK) == mark.encode()]

    def answers_of(self, order_id: str) -> list[Body]:
        return [*self.desk.all(ch.RequestAnswered, order_id=order_id), *self.desk.all(rt.ReturnDeclined, order_id=order_id)]

    async def lifted(self) -> None:
        """Each attack has had its one dead letter, or its one answer."""
        await self.desk.rest()
        due, found = readers(), {mark: sorted(map(reader_of, self.letters_of(mark))) for mark in self.letters}
        wrong = {mark: by for mark, by in found.items() if by != due[self.letters[mark].name]}
        assert wrong == {}, f"{len(wrong)} of {len(self.letters)} attacks have not exactly one dead letter from each reader"
        answers = {attack: len(self.answers_of(order_id)) for order_id, attack in self.refusals.items()}
        odd = {attack: count for attack, count in answers.items() if count != 1}
        assert odd == {}, f"{len(odd)} of {len(self.refusals)} attacks have not exactly one answer"


def readers() -> Mapping[str, list[str]]:
    """The services that read each topic as input."""
    found: dict[str, list[str]] = {}
    for service, read in sorted(reads_by_service().items()):
        for topic in read:
            found.setdefault(topic.name, []).append(service)
    return found


def reader_of(letter: Record) -> str:
    """The service that could not read it."""
    return (dict(letter.headers)["__connect.errors.connector.name"] or b"").decode()


@pytest.mark.timeout(180)
async def test_hostile_bytes_stop_nothing(desk: Desk, place: NewPlace) -> None:
    """An order is placed, paid, shipped, delivered and returned through a hail of them."""
    here = await place(channel={"unpaid": "hold"})
    siege = Siege(desk, here)
    await siege.attack(reference.Item(sku=here.sku("new"), weight_g=700), "description", "weight_g")
    await siege.attack(here.location_document("paris", name="Paris"), "name", "capacity_orders_a_day")
    await siege.attack(reference.Channel(channel=here.channel, policy=here.name, name="Shop"), "name", "hold_deadline_s")
    await siege.attack(reference.Carrier(carrier=here.carrier, name="Post"), "name", "km_a_day")
    policy = reference.Policy(policy=here.name, carrier=here.carrier, locations=tuple(here.locations), version=2)
    await siege.attack(policy, "currency", "max_parts")
    await desk.views_caught_up()

    lines = (CountedLine(sku=here.sku("new"), quantity=9),)
    await siege.attack(StockCounted(location=here.at("paris"), count_id="c1", as_of=soon(), lines=lines), "count_id", "lines")
    await here.holds("paris", "new", sellable=9)
    claimed = ch.Payment(payment_id="card-1", amount_minor=2000)
    order = here.order({"new": 2}, payment_terms="capture_on_shipment", payments=(claimed,))
    await siege.attack(order, "reason", "order")
    assert (await answered(desk, order)).outcome == "held"
    await siege.attack(paid(pay.PaymentAuthorised, order.order_id, 2000), "payment_id", "amount_minor")
    accepted = await desk.see(OrderAccepted, order_id=order.order_id)
    assert accepted.order.lines[0].weight_g == 700
    [work] = await here.instructed(order.order_id)
    await siege.attack(shipped(here, work), "parcel_id", "lines")
    await desk.see(ff.ParcelWasShipped, order_id=order.order_id)
    tracked = ff.ParcelTracked(carrier=here.carrier, tracking_number=tracking_number(work), status="delivered", occurred_at=soon())
    await siege.attack(tracked, "place", "status")
    await ended(here, order.order_id, "completed")
    await siege.attack(return_request(order.order_id, new=1), "actor", "lines")
    authorised = await desk.see(rt.ReturnAuthorised, order_id=order.order_id)
    await siege.attack(received(here, "paris", "r1", return_id=authorised.return_id, new=1), "receipt_id", "lines")
    await desk.say(inspected(here, "paris", "r1", new=1))
    await here.holds("paris", "new", sellable=8, reserved=0)
    await desk.see(rt.CreditDue, order_id=order.order_id)
    await siege.lifted()
    assert {topic.name for topic in siege.letters.values()} == {topic.name for topic in topics.TOPICS if topic.external}
    await left_clean(here, dead_letters=None)


async def test_strangers_on_the_topics_of_services_stop_nothing(desk: Desk, place: NewPlace) -> None:
    """What doesn't come through its owner's lane is a dead letter for each reader, and an order goes its way."""
    here = await place()
    siege = Siege(desk, here)
    read = readers()
    for topic in topics.TOPICS:
        if topic.kind == "events" and topic.name in read:
            await siege.trespass(topic)
    await siege.hail(topics.STOCK_REPORTS, partition_of(here.at("paris"), desk.partitions), 250)
    await here.stock("paris", a=5)
    order = await here.place({"a": 2})
    await deliver(here, *await here.instructed(order))
    await ended(here, order, "completed")
    await here.holds("paris", "a", sellable=3, reserved=0)
    await siege.lifted()
    await left_clean(here)
