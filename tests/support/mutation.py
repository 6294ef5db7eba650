"""Mutants of every decide.py and rules.py against the unit tests: `make mutation [ONLY=services/returns/rules.py] [JSON=FILE]`.

mutmut changes one thing at a time and runs the tests that reach it. What survives must stand, with a reason, in tests/unit/mutants.toml:
a survivor without one, and a reason whose mutant is killed by now, make the run fail. So does a reason that begins with "Open": it only
keeps the mutants apart that are known and wait for a test. Laws drawn by hypothesis take no part, since they would take hours and not say
the same twice; so a mutant is killed by an example that anybody can read.

    {"ok": true, "seconds": 812.4, "open": 0, "stale": [],
     "files": {"services/returns/rules.py": {"mutants": 506, "killed": 490, "explained": 16, "open": 0, "unexplained": []}}}
"""

from __future__ import annotations

import argparse
import ast
import difflib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / ".mutation" / "tool"
"""mutmut with what it needs, beside the environment: its click is not the one faust-streaming allows."""
REASONS = ROOT / "tests" / "unit" / "mutants.toml"
COPIED = ("deploy", "schemas", "services", "shared", "tests")
KILLED = frozenset({1, 3, 24, -24, 36, 152, 255})
"""mutmut's codes of a mutant that a test noticed, those it had to stop (an endless loop) included."""
LEFT_OUT = ("_laws.py", "test_sourcing_cut.py")
"""Files of tests that are drawn by hypothesis."""
TOO_LONG = "tests/unit/test_sourcing_rules.py::test_searched_plans_are_close_to_the_exact_ones"
PROGRAM = "from mutmut.__main__ import cli; cli()"
_VARIANT = re.compile(r"(?P<function>.+)__mutmut_(?P<number>orig|\d+)")


class MutationFailed(Exception):
    """mutmut did not come to an end. Remedy: its last words are above; do the unit tests pass (`.venv/bin/python -m pytest tests/unit`)?"""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `function: what stood there => what stands there instead`."""

    file: str
    change: str
    killed: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Why mutants survive: those of one file by their change, or in every file those that match a pattern."""

    why: str
    file: str = ""
    mutants: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def open(self) -> bool:
        """Nothing is explained yet: a test is missing, or the proof that the mutants are equivalent."""
        return self.why.startswith("Open")

    def explains(self, mutant: Mutant) -> bool:
        if self.pattern:
            return re.search(self.pattern, mutant.change) is not None
        return mutant.file == self.file and mutant.change in self.mutants


def reasons() -> list[Reason]:
    entries = tomllib.loads(REASONS.read_text())["reason"]
    return [Reason(each["why"], each.get("file", ""), tuple(each.get("mutants", ())), each.get("pattern", "")) for each in entries]


# ---- one service ----


def files(only: str | None) -> list[str]:
    found = sorted(str(path.relative_to(ROOT)) for name in ("decide.py", "rules.py") for path in ROOT.glob(f"services/*/{name}"))
    chosen = [file for file in found if only is None or file.startswith(only)]
    if not chosen:
        raise SystemExit(f"No file begins with {only}; there are {', '.join(found)}")
    return chosen


def tests_of(service: str) -> list[str]:
    found = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(f"tests/unit/test_{service}_*.py"))
    return [file for file in found if not file.endswith(LEFT_OUT)]


def mutants_of(service: str, mutated: Sequence[str], jobs: int) -> Iterator[Mutant]:
    """Plays all mutants of some files of one service, in a copy of the repository that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="nervure-mutation-") as name:
        folder = Path(name)
        for part in COPIED:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + settings(service, mutated))
        run(folder, jobs)
        for file in mutated:
            yield from verdicts(folder, file)


def settings(service: str, mutated: Sequence[str]) -> str:
    arguments = ["-p", "no:cacheprovider", "-m", "not hypothesis", "--deselect", TOO_LONG]
    return "\n".join(
        (
            "\n[tool.mutmut]",
            f"source_paths = {json.dumps([part for part in COPIED if part != 'tests'])}",
            f"only_mutate = {json.dumps(list(mutated))}",
            f"pytest_add_cli_args_test_selection = {json.dumps(tests_of(service))}",
            f"pytest_add_cli_args = {json.dumps(arguments)}",
            "timeout_multiplier = 4.0",
            "track_dependencies = false",
            "use_git_change_detection = false\n",
        )
    )


def run(folder: Path, jobs: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TOOL)}
    command = [sys.executable, "-c", PROGRAM, "run", "--max-children", str(jobs)]
    with (folder / "log").open("w") as log:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        print((folder / "log").read_text()[-3000:], file=sys.stderr)
        raise MutationFailed(f"exit code {done.returncode}")


def verdicts(folder: Path, file: str) -> Iterator[Mutant]:
    """What became of each mutant of a file."""
    codes: dict[str, int | None] = json.loads((folder / "mutants" / f"{file}.meta").read_text())["exit_code_by_key"]
    if None in codes.values():
        raise MutationFailed(f"not all mutants of {file} were tried")
    changes = changes_in((folder / "mutants" / file).read_text())
    for name, code in codes.items():
        yield Mutant(file, changes[name.rpartition(".")[2]], code in KILLED)


# ---- what a mutant changes ----


def changes_in(source: str) -> dict[str, str]:
    """Of a file with all its mutants side by side: the change of each, by its name."""
    variants: dict[str, dict[str, list[str]]] = {}
    written = source.splitlines()
    for node in (each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef)):
        found = _VARIANT.fullmatch(node.name)
        if found:
            lines = written[node.lineno - 1 : node.end_lineno]  # ast.get_source_segment would split the whole file for each
            variants.setdefault(found["function"], {})[found["number"]] = [
                line.strip().replace(found.string, found["function"]) for line in lines
            ]
    return {
        f"{function}__mutmut_{number}": f"{_plain(function)}: {_difference(those['orig'], mutant)}"
        for function, those in variants.items()
        for number, mutant in those.items()
        if number != "orig"
    }


def _plain(function: str) -> str:
    """mutmut writes x_take for a function, xǁSiteǁcost for a method."""
    return function.removeprefix("x").removeprefix("_").strip("ǁ").replace("ǁ", ".")


def _difference(before: Sequence[str], after: Sequence[str]) -> str:
    lines = list(difflib.ndiff(before, after))
    gone = " ".join(line[2:] for line in lines if line.startswith("- "))
    come = " ".join(line[2:] for line in lines if line.startswith("+ "))
    return f"{gone} => {come}".strip()


# ---- the whole ----


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one file: how many mutants there were, were killed, have a reason to live, are open; and the change of each that isn't known."""

    mutants: int
    killed: int
    explained: int
    open: int
    unexplained: tuple[str, ...]


def figures(mutants: Sequence[Mutant], known: Sequence[Reason]) -> dict[str, Figures]:
    by_file: dict[str, Figures] = {}
    for file in sorted({mutant.file for mutant in mutants}):
        here = [mutant for mutant in mutants if mutant.file == file]
        living = [mutant for mutant in here if not mutant.killed]
        why = [next((reason for reason in known if reason.explains(mutant)), None) for mutant in living]
        unexplained = tuple(mutant.change for mutant, reason in zip(living, why, strict=True) if reason is None)
        waiting = sum(reason.open for reason in why if reason is not None)
        by_file[file] = Figures(len(here), len(here) - len(living), len(living) - len(unexplained) - waiting, waiting, unexplained)
    return by_file


def stale(mutants: Sequence[Mutant], known: Sequence[Reason]) -> list[str]:
    """Reasons for mutants that exist no more, or are killed, in the files that were played."""
    living = {(mutant.file, mutant.change) for mutant in mutants if not mutant.killed}
    played = {mutant.file for mutant in mutants}
    given = [(reason.file, change) for reason in known if reason.file in played for change in reason.mutants]
    return [f"{file} {change}" for file, change in given if (file, change) not in living]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="FILE", help="a file, or how its path begins: services/returns")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    began, mutants, known = time.monotonic(), list[Mutant](), reasons()
    for service, mutated in itertools.groupby(files(options.only), key=lambda file: file.split("/")[1]):
        print(f"mutation: {service}", flush=True)
        mutants += mutants_of(service, list(mutated), options.jobs)
    by_file, old = figures(mutants, known), stale(mutants, known)
    show(by_file, old)
    waiting = sum(each.open for each in by_file.values())
    ok = not old and not waiting and not any(each.unexplained for each in by_file.values())
    if options.json is not None:
        told = {"ok": ok, "seconds": round(time.monotonic() - began, 1), "open": waiting, "stale": old}
        told["files"] = {file: asdict(each) for file, each in by_file.items()}
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0 if ok else 1


def show(by_file: Mapping[str, Figures], old: Sequence[str]) -> None:
    for file, each in by_file.items():
        print(f"{file}: {each.mutants} mutants, {each.killed} killed, {each.explained} explained, {each.open} open")
        for change in each.unexplained:
            print(f"  survived, and nothing says why: {change}")
    for line in old:
        print(f"no survivor any more, strike it out of {REASONS.name}: {line}")


if __name__ == "__main__":
    sys.exit(main())
