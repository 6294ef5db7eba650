"""What sourcing knows of one order and of the queue of one item.

Of every line each unit is in exactly one place, so at any time

    ordered = open + waiting + units in parts + done + cancelled + unfillable + leaving

`leaving` are units that tracking took back for a change, until the changed order arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from schemas.channel import Completeness
from schemas.forms import Destination, Level, OrderSnapshot
from schemas.orders import rank_of
from schemas.reference import Method, OrderKind
from schemas.types import part_id_of
from services.sourcing.reasons import Reasons
from shared.kernel.model import Key
from shared.value import Light, Value, field

PartState = Literal["asked", "reserved", "published", "withdrawn", "releasing"]
"""asked: the reservation isn't answered. reserved: it is, and not published. published: the location may be told. withdrawn: given up
before the answer. releasing: given up after it, until inventory confirms."""
Cause = Literal["new", "resourced", "backorder", "change"]

NO_DATE = "9999"


def order_key(order_id: str) -> Key:
    return Key("order", order_id)


def queue_key(sku: str) -> Key:
    return Key("queue", sku)


def waiting_key(sku: str, order_id: str) -> Key:
    return Key("waiting", f"{sku}:{order_id}")


class Units(Value, frozen=True):
    """Units of one order line."""

    line_id: str
    sku: str
    quantity: int


class LevelSeen(Light, frozen=True):
    """What inventory said of one level."""

    sku: str
    location: str
    version: int
    atp: int


def seen(levels: Iterable[Level]) -> tuple[LevelSeen, ...]:
    return tuple([LevelSeen(level.sku, level.location, level.version, level.atp) for level in levels])


class Terms(Value, frozen=True):
    """What of an order's content decides how it is sourced."""

    kind: OrderKind
    policy: str
    placed_at: datetime
    method: Method
    collect_at: str | None
    completeness: Completeness
    priority: int
    deliver_by: datetime | None
    cancel_after: datetime | None
    destination: Destination
    earliest: datetime | None = None
    """The buyer gets nothing before this day: a street date, or the begin of the delivery window."""
    ship_by: datetime | None = None
    revision: int | None = None
    """Of the order, when its content last concerned sourcing."""

    @classmethod
    def of(cls, order: OrderSnapshot) -> Terms:
        return cls(
            kind=order.kind,
            policy=order.policy,
            placed_at=order.placed_at,
            method=order.method,
            collect_at=order.collect_at,
            completeness=order.completeness,
            priority=order.priority,
            deliver_by=order.deliver_by,
            cancel_after=order.cancel_after,
            destination=order.destination,
            earliest=order.earliest,
            ship_by=order.ship_by,
            revision=order.revision,
        )

    @property
    def urgency(self) -> int:
        """The lower, the sooner served and the later shorted."""
        return rank_of(self.kind, self.priority)

    @property
    def rank(self) -> str:
        """Place in a queue as text that sorts: urgency, promised date, age."""
        promised = f"{self.deliver_by:%Y%m%d%H%M%S}" if self.deliver_by else NO_DATE
        return f"{self.urgency:02d}:{promised}:{self.placed_at:%Y%m%d%H%M%S%f}"

    @property
    def whole(self) -> bool:
        """All or nothing: what isn't complete waits and keeps no units."""
        return self.completeness in ("allocate_complete", "single_location")

    @property
    def divisible(self) -> bool:
        """Whether one line may come from several locations."""
        return self.completeness in ("free", "cancel_remainder")

    @property
    def together(self) -> bool:
        return self.completeness == "deliver_together"


class Line(Value, frozen=True):
    """One line's units by where they are."""

    line_id: str
    sku: str
    weight_g: int
    ordered: int
    open: int = 0
    """To be planned now."""
    waiting: int = 0
    """Backordered."""
    until: datetime | None = None
    """When waiting ends."""
    done: int = 0
    """Shipped or collected."""
    cancelled: int = 0
    unfillable: int = 0
    attempts: int = 0
    """Plans made since the line last began to wait."""
    excluded: tuple[str, ...] = ()
    """Locations that rejected it."""
    conceded: int = 0
    """Units that tracking's answers cancelled."""
    dropped: int = 0
    """Units of published parts that ended as cancelled."""
    absorbed: int = 0
    """Of these, units lost otherwise and not planned again because a cancellation of them was open."""


class Part(Value, frozen=True):
    """One location's share of the order."""

    number: int
    location: str
    state: PartState
    lines: tuple[Units, ...]
    """Units it still holds."""
    asked_at: datetime
    done: dict[str, int] = field(default_factory=dict)
    """Units by line that left for the buyer."""

    def standing(self, line_id: str) -> int:
        """Units that haven't ended otherwise than with the buyer."""
        return self.units(line_id) + self.done.get(line_id, 0)

    def units(self, line_id: str) -> int:
        return sum(units.quantity for units in self.lines if units.line_id == line_id)

    @property
    def unpublished(self) -> bool:
        return self.state in ("asked", "reserved")


class Passed(Value, frozen=True):
    """Units whose cancellation tracking decides."""

    request_id: str
    number: int
    line_id: str
    quantity: int


class Order(Value, frozen=True):
    """One order as sourcing sees it."""

    order_id: str
    terms: Terms | None = None
    """None before it is accepted and after it is closed."""
    closed: bool = False
    lines: dict[str, Line] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    next_part: int = 1
    """No number is used twice."""
    decisions: int = 0
    cause: Cause = "new"
    """Of the next decision."""
    reasons: tuple[Reasons, ...] = ()
    """Of the plans not published yet."""
    passed: tuple[Passed, ...] = ()
    changing: str | None = None
    """The change request whose end is awaited; nothing is planned or published until then."""
    protects: bool = True
    """Whether its waiting units may keep others from stock."""

    @property
    def key(self) -> Key:
        return order_key(self.order_id)

    @property
    def known(self) -> bool:
        return self.terms is not None or self.closed

    @property
    def open_units(self) -> dict[str, int]:
        return {line.line_id: line.open for line in self.lines.values() if line.open > 0}

    @property
    def waiting_units(self) -> dict[str, int]:
        return {line.line_id: line.waiting for line in self.lines.values() if line.waiting > 0}

    def parts_in(self, *states: PartState) -> tuple[Part, ...]:
        return tuple(part for part in self.parts.values() if part.state in states)

    def waiting_of(self, sku: str) -> int:
        return sum(line.waiting for line in self.lines.values() if line.sku == sku)

    def claimed(self, line_id: str) -> int:
        """Units of published parts whose cancellation is decided or open, and that haven't ended so far."""
        line = self.lines[line_id]
        passed = sum(entry.quantity for entry in self.passed if entry.line_id == line_id)
        return max(0, passed + line.conceded - line.dropped)

    def cancellable(self, part: Part, line_id: str) -> int:
        """Units of a published part whose cancellation isn't asked for yet."""
        passed = sum(p.quantity for p in self.passed if (p.number, p.line_id) == (part.number, line_id))
        return max(0, part.units(line_id) - passed)

    def part_id(self, number: int) -> str:
        return part_id_of(self.order_id, number)

    def units(self, quantities: dict[str, int]) -> tuple[Units, ...]:
        """The same with the lines' items."""
        return tuple([Units(line_id, self.lines[line_id].sku, quantity) for line_id, quantity in quantities.items()])

    def skus(self, lines: Iterator[str] | tuple[str, ...] | dict[str, int]) -> tuple[str, ...]:
        return tuple(sorted({self.lines[line_id].sku for line_id in lines}))


class Place(Value, frozen=True):
    """What one order waits for in the queue of one item."""

    quantity: int
    rank: str
    urgency: int
    location: str | None
    """The only location that can serve it, where the buyer collects."""
    protects: bool
    """False while it can't be completed: later ones may pass, it keeps its rank."""


class Waiting(Value, frozen=True):
    """One order's place in the queue of one item."""

    row_id: str
    sku: str = ""
    order_id: str = ""
    place: Place | None = None


class Queue(Value, frozen=True):
    """The waiting demand of one item; a row only while there is some."""

    sku: str
    orders: int = 0
    units: int = 0
    protected: dict[str, int] = field(default_factory=dict)
    """Units by `<urgency>` or `<urgency>@<the only location>`, of those that protect."""
    look_at: datetime | None = None
    looks: int = 0
    """Times it was looked at since the last arrival or newcomer."""

    def ahead_of(self, urgency: int, *, equal: bool) -> dict[str | None, int]:
        """Protected units of the more urgent (and of the equally urgent, who came earlier), by their only location."""
        ahead: dict[str | None, int] = {}
        for name, units in self.protected.items():
            theirs, _, location = name.partition("@")
            if int(theirs) < urgency or (equal and int(theirs) == urgency):
                ahead[location or None] = ahead.get(location or None, 0) + units
        return ahead
