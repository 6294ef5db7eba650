"""All tests, in two groups side by side: `make test [JSON=FILE]`, after lint.

What needs no server (simulation, unit, contract, hostile) only calculates: it yields to the other group, whose tests wait for brokers,
databases and processes, and what it said is shown when both are done. FILE is as tests/support/json_report.py describes it, of both
groups together. Exit code 1 where either group finds something; both run to their end, whatever the other finds, or until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.json_report import OUTCOMES

ROOT = Path(__file__).resolve().parent.parent.parent
YIELDING = ("nice", "-n", "5")
INTERRUPTED = threading.Event()
"""Ctrl-C reaches every process of the terminal: those that have servers stop them, and nothing is begun after."""


@dataclass(frozen=True, slots=True)
class Group:
    """Suites of pytest, and what runs before them, as arguments of Python."""

    suites: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()

    def command(self, report: Path) -> tuple[str, ...]:
        return ("-m", "pytest", *(f"tests/{suite}" for suite in self.suites), "-p", "tests.support.json_report", "--json", str(report))


GROUPS = {
    "servers": Group(("integration", "flow", "chaos")),
    "calm": Group(("unit", "contract", "hostile", "sim"), before=(("-m", "tests.sim", "--seeds", "2000", "--jobs", "1"),)),
}


def run(group: Group, report: Path) -> int:
    """All commands of a group; 1 where one of them failed."""
    codes = [_run(command) for command in (*group.before, group.command(report)) if not INTERRUPTED.is_set()]
    return 1 if any(codes) or INTERRUPTED.is_set() else 0


def _run(command: Sequence[str]) -> int:
    return subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode


def run_both(folder: Path) -> bool:
    """Whether all is well; the reports are then in the folder."""
    said = folder / "calm.txt"
    aside = [*YIELDING, sys.executable, "-m", __spec__.name, "--only", "calm", "--json", str(folder / "calm.json")]
    with said.open("wb") as output, subprocess.Popen(aside, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT) as calm:
        servers = run(GROUPS["servers"], folder / "servers.json")
        calm_too = calm.wait()
    print(f"test: {', '.join(GROUPS['calm'].suites)} and the simulation, which ran beside these:", flush=True)
    print(said.read_text(errors="replace"), flush=True)
    return servers == 0 and calm_too == 0


def together(folder: Path, *, ok: bool) -> dict[str, Any]:
    """The reports of both groups as one; a group that never came to write one counts as an error."""
    reports = [json.loads(file.read_text()) for name in GROUPS if (file := folder / f"{name}.json").exists()]
    totals = {outcome: sum(report[outcome] for report in reports) for outcome in OUTCOMES}
    totals["errors"] += len(GROUPS) - len(reports)
    seconds = max((report["seconds"] for report in reports), default=0.0)
    suites = {name: counts for report in reports for name, counts in report["suites"].items()}
    return {"ok": ok, **totals, "seconds": seconds, "suites": suites}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--only", choices=GROUPS)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, lambda *_: INTERRUPTED.set())
    with tempfile.TemporaryDirectory(prefix="nervure-test-") as name:
        folder = Path(name)
        if options.only is not None:
            return run(GROUPS[options.only], options.json or folder / f"{options.only}.json")
        ok = run_both(folder)
        report = together(folder, ok=ok)
    print(f"test: {'all is well' if ok else 'NOT WELL'}: " + ", ".join(f"{report[outcome]} {outcome}" for outcome in OUTCOMES), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
