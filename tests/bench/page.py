"""The figures as a page people can read: what was wanted and what was reached, then each part with its plots. Made of the JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from deploy.fleet import SERVICES
from tests.bench.orders import LOCATIONS
from tests.bench.programme import FULL, Figures

SERVERS = ("kafka", "postgres")
BAR = 40
"""Columns of the longest bar."""


class Goal(NamedTuple):
    """What was wanted, in words; what was reached; and whether that was at the size that counts."""

    name: str
    wanted: str
    reached: Callable[[Figures], float]
    holds: Callable[[float], bool]
    full: Callable[[Figures], bool] = lambda _: True


def _flash_is_full(figures: Figures) -> bool:
    return bool(figures["flash"]["orders"] >= FULL.flash_orders)


def _catch_up_is_full(figures: Figures) -> bool:
    return all(one["orders"] >= FULL.catch_up_orders for one in figures["catch_up"].values())


def _width_is_full(figures: Figures) -> bool:
    return bool(figures["growth"]["levels"]["normal"] >= FULL.growth_skus * len(LOCATIONS))


def _long_run_is_full(figures: Figures) -> bool:
    return bool(figures["growth"]["minutes"] * 60 >= FULL.long_run_s)


GOALS: Sequence[Goal] = (
    Goal("orders a second, of the floor's", "0.40 or more", lambda f: f["ratio"], lambda v: v >= 0.4),
    Goal("orders a second", "1,000 or more", lambda f: f["orders_per_s"], lambda v: v >= 1000),
    Goal("the same for five minutes", "1,000 or more", lambda f: f["sustained"]["orders_per_s"], lambda v: v >= 1000),
    Goal("p50 at half the rate, of the floor's", "1.5 or less", lambda f: f["latency_ms"]["p50_ratio"], lambda v: v <= 1.5),
    Goal("p99 at half the rate, ms", "under 500", lambda f: f["latency_ms"]["p99"], lambda v: v < 500),
    Goal("p99.9 at half the rate, ms", "under 2,000", lambda f: f["latency_ms"]["p999"], lambda v: v < 2000),
    Goal("p50 at 50 orders/s, ms", "under 60", lambda f: f["latency_ms"]["at_50_per_s"]["p50"], lambda v: v < 60),
    Goal(
        "flash: units sold beyond those there were",
        "0",
        lambda f: f["flash"]["sold"] - f["flash"]["units"],
        lambda v: v == 0,
        _flash_is_full,
    ),
    Goal(
        "flash: orders without one answer", "0", lambda f: f["flash"]["orders"] - f["flash"]["answered"], lambda v: v == 0, _flash_is_full
    ),
    Goal("flash: rate, of the normal one", "0.7 or more", lambda f: f["flash"]["rate_ratio"], lambda v: v >= 0.7, _flash_is_full),
    Goal("flash: declined while stock was left", "under 0.02", lambda f: f["flash"]["declined_share"], lambda v: v < 0.02, _flash_is_full),
    Goal("catch-up rate, of the live one", "2 or more", lambda f: f["catch_up_ratio"], lambda v: v >= 2, _catch_up_is_full),
    Goal("times others were harmed meanwhile", "0", lambda f: _harmed(f["catch_up"]), lambda v: v == 0, _catch_up_is_full),
    Goal(
        "rate with 10x items, of the normal one",
        "0.8 or more",
        lambda f: f["growth"]["items_x10_ratio"],
        lambda v: v >= 0.8,
        _width_is_full,
    ),
    Goal("rate with 10x locations too", "0.8 or more", lambda f: f["growth"]["locations_x10_ratio"], lambda v: v >= 0.8, _width_is_full),
    Goal(
        "long run: rate at its end, of its start",
        "0.95 or more",
        lambda f: f["growth"]["end_to_start"],
        lambda v: v >= 0.95,
        _long_run_is_full,
    ),
    Goal(
        "long run: most MB beside the topics",
        "under 5,000",
        lambda f: f["growth"]["disk_beside_topics_mb"],
        lambda v: v < 5000,
        _long_run_is_full,
    ),
    Goal(
        "cold start, seconds",
        "under 60",
        lambda f: f["cold_start"]["seconds"],
        lambda v: v < 60,
        lambda f: f["cold_start"]["levels"] >= FULL.cold_levels,
    ),
    Goal("second replica: audits that aren't clean", "0", lambda f: int(not f["replicas"]["audit_clean"]), lambda v: v == 0),
)


def _harmed(caught: Mapping[str, Any]) -> int:
    return sum(not one["others_unharmed"] for one in caught.values())


def show(figures: Figures, page: Console | None = None) -> None:
    """Prints what there is; parts that weren't run are left out."""
    page = page or Console(highlight=False)
    sections = (_goals, _rate, _cpu, _latency, _flash, _catch_up, _growth, _bytes, _width, _cold_start, _replicas, _model)
    for section in sections:
        if (table := section(figures)) is not None:
            page.print()
            page.print(table)


def bar(value: float, most: float) -> str:
    """A bar as long as the value's share of the most."""
    return "█" * round(BAR * value / most) if most > 0 else ""


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _plot(title: str, values: Mapping[str, float], unit: str) -> Table:
    table = _table(title, "", unit)
    table.add_column("")
    for name, value in values.items():
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}", bar(value, max(values.values())))
    return table


def _goals(figures: Figures) -> Table:
    """Goals whose part wasn't run are left out."""
    table = _table("What was wanted, what was reached", "goal", "wanted", "reached", "")
    for goal in GOALS:
        try:
            value, full = goal.reached(figures), goal.full(figures)
        except (KeyError, TypeError):
            continue
        table.add_row(goal.name, goal.wanted, f"{value:,}", _verdict(goal.holds(value), full=full))
    return table


def _verdict(holds: bool, *, full: bool) -> str:
    """A goal that holds in a smaller run than it is meant for isn't reached."""
    if not holds:
        return "[red]no[/red]"
    return "[green]yes[/green]" if full else "at this size"


def _rate(figures: Figures) -> Table | None:
    if "runs" not in figures:
        return None
    runs = {f"run {n}": run["orders_per_s"] for n, run in enumerate(figures["runs"], start=1)}
    runs |= {f"floor {n}": run["floor_orders_per_s"] for n, run in enumerate(figures["runs"], start=1)}
    return _plot("Orders a second, beside the floor", runs, "orders/s")


def _cpu(figures: Figures) -> Table | None:
    """At the full rate, and where latency was measured in smaller batches."""
    if "cpu_ms_an_order" not in figures:
        return None
    latency = figures.get("latency_ms", {})
    slower = {"at half the rate": latency, "at 50/s": latency.get("at_50_per_s", {})}
    columns = {"full rate": figures["cpu_ms_an_order"]} | {name: told.get("cpu_ms_an_order", {}) for name, told in slower.items()}
    table = _table("CPU, ms an order, and memory", "process", *columns, "of its database", "peak MB")
    for name in (*SERVICES, *SERVERS, "load"):
        database = figures["cpu_ms_an_order"].get(f"postgres/{name}")
        cells = (f"{ms[name]:.2f}" if name in ms else "" for ms in columns.values())
        table.add_row(name, *cells, f"{database:.2f}" if database is not None else "", str(figures["rss_mb"].get(name, "")))
    sums = (sum(ms[name] for name in (*SERVICES, *SERVERS)) if ms else None for ms in columns.values())
    table.add_row("all but the load", *("" if ms is None else f"{ms:.2f}" for ms in sums))
    return table


def _latency(figures: Figures) -> Table | None:
    if "latency_ms" not in figures:
        return None
    table = _table("Latency from when an order was due, ms", "", "orders/s", "orders", "p50", "p99", "p99.9", "p50 to floor's")
    for told in (figures["latency_ms"], figures["latency_ms"]["at_50_per_s"]):
        rate, floor = f"{told['orders_per_s']:,.0f}", told["floor"]
        table.add_row("nervure", rate, str(told["orders"]), *(f"{told[name]:,}" for name in ("p50", "p99", "p999")), str(told["p50_ratio"]))
        table.add_row("floor", rate, str(told["orders"]), *(f"{floor[name]:,}" for name in ("p50", "p99", "p999")), "")
    return table


def _flash(figures: Figures) -> Table | None:
    return _facts("Flash sale", figures.get("flash"))


def _catch_up(figures: Figures) -> Table | None:
    if "catch_up" not in figures:
        return None
    table = _table("Catching up", "service", "orders", "orders/s", "live", "ratio", "start, s", "others unharmed")
    for name, one in figures["catch_up"].items():
        unharmed = "yes" if one["others_unharmed"] else "[red]no[/red]"
        cells = (one["orders"], one["orders_per_s"], one["live_orders_per_s"], one["ratio"], one["start_s"])
        table.add_row(name, *(f"{cell:,}" for cell in cells), unharmed)
    return table


def _growth(figures: Figures) -> Table | None:
    growth = figures.get("growth", {})
    if "rates" not in growth:
        return None
    title = f"Long run: {growth['orders']:,} orders in {growth['minutes']} minutes, all left open; {growth['disk_mb']} MB"
    return _plot(title, {f"tenth {n}": rate for n, rate in enumerate(growth["rates"], start=1)}, "orders/s")


def _bytes(figures: Figures) -> Table | None:
    growth = figures.get("growth", {})
    if "table_bytes_an_order" not in growth:
        return None
    table = _table("Bytes an order", "", "bytes")
    for name in ("topic_bytes_an_order", "table_bytes_an_order", "memory_bytes_an_open_order"):
        found = growth[name]
        for what, size in sorted(found.items(), key=lambda item: -item[1]):
            table.add_row(f"  {what}", f"{size:,.0f}")
        table.add_row(f"[bold]{name.replace('_', ' ')}[/bold]", f"[bold]{sum(found.values()):,.0f}[/bold]")
    table.add_row("of these tables, rows of the order itself", f"{growth['row_bytes_an_open_order']:,}")
    return table


def _width(figures: Figures) -> Table | None:
    growth = figures.get("growth", {})
    if "levels" not in growth:
        return None
    names = ("normal", "items_x10", "locations_x10", "normal_again")
    rates = {f"{name} ({growth['levels'].get(name, growth['levels']['locations_x10']):,} levels)": name for name in names}
    table = _plot("Wider", {label: growth[f"{name}_orders_per_s"] for label, name in rates.items()}, "orders/s")
    for name in ("topic_bytes_a_level", "table_bytes_a_level", "memory_bytes_a_level"):
        table.add_row(name.replace("_", " "), f"{sum(growth[name].values()):,.0f}", "")
    return table


def _cold_start(figures: Figures) -> Table | None:
    return _facts("Cold start of sourcing", figures.get("cold_start"))


def _replicas(figures: Figures) -> Table | None:
    return _facts("A second replica", figures.get("replicas"))


def _model(figures: Figures) -> Table | None:
    if "model" not in figures:
        return None
    model = figures["model"]
    title = (
        f"Simulated, {model['cores_a_machine']} cores each (of this one machine it says {model['simulated_to_measured']} times "
        f"what was measured)\nFirst bottleneck: {model['first_bottleneck'] or 'none up to here'}"
    )
    table = _table(title, "machines", "orders/s", "with these locations", "what is busy")
    for even, skewed in zip(model["machines"], model["machines_with_these_locations"], strict=True):
        table.add_row(str(even["machines"]), f"{even['orders_per_s']:,}", f"{skewed['orders_per_s']:,}", even["limits"])
    return table


def _facts(title: str, found: Mapping[str, Any] | None) -> Table | None:
    if found is None:
        return None
    table = _table(title, "", "")
    for name, value in found.items():
        table.add_row(
            name.replace("_", " "), f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        )
    return table
