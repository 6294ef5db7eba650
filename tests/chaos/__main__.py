"""`python -m tests.chaos [--minutes N] [--only kill,stop] [--state FILE] [--json FILE] [--seed N]`: the programme, or a slice of it."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.ground import clear_abandoned, keep_logs, new_home
from tests.chaos.ledger import Ledger
from tests.chaos.programme import FAULTS, NAMES, needed_s, plan
from tests.chaos.round import Outcome, play

ROUND_S = 300.0
"""Longest load of one round."""
AROUND_S = 80.0
"""What a round takes beside its load: everything comes up, comes to rest and is read again."""
WORTH_S, LEAST_S = 90.0, 30.0
"""Shortest load of a round, for which so much is started and read; and where a slice must be short."""
FAILURES_AT_MOST = 3
"""Rounds in a row that could not be played to their end: then something else is wrong."""
KEPT = Path(".nervure/chaos")


def main(arguments: Sequence[str]) -> int:
    """0 where all that was injected left nothing wrong."""
    asked = parsed(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what it runs in the background
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # ended by either, it stops what it has started
    ledger = Ledger.opened(asked.state)
    deadline = time.monotonic() + asked.minutes * 60 if asked.minutes else None
    failures = played = 0
    while (seconds := _seconds(ledger, deadline, asked.only, first=not played)) and failures < FAILURES_AT_MOST:
        outcome = _round(ledger, asked.seed + len(ledger.rounds), seconds, asked.only)
        failures, played = failures + 1 if outcome.failure else 0, played + 1
        if asked.json:
            asked.json.write_text(json.dumps(ledger.report(), indent=2) + "\n")
    report = ledger.report()
    _tell(report)
    return 0 if report["ok"] else 1


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, help="a slice of about so long; without it until every fault was injected often enough")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=NAMES, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--state", type=Path, help="the ledger: an earlier run goes on, and adds up")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each further round takes the next")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.only) - set(NAMES):
        parser.error(f"there is no fault {', '.join(sorted(unknown))}: name some of {', '.join(NAMES)}")
    return asked


def _seconds(ledger: Ledger, deadline: float | None, only: Sequence[str], *, first: bool) -> float:
    """How long the load of the next round lasts; 0 where there is none. There is a `first` one however short the slice is."""
    needed = needed_s(ledger.left(), only)
    if not needed:
        return 0.0
    seconds = min(ROUND_S, max(WORTH_S, needed))
    if deadline is not None:
        seconds = min(seconds, deadline - time.monotonic() - AROUND_S)
    return seconds if seconds >= LEAST_S else (LEAST_S if first else 0.0)


def _round(ledger: Ledger, seed: int, seconds: float, only: Sequence[str]) -> Outcome:
    """Play one, write it down, say in a line how it went. Its logs are kept where something was wrong."""
    clear_abandoned()
    home, began = new_home(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        outcome = play(home, seed, plan(seed, seconds, ledger.left(), only), seconds)
    except Exception:  # noqa: BLE001 - a round that could not be played is told, and the next one is
        traceback.print_exc()
        outcome = Outcome(seed, failure=traceback.format_exc(limit=-3))
    except KeyboardInterrupt:
        shutil.rmtree(home, ignore_errors=True)
        raise
    kept = str(keep_logs(home, KEPT)) if outcome.failure or not outcome.clean else ""
    shutil.rmtree(home, ignore_errors=True)
    ledger.add(_commit(), began, outcome, kept)
    _tell_round(len(ledger.rounds), outcome, kept)
    return outcome


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def _tell_round(number: int, outcome: Outcome, kept: str) -> None:
    injected = ", ".join(f"{outcome.injected[name]} {name}" for name in NAMES if outcome.injected.get(name)) or "nothing"
    found = ", ".join(f"{count} {kind}" for kind, count in outcome.found.items() if count) or "nothing wrong"
    slowest = max((seconds for values in outcome.resume_s.values() for seconds in values), default=0.0)
    print(
        f"round {number}, seed {outcome.seed}: {outcome.orders} orders in {outcome.load_s:.0f} s, {outcome.records} records; "
        f"injected {injected}; slowest to resume {slowest:.1f} s; {'FAILED' if outcome.failure else found}",
        flush=True,
    )
    for line in outcome.told[:20]:
        print(f"  {line[:1000]}")
    if kept:
        print(f"  logs: {kept}", flush=True)


def _tell(report: dict[str, object]) -> None:
    faults = report["faults"]
    assert isinstance(faults, dict)
    print(f"{'fault':<10} {'injected':>10} {'measured':>9} {'p50 s':>6} {'p95 s':>6} {'max s':>6}")
    for fault in FAULTS:
        row = faults[fault.name]
        figures = " ".join(f"{'' if row[name] is None else row[name]:>6}" for name in ("resume_p50_s", "resume_p95_s", "resume_max_s"))
        print(f"{fault.name:<10} {row['injected']:>4} of {fault.target:<3} {row['measured']:>8} {figures} {row.get('why_not', '')}")
    print(
        f"{report['lost']} lost, {report['doubled']} doubled, {report['oversold']} oversold, {report['reordered']} reordered, "
        f"{report['other']} other; p95 to resume {report['resume_p95_s']} s; {report['not_resumed']} not resumed; "
        f"{report['orders']} orders, {report['records']} records"
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("Ended in the middle of a round, which doesn't count; with STATE= the same command goes on.")
