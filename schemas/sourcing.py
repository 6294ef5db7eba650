"""Sourcing decisions: which location fulfils what, when, at what cost, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.orders import LineQuantity
from schemas.reference import Method
from schemas.types import (
    Code,
    Count,
    Currency,
    Data,
    Day,
    Delta,
    Instant,
    LineId,
    LocationId,
    Message,
    OrderId,
    PartId,
    Quantity,
    Reference,
    RequestId,
    Sku,
    Text,
    Version,
    Zone,
)


class Promise(Data):
    """What the buyer is told: a local day in a zone."""

    kind: Literal["delivery", "collection"]
    """delivery to the buyer, or collection by the buyer."""
    day: Day
    """The promised local day, in `zone`."""
    zone: Zone
    """IANA time zone of the day."""
    latest: Instant
    """The end of that day, UTC."""


class PartLine(Data):
    """Units of one line."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    quantity: Quantity
    """Quantity in the item's base units."""


class Part(Data):
    """One reservation, one fulfilment order, one parcel as planned."""

    part_id: PartId
    """The part's id; its fulfilment order's too."""
    location: LocationId
    """The location that fulfils it."""
    method: Method
    """Delivery method."""
    lines: tuple[PartLine, ...]
    """What it fulfils, by line."""
    release_at: Instant
    """When the location is instructed, UTC."""
    ship_by: Instant
    """Latest handover to the carrier or the buyer that keeps the promise, UTC."""
    carrier: Code | None = None
    """The carrier that shall move it; missing where the buyer collects."""
    carrier_service: Code | None = None
    """The carrier's service to book; missing where the buyer collects."""
    promise: Promise
    """What the buyer is told about this part."""


class CostTerms(Data):
    """Terms of a plan's cost in minor units; `total` is their sum."""

    parcels: Delta = 0
    """Carriers' base fees and packaging, in minor units."""
    distance: Delta = 0
    """Cost of distance, in minor units."""
    weight: Delta = 0
    """Cost of weight, in minor units."""
    handling: Delta = 0
    """Handling of parcels, in minor units."""
    labour: Delta = 0
    """Picking of lines, in minor units."""
    lateness: Delta = 0
    """Charge for arriving after the wanted time, in minor units."""
    total: Delta = 0
    """Sum of the terms, in minor units."""


class SeenLevel(Data):
    """A level as the planner saw it."""

    sku: Sku
    """The item."""
    atp: Count
    """Available to promise as the planner saw it, its own plans in flight already taken off, in base units."""
    version: Version
    """Version of the level that was seen."""


class Candidate(Data):
    """A location that was weighed."""

    location: LocationId
    """The location."""
    distance_km: Count | None = None
    """Distance to the destination, in kilometres; missing where one of the places is unknown."""
    levels: tuple[SeenLevel, ...]
    """What it had of the wanted items."""


class PlannedPart(Data):
    """What one location would fulfil."""

    location: LocationId
    """The location."""
    lines: tuple[LineQuantity, ...]
    """What it would fulfil, by line."""


class PlanCost(Data):
    """A plan and what it costs."""

    parts: tuple[PlannedPart, ...]
    """Which location would fulfil what."""
    cost: CostTerms
    """Its cost, term by term."""


class Explanation(Data):
    """Why this plan: enough to compute it again."""

    policy: Code
    """The policy that was followed."""
    policy_version: Version
    """Its version."""
    currency: Currency
    """Currency of the costs, ISO 4217."""
    attempt: Annotated[int, Field(ge=1, le=1_000_000)]
    """Counts the plans made for these lines from 1."""
    candidates: tuple[Candidate, ...]
    """Locations that were weighed."""
    eliminated: dict[Code, Count] = {}
    """Locations ruled out, counted by the constraint that ruled them out."""
    capped: bool = False
    """True where more candidates existed than the planner may look at."""
    chosen: PlanCost
    """The plan that was chosen."""
    alternatives: Annotated[tuple[PlanCost, ...], Field(max_length=3)] = ()
    """The best others, cheapest first."""


class OrderSourced(Message):
    """Units are reserved for these parts; they may be instructed at their release."""

    order_id: OrderId
    """The order."""
    decision: Annotated[int, Field(ge=1, le=1_000_000)]
    """Counts this order's decisions from 1."""
    cause: Literal["new", "resourced", "backorder", "change"]
    """What made sourcing plan."""
    parts: tuple[Part, ...]
    """The parts this decision adds."""
    split: bool
    """True when the order's lines now come from more than one location."""
    promise: Promise
    """The latest of its parts."""
    explanation: tuple[Explanation, ...]
    """Why, for each plan behind the parts."""
    revision: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The revision of the order that sourcing had: a change up to it doesn't take these parts back, however late it is read."""


class LinesBackordered(Message):
    """Nobody has these units now; they wait for stock until the deadline."""

    order_id: OrderId
    """The order."""
    lines: tuple[PartLine, ...]
    """What waits, by line."""
    reason: Code
    """Why it waits, for machines."""
    deadline: Instant
    """When it is given up as unfillable, UTC."""


class LinesUnfillable(Message):
    """Nobody can serve these units, or may: they end here."""

    order_id: OrderId
    """The order."""
    lines: tuple[PartLine, ...]
    """What ends here, by line."""
    reason: Code
    """Why, for machines."""
    detail: Text = ""
    """Why, for people."""
    revision: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """The revision of the order that sourcing had: units of a demand that a change has replaced since don't count."""


class PartShorted(Message):
    """Units of a published part lost their stock to a fact: tracking takes them off the fulfilment order, sourcing plans again."""

    order_id: OrderId
    """The order."""
    part_id: PartId
    """The part that lost units."""
    location: LocationId
    """The part's location."""
    lines: tuple[PartLine, ...]
    """What it lost, by line."""
    ended: bool = False
    """Whether the order has ended: then nothing is planned again."""


class PassedLine(Data):
    """Units of one line in one part that shall be cancelled."""

    part_id: PartId
    """The part."""
    line_id: LineId
    """The order line."""
    quantity: Quantity
    """How much shall be cancelled, in the item's base units."""
    standing: Count | None = None
    """Base units of the line that sourcing took to stand in this part (planned, less what it knew to have ended), these among
    them. By it tracking tells whether units the location lost are among those to cancel."""


class CancellationPassedOn(Message):
    """Sourcing's word on a cancellation: what it cancelled itself, and what the fulfilment orders must answer."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The channel's request."""
    cancelled: tuple[LineQuantity, ...]
    """What sourcing held and has cancelled, by line."""
    passed_on: tuple[PassedLine, ...]
    """What fulfilment tracking must answer, by part and line."""
    too_late: tuple[LineQuantity, ...] = ()
    """Units that had already ended (handed over, cancelled, unfillable)."""


class ChangePassedOn(Message):
    """Sourcing's word on a change: accepted while nothing was published, otherwise tracking answers."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The channel's request."""
    accepted: bool
    """True: nothing was published, so the change may pass."""
    passed_on: bool
    """True: fulfilment tracking answers."""
    demand_changed: bool
    """False: only the address or the instructions change."""
    parts: tuple[PartId, ...] = ()
    """The parts that must all be untouched for the change to pass."""


class SourcingExceptionOpened(Message):
    """Sourcing needs a person: an answer that never came, or a plan that can't be made."""

    order_id: OrderId
    """The order."""
    exception_id: Reference
    """Id of the exception, unique within the order."""
    kind: Literal["reservation_unanswered", "no_reference_data", "unexpected_answer"]
    """What is wrong, for machines."""
    detail: Text
    """What is wrong, for people."""
    action: Text
    """What the person should do."""
