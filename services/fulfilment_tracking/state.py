"""What tracking knows of one order: its content, its parts (fulfilment orders), its parcels, and what is still open.

One row holds it all, because every fact of an order may touch its neighbours. Quantities are in the item's base unit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from schemas.channel import LineKind
from schemas.forms import Contact, OrderSnapshot, PackingSlip, Promise
from schemas.fulfilment import RejectionReason
from schemas.reference import Method, OrderKind
from schemas.status import TrackingStatus
from schemas.types import order_of_part
from shared.kernel.model import Key
from shared.value import Value, field

EndedCause = Literal["cancelled", "rejected", "short", "shorted", "dropped", "changed", "not_collected"]
"""Why units of a part will not be done by its location. `shorted`: inventory took the reservation itself."""
Phase = Literal["unknown", "held", "accepted", "rejected"]
Outcome = Literal["completed", "partly_completed", "cancelled", "rejected"]
Reason = RejectionReason | Literal["none"]


def order_key(order_id: str) -> Key:
    return Key("order", order_id)


def order_of(part_id: str) -> Key:
    """The row that holds a part."""
    return order_key(order_of_part(part_id))


def parcel_key(carrier_tracking: str) -> Key:
    return Key("parcel", carrier_tracking)


def parcel_name(part_id: str, parcel_id: str) -> str:
    """A parcel's name within its order: its own number is unique within its part only."""
    return f"{part_id}:{parcel_id}"


class Units(Value, frozen=True):
    """So many units of one line."""

    line_id: str
    quantity: int


class Goods(Value, frozen=True):
    """Units of one line as they were handled: the item is named, for it may be another than the line's."""

    line_id: str
    sku: str
    """Empty where neither the order nor the report names the item."""
    quantity: int


class Item(Value, frozen=True):
    """One line as instructions state it."""

    kind: LineKind
    sku: str
    quantity: int
    net_minor: int
    gtin: str | None = None
    description: str = ""
    weight_g: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    gift_message: str = ""
    substitution_allowed: bool = False


class Content(Value, frozen=True):
    """An order as it stands, as far as locations and its status need it."""

    revision: int
    channel: str
    kind: OrderKind
    policy: str
    placed_at: datetime
    currency: str
    method: Method
    priority: int
    to_collect_minor: int
    ship_to: Contact
    items: dict[str, Item]
    """By line."""
    packing_slip: PackingSlip | None = None

    @classmethod
    def of(cls, order: OrderSnapshot) -> Content:
        return cls(
            revision=order.revision,
            channel=order.channel,
            kind=order.kind,
            policy=order.policy,
            placed_at=order.placed_at,
            currency=order.currency,
            method=order.method,
            priority=order.priority,
            to_collect_minor=order.to_collect_minor,
            ship_to=order.ship_to,
            packing_slip=order.packing_slip,
            items={
                line.line_id: Item(
                    kind=line.kind,
                    sku=line.sku,
                    quantity=line.quantity,
                    net_minor=line.net_minor,
                    gtin=line.gtin,
                    description=line.description,
                    weight_g=line.weight_g,
                    attributes=line.attributes,
                    gift_message=line.gift_message,
                    substitution_allowed=line.substitution_allowed,
                )
                for line in order.lines
            },
        )

    def item(self, line_id: str) -> Item | None:
        return self.items.get(line_id)


Count = Literal["cancelled", "unfillable", "backordered", "return_requested", "received_back", "written_off", "credited"]


class LineCounts(Value, frozen=True):
    """What others decided about one line of the order."""

    cancelled: int = 0
    unfillable: int = 0
    backordered: int = 0
    return_requested: int = 0
    received_back: int = 0
    written_off: int = 0
    credited: int = 0


class Work(Value, frozen=True):
    """One line of one part. planned = ended + served + left, always; what goes beyond the plan is `over`."""

    sku: str
    planned: int = 0
    ended: dict[EndedCause, int] = field(default_factory=dict)
    """Units this location will not do, by cause."""
    served: int = 0
    """Units of the plan that left for the buyer, from here or, with the reservation here ended, from elsewhere."""
    over: int = 0
    """Units that left beyond the plan: no reservation stood behind them."""
    carted: int = 0
    """Units picked that have neither left nor ended."""
    picked_said: int = 0
    """Highest running totals that reports named."""
    ready_said: int = 0
    collected: int = 0
    told_off: int = 0
    """Units the location said it will not do, by rejection or short pick, whatever they were booked as."""
    unexplained: int = 0
    """Of these, units only a final pick left out: a rejection of them may still come and say why."""
    left_out_at: datetime | None = None
    """When a final pick left units out last: what its location gave up before is of these."""
    shorted_open: int = 0
    """Shorted units the location has not given up yet: its next rejections are about these."""
    shorted_carted: int = 0
    """Shorted units that inventory keeps as picked: they leave all the same, or go back to the shelf."""
    ended_at: datetime | None = None
    """When units ended last: a later report of more work contradicts it, an earlier one is merely late."""

    @property
    def gone(self) -> int:
        return sum(self.ended.values())

    @property
    def left(self) -> int:
        """Units this location still has to do."""
        return self.planned - self.served - (sum(self.ended.values()) if self.ended else 0)

    @property
    def standing(self) -> int:
        """Units that are done or still to be done."""
        return self.left + self.served + self.over

    @property
    def picked(self) -> int:
        return self.carted + self.served + self.over

    @property
    def shipped(self) -> int:
        """Units that left in parcels."""
        return self.served + self.over - self.collected

    @property
    def awaiting_buyer(self) -> int:
        """Units ready at the counter now."""
        if not self.ready_said:
            return 0
        return max(0, min(self.ready_said - self.collected - self.ended.get("not_collected", 0), self.left))


class Part(Value, frozen=True):
    """The work one location does for one order: a fulfilment order."""

    part_id: str
    location: str
    method: Method
    release_at: datetime
    ship_by: datetime
    promise: Promise | None
    """None where nobody planned it and a location reported it all the same."""
    carrier: str | None = None
    carrier_service: str | None = None
    lines: dict[str, Work] = field(default_factory=dict)
    revision: int = 0
    """0: not instructed yet."""
    to_collect_minor: int = 0
    accept_by: datetime | None = None
    accepted: bool = False
    paused: bool = False
    collect_by: datetime | None = None
    stayed_away_at: datetime | None = None
    """When the location said that the buyer did not come."""

    @property
    def number(self) -> str:
        return self.part_id.rpartition("/")[2]

    @property
    def left(self) -> int:
        return sum([work.left for work in self.lines.values()])

    @property
    def at_location(self) -> bool:
        """Whether the location has been instructed and has work left."""
        return self.revision > 0 and self.left > 0


class Parcel(Value, frozen=True):
    """One parcel; its contents are totals."""

    part_id: str
    parcel_id: str
    location: str
    carrier: str | None = None
    tracking_number: str | None = None
    packed: tuple[Goods, ...] = ()
    shipped: tuple[Goods, ...] = ()
    received: tuple[Goods, ...] = ()
    """What the destination of a transfer counted."""
    status: TrackingStatus = "unknown"
    status_at: datetime | None = None
    raw_code: str = ""
    shipped_at: datetime | None = None
    implied: bool = False
    """Only its carrier said that it left: it did so at `shipped_at` at the latest."""
    presume_at: datetime | None = None
    delivered_at: datetime | None = None
    handed_over: Literal["delivered", "presumed"] | None = None
    came_back: bool = False

    @property
    def contents(self) -> tuple[Goods, ...]:
        return self.shipped or self.packed


class AskedUnits(Value, frozen=True):
    """Units of one line of one part that a location was asked to cancel."""

    part_id: str
    line_id: str
    quantity: int
    heard: int = 0
    """Highest total the location accepted, or gave up otherwise."""
    cancelled: int = 0
    """Of these, counted as cancelled by this request."""
    lost: int = 0
    """Beside these, units the location had given up before sourcing could know: cancelled by this request, too."""


class Cancel(Value, frozen=True):
    """One cancellation on its way to the locations."""

    request_id: str
    answer_by: datetime
    asked: tuple[AskedUnits, ...] = ()
    cancelled: tuple[Units, ...] = ()
    """Cancelled at once: no location had been instructed, or it had given them up already."""
    too_late: tuple[Units, ...] = ()
    answered: tuple[str, ...] = ()
    """Parts whose location has answered."""
    quiet: bool = False
    """Tracking's own request, after a shortage or at the order's end: nobody waits for its answer."""
    settled: bool = False


class Change(Value, frozen=True):
    """One change that is not decided yet."""

    request_id: str
    content: Content
    demand_changed: bool
    asked: dict[str, int] = field(default_factory=dict)
    """Parts whose location must still answer, with the revision it was sent."""
    amended: tuple[str, ...] = ()
    """Parts that were sent the changed instruction."""
    answer_by: datetime | None = None


class Trouble(Value, frozen=True):
    """An exception that a person should look at."""

    exception_id: str
    kind: str
    about: str
    """What it is about, so that it opens once; empty for those other services opened."""
    detail: str
    action: str
    opened_at: datetime


class Entry(Value, frozen=True):
    """One line of the order's timeline."""

    at: datetime
    what: str
    detail: str = ""


class Order(Value, frozen=True):
    """One order as tracking sees it."""

    order_id: str
    phase: Phase = "unknown"
    outcome: Outcome | None = None
    """Set when order_capture closed it."""
    content: Content | None = None
    demand_revision: int = 0
    """The newest revision that sourcing had to plan anew; 0 where none had to be."""
    promise: Promise | None = None
    lines: dict[str, LineCounts] = field(default_factory=dict)
    holds: dict[str, datetime | None] = field(default_factory=dict)
    """Open holds, with the time at which each cancels the order."""
    patience_s: int = 0
    """Seconds sourcing may take for units it has to plan."""
    touched_at: datetime | None = None
    plan_by: datetime | None = None
    """Until when units that no part holds wait for sourcing."""
    stock_by: datetime | None = None
    """Until when backordered units wait for stock."""
    parts: dict[str, Part] = field(default_factory=dict)
    parcels: dict[str, Parcel] = field(default_factory=dict)
    cancels: dict[str, Cancel] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    returns: dict[str, tuple[Units, ...]] = field(default_factory=dict)
    """Authorised returns, until they are cancelled or expire."""
    troubles: tuple[Trouble, ...] = ()
    troubles_opened: int = 0
    """How many tracking opened itself, so that each has a number."""
    timeline: tuple[Entry, ...] = ()

    @property
    def known(self) -> bool:
        return self.content is not None

    @property
    def channel(self) -> str:
        return self.content.channel if self.content else self.order_id.partition(":")[0]

    def has_trouble(self, kind: str, about: str) -> bool:
        return any(trouble.kind == kind and trouble.about == about for trouble in self.troubles)


class Sighting(Value, frozen=True):
    """One tracking event of a carrier."""

    status: TrackingStatus
    raw_code: str
    occurred_at: datetime


class Label(Value, frozen=True):
    """Whose parcel a carrier's tracking number is; once known it never changes."""

    carrier_tracking: str
    part_id: str = ""
    """Empty while no location has named the number."""
    parcel_id: str = ""
    unclaimed: Sighting | None = None
    """The furthest sighting of a parcel nobody has named yet."""
