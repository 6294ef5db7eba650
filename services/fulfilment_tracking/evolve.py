"""How rows are folded from events: one arm per event; it never judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, assert_never, get_args

from services.fulfilment_tracking import events as e
from services.fulfilment_tracking import loads, rules, timeline
from services.fulfilment_tracking.state import (
    AskedUnits,
    Cancel,
    Change,
    Count,
    Label,
    LineCounts,
    Order,
    Parcel,
    Part,
    Sighting,
    Trouble,
    Units,
    Work,
    parcel_name,
)
from shared.value import replace

TROUBLES_KEPT = 50
PartStep = (
    e.PartInstructed
    | e.PartAccepted
    | e.PartPaused
    | e.PartResumed
    | e.UnitsEnded
    | e.UnitsRefused
    | e.ShortedPutBack
    | e.UnitsPicked
    | e.UnitsReady
    | e.UnitsCollected
    | e.BuyerStayedAway
)
"""Events of a part that is known."""


def evolve_order(order: Order, event: e.AnyEvent) -> Order:
    return timeline.noted(_FOLDS[type(event)](order, event), event)


def evolve_label(label: Label, event: e.LabelEvent) -> Label:
    match event:
        case e.LabelClaimed():
            return replace(label, part_id=event.part_id, parcel_id=event.parcel_id)
        case e.LabelUnclaimed():
            return replace(label, unclaimed=Sighting(event.status, event.raw_code, event.occurred_at))
        case _:
            assert_never(event)


# ---- the order ----


def _of_order(order: Order, event: e.OrderEvent) -> Order:  # noqa: C901 - one arm per event
    match event:
        case e.OrderOpened():
            return _opened(order, event)
        case e.OrderRefused():
            return replace(order, phase="rejected", outcome="rejected", holds={})
        case e.ContentReplaced():
            return _replaced(order, event)
        case e.DemandRestated():
            return replace(order, lines={line: replace(counts, cancelled=0) for line, counts in order.lines.items()})
        case e.HoldPlaced() | e.HoldLifted():
            return _held(order, event)
        case e.LinesCounted():
            return _capped(_added(order, event.what, event.lines))
        case e.DemandBackordered():
            return _capped(replace(_added(order, "backordered", event.lines), stock_by=event.deadline))
        case e.ReturnOpened():
            returns = {**order.returns, event.return_id: event.lines}
            return replace(_added(order, "return_requested", event.lines), returns=returns)
        case e.ReturnDropped():
            return _return_dropped(order, event)
        case e.TroubleOpened():
            return _troubled(order, event)
        case e.OrderEnded():
            return replace(order, outcome=event.outcome, holds={})
        case _:
            assert_never(event)


def _held(order: Order, event: e.HoldPlaced | e.HoldLifted) -> Order:
    if isinstance(event, e.HoldLifted):
        return replace(order, holds=_only(order.holds, event.open_holds))
    phase = "held" if order.phase == "unknown" else order.phase
    return replace(order, phase=phase, holds={**order.holds, event.hold_id: event.deadline})


def _opened(order: Order, event: e.OrderOpened) -> Order:
    return replace(
        order,
        phase="accepted",
        content=event.content,
        holds={hold: order.holds.get(hold) for hold in event.held},
        patience_s=event.patience_s,
        plan_by=rules.after_s(event.at, event.patience_s),
    )


def _replaced(order: Order, event: e.ContentReplaced) -> Order:
    if not event.demand_changed:
        return replace(order, content=event.content)
    revision = event.content.revision
    lines = {line: replace(counts, backordered=0) for line, counts in order.lines.items()}
    if revision > order.demand_revision:
        lines = {line: replace(counts, unfillable=0) for line, counts in lines.items()}
    plan_by = rules.after_s(event.at, order.patience_s)
    return replace(order, content=event.content, demand_revision=revision, lines=lines, plan_by=plan_by, stock_by=None)


def _added(order: Order, what: Count, lines: Iterable[Units], sign: int = 1) -> Order:
    counts = dict(order.lines)
    for units in lines:
        before = counts.get(units.line_id, LineCounts())
        counts[units.line_id] = rules.counted(before, what, sign * units.quantity)
    return replace(order, lines=counts)


def _capped(order: Order) -> Order:
    """Units wait for stock only while nobody else accounts for them."""
    lines = {
        line: replace(counts, backordered=min(counts.backordered, rules.unaccounted(order, line))) for line, counts in order.lines.items()
    }
    return replace(order, lines=lines)


def _return_dropped(order: Order, event: e.ReturnDropped) -> Order:
    rest = {return_id: lines for return_id, lines in order.returns.items() if return_id != event.return_id}
    return replace(_added(order, "return_requested", event.lines, sign=-1), returns=rest)


def _troubled(order: Order, event: e.TroubleOpened) -> Order:
    trouble = Trouble(event.exception_id, event.kind, event.about, event.detail, event.action, event.at)
    return replace(
        order,
        troubles=(*order.troubles, trouble)[-TROUBLES_KEPT:],
        troubles_opened=order.troubles_opened + event.own,
    )


def _only(holds: dict[str, datetime | None], open_holds: Iterable[str]) -> dict[str, datetime | None]:
    return {hold: holds.get(hold) for hold in open_holds}


# ---- parts ----


def _of_part(order: Order, event: e.PartEvent) -> Order:
    match event:
        case e.PartScheduled():
            return _scheduled(order, event)
        case e.PartFound():
            return _found(order, event)
        case e.UnitsEnded():
            plan_by = rules.after_s(event.at, order.patience_s)
            return replace(_with_part(order, event, lambda part: _step(part, event)), plan_by=plan_by)
        case _:
            return _with_part(order, event, lambda part: _step(part, event))


def _step(part: Part, event: PartStep) -> Part:  # noqa: C901 - one arm per event
    match event:
        case e.PartInstructed():
            return _instructed(part, event)
        case e.PartAccepted():
            return replace(part, accepted=True)
        case e.PartPaused():
            return replace(part, paused=True)
        case e.PartResumed():
            return replace(part, paused=False)
        case e.UnitsEnded():
            told = part.revision > 0
            return _with_lines(part, event.lines, lambda work, n: rules.end(work, event.cause, n, event.occurred_at, instructed=told))
        case e.UnitsRefused():
            return _refused(part, event)
        case e.ShortedPutBack():
            return _with_lines(part, event.lines, lambda work, n: replace(work, shorted_carted=work.shorted_carted - n))
        case e.UnitsPicked():
            return _picked(part, event)
        case e.UnitsReady():
            return _ready(part, event)
        case e.UnitsCollected():
            return _collected(part, event)
        case e.BuyerStayedAway():
            return replace(part, stayed_away_at=event.occurred_at)
        case _:
            assert_never(event)


def _scheduled(order: Order, event: e.PartScheduled) -> Order:
    found = order.parts.get(event.part_id)
    lines = dict(found.lines) if found else {}
    served = {units.line_id: units.quantity for units in event.served}
    for goods in event.lines:
        work, known = lines.get(goods.line_id), served.get(goods.line_id, 0)
        lines[goods.line_id] = (
            Work(goods.sku, goods.quantity)
            if work is None
            else replace(work, sku=goods.sku, planned=goods.quantity, served=work.served + known, over=work.over - known)
        )
    part = Part(
        part_id=event.part_id,
        location=event.location,
        method=event.method,
        carrier=event.carrier,
        carrier_service=event.carrier_service,
        release_at=event.release_at,
        ship_by=event.ship_by,
        promise=event.promise,
        lines=lines,
    )
    return _capped(replace(order, parts={**order.parts, event.part_id: part}, promise=event.promise))


def _found(order: Order, event: e.PartFound) -> Order:
    part = Part(event.part_id, event.location, event.method, release_at=event.at, ship_by=event.at, promise=None)
    return replace(order, parts={**order.parts, event.part_id: part})


def _with_part(order: Order, event: e.OfPart, change: Callable[[Part], Part]) -> Order:
    return replace(order, parts={**order.parts, event.part_id: change(order.parts[event.part_id])})


def _with_lines(part: Part, units: Iterable[Units], change: Callable[[Work, int], Work]) -> Part:
    lines = dict(part.lines)
    for entry in units:
        lines[entry.line_id] = change(lines.get(entry.line_id, Work("")), entry.quantity)
    return replace(part, lines=lines)


def _instructed(part: Part, event: e.PartInstructed) -> Part:
    return replace(
        part,
        revision=event.revision,
        accept_by=event.accept_by or part.accept_by,
        to_collect_minor=event.to_collect_minor,
    )


def _refused(part: Part, event: e.UnitsRefused) -> Part:
    part = _with_lines(replace(part, accepted=True), event.lines, lambda work, n: replace(work, told_off=work.told_off + n))
    if event.by_pick:
        at = event.picked_at
        part = _with_lines(part, event.lines, lambda work, n: replace(work, unexplained=work.unexplained + n, left_out_at=at))
    part = _with_lines(part, event.explained, lambda work, n: replace(work, unexplained=work.unexplained - n))
    return _with_lines(part, event.shorted, lambda work, n: replace(work, shorted_open=work.shorted_open - n))


def _picked(part: Part, event: e.UnitsPicked) -> Part:
    lines = dict(part.lines)
    for total in event.totals:
        work = lines.get(total.line_id, Work(total.sku))
        lines[total.line_id] = replace(work, picked_said=max(work.picked_said, total.quantity))
    part = replace(part, lines=lines, accepted=True)
    return _with_lines(part, event.lines, lambda work, n: replace(work, carted=work.carted + n))


def _ready(part: Part, event: e.UnitsReady) -> Part:
    part = replace(part, collect_by=event.collect_by or part.collect_by, accepted=True)
    return _with_lines(part, event.totals, lambda work, n: replace(work, ready_said=max(work.ready_said, n)))


def _collected(part: Part, event: e.UnitsCollected) -> Part:
    part = _served(part, event)
    return _with_lines(part, event.totals, lambda work, n: replace(work, collected=max(work.collected, n)))


def _served(part: Part, event: e.ParcelLeft | e.UnitsCollected) -> Part:
    lines = dict(part.lines)
    for goods in event.served:
        here = loads.as_planned(part, event.location, goods)
        lines[goods.line_id] = rules.serve(lines[goods.line_id], goods.quantity, here=here)
    for goods in event.over:
        work = lines.get(goods.line_id, Work(goods.sku))
        gone = min(work.shorted_carted, goods.quantity) if loads.as_planned(part, event.location, goods) else 0
        lines[goods.line_id] = replace(work, over=work.over + goods.quantity, shorted_carted=work.shorted_carted - gone)
    return replace(part, lines=lines, accepted=True)


# ---- parcels ----


def _of_parcel(order: Order, event: e.ParcelEvent) -> Order:
    match event:
        case e.ParcelFilled():
            order = _with_part(order, event, lambda part: replace(part, accepted=True))
        case e.ParcelLeft():
            order = _with_part(order, event, lambda part: _served(part, event))
        case _:
            pass
    name = parcel_name(event.part_id, event.parcel_id)
    parcel = order.parcels.get(name) or Parcel(event.part_id, event.parcel_id, order.parts[event.part_id].location)
    return replace(order, parcels={**order.parcels, name: _moved(parcel, event)})


def _moved(parcel: Parcel, event: e.ParcelEvent) -> Parcel:
    match event:
        case e.ParcelFilled():
            return _filled(parcel, event)
        case e.ParcelLeft():
            return _left(parcel, event)
        case e.ParcelDated():
            return replace(parcel, shipped_at=event.occurred_at, implied=False)
        case e.ParcelSighted():
            return _sighted(parcel, event)
        case e.ParcelHandedOver():
            return replace(parcel, handed_over=event.how, presume_at=None)
        case e.ParcelReturned():
            return replace(parcel, came_back=True, presume_at=None)
        case e.ParcelReceived():
            return replace(parcel, received=loads.sum_of(parcel.received, event.lines))
        case _:
            assert_never(event)


def _filled(parcel: Parcel, event: e.ParcelFilled) -> Parcel:
    return replace(
        parcel,
        location=event.location,
        carrier=parcel.carrier or event.carrier,
        tracking_number=parcel.tracking_number or event.tracking_number,
        packed=loads.most_of(parcel.packed, event.contents),
    )


def _left(parcel: Parcel, event: e.ParcelLeft) -> Parcel:
    return replace(
        parcel,
        location=event.location,
        carrier=event.carrier,
        tracking_number=event.tracking_number,
        shipped=loads.sum_of(parcel.shipped, (*event.served, *event.over)),
        shipped_at=parcel.shipped_at or event.occurred_at,
        implied=event.implied if parcel.shipped_at is None else parcel.implied,
        presume_at=parcel.presume_at or event.presume_at,
    )


def _sighted(parcel: Parcel, event: e.ParcelSighted) -> Parcel:
    delivered_at = event.occurred_at if event.status == "delivered" else parcel.delivered_at
    return replace(
        parcel,
        status=event.status,
        status_at=event.occurred_at,
        raw_code=event.raw_code,
        delivered_at=delivered_at,
    )


# ---- cancels and changes ----


def _of_request(order: Order, event: e.RequestEvent) -> Order:
    match event:
        case e.CancelOpened():
            return replace(order, cancels={**order.cancels, event.request_id: _cancel(event)})
        case e.CancelHeard():
            return _cancel_heard(order, event)
        case e.CancelSettled():
            cancel = replace(order.cancels[event.request_id], settled=True)
            return replace(order, cancels={**order.cancels, event.request_id: cancel})
        case e.ChangeOpened():
            change = Change(event.request_id, event.content, event.demand_changed)
            return replace(order, changes={**order.changes, event.request_id: change})
        case e.ChangeAsked():
            return _change_asked(order, event)
        case e.AmendmentHeard():
            return _amendment_heard(order, event)
        case e.ChangeSettled():
            rest = {request: change for request, change in order.changes.items() if request != event.request_id}
            return replace(order, changes=rest)
        case _:
            assert_never(event)


def _cancel(event: e.CancelOpened) -> Cancel:
    return Cancel(
        request_id=event.request_id,
        answer_by=event.answer_by,
        asked=event.asked,
        cancelled=event.cancelled,
        too_late=event.too_late,
        quiet=event.quiet,
    )


def _cancel_heard(order: Order, event: e.CancelHeard) -> Order:
    cancel = _spoken(order.cancels[event.request_id], event)
    order = replace(order, cancels={**order.cancels, event.request_id: cancel})
    return _with_part(
        order,
        event,
        lambda part: _with_lines(part, event.shorted, lambda work, n: replace(work, shorted_open=work.shorted_open - n)),
    )


def _spoken(cancel: Cancel, event: e.CancelHeard) -> Cancel:
    heard = {units.line_id: units.quantity for units in event.heard}
    cancelled = {units.line_id: units.quantity for units in event.cancelled}
    named = {(asked.part_id, asked.line_id) for asked in cancel.asked}
    unasked = (AskedUnits(event.part_id, line, 0) for line in heard if (event.part_id, line) not in named)
    return replace(
        cancel,
        asked=tuple(
            replace(
                asked,
                heard=max(asked.heard, heard.get(asked.line_id, 0)),
                cancelled=asked.cancelled + cancelled.get(asked.line_id, 0),
            )
            if asked.part_id == event.part_id
            else asked
            for asked in (*cancel.asked, *unasked)
        ),
        answered=(*cancel.answered, event.part_id) if event.answered else cancel.answered,
    )


def _change_asked(order: Order, event: e.ChangeAsked) -> Order:
    change = replace(
        order.changes[event.request_id],
        asked=event.revisions,
        amended=tuple(event.revisions),
        answer_by=event.answer_by,
    )
    return replace(order, changes={**order.changes, event.request_id: change})


def _amendment_heard(order: Order, event: e.AmendmentHeard) -> Order:
    change = order.changes[event.request_id]
    asked = {part: revision for part, revision in change.asked.items() if part != event.part_id}
    return replace(order, changes={**order.changes, event.request_id: replace(change, asked=asked)})


# ---- which is which ----

_FOLDS: dict[type, Callable[[Order, Any], Order]] = {
    **dict.fromkeys(get_args(e.OrderEvent), _of_order),
    **dict.fromkeys(get_args(e.PartEvent), _of_part),
    **dict.fromkeys(get_args(e.ParcelEvent), _of_parcel),
    **dict.fromkeys(get_args(e.RequestEvent), _of_request),
}
