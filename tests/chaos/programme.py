"""The programme: which faults, how many of each, and when in a round.

A full programme is as many rounds as it takes; each is a system of its own under load for some minutes. A round's seed says at which
moments which kinds of faults come; whom they hit is thrown with the same dice among those that can be hit at that moment.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

WHOLE_S = 30 * 60
"""Seconds under load in which all targets are reached."""
DEAR_S = 60.0
"""A load that is no longer has no faults that all services have to recover from, unless no others are wanted."""
CALM_S = 3.0
"""At the beginning of the load and before its end nothing is injected."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    name: str
    target: int
    """How many make the whole programme."""
    what: str
    cheap: bool = True
    """It hurts one service, so however short a round is, it has at least one."""


FAULTS: tuple[Fault, ...] = (
    Fault("kill", 500, "kill -9 of a replica of a service, at any moment"),
    Fault("stop", 100, "SIGSTOP of a replica for longer than its session (6 s), then SIGCONT"),
    Fault("session", 200, "a database session of a service terminated by the server"),
    Fault("storm", 30, "a third replica comes and goes twice: the group rebalances four times"),
    Fault("cut", 60, "the network between a service and the broker drops, swallows answers, delays or resets"),
    Fault("broker", 30, "kill -9 of the broker, started again after up to 3 s", cheap=False),
    Fault("postgres", 20, "kill -9 of Postgres' first process, started again after up to 2 s", cheap=False),
    Fault("disk_full", 5, "the database's disk is filled to its last block until a write fails, and some seconds on", cheap=False),
)
NAMES = tuple(fault.name for fault in FAULTS)


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """When in a round's load which kind of fault comes."""

    at_s: float
    kind: str


def plan(seed: int, seconds: float, left: Mapping[str, int], only: Collection[str] = NAMES) -> tuple[Moment, ...]:
    """The moments of a round, in order: each kind as often as its pace says, never more than are `left` of it."""
    wanted = [fault for fault in FAULTS if fault.name in only and left[fault.name]]
    cheap = [fault for fault in wanted if fault.cheap]
    chosen = cheap if cheap and seconds <= DEAR_S else wanted
    return moments(seed, seconds, {each.name: min(math.ceil(each.target * seconds / WHOLE_S), left[each.name]) for each in chosen})


def needed_s(left: Mapping[str, int], only: Collection[str] = NAMES) -> float:
    """Seconds of load for what is left; 0 where nothing is."""
    return max((left[fault.name] / fault.target * WHOLE_S for fault in FAULTS if fault.name in only), default=0.0)


def moments(seed: int, seconds: float, counts: Mapping[str, int]) -> tuple[Moment, ...]:
    """So many of each kind, spread over a load of so many seconds."""
    dice = random.Random(f"moments {seed}")
    ends_s = max(CALM_S, seconds - CALM_S)
    return tuple(sorted(Moment(dice.uniform(CALM_S, ends_s), kind) for kind, count in counts.items() for _ in range(count)))
