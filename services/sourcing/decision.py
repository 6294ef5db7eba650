"""The decision as it is written: the contract's `schemas.sourcing.OrderSourced`, with the explanation that only people read."""

from __future__ import annotations

from typing import ClassVar

from schemas import sourcing
from schemas.forms import Explanation, Form, OrderId, Ordinal, Part, Promise
from schemas.types import Data
from services.sourcing.state import Cause


class OrderSourced(Form, frozen=True, kw_only=True):
    contract: ClassVar[type[Data]] = sourcing.OrderSourced

    order_id: OrderId
    decision: Ordinal
    cause: Cause
    parts: tuple[Part, ...]
    split: bool
    promise: Promise
    explanation: tuple[Explanation, ...]
    revision: Ordinal | None = None
