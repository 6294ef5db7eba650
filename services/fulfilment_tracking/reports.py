"""Reports of locations: late, repeated, out of order, or from a location nobody asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from schemas.fulfilment import (
    AmendmentAnswered,
    CancelAnswered,
    FulfilmentAccepted,
    LinesCollected,
    LinesPicked,
    NotCollected,
    ParcelPacked,
    ParcelShipped,
    ReadyForCollection,
    ReceivedAtDestination,
    WorkAccepted,
    WorkRejected,
)
from services.fulfilment_tracking import cancels, changes, collecting, parcels, picking
from services.fulfilment_tracking.case import Case, open_exception
from services.fulfilment_tracking.events import PartAccepted, PartFound
from shared.kernel.model import Yield

Report = (
    WorkAccepted
    | WorkRejected
    | LinesPicked
    | ParcelPacked
    | ParcelShipped
    | ReadyForCollection
    | LinesCollected
    | NotCollected
    | CancelAnswered
    | AmendmentAnswered
    | ReceivedAtDestination
)
GOODS_MOVED = (ParcelPacked, ParcelShipped, LinesCollected, ReceivedAtDestination)
"""Reports that count wherever they come from; the others only from the location that was asked."""


def hear(case: Case, report: Report) -> Iterator[Yield]:
    yield from _introduce(case, report)
    part = case.part(report.fulfilment_order_id)
    if report.location == part.location or isinstance(report, GOODS_MOVED):
        yield from _hear(case, report)
    else:
        yield from open_exception(
            case,
            "other_location",
            f"{part.part_id}:{report.location}",
            f"{report.location} reports {type(report).__name__} for {part.part_id}, which is for {part.location}.",
            "Ask the location why it works on this order.",
        )


def _hear(case: Case, report: Report) -> Iterator[Yield]:  # noqa: C901 - one arm per report
    match report:
        case WorkAccepted():
            yield from _accepted(case, report)
        case WorkRejected():
            yield from picking.rejected(case, report)
        case LinesPicked():
            yield from picking.picked(case, report)
        case ParcelPacked():
            yield from parcels.packed(case, report)
        case ParcelShipped():
            yield from parcels.shipped(case, report)
        case ReadyForCollection():
            yield from collecting.ready(case, report)
        case LinesCollected():
            yield from collecting.collected(case, report)
        case NotCollected():
            yield from collecting.not_collected(case, report)
        case CancelAnswered():
            yield from cancels.answered(case, report)
        case AmendmentAnswered():
            yield from changes.answered(case, report)
        case ReceivedAtDestination():
            yield from parcels.received(case, report)
        case _:
            assert_never(report)


def _introduce(case: Case, report: Report) -> Iterator[Yield]:
    """A part nobody planned or instructed becomes known by the report; a person is told."""
    part_id, about = report.fulfilment_order_id, type(report).__name__
    part = case.order.parts.get(part_id)
    if part is None:
        content = case.order.content
        yield PartFound(part_id, case.now, report.location, content.method if content else "home")
        yield from open_exception(
            case,
            "unasked" if content else "unknown_order",
            part_id,
            f"{report.location} reports {about} for {part_id}, which {'nobody planned' if content else 'nobody ordered'}.",
            "Ask the location what it did; stop the parcel or expect a return.",
        )
    elif part.promise is not None and part.revision == 0:
        yield from open_exception(
            case,
            "unasked",
            part_id,
            f"{report.location} reports {about} for {part_id} before it was instructed.",
            "Ask the location who told it to.",
        )


def _accepted(case: Case, report: WorkAccepted) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    if not part.accepted:
        yield PartAccepted(part.part_id, case.now)
        yield FulfilmentAccepted(
            order_id=case.order_id,
            fulfilment_order_id=part.part_id,
            location=part.location,
            occurred_at=report.occurred_at,
        )
