"""Parcels: packed, shipped, followed through the carrier's network, handed over or returned."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from schemas.fulfilment import (
    IssueDated,
    LinesHandedOver,
    ParcelCameBack,
    ParcelMoved,
    ParcelPacked,
    ParcelShipped,
    ParcelWasPacked,
    ParcelWasShipped,
    ReceivedAtDestination,
)
from services.fulfilment_tracking import loads, rules, sightings
from services.fulfilment_tracking.case import Case, goods_lines, open_exception
from services.fulfilment_tracking.events import (
    LabelClaimed,
    ParcelDated,
    ParcelFilled,
    ParcelHandedOver,
    ParcelLeft,
    ParcelReceived,
    ParcelReturned,
    ParcelSighted,
)
from services.fulfilment_tracking.issuing import issue
from services.fulfilment_tracking.naming import goods_of
from services.fulfilment_tracking.parts import finished
from services.fulfilment_tracking.picking import pick
from services.fulfilment_tracking.state import Goods, Label, Parcel, Sighting, parcel_key, parcel_name
from shared.kernel.model import Wake, Yield

PRESUME = "presume:"
"""Timer `presume:<n>:<parcel>`: a carrier's silence counts as delivery."""


# ---- at the location ----


def packed(case: Case, report: ParcelPacked) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    contents = goods_of(case, part, report.lines)
    parcel = _parcel(case, part.part_id, report.parcel_id)
    more = loads.added(loads.most_of(parcel.packed, parcel.shipped) if parcel else (), contents)
    if parcel is None or more:
        yield ParcelFilled(
            part.part_id,
            case.now,
            report.occurred_at,
            report.parcel_id,
            report.location,
            report.carrier,
            report.tracking_number,
            contents,
        )
    if lines := goods_lines(more):
        yield ParcelWasPacked(
            order_id=case.order_id,
            fulfilment_order_id=part.part_id,
            location=report.location,
            occurred_at=report.occurred_at,
            parcel_id=report.parcel_id,
            lines=lines,
        )
    if report.location == part.location:
        yield from _imply_picks(case, part.part_id, report.occurred_at)
    if report.carrier and report.tracking_number:
        yield from _claim(case, part.part_id, report.parcel_id, f"{report.carrier}:{report.tracking_number}")


def _imply_picks(case: Case, part_id: str, occurred_at: datetime) -> Iterator[Yield]:
    """What is in parcels was picked; those that left used up picks of others first."""
    part = case.part(part_id)
    packed_units = loads.ever_packed(case.order, part_id)
    totals = (Goods(line, part.lines[line].sku, n) for line, n in packed_units.items() if line in part.lines)
    yield from pick(case, part, tuple(totals), occurred_at)


def shipped(case: Case, report: ParcelShipped) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    contents = goods_of(case, part, report.lines)
    yield from _date(case, _parcel(case, part.part_id, report.parcel_id), report.occurred_at)
    yield from _leave(
        case,
        Parcel(part.part_id, report.parcel_id, report.location, report.carrier, report.tracking_number),
        contents,
        report.occurred_at,
    )
    yield from _claim(case, part.part_id, report.parcel_id, f"{report.carrier}:{report.tracking_number}")


def _date(case: Case, parcel: Parcel | None, occurred_at: datetime) -> Iterator[Yield]:
    """The carrier's report overtook the location's, which knows when it left: counts in between have left it out."""
    if parcel is None or not parcel.implied or parcel.shipped_at is None:
        return
    yield ParcelDated(parcel.part_id, case.now, parcel.parcel_id, min(occurred_at, parcel.shipped_at))
    lines = goods_lines(parcel.shipped)
    if occurred_at < parcel.shipped_at and lines:
        yield IssueDated(
            part_id=parcel.part_id,
            order_id=case.order_id,
            location=parcel.location,
            lines=lines,
            booked_at=parcel.shipped_at,
            occurred_at=occurred_at,
        )


def _leave(case: Case, said: Parcel, contents: tuple[Goods, ...], occurred_at: datetime, *, implied: bool = False) -> Iterator[Yield]:
    """A parcel is on its way with these contents; only what is new has an effect."""
    parcel = _parcel(case, said.part_id, said.parcel_id)
    more = loads.added(parcel.shipped if parcel else (), contents)
    if not more:
        return
    assert said.carrier and said.tracking_number, "only labelled parcels leave"
    gone = loads.departure(case.part(said.part_id), more)
    presume_at = rules.after_s(case.now, case.policy.presume_delivered_s)
    yield ParcelLeft(
        said.part_id,
        case.now,
        occurred_at,
        said.parcel_id,
        said.location,
        said.carrier,
        said.tracking_number,
        gone.served,
        gone.over,
        presume_at,
        implied,
    )
    part = case.part(said.part_id)
    yield ParcelWasShipped(
        order_id=case.order_id,
        fulfilment_order_id=part.part_id,
        location=said.location,
        occurred_at=occurred_at,
        parcel_id=said.parcel_id,
        carrier=said.carrier,
        tracking_number=said.tracking_number,
        lines=goods_lines(more),
        unplanned=goods_lines(gone.over),
    )
    yield from issue(case, part, said.location, gone, occurred_at, f"{part.part_id}:{said.parcel_id}")
    if said.location == part.location:
        yield from _imply_picks(case, part.part_id, occurred_at)
    yield from finished(case, part.part_id)
    if parcel is None or parcel.shipped_at is None:
        yield Wake(case.key, f"{PRESUME}{part.number}:{said.parcel_id}", presume_at)
    yield from _conclude(case, part.part_id, said.parcel_id, more)


def received(case: Case, report: ReceivedAtDestination) -> Iterator[Yield]:
    """A transfer arrived: noted only."""
    part = case.part(report.fulfilment_order_id)
    parcel = _parcel(case, part.part_id, report.parcel_id)
    contents = goods_of(case, part, (*report.lines, *report.damaged))
    more = loads.added(parcel.received if parcel else (), contents)
    if more:
        yield ParcelReceived(part.part_id, case.now, report.parcel_id, report.location, report.occurred_at, more)


def _parcel(case: Case, part_id: str, parcel_id: str) -> Parcel | None:
    return case.order.parcels.get(parcel_name(part_id, parcel_id))


# ---- at the carrier ----


def _claim(case: Case, part_id: str, parcel_id: str, carrier_tracking: str) -> Iterator[Yield]:
    """From now on this tracking number means this parcel; what the carrier told before counts."""
    label = case.world.get(parcel_key(carrier_tracking), Label(carrier_tracking))
    if not label.part_id:
        yield LabelClaimed(carrier_tracking, part_id, parcel_id)
        if label.unclaimed and _parcel(case, part_id, parcel_id):
            yield from sighted(case, part_id, parcel_id, label.unclaimed)
    elif (label.part_id, label.parcel_id) != (part_id, parcel_id):
        yield from open_exception(
            case,
            "contradiction",
            f"{part_id}:{parcel_id}:label",
            f"Tracking number {carrier_tracking} already belongs to parcel {label.parcel_id} of {label.part_id}.",
            "Find out which parcel carries the label: the carrier's events go to the first one.",
        )


def sighted(case: Case, part_id: str, parcel_id: str, sighting: Sighting) -> Iterator[Yield]:
    parcel = _parcel(case, part_id, parcel_id)
    if parcel is None or not sightings.is_newer(parcel, sighting):
        return
    yield ParcelSighted(part_id, case.now, parcel_id, sighting.status, sighting.raw_code, sighting.occurred_at)
    if sighting.status != parcel.status:
        yield ParcelMoved(
            order_id=case.order_id,
            fulfilment_order_id=part_id,
            location=parcel.location,
            occurred_at=sighting.occurred_at,
            parcel_id=parcel_id,
            status=sighting.status,
            raw_code=sighting.raw_code,
        )
    if not parcel.shipped and sighting.status in sightings.UNDER_WAY:
        yield from _imply_departure(case, parcel, sighting)
    else:
        yield from _conclude(case, part_id, parcel_id, ())


def _imply_departure(case: Case, parcel: Parcel, sighting: Sighting) -> Iterator[Yield]:
    """The carrier has what the location only packed: it has left."""
    if parcel.carrier and parcel.tracking_number:
        yield from _leave(case, parcel, parcel.packed, sighting.occurred_at, implied=True)


def _conclude(case: Case, part_id: str, parcel_id: str, more: tuple[Goods, ...]) -> Iterator[Yield]:
    """What a parcel's status means for its contents. `more`: contents that became known just now."""
    parcel = _parcel(case, part_id, parcel_id)
    if parcel is None or not parcel.shipped:
        return
    if parcel.handed_over and more:
        yield _handed_over(case, parcel, more, parcel.handed_over, case.now)
    if parcel.status == "delivered":
        yield from _delivered(case, parcel)
    elif parcel.status == "returned" and not parcel.came_back:
        yield from _came_back(case, parcel)


def _delivered(case: Case, parcel: Parcel) -> Iterator[Yield]:
    occurred_at = parcel.delivered_at or case.now
    if parcel.came_back:
        yield from open_exception(
            case,
            "contradiction",
            f"{parcel_name(parcel.part_id, parcel.parcel_id)}:delivered",
            f"The carrier delivered parcel {parcel.parcel_id} of {parcel.part_id} after it had come back.",
            "Ask the carrier who has the parcel.",
        )
    elif not parcel.handed_over:
        yield from _hand_over(case, parcel, occurred_at)


def _hand_over(case: Case, parcel: Parcel, occurred_at: datetime) -> Iterator[Yield]:
    yield ParcelHandedOver(parcel.part_id, case.now, parcel.parcel_id, "delivered", occurred_at)
    yield _handed_over(case, parcel, parcel.shipped, "delivered", occurred_at)
    yield _stop_presuming(case, parcel)


def _came_back(case: Case, parcel: Parcel) -> Iterator[Yield]:
    occurred_at = parcel.status_at or case.now
    yield ParcelReturned(parcel.part_id, case.now, parcel.parcel_id, occurred_at)
    if not parcel.handed_over:
        yield ParcelCameBack(
            order_id=case.order_id,
            fulfilment_order_id=parcel.part_id,
            location=parcel.location,
            occurred_at=occurred_at,
            parcel_id=parcel.parcel_id,
            lines=goods_lines(parcel.shipped),
        )
        yield _stop_presuming(case, parcel)
    yield from open_exception(
        case,
        "parcel_returned",
        parcel_name(parcel.part_id, parcel.parcel_id),
        f"The carrier brought parcel {parcel.parcel_id} of {parcel.part_id} back to {parcel.location}.",
        "Receive it there as a return. What the buyer had not got is cancelled and paid back.",
    )


def _handed_over(case: Case, parcel: Parcel, goods: tuple[Goods, ...], how: rules.HandOver, occurred_at: datetime) -> LinesHandedOver:
    return LinesHandedOver(
        order_id=case.order_id,
        fulfilment_order_id=parcel.part_id,
        location=parcel.location,
        occurred_at=occurred_at,
        lines=goods_lines(goods),
        how=how,
    )


def _stop_presuming(case: Case, parcel: Parcel) -> Wake:
    number = parcel.part_id.rpartition("/")[2]
    return Wake(case.key, f"{PRESUME}{number}:{parcel.parcel_id}", None)


# ---- silence ----


def presume(case: Case, part_id: str, parcel_id: str) -> Iterator[Yield]:
    """The carrier stayed silent past the deadline: delivered, unless its last word was of trouble."""
    parcel = _parcel(case, part_id, parcel_id)
    if parcel is None or parcel.handed_over or parcel.came_back or not parcel.shipped:
        return
    if parcel.status in sightings.ASTRAY:
        yield from open_exception(
            case,
            "late",
            parcel_name(part_id, parcel_id),
            f"Parcel {parcel_id} of {part_id} has not arrived; the carrier last said {parcel.status}.",
            "Ask the carrier where it is; replace it or pay the buyer back.",
        )
        return
    yield ParcelHandedOver(part_id, case.now, parcel_id, "presumed", case.now)
    yield _handed_over(case, parcel, parcel.shipped, "presumed", case.now)
