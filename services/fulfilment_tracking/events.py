"""What happened to an order, its parts and parcels, and to a tracking number: everything a row is folded from.

`at` is when the effect was booked; `occurred_at`, where it differs, when it really happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from schemas.reference import Method
from schemas.sourcing import Promise
from schemas.status import TrackingStatus
from services.fulfilment_tracking.state import (
    AskedUnits,
    Content,
    EndedCause,
    Goods,
    Outcome,
    Units,
    order_key,
    order_of,
    parcel_key,
)
from shared.kernel.model import Key


@dataclass(frozen=True, slots=True)
class OfOrder:
    order_id: str
    at: datetime

    @property
    def key(self) -> Key:
        return order_key(self.order_id)


@dataclass(frozen=True, slots=True)
class OfPart:
    part_id: str
    at: datetime

    @property
    def key(self) -> Key:
        return order_of(self.part_id)


# ---- the order ----


@dataclass(frozen=True, slots=True)
class OrderOpened(OfOrder):
    """The order is accepted."""

    content: Content
    held: tuple[str, ...]
    patience_s: int
    """Seconds sourcing may take for units it has to plan."""


@dataclass(frozen=True, slots=True)
class OrderRefused(OfOrder):
    """The order was rejected; it ends here."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ContentReplaced(OfOrder):
    """Another revision counts from now on."""

    content: Content
    demand_changed: bool


@dataclass(frozen=True, slots=True)
class HoldPlaced(OfOrder):
    hold_id: str
    deadline: datetime
    before_acceptance: bool


@dataclass(frozen=True, slots=True)
class HoldLifted(OfOrder):
    hold_id: str
    open_holds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinesCounted(OfOrder):
    """Another service decided about units of lines; a negative quantity takes back."""

    what: Literal["cancelled", "unfillable", "received_back", "written_off", "credited"]
    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class DemandBackordered(OfOrder):
    lines: tuple[Units, ...]
    deadline: datetime


@dataclass(frozen=True, slots=True)
class ReturnOpened(OfOrder):
    return_id: str
    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class ReturnDropped(OfOrder):
    """Units of a return are not expected any more."""

    return_id: str
    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class TroubleOpened(OfOrder):
    exception_id: str
    kind: str
    about: str
    detail: str
    action: str
    own: bool
    """Whether tracking opened it."""


@dataclass(frozen=True, slots=True)
class OrderEnded(OfOrder):
    outcome: Outcome


# ---- parts ----


@dataclass(frozen=True, slots=True)
class PartScheduled(OfPart):
    location: str
    method: Method
    carrier: str | None
    release_at: datetime
    ship_by: datetime
    promise: Promise
    lines: tuple[Goods, ...]
    served: tuple[Units, ...] = ()
    """Units that had left under this part's name before it was planned."""
    carrier_service: str | None = None


@dataclass(frozen=True, slots=True)
class PartFound(OfPart):
    """A location reports work under a part that nobody planned."""

    location: str
    method: Method


@dataclass(frozen=True, slots=True)
class PartInstructed(OfPart):
    """The location got a revision of its instruction."""

    revision: int
    accept_by: datetime | None
    to_collect_minor: int


@dataclass(frozen=True, slots=True)
class PartAccepted(OfPart):
    """The location works on it."""


@dataclass(frozen=True, slots=True)
class PartPaused(OfPart):
    """The location was told to stop working on it."""


@dataclass(frozen=True, slots=True)
class PartResumed(OfPart):
    """The location was told to go on."""


@dataclass(frozen=True, slots=True)
class UnitsEnded(OfPart):
    """The location won't do these units."""

    occurred_at: datetime
    cause: EndedCause
    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class UnitsRefused(OfPart):
    """The location said it won't do these units, by rejection or short pick."""

    lines: tuple[Units, ...]
    shorted: tuple[Units, ...]
    """Of these, units a shortage had ended already."""


@dataclass(frozen=True, slots=True)
class UnitsPicked(OfPart):
    occurred_at: datetime
    totals: tuple[Goods, ...]
    """Running totals as reported."""
    lines: tuple[Units, ...]
    """Units that left the shelf."""


@dataclass(frozen=True, slots=True)
class UnitsReady(OfPart):
    occurred_at: datetime
    totals: tuple[Units, ...]
    collect_by: datetime | None
    """None where nothing new became ready."""


@dataclass(frozen=True, slots=True)
class UnitsCollected(OfPart):
    """The buyer took these units at the counter."""

    occurred_at: datetime
    location: str
    totals: tuple[Units, ...]
    served: tuple[Goods, ...]
    over: tuple[Goods, ...]


@dataclass(frozen=True, slots=True)
class BuyerStayedAway(OfPart):
    occurred_at: datetime


# ---- parcels ----


@dataclass(frozen=True, slots=True)
class ParcelFilled(OfPart):
    """A parcel, and all that is in it as its location packed it."""

    occurred_at: datetime
    parcel_id: str
    location: str
    carrier: str | None
    tracking_number: str | None
    contents: tuple[Goods, ...]


@dataclass(frozen=True, slots=True)
class ParcelLeft(OfPart):
    """A parcel left its location, or more of it did than was known."""

    occurred_at: datetime
    parcel_id: str
    location: str
    carrier: str
    tracking_number: str
    served: tuple[Goods, ...]
    """Units of the part's plan."""
    over: tuple[Goods, ...]
    """Units beyond it."""
    presume_at: datetime


@dataclass(frozen=True, slots=True)
class ParcelSighted(OfPart):
    parcel_id: str
    status: TrackingStatus
    raw_code: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ParcelHandedOver(OfPart):
    parcel_id: str
    how: Literal["delivered", "presumed"]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ParcelReturned(OfPart):
    parcel_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ParcelReceived(OfPart):
    """The destination of a transfer counted a parcel."""

    parcel_id: str
    location: str
    occurred_at: datetime
    lines: tuple[Goods, ...]
    """What was added to the count, in good condition or bad."""


# ---- cancels and changes on their way ----


@dataclass(frozen=True, slots=True)
class CancelOpened(OfOrder):
    request_id: str
    answer_by: datetime
    asked: tuple[AskedUnits, ...]
    cancelled: tuple[Units, ...]
    too_late: tuple[Units, ...]
    quiet: bool


@dataclass(frozen=True, slots=True)
class CancelHeard(OfPart):
    """A location spoke about a cancellation, or lost units of it otherwise."""

    request_id: str
    heard: tuple[Units, ...]
    """Totals the location accepted."""
    cancelled: tuple[Units, ...]
    """What that adds to the units cancelled by the request."""
    shorted: tuple[Units, ...]
    """What of it were units a shortage had ended already."""
    answered: bool


@dataclass(frozen=True, slots=True)
class CancelSettled(OfOrder):
    """The last word is spoken; a later yes drops the units."""

    request_id: str


@dataclass(frozen=True, slots=True)
class ChangeOpened(OfOrder):
    request_id: str
    content: Content
    demand_changed: bool


@dataclass(frozen=True, slots=True)
class ChangeAsked(OfOrder):
    """Locations were sent the changed instruction."""

    request_id: str
    revisions: dict[str, int]
    answer_by: datetime


@dataclass(frozen=True, slots=True)
class AmendmentHeard(OfPart):
    """A location accepted the changed instruction."""

    request_id: str


@dataclass(frozen=True, slots=True)
class ChangeSettled(OfOrder):
    request_id: str
    accepted: bool


# ---- tracking numbers ----


@dataclass(frozen=True, slots=True)
class LabelClaimed:
    """A location named the tracking number of a parcel."""

    carrier_tracking: str
    part_id: str
    parcel_id: str

    @property
    def key(self) -> Key:
        return parcel_key(self.carrier_tracking)


@dataclass(frozen=True, slots=True)
class LabelUnclaimed:
    """A carrier moves a parcel that no location has named within the time a report may take."""

    carrier_tracking: str
    status: TrackingStatus
    raw_code: str
    occurred_at: datetime

    @property
    def key(self) -> Key:
        return parcel_key(self.carrier_tracking)


OrderEvent = (
    OrderOpened
    | OrderRefused
    | ContentReplaced
    | HoldPlaced
    | HoldLifted
    | LinesCounted
    | DemandBackordered
    | ReturnOpened
    | ReturnDropped
    | TroubleOpened
    | OrderEnded
)
PartEvent = (
    PartScheduled
    | PartFound
    | PartInstructed
    | PartAccepted
    | PartPaused
    | PartResumed
    | UnitsEnded
    | UnitsRefused
    | UnitsPicked
    | UnitsReady
    | UnitsCollected
    | BuyerStayedAway
)
ParcelEvent = ParcelFilled | ParcelLeft | ParcelSighted | ParcelHandedOver | ParcelReturned | ParcelReceived
RequestEvent = CancelOpened | CancelHeard | CancelSettled | ChangeOpened | ChangeAsked | AmendmentHeard | ChangeSettled
AnyEvent = OrderEvent | PartEvent | ParcelEvent | RequestEvent
"""Every event of an order's row."""
LabelEvent = LabelClaimed | LabelUnclaimed
