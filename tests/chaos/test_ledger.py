"""What runs have injected adds up, and the programme ends when all targets are reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.chaos.findings import KINDS
from tests.chaos.ledger import Ledger, percentile
from tests.chaos.programme import FAULTS, needed_s, plan
from tests.chaos.round import Outcome

CALM = Outcome(seed=1, load_s=10, injected={"kill": 3}, resume_s={"kill": [1.0, 2.0, 9.0]}, orders=5, found=dict.fromkeys(KINDS, 0))
TARGETS = {fault.name: fault.target for fault in FAULTS}


def test_a_later_run_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    state = tmp_path / "ledger.json"
    Ledger.opened(state).add("abc", "now", CALM)
    second = Ledger.opened(state)
    second.add("def", "later", replace(CALM, seed=2))
    report = Ledger.opened(state).report()
    assert (report["faults"]["kill"]["injected"], report["orders"], report["resume_p95_s"]) == (6, 10, 9.0)
    assert [(each["commit"], each["seed"]) for each in report["rounds"]] == [("abc", 1), ("def", 2)]
    assert (second.left()["kill"], second.left()["broker"]) == (TARGETS["kill"] - 6, TARGETS["broker"])


def test_one_thing_wrong_in_one_round_is_never_forgotten() -> None:
    ledger = Ledger()
    ledger.add("abc", "now", replace(CALM, found=CALM.found | {"doubled": 1}))
    ledger.add("abc", "now", CALM)
    report = ledger.report()
    assert (report["ok"], report["doubled"], report["lost"]) == (False, 1, 0)


def test_a_round_that_could_not_be_played_is_no_success() -> None:
    ledger = Ledger()
    ledger.add("abc", "now", CALM)
    assert ledger.report()["ok"]
    ledger.add("abc", "now", Outcome(seed=2, failure="it did not start"))
    assert not ledger.report()["ok"]


def test_a_fault_the_machine_does_not_allow_says_why() -> None:
    ledger = Ledger()
    ledger.add("abc", "now", replace(CALM, why_not={"disk_full": "mount: not permitted"}))
    row = ledger.report()["faults"]["disk_full"]
    assert (row["injected"], row["why_not"]) == (0, "mount: not permitted")


def test_rounds_at_full_length_reach_all_targets_in_time() -> None:
    """And never beyond them; a seed is one plan."""
    left, seed = dict(TARGETS), 0
    while any(left.values()) and seed < 40:
        seed += 1
        for moment in plan(seed, min(300, max(90, needed_s(left))), left):
            left[moment.kind] -= 1
    assert (set(left.values()), seed <= 7) == ({0}, True), left
    assert plan(3, 60, TARGETS) == plan(3, 60, TARGETS)


def test_the_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.01, 0.5, 0.95)] == [1.0, 2.0, 3.0]
