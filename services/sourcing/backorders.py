"""Waiting demand: a queue for each item, served by rank when stock arrives, bounded by deadlines. Pure.

A queue's head is offered what there is: each order in turn is woken with the most it may take, as long as something is left for it.
Units that a better rank protects are not offered to those behind. As an arrival may be read just before an order joins, every queue is
also looked at some seconds after a newcomer, and then at doubling intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from schemas.forms import Level
from schemas.sourcing import SourcingExceptionOpened
from services.sourcing.events import PlaceLeft, PlaceTaken, QueueLookedAt, QueueMoved
from services.sourcing.flow import ANSWER_S, Desk, added, ask, completable, give_up, go_on, judge
from services.sourcing.planning import Ask, collecting_at, draft
from services.sourcing.projection import Network
from services.sourcing.state import Order, Place, Queue, Waiting, order_key, queue_key, seen, waiting_key
from shared.kernel.model import Slice, Wake, World, Yield

MOST_OFFERED = 200
"""Orders offered stock at once; the others are at the next look."""
LOOK_S = 5
"""Seconds after a newcomer until the queue is looked at."""
MOST_DOUBLINGS = 12
"""Of that interval: the longest is some six hours."""
POSTPONED_S = 60
"""Seconds a deadline waits for the end of a change."""


def head(sku: str) -> Slice:
    return Slice(queue_key(sku), "waiting", head_of)


def head_of(queue: Queue | None) -> int:
    return 0 if queue is None else min(queue.orders, MOST_OFFERED)


# ---- places ----


def keep_place(desk: Desk, sku: str) -> Iterator[Yield]:
    """The order's place in the queue, as its waiting units have it now."""
    order = desk.order
    row: Waiting = desk.world.get(waiting_key(sku, order.order_id), Waiting(""))
    after = place_of(order, sku)
    if row.place == after:
        return
    yield PlaceTaken(sku, order.order_id, after) if after else PlaceLeft(sku, order.order_id)
    yield from move(desk, sku, row.place, after)


def move(desk: Desk, sku: str, before: Place | None, after: Place | None) -> Iterator[Yield]:
    """Counts the place in its queue, and sees that the queue is looked at while anybody is there."""
    key = queue_key(sku)
    queue = desk.world.get(key, Queue(sku))
    soon = desk.now + timedelta(seconds=LOOK_S)
    look_at = min(queue.look_at or soon, soon) if after else queue.look_at or soon
    yield QueueMoved(sku, before, after, look_at)
    if desk.world.get(key, Queue(sku)).orders == 0:
        yield Wake(key, "look", None)
    elif look_at != queue.look_at:
        yield Wake(key, "look", look_at)


def place_of(order: Order, sku: str) -> Place | None:
    units = order.waiting_of(sku)
    if units == 0 or order.terms is None:
        return None
    terms = order.terms
    return Place(units, f"{terms.rank}:{order.order_id}", terms.urgency, collecting_at(terms), order.protects)


# ---- offers ----


def offer(world: World, now: datetime, view: Network, sku: str, *, levels: tuple[Level, ...] = (), arrived: bool) -> Iterator[Yield]:
    """Offers the head of a queue what there is of its item."""
    queue = world.get(queue_key(sku), Queue(sku))
    if queue.orders == 0:
        return
    looks = 0 if arrived else queue.looks + 1
    look_at = now + timedelta(seconds=LOOK_S * 2 ** min(looks, MOST_DOUBLINGS))
    yield QueueLookedAt(sku, arrived, look_at, seen(level for level in levels if level.sku == sku))
    yield Wake(queue_key(sku), "look", look_at)
    for rank, (order_id, most) in enumerate(shared_out(world.rows(head(sku)), view.free(sku))):
        yield Wake(order_key(order_id), f"serve:{sku}:{most}", now, rank)


def shared_out(rows: Iterable[Waiting], free: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(order, most units it may take) by rank, until nothing is left to offer."""
    left, total = dict(free), sum(free.values())
    for row in rows:
        if total <= 0:
            return
        place = row.place
        if place is None:
            continue
        there = total if place.location is None else min(total, left.get(place.location, 0))
        if there <= 0:
            continue
        yield row.order_id, min(place.quantity, there)
        if place.protects:
            total -= min(place.quantity, there)
            if place.location is not None:
                left[place.location] -= min(place.quantity, there)


def serve(desk: Desk, sku: str, most: int) -> Iterator[Yield]:
    """The order's turn: it takes at most so many units of the item, or says whether it still keeps others from them."""
    order = desk.order
    if order.terms is None or order.changing is not None or order.waiting_of(sku) == 0:
        return
    terms = order.terms
    units = {i: n for i, n in order.waiting_units.items() if terms.whole or order.lines[i].sku == sku}
    if terms.whole:
        units = added(units, order.open_units)
    made = draft(Ask(order, terms, units, desk.now, most={sku: most}), desk.view)
    if made.shares and not (terms.whole and made.left):
        yield from ask(desk, made)
    else:
        yield from judge(desk, completable(desk) and (terms.whole or not desk.view.free(sku)))


# ---- deadlines ----


def expire(desk: Desk) -> Iterator[Yield]:
    """What has waited until its deadline is unfillable."""
    order = desk.order
    if order.changing is not None:
        yield Wake(desk.key, "deadline", desk.now + timedelta(seconds=POSTPONED_S))
        return
    over = {i: n for i, n in order.waiting_units.items() if (order.lines[i].until or desk.now) <= desk.now}
    if over:
        yield from give_up(desk, over, "deadline")
        yield from go_on(desk)
    left = [line.until for line in desk.order.lines.values() if line.waiting and line.until]
    if left:
        yield Wake(desk.key, "deadline", min(left))


def remind(desk: Desk) -> Iterator[Yield]:
    """Says once of each part that inventory hasn't answered, and goes on waiting: the answer will come."""
    parts = desk.order.parts_in("asked", "withdrawn")
    for part in parts:
        if timedelta(seconds=ANSWER_S) <= desk.now - part.asked_at < timedelta(seconds=2 * ANSWER_S):
            yield SourcingExceptionOpened(
                order_id=desk.order_id,
                exception_id=f"{desk.order.part_id(part.number)}:unanswered",
                kind="reservation_unanswered",
                detail=f"location {part.location} was asked at {part.asked_at:%Y-%m-%dT%H:%M:%SZ}",
                action="Check that inventory runs; the order goes on by itself once it answers.",
            )
    if parts:
        waited = desk.now - min(part.asked_at for part in parts)
        yield Wake(desk.key, "answers", desk.now + max(waited, timedelta(seconds=ANSWER_S)))
