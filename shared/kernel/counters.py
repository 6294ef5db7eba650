"""What a replica's batches have come to since it started."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.kernel.stage import Stage


@dataclass(slots=True)
class Counters:
    """What the health page tells; totals since the start."""

    batches: int = 0
    inputs: int = 0
    batch_s: float = 0.0
    collisions: int = 0
    retries: int = 0
    claims: int = 0
    dead_letters: int = 0
    quarantines: int = 0
    late: int = 0
    """External messages judged although older internal ones were still unread after the longest wait."""
    by_what: dict[str, int] = field(default_factory=dict)

    def note(self, stage: Stage, seconds: float) -> None:
        self.batches += 1
        self.batch_s += seconds
        self.dead_letters += len(stage.changes.dead_letters)
        self.quarantines += len(stage.changes.quarantines)
        for what, count in stage.counts.items():
            self.by_what[what] = self.by_what.get(what, 0) + count
            self.inputs += count
