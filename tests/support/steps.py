"""What the people around an order do, step by step: locations, carriers, buyers, payment providers; and how a scenario ends."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import uuid4

from deploy.audit.orders import calls_a_person
from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas import returns as rt
from schemas.inventory import Availability
from schemas.orders import OrderClosed
from schemas.status import OrderStatus, TrackingStatus
from schemas.stock import StockMoved
from schemas.types import Data
from tests.support.desk import Desk, Place, soon

R = TypeVar("R", bound=ch.ChannelRequest)
P = TypeVar("P", bound=pay.PaymentFact)
Asked = tuple[str, str, str]
"""(family of messages, order, request id)."""
ANSWERS: tuple[type[Any], ...] = (ch.RequestAnswered, rt.ReturnAuthorised, rt.ReturnDeclined, rt.ReturnCancelled)

# ---- the location works ----


async def accept(place: Place, instruction: ff.FulfilOrder) -> None:
    await place.desk.say(place.report(ff.WorkAccepted, instruction))


async def pick(place: Place, instruction: ff.FulfilOrder, *, final: bool = False, **quantities: int) -> None:
    """Reports running totals picked: the instructed quantities unless named."""
    await place.desk.say(place.report(ff.LinesPicked, instruction, lines=place.totals(instruction, **quantities), final=final))


async def reject(place: Place, instruction: ff.FulfilOrder, reason: ff.RejectionReason, **quantities: int) -> None:
    lines = tuple(
        ff.RejectedLine(line_id=line.line_id, total=line.total, reason=reason)
        for line in place.totals(instruction, **quantities)
        if line.total
    )
    await place.desk.say(place.report(ff.WorkRejected, instruction, lines=lines))


def tracking_number(instruction: ff.FulfilOrder, parcel: str = "p1") -> str:
    return f"{instruction.fulfilment_order_id}-{parcel}".replace(":", "-").replace("/", "-")[-64:]


def shipped(place: Place, instruction: ff.FulfilOrder, parcel: str = "p1", **quantities: int) -> ff.ParcelShipped:
    """The report that a parcel left; its tracking number is `tracking_number(instruction, parcel)`."""
    return place.report(
        ff.ParcelShipped,
        instruction,
        parcel_id=parcel,
        lines=tuple(line for line in place.totals(instruction, **quantities) if line.total),
        carrier=place.carrier,
        tracking_number=tracking_number(instruction, parcel),
    )


async def ship(place: Place, instruction: ff.FulfilOrder, parcel: str = "p1", **quantities: int) -> str:
    """Accepts, picks, packs and ships; returns the tracking number."""
    left = shipped(place, instruction, parcel, **quantities)
    await place.desk.say(
        place.report(ff.WorkAccepted, instruction),
        place.report(ff.LinesPicked, instruction, lines=left.lines),
        place.report(ff.ParcelPacked, instruction, parcel_id=parcel, lines=left.lines),
        left,
    )
    return left.tracking_number


async def answer_cancel(place: Place, request: ff.CancelFulfilment, **accepted: int) -> None:
    """The location's word: yes to the units named, no to the rest."""
    await place.desk.say(
        ff.CancelAnswered(
            order_id=request.order_id,
            fulfilment_order_id=request.fulfilment_order_id,
            location=request.location,
            request_id=request.request_id,
            accepted=tuple(ff.LineTotal(line_id=line, total=units) for line, units in accepted.items()),
            occurred_at=soon(),
        )
    )


# ---- the carrier brings, the buyer collects ----


async def track(place: Place, tracking: str, *statuses: TrackingStatus) -> None:
    for status in statuses:
        await place.desk.say(ff.ParcelTracked(carrier=place.carrier, tracking_number=tracking, status=status, occurred_at=soon()))


async def deliver(place: Place, *instructions: ff.FulfilOrder) -> None:
    """Ships all that is instructed, and the carrier delivers it."""
    for instruction in instructions:
        await track(place, await ship(place, instruction), "delivered")


async def make_ready(place: Place, instruction: ff.FulfilOrder, **quantities: int) -> ff.LinesReadyForCollection:
    lines = place.totals(instruction, **quantities)
    await place.desk.say(place.report(ff.WorkAccepted, instruction), place.report(ff.ReadyForCollection, instruction, lines=lines))
    return await place.desk.see(ff.LinesReadyForCollection, fulfilment_order_id=instruction.fulfilment_order_id)


async def collect(place: Place, instruction: ff.FulfilOrder, **quantities: int) -> None:
    await place.desk.say(place.report(ff.LinesCollected, instruction, lines=place.totals(instruction, **quantities)))


# ---- the channel asks ----


def request(place: Place, kind: type[R], order_id: str, **fields: object) -> R:
    """A request about an order that was placed, under a new request id unless named."""
    document: dict[str, object] = {
        "request_id": f"{kind.__name__}-{uuid4().hex[:8]}",
        "channel": place.channel,
        "channel_order_ref": order_id.partition(":")[2],
    }
    return kind.model_validate(document | fields)


async def ask(place: Place, asked: ch.ChannelRequest) -> ch.RequestAnswered:
    """Sends a request and waits for its answer."""
    await place.desk.say(asked)
    return await answered(place.desk, asked)


async def answered(desk: Desk, asked: ch.ChannelRequest) -> ch.RequestAnswered:
    return await desk.see(ch.RequestAnswered, order_id=asked.order_id, request_id=asked.request_id)


def cancel_request(place: Place, order_id: str, **units: int) -> ch.CancelOrder:
    """Everything that is left unless lines are named."""
    lines = tuple(ch.CancelLine(line_id=line, quantity=quantity) for line, quantity in units.items())
    return request(place, ch.CancelOrder, order_id, lines=lines)


async def cancel(place: Place, order_id: str, **units: int) -> ch.RequestAnswered:
    """Cancels where no location has to be asked."""
    return await ask(place, cancel_request(place, order_id, **units))


def words(answer: ch.RequestAnswered) -> dict[str, tuple[int, int]]:
    """The answer to a cancel: by line, units done and units too late."""
    return {line.line_id: (line.done, line.too_late) for line in answer.lines}


def codes(answer: ch.RequestAnswered) -> set[str]:
    return {problem.code for problem in answer.problems}


# ---- stock and money ----


def moved(place: Place, location: str, item: str, kind: str, quantity: int, reference: str, **fields: object) -> StockMoved:
    document: dict[str, object] = {
        "location": place.at(location),
        "sku": place.sku(item),
        "kind": kind,
        "reference": reference,
        "quantity": quantity,
        "occurred_at": soon(),
    }
    return StockMoved.model_validate(document | fields)


def paid(kind: type[P], order_id: str, amount_minor: int, answers: str | None = None, payment_id: str = "card-1") -> P:
    """What a payment provider reports; `answers` is the id of our request that it answers."""
    return kind(order_id=order_id, payment_id=payment_id, amount_minor=amount_minor, currency="EUR", occurred_at=soon(), request_id=answers)


async def obey(place: Place, order: pay.PaymentRequest) -> None:
    """The provider does what it is asked."""
    kind = {"CapturePayment": pay.PaymentCaptured, "VoidPayment": pay.PaymentVoided, "RefundPayment": pay.PaymentRefunded}[
        type(order).__name__
    ]
    await place.desk.say(paid(kind, order.order_id, order.amount_minor, order.request_id, order.payment_id))


# ---- goods come back ----


async def authorise_return(place: Place, order_id: str, **units: int) -> rt.ReturnAuthorised:
    asked = return_request(order_id, **units)
    await place.desk.say(asked)
    return await place.desk.see(rt.ReturnAuthorised, order_id=order_id, request_id=asked.request_id)


def return_request(order_id: str, **units: int) -> rt.RequestReturn:
    lines = tuple(rt.ReturnLine(line_id=line, quantity=quantity) for line, quantity in units.items())
    return rt.RequestReturn(request_id=f"return-{uuid4().hex[:8]}", order_id=order_id, lines=lines, requested_at=soon())


def received(
    place: Place, location: str, receipt: str, order_id: str | None = None, return_id: str | None = None, **units: int
) -> rt.GoodsReceived:
    return rt.GoodsReceived(
        location=place.at(location),
        receipt_id=f"{place.name}-{receipt}",
        order_id=order_id,
        return_id=return_id,
        received_at=soon(),
        lines=tuple(rt.ReceivedLine(line_id=line, sku=place.sku(line), total=total) for line, total in units.items()),
    )


def inspected(
    place: Place, location: str, receipt: str, disposition: rt.Disposition = "resell", order_id: str | None = None, **units: int
) -> rt.GoodsInspected:
    return rt.GoodsInspected(
        location=place.at(location),
        receipt_id=f"{place.name}-{receipt}",
        order_id=order_id,
        inspected_at=soon(),
        units=tuple(
            rt.InspectedUnits(line_id=line, sku=place.sku(line), disposition=disposition, total=total) for line, total in units.items()
        ),
    )


# ---- the end ----


async def ended(place: Place, order_id: str, outcome: str) -> OrderStatus:
    """The order has closed with this outcome, once, and its document says so and waits for nothing."""
    status = await place.desk.status_is(order_id, outcome, where=lambda document: document.waiting == ())
    await place.desk.see(OrderClosed, order_id=order_id, outcome=outcome)
    assert len(place.desk.all(OrderClosed, order_id=order_id)) == 1
    return status


def line(status: OrderStatus, line_id: str) -> dict[str, int]:
    """The quantities of one line that aren't zero."""
    found = next(line for line in status.lines if line.line_id == line_id)
    return {name: value for name, value in dict(found).items() if isinstance(value, int) and value}


async def left_clean(place: Place, *, dead_letters: int | None = 0) -> None:
    """At the end of a scenario nothing is left behind: no units kept for nobody, no order stuck, no request without its one answer.

    `dead_letters`: how many name the place; None where the scenario counts them itself.
    """
    await place.desk.rest()
    levels = [level for location in place.locations for level in place.desk.levels(location)]
    assert sum(level.reserved for level in levels) == 0, levels
    assert sum(level.picked for level in levels) == 0, levels
    assert overdrawn(place.desk.all(Availability, where=lambda level: level.location in place.locations)) == []
    assert [status for status in place.desk.statuses(place.channel) if is_stuck(status)] == []
    assert oddly_answered(place) == []
    letters = [record for record in place.desk.dead_letters if place.name.encode() in (record.key or b"") + (record.value or b"")]
    assert dead_letters in (None, len(letters)), letters


def oddly_answered(place: Place) -> list[str]:
    """Requests about the place's orders without an answer, and answers beyond one for each content a request came with.

    An answer that repeats an earlier one is none of its own."""
    contents: dict[Asked, set[str]] = defaultdict(set)
    for body in place.desk.requests:
        if is_ours(place, body):
            contents[asked_by(body)].add(f"{type(body).__name__} {body.model_dump_json(exclude={'request_id', 'actor', 'reason'})}")
    own: Counter[Asked] = Counter()
    for kind in ANSWERS:
        for answer in place.desk.all(kind, where=lambda answer: is_ours(place, answer) and answer.request_id is not None):
            own[asked_by(answer)] += not answer.repeated
    silent = [f"{asked} has no answer" for asked in contents.keys() - own.keys()]
    doubled = [f"{asked}: {own[asked]} answers to {len(contents[asked])} contents" for asked in own if own[asked] > len(contents[asked])]
    return silent + doubled


def asked_by(body: Any) -> Asked:
    """The identity of a request, of itself or of its answer: channels and returns desks number theirs apart."""
    return type(body).__module__, body.order_id, body.request_id


def is_ours(place: Place, body: Any) -> bool:
    return str(body.order_id).startswith(f"{place.channel}:")


def overdrawn(levels: Sequence[Availability]) -> list[Availability]:
    """Documents of levels that promise what isn't there, or hold less than nothing."""
    return [level for level in levels if level.reserved > level.sellable or min(figures(level)) < 0]


def figures(level: Availability) -> list[int]:
    return [value for value in dict(level).values() if isinstance(value, int)]


def is_stuck(status: OrderStatus) -> bool:
    """Neither ended nor waiting for something until a date; without a date only where an open exception calls a person because of it."""
    if status.status in ("completed", "partly_completed", "cancelled", "rejected"):
        return status.waiting != ()
    open_kinds = {exception.kind for exception in status.exceptions}
    return not status.waiting or any(waiting.until is None and not calls_a_person(waiting.reason, open_kinds) for waiting in status.waiting)


def quantities(lines: Sequence[Data]) -> dict[str, int]:
    """Units by line of any message's lines."""
    return {getattr(one, "line_id"): getattr(one, "quantity") for one in lines}  # noqa: B009 - every kind of line has both
