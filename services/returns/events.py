"""What happened to the rows of returns, and how each event folds. Folding never judges."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from schemas.returns import Disposition, ReturnAuthorised, ReturnCancelled, ReturnDeclined
from services.returns.state import (
    Answer,
    Answered,
    Ending,
    Line,
    Parcel,
    Purchase,
    Receipt,
    ReceiptOwner,
    Return,
    Slot,
    is_line,
    parcel_key,
    purchase_key,
    receipt_key,
    request_key,
)
from shared.kernel.model import Key
from shared.value import Value, replace


class Units(Value, frozen=True):
    """A number of units of something named: a line, a return, a parcel."""

    name: str
    quantity: int


class LineItem(Value, frozen=True):
    line_id: str
    sku: str
    quantity: int


class PurchaseEvent(Value, frozen=True):
    """What every event of an order's row carries."""

    order_id: str

    @property
    def key(self) -> Key:
        return purchase_key(self.order_id)


class OrderNoted(PurchaseEvent, frozen=True):
    """The order's content as it stands now."""

    policy: str
    lines: tuple[LineItem, ...]


class CancellationNoted(PurchaseEvent, frozen=True):
    """Units that will never be handed over."""

    lines: tuple[Units, ...]


class HandOverNoted(PurchaseEvent, frozen=True):
    lines: tuple[LineItem, ...]
    at: datetime


class ParcelReturnNoted(PurchaseEvent, frozen=True):
    """A carrier brought the parcel back instead of delivering it."""

    parcel: str
    lines: tuple[Units, ...]


class ReturnOpened(PurchaseEvent, frozen=True):
    return_id: str
    lines: tuple[Units, ...]
    return_to: str | None
    expires_at: datetime


class ReturnEnded(PurchaseEvent, frozen=True):
    return_id: str
    how: Ending


class UnitsReceived(PurchaseEvent, frozen=True):
    """Units of one slot of a receipt, by what explains them."""

    receipt: str
    return_id: str | None
    """The return the receipt names, if that is one of this order."""
    slot: str
    sku: str
    covered: tuple[Units, ...] = ()
    """By the return that announced them."""
    unannounced: int = 0
    """Handed over once; nobody said they would come back. For a slot without line: all of them."""
    undelivered: tuple[Units, ...] = ()
    """By the parcel the carrier could not deliver."""
    beyond: int = 0
    """More than was ever handed over."""

    @property
    def received(self) -> int:
        """Units from the buyer."""
        return sum(units.quantity for units in self.covered) + self.unannounced + self.beyond

    @property
    def unexpected(self) -> int:
        return self.unannounced + self.beyond

    @property
    def returned_by_carrier(self) -> int:
        return sum(units.quantity for units in self.undelivered)


class UnitsInspected(PurchaseEvent, frozen=True):
    receipt: str
    slot: str
    sku: str
    disposition: Disposition
    quantity: int
    total: int
    """Running total of this slot and disposition, these units included."""
    from_buyer: int
    """Units among them that came from the buyer, not from a carrier."""


class UnitsClaimed(PurchaseEvent, frozen=True):
    """Units inspected as goods of nobody were reported again with their order: the stock has moved already."""

    receipt: str
    slot: str
    disposition: Disposition
    quantity: int


class CreditNoted(PurchaseEvent, frozen=True):
    lines: tuple[Units, ...]


class ExceptionNoted(PurchaseEvent, frozen=True):
    number: int


class ParcelNoted(Value, frozen=True):
    tracking_number: str
    order_id: str
    parcel: str

    @property
    def key(self) -> Key:
        return parcel_key(self.tracking_number)


class ReceiptAssigned(Value, frozen=True):
    receipt: str
    order_id: str

    @property
    def key(self) -> Key:
        return receipt_key(self.receipt)


class AnswerNoted(Value, frozen=True):
    order_id: str
    request_id: str
    digest: str
    authorised: ReturnAuthorised | None = None
    declined: ReturnDeclined | None = None
    cancelled: ReturnCancelled | None = None

    @property
    def key(self) -> Key:
        return request_key(self.order_id, self.request_id)

    @classmethod
    def of(cls, digest: str, request_id: str, answer: Answer) -> AnswerNoted:
        match answer:
            case ReturnAuthorised():
                return cls(answer.order_id, request_id, digest, authorised=answer)
            case ReturnDeclined():
                return cls(answer.order_id, request_id, digest, declined=answer)
            case ReturnCancelled():
                return cls(answer.order_id, request_id, digest, cancelled=answer)
            case _:
                assert_never(answer)


class ReuseNoted(Value, frozen=True):
    """Other content came under a request id that has its answer."""

    order_id: str
    request_id: str
    digest: str

    @property
    def key(self) -> Key:
        return request_key(self.order_id, self.request_id)


AnyPurchaseEvent = (
    OrderNoted
    | CancellationNoted
    | HandOverNoted
    | ParcelReturnNoted
    | ReturnOpened
    | ReturnEnded
    | UnitsReceived
    | UnitsInspected
    | UnitsClaimed
    | CreditNoted
    | ExceptionNoted
)
PURCHASE_EVENTS = (
    OrderNoted,
    CancellationNoted,
    HandOverNoted,
    ParcelReturnNoted,
    ReturnOpened,
    ReturnEnded,
    UnitsReceived,
    UnitsInspected,
    UnitsClaimed,
    CreditNoted,
    ExceptionNoted,
)


def evolve_purchase(purchase: Purchase, event: AnyPurchaseEvent) -> Purchase:  # noqa: C901 - one arm for each event
    match event:
        case OrderNoted():
            return replace(purchase, policy=event.policy, lines=_with_content(purchase, event))
        case CancellationNoted():
            cancelled = ((u.name, _cancelled(purchase.line(u.name), u.quantity)) for u in event.lines)
            return _with_lines(purchase, cancelled)
        case HandOverNoted():
            return _handed_over(purchase, event)
        case ParcelReturnNoted():
            lines = {units.name: units.quantity for units in event.lines}
            return replace(purchase, came_back={**purchase.came_back, event.parcel: lines})
        case ReturnOpened():
            opened = Return({u.name: u.quantity for u in event.lines}, event.return_to, event.expires_at)
            return replace(purchase, returns={**purchase.returns, event.return_id: opened})
        case ReturnEnded():
            returns = {name: kept for name, kept in purchase.returns.items() if name != event.return_id}
            return replace(purchase, returns=returns, ended={**purchase.ended, event.return_id: event.how})
        case UnitsReceived():
            return _received(purchase, event)
        case UnitsInspected():
            return _inspected(purchase, event)
        case UnitsClaimed():
            slot = purchase.receipts[event.receipt].slots[event.slot]
            claimed = {**slot.claimed, event.disposition: slot.claimed.get(event.disposition, 0) + event.quantity}
            return _with_slot(purchase, event.receipt, event.slot, replace(slot, claimed=claimed))
        case CreditNoted():
            lines_credited = ((u.name, _credited(purchase.line(u.name), u.quantity)) for u in event.lines)
            return replace(_with_lines(purchase, lines_credited), credits=purchase.credits + 1)
        case ExceptionNoted():
            return replace(purchase, exceptions=event.number)
        case _:
            assert_never(event)


def evolve_parcel(_: Parcel, event: ParcelNoted) -> Parcel:
    return Parcel(event.order_id, event.parcel)


def evolve_receipt(_: ReceiptOwner, event: ReceiptAssigned) -> ReceiptOwner:
    return ReceiptOwner(event.order_id)


def evolve_request(answered: Answered, event: AnswerNoted | ReuseNoted) -> Answered:
    match event:
        case AnswerNoted():
            return Answered(event.digest, event.authorised, event.declined, event.cancelled)
        case ReuseNoted():
            return replace(answered, reused=(*answered.reused, event.digest))
        case _:
            assert_never(event)


def _with_lines(purchase: Purchase, lines: Iterable[tuple[str, Line]]) -> Purchase:
    return replace(purchase, lines={**purchase.lines, **dict(lines)})


def _with_content(purchase: Purchase, event: OrderNoted) -> dict[str, Line]:
    """A line the order no longer has stays, with nothing ordered: its units may still come back."""
    lines = {line_id: replace(line, ordered=0) for line_id, line in purchase.lines.items()}
    for item in event.lines:
        line = lines.get(item.line_id)
        if line is None:
            lines[item.line_id] = Line((item.sku,), item.quantity)
        else:
            lines[item.line_id] = replace(line, ordered=item.quantity, skus=_and(line.skus, item.sku))
    return lines


def _and(skus: tuple[str, ...], sku: str) -> tuple[str, ...]:
    return skus if sku in skus else (*skus, sku)


def _cancelled(line: Line, quantity: int) -> Line:
    return replace(line, cancelled=line.cancelled + quantity)


def _credited(line: Line, quantity: int) -> Line:
    return replace(line, credited=line.credited + quantity)


def _handed_over(purchase: Purchase, event: HandOverNoted) -> Purchase:
    for item in event.lines:
        line = purchase.line(item.line_id)
        at = event.at if line.handed_over_at is None else max(line.handed_over_at, event.at)
        handed_over = line.handed_over + item.quantity
        line = replace(line, handed_over=handed_over, handed_over_at=at, skus=_and(line.skus, item.sku))
        purchase = _with_lines(purchase, ((item.line_id, line),))
    return purchase


def _with_slot(purchase: Purchase, receipt: str, name: str, slot: Slot) -> Purchase:
    before = purchase.receipts.get(receipt, Receipt())
    after = replace(before, slots={**before.slots, name: slot})
    return replace(purchase, receipts={**purchase.receipts, receipt: after})


def _received(purchase: Purchase, event: UnitsReceived) -> Purchase:
    came, returned = event.received, event.returned_by_carrier
    slot = purchase.slot(event.receipt, event.slot, event.sku)
    slot = replace(slot, received=slot.received + came, undelivered=slot.undelivered + returned)
    purchase = _with_slot(purchase, event.receipt, event.slot, slot)
    purchase = _naming(purchase, event.receipt, event.return_id)
    if not is_line(event.slot):
        return purchase
    line = purchase.line(event.slot)
    line = replace(line, received=line.received + came, undelivered=line.undelivered + returned)
    purchase = _with_lines(purchase, ((event.slot, line),))
    return replace(purchase, returns=_less_expected(purchase, event), came_back=_less_under_way(purchase, event))


def _naming(purchase: Purchase, receipt: str, return_id: str | None) -> Purchase:
    known = purchase.receipts[receipt]
    named = replace(known, return_id=known.return_id or return_id)
    return replace(purchase, receipts={**purchase.receipts, receipt: named})


def _less_expected(purchase: Purchase, event: UnitsReceived) -> dict[str, Return]:
    returns = dict(purchase.returns)
    for units in event.covered:
        expected = returns[units.name]
        lines = {**expected.lines, event.slot: expected.lines[event.slot] - units.quantity}
        returns[units.name] = replace(expected, lines=lines)
    return returns


def _less_under_way(purchase: Purchase, event: UnitsReceived) -> dict[str, dict[str, int]]:
    came_back = dict(purchase.came_back)
    for units in event.undelivered:
        lines = came_back[units.name]
        came_back[units.name] = {**lines, event.slot: lines[event.slot] - units.quantity}
    return came_back


def _inspected(purchase: Purchase, event: UnitsInspected) -> Purchase:
    slot = purchase.slot(event.receipt, event.slot, event.sku)
    slot = replace(slot, inspected={**slot.inspected, event.disposition: event.total})
    purchase = _with_slot(purchase, event.receipt, event.slot, slot)
    if not is_line(event.slot):
        return purchase
    line = purchase.line(event.slot)
    return _with_lines(purchase, ((event.slot, replace(line, inspected=line.inspected + event.from_buyer)),))
