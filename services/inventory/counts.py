"""Counts: what a location really has, as of a time; movements after it stay on top, whatever arrived first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from schemas.inventory import DiscrepancyFound
from schemas.stock import StockCounted, StockStatus
from services.inventory import rules
from services.inventory.events import CountNoted, FullCountNoted, LevelCounted
from services.inventory.levels import Case, Discrepancy, discrepancy, keep_safety, keys_of, look, plausible, tell
from services.inventory.state import (
    NEVER,
    Booked,
    CountSeen,
    Effect,
    FullCount,
    Level,
    Reservation,
    Site,
    count_key,
    level_key,
    new_level,
    site_key,
)
from shared.kernel.model import Key, Need, Slice, Wake, Woken, Yield
from shared.value import Value

ROWS_OF_HISTORY = 2000
"""Movements, and reservations, of one level a count looks back at."""
LEVELS_OF_A_LOCATION = 50_000
"""Levels a full count looks through for what it didn't list."""
PHYSICAL: tuple[StockStatus, ...] = ("sellable", "quality_hold", "damaged", "display")
"""What a full count brings to zero where an item isn't listed."""
ZERO = "count:"
"""Timer of a level that a full count didn't list, followed by the count's id."""


class MovesAfter(Value, frozen=True):
    """Booked rows that may hold movements after a time."""

    as_of: datetime

    def __call__(self, level: Level | None) -> int:
        if level is None or level.moved_at <= self.as_of:
            return 0
        return ROWS_OF_HISTORY if self.as_of < level.counted_as_of else min(level.moves, ROWS_OF_HISTORY)


def reserving_rows(level: Level | None) -> int:
    """Each reservation has a unit at least."""
    return min(level.reserved + level.picked, ROWS_OF_HISTORY) if level is not None else 0


def all_levels(_: Site | None) -> int:
    return LEVELS_OF_A_LOCATION


def history_slices(level: Key, as_of: datetime, basis: str) -> tuple[Slice, ...]:
    """What happened to a level after a time. A physical figure is the same before and after a pick: no reservations."""
    booked = Slice(level, "booked", MovesAfter(as_of))
    return (booked,) if basis == "physical" else (booked, Slice(level, "reservation", reserving_rows))


def site_slice(location: str) -> Slice:
    return Slice(site_key(location), "level", all_levels)


def need(report: StockCounted) -> Need:
    levels = keys_of(report.location, (line.sku for line in report.lines))
    slices = tuple(of for level in levels for of in history_slices(level, report.as_of, report.basis))
    keys = (count_key(report.location, report.count_id), *levels)
    if report.scope == "listed":
        return Need(keys, slices)
    return Need((*keys, site_key(report.location)), (*slices, site_slice(report.location)))


def need_of_zero(woken: Woken) -> Need:
    """A level a full count didn't list; as of when and on which basis stands with its location."""
    level = new_level(woken.key.id)
    return Need((woken.key, site_key(level.location)), history_slices(woken.key, NEVER, ""))


# ---- one message ----


def counted(case: Case, report: StockCounted) -> Iterator[Yield]:
    key, digest = count_key(report.location, report.count_id), _digest(report)
    if digest in case.world.get(key, CountSeen()).digests:
        return
    yield CountNoted(report.location, report.count_id, digest)
    count = FullCount(report.count_id, plausible(report.as_of, case.now), report.basis)
    before = look(case, keys_of(report.location, (line.sku for line in report.lines)))
    for (sku, status), units in _totals(report).items():
        level = level_key(sku, report.location)
        past = _past(case, history_slices(level, report.as_of, report.basis))
        yield from _count(case, level, status, units, count, past)
    if report.scope == "full":
        yield from _spread(case, report, count)
    yield from tell(case, before, report.location, "counted", report.count_id)


def _digest(report: StockCounted) -> str:
    return hashlib.sha256(report.model_dump_json().encode()).hexdigest()[:32]


def _totals(report: StockCounted) -> dict[tuple[str, StockStatus], int]:
    """An item may be listed once for each shelf it lies on."""
    totals: dict[tuple[str, StockStatus], int] = {}
    for line in report.lines:
        totals[line.sku, line.status] = totals.get((line.sku, line.status), 0) + line.quantity
    return totals


def _spread(case: Case, report: StockCounted, count: FullCount) -> Iterator[Yield]:
    """What isn't listed is zero: each such level is counted in a step of its own."""
    yield FullCountNoted(report.location, count)
    listed = {line.sku for line in report.lines}
    levels: Sequence[Level] = case.world.rows(site_slice(report.location))
    for level in levels:
        if level.sku not in listed and level.counted_as_of <= count.as_of and _may_hold(level, count.as_of):
            yield Wake(level_key(level.sku, level.location), ZERO + count.count_id, case.now)


def _may_hold(level: Level, as_of: datetime) -> bool:
    return level.moved_at > as_of or level.picked > 0 or level.left_out > 0 or any(rules.held(level, status) for status in PHYSICAL)


def zero(case: Case, woken: Woken) -> Iterator[Yield]:
    """This level was not listed in a full count."""
    level = case.level(woken.key)
    site = case.world.get(site_key(level.location), Site())
    count_id = woken.name.removeprefix(ZERO)
    before, past = look(case, (woken.key,)), _past(case, history_slices(woken.key, NEVER, ""))
    for count in (count for count in site.counts if count.count_id == count_id):
        for status in PHYSICAL:
            if status == "sellable" or rules.held(level, status):
                yield from _count(case, woken.key, status, 0, count, past)
    yield from tell(case, before, level.location, "counted", count_id)


# ---- one figure ----


class Past(Value, frozen=True):
    """What happened to a level, as far as it was read."""

    rows: Sequence[Booked]
    """The latest first."""
    standing: Sequence[Reservation]

    def effects(self, basis: str) -> Iterator[Effect]:
        for row in self.rows:
            yield from row.effects
        if basis != "physical":
            for reservation in self.standing:
                yield from rules.history(reservation, reservation.open, reservation.picked)


def _past(case: Case, slices: tuple[Slice, ...]) -> Past:
    rows, *standing = (case.world.rows(of) for of in slices)
    return Past(rows, standing[0] if standing else ())


def _count(case: Case, key: Key, status: StockStatus, units: int, count: FullCount, past: Past) -> Iterator[Yield]:
    level = case.level(key)
    difference = units - rules.believed(level, status, count.basis, count.as_of, past.effects(count.basis))
    if count.as_of < rules.counted_at(level, status):
        if difference:
            yield _differs(case, level, difference, count, "older than the count in force: nothing changed")
        return
    columns, rest = rules.taken(level, {status: difference})
    if status == "sellable" and (rest or level.left_out):
        columns["left_out"] = rest - level.left_out
    opening = rules.counted_at(level, status) == NEVER and level.moved_at == NEVER
    moves = sum(row.latest > count.as_of for row in past.rows)
    yield from keep_safety(case, level)
    late_until = rules.known_until(level, count.as_of, case.now) if rest else NEVER
    yield LevelCounted(level.sku, level.location, status, count.basis, count.as_of, columns, moves, late_until)
    if difference and not opening:
        yield _differs(case, level, difference, count, f"{status} counted {units}")
    if rest:
        yield discrepancy(level, "below_zero", -rest, count.count_id, "stopped at zero: more is picked than was counted")
    if len(past.rows) >= ROWS_OF_HISTORY:
        detail = f"only the latest {ROWS_OF_HISTORY} movements were laid on top of this count: count again"
        yield discrepancy(level, "late_fact", 0, count.count_id, detail)


def _differs(case: Case, level: Level, difference: int, count: FullCount, detail: str) -> DiscrepancyFound:
    kind: Discrepancy = "changed_report" if case.given.changed else "count_difference"
    return discrepancy(level, kind, difference, count.count_id, detail)
