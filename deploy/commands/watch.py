"""`nervure watch`: the running system, live."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.commands.access import Access, access
from deploy.commands.printing import Json, is_terminal, page, print_json, print_json_line
from deploy.commands.status import said
from deploy.health import metrics
from deploy.orders import status_of
from deploy.reading import partitions_in
from deploy.supervisor import NotUp, Replica, fleet
from schemas.topics import ORDER_STATUS
from shared.kernel.codec import state_version
from shared.kernel.ports import Follower, TopicPartition

REFRESH_S = 1.0
STORED = ("dead_letters", "quarantined", "spooled", "kept", "timers")
"""What every replica of a service tells alike, since it is in their database."""


@dataclass(slots=True)
class Orders:
    """The newest status of every order."""

    by_id: dict[str, tuple[tuple[int, int], str]] = field(default_factory=dict)

    def note(self, key: str, version: tuple[int, int], status: str) -> None:
        known = self.by_id.get(key)
        if known is None or version >= known[0]:
            self.by_id[key] = version, status

    def counts(self) -> Counter[str]:
        return Counter(status for _, status in self.by_id.values())


@dataclass(frozen=True, slots=True)
class Figures:
    """One replica at one moment."""

    replica: Replica
    metrics: Mapping[str, float]
    at_s: float

    def rate(self, name: str, before: Figures | None) -> float | None:
        """Change a second since `before`; None where one of the two is missing, or the process is another one."""
        if before is None or name not in self.metrics or name not in before.metrics or self.replica.pid != before.replica.pid:
            return None
        return (self.metrics[name] - before.metrics[name]) / max(0.001, self.at_s - before.at_s)


def watch(
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="End after so many seconds.")] = None,
    json: Json = False,
) -> None:
    """Show orders by status, each service's lag, work and outbox, and dead letters; refreshed every second until Ctrl-C.

    With --json one object a line. Exit code 3 when no services run here.
    """
    asyncio.run(_watch(once, seconds, json))


async def _watch(once: bool, seconds: float | None, json: bool) -> None:
    to = await access()
    fleet(to.settings.home)
    at = partitions_in(await to.topics.existing(), [ORDER_STATUS])
    ends = await to.topics.ends(at)
    follower = to.topics.follow(at)
    await follower.start()
    try:
        orders = Orders()
        await _catch_up(follower, ends, orders)
        if once or not (json or is_terminal()):
            before = figures(to)
            await asyncio.sleep(REFRESH_S)
            _print_once(orders, before, figures(to), json)
        else:
            await _live(to, follower, orders, seconds, json)
    finally:
        await follower.stop()


async def _catch_up(follower: Follower, ends: Mapping[TopicPartition, int], orders: Orders) -> None:
    while any(follower.position(one) < end for one, end in ends.items()):
        await _read(follower, orders, 0.5)


async def _read(follower: Follower, orders: Orders, wait_s: float) -> None:
    for record in await follower.fetch(wait_s):
        status = status_of(record)
        orders.note((record.key or b"").decode(errors="replace"), state_version(record), status.status if status else "unreadable")


async def _live(to: Access, follower: Follower, orders: Orders, seconds: float | None, json: bool) -> None:
    began, before = time.monotonic(), figures(to)
    with Live(console=page, auto_refresh=False, screen=False) as live:
        while seconds is None or time.monotonic() - began < seconds:
            due = time.monotonic() + REFRESH_S
            while (left := due - time.monotonic()) > 0:
                await _read(follower, orders, left)
            now = figures(to)
            if json:
                print_json_line(as_json(orders, before, now))
            else:
                live.update(_view(orders, before, now), refresh=True)
            before = now


def figures(to: Access) -> dict[str, Figures]:
    """Every replica of the home, by name; empty where the services ended meanwhile."""
    try:
        replicas = fleet(to.settings.home).replicas
    except NotUp:
        return {}
    return {each.name: Figures(each, metrics(each.health_port) if each.pid else {}, time.monotonic()) for each in replicas}


def as_json(orders: Orders, before: Mapping[str, Figures], now: Mapping[str, Figures]) -> dict[str, Any]:
    """The view for machines; rates are by second."""
    return {
        "at": datetime.now(UTC),
        "orders": dict(orders.counts()),
        "replicas": [
            {
                "replica": name,
                "state": each.replica.state,
                "pid": each.replica.pid,
                "inputs_a_second": each.rate("inputs_total", before.get(name)),
                "batches_a_second": each.rate("batches_total", before.get(name)),
                **each.metrics,
            }
            for name, each in now.items()
        ],
    }


def _print_once(orders: Orders, before: Mapping[str, Figures], now: Mapping[str, Figures], json: bool) -> None:
    if json:
        print_json(as_json(orders, before, now))
    else:
        page.print(_view(orders, before, now))


def _view(orders: Orders, before: Mapping[str, Figures], now: Mapping[str, Figures]) -> Group:
    return Group(_orders(orders), Text(), _services(before, now), Text(), _stored(now))


def _orders(orders: Orders) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title=f"{len(orders.by_id)} orders", title_justify="left")
    counts = orders.counts()
    for status in sorted(counts):
        table.add_column(said(status), justify="right")
    if counts:
        table.add_row(*(f"{counts[status]:,}" for status in sorted(counts)))
    return table


def _services(before: Mapping[str, Figures], now: Mapping[str, Figures]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("service", no_wrap=True)
    table.add_column("state")
    for column in ("lag", "inputs/s", "batches/s", "ms a batch", "outbox", "restarts", "MB at most"):
        table.add_column(column, justify="right")
    for name, each in now.items():
        table.add_row(name, _state(each.replica), *_work(each, before.get(name)))
    return table


def _state(replica: Replica) -> str:
    return replica.state if replica.state == "running" else f"[red]{replica.state}[/red]"


def _work(each: Figures, before: Figures | None) -> tuple[str, ...]:
    found = each.metrics
    if not found:
        return "", "", "", "", "", str(each.replica.restarts), ""
    inputs, batches, busy = (each.rate(name, before) for name in ("inputs_total", "batches_total", "batch_seconds_total"))
    return (
        f"{found['lag_records']:,.0f}",
        _number(inputs),
        _number(batches),
        f"{busy / batches * 1000:.1f}" if busy and batches else "",
        f"{found['outbox_unsent'] + found['documents_unsent']:,.0f}",
        str(each.replica.restarts),
        f"{found['resident_bytes_peak'] / 1e6:,.0f}",
    )


def _number(rate: float | None) -> str:
    return f"{rate:,.0f}" if rate is not None else ""


def _stored(now: Mapping[str, Figures]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stored by", no_wrap=True)
    for name in STORED:
        table.add_column(said(name), justify="right")
    for service, found in {each.replica.service: each.metrics for each in now.values() if each.metrics}.items():
        counts = [int(found.get(f"stored_{name}", 0)) for name in STORED]
        table.add_row(
            service, *(_alarming(count) if name in STORED[:3] else f"{count:,}" for name, count in zip(STORED, counts, strict=True))
        )
    return table


def _alarming(count: int) -> str:
    return f"[red]{count:,}[/red]" if count else "0"
