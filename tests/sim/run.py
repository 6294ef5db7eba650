"""One seed: its world played, its invariants checked."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

from tests.sim.invariants import at_rest
from tests.sim.plan import Plan, plan_of
from tests.sim.remembered import remembered
from tests.sim.unrest import what_moves
from tests.sim.world import Unexpected, World

SLIPS = ("AttributeError: ", "NameError: ", "UnboundLocalError: ", "TypeError: ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a world."""

    plan: Plan
    digest: str
    """Of its whole course: the same for the same plan, on every machine."""
    wrong: tuple[str, ...]
    """`check: what`, empty where everything holds."""
    faults: int
    happened: Counter[str]
    turns: int
    trace: tuple[str, ...] = ()
    cpu_s: float = 0.0
    """Processor time it took."""
    slips: tuple[str, ...] = ()
    """Errors that name what isn't there: no rule raises these, code that is out of date does."""

    @property
    def checks(self) -> frozenset[str]:
        """Which checks failed."""
        return frozenset(each.partition(":")[0] for each in self.wrong)


def play(plan: Plan, *, keep_trace: bool = False) -> Outcome:
    """Never raises what a world can cause: that is a failed check, too."""
    began = time.process_time()
    with without_collections(), remembered():
        outcome = _play(plan, keep_trace)
    return replace(outcome, cpu_s=time.process_time() - began)


@contextmanager
def without_collections() -> Iterator[None]:
    """A world is garbage as a whole, once it has ended: until then nothing is to be found. Then all of it is looked for, but not in what
    every world uses."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
            gc.collect()
            _leave_out()


@cache
def _leave_out() -> None:
    """What is there once the first world has ended (modules, schemas, services) stays: no collection looks through it again."""
    gc.freeze()


def _play(plan: Plan, keep_trace: bool) -> Outcome:
    world = World(plan, keep_trace=keep_trace)
    try:
        world.play()
        wrong = world.wrong or [*world.restores.wrong(), *at_rest(world)]
    except Unexpected as error:
        wrong = [f"process_lives: {error}"]
    except AssertionError as error:
        wrong = [f"comes_to_rest: {error} {what_moves(world)}"]
    happened = world.faults.happened + world.restores.happened
    errors = [str(entry.get("error")) for entry in world.logged.entries]
    errors += [f"{type(failure).__name__}: {failure}" for failure in world.failures]
    return Outcome(
        plan,
        world.digest(),
        tuple(wrong),
        world.faults.count,
        happened,
        world.turns.taken,
        tuple(world.trace or ()),
        slips=tuple(error for error in errors if error.startswith(SLIPS)),
    )


def play_seed(seed: int, restore: str = "") -> Outcome:
    return play(replace(plan_of(seed), restore=restore))
