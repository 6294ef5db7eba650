"""One round: a system of its own comes up, trades, is injured, comes to rest and is judged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.fleet import kafka_connection
from tests.chaos.findings import Findings
from tests.chaos.ground import Ground, ground
from tests.chaos.injuries import Injuries
from tests.chaos.judge import judge_books, judge_day, judge_logs, judge_place, judge_trade
from tests.chaos.load import Day, SteadyTrade, StubbornDesk, a_place
from tests.chaos.observer import Observer
from tests.chaos.programme import Moment
from tests.chaos.recovery import Recoveries
from tests.support.bad_day import ITEMS

PACE_S = 0.5
"""An order each half a second in either world, with all that people say about it: some 25 messages from outside a second."""
RESUMES_WITHIN_S = 90.0
"""How long the load goes on after the last injury for services to come back; who doesn't has no figure and is told."""
SEES_ALL_S = 60.0


@dataclass
class Outcome:
    """What a round did and found."""

    seed: int
    failure: str = ""
    """Why it could not be played to its end."""
    load_s: float = 0.0
    injected: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)
    resume_s: dict[str, list[float]] = field(default_factory=dict)
    not_resumed: int = 0
    exits: int = 0
    """Processes that ended by themselves, as one that starts while the network is cut does after a while; they were started again."""
    orders: int = 0
    records: int = 0
    repeats: int = 0
    found: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any(self.found.values())


class History:
    """What became of the processes, line by line."""

    def __init__(self, home: Path) -> None:
        self._log = home / "supervisor.log"
        self.exits = 0

    def note(self, line: str) -> None:
        self.exits += "ended with exit code" in line and "exit code 0" not in line
        with self._log.open("a") as log:
            log.write(f"{datetime.now(UTC).isoformat()} {line}\n")


@contextmanager
def own_log(path: Path) -> Iterator[None]:
    """What the libraries complain of in this process goes there: outages are what is wanted."""
    handler, root = logging.FileHandler(path), logging.getLogger()
    root.addHandler(handler)
    before, logging.lastResort = logging.lastResort, None
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        logging.lastResort = before


def play(home: Path, seed: int, moments: Sequence[Moment], seconds: float) -> Outcome:
    """A whole round in a new home: a load of so many seconds with these injuries. All is stopped at the end; the home stays."""
    history = History(home)
    with own_log(home / "harness.log"), ground(home, seed, history.note) as on:
        outcome = asyncio.run(Round(on, seed).play(moments, seconds))
    outcome.exits = history.exits
    return outcome


class Round:
    """What happens while a system runs."""

    def __init__(self, on: Ground, seed: int) -> None:
        self._on = on
        self._seed = seed
        settings = on.system.settings
        self._observer = Observer(settings, on.home)
        self._desk = StubbornDesk(on.system, kafka_connection(settings), settings.partitions)
        self._recoveries = Recoveries(self._observer)
        self._injuries = Injuries(on, self._recoveries, seed)

    async def play(self, moments: Sequence[Moment], seconds: float) -> Outcome:
        await self._observer.start()
        await self._desk.start()
        watching = asyncio.create_task(self._recoveries.watch())
        try:
            return await self._trade_and_judge(moments, seconds)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._desk.stop()
            await self._observer.stop()

    async def _trade_and_judge(self, moments: Sequence[Moment], seconds: float) -> Outcome:
        day = Day(await a_place(self._desk, "day", items=ITEMS, cancel_answer_s=2, channel={"hold_deadline_s": 3600}), self._seed)
        await day.open()
        trade = await SteadyTrade.opened(await a_place(self._desk, "trade", items=("a", "b", "rare")))
        trade.pace_s = PACE_S
        found, began, over = Findings(), time.monotonic(), asyncio.Event()
        trading = asyncio.create_task(day.go_on(over, PACE_S)), asyncio.create_task(trade.go_on(over))
        try:
            await self._while(trading, self._injure(moments, seconds))
            load_s = time.monotonic() - began
            over.set()
            _, left_of_trade = await asyncio.gather(*trading)
        except BaseException:
            await _cancelled(trading)
            raise
        for left in filter(None, (left_of_trade, await day.finish())):
            found.lost(left)
        await self._judge(day, trade, found)
        return self._outcome(load_s, len(day.orders) + trade._placed(), found)

    async def _while(self, trading: Sequence[asyncio.Task[object]], injuring: Coroutine[Any, Any, None]) -> None:
        """Injures as long as the trade goes on; where somebody of the trade fails, that ends it."""
        injuries = asyncio.create_task(injuring)
        try:
            done, _ = await asyncio.wait([injuries, *trading], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*done)
        finally:
            await _cancelled([injuries])

    async def _injure(self, moments: Sequence[Moment], seconds: float) -> None:
        """Each at its moment, beside those that go on; then the rest of the time, and until every service works again."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as going_on:
            for moment in moments:
                await asyncio.sleep(max(0.0, began + moment.at_s - time.monotonic()))
                going_on.create_task(self._injuries.inject(moment.kind))
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        deadline = time.monotonic() + RESUMES_WITHIN_S
        while self._recoveries.left and time.monotonic() < deadline:  # noqa: ASYNC110 - it is measured by looking, too
            await asyncio.sleep(0.2)

    async def _judge(self, day: Day, trade: SteadyTrade, found: Findings) -> None:
        self._observer.raise_failure()
        try:
            await self._desk.rest()
        except AssertionError as error:
            found.lost(str(error))
        await self._observer.caught_up(SEES_ALL_S)
        found.with_all(await self._observer.judge(self._desk.acknowledged))
        for place in (day.place, trade.place):
            judge_place(place, found)
        judge_day(day, found)
        judge_trade(trade, found)
        await judge_books(self._on.system.settings, found)
        judge_logs(self._on.home / "logs", found)
        for replica in self._on.system.replicas():
            if replica.state != "running":
                found.other(f"{replica.name} is not running in the end: {replica.state}")

    def _outcome(self, load_s: float, orders: int, found: Findings) -> Outcome:
        return Outcome(
            seed=self._seed,
            load_s=round(load_s, 1),
            injected=dict(self._injuries.injected),
            missed=dict(self._injuries.missed),
            cuts=dict(self._injuries.cuts),
            why_not=self._injuries.why_not,
            resume_s=self._recoveries.figures(),
            not_resumed=self._recoveries.left,
            orders=orders,
            records=self._observer.records,
            repeats=self._observer.repeats,
            found=found.counts,
            told=found.told,
        )


async def _cancelled(tasks: Sequence[asyncio.Task[object]]) -> None:
    """They end now, whatever they were about."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
