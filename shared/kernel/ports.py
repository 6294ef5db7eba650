"""What the kernel awaits: a log, a store, a clock. Each has a real side (Kafka, Postgres, time) and one in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from shared.kernel.model import Key, Slice
from shared.value import Light, Value

TIMERS = "~timers"
"""Name under which timer shards are owned like input partitions."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int


place = lru_cache(maxsize=10_000)(TopicPartition)
"""Records of one partition share it: it is asked for several times of each."""


class LaneId(NamedTuple):
    """One writer's gapless sequence into one partition: the topic and partition it is read from complete it."""

    service: str
    incarnation: int


class Record(Light, frozen=True):
    """One record of the log."""

    topic: str
    partition: int
    offset: int
    appended_ms: int
    """LogAppendTime, milliseconds since the epoch."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def at(self) -> TopicPartition:
        return place(self.topic, self.partition)


class Outgoing(Light, frozen=True):
    """A record to append."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Row(Light, frozen=True):
    """A stored row. `state` is None for a row that was only kept for (nothing has happened to it yet)."""

    version: int
    state: Any


class RowChange(Light, frozen=True):
    key: Key
    base: int
    """Version the row had when loaded; 0 where it didn't exist."""
    version: int
    state: Any
    """None deletes the row, unless `empty`."""
    empty: bool = False
    before: Any = None
    """The state as loaded, where it is known: columns that are the same object in both needn't be written."""


class HistoryEntry(Light, frozen=True):
    """One folded event: enough to build every row again."""

    key: Key
    version: int
    type: str
    event: Any
    """None marks a row created empty, for a kept message."""
    at: datetime


class TimerRow(Value, frozen=True):
    key: Key
    name: str
    due: datetime
    rank: int
    shard: int
    trace: UUID | None = None
    """Of the input that set it: what it sets off belongs to the same trace."""


class InboxMark(Value, frozen=True):
    source: str
    id: str
    digest: bytes
    at: datetime
    before: bytes | None = None
    """Digest it was known with when this was decided; None where it wasn't."""


class OffsetMove(Value, frozen=True):
    """Compare-and-set of one input partition's position."""

    at: TopicPartition
    epoch: int
    loaded: int
    next: int


class LaneMark(Value, frozen=True):
    """How far one lane was read."""

    at: TopicPartition
    lane: LaneId
    seq: int


class DeadLetter(Value, frozen=True):
    record: Record
    reason: str
    """Exception class or problem code."""
    detail: str


class StoredInput(Value, frozen=True):
    """A record put aside: kept for its row, queued behind a quarantined row, spooled behind a gap, or to be replayed."""

    id: int
    purpose: str
    record: Record
    key: Key | None = None
    until: datetime | None = None


class KeepRow(Value, frozen=True):
    key: Key
    until: datetime
    record: Record
    shard: int
    changed: bool


class Quarantine(Value, frozen=True):
    """Rows that wait, and the input that waits with them (None where only marks are added)."""

    keys: tuple[Key, ...]
    record: Record | None
    reason: str
    detail: str
    behind: tuple[Key, ...] = ()
    """Marks as they were loaded that make it wait: one that was lifted meanwhile is a collision."""


class SpoolRow(Value, frozen=True):
    """A lane's record read behind a gap."""

    at: TopicPartition
    lane: LaneId
    seq: int
    record: Record


class ReadBack(Value, frozen=True):
    """An own state record as it stands in its topic."""

    topic: str
    id: str
    version: int
    offset: int


class OutboxRow(Light, frozen=True):
    """One message to publish, before its lane has numbered it."""

    topic: str
    partition: int
    key: str
    type: str
    id: str
    """A UUID."""
    time: datetime
    correlation: str
    causation: str
    trace: str
    subject: str
    subject_version: int
    value: bytes

    @property
    def at(self) -> TopicPartition:
        return place(self.topic, self.partition)


class LaneRow(Light, frozen=True):
    """One numbered message of a lane."""

    seq: int
    incarnation: int
    row: OutboxRow


@dataclass(slots=True)
class Changes:
    """Everything one batch writes, but its lanes."""

    rows: list[RowChange] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    inbox: list[InboxMark] = field(default_factory=list)
    timers_set: list[TimerRow] = field(default_factory=list)
    timers_cancelled: list[tuple[Key, str]] = field(default_factory=list)
    timers_fired: list[TimerRow] = field(default_factory=list)
    offsets: list[OffsetMove] = field(default_factory=list)
    marks: list[LaneMark] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    kept: list[KeepRow] = field(default_factory=list)
    taken: list[StoredInput] = field(default_factory=list)
    """Stored inputs that took effect (or became dead letters): removed, or marked replayed."""
    quarantines: list[Quarantine] = field(default_factory=list)
    spooled: list[SpoolRow] = field(default_factory=list)
    read_back: list[ReadBack] = field(default_factory=list)


class Parked(NamedTuple):
    """An input as it is put down: a dead letter, or quarantined."""

    status: str
    record: Record
    reason: str
    """At most 200 characters."""
    detail: str
    """At most 2,000 characters, no NUL."""
    waits_for: tuple[Key, ...]


def parked_of(changes: Changes) -> list[Parked]:
    """What a batch parks, in order."""
    dead = [Parked("dead", one.record, one.reason, one.detail, ()) for one in changes.dead_letters]
    waiting = [Parked("quarantined", one.record, one.reason, one.detail, one.keys) for one in changes.quarantines if one.record is not None]
    return [one._replace(reason=one.reason[:200], detail=one.detail[:2000].replace("\x00", "\\0")) for one in (*dead, *waiting)]


class Attached(NamedTuple):
    """What hangs on rows: kept messages wait for them, or they are quarantined."""

    kept: frozenset[Key]
    quarantined: frozenset[Key]


NOTHING_ATTACHED = Attached(frozenset(), frozenset())


class Claim(Value, frozen=True):
    """Ownership of one input partition: what the store says of it."""

    epoch: int
    offset: int
    marks: Mapping[LaneId, int]
    headless: bool = False
    """The log's head had expired when the partition was first claimed: a lane never met may start anywhere."""
    spooled: int = 0
    """Records of it that wait behind gaps."""


class Horizon(NamedTuple):
    """How much of a database outlives its loss, in positions of its own log of commits."""

    life: str
    """Which run of which database this is: another one after a restart, a restore or a failover. Positions of two lives don't compare."""
    committed: int
    """Everything that was visible when this was asked for was committed at or before this position."""
    held: int
    """Everything up to here is held by every standby that was named, or by the archive; without a gate the same as `committed`."""


class Collision(Exception):
    """Somebody else changed what this batch had read: nothing was written; load again and decide again."""


class SomethingAttached(Exception):
    """Messages are kept or rows quarantined, and the batch has not looked which: nothing was written; look, and decide again."""


class NotOwner(Exception):
    """The position moved under another owner's epoch: drop the batch, claim again if the partition is still assigned."""


class CommitUnknown(Exception):
    """The commit's answer was lost: whether it took effect is known only to the store; claim again and read on from there."""


class Transient(Exception):
    """The store could not do it now (connection, deadlock, serialization, time-out): repeat with backoff."""


class Damaged(Exception):
    """What was kept is not what was put there, or can't be read."""


class NotKept(Exception):
    """It could not be put away."""


Begins = Mapping[TopicPartition, int]
EVERYTHING_KEPT: Begins = MappingProxyType({})
PRUNED_AT_ONCE = 1_000
"""Sent rows of one lane that are removed at once."""
FROM_THE_BEGINNING: Begins = MappingProxyType({})


class Expired(Transient):
    """A position lies before the head of its partition: records expired before they were read."""


class Transaction(Protocol):
    """READ COMMITTED; every statement sees what was committed when it began. All raise Transient, Collision or NotOwner."""

    @property
    def life(self) -> str:
        """Which run of which database it is in; see Horizon."""
        ...

    async def find(self, keys: Sequence[Key]) -> dict[Key, Row]: ...

    async def load(self, keys: Sequence[Key]) -> dict[Key, Row]:
        """Locks the rows that exist, in one global order over all kinds; a missing row locks nothing."""
        ...

    async def slices(self, wanted: Sequence[tuple[Slice, int]]) -> dict[tuple[Key, str], list[tuple[Key, Row]]]:
        """Rows by owner and rank, as many as wanted of each; not locked: their owner is."""
        ...

    async def attached(self, keys: Sequence[Key]) -> Attached:
        """NOTHING_ATTACHED where nothing is kept or quarantined at all."""
        ...

    async def kept_for(self, keys: Sequence[Key]) -> list[StoredInput]: ...

    async def known(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Digests of the external (source, id) pairs seen before."""
        ...

    async def write(self, changes: Changes, messages: Sequence[OutboxRow] = (), *, unattached: bool = False) -> list[LaneRow]:
        """All that a batch writes, in the order of the protocol: rows, by kind and id; what hangs on them; positions; last of all locks the
        destination lanes, in order, until the commit. Returns the messages, numbered and stored. With `unattached` it was taken for granted
        that nothing is kept or quarantined: raises SomethingAttached where something is."""
        ...

    async def ask_again(self, records: Sequence[Record]) -> list[StoredInput]:
        """Has what was parked at the places of these records replayed; those that are parked there."""
        ...


class Store(Protocol):
    """One service's durable state."""

    gated: bool
    """Whether only what a standby or an archive holds may be published."""

    def begin(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits on leaving; rolls back on an exception. Raises CommitUnknown where the answer of the commit is lost."""
        ...

    async def incarnation(self) -> int: ...

    async def horizon(self) -> Horizon:
        """Where the database's log stands, and how much of it is held elsewhere."""
        ...

    async def declare(self, partitions: Sequence[TopicPartition]) -> None:
        """Makes the position rows of partitions, at 0, where they are missing."""
        ...

    async def claim(self, partitions: Sequence[TopicPartition], begins: Begins = EVERYTHING_KEPT) -> dict[TopicPartition, Claim]:
        """Takes ownership: raises the epoch, returns where to go on. One transaction. `begins` is where the log begins now, 0 where it
        isn't named: the first claim of all begins there, and remembers it."""
        ...

    async def timers_due(self, shards: Sequence[int], until: datetime, limit: int) -> list[TimerRow]:
        """By (due, rank, key); read without locks."""
        ...

    async def next_timer(self, shards: Sequence[int]) -> datetime | None: ...

    async def stored_due(self, shards: Sequence[int], now: datetime, limit: int, everything: bool) -> list[StoredInput]:
        """Stored inputs that may run now: kept past their deadline (all kept ones with `everything`), replays asked for,
        the queues of quarantines that were lifted, and spooled records whose gap has closed."""
        ...

    async def outbox(self, at: TopicPartition, after: int, limit: int) -> list[LaneRow]: ...

    async def lane_heads(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int, int]]:
        """For each destination: (incarnation, last numbered seq, last seq known to be in the topic)."""
        ...

    async def sent(self, tails: Mapping[TopicPartition, int]) -> None: ...

    async def unsent_dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]: ...

    async def dead_letters_sent(self, ids: Sequence[int]) -> None: ...

    async def read_back(self, seen: Sequence[ReadBack]) -> list[str]:
        """Moves the marks forward by offset; returns the ids whose topic record is older than the row."""
        ...

    async def dirty(self, topic: str, kind: str, after: str, limit: int) -> list[tuple[str, Row]]:
        """Rows whose version isn't the one their topic shows, by id."""
        ...

    async def rows(self, kind: str, ids: Sequence[str]) -> dict[str, Row]: ...

    def scan(self, kind: str) -> AsyncIterator[tuple[str, Row]]: ...

    async def prune_outbox(self, lanes: Sequence[TopicPartition], older_than: datetime) -> int:
        """Removes sent rows of these lanes that are past their keeping, at most PRUNED_AT_ONCE of each; returns how many."""
        ...

    async def prune_inbox(self, older_than: datetime) -> int:
        """Removes marks of external messages past the horizon; returns how many. Reads the whole table: seldom."""
        ...

    async def depth(self) -> Mapping[str, int]:
        """Counts for the health page: outbox, dead_letters, quarantined, spooled, kept, timers."""
        ...

    async def close(self) -> None: ...


class Assignment(NamedTuple):
    generation: int
    partitions: frozenset[TopicPartition]


class Reader(Protocol):
    """The group consumer of one replica. Kafka assigns partitions; positions come from the store."""

    async def start(self) -> None: ...

    def assignment(self) -> Assignment: ...

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Read on from here; a partition is silent from its assignment until its first seek."""
        ...

    def pause(self, at: Sequence[TopicPartition]) -> None: ...

    def resume(self, at: Sequence[TopicPartition]) -> None: ...

    async def fetch(self, wait_s: float) -> list[Record]:
        """What has arrived, in offset order within a partition; empty after `wait_s`. Raises Transient when records may have been
        lost on the way: seek every partition again."""
        ...

    def end(self, at: TopicPartition) -> int | None:
        """End of the partition as of its latest fetch."""
        ...

    def position(self, at: TopicPartition) -> int | None:
        """Offset below which `fetch` has handed everything out: at the end it is the end, even where no record is behind the last
        offsets. None where the partition isn't assigned."""
        ...

    async def stop(self) -> None: ...


class ProduceFailed(Exception):
    """No acknowledgement in time: the batch may be in the log or not. The producer was thrown away."""


class Writer(Protocol):
    """Appends; one batch for each destination at a time."""

    async def start(self) -> None: ...

    async def send(self, batches: Mapping[TopicPartition, Sequence[Outgoing]]) -> dict[TopicPartition, int]:
        """Appends each batch; returns how many of its records were appended and acknowledged (a batch larger than the
        broker takes is cut). Raises ProduceFailed, after which nothing of this producer can arrive later."""
        ...

    async def stop(self) -> None: ...


class Topics(Protocol):
    """Reading outside the group: views, tails, whole topics."""

    async def partitions(self, topic: str) -> int: ...

    async def ends(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...

    async def bounds(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """(offset of the oldest record kept, offset after the newest) of each partition."""
        ...

    async def tails(self, at: Sequence[TopicPartition], records: int) -> dict[TopicPartition, list[Record]]:
        """The newest records of each partition, at most `records`, oldest first."""
        ...

    async def appended_after(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offset of the first record of each partition that was appended later; a partition that has none is left out."""
        ...

    async def deletions_kept_ms(self, topics: Sequence[str]) -> int:
        """For how long the log tells at least that a document was deleted, in all of these topics; 0 where it doesn't say."""
        ...

    def follow(self, at: Sequence[TopicPartition], since: Begins = FROM_THE_BEGINNING) -> Follower:
        """Reads these from the beginning, or from the offset that `since` names."""
        ...


class Follower(Protocol):
    """Reads whole partitions from their beginning, or from where it was told, and goes on."""

    async def start(self) -> None: ...

    async def fetch(self, wait_s: float) -> list[Record]: ...

    def position(self, at: TopicPartition) -> int: ...

    async def stop(self) -> None: ...


class Shelf(Protocol):
    """Where one replica keeps pieces from one run to the next: all of them, or none."""

    async def read(self) -> Iterator[bytes] | None:
        """What was put there last, whole and in order; None where nothing is. Raises Damaged, the iterator too."""
        ...

    async def write(self, pieces: AsyncIterator[bytes]) -> int:
        """Puts these in the place of what is there, once all of them are safe; returns their bytes. Raises NotKept, and what the
        iterator raises; then what was there stays."""
        ...

    async def clear(self) -> None: ...


class Signal(Protocol):
    """Wakes a waiting task; set before anybody waits, it is not lost."""

    def set(self) -> None: ...

    async def wait(self, at_most_s: float) -> None:
        """Returns when set, or after the time; clears it."""
        ...


class Clock(Protocol):
    def now(self) -> datetime: ...

    def now_s(self) -> float:
        """The same, in seconds since the epoch."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def signal(self) -> Signal: ...


Spawn = Callable[[str, Coroutine[Any, Any, None]], None]
