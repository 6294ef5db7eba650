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
    """A person's name."""
    company: Text = ""
    """A company's name."""
    street: Annotated[tuple[Text, ...], Field(max_length=5)] = ()
    """Street, house number and what else stands above the city, line by line."""
    postal_code: Text = ""
    """Postal code."""
    city: Text = ""
    """City."""
    region: Text = ""
    """State, province or region."""
    country: Country | None = None
    """Country, ISO 3166-1 alpha-2."""
    email: Text = ""
    """E-mail address."""
    phone: Text = ""
    """Telephone number, for the carrier too."""
    latitude: Latitude | None = None
    """Latitude in degrees, WGS 84."""
    longitude: Longitude | None = None
    """Longitude in degrees, WGS 84."""


class Discount(OpenData):
    """A discount apportioned to one line or charge, in minor units."""

    label: Text = ""
    """Name of the discount, as the buyer sees it."""
    amount_minor: Amount
    """What is taken off, in minor units."""


class Tax(OpenData):
    """A tax of one line or charge, in minor units."""

    label: Text = ""
    """Name of the tax, such as `TVA 20 %`."""
    rate_ppm: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Rate in parts per million: 200,000 is 20 %."""
    amount_minor: Amount
    """The tax, in minor units."""


class Line(OpenData):
    """One line of an order as its channel states it."""

    channel_line_ref: LineId
    """The channel's own reference of the line, unique within the order; it becomes the line's id."""
    kind: LineKind = "goods"
    """goods are sourced and shipped; a service or gift_card is only charged."""
    sku: Sku | None = None
    """Item number; one of sku, gtin and channel_sku names the item."""
    gtin: Gtin | None = None
    """GTIN of the item: 8, 12, 13 or 14 digits."""
    channel_sku: Code | None = None
    """The channel's own number of the item."""
    quantity: Quantity
    """How much is ordered, in the item's base units."""
    unit_price_minor: Amount
    """Price of one base unit before discounts, rounded, in minor units."""
    discounts: Annotated[tuple[Discount, ...], Field(max_length=20)] = ()
    """Discounts apportioned to this line; one may close the cent that a rounded unit price leaves."""
    taxes: Annotated[tuple[Tax, ...], Field(max_length=20)] = ()
    """Taxes of this line."""
    attributes: Annotated[dict[Code, Text], Field(max_length=30)] = {}
    """Instructions for this line by name, such as an engraving."""
    gift_message: Text = ""
    """Message to enclose with the goods."""
    parent_line_ref: LineId | None = None
    """The line this one belongs to, as a service belongs to its goods."""
    substitution_allowed: bool = False
    """Whether another item may be sent in its place."""

    @model_validator(mode="after")
    def _is_identified(self) -> Line:
        if self.kind == "goods" and not (self.sku or self.gtin or self.channel_sku):
            raise ValueError("a line of goods needs one of sku, gtin, channel_sku")
        return self


class Charge(OpenData):
    """What is charged beside the lines."""

    kind: Literal["shipping", "wrapping", "other"] = "shipping"
    """What is charged for."""
    amount_minor: Amount
    """Charge before discounts, in minor units."""
    discounts: Annotated[tuple[Discount, ...], Field(max_length=20)] = ()
    """Discounts apportioned to this charge."""
    taxes: Annotated[tuple[Tax, ...], Field(max_length=20)] = ()
    """Taxes of this charge."""


class Totals(OpenData):
    """Sums of the order in minor units; checked to the cent."""

    lines_minor: Amount
    """Sum of quantity x unit price, in minor units."""
    discounts_minor: Amount = 0
    """Sum of all discounts of lines and charges, in minor units."""
    charges_minor: Amount = 0
    """Sum of all charges before discounts, in minor units."""
    taxes_minor: Amount = 0
    """Sum of all taxes of lines and charges, in minor units."""
    total_minor: Amount
    """lines - discounts + charges, and + taxes unless they are included; in minor units."""


class Payment(OpenData):
    """One payment of an order, as far as the channel knows it."""

    payment_id: Code
    """The provider's id of the payment; payment reports name it."""
    method: Code = "card"
    """How it is paid: card, invoice, voucher."""
    amount_minor: Amount
    """Amount of the payment, in minor units."""
    status: Literal["pending", "authorised", "captured"] = "pending"
    """How far the payment has come."""
    valid_until: Instant | None = None
    """End of the authorisation, UTC."""


class Delivery(OpenData):
    """How the goods reach the buyer."""

    method: Method = "home"
    """Delivery method."""
    location: LocationId | None = None
    """Where the buyer collects, for methods that hand over at a location."""
    earliest: Instant | None = None
    """Start of the delivery window the buyer chose, UTC."""
    latest: Instant | None = None
    """End of the delivery window the buyer chose, UTC."""


class ChannelRequest(Request):
    """What every request of a channel carries."""

    request_id: RequestId
    """The caller's idempotency key, unique for the order: a repeat gets the stored answer."""
    channel: Code
    """The channel that sells; the first part of the order's id."""
    channel_order_ref: Code
    """The channel's own reference of the order; the second part of the order's id."""
    actor: Text = ""
    """Who asks: a system or a role, never a person's name."""
    reason: Text = ""
    """Why it is asked, for people to read."""

    @property
    def order_id(self) -> str:
        return order_id_of(self.channel, self.channel_order_ref)


class OrderContent(OpenData):
    """The whole content of an order; a change states all of it again."""

    kind: OrderKind = "consumer"
    """Who orders: a consumer, a business, or a location that replenishes."""
    display_ref: Text = ""
    """The order's number as the buyer knows it, such as `#1001`."""
    legal_entity: Code | None = None
    """The company that sells; the channel's own when missing."""
    brand: Code | None = None
    """The brand it is sold under."""
    sold_to: Party = Party()
    """Who buys."""
    bill_to: Party | None = None
    """Who is invoiced; sold_to when missing."""
    ship_to: Party | None = None
    """Who receives the goods, and where; sold_to when missing."""
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=500)]
    """The order's lines, 1 to 500."""
    charges: Annotated[tuple[Charge, ...], Field(max_length=20)] = ()
    """What is charged beside the lines."""
    currency: Currency = "EUR"
    """Currency of every amount of the order, ISO 4217."""
    taxes_included: bool = True
    """Whether prices and charges include their taxes."""
    totals: Totals
    """Sums of the order, checked to the cent."""
    payment_terms: PaymentTerms = "capture_on_shipment"
    """When the buyer pays."""
    payments: Annotated[tuple[Payment, ...], Field(max_length=20)] = ()
    """Payments known to the channel."""
    delivery: Delivery = Delivery()
    """Delivery method, place and window."""
    completeness: Completeness = "free"
    """Whether the order may be split, shipped in parts, or cut down to what is there."""
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """0 is served first, 9 last, within one kind of order: every business order precedes the consumers', and these replenishment."""
    accept_by: Instant | None = None
    """Latest instant at which the channel wants the order accepted, UTC."""
    ship_by: Instant | None = None
    """Latest instant at which the goods must leave, UTC."""
    deliver_by: Instant | None = None
    """Latest instant at which the buyer must have the goods, UTC."""
    cancel_after: Instant | None = None
    """What isn't fulfilled by then is cancelled, UTC."""
    purchase_order: Text = ""
    """The buyer's own purchase order number."""
    note: LongText = ""
    """The buyer's note on the order."""

    @model_validator(mode="after")
    def _lines_are_distinct(self) -> OrderContent:
        references = [line.channel_line_ref for line in self.lines]
        if len(set(references)) < len(references):
            raise ValueError("lines: every channel_line_ref must be different")
        return self


class PlaceOrder(ChannelRequest):
    """Place an order. The channel's own reference makes it idempotent: same content, no effect; other content, conflict."""

    placed_at: Instant
    """When the buyer placed the order, UTC."""
    order: OrderContent
    """The whole content of the order."""


class ChangeOrder(ChannelRequest):
    """Replace the whole content of an order by the desired one, while nobody works on it."""

    order: OrderContent
    """The desired order, whole: what isn't stated again is dropped."""


class CancelLine(OpenData):
    """Units of one line to cancel."""

    line_id: LineId
    """The order line: its channel's reference."""
    quantity: Quantity
    """How much to cancel, in the item's base units."""


class CancelOrder(ChannelRequest):
    """Cancel an order, or some units of some lines; answered per line by whoever holds the goods."""

    lines: Annotated[tuple[CancelLine, ...], Field(max_length=500)] = ()
    """What to cancel; empty means everything that is left."""


class HoldOrder(ChannelRequest):
    """Put a hold on an order: it may not go on to a location until the hold is resolved."""

    hold_id: Code
    """The hold's own id within the order; ResolveHold names it."""
    type: HoldType
    """What kind of trouble holds the order."""
    deadline: Instant | None = None
    """When it ends by itself with the order cancelled, UTC; the channel's own period when missing."""


class ResolveHold(ChannelRequest):
    """Resolve one hold of an order."""

    hold_id: Code
    """The hold to resolve."""
    resolution: Literal["release", "cancel"] = "release"
    """release: the order goes on; cancel: it is cancelled."""


class Problem(Data):
    """Why something was not done, where, and what to do about it."""

    code: Code
    """What is wrong, for machines, such as `unknown_item`."""
    field: Text = ""
    """Path of the field, as in `lines.0.quantity`."""
    message: LongText
    """What is wrong, for people."""
    remedy: Text = ""
    """What would mend it."""


class AnsweredLine(Data):
    """The last word on a line of a cancel or change."""

    line_id: LineId
    """The order line: its channel's reference."""
    done: Count = 0
    """Base units cancelled or changed as asked."""
    too_late: Count = 0
    """Base units for which the request came too late."""


class RequestAnswered(Message):
    """The one answer to a request of a channel."""

    order_id: OrderId
    """The order the request is about."""
    request_id: RequestId | None = None
    """Missing where the request could not be read that far."""
    request: Code
    """The request's type, such as PlaceOrder; `unknown` where it could not be read."""
    outcome: Literal["accepted", "held", "declined", "conflict"]
    """accepted, held (with its problems), declined, or conflict with an earlier request of the same reference."""
    problems: tuple[Problem, ...] = ()
    """Why it is held, declined or in conflict; empty when accepted."""
    lines: tuple[AnsweredLine, ...] = ()
    """The last word by line, for a cancel or change."""
    unknown_fields: tuple[Text, ...] = ()
    """Fields of the request that no contract knows: perhaps misspelt."""
    repeated: bool = False
    """True when this repeats the answer to an earlier sending of the same request."""
