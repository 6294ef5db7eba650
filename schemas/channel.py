"""What channels ask for, and the one answer each request gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.reference import Method, OrderKind
from schemas.types import (
    Amount,
    Code,
    Count,
    Country,
    Currency,
    Data,
    Gtin,
    Instant,
    Latitude,
    LineId,
    LocationId,
    Longitude,
    LongText,
    Message,
    OpenData,
    OrderId,
    Quantity,
    Request,
    RequestId,
    Sku,
    Text,
    order_id_of,
)

LineKind = Literal["goods", "service", "gift_card"]
HoldType = Literal["fraud", "payment", "credit", "address", "item", "other"]
PaymentTerms = Literal["prepaid", "capture_on_shipment", "on_account", "pay_at_collection", "marketplace"]
Completeness = Literal["free", "allocate_complete", "single_location", "deliver_together", "cancel_remainder"]


class Party(OpenData):
    """A person or company and where they are: the only block of an order that holds personal data."""

    name: Text = ""
    company: Text = ""
    street: Annotated[tuple[Text, ...], Field(max_length=5)] = ()
    postal_code: Text = ""
    city: Text = ""
    region: Text = ""
    country: Country | None = None
    email: Text = ""
    phone: Text = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None


class Discount(OpenData):
    """A discount apportioned to one line or charge, in minor units."""

    label: Text = ""
    amount_minor: Amount


class Tax(OpenData):
    """A tax of one line or charge, in minor units."""

    label: Text = ""
    rate_ppm: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Rate in parts per million: 200,000 is 20 %."""
    amount_minor: Amount


class Line(OpenData):
    """One line of an order as its channel states it."""

    channel_line_ref: LineId
    kind: LineKind = "goods"
    sku: Sku | None = None
    gtin: Gtin | None = None
    channel_sku: Code | None = None
    quantity: Quantity
    unit_price_minor: Amount
    discounts: Annotated[tuple[Discount, ...], Field(max_length=20)] = ()
    taxes: Annotated[tuple[Tax, ...], Field(max_length=20)] = ()
    attributes: Annotated[dict[Code, Text], Field(max_length=30)] = {}
    gift_message: Text = ""
    parent_line_ref: LineId | None = None
    substitution_allowed: bool = False

    @model_validator(mode="after")
    def _is_identified(self) -> Line:
        if self.kind == "goods" and not (self.sku or self.gtin or self.channel_sku):
            raise ValueError("a line of goods needs one of sku, gtin, channel_sku")
        return self


class Charge(OpenData):
    """What is charged beside the lines."""

    kind: Literal["shipping", "wrapping", "other"] = "shipping"
    amount_minor: Amount
    discounts: Annotated[tuple[Discount, ...], Field(max_length=20)] = ()
    taxes: Annotated[tuple[Tax, ...], Field(max_length=20)] = ()


class Totals(OpenData):
    """Sums of the order in minor units; checked to the cent."""

    lines_minor: Amount
    """Sum of quantity x unit price."""
    discounts_minor: Amount = 0
    charges_minor: Amount = 0
    taxes_minor: Amount = 0
    total_minor: Amount
    """lines - discounts + charges, and + taxes unless they are included."""


class Payment(OpenData):
    """One payment of an order, as far as the channel knows it."""

    payment_id: Code
    method: Code = "card"
    amount_minor: Amount
    status: Literal["pending", "authorised", "captured"] = "pending"
    valid_until: Instant | None = None


class Delivery(OpenData):
    """How the goods reach the buyer."""

    method: Method = "home"
    location: LocationId | None = None
    """Where the buyer collects, for methods that hand over at a location."""
    earliest: Instant | None = None
    latest: Instant | None = None


class ChannelRequest(Request):
    """What every request of a channel carries."""

    request_id: RequestId
    channel: Code
    channel_order_ref: Code
    actor: Text = ""
    """Who asks: a system or a role, never a person's name."""
    reason: Text = ""

    @property
    def order_id(self) -> str:
        return order_id_of(self.channel, self.channel_order_ref)


class OrderContent(OpenData):
    """The whole content of an order; a change states all of it again."""

    kind: OrderKind = "consumer"
    display_ref: Text = ""
    legal_entity: Code | None = None
    brand: Code | None = None
    sold_to: Party = Party()
    bill_to: Party | None = None
    ship_to: Party | None = None
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=500)]
    charges: Annotated[tuple[Charge, ...], Field(max_length=20)] = ()
    currency: Currency = "EUR"
    taxes_included: bool = True
    totals: Totals
    payment_terms: PaymentTerms = "capture_on_shipment"
    payments: Annotated[tuple[Payment, ...], Field(max_length=20)] = ()
    delivery: Delivery = Delivery()
    completeness: Completeness = "free"
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """0 is served first, 9 last, within one kind of order: every business order precedes the consumers', and these replenishment."""
    accept_by: Instant | None = None
    ship_by: Instant | None = None
    deliver_by: Instant | None = None
    cancel_after: Instant | None = None
    """What isn't fulfilled by then is cancelled."""
    purchase_order: Text = ""
    note: LongText = ""

    @model_validator(mode="after")
    def _lines_are_distinct(self) -> OrderContent:
        references = [line.channel_line_ref for line in self.lines]
        if len(set(references)) < len(references):
            raise ValueError("lines: every channel_line_ref must be different")
        return self


class PlaceOrder(ChannelRequest):
    """Place an order. The channel's own reference makes it idempotent: same content, no effect; other content, conflict."""

    placed_at: Instant
    order: OrderContent


class ChangeOrder(ChannelRequest):
    """Replace the whole content of an order by the desired one, while nobody works on it."""

    order: OrderContent


class CancelLine(OpenData):
    line_id: LineId
    quantity: Quantity


class CancelOrder(ChannelRequest):
    """Cancel an order, or some units of some lines; answered per line by whoever holds the goods."""

    lines: Annotated[tuple[CancelLine, ...], Field(max_length=500)] = ()
    """What to cancel; empty means everything that is left."""


class HoldOrder(ChannelRequest):
    """Put a hold on an order: it may not go on to a location until the hold is resolved."""

    hold_id: Code
    type: HoldType
    deadline: Instant | None = None
    """When it ends by itself with the order cancelled; the channel's own period when missing."""


class ResolveHold(ChannelRequest):
    """Resolve one hold of an order."""

    hold_id: Code
    resolution: Literal["release", "cancel"] = "release"


class Problem(Data):
    """Why something was not done, where, and what to do about it."""

    code: Code
    field: Text = ""
    """Path of the field, as in `lines.0.quantity`."""
    message: LongText
    remedy: Text = ""


class AnsweredLine(Data):
    """The last word on a line of a cancel or change."""

    line_id: LineId
    done: Count = 0
    too_late: Count = 0


class RequestAnswered(Message):
    """The one answer to a request of a channel."""

    order_id: OrderId
    request_id: RequestId | None = None
    """Missing where the request could not be read that far."""
    request: Code
    """The request's type, such as PlaceOrder; `unknown` where it could not be read."""
    outcome: Literal["accepted", "held", "declined", "conflict"]
    problems: tuple[Problem, ...] = ()
    lines: tuple[AnsweredLine, ...] = ()
    unknown_fields: tuple[Text, ...] = ()
    """Fields of the request that no contract knows: perhaps misspelt."""
    repeated: bool = False
    """True when this repeats the answer to an earlier sending of the same request."""
