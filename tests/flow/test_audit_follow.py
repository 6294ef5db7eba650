"""The audit that goes on beside a working system: silent while all is well, and soon certain of what was planted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from deploy.audit import REBUILD
from deploy.audit.cuts import HOPS, Drift
from deploy.audit.follow import Round, Watcher
from deploy.audit.outlets import AT, Drifts, drift_id
from deploy.audit.views import processes_of, views_show_their_topics
from deploy.demo.baskets import Baskets, load
from deploy.demo.demo import run
from deploy.demo.dice import Dice
from deploy.fleet import SERVICES, kafka_connection
from deploy.reading import COMMANDS, whole
from deploy.repair import repair
from deploy.supervisor import System
from schemas.topics import AUDIT_DRIFT, LOCATIONS
from shared.kernel.codec import open_envelope, read_body
from shared.kernel.kafka import KafkaTopics
from shared.settings import Settings
from tests.support.planted import (
    WRONG_ROWS,
    a_view_that_lost_a_document,
    database_of,
    drop_purchase,
    edit_row,
    mark_read_back,
    put_back,
    restore_purchase,
    show_stale,
)
from tests.support.small_demo import small_world

pytestmark = pytest.mark.timeout(240)

ORDERS, FURTHER_ORDERS, SEED = 80, 8, 11
EVERY_S = 1.0
FOUND_WITHIN_S = 60.0
POLL_S = 0.2


@dataclass
class Screen:
    """What the watcher has told."""

    rounds: list[Round] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def drifts(self) -> list[Drift]:
        return [drift for seen in self.rounds for drift in seen.found]

    def missing(self, expected: set[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        return expected - {drift.violation[:3] for drift in self.drifts}

    def pace(self) -> str:
        """For who wants to know why it took so long: seconds of each round, and what kept the watcher from judging."""
        return f"rounds of {[round(seen.seconds, 1) for seen in self.rounds]} s, {self.remarks}"

    @property
    def wrong_now(self) -> int:
        return sum(self.rounds[-1].violations.values())


@asynccontextmanager
async def watching(settings: Settings, **further: int) -> AsyncIterator[tuple[Screen, Watcher]]:
    """`further`: processes that aren't known to the supervisor, by name with their ports."""
    screen, drifts = Screen(), Drifts(kafka_connection(settings))

    def tell(seen: Round) -> None:
        screen.rounds.append(seen)
        drifts.note(seen)

    watcher = Watcher(settings, tell, screen.remarks.append, lambda home: {**processes_of(home), **further})
    running = asyncio.create_task(watcher.run(EVERY_S))
    try:
        yield screen, watcher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await drifts.stop() == ""


async def until(holds: Callable[[], bool], within_s: float, told: Callable[[], object]) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, told()
        await asyncio.sleep(POLL_S)


async def ended_orders(settings: Settings, run: str, count: int) -> list[str]:
    """So many orders of the run that have come to their end, as soon as there are so many."""
    deadline = time.monotonic() + FOUND_WITHIN_S
    async with database_of(settings, "order_capture") as connection:
        while True:
            rows = await connection.fetch(
                "SELECT id FROM state.\"order\" WHERE id LIKE '%' || $1 || '%' AND doc ->> 'outcome' = 'completed' ORDER BY id LIMIT $2",
                run,
                count,
            )
            if len(rows) == count:
                return [row["id"] for row in rows]
            assert time.monotonic() < deadline, f"of {count} orders of {run} only {len(rows)} have ended"
            await asyncio.sleep(POLL_S)


async def a_level(settings: Settings) -> str:
    async with database_of(settings, "inventory") as connection:
        level: str = await connection.fetchval("SELECT id FROM state.level WHERE sellable > 0 ORDER BY id LIMIT 1")
    return level


async def told_by_the_audit(settings: Settings) -> dict[str, list[str]]:
    """Message types by drift, as they stand in the topic of the audit."""
    found: dict[str, list[str]] = {}
    async for record in whole(KafkaTopics(kafka_connection(settings)), [AT]):
        body = read_body(open_envelope(record, AUDIT_DRIFT), AUDIT_DRIFT)
        found.setdefault(AUDIT_DRIFT.key_of(body), []).append(type(body).__name__)
    return found


async def expected_of(settings: Settings, orders: list[str]) -> AsyncIterator[set[tuple[str, str, str]]]:
    """Plants one corruption of each kind; gives (check, service, subject) of each; at the end takes out what no command mends."""
    one, two, three, four = orders
    level = await a_level(settings)
    rows = {service: level if service == "inventory" else one for service in SERVICES}
    before = {service: await edit_row(settings, service, row) for service, row in rows.items()}
    purchase = await drop_purchase(settings, two)
    await mark_read_back(settings, three, 1)
    await show_stale(settings, four)
    try:
        yield {
            *((REBUILD, service, f"{WRONG_ROWS[service][0]} {row}") for service, row in rows.items()),
            ("levels_equal_their_history", "inventory", level),
            (REBUILD, "returns", f"purchase {two}"),
            ("accepted_orders_are_known", "returns", two),
            ("read_back_marks_are_true", "fulfilment_tracking", three),
            ("state_topics_show_the_rows", "fulfilment_tracking", four),
        }
    finally:
        for service, row in rows.items():
            await put_back(settings, service, row, before[service])
        await restore_purchase(settings, purchase)


planted = asynccontextmanager(expected_of)


async def one_after_the_other(system: System, baskets: Baskets, dice: Dice, enough: asyncio.Event) -> None:
    """Demos until it is enough: a larger one with these dice, then small ones."""
    await run(system, small_world(baskets, ORDERS, dice), dice)
    while not enough.is_set():
        dice = Dice(SEED, run=uuid4().hex[:6])
        await run(system, small_world(baskets, FURTHER_ORDERS, dice), dice)


@asynccontextmanager
async def no_way_in(settings: Settings, service: str) -> AsyncIterator[None]:
    """The database of a service hangs up on the audit and takes nobody new."""
    async with database_of(settings, service) as connection:
        name = await connection.fetchval("SELECT current_database()")
    async with database_of(settings, "inventory") as connection:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = $2"
            assert await connection.fetch(ours, name, COMMANDS)
            yield
        finally:
            await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def test_a_database_that_is_away_is_survived_and_said(system: System) -> None:
    async with watching(system.settings) as (screen, watcher):
        await until(lambda: len(screen.rounds) > 0, FOUND_WITHIN_S, lambda: screen)
        async with no_way_in(system.settings, "returns"):
            await until(lambda: screen.remarks != [], FOUND_WITHIN_S, lambda: screen.rounds)
            before = len(screen.rounds)
        await until(lambda: len(screen.rounds) >= before + 2, FOUND_WITHIN_S, lambda: screen.remarks)
        assert screen.remarks[0].startswith("Postgres does not answer: returns: ") and screen.remarks[-1] == ""
        assert watcher.suspicion.found == {}


async def test_a_document_that_a_process_has_lost_is_found(system: System) -> None:
    """Its rows and its topics are all right: only what is in its memory is not."""
    async with a_view_that_lost_a_document(system.settings) as port, watching(system.settings, forgetful=port) as (screen, _):
        await until(lambda: screen.drifts != [], FOUND_WITHIN_S, lambda: screen.rounds)
    [drift] = screen.drifts
    assert drift.violation[:3] == (views_show_their_topics.__name__, "forgetful", f"{LOCATIONS.name}/0")


async def test_nothing_is_found_under_load_and_soon_all_that_is_planted(system: System, settings: Settings) -> None:
    """Rows edited in each database, a row dropped, a mark moved, a stale document: each found within a minute of load, gone when
    mended, by a repair where one is safe; all of it told on the topic of the audit."""
    live, dice = system.settings, Dice(SEED, run=uuid4().hex[:6])
    baskets = await asyncio.to_thread(load, settings.cache)
    async with watching(live) as (screen, watcher):
        enough = asyncio.Event()
        load_goes_on = asyncio.create_task(one_after_the_other(system, baskets, dice, enough))
        ended = await ended_orders(live, dice.run, 4)
        async with planted(live, ended) as expected:
            assert screen.drifts == []
            await until(lambda: not screen.missing(expected), FOUND_WITHIN_S, lambda: (screen.missing(expected), screen.pace()))
            assert max(seen.candidates for seen in screen.rounds) > 100, "there was nothing to be careful about"
            subjects = {what.split()[-1] for *_, what in expected}
            assert {drift.violation.what.split()[-1] for drift in screen.drifts} == subjects, "something else was found"
        enough.set()
        await load_goes_on
        assert watcher.tide is not None and watcher.tide.drained > 2 * HOPS
        mended = await repair(live, dry=False)
        assert {(each.service, each.what) for each in mended.mended} >= {("fulfilment_tracking", order) for order in ended[2:]}
        assert mended.left == ()
        await until(lambda: screen.wrong_now == 0, FOUND_WITHIN_S, lambda: (screen.rounds[-1], screen.pace()))
        assert {drift.violation for drift in screen.drifts} == {drift.violation for seen in screen.rounds for drift in seen.gone}
    told = await told_by_the_audit(live)
    assert all(told[drift_id(drift)] == ["DriftFound", "DriftGone"] for drift in screen.drifts)
    assert screen.remarks == []
