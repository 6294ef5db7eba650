"""Worlds in which a mutant is hunted: those of all seeds, made so that what it takes away is asked for often.

What is given is the same in all of them; the rest is as the seed has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.fleet import SERVICES
from tests.sim import deaf
from tests.sim.buyers import RESTLESS
from tests.sim.faults import SLOW
from tests.sim.outside import MANY_COUNTS
from tests.sim.plan import RESTORE, SUPPLIER, Plan, plan_of


@dataclass(frozen=True)
class Worlds:
    """The worlds of all seeds, or some of their own."""

    theme: str = ""
    """The fault they are about."""
    oddities: Sequence[str] = ()
    """What people do in all of them."""
    spared: Sequence[str] = ()
    """Faults that none of them has: they would hide what is looked for."""
    given: dict[str, Any] = field(default_factory=dict)
    """Fields of their plan."""
    restored: bool = False
    """One service's database is restored to an older state."""

    def __call__(self, seed: int) -> Plan:
        plan = plan_of(seed)
        faults = (plan.faults | ({self.theme} if self.theme else set())) - set(self.spared)
        theme = self.theme or (plan.theme if plan.theme in faults else None)
        restore = SERVICES[seed % len(SERVICES)] if self.restored else ""
        told = {"faults": faults, "theme": theme, "oddities": plan.oddities | set(self.oddities), "restore": restore}
        return replace(plan, **(told | self.given))

    def __str__(self) -> str:
        words = [f"about {self.theme}"] if self.theme else []
        words += [f"with {' and '.join(self.oddities)}"] if self.oddities else []
        words += [f"without {' and '.join(self.spared)}"] if self.spared else []
        words += [f"{name} {_told(value)}" for name, value in self.given.items() if value is not None]
        words += ["restored to an older state"] if self.restored else []
        return ", ".join(words)


def _told(value: Any) -> str:
    return "/".join(sorted(value)) or "none" if isinstance(value, frozenset) else str(value)


ALL = Worlds()
RESTORED = Worlds(restored=True)
ARCHIVED = Worlds(given={"faults": frozenset({RESTORE}), "theme": RESTORE})
DEAF = Worlds(given={"faults": frozenset({deaf.DEAF}), "theme": None})
LONG_DEAF = Worlds(given={"faults": frozenset({deaf.LONG_DEAF}), "theme": None})
SUPPLIED = Worlds("stale_state", (SUPPLIER,))
"""Documents say what is coming, and older ones are sent behind newer ones."""
TWO: dict[str, Any] = {"partitions": 2, "replicas": 2}
OVERLAPPING = TWO | {"faults": frozenset({SLOW}), "theme": None, "pace_s": 0.3, "orders": 10, "items": 2}
CROWDED = Worlds(given=OVERLAPPING | {"opening": 2, "oddities": frozenset()})
"""Two replicas decide on the same rows at once."""
OVERTAKEN = Worlds(given=OVERLAPPING | {"opening": 5, "oddities": frozenset({"slow_reports"})})
"""Carriers are quicker than locations."""
COUNTED = Worlds(given={"faults": frozenset(), "theme": None, "oddities": frozenset({"slow_reports", MANY_COUNTS})})
RESTLESS_ONES = Worlds(oddities=(RESTLESS,), given={"quiet_trade": True})
DISORDERED = Worlds("rule_bug", (RESTLESS,), given={"broken": "inventory", "unheard": frozenset({"what_fails_is_waited_for"})})
"""What comes of it if later messages overtake one that has failed."""
TWICE = Worlds("duplicates", given={"unheard": frozenset({"inputs_count_once"})})
"""What comes of it if a message takes effect twice."""
STOPPED = Worlds("stop", given={"replicas": 2})
"""Replicas are stopped in the middle of something, others take over, and they wake."""
KEPT = Worlds("crash", given={"snapshots": True})
"""Processes die often, and begin with what they had read."""
