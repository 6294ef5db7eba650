"""Returns desks: receive what buyers and the carrier bring back, inspect it unit by unit, put what is good on the shelf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from deploy.demo.desk import Desk
from deploy.demo.shelves import Shelves, Spot
from deploy.demo.wire import Reads
from schemas import topics
from schemas.fulfilment import FactLine, LinesHandedOver, ParcelCameBack
from schemas.returns import Disposition, GoodsInspected, GoodsReceived, InspectedUnits, ReceivedLine, ReturnAuthorised
from schemas.topics import Body

NEVER_COMES, ANOTHER_PLACE = 0.08, 0.15
DISPOSITIONS: Mapping[Disposition, int] = {"resell": 75, "refurbish": 8, "donate": 7, "destroy": 10}
"""What becomes of a line, and how often in a hundred."""


class ReturnsDesk:
    """One desk at every location. `another` is where goods turn up that were announced elsewhere."""

    reads: ClassVar[Reads] = {
        topics.RETURN_EVENTS: (ReturnAuthorised,),
        topics.FULFILMENT_EVENTS: (LinesHandedOver, ParcelCameBack),
    }

    def __init__(self, desk: Desk, shelves: Shelves, another: str) -> None:
        self._desk, self._shelves, self._another = desk, shelves, another
        self._skus: dict[tuple[str, str], str] = {}

    def hear(self, body: Body) -> None:
        match body:
            case LinesHandedOver():
                self._skus |= {(body.order_id, line.line_id): line.sku for line in body.lines}
            case ReturnAuthorised() if not body.repeated:
                if not self._desk.dice.chance(NEVER_COMES, body.return_id, "never"):
                    self._desk.later(1.0, 4.0, body.return_id, partial(self._receive_return, body))
            case ParcelCameBack():
                self._desk.later(0.5, 2.0, f"{body.fulfilment_order_id} back", partial(self._receive_parcel, body))
            case _:
                """Nothing else concerns it."""

    def _receive_return(self, announced: ReturnAuthorised) -> None:
        elsewhere = announced.return_to is None or self._desk.dice.chance(ANOTHER_PLACE, announced.return_id, "where")
        location = self._another if elsewhere or announced.return_to is None else announced.return_to
        lines = tuple(
            ReceivedLine(line_id=line.line_id, sku=sku, total=line.quantity)
            for line in announced.lines
            if (sku := self._skus.get((announced.order_id, line.line_id)))
        )
        if not lines:
            self._desk.later(0.3, 0.6, announced.return_id, partial(self._receive_return, announced))
            return
        receipt_id = announced.return_id.replace(":", ".").replace("/", ".").replace("+", ".")
        self._receive(
            GoodsReceived(
                location=location,
                receipt_id=receipt_id,
                return_id=announced.return_id,
                order_id=announced.order_id,
                lines=lines,
                received_at=self._desk.now(),
            )
        )

    def _receive_parcel(self, back: ParcelCameBack) -> None:
        self._receive(
            GoodsReceived(
                location=back.location,
                receipt_id=f"back-{back.parcel_id}",
                order_id=back.order_id,
                tracking_number=back.parcel_id,
                lines=tuple(ReceivedLine(line_id=line.line_id, sku=line.sku, total=line.quantity) for line in _merged(back.lines)),
                received_at=self._desk.now(),
            )
        )

    def _receive(self, received: GoodsReceived) -> None:
        receipt = f"{received.location}:{received.receipt_id}"
        self._desk.send(topics.RETURN_RECEIPTS, received, f"{receipt}:received")
        self._desk.later(0.5, 1.5, receipt, partial(self._inspect, received))

    def _inspect(self, received: GoodsReceived) -> None:
        units = tuple(self._judged(received, line) for line in received.lines)
        for unit in units:
            if unit.disposition == "resell":
                self._shelves.put(Spot(received.location, unit.sku), unit.total)
        inspected = GoodsInspected(
            location=received.location,
            receipt_id=received.receipt_id,
            order_id=received.order_id,
            return_id=received.return_id,
            units=units,
            inspected_at=self._desk.now(),
        )
        self._desk.send(topics.RETURN_RECEIPTS, inspected, f"{received.location}:{received.receipt_id}:inspected")

    def _judged(self, received: GoodsReceived, line: ReceivedLine) -> InspectedUnits:
        draw = self._desk.dice.of(received.receipt_id, line.line_id, "good")
        disposition = draw.choices(tuple(DISPOSITIONS), tuple(DISPOSITIONS.values()))[0]
        return InspectedUnits(line_id=line.line_id, sku=line.sku, disposition=disposition, total=line.total)


def _merged(lines: Sequence[FactLine]) -> Sequence[FactLine]:
    """One entry for each line."""
    found: dict[str, FactLine] = {}
    for line in lines:
        earlier = found.get(line.line_id)
        found[line.line_id] = line.model_copy(update={"quantity": line.quantity + (earlier.quantity if earlier else 0)})
    return tuple(found.values())
