"""`python -m tests.bench [--quick] [--json FILE]`: orders a second against the floor, latency at half that rate, memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from deploy.fleet import kafka_connection
from deploy.supervisor import System
from shared.settings import Settings
from tests.bench import floor, nervure, orders

RUNS, ORDERS, FLOOR_ORDERS = 5, 8_000, 20_000
QUICK_RUNS, QUICK_ORDERS, QUICK_FLOOR_ORDERS = 2, 3_000, 8_000
LATENCY_S = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="first figures within three minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="nervure-bench-"))
    home.chmod(0o711)
    try:
        with System(Settings().model_copy(update={"home": home, "log_level": "warning"})) as system:
            system.wait_ready()
            figures = asyncio.run(bench(system, quick=asked.quick))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


async def bench(system: System, *, quick: bool) -> dict[str, Any]:
    """Interleaved runs of Nervure and of the floor, then latency at half of Nervure's median rate."""
    runs, count, floor_count = (QUICK_RUNS, QUICK_ORDERS, QUICK_FLOOR_ORDERS) if quick else (RUNS, ORDERS, FLOOR_ORDERS)
    connection, postgres = kafka_connection(system.settings), system.settings.postgres
    assert isinstance(postgres, SecretStr)
    baskets = orders.baskets(min(count, 3_000), system.settings.cache)
    print(f"{len(baskets.lines)} real baskets, median {baskets.median_lines} lines, {len(baskets.skus)} items in two warehouses")
    load = nervure.Load(system, connection, baskets)
    await load.open()
    warm = await load.run(500)
    print(f"warm-up: {warm.orders_per_s:.0f} orders/s")
    ours, floors = [], []
    cpu_ms: dict[str, list[float]] = {}
    for number in range(1, runs + 1):
        before = nervure.cpu_s(system)
        run = await load.run(count)
        for name, seconds in nervure.cpu_s(system).items():
            cpu_ms.setdefault(name, []).append(1000 * (seconds - before.get(name, 0.0)) / max(1, run.instructed))
        floors.append(await floor.measure(connection, postgres.get_secret_value(), floor_count, system.settings.partitions))
        ours.append(run)
        print(
            f"run {number}: {run.orders_per_s:6.0f} orders/s ({run.instructed} of {run.sent} instructed in {run.seconds:.1f} s), "
            f"floor {floors[-1]:6.0f}, ratio {run.orders_per_s / floors[-1]:.2f}"
        )
    rate = statistics.median(run.orders_per_s for run in ours)
    steady = await load.run(int(rate / 2 * LATENCY_S), rate / 2)
    figures: dict[str, Any] = {
        "orders_per_s": round(rate, 1),
        "floor_orders_per_s": round(statistics.median(floors), 1),
        "ratio": round(statistics.median(run.orders_per_s / bare for run, bare in zip(ours, floors, strict=True)), 3),
        "latency_ms": {"at_orders_per_s": round(rate / 2, 1)} | {f"p{p}": steady.percentile_ms(p / 100) for p in (50, 99)},
        "rss_mb": load.rss_mb(),
        "cpu_ms_an_order": {name: round(statistics.median(values), 3) for name, values in cpu_ms.items()},
        "runs": [
            {"orders_per_s": round(run.orders_per_s, 1), "floor_orders_per_s": round(bare, 1)}
            for run, bare in zip(ours, floors, strict=True)
        ],
        "median_lines": baskets.median_lines,
    }
    print(f"median: {figures['orders_per_s']} orders/s, floor {figures['floor_orders_per_s']}, ratio {figures['ratio']}")
    print(f"at {rate / 2:.0f} orders/s: p50 {steady.percentile_ms(0.5)} ms, p99 {steady.percentile_ms(0.99)} ms")
    print("peak memory: " + ", ".join(f"{name} {mb} MB" for name, mb in load.rss_mb().items()))
    print("CPU an order: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in figures["cpu_ms_an_order"].items()))
    await load.close()
    return figures


if __name__ == "__main__":
    main()
