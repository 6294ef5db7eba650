"""The ledger: what all rounds of all runs have injected and found, added up, in one JSON file that a later run goes on with."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.findings import total
from tests.chaos.programme import FAULTS
from tests.chaos.round import Outcome


@dataclass
class Ledger:
    """Rounds as they were played; nothing is ever taken out."""

    path: Path | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def opened(cls, path: Path | None) -> Ledger:
        """The ledger of earlier runs, or an empty one."""
        rounds = json.loads(path.read_text())["rounds"] if path is not None and path.exists() else []
        return cls(path, rounds)

    def add(self, commit: str, began: str, outcome: Outcome, kept: str = "") -> None:
        """One more round, written down at once."""
        self.rounds.append({"commit": commit, "began": began, **asdict(outcome), "kept": kept})
        if self.path is not None:
            draft = self.path.with_name(f"{self.path.name}.new")
            draft.write_text(json.dumps({"rounds": self.rounds}, indent=1) + "\n")
            draft.replace(self.path)

    def left(self) -> dict[str, int]:
        """How many of each fault the programme still lacks."""
        done = self._injected()
        return {fault.name: max(0, fault.target - done[fault.name]) for fault in FAULTS}

    def report(self) -> dict[str, Any]:
        """What `make chaos JSON=` writes: by fault how many were injected and how fast all worked again; what was found."""
        done, resume = self._injected(), self._resume_s()
        faults = {
            fault.name: {"what": fault.what, "target": fault.target, "injected": done[fault.name], **_spread(resume.get(fault.name, ()))}
            | ({"why_not": why} if (why := self._why_not(fault.name)) and not done[fault.name] else {})
            for fault in FAULTS
        }
        everything = [seconds for values in resume.values() for seconds in values]
        found = total(each["found"] for each in self.rounds)
        return {
            "ok": bool(self.rounds) and not any(found.values()) and not self._sum("not_resumed") and not self._failures(),
            "complete": not any(self.left().values()),
            "faults": faults,
            **found,
            **_spread(everything),
            "not_resumed": self._sum("not_resumed"),
            "exits": self._sum("exits"),
            "orders": self._sum("orders"),
            "records": self._sum("records"),
            "repeats": self._sum("repeats"),
            "load_s": round(sum(each["load_s"] for each in self.rounds)),
            "cuts": dict(sum((Counter(each["cuts"]) for each in self.rounds), Counter[str]())),
            "rounds": [
                {name: each[name] for name in ("commit", "began", "seed", "injected", "found", "told", "failure", "kept")}
                for each in self.rounds
            ],
        }

    def _injected(self) -> Counter[str]:
        return sum((Counter(each["injected"]) for each in self.rounds), Counter[str]())

    def _resume_s(self) -> Mapping[str, list[float]]:
        found: dict[str, list[float]] = {}
        for each in self.rounds:
            for kind, seconds in each["resume_s"].items():
                found.setdefault(kind, []).extend(seconds)
        return found

    def _why_not(self, fault: str) -> str:
        return next((str(each["why_not"][fault]) for each in self.rounds if fault in each["why_not"]), "")

    def _sum(self, name: str) -> int:
        return sum(int(each[name]) for each in self.rounds)

    def _failures(self) -> list[str]:
        return [each["failure"] for each in self.rounds if each["failure"]]


def _spread(seconds: Sequence[float]) -> dict[str, Any]:
    """Of how many recoveries, and how long they took, in seconds."""
    if not seconds:
        return {"measured": 0, "resume_p50_s": None, "resume_p95_s": None, "resume_max_s": None}
    return {
        "measured": len(seconds),
        "resume_p50_s": round(statistics.median(seconds), 1),
        "resume_p95_s": round(percentile(seconds, 0.95), 1),
        "resume_max_s": round(max(seconds), 1),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is at least as large as this share of all."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]
