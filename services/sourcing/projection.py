"""The network as sourcing sees it: reference data, stock that is free of each item, and its own plans in flight taken off.

Stock comes from the availability topic and, sooner, from inventory's answers; of each level the highest version counts. Between a plan
and its answer the planned units are taken off, so that no two plans count on the same unit. Between giving a reservation up and
inventory's word on it they are added back: commands to one location keep their order, so the release precedes any later plan's command.
While such units are in flight only the answers speak of their level: a document may hold them already, and they would count twice; it
waits until the level has settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from math import acos, cos, radians, sin
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.forms import Availability, Destination, Form, Future
from schemas.reference import Carrier, Location, Method, Policy
from schemas.topics import AVAILABILITY, Body, Topic
from schemas.types import part_id_of
from services.sourcing.events import (
    PartDeclined,
    PartReleased,
    PartReserved,
    PartWithdrawn,
    PlanMade,
    WithdrawnPartReserved,
)
from services.sourcing.pieces import AnnouncedPiece, Levels, LevelsPiece, by_sku, decode
from services.sourcing.promise import COLLECTED, Schedule, Span, days_on_the_road, schedule, span_of
from services.sourcing.state import Order, Units
from shared.kernel.model import Event, Key
from shared.kernel.views import Documents, Written, in_parts, pack
from shared.value import Value, replace

EARTH_KM = 6371.0
Vector = tuple[float, float, float]
SKUS_A_PIECE = 50
"""Of a dump: some thousand levels."""
Flight = dict[tuple[str, str], int]
"""(sku, location) to units taken off, negative where added back."""
NOTHING: Mapping[str, tuple[int, int]] = MappingProxyType({})
NO_UNITS = (0, 0)


class Stop(NamedTuple):
    """A location that may serve, ready for the planner's loops."""

    document: Location
    x: float
    y: float
    z: float
    tariff: int
    """Locations with equal costs have equal tariffs."""
    costs: tuple[int, int, int, int]
    """In minor units: for a parcel, for 100 km, for a line, for a kilogram."""
    timetable: int
    """Locations that start, prepare and hand over at the same times have equal timetables."""


class Reach(Value, frozen=True):
    """Locations that may serve a policy by a method, and the others counted by what rules them out."""

    stops: dict[str, Stop]
    eliminated: dict[str, int]


def vector(latitude: float, longitude: float) -> Vector:
    """The point on the unit sphere."""
    north, east = radians(latitude), radians(longitude)
    return cos(north) * cos(east), cos(north) * sin(east), sin(north)


def distance_km(closeness: float) -> int:
    """Great-circle distance of two points, from the scalar product of their vectors, in whole km."""
    return round(EARTH_KM * acos(max(-1.0, min(1.0, closeness))))


class Network(Documents):
    """Read-only for decisions; changed by documents and by sourcing's own events."""

    def __init__(self) -> None:
        super().__init__()
        self._levels: Levels = {}
        self._free: dict[str, dict[str, int]] = {}
        """sku to location to units free; only where there are any."""
        self._future: dict[str, dict[str, tuple[Future, ...]]] = {}
        self._flights: dict[str, Flight] = {}
        """Part to what it takes off."""
        self._off: dict[tuple[str, str], tuple[int, int]] = {}
        """(sku, location) to the sum of its flights, and how many they are."""
        self._unheard: dict[tuple[str, str], tuple[int, int]] = {}
        """(sku, location) to the newest (version, available to promise) of a document that waits for its flights to end."""
        self._undo: list[tuple[str, Flight]] = []
        self._tariffs: dict[tuple[int, ...], int] = {}
        self._timetables: dict[tuple[object, ...], int] = {}
        self._reaches: dict[tuple[str, Method], Reach] = {}
        self._zones: dict[str, list[tuple[Vector, str]]] | None = None
        self._spans: dict[tuple[str, Method, str, int, str], Span] = {}
        """(location, method, carrier, days on the road, the buyer's zone) to dates and when they hold."""

    # ---- what decisions read ----

    def free(self, sku: str) -> Mapping[str, int]:
        """Units free by location; locations without any are missing."""
        return self._free.get(sku, {})

    def heard(self, sku: str) -> Mapping[str, tuple[int, int]]:
        """(version, available to promise) of its levels by location, as inventory last said."""
        return self._levels.get(sku, NOTHING)

    def announced(self, sku: str, stops: Mapping[str, Stop], by: datetime) -> int:
        """Units announced to these locations until then."""
        coming = self._future.get(sku, {})
        return sum(f.quantity for name, future in coming.items() if name in stops for f in future if f.eta <= by)

    def policy(self, name: str) -> Policy:
        return self.get(Policy, name) or Policy(policy=name)

    def carrier(self, policy: Policy) -> Carrier:
        return self.get(Carrier, policy.carrier) or Carrier(carrier=policy.carrier)

    def zone_at(self, to: Destination, otherwise: str) -> str:
        """The time zone where the goods go: that of the nearest location in the country, where it has several."""
        if self._zones is None:
            self._zones = {}
            for place in sorted(self.all(Location), key=lambda p: p.location):
                self._zones.setdefault(place.country, []).append((vector(place.latitude, place.longitude), place.zone))
            self._zones = {name: many if len({zone for _, zone in many}) > 1 else many[:1] for name, many in self._zones.items()}
        places = self._zones.get(to.country or "", [])
        if not places:
            return otherwise
        if to.latitude is None or to.longitude is None or len(places) == 1:
            return places[-1][1]
        x, y, z = vector(to.latitude, to.longitude)
        return max(places, key=lambda place: x * place[0][0] + y * place[0][1] + z * place[0][2])[1]

    def schedule(self, place: Location, method: Method, carrier: Carrier, km: int, release_at: datetime, buyers_zone: str) -> Schedule:
        """As `promise.schedule` has it of this view's documents: dates hold until the next cut-off, so they are worked out once for it."""
        if method in COLLECTED:
            return schedule(place, method, carrier, km, release_at, buyers_zone)
        at = (place.location, method, carrier.carrier, days_on_the_road(carrier, km), buyers_zone)
        span = self._spans.get(at)
        if span is None or not span.begins <= release_at <= span.ends:
            span = self._spans[at] = span_of(release_at, place.zone, lambda at: schedule(place, method, carrier, km, at, buyers_zone))
        return replace(span.dates, release_at=release_at)

    def reach(self, policy: Policy, method: Method, collect_at: str | None) -> Reach:
        """Whom an order may be asked of. Who collects at a location is served by that one only."""
        if collect_at is not None:
            return self._at_one(method, collect_at)
        found = self._reaches.get((policy.policy, method))
        if found is None:
            found = self._reaches[policy.policy, method] = self._reach(policy, method)
        return found

    def _reach(self, policy: Policy, method: Method) -> Reach:
        stops: dict[str, Stop] = {}
        eliminated: dict[str, int] = {}
        allowed = frozenset(policy.locations)
        for place in self.all(Location):
            reason = _ruled_out(place, method, allowed)
            if reason is None:
                stops[place.location] = self._stop(place)
            else:
                eliminated[reason] = eliminated.get(reason, 0) + 1
        return Reach(stops, eliminated)

    def _at_one(self, method: Method, collect_at: str) -> Reach:
        place = self.get(Location, collect_at)
        others = len(self.all(Location)) - (place is not None)
        eliminated = {"not_collection_point": others} if others else {}
        reason = _ruled_out(place, method, frozenset()) if place is not None else None
        if place is None or reason is not None:
            return Reach({}, eliminated | ({reason: 1} if reason else {}))
        return Reach({collect_at: self._stop(place)}, eliminated)

    # ---- documents ----

    def apply(self, body: Body | Form) -> None:
        if isinstance(body, Availability):
            self._hear(body)
            self._announce(body)
        elif not isinstance(body, Form):
            super().apply(body)
            self._forget_derived()

    def forget(self, topic: Topic, key: str) -> None:
        if topic is AVAILABILITY:
            sku, _, location = key.partition(":")
            self._levels.get(sku, {}).pop(location, None)
            self._future.get(sku, {}).pop(location, None)
            self._unheard.pop((sku, location), None)
            self._count(sku, location)
            return
        super().forget(topic, key)
        self._forget_derived()

    def _forget_derived(self) -> None:
        self._reaches.clear()
        self._spans.clear()
        self._zones = None

    def _announce(self, body: Availability) -> None:
        if body.future:
            self._future.setdefault(body.sku, {})[body.location] = body.future
        else:
            self._future.get(body.sku, {}).pop(body.location, None)

    def _hear(self, body: Availability) -> None:
        at = (body.sku, body.location)
        if at in self._off and body.location in self._levels.get(body.sku, {}):
            self._unheard[at] = max(self._unheard.get(at, (-1, 0)), (body.version, body.atp))
        else:
            self._see(*at, body.version, body.atp)

    def _see(self, sku: str, location: str, version: int, atp: int) -> None:
        """The level with the highest version counts."""
        known = self._levels.get(sku)
        if known is None:
            known = self._levels[sku] = {}
        if version > known.get(location, (-1, 0))[0]:
            known[location] = (version, atp)
            self._count(sku, location)

    def _count(self, sku: str, location: str) -> None:
        units = self._levels.get(sku, NOTHING).get(location, NO_UNITS)[1]
        if off := self._off.get((sku, location)):
            units -= off[0]
        free = self._free.get(sku)
        if units > 0:
            if free is None:
                free = self._free[sku] = {}
            free[location] = units
        elif free is not None:
            free.pop(location, None)

    def dump(self) -> Iterator[bytes]:
        """Documents that wait for flights come first: when the piece of their level is made, they may count there."""
        yield from super().dump()
        for waiting in in_parts(self._unheard.items(), 1000):
            yield pack(LevelsPiece(by_sku(waiting)))
        for skus in in_parts(self._levels, SKUS_A_PIECE):
            yield pack(LevelsPiece({sku: self._levels[sku] for sku in skus}))
        for skus in in_parts(self._future, SKUS_A_PIECE):
            yield pack(AnnouncedPiece({sku: self._future[sku] for sku in skus}))

    def load(self, piece: bytes) -> None:
        match decode(piece):
            case LevelsPiece(levels):
                for sku, known in levels.items():
                    self._add(sku, known)
            case AnnouncedPiece(announced):
                for sku, future in announced.items():
                    self._future.setdefault(sku, {}).update(future)
            case Written() as written:
                self._take(written)

    def _add(self, sku: str, known: dict[str, tuple[int, int]]) -> None:
        """Levels of a dump; all at once where they are the first of their item."""
        if sku in self._levels:
            for location, (version, atp) in known.items():
                self._see(sku, location, version, atp)
        else:
            self._levels[sku] = known
            self._free[sku] = {location: atp for location, (_, atp) in known.items() if atp > 0}

    # ---- plans in flight ----

    def fold(self, event: Event) -> None:
        for seen in getattr(event, "levels", ()):
            self._see(seen.sku, seen.location, seen.version, seen.atp)
        match event:
            case PlanMade():
                for part in event.parts:
                    self._fly(part_id_of(event.order_id, part.number), _flight(part.location, part.lines, 1))
            case PartReserved() | PartDeclined() | PartReleased():
                self._fly(part_id_of(event.order_id, event.number), {})
            case WithdrawnPartReserved():
                back = _flight(event.location, event.lines, -1)
                self._fly(part_id_of(event.order_id, event.number), back)
            case PartWithdrawn():
                back = _flight(event.location, event.lines, -1) if event.reserved else {}
                self._fly(part_id_of(event.order_id, event.number), back)
            case _:
                pass

    def commit(self) -> None:
        self._undo.clear()

    def rollback(self) -> None:
        """Levels learned stay: inventory's word is true whatever becomes of the batch."""
        undo, self._undo = self._undo, []
        for part_id, flight in reversed(undo):
            self._fly(part_id, flight)
        self._undo.clear()

    def clear(self) -> None:
        """Whose orders these were hears what becomes of them: here all flights end, and what levels waited for them to say counts."""
        for part_id in list(self._flights):
            self._fly(part_id, {})
        self._undo.clear()

    def restore(self, key: Key, state: Any) -> None:
        """Of the orders it owns now, and when it is unknown whether a batch was committed: flights that have settled meanwhile end, too."""
        if isinstance(state, Order):
            for number in range(1, state.next_part):
                part = state.parts.get(number)
                sign = {"asked": 1, "releasing": -1}.get(part.state, 0) if part is not None else 0
                flight = _flight(part.location, part.lines, sign) if part is not None and sign else {}
                self._fly(part_id_of(key.id, number), flight)
            self._undo.clear()

    def _fly(self, part_id: str, flight: Flight) -> None:
        before = self._flights.pop(part_id, {})
        self._undo.append((part_id, before))
        if flight:
            self._flights[part_id] = flight
        off, unheard = self._off, self._unheard
        for at, (units, flights) in _difference(before, flight).items():
            known = off.get(at, NO_UNITS)
            if known[1] + flights:
                off[at] = (known[0] + units, known[1] + flights)
                self._count(*at)
            else:
                off.pop(at, None)
                self._count(*at)
                if at in unheard:
                    self._see(*at, *unheard.pop(at))

    # ---- derived from reference data ----

    def _stop(self, place: Location) -> Stop:
        costs = place.costs
        once = costs.parcel_base_minor + costs.handling_minor
        tariff = (once, costs.per_100_km_minor, costs.line_labour_minor, costs.per_kg_minor)
        number = self._tariffs.setdefault(tariff, len(self._tariffs))
        times = (place.zone, place.order_cut_off, place.preparation_minutes, place.closed_on, place.hours)
        timetable = self._timetables.setdefault(times, len(self._timetables))
        return Stop(place, *vector(place.latitude, place.longitude), number, tariff, timetable)


def _difference(before: Flight, after: Flight) -> dict[tuple[str, str], tuple[int, int]]:
    """Of each level that a part takes units off, or did before: how many units, and how many flights, are more now."""
    if not before:
        return {at: (units, 1) for at, units in after.items()}
    if not after:
        return {at: (-units, -1) for at, units in before.items()}
    every = {**before, **after}
    return {at: (after.get(at, 0) - before.get(at, 0), (at in after) - (at in before)) for at in every}


def _flight(location: str, lines: Iterable[Units], sign: int) -> Flight:
    flight: Flight = {}
    for entry in lines:
        at = (entry.sku, location)
        flight[at] = flight.get(at, 0) + sign * entry.quantity
    return flight


def _ruled_out(place: Location, method: Method, allowed: frozenset[str]) -> str | None:
    """The constraint that keeps a location from serving, or None."""
    if not place.active:
        return "inactive"
    if allowed and place.location not in allowed:
        return "not_in_policy"
    return None if method in place.methods else "method"
