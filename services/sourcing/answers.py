"""What inventory and tracking say about parts: reserved, declined, lost, ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from schemas.forms import EndedLine, ReservationDeclined, ReservationReleased, ReservationShorted, StockReserved
from schemas.fulfilment import FactLine, LinesHandedOver, LinesNotCollected, ParcelWasShipped
from schemas.inventory import ReleaseStock
from schemas.sourcing import PartLine, PartShorted, SourcingExceptionOpened
from services.sourcing.events import (
    LevelsSeen,
    LostUnits,
    PartDeclined,
    PartReleased,
    PartReserved,
    UnitsDone,
    UnitsDropped,
    UnitsLost,
    UnitsNotCollected,
    UnitsTakenBack,
    WithdrawnPartReserved,
)
from services.sourcing.flow import Desk, go_on, written
from services.sourcing.requests import reconcile
from services.sourcing.state import Part, Units, seen
from shared.kernel.model import Wake, Yield

Ended = ReservationReleased | ReservationShorted
Fact = ParcelWasShipped | LinesHandedOver | LinesNotCollected


def number_of(part_id: str) -> int:
    return int(part_id.rpartition("/")[2])


# ---- answers to commands ----


def reserved(desk: Desk, answer: StockReserved) -> Iterator[Yield]:
    number = number_of(answer.part_id)
    part = desk.order.parts.get(number)
    lines = tuple([Units(line.line_id, line.sku, line.reserved) for line in answer.lines if line.reserved])
    if part is not None and part.state == "asked":
        yield PartReserved(desk.order_id, number, lines, seen(answer.levels))
    elif part is not None and part.state == "withdrawn":
        yield WithdrawnPartReserved(desk.order_id, number, part.location, lines, seen(answer.levels))
    else:
        yield LevelsSeen(desk.order_id, seen(answer.levels))
        yield from unexpected(answer, give_back=part is None)
    yield from proceed(desk)


def declined(desk: Desk, answer: ReservationDeclined) -> Iterator[Yield]:
    """Its siblings stay; what it should have served is planned again with the true levels."""
    number = number_of(answer.part_id)
    part = desk.order.parts.get(number)
    if part is not None and part.state in ("asked", "withdrawn"):
        yield PartDeclined(desk.order_id, number, seen(answer.levels))
    else:
        yield LevelsSeen(desk.order_id, seen(answer.levels))
    yield from proceed(desk)


def proceed(desk: Desk) -> Iterator[Yield]:
    yield from go_on(desk)
    if not desk.order.parts_in("asked", "withdrawn"):
        yield Wake(desk.key, "answers", None)


def unexpected(answer: StockReserved, *, give_back: bool) -> Iterator[Yield]:
    """Nobody asked for this reservation, or it was answered already: it must not stay behind."""
    if give_back:
        yield ReleaseStock(part_id=answer.part_id, order_id=answer.order_id, location=answer.location, reason="unexpected")
    yield SourcingExceptionOpened(
        order_id=answer.order_id,
        exception_id=f"{answer.part_id}:unexpected",
        kind="unexpected_answer",
        detail=f"location {answer.location} reserved stock for a part that isn't waiting for it",
        action="Check the part's history; a reservation of an unknown part was given back.",
    )


# ---- the end of reservations ----


def released(desk: Desk, ended: ReservationReleased) -> Iterator[Yield]:
    part = desk.order.parts.get(number_of(ended.part_id))
    if part is None:
        yield LevelsSeen(desk.order_id, seen(ended.levels))
    elif part.state in ("withdrawn", "releasing"):
        yield PartReleased(desk.order_id, part.number, seen(ended.levels))
    else:
        yield from lost_or_ended(desk, part, ended)
    yield from go_on(desk)


def lost_or_ended(desk: Desk, part: Part, ended: ReservationReleased) -> Iterator[Yield]:
    """Only units that a location won't do after all are planned again."""
    lines = still_there(part, ended.lines)
    match ended.cause:
        case "rejected" | "short" | "dropped" | "released":
            yield lost(desk, part, lines, ended, exclude=ended.cause in ("rejected", "short"))
        case "cancelled":
            yield UnitsDropped(desk.order_id, part.number, lines, seen(ended.levels))
            yield from reconcile(desk)
        case "changed":
            yield UnitsTakenBack(desk.order_id, part.number, lines, seen(ended.levels))
        case "not_collected" | "served":
            yield LevelsSeen(desk.order_id, seen(ended.levels))
        case _:
            assert_never(ended.cause)


def shorted(desk: Desk, ended: ReservationShorted) -> Iterator[Yield]:
    """A fact took the stock: tracking takes published units off, and they are planned again."""
    part = desk.order.parts.get(number_of(ended.part_id))
    if part is None and desk.order.closed:
        yield _forgotten_part_shorted(ended)
    if part is None or part.state in ("withdrawn", "releasing"):
        yield LevelsSeen(desk.order_id, seen(ended.levels))
        return
    lines = still_there(part, ended.lines)
    if part.state == "published" and lines:
        yield PartShorted(order_id=desk.order_id, part_id=ended.part_id, location=part.location, lines=written(lines))
    yield lost(desk, part, lines, ended, exclude=False)
    yield from go_on(desk)


def _forgotten_part_shorted(ended: ReservationShorted) -> PartShorted:
    """Of an order that has ended sourcing plans nothing again; its location may still have to do these units."""
    lines = tuple(PartLine(line_id=line.line_id, sku=line.sku, quantity=line.quantity) for line in ended.lines)
    return PartShorted(order_id=ended.order_id, part_id=ended.part_id, location=ended.location, lines=lines, ended=True)


def lost(desk: Desk, part: Part, lines: Iterable[Units], ended: Ended, *, exclude: bool) -> UnitsLost:
    """Units whose cancellation was passed on count as cancelled."""
    order = desk.order
    gone: list[LostUnits] = []
    for units in lines:
        absorbed = min(units.quantity, order.claimed(units.line_id)) if part.state == "published" else 0
        gone.append(LostUnits(units.line_id, units.quantity - absorbed, absorbed))
    return UnitsLost(order.order_id, part.number, tuple(gone), exclude, seen(ended.levels))


# ---- units that left for the buyer, or will not ----


def ended_for_good(desk: Desk, fact: Fact) -> Iterator[Yield]:
    part = desk.order.parts.get(number_of(fact.fulfilment_order_id))
    if part is None or part.state != "published":
        return
    beyond = () if isinstance(fact, LinesNotCollected) else fact.unplanned
    lines = still_there(part, fact.lines, besides=beyond)
    if lines and isinstance(fact, LinesNotCollected):
        yield UnitsNotCollected(desk.order_id, part.number, lines)
    elif lines:
        yield UnitsDone(desk.order_id, part.number, lines)


def still_there(part: Part, lines: Iterable[EndedLine | FactLine], *, besides: Iterable[FactLine] = ()) -> tuple[Units, ...]:
    """As much of these units as the part still holds; those `besides` were never in it, or had left it before."""
    named: dict[str, int] = {}
    for line in lines:
        named[line.line_id] = named.get(line.line_id, 0) + line.quantity
    for line in besides:
        named[line.line_id] = named.get(line.line_id, 0) - line.quantity
    return tuple(
        Units(units.line_id, units.sku, min(units.quantity, named[units.line_id]))
        for units in part.lines
        if named.get(units.line_id, 0) > 0
    )
