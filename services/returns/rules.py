"""The arithmetic of returns: how much may come back, what explains units that came, what an inspection adds, what is owed.

Reports carry running totals within a receipt; everything here works on what a report adds to what is booked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from schemas.returns import InspectedUnits, ReceivedLine
from services.returns.events import Units, UnitsInspected, UnitsReceived, evolve_purchase
from services.returns.state import Purchase, Receipt, in_order, is_line, slot_of_item
from shared.value import Value, replace

MAX_RETURNS = 100
"""Most returns one order may have, ever."""
MAX_EXPECTED_LINES = 2_000
"""Most lines in all open returns of one order."""

Offer = tuple[str, int]
"""A name, and how many units it can take."""
Entry = TypeVar("Entry", ReceivedLine, InspectedUnits)


class Delivery(Value, frozen=True):
    """One report of a receipt, as far as it tells whose units these are."""

    order_id: str
    receipt: str
    """`<location>:<receipt>`."""
    return_id: str | None = None
    """The return it names, if that is one of the order."""
    parcel: str | None = None
    """`<part>:<parcel>` of the order, where it names a tracking number."""


def window_is_over(purchase: Purchase, line_id: str, at: datetime, window: timedelta) -> bool:
    handed_over_at = purchase.line(line_id).handed_over_at
    return handed_over_at is not None and at > handed_over_at + window


def is_full(purchase: Purchase, lines: int) -> bool:
    """Whether one more return of so many lines is more than one order may have."""
    expected = sum(len(expected.lines) for expected in purchase.returns.values())
    return len(purchase.returns) + len(purchase.ended) >= MAX_RETURNS or expected + lines > MAX_EXPECTED_LINES


def credit_due(purchase: Purchase) -> tuple[Units, ...]:
    due = ((line_id, line.credit_due) for line_id, line in in_order(purchase.lines))
    return tuple(Units(line_id, quantity) for line_id, quantity in due if quantity)


def arrivals(purchase: Purchase, delivery: Delivery, lines: Sequence[ReceivedLine]) -> tuple[UnitsReceived, ...]:
    """What a report of received units adds."""
    events: list[UnitsReceived] = []
    for entry in _named_first(purchase, lines):
        for added in _received_more(purchase, delivery, entry, lines):
            events.append(explain(purchase, delivery, added.name, entry.sku, added.quantity))
            purchase = evolve_purchase(purchase, events[-1])
    return tuple(events)


def findings(purchase: Purchase, delivery: Delivery, units: Sequence[InspectedUnits]) -> tuple[UnitsReceived | UnitsInspected, ...]:
    """What a report of inspected units adds. What is inspected before its receipt was told is thereby received."""
    events: list[UnitsReceived | UnitsInspected] = []
    for entry in _named_first(purchase, units):
        for added in _inspected_more(purchase, delivery, entry, units):
            lacking = added.quantity - purchase.slot(delivery.receipt, added.name, entry.sku).uninspected
            if lacking > 0:
                events.append(explain(purchase, delivery, added.name, entry.sku, lacking))
                purchase = evolve_purchase(purchase, events[-1])
            events.append(_inspection(purchase, delivery, added, entry))
            purchase = evolve_purchase(purchase, events[-1])
    return tuple(events)


def explain(purchase: Purchase, delivery: Delivery, slot: str, sku: str, quantity: int) -> UnitsReceived:
    """Why units may be here: their undelivered parcel, a return, a hand-over, another undelivered parcel, or nothing."""
    event = UnitsReceived(delivery.order_id, delivery.receipt, delivery.return_id, slot, sku)
    if not is_line(slot):
        return replace(event, unannounced=quantity)
    line = purchase.line(slot)
    room = quantity if purchase.policy is None else line.never_handed_over
    own, others = _undelivered(purchase, slot, delivery.parcel)
    undelivered = take(min(quantity, room), own)
    left = quantity - total_of(undelivered)
    covered = take(left, _expected(purchase, slot, delivery.return_id))
    left -= total_of(covered)
    unannounced = min(left, max(0, line.handed_over - line.received - total_of(covered)))
    undelivered += take(min(left - unannounced, room - total_of(undelivered)), others)
    beyond = quantity - total_of(covered) - unannounced - total_of(undelivered)
    return replace(event, covered=covered, unannounced=unannounced, undelivered=undelivered, beyond=beyond)


def take(wanted: int, offers: Iterable[Offer]) -> tuple[Units, ...]:
    """At most `wanted` units of the offers, in turn."""
    taken: list[Units] = []
    for name, offered in offers:
        quantity = min(wanted, offered)
        if quantity > 0:
            taken.append(Units(name, quantity))
            wanted -= quantity
    return tuple(taken)


def total_of(units: Iterable[Units]) -> int:
    return sum(part.quantity for part in units)


def named_line(purchase: Purchase, entry: ReceivedLine | InspectedUnits) -> str | None:
    """The line an entry names, if that line is of its item; otherwise the item alone decides."""
    if entry.line_id is None or entry.sku not in purchase.line(entry.line_id).skus:
        return None
    return entry.line_id


def _named_first(purchase: Purchase, entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: named_line(purchase, entry) is None)


def _received_more(purchase: Purchase, delivery: Delivery, entry: ReceivedLine, lines: Sequence[ReceivedLine]) -> tuple[Units, ...]:
    """Units an entry adds, by slot. A total without a line counts its item, beside the lines the same report names."""
    line_id = named_line(purchase, entry)
    if line_id is not None:
        more = entry.total - purchase.slot(delivery.receipt, line_id, entry.sku).total
        return take(more, ((line_id, more),))
    named = sum(other.total for other in lines if other.sku == entry.sku and named_line(purchase, other))
    slots = purchase.receipts.get(delivery.receipt, Receipt()).slots.values()
    booked = sum(slot.total for slot in slots if slot.sku == entry.sku)
    return _spread(purchase, delivery, entry.sku, entry.total + named - booked)


def _inspected_more(purchase: Purchase, delivery: Delivery, entry: InspectedUnits, units: Sequence[InspectedUnits]) -> tuple[Units, ...]:
    """The same for inspected units; a total without a line goes to received units first."""
    line_id, kind = named_line(purchase, entry), entry.disposition
    if line_id is not None:
        more = entry.total - purchase.slot(delivery.receipt, line_id, entry.sku).inspected.get(kind, 0)
        return take(more, ((line_id, more),))
    same = (other for other in units if other.sku == entry.sku and other.disposition == kind)
    named = sum(other.total for other in same if named_line(purchase, other))
    slots = purchase.receipts.get(delivery.receipt, Receipt()).slots
    booked = sum(slot.inspected.get(kind, 0) for slot in slots.values() if slot.sku == entry.sku)
    more = entry.total + named - booked
    received = take(more, ((name, slot.uninspected) for name, slot in in_order(slots) if slot.sku == entry.sku))
    return received + _spread(purchase, delivery, entry.sku, more - total_of(received))


def _spread(purchase: Purchase, delivery: Delivery, sku: str, quantity: int) -> tuple[Units, ...]:
    """Units of an item: to its lines that can explain them, those of the named return first; the rest to the first line."""
    lines = [line_id for line_id, line in in_order(purchase.lines) if sku in line.skus]
    if not lines:
        return take(quantity, ((slot_of_item(sku), quantity),))
    lines.sort(key=lambda line_id: -_eagerness(purchase, delivery, line_id))
    taken = take(quantity, ((line_id, _explicable(purchase, line_id)) for line_id in lines))
    left = quantity - total_of(taken)
    return taken if left <= 0 else (*taken, Units(lines[0], left))


def _eagerness(purchase: Purchase, delivery: Delivery, line_id: str) -> int:
    """2: the parcel or return the report names holds units of the line; 1: another return does; 0: none."""
    own_parcel = purchase.came_back.get(delivery.parcel or "", {}).get(line_id, 0)
    own_return = purchase.returns.get(delivery.return_id or "")
    if own_parcel or (own_return and own_return.lines.get(line_id, 0)):
        return 2
    return 1 if purchase.expected(line_id) else 0


def _explicable(purchase: Purchase, line_id: str) -> int:
    """Most units of the line whose coming back needs no exception."""
    line = purchase.line(line_id)
    undelivered = sum(lines.get(line_id, 0) for lines in purchase.came_back.values())
    return max(0, line.handed_over - line.received) + undelivered


def _undelivered(purchase: Purchase, line_id: str, parcel: str | None) -> tuple[list[Offer], list[Offer]]:
    """Units of the line that carriers returned: in this parcel, and in the others."""
    offers = [(name, lines.get(line_id, 0)) for name, lines in in_order(purchase.came_back)]
    return [offer for offer in offers if offer[0] == parcel], [offer for offer in offers if offer[0] != parcel]


def _expected(purchase: Purchase, line_id: str, return_id: str | None) -> list[Offer]:
    """Units of the line in open returns: the named one first, then the oldest."""
    offers = [(name, expected.lines.get(line_id, 0)) for name, expected in in_order(purchase.returns)]
    return sorted(offers, key=lambda offer: offer[0] != return_id)


def _inspection(purchase: Purchase, delivery: Delivery, added: Units, entry: InspectedUnits) -> UnitsInspected:
    """Of a slot's units those a carrier returned count as inspected first: no credit is due for them."""
    slot = purchase.slot(delivery.receipt, added.name, entry.sku)
    before = sum(slot.inspected.values())
    from_buyer = max(0, before + added.quantity - slot.undelivered) - max(0, before - slot.undelivered)
    total = slot.inspected.get(entry.disposition, 0) + added.quantity
    return UnitsInspected(
        delivery.order_id,
        delivery.receipt,
        added.name,
        entry.sku,
        entry.disposition,
        added.quantity,
        total,
        from_buyer,
    )
