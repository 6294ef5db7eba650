"""Laws that hold whatever happens to an order: cents add up, nothing is taken or given back twice, every order ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.channel import Discount, RequestAnswered
from schemas.fulfilment import CancellationAnswered
from schemas.orders import CancellationRequested, OrderClosed, OrderInvoiced
from schemas.payments import CapturePayment, PaymentDeclined, PaymentRequest, RefundPayment
from schemas.sourcing import CancellationPassedOn
from schemas.topics import Body
from services.order_capture.rules import spread, value_minor
from services.order_capture.state import Order
from tests.support.order_capture import (
    ORDER,
    answered,
    came_back,
    cancel,
    capture,
    credit_due,
    done,
    handed_over,
    hold,
    mug,
    not_collected,
    paid,
    passed_on,
    place,
    resolve,
    shipped,
    shipping,
    shirts,
)
from tests.support.spec import START, Spec, as_stored

AMOUNTS = st.integers(0, 10_000)


@given(net=AMOUNTS, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_scenario_11_the_pieces_of_a_line_add_up_to_the_line(net: int, cuts: list[int]) -> None:
    quantity, before, pieces = sum(cuts), 0, []
    for units in cuts:
        pieces.append(value_minor(net, quantity, before + units) - value_minor(net, quantity, before))
        before += units
    assert sum(pieces) == net
    assert all(piece >= 0 for piece in pieces)


@given(amount=AMOUNTS, rooms=st.lists(AMOUNTS, max_size=5))
def test_an_amount_is_spread_over_what_room_there_is(amount: int, rooms: list[int]) -> None:
    taken = spread(amount, rooms)
    assert sum(taken) == min(amount, sum(rooms))
    assert all(0 <= part <= room for part, room in zip(taken, rooms, strict=True))


class Life:
    """An order that lives through whatever its neighbours may truly say, with a provider that answers in between."""

    def __init__(self, terms: str, charges_minor: int, discount_minor: int) -> None:
        line = shirts(5, 333, discounts=(Discount(amount_minor=discount_minor),))
        status = "captured" if terms == "prepaid" else "authorised"
        drawn = paid(line, mug(3), payment_terms=terms, charges=(shipping(charges_minor),), status=status)
        self.total_minor = drawn.totals.total_minor
        self.spec = capture()
        self.published: list[Body] = []
        self.unanswered: list[PaymentRequest] = []
        self.captured_minor = self.total_minor if terms == "prepaid" else 0
        self.refunded_minor = 0
        self.tell(place(drawn))

    @property
    def order(self) -> Order:
        state = self.spec.state("order", ORDER)
        assert isinstance(state, Order)
        return state

    def tell(self, body: Body) -> None:
        self._note(self.spec.when(body))

    def wait(self, days: int) -> None:
        self._note(self.spec.advance(timedelta(days=days)))

    def pay(self, refuse: bool) -> None:
        """The provider answers the oldest request."""
        if not self.unanswered:
            return
        request = self.unanswered.pop(0)
        if refuse:
            self.tell(_refused(request))
            return
        if isinstance(request, CapturePayment):
            self.captured_minor += request.amount_minor
        if isinstance(request, RefundPayment):
            self.refunded_minor += request.amount_minor
        self.tell(done(request))

    def _note(self, spec: Spec) -> None:
        self.published += spec.published
        self.unanswered += [message for message in spec.published if isinstance(message, PaymentRequest)]


def _refused(request: PaymentRequest) -> PaymentDeclined:
    return PaymentDeclined(
        order_id=ORDER,
        payment_id=request.payment_id,
        amount_minor=request.amount_minor,
        currency="EUR",
        occurred_at=START,
        request_id=request.request_id,
    )


class Neighbours:
    """Sourcing, tracking and returns: they say only what can be true, in an order of their own."""

    def __init__(self, life: Life, draw: Callable[[int], int]) -> None:
        self.life, self.draw = life, draw
        self.cancels = 0
        self.credits = 0
        self.open: list[CancellationRequested] = []

    def step(self, choice: int) -> None:
        steps = (self._ship, self._hand_over, self._come_back, self._credit, self._cancel, self._answer, self._leave)
        before = len(self.life.published)
        steps[choice % len(steps)]()
        fresh = self.life.published[before:]
        self.open += [message for message in fresh if isinstance(message, CancellationRequested)]

    def finish(self) -> None:
        """Everything asked is answered, everything left is handed over."""
        while self.open:
            self._answer()
        for name, line in self.life.order.lines.items():
            if line.open > 0:
                self.life.tell(handed_over(**{name: line.open}))

    def _some(self, room: Callable[[str], int]) -> dict[str, int]:
        chosen = {name: self.draw(max(0, room(name))) for name in self.life.order.lines}
        return {name: units for name, units in chosen.items() if units > 0}

    def _free(self, name: str) -> int:
        """Units no open cancel asks for: what neighbours may still move."""
        asked = sum(line.quantity for request in self.open for line in request.lines if line.line_id == name)
        return self.life.order.lines[name].unshipped - asked

    def _ship(self) -> None:
        if units := self._some(self._free):
            self.life.tell(shipped(**units))

    def _in_transit(self, name: str) -> int:
        line = self.life.order.lines[name]
        return line.shipped - line.handed_over

    def _hand_over(self) -> None:
        if units := self._some(self._in_transit):
            self.life.tell(handed_over(**units))

    def _come_back(self) -> None:
        if units := self._some(self._in_transit):
            self.life.tell(came_back(**units))

    def _leave(self) -> None:
        if units := self._some(self._free):
            self.life.tell(not_collected(**units))

    def _credit(self) -> None:
        def returnable(name: str) -> int:
            return self.life.order.lines[name].handed_over - self.life.order.lines[name].credited

        if units := self._some(returnable):
            self.credits += 1
            self.life.tell(credit_due(f"credit-{self.credits}", **units))

    def _cancel(self) -> None:
        self.cancels += 1
        units = self._some(lambda name: 3)
        self.life.tell(cancel(f"cancel-{self.cancels}", **units))

    def _answer(self) -> None:
        if not self.open:
            return
        request = self.open.pop(0)
        asked = {line.line_id: line.quantity for line in request.lines}
        own = {name: self.draw(units) for name, units in asked.items()}
        rest = {name: units - own[name] for name, units in asked.items() if units > own[name]}
        late = {name: self.draw(units) for name, units in rest.items()}
        dropped = {name: units - late[name] for name, units in rest.items()}
        words: list[CancellationPassedOn | CancellationAnswered] = [passed_on(request.request_id, _positive(own), rest)]
        if rest:
            words.insert(self.draw(1), answered(request.request_id, _positive(dropped), **_positive(late)))
        for word in words:
            self.life.tell(word)


def _positive(units: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in units.items() if count > 0}


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    terms=st.sampled_from(["prepaid", "capture_on_shipment"]),
    charges=st.sampled_from([0, 490]),
    discount=st.integers(0, 1665),
    steps=st.lists(st.integers(0, 9), max_size=30),
)
def test_scenario_11_whatever_happens_the_buyer_pays_exactly_for_what_they_keep(
    data: st.DataObject, terms: str, charges: int, discount: int, steps: list[int]
) -> None:
    """Ship, cancel, lose, return in any order: at the end captured less refunded is the value of the units kept, to the cent."""
    life = Life(terms, charges, discount)
    neighbours = Neighbours(life, lambda most: data.draw(st.integers(0, most)))
    for choice in steps:
        if choice < 7:
            neighbours.step(choice)
        else:
            life.pay(refuse=False)
        assert 0 <= life.refunded_minor <= life.captured_minor <= life.total_minor
    neighbours.finish()
    while life.unanswered:
        life.pay(refuse=False)
    order = life.order
    assert order.stage == "closed"
    assert len([message for message in life.published if isinstance(message, OrderClosed)]) == 1
    assert life.captured_minor - life.refunded_minor == order.owed_minor
    assert order.money.operations == {}
    _check_papers(life)
    assert as_stored(order) == order


@settings(max_examples=200, deadline=None)
@given(data=st.data(), steps=st.lists(st.integers(0, 10), max_size=40))
def test_refusals_never_lead_to_asking_for_ever_or_for_too_much(data: st.DataObject, steps: list[int]) -> None:
    life = Life("capture_on_shipment", 490, 7)
    neighbours = Neighbours(life, lambda most: data.draw(st.integers(0, most)))
    for choice in steps:
        if choice < 7:
            neighbours.step(choice)
        else:
            life.pay(refuse=choice % 2 == 0)
        assert 0 <= life.refunded_minor <= life.captured_minor <= life.total_minor
    neighbours.finish()
    for _ in range(100):
        life.pay(refuse=True)
    assert life.unanswered == []
    assert life.order.stage == "closed"


def _check_papers(life: Life) -> None:
    """Invoices never exceed the total; each request got one answer; each payment request has an id of its own."""
    invoiced = sum(message.amount_minor for message in life.published if isinstance(message, OrderInvoiced))
    assert invoiced <= life.total_minor
    answers = [message.request_id for message in life.published if isinstance(message, RequestAnswered)]
    assert len(answers) == len(set(answers))
    requests = [message.request_id for message in life.published if isinstance(message, PaymentRequest)]
    assert len(requests) == len(set(requests))


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.integers(0, 5), max_size=25), days=st.integers(1, 5))
def test_scenario_15_a_held_order_ends_or_waits_with_a_deadline(steps: list[int], days: int) -> None:
    life = Life("on_account", 0, 0)
    for number, choice in enumerate(steps):
        asks: tuple[Body, ...] = (
            hold(f"hold-{number % 3}", f"hold-{number}"),
            resolve(f"hold-{number % 3}", "release", f"resolve-{number}"),
            resolve(f"hold-{number % 3}", "cancel", f"resolve-{number}"),
            cancel(f"cancel-{number}", shirts=1),
        )
        if choice < len(asks):
            life.tell(asks[choice])
        else:
            life.wait(days)
    waits = life.spec.timers
    for hold_id in life.order.holds:
        ending = life.order.holds[hold_id].ending is not None
        assert ending or (life.order.key, f"hold:{hold_id}") in waits
    asked = [message for message in life.published if isinstance(message, CancellationRequested)]
    for request in asked:
        life.tell(passed_on(request.request_id, {line.line_id: line.quantity for line in request.lines}))
    requested = len(steps) + 1
    assert len([m for m in life.published if isinstance(m, RequestAnswered)]) <= requested
    assert not life.order.cancels
