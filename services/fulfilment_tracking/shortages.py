"""Units whose reservation has ended before, and of which their location says more: picked all the same, put back, damaged.

Sourcing has planned them again: what becomes of them at the location concerns nothing but stock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from schemas.fulfilment import ReservationEnded
from services.fulfilment_tracking.case import Case, as_units, fact_lines
from services.fulfilment_tracking.events import ShortedPutBack
from services.fulfilment_tracking.state import Reason, Units
from shared.kernel.model import Yield


def given_up(case: Case, part_id: str, units: tuple[Units, ...], occurred_at: datetime) -> Iterator[Yield]:
    """The location gives up shorted units: a pick that was booked for them is taken back."""
    works = case.part(part_id).lines
    picked = {entry.line_id: min(entry.quantity, works[entry.line_id].shorted_carted) for entry in units}
    yield from _put_back(case, part_id, picked, occurred_at)


def found_damaged(case: Case, part_id: str, units: tuple[Units, ...], occurred_at: datetime) -> Iterator[Yield]:
    """They lie on the shelf, and inventory may count them as sellable."""
    if units:
        yield _ended(case, part_id, units, "damaged", occurred_at)


def all_put_back(case: Case, part_id: str, occurred_at: datetime) -> Iterator[Yield]:
    """The location puts everything of a part back on the shelf."""
    works = case.part(part_id).lines
    yield from _put_back(case, part_id, {line: work.shorted_carted for line, work in works.items()}, occurred_at)


def _put_back(case: Case, part_id: str, by_line: dict[str, int], occurred_at: datetime) -> Iterator[Yield]:
    units = as_units(by_line)
    if units:
        yield ShortedPutBack(part_id, case.now, units)
        yield _ended(case, part_id, units, "none", occurred_at)


def _ended(case: Case, part_id: str, units: tuple[Units, ...], reason: Reason, occurred_at: datetime) -> ReservationEnded:
    part = case.part(part_id)
    return ReservationEnded(
        part_id=part_id,
        order_id=case.order_id,
        location=part.location,
        cause="shorted",
        reason=reason,
        lines=fact_lines(part, units),
        occurred_at=occurred_at,
    )
