"""`python -m tests.sim --seeds 1000 [--from 0] [--jobs 2] [--json FILE]`, or `--seed S [...]` to replay one."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from deploy.fleet import SERVICES
from tests.sim.plan import Plan, plan_of
from tests.sim.run import Outcome, play, play_seed
from tests.sim.shrink import shortest

MOST_TOLD = 10
"""Failures that are made short and told in full; further ones are only counted."""
TRACE_LINES = 60


def main() -> int:
    options = _options()
    return _replay(_left_out(options)) if options.seed is not None else _many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.sim", description="Whole services under a seeded scheduler, broken on purpose.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share them")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--seed", type=int, help="replay this one and print its trace")
    parser.add_argument("--without", default="", help="faults and oddities left out of a replay, by comma")
    parser.add_argument("--most-faults", type=int, help="no fault is injected after so many")
    parser.add_argument("--orders", help="only these orders, by comma")
    parser.add_argument("--restore", default="", choices=["", *SERVICES], help="restore this service's database to an older state, once")
    parser.add_argument("--quiet-trade", action="store_true", help="nobody walks in, counts, or brings goods")
    return parser.parse_args()


def _left_out(options: argparse.Namespace) -> Plan:
    return replace(
        plan_of(options.seed),
        without=frozenset(options.without.split(",")) - {""},
        most_faults=options.most_faults,
        only_orders=frozenset(map(int, options.orders.split(","))) if options.orders else None,
        quiet_trade=options.quiet_trade,
        restore=options.restore,
    )


def _replay(plan: Plan) -> int:
    outcome = play(plan, keep_trace=True)
    print("\n".join(outcome.trace))
    print(f"hash {outcome.digest}, {outcome.faults} faults: {dict(outcome.happened)}")
    print("\n".join(outcome.wrong) or "everything holds")
    return 1 if outcome.wrong else 0


def _outcomes(seeds: range, jobs: int, restore: str) -> Iterator[Outcome]:
    play_one = partial(play_seed, restore=restore)
    if jobs == 1:
        yield from map(play_one, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(play_one, seeds, chunksize=20)


def _many(options: argparse.Namespace) -> int:
    began, happened, failed, faults, done, cpu_s = time.monotonic(), Counter[str](), list[Outcome](), 0, 0, 0.0
    for outcome in _outcomes(range(options.first, options.first + options.seeds), options.jobs, options.restore):
        done += 1
        happened.update(outcome.happened)
        faults += outcome.faults
        cpu_s += outcome.cpu_s
        if outcome.wrong:
            failed.append(outcome)
            print(f"seed {outcome.plan.seed}: {outcome.wrong[0][:300]}", flush=True)
    took_s = time.monotonic() - began
    told = [_tell(outcome) for outcome in failed[:MOST_TOLD]]
    found = {
        "seeds": done,
        "violations": len(failed),
        "seeds_per_minute": round(60 * done / took_s / options.jobs, 1),
        "seeds_per_cpu_minute": round(60 * done / cpu_s, 1),
        "jobs": options.jobs,
        "faults": faults,
        "happened": dict(sorted(happened.items())),
        "commit": _commit(),
        "failures": told,
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    speed = f"{found['seeds_per_minute']} seeds a minute and core, {found['seeds_per_cpu_minute']} a minute of processor time"
    print(f"{done} seeds, {len(failed)} with violations, {faults} faults, {speed}")
    return 1 if failed else 0


def _tell(outcome: Outcome) -> dict[str, Any]:
    """Makes a failure as short as it gets, and prints what somebody needs who shall mend it."""
    short = shortest(outcome)
    command = f"python -m tests.sim --seed {short.plan.seed} {short.plan.shorter}".strip()
    print(f"\n--- seed {short.plan.seed} at {_commit()}: {short.faults} faults left, {len(short.trace)} steps; the last ones:")
    print("\n".join(short.trace[-TRACE_LINES:]))
    print("\n".join(short.wrong[:10]))
    print(f"replay: {command}", flush=True)
    return {"seed": short.plan.seed, "wrong": list(short.wrong[:10]), "replay": command, "hash": short.digest}


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no commit"


if __name__ == "__main__":
    sys.exit(main())
