"""What must hold of stock after every commit."""

from __future__ import annotations

from collections.abc import Iterator

from services.inventory.state import Level
from shared.kernel.memory_tables import Database
from shared.kernel.model import Key

FIGURES = ("sellable", "reserved", "owed", "picked", "in_transit", "quality_hold", "damaged", "display", "unsettled", "left_out")


def wrong_level(id: str, level: Level) -> str:
    """The local invariant of stock, after every commit of inventory: empty where it holds."""
    negative = [name for name in FIGURES if getattr(level, name) < 0]
    if negative:
        return f"level_possible: {id} is negative: {', '.join(negative)}"
    if level.reserved > level.sellable:
        return f"level_possible: {id} promises {level.reserved} of {level.sellable}"
    return ""


def unsettled_debts(database: Database) -> Iterator[str]:
    """What a level promises of units that are gone is taken from its least urgent reservations in the next step, unless that has failed."""
    for id, row in database.table("state.level").items():
        if row.state is None or not row.state.owed:
            continue
        key = Key("level", str(id))
        if (key, "short") not in database.table("timer") and key not in database.table("quarantine"):
            yield f"debts_are_settled: {id} promises {row.state.owed} units that are gone, and nothing will be shorted"
