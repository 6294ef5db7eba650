"""Messages that returns reads, of one order unless said otherwise: short to write in a test."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.fulfilment import FactLine, LinesHandedOver, ParcelCameBack, ParcelWasShipped
from schemas.orders import LineQuantity, LinesCancelled, OrderAccepted, OrderLine, OrderSnapshot
from schemas.returns import (
    CancelReturn,
    Disposition,
    GoodsInspected,
    GoodsReceived,
    InspectedUnits,
    ReceivedLine,
    RequestReturn,
    ReturnLine,
)
from tests.support.spec import START

ORDER = "web-fr:100234"
SKUS = {"line-1": "mug", "line-2": "lamp", "line-3": "lamp"}
"""Two lines of the same item, as gifts have them."""


def accepted(order_id: str = ORDER, policy: str = "default", **ordered: int) -> OrderAccepted:
    """An order of so many units by line: `accepted(line_1=2)`."""
    quantities = {name.replace("_", "-"): quantity for name, quantity in ordered.items()}
    return OrderAccepted(order_id=order_id, order=snapshot(quantities, policy))


def snapshot(quantities: dict[str, int], policy: str = "default") -> OrderSnapshot:
    return OrderSnapshot(
        revision=1,
        channel="web-fr",
        kind="consumer",
        policy=policy,
        placed_at=START,
        currency="EUR",
        lines=tuple(
            OrderLine(line_id=line_id, sku=SKUS.get(line_id, line_id), quantity=quantity, net_minor=1000)
            for line_id, quantity in quantities.items()
        ),
        total_minor=1000,
        payment_terms="capture_on_shipment",
        method="home",
    )


def handed_over(line_id: str, quantity: int, order_id: str = ORDER, at: datetime = START) -> LinesHandedOver:
    return LinesHandedOver(
        order_id=order_id,
        fulfilment_order_id=f"{order_id}/1",
        location="paris-01",
        occurred_at=at,
        lines=(FactLine(line_id=line_id, sku=SKUS.get(line_id, line_id), quantity=quantity),),
        how="delivered",
    )


def cancelled(line_id: str, quantity: int) -> LinesCancelled:
    return LinesCancelled(order_id=ORDER, request_id=None, lines=(LineQuantity(line_id=line_id, quantity=quantity),))


def shipped(tracking_number: str, line_id: str, quantity: int, order_id: str = ORDER) -> ParcelWasShipped:
    return ParcelWasShipped(
        order_id=order_id,
        fulfilment_order_id=f"{order_id}/1",
        location="paris-01",
        occurred_at=START,
        parcel_id=f"box-{tracking_number}",
        carrier="post",
        tracking_number=tracking_number,
        lines=(FactLine(line_id=line_id, sku=SKUS[line_id], quantity=quantity),),
    )


def came_back(tracking_number: str, line_id: str, quantity: int) -> ParcelCameBack:
    return ParcelCameBack(
        order_id=ORDER,
        fulfilment_order_id=f"{ORDER}/1",
        location="paris-01",
        occurred_at=START,
        parcel_id=f"box-{tracking_number}",
        lines=(FactLine(line_id=line_id, sku=SKUS[line_id], quantity=quantity),),
    )


def request(
    request_id: str = "ask-1",
    *,
    order_id: str = ORDER,
    return_to: str | None = "paris-01",
    at: datetime = START,
    actor: str = "",
    **asked: int,
) -> RequestReturn:
    return RequestReturn(
        request_id=request_id,
        order_id=order_id,
        lines=tuple(ReturnLine(line_id=name.replace("_", "-"), quantity=quantity) for name, quantity in asked.items()),
        return_to=return_to,
        requested_at=at,
        actor=actor,
    )


def cancel(request_id: str, return_id: str, order_id: str = ORDER) -> CancelReturn:
    return CancelReturn(request_id=request_id, order_id=order_id, return_id=return_id)


def received(
    *totals: tuple[str | None, str, int],
    receipt: str = "R1",
    location: str = "paris-01",
    order_id: str | None = None,
    return_id: str | None = None,
    tracking_number: str | None = None,
) -> GoodsReceived:
    """Totals are (line or None, sku, units)."""
    return GoodsReceived(
        location=location,
        receipt_id=receipt,
        order_id=order_id,
        return_id=return_id,
        tracking_number=tracking_number,
        lines=tuple(ReceivedLine(line_id=line_id, sku=sku, total=total) for line_id, sku, total in totals),
        received_at=START,
    )


def inspected(
    *totals: tuple[str | None, str, Disposition, int],
    receipt: str = "R1",
    location: str = "paris-01",
    order_id: str | None = None,
    return_id: str | None = None,
) -> GoodsInspected:
    """Totals are (line or None, sku, disposition, units)."""
    return GoodsInspected(
        location=location,
        receipt_id=receipt,
        order_id=order_id,
        return_id=return_id,
        units=tuple(
            InspectedUnits(line_id=line_id, sku=sku, disposition=disposition, total=total) for line_id, sku, disposition, total in totals
        ),
        inspected_at=START + timedelta(hours=1),
    )


def units(**quantities: int) -> tuple[LineQuantity, ...]:
    """As messages carry them: `units(line_1=2)`."""
    return tuple(LineQuantity(line_id=name.replace("_", "-"), quantity=n) for name, n in quantities.items())
