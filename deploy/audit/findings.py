"""What an audit finds: which check looked at how much, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MOST_VIOLATIONS = 200
"""Of one check; further ones are counted in the last entry."""


class Violation(NamedTuple):
    """One thing that can't be, if everything works."""

    check: str
    service: str
    what: str
    """Which row, order, lane it is about."""
    detail: str


@dataclass(slots=True)
class Findings:
    """What one check has seen."""

    check: str
    examined: int = 0
    violations: list[Violation] = field(default_factory=list)
    beyond: int = 0
    most: int = MOST_VIOLATIONS

    def saw(self, count: int = 1) -> None:
        """So many rows, orders or messages were looked at."""
        self.examined += count

    def wrong(self, service: str, what: str, detail: str) -> None:
        if len(self.violations) < self.most:
            self.violations.append(Violation(self.check, service, what, detail))
        else:
            self.beyond += 1

    def require(self, holds: bool, service: str, what: str, detail: str) -> None:
        """Looks at one more thing; it is wrong unless it `holds`."""
        self.saw()
        if not holds:
            self.wrong(service, what, detail)

    def all_violations(self) -> list[Violation]:
        if not self.beyond:
            return self.violations
        more = Violation(self.check, "", f"{self.beyond} more", f"only the first {self.most} are listed")
        return [*self.violations, more]
