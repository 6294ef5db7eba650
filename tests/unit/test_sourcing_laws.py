"""What must hold whatever happens in whatever order: units add up, nothing is promised twice, everything ends or waits until a date."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from schemas.channel import Completeness
from schemas.fulfilment import CancellationAnswered
from schemas.inventory import ReserveStock
from schemas.orders import OrderClosed
from schemas.reference import Policy
from schemas.sourcing import CancellationPassedOn, OrderSourced, Part
from schemas.topics import Body
from services.sourcing.service import service
from services.sourcing.state import Order
from shared.kernel.model import Key, Kind
from tests.support.sourcing import Trade, accepted, cancellation, goods, place, shipped
from tests.support.spec import as_stored

PLACES = tuple(place(f"s{n}", 44 + n, 2) for n in range(4))
SKUS = ("shirt", "shoes", "hat")
COMPLETENESS: tuple[Completeness, ...] = (
    "free",
    "free",
    "allocate_complete",
    "single_location",
    "deliver_together",
    "cancel_remainder",
)


class Day:
    """A day of trade with everything happening at once: answers are late, stock comes and goes, buyers and stores change their minds."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.trade = Trade(*PLACES, policy=Policy(policy="default", backorder_deadline_s=3_600, max_attempts=4))
        self.trade.stock({(sku, p.location): self.dice.randint(0, 4) for sku in SKUS for p in PLACES})
        self.orders: list[str] = []
        self.parts: dict[str, Part] = {}
        """Published, by id."""
        self.left: dict[tuple[str, str], int] = {}
        """(part, line) to units that a location can still ship or reject."""
        self.words: dict[str, CancellationPassedOn] = {}
        """Not answered by tracking yet."""
        self.lost: dict[tuple[str, str], int] = {}
        """(part, line) to units that a location lost, without those that a cancellation counted as its own."""
        self.lost_by: dict[str, dict[tuple[str, str], int]] = {}
        """The same when sourcing gave its word on a cancellation."""
        self.cancelled: dict[tuple[str, str], int] = {}
        """(order, line) to units that the last words cancelled."""

    def step(self) -> None:
        acts: list[Callable[[], None]] = [
            self.place,
            self.answer,
            self.answer,
            self.answer,
            self.arrive,
            self.walk_in,
            self.cancel,
            self.reject,
            self.ship,
            self.short,
            self.settle_cancel,
            self.publish_levels,
            self.wait,
        ]
        self.dice.choice(acts)()
        self.check()

    def tell(self, *bodies: Body) -> None:
        for body in self.trade.tell(*bodies):
            self.hear(body)

    def hear(self, body: Body) -> None:
        if isinstance(body, OrderSourced):
            for part in body.parts:
                assert part.part_id not in self.parts, "no number is used twice"
                self.parts[part.part_id] = part
                self.left.update({(part.part_id, line.line_id): line.quantity for line in part.lines})
        if isinstance(body, CancellationPassedOn):
            assert body.request_id not in self.words, "exactly one word"
            self.words[body.request_id] = body
            self.lost_by[body.request_id] = dict(self.lost)
            for line in body.cancelled:
                self.count_cancelled(body.order_id, line.line_id, line.quantity)

    def count_cancelled(self, order_id: str, line_id: str, units: int) -> None:
        self.cancelled[order_id, line_id] = self.cancelled.get((order_id, line_id), 0) + units

    # ---- what happens ----

    def place(self) -> None:
        order_id = f"web:{len(self.orders)}"
        self.orders.append(order_id)
        skus = self.dice.sample(SKUS, self.dice.randint(1, 3))
        lines = [goods(f"l{n}", sku, self.dice.randint(1, 3)) for n, sku in enumerate(skus)]
        terms: dict[str, Any] = {"completeness": self.dice.choice(COMPLETENESS), "priority": self.dice.randint(3, 6)}
        if self.dice.random() < 0.2:
            terms |= {"method": "click_and_collect", "collect_at": "s1"}
        self.tell(accepted(*lines, order_id=order_id, **terms))

    def answer(self) -> None:
        """The oldest unanswered command of some location."""
        queue = self.trade.unanswered
        if queue:
            location = getattr(self.dice.choice(queue), "location", "")
            command = next(c for c in queue if getattr(c, "location", "") == location)
            queue.remove(command)
            answer = self.trade.inventory.answer(command)
            if answer is not None:
                self.tell(answer)

    def arrive(self) -> None:
        self.tell(self.trade.arrive(self.dice.choice(SKUS), self.dice.choice(PLACES).location, self.dice.randint(1, 3)))

    def walk_in(self) -> None:
        sku, location = self.dice.choice(SKUS), self.dice.choice(PLACES).location
        if self.trade.inventory.atp(sku, location) > 0:
            self.trade.walk_in(sku, location)

    def cancel(self) -> None:
        if self.orders:
            order_id = self.dice.choice(self.orders)
            lines = [(line, self.dice.randint(1, 3)) for line in ("l0", "l1") if self.dice.random() < 0.7]
            if lines:
                request = f"cancel-{self.dice.random()}"
                self.tell(cancellation(*lines, request_id=request, order_id=order_id))

    def reject(self) -> None:
        for part_id, line_id, units in self.some_units():
            self.lose(part_id, line_id, units)
            cause = self.dice.choice(["rejected", "short", "dropped"])
            self.tell(self.trade.inventory.end(part_id, cause, (line_id, units)))

    def short(self) -> None:
        for part_id, line_id, units in self.some_units():
            self.lose(part_id, line_id, units)
            self.tell(self.trade.inventory.short(part_id, (line_id, units)))

    def ship(self) -> None:
        for part_id, line_id, units in self.some_units():
            self.left[part_id, line_id] -= units
            sku, location, held = self.trade.inventory.held[part_id][line_id]
            self.trade.inventory.held[part_id][line_id] = (sku, location, held - units)
            self.trade.inventory.put(sku, location, -units)
            self.tell(shipped(self.parts[part_id], (line_id, units)))

    def lose(self, part_id: str, line_id: str, units: int) -> None:
        self.left[part_id, line_id] -= units
        self.lost[part_id, line_id] = self.lost.get((part_id, line_id), 0) + units

    def some_units(self) -> list[tuple[str, str, int]]:
        able = [(*key, units) for key, units in self.left.items() if units > 0]
        if not able:
            return []
        part_id, line_id, units = self.dice.choice(able)
        return [(part_id, line_id, self.dice.randint(1, units))]

    def settle_cancel(self) -> None:
        """Tracking cancels what is left of it, and says so before or after inventory's word."""
        words = [word for word in self.words.values() if word.passed_on]
        if not words:
            return
        word = self.dice.choice(words)
        del self.words[word.request_id]
        facts: list[Body] = []
        done: dict[str, int] = {}
        late: dict[str, int] = {}
        for line in word.passed_on:
            at = (line.part_id, line.line_id)
            unseen = self.lost.get(at, 0) - self.lost_by[word.request_id].get(at, 0)
            lost = max(0, min(line.quantity, unseen))
            if lost:
                self.lost[at] -= lost
            now = min(line.quantity - lost, self.left[at]) if self.dice.random() < 0.7 else 0
            if now:
                self.left[at] -= now
                facts.append(self.trade.inventory.end(line.part_id, "cancelled", (line.line_id, now)))
            self.count_cancelled(word.order_id, line.line_id, now + lost)
            done[line.line_id] = done.get(line.line_id, 0) + now + lost
            late[line.line_id] = late.get(line.line_id, 0) + line.quantity - now - lost
        order_id = word.order_id
        said = cancellation(*((i, n) for i, n in done.items() if n), request_id=word.request_id, order_id=order_id)
        over = cancellation(*((i, n) for i, n in late.items() if n), request_id=word.request_id, order_id=order_id)
        answer = CancellationAnswered(order_id=order_id, request_id=word.request_id, cancelled=said.lines, too_late=over.lines)
        bodies: list[Body] = [*facts, answer]
        self.dice.shuffle(bodies)
        self.tell(*bodies)

    def publish_levels(self) -> None:
        inventory = self.trade.inventory
        for sku, location in inventory.sellable:
            self.trade.spec.documents(inventory.document(sku, location))

    def wait(self) -> None:
        self.let_pass(timedelta(seconds=self.dice.choice((1, 5, 60, 600))))

    def let_pass(self, by: timedelta) -> None:
        self.trade.decisions = []
        self.trade.spec.advance(by)
        self.trade._note()
        for body in self.trade.decisions:
            self.hear(body)

    # ---- what must hold ----

    def check(self) -> None:
        for order_id in self.orders:
            order = self.trade.spec.state("order", order_id)
            self.adds_up(order)
            timers = {name for key, name in self.trade.spec.timers if key == order.key}
            assert not order.waiting_units or "deadline" in timers
            assert not order.parts_in("asked", "withdrawn") or "answers" in timers
            assert not order.open_units, "nothing stays open between inputs"

    def adds_up(self, order: Order) -> None:
        for line in order.lines.values():
            in_parts = sum(p.units(line.line_id) for p in order.parts_in("asked", "reserved", "published"))
            where = line.open + line.waiting + in_parts + line.done + line.cancelled + line.unfillable
            assert where == line.ordered, (order.order_id, line, order.parts)
            assert min(line.open, line.waiting, line.done, line.cancelled, line.unfillable) >= 0

    def end(self) -> None:
        """The day is over: every answer comes, and every deadline."""
        for _ in range(20):
            while self.trade.unanswered:
                self.answer()
            while any(word.passed_on for word in self.words.values()):
                self.settle_cancel()
            self.let_pass(timedelta(hours=2))
            self.check()
        for order_id in self.orders:
            order = self.trade.spec.state("order", order_id)
            assert not order.waiting_units
            assert not order.parts_in("asked", "reserved", "withdrawn", "releasing"), order.parts
            for line in order.lines.values():
                assert line.cancelled == self.cancelled.get((order_id, line.line_id), 0), (order, line)
        assert not [key for key in self.trade.spec.world.states if key.kind in ("queue", "waiting")]
        self.published_is_what_is_held()
        self.publish_levels()
        for sku in SKUS:
            held = {p.location: self.trade.inventory.atp(sku, p.location) for p in PLACES}
            assert dict(self.trade.spec.view.free(sku)) == {name: units for name, units in held.items() if units > 0}

    def published_is_what_is_held(self) -> None:
        """No reservation is left behind, and nothing is published that isn't reserved."""
        held = {
            (part_id, line_id): units
            for part_id, lines in self.trade.inventory.held.items()
            for line_id, (_, _, units) in lines.items()
            if units
        }
        assert held == {at: units for at, units in self.left.items() if units}


@pytest.mark.parametrize("seed", range(60))
def test_units_add_up_and_everything_ends_or_waits(seed: int) -> None:
    day = Day(seed)
    for _ in range(150):
        day.step()
    day.end()
    for order_id in day.orders:
        day.tell(OrderClosed(order_id=order_id, outcome="completed"))
        assert day.trade.spec.state("order", order_id).lines == {}


def test_every_row_and_event_can_be_stored_and_read_again() -> None:
    """Through JSON, as the store does it."""
    seen: set[type] = set()
    states = 0
    for seed in range(8):
        day = Day(seed)
        fold = day.trade.spec.world.fold

        def noted(event: Any, fold: Callable[[Any], None] = fold) -> None:
            seen.add(type(event))
            assert as_stored(event) == event
            fold(event)

        day.trade.spec.world.fold = noted  # type: ignore[method-assign]
        for _ in range(120):
            day.step()
        for state in day.trade.spec.world.states.values():
            assert as_stored(state) == state
            states += 1
    assert states > 50
    assert len(seen) > 18


def kind_of(key: Key) -> Kind[Any]:
    return service.kind(key.kind)


def test_a_part_is_asked_with_distinct_numbers_for_ever() -> None:
    day = Day(99)
    asked: list[str] = []
    for _ in range(200):
        day.step()
        asked += [c.part_id for c in day.trade.unanswered if isinstance(c, ReserveStock) and c.part_id not in asked]
    assert len(asked) == len(set(asked))
