"""The status document as it is written: the contract's `schemas.status.OrderStatus` field by field, without the cost of its models.

Nearly every version of an order is shown, with all its lines: a model for each line was most of what an order cost here. These values are
not validated. What they hold was validated where it came in, and the tests read every document back through the contract. A field that may
be missing has None as its default and is left out then; every other field is always written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from schemas import status
from schemas.forms import Form, Promise
from schemas.reference import Method
from schemas.status import OrderStatusName, TrackingStatus
from schemas.types import Data
from services.fulfilment_tracking.rules import PartStatusName
from services.fulfilment_tracking.state import Units


class LineStatus(Struct):
    """Given in this order: there are many."""

    line_id: str
    sku: str
    ordered: int
    cancelled: int
    unfillable: int
    backordered: int
    reserved: int
    released: int
    picked: int
    packed: int
    shipped: int
    ready: int
    handed_over: int
    return_requested: int
    received_back: int
    written_off: int
    credited: int
    status: str


class FulfilmentStatus(Struct, omit_defaults=True, kw_only=True):
    fulfilment_order_id: str
    location: str
    method: Method
    status: PartStatusName
    revision: int
    release_at: datetime
    ship_by: datetime


class ParcelStatus(Struct, omit_defaults=True, kw_only=True):
    parcel_id: str
    fulfilment_order_id: str
    carrier: str | None = None
    tracking_number: str | None = None
    status: TrackingStatus
    raw_code: str
    lines: Sequence[Units]
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None


class OpenException(Struct, omit_defaults=True, kw_only=True):
    exception_id: str
    kind: str
    detail: str
    action: str
    opened_at: datetime


class TimelineEntry(Struct):
    at: datetime
    what: str
    detail: str


class Waiting(Struct, frozen=True, omit_defaults=True):
    reason: str
    until: datetime | None = None


class OrderStatus(Form, frozen=True, kw_only=True):
    """The document of one order."""

    contract: ClassVar[type[Data]] = status.OrderStatus

    order_id: str
    version: int
    channel: str
    status: OrderStatusName
    revision: int
    placed_at: datetime | None = None
    lines: Sequence[LineStatus]
    holds: Sequence[str]
    promise: Promise | None = None
    fulfilment_orders: Sequence[FulfilmentStatus]
    parcels: Sequence[ParcelStatus]
    exceptions: Sequence[OpenException]
    waiting: Sequence[Waiting]
    timeline: Sequence[TimelineEntry]
