"""Inventory decides who gets which unit, what each level holds, and when a reservation ends.

Reads    stock reports, inventory commands, stock effects of fulfilment and returns
Writes   reservations, inventory events; availability follows from the levels

No input but a count reads beyond the rows it names: what a fact leaves without goods stays `owed` on its level, and is
shorted by the level's own timer, due now, which reads the least urgent reservations and no more of them than it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, assert_never

from schemas.forms import ReserveStock
from schemas.fulfilment import IssueDated, ReservationEnded, StockIssued, StockPicked
from schemas.inventory import ReleaseStock
from schemas.returns import StockRestocked, StockWrittenOff
from schemas.stock import InboundAnnounced, InboundClosed, StockCounted, StockMoved
from services.inventory import counts, dating, movements, reservations
from services.inventory.events import (
    CountNoted,
    FullCountNoted,
    InboundEvent,
    LevelEvent,
    MovementBooked,
    MovementDated,
    PartEvent,
    ReservationEvent,
    evolve_booked,
    evolve_count,
    evolve_inbound,
    evolve_level,
    evolve_part,
    evolve_reservation,
    evolve_site,
)
from services.inventory.levels import Case, plausible
from services.inventory.state import (
    Booked,
    CountSeen,
    Inbound,
    Level,
    Part,
    Reservation,
    Site,
    booked_key,
    inbound_key,
    latest_first,
    level_key,
    named_level,
    named_reservation,
    new_booked,
    new_level,
    new_reservation,
    owner_of_reservation,
    part_key,
    reservation_key,
    shorting_order,
    told_of_booked,
    told_of_reservation,
)
from shared.kernel.model import Found, Input, Key, Kind, Need, Woken, World, Yield
from shared.kernel.short import Told
from shared.kernel.views import Documents

Report = StockCounted | StockMoved | InboundAnnounced | InboundClosed
Command = ReserveStock | ReleaseStock
Deed = StockPicked | StockIssued | IssueDated | ReservationEnded | StockRestocked | StockWrittenOff
Message = Report | Command | Deed | Woken


def find(message: Message) -> tuple[Key, ...]:
    """A release names its part; the part's lines, which never change, name the rest."""
    return (part_key(message.part_id),) if isinstance(message, ReleaseStock) else ()


def keys(message: Message, found: Found) -> Need:
    match message:
        case Woken():
            return _need_of_timer(message)
        case StockCounted():
            return counts.need(message)
        case StockMoved():
            return _need(movements.keys_of_movement(message))
        case InboundAnnounced() | InboundClosed():
            level = level_key(message.sku, message.location)
            return _need((level, inbound_key(level, message.reference)))
        case ReserveStock():
            return _need(_rows_of_reserve(message))
        case ReleaseStock():
            return _need(_rows_of_release(message, found))
        case _:
            return _need(_rows_of_deed(message))


def _need(rows: Iterable[Key]) -> Need:
    return Need(tuple(dict.fromkeys(rows)))


def _rows_of_deed(deed: Deed) -> Iterable[Key]:
    match deed:
        case StockPicked():
            return reservations.fact_line_keys(deed.part_id, deed.location, deed.lines)
        case StockIssued():
            return movements.keys_of_issue(deed)
        case IssueDated():
            return dating.keys_of_dating(deed)
        case ReservationEnded():
            return _rows_of_end(deed)
        case StockRestocked():
            level = level_key(deed.sku, deed.location)
            return (level, booked_key(level, "customer_return", deed.reference))
        case StockWrittenOff():
            return ()
        case _:
            assert_never(deed)


def _rows_of_reserve(command: ReserveStock) -> Iterator[Key]:
    yield part_key(command.part_id)
    for line in command.lines:
        yield level_key(line.sku, command.location)
        yield reservation_key(command.part_id, line.line_id)


def _rows_of_release(command: ReleaseStock, found: Found) -> Iterator[Key]:
    yield part_key(command.part_id)
    part: Part = found.get(part_key(command.part_id), Part())
    for line_id, sku in part.served:
        yield from _rows_of_giving_up(command.part_id, line_id, sku, command.location)


def _rows_of_end(fact: ReservationEnded) -> Iterator[Key]:
    for line in fact.lines:
        yield from _rows_of_giving_up(fact.part_id, line.line_id, line.sku, fact.location)


def _rows_of_giving_up(part_id: str, line_id: str, sku: str, location: str) -> Iterator[Key]:
    level = level_key(sku, location)
    yield reservation_key(part_id, line_id)
    yield level
    yield booked_key(level, "ended", f"{part_id}:{line_id}")


def _need_of_timer(woken: Woken) -> Need:
    match woken.name:
        case "short":
            level = woken.key
            return Need((level, reservations.shorted_key(woken)), (reservations.shorting_slice(level),))
        case "unblock":
            return Need((woken.key,))
        case _:
            return counts.need_of_zero(woken)


def decide(world: World, given: Input[Any], view: Documents) -> Iterator[Yield]:
    case, message = Case(world, given, view), _message(given)
    match message:
        case StockCounted() | StockMoved() | InboundAnnounced() | InboundClosed():
            yield from _reported(case, message)
        case ReserveStock():
            yield from reservations.reserve(case, message)
        case ReleaseStock():
            yield from reservations.release(case, message)
        case Woken():
            yield from _woken(case, message)
        case _:
            yield from _done(case, message)


def _message(given: Input[Any]) -> Message:
    message: Message = given.body
    if isinstance(message, StockMoved | StockPicked | StockIssued | ReservationEnded | StockRestocked):
        happened = plausible(message.occurred_at, given.now)
        return message if happened == message.occurred_at else message.model_copy(update={"occurred_at": happened})
    return message


def _reported(case: Case, report: Report) -> Iterator[Yield]:
    match report:
        case StockCounted():
            yield from counts.counted(case, report)
        case StockMoved():
            yield from movements.moved(case, report)
        case InboundAnnounced():
            yield from movements.announced(case, report)
        case InboundClosed():
            yield from movements.closed(case, report)
        case _:
            assert_never(report)


def _done(case: Case, deed: Deed) -> Iterator[Yield]:
    match deed:
        case StockPicked():
            yield from movements.picked(case, deed)
        case StockIssued():
            yield from movements.issued(case, deed)
        case IssueDated():
            yield from dating.dated(case, deed)
        case ReservationEnded():
            yield from reservations.end(case, deed)
        case StockRestocked():
            yield from movements.restocked(case, deed)
        case StockWrittenOff():
            yield movements.written_off(deed)
        case _:
            assert_never(deed)


def _woken(case: Case, woken: Woken) -> Iterator[Yield]:
    match woken.name:
        case "short":
            yield from reservations.short(case, woken)
        case "unblock":
            yield from reservations.unblock(case, woken)
        case _:
            yield from counts.zero(case, woken)


LEVEL = Kind(
    name="level",
    state=Level,
    initial=new_level,
    evolve=evolve_level,
    events=LevelEvent.__args__,
    typed=True,
    owner=lambda level: level.location,
    rank=lambda level: level.sku,
    named=Told(("sku", "location"), lambda row_id, _: named_level(row_id)),
)
RESERVATION = Kind(
    name="reservation",
    state=Reservation,
    initial=new_reservation,
    evolve=evolve_reservation,
    events=ReservationEvent.__args__,
    owner=owner_of_reservation,
    rank=shorting_order,
    told=Told(("part_id", "line_id", "sku", "location", "priority", "promised_at", "reserved_at"), told_of_reservation),
    named=Told(("part_id", "line_id", "at"), lambda row_id, at: (*named_reservation(row_id), at)),
)
PART = Kind(
    name="part",
    state=Part,
    initial=lambda _: Part(),
    evolve=evolve_part,
    events=PartEvent.__args__,
    named=Told(("part_id",), lambda row_id, _: (row_id,)),
)
BOOKED = Kind(
    name="booked",
    state=Booked,
    initial=new_booked,
    evolve=evolve_booked,
    events=(MovementBooked, MovementDated),
    owner=lambda row: row.level_id,
    rank=lambda row: latest_first(row.latest),
    told=Told(("level_id", "kind", "reference"), told_of_booked),
    named=Told(("sku", "location", "kind", "reference"), lambda row_id, _: tuple(row_id.split(":", 3))),
)
INBOUND = Kind(name="inbound", state=Inbound, initial=lambda _: Inbound(), evolve=evolve_inbound, events=InboundEvent.__args__)
COUNT = Kind(name="count", state=CountSeen, initial=lambda _: CountSeen(), evolve=evolve_count, events=(CountNoted,))
SITE = Kind(name="site", state=Site, initial=lambda _: Site(), evolve=evolve_site, events=(FullCountNoted,))
KINDS: tuple[Kind[Any], ...] = (LEVEL, RESERVATION, PART, BOOKED, INBOUND, COUNT, SITE)
