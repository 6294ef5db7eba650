"""Orders for the benchmark: the lines of real baskets (median 5, at most 161), enough stock for all, two warehouses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from deploy.demo.baskets import BasketLine, load
from schemas import channel as ch
from schemas import reference, stock
from schemas.topics import Body

DAY = date(2017, 3, 6)
SKUS = 4_000
LOCATIONS = (("north", 50.6, 3.1), ("south", 43.6, 1.4))
PLENTY = 50_000_000
LEVELS_A_COUNT = 500


@dataclass(frozen=True, slots=True)
class Baskets:
    """Line quantities by sku, one mapping for each order."""

    lines: tuple[tuple[tuple[str, int], ...], ...]

    @property
    def skus(self) -> list[str]:
        return sorted({sku for lines in self.lines for sku, _ in lines})

    @property
    def median_lines(self) -> int:
        counts = sorted(len(lines) for lines in self.lines)
        return counts[len(counts) // 2]


def baskets(count: int, cache: Path) -> Baskets:
    """The first `count` real baskets from a Monday on; products are folded to 4,000 skus, quantities to 1 to 20."""
    chosen = load(cache).orders(DAY, count, seed=1)
    return Baskets(tuple(lines for basket in chosen if (lines := _lines(basket.lines))))


def _lines(found: Sequence[BasketLine]) -> tuple[tuple[str, int], ...]:
    by_sku: dict[str, int] = {}
    for line in found:
        product, quantity = line.product, line.quantity
        if quantity > 0:
            by_sku[f"p{product % SKUS}"] = min(20, quantity)
    return tuple(by_sku.items())


def reference_data(skus: Sequence[str]) -> list[Body]:
    bodies: list[Body] = [reference.Item(sku=sku, weight_g=400) for sku in skus]
    for name, latitude, longitude in LOCATIONS:
        bodies.append(
            reference.Location(location=name, kind="warehouse", zone="Europe/Paris", country="FR", latitude=latitude, longitude=longitude)
        )
    bodies += [
        reference.Policy(policy="default", carrier="post"),
        reference.Channel(channel="bench", unpaid="accept"),
        reference.Carrier(carrier="post"),
    ]
    return bodies


def counts(skus: Sequence[str]) -> list[Body]:
    now = datetime.now(UTC)
    return [
        stock.StockCounted(
            location=name,
            count_id=f"open-{start}",
            as_of=now,
            lines=tuple(stock.CountedLine(sku=sku, quantity=PLENTY) for sku in skus[start : start + LEVELS_A_COUNT]),
        )
        for name, _, _ in LOCATIONS
        for start in range(0, len(skus), LEVELS_A_COUNT)
    ]


def order(ref: str, lines: Sequence[tuple[str, int]]) -> ch.PlaceOrder:
    total = sum(199 * quantity for _, quantity in lines)
    return ch.PlaceOrder(
        request_id=f"r-{ref}",
        channel="bench",
        channel_order_ref=ref,
        placed_at=datetime.now(UTC),
        order=ch.OrderContent(
            lines=tuple(
                ch.Line(channel_line_ref=str(number), sku=sku, quantity=quantity, unit_price_minor=199)
                for number, (sku, quantity) in enumerate(lines, start=1)
            ),
            totals=ch.Totals(lines_minor=total, total_minor=total),
            ship_to=ch.Party(name="Buyer", street=("1 rue de la Gare",), city="Lille", country="FR", latitude=50.6, longitude=3.06),
            payment_terms="on_account",
        ),
    )
