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
    company: Text = ""
    street: tuple[Text, ...] = ()
    postal_code: Text = ""
    city: Text = ""
    region: Text = ""
    country: Country | None = None
    email: Text = ""
    phone: Text = ""


class Destination(Data):
    """Where the goods go, as coarse as sourcing needs it: no personal data."""

    country: Country | None = None
    postal_code: Text = ""
    latitude: Latitude | None = None
    longitude: Longitude | None = None


class OrderLine(Data):
    """One line, enriched: its item is known."""

    line_id: LineId
    kind: LineKind = "goods"
    """Only goods are sourced."""
    sku: Sku
    """For a service or gift card without an item: the line's id."""
    gtin: Gtin | None = None
    description: Text = ""
    quantity: Quantity
    weight_g: Count = 0
    """Of one unit."""
    net_minor: Amount
    """Price of the whole line after discounts, tax included, in minor units."""
    attributes: dict[Code, Text] = {}
    gift_message: Text = ""
    substitution_allowed: bool = False


class OrderSnapshot(Data):
    """The order as it stands."""

    revision: Annotated[int, Field(ge=1, le=1_000_000)]
    channel: Code
    kind: OrderKind
    policy: Code
    placed_at: Instant
    currency: Currency
    lines: tuple[OrderLine, ...]
    charges_minor: Amount = 0
    """All charges after discounts, tax included."""
    total_minor: Amount
    """What the buyer owes, tax included."""
    payment_terms: PaymentTerms
    to_collect_minor: Amount = 0
    """Amount to collect when handing over."""
    method: Method
    collect_at: LocationId | None = None
    """Where the buyer collects, for methods that hand over at a location."""
    earliest: Instant | None = None
    latest: Instant | None = None
    completeness: Completeness = "free"
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """0 is served first, 9 last, within one kind of order; see `rank_of`."""
    ship_by: Instant | None = None
    deliver_by: Instant | None = None
    cancel_after: Instant | None = None
    destination: Destination = Destination()
    ship_to: Contact = Contact()


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
    order: OrderSnapshot
    held: tuple[Code, ...] = ()
    """Open holds (their ids) that keep units."""


class OrderRejected(Message):
    """The order can't be taken; it ends here."""

    order_id: OrderId
    channel: Code
    problems: tuple[Problem, ...]


class OrderHeld(Message):
    """A hold was put on the order."""

    order_id: OrderId
    hold_id: Code
    type: HoldType
    before_acceptance: bool
    """True: the order isn't accepted yet and nobody has sourced it."""
    deadline: Instant
    """When the order is cancelled unless the hold is resolved."""
    problems: tuple[Problem, ...] = ()


class HoldResolved(Message):
    """A hold ended."""

    order_id: OrderId
    hold_id: Code
    resolution: Literal["release", "cancel", "expired"]
    open_holds: tuple[Code, ...] = ()
    """Holds that remain."""


class ChangeRequested(Message):
    """The channel wants other content; whoever holds the goods answers (ChangeAnswered). Travels behind the demand."""

    order_id: OrderId
    request_id: RequestId
    order: OrderSnapshot
    demand_changed: bool
    """False: only the address or the instructions change; reservations stay."""


class OrderChanged(Message):
    """The order's content is replaced by this revision."""

    order_id: OrderId
    order: OrderSnapshot
    effect: Literal["commercial", "instructions", "demand"]
    """commercial: prices only, nothing about goods; demand: sourcing plans anew."""


class LineQuantity(Data):
    line_id: LineId
    quantity: Quantity


class CancellationRequested(Message):
    """Units of lines shall be cancelled; whoever holds them answers. Travels behind the demand."""

    order_id: OrderId
    request_id: RequestId
    lines: tuple[LineQuantity, ...]
    reason: Text = ""


class LinesCancelled(Message):
    """Units of lines are cancelled for good (final, whoever held them)."""

    order_id: OrderId
    request_id: RequestId | None = None
    lines: tuple[LineQuantity, ...]
    reason: Text = ""


class InvoicedLine(Data):
    line_id: LineId
    quantity: Count
    amount_minor: Amount


class OrderInvoiced(Message):
    """What was handed over is invoiced; the sum of an order's invoices never exceeds its total."""

    order_id: OrderId
    invoice_id: Reference
    lines: tuple[InvoicedLine, ...]
    charges_minor: Amount = 0
    amount_minor: Amount
    currency: Currency


class OrderClosed(Message):
    """Nothing more is expected, short of a return."""

    order_id: OrderId
    outcome: Literal["completed", "partly_completed", "cancelled", "rejected"]


class MoneyExceptionOpened(Message):
    """Something about the order's money needs a person."""

    order_id: OrderId
    exception_id: Reference
    kind: Literal["payment_declined", "capture_refused", "refund_exceeds_captured", "unknown_payment", "amount_differs"]
    detail: Text
    action: Text
    """What the person should do."""
