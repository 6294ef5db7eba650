"""What must hold of the kernel's own tables after every commit of any service, and of lanes whenever something is appended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.lanes import lane_of
from schemas.topics import TOPICS
from shared.kernel.memory_rows import ParkedRow, Position, SentRow, StoredRow
from shared.kernel.memory_tables import Database
from shared.kernel.model import Key
from shared.kernel.ports import HistoryEntry, LaneId, Record, TopicPartition

LANES = frozenset(topic.name for topic in TOPICS if topic.kind == "events")
NO_LANE = LaneId("", 0)


class Commits:
    """Follows the database of one service."""

    def __init__(self, service: str, database: Database, tails: Tails) -> None:
        self._service = service
        self._tails = tails
        self._database = database
        self._life = database.life
        self._positions: dict[TopicPartition, Position] = {}
        self._waiting: Mapping[Key, StoredRow | None] = {}
        """Quarantined rows, as they were after the commit before."""
        self._replayed = 0
        self._told = 0
        """Number of the newest event that was looked at."""
        self._versions: dict[Key, int] = {}
        self._numbered: tuple[TopicPartition, int] | None = None
        """The newest message of a lane that was looked at."""

    def look(self) -> Iterator[str]:
        """What is wrong with the newest commit."""
        if self._database.life != self._life:  # an older state: nothing is compared with what it was
            self._life, self._positions, self._waiting, self._versions = self._database.life, {}, {}, {}
        yield from self._went_back()
        yield from self._lost_update()
        yield from self._numbered_again()
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

    def _numbered_again(self) -> Iterator[str]:
        """A number that stands in its topic is given to no other message."""
        outbox: dict[Any, SentRow] = self._database.table("outbox")
        newest: Any = next(reversed(outbox), None)
        for at, seq in reversed(outbox):
            if (at, seq) == self._numbered:
                break
            row = outbox[at, seq].row
            said = self._tails.id_of(at, LaneId(self._service, row.incarnation), seq)
            if said not in ("", row.row.id):
                where = f"{seq} of {at.topic}/{at.partition}"
                yield f"numbers_are_given_once: {where} is {row.row.type} {row.row.id}, and its topic shows {said}"
        self._numbered = newest

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
    """What ever stood in the topics of lanes."""

    def __init__(self) -> None:
        self._ids: dict[tuple[TopicPartition, LaneId], list[str]] = {}
        """By number, from 1."""

    def appended(self, record: Record) -> str:
        """What is wrong with a record: a number of a lane comes first in its topic after all numbers before it. Else whoever takes
        its partition over takes those for sent."""
        lane, seq = lane_of(record) if record.topic in LANES else (NO_LANE, 0)
        if not seq:
            return ""
        ids = self._ids.setdefault((record.at, lane), [])
        highest = len(ids)
        if seq > highest:
            ids += [""] * (seq - highest - 1) + [(dict(record.headers).get("ce_id") or b"").decode(errors="replace")]
        told = f"lanes_grow_by_one: {record.topic}/{record.partition} shows {seq} of {lane.service}/{lane.incarnation} after {highest}"
        return told if seq > highest + 1 else ""

    def id_of(self, at: TopicPartition, lane: LaneId, seq: int) -> str:
        """The message that stood first under a number; empty where none did."""
        ids = self._ids.get((at, lane), ())
        return ids[seq - 1] if seq <= len(ids) else ""
