"""What the topics hold, read whole once and reduced to what the checks compare."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple

from deploy.audit.books import digest_of
from deploy.audit.trail import Trail
from deploy.fleet import SERVICES, load_service
from deploy.lanes import lane_of
from deploy.reading import STALL_S, TopicStalled, partitions_in, whole
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
from shared.kernel.kafka import KafkaFollower, KafkaTopics
from shared.kernel.ports import LaneId, Record, TopicPartition

READ_WHOLE = tuple(topic for topic in TOPICS if topic.owner != "audit")
VIEWED = frozenset(topic.name for name in SERVICES for topic in load_service(name).views)
"""Topics that services read whole into the memory of each process."""
FETCH_S = 0.5
KEPT_DIGESTS = 20_000
"""Of one lane, where reading goes on for long: so many of its newest messages are compared with what comes again under their number."""


class Asked(NamedTuple):
    """A request by its identity: topic, order, and the caller's own id (None where it could not be read)."""

    topic: str
    order_id: str
    request_id: str | None


@dataclass(slots=True)
class LaneContent:
    """The sequence numbers of one lane in one partition: as ranges, so that a lane without gaps takes no room."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    """First and last number of each unbroken run, in order."""
    digests: dict[int, bytes] = field(default_factory=dict)
    """Digest of (id, content) by number; of the newest ones only, where `most_digests` says so."""
    differing: set[int] = field(default_factory=set)
    """Numbers that stand for two different messages."""
    most_digests: int | None = None

    @property
    def first(self) -> int:
        return self.ranges[0][0]

    @property
    def last(self) -> int:
        return self.ranges[-1][1]

    def note(self, seq: int, digest: bytes) -> bool:
        """One more record; whether its number is new."""
        known = self.digests.get(seq)
        if known is not None and known != digest:
            self.differing.add(seq)
        if not self._put(seq):
            return False
        self.digests[seq] = digest
        if self.most_digests is not None and len(self.digests) > self.most_digests:
            self.digests.pop(next(iter(self.digests)))
        return True

    def missing(self, begins_late: bool, most: int) -> list[int]:
        """Numbers that should be there and are not, at most `most`; `begins_late`: from 1 on, not only from the first."""
        ends = [0 if begins_late else self.first - 1, *(last for _, last in self.ranges)]
        gaps = (range(end + 1, first) for end, (first, _) in zip(ends, self.ranges, strict=False))
        return list(islice(chain.from_iterable(gaps), most))

    def _put(self, seq: int) -> bool:
        after = bisect_right(self.ranges, seq, key=lambda run: run[0])
        before = self.ranges[after - 1] if after else None
        if before is not None and seq <= before[1]:
            return False
        first = before[0] if before is not None and before[1] == seq - 1 else seq
        joined = after < len(self.ranges) and self.ranges[after][0] == seq + 1
        last = self.ranges[after][1] if joined else seq
        self.ranges[after - (first < seq) : after + joined] = [(first, last)]
        return True


@dataclass(slots=True)
class Shown:
    """What a state topic shows of one key."""

    version: tuple[int, int]
    digest: bytes | None
    highest: tuple[int, int]
    """The highest version that was ever there: the newest record must be it."""
    at: TopicPartition = TopicPartition("", 0)
    offset: int = 0


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
    """(payment, authorised or captured, when or for which request) as its provider reports it."""
    asked: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    """By request: (capture, void or refund; payment; amount)."""
    refused: set[str] = field(default_factory=set)

    def most(self, payment: str, what: str) -> int:
        """The most that may be authorised or captured of a payment: channel and provider speak of the same money."""
        reported = sum(
            amount
            for (name, kind, of), amount in self.reported.items()
            if (name, kind) == (payment, what) and not (kind == "captured" and self._asked_to_capture(name, of))
        )
        return max(self.claimed[payment, what], reported)

    def _asked_to_capture(self, payment: str, request: str) -> bool:
        """Whether a report answers a request of ours; a request that nobody made is none."""
        return self.asked.get(request, ("", "", 0))[:2] == ("capture", payment)

    def asked_for(self, what: str, payment: str | None = None) -> int:
        """What was asked of providers and not refused."""
        asked = ((request, each) for request, each in self.asked.items() if request not in self.refused)
        return sum(amount for _, (kind, name, amount) in asked if kind == what and payment in (None, name))


class Settled(NamedTuple):
    """How far everybody was at an earlier moment, everything of which has been published and read by now: what an audit beside a
    working system holds services to."""

    tails: Mapping[tuple[TopicPartition, LaneId], int]
    """Last number of each lane in its topic."""
    committed: Mapping[tuple[TopicPartition, LaneId], int]
    """Last number of each lane in its writer's database."""


@dataclass(slots=True)
class Ledger:
    """Everything together."""

    ends: Mapping[TopicPartition, int]
    begins: Mapping[TopicPartition, int]
    records: int = 0
    lanes: dict[tuple[TopicPartition, LaneId], LaneContent] = field(default_factory=dict)
    strays: list[tuple[TopicPartition, int]] = field(default_factory=list)
    """Records on topics of services that belong to no lane: somebody else wrote them. No reader may act on them."""
    trails: dict[TopicPartition, Trail] = field(default_factory=lambda: defaultdict(Trail))
    """Of the topics in VIEWED."""
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
    settled: Settled | None = None
    """None: nothing moves, and everybody has to be at the end."""
    most_digests: int | None = None

    @property
    def expired(self) -> bool:
        """Whether the oldest records of some topic are gone: then what they said can't be counted any more."""
        return any(begin > 0 for at, begin in self.begins.items() if not BY_NAME[at.topic].compacted)

    def note_caught_up(self) -> None:
        """All topics were read to the ends that are noted here."""
        for at, end in self.ends.items():
            if at.topic in VIEWED:
                self.trails[at].note_caught_up(end)


async def read_ledger(topics: KafkaTopics) -> Ledger:
    """Every topic, to its present end. Raises MissingTopic, TopicStalled."""
    at = partitions_in(await topics.existing(), READ_WHOLE)
    bounds = await topics.bounds(at)
    ledger = Ledger({one: end for one, (_, end) in bounds.items()}, {one: begin for one, (begin, _) in bounds.items()})
    async for record in whole(topics, at):
        ledger.records += 1
        _note(ledger, record)
    ledger.note_caught_up()
    return ledger


class Following:
    """The topics for an audit that goes on: each round reads only what is new."""

    def __init__(self, topics: KafkaTopics) -> None:
        self.ledger = Ledger({}, {}, most_digests=KEPT_DIGESTS)
        self._topics = topics
        self._at: list[TopicPartition] = []
        self._follower: KafkaFollower | None = None

    async def read_on(self) -> Ledger:
        """The ledger to the present ends. Raises MissingTopic, TopicStalled, Transient; after them it goes on where it was."""
        if self._follower is None:
            self._at = partitions_in(await self._topics.existing(), READ_WHOLE)
            follower = self._topics.follow(self._at)
            await follower.start()
            self._follower = follower
        bounds = await self._topics.bounds(self._at)
        await self._read_to(self._follower, {one: end for one, (_, end) in bounds.items() if end})
        self.ledger.ends = {one: max(end, self._follower.position(one)) for one, (_, end) in bounds.items()}
        self.ledger.begins = {one: begin for one, (begin, _) in bounds.items()}
        self.ledger.note_caught_up()
        return self.ledger

    async def _read_to(self, follower: KafkaFollower, ends: Mapping[TopicPartition, int]) -> None:
        last = time.monotonic()
        while waiting := [one for one, end in ends.items() if follower.position(one) < end]:
            records = await follower.fetch(FETCH_S)
            for record in records:
                self.ledger.records += 1
                _note(self.ledger, record)
            last = time.monotonic() if records else last
            if time.monotonic() - last > STALL_S:
                raise TopicStalled(topics=", ".join(sorted({one.topic for one in waiting})), seconds=round(STALL_S))

    async def stop(self) -> None:
        if self._follower is not None:
            await self._follower.stop()


def _note(ledger: Ledger, record: Record) -> None:
    topic = BY_NAME[record.topic]
    if topic.name in VIEWED:
        ledger.trails[record.at].note(record, topic)
    if topic.kind == "state":
        _note_state(ledger, record)
    if topic.kind in ("state", "reference"):
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
    shown[key] = Shown(version, digest, max(version, before.highest) if before else version, record.at, record.offset)


def _note_lane(ledger: Ledger, record: Record) -> bool:
    """Whether the record is new in its lane."""
    lane, seq = lane_of(record)
    if lane.service != BY_NAME[record.topic].owner or seq < 1:
        ledger.strays.append((record.at, record.offset))
        ledger.unreadable.append((record.at, record.offset, None))
        return False
    content = ledger.lanes.get((record.at, lane))
    if content is None:
        content = ledger.lanes[record.at, lane] = LaneContent(most_digests=ledger.most_digests)
    return content.note(seq, digest_of((dict(record.headers).get("ce_id") or b"") + b"\n" + (record.value or b"")))


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
        case payments.PaymentCaptured():
            money.reported[body.payment_id, "captured", body.request_id or when] = body.amount_minor
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
