"""The topic table: every topic's owner, kind, key, message types, partitions and retention, as data.

A topic's kind says how it is treated:

    request    external writers ask; deduplicated by the request id in the aggregate, answered exactly once
    fact       external writers report; deduplicated by (source, id) in the inbox, never declined
    reference  external state: one partition, compacted, the newest record of a key is valid
    events     one service writes it through its lanes: gapless, in commit order
    state      one service writes it from its rows: compacted, the highest version of a key is valid
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from schemas import audit, channel, fulfilment, inventory, orders, payments, reference, returns, sourcing, status, stock
from schemas.forms import Form
from schemas.types import Data, OpenData

Kind = Literal["request", "fact", "reference", "events", "state"]
Body = Data | OpenData
DAY_MS = 86_400_000
KEEP_FOR_EVER = -1
MAX_BATCH_BYTES = 1_048_588
"""Largest batch of records a topic takes."""
MAX_LETTER_BYTES = 2_200_000
"""The same of a dead-letter topic: the largest batch of its source, and the headers that say why."""


EVERY_TOPIC = {"message.timestamp.type": "LogAppendTime", "retention.bytes": str(KEEP_FOR_EVER)}
"""Time is the broker's, and no topic loses records to its size."""
COMPACTED = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3", "delete.retention.ms": str(30 * DAY_MS)}
DEAD_LETTERS = {
    **EVERY_TOPIC,
    "cleanup.policy": "delete",
    "retention.ms": str(KEEP_FOR_EVER),
    "max.message.bytes": str(MAX_LETTER_BYTES),
}
"""How the broker shall keep a dead-letter topic; it has one partition."""


JOURNALS = {
    **EVERY_TOPIC,
    "cleanup.policy": "delete",
    "retention.ms": str(30 * DAY_MS),
    "max.message.bytes": str(MAX_BATCH_BYTES),
}
"""How the broker shall keep a service's journal: as long as backups are kept that may be restored."""


@dataclass(frozen=True, slots=True, eq=False)
class Topic:
    """One topic, equal to itself only. `key` names the attribute of its messages that is the Kafka key."""

    name: str
    kind: Kind
    owner: str
    """The service that writes it; `external` for topics the outside writes, `audit` for what the audit tells."""
    key: str
    types: tuple[type[Body], ...]
    doc: str
    one_partition: bool = False
    retention_ms: int = 30 * DAY_MS

    @property
    def compacted(self) -> bool:
        return self.kind in ("reference", "state")

    @property
    def external(self) -> bool:
        return self.owner == "external"

    @property
    def configuration(self) -> dict[str, str]:
        """How the broker shall keep it, in Kafka's words."""
        cleanup = COMPACTED if self.compacted else {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}
        compression = "uncompressed" if self.external else "producer"
        return {**EVERY_TOPIC, **cleanup, "max.message.bytes": str(MAX_BATCH_BYTES), "compression.type": compression}

    def type_named(self, name: str) -> type[Body] | None:
        return _TYPE_BY_NAME.get((self.name, name))

    def key_of(self, body: Body | Form) -> str:
        return str(getattr(body, self.key))


CHANNEL_ORDERS = Topic(
    "oms.channel.orders.v1",
    "request",
    "external",
    "order_id",
    (channel.PlaceOrder, channel.ChangeOrder, channel.CancelOrder, channel.HoldOrder, channel.ResolveHold),
    "What channels, customer service, fraud checks and ERP ask for.",
)
CHANNEL_ANSWERS = Topic(
    "oms.channel.answers.v1",
    "events",
    "order_capture",
    "order_id",
    (channel.RequestAnswered,),
    "The one answer to each request.",
)
PAYMENT_REPORTS = Topic(
    "oms.payments.reports.v1",
    "fact",
    "external",
    "order_id",
    (
        payments.PaymentAuthorised,
        payments.PaymentDeclined,
        payments.PaymentCaptured,
        payments.PaymentVoided,
        payments.PaymentRefunded,
    ),
    "What payment provider adapters report.",
)
PAYMENT_REQUESTS = Topic(
    "oms.payments.requests.v1",
    "events",
    "order_capture",
    "order_id",
    (payments.CapturePayment, payments.VoidPayment, payments.RefundPayment),
    "What payment provider adapters shall do.",
)
STOCK_REPORTS = Topic(
    "oms.stock.reports.v1",
    "fact",
    "external",
    "location",
    (stock.StockCounted, stock.StockMoved, stock.InboundAnnounced, stock.InboundClosed),
    "What locations report about their stock.",
)
FULFILMENT_REPORTS = Topic(
    "oms.fulfilment.reports.v1",
    "fact",
    "external",
    "order_id",
    (
        fulfilment.WorkAccepted,
        fulfilment.WorkRejected,
        fulfilment.LinesPicked,
        fulfilment.ParcelPacked,
        fulfilment.ParcelShipped,
        fulfilment.ReadyForCollection,
        fulfilment.LinesCollected,
        fulfilment.NotCollected,
        fulfilment.CancelAnswered,
        fulfilment.AmendmentAnswered,
        fulfilment.ReceivedAtDestination,
    ),
    "What locations report about their work.",
)
CARRIER_REPORTS = Topic(
    "oms.carrier.reports.v1",
    "fact",
    "external",
    "carrier_tracking",
    (fulfilment.ParcelTracked,),
    "Tracking events of carriers.",
)
RETURN_REQUESTS = Topic(
    "oms.returns.requests.v1",
    "request",
    "external",
    "order_id",
    (returns.RequestReturn, returns.CancelReturn),
    "What buyers ask to send back.",
)
RETURN_RECEIPTS = Topic(
    "oms.returns.receipts.v1",
    "fact",
    "external",
    "location",
    (returns.GoodsReceived, returns.GoodsInspected),
    "What came back where, and what becomes of it.",
)
ITEMS = Topic("oms.reference.items.v1", "reference", "external", "sku", (reference.Item,), "Items.", one_partition=True)
LOCATIONS = Topic(
    "oms.reference.locations.v1",
    "reference",
    "external",
    "location",
    (reference.Location,),
    "Locations.",
    one_partition=True,
)
POLICIES = Topic(
    "oms.reference.policies.v1",
    "reference",
    "external",
    "policy",
    (reference.Policy,),
    "Sourcing policies.",
    one_partition=True,
)
CHANNELS = Topic(
    "oms.reference.channels.v1",
    "reference",
    "external",
    "channel",
    (reference.Channel,),
    "Channels.",
    one_partition=True,
)
CARRIERS = Topic(
    "oms.reference.carriers.v1",
    "reference",
    "external",
    "carrier",
    (reference.Carrier,),
    "Carriers.",
    one_partition=True,
)
ORDER_EVENTS = Topic(
    "oms.orders.events.v1",
    "events",
    "order_capture",
    "order_id",
    (
        orders.OrderAccepted,
        orders.OrderRejected,
        orders.OrderHeld,
        orders.HoldResolved,
        orders.ChangeRequested,
        orders.OrderChanged,
        orders.CancellationRequested,
        orders.LinesCancelled,
        orders.OrderInvoiced,
        orders.OrderClosed,
        orders.MoneyExceptionOpened,
    ),
    "What became of orders.",
)
INVENTORY_COMMANDS = Topic(
    "oms.inventory.commands.v1",
    "events",
    "sourcing",
    "location",
    (inventory.ReserveStock, inventory.ReleaseStock),
    "What sourcing asks of inventory.",
)
RESERVATIONS = Topic(
    "oms.inventory.reservations.v1",
    "events",
    "inventory",
    "order_id",
    (
        inventory.StockReserved,
        inventory.ReservationDeclined,
        inventory.ReservationReleased,
        inventory.ReservationShorted,
    ),
    "What became of reservations.",
)
INVENTORY_EVENTS = Topic(
    "oms.inventory.events.v1",
    "events",
    "inventory",
    "location",
    (inventory.StockChanged, inventory.DiscrepancyFound),
    "What happened to stock.",
)
AVAILABILITY = Topic(
    "oms.inventory.availability.v1",
    "state",
    "inventory",
    "level_id",
    (inventory.Availability,),
    "The state of every inventory level.",
)
SOURCING_DECISIONS = Topic(
    "oms.sourcing.decisions.v1",
    "events",
    "sourcing",
    "order_id",
    (
        sourcing.OrderSourced,
        sourcing.LinesBackordered,
        sourcing.LinesUnfillable,
        sourcing.PartShorted,
        sourcing.CancellationPassedOn,
        sourcing.ChangePassedOn,
        sourcing.SourcingExceptionOpened,
    ),
    "Which location fulfils what, and why.",
)
FULFILMENT_ORDERS = Topic(
    "oms.fulfilment.orders.v1",
    "events",
    "fulfilment_tracking",
    "location",
    (
        fulfilment.FulfilOrder,
        fulfilment.AmendOrder,
        fulfilment.HoldFulfilment,
        fulfilment.ResumeFulfilment,
        fulfilment.CancelFulfilment,
    ),
    "Instructions to locations.",
)
FULFILMENT_EVENTS = Topic(
    "oms.fulfilment.events.v1",
    "events",
    "fulfilment_tracking",
    "order_id",
    (
        fulfilment.FulfilmentScheduled,
        fulfilment.FulfilmentInstructed,
        fulfilment.FulfilmentAccepted,
        fulfilment.LinesRejectedByLocation,
        fulfilment.LinesWerePicked,
        fulfilment.ParcelWasPacked,
        fulfilment.ParcelWasShipped,
        fulfilment.LinesReadyForCollection,
        fulfilment.LinesHandedOver,
        fulfilment.LinesNotCollected,
        fulfilment.ParcelMoved,
        fulfilment.ParcelCameBack,
        fulfilment.CancellationAnswered,
        fulfilment.ChangeAnswered,
        fulfilment.FulfilmentExceptionOpened,
    ),
    "Reports of locations and carriers after checks.",
)
FULFILMENT_STOCK = Topic(
    "oms.fulfilment.stock.v1",
    "events",
    "fulfilment_tracking",
    "location",
    (fulfilment.StockPicked, fulfilment.StockIssued, fulfilment.IssueDated, fulfilment.ReservationEnded),
    "What fulfilment does to stock.",
)
ORDER_STATUS = Topic(
    "oms.orders.status.v1",
    "state",
    "fulfilment_tracking",
    "order_id",
    (status.OrderStatus,),
    "The unified status of every order.",
)
RETURN_EVENTS = Topic(
    "oms.returns.events.v1",
    "events",
    "returns",
    "order_id",
    (
        returns.ReturnAuthorised,
        returns.ReturnDeclined,
        returns.ReturnCancelled,
        returns.ReturnExpired,
        returns.ReturnReceived,
        returns.ReturnInspected,
        returns.CreditDue,
        returns.ReturnExceptionOpened,
    ),
    "What became of returns.",
)
RETURN_STOCK = Topic(
    "oms.returns.stock.v1",
    "events",
    "returns",
    "location",
    (returns.StockRestocked, returns.StockWrittenOff),
    "What returns do to stock.",
)

AUDIT_DRIFT = Topic(
    "oms.audit.drift.v1",
    "fact",
    "audit",
    "drift_id",
    (audit.DriftFound, audit.DriftGone),
    "What `nervure audit --follow` found to be wrong. No service reads it.",
    one_partition=True,
)

TOPICS: tuple[Topic, ...] = (
    CHANNEL_ORDERS,
    CHANNEL_ANSWERS,
    PAYMENT_REPORTS,
    PAYMENT_REQUESTS,
    STOCK_REPORTS,
    FULFILMENT_REPORTS,
    CARRIER_REPORTS,
    RETURN_REQUESTS,
    RETURN_RECEIPTS,
    ITEMS,
    LOCATIONS,
    POLICIES,
    CHANNELS,
    CARRIERS,
    ORDER_EVENTS,
    INVENTORY_COMMANDS,
    RESERVATIONS,
    INVENTORY_EVENTS,
    AVAILABILITY,
    SOURCING_DECISIONS,
    FULFILMENT_ORDERS,
    FULFILMENT_EVENTS,
    FULFILMENT_STOCK,
    ORDER_STATUS,
    RETURN_EVENTS,
    RETURN_STOCK,
    AUDIT_DRIFT,
)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
TOPIC_OF: dict[type[Body], Topic] = {kind: topic for topic in TOPICS for kind in topic.types}
_TYPE_BY_NAME: dict[tuple[str, str], type[Body]] = {(topic.name, kind.__name__): kind for topic in TOPICS for kind in topic.types}


def topic_of(body: object) -> Topic | None:
    """Where a message stands, read by its contract or in its form; None for what isn't a message."""
    return TOPIC_OF.get(body.contract if isinstance(body, Form) else type(body))  # type: ignore[arg-type]


def owned_by(service: str) -> tuple[Topic, ...]:
    """The topics a service writes."""
    return tuple(topic for topic in BY_NAME.values() if topic.owner == service)


def dead_letter_topic(source: str, service: str) -> str:
    """Where a service puts what it can't read of a topic; hyphens only in the service's name."""
    return f"{source}.dlq.{service.replace('_', '-')}"


def partitions_of(topic: Topic, partitions: int) -> int:
    return 1 if topic.one_partition else partitions


def messages() -> Iterator[tuple[Topic, type[Body]]]:
    for topic in TOPICS:
        for kind in topic.types:
            yield topic, kind
