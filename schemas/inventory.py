"""Inventory's language: commands from sourcing, reservations, events, and availability as state."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.types import (
    Code,
    Count,
    Data,
    Delta,
    Instant,
    LineId,
    LocationId,
    Message,
    OrderId,
    PartId,
    Quantity,
    Reference,
    Sku,
    Text,
    Version,
)


class ReserveLine(Data):
    line_id: LineId
    sku: Sku
    quantity: Quantity
    minimum: Count = 0
    """Fewest units worth reserving; 0 takes what there is. When a line can't have its minimum, the command is declined."""


class ReserveStock(Message):
    """Reserve all lines of one part at one location, atomically."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    lines: Annotated[tuple[ReserveLine, ...], Field(min_length=1, max_length=500)]
    rank: Annotated[int, Field(ge=0, le=99)] = 50
    """0 to 9 business, 10 to 19 consumer, 20 to 29 replenishment, by priority within the kind: the higher is shorted first."""
    promised_at: Instant
    """Among equals the later is shorted first."""


class ReleaseStock(Message):
    """Give up the whole reservation of a part (before its decision is published)."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    reason: Code


class Level(Data):
    """One inventory level as it stands after an event."""

    sku: Sku
    location: LocationId
    version: Version
    sellable: Count
    reserved: Count
    atp: Count
    """Available to promise: sellable - reserved - safety, at least zero; zero while blocked."""


class ReservedLine(Data):
    line_id: LineId
    sku: Sku
    asked: Count
    reserved: Count
    """What the line got; for a decline what it could have had."""


class StockReserved(Message):
    """The command got at least its minimum of every line; lines with 0 got nothing."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    lines: tuple[ReservedLine, ...]
    levels: tuple[Level, ...] = ()


class ReservationDeclined(Message):
    """Nothing was reserved; `levels` carry the true figures."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    reason: Literal["insufficient_stock", "blocked", "already_ended"] = "insufficient_stock"
    lines: tuple[ReservedLine, ...]
    levels: tuple[Level, ...] = ()


class EndedLine(Data):
    line_id: LineId
    sku: Sku
    quantity: Quantity


EndCause = Literal["released", "cancelled", "rejected", "short", "dropped", "changed", "not_collected"]


class ReservationReleased(Message):
    """Reserved units were given up. Sourcing plans again on every cause but `released`, `cancelled` and `changed`."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    cause: EndCause
    lines: tuple[EndedLine, ...]
    levels: tuple[Level, ...] = ()


class ReservationShorted(Message):
    """A fact left fewer units than were reserved: these lost theirs."""

    part_id: PartId
    order_id: OrderId
    location: LocationId
    lines: tuple[EndedLine, ...]
    levels: tuple[Level, ...] = ()


class StockChanged(Message):
    """Levels of a location changed by a fact."""

    location: LocationId
    cause: Literal[
        "counted",
        "moved",
        "picked",
        "issued",
        "restocked",
        "written_off",
        "blocked",
        "unblocked",
        "inbound",
        "safety",
        "released",
    ]
    reference: Reference | None = None
    levels: tuple[Level, ...]
    arrived: tuple[Sku, ...] = ()
    """Items whose available to promise rose: waiting demand may be served."""


class DiscrepancyFound(Message):
    """What was reported can't be what was booked: the difference was written down and somebody should look."""

    location: LocationId
    sku: Sku
    kind: Literal["count_difference", "below_zero", "unknown_reference", "changed_report", "late_fact"]
    quantity: Delta
    reference: Reference | None = None
    detail: Text = ""


class Future(Data):
    """Announced supply of one level."""

    reference: Reference
    quantity: Quantity
    eta: Instant
    confidence: Annotated[int, Field(ge=0, le=100)] = 100


class Availability(Message):
    """The whole state of one inventory level."""

    sku: Sku
    location: LocationId
    version: Version
    sellable: Count
    picked: Count = 0
    in_transit: Count = 0
    quality_hold: Count = 0
    damaged: Count = 0
    display: Count = 0
    reserved: Count
    unsettled: Count = 0
    """Units handed over whose movement this location's own feed has still to report."""
    safety: Count = 0
    atp: Count
    """Available to promise now, at least zero; zero while blocked."""
    blocked_until: Instant | None = None
    future: tuple[Future, ...] = ()

    @property
    def level_id(self) -> str:
        return f"{self.sku}:{self.location}"
