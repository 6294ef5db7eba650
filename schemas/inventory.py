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
    """What to reserve for one line."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    quantity: Quantity
    """How much is wanted, in the item's base units."""
    minimum: Count = 0
    """Fewest base units worth reserving; 0 takes what there is. When a line can't have its minimum, the command is declined."""


class ReserveStock(Message):
    """Reserve all lines of one part at one location, atomically."""

    part_id: PartId
    """The part to reserve for: the reservation group."""
    order_id: OrderId
    """The order it belongs to."""
    location: LocationId
    """The location to reserve at."""
    lines: Annotated[tuple[ReserveLine, ...], Field(min_length=1, max_length=500)]
    """What to reserve, 1 to 500 lines."""
    rank: Annotated[int, Field(ge=0, le=99)] = 50
    """0 to 9 business, 10 to 19 consumer, 20 to 29 replenishment, by priority within the kind: the higher is shorted first."""
    promised_at: Instant
    """The promised date, UTC: among equals the later is shorted first."""


class ReleaseStock(Message):
    """Give up the whole reservation of a part (before its decision is published)."""

    part_id: PartId
    """The part whose reservation ends."""
    order_id: OrderId
    """The order it belongs to."""
    location: LocationId
    """The location that holds the reservation."""
    reason: Code
    """Why, for machines."""


class Level(Data):
    """One inventory level as it stands after an event."""

    sku: Sku
    """The item."""
    location: LocationId
    """The location."""
    version: Version
    """Version of the level after the event: the highest is valid."""
    sellable: Count
    """On the shelf and fit to sell, reserved ones among them, in base units."""
    reserved: Count
    """Reserved of the sellable ones, in base units."""
    atp: Count
    """Available to promise, in base units: sellable - reserved - safety, at least zero; zero while blocked."""


class ReservedLine(Data):
    """What one line asked for and got."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    asked: Count
    """What the command asked for, in the item's base units."""
    reserved: Count
    """What the line got, in base units; for a decline what it could have had."""


class StockReserved(Message):
    """The command got at least its minimum of every line; lines with 0 got nothing."""

    part_id: PartId
    """The part it is reserved for."""
    order_id: OrderId
    """The order it belongs to."""
    location: LocationId
    """The location that holds the reservation."""
    lines: tuple[ReservedLine, ...]
    """What each line asked for and got."""
    levels: tuple[Level, ...] = ()
    """The levels concerned, after it."""


DeclineReason = Literal["insufficient_stock", "blocked", "already_ended"]


class ReservationDeclined(Message):
    """Nothing was reserved; `levels` carry the true figures."""

    part_id: PartId
    """The part that was asked for."""
    order_id: OrderId
    """The order it belongs to."""
    location: LocationId
    """The location that was asked."""
    reason: DeclineReason = "insufficient_stock"
    """Why nothing was reserved."""
    lines: tuple[ReservedLine, ...]
    """What each line could have had."""
    levels: tuple[Level, ...] = ()
    """The levels concerned, as they stand."""


class EndedLine(Data):
    """Units of one line whose reservation ended."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    quantity: Quantity
    """How much ended, in the item's base units."""


EndCause = Literal["released", "cancelled", "rejected", "short", "dropped", "changed", "not_collected", "served"]


class ReservationReleased(Message):
    """Reserved units were given up. Sourcing plans again what a location won't do after all: `rejected`, `short`, `dropped`."""

    part_id: PartId
    """The part whose reservation ended."""
    order_id: OrderId
    """The order it belongs to."""
    location: LocationId
    """The location that held the reservation."""
    cause: EndCause
    """Why it ended."""
    lines: tuple[EndedLine, ...]
    """What was given up, by line."""
    levels: tuple[Level, ...] = ()
    """The levels concerned, after it."""


class ReservationShorted(Message):
    """A fact left fewer units than were reserved: these lost theirs."""

    part_id: PartId
    """The part that lost its reservation."""
    order_id: OrderId
    """The order it belongs to."""
    location: LocationId
    """The location that held the reservation."""
    lines: tuple[EndedLine, ...]
    """What was lost, by line."""
    levels: tuple[Level, ...] = ()
    """The levels concerned, after it."""


ChangeCause = Literal[
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


class StockChanged(Message):
    """Levels of a location changed by a fact."""

    location: LocationId
    """The location whose levels changed."""
    cause: ChangeCause
    """What changed them."""
    reference: Reference | None = None
    """The report, part or return that did; missing where none did."""
    levels: tuple[Level, ...]
    """The changed levels, as they stand."""
    arrived: tuple[Sku, ...] = ()
    """Items whose available to promise rose: waiting demand may be served."""


class DiscrepancyFound(Message):
    """What was reported can't be what was booked: the difference was written down and somebody should look."""

    location: LocationId
    """The location."""
    sku: Sku
    """The item."""
    kind: Literal["count_difference", "below_zero", "unknown_reference", "changed_report", "late_fact"]
    """What does not agree."""
    quantity: Delta
    """The difference, signed, in the item's base units."""
    reference: Reference | None = None
    """The report it was found in."""
    detail: Text = ""
    """What was found, for people."""


class Future(Data):
    """Announced supply of one level."""

    reference: Reference
    """The inbound line it comes with."""
    quantity: Quantity
    """Quantity still expected, in the item's base units."""
    eta: Instant
    """When it is expected at the location, UTC."""
    confidence: Annotated[int, Field(ge=0, le=100)] = 100
    """How likely it comes in time, in percent."""


class Availability(Message):
    """The whole state of one inventory level."""

    sku: Sku
    """The item."""
    location: LocationId
    """The location."""
    version: Version
    """Version of the level: the highest is valid."""
    sellable: Count
    """On the shelf and fit to sell, reserved ones among them, in base units."""
    picked: Count = 0
    """Picked for an order and still at the location, in base units."""
    in_transit: Count = 0
    """On their way to the location, in base units."""
    quality_hold: Count = 0
    """Waiting for inspection, in base units."""
    damaged: Count = 0
    """Damaged, in base units."""
    display: Count = 0
    """On display, in base units."""
    reserved: Count
    """Reserved of the sellable ones, in base units."""
    unsettled: Count = 0
    """Handed over, their movement still to be reported by this location's own feed, in base units."""
    safety: Count = 0
    """Safety stock kept back, in base units."""
    atp: Count
    """Available to promise now, in base units, at least zero; zero while blocked."""
    blocked_until: Instant | None = None
    """Until when the item isn't sold from here unless counted before, UTC; missing where it isn't blocked."""
    future: tuple[Future, ...] = ()
    """Announced supply."""

    @property
    def level_id(self) -> str:
        return f"{self.sku}:{self.location}"
