"""What became of every order, read from the topics alone: what the progress view shows and the report is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, assert_never

from deploy.demo.promises import Promises
from deploy.demo.wire import Heard, Reads
from schemas import topics
from schemas.channel import PlaceOrder, RequestAnswered
from schemas.fulfilment import FulfilOrder, LinesHandedOver, LinesWerePicked, ParcelWasShipped
from schemas.inventory import ReservationDeclined, ReservationReleased, ReservationShorted, StockChanged, StockReserved
from schemas.orders import OrderAccepted, OrderClosed, OrderHeld, OrderRejected
from schemas.returns import ReturnReceived
from schemas.sourcing import CostTerms, LinesBackordered, LinesUnfillable, OrderSourced
from schemas.status import Waiting
from schemas.types import Code, Data, OrderId, Version


class Standing(Data):
    """What is needed of an order's status document; reading the whole of it some twenty times an order would take longer than all else."""

    order_id: OrderId
    version: Version
    status: Code
    lines: tuple[object, ...] = ()
    waiting: tuple[Waiting, ...] = ()


Waited = Literal["nothing", "hold", "stock"]
"""What else than the machine an order waited for before its first instruction."""

READS: Reads = {
    topics.CHANNEL_ORDERS: (PlaceOrder,),
    topics.CHANNEL_ANSWERS: (RequestAnswered,),
    topics.ORDER_EVENTS: (OrderAccepted, OrderRejected, OrderHeld, OrderClosed),
    topics.RESERVATIONS: (StockReserved, ReservationDeclined, ReservationReleased, ReservationShorted),
    topics.INVENTORY_EVENTS: (StockChanged,),
    topics.SOURCING_DECISIONS: (OrderSourced, LinesBackordered, LinesUnfillable),
    topics.FULFILMENT_ORDERS: (FulfilOrder,),
    topics.FULFILMENT_EVENTS: (LinesWerePicked, ParcelWasShipped, LinesHandedOver),
    topics.RETURN_EVENTS: (ReturnReceived,),
    topics.ORDER_STATUS: (Standing,),
}


@dataclass(slots=True)
class Story:
    """One order as the topics tell it."""

    order_id: str
    placed_at: datetime | None = None
    """When the PlaceOrder that counts was appended: the newest, since a channel mends what was declined."""
    instructed_at: datetime | None = None
    """When its first instruction to a location was appended."""
    held_at: datetime | None = None
    """When it was first held, for a person or a payment."""
    backordered_at: datetime | None = None
    """When some of it was first left waiting for stock."""
    ended_at: datetime | None = None
    """When the status was appended since which it waits for nothing; None while it waits."""
    accepted: bool = False
    rejected: bool = False
    declined: bool = False
    """Its first PlaceOrder could not be read."""
    decisions: int = 0
    resourced: int = 0
    locations: set[str] = field(default_factory=set)
    split: bool = False
    unfillable: bool = False
    shipped: bool = False
    delivered: bool = False
    collected: bool = False
    units_back: int = 0
    outcome: str = ""
    cost: CostTerms = field(default_factory=CostTerms)
    """Of all its plans that were carried out, in minor units."""
    status: Standing | None = None

    @property
    def ended(self) -> bool:
        return self.status is not None and not self.status.waiting

    @property
    def waits_with_deadline(self) -> bool:
        """Whether everything it waits for has a reason and an end."""
        return self.status is not None and bool(self.status.waiting) and all(each.until for each in self.status.waiting)

    @property
    def held(self) -> bool:
        return self.held_at is not None

    @property
    def backordered(self) -> bool:
        return self.backordered_at is not None

    @property
    def under_way(self) -> bool:
        """Placed, and on its way to its first instruction: nobody but the machine is waited for."""
        return self.placed_at is not None and not (self.instructed_at or self.held or self.backordered or self.ended)

    @property
    def latency_ms(self) -> float | None:
        """From the channel's order to the first instruction; None where there was none."""
        if self.placed_at is None or self.instructed_at is None:
            return None
        return (self.instructed_at - self.placed_at).total_seconds() * 1000

    @property
    def waited_for(self) -> Waited:
        """A hold or a backorder that came after the first instruction had nothing to do with it."""
        reasons: tuple[tuple[Waited, datetime | None], ...] = (("stock", self.backordered_at), ("hold", self.held_at))
        for reason, since in reasons:
            if since is not None and (self.instructed_at is None or since <= self.instructed_at):
                return reason
        return "nothing"


@dataclass(slots=True)
class Units:
    """Units of goods, in all."""

    ordered: int = 0
    reserved: int = 0
    shipped: int = 0
    """Handed to a carrier, or to the buyer at a counter."""
    returned: int = 0


class Tally:
    """Folds what the topics carry. `orders` are those of this run; others on the same system are left alone."""

    def __init__(self, orders: Iterable[str]) -> None:
        self.stories = {order_id: Story(order_id) for order_id in orders}
        self.units = Units()
        self.declines = 0
        """Reservations that inventory declined."""
        self.shorted = 0
        """Units that a fact took from a reservation."""
        self.promises = Promises()
        self._first_sent_at: datetime | None = None

    @property
    def seconds(self) -> float:
        """From the first order's arrival in its topic to the end of the last that has ended; 0 where none has."""
        ends = [story.ended_at for story in self.stories.values() if story.ended_at]
        return (max(ends) - self._first_sent_at).total_seconds() if ends and self._first_sent_at else 0.0

    def latencies_ms(self, waited: Waited) -> list[float]:
        """Of the orders that were instructed and had waited for this before."""
        return [ms for story in self.stories.values() if story.waited_for == waited and (ms := story.latency_ms) is not None]

    def count(self, what: str) -> int:
        """How many orders have this (a field or property of Story)."""
        return sum(bool(getattr(story, what)) for story in self.stories.values())

    def hear(self, heard: Heard) -> None:
        body = heard.body
        match body:
            case Standing() | RequestAnswered() | PlaceOrder():
                self._of_the_channel(body, heard.at)
            case OrderAccepted() | OrderRejected() | OrderHeld() | OrderClosed():
                self._of_the_order(body, heard.at)
            case OrderSourced() | LinesBackordered() | LinesUnfillable():
                self._of_sourcing(body, heard.at)
            case StockReserved() | ReservationDeclined() | ReservationReleased() | ReservationShorted():
                self._of_stock(body)
            case StockChanged():
                self.promises.learn(body, heard.at)
            case FulfilOrder() | LinesWerePicked() | ParcelWasShipped() | LinesHandedOver() | ReturnReceived():
                self._of_goods(body, heard.at)
            case _:
                """Nothing else is counted."""

    def _of_the_channel(self, body: Standing | RequestAnswered | PlaceOrder, at: datetime) -> None:
        story = self.stories.get(body.order_id)
        if story is None:
            return
        match body:
            case PlaceOrder():
                story.placed_at = max(story.placed_at or at, at)
                self._first_sent_at = min(self._first_sent_at or at, at)
            case RequestAnswered() if body.request == "PlaceOrder" and body.outcome == "declined":
                story.declined = True
            case Standing() if story.status is None or body.version > story.status.version:
                story.status = body
                story.ended_at = (story.ended_at or at) if story.ended else None
            case _:
                """A repeat, or the answer to something else."""

    def _of_the_order(self, body: OrderAccepted | OrderRejected | OrderHeld | OrderClosed, at: datetime) -> None:
        story = self.stories.get(body.order_id)
        if story is None:
            return
        match body:
            case OrderAccepted():
                story.accepted = True
                self.units.ordered += sum(line.quantity for line in body.order.lines if line.kind == "goods")
            case OrderRejected():
                story.rejected = True
            case OrderHeld():
                story.held_at = min(story.held_at or at, at)
            case OrderClosed():
                story.outcome = body.outcome
            case _:
                assert_never(body)

    def _of_sourcing(self, body: OrderSourced | LinesBackordered | LinesUnfillable, at: datetime) -> None:
        story = self.stories.get(body.order_id)
        if story is None:
            return
        match body:
            case OrderSourced():
                story.decisions += 1
                story.resourced += body.cause == "resourced"
                story.split = story.split or body.split
                story.locations |= {part.location for part in body.parts}
                story.cost = total_cost(story.cost, *(each.chosen.cost for each in body.explanation))
            case LinesBackordered():
                story.backordered_at = min(story.backordered_at or at, at)
            case LinesUnfillable():
                story.unfillable = True
            case _:
                assert_never(body)

    def _of_stock(self, body: StockReserved | ReservationDeclined | ReservationReleased | ReservationShorted) -> None:
        if body.order_id not in self.stories:
            return
        match body:
            case StockReserved():
                self.units.reserved += sum(line.reserved for line in body.lines)
                self.promises.hear(body)
            case ReservationDeclined():
                self.declines += 1
            case ReservationShorted():
                self.shorted += sum(line.quantity for line in body.lines)
                self.promises.hear(body)
            case ReservationReleased():
                self.promises.hear(body)
            case _:
                assert_never(body)

    def _of_goods(self, body: FulfilOrder | LinesWerePicked | ParcelWasShipped | LinesHandedOver | ReturnReceived, at: datetime) -> None:
        story = self.stories.get(body.order_id)
        if story is None:
            return
        match body:
            case FulfilOrder():
                story.instructed_at = min(story.instructed_at or at, at)
            case LinesWerePicked():
                self.promises.hear(body)
            case ParcelWasShipped():
                story.shipped = True
                self.units.shipped += sum(line.quantity for line in body.lines)
                self.promises.hear(body)
            case LinesHandedOver():
                self._handed_over(story, body)
            case ReturnReceived():
                units = sum(line.quantity for line in body.lines)
                story.units_back += units
                self.units.returned += units
            case _:
                assert_never(body)

    def _handed_over(self, story: Story, body: LinesHandedOver) -> None:
        self.promises.hear(body)
        if body.how == "collected":
            story.collected = True
            self.units.shipped += sum(line.quantity for line in body.lines)
        else:
            story.delivered = True


def total_cost(*terms: CostTerms) -> CostTerms:
    return CostTerms.model_validate({name: sum(getattr(each, name) for each in terms) for name in CostTerms.model_fields})


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which this share of them lies; 0 where there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
