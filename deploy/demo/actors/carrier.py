"""A parcel carrier: follows every parcel from the dock to the door. A few come back, a few are only ever heard of out of order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import ClassVar

from deploy.demo.desk import Desk
from deploy.demo.wire import Reads
from schemas import topics
from schemas.fulfilment import ParcelTracked, ParcelWasShipped
from schemas.status import TrackingStatus
from schemas.topics import Body

COMES_BACK, TOLD_LATE = 0.02, 0.03
WAY_OUT: tuple[TrackingStatus, ...] = ("in_transit", "out_for_delivery", "delivered")
WAY_BACK: tuple[TrackingStatus, ...] = ("in_transit", "attempt_failed", "returning", "returned")
CODES: Mapping[TrackingStatus, str] = {
    "in_transit": "TR",
    "out_for_delivery": "OD",
    "delivered": "DL",
    "attempt_failed": "NH",
    "returning": "RS",
    "returned": "RT",
}


class Carrier:
    """It knows a parcel by its tracking number only."""

    reads: ClassVar[Reads] = {topics.FULFILMENT_EVENTS: (ParcelWasShipped,)}

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seen: set[str] = set()

    def hear(self, body: Body) -> None:
        if isinstance(body, ParcelWasShipped) and body.tracking_number not in self._seen:
            self._seen.add(body.tracking_number)
            comes_back = self._desk.dice.chance(COMES_BACK, body.tracking_number, "back")
            self._move(body, WAY_BACK if comes_back else WAY_OUT)

    def _move(self, parcel: ParcelWasShipped, way: tuple[TrackingStatus, ...]) -> None:
        step = f"{parcel.tracking_number} {way[0]}"
        self._desk.later(0.4, 1.2, step, partial(self._scan, parcel, way))

    def _scan(self, parcel: ParcelWasShipped, way: tuple[TrackingStatus, ...]) -> None:
        report = partial(self._report, parcel, way[0], self._desk.now())
        if self._desk.dice.chance(TOLD_LATE, parcel.tracking_number, way[0], "late"):
            self._desk.later(0.5, 1.5, f"{parcel.tracking_number} {way[0]} told", report)
        else:
            report()
        if way[1:]:
            self._move(parcel, way[1:])

    def _report(self, parcel: ParcelWasShipped, status: TrackingStatus, scanned_at: datetime) -> None:
        event = ParcelTracked(
            carrier=parcel.carrier,
            tracking_number=parcel.tracking_number,
            status=status,
            raw_code=CODES[status],
            occurred_at=scanned_at,
        )
        self._desk.send(topics.CARRIER_REPORTS, event, f"{parcel.tracking_number}:{status}")
