"""A minute of chaos: one of each fault and more, and nothing is lost, doubled or oversold. How fast services resume is for `make chaos`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.ground import new_home
from tests.chaos.programme import FAULTS, moments
from tests.chaos.round import play

SEED = 1
LOAD_S = 30.0
COUNTS = {"kill": 6, "stop": 2, "session": 4, "storm": 1, "cut": 3, "broker": 1, "postgres": 1, "disk_full": 1}


@pytest.fixture
def home() -> Iterator[Path]:
    """Without what is too long for a temporary folder of pytest's; a round that fails tells what it found."""
    home = new_home()
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.timeout(600)  # services start a dozen times, perhaps on a busy machine
def test_a_minute_of_chaos_leaves_nothing_wrong(home: Path) -> None:
    outcome = play(home, SEED, moments(SEED, LOAD_S, COUNTS), LOAD_S)
    assert outcome.told == []
    assert outcome.clean
    assert outcome.not_resumed == 0
    missing = [fault.name for fault in FAULTS if not outcome.injected.get(fault.name) and fault.name not in outcome.why_not]
    assert missing == [], outcome
    assert outcome.orders > LOAD_S
