"""The availability document as it is written: the contract's `schemas.inventory.Availability` field by field.

Nearly every version of every level is shown, so a model for each would cost as much as deciding about it. Figures are always written, also
where they are 0; `blocked_until` is missing where nothing is blocked.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from msgspec import Struct

from schemas import inventory
from schemas.forms import Form
from schemas.types import Data


class Future(Struct, frozen=True):
    reference: str
    quantity: int
    eta: datetime
    confidence: int


class Availability(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = inventory.Availability

    sku: str
    location: str
    version: int
    sellable: int
    picked: int
    in_transit: int
    quality_hold: int
    damaged: int
    display: int
    reserved: int
    unsettled: int
    safety: int
    atp: int
    blocked_until: datetime | None = None
    future: tuple[Future, ...]
