"""The internal lanes as they are: committed by their writer, in their topic, read by their readers; and sending some of one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import Explained
from deploy.fleet import SERVICES, load_service
from deploy.reading import NoDatabase, database
from schemas.topics import BY_NAME, TOPICS, Topic
from shared.kernel.codec import MAX_INCARNATION, number_of
from shared.kernel.kafka import Connection, KafkaTopics, KafkaWriter
from shared.kernel.ports import LaneId, Record, TopicPartition
from shared.kernel.republish import republish as send_again
from shared.kernel.sql import queries
from shared.settings import Settings

Q = queries(Path(__file__).with_name("queries.sql"))
TAIL_RECORDS = 20


class NoLane(Explained):
    """{topic} partition {partition} is no lane of Nervure. `nervure lanes` lists them."""


class NotKept(Explained):
    """{asked} can't be sent again: the database keeps {kept}. What is gone from the outbox is gone from here; if a reader misses it, its
    state has to be mended by hand and its gap closed by someone who knows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How far one service has read a lane; `spooled` records wait behind what is `missing`, from and to."""

    service: str
    mark: int
    lag: int
    spooled: int = 0
    missing: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """One writer's sequence into one partition."""

    topic: str
    partition: int
    writer: str
    incarnation: int
    committed: int
    published: int
    kept_from: int | None
    """The first message that can be sent again; None: nothing is kept."""
    readers: tuple[Reading, ...]

    @property
    def unpublished(self) -> int:
        return max(0, self.committed - self.published)

    @property
    def faulty(self) -> bool:
        return any(reader.spooled or reader.missing for reader in self.readers)


@dataclass(frozen=True, slots=True)
class Readings:
    """What one service's database says of the lanes it reads."""

    marks: Mapping[tuple[str, int, str, int], int]
    spools: Mapping[tuple[str, int, str, int], Any]


async def lanes(settings: Settings, topics: KafkaTopics) -> list[Lane]:
    """All lanes of all services that have a database."""
    written: dict[str, Sequence[Any]] = {}
    read: dict[str, Readings] = {}
    for service in SERVICES:
        try:
            async with database(settings, service) as store:
                written[service] = await store.fetch(Q["lanes_out"])
                read[service] = Readings(_by_lane(await store.fetch(Q["lanes_in"]), "seq"), _by_lane(await store.fetch(Q["spools"])))
        except NoDatabase:
            continue
    tails = await topics.tails([TopicPartition(row["topic"], row["partition"]) for rows in written.values() for row in rows], TAIL_RECORDS)
    found = [_lane(service, row, tails, read) for service, rows in written.items() for row in rows]
    place = {topic.name: number for number, topic in enumerate(TOPICS)}
    return sorted(found, key=lambda lane: (place[lane.topic], lane.partition))


def _by_lane(rows: Sequence[Any], column: str | None = None) -> dict[tuple[str, int, str, int], Any]:
    return {(row["topic"], row["partition"], row["service"], row["incarnation"]): row[column] if column else row for row in rows}


def _lane(writer: str, row: Any, tails: Mapping[TopicPartition, Sequence[Record]], read: Mapping[str, Readings]) -> Lane:
    at, incarnation = TopicPartition(row["topic"], row["partition"]), row["incarnation"]
    published = max([row["sent"], *(seq for lane, seq in map(lane_of, tails[at]) if lane == LaneId(writer, incarnation))])
    key = (*at, writer, incarnation)
    readers = tuple(_reading(service, read[service], key, published) for service in readers_of(BY_NAME[at.topic]) if service in read)
    return Lane(at.topic, at.partition, writer, incarnation, row["seq"], published, row["kept_from"], readers)


def _reading(service: str, found: Readings, key: tuple[str, int, str, int], published: int) -> Reading:
    mark, spool = found.marks.get(key, 0), found.spools.get(key)
    if spool is None:
        return Reading(service, mark, max(0, published - mark))
    missing = (mark + 1, spool["first"] - 1) if spool["first"] > mark + 1 else None
    return Reading(service, mark, max(0, published - mark), spool["records"], missing)


def readers_of(topic: Topic) -> tuple[str, ...]:
    """The services that have this topic as an input."""
    return tuple(name for name in SERVICES if topic in load_service(name).reads)


def lane_of(record: Record) -> tuple[LaneId, int]:
    """(lane, sequence) of a record; an empty lane and 0 where it carries none."""
    headers = dict(record.headers)
    service, _, incarnation = (headers.get("ce_lane") or b"").decode(errors="replace").rpartition("/")
    lane = LaneId(service, number_of(incarnation.encode(), MAX_INCARNATION)), number_of(headers.get("ce_seq"))
    return lane if lane[0].incarnation and lane[1] else (LaneId("", 0), 0)


async def republish(settings: Settings, connection: Connection, at: TopicPartition, first: int, last: int | None) -> tuple[int, int]:
    """Append the kept messages from `first` to `last` (None: the newest) again; readers drop what they know and run what waited
    behind the gap. Returns the range that was sent. Raises NoLane, NotKept, RowsExpired, ProduceFailed."""
    topic = BY_NAME.get(at.topic)
    if topic is None or topic.kind != "events":
        raise NoLane(topic=at.topic, partition=at.partition)
    async with database(settings, topic.owner) as store:
        head = next((row for row in await store.fetch(Q["lanes_out"]) if (row["topic"], row["partition"]) == at), None)
        if head is None:
            raise NoLane(topic=at.topic, partition=at.partition)
        last = head["seq"] if last is None else last
        kept_from = head["kept_from"]
        if kept_from is None or first < max(1, kept_from) or last > head["seq"] or first > last:
            kept = f"{kept_from} to {head['seq']}" if kept_from is not None else "nothing of this lane"
            raise NotKept(asked=f"{at.topic} partition {at.partition} {first} to {last}", kept=kept)
        writer = KafkaWriter(connection)
        await writer.start()
        try:
            await send_again(store, writer, topic.owner, at, first, last)
        finally:
            await writer.stop()
    return first, last
