"""The cheapest way to serve wanted goods from locations: pure integer arithmetic in minor units.

A plan cuts the wanted goods into parts, one location each. A part costs

    parcel + handling + distance + lateness          once, as its location has them
    + labour x order lines                           picked there
    + per_kg x weight, rounded up                    of all its goods

Up to MOST_EXACT pieces the answer is exact: the cheapest site of every subset, then the cheapest partition into subsets. Beyond, the
sites to use are chosen, every piece going to its cheapest open site: among FEW_SITES every choice is compared, among more they are
searched, from several starts, opened, closed and swapped while that saves money. Equal costs are decided by fewer parts, then by the
locations' ids, so the same input always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, reduce
from itertools import chain, combinations
from typing import NamedTuple

from shared.value import Light

MOST_EXACT = 5
"""Pieces up to which the answer is exact."""
FEW_SITES = 4
"""Sites up to which every choice of them is compared."""
MOST_KEPT = 4
"""Plans kept: the best and three others."""
MOST_ROUNDS = 60
"""Improvements the search may make from one start."""
MOST_STARTS = 4
"""Single sites the search tries to start from."""
MOST_OPENED = 12
"""Sites the search opens at once, to close what is too much."""
MOST_NEAR = 1 + 3 * MOST_KEPT
"""Choices of sites that plans are made of: where the search ended, and its cheapest neighbours."""
UNSERVED = 10**15
"""What the search pays, in thousandths of a minor unit, for a piece left out: more than any plan costs."""


class Wanted(NamedTuple):
    """What one item of an order needs: all its lines together, in units."""

    sku: str
    weight_g: int
    """Of one unit."""
    lines: tuple[tuple[str, int], ...]
    """(line, units)."""

    @property
    def quantity(self) -> int:
        return self.lines[0][1] if len(self.lines) == 1 else sum(units for _, units in self.lines)


class Site(NamedTuple):
    """One location as the planner sees it; money in minor units."""

    location: str
    parcel: int
    handling: int
    distance: int
    lateness: int
    labour: int
    """For each order line."""
    per_kg: int
    stock: tuple[int, ...]
    """Units of each wanted item it may take; 0 where it may not serve it."""

    @property
    def fixed(self) -> int:
        return self.parcel + self.handling + self.distance + self.lateness


class Limits(NamedTuple):
    """What a plan may do."""

    max_parts: int
    divisible: bool = True
    """Whether an item no single site has may come from several."""
    single: bool = False
    """Whether everything must come from one site."""


class Piece(Light, frozen=True):
    """Goods that are not cut any further."""

    sku: str
    weight_g: int
    """Of the whole piece."""
    lines: tuple[tuple[str, int], ...]
    holders: tuple[int, ...]
    """Sites that can serve it, by index."""


class Cost(NamedTuple):
    """Terms of a plan's cost in minor units."""

    parcels: int = 0
    distance: int = 0
    weight: int = 0
    handling: int = 0
    labour: int = 0
    lateness: int = 0

    @property
    def total(self) -> int:
        return sum(self)


class PlanPart(NamedTuple):
    """What one location serves."""

    location: str
    lines: tuple[tuple[str, int], ...]


class Plan(NamedTuple):
    parts: tuple[PlanPart, ...]
    cost: Cost


Blocks = tuple[tuple[int, int], ...]
"""(site index, mask of pieces) of each part."""
Ranked = tuple[int, int, Blocks]
"""(cost, parts, blocks): compared in this order."""


def choose(wanted: Sequence[Wanted], sites: Iterable[Site], limits: Limits) -> tuple[Plan, ...]:
    """The cheapest plan and at most three others, cheapest first; empty where nothing can be served.

    A plan serves as much as the sites and limits allow: what it leaves out nobody can serve.
    """
    ordered = sorted(sites, key=lambda site: site.location)
    pieces = cut(wanted, ordered, limits)
    if not pieces:
        return ()
    loads = Loads(pieces)
    if limits.single:
        ranked = one_site(loads, ordered, complete=len(pieces) == len(wanted))
    elif len(pieces) <= MOST_EXACT:
        ranked = exact(pieces, ordered, limits.max_parts)
    else:
        ranked = searched(loads, ordered, limits.max_parts)
    return tuple([written(blocks, loads, ordered) for _, _, blocks in ranked])


# ---- pieces ----


def cut(wanted: Sequence[Wanted], sites: Sequence[Site], limits: Limits) -> list[Piece]:
    """One piece an item where some site has all of it; otherwise pieces at fixed sites, as the limits allow."""
    pieces: list[Piece] = []
    everyone = tuple(range(len(sites)))
    stocks = zip(*[site.stock for site in sites], strict=True) if sites else [()] * len(wanted)
    for index, (want, stock) in enumerate(zip(wanted, stocks, strict=True)):
        quantity = want.quantity
        all_have = bool(stock) and min(stock) >= quantity
        holders = everyone if all_have else tuple([number for number, there in enumerate(stock) if there >= quantity])
        if holders:
            pieces.append(Piece(want.sku, want.weight_g * quantity, want.lines, holders))
        elif not limits.single:
            pieces.extend(divided(want, index, sites, limits))
    return pieces


def divided(want: Wanted, index: int, sites: Sequence[Site], limits: Limits) -> Iterator[Piece]:
    """An item that no site has whole: unit by unit where it may be divided, else line by line."""
    left = {number: site.stock[index] for number, site in enumerate(sites) if site.stock[index] > 0}
    taken: dict[int, list[tuple[str, int]]] = {}
    for line, units in sorted(want.lines, key=lambda entry: -entry[1]):
        for number, served in shares(units, want.weight_g, left, sites, whole=not limits.divisible):
            left[number] -= served
            taken.setdefault(number, []).append((line, served))
            if len(taken) == limits.max_parts:
                for closed in left.keys() - taken.keys():
                    del left[closed]
    for number, lines in sorted(taken.items()):
        weight_g = want.weight_g * sum(units for _, units in lines)
        yield Piece(want.sku, weight_g, tuple(lines), (number,))


def shares(units: int, weight_g: int, left: dict[int, int], sites: Sequence[Site], *, whole: bool) -> Iterator[tuple[int, int]]:
    """(site, units) that serve one line, cheapest for each unit first."""
    while units > 0:
        able = [number for number, there in left.items() if there >= (units if whole else 1)]
        if not able:
            return
        number = min(able, key=lambda number: (price_of_a_unit(sites[number], min(units, left[number]), weight_g), number))
        served = min(units, left[number])
        units -= served
        yield number, served


def price_of_a_unit(site: Site, units: int, weight_g: int) -> int:
    """Thousandths of a minor unit, were the site used for these units alone."""
    return (1000 * (site.fixed + site.labour) + site.per_kg * weight_g * units) // units


class Loads:
    """What parts hold, by mask of the pieces; worked out once, for plans have many parts in common."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self._loads: dict[int, tuple[int, int]] = {}
        self._lines: dict[int, tuple[tuple[str, int], ...]] = {}
        self._ordered = sorted([(line, bit) for bit, piece in enumerate(pieces) for line in piece.lines])

    def of(self, mask: int) -> tuple[int, int]:
        """Grams and order lines."""
        load = self._loads.get(mask)
        if load is None:
            held = [piece for bit, piece in enumerate(self.pieces) if mask >> bit & 1]
            load = self._loads[mask] = sum([piece.weight_g for piece in held]), sum([len(piece.lines) for piece in held])
        return load

    def lines(self, mask: int) -> tuple[tuple[str, int], ...]:
        """(line, units), by line."""
        lines = self._lines.get(mask)
        if lines is None:
            lines = self._lines[mask] = tuple([line for line, bit in self._ordered if mask >> bit & 1])
        return lines


# ---- everything from one site ----


def one_site(loads: Loads, sites: Sequence[Site], *, complete: bool) -> list[Ranked]:
    """The cheapest sites that can serve every piece; none where a wanted item has no piece."""
    pieces = loads.pieces
    able = reduce(lambda both, piece: both & set(piece.holders), pieces, set(range(len(sites)))) if complete else set()
    everything = (1 << len(pieces)) - 1
    plans: list[Ranked] = [(price_of(sites[n], loads, everything), 1, ((n, everything),)) for n in able]
    return sorted(plans)[:MOST_KEPT]


# ---- exact ----


def exact(pieces: Sequence[Piece], sites: Sequence[Site], max_parts: int) -> list[Ranked]:
    """The best partitions of the pieces, by memoised subsets; of fewer pieces where `max_parts` forbids all of them.

    Two parts at one site never beat the merged one (rounding up is subadditive), so plans with a site twice are left out.
    """
    subsets = Subsets(cheapest_sites(pieces, sites), least_beyond_fixed(pieces, sites), least_fixed(sites), len(sites) <= 2, {})
    everything = len(subsets.cheapest) - 1
    best = partitions(everything, max_parts, subsets)
    if best:
        return best
    for size in range(len(pieces) - 1, 0, -1):
        fewer = [mask for mask in range(1, everything) if mask.bit_count() == size]
        best = sorted(plan for mask in fewer for plan in partitions(mask, max_parts, subsets))
        if best:
            return best[:MOST_KEPT]
    return []


class Subsets(NamedTuple):
    """What is known of the subsets of the pieces."""

    cheapest: list[list[tuple[int, int]]]
    """The cheapest (cost, site) that serve a subset alone."""
    least: list[int]
    """No plan for a subset costs less beyond the fixed costs of its sites."""
    least_fixed: int
    """The fixed costs of the two cheapest sites."""
    pair: bool
    """Whether there are two sites at most."""
    known: dict[tuple[int, int], list[Ranked]]
    """The best plans by subset and most parts."""

    def split_counts(self, mask: int) -> bool:
        """Whether two parts or more might cost no more than the dearest of the sites that serve it alone."""
        alone = self.cheapest[mask]
        return not alone or self.least_fixed + self.least[mask] <= alone[-1][0]


def least_fixed(sites: Sequence[Site]) -> int:
    return sum(sorted([site.fixed for site in sites])[:2])


def least_beyond_fixed(pieces: Sequence[Piece], sites: Sequence[Site]) -> list[int]:
    """For every subset, each piece where its labour and weight are cheapest; in minor units, rounded down."""
    exactly = [0]
    for piece in pieces:
        lines, weight_g = 1000 * len(piece.lines), piece.weight_g
        least = min([sites[number].labour * lines + sites[number].per_kg * weight_g for number in piece.holders])
        exactly += [before + least for before in exactly]
    return [least // 1000 for least in exactly]


def cheapest_sites(pieces: Sequence[Piece], sites: Sequence[Site]) -> list[list[tuple[int, int]]]:
    """For every subset of pieces the cheapest (cost, site) that serve it alone."""
    size = 1 << len(pieces)
    weight, labour, holds = [0] * size, [0] * size, [0] * len(sites)
    for bit, piece in enumerate(pieces):
        for mask in range(1 << bit, 2 << bit):
            weight[mask] = weight[mask ^ (1 << bit)] + piece.weight_g
            labour[mask] = labour[mask ^ (1 << bit)] + len(piece.lines)
        for number in piece.holders:
            holds[number] |= 1 << bit
    cheapest: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    for number, held in enumerate(holds):
        _, parcel, handling, distance, lateness, each, per_kg, _ = sites[number]
        fixed, mask = parcel + handling + distance + lateness, held
        while mask:
            cheapest[mask].append((fixed + each * labour[mask] - (-per_kg * weight[mask] // 1000), number))
            mask = (mask - 1) & held
    for row in cheapest:
        row.sort()
        del row[MOST_KEPT:]
    return cheapest


def partitions(mask: int, most: int, subsets: Subsets) -> list[Ranked]:
    """The best ways to serve exactly these pieces with at most `most` parts."""
    most = min(most, mask.bit_count())
    found = subsets.known.get((mask, most))
    if found is None:
        found = [(cost, 1, ((number, mask),)) for cost, number in subsets.cheapest[mask]] if most else []
        if most > 1 and (len(found) < MOST_KEPT or subsets.split_counts(mask)):
            split(mask, most, subsets, found)
        subsets.known[mask, most] = found
    return found


def split(mask: int, most: int, subsets: Subsets, found: list[Ranked]) -> None:
    """Adds to `found` what two or more parts make better; the first part always holds the lowest piece."""
    cheapest = subsets.cheapest
    rest = mask & (mask - 1)
    other = rest
    while other:
        block = mask ^ other
        if cheapest[block]:
            # Of two sites the block takes one: the rest split between both is of no use, unless it is cheap enough to count.
            parts_left = 1 if subsets.pair and not subsets.split_counts(other) else most - 1
            for more, parts, blocks in partitions(other, parts_left, subsets):
                taken = [number for number, _ in blocks]
                for cost, number in cheapest[block]:
                    total = cost + more
                    if len(found) == MOST_KEPT and total > found[-1][0]:
                        break
                    if number not in taken:
                        found.append((total, parts + 1, ((number, block), *blocks)))
                        found.sort()
                        del found[MOST_KEPT:]
        other = (other - 1) & rest


# ---- search ----


Opened = tuple[int, ...]
"""Open sites by index, ascending."""
Priced = tuple[int, Opened]
"""(cost, open sites)."""


class Prices(NamedTuple):
    """Prices in thousandths of a minor unit."""

    fixed: list[int]
    """By site."""
    each: list[list[int]]
    """By site and piece; UNSERVED where it can't."""
    held: list[int]
    """By site: the mask of the pieces it can serve."""


def searched(loads: Loads, sites: Sequence[Site], max_parts: int) -> list[Ranked]:
    """A good plan for many pieces, and its cheapest neighbours."""
    prices = prices_of(loads.pieces, sites)
    if len(sites) <= FEW_SITES:
        every = (combinations(range(len(sites)), size) for size in range(1, min(max_parts, len(sites)) + 1))
        return best_of(chain(*every), prices, loads, sites)
    alone = one_site(loads, sites, complete=True)
    if alone and 1000 * alone[0][0] <= least_of_two(prices):
        return alone
    around = cache(lambda opened: (*neighbours(opened, prices, max_parts),))
    _, best = min(improved(start, around) for start in starts(prices, max_parts))
    near = sorted({*around(best)})[:MOST_NEAR]
    return best_of((opened for _, opened in near), prices, loads, sites)


def best_of(choices: Iterable[Opened], prices: Prices, loads: Loads, sites: Sequence[Site]) -> list[Ranked]:
    """The cheapest plans among those that serve most."""
    plans = {ranked(opened, prices, loads, sites) for opened in choices}
    most = max(served(plan) for plan in plans)
    return sorted(plan for plan in plans if served(plan) == most)[:MOST_KEPT]


def least_of_two(prices: Prices) -> int:
    """No plan with two parts or more costs less: the two cheapest sites, and every piece where it is cheapest."""
    return sum(sorted(prices.fixed)[:2]) + sum(cheapest_each(tuple(range(len(prices.fixed))), prices))


def starts(prices: Prices, max_parts: int) -> Iterator[Opened]:
    """Where the search begins: at each of the most useful sites alone, and at many of them together."""
    by_use = sorted(range(len(prices.fixed)), key=lambda number: spent((number,), prices))
    yield from ((number,) for number in by_use[:MOST_STARTS])
    yield closed_greedily(tuple(sorted(by_use[:MOST_OPENED])), prices, max_parts)


def served(plan: Ranked) -> int:
    """How many pieces a plan serves."""
    return sum(mask.bit_count() for _, mask in plan[2])


def prices_of(pieces: Sequence[Piece], sites: Sequence[Site]) -> Prices:
    each = [[UNSERVED] * len(pieces) for _ in sites]
    rates = [(1000 * site.labour, site.per_kg) for site in sites]
    held = [0] * len(sites)
    for bit, piece in enumerate(pieces):
        lines, weight_g = len(piece.lines), piece.weight_g
        for number in piece.holders:
            labour, per_kg = rates[number]
            each[number][bit] = labour * lines + per_kg * weight_g
            held[number] |= 1 << bit
    return Prices([1000 * site.fixed for site in sites], each, held)


def closed_greedily(opened: Opened, prices: Prices, max_parts: int) -> Opened:
    """Closes one by one what is too much, each time the site that saves most."""
    while len(opened) > max_parts:
        opened = min(combinations(opened, len(opened) - 1), key=lambda rest: spent(rest, prices))
    return opened


def improved(start: Opened, around: Callable[[Opened], Sequence[Priced]]) -> Priced:
    """Goes on to the best neighbour until none is cheaper, or as cheap and first by its sites."""
    now = min(around(start))
    for _ in range(MOST_ROUNDS):
        before, now = now, min(around(now[1]))
        if now == before:
            break
    return now


def neighbours(opened: Opened, prices: Prices, max_parts: int) -> Iterator[Priced]:
    """The same, one site less, one more, or another instead of one."""
    for rest in combinations(opened, len(opened) - 1):
        now = cheapest_each(rest, prices)
        if rest:
            yield fixed_of(rest, prices) + sum(now), rest
        yield from more(rest, now, prices)
    if len(opened) < max_parts:
        yield from more(opened, cheapest_each(opened, prices), prices)


def more(opened: Opened, now: list[int], prices: Prices) -> Iterator[Priced]:
    """One site more; `now` is what each piece costs at the open ones."""
    fixed = fixed_of(opened, prices)
    for number, each in enumerate(prices.each):
        if number not in opened:
            yield fixed + prices.fixed[number] + sum(map(min, now, each)), tuple(sorted((*opened, number)))


def spent(opened: Opened, prices: Prices) -> int:
    """Every piece at its cheapest open site."""
    return fixed_of(opened, prices) + sum(cheapest_each(opened, prices))


def fixed_of(opened: Opened, prices: Prices) -> int:
    return sum(prices.fixed[number] for number in opened)


def cheapest_each(opened: Opened, prices: Prices) -> list[int]:
    if not opened:
        return [UNSERVED] * len(prices.each[0])
    rows = [prices.each[number] for number in opened]
    return list(map(min, *rows)) if len(rows) > 1 else rows[0]


def ranked(opened: Opened, prices: Prices, loads: Loads, sites: Sequence[Site]) -> Ranked:
    """The plan that an open set means; sites nobody uses fall away."""
    if len(opened) == 1 and (held := prices.held[opened[0]]):
        return price_of(sites[opened[0]], loads, held), 1, ((opened[0], held),)
    masks: dict[int, int] = {}
    for bit, offered in enumerate(zip(*[prices.each[number] for number in opened], strict=True)):
        price = min(offered)
        if price < UNSERVED:
            number = opened[offered.index(price)]
            masks[number] = masks.get(number, 0) | 1 << bit
    blocks = tuple(masks.items())
    return sum([price_of(sites[n], loads, mask) for n, mask in blocks]), len(blocks), blocks


# ---- the result ----


def price_of(site: Site, loads: Loads, mask: int) -> int:
    """What one part costs."""
    weight_g, lines = loads.of(mask)
    return site.fixed + site.labour * lines - (-site.per_kg * weight_g // 1000)


def cost_of(site: Site, loads: Loads, mask: int) -> Cost:
    """The same, term by term."""
    weight_g, lines = loads.of(mask)
    weight = -(-site.per_kg * weight_g // 1000)
    return Cost(site.parcel, site.distance, weight, site.handling, site.labour * lines, site.lateness)


def written(blocks: Blocks, loads: Loads, sites: Sequence[Site]) -> Plan:
    parts = tuple([PlanPart(sites[number].location, loads.lines(mask)) for number, mask in blocks])
    costs = [cost_of(sites[number], loads, mask) for number, mask in blocks]
    return Plan(parts, costs[0] if len(costs) == 1 else Cost(*map(sum, zip(*costs, strict=True))))
