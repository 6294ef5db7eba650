"""All mutants: protections of the kernel and rules of the trade, and what the simulation must notice without them."""

from __future__ import annotations

from tests.sim import mutants_commits, mutants_publishing, mutants_reading, mutants_restore, mutants_snapshots, mutants_trade
from tests.sim.mutant import MUTANTS, PARTS, switch_off

__all__ = [
    "MUTANTS",
    "PARTS",
    "mutants_commits",
    "mutants_publishing",
    "mutants_reading",
    "mutants_restore",
    "mutants_snapshots",
    "mutants_trade",
    "switch_off",
]
