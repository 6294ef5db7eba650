"""What the five databases keep, read once and reduced to the figures the checks compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploy.reading import Snapshot
from schemas.status import LineStatus, Waiting
from services.fulfilment_tracking.rules import asked_back
from services.fulfilment_tracking.service import service as tracking
from services.fulfilment_tracking.state import Order as TrackingState
from services.inventory.service import service as inventory
from services.inventory.state import Level, Reservation
from services.order_capture.state import Order as CaptureState
from services.order_capture.state import Payment
from services.returns.state import Line as ReturnLine
from services.returns.state import Purchase
from services.sourcing.state import Line as SourcingLine
from services.sourcing.state import Order as SourcingState
from shared.kernel.codec import value_of
from shared.kernel.contents import Seen
from shared.kernel.model import Service
from shared.kernel.ports import TopicPartition
from shared.kernel.sql import queries
from shared.value import Value

Q = queries(Path(__file__).parent.with_name("queries.sql"))


MOST_TOLD = 500
"""Characters of an error that are told."""


class KeptRow(Value, frozen=True):
    """A row of a state topic: what its newest record must say."""

    version: int
    digest: bytes | None
    """Of the whole document; None where the row isn't published."""
    unrendered: str = ""
    """Why its document can't be made, if so."""


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
    """Less all that was given back, what a provider gave back unasked among it: of each payment no more than was taken from it."""
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
    asked_back: Mapping[tuple[str, str], int]
    """Units by (part, line) that a location still has to do, and was asked to give up because the order has ended."""


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
    marks: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By state topic and key: version and offset of the newest record its owner has read back."""
    views: dict[str, Mapping[TopicPartition, Seen]] = field(default_factory=dict)
    """By process: what its views have come to, as it says itself."""


async def read_kernel(snapshot: Snapshot, overdue_before: datetime) -> ServiceBooks:
    """What the kernel of a service keeps."""
    fetch = snapshot.fetch
    return ServiceBooks(
        lanes_out=await fetch(Q["lanes_out"]),
        lanes_in=await fetch(Q["lanes_in"]),
        positions=await fetch(Q["positions"]),
        quarantined=await fetch(Q["quarantined_rows"]),
        parked=await fetch(Q["parked_places"]),
        spooled=await fetch(Q["spooled_records"]),
        kept=await fetch(Q["kept"]),
        timers_overdue=await fetch(Q["timers_overdue"], overdue_before, 100),
    )


# ---- one row each; a state of None: the row is empty, or gone ----


def _level(books: Books, id: str, version: int, state: Level | None) -> None:
    if state is None:
        books.levels.pop(id, None)
    else:
        books.levels[id] = state
    _show(books, inventory, "level", id, version, state)


def _reservation(books: Books, id: str, _: int, state: Reservation | None) -> None:
    if state is None:
        books.reservations.pop(id, None)
    else:
        books.reservations[id] = state


def _captured_order(books: Books, id: str, _: int, state: CaptureState | None) -> None:
    if state is None or state.stage == "unknown":
        books.captured.pop(id, None)
    else:
        books.captured[id] = _captured(state)


def _captured(order: CaptureState) -> Captured:
    payments = tuple(order.money.payments.values())
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
        taken_minor=order.money.taken_minor - sum(map(_given_back_unasked, payments)),
        capturing_minor=order.money.under_way("capture"),
        captures_minor=sum(payment.captured_for_us_minor for payment in payments) + order.money.under_way("capture"),
    )


def _given_back_unasked(payment: Payment) -> int:
    """What a report says beyond what was there to give back makes up for nothing kept of other payments."""
    there = payment.all_captured_minor - payment.refunded_for_us_minor - payment.left_to_a_person_minor
    return min(payment.refunded_minor, max(0, there))


def _tracked_order(books: Books, id: str, version: int, state: TrackingState | None) -> None:
    document = _show(books, tracking, "order", id, version, state)
    if state is None or document is None:
        books.tracked.pop(id, None)
        return
    items = state.content.items if state.content else {}
    books.tracked[id] = Tracked(
        status=document.status,
        ended=state.outcome is not None,
        lines={line.line_id: line for line in document.lines},
        goods=frozenset(line.line_id for line in document.lines if line.line_id not in items or items[line.line_id].kind == "goods"),
        waiting=document.waiting,
        exceptions=tuple(each.kind for each in document.exceptions),
        asked_back=asked_back(state),
    )


def _sourced_order(books: Books, id: str, _: int, state: SourcingState | None) -> None:
    if state is None or not state.known:
        books.sourced.pop(id, None)
    else:
        books.sourced[id] = _sourced(state)


def _sourced(order: SourcingState) -> Sourced:
    held = {
        (order.part_id(part.number), units.line_id): units.quantity
        for part in order.parts.values()
        if part.state in ("reserved", "published")
        for units in part.lines
    }
    return Sourced(order.closed, order.changing is not None, dict(order.lines), held)


def _purchase(books: Books, id: str, _: int, state: Purchase | None) -> None:
    if state is None:
        books.returned.pop(id, None)
    else:
        books.returned[id] = dict(state.lines)


def _show(books: Books, service: Service[Any], kind: str, id: str, version: int, state: Any) -> Any:
    """Note what the state topics of this row must say; returns the document of the last one."""
    document = None
    for topic in (each for each in service.states if each.kind == kind):
        shown = books.shown.setdefault(topic.topic.name, {})
        if state is None:
            shown.pop(id, None)
            continue
        try:
            document = topic.render(id, version, state)
            shown[id] = KeptRow(version, digest_of(value_of(document)) if document is not None else None)
        except Exception as error:  # noqa: BLE001 - a rule that fails on one row: its publisher goes on without it, and so does the audit
            document, shown[id] = None, KeptRow(version, None, f"{type(error).__name__}: {error}"[:MOST_TOLD])
    return document


def digest_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=12).digest()


def parts_of(books: Books) -> Iterator[tuple[str, str, str, int]]:
    """(order, part, line, units) that sourcing takes to be reserved."""
    for order, sourced in books.sourced.items():
        for (part, line), units in sourced.held.items():
            yield order, part, line, units


Note = Callable[[Books, str, int, Any], None]
NOTES: Mapping[tuple[str, str], Note] = {
    ("order_capture", "order"): _captured_order,
    ("inventory", "level"): _level,
    ("inventory", "reservation"): _reservation,
    ("sourcing", "order"): _sourced_order,
    ("fulfilment_tracking", "order"): _tracked_order,
    ("returns", "purchase"): _purchase,
}
"""By service and kind: how a row gets into the books; other kinds are looked at only as rows."""
