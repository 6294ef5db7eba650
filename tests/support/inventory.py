"""Words for tests of inventory: one item, one location, one order each, unless a test says otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from schemas.fulfilment import FactLine, IssueDated, ReservationEnded, StockIssued, StockPicked
from schemas.inventory import ReleaseStock, ReserveLine, ReserveStock
from schemas.reference import Location, MovementKind
from schemas.returns import StockRestocked
from schemas.stock import CountedLine, StockCounted, StockMoved
from schemas.types import order_of_part
from services.inventory.state import Level
from tests.support.spec import START, Spec

SKU, PARIS = "tea", "paris"


def at(minutes: float) -> datetime:
    """Minutes after the start."""
    return START + timedelta(minutes=minutes)


def counted(quantity: int, as_of: datetime = START, count_id: str = "c1", **kept: Any) -> StockCounted:
    lines = kept.pop("lines", (CountedLine(sku=kept.pop("sku", SKU), quantity=quantity),))
    return StockCounted(location=PARIS, count_id=count_id, as_of=as_of, lines=lines, **kept)


def moved(kind: MovementKind, quantity: int, reference: str, when: datetime | None = None, **kept: Any) -> StockMoved:
    return StockMoved(
        location=PARIS, sku=kept.pop("sku", SKU), kind=kind, reference=reference, quantity=quantity, occurred_at=when or at(1), **kept
    )


def sold(quantity: int, reference: str = "till-1", when: datetime | None = None) -> StockMoved:
    return moved("sale", -quantity, reference, when)


def line(quantity: int, line_id: str = "1", minimum: int = 0, sku: str = SKU) -> ReserveLine:
    return ReserveLine(line_id=line_id, sku=sku, quantity=quantity, minimum=minimum)


def reserve(part_id: str, *lines: ReserveLine, rank: int = 50, promised_at: datetime | None = None) -> ReserveStock:
    return ReserveStock(
        part_id=part_id, order_id=order_of_part(part_id), location=PARIS, lines=lines, rank=rank, promised_at=promised_at or at(600)
    )


def release(part_id: str) -> ReleaseStock:
    return ReleaseStock(part_id=part_id, order_id=order_of_part(part_id), location=PARIS, reason="other_plan")


def fact(quantity: int, line_id: str = "1", sku: str = SKU) -> FactLine:
    return FactLine(line_id=line_id, sku=sku, quantity=quantity)


def picked(part_id: str, *lines: FactLine, when: datetime | None = None, location: str = PARIS) -> StockPicked:
    return StockPicked(part_id=part_id, order_id=order_of_part(part_id), location=location, lines=lines, occurred_at=when or at(2))


def issued(part_id: str, *lines: FactLine, when: datetime | None = None, location: str = PARIS, unasked: bool = False) -> StockIssued:
    return StockIssued(
        part_id=part_id, order_id=order_of_part(part_id), location=location, lines=lines, occurred_at=when or at(3), unasked=unasked
    )


def dated(part_id: str, *lines: FactLine, booked_at: datetime, when: datetime) -> IssueDated:
    return IssueDated(part_id=part_id, order_id=order_of_part(part_id), location=PARIS, lines=lines, booked_at=booked_at, occurred_at=when)


def ended(part_id: str, cause: Any, *lines: FactLine, reason: Any = "none", when: datetime | None = None) -> ReservationEnded:
    return ReservationEnded(
        part_id=part_id,
        order_id=order_of_part(part_id),
        location=PARIS,
        cause=cause,
        reason=reason,
        lines=lines,
        occurred_at=when or at(2),
    )


def restocked(quantity: int, reference: str = "r1:1:resell:1", status: Any = "sellable") -> StockRestocked:
    return StockRestocked(location=PARIS, sku=SKU, quantity=quantity, status=status, reference=reference, occurred_at=at(4))


def location(**kept: Any) -> Location:
    return Location(location=PARIS, kind="store", zone="Europe/Paris", country="FR", latitude=48.85, longitude=2.35, **kept)


def level_of(spec: Spec, sku: str = SKU, where: str = PARIS) -> Level:
    level = spec.state("level", f"{sku}:{where}")
    assert isinstance(level, Level)
    return level


def figures(spec: Spec) -> dict[str, int]:
    """The figures of the level that aren't zero."""
    level = level_of(spec)
    names = ["sellable", "reserved", "owed", "picked", "in_transit", "quality_hold", "damaged", "display", "unsettled"]
    return {name: getattr(level, name) for name in names if getattr(level, name)}
