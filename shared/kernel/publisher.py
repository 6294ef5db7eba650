"""Publishes what was committed: lanes in order from the acknowledged tail, state documents from their rows, dead letters.

Rounds: each round sends at most one batch to each destination partition and waits for all acknowledgements, so that at most one batch
of a partition is in flight. Rows of this process come from memory, what memory misses from the table. Duplicates are harmless (readers
know the sequence); gaps and disorder can't happen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from structlog.typing import FilteringBoundLogger

from schemas.topics import BY_NAME, dead_letter_topic, owned_by
from shared.kernel.codec import MAX_INCARNATION, lane_record, number_of, state_record
from shared.kernel.model import Service
from shared.kernel.partition import partition_of
from shared.kernel.ports import (
    Clock,
    DeadLetter,
    LaneRow,
    Outgoing,
    ProduceFailed,
    Row,
    Store,
    TopicPartition,
    Topics,
    Transient,
    Writer,
)

MEMORY_ROWS = 5_000
"""Rows of one lane kept in memory; above, they are read from the table."""
BATCH_ROWS = 500
BATCH_BYTES = 700_000
LETTERS_AT_ONCE = 100
TAIL_RECORDS, TAIL_GROWTH = 20, 10
"""How many of a partition's newest records are looked at for this service's last ones; and how many times more where there is none."""
IDLE_REPEAT_S = 60.0
"""An idle lane sends its last record again, so that a lost tail shows."""
NOTE_SENT_S = 1.0
STOP_S = 7.0
"""How long a publisher that shall stop goes on with what is left."""
PRUNE_S = 30.0
PRUNE_INBOX_S = 3600.0
INBOX_HORIZON = timedelta(days=30)
"""How long an external message is recognised when it comes again."""


class DatabaseBehind(Exception):
    """A topic holds messages this database has never written: it was restored to an older state, and going on from there would give
    numbers a second time. Remedy: restore it to its newest state, the end of its archive. No command repairs what can't be restored."""


@dataclass(slots=True)
class _Lane:
    acked: int
    """Last sequence known to be in the topic."""
    head: int
    """Last sequence known to be committed."""
    memory: dict[int, LaneRow] = field(default_factory=dict)
    last: LaneRow | None = None
    idle_since: float = 0.0


class Publisher:
    """One replica's publisher: of the destination partitions owned with its shards, and of the state rows it changed."""

    def __init__(
        self,
        service: Service[Any],
        store: Store,
        writer: Writer,
        topics: Topics,
        clock: Clock,
        log: FilteringBoundLogger,
        partitions: Mapping[str, int],
        keep: timedelta,
    ) -> None:
        self.stopping = False
        self.published = 0
        self.failures = 0
        self._service = service
        self._store = store
        self._writer = writer
        self._topics = topics
        self._clock = clock
        self._log = log
        self._partitions = partitions
        self._keep = keep
        self._signal = clock.signal()
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._untold: set[TopicPartition] = set()
        """Lanes whose acknowledged tail the store doesn't know yet."""
        self._states = {state.topic.name: state for state in service.states}
        self._dirty: dict[str, dict[str, Row]] = {name: {} for name in self._states}
        self._incarnation = 1
        self._alone = False
        self._letters_wait = True
        self._shards: tuple[int, ...] = ()
        self._due: dict[str, float] = {}

    # ---- ownership ----

    async def own(self, shards: Sequence[int]) -> None:
        """Takes over the destinations that go with these shards. Raises DatabaseBehind where a topic is ahead of the database."""
        self._incarnation = await self._store.incarnation()
        self._shards = tuple(shards)
        mine = [at for at in self._destinations() if at.partition % self._partitions["~timers"] in shards]
        tails = {at: _highest(numbers) for at, numbers in (await self._own_tails(mine)).items()}
        heads = await self._store.lane_heads(mine) if mine else {}
        lanes = {}
        for at, (incarnation, seq, sent) in heads.items():
            tail = tails.get(at, {}).get(incarnation, 0)
            if tail > seq or max(tails.get(at, {}), default=0) > incarnation:
                raise DatabaseBehind(f"{at.topic}/{at.partition} shows seq {tail}, the database {seq} (incarnation {incarnation})")
            known = self._lanes.get(at)
            lanes[at] = _Lane(max(tail, sent, known.acked if known else 0), seq)
        self._lanes = lanes
        self._untold |= {at for at, lane in lanes.items() if lane.acked > heads[at][2]}
        self._alone = len(shards) == self._partitions["~timers"]
        await self._check_documents()
        await self._mark_dirty(range(self._partitions["~timers"]))  # what a crash or an unknown commit left may belong to any shard
        self._signal.set()

    def _destinations(self) -> list[TopicPartition]:
        owned = [topic for topic in owned_by(self._service.name) if topic.kind == "events"]
        return [TopicPartition(topic.name, p) for topic in owned for p in range(self._partitions[topic.name])]

    async def _own_tails(self, at: Sequence[TopicPartition]) -> dict[TopicPartition, list[tuple[str, int, int]]]:
        """(key, incarnation, sequence or version) of this service's newest records in each partition, deletions left out; strangers'
        records are passed over, however many they are."""
        own: dict[TopicPartition, list[tuple[str, int, int]]] = {}
        sought, newest = list(at), TAIL_RECORDS
        bounds: Mapping[TopicPartition, tuple[int, int]] = {}
        while sought:
            for one, records in (await self._topics.tails(sought, newest)).items():
                found = [(_id_in(r.key), *_lane_of(r.headers, self._service.name)) for r in records if r.value]
                own[one] = [entry for entry in found if entry[1]]
            sought = [one for one in sought if not own[one]]
            bounds = bounds or (await self._topics.bounds(sought) if sought else {})
            sought = [one for one in sought if bounds[one][1] - bounds[one][0] > newest]
            newest *= TAIL_GROWTH
        return own

    async def _check_documents(self) -> None:
        """Raises DatabaseBehind where a state topic shows a version that its row has not reached."""
        for name, state in self._states.items():
            mine = [TopicPartition(name, p) for p in range(self._partitions[name]) if p % self._partitions["~timers"] in self._shards]
            shown = [entry for entries in (await self._own_tails(mine)).values() for entry in entries]
            rows = await self._store.rows(state.kind, sorted({id for id, _, _ in shown})) if shown else {}
            for id, incarnation, version in shown:
                known = (self._incarnation, rows[id].version if id in rows else 0)
                if (incarnation, version) > known:
                    raise DatabaseBehind(f"{name} shows {id} in version {version}, the database {known[1]} (incarnation {known[0]})")

    async def _mark_dirty(self, shards: Sequence[int]) -> None:
        """State rows of these shards whose version isn't the one their topic shows, as far as read back."""
        for name, state in self._states.items():
            after = ""
            while rows := await self._store.dirty(name, state.kind, after, 1000):
                for id, row in rows:
                    if row.state is not None and partition_of(id, self._partitions[name]) % self._partitions["~timers"] in shards:
                        self._dirty[name].setdefault(id, row)
                after = rows[-1][0]

    # ---- what the engine hands over, after its commit ----

    def offer(self, rows: Sequence[LaneRow]) -> None:
        for row in rows:
            lane = self._lanes.get(TopicPartition(row.row.topic, row.row.partition))
            if lane is not None:
                lane.head = max(lane.head, row.seq)
                if len(lane.memory) < MEMORY_ROWS:
                    lane.memory[row.seq] = row
        if rows:
            self._signal.set()

    def offer_states(self, topic: str, rows: Mapping[str, Row]) -> None:
        if rows:
            self._dirty[topic] |= rows
            self._signal.set()

    def dead_letters_wait(self) -> None:
        self._letters_wait = True
        self._signal.set()

    def forget_memory(self) -> None:
        """After a failed or unknown commit nothing is sent from memory."""
        for lane in self._lanes.values():
            lane.memory.clear()
        self._due.pop("heads", None)

    def depth(self) -> int:
        return sum(lane.head - lane.acked for lane in self._lanes.values())

    # ---- the rounds ----

    async def run(self) -> None:
        """Until `stopping` and nothing is left to send, or not to be sent in time."""
        while not (self.stopping and self._overdue("stop", STOP_S, first=STOP_S)):
            try:
                if await self.round():
                    continue
                if self.stopping and self.depth() == 0:
                    return
                await self._signal.wait(0.1 if not self._alone else 0.5)
            except ProduceFailed as error:
                self.failures += 1
                self._log.warning("produce failed", action="send_again_from_tail", error=str(error)[:300])
                await self._clock.sleep(0.2)
            except Transient as error:
                self._log.warning("store failed", action="try_again", error=str(error)[:300])
                await self._clock.sleep(0.5)

    async def round(self) -> bool:
        """Sends one batch to each destination that has something; whether anything was sent."""
        await self._look_around()
        batches: dict[TopicPartition, list[Outgoing]] = {}
        rows = {at: chosen for at in sorted(self._lanes) if (chosen := await self._next_rows(at))}
        for at, chosen in rows.items():
            batches[at] = [lane_record(self._service.name, row) for row in chosen]
        states = self._next_states()
        for at, documents in states.items():
            batches[at] = [record for _, _, record in documents]
        if not batches:
            return await self._send_dead_letters()
        sent = await self._writer.send(batches)
        for at, count in sent.items():
            self.published += count
            if at in rows:
                self._acknowledged(at, rows[at][:count])
            else:
                self._clean(at.topic, states[at][:count])
        tails = {f"{at.topic}/{at.partition}": chosen[sent[at] - 1].seq for at, chosen in rows.items()}
        self._log.debug("published", action="acknowledged", lanes=tails)
        return True

    async def _next_rows(self, at: TopicPartition) -> list[LaneRow]:
        lane = self._lanes.get(at)
        if lane is None:  # given up while another lane's rows were read
            return []
        if lane.acked >= lane.head:
            return self._idle_repeat(lane)
        chosen: list[LaneRow] = []
        size, seq = 0, lane.acked + 1
        while seq in lane.memory and len(chosen) < BATCH_ROWS and size < BATCH_BYTES:
            chosen.append(lane.memory[seq])
            size += len(lane.memory[seq].row.value) + 600
            seq += 1
        if not chosen:
            chosen = _at_most(await self._store.outbox(at, lane.acked, BATCH_ROWS), BATCH_BYTES)
            if not chosen or chosen[0].seq != lane.acked + 1:
                found = chosen[0].seq if chosen else None
                raise Transient(f"{at}: the outbox goes on with {found} after {lane.acked}")
        return chosen

    def _idle_repeat(self, lane: _Lane) -> list[LaneRow]:
        now = self._clock.now().timestamp()
        if lane.last is None or now - lane.idle_since < IDLE_REPEAT_S:
            return []
        lane.idle_since = now
        return [lane.last]

    def _acknowledged(self, at: TopicPartition, rows: Sequence[LaneRow]) -> None:
        lane = self._lanes.get(at)
        if lane is None or not rows:
            return
        lane.acked = max(lane.acked, rows[-1].seq)
        lane.last, lane.idle_since = rows[-1], self._clock.now().timestamp()
        self._untold.add(at)
        for row in rows:
            lane.memory.pop(row.seq, None)

    def _next_states(self) -> dict[TopicPartition, list[tuple[str, Row, Outgoing]]]:
        batches: dict[TopicPartition, list[tuple[str, Row, Outgoing]]] = {}
        sizes: dict[TopicPartition, int] = {}
        now = self._clock.now()
        for name, dirty in self._dirty.items():
            state = self._states[name]
            for id, row in list(dirty.items()):
                at = TopicPartition(name, partition_of(id, self._partitions[name]))
                if sizes.get(at, 0) > BATCH_BYTES or len(batches.get(at, ())) >= BATCH_ROWS:
                    continue
                body = state.render(id, row.version, row.state) if row.state is not None else None
                if body is None and row.state is not None:
                    dirty.pop(id)
                    continue
                record = state_record(self._service.name, self._incarnation, id, row.version, now, body)
                batches.setdefault(at, []).append((id, row, record))
                sizes[at] = sizes.get(at, 0) + len(record.value or b"") + 400
        return batches

    def _clean(self, topic: str, documents: Sequence[tuple[str, Row, Outgoing]]) -> None:
        dirty = self._dirty[topic]
        for id, row, _ in documents:
            if id in dirty and dirty[id].version == row.version:
                del dirty[id]

    async def republish_states(self, topic: str, ids: Sequence[str]) -> None:
        """Rows whose topic record is older than one published before: their newest state goes out again."""
        rows = await self._store.rows(self._states[topic].kind, ids)
        for id, row in rows.items():
            if row.state is not None:
                self._dirty[topic].setdefault(id, row)
        self._signal.set()

    async def republish_dirty(self) -> None:
        """Whatever the topics don't show goes out again, where it isn't known which of it is stale."""
        await self._mark_dirty(range(self._partitions["~timers"]))
        self._signal.set()

    # ---- beside the lanes ----

    async def _look_around(self) -> None:
        """What others committed into lanes of ours, and housekeeping."""
        if self._lanes and self._overdue("heads", 0.1 if not self._alone else 2.0):
            for at, (_, seq, _) in (await self._store.lane_heads(sorted(self._lanes))).items():
                if at in self._lanes:
                    self._lanes[at].head = max(self._lanes[at].head, seq)
        await self._note_sent()
        if self._overdue("prune", PRUNE_S, first=PRUNE_S):
            await self._store.prune_outbox(self._clock.now() - self._keep)
        if self._overdue("prune_inbox", PRUNE_INBOX_S, first=PRUNE_INBOX_S):
            await self._store.prune_inbox(self._clock.now() - INBOX_HORIZON)
        if self._overdue("letters", 2.0):
            self._letters_wait = True

    async def _note_sent(self) -> None:
        """Also once all is sent: whoever looks from outside shall see that nothing is left."""
        if self._untold and self._overdue("sent", NOTE_SENT_S):
            telling, self._untold = self._untold, set()
            try:
                await self._store.sent({at: self._lanes[at].acked for at in telling if at in self._lanes})
            except Transient:
                self._untold |= telling
                raise

    async def note_all_sent(self) -> None:
        """Before the replica stops."""
        if self._lanes:
            await self._store.sent({at: lane.acked for at, lane in self._lanes.items()})

    def _overdue(self, what: str, every_s: float, first: float = 0.0) -> bool:
        now = self._clock.now().timestamp()
        due = self._due.setdefault(what, now + first)
        if now < due:
            return False
        self._due[what] = now + every_s
        return True

    async def _send_dead_letters(self) -> bool:
        if not self._letters_wait or 0 not in self._shards:
            return False
        self._letters_wait = False
        letters = await self._store.unsent_dead_letters(LETTERS_AT_ONCE)
        batches: dict[TopicPartition, list[tuple[int, Outgoing]]] = {}
        done: list[int] = []
        for number, letter in letters:
            if letter.record.topic in BY_NAME:
                at = TopicPartition(dead_letter_topic(letter.record.topic, self._service.name), 0)
                batches.setdefault(at, []).append((number, self._dead_letter(letter)))
            else:
                done.append(number)
        sent = await self._writer.send({at: [record for _, record in batch] for at, batch in batches.items()}) if batches else {}
        done += [number for at, batch in batches.items() for number, _ in batch[: sent[at]]]
        if done:
            await self._store.dead_letters_sent(done)
        if len(done) < len(letters) or len(letters) == LETTERS_AT_ONCE:
            self.dead_letters_wait()
        return bool(letters)

    def _dead_letter(self, letter: DeadLetter) -> Outgoing:
        record = letter.record
        headers = [(name, value) for name, value in record.headers if value is not None]
        headers += [
            ("__connect.errors.topic", record.topic.encode()),
            ("__connect.errors.partition", str(record.partition).encode()),
            ("__connect.errors.offset", str(record.offset).encode()),
            ("__connect.errors.connector.name", self._service.name.encode()),
            ("__connect.errors.stage", b"VALUE_CONVERTER"),
            ("__connect.errors.exception.class.name", letter.reason.encode()),
            ("__connect.errors.exception.message", letter.detail.encode("utf-8", "replace")),
        ]
        return Outgoing(record.key or b"", record.value, tuple(headers))


def _highest(numbers: Sequence[tuple[str, int, int]]) -> dict[int, int]:
    """Incarnation to its highest sequence."""
    highest: dict[int, int] = {}
    for _, incarnation, seq in numbers:
        highest[incarnation] = max(seq, highest.get(incarnation, 0))
    return highest


def _id_in(key: bytes | None) -> str:
    """The row that a state topic's key names, whatever bytes it is made of."""
    return (key or b"").decode("utf-8", "replace").replace("\x00", "?")


def _lane_of(headers: Sequence[tuple[str, bytes | None]], service: str) -> tuple[int, int]:
    """(incarnation, seq) of a record of this service's lane; (0, 0) where it is none."""
    found = dict(headers)
    owner, _, incarnation = (found.get("ce_lane") or b"").decode("utf-8", "replace").rpartition("/")
    if owner != service:
        return 0, 0
    return number_of(incarnation.encode(), MAX_INCARNATION), number_of(found.get("ce_seq"))


def _at_most(rows: Sequence[LaneRow], bytes_: int) -> list[LaneRow]:
    chosen, size = [], 0
    for row in rows:
        chosen.append(row)
        size += len(row.row.value) + 600
        if size > bytes_:
            break
    return chosen
