"""Exceptions: something about returned goods needs a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from schemas.returns import ReturnExceptionOpened
from services.returns.events import ExceptionNoted, Units
from services.returns.state import Purchase
from shared.kernel.model import Yield

Trouble = Literal["unexpected_goods", "unknown_goods", "more_than_handed_over", "late_fact", "contradiction"]
LISTED = 5
"""Most lines an exception's text lists."""


def open_exception(
    purchase: Purchase, order_id: str, kind: Trouble, detail: str, action: str, location: str | None = None
) -> Iterator[Yield]:
    """`purchase` as it stands now: an order's exceptions are numbered."""
    number = purchase.exceptions + 1
    yield ExceptionNoted(order_id, number)
    yield ReturnExceptionOpened(
        order_id=order_id,
        exception_id=f"{order_id}/x{number}",
        kind=kind,
        location=location,
        detail=detail[:500],
        action=action[:500],
    )


def in_words(units: Sequence[Units]) -> str:
    """As in `2 x line-1, 1 x line-7 and 3 more`."""
    words = ", ".join(f"{part.quantity} x {part.name.removeprefix('/')}" for part in units[:LISTED])
    return words if len(units) <= LISTED else f"{words} and {len(units) - LISTED} more"
