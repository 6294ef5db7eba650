"""The house: what lies at the top, the same rooms in every service, the errands of the Makefile, and linters that bite."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.fleet import SERVICES, load_service
from tests.support.lint import BIN, CHECKS, ROOT, Check, main

TOP = {"LICENSE", "Makefile", "README.md", "deploy", "pyproject.toml", "schemas", "services", "shared", "tests"}
ROOMS = {"__init__", "decide", "events", "rules", "service", "state"}
TARGETS = ("demo", "test", "up", "bench", "lint", "schemas", "clean")
RELAXED = re.DOTALL | re.IGNORECASE | re.MULTILINE
CLOCK = "import random\nfrom datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n"

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="no git checkout")
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def run(*command: str | Path, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A command at the top of the house, as somebody calls it who isn't inside a make."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=inherited | environ, input=stdin, capture_output=True, text=True, check=False)


# ---- the layout ----


@needs_git
def test_nothing_lies_at_the_top_but_what_architecture_names() -> None:
    tracked = {path.partition("/")[0] for path in run("git", "ls-files").stdout.splitlines()}
    assert {name for name in tracked if not name.startswith(".")} == TOP


def test_services_are_the_folders_of_services() -> None:
    assert {folder.name for folder in (ROOT / "services").iterdir() if (folder / "__init__.py").exists()} == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_the_same_rooms(name: str) -> None:
    """Its package says what it decides, reads, publishes, and does nothing else; its wiring bears its name."""
    folder = ROOT / "services" / name
    assert {path.stem for path in folder.glob("*.py")} >= ROOMS
    package = ast.parse((folder / "__init__.py").read_text())
    assert len(package.body) == 1
    assert re.search(r"\bdecides\b.*^reads\b.*^(writes|publishes)\b", ast.get_docstring(package) or "", RELAXED)
    assert load_service(name).name == name


# ---- make ----


@needs_make
def test_the_errands_are_told_by_make_alone() -> None:
    told = run("make").stdout
    assert [target for target in TARGETS if f"make {target} " not in told] == []


@needs_make
@pytest.mark.parametrize(
    ("target", "commands"),
    [
        ("demo ORDERS=7 SEED=3 DAY=40 KEEP=1 JSON=x.json", ["nervure demo --orders 7 --seed 3 --day 40 --keep --json x.json"]),
        ("test JSON=x.json", ["python -m tests.support.lint --json x.json", "python -m tests.support.suites --json x.json"]),
        ("lint JSON=x.json", ["python -m tests.support.lint --json x.json"]),
        ("bench QUICK=1 JSON=x.json", ["python -m tests.bench --quick --json x.json"]),
        ("up REPLICAS=sourcing=2", ["nervure up --replicas sourcing=2"]),
        ("schemas", ["python -m schemas.generate"]),
        ("clean", ["rm -rf .venv"]),
    ],
)
def test_an_errand_is_its_command_with_its_parameters(target: str, commands: list[str]) -> None:
    told = " ".join(run("make", "--dry-run", *target.split()).stdout.replace("\\\n", " ").split())
    assert [command for command in commands if command not in told] == [], told


def test_set_up_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    """And leaves no stamp: the next make tries again."""
    done = run(sys.executable, "deploy/bootstrap.py", tmp_path / "venv", PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="")
    assert done.returncode == 1
    assert "Remedy: without a network, or behind a mirror, tell pip where the wheels are" in done.stderr
    assert (tmp_path / "venv" / "bin" / "python").exists() and not (tmp_path / "venv" / ".locked").exists()


# ---- linters ----


def test_lint_tells_every_check_whatever_the_first_one_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    wrong = Check(("python", "-c", "import sys; sys.exit('line 7 is ugly')"), "beauty")
    right = Check(("python", "-c", "pass", "quick"), "speed")
    assert main(["--json", str(report)], (wrong, right)) == 1
    found = json.loads(report.read_text())
    assert (found["ok"], list(found["lint"].values())) == (False, ["line 7 is ugly", ""])
    assert "line 7 is ugly" in capsys.readouterr().out
    assert main(["--json", str(report)], (right,)) == 0
    assert json.loads(report.read_text())["ok"]
    assert [check.name for check in CHECKS] == ["ruff check", "ruff format", "mypy", "lint-imports"]


@pytest.mark.parametrize(
    ("module", "may"),
    [
        ("services/returns/decide.py", False),
        ("services/returns/anything_new.py", False),
        ("services/returns/deeper/new.py", False),
        ("services/returns/service.py", True),
        ("shared/kernel/new.py", True),
    ],
)
def test_no_module_of_a_service_but_its_wiring_knows_a_clock_or_dice(module: str, may: bool) -> None:
    done = run(BIN / "ruff", "check", "--select", "TID251", "--stdin-filename", module, "-", stdin=CLOCK)
    assert ("`random` is banned" in done.stdout, "`datetime.datetime.now` is banned" in done.stdout) == (not may, not may)
