"""The hunt for mutants: what it takes for caught."""

from __future__ import annotations

from typing import Any

import pytest

from shared.kernel.stage import Stage
from tests.sim.mutant import MUTANTS, Mutant, switch
from tests.sim.mutate import hunt

WITHIN = range(20)


def _marks_lost() -> None:
    """Whoever reads a lane forgets how far."""
    switch(Stage, "_passes_lane", lambda self, arrival: None)


def _out_of_date() -> None:
    """The product calls by another name now what this one replaces."""

    def gone(self: Any, arrival: Any) -> None:
        self.name_of_long_ago(arrival)

    switch(Stage, "_passes_lane", gone)


def _nothing() -> None: ...


@pytest.mark.parametrize(
    ("apply", "caught"), [(_marks_lost, True), (_out_of_date, False), (_nothing, False)], ids=["missed", "out-of-date", "not-missed"]
)
def test_a_mutant_is_caught_by_what_it_takes_away(monkeypatch: pytest.MonkeyPatch, apply: Any, caught: bool) -> None:
    monkeypatch.setitem(MUTANTS, "example", Mutant("example", "an example", apply))
    found = hunt("example", WITHIN)
    assert (found.seeds_needed is not None) == caught, found
    assert found.seen_by.startswith("out of date: AttributeError") == (apply is _out_of_date)
