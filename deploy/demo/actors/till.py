"""Tills: people who walk in and buy from the shelf, whoever else may have been promised what lies there."""

from __future__ import annotations

from typing import ClassVar

from deploy.demo.baskets import Basket, Product
from deploy.demo.desk import Desk
from deploy.demo.purchases import kind_of, store_id
from deploy.demo.shelves import Shelves, Spot
from deploy.demo.wire import Reads
from schemas import topics
from schemas.stock import StockMoved
from schemas.topics import Body


class Till:
    """Reads nothing. `sold` counts units."""

    reads: ClassVar[Reads] = {}

    def __init__(self, desk: Desk, shelves: Shelves, products: dict[int, Product]) -> None:
        self._desk, self._shelves, self._products = desk, shelves, products
        self.sold = 0

    def hear(self, body: Body) -> None:
        """Nobody tells a till anything."""

    def sell(self, basket: Basket) -> None:
        """One basket, as far as the shelves have it; one receipt line for each item."""
        for line in basket.lines:
            if kind_of(self._products.get(line.product)) == "goods":
                self._sell(basket, str(line.product), line.quantity)

    def _sell(self, basket: Basket, sku: str, quantity: int) -> None:
        location = store_id(basket.store)
        reference = self._desk.reference(f"till:{basket.basket}:{sku}")
        sold = self._shelves.sell(Spot(location, sku), quantity, reference, self._desk.now())
        if sold == 0:
            return
        self.sold += sold
        sale = StockMoved(location=location, sku=sku, kind="sale", reference=reference, quantity=-sold, occurred_at=self._desk.now())
        self._desk.send(topics.STOCK_REPORTS, sale, reference)
