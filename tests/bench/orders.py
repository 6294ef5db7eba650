"""Orders for the benchmark: the lines of real baskets (median 5, at most 161), enough stock for all, two warehouses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from deploy.demo.baskets import BasketLine, load
from schemas import channel as ch
from schemas import reference, stock
from schemas.topics import CHANNEL_ORDERS, Body
from shared.kernel.codec import external_record
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, TopicPartition
from tests.bench.template import REF, filled

DAY = date(2017, 3, 6)
SKUS = 4_000
Place = tuple[str, float, float]
"""Name, latitude, longitude."""
LOCATIONS: tuple[Place, ...] = (("north", 50.6, 3.1), ("south", 43.6, 1.4))
CHANNEL = "bench"
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


def baskets(count: int, cache: Path, skus: int = SKUS) -> Baskets:
    """The first `count` real baskets from a Monday on; products are folded to so many skus, quantities to 1 to 20."""
    chosen = load(cache).orders(DAY, count, seed=1)
    return Baskets(tuple(lines for basket in chosen if (lines := _lines(basket.lines, skus))))


def _lines(found: Sequence[BasketLine], skus: int) -> tuple[tuple[str, int], ...]:
    by_sku: dict[str, int] = {}
    for line in found:
        product, quantity = line.product, line.quantity
        if quantity > 0:
            by_sku[f"p{product % skus}"] = min(20, quantity)
    return tuple(by_sku.items())


def single_lines(skus: Sequence[str]) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Orders of one line, one unit each, of these items in turn."""
    return tuple(((sku, 1),) for sku in skus)


def reference_data(skus: Sequence[str]) -> list[Body]:
    return [*items(skus), *places(LOCATIONS), *seller(CHANNEL, "default"), reference.Carrier(carrier="post")]


def items(skus: Sequence[str]) -> list[Body]:
    return [reference.Item(sku=sku, weight_g=400) for sku in skus]


def places(chosen: Sequence[Place]) -> list[Body]:
    return [
        reference.Location(location=name, kind="warehouse", zone="Europe/Paris", country="FR", latitude=latitude, longitude=longitude)
        for name, latitude, longitude in chosen
    ]


def seller(channel: str, policy: str, *, locations: Sequence[str] = (), backorder: bool = True) -> list[Body]:
    """A channel and its policy: the locations that may serve it (all where none is named), and whether what nobody has waits."""
    return [
        reference.Policy(policy=policy, carrier="post", locations=tuple(locations), backorder=backorder),
        reference.Channel(channel=channel, policy=policy, unpaid="accept"),
    ]


def counts(skus: Sequence[str], chosen: Sequence[Place] = LOCATIONS, units: int = PLENTY, name: str = "open") -> list[Body]:
    """So many units of each item at each of these locations; the name tells these counts from others."""
    now = datetime.now(UTC)
    return [
        stock.StockCounted(
            location=location,
            count_id=f"{name}-{start}",
            as_of=now,
            lines=tuple(stock.CountedLine(sku=sku, quantity=units) for sku in skus[start : start + LEVELS_A_COUNT]),
        )
        for location, _, _ in chosen
        for start in range(0, len(skus), LEVELS_A_COUNT)
    ]


def order(ref: str, lines: Sequence[tuple[str, int]], channel: str = CHANNEL) -> ch.PlaceOrder:
    total = sum(199 * quantity for _, quantity in lines)
    return ch.PlaceOrder(
        request_id=f"r-{ref}",
        channel=channel,
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


@dataclass(frozen=True, slots=True)
class Templates:
    """Records of one channel's orders but for their references."""

    channel: str
    records: tuple[Outgoing, ...]
    partitions: int

    @classmethod
    def of(cls, chosen: Sequence[Sequence[tuple[str, int]]], partitions: int, channel: str = CHANNEL) -> Self:
        bodies = (order(REF, lines, channel) for lines in chosen)
        now = datetime.now(UTC)
        records = (external_record(CHANNEL_ORDERS, body, source="/bench", id=body.request_id, now=now) for body in bodies)
        return cls(channel, tuple(records), partitions)

    def record(self, number: int, ref: str) -> tuple[TopicPartition, Outgoing]:
        """The order with this reference, of the template whose turn it is."""
        at = TopicPartition(CHANNEL_ORDERS.name, partition_of(f"{self.channel}:{ref}", self.partitions))
        return at, filled(self.records[number % len(self.records)], ref)
