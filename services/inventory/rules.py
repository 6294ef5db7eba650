"""The arithmetic of stock: pure functions over levels, reservations and booked movements.

Three quantities make a level consistent: what really lies on the shelf (`shelf`), what is promised of it (`reserved`), and their overlap.
A fact may take more than is free; then `sellable` keeps the reserved units and `owed` says how many of them are gone, until their
reservations are shorted. So `0 <= reserved <= sellable` holds at every step.

A count pins a figure G of the level at its time T. Facts after T apply on top. A fact at or before T is already in the count, so it must
leave G as it is, however late it arrives; it may still move units between the figures G adds up:

    physical                      G = shelf + picked
    shelf_without_picked          G = shelf
    available_after_allocations   G = shelf - reserved
    another status                G = that status

Where more is picked than was counted, or more leaves than there was, the shelf stops at zero, and `left_out` remembers the rest: a report
of before is missing. What a late report adds to the shelf consumes it; what happens after the stop doesn't explain it, and is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import get_args

from schemas.reference import MovementKind
from schemas.stock import StockMoved, StockStatus
from services.inventory.state import NEVER, Booked, Effect, Figure, Figures, Level, Pick, Reservation
from shared.value import Value

STATUSES: tuple[StockStatus, ...] = get_args(StockStatus)
ELSEWHERE: tuple[Figure, ...] = ("picked", "in_transit", "quality_hold", "damaged", "display", "unsettled")
"""Figures beside the shelf: each stops at zero on its own."""
WITH_OWN_REPORTS: tuple[MovementKind, ...] = ("issue", "customer_return")
"""Movements fulfilment or returns report too: whoever comes first, they are booked once."""


def shelf(level: Level) -> int:
    """Units that really lie on the shelf, reserved or not."""
    return level.sellable - level.owed


def blocked(level: Level) -> bool:
    return level.blocked_until > NEVER


def atp(level: Level) -> int:
    """Available to promise now."""
    return 0 if blocked(level) else max(0, level.sellable - level.reserved - level.safety)


def stands(level: Level) -> dict[Figure, int]:
    """The figures beside the shelf that hold anything."""
    held: dict[Figure, int] = {
        "picked": level.picked,
        "in_transit": level.in_transit,
        "quality_hold": level.quality_hold,
        "damaged": level.damaged,
        "display": level.display,
        "unsettled": level.unsettled,
    }
    return held


def taken(level: Level, change: Figures, *, late: bool = False) -> tuple[Figures, int]:
    """What a change really does to the columns, and how many units more would have gone below zero.

    `late`: it happened before the shelf stopped at zero, so what the stop left out is settled with it."""
    owing = level.left_out if late else 0
    on_shelf = shelf(level) + change.get("sellable", 0) - owing
    reserved = level.reserved + change.get("reserved", 0)
    sellable = max(0, on_shelf, reserved)
    after: Figures = {
        "sellable": sellable - level.sellable,
        "reserved": reserved - level.reserved,
        "owed": sellable - max(0, on_shelf) - level.owed,
    }
    below = max(0, -on_shelf)
    after["left_out"] = below - owing
    rest, held = max(0, below - owing), stands(level)
    for figure in ELSEWHERE:
        wanted = held[figure] + change.get(figure, 0)
        after[figure] = max(0, wanted) - held[figure]
        rest += max(0, -wanted)
    return {figure: by for figure, by in after.items() if by}, rest


def late_until(level: Level, columns: Figures, at: datetime, now: datetime) -> datetime:
    """What a change by a fact of that time makes of `left_out_at`; NEVER: it stays.

    A pick stands in no booked row before its units leave, so it is noted here: a stop that is read after it knows of it."""
    if columns.get("left_out", 0) > 0:
        return known_until(level, at, now)
    return at if columns.get("picked", 0) > 0 and at > level.left_out_at else NEVER


def known_until(level: Level, at: datetime, now: datetime) -> datetime:
    """The latest that stands in a level which stops at zero: nothing of before can come on top of it."""
    return max(at, now, level.moved_at, level.counted_as_of, level.left_out_at)


# ---- counts ----


def counted_at(level: Level, status: str) -> datetime:
    """Time of the count that stands behind a status."""
    return level.counted_as_of if status == "sellable" else level.counted.get(status, NEVER)


def counted_figure(level: Level, status: StockStatus, basis: str) -> int:
    """G, as the level shows it now."""
    if status != "sellable":
        return stands(level)[status]
    if basis == "physical":
        return shelf(level) + level.picked
    return shelf(level) - (level.reserved if basis == "available_after_allocations" else 0)


def counted_change(change: Figures, status: StockStatus, basis: str) -> int:
    """What a change does to G."""
    moved = change.get(status, 0)
    if status != "sellable" or basis == "shelf_without_picked":
        return moved
    if basis == "physical":
        return moved + change.get("picked", 0)
    return moved - change.get("reserved", 0)


def believed(level: Level, status: StockStatus, basis: str, as_of: datetime, effects: Iterable[Effect]) -> int:
    """G as the level would have shown it at that time."""
    later = sum(counted_change(effect.change, status, basis) for effect in effects if effect.at > as_of)
    return counted_figure(level, status, basis) - later


def beside_counts(level: Level, change: Figures, at: datetime) -> Figures:
    """The change without what the level's counts already contain."""
    kept = {figure: by for figure, by in change.items() if at > counted_at(level, figure)}
    if at <= level.counted_as_of:
        kept["sellable"] = -counted_change(kept, "sellable", level.basis)
    return kept


def between(level: Level, change: Figures, booked_at: datetime, at: datetime) -> Figures:
    """What it makes of the level that this change is of another time than it was booked at."""
    was, will = beside_counts(level, change, booked_at), beside_counts(level, change, at)
    moved: Figures = {figure: will.get(figure, 0) - was.get(figure, 0) for figure in was.keys() | will.keys()}
    return {figure: by for figure, by in moved.items() if by}


def dated_anew(effects: Sequence[Effect], units: int, booked_at: datetime, at: datetime) -> tuple[tuple[Effect, ...], Figures]:
    """The effects, with so many of the units that left at `booked_at` leaving `at` another time, and what those do to the level."""
    kept: list[Effect] = []
    moved: Figures = {}
    for effect in effects:
        part = _leaving(effect.change, units) if effect.at == booked_at else {}
        if not part:
            kept.append(effect)
            continue
        units -= _left(part)
        kept.append(Effect(at, part))
        moved = {figure: moved.get(figure, 0) + part.get(figure, 0) for figure in (*moved, *part)}
        rest: Figures = {figure: by - part.get(figure, 0) for figure, by in effect.change.items() if by != part.get(figure, 0)}
        if rest:
            kept.append(Effect(booked_at, rest))
    return tuple(kept), moved


def _left(change: Figures) -> int:
    """Units that left with a change."""
    return max(0, -change.get("picked", 0) - change.get("sellable", 0))


def _leaving(change: Figures, units: int) -> Figures:
    """So many of the units that left with a change, in the order of `split`."""
    units = min(units, _left(change))
    if not units:
        return {}
    picked = min(units, max(0, -change.get("picked", 0)))
    reserved = min(units - picked, max(0, -change.get("reserved", 0)))
    return issue(Split(picked, reserved, units - picked - reserved))


def history(reservation: Reservation, from_open: int, from_picked: int) -> tuple[Effect, ...]:
    """What led to these units of a reservation, for counts older than it."""
    reserved = Effect(reservation.reserved_at, {"reserved": from_open + from_picked})
    return (reserved, *(_picked(pick) for pick in oldest(reservation.picks, from_picked)))


def _picked(pick: Pick) -> Effect:
    return Effect(pick.at, {"sellable": -pick.units, "reserved": -pick.units, "picked": pick.units})


def oldest(picks: Sequence[Pick], units: int) -> list[Pick]:
    """The picks these units came in, oldest first."""
    found = []
    for pick in picks:
        part = min(units, pick.units)
        units -= part
        if part:
            found.append(Pick(pick.at, part))
    return found


# ---- movements ----


class Booking(Value, frozen=True):
    """What a new total under a reference means."""

    moved: int
    """Units that move the level now, signed."""
    unsettled: int
    """Change of the units that wait for the feed."""
    ahead: int
    """Change of the units the feed reported before the others did."""


def book(row: Booked, feed: int, own: int, declared: bool) -> Booking:
    """Booked once: where the feed is declared it alone moves the level, otherwise whoever reports more.

    Totals of one reference share a sign; the larger has the larger magnitude.
    """
    wait = max(0, abs(own) - abs(feed)) if declared else 0
    return Booking(
        moved=(feed if declared else larger(feed, own)) - row.moved,
        unsettled=wait - row.unsettled,
        ahead=max(0, abs(feed) - abs(own)) - max(0, abs(row.feed) - abs(row.own)),
    )


def larger(feed: int, own: int) -> int:
    return feed if abs(feed) >= abs(own) else own


class Split(Value, frozen=True):
    """Where the units of an issue or a pick come from."""

    picked: int
    open: int
    shelf: int


def split(units: int, reservation: Reservation, unasked: bool = False) -> Split:
    """From picked first, then the reserved shelf, then the shelf."""
    picked = min(units, reservation.picked)
    reserved = 0 if unasked else min(units - picked, reservation.open)
    return Split(picked, reserved, units - picked - reserved)


def issue(parts: Split) -> Figures:
    return {"picked": -parts.picked, "reserved": -parts.open, "sellable": -parts.open - parts.shelf}


def movement(report: StockMoved, units: int, level: Level) -> Figures:
    """The change a report asks for: a signed change of one status, or units that leave one status for another."""
    if report.kind != "status_change":
        return {report.to_status: units}
    if report.from_status == report.to_status:
        return {}
    leaves, enters = report.from_status, report.to_status
    if units < 0:
        leaves, enters = enters, leaves
    known_then = report.occurred_at <= counted_at(level, leaves)
    arriving = abs(units) if known_then else min(abs(units), held(level, leaves))
    return {leaves: -abs(units), enters: arriving}


def held(level: Level, status: StockStatus) -> int:
    return shelf(level) if status == "sellable" else stands(level)[status]


# ---- reserving ----


def allot(asked: Sequence[tuple[str, int]], levels: dict[str, Level]) -> list[int]:
    """What each (sku, quantity) could have, one after the other."""
    free = {sku: atp(level) for sku, level in levels.items()}
    granted = []
    for sku, quantity in asked:
        units = min(quantity, free[sku])
        free[sku] -= units
        granted.append(units)
    return granted
