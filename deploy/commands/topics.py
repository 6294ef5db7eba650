"""`nervure topics`: the topic table, made and compared with what the broker has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import typer
from rich.table import Table

from deploy.commands.access import live_settings
from deploy.commands.printing import Json, page, plain, print_json
from deploy.fleet import create_topics, kafka_connection, reads_by_service
from schemas.topics import DAY_MS, DEAD_LETTERS, JOURNALS, KEEP_FOR_EVER, TOPICS, Topic, dead_letter_topic
from shared.kernel.journal import journal_topic
from shared.kernel.kafka import KafkaTopics
from shared.settings import Settings

app = typer.Typer(help="The topic table: what is there, and making what is missing.", no_args_is_help=True)
UNFIT = 1


@dataclass(frozen=True, slots=True)
class Declared:
    """One topic as the table says it shall be."""

    name: str
    kind: str
    owner: str
    key: str
    types: tuple[str, ...]
    configuration: Mapping[str, str]
    partitions: int | None
    """None where it is chosen when the topic is created."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A setting that the broker holds otherwise than the table."""

    setting: str
    declared: str
    found: str


@dataclass(frozen=True, slots=True)
class TopicLine:
    """One topic as declared, and what the broker says of it."""

    name: str
    kind: str
    owner: str
    key: str
    partitions: int
    """0: it doesn't exist."""
    cleanup: str
    """compact: the newest record of each key is kept; delete: records are kept for `retention_ms`."""
    retention_ms: int | None
    """-1: for ever; None where it is compacted."""
    types: tuple[str, ...]
    deviations: tuple[Deviation, ...] = ()


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
    """List the topics with owner, key, partitions and retention. Exit code 1 when some are missing or not as declared."""
    lines = asyncio.run(topic_lines(live_settings()))
    if json:
        print_json([asdict(line) for line in lines])
    else:
        page.print(_table(lines))
        plain("\n".join(_findings(lines)))
    if any(line.partitions == 0 or line.deviations for line in lines):
        raise typer.Exit(UNFIT)


async def topic_lines(settings: Settings) -> list[TopicLine]:
    """The table beside the broker, dead-letter topics last."""
    topics = KafkaTopics(kafka_connection(settings))
    existing = await topics.existing()
    wanted = list(declared(journals=settings.journal == "on"))
    found = await topics.configurations([topic.name for topic in wanted if topic.name in existing])
    return [_line(topic, existing.get(topic.name, 0), found.get(topic.name, {})) for topic in wanted]


def declared(*, journals: bool = False) -> Iterator[Declared]:
    """Every topic there shall be."""
    yield from map(_declared, TOPICS)
    for service, reads in reads_by_service().items():
        for topic in reads:
            yield Declared(dead_letter_topic(topic.name, service), "dead letters", service, "as source", (), DEAD_LETTERS, 1)
        if journals:
            yield Declared(journal_topic(service), "journal", service, "none", (), JOURNALS, 1)


def _declared(topic: Topic) -> Declared:
    types = tuple(kind.__name__ for kind in topic.types)
    return Declared(topic.name, topic.kind, topic.owner, topic.key, types, topic.configuration, 1 if topic.one_partition else None)


def _line(topic: Declared, partitions: int, found: Mapping[str, str]) -> TopicLine:
    retention = topic.configuration.get("retention.ms")
    return TopicLine(
        name=topic.name,
        kind=topic.kind,
        owner=topic.owner,
        key=topic.key,
        partitions=partitions,
        cleanup=topic.configuration["cleanup.policy"],
        retention_ms=int(retention) if retention is not None else None,
        types=topic.types,
        deviations=tuple(deviations(topic, partitions, found)) if partitions else (),
    )


def deviations(topic: Declared, partitions: int, found: Mapping[str, str]) -> Iterator[Deviation]:
    """What of an existing topic isn't as declared; settings the table doesn't name may be anything."""
    if topic.partitions is not None and partitions != topic.partitions:
        yield Deviation("partitions", str(topic.partitions), str(partitions))
    for setting, value in topic.configuration.items():
        if found.get(setting) != value:
            yield Deviation(setting, value, found.get(setting, "unknown"))


def _findings(lines: list[TopicLine]) -> Iterator[str]:
    missing = sum(line.partitions == 0 for line in lines)
    if missing:
        yield f"{missing} are missing; make them with `nervure topics create`."
    for line in lines:
        for found in line.deviations:
            yield f"{line.name}: {found.setting} is {found.found}, declared {found.declared}; {_remedy(found)}"


def _remedy(found: Deviation) -> str:
    if found.setting == "partitions":
        return "partitions never change in place: make the topic anew while nothing is in it."
    return f"set it with `kafka-configs --alter --add-config {found.setting}={found.declared}`."


def _table(lines: list[TopicLine]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("topic", "kind", "written by", "key"):
        table.add_column(column)
    table.add_column("partitions", justify="right")
    table.add_column("keeps")
    for line in lines:
        partitions = str(line.partitions) if line.partitions else "[red]missing[/red]"
        table.add_row(line.name, line.kind, line.owner, line.key, partitions, _keeps(line))
    return table


def _keeps(line: TopicLine) -> str:
    if line.retention_ms is None:
        return "newest of a key"
    return "for ever" if line.retention_ms == KEEP_FOR_EVER else f"{line.retention_ms // DAY_MS} days"
