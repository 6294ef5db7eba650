"""Product data (PIM): hears of items nobody knows, and describes some of them. Orders that waited for those go on by themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from deploy.demo.desk import Desk
from deploy.demo.wire import Reads
from schemas import topics
from schemas.orders import OrderHeld
from schemas.reference import Item
from schemas.topics import Body

NAMED = re.compile(r"sku:([A-Za-z0-9._-]{1,64}?)(?=[.]?(?:\s|$))")


class ProductData:
    """Describes every other item it is asked for, the first one asked for included; the rest it never finds out about."""

    reads: ClassVar[Reads] = {topics.ORDER_EVENTS: (OrderHeld,)}

    def __init__(self, desk: Desk, late_items: Sequence[Item]) -> None:
        self._desk = desk
        self._items = {item.sku: item for item in late_items}
        self._asked: list[str] = []
        self.described: set[str] = set()

    def hear(self, body: Body) -> None:
        if not isinstance(body, OrderHeld) or body.type != "item":
            return
        for problem in body.problems:
            for sku in NAMED.findall(problem.message):
                self._asked_for(sku)

    def _asked_for(self, sku: str) -> None:
        if sku in self._items and sku not in self._asked:
            self._asked.append(sku)
            if len(self._asked) % 2 == 1:
                self._desk.later(4.0, 8.0, sku, partial(self._describe, sku))

    def _describe(self, sku: str) -> None:
        self.described.add(sku)
        self._desk.send(topics.ITEMS, self._items[sku], self._desk.reference(f"item:{sku}"))
