"""`python -m tests.sim.mutate [--seeds 10000] [--only NAME,...] [--jobs 2] [--json FILE]`: after how many seeds is each mutant caught?"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.sim.mutants import MUTANTS
from tests.sim.plan import plan_of
from tests.sim.run import play


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of one mutant."""

    mutant: str
    takes_away: str
    seeds_needed: int | None
    """None: it survived."""
    seen_by: str
    """What the first failing world says."""
    seconds: float


def hunt(name: str, seeds: int) -> Caught:
    """Plays worlds with the protection switched off, until one fails. In a process of its own: the switch stays off."""
    mutant, began = MUTANTS[name], time.monotonic()
    mutant.apply()
    for seed in range(seeds):
        outcome = play(plan_of(seed))
        if outcome.wrong:
            return Caught(name, mutant.takes_away, seed + 1, outcome.wrong[0][:200], round(time.monotonic() - began, 1))
    return Caught(name, mutant.takes_away, None, "", round(time.monotonic() - began, 1))


def main() -> int:
    options = _options()
    names = options.only.split(",") if options.only else list(MUTANTS)
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        found = []
        for caught in pool.imap_unordered(_hunt, [(name, options.seeds) for name in names]):
            found.append(caught)
            told = f"after {caught.seeds_needed} seeds: {caught.seen_by}" if caught.seeds_needed else f"SURVIVES {options.seeds} seeds"
            print(f"{caught.mutant:32} {told}", flush=True)
    survivors = [caught.mutant for caught in found if caught.seeds_needed is None]
    if options.json:
        told_all = {"mutants": len(found), "caught": len(found) - len(survivors), "each": [asdict(caught) for caught in found]}
        options.json.write_text(json.dumps(told_all, indent=2) + "\n")
    print(f"{len(found)} mutants, {len(found) - len(survivors)} caught" + (f"; these survive: {', '.join(survivors)}" if survivors else ""))
    return 1 if survivors else 0


def _hunt(task: tuple[str, int]) -> Caught:
    return hunt(*task)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.sim.mutate", description="Switches protections off; the simulation must notice.")
    parser.add_argument("--seeds", type=int, default=10_000, help="after so many a mutant has survived")
    parser.add_argument("--only", default="", help="these mutants, by comma")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share them")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
