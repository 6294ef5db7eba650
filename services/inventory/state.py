"""What inventory remembers: levels, reservations, answered parts, booked movements, announced supply, counts.

Quantities are units of the item's base unit. Instants that never came are `NEVER`, so that no comparison needs a second arm.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from schemas.types import level_id_of, order_of_part, reservation_id_of
from shared.kernel.model import Key
from shared.value import Value, field

NEVER = datetime(1970, 1, 1, tzinfo=UTC)

Figure = Literal["sellable", "picked", "in_transit", "quality_hold", "damaged", "display", "reserved", "owed", "unsettled", "left_out"]
Figures = dict[Figure, int]
"""Signed changes of a level's figures."""

LINES_OF_HISTORY = 500
"""Effects one booked row keeps, newest last; older ones only serve counts that come very late."""
DIGESTS_OF_A_COUNT = 1000
"""Messages of one count whose content is remembered."""
FULL_COUNTS_KEPT = 20
"""Full counts a location remembers while what they didn't list is brought to zero."""
SUPPLIES_OF_A_LEVEL = 100
"""Announcements shown with a level, the earliest first."""


class Supply(Value, frozen=True):
    """Announced units of one level that are still to come."""

    reference: str
    units: int
    eta: datetime
    confidence: int


class Level(Value, frozen=True):
    """One inventory level. Always 0 <= reserved <= sellable, and owed <= sellable."""

    sku: str
    location: str
    sellable: int = 0
    """On the shelf, the reserved ones and the owed ones among them."""
    reserved: int = 0
    """Promised to order lines and still on the shelf: the sum of its reservations' open units."""
    owed: int = 0
    """Reserved units a fact took away: their reservations are about to be shorted. Zero while anything is free."""
    picked: int = 0
    in_transit: int = 0
    quality_hold: int = 0
    damaged: int = 0
    display: int = 0
    unsettled: int = 0
    """Units handed over or restocked whose movement the location's own feed has still to report."""
    left_out: int = 0
    """Units the shelf would be below zero, had it not stopped there: more was picked than was counted, or more left than there was, since a
    report is still missing. What late reports add to the shelf comes off here first; the next count begins anew."""
    left_out_at: datetime = NEVER
    """What happened until then and is told later is late: when it stopped last, or the latest it knew of then, or a pick since."""
    safety: int = 0
    counted_as_of: datetime = NEVER
    """Time of the count that stands behind `sellable`."""
    basis: str = "physical"
    """What that count's figure meant."""
    counted: dict[str, datetime] = field(default_factory=dict)
    """The same for other statuses, where they were counted."""
    moved_at: datetime = NEVER
    """The latest booked movement."""
    moves: int = 0
    """Booked rows with movements after `counted_as_of`; never fewer than there are."""
    blocked_at: datetime = NEVER
    blocked_until: datetime = NEVER
    """Not for sale until then, or until counted; NEVER: not blocked."""
    supply: tuple[Supply, ...] = ()


class Pick(Value, frozen=True):
    """Units that left the shelf together."""

    at: datetime
    units: int


class Reservation(Value, frozen=True):
    """Units of one level for one order line; it ends, and its row with it, when nothing of it is left here.

    What its row's id, owner and rank tell comes first (`told_of_reservation`)."""

    part_id: str
    line_id: str
    sku: str = ""
    """Empty: nothing was ever reserved or picked for this line here."""
    location: str = ""
    priority: int = 50
    """The higher is shorted first."""
    promised_at: datetime = NEVER
    """Among equals the later is shorted first."""
    reserved_at: datetime = NEVER
    order_id: str = ""
    """Empty where it is the order that the part is named after."""
    open: int = 0
    """Reserved and still on the shelf."""
    picks: tuple[Pick, ...] = ()
    """Picked and still here, oldest first."""
    lead: int = 0
    """Units the location's feed reported as picked beyond what fulfilment did; negative the other way round."""
    ahead: int = 0
    """Units the location's feed reported as gone and fulfilment did not yet."""

    @property
    def picked(self) -> int:
        return sum(pick.units for pick in self.picks)

    @property
    def exists(self) -> bool:
        return self.sku != ""

    @property
    def order(self) -> str:
        return self.order_id or order_of_part(self.part_id)


class PartLine(Value, frozen=True):
    line_id: str
    sku: str


Got = tuple[tuple[str, str], ...]
"""Lines, each with its id and its item."""


class Part(Value, frozen=True):
    """The lines of one command, so that it is answered once and given up once."""

    answered: bool = False
    released: bool = False
    lines: tuple[PartLine, ...] = ()
    """As `got` was stored before."""
    got: Got = ()
    """Lines that got units; never changes."""

    @property
    def served(self) -> Got:
        return self.got or tuple((line.line_id, line.sku) for line in self.lines)


class Effect(Value, frozen=True):
    """What one fact does to a level at its time, as reported (a figure that stops at zero stops only in the level)."""

    at: datetime
    change: Figures


class Booked(Value, frozen=True):
    """Everything booked under one (level, kind, reference): signed totals, so that repeats and disorder change nothing."""

    level_id: str
    kind: str
    reference: str
    feed: int = 0
    """As the location's feed reports it."""
    feed_at: datetime = NEVER
    own: int = 0
    """As fulfilment or returns report it."""
    moved: int = 0
    """What moved the level: one of the two, or the larger."""
    unsettled: int = 0
    effects: tuple[Effect, ...] = ()

    @property
    def latest(self) -> datetime:
        return max((effect.at for effect in self.effects), default=NEVER)


class Inbound(Value, frozen=True):
    """One announced line of supply."""

    expected: int = 0
    received: int = 0
    eta: datetime = NEVER
    confidence: int = 100
    announced_at: datetime = NEVER
    closed: bool = False

    @property
    def left(self) -> int:
        return 0 if self.closed else max(0, self.expected - self.received)


class CountSeen(Value, frozen=True):
    """Digests of the messages one count came in."""

    digests: tuple[str, ...] = ()


class FullCount(Value, frozen=True):
    """A count that lists everything its location has."""

    count_id: str
    as_of: datetime
    basis: str


class Site(Value, frozen=True):
    """A location as far as full counts need it: it owns its levels."""

    counts: tuple[FullCount, ...] = ()


def level_key(sku: str, location: str) -> Key:
    return Key("level", level_id_of(sku, location))


def reservation_key(part_id: str, line_id: str) -> Key:
    return Key("reservation", reservation_id_of(part_id, line_id))


def part_key(part_id: str) -> Key:
    return Key("part", part_id)


def booked_key(level: Key, kind: str, reference: str) -> Key:
    return Key("booked", f"{level.id}:{kind}:{reference}")


def inbound_key(level: Key, reference: str) -> Key:
    return Key("inbound", f"{level.id}:{reference}")


def count_key(location: str, count_id: str) -> Key:
    return Key("count", f"{location}:{count_id}")


def site_key(location: str) -> Key:
    return Key("site", location)


def new_level(id: str) -> Level:
    return Level(*named_level(id))


def new_reservation(id: str) -> Reservation:
    return Reservation(*named_reservation(id))


def named_reservation(id: str) -> tuple[str, str]:
    part_id, _, line_id = id.rpartition(":")
    return part_id, line_id


def named_level(id: str) -> tuple[str, str]:
    sku, _, location = id.partition(":")
    return sku, location


def new_booked(id: str) -> Booked:
    return Booked(*told_of_booked(id))


def told_of_booked(id: str, *_: str | None) -> tuple[str, str, str]:
    sku, location, kind, reference = id.split(":", 3)
    return level_id_of(sku, location), kind, reference


def other_order(order_id: str, part_id: str) -> str:
    """Empty where it is the order that the part is named after."""
    return "" if order_id == order_of_part(part_id) else order_id


def owner_of_reservation(reservation: Reservation) -> str | None:
    return level_id_of(reservation.sku, reservation.location) if reservation.exists else None


def shorting_order(reservation: Reservation) -> str:
    """First the open ones: highest priority number, latest promise, latest reserved."""
    state = "0" if reservation.open > 0 else "1"
    promised, reserved = latest_first(reservation.promised_at), latest_first(reservation.reserved_at)
    return f"{state}{99 - reservation.priority:02d}{promised}{reserved}"


def told_of_reservation(id: str, owner: str | None, rank: str) -> tuple[str, str, str, str, int, datetime, datetime]:
    sku, location = named_level(owner or "")
    return *named_reservation(id), sku, location, 99 - int(rank[1:3]), instant_of(rank[3:18]), instant_of(rank[18:33])


MICROSECOND = timedelta(microseconds=1)
LAST_FIRST = 10**18
"""More microseconds than from 1970 to any instant; and as many are fifteen hexadecimal digits, before 1970 too."""


@lru_cache(maxsize=10_000)
def latest_first(instant: datetime) -> str:
    """Sorts as text, the latest instant first."""
    return f"{LAST_FIRST - (instant - NEVER) // MICROSECOND:015x}"


@lru_cache(maxsize=10_000)
def instant_of(latest_first: str) -> datetime:
    return NEVER + (LAST_FIRST - int(latest_first, 16)) * MICROSECOND
