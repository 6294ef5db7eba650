"""What the five databases keep, read once and reduced to the figures the checks compare."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploy.fleet import SERVICES
from deploy.reading import database
from schemas.status import LineStatus, Waiting
from services.fulfilment_tracking.service import service as tracking
from services.inventory.state import Level, Reservation
from services.order_capture.state import Order as CaptureState
from services.returns.state import Line as ReturnLine
from services.sourcing.state import Line as SourcingLine
from services.sourcing.state import Order as SourcingState
from shared.kernel.codec import value_of
from shared.kernel.model import Service
from shared.kernel.postgres import PostgresStore
from shared.kernel.sql import queries
from shared.settings import Settings
from shared.value import Value

Q = queries(Path(__file__).parent.with_name("queries.sql"))


class KeptRow(Value, frozen=True):
    """A row of a state topic: what its newest record must say."""

    version: int
    digest: bytes | None
    """Of the whole document; None where the row isn't published."""


class CapturedLine(Value, frozen=True):
    """One line in order capture's books."""

    goods: bool
    quantity: int
    shipped: int
    handed_over: int
    cancelled: int
    unfillable: int
    credited: int


class Captured(Value, frozen=True):
    """One order in order capture's books; money in minor units."""

    stage: str
    outcome: str | None
    lines: Mapping[str, CapturedLine]
    pending: frozenset[str]
    """Requests whose answer is still to come."""
    hold_deadlines: tuple[datetime, ...]
    total_minor: int
    owed_minor: int
    billed_minor: int
    keepable_minor: int
    taken_minor: int
    capturing_minor: int
    """Of what is taken: asked for, and not answered yet. It can't be refunded before."""
    captures_minor: int
    """Captured for us, or being captured."""


class Tracked(Value, frozen=True):
    """One order in fulfilment tracking's books, as its status document says it."""

    status: str
    ended: bool
    lines: Mapping[str, LineStatus]
    goods: frozenset[str]
    waiting: tuple[Waiting, ...]
    exceptions: tuple[str, ...]


class Sourced(Value, frozen=True):
    """One order in sourcing's books."""

    closed: bool
    changing: bool
    lines: Mapping[str, SourcingLine]
    held: Mapping[tuple[str, str], int]
    """Units by (part, line) that a reservation stands behind."""


class ServiceBooks(NamedTuple):
    """What every service's kernel keeps."""

    lanes_out: list[Any]
    lanes_in: list[Any]
    positions: list[Any]
    quarantined: list[Any]
    parked: list[Any]
    spooled: list[Any]
    kept: list[Any]
    timers_overdue: list[Any]


@dataclass(slots=True)
class Books:
    """Everything together."""

    now: datetime
    kernel: dict[str, ServiceBooks] = field(default_factory=dict)
    levels: dict[str, Level] = field(default_factory=dict)
    level_changes: dict[str, dict[str, int]] = field(default_factory=dict)
    """By level: the sum of all changes of each figure in its history."""
    reservations: dict[str, Reservation] = field(default_factory=dict)
    captured: dict[str, Captured] = field(default_factory=dict)
    tracked: dict[str, Tracked] = field(default_factory=dict)
    sourced: dict[str, Sourced] = field(default_factory=dict)
    returned: dict[str, Mapping[str, ReturnLine]] = field(default_factory=dict)
    shown: dict[str, dict[str, KeptRow]] = field(default_factory=dict)
    """By state topic and key: what its newest record must say."""


async def read_books(settings: Settings, now: datetime, overdue_before: datetime) -> Books:
    """All databases. Raises NoDatabase, PostgresSilent."""
    books = Books(now)
    for name in SERVICES:
        async with database(settings, name) as store:
            books.kernel[name] = await _kernel(store, overdue_before)
            await _READERS[name](store, books)
    return books


async def _kernel(store: PostgresStore, overdue_before: datetime) -> ServiceBooks:
    return ServiceBooks(
        lanes_out=await store.fetch(Q["lanes_out"]),
        lanes_in=await store.fetch(Q["lanes_in"]),
        positions=await store.fetch(Q["positions"]),
        quarantined=await store.fetch(Q["quarantined_rows"]),
        parked=await store.fetch(Q["parked_places"]),
        spooled=await store.fetch(Q["spooled_records"]),
        kept=await store.fetch(Q["kept"]),
        timers_overdue=await store.fetch(Q["timers_overdue"], overdue_before, 100),
    )


async def _read_inventory(store: PostgresStore, books: Books) -> None:
    from services.inventory.service import service

    async for id, row in store.scan("level"):
        books.levels[id] = row.state
        _show(books, service, "level", id, row.version, row.state)
    async for id, row in store.scan("reservation"):
        if row.state is not None:
            books.reservations[id] = row.state
    for row in await store.fetch(Q["level_changes"]):
        books.level_changes.setdefault(row["id"], {})[row["figure"]] = int(row["units"])


async def _read_capture(store: PostgresStore, books: Books) -> None:
    async for id, row in store.scan("order"):
        if row.state is not None and row.state.stage != "unknown":
            books.captured[id] = _captured(row.state)


def _captured(order: CaptureState) -> Captured:
    payments = order.money.payments.values()
    return Captured(
        stage=order.stage,
        outcome=order.outcome,
        lines={
            name: CapturedLine(
                goods=line.kind == "goods",
                quantity=line.quantity,
                shipped=line.shipped,
                handed_over=line.handed_over,
                cancelled=line.cancelled,
                unfillable=line.unfillable,
                credited=line.credited,
            )
            for name, line in order.lines.items()
        },
        pending=frozenset(asked.request_id for asked in order.waiting_requests()),
        hold_deadlines=tuple(hold.deadline for hold in order.holds.values()),
        total_minor=order.charges_minor + sum(line.net_minor for line in order.lines.values()),
        owed_minor=order.owed_minor,
        billed_minor=order.billed_minor,
        keepable_minor=order.keepable_minor,
        taken_minor=order.money.taken_minor,
        capturing_minor=order.money.under_way("capture"),
        captures_minor=sum(payment.captured_for_us_minor for payment in payments) + order.money.under_way("capture"),
    )


async def _read_tracking(store: PostgresStore, books: Books) -> None:
    async for id, row in store.scan("order"):
        if row.state is None:
            continue
        document = _show(books, tracking, "order", id, row.version, row.state)
        if document is not None:
            items = row.state.content.items if row.state.content else {}
            books.tracked[id] = Tracked(
                status=document.status,
                ended=row.state.outcome is not None,
                lines={line.line_id: line for line in document.lines},
                goods=frozenset(
                    line.line_id for line in document.lines if line.line_id not in items or items[line.line_id].kind == "goods"
                ),
                waiting=document.waiting,
                exceptions=tuple(each.kind for each in document.exceptions),
            )


async def _read_sourcing(store: PostgresStore, books: Books) -> None:
    async for id, row in store.scan("order"):
        if row.state is not None and row.state.known:
            books.sourced[id] = _sourced(row.state)


def _sourced(order: SourcingState) -> Sourced:
    held = {
        (order.part_id(part.number), units.line_id): units.quantity
        for part in order.parts.values()
        if part.state in ("reserved", "published")
        for units in part.lines
    }
    return Sourced(order.closed, order.changing is not None, dict(order.lines), held)


async def _read_returns(store: PostgresStore, books: Books) -> None:
    async for id, row in store.scan("purchase"):
        if row.state is not None:
            books.returned[id] = dict(row.state.lines)


def _show(books: Books, service: Service[Any], kind: str, id: str, version: int, state: Any) -> Any:
    """Note what the state topics of this row must say; returns the document of the last one."""
    document = None
    for topic in (each for each in service.states if each.kind == kind):
        document = topic.render(id, version, state)
        digest = digest_of(value_of(document)) if document is not None else None
        books.shown.setdefault(topic.topic.name, {})[id] = KeptRow(version, digest)
    return document


def digest_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=12).digest()


def parts_of(books: Books) -> Iterator[tuple[str, str, str, int]]:
    """(order, part, line, units) that sourcing takes to be reserved."""
    for order, sourced in books.sourced.items():
        for (part, line), units in sourced.held.items():
            yield order, part, line, units


_READERS = {
    "order_capture": _read_capture,
    "inventory": _read_inventory,
    "sourcing": _read_sourcing,
    "fulfilment_tracking": _read_tracking,
    "returns": _read_returns,
}
