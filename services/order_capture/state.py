"""What order capture knows of one order: its content, lines, holds, requests, and money."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from schemas.channel import HoldType, LineKind, OrderContent, PaymentTerms, RequestAnswered
from schemas.forms import OrderSnapshot
from services.order_capture.rules import value_minor
from shared.kernel.model import Key
from shared.value import Value, field

Stage = Literal["unknown", "held", "accepted", "closed"]
"""unknown: not placed (yet); held: placed, nobody else has it; accepted: passed on; closed: nothing more is expected."""
Check = Literal["channel", "item", "address", "payment", "totals"]
"""Checks whose failure can be mended; also the id of the hold that such a failure opens."""
Outcome = Literal["completed", "partly_completed", "cancelled", "rejected"]
Effect = Literal["commercial", "instructions", "demand"]
MoneyRequest = Literal["capture", "void", "refund"]

MOST_CANCELS_IN_FLIGHT = 20
MOST_OPEN_HOLDS = 20
MOST_REMEMBERED_BYTES = 60_000
"""Answers kept for repeated requests, as JSON; beyond it a repeat is decided again."""
MOST_BOOKED_REPORTS = 500
"""Payment reports kept to recognise a repeat; the oldest go first, long after the kernel's own horizon would notice them."""
CAPTURING_TERMS: tuple[PaymentTerms, ...] = ("prepaid", "capture_on_shipment")
"""Terms under which this service takes the money; under the others somebody else does."""


def order_key(order_id: str) -> Key:
    return Key("order", order_id)


class Line(Value, frozen=True):
    """One line; quantities in the item's base unit."""

    line_id: str
    kind: LineKind
    quantity: int
    net_minor: int
    """The whole line after discounts, tax included."""
    shipped: int = 0
    handed_over: int = 0
    cancelled: int = 0
    unfillable: int = 0
    credited: int = 0

    @property
    def kept(self) -> int:
        """Units that are still to be had, or were."""
        return self.quantity - self.cancelled - self.unfillable

    @property
    def open(self) -> int:
        """Units that have not ended."""
        return self.kept - self.handed_over

    @property
    def unshipped(self) -> int:
        return self.kept - max(self.shipped, self.handed_over)

    @property
    def billable(self) -> int:
        """Units that left for the buyer and were not cancelled."""
        return max(0, min(max(self.shipped, self.handed_over), self.kept))

    def owed_minor(self) -> int:
        """What the buyer owes for the line in the end, as things stand."""
        return self._value(self.kept - self.credited)

    def billed_minor(self) -> int:
        """What the buyer owes for what has left so far."""
        return self._value(self.billable - self.credited)

    def value_between_minor(self, units: int, more: int) -> int:
        """What the `more` units after the first `units` are worth."""
        return self._value(units + more) - self._value(units)

    def _value(self, units: int) -> int:
        return value_minor(self.net_minor, self.quantity, max(0, min(units, self.quantity)))


class Hold(Value, frozen=True):
    """A reason why the order may not go on, with its end."""

    hold_id: str
    type: HoldType
    deadline: datetime
    check: Check | None = None
    """The failed check behind it; None for one that a channel set."""
    ending: Literal["cancel", "expired"] | None = None
    """Why it ends, while the cancellation it caused is under way."""


class Asked(Value, frozen=True):
    """A channel's request, as far as its answer needs it."""

    request_id: str
    request: str
    """Its type."""
    digest: str
    """Of its content, without request id, actor and reason."""
    unknown_fields: tuple[str, ...] = ()


class Answered(Value, frozen=True):
    """An answer kept for repeats of its request."""

    request_id: str
    digest: str
    answer: RequestAnswered
    size_bytes: int


class CancelWish(Value, frozen=True):
    """Units somebody wants cancelled: a channel, or this service itself."""

    cancel_id: str
    """The channel's request id, or one of our own."""
    asked: Asked | None
    """None: no channel waits for an answer."""
    units: dict[str, int] = field(default_factory=dict)
    """Units by line; empty means all that is left."""
    reason: str = ""
    hold_id: str | None = None
    """The hold that ends with it."""


class PendingCancel(Value, frozen=True):
    """A cancellation that others are asked about."""

    wish: CancelWish
    goods: dict[str, int]
    """Units by line that sourcing was asked for."""
    services: dict[str, int]
    """Units by line that nobody but this service holds."""
    beyond: dict[str, int]
    """Units by line that were wanted beyond what was left."""
    cancelled: dict[str, int] = field(default_factory=dict)
    """Goods cancelled so far by those who were asked."""
    sourcing_heard: bool = False
    passed_on: bool = False
    tracking_heard: bool = False

    @property
    def answered(self) -> bool:
        return self.sourcing_heard and (self.tracking_heard or not self.passed_on)


class PendingChange(Value, frozen=True):
    """A change that others are asked about."""

    asked: Asked
    snapshot: OrderSnapshot
    effect: Effect


class Payment(Value, frozen=True):
    """One payment: what the channel claims of it and what its provider reports."""

    payment_id: str
    claimed_authorised_minor: int = 0
    claimed_captured_minor: int = 0
    authorised_minor: int = 0
    captured_minor: int = 0
    """Captured without our request."""
    captured_for_us_minor: int = 0
    refunded_minor: int = 0
    """Refunded without our request."""
    refunded_for_us_minor: int = 0
    voided_minor: int = 0
    left_to_a_person_minor: int = 0
    """Refunds that the provider refused; an exception is open for each."""
    capture_refused: bool = False
    """Nothing more is captured from it until it is authorised anew."""
    void_refused: bool = False

    @property
    def earlier_minor(self) -> int:
        """Captured before and without us; the channel's claim and the provider's report mean the same money."""
        return max(self.claimed_captured_minor, self.captured_minor)

    @property
    def all_captured_minor(self) -> int:
        return self.earlier_minor + self.captured_for_us_minor

    @property
    def reserved_minor(self) -> int:
        """Authorised, in all, and not given up."""
        return max(self.claimed_authorised_minor, self.authorised_minor) - self.voided_minor

    @property
    def covers_minor(self) -> int:
        return max(self.reserved_minor, self.all_captured_minor)


class Operation(Value, frozen=True):
    """A payment request that its provider hasn't answered yet."""

    request_id: str
    kind: MoneyRequest
    payment_id: str
    amount_minor: int


class Money(Value, frozen=True):
    """The order's payments, what was asked of their providers, and credits given."""

    payments: dict[str, Payment] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    requested: int = 0
    """How many requests were made so far."""
    booked: tuple[str, ...] = ()
    """Reports taken into account."""
    credits: tuple[str, ...] = ()

    @property
    def covers_minor(self) -> int:
        return sum(payment.covers_minor for payment in self.payments.values())

    @property
    def earlier_minor(self) -> int:
        return sum(payment.earlier_minor for payment in self.payments.values())

    @property
    def taken_minor(self) -> int:
        """Captured or being captured, less what we gave back or are giving back."""
        captured = sum(payment.all_captured_minor for payment in self.payments.values()) + self.under_way("capture")
        refunded = sum(p.refunded_for_us_minor + p.left_to_a_person_minor for p in self.payments.values())
        return captured - refunded - self.under_way("refund")

    @property
    def refundable_minor(self) -> int:
        return sum(self.refundable_of(payment) for payment in self.payments.values())

    def under_way(self, kind: MoneyRequest, payment_id: str | None = None) -> int:
        """Requested and not answered, of one payment or of all."""
        return sum(
            operation.amount_minor
            for operation in self.operations.values()
            if operation.kind == kind and payment_id in (None, operation.payment_id)
        )

    def capturable_of(self, payment: Payment) -> int:
        return 0 if payment.capture_refused else self.unused_of(payment)

    def unused_of(self, payment: Payment) -> int:
        """Authorised and neither captured nor given up nor asked for."""
        asked = self.under_way("capture", payment.payment_id) + self.under_way("void", payment.payment_id)
        return max(0, payment.reserved_minor - payment.all_captured_minor - asked)

    def refundable_of(self, payment: Payment) -> int:
        """Captured and not given back; never negative."""
        gone = payment.refunded_minor + payment.refunded_for_us_minor + payment.left_to_a_person_minor
        return max(0, payment.all_captured_minor - gone - self.under_way("refund", payment.payment_id))


class Order(Value, frozen=True):
    """One order from placing to closing, and its money for ever."""

    order_id: str
    stage: Stage = "unknown"
    outcome: Outcome | None = None
    placed: Asked | None = None
    placed_at: datetime | None = None
    channel: str = ""
    currency: str = ""
    terms: PaymentTerms = "capture_on_shipment"
    charges_minor: int = 0
    content: OrderContent | None = None
    """As the channel states it; kept until the order is accepted."""
    snapshot: OrderSnapshot | None = None
    """As accepted."""
    demand_revision: int = 0
    """The revision that last replaced its lines after acceptance."""
    lines: dict[str, Line] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    waived: tuple[Check, ...] = ()
    """Failed checks that a person let pass."""
    awaits: tuple[str, ...] = ()
    """References of items it waits for."""
    answers: tuple[Answered, ...] = ()
    cancels: dict[str, PendingCancel] = field(default_factory=dict)
    queued: tuple[CancelWish, ...] = ()
    """Cancels that wait for the end of a change."""
    change: PendingChange | None = None
    invoices: int = 0
    money: Money = field(default_factory=Money)

    @property
    def key(self) -> Key:
        return order_key(self.order_id)

    @property
    def goods(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines.values() if line.kind == "goods")

    @property
    def services(self) -> tuple[Line, ...]:
        """What is handed over without being sourced: services and gift cards."""
        return tuple(line for line in self.lines.values() if line.kind != "goods")

    @property
    def cancel_after(self) -> datetime | None:
        stated = self.snapshot or self.content
        return stated.cancel_after if stated is not None else None

    @property
    def busy(self) -> bool:
        """Whether somebody still has to answer a cancel or change."""
        return bool(self.cancels or self.queued or self.change)

    @property
    def all_ended(self) -> bool:
        return all(line.open <= 0 for line in self.lines.values())

    @property
    def owed_minor(self) -> int:
        """What the buyer owes in the end, as things stand; charges only while anything is to be had."""
        return self._charges_minor + sum(line.owed_minor() for line in self.lines.values())

    @property
    def billed_minor(self) -> int:
        """What the buyer owes for what has left so far; the charges go with the first units."""
        charges = self.charges_minor if any(line.billable > 0 for line in self.lines.values()) else 0
        return charges + sum(line.billed_minor() for line in self.lines.values())

    @property
    def keepable_minor(self) -> int:
        """What may stay captured: what is billed, and whatever was captured before and is owed in the end.

        Charges stay even where the only parcel came back, as long as another one will bear them: an authorisation once
        captured and refunded could not be captured again.
        """
        billed = self._charges_minor + sum(line.billed_minor() for line in self.lines.values())
        return max(billed, min(self.owed_minor, self.money.earlier_minor))

    @property
    def _charges_minor(self) -> int:
        return self.charges_minor if any(line.kept > 0 for line in self.lines.values()) else 0

    def left_of(self, line: Line) -> int:
        """Units that can still be asked to be cancelled: open, and not asked for by a cancel in flight."""
        asked = sum(pending.goods.get(line.line_id, 0) + pending.services.get(line.line_id, 0) for pending in self.cancels.values())
        return max(0, line.open - asked)

    def answers_to(self, request_id: str) -> tuple[Answered, ...]:
        return tuple(answered for answered in self.answers if answered.request_id == request_id)

    def waiting_requests(self) -> Iterator[Asked]:
        """Requests whose answer is still to come."""
        wishes = (*(pending.wish for pending in self.cancels.values()), *self.queued)
        yield from (wish.asked for wish in wishes if wish.asked is not None)
        if self.change is not None:
            yield self.change.asked
