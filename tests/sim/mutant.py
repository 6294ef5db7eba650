"""A protection that can be switched off, and the list of all that are.

Only in test code: a mutant replaces a method or a function of the product in this process, for good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sim.themed import ALL, Worlds

Apply = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """A protection, and how it is switched off."""

    name: str
    takes_away: str
    apply: Apply
    parts: tuple[str, ...] = ()
    """Protections that back each other up, and are switched off together: a world shows that they are missed together only by a check
    that none of them alone makes fail there."""
    worlds: Worlds = ALL
    """Where it is hunted."""


MUTANTS: dict[str, Mutant] = {}
PARTS: dict[str, Mutant] = {}
"""Of a mutant, not hunted alone: something else does the same, by design. Their words say what."""


def mutant(takes_away: str, *, parts: tuple[str, ...] = (), worlds: Worlds = ALL) -> Callable[[Apply], Apply]:
    """Registers a mutant; its parts are switched off before it."""

    def register(apply: Apply) -> Apply:
        MUTANTS[apply.__name__] = Mutant(apply.__name__, takes_away, apply, parts, worlds)
        return apply

    return register


def part(takes_away: str) -> Callable[[Apply], Apply]:
    """Registers what is only switched off together with others."""

    def register(apply: Apply) -> Apply:
        PARTS[apply.__name__] = Mutant(apply.__name__, takes_away, apply)
        return apply

    return register


def switch_off(name: str) -> None:
    """In this process, for good."""
    found = MUTANTS.get(name) or PARTS[name]
    for each in found.parts:
        switch_off(each)
    found.apply()


def switch(owner: Any, name: str, to: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant is out of date"
    setattr(owner, name, to)
