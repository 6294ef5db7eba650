"""What locations report about their stock. Facts: booked, never declined."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.reference import MovementKind
from schemas.types import Code, Count, Data, Delta, Instant, LocationId, Message, Quantity, Reference, Sku, Text

StockStatus = Literal["sellable", "picked", "in_transit", "quality_hold", "damaged", "display"]


class CountedLine(Data):
    sku: Sku
    quantity: Count
    status: StockStatus = "sellable"


class StockCounted(Message):
    """An absolute count: replaces the levels as of its time; movements after it apply on top, whatever the arrival order."""

    location: LocationId
    count_id: Reference
    as_of: Instant
    basis: Literal["physical", "shelf_without_picked", "available_after_allocations"] = "physical"
    """physical: sellable and picked units together; shelf_without_picked: picked units are not in the figure;
    available_after_allocations: reserved and picked units are not in the figure."""
    scope: Literal["listed", "full"] = "listed"
    """full: an item of this location that isn't listed is zero."""
    lines: Annotated[tuple[CountedLine, ...], Field(max_length=5000)]


class StockMoved(Message):
    """Units came, went or changed status. (location, kind, reference) is booked once."""

    location: LocationId
    sku: Sku
    kind: MovementKind
    reference: Reference
    """Till receipt line, inbound line, fulfilment order line (`<part>:<line>`), return unit."""
    quantity: Delta
    """Signed change of the level: a sale is negative, a receipt positive; for status_change the units moved, positive.
    A running total of its reference: a later report with the same reference books the difference."""
    from_status: StockStatus = "sellable"
    """For status_change."""
    to_status: StockStatus = "sellable"
    """For status_change; for others the status that changes."""
    occurred_at: Instant
    inbound_reference: Reference | None = None
    """For a receipt: the announced inbound line it lowers."""
    note: Text = ""


class InboundAnnounced(Message):
    """Goods are on their way; a new announcement of the same reference replaces the old one."""

    location: LocationId
    reference: Reference
    sku: Sku
    kind: Literal["purchase", "production", "transfer", "return"] = "purchase"
    expected: Quantity
    eta: Instant
    confidence: Annotated[int, Field(ge=0, le=100)] = 100
    """Percent."""
    announced_at: Instant


class InboundClosed(Message):
    """Nothing more comes for this reference."""

    location: LocationId
    reference: Reference
    sku: Sku
    reason: Code = "received"
    closed_at: Instant
