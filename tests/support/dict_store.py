"""The store that tempts: a dict behind one lock. Right in every test with one session, and blind to all that two may do to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.kernel.model import Key
from shared.kernel.ports import (
    EVERYTHING_KEPT,
    Attached,
    Begins,
    Changes,
    Claim,
    Collision,
    LaneRow,
    NotOwner,
    OutboxRow,
    Record,
    Row,
    StoredInput,
    TimerRow,
    TopicPartition,
)
from tests.support.rigs import Rig


@dataclass
class DictStore:
    """Just enough of a store for the cases of two sessions."""

    rows_: dict[Key, Row] = field(default_factory=dict)
    timers: dict[tuple[Key, str], TimerRow] = field(default_factory=dict)
    inbox: dict[tuple[str, str], bytes] = field(default_factory=dict)
    kept: list[StoredInput] = field(default_factory=list)
    positions: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)
    lanes: dict[TopicPartition, list[LaneRow]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[DictStore]:
        async with self.lock:
            before = (dict(self.rows_), dict(self.timers), dict(self.inbox), list(self.kept), dict(self.positions), dict(self.lanes))
            try:
                yield self
            except BaseException:
                self.rows_, self.timers, self.inbox, self.kept, self.positions, self.lanes = before
                raise

    async def close(self) -> None:
        """Nothing is open."""

    async def declare(self, partitions: Sequence[TopicPartition]) -> None:
        async with self.lock:
            for at in partitions:
                self.positions.setdefault(at, (0, 0))

    async def claim(self, partitions: Sequence[TopicPartition], _: Begins = EVERYTHING_KEPT) -> dict[TopicPartition, Claim]:
        async with self.lock:
            self.positions |= {at: (epoch + 1, offset) for at, (epoch, offset) in self.positions.items() if at in partitions}
            return {at: Claim(*self.positions[at], {}) for at in partitions}

    async def rows(self, kind: str, ids: Sequence[str]) -> dict[str, Row]:
        async with self.lock:
            return {id: self.rows_[Key(kind, id)] for id in ids if Key(kind, id) in self.rows_}

    async def find(self, keys: Sequence[Key]) -> dict[Key, Row]:
        return {key: self.rows_[key] for key in keys if key in self.rows_}

    load = find

    async def slices(self, wanted: Sequence[Any]) -> dict[tuple[Key, str], list[tuple[Key, Row]]]:
        return {
            (of.owner, of.kind): [(key, row) for key, row in sorted(self.rows_.items()) if key.kind == of.kind][:count]
            for of, count in wanted
        }

    async def attached(self, keys: Sequence[Key]) -> Attached:
        return Attached(frozenset(one.key for one in self.kept if one.key is not None and one.key in keys), frozenset())

    async def kept_for(self, keys: Sequence[Key]) -> list[StoredInput]:
        return [one for one in self.kept if one.key in keys]

    async def known(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        return {id: self.inbox[id] for id in ids if id in self.inbox}

    async def write(self, changes: Changes) -> None:
        for change in changes.rows:
            if (self.rows_[change.key].version if change.key in self.rows_ else 0) != change.base:
                raise Collision(f"{change.key}")
            self.rows_[change.key] = Row(change.version, change.state)
        for timer in changes.timers_fired:
            if self.timers.pop((timer.key, timer.name)).due != timer.due:
                raise Collision(f"{timer.key}")
        self.timers |= {(timer.key, timer.name): timer for timer in changes.timers_set}
        self.inbox |= {(mark.source, mark.id): mark.digest for mark in changes.inbox}
        self.kept += [StoredInput(len(self.kept) + 1, "kept", row.record, row.key, row.until) for row in changes.kept]
        for move in changes.offsets:
            if self.positions[move.at] != (move.epoch, move.loaded):
                raise NotOwner(f"{move.at}")
            self.positions[move.at] = (move.epoch, move.next)

    async def number(self, rows: Sequence[OutboxRow]) -> list[LaneRow]:
        numbered = []
        for row in rows:
            at = TopicPartition(row.topic, row.partition)
            lane = self.lanes.get(at, [])
            numbered.append(LaneRow(len(lane) + 1, 1, row))
            self.lanes[at] = [*lane, numbered[-1]]
        return numbered

    async def outbox(self, at: TopicPartition, after: int, limit: int) -> list[LaneRow]:
        async with self.lock:
            return self.lanes.get(at, [])[after : after + limit]

    async def timers_due(self, *_: Any) -> list[TimerRow]:
        async with self.lock:
            return list(self.timers.values())


class DictRig(Rig):
    """All stores are the one dict; of lost answers and broken connections it knows nothing."""

    patience_s = 0.2

    def __init__(self) -> None:
        super().__init__()
        self._dict = DictStore()

    async def store(self) -> DictStore:
        return self._dict

    async def waiting(self) -> int:
        return len(self._dict.lock._waiters or ())

    async def ask_replay(self) -> list[StoredInput]:
        return [StoredInput(1, "replay", Record("t", 0, 0, 0, None, None))]

    async def lose_commit(self, taken: bool) -> None:
        """A dict always answers."""

    async def cut(self) -> None:
        """A dict has no connection."""
