"""A view that was loaded from a snapshot and read on is the view of who read everything; a snapshot that may not be that is refused."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from schemas.inventory import Availability, Future
from schemas.reference import Carrier, Item, Policy
from schemas.topics import AVAILABILITY, LOCATIONS, TOPIC_OF, Body
from services.order_capture.projection import Catalogue
from services.order_capture.service import service as order_capture
from services.sourcing.projection import Network
from services.sourcing.service import service as sourcing
from shared.kernel import contents, snapshots, views
from shared.kernel.codec import external_record, state_record
from shared.kernel.contents import Seen
from shared.kernel.memory_log import Broker, MemoryTopics, _Partition
from shared.kernel.memory_shelf import MemoryShelf
from shared.kernel.model import Service
from shared.kernel.partition import partition_of
from shared.kernel.pictures import Pictures
from shared.kernel.ports import Damaged, Outgoing, Shelf, TopicPartition
from shared.kernel.real import RealClock
from shared.kernel.shelf import FileShelf
from shared.kernel.snapshots import Snapshots
from shared.value import replace
from tests.support.sourcing import place
from tests.support.turns import Turns

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PARTITIONS = 2
SKUS, PLACES = ("mug", "pot", "tea", "cup"), ("paris", "lyon", "nice")


class Replica:
    """What a replica of sourcing has of its topics, and its snapshots."""

    def __init__(self, world: World, shelf: Shelf, service: Service[Any] = sourcing) -> None:
        partitions = {topic.name: 1 if topic.one_partition else PARTITIONS for topic in service.views}
        self.world = world
        topics = MemoryTopics(world.broker)
        self.view: Network = service.view()
        self.pictures = Pictures(service, self.view, topics, world.clock, world.log, partitions)
        self.snapshots = Snapshots(service, self.pictures, topics, shelf, world.clock, world.log, look_s=5.0, least=1)

    def start(self) -> Replica:
        self.world.run(self.snapshots.load())
        self.world.run(self.pictures.catch_up())
        return self

    def read(self) -> None:
        assert self.pictures._follower is not None
        self.world.run(self.pictures._read(self.pictures._follower))

    def shows(self) -> tuple[dict[TopicPartition, Seen], Any]:
        """What the audit hears of it, and what decisions see."""
        view = self.view
        levels = {sku: known for sku, known in view._levels.items() if known}
        free = {sku: free for sku, free in view._free.items() if free}
        future = {sku: coming for sku, coming in view._future.items() if coming}
        documents = {kind: documents for kind, documents in view._by_type.items() if documents}
        return self.pictures.seen(), (levels, free, future, documents)


class World:
    """A broker, its topics, and who writes there."""

    def __init__(self, seed: int = 0) -> None:
        self.dice = Random(seed)
        self.turns = Turns(seed, START)
        self.clock = self.turns.clock
        self.broker = Broker(self.clock)
        self.logged = LogCapture()
        self.log: FilteringBoundLogger = structlog.wrap_logger(
            structlog.ReturnLogger(), processors=[self.logged], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
        ).bind()
        for topic in {*sourcing.views, *order_capture.views}:
            self.broker.create(topic.name, 1 if topic.one_partition else PARTITIONS, compacted=True)
        self.versions: dict[str, int] = {}

    def run(self, *coroutines: Coroutine[Any, Any, None]) -> None:
        failures: list[BaseException] = []
        tasks = [self.turns.spawn(f"{one}", one, failures.append) for one in coroutines]
        self.turns.run(lambda: all(task.done for task in tasks), START + timedelta(days=100))
        assert failures == []

    def told(self) -> list[str]:
        return [entry["event"] for entry in self.logged.entries if "snapshot" in entry["event"]]

    # ---- who writes ----

    def refer(self, body: Body, key: str = "") -> None:
        topic = TOPIC_OF[type(body)]
        record = external_record(topic, body, source="/t", id="1", now=self.clock.now())
        self.broker.append(TopicPartition(topic.name, 0), [Outgoing(key.encode() or record.key, record.value, record.headers)])

    def give_up(self, body: Body) -> None:
        topic = TOPIC_OF[type(body)]
        self.broker.append(TopicPartition(topic.name, 0), [Outgoing(topic.key_of(body).encode(), None, ())])

    def level(self, sku: str = "mug", place: str = "paris", *, behind: int = 0, atp: int = 5, future: tuple[Future, ...] = ()) -> None:
        version = self._next(f"{sku}:{place}") - behind
        if version > 0:
            body = Availability(sku=sku, location=place, version=version, sellable=atp, reserved=0, atp=atp, future=future)
            self._append(body.level_id, state_record("inventory", 1, body.level_id, version, self.clock.now(), body))

    def delete(self, sku: str, place: str) -> None:
        key = f"{sku}:{place}"
        self._append(key, state_record("inventory", 1, key, self._next(key), self.clock.now(), None))

    def spoil(self, sku: str, place: str) -> None:
        """A document that nobody can read."""
        key = f"{sku}:{place}"
        headers = (("ce_lane", b"inventory/1"), ("ce_seq", b"%d" % self._next(key)))
        self._append(key, Outgoing(key.encode(), b"{}", headers))

    def _next(self, key: str) -> int:
        self.versions[key] = self.versions.get(key, 0) + 1
        return self.versions[key]

    def _append(self, key: str, record: Outgoing) -> None:
        self.broker.append(TopicPartition(AVAILABILITY.name, partition_of(key, PARTITIONS)), [record])

    # ---- by the dice ----

    def write(self, tidy: bool) -> None:
        """Something; not `tidy`: also what a topic that is compacted later wouldn't tell any more."""
        dice, sku, where = self.dice, self.dice.choice(SKUS), self.dice.choice(PLACES)
        future = (Future(reference=f"in-{dice.randint(1, 9)}", quantity=dice.randint(1, 9), eta=START),) if dice.random() < 0.3 else ()
        acts: list[Callable[[], None]] = [
            *[lambda: self.level(sku, where, atp=dice.randint(0, 9), future=future)] * 6,
            lambda: self.delete(sku, where),
            lambda: self.refer(place(where, latitude=dice.randint(0, 50))),
            lambda: self.refer(Policy(policy=sku, version=dice.randint(1, 99))),
            lambda: self.give_up(Carrier(carrier=sku)),
            lambda: self.refer(Carrier(carrier=sku)),
        ]
        if not tidy:
            acts += [lambda: self.level(sku, where, behind=dice.randint(1, 3)), lambda: self.spoil(sku, where)]
        dice.choice(acts)()

    def compact(self) -> None:
        for topic, partitions in self.broker.topics().items():
            for partition in range(partitions):
                self.broker.compact(TopicPartition(topic, partition), dirty=self.dice.randint(0, 3))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((contents, "KEYS_A_PIECE"), (views, "DOCUMENTS_A_PIECE")):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr("services.sourcing.projection.SKUS_A_PIECE", 1)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", range(120))
def test_reading_on_from_a_snapshot_is_reading_everything(seed: int) -> None:
    """Whatever is written, read, planned and made good between two pieces."""
    world, shelf, tidy = World(seed), MemoryShelf(), seed % 3 == 0
    dice, replica, made = world.dice, Replica(world, MemoryShelf()).start(), list[bytes]()
    happens = (lambda: world.write(tidy), lambda: world.write(tidy), replica.read, lambda: fly(replica.view, dice))
    for _ in range(dice.randint(0, 60)):
        dice.choice(happens)()
    for piece in replica.snapshots._pieces():
        made.append(piece)
        for _ in range(dice.choice((0, 0, 1, 3))):
            dice.choice(happens)()
    shelf.pieces = made
    for _ in range(dice.randint(0, 5)):
        world.write(tidy)
    if tidy:
        world.compact()
    loaded, whole = Replica(world, shelf).start(), Replica(world, MemoryShelf()).start()
    assert loaded.shows() == whole.shows()
    assert "view snapshot loaded" in world.told()


def fly(view: Network, dice: Random) -> None:
    """A plan begins, or all have ended: what documents say of its levels meanwhile waits."""
    at = (dice.choice(SKUS), dice.choice(PLACES))
    if dice.random() < 0.2:
        view.clear()
    else:
        view._fly(f"{at}", {at: dice.choice((1, 2, -1))})


def test_a_replica_that_starts_again_reads_on() -> None:
    world, shelf = World(), MemoryShelf()
    first = kept(world, shelf)
    world.level("tea", "lyon")
    again = Replica(world, shelf).start()
    assert again.shows() == Replica(world, MemoryShelf()).start().shows() != first.shows()
    assert (again.snapshots.loaded, again.pictures.records) == (len(SKUS) + 1, 1)
    assert world.told() == ["no view snapshot", "view snapshot kept", "view snapshot loaded", "no view snapshot"]


def kept(world: World, shelf: Shelf) -> Replica:
    """A replica that has read some documents, and made a snapshot."""
    for sku in SKUS:
        world.level(sku, "paris")
    world.refer(place("paris"))
    replica = Replica(world, shelf).start()
    world.run(replica.snapshots.make(0))
    return replica


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("landing", range(12))
def test_what_waits_for_plans_in_flight_is_not_lost(landing: int) -> None:
    """Its document is known to have been read: whenever the plan lands, it is kept. Plans come from the database at the next start."""
    world, shelf, made = World(), MemoryShelf(), list[bytes]()
    world.level("mug", "paris", atp=5)
    replica = Replica(world, shelf).start()
    replica.view._fly("web:1/1", {("mug", "paris"): 2})
    world.level("mug", "paris", atp=3)
    replica.read()
    assert replica.view.free("mug") == {"paris": 3}, "five, two of which are asked for"
    for number, piece in enumerate(replica.snapshots._pieces()):
        made.append(piece)
        if number == landing:
            replica.view.clear()
    shelf.pieces = made
    again = Replica(world, shelf).start()
    assert (again.pictures.records, again.view.free("mug")) == (0, {"paris": 3}), "as the document says, which holds them"


def test_views_of_reference_data_are_whole() -> None:
    """What is derived of them, too: an item under every name it has."""
    world, shelf = World(), MemoryShelf()
    world.refer(Item(sku="mug", description="Mug", weight_g=350, gtins=("4006381333931",), channel_skus={"web": "W1"}))
    world.run(Replica(world, shelf, order_capture).start().snapshots.make(0))
    again = Replica(world, shelf, order_capture).start().view
    assert isinstance(again, Catalogue)
    assert (
        [again.item(name) for name in ("sku:mug", "gtin:4006381333931", "channel_sku:web:W1")] == [again.get(Item, "mug")] * 3 != [None] * 3
    )


# ---- doubts ----


def _other_format(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshots, "FORMAT", 2)


def _other_contract(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    """A service that views the same topics under the same names, but for one field of a document."""
    patch.setattr(snapshots, "language", snapshots.language.__wrapped__)
    schema = Availability.model_json_schema()
    patch.setattr(Availability, "model_json_schema", lambda: schema | {"description": "other"})


def _other_service(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    world.run(Replica(world, shelf, replace(sourcing, name="sauces")).start().snapshots.make(0))


def _more_partitions(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.modules[__name__], "PARTITIONS", 3)
    world.broker.create(AVAILABILITY.name, 3)
    world.broker._partitions.setdefault(TopicPartition(AVAILABILITY.name, 2), _Partition())


def _too_old(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    world.clock.pass_to(START + timedelta(days=15, seconds=1))


def _from_the_future(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    replica = Replica(world, shelf).start()
    replica.pictures.read_s += 60
    world.run(replica.snapshots.make(0))


def _deletions_untold(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    world.broker.deletions_kept_ms = 0


def _head_lost(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    world.broker.expire(TopicPartition(LOCATIONS.name, 0), 1)


def _tail_lost(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    world.broker._partitions[TopicPartition(LOCATIONS.name, 0)] = _Partition()


def _tail_lost_and_grown_again(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    """Or a topic that was deleted and made anew: there are as many records, and the last one read is another."""
    _tail_lost(world, shelf, patch)
    world.clock.pass_to(START + timedelta(seconds=2))
    world.refer(place("paris"))
    world.refer(place("lyon"))


def _piece_damaged(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    assert shelf.pieces is not None
    shelf.pieces[-1] = shelf.pieces[-1][:-1]


def _piece_of_nothing(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    assert shelf.pieces is not None
    shelf.pieces.append(snapshots._pack(snapshots._Piece(99, b"")))


def _piece_of_an_unknown_document(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    assert shelf.pieces is not None
    shelf.pieces.append(snapshots._pack(snapshots._Piece(snapshots.VIEW, views.pack(views.Written("Unheard", [b"{}"])))))


def _empty(world: World, shelf: MemoryShelf, patch: pytest.MonkeyPatch) -> None:
    shelf.pieces = []


@pytest.mark.parametrize(
    "doubt",
    [
        _other_format, _other_contract, _other_service, _more_partitions, _too_old, _from_the_future, _deletions_untold, _head_lost,
        _tail_lost, _tail_lost_and_grown_again, _piece_damaged, _piece_of_nothing, _piece_of_an_unknown_document, _empty,
    ],
)  # fmt: skip
def test_in_doubt_everything_is_read(doubt: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, throws the snapshot away, and knows nothing of what was in it."""
    world, shelf = World(), MemoryShelf()
    kept(world, shelf)
    doubt(world, shelf, monkeypatch)
    again = Replica(world, shelf).start()
    assert world.told()[-1] == "view snapshot refused"
    assert (shelf.pieces, again.snapshots.loaded) == (None, 0)
    assert again.shows() == Replica(world, MemoryShelf()).start().shows()
    assert again.pictures.records == sum(len(world.broker.records(at)) for at in again.pictures.at)


def test_a_document_under_another_key_allows_no_snapshot() -> None:
    """What a view holds of it depends on its order among others, which no snapshot tells."""
    world, shelf = World(), MemoryShelf()
    world.refer(place("paris"), key="elsewhere")
    replica = Replica(world, shelf).start()
    world.run(replica.snapshots.make_last())
    assert shelf.pieces is None


# ---- when ----


def test_a_new_one_is_made_when_enough_was_read_and_at_the_end() -> None:
    world, shelf = World(), MemoryShelf()
    replica = Replica(world, shelf).start()
    world.turns.spawn("snapshots", replica.snapshots.run(), failed)
    for expected, levels in ((0, 0), (1, 8), (1, 1), (2, 1)):  # eight are enough, then a quarter of eight are
        for _ in range(levels):
            world.level(world.dice.choice(SKUS), world.dice.choice(PLACES))
        replica.read()
        world.run(world.clock.sleep(6))
        assert replica.snapshots.made == expected
    world.run(replica.snapshots.make_last())
    assert replica.snapshots.made == 2, "nothing is new"
    world.run(world.clock.sleep(snapshots.SELDOM_S + 6))
    assert replica.snapshots.made == 3, "before it is too old"


def failed(error: BaseException) -> None:
    raise error


async def test_where_it_can_not_be_kept_the_replica_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    world = World()
    replica = Replica(world, MemoryShelf()).start()
    refused = Snapshots(sourcing, replica.pictures, MemoryTopics(world.broker), FileShelf(tmp_path / "file" / "x"), RealClock(), world.log)
    await refused.make(0)
    assert (refused.made, world.told()[-1]) == (0, "view snapshot not kept")


# ---- the file ----


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def fails_after(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    raise KeyError("the dump")


async def test_a_file_holds_all_pieces_or_those_before(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "views" / "a.snapshot")
    assert await shelf.read() is None
    pieces = (b"one", b"", b"x" * 100_000)
    assert await shelf.write(in_pieces(*pieces)) == (tmp_path / "views" / "a.snapshot").stat().st_size
    for _ in range(2):
        assert tuple(await shelf.read() or ()) == pieces
    with pytest.raises(KeyError):
        await shelf.write(fails_after(b"two"))
    assert tuple(await shelf.read() or ()) == pieces
    await shelf.write(in_pieces(b"three"))
    assert tuple(await shelf.read() or ()) == (b"three",)
    assert [(file.name, file.stat().st_mode & 0o777) for file in (tmp_path / "views").iterdir()] == [("a.snapshot", 0o600)]
    await shelf.clear()
    assert await shelf.read() is None


async def test_a_file_that_was_changed_is_damaged(tmp_path: Path) -> None:
    """At any byte, by one that is missing, or by one too many."""
    path = tmp_path / "a.snapshot"
    shelf = FileShelf(path)
    await shelf.write(in_pieces(b"one", b"two"))
    good = path.read_bytes()
    changed = [good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :] for index in range(len(good))]
    for bad in (*changed, *(good[:length] for length in range(len(good))), good + b"\0"):
        path.write_bytes(bad)
        with pytest.raises(Damaged):
            await shelf.read()
