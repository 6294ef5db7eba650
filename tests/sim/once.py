"""Each input takes effect once: held against every commit, on what was decided in it.

A process that is told to roll back decides again, so a decision counts only once its transaction is committed; a message that is kept
for a row is decided again, too. What channels ask, and what returns answer them, may come twice under one id: it is answered again. And who
says now this, now that under one id is heard each time: what was said last is known, and totals add nothing twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from schemas.topics import RETURN_EVENTS, topic_of
from shared.kernel.model import Input, Keep, Key, Service, Wake, Woken
from shared.kernel.ports import TimerRow
from shared.value import replace

if TYPE_CHECKING:
    from tests.sim.world import World

Timer = tuple[Key, str]
Timers = Mapping[Timer, TimerRow]


class Decided:
    """What one process has decided in the transaction it is in."""

    def __init__(self) -> None:
        self.inputs: list[Input[Any]] = []
        self.set: dict[Timer, datetime | None] = {}
        """Timers as the decisions have set them; None: cancelled."""

    def forget(self) -> None:
        self.inputs.clear()
        self.set.clear()

    def note(self, given: Input[Any], outputs: Iterator[Any]) -> Iterator[Any]:
        """The same outputs, looked at on their way."""
        kept = False
        for output in outputs:
            if type(output) is Wake:
                self.set[output.key, output.name] = output.due
            kept = kept or type(output) is Keep
            yield output
        if not kept:
            self.inputs.append(given)


class Once:
    """All that took effect in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._decided: dict[str, Decided] = defaultdict(Decided)
        """By process."""
        self._causes: dict[str, set[UUID]] = {name: set() for name in world.databases}
        self._timers: dict[str, Timers] = {name: {} for name in world.databases}
        """As they were after the commit before."""
        self._lives: dict[str, int] = {name: database.life for name, database in world.databases.items()}
        self._replays = world.plan.has("rule_bug")
        """What failed runs again, past what is known of it; timers that wait behind it are put off."""

    def watched(self, service: Service[Any], process: str) -> Service[Any]:
        """The same service, as this process runs it."""
        decided = self._decided[process]

        def decide(world: Any, given: Input[Any], view: Any) -> Iterator[Any]:
            return decided.note(given, service.decide(world, given, view))

        return replace(service, decide=decide)

    def begun(self, process: str) -> None:
        """A transaction begins: what was decided before is committed, or rolled back."""
        self._decided[process].forget()

    def committed(self, process: str, service: str) -> Iterator[str]:
        """What is wrong with the transaction that this process has just committed."""
        database, decided = self._world.databases[service], self._decided[process]
        if database.life != self._lives[service]:  # what was committed may be lost, and is done again
            self._lives[service] = database.life
            self._causes[service].clear()
            self._timers[service] = {}
        timers: Mapping[Any, TimerRow] = database.table("timer")
        for given in decided.inputs:
            if type(given.body) is Woken:
                if not self._replays:
                    yield from self._ran(service, given.body, decided, timers)
            elif self._counts(given):
                if given.cause in self._causes[service]:
                    yield f"inputs_count_once: {process} has decided {type(given.body).__name__} {given.cause} a second time"
                self._causes[service].add(given.cause)
        decided.forget()
        self._timers[service] = dict(timers)

    def _counts(self, given: Input[Any]) -> bool:
        topic = topic_of(given.body)
        if topic is None or topic.kind == "request" or topic == RETURN_EVENTS or given.changed:
            return False
        return not (self._replays and topic.kind == "fact")

    def _ran(self, service: str, woken: Woken, decided: Decided, timers: Timers) -> Iterator[str]:
        """It was set for that time, and is set no more."""
        timer = (woken.key, woken.name)
        told = f"{service} {woken.key} {woken.name} due {woken.due:%T.%f}"
        before, after = self._timers[service].get(timer), timers.get(timer)
        if before is None or before.due != woken.due:
            yield f"timers_run_once: {told} ran, and was {'gone' if before is None else f'put off to {before.due:%T.%f}'}"
        elif after is not None and after.due == woken.due and decided.set.get(timer) != woken.due:
            yield f"timers_run_once: {told} ran, and will run again"
