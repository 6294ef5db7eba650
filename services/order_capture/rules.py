"""The arithmetic of an order's money: sums to the cent, what some units of a line are worth, and from which payment to take an amount.

All amounts are integer minor units of the order's currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.order_capture.content import Content, Discount, Line, Tax

MOST_MINOR = 1_000_000_000_000
"""The largest amount a message can carry."""


class Sums(NamedTuple):
    """What an order's lines and charges add up to, as `schemas.channel.Totals` defines it."""

    lines_minor: int
    discounts_minor: int
    charges_minor: int
    taxes_minor: int
    total_minor: int


def sums_of(content: Content) -> Sums:
    """The sums the order should state, worked out from its lines and charges."""
    lines = discounts = charges = taxes = 0
    for line in content.lines:
        lines += line.quantity * line.unit_price_minor
        discounts += _amount(line.discounts)
        taxes += _amount(line.taxes)
    for charge in content.charges:
        charges += charge.amount_minor
        discounts += _amount(charge.discounts)
        taxes += _amount(charge.taxes)
    return Sums(lines, discounts, charges, taxes, lines - discounts + charges + _added(taxes, content))


def line_net_minor(content: Content, line: Line) -> int:
    """The whole line after discounts, tax included. Negative where the discounts exceed the price."""
    price = line.quantity * line.unit_price_minor
    return price - _amount(line.discounts) + _added(_amount(line.taxes), content)


def charges_net_minor(content: Content) -> int:
    """All charges after discounts, tax included."""
    return sum(charge.amount_minor - _amount(charge.discounts) + _added(_amount(charge.taxes), content) for charge in content.charges)


def value_minor(net_minor: int, quantity: int, units: int) -> int:
    """What `units` of a line of `quantity` are worth: rounded down cumulatively.

    The value of units m+1..n is value(n) - value(m): whichever way the units are cut, the pieces add up to the line to the cent.
    """
    assert 0 <= units <= quantity
    return net_minor * units // quantity


def spread(amount_minor: int, rooms_minor: Sequence[int]) -> tuple[int, ...]:
    """Take an amount from several rooms, the first ones first; what exceeds them all is left out."""
    taken: list[int] = []
    for room in rooms_minor:
        taken.append(max(0, min(amount_minor - sum(taken), room)))
    return tuple(taken)


def _amount(parts: Sequence[Discount | Tax]) -> int:
    """Most lines have no discount and no tax of their own."""
    return sum(part.amount_minor for part in parts) if parts else 0


def _added(taxes_minor: int, content: Content) -> int:
    """Taxes that come on top of the prices."""
    return 0 if content.taxes_included else taxes_minor
