"""What happens to the rows of sourcing, in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """What every event of an order carries."""

    order_id: str

    @property
    def key(self) -> Key:
        return order_key(self.order_id)


# ---- demand ----


@dataclass(frozen=True, slots=True)
class DemandTaken(OrderEvent):
    """The whole demand of an order, at first or after a change; what it replaces is forgotten."""

    terms: Terms
    lines: tuple[Line, ...]
    cause: Cause


@dataclass(frozen=True, slots=True)
class TermsReplaced(OrderEvent):
    """Address or instructions changed; the demand is the same."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class ChangeAwaited(OrderEvent):
    """A change is under way: nothing is planned or published until it ends."""

    request_id: str


@dataclass(frozen=True, slots=True)
class ChangeRefused(OrderEvent):
    """The change did not come about."""


@dataclass(frozen=True, slots=True)
class OrderEnded(OrderEvent):
    """Nothing more is expected; only reservations that are still being given up are remembered."""


# ---- plans ----


@dataclass(frozen=True, slots=True)
class PlanMade(OrderEvent):
    """Open units go to parts, each asked of its location."""

    parts: tuple[Part, ...]
    reasons: Reasons


@dataclass(frozen=True, slots=True)
class PartReserved(OrderEvent):
    """A part got these units; what it asked for beyond is open again."""

    number: int
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class PartDeclined(OrderEvent):
    """A part got nothing."""

    number: int
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class PartWithdrawn(OrderEvent):
    """An unpublished part is given up; its units are open again."""

    number: int
    location: str
    lines: tuple[Units, ...]
    reserved: bool
    """Whether inventory had already said yes."""


@dataclass(frozen=True, slots=True)
class WithdrawnPartReserved(OrderEvent):
    """A part given up before its answer turns out to have got these units; inventory releases them next."""

    number: int
    location: str
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class PartReleased(OrderEvent):
    """Inventory confirmed that a part given up holds nothing any more."""

    number: int
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class PartsPublished(OrderEvent):
    """A decision went out."""

    numbers: tuple[int, ...]


# ---- waiting and giving up ----


@dataclass(frozen=True, slots=True)
class UnitsPutBack(OrderEvent):
    """Open units wait for stock until the deadline."""

    lines: tuple[Units, ...]
    until: datetime


@dataclass(frozen=True, slots=True)
class UnitsCalled(OrderEvent):
    """Waiting units are open again: there is stock."""

    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class UnitsGivenUp(OrderEvent):
    """Open or waiting units are unfillable."""

    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class ProtectionJudged(OrderEvent):
    """Whether the waiting units may keep others from stock."""

    protects: bool


# ---- cancelling ----


@dataclass(frozen=True, slots=True)
class UnitsCancelled(OrderEvent):
    """Waiting or open units are cancelled, the waiting ones first."""

    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class CancelPassed(OrderEvent):
    """Tracking decides about these units of published parts."""

    passed: tuple[Passed, ...]


@dataclass(frozen=True, slots=True)
class CancelSettled(OrderEvent):
    """Tracking decided: `lines` are cancelled, the rest of the request comes too late."""

    request_id: str
    lines: tuple[Units, ...]


# ---- the end of units of published parts ----


@dataclass(frozen=True, slots=True)
class LostUnits:
    """Units of one line that lost their reservation."""

    line_id: str
    reopened: int
    absorbed: int
    """Not planned again: their cancellation was asked for."""


@dataclass(frozen=True, slots=True)
class UnitsLost(OrderEvent):
    """Reserved units were rejected, not found, dropped or shorted."""

    number: int
    lines: tuple[LostUnits, ...]
    exclude: bool
    """Whether the location is not asked for these lines again."""
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class UnitsReopened(OrderEvent):
    """Units taken for cancelled were not: others were."""

    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class UnitsDropped(OrderEvent):
    """Units of a published part were cancelled."""

    number: int
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class UnitsTakenBack(OrderEvent):
    """Units of a published part were given back for a change."""

    number: int
    lines: tuple[Units, ...]
    levels: tuple[LevelSeen, ...]


@dataclass(frozen=True, slots=True)
class UnitsNotCollected(OrderEvent):
    """The buyer did not come for these units: they end."""

    number: int
    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class UnitsDone(OrderEvent):
    """Units left for the buyer."""

    number: int
    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class LevelsSeen(OrderEvent):
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


@dataclass(frozen=True, slots=True)
class PlaceTaken:
    """An order waits in the queue of an item, or its place changed."""

    sku: str
    order_id: str
    place: Place

    @property
    def key(self) -> Key:
        return waiting_key(self.sku, self.order_id)


@dataclass(frozen=True, slots=True)
class PlaceLeft:
    """An order waits no longer."""

    sku: str
    order_id: str

    @property
    def key(self) -> Key:
        return waiting_key(self.sku, self.order_id)


@dataclass(frozen=True, slots=True)
class QueueEvent:
    """What every event of a queue carries."""

    sku: str

    @property
    def key(self) -> Key:
        return queue_key(self.sku)


@dataclass(frozen=True, slots=True)
class QueueMoved(QueueEvent):
    """One order's place came, changed or went."""

    before: Place | None
    after: Place | None
    look_at: datetime
    """When the queue is looked at again, even if nothing arrives."""


@dataclass(frozen=True, slots=True)
class QueueLookedAt(QueueEvent):
    """Its head was offered what there is."""

    arrived: bool
    """Whether stock arrived; otherwise the time had come."""
    look_at: datetime
    levels: tuple[LevelSeen, ...]


AnyQueueEvent = QueueMoved | QueueLookedAt
AnyWaitingEvent = PlaceTaken | PlaceLeft
