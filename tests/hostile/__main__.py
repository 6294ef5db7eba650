"""`python -m tests.hostile [--cases N] [--records N] [--seed N] [--json FILE]`: hostile input against decoders, then over the broker."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.fleet import kafka_connection
from deploy.supervisor import System
from shared.settings import Settings
from tests.hostile.fuzz import Tally, fuzz
from tests.hostile.siege import Siege, counted
from tests.support.aftermath import Provocations, complaints, found_wrong
from tests.support.desk import Desk

MOST_TOLD = 20
WAITED_IN_VAIN = "KeptTooLong"
"""A fact about something that never came becomes a dead letter after ten minutes; the log says so."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make hostile", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000, help="inputs for the decoders")
    parser.add_argument("--records", type=int, default=50_000, help="records over the broker; 0: none")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same inputs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", action="store_true", help="keep the home of a run over the broker where something was wrong, to look at")
    asked = parser.parse_args()
    figures: dict[str, Any] = {"seed": asked.seed}
    if asked.cases:
        figures["decoders"] = _decoders(asked.cases, asked.seed)
    if asked.records:
        figures["broker"] = _broker(asked.records, asked.seed, keep=asked.keep)
    figures["ok"] = all(figures[part]["ok"] for part in ("decoders", "broker") if part in figures)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["ok"] else 1


def _decoders(cases: int, seed: int) -> dict[str, Any]:
    began = time.monotonic()
    report = fuzz(cases, seed, tell=_tell).report()
    report |= {"ok": not report["failed"], "seconds": round(time.monotonic() - began, 1)}
    print(
        f"decoders: {report['cases']:,} cases in {report['seconds']:.0f} s, {report['typed']:,} typed, "
        f"{report['refused']:,} refused with a reason, "
        f"{report['failed']:,} failed; {report['outcomes']:,} different outcomes; peak memory {report['peak_memory_mb']} MB"
    )
    for finding in report["findings"][:MOST_TOLD]:
        print(f"  {finding['decoder']}, case {finding['case']}: {finding['error'][:200]} ({finding['where']})")
    return report


def _tell(tally: Tally) -> None:
    print(f"\r  {tally.cases.total():,} cases, {tally.failed} failed", end="", flush=True)


def _broker(records: int, seed: int, *, keep: bool) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="nervure-hostile-"))
    home.chmod(0o711)
    well = False
    try:
        with System(Settings().model_copy(update={"home": home, "log_level": "warning"})) as system:
            system.wait_ready()
            figures = asyncio.run(_besiege(system, records, seed))
        well = figures["ok"]
        return figures
    finally:
        if well or not keep:
            shutil.rmtree(home, ignore_errors=True)
        else:
            print(f"kept to look at: NERVURE_HOME={home} nervure up", flush=True)


async def _besiege(system: System, records: int, seed: int) -> dict[str, Any]:
    began = time.monotonic()
    desk = Desk(system, kafka_connection(system.settings), system.settings.partitions)
    await desk.start()
    siege = Siege(desk, records, seed, lambda text: print(f"  {text}", flush=True))
    try:
        account = await siege.run()
        await desk.rest()
    finally:
        await desk.stop()
    wrong = [*account.wrong, *desk.lanes.faults, *await found_wrong(system.settings), *_complaints(system)]
    figures = {
        "ok": not wrong,
        "records": len(siege.thrown),
        "seconds": round(time.monotonic() - began, 1),
        "fates": dict(account.fates),
        "by_topic": {topic: dict(fates) for topic, fates in sorted(account.by_topic.items())},
        "answers": dict(account.outcomes),
        "dead_letter_reasons": dict(account.reasons),
        "good_orders_completed": len(siege.good),
        "rss_mb": siege.rss_mb,
        "services": counted(system),
        "wrong": wrong[:200],
    }
    told = ", ".join(f"{count:,} {fate}" for fate, count in account.fates.most_common())
    print(
        f"broker: {figures['records']:,} records in {figures['seconds']:.0f} s: {told}; "
        f"{len(siege.good)} good orders completed; {len(wrong)} wrong"
    )
    for text in wrong[:MOST_TOLD]:
        print(f"  {text[:300]}")
    return figures


def _complaints(system: System) -> list[str]:
    logs = sorted((system.settings.home / "logs").glob("*.log"))
    return [line for log in logs for line in complaints(log, Provocations()) if WAITED_IN_VAIN not in line]


if __name__ == "__main__":
    sys.exit(main())
