"""What every decision does with levels: move them beside their counts, keep their safety stock, tell what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Literal, NamedTuple

from schemas.forms import Level as ShownLevel
from schemas.forms import StockChanged
from schemas.inventory import DiscrepancyFound
from schemas.reference import Item, Location, MovementKind, Policy
from services.inventory import rules
from services.inventory.document import Availability, Future
from services.inventory.events import LevelMoved, MovementBooked, SafetyChanged
from services.inventory.state import (
    NEVER,
    Booked,
    Effect,
    Figures,
    Level,
    Reservation,
    booked_key,
    level_key,
    new_booked,
    new_level,
    reservation_key,
)
from shared.kernel.model import Input, Key, Wake, World, Yield
from shared.kernel.views import Documents
from shared.value import Value, replace

MOST_UNITS = 1_000_000_000
"""Largest figure a message can carry."""
LEVELS_A_MESSAGE = 500
CLOCKS_DIFFER = timedelta(minutes=15)
"""How far a location's clock may be ahead."""
BEFORE_OTHERS = 10
"""Rank of the timer that shorts: what is owed is settled before anything else is looked at."""
DEFAULT_POLICY = Policy(policy="default")

Cause = Literal["counted", "moved", "picked", "issued", "restocked", "blocked", "unblocked", "inbound", "released", "safety"]
Discrepancy = Literal["count_difference", "below_zero", "unknown_reference", "changed_report", "late_fact"]


class Case(Value, frozen=True):
    """One input with all that may be looked at to decide it."""

    world: World
    given: Input[object]
    view: Documents

    @property
    def now(self) -> datetime:
        return self.given.now

    def level(self, key: Key) -> Level:
        found: Level | None = self.world.get(key, None)
        return found if found is not None else new_level(key.id)

    def booked(self, level: Key, kind: str, reference: str) -> Booked:
        key = booked_key(level, kind, reference)
        found: Booked | None = self.world.get(key, None)
        return found if found is not None else new_booked(key.id)

    def reservation(self, part_id: str, line_id: str) -> Reservation:
        found: Reservation | None = self.world.get(reservation_key(part_id, line_id), None)
        return found if found is not None else Reservation(part_id, line_id)

    def declares(self, location: str, kind: MovementKind) -> bool:
        """Whether the location's own feed reports this kind of movement, and so alone moves the level."""
        found = self.view.get(Location, location)
        return found is not None and kind in found.feed_reports

    def safety(self, level: Level) -> int:
        """Units kept back: the location's figure for the item, else the item's."""
        location = self.view.get(Location, level.location)
        if location is not None and level.sku in location.safety_stock:
            return location.safety_stock[level.sku]
        item = self.view.get(Item, level.sku)
        return item.safety_stock if item is not None else 0

    def policy(self) -> Policy:
        return self.view.get(Policy, DEFAULT_POLICY.policy) or DEFAULT_POLICY


def plausible(reported: datetime, now: datetime) -> datetime:
    """Nothing was counted or moved in the future: beyond what clocks may differ, a fact is of the time it was read.

    Else one count dated too late would hide every movement until then.
    """
    return reported if reported <= now + CLOCKS_DIFFER else now


class Before(NamedTuple):
    """A level before the input."""

    version: int
    atp: int


Befores = dict[Key, Before]


def look(case: Case, keys: Iterable[Key]) -> Befores:
    return {key: Before(case.world.version(key), rules.atp(case.level(key))) for key in keys}


def move(
    case: Case,
    key: Key,
    change: Figures,
    at: datetime,
    reference: str | None = None,
    *,
    booked: bool = False,
    decided: bool = False,
) -> Iterator[Yield]:
    """Change a level's figures by a fact of that time, beside its counts, or by what is decided now, on top of them.

    `booked`: the change stands in a booked row too, where later counts find it.
    """
    level = case.level(key)
    booked_at = at if booked and at > level.counted_as_of else NEVER
    if decided:
        yield from settle(case, key, change, booked_at, reference)
    else:
        yield from settle(case, key, rules.beside_counts(level, change, at), booked_at, reference, at)


def settle(
    case: Case, key: Key, change: Figures, booked_at: datetime, reference: str | None, at: datetime | None = None
) -> Iterator[Yield]:
    """Change a level's figures; what would go below zero stops there, and a person is told. `at`: when it happened, where it is a fact."""
    level = case.level(key)
    columns, rest = rules.taken(level, change, late=at is not None and at <= level.left_out_at)
    if columns or booked_at > NEVER:
        yield from keep_safety(case, level)
        late_until = rules.late_until(level, columns, at or NEVER, case.now)
        yield LevelMoved(level.sku, level.location, columns, booked_at, late_until)
    if rest:
        yield discrepancy(level, "below_zero", -rest, reference, "stopped at zero; count this item here")


def keep_safety(case: Case, level: Level) -> Iterator[Yield]:
    """Reference data has no wake of its own: a level takes it over when it is touched."""
    safety = case.safety(level)
    if safety != level.safety:
        yield SafetyChanged(level.sku, level.location, safety)


def note(row: Booked, level: Level, booking: rules.Booking, effects: Iterable[Effect], **totals: int) -> MovementBooked:
    """The booked row with its new totals (`feed`, `own`)."""
    return MovementBooked(
        sku=level.sku,
        location=level.location,
        kind=row.kind,
        reference=row.reference,
        feed=totals.get("feed", row.feed),
        feed_at=row.feed_at,
        own=totals.get("own", row.own),
        moved=row.moved + booking.moved,
        unsettled=row.unsettled + booking.unsettled,
        effects=tuple(effects),
    )


def discrepancy(level: Level, kind: Discrepancy, units: int, reference: str | None, detail: str) -> DiscrepancyFound:
    return DiscrepancyFound(
        location=level.location,
        sku=level.sku,
        kind=kind,
        quantity=max(-MOST_UNITS, min(MOST_UNITS, units)),
        reference=reference,
        detail=detail,
    )


def tell(case: Case, before: Befores, location: str, cause: Cause, reference: str | None = None, quiet: bool = False) -> Iterator[Yield]:
    """Publish what became of the levels, and settle what is owed. `quiet`: only where waiting demand may be served."""
    touched = [key for key, was in before.items() if case.world.version(key) != was.version]
    for start in range(0, len(touched), LEVELS_A_MESSAGE):
        some = touched[start : start + LEVELS_A_MESSAGE]
        arrived = tuple(case.level(key).sku for key in some if rules.atp(case.level(key)) > before[key].atp)
        if arrived or not quiet:
            yield StockChanged(location=location, cause=cause, reference=reference, levels=shown(case, some), arrived=arrived)
    for key in touched:
        if case.level(key).owed:
            yield Wake(key, "short", case.now, rank=BEFORE_OTHERS)


def shown(case: Case, keys: Sequence[Key]) -> tuple[ShownLevel, ...]:
    return tuple(show(case.level(key), case.world.version(key)) for key in keys)


def show(level: Level, version: int) -> ShownLevel:
    return ShownLevel(level.sku, level.location, version, count(level.sellable), count(level.reserved), count(rules.atp(level)))


def count(units: int) -> int:
    return min(units, MOST_UNITS)


def keys_of(location: str, skus: Iterable[str]) -> list[Key]:
    """The levels of some items at one location, each once, in the order named."""
    return [level_key(sku, location) for sku in dict.fromkeys(skus)]


SHOWN = ("sellable", "picked", "in_transit", "quality_hold", "damaged", "display", "reserved", "unsettled", "safety")
figures_of = attrgetter(*SHOWN)


def availability(_: str, version: int, level: Level) -> Availability:
    """The published state of one level."""
    atp = rules.atp(level)
    if max(figures_of(level)) > MOST_UNITS:
        atp, level = count(atp), replace(level, **{name: count(getattr(level, name)) for name in SHOWN})
    return Availability(
        sku=level.sku,
        location=level.location,
        version=version,
        sellable=level.sellable,
        picked=level.picked,
        in_transit=level.in_transit,
        quality_hold=level.quality_hold,
        damaged=level.damaged,
        display=level.display,
        reserved=level.reserved,
        unsettled=level.unsettled,
        safety=level.safety,
        atp=atp,
        blocked_until=level.blocked_until if rules.blocked(level) else None,
        future=tuple([Future(each.reference, count(each.units), each.eta, each.confidence) for each in level.supply]),
    )
