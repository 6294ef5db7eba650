"""Which of two tracking events is further, whatever order they arrive in, and what a status proves."""

from __future__ import annotations

from datetime import datetime

from schemas.status import TrackingStatus
from services.fulfilment_tracking.state import Parcel, Sighting

ENDS: frozenset[TrackingStatus] = frozenset(("delivered", "returned"))
"""Tracking statuses after which a parcel moves no more."""
UNDER_WAY: frozenset[TrackingStatus] = frozenset(
    (
        "in_transit",
        "out_for_delivery",
        "ready_for_pickup",
        "attempt_failed",
        "delivered",
        "returning",
        "returned",
    )
)
"""Tracking statuses that prove that the parcel left its location."""
ASTRAY: frozenset[TrackingStatus] = frozenset(("returning", "exception", "cancelled", "expired"))
"""Tracking statuses after which silence is no sign of delivery."""
PROGRESS: tuple[TrackingStatus, ...] = (
    "unknown",
    "label_created",
    "in_transit",
    "out_for_delivery",
    "ready_for_pickup",
    "attempt_failed",
    "exception",
    "cancelled",
    "expired",
    "returning",
    "returned",
    "delivered",
)
"""Tracking statuses of one instant: the later in this list wins."""


def is_newer(parcel: Parcel, sighting: Sighting) -> bool:
    """Whether a sighting is further than what is known: an end beats all else, then the later instant."""
    if parcel.status_at is None:
        return True
    known = Sighting(parcel.status, parcel.raw_code, parcel.status_at)
    return _distance(sighting) > _distance(known)


def further(known: Sighting | None, sighting: Sighting) -> bool:
    return known is None or _distance(sighting) > _distance(known)


def _distance(sighting: Sighting) -> tuple[bool, datetime, int, str]:
    rank = PROGRESS.index(sighting.status)
    return sighting.status in ENDS, sighting.occurred_at, rank, sighting.raw_code
