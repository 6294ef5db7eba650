"""What the tables of the store in memory hold."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from shared.kernel.ports import HistoryEntry, KeepRow, LaneRow, Parked, RowChange
from shared.kernel.rows import RowCodec
from shared.value import replace


class Position(NamedTuple):
    epoch: int = 0
    next: int = 0
    began: int = 0
    """Where the log began at the first claim; 0 again once records expired that should have been read."""

    def claimed(self, begin: int) -> Position:
        """The next owner's, where the log begins there now."""
        if self.epoch == 0:
            return Position(1, begin, begin)
        return Position(self.epoch + 1, self.next, self.began if self.next >= begin else 0)


class StoredRow(NamedTuple):
    """A row of one kind."""

    version: int
    state: Any
    owner: str | None
    rank: str | None


class KeptRow(NamedTuple):
    number: int
    row: KeepRow


class ParkedRow(NamedTuple):
    number: int
    parked: Parked
    sent: bool = False

    @property
    def status(self) -> str:
        return self.parked.status

    @property
    def reason(self) -> str:
        return self.parked.reason


class LaneHead(NamedTuple):
    incarnation: int
    seq: int


class SentRow(NamedTuple):
    row: LaneRow
    at: datetime


class Published(NamedTuple):
    version: int
    offset: int


class StoredCodec:
    """What a stored row of one kind looks like."""

    def __init__(self, codec: RowCodec, round_trip: bool) -> None:
        self._codec = codec
        self._round_trip = round_trip

    def stored(self, change: RowChange) -> StoredRow:
        kind, state = self._codec.kind, change.state
        owner = kind.owner(state) if kind.owner is not None and state is not None else None
        rank = kind.rank(state) if kind.rank is not None and state is not None else None
        return StoredRow(
            change.version,
            self._parsed(change.key.id, state, owner, rank) if self._round_trip and state is not None else state,
            owner,
            rank,
        )

    def _parsed(self, id: str, state: Any, owner: str | None, rank: str | None) -> Any:
        codec = self._codec
        if codec.kind.typed:
            return codec.parse({column.name: column.dump(getattr(state, column.name)) for column in codec.columns})
        return codec.parse({"id": id, "owner": owner, "rank": rank, "doc": codec.dump(state)})

    def entry(self, entry: HistoryEntry) -> HistoryEntry:
        if not self._round_trip or entry.event is None:
            return entry
        return replace(entry, event=self._codec.parse_event(entry.type, self._codec.dump_event(entry.event), entry.key.id, entry.at))
