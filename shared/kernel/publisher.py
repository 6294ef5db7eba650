"""Publishes what was committed: lanes in order from the acknowledged tail, state documents from their rows, dead letters.

Rounds: each round sends at most one batch to each destination partition and waits for all acknowledgements, so that at most one batch
of a partition is in flight. Rows of this process come from memory, what memory misses from the table. Duplicates are harmless (readers
know the sequence); gaps and disorder can't happen.

Where a gate or a journal is asked for, what was committed waits in `gate.py` until it can't be lost any more: then no topic is ahead of
the database that takes over. Nothing is sent before the topics were compared with the database (`behind.py`), each time it is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from logging import DEBUG
from typing import Any

from structlog.typing import FilteringBoundLogger

from schemas.topics import BY_NAME, dead_letter_topic, owned_by
from shared.kernel.behind import Heads, Tails, compare_documents, compare_lanes
from shared.kernel.codec import lane_record, state_record
from shared.kernel.gate import Gate, Waiting
from shared.kernel.model import Service, State
from shared.kernel.ports import (
    PRUNED_AT_ONCE,
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
from shared.kernel.unrendered import Unrendered
from shared.kernel.waiting_documents import WaitingDocuments

MEMORY_ROWS = 5_000
"""Rows of one lane kept in memory; above, they are read from the table."""
BATCH_ROWS = 500
BATCH_BYTES = 700_000
LETTERS_AT_ONCE = 100
GATE_POLL_S, GATE_POLL_MOST_S = 0.005, 0.25
"""How soon what waits at the gate is looked after again; twice as late each time that nothing has passed."""
GATE_ALARM_S = 30.0
"""How long something waits at the gate before somebody is told."""
IDLE_REPEAT_S = 60.0
"""An idle lane sends its last record again, so that a lost tail shows."""
NOTE_SENT_S = 1.0
STOP_S = 7.0
"""How long a publisher that shall stop goes on with what is left."""
PRUNE_S, PRUNE_ON_S = 30.0, 1.0
"""How often sent rows past their keeping are looked for, and how soon again where there may be more."""
PRUNE_INBOX_S = 3600.0
INBOX_HORIZON = timedelta(days=30)
"""How long an external message is recognised when it comes again."""


_Sent = tuple[str, Row, Outgoing]
"""A row's id, the row, and its document."""


@dataclass(slots=True)
class _Lane:
    acked: int
    """Last sequence known to be in the topic."""
    head: int
    """Last sequence known to be committed."""
    free: int
    """Last sequence that may be sent."""
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
        journal: TopicPartition | None = None,
    ) -> None:
        """`journal`: where the service's journal is written to, if it keeps one."""
        self.life = ""
        """Of the database as it was compared with its topics; empty until it was, and once it is another one: claim again."""
        self.stopping = False
        self.published = 0
        self.failures = 0
        self._service = service
        self._store = store
        self._writer = writer
        self._topics = topics
        self._clock = clock
        self._log = log
        self._tells = log.is_enabled_for(DEBUG)
        self._partitions = partitions
        self._keep = keep
        self._signal = clock.signal()
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._untold: set[TopicPartition] = set()
        """Lanes whose acknowledged tail the store doesn't know yet."""
        self._gate = Gate(store.gated, journal)
        self._commit = Waiting()
        """What the engine hands over of its last commit."""
        self._journaled = 0
        """Last sequence of the journal known to be in its topic."""
        self._letters: list[tuple[int, DeadLetter]] = []
        """May be sent."""
        self._letters_at_gate = False
        self._gate_moved_at, self._gate_passed, self._gate_poll_s = 0.0, 0, GATE_POLL_S
        self._states = {state.topic.name: state for state in service.states}
        self._dirty = {name: WaitingDocuments(name, partitions[name]) for name in self._states}
        self.unrendered = Unrendered(log)
        self._incarnation = 1
        self._alone = False
        self._letters_wait = True
        self._shards: tuple[int, ...] = ()
        self._due: dict[str, float] = {}

    # ---- ownership ----

    async def own(self, shards: Sequence[int]) -> None:
        """Takes over the destinations that go with these shards. Raises DatabaseBehind where a topic is ahead of the database."""
        before, self.life = self.life, ""
        life = (await self._store.horizon()).life
        self._incarnation = await self._store.incarnation()
        self._shards = tuple(shards)
        tails, heads = await compare_lanes(self._service, self._store, self._topics, self._destinations())
        await compare_documents(self._service, self._store, self._topics, self._partitions, self._incarnation)
        self._alone = len(shards) == self._partitions["~timers"]
        if life != before:
            self._forget_life()
        self._take_over(tails, heads)
        await self._mark_dirty()  # what a crash or an unknown commit left may belong to any shard
        self.life = life
        self._signal.set()

    def _forget_life(self) -> None:
        """Of another life of the database nothing counts any more: what it had committed last may be lost."""
        for dirty in self._dirty.values():
            dirty.clear()
        self.unrendered.forget()
        self._gate.clear()
        self._letters, self._letters_at_gate = [], False
        self._journaled = 0

    def _take_over(self, tails: Tails, heads: Heads) -> None:
        lanes = {}
        for at in self._destinations():
            if at not in heads or at.partition % self._partitions["~timers"] not in self._shards:
                continue
            incarnation, seq, sent = heads[at]
            known = self._lanes.get(at)
            acked = max(tails.get(at, {}).get(incarnation, 0), sent, known.acked if known else 0)
            lanes[at] = _Lane(acked, seq, seq if self._gate.open else acked)
        self._lanes = lanes
        self._untold |= {at for at, lane in lanes.items() if lane.acked > heads[at][2]}
        self._pass(self._waiting_for(heads))

    def _destinations(self) -> list[TopicPartition]:
        owned = [topic for topic in owned_by(self._service.name) if topic.kind == "events"]
        lanes = [TopicPartition(topic.name, p) for topic in owned for p in range(self._partitions[topic.name])]
        return [*lanes, self._gate.journal] if self._gate.journal is not None else lanes

    async def _mark_dirty(self) -> None:
        self._find(await self._unpublished())

    async def _unpublished(self) -> dict[str, dict[str, Row]]:
        """State rows whose version isn't the one their topic shows, as far as read back."""
        found: dict[str, dict[str, Row]] = {name: {} for name in self._states}
        for name, state in self._states.items():
            after = ""
            while rows := await self._store.dirty(name, state.kind, after, 1000):
                found[name] |= {id: row for id, row in rows if row.state is not None}
                after = rows[-1][0]
        return found

    # ---- what the engine hands over, after its commit ----

    def offer(self, rows: Sequence[LaneRow]) -> None:
        for row in rows:
            lane = self._lanes.get(row.row.at)
            if lane is not None:
                lane.head = max(lane.head, row.seq)
                if len(lane.memory) < MEMORY_ROWS:
                    lane.memory[row.seq] = row
        self._commit = Waiting({row.row.at: row.seq for row in rows})
        self._commit.journal = self._commit.heads.get(self._gate.journal, 0) if self._gate.journal is not None else 0
        self._pass(self._commit)

    def offer_states(self, topic: str, rows: Mapping[str, Row]) -> None:
        """Of the commit whose rows were offered just before."""
        if rows and self._gate.open:
            self._send(Waiting(states={topic: rows}))
        elif rows:
            self._commit.states[topic] = rows

    def dead_letters_wait(self) -> None:
        self._letters_wait = True
        self._signal.set()

    def _pass(self, waiting: Waiting) -> None:
        """Through the gate: at once where it is open."""
        if self._gate.open:
            self._send(waiting)
        else:
            self._gate.wait(waiting)
        self._signal.set()

    def _send(self, waiting: Waiting) -> None:
        """It may go out by now."""
        for at, seq in waiting.heads.items():
            if at in self._lanes and at != self._gate.journal:
                self._lanes[at].free = max(self._lanes[at].free, seq)
        for topic, rows in waiting.states.items():
            if waiting.found:
                self._dirty[topic].put_newer(rows)
            else:
                self._dirty[topic].put(rows)
        if waiting.letters:
            self._letters, self._letters_at_gate = waiting.letters, False
        self._signal.set()

    def _find(self, states: Mapping[str, Mapping[str, Row]]) -> None:
        """State rows read from the database: of a commit nobody told of."""
        if any(states.values()):
            self._pass(Waiting(states=dict(states), found=True))

    def _see(self, heads: Heads) -> None:
        """Heads read from the database: what others committed, too."""
        waiting, fresh = self._waiting_for(heads), False
        for at, seq in waiting.heads.items():
            if at in self._lanes and seq > self._lanes[at].head:
                self._lanes[at].head, fresh = seq, True
        if fresh:
            self._pass(waiting)

    def _waiting_for(self, heads: Heads) -> Waiting:
        waiting = Waiting({at: seq for at, (_, seq, _) in heads.items()})
        if self._gate.journal is not None and self._gate.journal in heads:
            _, waiting.journal, sent = heads[self._gate.journal]
            self._journaled = max(self._journaled, sent)
        return waiting

    def depth(self) -> int:
        """What was committed and is not in its topics yet, as far as is known; documents only as long as the gate holds them back."""
        return sum(lane.head - lane.acked for lane in self._lanes.values()) + self._gate.documents()

    def documents(self) -> int:
        """State rows that passed the gate, and whose newest document isn't acknowledged yet."""
        return sum(map(len, self._dirty.values()))

    # ---- the rounds ----

    async def run(self) -> None:
        """Until `stopping` and nothing is left to send, or not to be sent in time."""
        while not (self.stopping and self._overdue("stop", STOP_S, first=STOP_S)):
            try:
                if await self.round():
                    continue
                if self.stopping and self.depth() == 0:
                    return
                await self._signal.wait(self._gate_poll_s if self._gate else 0.1 if not self._alone else 0.5)
            except ProduceFailed as error:
                self.failures += 1
                self._log.warning("produce failed", action="send_again_from_tail", error=str(error)[:300])
                await self._clock.sleep(0.2)
            except Transient as error:
                self._log.warning("store failed", action="try_again", error=str(error)[:300])
                await self._clock.sleep(0.5)

    async def round(self) -> bool:
        """Sends one batch to each destination that has something; whether anything was sent."""
        if not self.life:
            return False
        await self._look_around()
        if self._gate:
            await self._open_gate()
        batches: dict[TopicPartition, list[Outgoing]] = {}
        rows = {at: chosen for at in self._waiting_lanes() if (chosen := await self._next_rows(at))}
        for at, chosen in rows.items():
            batches[at] = [lane_record(self._service.name, row) for row in chosen]
        states = self._next_states()
        for at, documents in states.items():
            batches[at] = [record for _, _, record in documents]
        if not batches:
            return (self._letters_wait or bool(self._letters)) and await self._send_dead_letters()
        sent = await self._writer.send(batches)
        for at, count in sent.items():
            self.published += count
            if at in rows:
                self._acknowledged(at, rows[at][:count])
            else:
                self._clean(at, states[at][:count])
        if self._tells:
            tails = {f"{at.topic}/{at.partition}": chosen[sent[at] - 1].seq for at, chosen in rows.items()}
            self._log.debug("published", action="acknowledged", lanes=tails)
        return True

    def _waiting_lanes(self) -> list[TopicPartition]:
        """Those that have something to send, or were idle for so long that they repeat their last message."""
        idle_since = self._clock.now_s() - IDLE_REPEAT_S
        return sorted(
            at for at, lane in self._lanes.items() if lane.acked < lane.free or (lane.last is not None and lane.idle_since <= idle_since)
        )

    async def _next_rows(self, at: TopicPartition) -> list[LaneRow]:
        lane = self._lanes.get(at)
        if lane is None:  # given up while another lane's rows were read
            return []
        if lane.acked >= lane.free:
            return self._idle_repeat(lane)
        chosen: list[LaneRow] = []
        size, seq = 0, lane.acked + 1
        while seq in lane.memory and seq <= lane.free and len(chosen) < BATCH_ROWS and size < BATCH_BYTES:
            chosen.append(lane.memory[seq])
            size += len(lane.memory[seq].row.value) + 600
            seq += 1
        if not chosen:
            there = await self._store.outbox(at, lane.acked, min(BATCH_ROWS, lane.free - lane.acked))
            chosen = _at_most(there, BATCH_BYTES)
            if not chosen or chosen[0].seq != lane.acked + 1:
                found = chosen[0].seq if chosen else None
                raise Transient(f"{at}: the outbox goes on with {found} after {lane.acked}")
        return chosen

    def _idle_repeat(self, lane: _Lane) -> list[LaneRow]:
        now = self._clock.now_s()
        if lane.last is None or now - lane.idle_since < IDLE_REPEAT_S:
            return []
        lane.idle_since = now
        return [lane.last]

    def _acknowledged(self, at: TopicPartition, rows: Sequence[LaneRow]) -> None:
        lane = self._lanes.get(at)
        if lane is None or not rows:
            return
        lane.acked = max(lane.acked, rows[-1].seq)
        if at == self._gate.journal:
            self._journaled = max(self._journaled, lane.acked)
            self._due.pop("sent", None)  # other replicas wait for it
        lane.last, lane.idle_since = rows[-1], self._clock.now_s()
        self._untold.add(at)
        for row in rows:
            lane.memory.pop(row.seq, None)

    def _next_states(self) -> dict[TopicPartition, list[_Sent]]:
        now = self._clock.now()
        waiting = [(self._states[name], at, rows) for name, dirty in self._dirty.items() for at, rows in dirty.by_partition()]
        return {at: batch for state, at, rows in waiting if (batch := self._next_documents(state, at, rows, now))}

    def _next_documents(self, state: State[Any], at: TopicPartition, rows: Mapping[str, Row], now: datetime) -> list[_Sent]:
        """One batch; rows that aren't published are clean with it, those whose rule fails wait while the others go on."""
        batch: list[_Sent] = []
        unpublished: list[tuple[str, Row]] = []
        size, now_s = 0, now.timestamp()
        for id, row in rows.items():
            if size > BATCH_BYTES or len(batch) >= BATCH_ROWS:
                break
            if self.unrendered.waits(at.topic, id, now_s):
                continue
            try:
                body = state.render(id, row.version, row.state) if row.state is not None else None
                record = state_record(self._service.name, self._incarnation, id, row.version, now, body)
            except Exception as error:  # noqa: BLE001 - whatever a rule raises: its row waits, told as an alarm
                self.unrendered.note(state, id, row, error, now_s)
                continue
            self.unrendered.passed(at.topic, id)
            if body is None and row.state is not None:
                unpublished.append((id, row))
                continue
            batch.append((id, row, record))
            size += len(record.value or b"") + 400
        for id, row in unpublished:
            self._dirty[at.topic].remove(at, id, row)
        return batch

    def _clean(self, at: TopicPartition, documents: Sequence[_Sent]) -> None:
        for id, row, _ in documents:
            self._dirty[at.topic].remove(at, id, row)

    async def republish_states(self, topic: str, ids: Sequence[str]) -> None:
        """Rows whose topic record is older than one published before: their newest state goes out again."""
        rows = await self._store.rows(self._states[topic].kind, ids)
        self._find({topic: {id: row for id, row in rows.items() if row.state is not None}})

    async def republish_dirty(self) -> None:
        """Whatever the topics don't show goes out again, where it isn't known which of it is stale."""
        await self._mark_dirty()

    # ---- the gate ----

    async def _open_gate(self) -> None:
        """Lets out of it what can't be lost any more. Raises Transient where the database is another one than before."""
        gate, lanes = self._gate, self._lanes
        if gate.wants_journal_head() and gate.journal is not None:
            asked = gate.unplaced()
            found = await self._store.lane_heads([gate.journal])
            gate.journal_head(asked, found[gate.journal][1])
            self._journaled = max(self._journaled, found[gate.journal][2])
        held = 0
        if gate.wants_horizon():
            asked = gate.unplaced()
            horizon = await self._store.horizon()
            if horizon.life != self.life:
                self.life = ""
                raise Transient("the database is another one than before: it is compared with its topics first")
            gate.place(asked, horizon)
            held = horizon.held
        journal = gate.held(held)
        if gate.journal in lanes:
            lanes[gate.journal].free = max(lanes[gate.journal].free, journal)
        for waiting in gate.journaled(self._journaled):
            self._send(waiting)
        self._tell_gate()

    def _tell_gate(self) -> None:
        """Somebody is told where nothing passes any more: a standby is away, or the archive stands still."""
        now, gate = self._clock.now_s(), self._gate
        self._gate_poll_s = min(2 * self._gate_poll_s, GATE_POLL_MOST_S)
        if gate.passed != self._gate_passed or not gate or self._gate_moved_at == 0.0:
            self._gate_moved_at, self._gate_passed, self._gate_poll_s = now, gate.passed, GATE_POLL_S
        elif now - self._gate_moved_at > GATE_ALARM_S:
            self._gate_moved_at = now
            self._log.error("the publish gate stands: nobody holds what was committed", action="alarm", waits=self.depth())

    # ---- beside the lanes ----

    async def _look_around(self) -> None:
        """What others committed into lanes of ours, and housekeeping."""
        if (self._lanes or self._gate) and self._overdue("heads", self._heads_s()):
            wanted = {*self._lanes} | ({self._gate.journal} if self._gate.journal is not None else set())
            self._see(await self._store.lane_heads(sorted(wanted)))
        await self._note_sent()
        if self._overdue("prune", PRUNE_S, first=PRUNE_S):
            gone = await self._store.prune_outbox(sorted(self._lanes), self._clock.now() - self._keep)
            if gone >= PRUNED_AT_ONCE:
                self._due["prune"] = self._clock.now_s() + PRUNE_ON_S
        if self._overdue("prune_inbox", PRUNE_INBOX_S, first=PRUNE_INBOX_S):
            await self._store.prune_inbox(self._clock.now() - INBOX_HORIZON)
        if self._overdue("letters", 2.0):
            self._letters_wait = True

    def _heads_s(self) -> float:
        """How often to look what others committed; and how far the journal is, where somebody else publishes it."""
        if self._gate and self._gate.journal is not None and self._gate.journal not in self._lanes:
            return self._gate_poll_s
        return 0.1 if not self._alone else 2.0

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
        now = self._clock.now_s()
        due = self._due.setdefault(what, now + first)
        if now < due:
            return False
        self._due[what] = now + every_s
        return True

    async def _send_dead_letters(self) -> bool:
        letters = await self._free_letters()
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

    async def _free_letters(self) -> list[tuple[int, DeadLetter]]:
        """Dead letters that may be sent; those that wait are read, and shown to the gate."""
        if 0 not in self._shards:
            return []
        if self._letters_wait and not self._letters and not self._letters_at_gate:
            self._letters_wait = False
            if found := await self._store.unsent_dead_letters(LETTERS_AT_ONCE):
                self._letters_at_gate = True
                self._pass(Waiting(letters=found))
        letters, self._letters = self._letters, []
        return letters

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


def _at_most(rows: Sequence[LaneRow], bytes_: int) -> list[LaneRow]:
    chosen, size = [], 0
    for row in rows:
        chosen.append(row)
        size += len(row.row.value) + 600
        if size > bytes_:
            break
    return chosen
