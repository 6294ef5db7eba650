"""Chance that repeats itself: a choice depends on the seed and on what it is about, never on when it is made."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dice:
    """The choices of one run. `about` names the choice: an order, a part, and what is decided."""

    seed: int
    run: str = ""
    """The word that tells references of several runs apart; it changes no choice."""

    def of(self, *about: object) -> random.Random:
        said = "|".join(map(str, about))
        return random.Random(f"{self.seed}|" + (said.replace(f".{self.run}", "") if self.run else said))

    def chance(self, share: float, *about: object) -> bool:
        """True in this share of all cases."""
        return self.of(*about).random() < share

    def between(self, least: float, most: float, *about: object) -> float:
        return self.of(*about).uniform(least, most)
