"""Merges the heads of all assigned partitions by append time, so that nothing is judged on old state.

Within a partition offset order rules. An external record of time T waits while an internal partition is behind T: while it has older
records queued, or records at the broker that were not fetched yet. When nothing is behind, nothing waits. Waits are measured: see `Wait`.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from shared.kernel.ports import Clock, Reader, Record, TopicPartition

PAUSE_ABOVE = 4_000
"""Records queued of one partition at which it is paused."""
RESUME_BELOW = 1_000
WAIT_AT_MOST_MS = 600_000
"""How long an external record waits for older internal ones, in milliseconds of append time distance or of waiting."""
UNASKED_S = 0.2
"""Longest time in which the broker isn't asked for more: shorter than `engine.TIMER_SKEW`, for timers wait for what was fetched."""


@dataclass(slots=True)
class Wait:
    """Inputs of one sort that wait for older ones: how often, how long, since when."""

    count: int = 0
    over_ms: int = 0
    """Length of all waits that are over."""
    since_ms: int | None = None

    def note(self, waiting: bool, now_ms: int) -> int:
        """Begins, goes on with or ends a wait; returns how long it lasts by now."""
        lasted = self.lasts_ms(now_ms)
        if waiting and self.since_ms is None:
            self.since_ms = now_ms
            self.count += 1
        elif not waiting and self.since_ms is not None:
            self.over_ms += lasted
            self.since_ms = None
        return self.lasts_ms(now_ms)

    def lasts_ms(self, now_ms: int) -> int:
        return 0 if self.since_ms is None else max(0, now_ms - self.since_ms)


@dataclass(slots=True)
class _Queue:
    external: bool
    next: int
    """Offset of the next record to take."""
    end: int
    """End of the partition as of its latest fetch."""
    fetched: int
    """Offset up to which everything was fetched."""
    records: deque[Record] = field(default_factory=deque)
    paused: bool = False

    @property
    def behind(self) -> bool:
        return not self.records and self.fetched < self.end


class Feed:
    """What was fetched and not decided yet."""

    def __init__(self, is_external: Callable[[str], bool]) -> None:
        self._queues: dict[TopicPartition, _Queue] = {}
        self._is_external = is_external
        self.held = Wait()
        """External records that wait for older internal ones."""
        self.newest_ms = 0
        """Newest append time taken so far."""
        self._lossy = False

    def __len__(self) -> int:
        return sum(len(queue.records) for queue in self._queues.values())

    def claim(self, at: TopicPartition, offset: int, end: int) -> None:
        """Begin at `offset`; what was queued before is forgotten."""
        self._queues[at] = _Queue(self._is_external(at.topic), offset, end, offset)

    def drop(self, at: Iterable[TopicPartition]) -> None:
        """Nothing is known of these any more; what was lost is read again once they are claimed."""
        self._lossy = False
        for one in at:
            self._queues.pop(one, None)

    def lose(self) -> None:
        """Records may have been lost on the way, and what is fetched next may lie behind them: nothing is taken, nor judged, until all
        was dropped and claimed again."""
        self._lossy = True

    def claimed(self) -> frozenset[TopicPartition]:
        return frozenset(self._queues)

    def push(self, records: Sequence[Record], reader: Reader) -> None:
        """What one fetch brought, and how far it has come: beyond the last record where offsets are sparse."""
        if self._lossy:
            return
        for record in records:
            queue = self._queues.get(record.at)
            if queue is not None and record.offset >= queue.fetched:
                queue.records.append(record)
                queue.fetched = record.offset + 1
        for at, queue in self._queues.items():
            end, position = reader.end(at), reader.position(at)
            if end is not None and end > queue.end:
                queue.end = end
            if position is not None and position > queue.fetched:
                queue.fetched = position

    def to_pause(self) -> list[TopicPartition]:
        """Partitions with too much queued, each named once."""
        return self._turn([at for at, queue in self._queues.items() if len(queue.records) > PAUSE_ABOVE and not queue.paused], paused=True)

    def to_resume(self) -> list[TopicPartition]:
        return self._turn([at for at, queue in self._queues.items() if queue.paused and len(queue.records) < RESUME_BELOW], paused=False)

    def _turn(self, found: list[TopicPartition], paused: bool) -> list[TopicPartition]:
        for at in found:
            self._queues[at].paused = paused
        return found

    def horizon_ms(self) -> float:
        """Every input older than this has been taken: timers due before it may run."""
        if self._lossy:
            return -math.inf
        return min((_oldest_ms(queue) for queue in self._queues.values()), default=math.inf)

    def lag(self) -> dict[TopicPartition, int]:
        """Records each partition still has to decide."""
        return {at: max(0, queue.end - queue.next) for at, queue in self._queues.items()}

    def take(self, limit: int, now_ms: int) -> tuple[list[Record], bool]:
        """The oldest records, at most `limit`; and whether the wait for older internal ones was given up."""
        if self._lossy:
            return [], False
        if not any(queue.records for queue in self._queues.values()):
            self.held.note(False, now_ms)
            return [], False
        late = self._gave_up(now_ms)
        heads = [(queue.records[0].appended_ms, at) for at, queue in self._queues.items() if queue.records and (late or self._free(queue))]
        heapq.heapify(heads)
        taken: list[Record] = []
        while heads and len(taken) < limit:
            at = heapq.heappop(heads)[1]
            queue = self._queues[at]
            record = queue.records.popleft()
            queue.next = record.offset + 1
            taken.append(record)
            if queue.records:
                heapq.heappush(heads, (queue.records[0].appended_ms, at))
            elif queue.behind and not queue.external:
                break
        if taken:
            self.newest_ms = max(self.newest_ms, *(record.appended_ms for record in taken))
        return taken, late

    def give_back(self, records: Sequence[Record]) -> None:
        """Records taken and not decided: they come first again."""
        for record in reversed(records):
            queue = self._queues.get(record.at)
            if (queue is not None and queue.next == record.offset + 1) or (
                queue is not None and queue.records and queue.records[0].offset > record.offset
            ):
                queue.records.appendleft(record)
                queue.next = record.offset

    def _free(self, queue: _Queue) -> bool:
        return not queue.external or not any(q.behind for q in self._queues.values() if not q.external)

    def _gave_up(self, now_ms: int) -> bool:
        waiting = any(q.external and q.records for q in self._queues.values())
        blocked = waiting and any(q.behind for q in self._queues.values() if not q.external)
        return self.held.note(blocked, now_ms) > WAIT_AT_MOST_MS


class Appetite:
    """For more of the broker: while a batch is decided, more gathers there, which then comes in one answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._felt = clock.signal()
        self._hungry = True

    def feel(self) -> None:
        """What was fetched has been decided, as far as it can be; or so much comes that the next batch may be fetched during this one."""
        self._hungry = True
        self._felt.set()

    async def returns(self) -> None:
        """After something was fetched."""
        self._hungry, until = False, self._clock.now_s() + UNASKED_S
        while not self._hungry and (rest := until - self._clock.now_s()) > 0:
            await self._felt.wait(rest)


def _oldest_ms(queue: _Queue) -> float:
    if queue.records:
        return queue.records[0].appended_ms
    return -math.inf if queue.behind else math.inf
