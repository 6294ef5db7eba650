"""Holds: reasons why an order may not go on, each with a deadline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from schemas.channel import Problem
from schemas.orders import HoldResolved, OrderHeld
from services.order_capture.case import Case
from services.order_capture.events import HoldGone, HoldSet
from services.order_capture.state import Check, Hold
from shared.kernel.model import Wake, Yield
from shared.value import replace

Resolution = Literal["release", "cancel", "expired"]
TIMER = "hold:"
"""A hold's timer is named `hold:<hold id>`."""


def open_hold(case: Case, hold: Hold, problems: Sequence[Problem] = ()) -> Iterator[Yield]:
    yield HoldSet(case.order_id, hold)
    yield OrderHeld(
        order_id=case.order_id,
        hold_id=hold.hold_id,
        type=hold.type,
        before_acceptance=case.order.stage == "held",
        deadline=hold.deadline,
        problems=tuple(problems),
    )
    yield Wake(case.key, TIMER + hold.hold_id, hold.deadline)


def end_hold(case: Case, hold_id: str, resolution: Resolution, waived: Check | None = None) -> Iterator[Yield]:
    """It no longer stands in the way. `waived`: the failed check that a person lets pass."""
    yield HoldGone(case.order_id, hold_id, waived)
    yield Wake(case.key, TIMER + hold_id, None)
    yield HoldResolved(order_id=case.order_id, hold_id=hold_id, resolution=resolution, open_holds=tuple(case.order.holds))


def begin_end(case: Case, hold: Hold, ending: Literal["cancel", "expired"]) -> Iterator[Yield]:
    """It ends with the cancellation it causes, so that no location takes the work up in between."""
    yield HoldSet(case.order_id, replace(hold, ending=ending))
    yield Wake(case.key, TIMER + hold.hold_id, None)


def end_all(case: Case, resolution: Resolution) -> Iterator[Yield]:
    for hold_id in tuple(case.order.holds):
        yield from end_hold(case, hold_id, resolution)


def deadline_of(case: Case, asked: datetime | None, accept_by: datetime | None) -> datetime:
    """When a hold ends by itself: as asked, else after the channel's period; never after the order must be accepted."""
    period = timedelta(seconds=case.view.channel(case.order.channel).hold_deadline_s)
    deadline = asked if asked is not None else case.now + period
    return min(deadline, accept_by) if accept_by is not None else deadline
