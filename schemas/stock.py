"""What locations report about their stock. Facts: booked, never declined."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.reference import MovementKind
from schemas.types import Code, Count, Data, Delta, Instant, LocationId, Message, Quantity, Reference, Sku, Text

StockStatus = Literal["sellable", "picked", "in_transit", "quality_hold", "damaged", "display"]


class CountedLine(Data):
    """What was counted of one item in one status."""

    sku: Sku
    """The item counted."""
    quantity: Count
    """Counted quantity, in the item's base units."""
    status: StockStatus = "sellable"
    """The status in which these units are."""


class StockCounted(Message):
    """An absolute count: replaces the levels as of its time; movements after it apply on top, whatever the arrival order."""

    location: LocationId
    """The location that counted."""
    count_id: Reference
    """The count's own reference, unique at the location."""
    as_of: Instant
    """The instant the count describes, UTC."""
    basis: Literal["physical", "shelf_without_picked", "available_after_allocations"] = "physical"
    """physical: sellable and picked units together; shelf_without_picked: picked units are not in the figure;
    available_after_allocations: reserved and picked units are not in the figure."""
    scope: Literal["listed", "full"] = "listed"
    """full: an item of this location that isn't listed is zero."""
    lines: Annotated[tuple[CountedLine, ...], Field(max_length=5000)]
    """What was counted, at most 5,000 lines."""


class StockMoved(Message):
    """Units came, went or changed status. (location, kind, reference) is booked once."""

    location: LocationId
    """The location whose stock changed."""
    sku: Sku
    """The item."""
    kind: MovementKind
    """What kind of movement it is."""
    reference: Reference
    """Till receipt line, inbound line, fulfilment order line (`<part>:<line>`), return unit."""
    quantity: Delta
    """Signed change of the level in base units: a sale is negative, a receipt positive; for status_change what moved, positive.
    A running total of its reference: a later report with the same reference books the difference."""
    from_status: StockStatus = "sellable"
    """For status_change."""
    to_status: StockStatus = "sellable"
    """For status_change; for others the status that changes."""
    occurred_at: Instant
    """When it happened, UTC."""
    inbound_reference: Reference | None = None
    """For a receipt: the announced inbound line it lowers."""
    note: Text = ""
    """A note for people."""


class InboundAnnounced(Message):
    """Goods are on their way; a new announcement of the same reference replaces the old one."""

    location: LocationId
    """The location that will receive them."""
    reference: Reference
    """The inbound line's own reference, unique at the location."""
    sku: Sku
    """The item."""
    kind: Literal["purchase", "production", "transfer", "return"] = "purchase"
    """Where the supply comes from."""
    expected: Quantity
    """Expected quantity, in the item's base units."""
    eta: Instant
    """When it is expected at the location, UTC."""
    confidence: Annotated[int, Field(ge=0, le=100)] = 100
    """Percent."""
    announced_at: Instant
    """When this was announced, UTC; the newest announcement of a reference is valid."""


class InboundClosed(Message):
    """Nothing more comes for this reference."""

    location: LocationId
    """The location that expected them."""
    reference: Reference
    """The inbound line's own reference."""
    sku: Sku
    """The item."""
    reason: Code = "received"
    """Why nothing more comes, such as `received` or `cancelled`."""
    closed_at: Instant
    """When it was closed, UTC."""
