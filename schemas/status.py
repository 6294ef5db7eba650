"""The unified status document of an order: its quantities, promise, fulfilment orders, parcels, exceptions and timeline."""

from __future__ import annotations

from typing import Literal

from schemas.orders import LineQuantity
from schemas.reference import Method
from schemas.sourcing import Promise
from schemas.types import Code, Count, Data, Instant, LineId, LocationId, Message, OrderId, PartId, Reference, Sku, Text, Version

TrackingStatus = Literal[
    "unknown",
    "label_created",
    "in_transit",
    "out_for_delivery",
    "ready_for_pickup",
    "attempt_failed",
    "delivered",
    "returning",
    "returned",
    "exception",
    "cancelled",
    "expired",
]
"""Where a parcel is, in the words all carriers share."""

OrderStatusName = Literal[
    "held",
    "accepted",
    "backordered",
    "in_fulfilment",
    "partly_shipped",
    "shipped",
    "ready_for_collection",
    "completed",
    "cancelled",
    "rejected",
    "partly_completed",
]
"""An order's status in one word."""


class LineStatus(Data):
    """Every quantity of one line, in its item's base unit. `status` follows from them."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    ordered: Count
    """Ordered, in base units."""
    cancelled: Count = 0
    """Cancelled for good, whoever held them, in base units."""
    unfillable: Count = 0
    """Given up because nobody can serve them, in base units."""
    backordered: Count = 0
    """Waiting for stock, in base units."""
    reserved: Count = 0
    """In fulfilment orders that are scheduled, not yet instructed, in base units."""
    released: Count = 0
    """Instructed to a location, in all, in base units."""
    picked: Count = 0
    """Picked, in all, in base units."""
    packed: Count = 0
    """Packed into parcels, in all, in base units."""
    shipped: Count = 0
    """Shipped, in all, in base units."""
    ready: Count = 0
    """Waiting for the buyer at a collection point, in base units."""
    handed_over: Count = 0
    """Delivered to or collected by the buyer, in all, in base units."""
    return_requested: Count = 0
    """In returns that are authorised and have not come, in base units."""
    received_back: Count = 0
    """Received back, in all, in base units."""
    written_off: Count = 0
    """Received back and never to be sold again (donated, destroyed, back to the supplier), in all, in base units."""
    credited: Count = 0
    """Credited to the buyer, in all, in base units."""
    status: Code
    """The line's status in one word."""


class FulfilmentStatus(Data):
    """One fulfilment order as it stands."""

    fulfilment_order_id: PartId
    """The fulfilment order: the part's id."""
    location: LocationId
    """The location that works on it."""
    method: Method
    """Delivery method."""
    status: Literal["scheduled", "requested", "accepted", "in_progress", "on_hold", "incomplete", "closed", "cancelled"]
    """How far it has come."""
    revision: Count
    """Newest revision of its instruction; 0 before the first."""
    release_at: Instant
    """When the location is instructed, UTC."""
    ship_by: Instant
    """Latest handover to the carrier or the buyer that keeps the promise, UTC."""


class ParcelStatus(Data):
    """One parcel as it stands."""

    parcel_id: Code
    """The location's id of the parcel."""
    fulfilment_order_id: PartId
    """The fulfilment order it was packed for."""
    carrier: Code | None = None
    """The carrier; missing before it is known."""
    tracking_number: Code | None = None
    """The carrier's tracking number; missing before it is known."""
    status: TrackingStatus = "unknown"
    """Its tracking status."""
    raw_code: Text = ""
    """The carrier's own code for it."""
    lines: tuple[LineQuantity, ...] = ()
    """Its contents, by line."""
    shipped_at: Instant | None = None
    """When it left the location, UTC."""
    delivered_at: Instant | None = None
    """When the buyer got it, UTC."""


class OpenException(Data):
    """An exception that a person has to look at."""

    exception_id: Reference
    """Id of the exception, unique within the order."""
    kind: Code
    """What is wrong, for machines."""
    detail: Text
    """What is wrong, for people."""
    action: Text
    """What the person should do."""
    opened_at: Instant
    """When it was opened, UTC."""


class TimelineEntry(Data):
    """One thing that happened to the order."""

    at: Instant
    """When it happened, UTC."""
    what: Code
    """What happened, for machines."""
    detail: Text = ""
    """What happened, for people."""


class Waiting(Data):
    """What the order waits for, and until when: every order that hasn't ended says so."""

    reason: Code
    """What it waits for, for machines."""
    until: Instant | None = None
    """Until when, UTC; missing only where a person must act (an open exception says which)."""


class OrderStatus(Message):
    """The unified status document of one order."""

    order_id: OrderId
    """The order."""
    version: Version
    """Version of the document: the highest is valid."""
    channel: Code
    """The channel that sells."""
    status: OrderStatusName
    """The order's status in one word; follows from its lines and holds."""
    revision: Count = 0
    """Newest revision of the order's content."""
    placed_at: Instant | None = None
    """When the buyer placed the order, UTC."""
    lines: tuple[LineStatus, ...] = ()
    """Every line and its quantities."""
    holds: tuple[Code, ...] = ()
    """Ids of the open holds."""
    promise: Promise | None = None
    """What the buyer is told: the latest promise of its parts."""
    fulfilment_orders: tuple[FulfilmentStatus, ...] = ()
    """The fulfilment orders of all decisions."""
    parcels: tuple[ParcelStatus, ...] = ()
    """The parcels known."""
    exceptions: tuple[OpenException, ...] = ()
    """Exceptions that are open."""
    waiting: tuple[Waiting, ...] = ()
    """Empty once the order has ended."""
    timeline: tuple[TimelineEntry, ...] = ()
    """Oldest first; the newest 200 entries."""
