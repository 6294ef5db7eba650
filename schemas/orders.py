"""Order events: what order_capture decided about an order. Each carries what its readers need, once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.channel import Completeness, HoldType, LineKind, PaymentTerms, Problem
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
    OrderId,
    Quantity,
    Reference,
    RequestId,
    Sku,
    Text,
)


class Contact(Data):
    """Who receives the goods and where: personal data, in this block only."""

    name: Text = ""
    """A person's name."""
    company: Text = ""
    """A company's name."""
    street: tuple[Text, ...] = ()
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


class Destination(Data):
    """Where the goods go, as coarse as sourcing needs it: no personal data."""

    country: Country | None = None
    """Country, ISO 3166-1 alpha-2."""
    postal_code: Text = ""
    """Postal code."""
    latitude: Latitude | None = None
    """Latitude in degrees, WGS 84."""
    longitude: Longitude | None = None
    """Longitude in degrees, WGS 84."""


class OrderLine(Data):
    """One line, enriched: its item is known."""

    line_id: LineId
    """The line: its channel's reference."""
    kind: LineKind = "goods"
    """Only goods are sourced."""
    sku: Sku
    """For a service or gift card without an item: the line's id."""
    gtin: Gtin | None = None
    """GTIN of the item: 8, 12, 13 or 14 digits."""
    description: Text = ""
    """The item's name, for people."""
    quantity: Quantity
    """How much is ordered, in the item's base units."""
    weight_g: Count = 0
    """Weight of one base unit, in grams; 0 where unknown."""
    net_minor: Amount
    """Price of the whole line after discounts, tax included, in minor units."""
    attributes: dict[Code, Text] = {}
    """Instructions for this line by name, such as an engraving."""
    gift_message: Text = ""
    """Message to enclose with the goods."""
    substitution_allowed: bool = False
    """Whether another item may be sent in its place."""


class PackingSlip(Data):
    """What the papers in the parcel say beside its address and contents."""

    order_ref: Text
    """The order's number as the buyer knows it, such as `#1001`."""
    legal_entity: Code
    """The company that sells."""
    brand: Code | None = None
    """The brand it is sold under."""
    purchase_order: Text = ""
    """The buyer's own purchase order number."""
    note: LongText = ""
    """The buyer's note on the order."""


class OrderSnapshot(Data):
    """The order as it stands."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    """Counts the order's revisions from 1."""
    channel: Code
    """The channel that sells."""
    kind: OrderKind
    """Who orders: a consumer, a business, or a location that replenishes."""
    policy: Code
    """The sourcing policy the order follows."""
    placed_at: Instant
    """When the buyer placed the order, UTC."""
    currency: Currency
    """Currency of every amount of the order, ISO 4217."""
    lines: tuple[OrderLine, ...]
    """All lines, services and gift cards too."""
    charges_minor: Amount = 0
    """All charges after discounts, tax included, in minor units."""
    total_minor: Amount
    """What the buyer owes, tax included, in minor units."""
    payment_terms: PaymentTerms
    """When the buyer pays."""
    to_collect_minor: Amount = 0
    """Amount to collect when handing over, in minor units."""
    method: Method
    """Delivery method."""
    collect_at: LocationId | None = None
    """Where the buyer collects, for methods that hand over at a location."""
    earliest: Instant | None = None
    """Start of the delivery window the buyer chose, UTC."""
    latest: Instant | None = None
    """End of the delivery window the buyer chose, UTC."""
    completeness: Completeness = "free"
    """Whether the order may be split, shipped in parts, or cut down to what is there."""
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """0 is served first, 9 last, within one kind of order: every business order precedes the consumers', and these replenishment."""
    ship_by: Instant | None = None
    """Latest instant at which the goods must leave, UTC."""
    deliver_by: Instant | None = None
    """Latest instant at which the buyer must have the goods, UTC."""
    cancel_after: Instant | None = None
    """What isn't fulfilled by then is cancelled, UTC."""
    destination: Destination = Destination()
    """Where the goods go, without personal data."""
    ship_to: Contact = Contact()
    """Who receives the goods: personal data."""
    packing_slip: PackingSlip | None = None
    """What the papers in the parcel say; missing in orders accepted before it was stated."""


MOST_PRIORITIES = 10
"""An order's own priority counts from 0 to 9."""
KINDS_FIRST_TO_LAST: tuple[OrderKind, ...] = ("business", "consumer", "replenishment")


def rank_of(kind: OrderKind, priority: int) -> int:
    """The one order of priority, 0 (served first, shorted last) to 29: the kind first, the order's own priority within it.

    Businesses have 0 to 9, consumers 10 to 19, replenishment 20 to 29. The same number ranks waiting demand, reservations (`rank` of
    ReserveStock) and instructions (`priority` of FulfilOrder). Among equals the earlier promised date goes first, then the older order.
    """
    return MOST_PRIORITIES * KINDS_FIRST_TO_LAST.index(kind) + priority


class OrderAccepted(Message):
    """The order is valid and may be sourced. With `held`, it is sourced and reserved but not instructed until released."""

    order_id: OrderId
    """The order."""
    order: OrderSnapshot
    """The order as accepted."""
    held: tuple[Code, ...] = ()
    """Open holds (their ids) that keep units."""


class OrderRejected(Message):
    """The order can't be taken; it ends here."""

    order_id: OrderId
    """The order."""
    channel: Code
    """The channel that sent it."""
    problems: tuple[Problem, ...]
    """Every reason."""


class OrderHeld(Message):
    """A hold was put on the order."""

    order_id: OrderId
    """The order."""
    hold_id: Code
    """The hold's id within the order."""
    type: HoldType
    """What kind of trouble holds the order."""
    before_acceptance: bool
    """True: the order isn't accepted yet and nobody has sourced it."""
    deadline: Instant
    """When the order is cancelled unless the hold is resolved, UTC."""
    problems: tuple[Problem, ...] = ()
    """Every reason, and what would mend it."""


class HoldResolved(Message):
    """A hold ended."""

    order_id: OrderId
    """The order."""
    hold_id: Code
    """The hold that ended."""
    resolution: Literal["release", "cancel", "expired"]
    """release: the order goes on; cancel and expired: it is cancelled."""
    open_holds: tuple[Code, ...] = ()
    """Holds that remain."""


class ChangeRequested(Message):
    """The channel wants other content; whoever holds the goods answers (ChangeAnswered). Travels behind the demand."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The channel's request; every answer names it."""
    order: OrderSnapshot
    """The desired order."""
    demand_changed: bool
    """False: only the address or the instructions change; reservations stay."""


class OrderChanged(Message):
    """The order's content is replaced by this revision."""

    order_id: OrderId
    """The order."""
    order: OrderSnapshot
    """The order as it stands now, whole."""
    effect: Literal["commercial", "instructions", "demand"]
    """commercial: prices only, nothing about goods; demand: sourcing plans anew."""


class LineQuantity(Data):
    """Units of one order line."""

    line_id: LineId
    """The order line."""
    quantity: Quantity
    """Quantity in the item's base units."""


class CancellationRequested(Message):
    """Units of lines shall be cancelled; whoever holds them answers. Travels behind the demand."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The channel's request; every answer names it."""
    lines: tuple[LineQuantity, ...]
    """What shall be cancelled, by line."""
    reason: Text = ""
    """Why, as the channel said."""


class LinesCancelled(Message):
    """Units of lines are cancelled for good (final, whoever held them)."""

    order_id: OrderId
    """The order."""
    request_id: RequestId | None = None
    """The channel's request that led to it; missing where none did."""
    lines: tuple[LineQuantity, ...]
    """What is cancelled now, by line; not a running total."""
    reason: Text = ""
    """Why."""


class InvoicedLine(Data):
    """What is invoiced of one line."""

    line_id: LineId
    """The order line."""
    quantity: Count
    """Invoiced quantity, in the item's base units."""
    amount_minor: Amount
    """Amount for it after discounts, tax included, in minor units."""


class OrderInvoiced(Message):
    """What was handed over is invoiced; the sum of an order's invoices never exceeds its total."""

    order_id: OrderId
    """The order."""
    invoice_id: Reference
    """Id of the invoice, unique within the order."""
    lines: tuple[InvoicedLine, ...]
    """What is invoiced, by line."""
    charges_minor: Amount = 0
    """Charges on this invoice after discounts, tax included, in minor units."""
    amount_minor: Amount
    """Sum of the invoice, tax included, in minor units."""
    currency: Currency
    """Currency of its amounts, ISO 4217."""


class OrderClosed(Message):
    """Nothing more is expected, short of a return."""

    order_id: OrderId
    """The order."""
    outcome: Literal["completed", "partly_completed", "cancelled", "rejected"]
    """How it ended; partly_completed: some units were cancelled or unfillable."""


class MoneyExceptionOpened(Message):
    """Something about the order's money needs a person."""

    order_id: OrderId
    """The order."""
    exception_id: Reference
    """Id of the exception, unique within the order."""
    kind: Literal["payment_declined", "capture_refused", "refund_exceeds_captured", "unknown_payment", "amount_differs"]
    """What is wrong, for machines."""
    detail: Text
    """What is wrong, for people."""
    action: Text
    """What the person should do."""
