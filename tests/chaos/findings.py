"""What a round found wrong, by what it would mean to a shop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

KINDS = ("lost", "doubled", "oversold", "reordered", "other")
"""
lost        something that was said has no effect: a message, an answer, an order without an end, a unit that is in no book
doubled     something took effect twice
oversold    a unit was sold twice, or promised where none was
reordered   a lane with a gap, or with a number for two messages
other       what the audit found and the log complains of
"""
MOST_TOLD = 50
"""Of each kind; all are counted."""


class Findings:
    """Counts by kind, and the first ones in words."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(KINDS, 0)
        self.told: list[str] = []

    def lost(self, what: str) -> None:
        self.add("lost", what)

    def doubled(self, what: str) -> None:
        self.add("doubled", what)

    def oversold(self, what: str) -> None:
        self.add("oversold", what)

    def reordered(self, what: str) -> None:
        self.add("reordered", what)

    def other(self, what: str) -> None:
        self.add("other", what)

    def add(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        if self.counts[kind] <= MOST_TOLD:
            self.told.append(f"{kind}: {what}")

    def with_all(self, *others: Findings) -> Self:
        """Those of others too."""
        for other in others:
            for kind, count in other.counts.items():
                self.counts[kind] += count
            self.told += other.told
        return self

    @property
    def clean(self) -> bool:
        return not any(self.counts.values())


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by kind."""
    listed = list(counts)
    return {kind: sum(each.get(kind, 0) for each in listed) for kind in KINDS}
