"""Replenishment: hears what nobody has, and sends some of it: announced first, received some seconds later."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import ClassVar

from deploy.demo.desk import Desk
from deploy.demo.shelves import Shelves, Spot
from deploy.demo.wire import Reads
from schemas import topics
from schemas.orders import OrderAccepted
from schemas.sourcing import LinesBackordered, PartLine
from schemas.stock import InboundAnnounced, InboundClosed, StockMoved
from schemas.topics import Body

DELIVERS = 0.6
"""Share of backordered lines it can help with."""
LEAST_S, MOST_S = 3.0, 9.0
SPARE = 2
"""Units sent beyond what is missing."""


class Supplier:
    """Sends to where the buyer collects, otherwise to the warehouse."""

    reads: ClassVar[Reads] = {
        topics.ORDER_EVENTS: (OrderAccepted,),
        topics.SOURCING_DECISIONS: (LinesBackordered,),
    }

    def __init__(self, desk: Desk, shelves: Shelves, warehouse: str) -> None:
        self._desk, self._shelves, self._warehouse = desk, shelves, warehouse
        self._collect_at: dict[str, str] = {}
        self._sent: set[str] = set()

    def hear(self, body: Body) -> None:
        match body:
            case OrderAccepted() if body.order.collect_at is not None:
                self._collect_at[body.order_id] = body.order.collect_at
            case LinesBackordered():
                for line in body.lines:
                    self._consider(body.order_id, line)
            case _:
                """Nothing else concerns it."""

    def _consider(self, order_id: str, line: PartLine) -> None:
        reference = f"inbound:{order_id}:{line.line_id}"
        if reference not in self._sent and self._desk.dice.chance(DELIVERS, reference):
            self._sent.add(reference)
            self._desk.later(0.2, 0.6, reference, partial(self._announce, order_id, line, reference))

    def _announce(self, order_id: str, line: PartLine, reference: str) -> None:
        spot = Spot(self._collect_at.get(order_id, self._warehouse), line.sku)
        units, now = line.quantity + SPARE, self._desk.now()
        announced = InboundAnnounced(
            location=spot.location,
            reference=reference,
            sku=spot.sku,
            expected=units,
            eta=now + timedelta(seconds=MOST_S),
            announced_at=now,
        )
        self._desk.send(topics.STOCK_REPORTS, announced, f"{reference}:announced")
        self._desk.later(LEAST_S, MOST_S, f"{reference} arrives", partial(self._receive, spot, units, reference))

    def _receive(self, spot: Spot, units: int, reference: str) -> None:
        self._shelves.put(spot, units)
        now = self._desk.now()
        receipt = StockMoved(
            location=spot.location,
            sku=spot.sku,
            kind="receipt",
            reference=f"{reference}:receipt",
            quantity=units,
            occurred_at=now,
            inbound_reference=reference,
        )
        closed = InboundClosed(location=spot.location, reference=reference, sku=spot.sku, closed_at=now)
        self._desk.send(topics.STOCK_REPORTS, receipt, f"{reference}:received")
        self._desk.send(topics.STOCK_REPORTS, closed, f"{reference}:closed")
