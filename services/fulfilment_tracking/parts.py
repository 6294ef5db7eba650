"""Parts (fulfilment orders): scheduled, instructed at their release, paused by holds, cut down by shortages, watched for lateness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.forms import AmendOrder, FulfilmentInstructed, FulfilOrder, InstructionLine, OrderSourced
from schemas.forms import Part as PlannedPart
from schemas.fulfilment import (
    CancelFulfilment,
    FulfilmentScheduled,
    HoldFulfilment,
    ReservationEnded,
    ResumeFulfilment,
)
from schemas.orders import rank_of
from schemas.sourcing import PartShorted
from services.fulfilment_tracking import rules
from services.fulfilment_tracking.case import Case, fact_lines, line_quantities, open_exception
from services.fulfilment_tracking.events import (
    CancelOpened,
    PartInstructed,
    PartPaused,
    PartResumed,
    PartScheduled,
    UnitsEnded,
)
from services.fulfilment_tracking.state import AskedUnits, Content, Goods, Item, Order, Part, Units, Work
from services.fulfilment_tracking.timeline import listed
from shared.kernel.model import Wake, Yield

RELEASE = "release:"
"""Timer `release:<n>`: part n may be instructed."""
LATE = "late:"
"""Timer `late:<n>`: part n should be accepted, then shipped."""


def sourced(case: Case, decision: OrderSourced) -> Iterator[Yield]:
    for planned in decision.parts:
        known = case.order.parts.get(planned.part_id)
        if known is None or known.promise is None:
            yield from _schedule(case, planned, known)


def _schedule(case: Case, planned: PlannedPart, found: Part | None) -> Iterator[Yield]:
    served = _served_before(planned, found)
    yield PartScheduled(
        planned.part_id,
        case.now,
        location=planned.location,
        method=planned.method,
        carrier=planned.carrier,
        carrier_service=planned.carrier_service,
        release_at=planned.release_at,
        ship_by=planned.ship_by,
        promise=planned.promise,
        lines=tuple(Goods(line.line_id, line.sku, line.quantity) for line in planned.lines),
        served=served,
    )
    part = case.part(planned.part_id)
    if not _goes_now(case, part):
        yield FulfilmentScheduled(
            order_id=case.order_id,
            fulfilment_order_id=part.part_id,
            location=part.location,
            occurred_at=case.now,
            release_at=part.release_at,
        )
    if served:
        yield _served_elsewhere(case, part, served)
    yield from release(case, part)


def _served_before(planned: PlannedPart, found: Part | None) -> tuple[Units, ...]:
    """Units that left under this part's name before its decision was read."""
    if found is None:
        return ()
    over = {line: work.over for line, work in found.lines.items()}
    early = (Units(line.line_id, min(line.quantity, over.get(line.line_id, 0))) for line in planned.lines)
    return rules.total(early)


def _served_elsewhere(case: Case, part: Part, units: Iterable[Units]) -> ReservationEnded:
    """These units left without using their reservation. `cancelled`, so that sourcing doesn't plan them again."""
    return ReservationEnded(
        part_id=part.part_id,
        order_id=case.order_id,
        location=part.location,
        cause="cancelled",
        lines=fact_lines(part, units),
        occurred_at=case.now,
    )


# ---- instructing ----


def release(case: Case, part: Part) -> Iterator[Yield]:
    """Instruct the location if it is time and nothing stands in the way; otherwise look again when it is time."""
    if part.release_at > case.now:
        yield Wake(case.key, f"{RELEASE}{part.number}", part.release_at)
    elif _goes_now(case, part):
        yield from _instruct(case, part)


def _goes_now(case: Case, part: Part) -> bool:
    return part.release_at <= case.now and part.revision == 0 and part.left > 0 and may_instruct(case.order)


def release_all(case: Case) -> Iterator[Yield]:
    """What stood in the way is gone: every part whose time has come. What is read late may be older than a release that it finds held
    up, whose timer has run: then it is looked at again in its time."""
    for part in tuple(case.order.parts.values()):
        if part.revision == 0 and part.left > 0:
            yield from release(case, part)


def may_instruct(order: Order) -> bool:
    return order.known and order.outcome is None and not order.holds and not rules.asked_changes(order)


def _instruct(case: Case, part: Part) -> Iterator[Yield]:
    content = case.order.content
    assert content is not None, "may_instruct says so"
    accept_by = rules.after_s(case.now, case.policy.accept_deadline_s)
    to_collect_minor = rules.to_collect_minor(case.order, content, part)
    yield PartInstructed(part.part_id, case.now, 1, accept_by, to_collect_minor)
    yield instruction(case.order, content, case.part(part.part_id), FulfilOrder)
    yield _instructed(case, part, 1)
    yield Wake(case.key, f"{LATE}{part.number}", accept_by)


def amend(case: Case, part: Part, content: Content) -> Iterator[Yield]:
    """Send the next revision of an instruction, with the content given."""
    revision = part.revision + 1
    to_collect_minor = rules.to_collect_minor(case.order, content, part)
    yield PartInstructed(part.part_id, case.now, revision, None, to_collect_minor)
    yield instruction(case.order, content, case.part(part.part_id), AmendOrder)
    yield _instructed(case, part, revision)


def _instructed(case: Case, part: Part, revision: int) -> FulfilmentInstructed:
    return FulfilmentInstructed(
        order_id=case.order_id,
        fulfilment_order_id=part.part_id,
        location=part.location,
        occurred_at=case.now,
        revision=revision,
    )


def instruction(order: Order, content: Content, part: Part, kind: type[FulfilOrder] | type[AmendOrder]) -> FulfilOrder | AmendOrder:
    """All a location needs, for what is left of a part."""
    assert part.promise is not None, "only planned parts are instructed"
    works = ((line, work) for line, work in part.lines.items() if work.left > 0)
    return kind(
        fulfilment_order_id=part.part_id,
        order_id=order.order_id,
        location=part.location,
        revision=part.revision,
        method=part.method,
        lines=tuple(_instruction_line(line, work, content.item(line)) for line, work in works),
        ship_to=content.ship_to,
        carrier=part.carrier,
        carrier_service=part.carrier_service,
        ship_by=part.ship_by,
        promise=part.promise,
        priority=rank_of(content.kind, content.priority),
        to_collect_minor=part.to_collect_minor,
        currency=content.currency,
        channel=content.channel,
        placed_at=content.placed_at,
        packing_slip=content.packing_slip,
    )


def _instruction_line(line_id: str, work: Work, item: Item | None) -> InstructionLine:
    if item is None:
        return InstructionLine(line_id=line_id, sku=work.sku, quantity=work.left)
    return InstructionLine(
        line_id=line_id,
        sku=work.sku,
        gtin=item.gtin,
        description=item.description,
        quantity=work.left,
        weight_g=item.weight_g,
        attributes=item.attributes,
        gift_message=item.gift_message,
        substitution_allowed=item.substitution_allowed,
    )


# ---- holds ----


def pause_all(case: Case) -> Iterator[Yield]:
    for part in tuple(case.order.parts.values()):
        if part.at_location and not part.paused:
            yield PartPaused(part.part_id, case.now)
            yield HoldFulfilment(fulfilment_order_id=part.part_id, order_id=case.order_id, location=part.location)


def resume_all(case: Case) -> Iterator[Yield]:
    """No hold is open any more."""
    for part in tuple(case.order.parts.values()):
        if part.paused:
            yield PartResumed(part.part_id, case.now)
            yield ResumeFulfilment(fulfilment_order_id=part.part_id, order_id=case.order_id, location=part.location)
            yield Wake(case.key, f"{LATE}{part.number}", _next_deadline(case, part))
    yield from release_all(case)


# ---- shortages ----


def shorted(case: Case, shortage: PartShorted) -> Iterator[Yield]:
    """Inventory has taken these units' reservation: they come off the part, and its location is told."""
    part = case.order.parts.get(shortage.part_id)
    if part is None:
        return
    if not shortage.ended:
        yield from _gone_already(case, part, rules.beyond_left(part, shortage.lines))
    units = rules.within_left(part, shortage.lines)
    if not units:
        return
    yield UnitsEnded(part.part_id, case.now, case.now, "shorted", units)
    if part.revision > 0 and not rules.is_asked_back(case.order, part):
        yield from _take_off(case, part, units)
    yield from finished(case, part.part_id)


def _gone_already(case: Case, part: Part, units: tuple[Units, ...]) -> Iterator[Yield]:
    """A count overtook the reports of these units' departure: sourcing sends them a second time, and a person is told."""
    if units:
        yield from open_exception(
            case,
            "shipped_too_many",
            f"{part.part_id}:shorted",
            f"{listed(units)} of {part.part_id} had left {part.location} when their stock was taken for gone: they are sent once more.",
            "Stop the second parcel, or agree with the buyer on what is too many.",
        )


def _take_off(case: Case, part: Part, units: tuple[Units, ...]) -> Iterator[Yield]:
    """Ask the location to give up units whose stock is gone; whatever it answers, sourcing has them."""
    earlier = sum(cancel.request_id.startswith(f"short:{part.part_id}") for cancel in case.order.cancels.values())
    request_id = f"short:{part.part_id}:{earlier + 1}" if earlier else f"short:{part.part_id}"
    yield from ask_back(case, part, request_id, units)


def ask_back(case: Case, part: Part, request_id: str, units: tuple[Units, ...]) -> Iterator[Yield]:
    """Ask the location to give units up that nobody waits for: its answer is told to nobody, its silence has no deadline of its own."""
    answer_by = rules.after_s(case.now, case.policy.cancel_answer_s)
    asked = tuple(AskedUnits(part.part_id, entry.line_id, entry.quantity) for entry in units)
    yield CancelOpened(case.order_id, case.now, request_id, answer_by, asked, (), (), quiet=True)
    yield CancelFulfilment(
        fulfilment_order_id=part.part_id,
        order_id=case.order_id,
        location=part.location,
        request_id=request_id,
        lines=line_quantities(units),
        answer_by=answer_by,
    )


# ---- lateness ----


def watch(case: Case, part: Part) -> Iterator[Yield]:
    """The timer of a part's deadlines: first its acceptance, then its shipping."""
    if part.paused or part.left == 0:
        return
    if not part.accepted:
        about, detail = f"{part.part_id}#accept", f"{part.location} has not accepted {part.part_id}."
        yield from open_exception(case, "late", about, detail, "Call the location, or cancel there and source again.")
    if part.ship_by > case.now:
        yield Wake(case.key, f"{LATE}{part.number}", part.ship_by)
    elif part.left > rules.awaiting_buyer(part):
        about, detail = f"{part.part_id}#ship", f"{part.location} has not finished {part.part_id} in time."
        yield from open_exception(case, "late", about, detail, "Ask the location when it will be done; tell the buyer.")


def finished(case: Case, part_id: str) -> Iterator[Yield]:
    """Once a part has nothing left, its deadlines mean nothing."""
    part = case.part(part_id)
    if part.left == 0 and part.revision > 0:
        yield Wake(case.key, f"{LATE}{part.number}", None)


def _next_deadline(case: Case, part: Part) -> datetime:
    if not part.accepted:
        return rules.after_s(case.now, case.policy.accept_deadline_s)
    return max(part.ship_by, case.now)
