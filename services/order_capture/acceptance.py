"""From placed to accepted: what stands in the way is a hold, and an order without holds goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.channel import HoldType, Problem
from schemas.forms import OrderAccepted
from services.order_capture.awaiting import SECOND_LOOK, SECOND_LOOK_AFTER, join, leave
from services.order_capture.case import Case
from services.order_capture.ending import CANCEL_AFTER, carry_on
from services.order_capture.events import DocumentsAwaited, OrderPassedOn
from services.order_capture.holds import deadline_of, end_hold, open_hold
from services.order_capture.projection import Catalogue
from services.order_capture.review import Draft, Finding, awaited_references, draft_lines, review_mendable
from services.order_capture.snapshot import snapshot_of
from services.order_capture.state import Check, Hold, Order
from shared.kernel.model import Wake, Yield

_HOLD_TYPES: dict[Check, HoldType] = {"channel": "other", "item": "item", "address": "address", "payment": "payment", "totals": "other"}


def draft_of(order: Order, view: Catalogue) -> Draft:
    """The held order as far as its validity goes."""
    assert order.content is not None
    lines = draft_lines(order.content, order.channel, order.lines.values(), view)
    return Draft(order.channel, order.content, lines, order.owed_minor, order.money.covers_minor)


def look_again(case: Case) -> Iterator[Yield]:
    """A held order is judged anew: something arrived that may have mended it."""
    if case.order.stage == "held":
        draft = draft_of(case.order, case.view)
        yield from go_on(case, draft, review_mendable(draft, case.view))


def go_on(case: Case, draft: Draft, findings: Sequence[Finding]) -> Iterator[Yield]:
    """Holds for what is wrong, no longer for what isn't; accepted when none is left."""
    by_check = {finding.check: finding for finding in findings if finding.check not in case.order.waived}
    yield from _end_mended(case, frozenset(check for check in by_check if check is not None))
    for check in _HOLD_TYPES:
        if check in by_check and check not in case.order.holds:
            yield from _open(case, check, findings)
    yield from _await(case, awaited_references(draft, case.view))
    if not case.order.holds:
        yield from accept(case, draft)


def accept(case: Case, draft: Draft) -> Iterator[Yield]:
    """Nothing stands in the way: everybody has the order from now on."""
    assert case.order.placed_at is not None
    snapshot = snapshot_of(draft, case.view, order_id=case.order_id, placed_at=case.order.placed_at, revision=1)
    yield OrderPassedOn(case.order_id, snapshot)
    yield OrderAccepted(order_id=case.order_id, order=snapshot)
    yield from carry_on(case, "accepted")


def watch_cancel_after(case: Case) -> Wake:
    """The timer that cancels what isn't shipped by the order's own instant; none where it has none."""
    return Wake(case.key, CANCEL_AFTER, case.order.cancel_after)


def _end_mended(case: Case, failed: frozenset[Check]) -> Iterator[Yield]:
    mended = [hold for hold in case.order.holds.values() if hold.check is not None and hold.check not in failed]
    for hold in mended:
        yield from end_hold(case, hold.hold_id, "release")


def _open(case: Case, check: Check, findings: Sequence[Finding]) -> Iterator[Yield]:
    content = case.order.content
    deadline = deadline_of(case, None, content.accept_by if content is not None else None)
    problems: list[Problem] = [finding.problem for finding in findings if finding.check == check]
    yield from open_hold(case, Hold(check, _HOLD_TYPES[check], deadline, check), problems)


def _await(case: Case, unknown: tuple[str, ...]) -> Iterator[Yield]:
    """Wait for exactly the documents that are unknown now. Asking for one that is waited for already changes nothing."""
    order = case.order
    if unknown != order.awaits:
        gone = tuple(reference for reference in order.awaits if reference not in unknown)
        yield from leave(case.order_id, gone, case.now)
        yield DocumentsAwaited(case.order_id, unknown)
        yield Wake(case.key, SECOND_LOOK, case.now + SECOND_LOOK_AFTER if unknown else None)
    yield from join(case.order_id, unknown, case.now)
