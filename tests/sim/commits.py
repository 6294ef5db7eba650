"""What must hold of the kernel's own tables after every commit of any service, and of lanes whenever something is appended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.lanes import lane_of
from schemas.topics import TOPICS
from shared.kernel.memory_rows import ParkedRow, Position, StoredRow
from shared.kernel.memory_tables import Database
from shared.kernel.model import Key
from shared.kernel.ports import HistoryEntry, LaneId, Record, TopicPartition

LANES = frozenset(topic.name for topic in TOPICS if topic.kind == "events")
NO_LANE = LaneId("", 0)


class Commits:
    """Follows the database of one service."""

    def __init__(self, service: str, database: Database) -> None:
        self._service = service
        self._database = database
        self._life = database.life
        self._positions: dict[TopicPartition, Position] = {}
        self._waiting: Mapping[Key, StoredRow | None] = {}
        """Quarantined rows, as they were after the commit before."""
        self._replayed = 0
        self._told = 0
        """Number of the newest event that was looked at."""
        self._versions: dict[Key, int] = {}

    def look(self) -> Iterator[str]:
        """What is wrong with the newest commit."""
        if self._database.life != self._life:  # an older state: nothing is compared with what it was
            self._life, self._positions, self._waiting, self._versions = self._database.life, {}, {}, {}
        yield from self._went_back()
        yield from self._lost_update()
        yield from self._overtaken()

    def _went_back(self) -> Iterator[str]:
        """Reading goes on from where it was, or behind it: else a record is read twice."""
        positions: Mapping[Any, Position] = self._database.table("position")
        for at, position in positions.items():
            before = self._positions.get(at)
            if before is not position:
                if before is not None and position.next < before.next:
                    where = f"{self._service} {at.topic}/{at.partition}"
                    yield f"positions_go_forward: {where} was read to {before.next}, and is to be read from {position.next} again"
                self._positions[at] = position

    def _lost_update(self) -> Iterator[str]:
        """Each event changes its row as the one before has left it."""
        for entry in self._fresh():
            known = self._versions.get(entry.key)
            if known is not None and entry.version not in (known + 1, 1):  # 1: the row had ended, and begins anew
                yield f"updates_follow_each_other: {self._service} {entry.key} has version {entry.version} after {known}: {entry.type}"
            self._versions[entry.key] = entry.version

    def _fresh(self) -> list[HistoryEntry]:
        """Events of the newest commits, in their order."""
        history: dict[Any, HistoryEntry] = self._database.table("history")
        fresh: list[HistoryEntry] = []
        newest: int = next(reversed(history), 0)
        for number in reversed(history):
            if number == self._told:
                break
            fresh.append(history[number])
        self._told = newest
        return fresh[::-1]

    def _overtaken(self) -> Iterator[str]:
        """While something that failed waits for its replay, nothing else happens to its rows."""
        before, replays = self._waiting, self._replayed
        marks: Mapping[Any, str] = self._database.table("quarantine")
        if not marks and not before:
            return
        self._waiting = {key: self._row(key) for key in marks}
        parked: Mapping[Any, ParkedRow] = self._database.table("parked")
        self._replayed = sum(row.status == "replayed" for row in parked.values())
        if self._replayed != replays:
            return
        for key, row in self._waiting.items():
            if key in before and row is not before[key]:
                yield f"what_fails_is_waited_for: {self._service} {key} has changed while something that failed waits for its replay"

    def _row(self, key: Key) -> StoredRow | None:
        return self._database.table(f"state.{key.kind}").get(key.id)


class Tails:
    """The highest number of each lane that ever stood in its topic."""

    def __init__(self) -> None:
        self._highest: dict[tuple[TopicPartition, LaneId], int] = {}

    def appended(self, record: Record) -> str:
        """What is wrong with a record: a number of a lane comes first in its topic after all numbers before it. Else whoever takes
        its partition over takes those for sent."""
        lane, seq = lane_of(record) if record.topic in LANES else (NO_LANE, 0)
        highest = self._highest.get((record.at, lane), 0)
        if not seq or seq <= highest:
            return ""
        self._highest[record.at, lane] = seq
        told = f"lanes_grow_by_one: {record.topic}/{record.partition} shows {seq} of {lane.service}/{lane.incarnation} after {highest}"
        return told if seq > highest + 1 else ""
