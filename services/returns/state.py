"""What returns remembers: of every order, of the order behind each tracking number and receipt, and of each answered request.

Quantities are units of the item's base unit. The database keeps no order of a document's names: where order matters, `in_order` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeVar

from schemas.returns import Disposition, ReturnAuthorised, ReturnCancelled, ReturnDeclined
from schemas.types import ORDER
from shared.kernel.model import Key
from shared.value import Value, field

Ending = Literal["received", "cancelled", "expired"]
Answer = ReturnAuthorised | ReturnDeclined | ReturnCancelled
V = TypeVar("V")
UNKNOWN = "unknown"
"""The channel of goods whose order nobody knows."""

_RETURN_ID = re.compile(rf"(?P<order>{ORDER})/r[0-9]{{1,6}}", re.ASCII)


class Line(Value, frozen=True):
    """One order line as far as returns care."""

    skus: tuple[str, ...] = ()
    """The item ordered, and any that was handed over in its place."""
    ordered: int = 0
    cancelled: int = 0
    handed_over: int = 0
    handed_over_at: datetime | None = None
    """The last time; the return window of all its units counts from there, in the buyer's favour."""
    received: int = 0
    """Back at a location, from the buyer."""
    undelivered: int = 0
    """Back at a location, from a carrier that could not deliver them."""
    inspected: int = 0
    """Of those received from the buyer."""
    credited: int = 0

    @property
    def under_way(self) -> int:
        """Units that may still be handed over."""
        return max(0, self.ordered - self.cancelled - self.handed_over)

    @property
    def never_handed_over(self) -> int:
        """Most units that may yet come back from a carrier."""
        return max(0, self.ordered - self.handed_over - self.undelivered)

    @property
    def credit_due(self) -> int:
        """Units owed for: inspected, handed over, not credited yet."""
        return max(0, min(self.inspected, self.handed_over) - self.credited)


class Return(Value, frozen=True):
    """An authorised return that is still expected."""

    lines: dict[str, int]
    """Line to units still expected."""
    return_to: str | None
    expires_at: datetime


class Slot(Value, frozen=True):
    """Units of one line, or of one item that is on no line, within one receipt."""

    sku: str
    received: int = 0
    """From the buyer."""
    undelivered: int = 0
    """From a carrier that could not deliver them."""
    inspected: dict[Disposition, int] = field(default_factory=dict)
    claimed: dict[Disposition, int] = field(default_factory=dict)
    """Inspected as goods of nobody, and since reported again with their order."""

    @property
    def total(self) -> int:
        return self.received + self.undelivered

    @property
    def uninspected(self) -> int:
        return self.total - sum(self.inspected.values())


class Receipt(Value, frozen=True):
    """What one receipt of a location brought for this order."""

    return_id: str | None = None
    """The return it named, if that is one of this order."""
    slots: dict[str, Slot] = field(default_factory=dict)
    """By line, or by `/<sku>` for units of no line."""


class Purchase(Value, frozen=True):
    """What one order handed over, what of it is asked back, and what came back."""

    policy: str | None = None
    """None until the order's acceptance was read."""
    lines: dict[str, Line] = field(default_factory=dict)
    returns: dict[str, Return] = field(default_factory=dict)
    """Those still expected."""
    ended: dict[str, Ending] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    """By `<location>:<receipt>`."""
    came_back: dict[str, dict[str, int]] = field(default_factory=dict)
    """Parcels the carrier returned: `<part>:<parcel>` to line to units not yet seen at a location."""
    credits: int = 0
    """Credits given, counted."""
    exceptions: int = 0
    """Exceptions opened, counted."""

    @property
    def known(self) -> bool:
        return self.policy is not None or any(line.handed_over for line in self.lines.values())

    def line(self, line_id: str) -> Line:
        return self.lines.get(line_id, Line())

    def slot(self, receipt: str, slot: str, sku: str) -> Slot:
        return self.receipts.get(receipt, Receipt()).slots.get(slot, Slot(sku))

    def expected(self, line_id: str) -> int:
        """Units of the line in open returns."""
        return sum(expected.lines.get(line_id, 0) for expected in self.returns.values())

    def returnable(self, line_id: str) -> int:
        line = self.line(line_id)
        return max(0, line.handed_over - self.expected(line_id) - line.received)

    def has_return(self, return_id: str | None) -> bool:
        return return_id in self.returns or return_id in self.ended


class Parcel(Value, frozen=True):
    """Which order a tracking number belongs to; the first parcel that bore it."""

    order_id: str | None = None
    parcel: str = ""
    """`<part>:<parcel>`."""


class ReceiptOwner(Value, frozen=True):
    """Which order a receipt belongs to: the first it named; `unknown:<receipt>` until it names one."""

    order_id: str | None = None


class Answered(Value, frozen=True):
    """The answer a request got; exactly one of the three, once there is a digest."""

    digest: str | None = None
    authorised: ReturnAuthorised | None = None
    declined: ReturnDeclined | None = None
    cancelled: ReturnCancelled | None = None
    reused: tuple[str, ...] = ()
    """Digests of other contents that came under the same request id."""

    @property
    def answer(self) -> Answer | None:
        return self.authorised or self.declined or self.cancelled


def purchase_key(order_id: str) -> Key:
    return Key("purchase", order_id)


def parcel_key(tracking_number: str) -> Key:
    return Key("parcel", tracking_number)


def receipt_key(receipt: str) -> Key:
    return Key("receipt", receipt)


def request_key(order_id: str, request_id: str) -> Key:
    return Key("request", f"{order_id}#{request_id}")


def unknown_order(receipt_id: str) -> str:
    return f"{UNKNOWN}:{receipt_id}"


def is_unknown(order_id: str | None) -> bool:
    return order_id is None or order_id.startswith(f"{UNKNOWN}:")


def return_id_of(order_id: str, number: int) -> str:
    return f"{order_id}/r{number}"


def order_of_return(return_id: str | None) -> str | None:
    """The order of a return id of ours; None for anybody else's."""
    found = _RETURN_ID.fullmatch(return_id or "")
    return found["order"] if found else None


def in_order(named: Mapping[str, V]) -> list[tuple[str, V]]:
    """Entries by name, the shorter first: so `/r2` comes before `/r10`, and the oldest return is the first."""
    return sorted(named.items(), key=lambda entry: (len(entry[0]), entry[0]))


def slot_of_item(sku: str) -> str:
    """The slot of units that are on no line; no line id contains a slash."""
    return f"/{sku}"


def is_line(slot: str) -> bool:
    return not slot.startswith("/")
