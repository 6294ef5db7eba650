"""Who gets which unit, and when a reservation ends: reserve, release, end, short, block."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from datetime import timedelta

from schemas.forms import (
    EndedLine,
    ReservationDeclined,
    ReservationReleased,
    ReservationShorted,
    ReservedLine,
    ReserveStock,
    StockReserved,
)
from schemas.fulfilment import FactLine, ReservationEnded
from schemas.inventory import EndCause, ReleaseStock
from services.inventory import rules
from services.inventory.events import (
    LevelBlocked,
    LevelMoved,
    LevelUnblocked,
    PartAnswered,
    PartReleased,
    UnitsGivenUp,
    UnitsReserved,
    UnitsShorted,
)
from services.inventory.levels import BEFORE_OTHERS, Befores, Case, keep_safety, keys_of, look, move, note, shown, tell
from services.inventory.state import (
    NEVER,
    Booked,
    Effect,
    Figures,
    Level,
    Part,
    Reservation,
    booked_key,
    level_key,
    new_booked,
    other_order,
    part_key,
    reservation_key,
    shorting_order,
)
from shared.kernel.model import Key, Slice, Wake, Woken, Yield
from shared.value import replace

SHORTED_AT_ONCE = 200
"""Reservations shorted in one step; more take another."""
NOT_MOVED = rules.Booking(0, 0, 0)


def to_short(level: Level | None) -> int:
    """Each reservation has a unit at least."""
    return min(level.owed, SHORTED_AT_ONCE) if level is not None else 0


def shorting_slice(level: Key) -> Slice:
    return Slice(level, "reservation", to_short)


# ---- reserve ----


def reserve(case: Case, command: ReserveStock) -> Iterator[Yield]:
    """All lines or none; answered once."""
    part = case.world.get(part_key(command.part_id), Part())
    if part.answered:
        return
    keys = keys_of(command.location, (line.sku for line in command.lines))
    for key in keys:
        if case.world.version(key):
            yield from keep_safety(case, case.level(key))
    levels = {level.sku: level for level in map(case.level, keys)}
    granted = rules.allot([(line.sku, line.quantity) for line in command.lines], levels)
    enough = all(units >= line.minimum for line, units in zip(command.lines, granted, strict=True))
    if part.released or not enough or not any(granted):
        yield PartAnswered(command.part_id)
        yield _decline(case, command, granted, keys, part.released)
    else:
        yield from _grant(case, command, granted, keys)


def _decline(case: Case, command: ReserveStock, granted: Sequence[int], keys: Sequence[Key], ended: bool) -> ReservationDeclined:
    short = [line.sku for line, units in zip(command.lines, granted, strict=True) if units < max(1, line.minimum)]
    is_blocked = any(rules.blocked(case.level(level_key(sku, command.location))) for sku in short)
    return ReservationDeclined(
        part_id=command.part_id,
        order_id=command.order_id,
        location=command.location,
        reason="already_ended" if ended else "blocked" if is_blocked else "insufficient_stock",
        lines=_answered(command, granted),
        levels=shown(case, keys),
    )


def _grant(case: Case, command: ReserveStock, granted: Sequence[int], keys: Sequence[Key]) -> Iterator[Yield]:
    got = [(line, units) for line, units in zip(command.lines, granted, strict=True) if units]
    yield PartAnswered(command.part_id, got=tuple([(line.line_id, line.sku) for line, _ in got]))
    order_id = other_order(command.order_id, command.part_id)
    for line, units in got:
        yield LevelMoved(line.sku, command.location, {"reserved": units})
        yield UnitsReserved(
            part_id=command.part_id,
            line_id=line.line_id,
            order_id=order_id,
            sku=line.sku,
            location=command.location,
            units=units,
            priority=command.rank,
            promised_at=command.promised_at,
            at=case.now,
        )
    yield StockReserved(
        part_id=command.part_id,
        order_id=command.order_id,
        location=command.location,
        lines=_answered(command, granted),
        levels=shown(case, keys),
    )


def _answered(command: ReserveStock, granted: Sequence[int]) -> tuple[ReservedLine, ...]:
    return tuple(ReservedLine(line.line_id, line.sku, line.quantity, units) for line, units in zip(command.lines, granted, strict=True))


# ---- give up ----


def release(case: Case, command: ReleaseStock) -> Iterator[Yield]:
    """Answered once, also before its reserve, and then nothing is left to give up."""
    part = case.world.get(part_key(command.part_id), Part())
    if part.released:
        return
    yield PartReleased(command.part_id)
    before = look(case, keys_of(command.location, (sku for _, sku in part.served)))
    ended = []
    for line_id, sku in part.served:
        row = standing(case, command.part_id, line_id, sku, command.location)
        units = row.open + row.picked if row is not None else 0
        ended.append((yield from _give_up(case, row, line_id, sku, units, None, damaged=False)))
    yield _released(case, command, "released", ended, before)
    yield from tell(case, before, command.location, "released", command.part_id, quiet=True)


def end(case: Case, fact: ReservationEnded) -> Iterator[Yield]:
    """The location won't do these units: given back, and blocked or written down in the same step."""
    before = look(case, keys_of(fact.location, (line.sku for line in fact.lines)))
    not_found = fact.reason == "not_found" or (fact.cause == "short" and fact.reason != "damaged")
    booked_by_feed = case.declares(fact.location, "status_change") or case.declares(fact.location, "damage")
    damaged = fact.reason == "damaged" and not booked_by_feed
    ended: list[EndedLine | None] = []
    for line in fact.lines:
        row = _held_for(case, fact, line)
        given_up = yield from _give_up(case, row, line.line_id, line.sku, line.quantity, fact, damaged)
        if damaged:
            yield from _spoil(case, fact, line, line.quantity - (given_up.quantity if given_up is not None else 0))
        ended.append(given_up)
    # Where the feed books damage, its report is still to come: until then, or a count, the item is not for sale.
    blocking = not_found or (fact.reason == "damaged" and booked_by_feed)
    if blocking:
        yield from _block(case, before, fact)
    quiet = False
    if fact.cause != "shorted" and any(line is not None for line in ended):
        yield _released(case, fact, fact.cause, ended, before)
        quiet = not blocking
    yield from tell(case, before, fact.location, "blocked" if blocking else "released", fact.part_id, quiet)


def _held_for(case: Case, fact: ReservationEnded, line: FactLine) -> Reservation | None:
    """What the line's units are taken from; of shorted ones nothing is reserved any more, and damaged ones lie on the shelf."""
    row = standing(case, fact.part_id, line.line_id, line.sku, fact.location)
    if fact.cause != "shorted" or row is None:
        return row
    return replace(row, open=0, ahead=0) if fact.reason != "damaged" else None


def _spoil(case: Case, fact: ReservationEnded, line: FactLine, units: int) -> Iterator[Yield]:
    """Damaged units nothing is reserved for: they were shorted before. What the level takes to be on the shelf of them is not."""
    key = level_key(line.sku, fact.location)
    level, reference = case.level(key), f"{fact.part_id}:{line.line_id}"
    there = units if fact.occurred_at <= level.counted_as_of else min(units, max(0, rules.shelf(level)))
    if there:
        change: Figures = {"sellable": -there, "damaged": there}
        yield note(case.booked(key, "ended", reference), level, NOT_MOVED, (Effect(fact.occurred_at, change),))
        yield from move(case, key, change, fact.occurred_at, reference, booked=True)


def standing(case: Case, part_id: str, line_id: str, sku: str, location: str) -> Reservation | None:
    """The line's reservation of this very level; None where there is none."""
    row = case.reservation(part_id, line_id)
    return row if (row.sku, row.location) == (sku, location) else None


def _give_up(
    case: Case,
    row: Reservation | None,
    line_id: str,
    sku: str,
    units: int,
    fact: ReservationEnded | None,
    damaged: bool,
) -> Generator[Yield, None, EndedLine | None]:
    """Take units back: those on the shelf first, then picked ones, then those only the feed saw leave."""
    if row is None:
        return None
    from_open = min(units, row.open)
    from_picked = min(units - from_open, row.picked)
    gone = min(units - from_open - from_picked, row.ahead)
    if not from_open + from_picked + gone:
        return None
    key, back = level_key(sku, row.location), from_open + from_picked
    at = fact.occurred_at if fact is not None else case.now
    change: Figures = {"reserved": -from_open, "picked": -from_picked, "sellable": from_picked}
    if damaged:
        change |= {"sellable": -from_open, "damaged": back}
    yield UnitsGivenUp(row.part_id, line_id, from_open, from_picked, gone)
    if back:
        reference = f"{row.part_id}:{line_id}"
        booked = case.booked(key, "ended", reference)
        effects = (*rules.history(row, from_open, from_picked), Effect(at, change))
        yield note(booked, case.level(key), NOT_MOVED, effects)
        yield from move(case, key, change, at, reference, booked=True, decided=fact is None)
    return EndedLine(line_id=line_id, sku=sku, quantity=back + gone)


def _released(
    case: Case,
    of: ReleaseStock | ReservationEnded,
    cause: EndCause,
    ended: Sequence[EndedLine | None],
    levels: Befores,
) -> ReservationReleased:
    return ReservationReleased(
        part_id=of.part_id,
        order_id=of.order_id,
        location=of.location,
        cause=cause,
        lines=tuple(line for line in ended if line is not None),
        levels=shown(case, list(levels)),
    )


# ---- block ----


def _block(case: Case, keys: Befores, fact: ReservationEnded) -> Iterator[Yield]:
    """Not for sale until it is counted or the block runs out; a count taken after the fact has settled it already."""
    until = case.now + timedelta(seconds=case.policy().block_s)
    for key in keys:
        level = case.level(key)
        if fact.occurred_at > level.counted_as_of:
            yield from keep_safety(case, level)
            yield LevelBlocked(level.sku, level.location, fact.occurred_at, until)
            yield Wake(key, "unblock", until)


def unblock(case: Case, woken: Woken) -> Iterator[Yield]:
    level = case.level(woken.key)
    if not rules.blocked(level) or level.blocked_until > case.now:
        return
    before = look(case, (woken.key,))
    yield LevelUnblocked(level.sku, level.location)
    yield from tell(case, before, level.location, "unblocked")


# ---- short ----


def short(case: Case, woken: Woken) -> Iterator[Yield]:
    """Take what is owed from the least urgent reservations, never from a picked one."""
    level = case.level(woken.key)
    if not level.owed:
        return
    rows: Sequence[Reservation] = case.world.rows(shorting_slice(woken.key))
    lost: dict[str, list[tuple[Reservation, int]]] = {}
    for row in sorted(rows, key=shorting_order):
        units = min(row.open, case.level(woken.key).owed)
        if units:
            yield UnitsShorted(row.part_id, row.line_id, units)
            yield LevelMoved(level.sku, level.location, rules.taken(case.level(woken.key), {"reserved": -units})[0])
            lost.setdefault(row.part_id, []).append((row, units))
    yield from _keep_history(case, woken, [entry for rows_of in lost.values() for entry in rows_of])
    for part_id, entries in lost.items():
        yield _shorted(case, part_id, woken.key, entries)
    if lost and case.level(woken.key).owed:
        yield Wake(woken.key, "short", case.now, rank=BEFORE_OTHERS)


def _keep_history(case: Case, woken: Woken, lost: Sequence[tuple[Reservation, int]]) -> Iterator[Yield]:
    if lost:
        key = shorted_key(woken)
        row: Booked = case.world.get(key, new_booked(key.id))
        effects = [effect for entry, units in lost for effect in rules.history(entry, units, 0)]
        total = Effect(case.now, {"reserved": -sum(units for _, units in lost)})
        yield note(row, case.level(woken.key), NOT_MOVED, (*effects, total))
        level = case.level(woken.key)
        yield LevelMoved(level.sku, level.location, {}, case.now if case.now > level.counted_as_of else NEVER)


def shorted_key(woken: Woken) -> Key:
    """The booked row of one shorting step."""
    return booked_key(woken.key, "shorted", woken.due.isoformat())


def _shorted(case: Case, part_id: str, level: Key, entries: Sequence[tuple[Reservation, int]]) -> ReservationShorted:
    return ReservationShorted(
        part_id=part_id,
        order_id=entries[0][0].order,
        location=case.level(level).location,
        lines=tuple(EndedLine(line_id=r.line_id, sku=r.sku, quantity=units) for r, units in entries),
        levels=shown(case, (level,)),
    )


def fact_line_keys(part_id: str, location: str, lines: Sequence[FactLine]) -> list[Key]:
    """The levels and reservations of some lines."""
    reservations = [reservation_key(part_id, line.line_id) for line in lines]
    return [*keys_of(location, (line.sku for line in lines)), *reservations]
