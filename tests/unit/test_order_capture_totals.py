"""What an order adds up to: its channel's own sums, in figures, with discounts and taxes of lines and charges."""

from __future__ import annotations

import pytest

from schemas.channel import Charge, Discount, OrderContent, RequestAnswered, Tax, Totals
from schemas.orders import OrderAccepted, OrderInvoiced
from tests.support.order_capture import capture, content, handed_over, mug, place, shirts

LINE = shirts(discounts=(Discount(amount_minor=150),), taxes=(Tax(amount_minor=370),))
"""Two at 10.00, less 1.50, tax 3.70."""
SHIPPING = Charge(amount_minor=490, discounts=(Discount(amount_minor=90),), taxes=(Tax(amount_minor=80),))
"""4.90, less 0.90, tax 0.80."""


def stated(total_minor: int, *, taxes_included: bool, taxes_minor: int = 450) -> OrderContent:
    totals = Totals(lines_minor=2000, discounts_minor=240, charges_minor=490, taxes_minor=taxes_minor, total_minor=total_minor)
    return content(LINE, charges=(SHIPPING,), taxes_included=taxes_included, totals=totals)


@pytest.mark.parametrize(("taxes_included", "total", "line_net", "charges_net"), [(False, 2700, 2220, 480), (True, 2250, 1850, 400)])
def test_taxes_come_on_top_unless_the_prices_include_them(taxes_included: bool, total: int, line_net: int, charges_net: int) -> None:
    spec = capture().when(place(stated(total, taxes_included=taxes_included)))
    order = spec.of(OrderAccepted)[0].order
    assert (order.lines[0].net_minor, order.charges_minor, order.total_minor) == (line_net, charges_net, total)


@pytest.mark.parametrize(("taxes_included", "total"), [(False, 2250), (True, 2700)])
def test_a_total_with_the_taxes_on_the_wrong_side_is_no_total(taxes_included: bool, total: int) -> None:
    (answer,) = capture().when(place(stated(total, taxes_included=taxes_included))).of(RequestAnswered)
    assert (answer.outcome, [problem.code for problem in answer.problems]) == ("declined", ["totals_differ"])


def test_a_charge_is_invoiced_after_its_discounts_with_its_taxes() -> None:
    spec = capture().given(place(stated(2700, taxes_included=False))).when(handed_over(shirts=2))
    (invoice,) = spec.of(OrderInvoiced)
    assert (invoice.charges_minor, invoice.amount_minor) == (480, 2700)


def test_discounts_and_taxes_of_all_lines_and_charges_add_up() -> None:
    """Two lines and two charges, each with its own."""
    cup = mug(discounts=(Discount(amount_minor=1),), taxes=(Tax(amount_minor=95),))
    wrapping = Charge(kind="wrapping", amount_minor=200, discounts=(Discount(amount_minor=20),), taxes=(Tax(amount_minor=34),))
    totals = Totals(lines_minor=2501, discounts_minor=261, charges_minor=690, taxes_minor=579, total_minor=3509)
    spec = capture().when(place(content(LINE, cup, charges=(SHIPPING, wrapping), taxes_included=False, totals=totals)))
    (accepted,) = spec.of(OrderAccepted)
    assert (accepted.order.charges_minor, accepted.order.total_minor) == (694, 3509)
