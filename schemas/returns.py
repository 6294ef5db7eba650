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
    """Units of one line that shall come back."""

    line_id: LineId
    """The order line."""
    quantity: Quantity
    """How much shall come back, in the item's base units."""
    reason: Code = "other"
    """Why, as a code of the channel."""


class RequestReturn(Request):
    """May these units come back? Answered once, by ReturnAuthorised or ReturnDeclined."""

    request_id: RequestId
    """The caller's idempotency key, unique for the order: a repeat gets the stored answer."""
    order_id: OrderId
    """The order."""
    lines: Annotated[tuple[ReturnLine, ...], Field(min_length=1, max_length=500)]
    """What shall come back, 1 to 500 lines."""
    return_to: LocationId | None = None
    """Where the buyer will hand it in; any location may receive it all the same."""
    requested_at: Instant
    """When the buyer asked, UTC."""
    actor: Text = ""
    """Who asks: a system or a role, never a person's name."""


class CancelReturn(Request):
    """The buyer keeps the goods after all."""

    request_id: RequestId
    """The caller's idempotency key, unique for the order."""
    order_id: OrderId
    """The order."""
    return_id: Reference
    """The return to cancel."""
    actor: Text = ""
    """Who asks: a system or a role, never a person's name."""


class ReceivedLine(Data):
    """Units received: a running total within the receipt."""

    line_id: LineId | None = None
    """The order line, where it is known."""
    sku: Sku
    """The item."""
    total: Quantity
    """Received in all with this receipt, in the item's base units."""


class GoodsReceived(Message):
    """Goods came back at a location, announced or not. Found by return, by order, or by tracking number."""

    location: LocationId
    """The location that received them."""
    receipt_id: Code
    """The location's own id of the receipt."""
    return_id: Reference | None = None
    """The return, where its papers name one."""
    order_id: OrderId | None = None
    """The order, where its papers name one."""
    tracking_number: Code | None = None
    """Tracking number of the parcel they came in, or left in."""
    lines: Annotated[tuple[ReceivedLine, ...], Field(min_length=1, max_length=500)]
    """What came, 1 to 500 lines."""
    received_at: Instant
    """When they were received, UTC."""


class InspectedUnits(Data):
    """What becomes of received units of one line or item."""

    line_id: LineId | None = None
    """The order line, where it is known."""
    sku: Sku
    """The item."""
    disposition: Disposition
    """What becomes of them."""
    total: Quantity
    """Running total for this line and disposition within the receipt, in base units."""


class GoodsInspected(Message):
    """What becomes of the received units, unit by unit."""

    location: LocationId
    """The location that inspected."""
    receipt_id: Code
    """The receipt the units came with."""
    order_id: OrderId | None = None
    """The order, where it is known."""
    return_id: Reference | None = None
    """The return, where it is known."""
    units: Annotated[tuple[InspectedUnits, ...], Field(min_length=1, max_length=500)]
    """What becomes of the units, 1 to 500 entries."""
    inspected_at: Instant
    """When they were inspected, UTC."""


# ---- events (oms.returns.events.v1) ----


class ReturnAuthorised(Message):
    """These units may come back until the deadline."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The request this answers."""
    return_id: Reference
    """Id of the return; receipts name it."""
    lines: tuple[LineQuantity, ...]
    """What may come back, by line."""
    return_to: LocationId | None = None
    """Where the buyer said it will be handed in."""
    expires_at: Instant
    """When the authorisation ends unless something came, UTC."""
    repeated: bool = False
    """True when this repeats the answer to an earlier sending of the same request."""


class LeftLine(Data):
    """What may still come back of one line."""

    line_id: LineId
    """The order line."""
    asked: Count
    """What the request asked for, in the item's base units."""
    left: Count
    """What may still come back, in base units."""


class ReturnDeclined(Message):
    """Not authorised. `lines` say how many units may still come back."""

    order_id: OrderId
    """The order."""
    request_id: RequestId | None = None
    """The request this answers; missing where it could not be read that far."""
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
    """Why, for machines."""
    detail: Text = ""
    """Why, for people."""
    lines: tuple[LeftLine, ...] = ()
    """What may still come back of the lines asked for."""
    repeated: bool = False
    """True when this repeats the answer to an earlier sending of the same request."""


class ReturnCancelled(Message):
    """The buyer keeps the goods; they may be requested again."""

    order_id: OrderId
    """The order."""
    request_id: RequestId
    """The request this answers."""
    return_id: Reference
    """The return that is cancelled."""
    repeated: bool = False
    """True when this repeats the answer to an earlier sending of the same request."""


class ReturnExpired(Message):
    """Nothing came by the deadline; the units may be requested again."""

    order_id: OrderId
    """The order."""
    return_id: Reference
    """The return that expired."""
    lines: tuple[LineQuantity, ...]
    """What had not come, by line."""


class ReturnReceived(Message):
    """Units are back at a location."""

    order_id: OrderId
    """The order."""
    return_id: Reference | None = None
    """None: nobody announced it."""
    receipt_id: Code
    """The location's own id of the receipt."""
    location: LocationId
    """The location that received them."""
    announced_at_location: LocationId | None = None
    """Where the buyer had said it would be handed in."""
    lines: tuple[LineQuantity, ...]
    """What was received now, by line; not a running total."""
    unexpected: tuple[LineQuantity, ...] = ()
    """Units among them that no request covers."""
    missing: tuple[LineQuantity, ...] = ()
    """Units of the request that were not in it."""


class InspectedLine(Data):
    """What becomes of units of one line."""

    line_id: LineId
    """The order line."""
    sku: Sku
    """The item."""
    disposition: Disposition
    """What becomes of them."""
    quantity: Quantity
    """Quantity in the item's base units; not a running total."""


class ReturnInspected(Message):
    """What became of returned units."""

    order_id: OrderId
    """The order."""
    return_id: Reference | None = None
    """The return; missing where nobody announced one."""
    receipt_id: Code
    """The receipt the units came with."""
    location: LocationId
    """The location that inspected."""
    lines: tuple[InspectedLine, ...]
    """What became of them, by line and disposition."""


class CreditDue(Message):
    """The buyer is owed the value of these units; order_capture works out the money."""

    order_id: OrderId
    """The order."""
    credit_id: Reference
    """Id of the credit, unique within the order; it is credited once."""
    return_id: Reference | None = None
    """The return it follows from; missing where nobody announced one."""
    lines: tuple[LineQuantity, ...]
    """What is to be credited, by line."""


class ReturnExceptionOpened(Message):
    """A receipt that needs a person."""

    order_id: OrderId
    """`unknown:<receipt>` where no order was found."""
    exception_id: Reference
    """Id of the exception, unique within the order."""
    kind: Literal["unexpected_goods", "unknown_goods", "more_than_handed_over", "late_fact", "contradiction"]
    """What is wrong, for machines."""
    location: LocationId | None = None
    """Where the goods are."""
    detail: Text
    """What is wrong, for people."""
    action: Text
    """What the person should do."""


# ---- effects on stock (oms.returns.stock.v1) ----


class StockRestocked(Message):
    """Returned units enter a level of the receiving location."""

    location: LocationId
    """The location whose level rises."""
    sku: Sku
    """The item."""
    quantity: Quantity
    """Quantity in the item's base units."""
    status: Literal["sellable", "quality_hold", "damaged"]
    """The status they enter."""
    reference: Reference
    """Return unit: `<receipt>:<line or sku>:<disposition>:<running total>`."""
    occurred_at: Instant
    """When they were inspected, UTC."""


class StockWrittenOff(Message):
    """Returned units that never enter a level (destroyed, donated, back to the supplier): a fact for the books."""

    location: LocationId
    """The location that received them."""
    sku: Sku
    """The item."""
    quantity: Quantity
    """Quantity in the item's base units."""
    disposition: Disposition
    """What becomes of them."""
    reference: Reference
    """Return unit: `<receipt>:<line or sku>:<disposition>:<running total>`."""
    occurred_at: Instant
    """When they were inspected, UTC."""
