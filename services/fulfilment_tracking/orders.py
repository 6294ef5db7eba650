"""What other services decide about an order: accepted, held, changed, backordered, cancelled, returned, closed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.forms import OrderAccepted, OrderChanged
from schemas.orders import (
    HoldResolved,
    LineQuantity,
    LinesCancelled,
    MoneyExceptionOpened,
    OrderClosed,
    OrderHeld,
    OrderRejected,
)
from schemas.returns import (
    CreditDue,
    Disposition,
    ReturnAuthorised,
    ReturnCancelled,
    ReturnExceptionOpened,
    ReturnExpired,
    ReturnInspected,
    ReturnReceived,
)
from schemas.sourcing import LinesBackordered, LinesUnfillable, PartLine, SourcingExceptionOpened
from services.fulfilment_tracking import rules
from services.fulfilment_tracking.case import Case
from services.fulfilment_tracking.events import (
    ContentReplaced,
    DemandBackordered,
    DemandRestated,
    HoldLifted,
    HoldPlaced,
    LinesCounted,
    OrderEnded,
    OrderOpened,
    OrderRefused,
    ReturnDropped,
    ReturnOpened,
    TroubleOpened,
)
from services.fulfilment_tracking.parts import pause_all, release_all, resume_all
from services.fulfilment_tracking.state import Content, Units
from shared.kernel.model import Yield

Trouble = MoneyExceptionOpened | SourcingExceptionOpened | ReturnExceptionOpened
WRITTEN_OFF: frozenset[Disposition] = frozenset({"donate", "destroy", "back_to_supplier"})
"""What returned units become that enter no level again."""


def accepted(case: Case, fact: OrderAccepted) -> Iterator[Yield]:
    patience_s = case.policy_named(fact.order.policy).backorder_deadline_s
    yield OrderOpened(case.order_id, case.now, Content.of(fact.order), fact.held, patience_s)
    yield from release_all(case)


def rejected(case: Case, fact: OrderRejected) -> Iterator[Yield]:
    yield OrderRefused(case.order_id, case.now, " ".join(problem.message for problem in fact.problems))


def held(case: Case, fact: OrderHeld) -> Iterator[Yield]:
    yield HoldPlaced(case.order_id, case.now, fact.hold_id, fact.deadline, fact.before_acceptance)
    yield from pause_all(case)


def hold_resolved(case: Case, fact: HoldResolved) -> Iterator[Yield]:
    """A hold that ended in cancelling is resolved once the cancellation is through: what it left goes on."""
    yield HoldLifted(case.order_id, case.now, fact.hold_id, fact.open_holds)
    if not case.order.holds:
        yield from resume_all(case)


def changed(case: Case, fact: OrderChanged) -> Iterator[Yield]:
    """Where tracking accepted the change itself, its content counts already."""
    content = case.order.content
    if content is None or fact.order.revision >= content.revision:
        replacement = Content.of(fact.order)
        if replacement != content:
            yield ContentReplaced(case.order_id, case.now, replacement, fact.effect == "demand")
    if fact.effect == "demand" and any(counts.cancelled for counts in case.order.lines.values()):
        yield DemandRestated(case.order_id, case.now)


def cancelled(case: Case, fact: LinesCancelled) -> Iterator[Yield]:
    yield LinesCounted(case.order_id, case.now, "cancelled", _units(fact.lines))


def closed(case: Case, fact: OrderClosed) -> Iterator[Yield]:
    yield OrderEnded(case.order_id, case.now, fact.outcome)


def backordered(case: Case, fact: LinesBackordered) -> Iterator[Yield]:
    yield DemandBackordered(case.order_id, case.now, _units(fact.lines), fact.deadline)


def unfillable(case: Case, fact: LinesUnfillable) -> Iterator[Yield]:
    """What sourcing said of a demand that a change has replaced since counts no more, as for order capture."""
    if fact.revision is not None and fact.revision < case.order.demand_revision:
        return
    yield LinesCounted(case.order_id, case.now, "unfillable", _units(fact.lines))


def troubled(case: Case, fact: Trouble) -> Iterator[Yield]:
    """An exception another service opened belongs on the order's status, too."""
    if all(trouble.exception_id != fact.exception_id for trouble in case.order.troubles):
        yield TroubleOpened(case.order_id, case.now, fact.exception_id, fact.kind, "", fact.detail, fact.action, own=False)


# ---- returns ----


def return_authorised(case: Case, fact: ReturnAuthorised) -> Iterator[Yield]:
    if not fact.repeated and fact.return_id not in case.order.returns:
        yield ReturnOpened(case.order_id, case.now, fact.return_id, _units(fact.lines))


def return_cancelled(case: Case, fact: ReturnCancelled) -> Iterator[Yield]:
    lines = case.order.returns.get(fact.return_id, ())
    if lines and not fact.repeated:
        yield ReturnDropped(case.order_id, case.now, fact.return_id, lines)


def return_expired(case: Case, fact: ReturnExpired) -> Iterator[Yield]:
    yield ReturnDropped(case.order_id, case.now, fact.return_id, _units(fact.lines))


def return_received(case: Case, fact: ReturnReceived) -> Iterator[Yield]:
    yield LinesCounted(case.order_id, case.now, "received_back", _units(fact.lines))


def return_inspected(case: Case, fact: ReturnInspected) -> Iterator[Yield]:
    """What enters no level again is written off."""
    gone = rules.total(Units(line.line_id, line.quantity) for line in fact.lines if line.disposition in WRITTEN_OFF)
    if gone:
        yield LinesCounted(case.order_id, case.now, "written_off", gone)


def credit_due(case: Case, fact: CreditDue) -> Iterator[Yield]:
    yield LinesCounted(case.order_id, case.now, "credited", _units(fact.lines))


def _units(lines: Iterable[LineQuantity | PartLine]) -> tuple[Units, ...]:
    return rules.total(Units(line.line_id, line.quantity) for line in lines)
