"""The demo's baskets: the same day and seed give the same orders, the data's oddities stay in."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from deploy.demo.baskets import Baskets, NoSuchDay, TooFewBaskets, load

DAY = date(2017, 6, 15)


@pytest.fixture(scope="module")
def baskets(tmp_path_factory: pytest.TempPathFactory) -> Baskets:
    return load(tmp_path_factory.mktemp("cache"))


def test_the_kept_file_is_small_and_made_once(tmp_path: Path) -> None:
    made = load(tmp_path).path
    first = made.stat()
    assert first.st_size < 15_000_000
    assert load(tmp_path).path.stat().st_mtime_ns == first.st_mtime_ns
    assert [made] == list(tmp_path.iterdir())


def test_the_same_day_and_seed_give_the_same_orders(baskets: Baskets) -> None:
    assert baskets.orders(DAY, 30, seed=1) == baskets.orders(DAY, 30, seed=1)
    assert baskets.orders(DAY, 30, seed=1) != baskets.orders(DAY, 30, seed=2)


def test_a_run_goes_on_to_the_next_day_in_order_of_time(baskets: Baskets) -> None:
    of_day = len(baskets.of_day(DAY))
    drawn = baskets.orders(DAY, of_day + 10, seed=1)
    assert len({basket.basket for basket in drawn}) == of_day + 10
    assert [basket.bought_at for basket in drawn] == sorted(basket.bought_at for basket in drawn)
    assert {basket.bought_at.date() for basket in drawn} == {DAY, date(2017, 6, 16)}


def test_the_oddities_stay_in(baskets: Baskets) -> None:
    lines = [line for basket in baskets.orders(DAY, 600, seed=1) for line in basket.lines]
    assert any(line.quantity == 0 for line in lines)
    assert any(line.quantity > 1_000 for line in lines)
    assert all(line.paid >= 0 for line in lines)


def test_sales_are_of_the_weeks_before_only(baskets: Baskets) -> None:
    (basket, *_) = baskets.orders(DAY, 1, seed=1)
    products = {line.product for line in basket.lines}
    one, three = baskets.sold_anywhere(products, DAY, weeks=1), baskets.sold_anywhere(products, DAY, weeks=3)
    assert all(three.get(product, 0) >= units > 0 for product, units in one.items())
    assert not baskets.sold({basket.store}, products, date(2017, 1, 1), weeks=3)


@pytest.mark.parametrize(
    ("day", "n", "error"),
    [(date(2016, 12, 31), 1, NoSuchDay), (date(2018, 1, 1), 1, NoSuchDay), (date(2017, 12, 31), 5_000, TooFewBaskets)],
)
def test_days_outside_the_year_are_refused(baskets: Baskets, day: date, n: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        baskets.orders(day, n, seed=1)
