"""`python -m tests.sim.mutate [--seeds 10000] [--only NAME,...] [--jobs 2] [--json FILE] [--resume]`: after how many seeds is each mutant
caught?

A world catches a mutant by a check that fails with it and holds without it; of several protections switched off together, only by one
that no part of them alone makes fail in that world. All worlds from seed 0 on are played, in order: none is picked. A mutant that only
stumbles over its own code, because the product has moved on, counts as a survivor.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.sim.mutant import Mutant
from tests.sim.mutants import MUTANTS, PARTS, switch_off
from tests.sim.plan import Plan
from tests.sim.run import Outcome, play

PAGE = Path(__file__).with_name("MUTANTS.md")
TOLD_LENGTH = 200
ALONE_SEEDS = 100
"""Worlds in which a part is hunted alone, to see that it isn't missed."""


class Seen(NamedTuple):
    """A world that fails with protections switched off."""

    seed: int
    wrong: tuple[str, ...]
    slips: tuple[str, ...]

    @classmethod
    def of(cls, outcome: Outcome) -> Seen:
        return cls(outcome.plan.seed, outcome.wrong, outcome.slips)

    def besides(self, checks: frozenset[str]) -> str:
        """The first thing wrong by another check than these; empty where there is none."""
        return next((each[:TOLD_LENGTH] for each in self.wrong if each.partition(":")[0] not in checks), "")


@dataclass(frozen=True, slots=True)
class Caught:
    """What became of one mutant."""

    mutant: str
    takes_away: str
    seeds_needed: int | None
    """How many worlds were played, the first one with seed 0, until one caught it. None: it survived so far."""
    seeds_played: int
    seen_by: str
    """What that world says."""
    seconds: float
    worlds: str = ""
    """Where it was hunted; empty: in the worlds of all seeds."""
    parts: tuple[str, ...] = ()
    """Protections that back each other up, switched off together."""


# ---- in a process of its own: what was switched off stays off ----


def first_failing(names: Sequence[str], seeds: range, plan: Callable[[int], Plan]) -> Seen | None:
    """The first of these worlds in which anything is wrong while all of these protections are off."""
    for name in names:
        switch_off(name)
    outcomes = (play(plan(seed)) for seed in seeds)
    return next((Seen.of(outcome) for outcome in outcomes if outcome.wrong), None)


def _elsewhere(names: Sequence[str], seeds: range, plan: Callable[[int], Plan]) -> Seen | None:
    """The same in a copy of this process, which ends with it."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            sender.send(first_failing(names, seeds, plan))
        finally:
            os._exit(0)
    sender.close()
    try:
        seen: Seen | None = receiver.recv()
        return seen
    finally:
        os.waitpid(pid, 0)


# ---- the hunt ----


def hunt(name: str, seeds: range, seconds_before: float = 0.0) -> Caught:
    """One mutant."""
    mutant, began, first, told = _named(name), time.monotonic(), seeds.start, ""
    while (seen := _elsewhere((name,), range(first, seeds.stop), mutant.worlds)) is not None:
        if seen.slips or (told := seen.besides(_excused(seen.seed, mutant))):
            break
        first = seen.seed + 1
    seconds = round(seconds_before + time.monotonic() - began, 1)
    played = seeds.stop if seen is None else seen.seed + 1
    if seen is not None and seen.slips:
        told = f"out of date: {seen.slips[0][:TOLD_LENGTH]}"
    needed = None if seen is None or seen.slips else played
    return Caught(name, mutant.takes_away, needed, played, told, seconds, str(mutant.worlds), mutant.parts)


def _named(name: str) -> Mutant:
    """A part alone is hunted where the mutant is that it belongs to."""
    if name in MUTANTS:
        return MUTANTS[name]
    return replace(PARTS[name], worlds=next(whole.worlds for whole in MUTANTS.values() if name in whole.parts))


def _excused(seed: int, mutant: Mutant) -> frozenset[str]:
    """Checks that fail in this world anyway, or with a part of the mutant alone."""
    found = [_elsewhere(names, range(seed, seed + 1), mutant.worlds) for names in ((), *((part,) for part in mutant.parts))]
    return frozenset(each.partition(":")[0] for seen in found if seen is not None for each in seen.wrong)


def _go_on(task: tuple[str, int, Caught | None]) -> Caught:
    name, seeds, before = task
    seeds = min(seeds, ALONE_SEEDS) if name in PARTS else seeds
    if before is None:
        return hunt(name, range(seeds))
    if before.seeds_needed is not None or before.seeds_played >= seeds:
        return before
    return hunt(name, range(before.seeds_played, seeds), before.seconds)


def hunt_all(names: Sequence[str], seeds: int, jobs: int, before: dict[str, Caught]) -> Iterator[Caught]:
    """Each mutant once, those told before only from where they were left."""
    tasks = [(name, seeds, before.get(name)) for name in names]
    if jobs == 1:
        yield from map(_go_on, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_go_on, tasks)


# ---- what is told ----


def main() -> int:
    options = _options()
    names = options.only.split(",") if options.only else [*MUTANTS, *PARTS]
    before = _told_before(options.json) if options.resume and options.json else {}
    found: list[Caught] = []
    for caught in hunt_all(names, options.seeds, options.jobs, before):
        found.append(caught)
        print(_line(caught), flush=True)
        if options.json:
            options.json.write_text(json.dumps(report([*found, *_others(before, found)]), indent=2) + "\n")
    whole = [caught for caught in found if caught.mutant in MUTANTS]
    survivors = [caught.mutant for caught in whole if caught.seeds_needed is None]
    print(f"{len(whole)} mutants, {len(whole) - len(survivors)} caught" + (f"; these survive: {', '.join(survivors)}" if survivors else ""))
    return 1 if survivors else 0


def _line(caught: Caught) -> str:
    seeds = f"{caught.seeds_needed:>6} seeds" if caught.seeds_needed else f"SURVIVES {caught.seeds_played}"
    return f"{caught.mutant:32} {seeds:16} {caught.seen_by}"


def report(found: Sequence[Caught]) -> dict[str, Any]:
    each, alone = [[asdict(one) for one in found if one.mutant in names] for names in (MUTANTS, PARTS)]
    return {
        "mutants": len(each),
        "caught": sum(one["seeds_needed"] is not None for one in each),
        "commit": _commit(),
        "each": each,
        "alone": alone,
    }


def page(told: dict[str, Any]) -> str:
    """The report as a table; see MUTANTS.md."""
    rows = [
        f"| `{each['mutant']}` | {each['takes_away']} | {_needed(each)} | {each['seen_by'].partition(':')[0]} | {each['worlds'] or 'all'} |"
        for each in told["each"]
    ]
    alone = [
        f"| `{each['mutant']}` | {each['takes_away'].partition(': ')[0]} | {each['takes_away'].partition(': ')[2]} | {_needed(each)} |"
        for each in told["alone"]
    ]
    return "\n".join(
        [
            "# After how many seeds each mutant is caught",
            "",
            f"{told['caught']} of {told['mutants']}, at commit {told['commit']}. Made by `python -m tests.sim.mutate --page FILE` from the",
            "JSON of `make mutants`; what it means stands in README.md.",
            "",
            "| mutant | what it takes away | seeds needed | seen by | worlds |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            "Parts of mutants above, alone: something else does the same, so they aren't missed.",
            "",
            "| part | what it takes away | what does the same | seeds needed |",
            "| --- | --- | --- | --- |",
            *alone,
            "",
        ]
    )


def _needed(each: dict[str, Any]) -> str:
    return str(each["seeds_needed"] or f"survives {each['seeds_played']}")


def _told_before(file: Path) -> dict[str, Caught]:
    """What an earlier run at the same commit found."""
    if not file.exists():
        return {}
    told = json.loads(file.read_text())
    if told["commit"] != _commit():
        print(f"{file} is of {told['commit']}: all is hunted anew", flush=True)
        return {}
    return {each["mutant"]: Caught(**each) for each in (*told["each"], *told["alone"]) if each["mutant"] in {**MUTANTS, **PARTS}}


def _others(before: dict[str, Caught], found: Sequence[Caught]) -> list[Caught]:
    told = {caught.mutant for caught in found}
    return [caught for name, caught in before.items() if name not in told]


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no commit"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.sim.mutate", description="Switches protections off; the simulation must notice.")
    parser.add_argument("--seeds", type=int, default=10_000, help="after so many a mutant has survived")
    parser.add_argument("--only", default="", help="these mutants, by comma")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share them")
    parser.add_argument("--json", type=Path, help="where to write what was found, after each mutant")
    parser.add_argument("--resume", action="store_true", help="go on where the run that wrote this file at the same commit ended")
    parser.add_argument("--page", type=Path, help="only make MUTANTS.md from this file")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(page(json.loads(options.page.read_text())))
        sys.exit(0)
    return options


if __name__ == "__main__":
    sys.exit(main())
