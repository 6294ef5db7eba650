"""`nervure status ORDER`: where an order stands."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from deploy.commands.access import access
from deploy.commands.printing import Json, page
from deploy.orders import newest_status
from schemas.status import LineStatus, OrderStatus, ParcelStatus, Waiting

QUANTITIES = (
    ("ordered", "ordered"),
    ("cancelled", "cancelled"),
    ("unfillable", "unfillable"),
    ("backordered", "backorder"),
    ("reserved", "reserved"),
    ("released", "released"),
    ("picked", "picked"),
    ("shipped", "shipped"),
    ("ready", "ready"),
    ("handed_over", "handed over"),
    ("received_back", "back"),
    ("written_off", "written off"),
    ("credited", "credited"),
)
"""Quantities of a line and their headings; columns without any unit are left out."""


def status(
    order: Annotated[str, typer.Argument(help="The order, `<channel>:<reference>`, or the reference alone.")],
    json: Json = False,
) -> None:
    """Show the unified status of an order: lines, promise, parcels, exceptions, what it waits for. Exit code 1: no such order."""
    found = asyncio.run(_newest(order))
    if json:
        print(found.model_dump_json(indent=2))
    else:
        print_page(found)


async def _newest(order: str) -> OrderStatus:
    return await newest_status((await access()).topics, order)


def print_page(status: OrderStatus) -> None:
    """The document as a page for people."""
    page.print(f"[bold]{escape(status.order_id)}[/bold]  [bold]{said(status.status)}[/bold]")
    placed = f"placed {instant(status.placed_at)}, " if status.placed_at else ""
    page.print(f"{placed}channel {escape(status.channel)}, revision {status.revision}, document version {status.version}")
    if status.promise:
        page.print(f"Promise: {status.promise.kind} by {status.promise.day:%A %d %B %Y} ({status.promise.zone})")
    if status.holds:
        page.print(f"Held by: {escape(', '.join(status.holds))}")
    for waiting in status.waiting:
        page.print(f"[yellow]Waits[/yellow] for {_waits(waiting)}")
    for trouble in status.exceptions:
        page.print(f"[red]Exception[/red] {escape(said(trouble.kind))}: {escape(trouble.detail)} [bold]{escape(trouble.action)}[/bold]")
    if status.lines:
        page.print(_lines(status.lines))
    if status.fulfilment_orders:
        page.print(_fulfilment_orders(status))
    if status.parcels:
        page.print(_parcels(status.parcels))
    page.print(_timeline(status))


def said(code: str) -> str:
    """A code as words."""
    return code.replace("_", " ")


def instant(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else ""


def _waits(waiting: Waiting) -> str:
    until = f"until {instant(waiting.until)}" if waiting.until else "a person"
    return f"{escape(said(waiting.reason))}, {until}"


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _lines(lines: tuple[LineStatus, ...]) -> Table:
    shown = [(field, heading) for field, heading in QUANTITIES if any(getattr(line, field) for line in lines)]
    table = _table("line", "item", "status", title="\nLines")
    for _, heading in shown:
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(line.line_id, line.sku, said(line.status), *(str(getattr(line, field) or "") for field, _ in shown))
    return table


def _fulfilment_orders(status: OrderStatus) -> Table:
    table = _table("fulfilment order", "location", "method", "status", "released", "ship by", title="\nFulfilment")
    for each in status.fulfilment_orders:
        times = instant(each.release_at), instant(each.ship_by)
        table.add_row(each.fulfilment_order_id, each.location, said(each.method), said(each.status), *times)
    return table


def _parcels(parcels: tuple[ParcelStatus, ...]) -> Table:
    table = _table("parcel", "of", "carrier", "tracking number", "status", "contents", title="\nParcels")
    for each in parcels:
        contents = ", ".join(f"{line.quantity} x {line.line_id}" for line in each.lines)
        names = each.parcel_id, each.fulfilment_order_id, each.carrier or "", each.tracking_number or ""
        table.add_row(*names, said(each.status), contents)
    return table


def _timeline(status: OrderStatus) -> Table:
    table = _table("at", "what", "", title="\nTimeline")
    for entry in status.timeline:
        table.add_row(instant(entry.at), said(entry.what), escape(entry.detail))
    return table
