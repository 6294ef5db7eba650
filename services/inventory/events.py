"""What can happen to inventory's rows, and how each row folds it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_never

from services.inventory.state import (
    DIGESTS_OF_A_COUNT,
    FULL_COUNTS_KEPT,
    LINES_OF_HISTORY,
    NEVER,
    SUPPLIES_OF_A_LEVEL,
    Booked,
    CountSeen,
    Effect,
    Figures,
    FullCount,
    Got,
    Inbound,
    Level,
    Part,
    PartLine,
    Pick,
    Reservation,
    Site,
    Supply,
    booked_key,
    count_key,
    inbound_key,
    level_key,
    part_key,
    reservation_key,
    site_key,
)
from shared.kernel.model import Key
from shared.value import Value, replace

# ---- levels ----


class OfLevel(Value, frozen=True):
    """What every event of a level carries."""

    sku: str
    location: str

    @property
    def key(self) -> Key:
        return level_key(self.sku, self.location)


class LevelMoved(OfLevel, frozen=True):
    """Figures of a level changed."""

    change: Figures
    booked_at: datetime = NEVER
    """Time of the movement, where it has a booked row of its own."""
    left_out_at: datetime = NEVER
    """Until when reports are late from now on; NEVER: as before."""


class LevelCounted(OfLevel, frozen=True):
    """A count replaced one status as of its time; movements after it stay on top."""

    status: str
    basis: str
    as_of: datetime
    change: Figures
    moves: int
    """Booked rows with movements after `as_of`."""
    left_out_at: datetime = NEVER
    """Until when reports are late from now on; NEVER: as before."""


class LevelBlocked(OfLevel, frozen=True):
    at: datetime
    until: datetime


class LevelUnblocked(OfLevel, frozen=True):
    """The block ran out."""


class SafetyChanged(OfLevel, frozen=True):
    """Reference data says how many units are kept back."""

    safety: int


class SupplyChanged(OfLevel, frozen=True):
    """What is still to come under one announcement; 0: nothing more."""

    reference: str
    units: int
    eta: datetime
    confidence: int


LevelEvent = LevelMoved | LevelCounted | LevelBlocked | LevelUnblocked | SafetyChanged | SupplyChanged


def evolve_level(level: Level, event: LevelEvent) -> Level:
    match event:
        case LevelMoved():
            return _moved(level, event)
        case LevelCounted():
            return _counted(level, event)
        case LevelBlocked():
            return replace(level, blocked_at=event.at, blocked_until=event.until)
        case LevelUnblocked():
            return replace(level, blocked_until=NEVER)
        case SafetyChanged():
            return replace(level, safety=event.safety)
        case SupplyChanged():
            return replace(level, supply=_supply(level.supply, event))
        case _:
            assert_never(event)


def _moved(level: Level, event: LevelMoved) -> Level:
    after = _figures(level, event.change)
    if event.left_out_at > NEVER:
        after["left_out_at"] = event.left_out_at
    if event.booked_at <= level.counted_as_of:
        return replace(level, **after)
    return replace(level, **after, moves=level.moves + 1, moved_at=max(level.moved_at, event.booked_at))


def _figures(level: Level, change: Figures) -> Any:
    """The changed figures after the change, by name."""
    return {figure: getattr(level, figure) + by for figure, by in change.items()}


def _counted(level: Level, event: LevelCounted) -> Level:
    after = _figures(level, event.change)
    if event.status != "sellable":
        return replace(level, **after, counted=level.counted | {event.status: event.as_of})
    if event.left_out_at > NEVER:
        after["left_out_at"] = event.left_out_at
    found_again = event.as_of > level.blocked_at
    return replace(
        level,
        **after,
        counted_as_of=event.as_of,
        basis=event.basis,
        moves=event.moves,
        blocked_until=NEVER if found_again else level.blocked_until,
    )


def _supply(supply: tuple[Supply, ...], event: SupplyChanged) -> tuple[Supply, ...]:
    others = [entry for entry in supply if entry.reference != event.reference]
    if event.units:
        others.append(Supply(event.reference, event.units, event.eta, event.confidence))
    return tuple(sorted(others, key=lambda entry: (entry.eta, entry.reference))[:SUPPLIES_OF_A_LEVEL])


# ---- reservations ----


class OfReservation(Value, frozen=True):
    """What every event of a reservation carries."""

    part_id: str
    line_id: str

    @property
    def key(self) -> Key:
        return reservation_key(self.part_id, self.line_id)


class UnitsReserved(OfReservation, frozen=True):
    """A line got units of a level."""

    at: datetime
    """The time of the command."""
    sku: str
    location: str
    units: int
    promised_at: datetime
    priority: int = 50
    order_id: str = ""
    """Empty where it is the order that the part is named after."""


class UnitsPicked(OfReservation, frozen=True):
    """Units left the shelf for this line, reserved ones first."""

    sku: str
    location: str
    at: datetime
    units: int = 0
    from_open: int = 0
    lead: int = 0
    """Change of the feed's lead over fulfilment."""
    order_id: str = ""
    """Empty where it is the order that the part is named after."""


class UnitsIssued(OfReservation, frozen=True):
    """Units of this line left the location."""

    from_picked: int = 0
    from_open: int = 0
    ahead: int = 0
    """Change of what the feed reported before fulfilment did."""
    lead: int = 0


class UnitsGivenUp(OfReservation, frozen=True):
    """Units were taken back from this line: released, ended at the location."""

    open: int = 0
    picked: int = 0
    ahead: int = 0


class UnitsShorted(OfReservation, frozen=True):
    """A fact left fewer units than were reserved."""

    units: int


ReservationEvent = UnitsReserved | UnitsPicked | UnitsIssued | UnitsGivenUp | UnitsShorted


def evolve_reservation(row: Reservation, event: ReservationEvent) -> Reservation | None:
    match event:
        case UnitsReserved():
            return _reserved(row, event)
        case UnitsPicked():
            return _picked(row, event)
        case UnitsIssued(from_picked=picked, from_open=from_open):
            left = replace(row, open=row.open - from_open, picks=without(row.picks, picked))
            return _alive(replace(left, ahead=max(0, row.ahead + event.ahead), lead=row.lead + event.lead))
        case UnitsGivenUp():
            left = replace(row, open=row.open - event.open, picks=without(row.picks, event.picked))
            return _alive(replace(left, ahead=row.ahead - event.ahead))
        case UnitsShorted():
            return _alive(replace(row, open=row.open - event.units))
        case _:
            assert_never(event)


def _reserved(row: Reservation, event: UnitsReserved) -> Reservation:
    return replace(
        row,
        order_id=event.order_id,
        sku=event.sku,
        location=event.location,
        priority=event.priority,
        promised_at=event.promised_at,
        reserved_at=event.at,
        open=row.open + event.units,
    )


def _picked(row: Reservation, event: UnitsPicked) -> Reservation:
    """Units picked that nobody reserved make a row too, so that they can leave or come back."""
    if not row.exists:
        row = replace(row, order_id=event.order_id, sku=event.sku, location=event.location, reserved_at=event.at)
    picks = (*row.picks, Pick(event.at, event.units)) if event.units else row.picks
    return replace(row, open=row.open - event.from_open, picks=picks, lead=row.lead + event.lead)


def _alive(row: Reservation) -> Reservation | None:
    return row if row.open or row.picks or row.ahead else None


def without(picks: tuple[Pick, ...], units: int) -> tuple[Pick, ...]:
    """The picks that remain when the oldest units leave."""
    remaining = []
    for pick in picks:
        gone = min(units, pick.units)
        units -= gone
        if pick.units > gone:
            remaining.append(Pick(pick.at, pick.units - gone))
    return tuple(remaining)


# ---- parts ----


class PartAnswered(Value, frozen=True):
    """The one answer to the command of a part."""

    part_id: str
    lines: tuple[PartLine, ...] = ()
    """As `got` was told before."""
    got: Got = ()
    """Lines that got units; none: declined."""

    @property
    def key(self) -> Key:
        return part_key(self.part_id)


class PartReleased(Value, frozen=True):
    """The part was given up, before or after its answer."""

    part_id: str

    @property
    def key(self) -> Key:
        return part_key(self.part_id)


PartEvent = PartAnswered | PartReleased


def evolve_part(part: Part, event: PartEvent) -> Part:
    match event:
        case PartAnswered():
            return replace(part, answered=True, lines=event.lines, got=event.got)
        case PartReleased():
            return replace(part, released=True)
        case _:
            assert_never(event)


# ---- movements ----


class MovementBooked(Value, frozen=True):
    """A fact was booked under its reference: the new totals, and what it does to the level at its time."""

    sku: str
    location: str
    kind: str
    reference: str
    feed: int = 0
    feed_at: datetime = NEVER
    own: int = 0
    moved: int = 0
    unsettled: int = 0
    effects: tuple[Effect, ...] = ()

    @property
    def key(self) -> Key:
        return booked_key(level_key(self.sku, self.location), self.kind, self.reference)


class MovementDated(Value, frozen=True):
    """What was booked under a reference happened at another time than it was booked at."""

    sku: str
    location: str
    kind: str
    reference: str
    effects: tuple[Effect, ...]
    """All of them, as they are now."""

    @property
    def key(self) -> Key:
        return booked_key(level_key(self.sku, self.location), self.kind, self.reference)


def evolve_booked(row: Booked, event: MovementBooked | MovementDated) -> Booked:
    if isinstance(event, MovementDated):
        return replace(row, effects=event.effects[-LINES_OF_HISTORY:])
    return replace(
        row,
        feed=event.feed,
        feed_at=event.feed_at,
        own=event.own,
        moved=event.moved,
        unsettled=event.unsettled,
        effects=(*row.effects, *event.effects)[-LINES_OF_HISTORY:],
    )


# ---- announced supply ----


class OfInbound(Value, frozen=True):
    """What every event of an announced line carries."""

    sku: str
    location: str
    reference: str

    @property
    def key(self) -> Key:
        return inbound_key(level_key(self.sku, self.location), self.reference)


class SupplyAnnounced(OfInbound, frozen=True):
    """So many units are expected in all; replaces what was announced before."""

    expected: int
    eta: datetime
    confidence: int
    announced_at: datetime


class SupplyReceived(OfInbound, frozen=True):
    """Units came; negative where a receipt was corrected."""

    units: int


class SupplyClosed(OfInbound, frozen=True):
    """Nothing more comes."""

    closed_at: datetime


InboundEvent = SupplyAnnounced | SupplyReceived | SupplyClosed


def evolve_inbound(row: Inbound, event: InboundEvent) -> Inbound:
    match event:
        case SupplyAnnounced():
            return replace(
                row,
                expected=event.expected,
                eta=event.eta,
                confidence=event.confidence,
                announced_at=event.announced_at,
                closed=False,
            )
        case SupplyReceived():
            return replace(row, received=row.received + event.units)
        case SupplyClosed():
            return replace(row, closed=True, announced_at=event.closed_at)
        case _:
            assert_never(event)


# ---- counts ----


class CountNoted(Value, frozen=True):
    """A message of a count was read; a digest of its content tells a repeat."""

    location: str
    count_id: str
    digest: str

    @property
    def key(self) -> Key:
        return count_key(self.location, self.count_id)


def evolve_count(row: CountSeen, event: CountNoted) -> CountSeen:
    return CountSeen((*row.digests, event.digest)[-DIGESTS_OF_A_COUNT:])


class FullCountNoted(Value, frozen=True):
    """What this count didn't list is about to be brought to zero."""

    location: str
    count: FullCount

    @property
    def key(self) -> Key:
        return site_key(self.location)


def evolve_site(site: Site, event: FullCountNoted) -> Site:
    others = tuple(count for count in site.counts if count.count_id != event.count.count_id)
    return Site((*others, event.count)[-FULL_COUNTS_KEPT:])
