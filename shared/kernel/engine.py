"""The batch loop of one replica: take what has arrived, decide, commit once, hand over to the publisher.

The order inside one transaction is the protocol (see README.md): rows are loaded locked in one global order, then decided, written by
compare-and-set, then positions, then the destination lanes. Whatever fails rolls everything back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from logging import DEBUG
from typing import Any

from structlog.typing import FilteringBoundLogger

from schemas.topics import BY_NAME
from shared.kernel.arrivals import Arrival, apart, arrive, instant, kept_for, wake_up
from shared.kernel.counters import Counters
from shared.kernel.feed import WAIT_AT_MOST_MS, Appetite, Feed, Wait
from shared.kernel.journal import Journal
from shared.kernel.model import Key, Need, Service, Woken
from shared.kernel.overlay import Overlay
from shared.kernel.ports import (
    NOTHING_ATTACHED,
    TIMERS,
    Claim,
    Clock,
    Collision,
    CommitUnknown,
    LaneId,
    LaneRow,
    NotOwner,
    OffsetMove,
    Reader,
    Row,
    SomethingAttached,
    Store,
    StoredInput,
    TopicPartition,
    Topics,
    Transaction,
    Transient,
)
from shared.kernel.publisher import Publisher
from shared.kernel.stage import SPOOL_MOST, Stage, timer_of

MAX_BATCH = 256
"""Most inputs decided in one transaction."""
TIMER_SKEW = timedelta(milliseconds=300)
"""How long after its due time a timer of the future runs, so that inputs of that time have been fetched; longer than `feed.UNASKED_S`."""
GATHER_S = 0.02
"""Longest time between two batches in which more may arrive."""
MANY = 8
"""Inputs of a batch that show that much arrives."""
CARRY_S = 0.25
"""How long messages that are only skipped, or that nobody waits for, may wait for others to be decided and committed with."""
POLL_S = 1.0
"""How often stored inputs, others' timers and the assignment are looked after."""
UNASSIGNED_S = 0.1
"""How soon a replica without partitions looks whether it was given some."""
HELD_S = 0.02
"""How soon timers that wait for older inputs are looked after; seldomer the longer they wait."""
KEPT_S = 30.0
"""How often all kept inputs are tried: whoever made their row may have died before it looked for them."""
BACKOFF_S = (0.02, 0.05, 0.1, 0.3, 1.0, 2.0, 5.0)
QUARANTINES_A_MINUTE = 20


class TooManyQuarantines(Exception):
    """More than 20 internal inputs failed within a minute: that is a bug, not data. Remedy: read the log, mend the rule, start again."""


@dataclass(slots=True)
class _Outcome:
    consumed: int
    stage: Stage
    numbered: list[LaneRow]


class Engine:
    """One replica's loop over its partitions, timers and stored inputs."""

    def __init__(
        self,
        service: Service[Any],
        store: Store,
        reader: Reader,
        publisher: Publisher,
        topics: Topics,
        view: Any,
        clock: Clock,
        log: FilteringBoundLogger,
        partitions: Mapping[str, int],
        journal: Journal | None = None,
    ) -> None:
        self.service = service
        self.feed = Feed(lambda topic: BY_NAME[topic].external)
        self.counters = Counters()
        self.timers_held = Wait()
        """Timers that are due and wait for older inputs."""
        self.stopping = False
        self._store = store
        self._reader = reader
        self._publisher = publisher
        self._topics = topics
        self._view = view
        self._overlay = Overlay(service, store, view, partitions[TIMERS])
        self._clock = clock
        self._now_s = clock.now_s
        self._log = log
        self._tells = log.is_enabled_for(DEBUG)
        """Whether anybody reads what is told of each batch."""
        self._partitions = partitions
        self._journal = journal
        self._arrived = clock.signal()
        self._appetite = Appetite(clock)
        self._claims: dict[TopicPartition, Claim] = {}
        self._offsets: dict[TopicPartition, int] = {}
        self._marks: dict[tuple[TopicPartition, LaneId], int] = {}
        self._shards: tuple[int, ...] = ()
        self._generation = -1
        self._limit = MAX_BATCH
        self._failures = 0
        self._carried: list[Arrival] = []
        """Taken, and not decided nor committed: with the next batch, or soon. Before anything older than they are is judged."""
        self._carry_until = math.inf
        self._retry_kept: set[Key] = set()
        self._stored_due = True
        self._attachments = True
        """Whether messages may be kept, or rows quarantined: mostly none are, and then it is looked after while a batch is written."""
        self._everything_kept = True
        self._gather_until = 0.0
        self._next_timer_at = 0.0
        self._next_poll_at = 0.0
        self._next_kept_at = 0.0
        self._quarantined_at: list[float] = []
        self._headless: frozenset[TopicPartition] = frozenset()
        self._room: dict[TopicPartition, int] = {}
        self.overflow: dict[TopicPartition, int] = {}
        """Partitions whose spool is full, by the offset at which they will be read again; see Stage."""
        self._spool_ran = False
        self._gaps: dict[tuple[TopicPartition, LaneId], int] = {}
        """Lanes whose gap was told, by the mark behind which it begins."""
        self._alarms: set[str] = set()
        """Those that were told and go on."""

    # ---- the loop ----

    async def run(self) -> None:
        """Until `stopping`; raises only what a restart must mend."""
        while not self.stopping:
            await self.step()
        await self._leave()

    async def _leave(self) -> None:
        """Positions of what was skipped; who can't move them leaves them to whoever reads on."""
        try:
            await self._run(self._unloaded())
        except (Transient, NotOwner, CommitUnknown) as error:
            self._log.info("positions of skipped messages not moved", action="leave", error=str(error)[:200])

    async def step(self) -> None:
        """One turn: the assignment, what was put aside, timers, then records."""
        try:
            if not self._is_settled():
                await self._follow_assignment()
            if self._looks_for_stored() or self._looks_for_timers():
                await self._run_owed()
            if (self._looks_for_stored() and await self._run_stored()) or (self._looks_for_timers() and await self._run_timers()):
                return
            if self._gather_until > self._now_s():
                await self._let_some_gather()
            records, late = self.feed.take(self._limit, self.now_ms())
            if len(records) == self._limit and len(self.feed) < self._limit:
                self._appetite.feel()
            self._alarm("external messages are judged while older internal ones are unread", late)
            self.counters.late += sum(late and BY_NAME[record.topic].external for record in records)
            if self._carries([arrive(self.service, record, late=late) for record in records]):
                if not records:
                    await self._idle()
                return
            await self._run(self._unloaded())
        except (Transient, NotOwner, CommitUnknown) as error:
            await self._recover(error)

    def _carries(self, arrivals: Sequence[Arrival]) -> bool:
        """Adds to what is carried; whether nothing of it has to be committed yet. A commit that only moves positions costs as much as one
        with a decision, and every other message of an order is skipped by somebody."""
        if arrivals and not self._carried:
            self._carry_until = self._now_s() + CARRY_S
        self._carried += arrivals
        patient = self._now_s() < self._carry_until and len(self._carried) < self._limit
        return patient and all(arrival.skipped or type(arrival.body) in self.service.unhurried for arrival in arrivals)

    async def _run_owed(self) -> None:
        """Decides what is carried, if anything of it is to be decided."""
        if not all(arrival.skipped for arrival in self._carried):
            await self._run(self._unloaded())

    def _unloaded(self) -> list[Arrival]:
        carried, self._carried, self._carry_until = self._carried, [], math.inf
        return carried

    async def _let_some_gather(self) -> None:
        """A batch costs as much for one record as for ten: after one, as long as it took is left for more to arrive, and after one of many
        twice as long. Nobody waits when nothing is going on, nor while there is enough for a whole batch.
        """
        rest = min(self._gather_until - self._now_s(), GATHER_S)
        if rest > 0 and len(self.feed) < self._limit:
            await self._clock.sleep(rest)

    async def read(self) -> None:
        """The feeder: drains the consumer into bounded queues, until `stopping`."""
        while not self.stopping:
            try:
                records = await self._reader.fetch(0.2)
            except Transient as error:
                self._log.warning("fetch failed", action="seek_again", error=str(error))
                self.feed.lose()
                self._generation = -1
                self._arrived.set()
                await self._clock.sleep(0.2)
                continue
            self.feed.push(records, self._reader)
            self._reader.pause(self.feed.to_pause())
            if records:
                self._arrived.set()
                await self._appetite.returns()

    async def _idle(self) -> None:
        self._appetite.feel()
        self._reader.resume(self.feed.to_resume())
        wait = min(self._next_timer_at, self._next_poll_at, self._carry_until) - self._now_s() if self._shards else UNASSIGNED_S
        await self._arrived.wait(max(0.001, min(wait, POLL_S)))

    def now_ms(self) -> int:
        """Its clock, in milliseconds since the epoch."""
        return int(self._now_s() * 1000)

    # ---- ownership ----

    def _is_settled(self) -> bool:
        """Whether it has claimed what it is assigned, of the database that is there."""
        assignment = self._reader.assignment()
        return bool(assignment.generation == self._generation and self.feed.claimed() == assignment.partitions and self._publisher.life)

    async def _follow_assignment(self) -> None:
        assignment = self._reader.assignment()
        self._generation = assignment.generation
        self._unloaded()
        self.feed.drop(list(self.feed.claimed()))
        await self._claim(assignment.partitions)
        self._log.info(
            "assignment", action="claimed", generation=assignment.generation, partitions=len(assignment.partitions), shards=self._shards
        )

    async def _claim(self, partitions: Iterable[TopicPartition]) -> None:
        """Takes ownership of partitions and the shards that go with them, and reads on from the store's positions."""
        wanted = sorted(partitions)
        shards = tuple(sorted(at.partition for at in wanted if at.topic == self._anchor()))
        bounds = await self._topics.bounds(wanted) if wanted else {}
        owned = [*wanted, *(TopicPartition(TIMERS, shard) for shard in shards)]
        claims = await self._store.claim(owned, {at: begin for at, (begin, _) in bounds.items()}) if wanted else {}
        self.counters.claims += 1
        self._claims, self._offsets, self._marks = dict(claims), {}, {}
        self._headless = frozenset(at for at, claim in claims.items() if claim.headless)
        self._room = {at: SPOOL_MOST - claim.spooled for at, claim in claims.items() if claim.spooled}
        self.overflow, self._spool_ran = {}, False
        for at, claim in claims.items():
            self._offsets[at] = claim.offset
            self._marks |= {(at, lane): seq for lane, seq in claim.marks.items()}
        for at in wanted:
            begin, end = bounds[at]
            self._watch_expiry(at, claims[at].offset, begin)
            self.feed.claim(at, claims[at].offset, end)
            self._reader.seek(at, max(claims[at].offset, begin))
        self._shards = shards
        await self._publisher.own(shards)
        await self._overlay.restore(self._publisher.life, self._generation, shards)
        self._everything_kept = self._stored_due = True
        self._next_timer_at = self._next_poll_at = 0.0

    def _watch_expiry(self, at: TopicPartition, offset: int, begin: int) -> None:
        """Records that expired unread show as a gap in their lane (republish them); on external topics they are lost."""
        if offset < begin:
            self._log.error("records expired unread", action="alarm", at=f"{at.topic}/{at.partition}", wanted=offset, begins=begin)

    def _anchor(self) -> str:
        """The topic whose partitions the timer shards and destination partitions are owned with."""
        return next(topic.name for topic in self.service.reads if not topic.one_partition)

    async def _recover(self, error: Exception) -> None:
        """Nothing of the failed batch happened, or only the store knows: forget, wait a little, claim again.

        A batch that fails again may be too long for the store's time-outs: the next one is half as long."""
        delay = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._limit = max(1, self._limit // 2)
        self.counters.retries += 1
        self._log.warning("batch failed", action="claim_again", error=f"{type(error).__name__}: {error}"[:300], wait_s=delay)
        await self._clock.sleep(delay)
        self._generation = -1

    # ---- what runs beside the log ----

    def _looks_for_stored(self) -> bool:
        """Whether it is time to look for what was put aside."""
        now_s = self._now_s()
        if now_s >= self._next_poll_at:
            self._stored_due = True
            self._next_poll_at = now_s + POLL_S
        if now_s >= self._next_kept_at:
            self._everything_kept = True
            self._next_kept_at = now_s + KEPT_S
        return bool(self._retry_kept) or (self._stored_due and bool(self._shards))

    async def _run_stored(self) -> bool:
        """Kept, spooled and replayed inputs whose time has come; each replay is a batch alone."""
        if self._retry_kept:
            keys = sorted(self._retry_kept)
            async with self._store.begin() as transaction:
                kept = await transaction.kept_for(keys)
            self._retry_kept.clear()
            if kept:
                await self._run([self._stored(one) for one in kept])
                return True
        if not self._stored_due or not self._shards:
            return False
        self._stored_due = False
        everything, self._everything_kept = self._everything_kept, False
        due = await self._store.stored_due(self._shards, self._judged_until(), MAX_BATCH, everything)
        due = [one for one in due if one.purpose != "spooled" or one.record.at in self._claims]
        for batch in apart(due):
            await self._run([self._stored(one) for one in batch])
        if self._spool_ran and not any(one.purpose == "spooled" for one in due):
            self._generation = -1  # as far as it could: there may be room again for what was left in the log
        return bool(due)

    def _stored(self, one: StoredInput) -> Arrival:
        if one.record.topic == TIMERS:
            timer = timer_of(one.record)
            return Arrival(timer.due, wake_up(timer, 0).cause, one.record, body=Woken(timer.key, timer.name, timer.due), stored=one)
        overdue = one.until is not None and one.until <= self._judged_until()
        return arrive(self.service, one.record, stored=one, overdue=overdue)

    def _judged_until(self) -> datetime:
        """Deadlines up to here may be judged: every older input has been taken."""
        return instant(max(0.0, min(self.feed.horizon_ms(), self.now_ms() - TIMER_SKEW.total_seconds() * 1000)))

    def _looks_for_timers(self) -> bool:
        return bool(self._shards) and self._now_s() >= self._next_timer_at

    async def _run_timers(self) -> bool:
        now = self._clock.now()
        until = min(self.feed.horizon_ms() / 1000, max((now - TIMER_SKEW).timestamp(), min(self.feed.newest_ms / 1000, now.timestamp())))
        upcoming = await self._store.next_timer(self._shards)
        if upcoming is not None and 0 < upcoming.timestamp() <= until and await self._run_due(now.fromtimestamp(until, now.tzinfo)):
            return True
        at = upcoming.timestamp() + TIMER_SKEW.total_seconds() if upcoming is not None else now.timestamp() + POLL_S
        lasted_s = self._hold_timers(waiting=at < now.timestamp())
        self._next_timer_at = now.timestamp() + min(max(at - now.timestamp(), HELD_S, lasted_s / 10), POLL_S)
        return False

    async def _run_due(self, until: datetime) -> bool:
        """Whether there were timers due until then."""
        due = await self._store.timers_due(self._shards, until, self._limit)
        if due:
            self._hold_timers(waiting=False)
            await self._run([wake_up(timer, self.feed.newest_ms) for timer in due])
        return bool(due)

    def _hold_timers(self, waiting: bool) -> float:
        """Timers wait for older inputs as long as it takes; after the time that messages wait at most, somebody is told. For how many
        seconds they have waited."""
        lasted_ms = self.timers_held.note(waiting, self.now_ms())
        self._alarm("timers wait for older inputs", lasted_ms > WAIT_AT_MOST_MS, lag=sum(self.feed.lag().values()))
        return lasted_ms / 1000

    def _alarm(self, what: str, raised: bool, **fields: Any) -> None:
        """An error in the log when a state of alarm begins; nothing while it lasts."""
        if raised and what not in self._alarms:
            self._log.error(what, action="alarm", **fields)
            self._alarms.add(what)
        elif not raised:
            self._alarms.discard(what)

    # ---- batches ----

    async def _run(self, arrivals: Sequence[Arrival]) -> None:
        """Decides all arrivals, in as many transactions as it takes; gives back what it can't decide, or what comes after messages that
        were kept for a row it has changed."""
        rest = list(arrivals)
        try:
            while rest and not self._retry_kept:
                rest = rest[await self._attempt(rest[: self._limit]) :]
        finally:
            self._give_back(rest)

    def _give_back(self, rest: Sequence[Arrival]) -> None:
        if rest:
            self.feed.give_back([a.record for a in rest if a.record is not None and a.stored is None])
            self._stored_due, self._next_timer_at = True, 0.0
            self._retry_kept |= kept_for(rest)

    async def _attempt(self, batch: Sequence[Arrival]) -> int:
        """One transaction over the batch, or over a part of it; returns how many arrivals it consumed."""
        started = self._now_s()
        try:
            outcome = await self._transact(batch)
        except SomethingAttached:
            self._view.rollback()
            self._attachments = True
            return 0
        except Collision as error:
            return await self._collided(batch, error)
        except (Transient, NotOwner, CommitUnknown):
            self._view.rollback()
            raise
        except Exception as error:  # noqa: BLE001 - whatever a rule raises: the batch is halved, the one input isolated
            self._view.rollback()
            return await self._isolate(batch, error)
        self._committed(outcome, self._now_s() - started)
        return outcome.consumed

    async def _collided(self, batch: Sequence[Arrival], error: Collision) -> int:
        """Somebody was quicker. Records are decided again; timers and stored inputs may be gone by now: they are read again."""
        self._view.rollback()
        self.counters.collisions += 1
        self._log.info("collision", action="decide_again", error=str(error)[:200])
        await self._clock.sleep(0.005)
        if batch[0].timer is None and batch[0].stored is None:
            return 0
        self._next_timer_at, self._stored_due = 0.0, True
        self._retry_kept |= kept_for(batch)
        return len(batch)

    async def _transact(self, batch: Sequence[Arrival]) -> _Outcome:
        stage = self._stage()
        async with self._store.begin() as transaction:
            self._expect_life(transaction)
            needs, found = await self._load(transaction, stage, batch)
            consumed = 0
            for arrival, need in zip(batch, needs, strict=True):
                if stage.must_wait(need, found.get(id(arrival), ()), arrival.kept):
                    break
                stage.take(arrival, need)
                consumed += 1
            if self._tells:
                self._log.debug("batch", action="decided", inputs=consumed, positions=stage.positions(), publishes=len(stage.outbox))
            numbered = await self._write(transaction, stage, batch[:consumed])
            self._overlay.doubt(stage.changed)
        return _Outcome(consumed, stage, numbered)

    def _expect_life(self, transaction: Transaction) -> None:
        """Raises Transient where the database is another one than the one that was compared with its topics: claim, and compare, again."""
        if transaction.life != self._publisher.life:
            raise Transient("the database is another one than before: it is compared with its topics first")

    def _stage(self) -> Stage:
        lanes = self._marks, self._headless, dict(self._room), dict(self.overflow)
        return Stage(self.service, self._view, self._partitions, *lanes)

    async def _load(
        self, transaction: Transaction, stage: Stage, batch: Sequence[Arrival]
    ) -> tuple[list[Need], dict[int, tuple[Key, ...]]]:
        finds = {id(a): self.service.find(a.body) for a in batch if a.body is not None}
        wanted = sorted({key for keys in finds.values() for key in keys})
        found = {key: row.state for key, row in (await transaction.find(wanted)).items() if row.state is not None} if wanted else {}
        needs = [self.service.keys(a.body, found) if a.body is not None else Need(()) for a in batch]
        keys = sorted({key for need in needs for key in need.keys})
        rows = await transaction.load(keys) if keys else {}
        stage.loaded(keys, rows)
        await self._load_slices(transaction, stage, needs, rows)
        named = [*keys, *sorted({a.message_key for a in batch if a.record is not None and not a.skipped})]
        stage.unlooked = bool(named) and not self._attachments
        if named and self._attachments:
            stage.attached = await transaction.attached(named)
            self._attachments = stage.attached is not NOTHING_ATTACHED
        external = [
            (a.envelope.source, a.envelope.id) for a in batch if a.envelope and a.topic and a.topic.kind == "fact" and a.stored is None
        ]
        stage.known = await transaction.known(external) if external else {}
        return needs, finds

    async def _load_slices(self, transaction: Transaction, stage: Stage, needs: Sequence[Need], rows: Mapping[Key, Row]) -> None:
        slices = [of for need in needs for of in need.slices]
        if slices:
            states = {of.owner: rows[of.owner].state if of.owner in rows else None for of in slices}
            wanted = [(of, of.enough(states[of.owner])) for of in slices]
            asked = [one for one in wanted if one[1] > 0]
            stage.loaded_slices({(of.owner, of.kind): [] for of in slices} | (await transaction.slices(asked) if asked else {}))

    async def _write(self, transaction: Transaction, stage: Stage, consumed: Sequence[Arrival]) -> list[LaneRow]:
        changes = stage.finish()
        moves = {at: self._offsets[at] for at in stage.unmoved(consumed)} | stage.next_offset
        for at, offset in sorted(moves.items()):
            if at not in self._claims:
                raise NotOwner(f"{at} is not claimed")
            changes.offsets.append(OffsetMove(at, self._claims[at].epoch, self._offsets[at], offset))
        journaled = self._journal.rows(changes, stage.outbox, consumed[0].cause, consumed[-1].now) if self._journal is not None else []
        return await transaction.write(changes, [*journaled, *stage.outbox], unattached=stage.unlooked)

    def _committed(self, outcome: _Outcome, seconds: float) -> None:
        stage = outcome.stage
        self._view.commit()
        self._overlay.settle()
        self._offsets |= stage.next_offset
        self._marks |= stage.moved
        self._failures = 0
        self._gather_until = self._now_s() + min((2 if outcome.consumed >= MANY else 1) * seconds, GATHER_S)
        self._limit = min(MAX_BATCH, self._limit * 2)
        self._retry_kept |= stage.changed & stage.attached.kept | stage.awaited
        self._attachments |= bool(stage.changes.kept or stage.changes.quarantines)
        if stage.changes.timers_set:
            soonest = min(timer.due for timer in stage.changes.timers_set).timestamp()
            newest = self.feed.newest_ms / 1000
            self._next_timer_at = min(self._next_timer_at, soonest if soonest <= newest else soonest + TIMER_SKEW.total_seconds())
        if stage.moved and any(change.purpose == "spooled" for change in stage.changes.taken):
            self._stored_due = True
        self._tell_gaps(stage)
        self._note_spool(stage)
        self._publisher.offer(outcome.numbered)
        for state in self.service.states:
            self._publisher.offer_states(state.topic.name, stage.states(state.kind))
        if stage.changes.dead_letters or stage.changes.quarantines:
            self._publisher.dead_letters_wait()
        self.counters.note(stage, seconds)
        self._watch_quarantines(stage)
        if self._tells:
            self._log.debug(
                "batch",
                action="committed",
                inputs=outcome.consumed,
                positions=stage.positions(),
                published=len(outcome.numbered),
                seconds=round(seconds, 4),
                **stage.counts,
            )

    def _note_spool(self, stage: Stage) -> None:
        """A full one stops its partition at the record it had no room for. What closes the gap is read on behind it all the same."""
        self._room, self.overflow = stage.room, stage.overflow
        self._spool_ran |= any(one.purpose == "spooled" and one.record.at in self.overflow for one in stage.changes.taken)
        stopped = ", ".join(f"{at.topic}/{at.partition} at {offset}" for at, offset in self.overflow.items())
        self._alarm("a spool is full, its partition stops until the gap is closed", bool(stopped), stopped=stopped)

    def _tell_gaps(self, stage: Stage) -> None:
        """Once for each gap, and again by whoever takes the partition over; `stored_spooled` of /metrics counts the lanes that wait."""
        for row in stage.behind:
            lane = (row.at, row.lane)
            mark = self._marks.get(lane, 0)
            if self._gaps.get(lane) != mark:
                self._gaps[lane] = mark
                first, last = mark + 1, row.seq - 1
                mend = f"nervure lanes republish {row.at.topic} {row.at.partition} --from {first} --to {last}"
                where = f"{row.at.topic}/{row.at.partition}"
                self._log.error("a lane has a gap", action="alarm", at=where, lane=row.lane.service, first=first, last=last, mend=mend)

    def _watch_quarantines(self, stage: Stage) -> None:
        fresh = [q for q in stage.changes.quarantines if q.reason != "waits"]
        now = self._now_s()
        self._quarantined_at = [at for at in self._quarantined_at if at > now - 60] + [now] * len(fresh)
        for quarantine in fresh:
            self._log.error(
                "input quarantined", action="quarantine", keys=str(quarantine.keys[:3]), reason=quarantine.reason, detail=quarantine.detail
            )
        if len(self._quarantined_at) > QUARANTINES_A_MINUTE:
            raise TooManyQuarantines(f"{len(self._quarantined_at)} within a minute; the last: {fresh[-1].reason}: {fresh[-1].detail}")

    async def _isolate(self, batch: Sequence[Arrival], error: Exception) -> int:
        """Halves the batch until one arrival is alone; that one becomes a dead letter, or its rows are quarantined."""
        if len(batch) > 1:
            self._limit = max(1, len(batch) // 2)
            self._log.info("batch halved", action="halve", inputs=self._limit, error=f"{type(error).__name__}: {error}"[:200])
            return 0
        self._log.warning("input refused", action="refuse", error=f"{type(error).__name__}: {error}"[:500], exc_info=error)
        stage = self._stage()
        try:
            async with self._store.begin() as transaction:
                self._expect_life(transaction)
                need = await self._lock_for_refusal(transaction, stage, batch[0])
                stage.refuse(batch[0], need, error)
                numbered = await self._write(transaction, stage, batch)
        except Collision as collision:
            return await self._collided(batch, collision)
        self._committed(_Outcome(1, stage, numbered), 0.0)
        return 1

    async def _lock_for_refusal(self, transaction: Transaction, stage: Stage, arrival: Arrival) -> Need:
        try:
            need = self.service.keys(arrival.body, {}) if arrival.body is not None else Need(())
        except Exception as error:  # noqa: BLE001 - the input that failed may fail here too
            self._log.info("keys failed too", action="quarantine_message_key", error=str(error)[:200])
            return Need(())
        stage.loaded(need.keys, await transaction.load(need.keys) if need.keys else {})
        return need
