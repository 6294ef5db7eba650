"""A shop: places orders, mends what is declined, cancels some, and asks whether some of it may come back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from deploy.demo.baskets import Product
from deploy.demo.desk import Desk
from deploy.demo.purchases import Purchase, content_of, kind_of, store_id
from deploy.demo.wire import Reads
from schemas import topics
from schemas.channel import CancelLine, CancelOrder, OrderContent, PlaceOrder, RequestAnswered
from schemas.fulfilment import LinesHandedOver
from schemas.returns import RequestReturn, ReturnLine
from schemas.topics import Body

QUANTITY_FIELD = re.compile(r"^order\.lines\.\d+\.quantity$")
CANCELS, RETURNS, ELSEWHERE = 0.05, 0.06, 0.2
"""Shares of orders cancelled and brought back; and of returns brought to another place than the order's store."""
PLACE_AGAIN = "place-2"


class Channel:
    """Web shop and marketplace in one. `placed` counts its orders, each once, however often it is sent."""

    reads: ClassVar[Reads] = {
        topics.CHANNEL_ANSWERS: (RequestAnswered,),
        topics.FULFILMENT_EVENTS: (LinesHandedOver,),
    }

    def __init__(self, desk: Desk, purchases: Sequence[Purchase], products: dict[int, Product]) -> None:
        self._desk, self._products = desk, products
        self._purchases = {purchase.order_id: purchase for purchase in purchases}
        self._answered: set[str] = set()
        self.placed: set[str] = set()
        self.mended: set[str] = set()
        self.given_up: set[str] = set()
        """Orders that hold nothing once mended."""

    def hear(self, body: Body) -> None:
        match body:
            case RequestAnswered() if body.order_id in self._purchases:
                self._answered_by_nervure(self._purchases[body.order_id], body)
            case LinesHandedOver() if body.order_id in self._purchases:
                self._delivered(self._purchases[body.order_id], body)

    def place(self, purchase: Purchase) -> None:
        """Send the order as the till has it, zero quantities and all."""
        content = content_of(purchase, self._products, mended=False)
        assert content is not None
        self._send(purchase, content, "place")
        self.placed.add(purchase.order_id)

    def _send(self, purchase: Purchase, content: OrderContent, request: str) -> None:
        order = PlaceOrder.model_construct(
            request_id=f"{purchase.ref}:{request}",
            channel=purchase.channel,
            channel_order_ref=purchase.ref,
            actor="demo shop",
            placed_at=self._desk.now(),
            order=content,
        )
        self._desk.send(topics.CHANNEL_ORDERS, order, f"{purchase.order_id}:{request}")

    # ---- answers ----

    def _answered_by_nervure(self, purchase: Purchase, answer: RequestAnswered) -> None:
        if answer.request != "PlaceOrder" or answer.repeated or answer.request_id in self._answered:
            return
        self._answered.add(answer.request_id or "")
        if answer.outcome == "declined" and any(QUANTITY_FIELD.match(problem.field) for problem in answer.problems):
            self._mend(purchase)
        elif answer.outcome in ("accepted", "held") and self._desk.dice.chance(CANCELS, purchase.order_id, "cancel"):
            self._desk.later(0.0, 2.5, f"{purchase.order_id} cancel", partial(self._cancel, purchase))

    def _mend(self, purchase: Purchase) -> None:
        """The answer named lines with quantity zero: place the order again without them."""
        content = content_of(purchase, self._products, mended=True)
        if content is None:
            self.given_up.add(purchase.order_id)
        elif purchase.order_id not in self.mended:
            self.mended.add(purchase.order_id)
            self._desk.later(0.2, 0.8, f"{purchase.order_id} mend", partial(self._send, purchase, content, PLACE_AGAIN))

    # ---- second thoughts ----

    def _cancel(self, purchase: Purchase) -> None:
        """The whole order, or one line of several."""
        draw = self._desk.dice.of(purchase.order_id, "what to cancel")
        content = content_of(purchase, self._products, mended=True)
        goods = [line for line in content.lines if line.kind == "goods"] if content else []
        lines: tuple[CancelLine, ...] = ()
        if len(goods) > 1 and draw.random() < 0.6:
            line = draw.choice(goods)
            lines = (CancelLine(line_id=line.channel_line_ref, quantity=draw.randint(1, line.quantity)),)
        request = CancelOrder(
            request_id=f"{purchase.ref}:cancel",
            channel=purchase.channel,
            channel_order_ref=purchase.ref,
            actor="demo shop",
            reason="the buyer thought again",
            lines=lines,
        )
        self._desk.send(topics.CHANNEL_ORDERS, request, f"{purchase.order_id}:cancel")

    def _delivered(self, purchase: Purchase, fact: LinesHandedOver) -> None:
        if fact.lines and self._desk.dice.chance(RETURNS, fact.fulfilment_order_id, "return"):
            self._desk.later(0.5, 2.0, f"{fact.fulfilment_order_id} return", partial(self._request_return, purchase, fact))

    def _request_return(self, purchase: Purchase, fact: LinesHandedOver) -> None:
        draw = self._desk.dice.of(fact.fulfilment_order_id, "what to return")
        goods = [line for line in fact.lines if line.sku.isdecimal() and kind_of(self._products.get(int(line.sku))) == "goods"]
        chosen = draw.sample(goods, min(len(goods), draw.randint(1, 2)))
        if not chosen:
            return
        request = RequestReturn(
            request_id=f"{fact.fulfilment_order_id}:return",
            order_id=purchase.order_id,
            lines=tuple(ReturnLine(line_id=line.line_id, quantity=draw.randint(1, line.quantity), reason="unwanted") for line in chosen),
            return_to=fact.location if draw.random() < ELSEWHERE else store_id(purchase.basket.store),
            requested_at=self._desk.now(),
            actor="demo shop",
        )
        self._desk.send(topics.RETURN_REQUESTS, request, f"{fact.fulfilment_order_id}:return")
