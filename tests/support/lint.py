"""Style, types and imports, each with its own tool: `make lint [JSON=FILE]`. All of them run, whatever the first one finds.

    {"ok": false, "seconds": 9.3, "lint": {"ruff check": "", "ruff format": "Would reformat: ...", "mypy": "", "lint-imports": ""}}

By check: what it complains of, as it prints it; empty where all is well. Exit code 1 when there is anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Check:
    """One tool; `about` is for the person who waits."""

    command: tuple[str, ...]
    about: str

    @property
    def name(self) -> str:
        return " ".join(word for word in self.command if not word.startswith("-"))

    def complaint(self) -> str:
        """What it prints where it is not content."""
        program, *arguments = self.command
        done = subprocess.run([BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


CHECKS = (
    Check(("ruff", "check", "--quiet"), "the rules (.venv/bin/ruff check --fix mends some)"),
    Check(("ruff", "format", "--check", "--quiet"), "the layout (.venv/bin/ruff format mends it)"),
    Check(("mypy",), "types"),
    Check(("lint-imports", "--no-logo"), "who may import whom"),
)


def lint(checks: Sequence[Check] = CHECKS) -> dict[str, str]:
    """The complaint of each check by its name, shown as it comes."""
    found: dict[str, str] = {}
    for check in checks:
        print(f"lint: {check.name} - {check.about}", flush=True)
        found[check.name] = check.complaint()
        if found[check.name]:
            print(found[check.name], flush=True)
    return found


def main(arguments: Sequence[str] | None = None, checks: Sequence[Check] = CHECKS) -> int:
    parser = argparse.ArgumentParser(prog="make lint", description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path)
    file: Path | None = parser.parse_args(arguments).json
    began = time.monotonic()
    complaints = lint(checks)
    ok = not any(complaints.values())
    if file is not None:
        report = {"ok": ok, "seconds": round(time.monotonic() - began, 1), "lint": complaints}
        file.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
