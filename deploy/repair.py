"""Mending what can be mended without a guess, and naming the rest with what a person has to do.

Everything here may be done at any time, twice, and beside running services: a state document is sent again under its row's lock, and
only where the row is what its events make of it; kept messages of a lane are dropped by readers who have them; a dead letter runs again
only if it can be read by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploy.audit import REBUILD, WAIT_S, Audit, audit, flow, orders, views
from deploy.audit.findings import Violation
from deploy.fleet import SERVICES, kafka_connection, load_service
from deploy.lanes import Lane, NotKept, lanes, republish
from deploy.parked import Letter, letters, replay
from deploy.reading import database
from schemas.topics import BY_NAME
from shared.kernel.codec import Undecodable, open_envelope, read_body, state_record
from shared.kernel.kafka import Connection, KafkaTopics, KafkaWriter
from shared.kernel.model import Key, Service
from shared.kernel.partition import partition_of
from shared.kernel.ports import TopicPartition
from shared.kernel.republish import RowsExpired
from shared.kernel.sql import queries
from shared.settings import Settings

Q = queries(Path(__file__).with_name("queries.sql"))
UNDECODABLE = "undecodable"
"""Reason of a dead letter nobody could read."""
DOCUMENTS = (orders.state_topics_show_the_rows.__name__, orders.read_back_marks_are_true.__name__)
"""Checks whose complaint ends when the document is sent again."""
BY_A_PERSON: Mapping[str, str] = {
    REBUILD: "somebody changed the row or its history: restore the database, or put the row back as its events make it (`nervure rebuild`)",
    flow.nothing_is_quarantined.__name__: "mend the cause the letter names, then `nervure dlq replay` it (or `discard`, if it shall have "
    "no effect)",
    flow.no_gap_is_open.__name__: "the missing messages aren't kept any more: mend the reader's rows by hand, then close its gap",
    flow.lanes_are_gapless.__name__: "messages are lost in the topic: where they are kept, `nervure lanes republish` sends them again",
    flow.outboxes_are_in_their_topics.__name__: "see that the service runs: it sends what its topic lacks; a topic that is ahead belongs "
    "to a database that was restored",
    flow.readers_are_at_the_ends.__name__: "see that the service runs, and restart it: it reads on from its mark",
    flow.nothing_waits_too_long.__name__: "see that the service runs and keeps up (`nervure watch`)",
    orders.every_row_can_be_shown.__name__: "mend the rule that fails and start the service with it: it shows the row by itself",
    orders.accepted_orders_are_known.__name__: "the service lost the order, or never read of it: restore its database",
    views.views_show_their_topics.__name__: "stop that process, delete what it keeps of its views "
    "(NERVURE_VIEWS) and start it: it reads them anew; a document it can't read is in its log (`keep_the_last_good_one`)",
    **dict.fromkeys(DOCUMENTS, "its row is not what its events make: mend the row first, then `nervure repair` again"),
}
"""By check: what is to be done about what no command mends."""
OTHERWISE = "no command may guess which side is right: `nervure trace` tells the order's story; mend the one that contradicts it"


class Mending(NamedTuple):
    """One thing that was done, or in a dry run would be."""

    service: str
    what: str
    done: str


class Left(NamedTuple):
    """One thing a person has to mend."""

    violation: Violation
    remedy: str


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did, and what it left."""

    mended: tuple[Mending, ...]
    left: tuple[Left, ...]
    moving: str
    """What still moved, in words; then some of what is left may be a mere difference of moments."""

    def as_json(self) -> dict[str, Any]:
        return {
            "mended": [each._asdict() for each in self.mended],
            "left": [{**each.violation._asdict(), "remedy": each.remedy} for each in self.left],
            "moving": self.moving,
        }


async def repair(settings: Settings, dry: bool, wait_s: float = WAIT_S) -> Repair:
    """Audit, mend, audit again. Raises NoDatabase, KafkaSilent, PostgresSilent, ProduceFailed."""
    connection = kafka_connection(settings)
    found = await audit(settings, wait_s)
    mended = [
        *await _mend_documents(settings, connection, found, dry),
        *await _mend_gaps(settings, connection, dry),
        *await _mend_letters(settings, dry),
    ]
    left = found if dry or not mended else await audit(settings, wait_s)
    gone = {(each.service, each.what) for each in mended} if dry else set()
    return Repair(tuple(mended), tuple(left_of(left, gone)), left.moving)


def left_of(found: Audit, mended: set[tuple[str, str]]) -> list[Left]:
    """What no command mends; in a dry run without that for which one was found."""
    return [Left(v, BY_A_PERSON.get(v.check, OTHERWISE)) for v in found.violations if (v.service, v.what) not in mended]


# ---- state documents ----


class Document(NamedTuple):
    """A document of a state topic."""

    service: str
    topic: str
    id: str


def documents_to_send(violations: Sequence[Violation]) -> list[Document]:
    """Those that differ from their rows, where the rows are what their events make: of any other it isn't known which is right. A row
    on which a rule fails has none to be sent."""
    wrong_rows = {(each.service, each.what) for each in violations if each.check == REBUILD}
    unrendered = {(each.service, each.what) for each in violations if each.check == orders.every_row_can_be_shown.__name__}
    found: dict[Document, None] = {}
    for each in violations:
        if each.check in DOCUMENTS and (each.service, each.what) not in unrendered:
            for state in load_service(each.service).states:
                if each.detail.startswith(f"{state.topic.name}: ") and (each.service, f"{state.kind} {each.what}") not in wrong_rows:
                    found[Document(each.service, state.topic.name, each.what)] = None
    return list(found)


async def _mend_documents(settings: Settings, connection: Connection, found: Audit, dry: bool) -> list[Mending]:
    wanted = documents_to_send(found.violations)
    if dry:
        return [Mending(each.service, each.id, f"would send its document to {each.topic} again") for each in wanted]
    writer = KafkaWriter(connection)
    partitions = await KafkaTopics(connection).existing()
    try:
        versions = [await _send_again(settings, writer, partitions[each.topic], each) for each in wanted]
    finally:
        await writer.stop()
    sent = [(each, version) for each, version in zip(wanted, versions, strict=True) if version]
    return [Mending(each.service, each.id, f"sent version {version} of its document to {each.topic} again") for each, version in sent]


async def _send_again(settings: Settings, writer: KafkaWriter, partitions: int, wanted: Document) -> int:
    """The version that was sent; 0: there is no row. Its owner forgets what it took to be the newest record, and reads this one back."""
    service: Service[Any] = load_service(wanted.service)
    state = next(each for each in service.states if each.topic.name == wanted.topic)
    key = Key(state.kind, wanted.id)
    async with database(settings, wanted.service) as store:
        incarnation = await store.incarnation()
        async with store.begin() as transaction:
            row = (await transaction.load([key])).get(key)
            if row is None or row.state is None:
                return 0
            await transaction.connection.execute(Q["forget_mark"], wanted.topic, wanted.id)
            body = state.render(wanted.id, row.version, row.state)
            record = state_record(wanted.service, incarnation, wanted.id, row.version, datetime.now(UTC), body)
            await writer.send({TopicPartition(wanted.topic, partition_of(wanted.id, partitions)): [record]})
    return row.version


# ---- lanes ----


async def _mend_gaps(settings: Settings, connection: Connection, dry: bool) -> list[Mending]:
    """Missing messages of a lane are sent again, where its writer keeps them."""
    mended = []
    for lane, first, last in gaps(await lanes(settings, KafkaTopics(connection))):
        what = f"{lane.topic}/{lane.partition} of {lane.writer}"
        if dry:
            mended.append(Mending(lane.writer, what, f"would send {first} to {last} again, as far as they are kept"))
            continue
        try:
            await republish(settings, connection, TopicPartition(lane.topic, lane.partition), first, last)
        except (NotKept, RowsExpired):
            continue
        mended.append(Mending(lane.writer, what, f"sent {first} to {last} again"))
    return mended


def gaps(found: Sequence[Lane]) -> list[tuple[Lane, int, int]]:
    """(lane, first, last) of what readers of a lane miss, all of them together."""
    missing = [(lane, [each.missing for each in lane.readers if each.missing is not None]) for lane in found]
    return [(lane, min(first for first, _ in ranges), max(last for _, last in ranges)) for lane, ranges in missing if ranges]


# ---- dead letters ----


async def _mend_letters(settings: Settings, dry: bool) -> list[Mending]:
    """What nobody could read and can be read by now runs again."""
    mended = []
    for letter in await letters(settings, ("dead",)):
        if letter.service in SERVICES and can_be_read_now(letter):
            if not dry:
                await replay(settings, letter)
            mended.append(Mending(letter.service, f"dead letter {letter.name}", "would replay it" if dry else "replays it"))
    return mended


def can_be_read_now(letter: Letter) -> bool:
    """Whether a letter nobody could read is a message by now, as after an upgrade that knows its type."""
    topic = BY_NAME.get(letter.record.topic)
    if letter.reason != UNDECODABLE or topic is None:
        return False
    try:
        read_body(open_envelope(letter.record, topic), topic)
    except Undecodable:
        return False
    return True
