"""A steady trade: buyers, locations, carriers, a payment provider and a returns desk that answer by themselves.

    trade = Trade(place)
    async with trade.flowing():
        ...                      # whatever shall happen to the system meanwhile
    await trade.ended()          # every order has ended or waits for stock; nothing was lost, nothing done twice

Everybody acts once on each message: what a service says twice under two numbers shows in the totals.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas import returns as rt
from schemas.topics import Body
from tests.support.desk import Place, soon
from tests.support.steps import cancel_request, is_stuck, left_clean, paid, return_request, shipped

ENDED_WITHIN_S = 120.0
ENDS = ("completed", "partly_completed", "cancelled", "backordered")
"""Where an order stops: at its end, or waiting for a rare item."""
UNDER_WAY = 50
PRICE_MINOR = 1000
OPENING = {("paris", "a"): 10_000, ("lyon", "b"): 10_000, ("lyon", "rare"): 5}
"""Units by location and item: an order of a and b is always split, and few buyers get a rare one."""
ROUND_S = 0.05
ANSWERS: dict[type, type[pay.PaymentFact]] = {
    pay.CapturePayment: pay.PaymentCaptured,
    pay.VoidPayment: pay.PaymentVoided,
    pay.RefundPayment: pay.PaymentRefunded,
}


@dataclass
class Trade:
    """The people around one place's orders."""

    place: Place
    requests: list[ch.ChannelRequest] = field(default_factory=list)
    returns: list[rt.RequestReturn] = field(default_factory=list)
    open: bool = False
    """Whether new orders come in."""
    at_work: bool = False
    _read: Counter[type] = field(default_factory=Counter)

    @classmethod
    async def opened(cls, place: Place) -> Self:
        for (location, item), units in OPENING.items():
            await place.stock(location, **{item: units})
        return cls(place)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Orders come in all the time; everybody works until the last one has ended or waits, then goes home."""
        self.open = self.at_work = True
        tasks = [asyncio.create_task(self._buy()), asyncio.create_task(self._work())]
        try:
            yield
            self.open = False
            await self.place.desk.until(lambda: tasks[1].done() or self._is_done(), self._told, ENDED_WITHIN_S)
        finally:
            self.open = self.at_work = False
            await asyncio.gather(*tasks)

    # ---- who acts ----

    async def _buy(self) -> None:
        """An order a round, as long as not too many are under way: a service that is away for long finds no more than those."""
        while self.open:
            if self._placed() - self._ended() < UNDER_WAY:
                await self.place.desk.say_all(list(self._one_buyer()))
            await asyncio.sleep(ROUND_S)

    def _placed(self) -> int:
        return sum(isinstance(request, ch.PlaceOrder) for request in self.requests)

    def _ended(self) -> int:
        return sum(status.status in ENDS for status in self.place.desk.statuses(self.place.channel))

    def _one_buyer(self) -> Iterator[Body]:
        """Every tenth wants something rare, every seventh changes their mind at once, every third pays by card."""
        number = self._placed()
        lines = {"rare": 1} if number % 10 == 9 else {"a": 1 + number % 3, "b": 1} if number % 2 else {"a": 1}
        card = number % 3 == 0
        order = self.place.order(lines, price_minor=PRICE_MINOR, **({"payment_terms": "capture_on_shipment"} if card else {}))
        self.requests.append(order)
        yield order
        if card:
            yield paid(pay.PaymentAuthorised, order.order_id, order.order.totals.total_minor)
        if number % 7 == 3:
            self.requests.append(cancel_request(self.place, order.order_id))
            yield self.requests[-1]

    async def _work(self) -> None:
        """One round after the other, each on what was published since the last."""
        while self.at_work:
            await self.place.desk.say_all(list(self._answers()))
            await asyncio.sleep(ROUND_S)

    def _answers(self) -> Iterator[Body]:
        reactions: dict[type, Callable[[Any], Iterator[Body]]] = {
            ff.FulfilOrder: self._ship,
            ff.CancelFulfilment: self._too_late,
            ff.LinesHandedOver: self._send_back,
            rt.ReturnAuthorised: self._take_back,
            **dict.fromkeys(ANSWERS, self._pay),
        }
        for kind, react in reactions.items():
            for body in self._news(kind):
                yield from react(body)

    def _news(self, kind: type) -> Sequence[Any]:
        seen = self.place.desk.records(kind)
        fresh = [one.body for one in islice(seen, self._read[kind], None) if self._is_ours(one.body.order_id)]
        self._read[kind] = len(seen)
        return fresh

    def _is_ours(self, order_id: str) -> bool:
        return order_id.startswith(f"{self.place.channel}:")

    def _ship(self, instruction: ff.FulfilOrder) -> Iterator[Body]:
        """The location ships at once; the carrier is so quick that its report may be read first."""
        place, left = self.place, shipped(self.place, instruction)
        yield place.report(ff.WorkAccepted, instruction)
        yield place.report(ff.LinesPicked, instruction, lines=left.lines)
        yield place.report(ff.ParcelPacked, instruction, parcel_id=left.parcel_id, lines=left.lines)
        yield left
        for status in ("in_transit", "delivered"):
            yield ff.ParcelTracked(carrier=place.carrier, tracking_number=left.tracking_number, status=status, occurred_at=soon())

    def _too_late(self, asked: ff.CancelFulfilment) -> Iterator[Body]:
        yield ff.CancelAnswered(
            order_id=asked.order_id,
            fulfilment_order_id=asked.fulfilment_order_id,
            location=asked.location,
            request_id=asked.request_id,
            occurred_at=soon(),
        )

    def _send_back(self, fact: ff.LinesHandedOver) -> Iterator[Body]:
        """Whoever bought one single unit sends it back."""
        units = {line.line_id: line.quantity for line in fact.lines}
        if units == {"a": 1}:
            self.returns.append(return_request(fact.order_id, **units))
            yield self.returns[-1]

    def _take_back(self, authorised: rt.ReturnAuthorised) -> Iterator[Body]:
        """The whole return arrives and is fit to be sold again."""
        location, receipt = self.place.at("lyon"), authorised.return_id.replace(":", "-").replace("/", "-")
        units = [(line.line_id, self.place.sku(line.line_id), line.quantity) for line in authorised.lines]
        yield rt.GoodsReceived(
            location=location,
            receipt_id=receipt,
            return_id=authorised.return_id,
            lines=tuple(rt.ReceivedLine(line_id=line, sku=sku, total=total) for line, sku, total in units),
            received_at=soon(),
        )
        yield rt.GoodsInspected(
            location=location,
            receipt_id=receipt,
            units=tuple(rt.InspectedUnits(line_id=line, sku=sku, disposition="resell", total=total) for line, sku, total in units),
            inspected_at=soon(),
        )

    def _pay(self, asked: pay.PaymentRequest) -> Iterator[Body]:
        yield paid(ANSWERS[type(asked)], asked.order_id, asked.amount_minor, asked.request_id, asked.payment_id)

    # ---- how it ends ----

    def _all(self, kind: type[Any]) -> list[Any]:
        return self.place.desk.all(kind, lambda body: self._is_ours(body.order_id))

    def _is_done(self) -> bool:
        """Every order has ended or waits for a rare item, every request has its answer, every return its credit."""
        statuses = self.place.desk.statuses(self.place.channel)
        placed = {request.order_id for request in self.requests}
        answered = {answer.request_id for answer in self._all(ch.RequestAnswered)}
        credited = {credit.order_id for credit in self._all(rt.CreditDue)}
        return (
            {status.order_id for status in statuses} == placed
            and self._ended() == len(placed)
            and answered == {request.request_id for request in self.requests}
            and credited == {request.order_id for request in self.returns}
        )

    def _told(self) -> str:
        counts = Counter(status.status for status in self.place.desk.statuses(self.place.channel))
        told = f"{len(self.requests)} requests, {len(self._all(ch.RequestAnswered))} answers, {dict(counts)}"
        return f"all orders ended or waiting: {told}; {len(self.returns)} returns, {len(self._all(rt.CreditDue))} credits"

    async def adds_up(self) -> None:
        """Stock, money, answers and lanes: nothing was lost, nothing done twice."""
        await left_clean(self.place)
        assert [status for status in self.place.desk.statuses(self.place.channel) if is_stuck(status)] == []
        assert self._units_left() == self._units_expected()
        self._once(ch.RequestAnswered, "request_id", (request.request_id for request in self.requests))
        self._once(rt.ReturnAuthorised, "request_id", (request.request_id for request in self.returns))
        self._once(ff.FulfilOrder, "fulfilment_order_id", {one.fulfilment_order_id for one in self._all(ff.FulfilOrder)})
        assert self._money_taken() == self._money_owed()
        assert self.place.desk.lanes.faults == []

    def _once(self, kind: type, name: str, expected: Any) -> None:
        found = Counter(getattr(body, name) for body in self._all(kind))
        assert found == Counter(expected), found - Counter(expected)

    def _units_left(self) -> dict[str, int]:
        units: Counter[str] = Counter()
        for location in self.place.locations:
            for level in self.place.desk.levels(location):
                units[level.sku] += level.sellable
        return dict(units)

    def _units_expected(self) -> dict[str, int]:
        units = Counter({self.place.sku(item): count for (_, item), count in OPENING.items()})
        for status in self.place.desk.statuses(self.place.channel):
            for line in status.lines:
                assert line.ordered == line.handed_over + line.cancelled + line.backordered, status
                units[line.sku] += line.credited - line.shipped
        return dict(units)

    def _money_taken(self) -> dict[str, int]:
        """By order paid by card: captured less refunded, in minor units."""
        taken = {request.order_id: 0 for request in self.requests if _by_card(request)}
        for captured in self._all(pay.CapturePayment):
            taken[captured.order_id] += captured.amount_minor
        for refund in self._all(pay.RefundPayment):
            taken[refund.order_id] -= refund.amount_minor
        return taken

    def _money_owed(self) -> dict[str, int]:
        owed = {request.order_id: 0 for request in self.requests if _by_card(request)}
        for status in self.place.desk.statuses(self.place.channel):
            if status.order_id in owed:
                owed[status.order_id] = PRICE_MINOR * sum(line.handed_over - line.credited for line in status.lines)
        return owed


def _by_card(request: ch.ChannelRequest) -> bool:
    return isinstance(request, ch.PlaceOrder) and request.order.payment_terms == "capture_on_shipment"
