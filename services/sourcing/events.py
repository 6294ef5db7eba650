"""What happens to the rows of sourcing, in the past tense."""

from __future__ import annotations

from datetime import datetime

from services.sourcing.reasons import Reasons
from services.sourcing.state import (
    Cause,
    LevelSeen,
    Line,
    Part,
    Passed,
    Place,
    Terms,
    Units,
    order_key,
    queue_key,
    waiting_key,
)
from shared.kernel.model import Key
from shared.value import Value


class OrderEvent(Value, frozen=True):
    """What every event of an order carries."""

    order_id: str

    @property
    def key(self) -> Key:
        return order_key(self.order_id)


# ---- demand ----


class DemandTaken(OrderEvent, frozen=True):
    """The whole demand of an order, at first or after a change; what it replaces is forgotten."""

    terms: Terms
    lines: tuple[Line, ...]
    cause: Cause


class TermsReplaced(OrderEvent, frozen=True):
    """Address or instructions changed; the demand is the same."""

    terms: Terms


class ChangeAwaited(OrderEvent, frozen=True):
    """A change is under way: nothing is planned or published until it ends."""

    request_id: str


class ChangeRefused(OrderEvent, frozen=True):
    """The change did not come about."""


class OrderEnded(OrderEvent, frozen=True):
    """Nothing more is expected; only reservations that are still being given up are remembered."""


# ---- plans ----


class PlanMade(OrderEvent, frozen=True):
    """Open units go to parts, each asked of its location."""

    parts: tuple[Part, ...]
    reasons: Reasons


class PartReserved(OrderEvent, frozen=True):
    """A part got these units; what it asked for beyond is open again."""

    number: int
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


class PartDeclined(OrderEvent, frozen=True):
    """A part got nothing."""

    number: int
    levels: tuple[LevelSeen, ...]


class PartWithdrawn(OrderEvent, frozen=True):
    """An unpublished part is given up; its units are open again."""

    number: int
    location: str
    lines: tuple[Units, ...]
    reserved: bool
    """Whether inventory had already said yes."""


class WithdrawnPartReserved(OrderEvent, frozen=True):
    """A part given up before its answer turns out to have got these units; inventory releases them next."""

    number: int
    location: str
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


class PartReleased(OrderEvent, frozen=True):
    """Inventory confirmed that a part given up holds nothing any more."""

    number: int
    levels: tuple[LevelSeen, ...]


class PartsPublished(OrderEvent, frozen=True):
    """A decision went out."""

    numbers: tuple[int, ...]


# ---- waiting and giving up ----


class UnitsPutBack(OrderEvent, frozen=True):
    """Open units wait for stock until the deadline."""

    lines: tuple[Units, ...]
    until: datetime


class UnitsCalled(OrderEvent, frozen=True):
    """Waiting units are open again: there is stock."""

    lines: tuple[Units, ...]


class UnitsGivenUp(OrderEvent, frozen=True):
    """Open or waiting units are unfillable."""

    lines: tuple[Units, ...]


class ProtectionJudged(OrderEvent, frozen=True):
    """Whether the waiting units may keep others from stock."""

    protects: bool


# ---- cancelling ----


class UnitsCancelled(OrderEvent, frozen=True):
    """Waiting or open units are cancelled, the waiting ones first."""

    lines: tuple[Units, ...]


class CancelPassed(OrderEvent, frozen=True):
    """Tracking decides about these units of published parts."""

    passed: tuple[Passed, ...]


class CancelSettled(OrderEvent, frozen=True):
    """Tracking decided: `lines` are cancelled, the rest of the request comes too late."""

    request_id: str
    lines: tuple[Units, ...]


# ---- the end of units of published parts ----


class LostUnits(Value, frozen=True):
    """Units of one line that lost their reservation."""

    line_id: str
    reopened: int
    absorbed: int
    """Not planned again: their cancellation was asked for."""


class UnitsLost(OrderEvent, frozen=True):
    """Reserved units were rejected, not found, dropped or shorted."""

    number: int
    lines: tuple[LostUnits, ...]
    exclude: bool
    """Whether the location is not asked for these lines again."""
    levels: tuple[LevelSeen, ...]


class UnitsReopened(OrderEvent, frozen=True):
    """Units taken for cancelled were not: others were."""

    lines: tuple[Units, ...]


class UnitsDropped(OrderEvent, frozen=True):
    """Units of a published part were cancelled."""

    number: int
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


class UnitsTakenBack(OrderEvent, frozen=True):
    """Units of a published part were given back for a change."""

    number: int
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


class UnitsNotCollected(OrderEvent, frozen=True):
    """The buyer did not come for these units: they end."""

    number: int
    lines: tuple[Units, ...]


class UnitsDone(OrderEvent, frozen=True):
    """Units left for the buyer."""

    number: int
    lines: tuple[Units, ...]


class LevelsSeen(OrderEvent, frozen=True):
    """Nothing of the order changed, but these are the true levels."""

    levels: tuple[LevelSeen, ...]


AnyOrderEvent = (
    DemandTaken
    | TermsReplaced
    | ChangeAwaited
    | ChangeRefused
    | OrderEnded
    | PlanMade
    | PartReserved
    | PartDeclined
    | PartWithdrawn
    | WithdrawnPartReserved
    | PartReleased
    | PartsPublished
    | UnitsPutBack
    | UnitsCalled
    | UnitsGivenUp
    | ProtectionJudged
    | UnitsCancelled
    | CancelPassed
    | CancelSettled
    | UnitsLost
    | UnitsReopened
    | UnitsDropped
    | UnitsTakenBack
    | UnitsNotCollected
    | UnitsDone
    | LevelsSeen
)


# ---- queues ----


class PlaceTaken(Value, frozen=True):
    """An order waits in the queue of an item, or its place changed."""

    sku: str
    order_id: str
    place: Place

    @property
    def key(self) -> Key:
        return waiting_key(self.sku, self.order_id)


class PlaceLeft(Value, frozen=True):
    """An order waits no longer."""

    sku: str
    order_id: str

    @property
    def key(self) -> Key:
        return waiting_key(self.sku, self.order_id)


class QueueEvent(Value, frozen=True):
    """What every event of a queue carries."""

    sku: str

    @property
    def key(self) -> Key:
        return queue_key(self.sku)


class QueueMoved(QueueEvent, frozen=True):
    """One order's place came, changed or went."""

    before: Place | None
    after: Place | None
    look_at: datetime
    """When the queue is looked at again, even if nothing arrives."""


class QueueLookedAt(QueueEvent, frozen=True):
    """Its head was offered what there is."""

    arrived: bool
    """Whether stock arrived; otherwise the time had come."""
    look_at: datetime
    levels: tuple[LevelSeen, ...]


AnyQueueEvent = QueueMoved | QueueLookedAt
AnyWaitingEvent = PlaceTaken | PlaceLeft
