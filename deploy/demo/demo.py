"""The main job on real input: a system of its own, real baskets as orders, actors around it, a report at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from deploy.demo.actors.carrier import Carrier
from deploy.demo.actors.channel import Channel
from deploy.demo.actors.fraud_check import FraudCheck
from deploy.demo.actors.locations import Locations
from deploy.demo.actors.payments import PaymentProvider
from deploy.demo.actors.product_data import ProductData
from deploy.demo.actors.returns_desk import ReturnsDesk
from deploy.demo.actors.supplier import Supplier
from deploy.demo.actors.till import Till
from deploy.demo.books import Books, Difference
from deploy.demo.desk import Actor, Agenda, Desk, serve
from deploy.demo.dice import Dice
from deploy.demo.opening import booked, publish, views_ready
from deploy.demo.progress import Progress, say
from deploy.demo.promises import Oversold
from deploy.demo.shelves import Shelves
from deploy.demo.tally import READS, Story, Tally
from deploy.demo.wire import Positions, Sender, hear
from deploy.demo.world import CARRIER, WAREHOUSES, World
from deploy.fleet import kafka_connection
from deploy.supervisor import System
from schemas.topics import TOPICS
from shared.kernel.kafka import Connection, KafkaTopics
from shared.kernel.ports import TopicPartition

ORDERS_A_SECOND = 25.0
"""How fast the channel places them."""
MOST_UNDER_WAY, LOOK_EVERY = 120, 10
"""When more orders than that wait for their instruction the channel holds back; it looks at every tenth order."""
PATIENCE_S = 150.0
"""How long after the last order everything may take to end."""
QUIET_S = 2.0
"""Nothing was heard for so long: nothing is under way."""
BOOKS_WAIT_S = 6.0
"""How long the books may take to follow the shelves."""
POLL_S = 0.25
DEAD_LETTERS = ".dlq."


@dataclass(frozen=True, slots=True)
class Result:
    """One run, as far as its own report goes."""

    world: World
    tally: Tally
    channel: Channel
    held_back_s: float
    """How long the channel waited for a busy machine."""
    patience_ended: bool
    """True when the run was ended although orders were under way."""
    dead_letters: int
    walk_in_units: int
    differing: tuple[Difference, ...]
    """Levels whose books differ from the shelves, apart from losses nobody has noticed yet."""
    unnoticed: int
    """Levels with such losses."""
    oversold: tuple[Oversold, ...]
    """Spots that sold units which never existed."""

    @property
    def stuck(self) -> tuple[Story, ...]:
        """Orders that have neither ended nor wait with a reason and a deadline."""
        stories = self.tally.stories.values()
        return tuple(s for s in stories if not (s.ended or s.waits_with_deadline or s.order_id in self.channel.given_up))


async def run(system: System, world: World, dice: Dice) -> Result:
    """Open the shop on a system that is ready, let every order come to its end. Raises what the actors raise."""
    connection = kafka_connection(system.settings)
    start = await ends(connection)
    books = Books(world.counted)
    async with Sender(connection) as sender, asyncio.TaskGroup() as group:
        following = group.create_task(books.follow(connection, start), name="books")
        await _open(system, connection, sender, world, dice, books)
        result = await _live(connection, sender, world, dice, books)
        following.cancel()
    return result


async def _open(system: System, connection: Connection, sender: Sender, world: World, dice: Dice, books: Books) -> None:
    logs = system.settings.home / "logs"
    say(f"Opening: {len(world.locations)} locations, {len(world.items):,} items, {len(world.counted):,} inventory levels.")
    await publish(sender, world, dice.run)
    await booked(books, len(world.counted), logs)
    await views_ready(connection, {each.name: each.health_port for each in system.replicas()}, logs)


async def ends(connection: Connection) -> Positions:
    """Where every topic ends now: what comes later is ours."""
    existing = await KafkaTopics(connection).existing()
    names = [topic.name for topic in TOPICS] + [name for name in existing if DEAD_LETTERS in name]
    at = [TopicPartition(name, number) for name in names for number in range(existing.get(name, 0))]
    return await KafkaTopics(connection).ends(at)


@dataclass(slots=True)
class _Scene:
    """Everybody on stage."""

    channel: Channel
    till: Till
    actors: Sequence[Actor]
    shelves: Shelves


def _scene(sender: Sender, agenda: Agenda, world: World, dice: Dice) -> _Scene:
    def desk(name: str) -> Desk:
        return Desk(f"/demo/{name}", sender, agenda, dice)

    shelves = Shelves(world.really)
    first, second, *_ = WAREHOUSES
    channel = Channel(desk("channel"), world.purchases, world.products)
    till = Till(desk("till"), shelves, world.products)
    actors = (
        channel,
        till,
        PaymentProvider(desk("payments")),
        Locations(desk("locations"), shelves, CARRIER, {location.location for location in world.locations}),
        Carrier(desk("carrier")),
        ReturnsDesk(desk("returns"), shelves, second),
        Supplier(desk("supplier"), shelves, first),
        ProductData(desk("product-data"), world.late_items),
        FraudCheck(desk("fraud")),
    )
    return _Scene(channel, till, actors, shelves)


async def _live(connection: Connection, sender: Sender, world: World, dice: Dice, books: Books) -> Result:
    """Place the orders and wait for their ends, while everybody works."""
    agenda, tally = Agenda(), Tally(purchase.order_id for purchase in world.purchases)
    scene = _scene(sender, agenda, world, dice)
    progress = Progress(tally, len(world.purchases))
    start = await ends(connection)
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(agenda.run(), name="agenda"),
            group.create_task(_follow(connection, tally, progress, start), name="tally"),
            group.create_task(progress.show(), name="progress"),
            *(group.create_task(serve(actor, connection, start), name=type(actor).__name__) for actor in scene.actors if actor.reads),
        ]
        await _place(scene, world, agenda, tally, progress)
        ended = await _settle(scene, tally, agenda, sender, progress)
        for task in background:
            task.cancel()
    say("  " + progress.line())
    differing, unnoticed = await _compared(books, scene.shelves, world)
    return Result(
        world=world,
        tally=tally,
        channel=scene.channel,
        held_back_s=progress.held_back_s,
        patience_ended=not ended,
        dead_letters=_more(start, await ends(connection)),
        walk_in_units=scene.till.sold,
        differing=differing,
        unnoticed=unnoticed,
        oversold=tally.promises.oversold(scene.shelves, world.lost),
    )


async def _compared(books: Books, shelves: Shelves, world: World) -> tuple[tuple[Difference, ...], int]:
    """See Books.compare. The last thing done may have been a count, of which only the books tell: they have some time to follow."""
    for _ in range(round(BOOKS_WAIT_S / POLL_S)):
        differing, unnoticed = books.compare(shelves, world.lost)
        if not differing:
            return differing, unnoticed
        await asyncio.sleep(POLL_S)
    return books.compare(shelves, world.lost)


async def _follow(connection: Connection, tally: Tally, progress: Progress, start: Positions) -> None:
    async for batch in hear(connection, READS, start):
        for heard in batch:
            tally.hear(heard)
        progress.heard_at = time.monotonic()
        await asyncio.sleep(0)


async def _place(scene: _Scene, world: World, agenda: Agenda, tally: Tally, progress: Progress) -> None:
    """Orders at a steady rate, walk-ins spread over the same time. On a busy machine the channel waits for it now and then."""
    lasts_s = len(world.purchases) / ORDERS_A_SECOND
    for number, basket in enumerate(world.walk_ins):
        agenda.later(lasts_s * (number + 0.5) / len(world.walk_ins), partial(scene.till.sell, basket))
    clock = asyncio.get_running_loop().time
    began = clock()
    for number, purchase in enumerate(world.purchases):
        early_s = began + progress.held_back_s + number / ORDERS_A_SECOND - clock()
        if early_s > 0:
            await asyncio.sleep(early_s)
        if number % LOOK_EVERY == 0:
            progress.held_back_s += await _room(tally)
        scene.channel.place(purchase)
        progress.placed += 1


async def _room(tally: Tally) -> float:
    """Wait until not too many orders are under way, at most the patience; returns for how long, in seconds."""
    for looks in range(round(PATIENCE_S / POLL_S)):
        if tally.count("under_way") <= MOST_UNDER_WAY:
            return looks * POLL_S
        await asyncio.sleep(POLL_S)
    return PATIENCE_S


async def _settle(scene: _Scene, tally: Tally, agenda: Agenda, sender: Sender, progress: Progress) -> bool:
    """Wait until all has ended, or waits for something later than our patience; False when patience ended first."""
    until = datetime.now(UTC) + timedelta(seconds=PATIENCE_S)
    while datetime.now(UTC) < until:
        await asyncio.sleep(POLL_S)
        sender.raise_failure()
        left = [story for story in tally.stories.values() if not story.ended and story.order_id not in scene.channel.given_up]
        progress.note = f"{len(left)} orders and {agenda.open} things to do are left"
        quiet = agenda.open == 0 and time.monotonic() - progress.heard_at > QUIET_S
        if quiet and all(_waits_beyond(story, until) for story in left):
            return True
    return False


def _waits_beyond(story: Story, until: datetime) -> bool:
    """Whether an order waits, and for nothing that could happen before."""
    return story.waits_with_deadline and story.status is not None and all(w.until and w.until > until for w in story.status.waiting)


def _more(before: Positions, after: Positions) -> int:
    """Records that came to the dead-letter topics."""
    return sum(end - before.get(at, 0) for at, end in after.items() if DEAD_LETTERS in at.topic)
