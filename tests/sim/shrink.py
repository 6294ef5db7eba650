"""Making a failure short: fewer faults, fewer orders, as long as the same check still fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.sim.plan import Plan
from tests.sim.run import Outcome, play

MOST_TRIES = 60


def shortest(failed: Outcome) -> Outcome:
    """The shortest course found that fails one of the same checks, with its trace."""
    best, tries = failed, 0
    found = True
    while found and tries < MOST_TRIES:
        found = False
        for plan in _shorter(best):
            tries += 1
            outcome = play(plan)
            if outcome.checks & failed.checks:
                best, found = outcome, True
                break
            if tries >= MOST_TRIES:
                break
    return play(best.plan, keep_trace=True)


def _shorter(outcome: Outcome) -> Iterator[Plan]:
    """What could be left out of it, the most first."""
    plan = outcome.plan
    if outcome.faults and plan.most_faults != 0:
        for most in dict.fromkeys((0, outcome.faults // 2, outcome.faults - 1)):
            if plan.most_faults is None or most < plan.most_faults:
                yield replace(plan, most_faults=most)
    if not plan.quiet_trade:
        yield replace(plan, quiet_trade=True)
    for what in sorted((plan.faults | plan.oddities) - plan.without):
        yield replace(plan, without=plan.without | {what})
    orders = sorted(plan.only_orders or range(1, plan.orders + 1))
    if len(orders) > 1:
        half = len(orders) // 2
        for some in (orders[:half], orders[half:]):
            yield replace(plan, only_orders=frozenset(some))
        for one in orders:
            yield replace(plan, only_orders=frozenset(orders) - {one})
