"""What the topics hold, read whole once and reduced to what the checks compare."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deploy.audit.books import digest_of
from deploy.lanes import lane_of
from deploy.reading import partitions_in, whole
from schemas import channel, inventory, orders, payments, returns
from schemas.topics import (
    AVAILABILITY,
    BY_NAME,
    CHANNEL_ANSWERS,
    CHANNEL_ORDERS,
    INVENTORY_COMMANDS,
    ORDER_EVENTS,
    ORDER_STATUS,
    PAYMENT_REPORTS,
    PAYMENT_REQUESTS,
    RESERVATIONS,
    RETURN_EVENTS,
    RETURN_REQUESTS,
    TOPICS,
    Body,
    Topic,
)
from shared.kernel.codec import Envelope, Said, Undecodable, open_envelope, read_body, said_by, state_version
from shared.kernel.kafka import KafkaTopics
from shared.kernel.ports import LaneId, Record, TopicPartition

READ_WHOLE = tuple(topic for topic in TOPICS if topic.kind != "reference")


class Asked(NamedTuple):
    """A request by its identity: topic, order, and the caller's own id (None where it could not be read)."""

    topic: str
    order_id: str
    request_id: str | None


@dataclass(slots=True)
class LaneContent:
    """The sequence numbers of one lane in one partition."""

    ids: dict[int, bytes] = field(default_factory=dict)
    """Digest of (id, content) by sequence number."""
    differing: set[int] = field(default_factory=set)
    """Numbers that stand for two different messages."""


@dataclass(slots=True)
class Shown:
    """What a state topic shows of one key."""

    version: tuple[int, int]
    digest: bytes | None
    highest: tuple[int, int]
    """The highest version that was ever there: the newest record must be it."""


@dataclass(slots=True)
class MoneyOf:
    """Money of one order in minor units, as its messages tell it."""

    total: int = 0
    """Of its last accepted or changed content."""
    most_total: int = 0
    invoiced: int = 0
    invoices: Counter[str] = field(default_factory=Counter)
    claimed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(payment, authorised or captured) as the channel states it."""
    reported: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(payment, authorised or captured, when) as its provider reports it, without our asking."""
    asked: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """By request: (capture, void or refund; payment; amount)."""
    refused: set[str] = field(default_factory=set)

    def most(self, payment: str, what: str) -> int:
        """The most that may be authorised or captured of a payment: channel and provider speak of the same money."""
        reported = sum(amount for (name, kind, _), amount in self.reported.items() if (name, kind) == (payment, what))
        return max(self.claimed[payment, what], reported)

    def asked_for(self, what: str, payment: str | None = None) -> int:
        """What was asked of providers and not refused."""
        asked = ((request, each) for request, each in self.asked.items() if request not in self.refused)
        return sum(amount for _, (kind, name, amount) in asked if kind == what and payment in (None, name))


@dataclass(slots=True)
class Ledger:
    """Everything together."""

    ends: Mapping[TopicPartition, int]
    begins: Mapping[TopicPartition, int]
    records: int = 0
    lanes: dict[tuple[TopicPartition, LaneId], LaneContent] = field(default_factory=dict)
    strays: list[tuple[TopicPartition, int]] = field(default_factory=list)
    """Records on topics of services that belong to no lane: somebody else wrote them. No reader may act on them."""
    states: dict[str, dict[str, Shown]] = field(default_factory=lambda: {AVAILABILITY.name: {}, ORDER_STATUS.name: {}})
    requests: dict[Asked, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Requests with the digests of the different contents they came with."""
    answers: Counter[Asked] = field(default_factory=Counter)
    """Answers that don't repeat an earlier one."""
    repeats: Counter[Asked] = field(default_factory=Counter)
    unreadable: list[tuple[TopicPartition, int, str | None]] = field(default_factory=list)
    """Records nobody can read or may act on, with the order whose key they bear if that is owed an answer."""
    reserve_commands: Counter[str] = field(default_factory=Counter)
    reserve_answers: Counter[str] = field(default_factory=Counter)
    money: dict[str, MoneyOf] = field(default_factory=lambda: defaultdict(MoneyOf))
    accepted: set[str] = field(default_factory=set)

    @property
    def expired(self) -> bool:
        """Whether the oldest records of some topic are gone: then what they said can't be counted any more."""
        return any(begin > 0 for at, begin in self.begins.items() if not BY_NAME[at.topic].compacted)


async def read_ledger(topics: KafkaTopics) -> Ledger:
    """Every topic but the reference data, to its present end. Raises MissingTopic, TopicStalled."""
    at = partitions_in(await topics.existing(), READ_WHOLE)
    bounds = await topics.bounds(at)
    ledger = Ledger({one: end for one, (_, end) in bounds.items()}, {one: begin for one, (begin, _) in bounds.items()})
    async for record in whole(topics, at):
        ledger.records += 1
        _note(ledger, record)
    return ledger


def _note(ledger: Ledger, record: Record) -> None:
    topic = BY_NAME[record.topic]
    if topic.kind == "state":
        _note_state(ledger, record)
        return
    if topic.kind == "events" and not _note_lane(ledger, record):
        return
    reader = _READERS.get(topic.name)
    if reader is None and not topic.external:
        return
    envelope = None
    try:
        envelope = open_envelope(record, topic)
        body = read_body(envelope, topic)
    except Undecodable:
        if topic.external:
            _note_unreadable(ledger, record, topic, envelope)
        return
    if reader is not None:
        reader(ledger, body, envelope)


def _note_state(ledger: Ledger, record: Record) -> None:
    shown, key, version = ledger.states[record.topic], (record.key or b"").decode(errors="replace"), state_version(record)
    digest = digest_of(record.value) if record.value is not None else None
    before = shown.get(key)
    shown[key] = Shown(version, digest, max(version, before.highest) if before else version)


def _note_lane(ledger: Ledger, record: Record) -> bool:
    """Whether the record is new in its lane."""
    lane, seq = lane_of(record)
    if not lane.service or seq < 1:
        ledger.strays.append((record.at, record.offset))
        ledger.unreadable.append((record.at, record.offset, None))
        return False
    content = ledger.lanes.setdefault((record.at, lane), LaneContent())
    digest = digest_of((dict(record.headers).get("ce_id") or b"") + b"\n" + (record.value or b""))
    known = content.ids.get(seq)
    if known is None:
        content.ids[seq] = digest
        return True
    if known != digest:
        content.differing.add(seq)
    return False


def _note_unreadable(ledger: Ledger, record: Record, topic: Topic, envelope: Envelope | None) -> None:
    order, request_id = said_by(record, envelope) if topic.kind == "request" else Said()
    ledger.unreadable.append((record.at, record.offset, order))
    if order is not None:
        ledger.requests[Asked(record.topic, order, request_id)].add(f"{record.partition}/{record.offset}".encode())


# ---- what each topic tells ----


def _channel_request(ledger: Ledger, body: Body, _: Envelope) -> None:
    assert isinstance(body, channel.ChannelRequest)
    content = body.model_dump_json(exclude={"request_id", "actor", "reason"})
    digest = digest_of(f"{type(body).__name__}\n{content}".encode())
    ledger.requests[Asked(CHANNEL_ORDERS.name, body.order_id, body.request_id)].add(digest)
    if isinstance(body, channel.PlaceOrder | channel.ChangeOrder):
        _note_claims(ledger.money[body.order_id], body.order.payments)


def _note_claims(money: MoneyOf, claimed: tuple[channel.Payment, ...]) -> None:
    for payment in claimed:
        states = {"pending": (), "authorised": ("authorised",), "captured": ("authorised", "captured")}[payment.status]
        for state in states:
            money.claimed[payment.payment_id, state] = max(money.claimed[payment.payment_id, state], payment.amount_minor)


def _channel_answer(ledger: Ledger, body: Body, _: Envelope) -> None:
    assert isinstance(body, channel.RequestAnswered)
    counter = ledger.repeats if body.repeated else ledger.answers
    counter[Asked(CHANNEL_ORDERS.name, body.order_id, body.request_id)] += 1


def _return_request(ledger: Ledger, body: Body, _: Envelope) -> None:
    assert isinstance(body, returns.RequestReturn | returns.CancelReturn)
    digest = digest_of(f"{type(body).__name__}\n{body.model_dump_json()}".encode())
    ledger.requests[Asked(RETURN_REQUESTS.name, body.order_id, body.request_id)].add(digest)


def _return_event(ledger: Ledger, body: Body, _: Envelope) -> None:
    if isinstance(body, returns.ReturnAuthorised | returns.ReturnDeclined | returns.ReturnCancelled):
        counter = ledger.repeats if body.repeated else ledger.answers
        counter[Asked(RETURN_REQUESTS.name, body.order_id, body.request_id)] += 1


def _order_event(ledger: Ledger, body: Body, _: Envelope) -> None:
    money = ledger.money[str(getattr(body, "order_id", ""))]
    match body:
        case orders.OrderAccepted() | orders.OrderChanged():
            ledger.accepted.add(body.order_id)
            money.total = body.order.total_minor
            money.most_total = max(money.most_total, money.total)
        case orders.OrderInvoiced():
            money.invoiced += body.amount_minor
            money.invoices[body.invoice_id] += 1
        case _:
            """Says nothing of money."""


def _command(ledger: Ledger, body: Body, _: Envelope) -> None:
    if isinstance(body, inventory.ReserveStock):
        ledger.reserve_commands[body.part_id] += 1


def _reservation(ledger: Ledger, body: Body, _: Envelope) -> None:
    if isinstance(body, inventory.StockReserved | inventory.ReservationDeclined):
        ledger.reserve_answers[body.part_id] += 1


def _payment_request(ledger: Ledger, body: Body, _: Envelope) -> None:
    assert isinstance(body, payments.PaymentRequest)
    kind = {"CapturePayment": "capture", "VoidPayment": "void", "RefundPayment": "refund"}[type(body).__name__]
    ledger.money[body.order_id].asked[body.request_id] = kind, body.payment_id, body.amount_minor


def _payment_report(ledger: Ledger, body: Body, _: Envelope) -> None:
    assert isinstance(body, payments.PaymentFact)
    money, when = ledger.money[body.order_id], body.occurred_at.isoformat()
    match body:
        case payments.PaymentAuthorised():
            money.reported[body.payment_id, "authorised", when] = body.amount_minor
        case payments.PaymentCaptured(request_id=None):
            money.reported[body.payment_id, "captured", when] = body.amount_minor
        case payments.PaymentDeclined(request_id=str(request_id)):
            money.refused.add(request_id)
        case _:
            """Given up, or given back: neither makes room for more."""


_READERS: Mapping[str, Callable[[Ledger, Any, Envelope], None]] = {
    CHANNEL_ORDERS.name: _channel_request,
    CHANNEL_ANSWERS.name: _channel_answer,
    RETURN_REQUESTS.name: _return_request,
    RETURN_EVENTS.name: _return_event,
    ORDER_EVENTS.name: _order_event,
    INVENTORY_COMMANDS.name: _command,
    RESERVATIONS.name: _reservation,
    PAYMENT_REQUESTS.name: _payment_request,
    PAYMENT_REPORTS.name: _payment_report,
}
