"""From an order's wanted units and the network to a plan with its explanation: who may serve, who is worth a look, what it costs. Pure.

The safe cut: of two locations with the same tariff the nearer is never worse if it can serve all that the other can, so whom several
nearer ones outdo isn't looked at. Where the order has a deadline, nearer means cheaper by distance and lateness together: a punctual
location is never given up for nearer ones that are late. Of the others, each item keeps at most `policy.candidates_a_line`, those first
whose cost, spread over all they can serve, is least; where that cap bites, the explanation says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.forms import Explanation
from schemas.reference import Carrier, Location, Policy
from services.sourcing.projection import Network, Reach, Stop, Vector, distance_km, vector
from services.sourcing.promise import COLLECTED, days_on_the_road
from services.sourcing.reasons import Looked, Reasons, Seen, cost_document
from services.sourcing.rules import MOST_KEPT, Limits, Plan, Site, Wanted, choose
from services.sourcing.state import Order, Terms, Units
from shared.value import Value, field, replace

LATE_MINOR_A_DAY = 1_000
"""What a day after the order's deadline costs a plan, in minor units."""
NOWHERE: frozenset[str] = frozenset()
UNHEARD = (0, 0)
"""Version and units of a level that nobody spoke of."""
RIVALS = 8
"""Locations that another is compared with before it is looked at."""
LEVELS_A_LINE = 20
"""Levels an explanation records for each item, on average: it stays near 1 kB a line."""


class Ask(Value, frozen=True):
    """Units to plan, and what limits them."""

    order: Order
    terms: Terms
    units: Mapping[str, int]
    """By line."""
    now: datetime
    ahead: Mapping[str, Mapping[str | None, int]] = field(default_factory=dict)
    """sku to units that demand of better rank waits for, by the only location that can serve it."""
    most: Mapping[str, int] = field(default_factory=dict)
    """sku to the most units it may have."""


class Share(NamedTuple):
    """What one location is to be asked."""

    location: str
    km: int
    lines: tuple[Units, ...]


class Draft(Value, frozen=True):
    """A plan nobody has been asked yet."""

    shares: tuple[Share, ...]
    reasons: Reasons | None
    left: dict[str, int]
    """Units by line that nobody can serve now."""
    reason: str
    """Why something is left; empty where nothing is."""


class Offer(NamedTuple):
    """One location worth a look; `mask` has a bit for each wanted item it can serve."""

    location: str
    stop: Stop
    km: int | None
    mask: int
    late: int = 0
    """What its lateness costs, in minor units."""


Entry = tuple[int, float, str, int]
"""(cost beyond others of its tariff, farness, location, mask): the nearer sorts first."""


class Shortlist(NamedTuple):
    offers: tuple[Offer, ...]
    eliminated: dict[str, int]
    capped: bool


def draft(ask: Ask, view: Network) -> Draft:
    """The cheapest plan for the units, as far as they can be served."""
    policy = view.policy(ask.terms.policy)
    reach = view.reach(policy, ask.terms.method, collecting_at(ask.terms))
    stock = {sku: stock_of(sku, ask, view) if sku in ask.ahead else view.free(sku) for sku in ask.order.skus(dict(ask.units))}
    wanted = wanted_of(ask, stock)
    found = shortlist(ask, wanted, stock, reach, view)
    plans = plans_from(found.offers, ask, wanted, stock, policy)
    if not plans:
        return Draft((), None, dict(ask.units), reason(reach, wanted, ask))
    kilometres = {offer.location: offer.km or 0 for offer in found.offers}
    shares = tuple([Share(p.location, kilometres[p.location], ask.order.units(dict(p.lines))) for p in plans[0].parts])
    left = left_of(ask, plans[0])
    why = reason(reach, wanted, ask) if left else ""
    return Draft(shares, reasons_of(ask, policy, wanted, found, stock, plans, view), left, why)


def plans_from(
    offers: Sequence[Offer], ask: Ask, wanted: Sequence[Wanted], stock: Mapping[str, Mapping[str, int]], policy: Policy
) -> tuple[Plan, ...]:
    """The cheapest plans at these locations."""
    there = [stock[want.sku] for want in wanted]
    sites = [site_of(offer, stock_at(offer, there), ask) for offer in offers]
    limits = Limits(policy.max_parts, ask.terms.divisible, ask.terms.completeness == "single_location")
    return choose(wanted, sites, limits)


def collecting_at(terms: Terms) -> str | None:
    """The only location that can serve the order; None where goods are sent."""
    return (terms.collect_at or "") if terms.method in COLLECTED else None


def reason(reach: Reach, wanted: Sequence[Wanted], ask: Ask) -> str:
    if not reach.stops:
        return "no_location"
    asked = sum(ask.units.values())
    return "no_stock" if sum(want.quantity for want in wanted) == asked else "waiting_in_line"


def left_of(ask: Ask, plan: Plan) -> dict[str, int]:
    left = dict(ask.units)
    for part in plan.parts:
        for line_id, units in part.lines:
            left[line_id] -= units
    return {line_id: units for line_id, units in left.items() if units > 0}


# ---- what is wanted, and what there is of it ----


def stock_of(sku: str, ask: Ask, view: Network) -> Mapping[str, int]:
    """Units by location, without those kept for waiting demand that only this location can serve."""
    kept = {name: units for name, units in ask.ahead.get(sku, {}).items() if name is not None}
    free = view.free(sku)
    if not kept:
        return free
    return {name: units - kept.get(name, 0) for name, units in free.items() if units > kept.get(name, 0)}


def wanted_of(ask: Ask, stock: Mapping[str, Mapping[str, int]]) -> list[Wanted]:
    """The units item by item, as far as nobody of better rank waits for them."""
    order = ask.order
    wanted: list[Wanted] = []
    by_sku: dict[str, list[tuple[str, int]]] = {sku: [] for sku in stock}
    for line_id, units in ask.units.items():
        by_sku[order.lines[line_id].sku].append((line_id, units))
    limited = bool(ask.most or ask.ahead)
    for sku, every in by_sku.items():
        most = most_of(sku, ask, stock[sku]) if limited else None
        lines = every if most is None else allotted(every, most, divisible=ask.terms.divisible)
        if lines:
            wanted.append(Wanted(sku, order.lines[lines[0][0]].weight_g, tuple(lines)))
    return wanted


def most_of(sku: str, ask: Ask, there: Mapping[str, int]) -> int | None:
    """How many units of an item may be planned: what was offered, and what those of better rank leave; None where nothing limits it."""
    most = ask.most.get(sku)
    ahead = ask.ahead.get(sku, {}).get(None, 0)
    if ahead:
        left = max(0, sum(there.values()) - ahead)
        most = left if most is None else min(most, left)
    return most


def allotted(lines: Sequence[tuple[str, int]], most: int, *, divisible: bool) -> list[tuple[str, int]]:
    """As many units as allowed, line by line; a line that can't be divided gets all or nothing."""
    given: list[tuple[str, int]] = []
    for line_id, units in lines:
        fits = units if units <= most else most if divisible else 0
        if fits:
            given.append((line_id, fits))
            most -= fits
    return given


def stock_at(offer: Offer, there: Sequence[Mapping[str, int]]) -> tuple[int, ...]:
    """Units of each wanted item that the location may take; `there` by item and location."""
    location, mask = offer.location, offer.mask
    return tuple([units[location] if mask >> bit & 1 else 0 for bit, units in enumerate(there)])


# ---- candidates ----


def shortlist(ask: Ask, wanted: Sequence[Wanted], stock: Mapping[str, Mapping[str, int]], reach: Reach, view: Network) -> Shortlist:
    """The locations worth a look, and the others counted by what ruled them out."""
    cap = view.policy(ask.terms.policy).candidates_a_line
    able = serving(ask, wanted, stock, reach, cap)
    nearest = nearest_of(able, reach, aim_of(ask.terms, view), Delays(ask, view))
    kept = within_cap(nearest, wanted, cap)
    counts = {
        "no_stock": len(reach.stops) - len(able.masks) - able.rejected,
        "rejected_before": able.rejected,
        "costlier": len(able.masks) - len(nearest),
        "beyond_cap": len(nearest) - len(kept),
    }
    eliminated = {**reach.eliminated, **{name: count for name, count in counts.items() if count}}
    return Shortlist(tuple(sorted(kept)), eliminated, able.capped or len(kept) < len(nearest))


class Serving(NamedTuple):
    """Who can serve what."""

    masks: dict[str, int]
    """Location to the items it can serve."""
    partly: int
    """Items that no location has whole: those that have some serve some."""
    rejected: int
    """Locations that could serve only what they rejected before."""
    capped: bool


def serving(ask: Ask, wanted: Sequence[Wanted], stock: Mapping[str, Mapping[str, int]], reach: Reach, cap: int) -> Serving:
    """Of an item no location has whole, the `cap` locations with the most units count."""
    masks: dict[str, int] = {}
    rejected: set[str] = set()
    partly, bitten, stops = 0, False, reach.stops
    refusing = {line.line_id: line.excluded for line in ask.order.lines.values() if line.excluded}
    for bit, want in enumerate(wanted):
        there, least, flag = stock[want.sku], want.quantity, 1 << bit
        excluded = {name for line_id, _ in want.lines for name in refusing.get(line_id, ())} if refusing else NOWHERE
        able: Collection[str] = there.keys()
        if least > 1 or excluded:
            able = [name for name, units in there.items() if units >= least and name not in excluded]
        if stops.keys().isdisjoint(able):
            some = sorted((-units, name) for name, units in there.items() if name in stops and name not in excluded)
            able = [name for _, name in some[:cap]]
            partly, bitten = partly | flag, bitten or len(some) > cap
        for name in able:
            masks[name] = masks.get(name, 0) | flag
        if excluded:
            rejected.update(name for name in excluded if name in stops and name in there)
    masks = {name: mask for name, mask in masks.items() if name in stops}
    return Serving(masks, partly, len(rejected - masks.keys()), bitten)


def nearest_of(able: Serving, reach: Reach, aim: Vector | None, delays: Delays) -> list[Offer]:
    """Without those that several nearer locations of the same tariff outdo: as many as the explanation shows plans.

    Who has only some of an item stays: another has other quantities.
    """
    ax, ay, az = aim or (0.0, 0.0, 0.0)
    by_tariff: dict[int, list[Entry]] = {}
    stops = reach.stops
    for name, mask in able.masks.items():
        _, x, y, z, tariff, _, _ = stops[name]
        closeness = ax * x + ay * y + az * z
        entry = (delays.added(stops[name], closeness, aim) if delays.matter else 0, -closeness, name, mask)
        if tariff in by_tariff:
            by_tariff[tariff].append(entry)
        else:
            by_tariff[tariff] = [entry]
    return [
        offer_of(name, stops[name], distance_km(-farness) if aim else None, mask, delays)
        for group in by_tariff.values()
        for _, farness, name, mask in not_outdone(sorted(group), able.partly)
    ]


def offer_of(name: str, stop: Stop, km: int | None, mask: int, delays: Delays) -> Offer:
    return Offer(name, stop, km, mask, delays.at(stop, km or 0) if delays.matter else 0)


def not_outdone(nearest_first: Sequence[Entry], partly: int) -> Iterator[Entry]:
    """Those for which fewer than MOST_KEPT before them can serve all that they can serve, among the RIVALS that can serve most."""
    rivals: list[tuple[int, int]] = []
    outdone: set[int] = set()
    for entry in nearest_first:
        mask = entry[3]
        if mask in outdone:
            continue
        if mask & partly:
            yield entry
        elif sum([rival & mask == mask for _, rival in rivals]) < MOST_KEPT:
            yield entry
            rivals.append((-mask.bit_count(), mask))
            rivals.sort()
            del rivals[RIVALS:]
        else:
            outdone.add(mask)


class Delays:
    """What being late costs at each location, in minor units, where the order has a deadline.

    Dates are worked out once for each timetable and number of days on the road.
    """

    def __init__(self, ask: Ask, view: Network) -> None:
        self.matter = ask.terms.deliver_by is not None
        self._ask, self._view = ask, view
        self._carrier = view.carrier(view.policy(ask.terms.policy))
        self._known: dict[tuple[int, int], int] = {}

    def at(self, stop: Stop, km: int) -> int:
        like = (stop.timetable, days_on_the_road(self._carrier, km))
        known = self._known.get(like)
        if known is None:
            known = self._known[like] = lateness(stop, km, self._ask, self._view, self._carrier)
        return known

    def added(self, stop: Stop, closeness: float, aim: Vector | None) -> int:
        """What the location costs beyond others of its tariff: distance and lateness."""
        km = distance_km(closeness) if aim else 0
        return distance_minor(stop, km) + self.at(stop, km)


def lateness(stop: Stop, km: int, ask: Ask, view: Network, carrier: Carrier) -> int:
    """For each day that the location would be late."""
    deadline, place = ask.terms.deliver_by, stop.document
    if deadline is None:
        return 0
    zone = view.zone_at(ask.terms.destination, place.zone)
    dates = view.schedule(place, ask.terms.method, carrier, km, ask.now, zone)
    return LATE_MINOR_A_DAY * max(0, (dates.promise.latest.date() - deadline.date()).days)


def distance_minor(stop: Stop, km: int) -> int:
    return -(-stop.costs[1] * km // 100)


def within_cap(offers: Sequence[Offer], wanted: Sequence[Wanted], cap: int) -> list[Offer]:
    """Each item keeps its `cap` best locations, with all that they can serve; fewer where too many levels would have to be recorded."""
    if len(offers) <= cap and sum([offer.mask.bit_count() for offer in offers]) <= LEVELS_A_LINE * len(wanted):
        return list(offers)
    weight_g = sum(want.weight_g * want.quantity for want in wanted) // max(1, len(wanted))
    ordered = sorted(offers, key=lambda offer: (spread_cost(offer, weight_g), offer.location))
    kept = capped(ordered, len(wanted), cap)
    while cap > 1 and sum(offer.mask.bit_count() for offer in kept) > LEVELS_A_LINE * len(wanted):
        cap //= 2
        kept = capped(ordered, len(wanted), cap)
    return kept


def capped(ordered: Sequence[Offer], items: int, cap: int) -> list[Offer]:
    room = [cap] * items
    wanting = (1 << items) - 1
    kept: list[Offer] = []
    for offer in ordered:
        if offer.mask & wanting:
            kept.append(offer)
            for bit in range(items):
                if offer.mask >> bit & 1:
                    room[bit] -= 1
                    if room[bit] == 0:
                        wanting &= ~(1 << bit)
    return kept


def spread_cost(offer: Offer, weight_g: int) -> int:
    """Thousandths of a minor unit for each item, were all it can serve taken from there; items of equal weight."""
    once, per_100_km, labour, per_kg = offer.stop.costs
    return 1000 * (once + offer.late + per_100_km * (offer.km or 0) // 100) // offer.mask.bit_count() + 1000 * labour + per_kg * weight_g


def aim_of(terms: Terms, view: Network) -> Vector | None:
    """Where the goods go; None where nobody knows, or the buyer comes."""
    if terms.method in COLLECTED:
        return None
    counter = view.get(Location, terms.collect_at) if terms.collect_at else None
    if counter is not None:
        return vector(counter.latitude, counter.longitude)
    to = terms.destination
    return vector(to.latitude, to.longitude) if to.latitude is not None and to.longitude is not None else None


def site_of(offer: Offer, stock: tuple[int, ...], ask: Ask) -> Site:
    """The location's costs for this order; who collects pays no transport."""
    costs = offer.stop.document.costs
    if ask.terms.method in COLLECTED:
        return Site(offer.location, 0, costs.handling_minor, 0, offer.late, costs.line_labour_minor, 0, stock)
    return Site(
        offer.location,
        costs.parcel_base_minor,
        costs.handling_minor,
        distance_minor(offer.stop, offer.km or 0),
        offer.late,
        costs.line_labour_minor,
        costs.per_kg_minor,
        stock,
    )


# ---- the explanation ----


def reasons_of(
    ask: Ask,
    policy: Policy,
    wanted: Sequence[Wanted],
    found: Shortlist,
    stock: Mapping[str, Mapping[str, int]],
    plans: tuple[Plan, ...],
    view: Network,
) -> Reasons:
    items = [(want.sku, stock[want.sku], view.heard(want.sku)) for want in wanted]
    return Reasons(
        policy=policy.policy,
        policy_version=policy.version,
        currency=policy.currency,
        attempt=1 + max(ask.order.lines[line_id].attempts for line_id in ask.units),
        candidates=tuple([Looked(offer.location, offer.km, levels_at(offer, items)) for offer in found.offers]),
        eliminated=dict(sorted(found.eliminated.items())),
        capped=found.capped,
        plans=plans,
    )


def levels_at(offer: Offer, items: Sequence[tuple[str, Mapping[str, int], Mapping[str, tuple[int, int]]]]) -> tuple[Seen, ...]:
    """The levels of a location that were counted on; of each item its sku, its stock and what was heard of its levels."""
    at, mask = offer.location, offer.mask
    return tuple([Seen(sku, units[at], heard.get(at, UNHEARD)[0]) for bit, (sku, units, heard) in enumerate(items) if mask >> bit & 1])


def computed_again(ask: Ask, recorded: Explanation, view: Network) -> Explanation:
    """The same decision from what its explanation recorded: the locations looked at with their distances and levels, and reference data."""
    skus = {level.sku for candidate in recorded.candidates for level in candidate.levels}
    stock = {
        sku: {c.location: level.atp for c in recorded.candidates for level in c.levels if level.sku == sku}
        for sku in ask.order.skus(dict(ask.units))
        if sku in skus
    }
    wanted = wanted_of(ask, stock)
    policy = view.policy(recorded.policy)
    reach = view.reach(policy, ask.terms.method, collecting_at(ask.terms))
    delays = Delays(ask, view)
    offers = tuple(
        offer_of(
            c.location,
            reach.stops[c.location],
            c.distance_km,
            sum(1 << bit for bit, want in enumerate(wanted) if any(level.sku == want.sku for level in c.levels)),
            delays,
        )
        for c in recorded.candidates
    )
    plans = plans_from(offers, ask, wanted, stock, policy)
    chosen, *alternatives = map(cost_document, plans)
    return replace(recorded, chosen=chosen, alternatives=tuple(alternatives))
