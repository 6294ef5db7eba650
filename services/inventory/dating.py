"""When units really left: what was booked by a carrier's later word moves to its true time, and stays under its reference."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.fulfilment import FactLine, IssueDated
from services.inventory import rules
from services.inventory.events import MovementDated
from services.inventory.levels import Case, keys_of, look, settle, tell
from services.inventory.state import NEVER, Booked, booked_key, level_key
from shared.kernel.model import Key, Yield


def keys_of_dating(fact: IssueDated) -> list[Key]:
    levels = keys_of(fact.location, (line.sku for line in fact.lines))
    return [*levels, *(booked_key(*_booked(fact, line)) for line in fact.lines)]


def _booked(fact: IssueDated, line: FactLine) -> tuple[Key, str, str]:
    return level_key(line.sku, fact.location), "issue", f"{fact.part_id}:{line.line_id}"


def dated(case: Case, fact: IssueDated) -> Iterator[Yield]:
    """A count between the two times has left these units out already, and they were taken a second time: that is undone."""
    before = look(case, keys_of(fact.location, (line.sku for line in fact.lines)))
    for line in fact.lines:
        row = case.booked(*_booked(fact, line))
        yield from _dated(case, level_key(line.sku, fact.location), row, line.quantity, fact)
    yield from tell(case, before, fact.location, "issued", fact.part_id)


def _dated(case: Case, key: Key, row: Booked, units: int, fact: IssueDated) -> Iterator[Yield]:
    effects, moved = rules.dated_anew(row.effects, units, fact.booked_at, fact.occurred_at)
    if not moved:
        return
    level = case.level(key)
    yield MovementDated(level.sku, level.location, row.kind, row.reference, effects)
    change = rules.between(level, moved, fact.booked_at, fact.occurred_at)
    if change:
        yield from settle(case, key, change, NEVER, row.reference, in_count=True)
