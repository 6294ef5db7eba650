"""Fulfilment: reports of locations and carriers in; instructions, normalised events, stock effects and order status out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.orders import Contact, LineQuantity
from schemas.reference import Method
from schemas.sourcing import Promise
from schemas.types import (
    Amount,
    Code,
    Count,
    Currency,
    Data,
    Gtin,
    Instant,
    LineId,
    LocationId,
    Message,
    OrderId,
    PartId,
    Quantity,
    Reference,
    RequestId,
    Sku,
    Text,
    Version,
)

RejectionReason = Literal["not_found", "damaged", "no_capacity", "closed", "wrong_item", "other"]
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


# ---- reports of locations (oms.fulfilment.reports.v1) ----


class LineTotal(Data):
    """A running total of one line within one fulfilment order (or one parcel): repeats and disorder change nothing."""

    line_id: LineId
    total: Count
    sku: Sku | None = None
    """Named when something else than the line's item was handled, or the line is unknown."""


class LocationReport(Message):
    """What every report of a location carries."""

    order_id: OrderId
    fulfilment_order_id: PartId
    location: LocationId
    """Where it really happened."""
    occurred_at: Instant


class WorkAccepted(LocationReport):
    """The location takes the work on."""


class RejectedLine(Data):
    line_id: LineId
    total: Count
    """Units of this line this location rejects, in all."""
    reason: RejectionReason


class WorkRejected(LocationReport):
    """The location can't do these units."""

    lines: Annotated[tuple[RejectedLine, ...], Field(min_length=1, max_length=500)]
    note: Text = ""


class LinesPicked(LocationReport):
    """Running totals picked. With `final`, what is missing will not be picked (short)."""

    lines: Annotated[tuple[LineTotal, ...], Field(max_length=500)]
    final: bool = False


class ParcelPacked(LocationReport):
    """A parcel and its whole contents."""

    parcel_id: Code
    """SSCC or the location's own parcel number, unique within the fulfilment order."""
    lines: Annotated[tuple[LineTotal, ...], Field(max_length=500)]
    carrier: Code | None = None
    tracking_number: Code | None = None
    weight_g: Count = 0


class ParcelShipped(LocationReport):
    """A parcel left. `lines` is its whole contents."""

    parcel_id: Code
    lines: Annotated[tuple[LineTotal, ...], Field(min_length=1, max_length=500)]
    carrier: Code
    tracking_number: Code


class ReadyForCollection(LocationReport):
    """Running totals waiting for the buyer."""

    lines: Annotated[tuple[LineTotal, ...], Field(min_length=1, max_length=500)]


class LinesCollected(LocationReport):
    """Running totals handed to the buyer at the location."""

    lines: Annotated[tuple[LineTotal, ...], Field(min_length=1, max_length=500)]


class NotCollected(LocationReport):
    """The buyer did not come; what was ready goes back to the shelf."""


class CancelAnswered(LocationReport):
    """The location's word on a cancellation: running totals of units it did not and will not ship."""

    request_id: RequestId
    accepted: tuple[LineTotal, ...] = ()
    """Units cancelled by this request; a line not named is refused."""


class AmendmentAnswered(LocationReport):
    """The location's word on a new revision."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    accepted: bool


class ReceivedAtDestination(LocationReport):
    """A transfer arrived at its destination: running totals received in good and in bad condition."""

    parcel_id: Code
    lines: tuple[LineTotal, ...]
    damaged: tuple[LineTotal, ...] = ()


# ---- reports of carriers (oms.carrier.reports.v1) ----


class ParcelTracked(Message):
    """A carrier's tracking event."""

    carrier: Code
    tracking_number: Code
    status: TrackingStatus
    raw_code: Text = ""
    """The carrier's own code."""
    occurred_at: Instant
    place: Text = ""
    eta: Instant | None = None

    @property
    def carrier_tracking(self) -> str:
        return f"{self.carrier}:{self.tracking_number}"


# ---- instructions to locations (oms.fulfilment.orders.v1) ----


class InstructionLine(Data):
    line_id: LineId
    sku: Sku
    gtin: Gtin | None = None
    description: Text = ""
    quantity: Quantity
    weight_g: Count = 0
    attributes: dict[Code, Text] = {}
    gift_message: Text = ""
    substitution_allowed: bool = False


class Instruction(Message):
    """Self-contained work for one location; a change is a whole new revision."""

    fulfilment_order_id: PartId
    order_id: OrderId
    location: LocationId
    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    method: Method
    lines: tuple[InstructionLine, ...]
    ship_to: Contact
    carrier: Code | None = None
    ship_by: Instant
    promise: Promise
    priority: Annotated[int, Field(ge=0, le=99)]
    """The lower is worked on first: 0 to 9 business, 10 to 19 consumer, 20 to 29 replenishment."""
    to_collect_minor: Amount = 0
    currency: Currency
    channel: Code


class FulfilOrder(Instruction):
    """Please do this work."""


class AmendOrder(Instruction):
    """This revision replaces the earlier one; answer with AmendmentAnswered."""


class LocationRequest(Message):
    """What every other request to a location carries."""

    fulfilment_order_id: PartId
    order_id: OrderId
    location: LocationId


class HoldFulfilment(LocationRequest):
    """Stop working on it until told to resume."""


class ResumeFulfilment(LocationRequest):
    """Go on."""


class CancelFulfilment(LocationRequest):
    """Please cancel these units; answer with CancelAnswered before the deadline: silence means no."""

    request_id: RequestId
    lines: tuple[LineQuantity, ...]
    answer_by: Instant


# ---- normalised events (oms.fulfilment.events.v1) ----


class FulfilmentFact(Message):
    """What every normalised fact carries. Quantities are what this fact adds, not totals."""

    order_id: OrderId
    fulfilment_order_id: PartId
    location: LocationId
    occurred_at: Instant


class FulfilmentScheduled(FulfilmentFact):
    """A fulfilment order exists and waits for its release. One that goes out at once is instructed without."""

    release_at: Instant


class FulfilmentInstructed(FulfilmentFact):
    """The instruction went out."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)]


class FulfilmentAccepted(FulfilmentFact):
    """The location works on it."""


class FactLine(Data):
    line_id: LineId
    sku: Sku
    quantity: Quantity


class LinesRejectedByLocation(FulfilmentFact):
    """These units won't be done here; their reservation ends."""

    lines: tuple[FactLine, ...]
    reason: Literal["not_found", "damaged", "no_capacity", "closed", "wrong_item", "other", "short"]


class LinesWerePicked(FulfilmentFact):
    lines: tuple[FactLine, ...]


class ParcelWasPacked(FulfilmentFact):
    parcel_id: Code
    lines: tuple[FactLine, ...]


class ParcelWasShipped(FulfilmentFact):
    parcel_id: Code
    carrier: Code
    tracking_number: Code
    lines: tuple[FactLine, ...]


class LinesReadyForCollection(FulfilmentFact):
    lines: tuple[FactLine, ...]
    collect_by: Instant


class LinesHandedOver(FulfilmentFact):
    """The buyer has these units: the line closes for them."""

    lines: tuple[FactLine, ...]
    how: Literal["delivered", "collected", "presumed"]
    """presumed: the carrier stayed silent past the policy's deadline."""


class LinesNotCollected(FulfilmentFact):
    """The buyer did not come: these units are cancelled and back on the shelf."""

    lines: tuple[FactLine, ...]


class ParcelMoved(FulfilmentFact):
    """A tracking event of one parcel."""

    parcel_id: Code
    status: TrackingStatus
    raw_code: Text = ""
    eta: Instant | None = None


class ParcelCameBack(FulfilmentFact):
    """The carrier returned the parcel: its units were not handed over."""

    parcel_id: Code
    lines: tuple[FactLine, ...]


class CancellationAnswered(Message):
    """Tracking's last word on what sourcing passed on."""

    order_id: OrderId
    request_id: RequestId
    cancelled: tuple[LineQuantity, ...]
    too_late: tuple[LineQuantity, ...]


class ChangeAnswered(Message):
    """Tracking's last word on a change sourcing passed on."""

    order_id: OrderId
    request_id: RequestId
    accepted: bool
    detail: Text = ""


class FulfilmentExceptionOpened(Message):
    """Something happened that nobody asked for, or did not happen in time; a person should look."""

    order_id: OrderId
    exception_id: Reference
    kind: Literal[
        "shipped_after_cancel",
        "shipped_too_many",
        "unasked",
        "other_location",
        "unknown_line",
        "accepted_after_deadline",
        "late",
        "parcel_returned",
        "unknown_order",
        "contradiction",
    ]
    detail: Text
    action: Text
    """What the person should do."""


# ---- effects on stock (oms.fulfilment.stock.v1) ----


class StockPicked(Message):
    """Units left the shelf for a part: sellable and reserved become picked."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    lines: tuple[FactLine, ...]
    occurred_at: Instant


class StockIssued(Message):
    """Units left the location for the buyer or carrier. From picked first, else from the reserved shelf, else from the shelf.

    The movement's reference is `<part>:<line>`."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    lines: tuple[FactLine, ...]
    occurred_at: Instant
    unasked: bool = False
    """True when no reservation of this location stands behind it."""


class ReservationEnded(Message):
    """The location won't do these units: release them, and block or write down in one step."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    cause: Literal["cancelled", "rejected", "short", "dropped", "changed", "not_collected"]
    reason: Literal["not_found", "damaged", "no_capacity", "closed", "wrong_item", "other", "none"] = "none"
    """not_found and short block the item at the location until it is counted; damaged moves the units to damaged."""
    lines: tuple[FactLine, ...]
    occurred_at: Instant


# ---- the unified status (oms.orders.status.v1) ----


class LineStatus(Data):
    """Every quantity of one line, in its item's base unit. `status` follows from them."""

    line_id: LineId
    sku: Sku
    ordered: Count
    cancelled: Count = 0
    unfillable: Count = 0
    backordered: Count = 0
    reserved: Count = 0
    """In fulfilment orders that are scheduled, not yet instructed."""
    released: Count = 0
    """Instructed to a location, in all."""
    picked: Count = 0
    packed: Count = 0
    shipped: Count = 0
    ready: Count = 0
    handed_over: Count = 0
    return_requested: Count = 0
    received_back: Count = 0
    credited: Count = 0
    status: Code


class FulfilmentStatus(Data):
    fulfilment_order_id: PartId
    location: LocationId
    method: Method
    status: Literal["scheduled", "requested", "accepted", "in_progress", "on_hold", "incomplete", "closed", "cancelled"]
    revision: Count
    release_at: Instant
    ship_by: Instant


class ParcelStatus(Data):
    parcel_id: Code
    fulfilment_order_id: PartId
    carrier: Code | None = None
    tracking_number: Code | None = None
    status: TrackingStatus = "unknown"
    raw_code: Text = ""
    lines: tuple[LineQuantity, ...] = ()
    shipped_at: Instant | None = None
    delivered_at: Instant | None = None


class OpenException(Data):
    exception_id: Reference
    kind: Code
    detail: Text
    action: Text
    opened_at: Instant


class TimelineEntry(Data):
    at: Instant
    what: Code
    detail: Text = ""


class Waiting(Data):
    """What the order waits for, and until when: every order that hasn't ended says so."""

    reason: Code
    until: Instant | None = None
    """None only where a person must act (an open exception says which)."""


class OrderStatus(Message):
    """The unified status document of one order."""

    order_id: OrderId
    version: Version
    channel: Code
    status: Literal[
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
    revision: Count = 0
    placed_at: Instant | None = None
    lines: tuple[LineStatus, ...] = ()
    holds: tuple[Code, ...] = ()
    promise: Promise | None = None
    fulfilment_orders: tuple[FulfilmentStatus, ...] = ()
    parcels: tuple[ParcelStatus, ...] = ()
    exceptions: tuple[OpenException, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    """Empty once the order has ended."""
    timeline: tuple[TimelineEntry, ...] = ()
    """Oldest first; the newest 200 entries."""
