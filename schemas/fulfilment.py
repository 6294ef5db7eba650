"""Fulfilment: reports of locations and carriers in; instructions, normalised events, stock effects and order status out."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.orders import Contact, LineQuantity, PackingSlip
from schemas.reference import Method
from schemas.sourcing import Promise
from schemas.status import TrackingStatus
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
    order_of_part,
)

RejectionReason = Literal["not_found", "damaged", "no_capacity", "closed", "wrong_item", "other"]


# ---- reports of locations (oms.fulfilment.reports.v1) ----


class LineTotal(Data):
    """A running total of one line within one fulfilment order (or one parcel): repeats and disorder change nothing."""

    line_id: LineId
    """The order line."""
    total: Count
    """Running total, in the item's base units."""
    sku: Sku | None = None
    """Named when something else than the line's item was handled, or the line is unknown."""


class LocationReport(Message):
    """What every report of a location carries."""

    order_id: OrderId
    """The order."""
    fulfilment_order_id: PartId
    """The fulfilment order the location worked on."""
    location: LocationId
    """Where it really happened."""
    occurred_at: Instant
    """When it happened at the location, UTC."""

    @model_validator(mode="after")
    def _is_about_one_order(self) -> Self:
        if order_of_part(self.fulfilment_order_id) != self.order_id:
            raise ValueError("fulfilment_order_id: it must be one of order_id, as web-fr:1001/1 is of web-fr:1001")
        return self


class WorkAccepted(LocationReport):
    """The location takes the work on."""


class RejectedLine(Data):
    """Units of one line that the location can't do."""

    line_id: LineId
    """The order line."""
    total: Count
    """What this location rejects of this line in all, in base units."""
    reason: RejectionReason
    """Why."""


class WorkRejected(LocationReport):
    """The location can't do these units."""

    lines: Annotated[tuple[RejectedLine, ...], Field(min_length=1, max_length=500)]
    """What it can't do, by line."""
    note: Text = ""
    """A note for people."""


class LinesPicked(LocationReport):
    """Running totals picked. With `final`, what is missing will not be picked (short)."""

    lines: Annotated[tuple[LineTotal, ...], Field(max_length=500)]
    """Picked in all, by line."""
    final: bool = False
    """True: nothing more is picked for this fulfilment order."""


class ParcelPacked(LocationReport):
    """A parcel and its whole contents."""

    parcel_id: Code
    """SSCC or the location's own parcel number, unique within the fulfilment order."""
    lines: Annotated[tuple[LineTotal, ...], Field(max_length=500)]
    """The parcel's contents, by line."""
    carrier: Code | None = None
    """The carrier, once the label is known."""
    tracking_number: Code | None = None
    """The carrier's tracking number, once the label is known."""
    weight_g: Count = 0
    """Weight of the parcel, in grams; 0 where unknown."""


class ParcelShipped(LocationReport):
    """A parcel left. `lines` is its whole contents."""

    parcel_id: Code
    """SSCC or the location's own parcel number, unique within the fulfilment order."""
    lines: Annotated[tuple[LineTotal, ...], Field(min_length=1, max_length=500)]
    """The parcel's contents, by line."""
    carrier: Code
    """The carrier that took it."""
    tracking_number: Code
    """The carrier's tracking number."""


class ReadyForCollection(LocationReport):
    """Running totals waiting for the buyer."""

    lines: Annotated[tuple[LineTotal, ...], Field(min_length=1, max_length=500)]
    """Ready in all, by line."""


class LinesCollected(LocationReport):
    """Running totals handed to the buyer at the location."""

    lines: Annotated[tuple[LineTotal, ...], Field(min_length=1, max_length=500)]
    """Handed to the buyer in all, by line."""


class NotCollected(LocationReport):
    """The buyer did not come; what was ready goes back to the shelf."""


class CancelAnswered(LocationReport):
    """The location's word on a cancellation: running totals of units it did not and will not ship."""

    request_id: RequestId
    """The request of CancelFulfilment it answers."""
    accepted: tuple[LineTotal, ...] = ()
    """Units cancelled by this request; a line not named is refused."""


class AmendmentAnswered(LocationReport):
    """The location's word on a new revision."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    """The revision it answers."""
    accepted: bool
    """Whether the location works by this revision from now on."""


class ReceivedAtDestination(LocationReport):
    """A transfer arrived at its destination: running totals received in good and in bad condition."""

    parcel_id: Code
    """The parcel that arrived."""
    lines: tuple[LineTotal, ...]
    """Received in good condition in all, by line."""
    damaged: tuple[LineTotal, ...] = ()
    """Received damaged in all, by line."""


# ---- reports of carriers (oms.carrier.reports.v1) ----


class ParcelTracked(Message):
    """A carrier's tracking event."""

    carrier: Code
    """The carrier that reports."""
    tracking_number: Code
    """The carrier's tracking number."""
    status: TrackingStatus
    """What the report says, in the words all carriers share."""
    raw_code: Text = ""
    """The carrier's own code."""
    occurred_at: Instant
    """When it happened, UTC."""
    place: Text = ""
    """Where it happened, for people."""
    eta: Instant | None = None
    """When the carrier expects to deliver, UTC."""

    @property
    def carrier_tracking(self) -> str:
        return f"{self.carrier}:{self.tracking_number}"


# ---- instructions to locations (oms.fulfilment.orders.v1) ----


class InstructionLine(Data):
    """What to pick of one line."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    gtin: Gtin | None = None
    """GTIN to scan when picking: 8, 12, 13 or 14 digits."""
    description: Text = ""
    """The item's name, for people."""
    quantity: Quantity
    """How much to hand over, in the item's base units."""
    weight_g: Count = 0
    """Weight of one base unit, in grams; 0 where unknown."""
    attributes: dict[Code, Text] = {}
    """Instructions for this line by name, such as an engraving."""
    gift_message: Text = ""
    """Message to enclose with the goods."""
    substitution_allowed: bool = False
    """Whether another item may be sent in its place."""


class Instruction(Message):
    """Self-contained work for one location; a change is a whole new revision."""

    fulfilment_order_id: PartId
    """The fulfilment order: the part's id. Reports name it."""
    order_id: OrderId
    """The order."""
    location: LocationId
    """The location that shall do the work."""
    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    """Counts the instruction's revisions from 1; the highest is valid."""
    method: Method
    """Delivery method."""
    lines: tuple[InstructionLine, ...]
    """What to pick and hand over, by line."""
    ship_to: Contact
    """Who receives the goods, where, and how to reach them: personal data."""
    carrier: Code | None = None
    """The carrier that collects; missing where the buyer does."""
    carrier_service: Code | None = None
    """The carrier's service to book, such as `standard`; missing where the buyer collects."""
    ship_by: Instant
    """Latest handover to the carrier or the buyer that keeps the promise, UTC."""
    promise: Promise
    """What the buyer was told."""
    priority: Annotated[int, Field(ge=0, le=99)]
    """The lower is worked on first: 0 to 9 business, 10 to 19 consumer, 20 to 29 replenishment."""
    to_collect_minor: Amount = 0
    """Amount to collect when handing over, in minor units."""
    currency: Currency
    """Currency of the amounts, ISO 4217."""
    channel: Code
    """The channel that sold it."""
    placed_at: Instant | None = None
    """When the buyer placed the order, UTC; missing in instructions written before it was stated."""
    packing_slip: PackingSlip | None = None
    """What the papers in the parcel say; missing for orders accepted before it was stated."""


class FulfilOrder(Instruction):
    """Please do this work."""


class AmendOrder(Instruction):
    """This revision replaces the earlier one; answer with AmendmentAnswered."""


class LocationRequest(Message):
    """What every other request to a location carries."""

    fulfilment_order_id: PartId
    """The fulfilment order: the part's id."""
    order_id: OrderId
    """The order."""
    location: LocationId
    """The location that is asked."""


class HoldFulfilment(LocationRequest):
    """Stop working on it until told to resume."""


class ResumeFulfilment(LocationRequest):
    """Go on."""


class CancelFulfilment(LocationRequest):
    """Please cancel these units; answer with CancelAnswered before the deadline: silence means no."""

    request_id: RequestId
    """The request's id; the answer names it."""
    lines: tuple[LineQuantity, ...]
    """What shall be cancelled, by line."""
    answer_by: Instant
    """Until when an answer counts, UTC."""


# ---- normalised events (oms.fulfilment.events.v1) ----


class FulfilmentFact(Message):
    """What every normalised fact carries. Quantities are what this fact adds, not totals."""

    order_id: OrderId
    """The order."""
    fulfilment_order_id: PartId
    """The fulfilment order: the part's id."""
    location: LocationId
    """Where it happened."""
    occurred_at: Instant
    """When it happened, UTC."""


class FulfilmentScheduled(FulfilmentFact):
    """A fulfilment order exists and waits for its release. One that goes out at once is instructed without."""

    release_at: Instant
    """When the location is instructed, UTC."""


class FulfilmentInstructed(FulfilmentFact):
    """The instruction went out."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    """The revision of the instruction, from 1."""


class FulfilmentAccepted(FulfilmentFact):
    """The location works on it."""


class FactLine(Data):
    """Units of one line that a fact is about."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item that was really handled."""
    quantity: Quantity
    """Quantity in the item's base units; not a running total."""


class LinesRejectedByLocation(FulfilmentFact):
    """These units won't be done here; their reservation ends."""

    lines: tuple[FactLine, ...]
    """What won't be done, by line."""
    reason: Literal["not_found", "damaged", "no_capacity", "closed", "wrong_item", "other", "short"]
    """Why."""


class LinesWerePicked(FulfilmentFact):
    """Units left the shelf for this fulfilment order."""

    lines: tuple[FactLine, ...]
    """What was picked now, by line."""


class ParcelWasPacked(FulfilmentFact):
    """A parcel was packed."""

    parcel_id: Code
    """The location's id of the parcel."""
    lines: tuple[FactLine, ...]
    """What is in it, by line."""


class ParcelWasShipped(FulfilmentFact):
    """A parcel left the location."""

    parcel_id: Code
    """The location's id of the parcel."""
    carrier: Code
    """The carrier that took it."""
    tracking_number: Code
    """The carrier's tracking number."""
    lines: tuple[FactLine, ...]
    """What left in it, by line."""
    unplanned: tuple[FactLine, ...] = ()
    """Of these, what the fulfilment order had not or no longer to do: no reservation was made for it."""


class LinesReadyForCollection(FulfilmentFact):
    """Units wait for their buyer."""

    lines: tuple[FactLine, ...]
    """What became ready now, by line."""
    collect_by: Instant
    """Until when the goods wait for their buyer, UTC."""


class LinesHandedOver(FulfilmentFact):
    """The buyer has these units: the line closes for them."""

    lines: tuple[FactLine, ...]
    """What was handed over now, by line."""
    how: Literal["delivered", "collected", "presumed"]
    """presumed: the carrier stayed silent past the policy's deadline."""
    unplanned: tuple[FactLine, ...] = ()
    """Of units collected, what the fulfilment order had not or no longer to do: no reservation was made for it."""


class LinesNotCollected(FulfilmentFact):
    """The buyer did not come: these units are cancelled and back on the shelf."""

    lines: tuple[FactLine, ...]
    """What was not collected, by line."""


class ParcelMoved(FulfilmentFact):
    """A tracking event of one parcel."""

    parcel_id: Code
    """The location's id of the parcel."""
    status: TrackingStatus
    """Its tracking status."""
    raw_code: Text = ""
    """The carrier's own code."""
    eta: Instant | None = None
    """When the carrier expects to deliver, UTC."""


class ParcelCameBack(FulfilmentFact):
    """The carrier returned the parcel: its units were not handed over."""

    parcel_id: Code
    """The location's id of the parcel."""
    lines: tuple[FactLine, ...]
    """What was in it, by line."""


class CancellationAnswered(Message):
    """Tracking's last word on what sourcing passed on."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The channel's request."""
    cancelled: tuple[LineQuantity, ...]
    """What was cancelled, by line."""
    too_late: tuple[LineQuantity, ...]
    """What had gone too far, by line."""


class ChangeAnswered(Message):
    """Tracking's last word on a change sourcing passed on."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The channel's request."""
    accepted: bool
    """Whether the change passes, whole."""
    detail: Text = ""
    """Why not, for people."""


class FulfilmentExceptionOpened(Message):
    """Something happened that nobody asked for, or did not happen in time; a person should look."""

    order_id: OrderId
    """The order."""
    exception_id: Reference
    """Id of the exception, unique within the order."""
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
    """What is wrong, for machines."""
    detail: Text
    """What is wrong, for people."""
    action: Text
    """What the person should do."""


# ---- effects on stock (oms.fulfilment.stock.v1) ----


class StockPicked(Message):
    """Units left the shelf for a part: sellable and reserved become picked."""

    part_id: PartId
    """The part they were picked for."""
    order_id: OrderId
    """The order."""
    location: LocationId
    """The location that picked."""
    lines: tuple[FactLine, ...]
    """What was picked now, by line."""
    occurred_at: Instant
    """When they were picked, UTC."""


class StockIssued(Message):
    """Units left the location for the buyer or carrier. From picked first, else from the reserved shelf, else from the shelf.

    The movement's reference is `<part>:<line>`."""

    part_id: PartId
    """The part they left for."""
    order_id: OrderId
    """The order."""
    location: LocationId
    """The location they left."""
    lines: tuple[FactLine, ...]
    """What left now, by line."""
    occurred_at: Instant
    """When they left, UTC."""
    unasked: bool = False
    """True when no reservation of this location stands behind it."""


class IssueDated(Message):
    """Units booked as issued by the word of their carrier left at this earlier time, says their location now: a count in between has
    left them out already. The movements' references are `<part>:<line>`."""

    part_id: PartId
    """The part they left for."""
    order_id: OrderId
    """The order."""
    location: LocationId
    """The location they left."""
    lines: tuple[FactLine, ...]
    """What left, by line."""
    booked_at: Instant
    """The time StockIssued named for them, UTC."""
    occurred_at: Instant
    """When they left, UTC."""


class ReservationEnded(Message):
    """The location won't do these units: release them, and block or write down in one step.

    With cause `shorted` their reservation has ended before, as a rule because inventory shorted it: what was picked for them goes back to
    the shelf, or, with reason `damaged`, they are found damaged on the shelf."""

    part_id: PartId
    """The part whose reservation ends."""
    order_id: OrderId
    """The order."""
    location: LocationId
    """The location that held the units."""
    cause: Literal["cancelled", "rejected", "short", "dropped", "changed", "not_collected", "shorted", "served"]
    """Why it ends. served: other units left for the buyer in their place, from another location or of another item."""
    reason: Literal["not_found", "damaged", "no_capacity", "closed", "wrong_item", "other", "none"] = "none"
    """not_found and short block the item at the location until it is counted; damaged moves the units to damaged."""
    lines: tuple[FactLine, ...]
    """What ends, by line."""
    occurred_at: Instant
    """When it happened, UTC."""
