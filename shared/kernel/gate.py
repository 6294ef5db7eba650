"""The publish gate: what was committed waits here until it can't be lost with its database any more.

Two conditions, each only where it is asked for, in this order:

    held        every named standby, or the archive, has the commit (Store.horizon)
    journaled   the topic of the service's journal has it (shared/kernel/journal.py)

The positions of a database's log say only "committed at or before": whatever was visible when a position was asked for is covered by it.
So what waits is gathered first and asked for after; that holds for the rows of other processes, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.kernel.ports import DeadLetter, Horizon, Row, TopicPartition

MOST_WAITING = 1_000
"""Above, what is committed joins what was committed last, and passes with it."""
UNKNOWN = -1
"""Journal sequence of something whose commit was not seen: what the journal's head is when it is looked at next counts."""


@dataclass(slots=True)
class Waiting:
    """Committed, and not to be sent yet."""

    heads: dict[TopicPartition, int] = field(default_factory=dict)
    """Lane to its last sequence."""
    states: dict[str, Mapping[str, Row]] = field(default_factory=dict)
    letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    journal: int = UNKNOWN
    """The sequence of the journal that covers it."""
    position: int | None = None
    """The position of the database's log that covers it; None: not asked for yet."""
    found: bool = False
    """The documents were found in the database: what was told of meanwhile is newer."""


class Gate:
    """One replica's gate. Without a condition it is `open`, and nothing goes through it."""

    def __init__(self, gated: bool, journal: TopicPartition | None) -> None:
        self.open = not gated and journal is None
        self.gated = gated
        self.journal = journal
        self._for_horizon: deque[Waiting] = deque()
        self._for_journal: deque[Waiting] = deque()
        self.passed = 0
        """How often something passed."""

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._for_horizon or self._for_journal)

    def clear(self) -> None:
        """What waited in another life of the database may be lost with it."""
        self._for_horizon.clear()
        self._for_journal.clear()

    def documents(self) -> int:
        """How many state documents and dead letters wait."""
        waiting = (*self._for_horizon, *self._for_journal)
        return sum(len(one.letters) + sum(map(len, one.states.values())) for one in waiting)

    def wait(self, waiting: Waiting) -> None:
        if self.journal is None:
            waiting.journal = 0
        if len(self._for_horizon) >= MOST_WAITING:
            waiting = _together(self._for_horizon.pop(), waiting)
        self._for_horizon.append(waiting)

    def wants_journal_head(self) -> bool:
        return any(one.journal == UNKNOWN for one in self._for_horizon)

    def wants_horizon(self) -> bool:
        return self.gated and bool(self._for_horizon)

    def unplaced(self) -> list[Waiting]:
        """Those whose position is asked for now: whatever is gathered while the database answers isn't covered by the answer."""
        return [one for one in self._for_horizon if one.position is None]

    @staticmethod
    def place(asked: list[Waiting], horizon: Horizon) -> None:
        for one in asked:
            one.position = horizon.committed

    def journal_head(self, asked: list[Waiting], head: int) -> None:
        """For those that waited when the head was asked for."""
        for one in asked:
            if one.journal == UNKNOWN:
                one.journal = head

    def held(self, position: int) -> int:
        """Everything committed up to this position is held; up to which sequence the journal may go out now."""
        journal = 0
        while self._for_horizon and self._is_held(self._for_horizon[0], position):
            one = self._for_horizon.popleft()
            journal = max(journal, one.journal)
            self._for_journal.append(one)
        return journal

    def _is_held(self, one: Waiting, position: int) -> bool:
        if one.journal == UNKNOWN:
            return False
        return not self.gated or (one.position is not None and one.position <= position)

    def journaled(self, seq: int) -> list[Waiting]:
        """What may be sent now that the journal's topic has everything up to this sequence."""
        passed = []
        while self._for_journal and self._for_journal[0].journal <= seq:
            passed.append(self._for_journal.popleft())
        self.passed += len(passed)
        return passed


def _together(first: Waiting, second: Waiting) -> Waiting:
    """Both as one, which passes when the second one may: a position of its own is still to be asked for."""
    states = {topic: {**first.states.get(topic, {}), **second.states.get(topic, {})} for topic in (*first.states, *second.states)}
    journal = UNKNOWN if UNKNOWN in (first.journal, second.journal) else max(first.journal, second.journal)
    return Waiting({**first.heads, **second.heads}, dict(states), [*first.letters, *second.letters], journal)
