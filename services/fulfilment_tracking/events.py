"""What happened to an order, its parts and parcels, and to a tracking number: everything a row is folded from.

`at` is when the effect was booked; `occurred_at`, where it differs, when it really happened.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from schemas.forms import Promise
from schemas.reference import Method
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
from shared.value import Value


class OfOrder(Value, frozen=True):
    order_id: str
    at: datetime

    @property
    def key(self) -> Key:
        return order_key(self.order_id)


class OfPart(Value, frozen=True):
    part_id: str
    at: datetime

    @property
    def key(self) -> Key:
        return order_of(self.part_id)


# ---- the order ----


class OrderOpened(OfOrder, frozen=True):
    """The order is accepted."""

    content: Content
    held: tuple[str, ...]
    patience_s: int
    """Seconds sourcing may take for units it has to plan."""


class OrderRefused(OfOrder, frozen=True):
    """The order was rejected; it ends here."""

    reason: str = ""


class ContentReplaced(OfOrder, frozen=True):
    """Another revision counts from now on."""

    content: Content
    demand_changed: bool


class DemandRestated(OfOrder, frozen=True):
    """Order capture counts another demand, from nothing: what it had cancelled of the one before counts no more."""


class HoldPlaced(OfOrder, frozen=True):
    hold_id: str
    deadline: datetime
    before_acceptance: bool


class HoldLifted(OfOrder, frozen=True):
    hold_id: str
    open_holds: tuple[str, ...]


class LinesCounted(OfOrder, frozen=True):
    """Another service decided about units of lines; a negative quantity takes back."""

    what: Literal["cancelled", "unfillable", "received_back", "written_off", "credited"]
    lines: tuple[Units, ...]


class DemandBackordered(OfOrder, frozen=True):
    lines: tuple[Units, ...]
    deadline: datetime


class ReturnOpened(OfOrder, frozen=True):
    return_id: str
    lines: tuple[Units, ...]


class ReturnDropped(OfOrder, frozen=True):
    """Units of a return are not expected any more."""

    return_id: str
    lines: tuple[Units, ...]


class TroubleOpened(OfOrder, frozen=True):
    exception_id: str
    kind: str
    about: str
    detail: str
    action: str
    own: bool
    """Whether tracking opened it."""


class OrderEnded(OfOrder, frozen=True):
    outcome: Outcome


# ---- parts ----


class PartScheduled(OfPart, frozen=True):
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


class PartFound(OfPart, frozen=True):
    """A location reports work under a part that nobody planned."""

    location: str
    method: Method


class PartInstructed(OfPart, frozen=True):
    """The location got a revision of its instruction."""

    revision: int
    accept_by: datetime | None
    to_collect_minor: int


class PartAccepted(OfPart, frozen=True):
    """The location works on it."""


class PartPaused(OfPart, frozen=True):
    """The location was told to stop working on it."""


class PartResumed(OfPart, frozen=True):
    """The location was told to go on."""


class UnitsEnded(OfPart, frozen=True):
    """The location won't do these units."""

    occurred_at: datetime
    cause: EndedCause
    lines: tuple[Units, ...]


class UnitsRefused(OfPart, frozen=True):
    """The location said it won't do these units, by rejection or short pick."""

    lines: tuple[Units, ...]
    shorted: tuple[Units, ...]
    """Of these, units a shortage had ended already."""
    by_pick: bool = False
    """They were left out of a final pick; why, a rejection may say."""
    picked_at: datetime | None = None
    """When that pick was made."""
    explained: tuple[Units, ...] = ()
    """Units that an earlier final pick had left out, and that this rejection explains."""


class ShortedPutBack(OfPart, frozen=True):
    """Shorted units that were picked go back to the shelf."""

    lines: tuple[Units, ...]


class UnitsPicked(OfPart, frozen=True):
    occurred_at: datetime
    totals: tuple[Goods, ...]
    """Running totals as reported."""
    lines: tuple[Units, ...]
    """Units that left the shelf."""


class UnitsReady(OfPart, frozen=True):
    occurred_at: datetime
    totals: tuple[Units, ...]
    collect_by: datetime | None
    """None where nothing new became ready."""


class UnitsCollected(OfPart, frozen=True):
    """The buyer took these units at the counter."""

    occurred_at: datetime
    location: str
    totals: tuple[Units, ...]
    served: tuple[Goods, ...]
    over: tuple[Goods, ...]


class BuyerStayedAway(OfPart, frozen=True):
    occurred_at: datetime


# ---- parcels ----


class ParcelFilled(OfPart, frozen=True):
    """A parcel, and all that is in it as its location packed it."""

    occurred_at: datetime
    parcel_id: str
    location: str
    carrier: str | None
    tracking_number: str | None
    contents: tuple[Goods, ...]


class ParcelLeft(OfPart, frozen=True):
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
    implied: bool = False
    """Only the carrier says so."""


class ParcelDated(OfPart, frozen=True):
    """Its location says when a parcel left that its carrier had first."""

    parcel_id: str
    occurred_at: datetime


class ParcelSighted(OfPart, frozen=True):
    parcel_id: str
    status: TrackingStatus
    raw_code: str
    occurred_at: datetime


class ParcelHandedOver(OfPart, frozen=True):
    parcel_id: str
    how: Literal["delivered", "presumed"]
    occurred_at: datetime


class ParcelReturned(OfPart, frozen=True):
    parcel_id: str
    occurred_at: datetime


class ParcelReceived(OfPart, frozen=True):
    """The destination of a transfer counted a parcel."""

    parcel_id: str
    location: str
    occurred_at: datetime
    lines: tuple[Goods, ...]
    """What was added to the count, in good condition or bad."""


# ---- cancels and changes on their way ----


class CancelOpened(OfOrder, frozen=True):
    request_id: str
    answer_by: datetime
    asked: tuple[AskedUnits, ...]
    cancelled: tuple[Units, ...]
    too_late: tuple[Units, ...]
    quiet: bool


class CancelHeard(OfPart, frozen=True):
    """A location spoke about a cancellation, or lost units of it otherwise."""

    request_id: str
    heard: tuple[Units, ...]
    """Totals the location accepted."""
    cancelled: tuple[Units, ...]
    """What that adds to the units cancelled by the request."""
    shorted: tuple[Units, ...]
    """What of it were units a shortage had ended already."""
    answered: bool


class CancelSettled(OfOrder, frozen=True):
    """The last word is spoken; a later yes drops the units."""

    request_id: str


class ChangeOpened(OfOrder, frozen=True):
    request_id: str
    content: Content
    demand_changed: bool


class ChangeAsked(OfOrder, frozen=True):
    """Locations were sent the changed instruction."""

    request_id: str
    revisions: dict[str, int]
    answer_by: datetime


class AmendmentHeard(OfPart, frozen=True):
    """A location accepted the changed instruction."""

    request_id: str


class ChangeSettled(OfOrder, frozen=True):
    request_id: str
    accepted: bool


# ---- tracking numbers ----


class LabelClaimed(Value, frozen=True):
    """A location named the tracking number of a parcel."""

    carrier_tracking: str
    part_id: str
    parcel_id: str

    @property
    def key(self) -> Key:
        return parcel_key(self.carrier_tracking)


class LabelUnclaimed(Value, frozen=True):
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
    | DemandRestated
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
    | ShortedPutBack
    | UnitsPicked
    | UnitsReady
    | UnitsCollected
    | BuyerStayedAway
)
ParcelEvent = ParcelFilled | ParcelLeft | ParcelDated | ParcelSighted | ParcelHandedOver | ParcelReturned | ParcelReceived
RequestEvent = CancelOpened | CancelHeard | CancelSettled | ChangeOpened | ChangeAsked | AmendmentHeard | ChangeSettled
AnyEvent = OrderEvent | PartEvent | ParcelEvent | RequestEvent
"""Every event of an order's row."""
LabelEvent = LabelClaimed | LabelUnclaimed
