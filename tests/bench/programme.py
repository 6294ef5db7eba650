"""How much of everything: the whole programme, and first figures within three minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]
"""What was measured so far, by the names the JSON has."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of orders, seconds, items."""

    baskets: int = 3_000
    runs: int = 5
    """Of Nervure and the floor, in turn."""
    orders: int = 8_000
    floor_orders: int = 20_000
    sustained_s: float = 300.0
    """Without a pause; 0 leaves it out."""
    latency_s: float = 60.0
    """At each of the two rates, and as long for the floor."""
    flash_orders: int = 100_000
    catch_up_orders: int = 200_000
    catch_up_services: tuple[str, ...] = ("fulfilment_tracking", "sourcing", "inventory")
    long_run_s: float = 1_800.0
    growth_skus: int = 4_000
    """At two locations; then ten times as many, then at ten times as many locations too."""
    growth_orders: int = 8_000
    """In each run with more items or locations."""
    cold_levels: int = 5_000_000
    replica_orders: int = 8_000
    machines: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    """In the model."""


FULL = Sizes()
QUICK = Sizes(
    runs=2,
    orders=3_000,
    floor_orders=6_000,
    sustained_s=0.0,
    latency_s=8.0,
    flash_orders=2_000,
    catch_up_orders=3_000,
    catch_up_services=("fulfilment_tracking",),
    long_run_s=60.0,
    growth_skus=400,
    growth_orders=2_000,
    cold_levels=200_000,
    replica_orders=3_000,
    machines=(1, 2, 4),
)
