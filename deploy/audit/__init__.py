"""The audit: does everything that five databases keep and all topics hold fit together?

From the databases and the topics, never from counters; of processes only what their views have come to. Each check is a function with the
sentence it holds to as its docstring; CHECKS lists them. They compare what services keep at different moments, so the system should be at
rest: `audit` waits for that, for a bounded time, and says so where it wasn't.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.audit import flow, lines, money, orders, stock, views
from deploy.audit.books import Books
from deploy.audit.findings import MOST_VIOLATIONS, Findings, Violation
from deploy.audit.ledger import Ledger, read_ledger
from deploy.audit.quiet import ARRIVING, moves, wait_until_quiet
from deploy.audit.shelf import Shelf, close_shelves, note_wrong, open_shelves
from deploy.fleet import kafka_connection
from deploy.reading import check_kafka
from shared.kernel.kafka import KafkaTopics
from shared.settings import Settings

WAIT_S = 30.0
OVERDUE = timedelta(seconds=60)

Check = Callable[[Books, Ledger, Findings], None]
CHECKS: Sequence[Check] = (
    stock.levels_are_possible,
    stock.reserved_is_the_sum_of_reservations,
    stock.levels_equal_their_history,
    stock.reservations_are_for_open_orders,
    stock.sourcing_and_inventory_agree,
    lines.lines_add_up,
    lines.documents_add_up,
    lines.services_agree_on_lines,
    lines.sourcing_accounts_for_every_unit,
    lines.returns_stay_within_what_was_handed_over,
    lines.nothing_is_credited_twice,
    money.captures_stay_within_authorisations,
    money.refunds_stay_within_captures,
    money.invoices_stay_within_totals,
    money.nothing_is_kept_beyond_what_is_owed,
    flow.lanes_are_gapless,
    flow.outboxes_are_in_their_topics,
    flow.readers_are_at_the_ends,
    flow.requests_are_answered_once,
    flow.reserve_commands_are_answered_once,
    flow.unreadable_records_are_accounted_for,
    flow.nothing_is_quarantined,
    flow.no_gap_is_open,
    flow.nothing_waits_too_long,
    orders.orders_end_or_wait,
    orders.accepted_orders_are_known,
    orders.every_row_can_be_shown,
    orders.state_topics_show_the_rows,
    orders.read_back_marks_are_true,
    views.views_show_their_topics,
)
REBUILD = "rows_equal_their_events"
"""The check that folds every service's events again; deploy/rebuild.py."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found."""

    at_rest: bool
    moving: str
    """What still moved, in words; then a violation may be a mere difference of moments."""
    examined: dict[str, int]
    """By check: how many rows, orders, messages it looked at."""
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]
    """What a person may want to know and what is no violation."""

    @property
    def checks(self) -> int:
        return len(self.examined)

    @property
    def clean(self) -> bool:
        return not self.violations

    def as_json(self) -> dict[str, Any]:
        return {
            "checks": self.checks,
            "violations": [violation._asdict() for violation in self.violations],
            "at_rest": self.at_rest,
            "moving": self.moving,
            "examined": self.examined,
            "notes": list(self.notes),
        }


async def audit(settings: Settings, wait_s: float = WAIT_S) -> Audit:
    """Wait until nothing moves, at most `wait_s`, then check everything. Raises NoDatabase, KafkaSilent, PostgresSilent."""
    connection = kafka_connection(settings)
    await check_kafka(connection.bootstrap)
    shelves, books, ledger, moving = await _read_at_rest(settings, KafkaTopics(connection), time.monotonic() + wait_s)
    findings = run_checks(books, ledger, shelves)
    return Audit(
        at_rest=not moving,
        moving=moving,
        examined={found.check: found.examined for found in findings},
        violations=tuple(violation for found in findings for violation in found.all_violations()),
        notes=tuple(_notes(books, ledger)),
    )


async def _read_at_rest(settings: Settings, topics: KafkaTopics, until_s: float) -> tuple[list[Shelf], Books, Ledger, str]:
    """(the databases, the books, the topics, what moved meanwhile): read again while somebody began to move in between, until the time
    is over."""
    while True:
        moving, before = await wait_until_quiet(settings, topics, until_s)
        shelves = await open_shelves(settings)
        try:
            books = await read_books(shelves)
            books.views = await views.ask_processes(views.processes_of(settings.home))
            ledger = await read_ledger(topics)
        finally:
            await close_shelves(shelves)
        _, after = await moves(settings, topics)
        if moving or before == after or time.monotonic() > until_s:
            return shelves, books, ledger, moving or (ARRIVING if before != after else "")


async def read_books(shelves: Sequence[Shelf], books: Books | None = None) -> Books:
    """All databases, each at one moment; `books` are those of an earlier reading of the same shelves. Raises PostgresSilent."""
    now = datetime.now(UTC)
    books = books or Books(now)
    books.now = now
    for shelf in shelves:
        await shelf.read(books, now - OVERDUE)
    return books


def promise_of(check: str) -> str:
    """The sentence a check holds to."""
    if check == REBUILD:
        return "Folding all events of a service again makes exactly the rows it keeps."
    return next(inspect.getdoc(each) or "" for each in CHECKS if each.__name__ == check)


def run_checks(books: Books, ledger: Ledger, shelves: Sequence[Shelf], most: int = MOST_VIOLATIONS) -> list[Findings]:
    """What each check finds, at most so many violations each."""
    findings = [Findings(check.__name__, most=most) for check in CHECKS]
    for check, found in zip(CHECKS, findings, strict=True):
        check(books, ledger, found)
    rebuilt = Findings(REBUILD, most=most)
    note_wrong(shelves, rebuilt)
    return [*findings, rebuilt]


def _notes(books: Books, ledger: Ledger) -> list[str]:
    notes = []
    if ledger.expired:
        notes.append("The oldest records of some topics have expired: requests and commands were not counted against their answers.")
    if ledger.strays:
        topics = ", ".join(sorted({at.topic for at, _ in ledger.strays}))
        notes.append(f"{len(ledger.strays)} records of no lane: somebody else writes to topics of services ({topics}).")
    for service, kernel in books.kernel.items():
        if dead := sum(1 for row in kernel.parked if row["status"] == "dead"):
            notes.append(f"{service} has {dead} dead letters; see `nervure dlq list`.")
        if kernel.kept:
            notes.append(f"{service} keeps {len(kernel.kept)} messages for rows that aren't known yet.")
    return notes
