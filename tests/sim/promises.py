"""What must be true in the end of who was served, told and judged: read from the records and from the events kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from schemas import fulfilment as ff
from schemas import returns as rt
from schemas.topics import CHANNEL_ANSWERS, FULFILMENT_EVENTS, FULFILMENT_REPORTS, RETURN_EVENTS, RETURN_REQUESTS, TOPICS, Topic
from services.fulfilment_tracking.state import Cancel
from services.inventory.events import UnitsShorted
from services.inventory.service import service as inventory
from services.inventory.state import Reservation
from shared.kernel.arrivals import instant
from shared.kernel.codec import Undecodable, open_envelope, read_body
from shared.kernel.ports import LaneId, Record, TopicPartition

if TYPE_CHECKING:
    from tests.sim.world import World


def promises(world: World) -> Iterator[str]:
    """Everything that is wrong, as `check: what`."""
    yield from effects_happen_once(world)
    yield from least_urgent_are_shorted(world)
    if not world.plan.has("rule_bug"):  # a replay goes past the inbox: nobody sees that its id was known
        yield from changed_reports_are_told(world)
    yield from cancels_are_kept(world)
    yield from returns_are_bounded(world)
    if not world.plan.has("skew") and not world.plan.has("lost_records") and not world.plan.has("rule_bug"):
        yield from answers_in_time_count(world)
        yield from returns_are_judged_on_what_was_handed_over(world)


def read(world: World, topic: Topic) -> Iterator[tuple[Record, Any]]:
    """Every readable record with its body, in the order of each partition; what a lane repeats once only."""
    for number in range(world.partitions()[topic.name]):
        known: set[tuple[LaneId, int]] = set()
        for record in world.broker.records(TopicPartition(topic.name, number)):
            try:
                envelope = open_envelope(record, topic)
                body = read_body(envelope, topic)
            except Undecodable:
                continue
            if envelope.lane is not None:
                if (envelope.lane, envelope.seq) in known:
                    continue
                known.add((envelope.lane, envelope.seq))
            yield record, body


# ---- once ----


def effects_happen_once(world: World) -> Iterator[str]:
    """What follows from one input in one role is published under one number: a message's id stands in its lane once, repeats aside.
    Not of answers: who asks again under the same id is answered again."""
    for topic in TOPICS:
        if topic.kind != "events" or topic in (CHANNEL_ANSWERS, RETURN_EVENTS):
            continue
        numbers: dict[tuple[TopicPartition, str], int] = {}
        for number in range(world.partitions()[topic.name]):
            for record in world.broker.records(TopicPartition(topic.name, number)):
                try:
                    envelope = open_envelope(record, topic)
                except Undecodable:
                    continue
                if envelope.lane is not None:
                    first = numbers.setdefault((record.at, envelope.id), envelope.seq)
                    if first != envelope.seq:
                        yield f"effects_happen_once: {envelope.type} {envelope.id} is number {first} and {envelope.seq} of {topic.name}"


# ---- who is served ----


def least_urgent_are_shorted(world: World) -> Iterator[str]:
    """Units that are missing are taken from the highest priority number, then the latest promise, never from a picked one."""
    kind = inventory.kind("reservation")
    rows: dict[str, Reservation] = {}
    for _, entry in sorted(world.databases["inventory"].table("history").items()):
        if entry.key.kind != "reservation" or entry.event is None:
            continue
        row = rows.get(entry.key.id)
        if isinstance(entry.event, UnitsShorted) and row is not None:
            yield from _more_urgent(row, entry.event, rows)
        after = kind.evolve(row if row is not None else kind.initial(entry.key.id), entry.event)
        if after is None:
            rows.pop(entry.key.id, None)
        else:
            rows[entry.key.id] = after


def _more_urgent(row: Reservation, event: UnitsShorted, rows: dict[str, Reservation]) -> Iterator[str]:
    if event.units > row.open:
        yield f"least_urgent_are_shorted: {event.units} units of {row.part_id}, which has {row.open} open"
    for other in rows.values():
        if (other.sku, other.location) == (row.sku, row.location) and other.open and _urgency(other) > _urgency(row):
            yield f"least_urgent_are_shorted: {row.part_id} at {row.priority}, and {other.part_id} at {other.priority} keeps {other.open}"


def _urgency(row: Reservation) -> tuple[int, datetime]:
    return row.priority, row.promised_at


# ---- what people are told ----


def changed_reports_are_told(world: World) -> Iterator[str]:
    """A report that came under the id of another one, with other content, is told to a person."""
    contents: dict[tuple[str, str], dict[bytes, Any]] = defaultdict(dict)
    for record, body in read(world, FULFILMENT_REPORTS):
        envelope = open_envelope(record, FULFILMENT_REPORTS)
        contents[envelope.source, envelope.id][envelope.digest()] = body
    orders = world.databases["fulfilment_tracking"].table("state.order")
    for (_, id), bodies in contents.items():
        reports = list(bodies.values())
        about = {f"{report.fulfilment_order_id}:{type(report).__name__}:again" for report in reports}
        row = orders.get(reports[0].order_id)
        told = {trouble.about for trouble in row.state.troubles} if row is not None and row.state is not None else set[str]()
        if len(reports) > 1 and about.isdisjoint(told):
            yield f"changed_reports_are_told: {id} said {len(reports)} different things, nobody was told"


def cancels_are_kept(world: World) -> Iterator[str]:
    """What the buyer was told is cancelled doesn't leave, unless its location breaks its word."""
    for _, body in read(world, FULFILMENT_EVENTS):
        told = isinstance(body, ff.FulfilmentExceptionOpened) and body.kind == "shipped_after_cancel"
        if told and body.order_id not in world.outside.works.odd_orders | world.outside.works.hasty_orders:
            yield f"cancels_are_kept: {body.order_id}: {body.detail}"


# ---- what is judged on ----


def answers_in_time_count(world: World) -> Iterator[str]:
    """A location whose answer could be known of before the deadline isn't taken to have been silent, however late it is read. Of a
    partition that keeps silent only who asks hears how much there is."""
    first: dict[tuple[str, str], datetime] = {}
    for record, body in read(world, FULFILMENT_REPORTS):
        if isinstance(body, ff.CancelAnswered):
            first.setdefault((body.fulfilment_order_id, body.request_id), instant(world.deafness.known_ms(record)))
    for row in world.databases["fulfilment_tracking"].table("state.order").values():
        troubles = row.state.troubles if row.state is not None else ()
        for trouble in troubles:
            part, _, request = trouble.about.rpartition(":")
            cancel: Cancel | None = row.state.cancels.get(request)
            answered = first.get((part, request))
            if trouble.kind == "accepted_after_deadline" and cancel is not None and answered is not None and answered < cancel.answer_by:
                told = f"{part} answered {request}, to be known at {answered:%T}, due {cancel.answer_by:%T}"
                yield f"answers_in_time_count: {told}: taken for silence"


def returns_are_bounded(world: World) -> Iterator[str]:
    """No more may come back of a line than was handed over, requests that ran out aside."""
    handed: Counter[tuple[str, str]] = Counter()
    for _, body in read(world, FULFILMENT_EVENTS):
        if isinstance(body, ff.LinesHandedOver):
            handed.update({(body.order_id, line.line_id): line.quantity for line in body.lines})
    authorised: dict[tuple[str, str], Counter[str]] = {}
    for _, body in read(world, RETURN_EVENTS):
        if isinstance(body, rt.ReturnAuthorised):
            authorised[body.order_id, body.return_id] = Counter({line.line_id: line.quantity for line in body.lines})
        elif isinstance(body, rt.ReturnExpired):
            authorised[body.order_id, body.return_id].subtract({line.line_id: line.quantity for line in body.lines})
    wanted: Counter[tuple[str, str]] = Counter()
    for (order, _), lines in authorised.items():
        wanted.update({(order, line): units for line, units in lines.items()})
    for (order, name), units in wanted.items():
        if units > handed[order, name]:
            yield f"returns_are_bounded: {units} of {order} {name} may come back, {handed[order, name]} were handed over"


def returns_are_judged_on_what_was_handed_over(world: World) -> Iterator[str]:
    """Nobody is told that they have nothing to send back whose hand-over could be known before they asked."""
    handed: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for record, body in read(world, FULFILMENT_EVENTS):
        if isinstance(body, ff.LinesHandedOver):
            for line in body.lines:
                handed[body.order_id, line.line_id].append((world.deafness.known_ms(record), line.quantity))
    asked = {
        (body.order_id, body.request_id): (record.appended_ms, body)
        for record, body in reversed(list(read(world, RETURN_REQUESTS)))
        if isinstance(body, rt.RequestReturn)
    }
    wanted: dict[tuple[str, str], int] = defaultdict(int)
    for _, request in asked.values():
        for each in request.lines:
            wanted[request.order_id, each.line_id] += each.quantity
    for _, body in read(world, RETURN_EVENTS):
        if isinstance(body, rt.ReturnDeclined) and body.reason == "exceeds_returnable" and body.request_id is not None:
            at, request = asked[body.order_id, body.request_id]
            lines = [each.line_id for each in request.lines]
            known = {line: sum(n for ms, n in handed[body.order_id, line] if ms < at) for line in lines}
            if all(wanted[body.order_id, line] <= units for line, units in known.items()):
                yield f"returns_are_judged: {body.order_id} {body.request_id} was declined, and {known} had been handed over"
