"""The reference model: one plain, sequential order management, without partitions, messages or crashes.

It hears each order's requests in the order in which they stand in their topic, with the answers they got, and what locations, carriers
and the returns desk really did. From that follows how every line must end, or between which bounds: what the five services say of
themselves plays no part in it. An order about which a location contradicted itself is only held to the audit's checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploy.audit.books import Books, Captured, CapturedLine
from deploy.audit.ledger import Ledger
from deploy.audit.lines import OVERSHIPPED
from deploy.audit.orders import calls_a_person
from schemas import channel as ch
from schemas.inventory import DiscrepancyFound
from schemas.topics import CHANNEL_ANSWERS, CHANNEL_ORDERS, INVENTORY_EVENTS, Topic
from shared.kernel.codec import Undecodable, open_envelope, read_body
from shared.kernel.ports import TopicPartition

if TYPE_CHECKING:
    from tests.sim.world import World

OUTCOMES: dict[type[ch.ChannelRequest], frozenset[str]] = {
    ch.PlaceOrder: frozenset({"accepted", "held", "conflict"}),
    ch.ChangeOrder: frozenset({"accepted", "held", "declined"}),
    ch.CancelOrder: frozenset({"accepted", "declined"}),
    ch.HoldOrder: frozenset({"accepted", "declined"}),
    ch.ResolveHold: frozenset({"accepted", "declined"}),
}
"""How each request may be answered: none in a world is invalid."""

NO_LINE = CapturedLine(goods=True, quantity=0, shipped=0, handed_over=0, cancelled=0, unfillable=0, credited=0)


@dataclass
class PlainOrder:
    """One order, as its requests and their answers make it."""

    placed: ch.PlaceOrder | None = None
    lines: dict[str, int] = field(default_factory=dict)
    cancelled: Counter[str] = field(default_factory=Counter)
    """Units the channel was told are cancelled."""
    holds: set[str] = field(default_factory=set)
    held: bool = False
    """It was not accepted at once: what is cancelled before is not ordered when it is."""
    restated: bool = False
    """It was held, and then stated again as a whole: what was cancelled before acceptance counts no more."""
    may_be_cancelled: bool = False
    """By a hold, or because the buyer never came, or never paid."""
    wrong: list[str] = field(default_factory=list)

    def hear(self, asked: ch.ChannelRequest, answer: ch.RequestAnswered) -> None:
        what = f"{asked.order_id} {asked.request_id}"
        if answer.outcome not in OUTCOMES[type(asked)]:
            self.wrong.append(f"{what}: {type(asked).__name__} was answered {answer.outcome}: {answer.problems}")
        passes = answer.outcome in ("accepted", "held")
        match asked:
            case ch.PlaceOrder():
                self._place(asked, answer.outcome, what)
            case ch.ChangeOrder() if passes:
                self.lines = _units(asked.order)
                self.restated |= self.held
            case ch.CancelOrder():
                self._cancel(asked, answer, what)
            case ch.HoldOrder() if passes:
                self.holds.add(asked.hold_id)
            case ch.ResolveHold() if passes:
                self.holds.discard(asked.hold_id)
                self.may_be_cancelled |= asked.resolution == "cancel"
            case _:
                """Changes nothing."""

    def _place(self, asked: ch.PlaceOrder, outcome: str, what: str) -> None:
        if self.placed is None:
            self.placed, self.lines = asked, _units(asked.order)
            self.held = outcome == "held"
            self.may_be_cancelled = outcome == "held" or asked.order.delivery.method == "click_and_collect"
            if outcome == "conflict":
                self.wrong.append(f"{what}: a first order in conflict")
        elif outcome != "conflict":
            self.wrong.append(f"{what}: another content of the same reference was {outcome}")

    def _cancel(self, asked: ch.CancelOrder, answer: ch.RequestAnswered, what: str) -> None:
        wished = {line.line_id: line.quantity for line in asked.lines} or self.lines
        for line in answer.lines:
            if line.done + line.too_late > wished.get(line.line_id, 0):
                self.wrong.append(f"{what}: {line.done} done and {line.too_late} too late of {wished.get(line.line_id, 0)}")
            self.cancelled[line.line_id] += line.done


def _units(order: ch.OrderContent) -> dict[str, int]:
    return {line.channel_line_ref: line.quantity for line in order.lines}


def predicted(world: World, books: Books, ledger: Ledger) -> Iterator[str]:
    """What ended otherwise than it may, as `model: what`."""
    orders = plain_orders(world)
    for order_id, order in orders.items():
        yield from (f"model_answers: {text}" for text in order.wrong)
        captured = books.captured.get(order_id)
        if order.placed is None or captured is None:
            yield f"model_known: {order_id} was asked for, and nobody knows it"
        elif order_id not in world.outside.works.odd_orders:
            excused = order_id in books.tracked and not OVERSHIPPED.isdisjoint(books.tracked[order_id].exceptions)
            yield from _lines(world, books, order_id, order, captured, excused)
            yield from _label(order_id, captured, books)
            yield from _money(world, order_id, order, captured, ledger)
    if not world.plan.has("odd_location") and not any(_called(books, order_id) for order_id in orders):
        yield from _shelves(world, books)


def plain_orders(world: World) -> dict[str, PlainOrder]:
    """By id: every order that was asked for, after its last request."""
    answers = {
        (answer.order_id, answer.request_id): answer
        for answer in _bodies(world, CHANNEL_ANSWERS)
        if isinstance(answer, ch.RequestAnswered) and not answer.repeated and answer.request_id is not None
    }
    orders: dict[str, PlainOrder] = {}
    heard: set[tuple[str, str]] = set()
    for asked in _bodies(world, CHANNEL_ORDERS):
        assert isinstance(asked, ch.ChannelRequest)
        key = (asked.order_id, asked.request_id)
        if key not in heard and asked.order_id in world.outside.buyers.by_order:
            heard.add(key)
            order = orders.setdefault(asked.order_id, PlainOrder())
            if key in answers:
                order.hear(asked, answers[key])
            else:
                order.wrong.append(f"{asked.order_id} {asked.request_id}: no answer")
    return orders


def _bodies(world: World, topic: Topic) -> Iterator[object]:
    """In the order of each partition; what nobody can read is left out."""
    for number in range(world.partitions()[topic.name]):
        for record in world.broker.records(TopicPartition(topic.name, number)):
            try:
                yield read_body(open_envelope(record, topic), topic)
            except Undecodable:
                continue


def _called(books: Books, order_id: str) -> bool:
    """Whether a person was told that it doesn't go on by itself."""
    tracked = books.tracked.get(order_id)
    return tracked is not None and any(calls_a_person(waiting.reason, tracked.exceptions) for waiting in tracked.waiting)


def _lines(world: World, books: Books, order_id: str, order: PlainOrder, captured: Captured, excused: bool) -> Iterator[str]:
    """`excused`: more left than was wanted, which a person was told."""
    free = order.may_be_cancelled or bool(order.holds)
    for line, ordered in order.lines.items():
        left, cancelled = world.outside.works.left[order_id, line], order.cancelled[line]
        found = captured.lines.get(line) or NO_LINE
        told = f"{order_id} {line}: {found}, {left} really left, {cancelled} cancelled by request"
        early = ordered - found.quantity
        if not 0 <= early <= (cancelled if order.held else 0):
            yield f"model_lines: {told}: {ordered} were ordered last"
            continue
        quantity, cancelled = found.quantity, cancelled - early
        if found.handed_over != left and not (found.handed_over < left and excused):
            yield f"model_handed_over: {told}"
        if (found.cancelled < cancelled and not order.restated) or (found.cancelled > cancelled and not free):
            yield f"model_cancelled: {told}"
        if captured.stage == "closed" and found.handed_over + found.cancelled + found.unfillable != quantity:
            yield f"model_adds_up: {told}"
        back = world.outside.returns.inspected[order_id, line]
        if found.credited > min(back, left):
            yield f"model_credited: {told}, {back} came back"
    if captured.stage != "closed" and not _called(books, order_id):
        yield f"model_ends: {order_id} is {captured.stage}, and nothing is left to happen"


def _label(order_id: str, captured: Captured, books: Books) -> Iterator[str]:
    """The status is a pure function of the quantities."""
    if captured.stage != "closed" or order_id not in books.tracked:
        return
    handed = sum(line.handed_over for line in captured.lines.values())
    ordered = sum(line.quantity for line in captured.lines.values())
    expected = "completed" if handed == ordered else "partly_completed" if handed else "cancelled"
    status = books.tracked[order_id].status
    if status != expected:
        yield f"model_status: {order_id} is {status}, and {handed} of {ordered} were handed over"


def _money(world: World, order_id: str, order: PlainOrder, captured: Captured, ledger: Ledger) -> Iterator[str]:
    """Who could pay has paid for what they kept, to the cent; who couldn't pay all, at most that."""
    from tests.sim.buyers import PRICE_MINOR

    assert order.placed is not None
    if order.placed.order.payment_terms != "capture_on_shipment" or world.plan.has("declined_payments"):
        return
    kept = sum(line.handed_over - line.credited for line in captured.lines.values()) * PRICE_MINOR
    money = ledger.money[order_id]
    taken = money.asked_for("capture") - money.asked_for("refund")
    authorised = money.most(f"card-{order_id.partition(':')[2]}", "authorised")
    exact = authorised >= money.most_total
    if captured.stage == "closed" and not (taken == kept if exact else taken <= min(kept, authorised)):
        yield f"model_money: {order_id}: {taken} taken, {kept} owed, {authorised} authorised"


def _shelves(world: World, books: Books) -> Iterator[str]:
    """The books of stock are what lies on the shelves, or a person was told to count."""
    shelves, lost = world.outside.shelves, world.outside.lost
    found_out = (each for each in _bodies(world, INVENTORY_EVENTS) if isinstance(each, DiscrepancyFound))
    told = {(each.sku, each.location) for each in found_out if each.kind == "below_zero"}
    for spot in world.outside.opening:
        if (spot.sku, spot.location) in told:
            continue
        level = books.levels.get(f"{spot.sku}:{spot.location}")
        found = (level.sellable, level.picked, level.damaged) if level is not None else (0, 0, 0)
        there = (shelves.on_shelf(spot), shelves.physical(spot) - shelves.on_shelf(spot), lost[spot])
        if found != there:
            yield f"model_shelves: {spot.sku} at {spot.location}: (sellable, picked, damaged) is {found}, and there are {there}"
