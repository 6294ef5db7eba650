"""The order's timeline: one line for each event a reader cares about, the newest kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache

from services.fulfilment_tracking import events as e
from services.fulfilment_tracking.state import Entry, Goods, Order, Units
from shared.value import replace

LENGTH = 200
DETAIL_LENGTH = 500
LINES_NAMED = 10

_SILENT = (e.UnitsRefused, e.ShortedPutBack, e.ParcelDated, e.CancelHeard, e.ChangeAsked, e.AmendmentHeard)
"""Events another entry tells as well."""
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def noted(order: Order, event: e.AnyEvent) -> Order:
    """The order with its event on the timeline."""
    what = _what(event)
    if what is None:
        return replace(order, touched_at=event.at)
    entry = Entry(_when(event), what, _detail(event)[:DETAIL_LENGTH])
    return replace(order, touched_at=event.at, timeline=(*order.timeline, entry)[-LENGTH:])


def _what(event: e.AnyEvent) -> str | None:
    match event:
        case e.LinesCounted():
            return f"lines_{event.what}"
        case e.UnitsEnded():
            return f"units_{event.cause}"
        case e.ParcelSighted():
            return f"parcel_{event.status}"
        case _:
            return _spelt(type(event))


@cache
def _spelt(kind: type[e.AnyEvent]) -> str | None:
    """The name of an event as machines read it; None where the timeline leaves it out."""
    return None if issubclass(kind, _SILENT) else _WORD.sub("_", kind.__name__).lower()


def _when(event: e.AnyEvent) -> datetime:
    occurred_at = getattr(event, "occurred_at", None)
    return occurred_at if isinstance(occurred_at, datetime) else event.at


def _detail(event: e.AnyEvent) -> str:
    words = [_subject(event), *_content(event)]
    return " ".join(word for word in words if word)


def _subject(event: e.AnyEvent) -> str:
    match event:
        case e.ParcelFilled() | e.ParcelLeft() | e.ParcelSighted() | e.ParcelHandedOver():
            return f"{event.part_id} {event.parcel_id}"
        case e.ParcelReturned() | e.ParcelReceived():
            return f"{event.part_id} {event.parcel_id}"
        case e.OfPart():
            return event.part_id
        case e.HoldPlaced() | e.HoldLifted():
            return event.hold_id
        case e.ReturnOpened() | e.ReturnDropped():
            return event.return_id
        case e.CancelOpened() | e.CancelSettled() | e.ChangeOpened() | e.ChangeSettled():
            return event.request_id
        case _:
            return ""


def _content(event: e.AnyEvent) -> Iterable[str]:
    match event:
        case e.PartScheduled():
            return event.location, listed(event.lines)
        case e.PartInstructed():
            return (f"revision {event.revision}",)
        case e.ParcelLeft() | e.UnitsCollected():
            return event.location, listed((*event.served, *event.over))
        case e.UnitsEnded() | e.UnitsPicked() | e.LinesCounted() | e.DemandBackordered():
            return (listed(event.lines),)
        case e.ParcelFilled():
            return (listed(event.contents),)
        case e.UnitsReady():
            return (listed(event.totals),)
        case e.TroubleOpened():
            return f"{event.kind}:", event.detail
        case e.OrderEnded():
            return (event.outcome,)
        case e.OrderRefused():
            return (event.reason,)
        case _:
            return ()


def listed(lines: Iterable[Units | Goods]) -> str:
    """Such as `2 x line-1, 1 x line-2`."""
    lines = tuple(lines)
    named = ", ".join(f"{line.quantity} x {line.line_id}" for line in lines[:LINES_NAMED])
    return named if len(lines) <= LINES_NAMED else f"{named} and {len(lines) - LINES_NAMED} more"
