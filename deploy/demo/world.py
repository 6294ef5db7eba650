"""The demo's world: locations in real cities, items, policies in a hurry, and opening stock derived from the weeks before.

What the data doesn't say is chosen with a seed, and the report says so: where stores are, two warehouses, weights where the package size
names none, costs. A store has what it sold in the weeks before, and for baskets collected there what the data shows was on its shelf; the
warehouses hold the long tail, one of them nearly all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta

from deploy.demo.baskets import LAST_DAY, Basket, Baskets, Product, Products
from deploy.demo.dice import Dice
from deploy.demo.places import Place, city, store_place
from deploy.demo.purchases import CURRENCY, MARKET, WEB, Purchase, kind_of, purchase_of, store_id
from deploy.demo.shelves import Spot
from schemas.reference import Carrier, Channel, Costs, Item, Location, Policy
from schemas.topics import Body

WEEKS_BEFORE = 2
"""Weeks of sales that a store's and a warehouse's opening stock is made of."""
CARRIER = "overland"
WAREHOUSES: Mapping[str, tuple[str, str, float]] = {
    "warehouse-columbus": ("Columbus", "OH", 0.97),
    "warehouse-reno": ("Reno", "NV", 0.65),
}
"""Id, city, state, and the share of all items it keeps."""
ON_ITS_SHELF = 0.97
"""Share of lines of a collected basket that its store has."""
SCARCE = 0.04
"""Share of items of which a warehouse has only one or two."""
GIVEN_AWAY_STOCK = 200
"""Units of an item that isn't on the list, at the first warehouse: the data never sold it, so it says nothing."""
LOST = 0.008
"""Share of stocked spots whose shelf holds less than is counted: pickers find too little there."""
WALK_INS_AN_ORDER = 0.12
"""Baskets of the days after that are bought at tills meanwhile, for each order."""

WAREHOUSE_COSTS = Costs(parcel_base_minor=450, per_kg_minor=25, per_100_km_minor=18, handling_minor=80, line_labour_minor=25)
STORE_COSTS = Costs(parcel_base_minor=560, per_kg_minor=25, per_100_km_minor=18, handling_minor=160, line_labour_minor=55)
GRAMS = {"OZ": 28.35, "LB": 453.6, "ML": 1.0, "L": 1000.0, "LT": 1000.0, "QT": 946.0, "GA": 3785.0, "GAL": 3785.0, "PT": 473.0}
SIZE = re.compile(r"^\s*(\d*\.?\d+)\s*(OZ|LB|ML|L|LT|QT|GA|GAL|PT)\b")
USUAL_GRAMS: Mapping[str, tuple[int, int]] = {
    "GROCERY": (200, 1200),
    "DRUG GM": (60, 600),
    "PRODUCE": (150, 1500),
    "MEAT": (400, 1500),
    "MEAT-PCKGD": (250, 900),
    "FLORAL": (300, 1200),
    "COSMETICS": (20, 150),
    "SPIRITS": (700, 1600),
}
"""Where the package size names no weight: least and most by department."""
OTHER_GRAMS = (100, 1000)


@dataclass(frozen=True, slots=True)
class World:
    """Everything a run begins with."""

    purchases: tuple[Purchase, ...]
    walk_ins: tuple[Basket, ...]
    products: dict[int, Product]
    locations: tuple[Location, ...]
    items: tuple[Item, ...]
    late_items: tuple[Item, ...]
    """Items that no product list names, as somebody will describe them once orders wait for them."""
    rules: tuple[Body, ...]
    """Policies, channels, carriers."""
    counted: dict[Spot, int]
    """What the opening count says."""
    really: dict[Spot, int]
    """What is on the shelves."""

    @property
    def lost(self) -> dict[Spot, int]:
        """Units counted that aren't there, where any are missing."""
        return {spot: units - self.really[spot] for spot, units in self.counted.items() if self.really[spot] < units}

    @property
    def stores(self) -> int:
        return sum(location.kind == "store" for location in self.locations)


def world_of(baskets: Baskets, day: date, n: int | None, dice: Dice) -> World:
    """The world of `n` baskets from a day on; of all that day's where `n` is None. Raises NoSuchDay, TooFewBaskets."""
    chosen = baskets.of_day(day) if n is None else baskets.orders(day, n, dice.seed)
    purchases = tuple(purchase_of(basket, dice) for basket in chosen)
    stores = frozenset(basket.store for basket in chosen)
    wanted = frozenset(line.product for basket in chosen for line in basket.lines)
    products = dict(Products(wanted).by_id)
    counted = _opening(baskets, purchases, products, day, dice)
    goods = [product for product in products.values() if kind_of(product) != "service"]
    return World(
        purchases=purchases,
        walk_ins=_walk_ins(baskets, chosen, stores, dice),
        products=products,
        locations=(*(_warehouse(name) for name in WAREHOUSES), *(_store(store) for store in sorted(stores))),
        items=tuple(_item(product, dice) for product in goods),
        late_items=tuple(_unlisted(product) for product in sorted(wanted - products.keys())),
        rules=tuple(_rules()),
        counted=counted,
        really=dict(_really(counted, dice)),
    )


# ---- places ----


def _warehouse(name: str) -> Location:
    town, region, _ = WAREHOUSES[name]
    return _location(name, city(town, region), f"Warehouse {town}", is_store=False)


def _store(store: int) -> Location:
    place = store_place(store)
    return _location(store_id(store), place, f"Store {store}, {place.city}", is_store=True)


def _location(name: str, place: Place, title: str, *, is_store: bool) -> Location:
    return Location(
        location=name,
        kind="store" if is_store else "warehouse",
        name=title,
        zone=place.zone,
        country=place.country,
        city=place.city,
        latitude=place.latitude,
        longitude=place.longitude,
        methods=("home", "click_and_collect") if is_store else ("home",),
        order_cut_off=time(16) if is_store else time(20),
        preparation_minutes=45 if is_store else 90,
        costs=STORE_COSTS if is_store else WAREHOUSE_COSTS,
    )


# ---- items ----


def _item(product: Product, dice: Dice) -> Item:
    return Item(
        sku=str(product.product),
        description=" ".join(word for word in (product.type, product.size) if word),
        kind=kind_of(product),
        weight_g=weight_g(product, dice),
    )


def _unlisted(product: int) -> Item:
    return Item(sku=str(product), description="Described late: it was not on the list", weight_g=100)


def weight_g(product: Product, dice: Dice) -> int:
    """Of one unit: what the package size says, else a seeded guess within what is usual in its department."""
    if kind_of(product) != "goods":
        return 0
    if found := SIZE.match(product.size):
        return max(1, min(50_000, round(float(found[1]) * GRAMS[found[2]])))
    least, most = USUAL_GRAMS.get(product.department, OTHER_GRAMS)
    return round(dice.between(least, most, "weight", product.product))


# ---- rules ----


def _rules() -> Iterator[Body]:
    """Days in seconds: a cancellation is answered within two, a buyer collects within five."""
    yield Carrier(carrier=CARRIER, name="Overland Parcel", km_a_day=800)
    for policy, backorder in (("everyday", True), ("marketplace", False)):
        yield Policy(
            policy=policy,
            currency=CURRENCY,
            carrier=CARRIER,
            max_parts=4,
            candidates_a_line=12,
            backorder=backorder,
            backorder_deadline_s=25,
            cancel_answer_s=2,
            accept_deadline_s=20,
            collect_deadline_s=8,
            presume_delivered_s=25,
            return_window_s=3600,
            return_deadline_s=15,
            block_s=30,
        )
    yield Channel(channel=WEB, name="Web shop", currency=CURRENCY, policy="everyday", hold_deadline_s=25)
    yield Channel(channel=MARKET, name="Marketplace", currency=CURRENCY, policy="marketplace", unknown_item="reject", unpaid="accept")


# ---- stock ----


def _opening(baskets: Baskets, purchases: Sequence[Purchase], products: Mapping[int, Product], day: date, dice: Dice) -> dict[Spot, int]:
    stores = {purchase.basket.store for purchase in purchases}
    goods = [product.product for product in products.values() if kind_of(product) == "goods"]
    sold = baskets.sold(stores, goods, day, WEEKS_BEFORE)
    opening = {Spot(store_id(store), str(product)): units for (store, product), units in sold.items()}
    for spot, units in _shelved(purchases, frozenset(goods), dice):
        opening[spot] = opening.get(spot, 0) + units
    tail = baskets.sold_anywhere(goods, day, WEEKS_BEFORE)
    for product in goods:
        for warehouse in WAREHOUSES:
            units = _kept(warehouse, product, tail.get(product, 0), dice)
            if units:
                opening[Spot(warehouse, str(product))] = units
    unlisted = {line.product for purchase in purchases for line in purchase.basket.lines} - products.keys()
    return opening | {Spot(next(iter(WAREHOUSES)), str(product)): GIVEN_AWAY_STOCK for product in sorted(unlisted)}


def _shelved(purchases: Iterable[Purchase], goods: frozenset[int], dice: Dice) -> Iterator[tuple[Spot, int]]:
    """What a collected basket proves was on its store's shelf, but for a seeded few lines."""
    for purchase in purchases:
        if purchase.collects:
            for line in purchase.basket.lines:
                seen = line.product in goods and dice.chance(ON_ITS_SHELF, "shelf", purchase.basket.basket, line.product)
                if seen and line.quantity:
                    yield Spot(store_id(purchase.basket.store), str(line.product)), line.quantity


def _kept(warehouse: str, product: int, sold: int, dice: Dice) -> int:
    """Units of an item a warehouse has: what all stores sold in the weeks before, at least three; a few items are scarce."""
    draw = dice.of("kept", warehouse, product)
    if draw.random() >= WAREHOUSES[warehouse][2]:
        return 0
    return draw.randint(1, 2) if draw.random() < SCARCE else max(3, sold)


def _really(counted: Mapping[Spot, int], dice: Dice) -> Iterator[tuple[Spot, int]]:
    for spot, units in counted.items():
        draw = dice.of("lost", spot.location, spot.sku)
        is_lost = draw.random() < LOST
        yield spot, draw.randrange(units) if is_lost else units


def _walk_ins(baskets: Baskets, chosen: Sequence[Basket], stores: frozenset[int], dice: Dice) -> tuple[Basket, ...]:
    """Real baskets of the last day and the days after, at the same stores: who buys at the till meanwhile."""
    wanted = round(len(chosen) * WALK_INS_AN_ORDER)
    taken = {basket.basket for basket in chosen}
    pool = [basket for basket in _following(baskets, chosen) if basket.store in stores and basket.basket not in taken]
    return tuple(dice.of("walk-ins").sample(pool, min(wanted, len(pool))))


def _following(baskets: Baskets, chosen: Sequence[Basket]) -> Sequence[Basket]:
    last = chosen[-1].bought_at.date()
    return baskets.of_day(last) + (baskets.of_day(last + timedelta(days=1)) if last < LAST_DAY else ())
