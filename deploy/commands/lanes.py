"""`nervure lanes`: the gapless sequences between the services, and closing a gap."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from deploy.commands.access import access
from deploy.commands.printing import Json, page, plain, print_json
from deploy.lanes import Lane, Reading, lanes, republish
from deploy.reconcile import LANDED_S, reconcile
from shared.kernel.ports import TopicPartition
from shared.kernel.reconcile import Reconciled

app = typer.Typer(help="The gapless sequences between the services: committed, published, read.")
FAULTY = 1


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Lanes nothing was written to, too.")] = False,
    json: Json = False,
) -> None:
    """List each lane: last committed, last published, each reader's mark and lag, gaps. Exit code 1 when a reader waits behind a gap."""
    if context.invoked_subcommand is not None:
        return
    found = asyncio.run(_read())
    shown = [lane for lane in found if everything or lane.committed]
    if json:
        print_json([asdict(lane) for lane in shown])
    else:
        page.print(_table(shown))
        _print_gaps(shown)
    if any(lane.faulty for lane in found):
        raise typer.Exit(FAULTY)


async def _read() -> list[Lane]:
    to = await access()
    return await lanes(to.settings, to.topics)


@app.command("republish")
def republish_lane(
    topic: Annotated[str, typer.Argument(help="The topic, as `nervure lanes` names it.")],
    partition: Annotated[int, typer.Argument(min=0)],
    first: Annotated[int, typer.Option("--from", min=1, help="First sequence number to send again.")],
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last one; the newest if not given.")] = None,
    json: Json = False,
) -> None:
    """Send kept messages of a lane again: a reader that missed some takes them and goes on with what waited behind the gap."""
    sent = asyncio.run(_republish(TopicPartition(topic, partition), first, last))
    if json:
        print_json({"topic": topic, "partition": partition, "from": sent[0], "to": sent[1]})
    else:
        plain(f"Sent {sent[0]} to {sent[1]} of {topic}, partition {partition}, again. `nervure lanes` shows the readers going on.")


@app.command("reconcile")
def reconcile_database(
    service: Annotated[str, typer.Argument(help="The service that refuses to run; all its replicas are stopped.")],
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what its database lacks; change nothing.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until what was sent last has arrived.")] = LANDED_S,
    json: Json = False,
) -> None:
    """Repair a database that was restored to an older state: its service's journal does again what it lacks."""
    done = asyncio.run(_reconcile(service, dry, wait))
    if json:
        print_json(asdict(done))
        return
    lacks = f"{done.commits} commits: {done.inputs} inputs read, {done.rows} rows written, {done.messages} messages"
    if not done.commits:
        plain(f"{done.service}: its database has everything its journal has.")
    elif dry:
        plain(f"{done.service}: its database lacks {lacks}. Without --dry-run they are done again.")
    else:
        plain(f"{done.service}: did {lacks} again. Its database is where its topics are: start it, then `nervure audit`.")


async def _reconcile(service: str, dry: bool, wait: float) -> Reconciled:
    to = await access()
    return await reconcile(to.settings, to.topics, service, dry=dry, landed_s=wait)


async def _republish(at: TopicPartition, first: int, last: int | None) -> tuple[int, int]:
    to = await access()
    return await republish(to.settings, to.connection, at, first, last)


def _table(found: list[Lane]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("topic", no_wrap=True)
    table.add_column("partition", justify="right")
    table.add_column("written by", no_wrap=True)
    table.add_column("committed", justify="right")
    table.add_column("published", justify="right")
    table.add_column("read by")
    for lane in found:
        published = f"{lane.published}" if not lane.unpublished else f"[yellow]{lane.published}[/yellow]"
        readers = ", ".join(map(_reader, lane.readers)) or "[dim]outside only[/dim]"
        table.add_row(lane.topic, str(lane.partition), lane.writer, str(lane.committed), published, readers)
    return table


def _reader(reading: Reading) -> str:
    if reading.spooled:
        return f"[red]{reading.service} {reading.mark}, {reading.spooled} behind a gap[/red]"
    return f"{reading.service} {reading.mark}" + (f" [yellow]({reading.lag} behind)[/yellow]" if reading.lag else "")


def _print_gaps(found: list[Lane]) -> None:
    for lane in found:
        for reader in lane.readers:
            if reader.missing:
                first, last = reader.missing
                plain(f"{reader.service} misses {first} to {last} of {lane.topic}, partition {lane.partition}. Send them again:")
                plain(f"  nervure lanes republish {lane.topic} {lane.partition} --from {first} --to {last}")
