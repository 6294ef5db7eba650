"""A slice of the simulation, and what makes it worth something: the same seed is the same course, everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sim.plan import plan_of
from tests.sim.run import play

SEEDS_OF_HASH = (3, 10, 21)
ASK = "import sys; from tests.sim.plan import plan_of; from tests.sim.run import play; print(play(plan_of(int(sys.argv[1]))).digest)"


@pytest.mark.parametrize("seed", SEEDS_OF_HASH)
def test_a_seed_is_one_course_of_events(seed: int) -> None:
    """Three runs, and two in other processes where sets have another order."""
    digests = {play(plan_of(seed)).digest for _ in range(3)}
    for hashing in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hashing}
        told = subprocess.run([sys.executable, "-c", ASK, str(seed)], env=environment, capture_output=True, text=True, check=True)
        digests.add(told.stdout.strip())
    assert len(digests) == 1


def test_other_seeds_are_other_courses() -> None:
    assert len({play(plan_of(seed)).digest for seed in range(5)}) == 5
