"""The planner's search in small: problems so small that every assignment can be tried, drawn by seeded dice.

Weights are whole kilograms, so nothing is rounded and the search has no excuse."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from services.sourcing.rules import FEW_SITES, MOST_EXACT, MOST_KEPT, Limits, Plan, Site, Wanted, choose, price_of_a_unit

Problem = tuple[list[Wanted], list[Site]]


def drawn(seed: int, items: int, sites: int) -> Problem:
    """Items of one or two lines, and sites that have some of them; every item is somewhere."""
    dice = random.Random(seed)
    wants = [
        Wanted(f"sku-{n}", 1_000 * dice.randint(1, 4), tuple((f"line-{n}-{m}", dice.randint(1, 3)) for m in range(dice.randint(1, 2))))
        for n in range(items)
    ]
    stock = [[dice.choice((0, 0, 9)) for _ in range(items)] for _ in range(sites)]
    for item in range(items):
        stock[dice.randrange(sites)][item] = 9
    places = [
        Site(
            location=f"place-{n}",
            parcel=dice.randint(200, 700),
            handling=dice.randint(0, 100),
            distance=dice.randint(0, 500),
            lateness=dice.choice((0, 0, 300)),
            labour=dice.randint(0, 90),
            per_kg=dice.randint(10, 120),
            stock=tuple(row),
        )
        for n, row in enumerate(stock)
    ]
    return wants, places


def every_plan(problem: Problem, max_parts: int) -> Iterator[tuple[int, int]]:
    """(cost, parts) of every way to send each item whole from one site; worked out without the planner's code."""
    wants, sites = problem
    able = [[n for n, site in enumerate(sites) if site.stock[i] >= want.quantity] for i, want in enumerate(wants)]
    for choice in itertools.product(*able):
        used = sorted(set(choice))
        if len(used) <= max_parts:
            yield sum(cost_of_a_parcel(problem, choice, n) for n in used), len(used)


def cost_of_a_parcel(problem: Problem, choice: Sequence[int], number: int) -> int:
    wants, sites = problem
    items = [want for want, chosen in zip(wants, choice, strict=True) if chosen == number]
    site, kilograms = sites[number], sum(want.weight_g * want.quantity for want in items) // 1_000
    once = site.parcel + site.handling + site.distance + site.lateness
    return once + site.labour * sum(len(want.lines) for want in items) + site.per_kg * kilograms


def told(plan: Plan) -> tuple[int, int]:
    return plan.cost.total, len(plan.parts)


def lines_of(problem: Problem) -> list[tuple[str, int]]:
    return sorted(line for want in problem[0] for line in want.lines)


def served(plan: Plan) -> list[tuple[str, int]]:
    return sorted(line for part in plan.parts for line in part.lines)


@pytest.mark.parametrize("seed", range(12))
def test_up_to_the_most_exact_pieces_the_four_cheapest_plans_are_found(seed: int) -> None:
    problem = drawn(seed, items=MOST_EXACT - seed % 3, sites=4)
    plans = choose(*problem, Limits(max_parts=3))
    every = sorted(every_plan(problem, 3))
    assert [plan.cost.total for plan in plans] == [cost for cost, _ in every[:MOST_KEPT]]
    assert told(plans[0]) == every[0]
    assert all(served(plan) == lines_of(problem) for plan in plans)


@pytest.mark.parametrize("seed", range(12))
def test_among_few_sites_the_cheapest_plan_of_many_pieces_is_found(seed: int) -> None:
    problem = drawn(100 + seed, items=MOST_EXACT + 1, sites=FEW_SITES - seed % 2)
    assert_cheapest(problem, Limits(max_parts=2 + seed % 3))


@pytest.mark.parametrize("seed", range(200, 228))
def test_among_more_sites_the_search_finds_the_cheapest_plan_of_these_problems(seed: int) -> None:
    """And of all that can be served whole among the two thousand from 200 on."""
    assert_cheapest(drawn(seed, items=MOST_EXACT + 1, sites=FEW_SITES + 2), Limits(max_parts=2 + seed % 4))


def assert_cheapest(problem: Problem, limits: Limits) -> None:
    """The first plan is the cheapest that serves everything, where some plan does; the others follow by their cost."""
    every = sorted(every_plan(problem, limits.max_parts))
    plans = choose(*problem, limits)
    if every:
        assert told(plans[0]) == every[0]
        assert all(served(plan) == lines_of(problem) for plan in plans)
    assert list(plans) == sorted(plans, key=lambda plan: plan.cost.total)
    assert 1 <= len(set(plans)) == len(plans) <= MOST_KEPT


def stocked(location: str, *stock: int, parcel: int = 500, labour: int = 50, per_kg: int = 100) -> Site:
    return Site(location, parcel, 0, 0, 0, labour, per_kg, stock)


def test_one_site_that_costs_less_than_any_two_is_the_plan_and_the_next_ones_follow() -> None:
    """Six items at six sites of rising price, each of which has everything: the four cheapest, one parcel each."""
    wants = [Wanted(f"sku-{n}", 1_000, ((f"line-{n}", 1),)) for n in range(6)]
    sites = [stocked(f"place-{n}", *[1] * 6, parcel=500 + 100 * n) for n in range(6)]
    assert [(told(plan), plan.parts[0].location) for plan in choose(wants, sites, Limits(5))] == [
        ((500 + 100 * n + 6 * 50 + 6 * 100, 1), f"place-{n}") for n in range(4)
    ]


def test_where_not_all_can_be_served_the_plans_serve_most_and_no_more_parts_than_allowed() -> None:
    """Seven items at seven sites, one each but the last, which has two; three parts serve four items."""
    wants = [Wanted(f"sku-{n}", 1_000, ((f"line-{n}", 1),)) for n in range(7)]
    sites = [stocked(f"place-{n}", *(int((n in (i, i - 1) and n == 5) or n == i) for i in range(7)), parcel=500 + n) for n in range(7)]
    plans = choose(wants, sites, Limits(3))
    assert [(len(plan.parts), len(served(plan))) for plan in plans] == [(3, 4)] * len(plans)
    assert {part.location for part in plans[0].parts} == {"place-0", "place-1", "place-5"}


def test_the_price_of_a_unit_shares_what_a_parcel_costs_once() -> None:
    """(500 + 50) shared by three, and 100 for each kilogram of each, in thousandths, rounded down."""
    assert price_of_a_unit(stocked("place", 3), 3, 2_500) == (1_000 * 550 + 100 * 2_500 * 3) // 3


def test_a_divided_item_is_taken_where_a_unit_is_cheapest() -> None:
    """Three units: one from a near site would cost more than two from a far one and the third from the next."""
    wants = [Wanted("tea", 1_000, (("line", 3),))]
    sites = [stocked("near", 1, parcel=400), stocked("far", 2, parcel=600), stocked("next", 1, parcel=450)]
    (plan, *_) = choose(wants, sites, Limits(5))
    assert {part.location: dict(part.lines) for part in plan.parts} == {"far": {"line": 2}, "near": {"line": 1}}
