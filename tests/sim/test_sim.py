"""A slice of the simulation, and what makes it worth something: the same seed is the same course, everywhere; what is broken is found,
and made short."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from services.inventory import rules
from shared.kernel.memory_transaction import MemoryTransaction
from shared.kernel.ports import Changes, LaneRow, OutboxRow, Quarantine, Record, TopicPartition
from shared.kernel.stage import Stage
from tests.sim import run
from tests.sim.plan import plan_of
from tests.sim.run import Outcome, play
from tests.sim.shrink import shortest
from tests.sim.world import World

SLICES = [range(first, first + 10) for first in range(0, 20, 10)]
"""Few, for whoever runs only these tests: `make test` plays two thousand before."""
SEEDS_OF_HASH = (3, 10, 21)
ASK = "import sys; from tests.sim.plan import plan_of; from tests.sim.run import play; print(play(plan_of(int(sys.argv[1]))).digest)"
WITHIN = 40
"""Seeds within which a planted bug must be found."""
LONGER_THAN_BROKEN_S = 40.0
"""Than a rule is broken, and until somebody looks for what it refused."""


@pytest.mark.parametrize("seeds", SLICES, ids=lambda seeds: f"from-{seeds[0]}")
def test_whatever_fails_everything_holds_in_the_end(seeds: range) -> None:
    assert [f"seed {seed}: {wrong}" for seed in seeds for wrong in play(plan_of(seed)).wrong] == []


@pytest.mark.parametrize("seed", SEEDS_OF_HASH)
def test_a_seed_is_one_course_of_events(seed: int) -> None:
    """Three runs, and two in other processes where sets have another order."""
    digests = {play(plan_of(seed)).digest for _ in range(3)}
    for hashing in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hashing}
        told = subprocess.run([sys.executable, "-c", ASK, str(seed)], env=environment, capture_output=True, text=True, check=True)
        digests.add(told.stdout.strip())
    assert len(digests) == 1


def test_worlds_that_were_played_are_gone() -> None:
    """Twenty thousand of them are played in one process. One may still be known, to whatever has raised last in it."""
    for seed in range(12):
        play(plan_of(seed))
    gc.collect()
    assert sum(isinstance(one, World) for one in gc.get_objects()) <= 1


def test_other_seeds_are_other_courses() -> None:
    assert len({play(plan_of(seed)).digest for seed in range(5)}) == 5


def test_what_is_remembered_of_records_changes_no_course(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads the bytes anew reads the same."""
    with_it = [play(plan_of(seed)) for seed in SEEDS_OF_HASH]
    monkeypatch.setattr(run, "remembered", nullcontext)
    assert [(each.digest, each.wrong) for each in with_it] == [
        (each.digest, each.wrong) for each in (play(plan_of(seed)) for seed in SEEDS_OF_HASH)
    ]


def first_failure(**fields: Any) -> Outcome:
    """Of the first worlds, with something made otherwise."""
    outcomes = (play(replace(plan_of(seed), **fields)) for seed in range(WITHIN))
    return next(outcome for outcome in outcomes if outcome.wrong)


def test_a_lane_read_without_its_marks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes twice takes effect twice."""

    async def forget_marks(self: MemoryTransaction, changes: Changes, messages: Sequence[OutboxRow] = ()) -> list[LaneRow]:
        changes.marks.clear()
        return await write(self, changes, messages)

    write = MemoryTransaction.write
    monkeypatch.setattr(MemoryTransaction, "write", forget_marks)
    assert first_failure().checks


def test_units_promised_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inventory grants what is asked, whatever there is: seen at the very step, where two replicas of sourcing ask for the same units."""
    monkeypatch.setattr(rules, "allot", lambda asked, levels: [units for _, units in asked])
    failed = first_failure(faults=frozenset(), oddities=frozenset({"hot_item"}), partitions=2, replicas=2, opening=4, pace_s=0.0)
    assert failed.checks == {"level_possible"}


def test_what_is_put_aside_after_its_rule_was_mended_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever refused it was stopped before the commit: when somebody looked for what the rule had refused, there was nothing."""

    async def late(self: MemoryTransaction, quarantines: Sequence[Quarantine]) -> None:
        await self._session.database.clock.sleep(LONGER_THAN_BROKEN_S)
        await quarantine(self, quarantines)

    quarantine = MemoryTransaction._quarantine
    monkeypatch.setattr(MemoryTransaction, "_quarantine", late)
    outcomes = [play(replace(plan_of(seed), faults=frozenset({"rule_bug"}), theme=None, broken="sourcing")) for seed in range(4)]
    assert sum(outcome.happened["rule_bug"] for outcome in outcomes) > 0
    assert [outcome.wrong for outcome in outcomes if outcome.wrong] == []


def test_a_failure_is_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that loses one order of a world needs no faults, and no other orders, to be seen."""
    take = Stage.take

    def lose_one(self: Stage, arrival: object, need: object) -> None:
        record: Record | None = getattr(arrival, "record", None)
        if record is not None and record.at == TopicPartition("oms.orders.events.v1", 0) and self.service.name == "returns":
            self._advance(arrival)  # type: ignore[arg-type]
            self._passes_lane(arrival)  # type: ignore[arg-type]
            return
        take(self, arrival, need)  # type: ignore[arg-type]

    monkeypatch.setattr(Stage, "take", lose_one)
    failed = first_failure()
    short = shortest(failed)
    assert short.checks & failed.checks
    assert short.plan.only_orders is not None
    assert (short.faults, len(short.plan.only_orders)) == (0, 1)
    assert play(short.plan).digest == short.digest
