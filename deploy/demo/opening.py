"""Before the first order: reference data and opening stock are published, and every service has read them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from deploy.demo.books import Books
from deploy.demo.progress import say
from deploy.demo.wire import Sender
from deploy.demo.world import World
from deploy.errors import Explained
from deploy.health import ask
from schemas import topics
from schemas.stock import CountedLine, StockCounted
from shared.kernel.kafka import Connection, KafkaTopics
from shared.kernel.ports import TopicPartition

LINES_A_COUNT = 400
BOOK_WAIT_S = 180.0
VIEW_WAIT_S = 60.0
POLL_S = 0.25
SOURCE = "/demo/opening"
VIEW_POSITION = re.compile(r'^nervure_view_position\{service="[^"]*",topic="([^"]+)",partition="(\d+)"\} (\d+)', re.MULTILINE)


class StockNotBooked(Explained):
    """After {seconds} s inventory has booked {booked} of {all} opening levels. See its log in {logs}; on a slow machine take fewer
    orders."""


class ViewsBehind(Explained):
    """After {seconds} s the services have not read all reference data: {behind}. See their logs in {logs}."""


async def publish(sender: Sender, world: World, run: str) -> None:
    """Rules and places first, then items, then counts in chunks. Returns when all of it is in the topics."""
    for body in (*world.rules, *world.locations, *world.items):
        topic = next(topic for topic in topics.TOPICS if type(body) in topic.types)
        sender.send(topic, body, source=SOURCE, id=f"{type(body).__name__}:{topic.key_of(body)}:{run or 1}")
    for count in counts(world, datetime.now(UTC), run):
        sender.send(topics.STOCK_REPORTS, count, source=SOURCE, id=count.count_id)
    await sender.flush()


def counts(world: World, at: datetime, run: str) -> Iterator[StockCounted]:
    """Each location's opening stock. On a system that has run before (`run`) the first count of each brings all the rest to zero."""
    by_location: dict[str, list[CountedLine]] = {each.location: [] for each in world.locations} if run else {}
    for spot, units in sorted(world.counted.items()):
        by_location.setdefault(spot.location, []).append(CountedLine(sku=spot.sku, quantity=units))
    for location, lines in by_location.items():
        for number, start in enumerate(range(0, len(lines) or 1, LINES_A_COUNT)):
            yield StockCounted(
                location=location,
                count_id=f"opening:{location}:{run or 1}:{number}",
                as_of=at + timedelta(milliseconds=number),
                scope="full" if run and number == 0 else "listed",
                lines=tuple(lines[start : start + LINES_A_COUNT]),
            )


async def booked(books: Books, levels: int, logs: object) -> None:
    """Return when every counted level is published with its units. Raises StockNotBooked."""
    clock = asyncio.get_running_loop().time
    deadline, tenth = clock() + BOOK_WAIT_S, 0
    while books.missing:
        if clock() > deadline:
            raise StockNotBooked(seconds=round(BOOK_WAIT_S), booked=levels - books.missing, all=levels, logs=logs)
        await asyncio.sleep(POLL_S)
        if 10 * (levels - books.missing) // levels > tenth:
            tenth = 10 * (levels - books.missing) // levels
            say(f"  levels booked: {levels - books.missing:,} of {levels:,}")


async def views_ready(connection: Connection, health_ports: Mapping[str, int], logs: object) -> None:
    """Return when every service has read its views as far as they go now. Raises ViewsBehind."""
    positions = {name: await asyncio.to_thread(_positions, port) for name, port in health_ports.items()}
    ends = await KafkaTopics(connection).ends(sorted({at for read in positions.values() for at in read}))
    deadline = asyncio.get_running_loop().time() + VIEW_WAIT_S
    while behind := [name for name, read in positions.items() if any(offset < ends[at] for at, offset in read.items())]:
        if asyncio.get_running_loop().time() > deadline:
            raise ViewsBehind(seconds=round(VIEW_WAIT_S), behind=", ".join(behind), logs=logs)
        await asyncio.sleep(POLL_S)
        positions |= {name: await asyncio.to_thread(_positions, health_ports[name]) for name in behind}


def _positions(port: int) -> dict[TopicPartition, int]:
    """How far a service has read its views, by its health page; empty where it doesn't answer."""
    _, text = ask(port, "/metrics")
    return {TopicPartition(topic, int(number)): int(offset) for topic, number, offset in VIEW_POSITION.findall(text)}
