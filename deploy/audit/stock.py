"""Checks on inventory levels and reservations."""

from __future__ import annotations

from collections import defaultdict

from deploy.audit.books import Books, parts_of
from deploy.audit.findings import Findings
from deploy.audit.ledger import Ledger

INVENTORY = "inventory"
FIGURES = ("sellable", "reserved", "owed", "picked", "in_transit", "quality_hold", "damaged", "display", "unsettled", "left_out")


def levels_are_possible(books: Books, _: Ledger, found: Findings) -> None:
    """No level is negative, no level promises more units than it has, and none owes units it has promised."""
    for id, level in books.levels.items():
        negative = [name for name in (*FIGURES, "safety") if getattr(level, name) < 0]
        found.require(not negative, INVENTORY, id, f"negative: {', '.join(negative)}")
        found.require(level.reserved <= level.sellable, INVENTORY, id, f"{level.reserved} reserved of {level.sellable} sellable")
        found.require(level.owed == 0, INVENTORY, id, f"{level.owed} reserved units are gone and their orders were not told")


def reserved_is_the_sum_of_reservations(books: Books, _: Ledger, found: Findings) -> None:
    """A level's reserved units are those of its open reservations: no unit is promised twice, none to nobody."""
    open_units: dict[str, int] = defaultdict(int)
    for reservation in books.reservations.values():
        if reservation.exists:
            open_units[f"{reservation.sku}:{reservation.location}"] += reservation.open
    for id in open_units.keys() | books.levels.keys():
        reserved = books.levels[id].reserved if id in books.levels else 0
        found.require(reserved == open_units[id], INVENTORY, id, f"{reserved} reserved, but open reservations add up to {open_units[id]}")


def levels_equal_their_history(books: Books, _: Ledger, found: Findings) -> None:
    """Every figure of a level is the sum of all changes that were ever booked on it."""
    for id in books.levels.keys() | books.level_changes.keys():
        booked = books.level_changes.get(id, {})
        for name in FIGURES:
            kept = getattr(books.levels[id], name) if id in books.levels else 0
            told = f"{kept} {name}, but its history adds up to {booked.get(name, 0)}"
            found.require(kept == booked.get(name, 0), INVENTORY, id, told)


def reservations_are_for_open_orders(books: Books, _: Ledger, found: Findings) -> None:
    """No units stay reserved for an order that has ended, or that nobody accepted; but for what its location was asked to give up, and has
    not given up yet."""
    asked = _asked_back(books)
    for id, reservation in books.reservations.items():
        if not reservation.exists or reservation.open == 0:
            continue
        order = books.captured.get(reservation.order)
        told = "nobody accepted" if order is None else f"ended ({order.outcome})"
        alive = order is not None and order.stage == "accepted"
        alive = alive or reservation.open <= asked.get((reservation.part_id, reservation.line_id), 0)
        found.require(alive, INVENTORY, id, f"{reservation.open} units are reserved for {reservation.order}, which {told}")


def sourcing_and_inventory_agree(books: Books, _: Ledger, found: Findings) -> None:
    """What sourcing takes to be reserved or on its way in a part is what inventory keeps for it, unit by unit. Of an order that has ended
    sourcing counts nothing, and tracking asks back what is left."""
    kept = {
        (each.part_id, each.line_id): each.open + each.picked
        for each in books.reservations.values()
        if each.exists and each.ahead == 0 and each.lead == 0
    }
    unsettled = {(each.part_id, each.line_id) for each in books.reservations.values() if each.ahead or each.lead}
    believed = _asked_back(books) | {(part, line): units for _, part, line, units in parts_of(books)}
    for name in (kept.keys() | believed.keys()) - unsettled:
        told = f"sourcing counts {believed.get(name, 0)} units, inventory keeps {kept.get(name, 0)}"
        found.require(kept.get(name, 0) == believed.get(name, 0), "sourcing", ":".join(name), told)


def _asked_back(books: Books) -> dict[tuple[str, str], int]:
    """Units by (part, line) that locations were asked to give up because the order has ended."""
    return {name: units for tracked in books.tracked.values() for name, units in tracked.asked_back.items()}
