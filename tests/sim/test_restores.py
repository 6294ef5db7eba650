"""Databases that are lost: restored to the end of their archives nobody notices; restored to an older state, they are repaired."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploy.fleet import SERVICES
from shared.kernel.gate import Gate
from shared.kernel.ports import LaneRow, TopicPartition
from shared.kernel.publisher import Publisher
from tests.sim.plan import RESTORE, calm, plan_of
from tests.sim.run import Outcome, play

ARCHIVED = range(6)
"""Worlds whose databases have archives, and are lost."""
OLDER, REPAIRED = range(20, 80), 2
"""Of each service: worlds whose database is restored to an older state, until so many had lost messages that their topics knew."""
WITHIN = 30
"""Seeds within which a protection that is switched off must be missed."""


def lost(seed: int) -> Outcome:
    """Nothing else breaks, so that what is lost isn't kept by accident."""
    return play(replace(calm(seed), faults=frozenset({RESTORE}), restore=""))


def older(service: str, seed: int) -> Outcome:
    return play(replace(plan_of(seed), restore=service))


def wrong(outcomes: list[Outcome]) -> list[str]:
    return [f"seed {outcome.plan.seed}: {each}" for outcome in outcomes for each in outcome.wrong]


def test_a_restore_to_the_end_of_the_archive_is_never_behind_its_topics() -> None:
    """Although commits were lost that nobody had archived: nothing of them was published."""
    outcomes = [lost(seed) for seed in ARCHIVED]
    assert wrong(outcomes) == []
    assert sum(outcome.happened["commits lost"] for outcome in outcomes) > 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_database_restored_to_an_older_state_is_refused_and_repaired(service: str) -> None:
    """All replicas refuse, and have changed nothing; its journal does again what it lacks; then the whole audit is clean."""
    outcomes, repaired = [], 0
    for seed in OLDER:
        outcomes.append(older(service, seed))
        repaired += outcomes[-1].happened["messages known again"] > 0
        if repaired == REPAIRED:
            break
    assert wrong(outcomes) == []
    assert repaired == REPAIRED


def first_wrong(outcomes: Iterator[Outcome]) -> Outcome:
    return next(outcome for outcome in outcomes if outcome.wrong)


def test_a_gate_that_is_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published before it was archived is ahead of what is left."""
    monkeypatch.setattr(Gate, "_is_held", lambda self, one, position: True)
    assert "process_lives" in first_wrong(lost(seed) for seed in range(WITHIN)).checks


def test_messages_that_overtake_the_journal_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the journal doesn't tell how to do again what a topic shows."""
    journaled, next_rows, asked = Gate.journaled, Publisher._next_rows, itertools.count()

    async def mostly_later(self: Publisher, at: TopicPartition) -> list[LaneRow]:
        return [] if at == self._gate.journal and next(asked) % 20 else await next_rows(self, at)

    monkeypatch.setattr(Publisher, "_next_rows", mostly_later)
    monkeypatch.setattr(Gate, "journaled", lambda self, seq: journaled(self, 1 << 60))
    assert first_wrong(older("inventory", seed) for seed in range(WITHIN)).wrong
