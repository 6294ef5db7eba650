"""What is asked after the last test of the shared system finds what it should find."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.aftermath import Provocations, complaints

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def log(folder: Path, **entry: object) -> Path:
    """A log with one entry of returns, between two harmless ones."""
    harmless = {"service": "returns", "timestamp": AT.isoformat(), "action": "committed"}
    lines = [harmless, {"service": "returns", "timestamp": AT.isoformat(), **entry}, harmless]
    file = folder / "returns-0.log"
    file.write_text("a library says something\n" + "".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_what_was_refused_is_told_with_its_error(tmp_path: Path) -> None:
    found = list(complaints(log(tmp_path, action="refuse", error="KeyError: 1"), Provocations()))
    assert found == [f"returns-0 at {AT.isoformat()}: refuse: KeyError: 1"]


def test_a_constraint_that_was_hit_is_told_wherever_it_shows(tmp_path: Path) -> None:
    found = list(complaints(log(tmp_path, action="claim_again", error="CheckViolationError: reserved"), Provocations()))
    assert found == [f"returns-0 at {AT.isoformat()}: claim_again: CheckViolationError: reserved"]


def test_only_the_service_that_is_provoked_is_excused_and_only_meanwhile(tmp_path: Path) -> None:
    file, second = log(tmp_path, action="halve"), timedelta(seconds=1)
    assert list(complaints(file, Provocations([("returns", AT - second, AT + second)]))) == []
    assert len(list(complaints(file, Provocations([("sourcing", AT - second, AT + second)])))) == 1
    assert len(list(complaints(file, Provocations([("returns", AT + second, AT + 2 * second)])))) == 1


def test_a_calm_log_says_nothing(tmp_path: Path) -> None:
    assert list(complaints(log(tmp_path, action="collision"), Provocations())) == []
