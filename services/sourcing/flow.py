"""How an order goes on: plan what is open, ask locations, publish once every part is reserved, wait or give up. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from schemas.forms import Part as PublishedPart
from schemas.forms import PartLine as PublishedLine
from schemas.forms import ReserveLine, ReserveStock
from schemas.inventory import ReleaseStock
from schemas.reference import Location, Policy
from schemas.sourcing import (
    LinesBackordered,
    LinesUnfillable,
    PartLine,
    SourcingExceptionOpened,
)
from services.sourcing.decision import OrderSourced
from services.sourcing.events import (
    PartsPublished,
    PartWithdrawn,
    PlanMade,
    ProtectionJudged,
    UnitsCalled,
    UnitsGivenUp,
    UnitsPutBack,
)
from services.sourcing.planning import Ask, Draft, Share, aim_of, collecting_at, draft
from services.sourcing.projection import Network, distance_km, vector
from services.sourcing.promise import MOST_DAYS_AHEAD, Bounds, Schedule, released
from services.sourcing.reasons import explanation
from services.sourcing.state import Order, Part, Queue, Terms, Units, queue_key
from shared.kernel.model import Key, Wake, World, Yield
from shared.value import Value, replace

ANSWER_S = 60
"""Seconds after which an unanswered reservation is a person's business."""


class Desk(Value, frozen=True):
    """One order under decision."""

    world: World
    now: datetime
    view: Network
    key: Key
    queues: tuple[str, ...] = ()
    """Items whose queues this input may look at."""
    newcomer: bool = False
    """Whether equally urgent waiting demand goes before this order: it came earlier."""

    @property
    def order_id(self) -> str:
        return self.key.id

    @property
    def order(self) -> Order:
        order: Order | None = self.world.get(self.key, None)
        return order if order is not None else Order(self.order_id)

    @property
    def terms(self) -> Terms:
        terms = self.order.terms
        assert terms is not None, "an order without terms is never planned"
        return terms

    @property
    def policy(self) -> Policy:
        return self.view.policy(self.terms.policy)

    def ahead(self) -> dict[str, dict[str | None, int]]:
        """Protected units of those who wait with a better rank, by item and by their only location."""
        ahead: dict[str, dict[str | None, int]] = {}
        for sku in self.queues:
            queue: Queue | None = self.world.get(queue_key(sku), None)
            if queue is not None and queue.protected:
                ahead[sku] = queue.ahead_of(self.terms.urgency, equal=self.newcomer)
        return ahead


def go_on(desk: Desk) -> Iterator[Yield]:
    """Whatever can be done for the order now. While a change is under way, nothing."""
    order = desk.order
    if order.terms is None or order.changing is not None:
        return
    yield from plan_open(desk)
    yield from publish(desk)


# ---- planning ----


def plan_open(desk: Desk) -> Iterator[Yield]:
    """Plans the open units; what nobody can serve waits or ends."""
    order, terms = desk.order, desk.terms
    if not order.open_units:
        return
    if terms.completeness == "single_location":
        yield from withdraw_unpublished(desk, "planned_anew")
        order = desk.order
    most = desk.view.policy(terms.policy).max_attempts
    tired = {line.line_id: line.open for line in order.lines.values() if line.open > 0 and line.attempts >= most}
    if tired and terms.whole:
        yield from stand_back(desk, "attempts")
        return
    if tired:
        yield from put_back(desk, tired, "attempts")
        order = desk.order
    units = order.open_units
    if not units:
        return
    if terms.whole:
        units = added(units, order.waiting_units)
    made = draft(Ask(order, terms, units, desk.now, desk.ahead()), desk.view)
    if terms.whole and made.left:
        yield from stand_back(desk, made.reason)
        return
    yield from ask(desk, made)
    if left := desk.order.open_units:
        yield from put_back(desk, left, made.reason)


def ask(desk: Desk, made: Draft) -> Iterator[Yield]:
    """Asks each location of a plan for its share; waiting units that it serves wait no longer."""
    if made.reasons is None:
        return
    order = desk.order
    planned: dict[str, int] = {}
    for share in made.shares:
        for units in share.lines:
            planned[units.line_id] = planned.get(units.line_id, 0) + units.quantity
    lines = order.lines
    called = {i: n - lines[i].open for i, n in planned.items() if n > lines[i].open}
    if called:
        yield UnitsCalled(order.order_id, order.units(called))
    parts = tuple(
        [Part(number, share.location, "asked", share.lines, desk.now) for number, share in enumerate(made.shares, start=order.next_part)]
    )
    yield PlanMade(order.order_id, parts, made.reasons)
    for part, share in zip(parts, made.shares, strict=True):
        yield command(desk, part, share)
    yield Wake(desk.key, "answers", desk.now + timedelta(seconds=ANSWER_S))
    if called:
        yield from requeue(desk, called)


def command(desk: Desk, part: Part, share: Share) -> ReserveStock:
    """Where lines may be divided, the location gives what it has; otherwise each line whole."""
    terms = desk.terms
    divisible = terms.divisible
    return ReserveStock(
        part_id=desk.order.part_id(part.number),
        order_id=desk.order_id,
        location=part.location,
        lines=tuple([ReserveLine(units.line_id, units.sku, units.quantity, 0 if divisible else units.quantity) for units in part.lines]),
        rank=terms.urgency,
        promised_at=terms.deliver_by or dates_of(desk, part.location, share.km).promise.latest,
    )


def withdraw(desk: Desk, part: Part, why: str) -> Iterator[Yield]:
    """Gives an unpublished part up: its units are open again."""
    yield PartWithdrawn(desk.order_id, part.number, part.location, part.lines, part.state == "reserved")
    yield ReleaseStock(part_id=desk.order.part_id(part.number), order_id=desk.order_id, location=part.location, reason=why)


def withdraw_unpublished(desk: Desk, why: str) -> Iterator[Yield]:
    for part in desk.order.parts_in("asked", "reserved"):
        yield from withdraw(desk, part, why)


def stand_back(desk: Desk, why: str) -> Iterator[Yield]:
    """All or nothing, and all is not to be had: what was reserved goes back to the others, and the order waits."""
    yield from withdraw_unpublished(desk, "incomplete")
    yield from put_back(desk, desk.order.open_units, why)


# ---- waiting and giving up ----


def put_back(desk: Desk, units: Mapping[str, int], why: str) -> Iterator[Yield]:
    """Open units nobody has now: they wait until the deadline, or end where waiting makes no sense."""
    if not units:
        return
    until = deadline(desk)
    if desk.terms.completeness == "cancel_remainder":
        yield from give_up(desk, units, "remainder")
    elif not desk.policy.backorder:
        yield from give_up(desk, units, why)
    elif until <= desk.now:
        yield from give_up(desk, units, "deadline")
    else:
        yield from wait(desk, units, why, until)


def wait(desk: Desk, units: Mapping[str, int], why: str, until: datetime) -> Iterator[Yield]:
    order = desk.order
    lines = order.units(dict(units))
    yield UnitsPutBack(order.order_id, lines, until)
    yield from judge(desk, completable(desk))
    yield LinesBackordered(order_id=order.order_id, lines=written(lines), reason=why, deadline=until)
    yield Wake(desk.key, "deadline", min(x.until for x in desk.order.lines.values() if x.waiting and x.until))
    yield from requeue(desk, units)
    if why == "no_location":
        yield no_location(desk)


def give_up(desk: Desk, units: Mapping[str, int], why: str) -> Iterator[Yield]:
    order = desk.order
    lines = order.units(dict(units))
    waiting = {line_id: units for line_id, units in order.waiting_units.items() if line_id in units_of(lines)}
    yield UnitsGivenUp(order.order_id, lines)
    yield LinesUnfillable(order_id=order.order_id, lines=written(lines), reason=why, revision=desk.terms.revision)
    yield from requeue(desk, waiting)


def requeue(desk: Desk, units: Mapping[str, int]) -> Iterator[Yield]:
    """Brings the queues of these lines' items in line with the order, in inputs of their own."""
    for sku in desk.order.skus(dict(units)):
        yield Wake(desk.key, f"queue:{sku}", desk.now)


def judge(desk: Desk, protects: bool) -> Iterator[Yield]:
    """Notes whether the waiting units may keep others from stock, where that changed."""
    order = desk.order
    if order.protects != protects:
        yield ProtectionJudged(order.order_id, protects)
        yield from requeue(desk, order.waiting_units)


def completable(desk: Desk) -> bool:
    """Whether stock and announced supply can complete what waits before its deadline; where parts of it help, any unit does."""
    order, terms = desk.order, desk.terms
    if not terms.whole:
        return True
    stops = desk.view.reach(desk.policy, terms.method, collecting_at(terms)).stops
    until = min((line.until for line in order.lines.values() if line.waiting and line.until), default=desk.now)
    for sku in order.skus(order.waiting_units):
        there = sum(units for name, units in desk.view.free(sku).items() if name in stops)
        if there + desk.view.announced(sku, stops, until) < order.waiting_of(sku):
            return False
    return True


def deadline(desk: Desk) -> datetime:
    """Until when the order may wait: the policy's term, or the order's own dates where they come first."""
    latest = desk.now + timedelta(seconds=desk.policy.backorder_deadline_s)
    return min(latest, *(at for at in (desk.terms.cancel_after, desk.terms.deliver_by) if at), latest)


# ---- publishing ----


def publish(desk: Desk) -> Iterator[Yield]:
    """The decision, once every part is reserved and nothing is open; parts delivered together also wait for what is backordered."""
    order = desk.order
    reserved = order.parts_in("reserved")
    if not reserved or order.parts_in("asked") or order.open_units:
        return
    terms = desk.terms
    if terms.together and order.waiting_units:
        return
    dates = {part.number: dates_of(desk, part.location, distance_to(desk, part.location)) for part in reserved}
    if terms.together:
        dates = aligned(dates)
    yield OrderSourced(
        order_id=order.order_id,
        decision=order.decisions + 1,
        cause=order.cause,
        parts=tuple(published(order, terms, part, dates[part.number]) for part in reserved),
        split=len({part.location for part in order.parts_in("reserved", "published")}) > 1,
        promise=max((entry.promise for entry in dates.values()), key=lambda promise: promise.latest),
        explanation=tuple(map(explanation, order.reasons)),
        revision=terms.revision,
    )
    yield PartsPublished(order.order_id, tuple(part.number for part in reserved))


def published(order: Order, terms: Terms, part: Part, dates: Schedule) -> PublishedPart:
    return PublishedPart(
        part_id=order.part_id(part.number),
        location=part.location,
        method=terms.method,
        lines=tuple([PublishedLine(units.line_id, units.sku, units.quantity) for units in part.lines]),
        release_at=dates.release_at,
        ship_by=dates.ship_by,
        carrier=dates.carrier,
        carrier_service=dates.carrier_service,
        promise=dates.promise,
    )


def aligned(dates: Mapping[int, Schedule]) -> dict[int, Schedule]:
    """The same promise for all: the latest. Each is released when its own way to the buyer wants it."""
    promise = max((entry.promise for entry in dates.values()), key=lambda promise: promise.latest)
    return {number: replace(entry, promise=promise) for number, entry in dates.items()}


def dates_of(desk: Desk, location: str, km: int) -> Schedule:
    """The location's dates, released when the order's own dates and the policy's grace period want it."""
    terms = desk.terms
    policy = desk.view.policy(terms.policy)
    place, carrier = desk.view.get(Location, location) or forgotten(location), desk.view.carrier(policy)
    zone = desk.view.zone_at(terms.destination, place.zone)
    grace_ends = desk.now + timedelta(seconds=policy.grace_s)
    earliest = min(terms.earliest, desk.now + timedelta(days=MOST_DAYS_AHEAD)) if terms.earliest else None
    bounds = Bounds(desk.now, grace_ends, earliest, terms.ship_by, terms.deliver_by)
    return released(bounds, place.zone, lambda at: desk.view.schedule(place, terms.method, carrier, km, at, zone))


def forgotten(location: str) -> Location:
    """Stands in for a location whose document was deleted after it was planned: what it reserved is published all the same."""
    return Location(location=location, kind="warehouse", zone="UTC", country="ZZ", latitude=0.0, longitude=0.0)


def distance_to(desk: Desk, location: str) -> int:
    """In km; 0 where nobody knows where the goods go."""
    aim, place = aim_of(desk.terms, desk.view), desk.view.get(Location, location)
    if aim is None or place is None:
        return 0
    return distance_km(sum(a * b for a, b in zip(aim, vector(place.latitude, place.longitude), strict=True)))


# ---- small words ----


def added(units: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {line_id: units.get(line_id, 0) + more.get(line_id, 0) for line_id in {**units, **more}}


def units_of(lines: tuple[Units, ...]) -> dict[str, int]:
    return {units.line_id: units.quantity for units in lines}


def written(lines: tuple[Units, ...]) -> tuple[PartLine, ...]:
    return tuple(PartLine(line_id=units.line_id, sku=units.sku, quantity=units.quantity) for units in lines)


def no_location(desk: Desk) -> SourcingExceptionOpened:
    terms = desk.terms
    where = f"location {terms.collect_at}" if collecting_at(terms) is not None else "any location"
    return SourcingExceptionOpened(
        order_id=desk.order_id,
        exception_id=f"{desk.order_id}:no_location",
        kind="no_reference_data",
        detail=f"policy {terms.policy} does not let {where} serve method {terms.method}",
        action="Publish an active location with this method, or change or cancel the order.",
    )
