"""Counts of outcomes, in all and by suite, for machines: `make test JSON=FILE`.

    {"ok": true, "passed": 12, "failed": 0, "errors": 0, "skipped": 0, "seconds": 3.1,
     "suites": {"unit": {"passed": 12, "failed": 0, "errors": 0, "skipped": 0}}}

Where `make lint`, which comes first, finds something, FILE is its report (tests/support/lint.py): no test ran.
`errors` are fixtures that failed and files that could not be collected; an expected failure counts as skipped.
"""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

OUTCOMES = ("passed", "failed", "errors", "skipped")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--json", metavar="FILE", type=Path, help="write the counts of outcomes to FILE")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--json"):
        config.pluginmanager.register(Counts(path))


class Counts:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.suites: dict[str, Counter[str]] = {}
        self.started_s = time.monotonic()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.count(report.nodeid, "errors")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.skipped:
            self.count(report.nodeid, report.outcome)
        elif report.failed:
            self.count(report.nodeid, "errors")

    def count(self, nodeid: str, outcome: str) -> None:
        suite = nodeid.removeprefix("tests/").partition("/")[0]
        self.suites.setdefault(suite, Counter())[outcome] += 1

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        total = sum(self.suites.values(), Counter[str]())
        report = {
            "ok": exitstatus == pytest.ExitCode.OK,
            **by_outcome(total),
            "seconds": round(time.monotonic() - self.started_s, 1),
            "suites": {suite: by_outcome(counts) for suite, counts in self.suites.items()},
        }
        self.path.write_text(json.dumps(report, indent=2) + "\n")


def by_outcome(counts: Counter[str]) -> dict[str, int]:
    return {outcome: counts[outcome] for outcome in OUTCOMES}
