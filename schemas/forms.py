"""The messages that services exchange with every order, as Structs: fields and names of the contract, for a tenth of the cost.

A form is read and written where both sides are services: who wrote it made it of values that were validated when they came in. Reading it
checks types and bounds, not the pattern of every identifier. Whatever comes from outside is read by the contract's model. A form leaves
out what has its default, as the contract allows; the tests compare each form with its contract, field by field.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct, field

from schemas import fulfilment, inventory, orders, sourcing
from schemas.channel import Completeness, LineKind, PaymentTerms
from schemas.inventory import ChangeCause, DeclineReason, EndCause
from schemas.reference import Method, OrderKind
from schemas.types import CODE, ORDER, REFERENCE, Data, OpenData

Code = Annotated[str, Meta(min_length=1, max_length=64)]
ShownCode = Annotated[str, Meta(pattern=rf"^{CODE}\Z")]
"""For what is read to be shown: exactly what the contract takes, since an audit reads the same by the contract."""
OrderId = Annotated[str, Meta(pattern=rf"^{ORDER}\Z")]
PartId = Annotated[str, Meta(pattern=rf"^{ORDER}/[0-9]{{1,6}}\Z")]
RequestId = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=500)]
LongText = Annotated[str, Meta(max_length=4000)]
Currency = Annotated[str, Meta(min_length=3, max_length=3)]
Country = Annotated[str, Meta(min_length=2, max_length=2)]
Instant = Annotated[datetime, Meta(tz=True)]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Delta = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
Amount = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]
Version = Annotated[int, Meta(ge=0, le=9_000_000_000_000_000)]
Ordinal = Annotated[int, Meta(ge=1, le=1_000_000)]
Degrees = Annotated[float, Meta(ge=-180, le=180)]


class Form(Struct, frozen=True, omit_defaults=True, gc=False):
    """A message, or a part of one, without its contract's model."""

    contract: ClassVar[type[Data | OpenData]]
    """The model of the same name."""


# ---- orders ----


class Contact(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.Contact

    name: Text = ""
    company: Text = ""
    street: tuple[Text, ...] = ()
    postal_code: Text = ""
    city: Text = ""
    region: Text = ""
    country: Country | None = None
    email: Text = ""
    phone: Text = ""


class Destination(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.Destination

    country: Country | None = None
    postal_code: Text = ""
    latitude: Degrees | None = None
    longitude: Degrees | None = None


class OrderLine(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = orders.OrderLine

    line_id: Code
    kind: LineKind = "goods"
    sku: Code
    gtin: Code | None = None
    description: Text = ""
    quantity: Quantity
    weight_g: Count = 0
    net_minor: Amount
    attributes: dict[Code, Text] = field(default_factory=dict)
    gift_message: Text = ""
    substitution_allowed: bool = False


class PackingSlip(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.PackingSlip

    order_ref: Text
    legal_entity: Code
    brand: Code | None = None
    purchase_order: Text = ""
    note: LongText = ""


NOWHERE = Destination()
NOBODY = Contact()


class OrderSnapshot(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = orders.OrderSnapshot

    revision: Ordinal
    channel: Code
    kind: OrderKind
    policy: Code
    placed_at: Instant
    currency: Currency
    lines: tuple[OrderLine, ...]
    charges_minor: Amount = 0
    total_minor: Amount
    payment_terms: PaymentTerms
    to_collect_minor: Amount = 0
    method: Method
    collect_at: Code | None = None
    earliest: Instant | None = None
    latest: Instant | None = None
    completeness: Completeness = "free"
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    ship_by: Instant | None = None
    deliver_by: Instant | None = None
    cancel_after: Instant | None = None
    destination: Destination = NOWHERE
    ship_to: Contact = NOBODY
    packing_slip: PackingSlip | None = None


class OrderAccepted(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.OrderAccepted

    order_id: OrderId
    order: OrderSnapshot
    held: tuple[Code, ...] = ()


class ChangeRequested(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.ChangeRequested

    order_id: OrderId
    request_id: RequestId
    order: OrderSnapshot
    demand_changed: bool


class OrderChanged(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.OrderChanged

    order_id: OrderId
    order: OrderSnapshot
    effect: Literal["commercial", "instructions", "demand"]


# ---- stock ----


class ReserveLine(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.ReserveLine

    line_id: Code
    sku: Code
    quantity: Quantity
    minimum: Count = 0


class ReserveStock(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = inventory.ReserveStock

    part_id: PartId
    order_id: OrderId
    location: Code
    lines: Annotated[tuple[ReserveLine, ...], Meta(min_length=1, max_length=500)]
    rank: Annotated[int, Meta(ge=0, le=99)] = 50
    promised_at: Instant


class Level(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.Level

    sku: Code
    location: Code
    version: Version
    sellable: Count
    reserved: Count
    atp: Count


class ReservedLine(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.ReservedLine

    line_id: Code
    sku: Code
    asked: Count
    reserved: Count


class StockReserved(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.StockReserved

    part_id: PartId
    order_id: OrderId
    location: Code
    lines: tuple[ReservedLine, ...]
    levels: tuple[Level, ...] = ()


class ReservationDeclined(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = inventory.ReservationDeclined

    part_id: PartId
    order_id: OrderId
    location: Code
    reason: DeclineReason = "insufficient_stock"
    lines: tuple[ReservedLine, ...]
    levels: tuple[Level, ...] = ()


class EndedLine(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.EndedLine

    line_id: Code
    sku: Code
    quantity: Quantity


class ReservationReleased(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.ReservationReleased

    part_id: PartId
    order_id: OrderId
    location: Code
    cause: EndCause
    lines: tuple[EndedLine, ...]
    levels: tuple[Level, ...] = ()


class ReservationShorted(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.ReservationShorted

    part_id: PartId
    order_id: OrderId
    location: Code
    lines: tuple[EndedLine, ...]
    levels: tuple[Level, ...] = ()


class StockChanged(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = inventory.StockChanged

    location: Code
    cause: ChangeCause
    reference: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    levels: tuple[Level, ...]
    arrived: tuple[Code, ...] = ()


class Future(Form, frozen=True):
    contract: ClassVar[type[Data]] = inventory.Future

    reference: Annotated[str, Meta(pattern=rf"^{REFERENCE}\Z")]
    quantity: Quantity
    eta: Instant
    confidence: Annotated[int, Meta(ge=0, le=100)] = 100


class Availability(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = inventory.Availability

    sku: ShownCode
    location: ShownCode
    version: Version
    sellable: Count
    picked: Count = 0
    in_transit: Count = 0
    quality_hold: Count = 0
    damaged: Count = 0
    display: Count = 0
    reserved: Count
    unsettled: Count = 0
    safety: Count = 0
    atp: Count
    blocked_until: Instant | None = None
    future: tuple[Future, ...] = ()


# ---- sourcing decisions ----


class Promise(Form, frozen=True):
    contract: ClassVar[type[Data]] = sourcing.Promise

    kind: Literal["delivery", "collection"]
    day: date
    zone: Code
    latest: Instant


class PartLine(Form, frozen=True):
    contract: ClassVar[type[Data]] = sourcing.PartLine

    line_id: Code
    sku: Code
    quantity: Quantity


class Part(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = sourcing.Part

    part_id: PartId
    location: Code
    method: Method
    lines: tuple[PartLine, ...]
    release_at: Instant
    ship_by: Instant
    carrier: Code | None = None
    carrier_service: Code | None = None
    promise: Promise


class LineQuantity(Form, frozen=True):
    contract: ClassVar[type[Data]] = orders.LineQuantity

    line_id: Code
    quantity: Quantity


class CostTerms(Form, frozen=True):
    contract: ClassVar[type[Data]] = sourcing.CostTerms

    parcels: Delta = 0
    distance: Delta = 0
    weight: Delta = 0
    handling: Delta = 0
    labour: Delta = 0
    lateness: Delta = 0
    total: Delta = 0


class SeenLevel(Form, frozen=True):
    contract: ClassVar[type[Data]] = sourcing.SeenLevel

    sku: Code
    atp: Count
    version: Version


class Candidate(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = sourcing.Candidate

    location: Code
    distance_km: Count | None = None
    levels: tuple[SeenLevel, ...]


class PlannedPart(Form, frozen=True):
    contract: ClassVar[type[Data]] = sourcing.PlannedPart

    location: Code
    lines: tuple[LineQuantity, ...]


class PlanCost(Form, frozen=True):
    contract: ClassVar[type[Data]] = sourcing.PlanCost

    parts: tuple[PlannedPart, ...]
    cost: CostTerms


class Explanation(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = sourcing.Explanation

    policy: Code
    policy_version: Version
    currency: Currency
    attempt: Ordinal
    candidates: tuple[Candidate, ...]
    eliminated: dict[Code, Count] = field(default_factory=dict)
    capped: bool = False
    chosen: PlanCost
    alternatives: Annotated[tuple[PlanCost, ...], Meta(max_length=3)] = ()


class OrderSourced(Form, frozen=True):
    """As tracking reads it: without its explanation, which is for people."""

    contract: ClassVar[type[Data]] = sourcing.OrderSourced

    order_id: OrderId
    parts: tuple[Part, ...]
    revision: Ordinal | None = None


# ---- instructions ----


class InstructionLine(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = fulfilment.InstructionLine

    line_id: Code
    sku: Code
    gtin: Code | None = None
    description: Text = ""
    quantity: Quantity
    weight_g: Count = 0
    attributes: dict[Code, Text] = field(default_factory=dict)
    gift_message: Text = ""
    substitution_allowed: bool = False


class Instruction(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = fulfilment.Instruction

    fulfilment_order_id: PartId
    order_id: OrderId
    location: Code
    revision: Ordinal
    method: Method
    lines: tuple[InstructionLine, ...]
    ship_to: Contact
    carrier: Code | None = None
    carrier_service: Code | None = None
    ship_by: Instant
    promise: Promise
    priority: Annotated[int, Meta(ge=0, le=99)]
    to_collect_minor: Amount = 0
    currency: Currency
    channel: Code
    placed_at: Instant | None = None
    packing_slip: PackingSlip | None = None


class FulfilOrder(Instruction, frozen=True):
    contract: ClassVar[type[Data]] = fulfilment.FulfilOrder


class AmendOrder(Instruction, frozen=True):
    contract: ClassVar[type[Data]] = fulfilment.AmendOrder


class FulfilmentInstructed(Form, frozen=True):
    contract: ClassVar[type[Data]] = fulfilment.FulfilmentInstructed

    order_id: OrderId
    fulfilment_order_id: PartId
    location: Code
    occurred_at: Instant
    revision: Ordinal
