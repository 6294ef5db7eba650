"""`nervure topics`: the topic table, made and compared with what the broker has."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass

import typer
from rich.table import Table

from deploy.commands.access import live_settings
from deploy.commands.printing import Json, page, plain, print_json
from deploy.fleet import create_topics, kafka_connection, reads_by_service
from schemas.topics import TOPICS, dead_letter_topic
from shared.kernel.kafka import KafkaTopics
from shared.settings import Settings

app = typer.Typer(help="The topic table: what is there, and making what is missing.", no_args_is_help=True)
MISSING = 1


@dataclass(frozen=True, slots=True)
class TopicLine:
    """One topic as declared, and its partitions at the broker (0: it doesn't exist)."""

    name: str
    kind: str
    owner: str
    key: str
    partitions: int
    types: tuple[str, ...]


@app.command()
def create(json: Json = False) -> None:
    """Create what is missing: every topic of the table, and a dead-letter topic for each topic a service reads."""
    made = asyncio.run(create_topics(live_settings()))
    if json:
        print_json({"created": made})
    else:
        plain("\n".join([*made, f"{len(made)} topics created."]) if made else "All topics exist already.")


@app.command("list")
def list_topics(json: Json = False) -> None:
    """List the topics with owner, key and partitions. Exit code 1 when some are missing."""
    lines = asyncio.run(topic_lines(live_settings()))
    if json:
        print_json([asdict(line) for line in lines])
    else:
        page.print(_table(lines))
    missing = [line.name for line in lines if line.partitions == 0]
    if missing:
        if not json:
            plain(f"{len(missing)} are missing; make them with `nervure topics create`.")
        raise typer.Exit(MISSING)


async def topic_lines(settings: Settings) -> list[TopicLine]:
    """The table, dead-letter topics last."""
    existing = await KafkaTopics(kafka_connection(settings)).existing()
    lines = [TopicLine(t.name, t.kind, t.owner, t.key, existing.get(t.name, 0), tuple(kind.__name__ for kind in t.types)) for t in TOPICS]
    for service, reads in reads_by_service().items():
        names = [dead_letter_topic(topic.name, service) for topic in reads]
        lines += [TopicLine(name, "dead letters", service, "as source", existing.get(name, 0), ()) for name in names]
    return lines


def _table(lines: list[TopicLine]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("topic", "kind", "written by", "key"):
        table.add_column(column)
    table.add_column("partitions", justify="right")
    for line in lines:
        table.add_row(line.name, line.kind, line.owner, line.key, str(line.partitions) if line.partitions else "[red]missing[/red]")
    return table
