"""What a seed stands for: the size of its world, which troubles it has, and what was left out to make a failure short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

FAULTS = (
    "crash",
    "kill",
    "stall",
    "stop",
    "rebalance",
    "duplicates",
    "silence",
    "leaderless",
    "broker_down",
    "lost_ack",
    "store_error",
    "commit_error",
    "commit_unknown",
    "fetch_error",
    "skew",
    "poison",
    "stale_state",
    "lost_records",
    "rule_bug",
)
"""What breaks: each seed has some of them."""
RESTORE, RESTORES = "restore", 0.15
"""One more, and how many of the worlds with faults have it."""
SNAPSHOTS = 0.5
"""How many of the worlds have snapshots of views, by dice of their own."""
THEMES = (
    *("stop", "stop", "stop"),
    *("crash", "crash", "silence", "silence", "lost_ack", "lost_ack", "rule_bug", "rule_bug"),
    *("kill", "leaderless", "rebalance", "commit_unknown", "duplicates", "stale_state", "lost_records", "fetch_error"),
)
"""What a world may be about; what needs the rarest meetings comes more often."""
OF_GROUPS = frozenset({"stop", "stall", "rebalance", "kill", "silence"})
"""Faults that matter most where another replica takes over meanwhile."""
ODDITIES = (
    "hot_item",
    "rejecting_location",
    "odd_location",
    "slow_reports",
    "declined_payments",
    "silent_carrier",
    "hasty_location",
    "repeating_feed",
)
"""What the people around the system do that is no fault of it, and that it must live with."""


SUPPLIER, SUPPLIERS = "supplier", 0.25
"""One more, and how many of the worlds have it: somebody announces goods before they come."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One world. The last fields leave something out: a shorter course of the same seed."""

    seed: int
    partitions: int
    replicas: int
    round_trip: bool
    """Whether rows are stored as text, as Postgres stores them, and parsed again."""
    fetched_at_once: int
    """Most records a fetch brings: where it is small, partitions are read one after the other."""
    orders: int
    items: int
    locations: int
    opening: int
    """Most units of an item at a location when the day begins."""
    give_way: float
    """How likely a step lets others go first."""
    pace_s: float
    """Time between two orders, on average."""
    faults: frozenset[str]
    oddities: frozenset[str]
    theme: str | None = None
    """One of its faults that comes much more often than the others."""
    without: frozenset[str] = frozenset()
    """Faults and oddities left out."""
    most_faults: int | None = None
    """No fault is injected after so many."""
    only_orders: frozenset[int] | None = None
    quiet_trade: bool = False
    """Nobody walks in, counts, or brings goods."""
    broken: str = ""
    """The service whose rules raise, where it isn't left to the dice."""
    unheard: frozenset[str] = frozenset()
    """Checks at single steps that are left out, so that what comes of it is seen."""
    snapshots: bool = False
    """Whether processes that start again begin with a snapshot of their views."""
    restore: str = ""
    """The service whose database is restored to an older state, once: tests/sim/restores.py."""

    def has(self, what: str) -> bool:
        return what in self.faults | self.oddities and what not in self.without

    def dice(self, *names: object) -> Random:
        """Dice of their own for everybody: who is left out changes nobody else's."""
        return Random(":".join(map(str, (self.seed, *names))))

    @property
    def shorter(self) -> str:
        """The options of the command line that leave the same out."""
        words = []
        if self.without:
            words.append(f"--without {','.join(sorted(self.without))}")
        if self.most_faults is not None:
            words.append(f"--most-faults {self.most_faults}")
        if self.only_orders is not None:
            words.append(f"--orders {','.join(map(str, sorted(self.only_orders)))}")
        if self.quiet_trade:
            words.append("--quiet-trade")
        if self.restore:
            words.append(f"--restore {self.restore}")
        return " ".join(words)


def plan_of(seed: int) -> Plan:
    """The world of a seed. Every eighth has no faults at all, of the others every second is about one of them."""
    dice = Random(f"{seed}:plan")
    calm = dice.random() < 0.125
    theme = dice.choice(THEMES) if not calm and dice.random() < 0.5 else None
    return Plan(
        seed=seed,
        partitions=dice.choice((1, 2, 2)),
        replicas=2 if dice.random() < (0.7 if theme in OF_GROUPS else 0.2) else 1,
        round_trip=dice.random() < 0.15,
        fetched_at_once=dice.choice((2000, 2000, 2)),
        orders=dice.randint(3, 10),
        items=dice.randint(1, 3),
        locations=dice.randint(1, 3),
        opening=dice.randint(1, 6),
        give_way=dice.choice((0.1, 0.3, 1.0)),
        pace_s=dice.choice((0.0, 0.0, 0.3, 2.0)),
        faults=frozenset() if calm else _some(dice, FAULTS, dice.choice((0.1, 0.3, 0.6))) | _restores(seed) | ({theme} if theme else set()),
        oddities=_some(dice, ODDITIES, dice.choice((0.0, 0.2, 0.5))) | _sells(seed),
        theme=theme,
        snapshots=Random(f"{seed}:snapshots").random() < SNAPSHOTS,
    )


def _restores(seed: int) -> frozenset[str]:
    """By dice of its own: databases are lost, and restored to the end of their archives, which the publishers wait for."""
    return frozenset({RESTORE} if Random(f"{seed}:restore").random() < RESTORES else ())


def _sells(seed: int) -> frozenset[str]:
    """By dice of its own, too."""
    return frozenset({SUPPLIER} if Random(f"{seed}:{SUPPLIER}").random() < SUPPLIERS else ())


def _some(dice: Random, names: Sequence[str], share: float) -> frozenset[str]:
    return frozenset([name for name in names if dice.random() < share])


def calm(seed: int) -> Plan:
    """The same world without any fault."""
    return replace(plan_of(seed), faults=frozenset(), theme=None)
