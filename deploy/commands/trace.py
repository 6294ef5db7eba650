"""`nervure trace ORDER`: the story of an order, told by the topics."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from deploy.commands.access import access
from deploy.commands.printing import Json, page, print_json
from deploy.commands.status import instant, said
from deploy.orders import NoSuchOrder, newest_status
from deploy.story import promise
from deploy.tracing import Chapter, story_of
from schemas.status import OrderStatus
from schemas.types import is_order_id


def trace(
    order: Annotated[str, typer.Argument(help="The order, `<channel>:<reference>`, or the reference alone.")],
    json: Json = False,
) -> None:
    """Tell what happened to an order, across all services: every message, what caused it, and why sourcing decided as it did.

    Exit code 1: no topic knows the order.
    """
    order, found, chapters = asyncio.run(_read(order))
    if json:
        print_json({"order": order, "status": found.status if found else None, "story": [as_json(chapter) for chapter in chapters]})
    else:
        print_story(order, found, chapters)


async def _read(order: str) -> tuple[str, OrderStatus | None, list[Chapter]]:
    topics = (await access()).topics
    try:
        found: OrderStatus | None = await newest_status(topics, order)
    except NoSuchOrder:
        if not is_order_id(order):
            raise
        found = None
    order = found.order_id if found else order
    chapters = await story_of(topics, order)
    if not chapters:
        raise NoSuchOrder(order=order)
    return order, found, chapters


def print_story(order: str, status: OrderStatus | None, chapters: list[Chapter]) -> None:
    """The story as a page for people."""
    page.print(f"[bold]{escape(order)}[/bold]" + (f"  [bold]{said(status.status)}[/bold]" if status else ""))
    if status:
        _print_summary(status)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    day = ""
    for chapter in chapters:
        if f"{chapter.at:%A %d %B %Y}" != day:
            day = f"{chapter.at:%A %d %B %Y}"
            table.add_row("", "", "", f"[dim]{day}, UTC[/dim]")
        _add(table, chapter)
    page.print(table)


def _print_summary(status: OrderStatus) -> None:
    if status.promise:
        page.print(f"Promise: {promise(status.promise)}")
    for waiting in status.waiting:
        page.print(f"[yellow]Waits[/yellow] for {escape(said(waiting.reason))} until {instant(waiting.until) or 'a person acts'}")


def _add(table: Table, chapter: Chapter) -> None:
    because = f" [dim]<- {chapter.cause}[/dim]" if chapter.cause else f" [dim]({escape(chapter.why)})[/dim]" if chapter.why else ""
    table.add_row(
        str(chapter.number), f"{chapter.at:%H:%M:%S.%f}"[:-3], f"[bold]{escape(said(chapter.who))}[/bold]", escape(chapter.says) + because
    )
    for line in chapter.details:
        table.add_row("", "", "", f"  [dim]{escape(line)}[/dim]")


def as_json(chapter: Chapter) -> dict[str, Any]:
    """One message of the story, for machines."""
    record, envelope = chapter.record, chapter.envelope
    return {
        "number": chapter.number,
        "cause": chapter.cause or None,
        "at": chapter.at,
        "who": chapter.who,
        "type": envelope.type if envelope else None,
        "says": chapter.says,
        "why": chapter.why,
        "details": chapter.details,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "id": envelope.id if envelope else None,
        "causationid": chapter.causation or None,
        "data": chapter.body.model_dump(mode="json", exclude_none=True) if chapter.body else None,
    }
