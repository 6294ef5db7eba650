"""The demo's orders and world: seeded, valid by the contracts, and right to the cent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from deploy.demo.baskets import Baskets, load
from deploy.demo.dice import Dice
from deploy.demo.opening import counts
from deploy.demo.places import buyer_place, store_place
from deploy.demo.purchases import Purchase, content_of, kind_of
from deploy.demo.world import ON_ITS_SHELF, WAREHOUSES, World, world_of
from schemas.channel import Line, OrderContent, PlaceOrder
from schemas.stock import StockCounted
from schemas.types import is_order_id

DAY = date(2017, 6, 15)
LINES_A_COUNT = 400


@pytest.fixture(scope="module")
def baskets(tmp_path_factory: pytest.TempPathFactory) -> Baskets:
    return load(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def world(baskets: Baskets) -> World:
    return world_of(baskets, DAY, 400, Dice(7))


def contents(world: World) -> list[tuple[Purchase, OrderContent]]:
    found = ((purchase, content_of(purchase, world.products, mended=True)) for purchase in world.purchases)
    return [(purchase, content) for purchase, content in found if content is not None]


def net_minor(line: Line) -> int:
    return line.quantity * line.unit_price_minor - sum(discount.amount_minor for discount in line.discounts)


# ---- seeds ----


def test_the_same_seed_gives_the_same_world(baskets: Baskets, world: World) -> None:
    assert world_of(baskets, DAY, 400, Dice(7)) == world


def test_the_word_of_a_run_changes_references_and_nothing_else(baskets: Baskets, world: World) -> None:
    other = world_of(baskets, DAY, 400, Dice(7, run="abc"))
    assert [replace(purchase, ref=purchase.ref.removesuffix(".abc")) for purchase in other.purchases] == list(world.purchases)
    assert (other.counted, other.really, other.walk_ins) == (world.counted, world.really, world.walk_ins)
    assert Dice(7, run="abc").chance(0.5, "web:1.abc", "x") == Dice(7).chance(0.5, "web:1", "x")


def test_stores_stand_in_real_cities_whatever_the_seed() -> None:
    place = store_place(330)
    assert place == store_place(330)
    assert (place.country, ZoneInfo(place.zone).key) == ("US", place.zone)
    assert abs(buyer_place(900, 330).latitude - place.latitude) < 0.5


# ---- orders ----


def test_every_order_is_valid_by_its_contract(world: World) -> None:
    for purchase, content in contents(world):
        assert is_order_id(purchase.order_id)
        order = PlaceOrder(
            request_id=f"{purchase.ref}:place",
            channel=purchase.channel,
            channel_order_ref=purchase.ref,
            placed_at=datetime(2017, 6, 15, tzinfo=UTC),
            order=content,
        )
        assert PlaceOrder.model_validate_json(order.model_dump_json()) == order


def test_totals_add_up_to_the_cent(world: World) -> None:
    for _, content in contents(world):
        totals = content.totals
        assert totals.lines_minor == sum(line.quantity * line.unit_price_minor for line in content.lines)
        assert totals.total_minor == totals.lines_minor - totals.discounts_minor + totals.charges_minor
        assert totals.total_minor == sum(map(net_minor, content.lines)) + sum(charge.amount_minor for charge in content.charges)
        assert all(net_minor(line) >= 0 for line in content.lines)


def test_the_buyer_pays_what_the_till_took_less_the_coupons(world: World) -> None:
    """Unless coupons were worth more than the whole basket."""
    for purchase, content in contents(world):
        lines = [line for line in purchase.basket.lines if line.quantity > 0 or line.product not in world.products]
        taken = sum(line.paid - line.coupon for line in lines)
        assert sum(map(net_minor, content.lines)) == max(0, taken)


def test_quantities_of_zero_are_sent_as_they_are_and_left_out_once_mended(world: World) -> None:
    zero = next(purchase for purchase in world.purchases if any(line.quantity == 0 for line in purchase.basket.lines))
    raw, mended = content_of(zero, world.products, mended=False), content_of(zero, world.products, mended=True)
    assert raw is not None
    assert any(line.quantity == 0 for line in raw.lines)
    assert mended is None or all(line.quantity > 0 for line in mended.lines)
    with pytest.raises(ValueError, match="quantity"):
        OrderContent.model_validate_json(raw.model_dump_json())


def test_fuel_is_one_service_however_many_the_till_counted(world: World) -> None:
    measured = [line for _, content in contents(world) for line in content.lines if "till_quantity" in line.attributes]
    assert measured
    assert {(line.kind, line.quantity) for line in measured} == {("service", 1)}


# ---- stock ----


def test_items_of_all_goods_on_the_list_are_described(world: World) -> None:
    described = {item.sku for item in world.items}
    late = {item.sku for item in world.late_items}
    for _, content in contents(world):
        goods = {str(line.sku) for line in content.lines if line.kind == "goods"}
        assert goods <= described | late
    assert not described & late


def test_opening_stock_is_of_known_places_and_lies_there_or_less(world: World) -> None:
    locations = {location.location for location in world.locations}
    assert {spot.location for spot in world.counted} <= locations
    assert set(WAREHOUSES) <= locations
    assert all(0 <= world.really[spot] <= units for spot, units in world.counted.items())
    assert 0 < len(world.lost) < len(world.counted) / 50


def test_nearly_all_that_is_collected_was_on_its_shelf(world: World) -> None:
    goods = frozenset(product for product, known in world.products.items() if kind_of(known) == "goods")
    wanted = [
        (f"store-{purchase.basket.store}", str(line.product))
        for purchase in world.purchases
        if purchase.collects
        for line in purchase.basket.lines
        if line.quantity and line.product in goods
    ]
    there = sum((location, sku) in world.counted for location, sku in wanted)
    assert there / len(wanted) > ON_ITS_SHELF - 0.03


def test_counts_are_whole_valid_and_in_chunks(world: World) -> None:
    made = list(counts(world, datetime(2017, 6, 15, tzinfo=UTC), run=""))
    assert {(count.location, line.sku): line.quantity for count in made for line in count.lines} == world.counted
    assert max(len(count.lines) for count in made) <= LINES_A_COUNT
    assert len({count.count_id for count in made}) == len(made)
    assert all(StockCounted.model_validate_json(count.model_dump_json()) == count for count in made)


def test_on_a_system_that_has_run_before_every_location_begins_with_nothing_else(world: World) -> None:
    """Its first count is a full one, also where nothing is left to be counted."""
    emptied = replace(world, counted={spot: units for spot, units in world.counted.items() if spot.location in WAREHOUSES})
    made = list(counts(emptied, datetime(2017, 6, 15, tzinfo=UTC), run="abc"))
    assert {count.location for count in made if count.scope == "full"} == {location.location for location in world.locations}
    assert all(count.scope == ("full" if count.count_id.endswith(":0") else "listed") for count in made)
    assert {(count.location, line.sku): line.quantity for count in made for line in count.lines} == emptied.counted
