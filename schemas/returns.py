"""Returns: requests, receipts, events, and their effects on stock."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.orders import LineQuantity
from schemas.types import (
    Code,
    Count,
    Data,
    Instant,
    LineId,
    LocationId,
    Message,
    OpenData,
    OrderId,
    Quantity,
    Reference,
    Request,
    RequestId,
    Sku,
    Text,
)

Disposition = Literal["resell", "refurbish", "donate", "destroy", "back_to_supplier"]


class ReturnLine(OpenData):
    line_id: LineId
    quantity: Quantity
    reason: Code = "other"


class RequestReturn(Request):
    """May these units come back? Answered once, by ReturnAuthorised or ReturnDeclined."""

    request_id: RequestId
    order_id: OrderId
    lines: Annotated[tuple[ReturnLine, ...], Field(min_length=1, max_length=500)]
    return_to: LocationId | None = None
    """Where the buyer will hand it in; any location may receive it all the same."""
    requested_at: Instant
    actor: Text = ""


class CancelReturn(Request):
    """The buyer keeps the goods after all."""

    request_id: RequestId
    order_id: OrderId
    return_id: Reference
    actor: Text = ""


class ReceivedLine(Data):
    """Units received: a running total within the receipt."""

    line_id: LineId | None = None
    sku: Sku
    total: Quantity


class GoodsReceived(Message):
    """Goods came back at a location, announced or not. Found by return, by order, or by tracking number."""

    location: LocationId
    receipt_id: Code
    return_id: Reference | None = None
    order_id: OrderId | None = None
    tracking_number: Code | None = None
    lines: Annotated[tuple[ReceivedLine, ...], Field(min_length=1, max_length=500)]
    received_at: Instant


class InspectedUnits(Data):
    line_id: LineId | None = None
    sku: Sku
    disposition: Disposition
    total: Quantity
    """Running total for this line and disposition within the receipt."""


class GoodsInspected(Message):
    """What becomes of the received units, unit by unit."""

    location: LocationId
    receipt_id: Code
    order_id: OrderId | None = None
    return_id: Reference | None = None
    units: Annotated[tuple[InspectedUnits, ...], Field(min_length=1, max_length=500)]
    inspected_at: Instant


# ---- events (oms.returns.events.v1) ----


class ReturnAuthorised(Message):
    """These units may come back until the deadline."""

    order_id: OrderId
    request_id: RequestId
    return_id: Reference
    lines: tuple[LineQuantity, ...]
    return_to: LocationId | None = None
    expires_at: Instant
    repeated: bool = False


class LeftLine(Data):
    line_id: LineId
    asked: Count
    left: Count
    """Units that may still come back."""


class ReturnDeclined(Message):
    """Not authorised. `lines` say how many units may still come back."""

    order_id: OrderId
    request_id: RequestId | None = None
    reason: Literal[
        "exceeds_returnable",
        "unknown_order",
        "unknown_line",
        "window_over",
        "unknown_return",
        "already_received",
        "too_many_returns",
        "request_id_reused",
        "unreadable",
    ]
    detail: Text = ""
    lines: tuple[LeftLine, ...] = ()
    repeated: bool = False


class ReturnCancelled(Message):
    order_id: OrderId
    request_id: RequestId
    return_id: Reference
    repeated: bool = False


class ReturnExpired(Message):
    """Nothing came by the deadline; the units may be requested again."""

    order_id: OrderId
    return_id: Reference
    lines: tuple[LineQuantity, ...]


class ReturnReceived(Message):
    """Units are back at a location."""

    order_id: OrderId
    return_id: Reference | None = None
    """None: nobody announced it."""
    receipt_id: Code
    location: LocationId
    announced_at_location: LocationId | None = None
    lines: tuple[LineQuantity, ...]
    unexpected: tuple[LineQuantity, ...] = ()
    """Units among them that no request covers."""
    missing: tuple[LineQuantity, ...] = ()
    """Units of the request that were not in it."""


class InspectedLine(Data):
    line_id: LineId
    sku: Sku
    disposition: Disposition
    quantity: Quantity


class ReturnInspected(Message):
    order_id: OrderId
    return_id: Reference | None = None
    receipt_id: Code
    location: LocationId
    lines: tuple[InspectedLine, ...]


class CreditDue(Message):
    """The buyer is owed the value of these units; order_capture works out the money."""

    order_id: OrderId
    credit_id: Reference
    return_id: Reference | None = None
    lines: tuple[LineQuantity, ...]


class ReturnExceptionOpened(Message):
    """A receipt that needs a person."""

    order_id: OrderId
    """`unknown:<receipt>` where no order was found."""
    exception_id: Reference
    kind: Literal["unexpected_goods", "unknown_goods", "more_than_handed_over", "late_fact", "contradiction"]
    location: LocationId | None = None
    detail: Text
    action: Text


# ---- effects on stock (oms.returns.stock.v1) ----


class StockRestocked(Message):
    """Returned units enter a level of the receiving location."""

    location: LocationId
    sku: Sku
    quantity: Quantity
    status: Literal["sellable", "quality_hold", "damaged"]
    reference: Reference
    """Return unit: `<receipt>:<line or sku>:<disposition>:<running total>`."""
    occurred_at: Instant


class StockWrittenOff(Message):
    """Returned units that never enter a level (destroyed, donated, back to the supplier): a fact for the books."""

    location: LocationId
    sku: Sku
    quantity: Quantity
    disposition: Disposition
    reference: Reference
    occurred_at: Instant
