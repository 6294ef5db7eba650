"""PlaceOrder as a Struct, which costs less to read than its contract: every order is read once.

It comes from outside, so a form takes less than its contract and never more: exact patterns, no field it doesn't know, instants in UTC.
Whatever it doesn't take is read by the contract, which names each fault and keeps unknown fields; rules see the same fields of either.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field
from msgspec.structs import force_setattr

from schemas import channel
from schemas.channel import Completeness, LineKind, PaymentTerms
from schemas.forms import Amount, Form, LongText, Quantity, ShownCode, Text
from schemas.reference import Method, OrderKind
from schemas.types import GTIN, REQUEST, OpenData, order_id_of

Code = ShownCode
RequestId = Annotated[str, Meta(pattern=rf"^{REQUEST}\Z")]
Gtin = Annotated[str, Meta(pattern=rf"^{GTIN}\Z")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Country = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Instant = Annotated[datetime, Meta(tz=True)]


class Asked(Form, frozen=True, forbid_unknown_fields=True):
    """A request, or a part of one. What was said although it is the default is as if it hadn't been said: digests depend on it."""

    contract: ClassVar[type[OpenData]]


def _in_utc(*instants: datetime | None) -> None:
    if any(instant is not None and instant.tzinfo is not UTC for instant in instants):
        raise ValueError("an instant with another offset: its contract brings it to UTC")


def _as_if_unsaid(said: Asked, name: str, default: object) -> None:
    """Structs leave out what is the very object that is the default."""
    if getattr(said, name) == default:
        force_setattr(said, name, default)


class Party(Asked, frozen=True):
    contract: ClassVar[type[OpenData]] = channel.Party

    name: Text = ""
    company: Text = ""
    street: Annotated[tuple[Text, ...], Meta(max_length=5)] = ()
    postal_code: Text = ""
    city: Text = ""
    region: Text = ""
    country: Country | None = None
    email: Text = ""
    phone: Text = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None


class Discount(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Discount

    label: Text = ""
    amount_minor: Amount


class Tax(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Tax

    label: Text = ""
    rate_ppm: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    amount_minor: Amount


class Line(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Line

    channel_line_ref: Code
    kind: LineKind = "goods"
    sku: Code | None = None
    gtin: Gtin | None = None
    channel_sku: Code | None = None
    quantity: Quantity
    unit_price_minor: Amount
    discounts: Annotated[tuple[Discount, ...], Meta(max_length=20)] = ()
    taxes: Annotated[tuple[Tax, ...], Meta(max_length=20)] = ()
    attributes: Annotated[dict[Code, Text], Meta(max_length=30)] = field(default_factory=dict)
    gift_message: Text = ""
    parent_line_ref: Code | None = None
    substitution_allowed: bool = False

    def __post_init__(self) -> None:
        if self.kind == "goods" and not (self.sku or self.gtin or self.channel_sku):
            raise ValueError("a line of goods needs one of sku, gtin, channel_sku")


class Charge(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Charge

    kind: Literal["shipping", "wrapping", "other"] = "shipping"
    amount_minor: Amount
    discounts: Annotated[tuple[Discount, ...], Meta(max_length=20)] = ()
    taxes: Annotated[tuple[Tax, ...], Meta(max_length=20)] = ()


class Totals(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Totals

    lines_minor: Amount
    discounts_minor: Amount = 0
    charges_minor: Amount = 0
    taxes_minor: Amount = 0
    total_minor: Amount


class Payment(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Payment

    payment_id: Code
    method: Code = "card"
    amount_minor: Amount
    status: Literal["pending", "authorised", "captured"] = "pending"
    valid_until: Instant | None = None

    def __post_init__(self) -> None:
        _in_utc(self.valid_until)
        _as_if_unsaid(self, "method", "card")


class Delivery(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.Delivery

    method: Method = "home"
    location: Code | None = None
    earliest: Instant | None = None
    latest: Instant | None = None

    def __post_init__(self) -> None:
        _in_utc(self.earliest, self.latest)


NOBODY = Party()
AT_HOME = Delivery()


class OrderContent(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.OrderContent

    kind: OrderKind = "consumer"
    display_ref: Text = ""
    legal_entity: Code | None = None
    brand: Code | None = None
    sold_to: Party = NOBODY
    bill_to: Party | None = None
    ship_to: Party | None = None
    lines: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=500)]
    charges: Annotated[tuple[Charge, ...], Meta(max_length=20)] = ()
    currency: Currency = "EUR"
    taxes_included: bool = True
    totals: Totals
    payment_terms: PaymentTerms = "capture_on_shipment"
    payments: Annotated[tuple[Payment, ...], Meta(max_length=20)] = ()
    delivery: Delivery = AT_HOME
    completeness: Completeness = "free"
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    accept_by: Instant | None = None
    ship_by: Instant | None = None
    deliver_by: Instant | None = None
    cancel_after: Instant | None = None
    purchase_order: Text = ""
    note: LongText = ""

    def __post_init__(self) -> None:
        if len({line.channel_line_ref for line in self.lines}) < len(self.lines):
            raise ValueError("lines: every channel_line_ref must be different")
        _in_utc(self.accept_by, self.ship_by, self.deliver_by, self.cancel_after)
        _as_if_unsaid(self, "currency", "EUR")
        _as_if_unsaid(self, "sold_to", NOBODY)
        _as_if_unsaid(self, "delivery", AT_HOME)


class PlaceOrder(Asked, frozen=True, kw_only=True):
    contract: ClassVar[type[OpenData]] = channel.PlaceOrder

    request_id: RequestId
    channel: Code
    channel_order_ref: Code
    actor: Text = ""
    reason: Text = ""
    placed_at: Instant
    order: OrderContent

    def __post_init__(self) -> None:
        _in_utc(self.placed_at)

    @property
    def order_id(self) -> str:
        return order_id_of(self.channel, self.channel_order_ref)
