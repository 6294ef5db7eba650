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
    day: Day
    zone: Zone
    latest: Instant
    """The end of that day."""


class PartLine(Data):
    line_id: LineId
    sku: Sku
    quantity: Quantity


class Part(Data):
    """One reservation, one fulfilment order, one parcel as planned."""

    part_id: PartId
    location: LocationId
    method: Method
    lines: tuple[PartLine, ...]
    release_at: Instant
    """When the location is instructed."""
    ship_by: Instant
    carrier: Code | None = None
    promise: Promise


class CostTerms(Data):
    """Terms of a plan's cost in minor units; `total` is their sum."""

    parcels: Delta = 0
    distance: Delta = 0
    weight: Delta = 0
    handling: Delta = 0
    labour: Delta = 0
    lateness: Delta = 0
    total: Delta = 0


class SeenLevel(Data):
    sku: Sku
    atp: Count
    """As the planner saw it, its own plans in flight already taken off."""
    version: Version


class Candidate(Data):
    location: LocationId
    distance_km: Count | None = None
    levels: tuple[SeenLevel, ...]


class PlannedPart(Data):
    location: LocationId
    lines: tuple[LineQuantity, ...]


class PlanCost(Data):
    parts: tuple[PlannedPart, ...]
    cost: CostTerms


class Explanation(Data):
    """Why this plan: enough to compute it again."""

    policy: Code
    policy_version: Version
    currency: Currency
    attempt: Annotated[int, Field(ge=1, le=1_000_000)]
    candidates: tuple[Candidate, ...]
    eliminated: dict[Code, Count] = {}
    """Locations ruled out, counted by the constraint that ruled them out."""
    capped: bool = False
    """True where more candidates existed than the planner may look at."""
    chosen: PlanCost
    alternatives: Annotated[tuple[PlanCost, ...], Field(max_length=3)] = ()
    """The best others, cheapest first."""


class OrderSourced(Message):
    """Units are reserved for these parts; they may be instructed at their release."""

    order_id: OrderId
    decision: Annotated[int, Field(ge=1, le=1_000_000)]
    """Counts this order's decisions from 1."""
    cause: Literal["new", "resourced", "backorder", "change"]
    parts: tuple[Part, ...]
    split: bool
    """True when the order's lines now come from more than one location."""
    promise: Promise
    """The latest of its parts."""
    explanation: tuple[Explanation, ...]


class LinesBackordered(Message):
    """Nobody has these units now; they wait for stock until the deadline."""

    order_id: OrderId
    lines: tuple[PartLine, ...]
    reason: Code
    deadline: Instant


class LinesUnfillable(Message):
    """Nobody can serve these units, or may: they end here."""

    order_id: OrderId
    lines: tuple[PartLine, ...]
    reason: Code
    detail: Text = ""


class PartShorted(Message):
    """Units of a published part lost their stock to a fact: tracking takes them off the fulfilment order, sourcing plans again."""

    order_id: OrderId
    part_id: PartId
    location: LocationId
    lines: tuple[PartLine, ...]


class PassedLine(Data):
    part_id: PartId
    line_id: LineId
    quantity: Quantity
    standing: Count | None = None
    """Units of the line that sourcing took to stand in this part (planned, less what it knew to have ended), these among
    them. By it tracking tells whether units the location lost are among those to cancel."""


class CancellationPassedOn(Message):
    """Sourcing's word on a cancellation: what it cancelled itself, and what the fulfilment orders must answer."""

    order_id: OrderId
    request_id: RequestId
    cancelled: tuple[LineQuantity, ...]
    passed_on: tuple[PassedLine, ...]
    too_late: tuple[LineQuantity, ...] = ()
    """Units that had already ended (handed over, cancelled, unfillable)."""


class ChangePassedOn(Message):
    """Sourcing's word on a change: accepted while nothing was published, otherwise tracking answers."""

    order_id: OrderId
    request_id: RequestId
    accepted: bool
    passed_on: bool
    demand_changed: bool
    parts: tuple[PartId, ...] = ()
    """The parts that must all be untouched for the change to pass."""


class SourcingExceptionOpened(Message):
    """Sourcing needs a person: an answer that never came, or a plan that can't be made."""

    order_id: OrderId
    exception_id: Reference
    kind: Literal["reservation_unanswered", "no_reference_data", "unexpected_answer"]
    detail: Text
    action: Text
