"""What must hold of stock after every commit."""

from __future__ import annotations

from services.inventory.state import Level

FIGURES = ("sellable", "reserved", "owed", "picked", "in_transit", "quality_hold", "damaged", "display", "unsettled", "left_out")


def wrong_level(id: str, level: Level) -> str:
    """The local invariant of stock, after every commit of inventory: empty where it holds."""
    negative = [name for name in FIGURES if getattr(level, name) < 0]
    if negative:
        return f"level_possible: {id} is negative: {', '.join(negative)}"
    if level.reserved > level.sellable:
        return f"level_possible: {id} promises {level.reserved} of {level.sellable}"
    return ""
