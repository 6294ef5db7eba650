"""What becomes of units that came back: stock, books, and credit, each unit once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from schemas.returns import (
    CreditDue,
    Disposition,
    InspectedLine,
    ReturnExceptionOpened,
    ReturnInspected,
    ReturnReceived,
    StockRestocked,
    StockWrittenOff,
)
from services.returns.service import service
from tests.support.returns import ORDER, accepted, came_back, handed_over, inspected, received, request, shipped, units
from tests.support.spec import START, Spec, as_stored

R1 = f"{ORDER}/r1"
INSPECTED_AT: datetime = START + timedelta(hours=1)


@pytest.fixture
def returns() -> Spec:
    return Spec(service)


@pytest.fixture
def delivered(returns: Spec) -> Spec:
    """Two mugs and a lamp, all with the buyer."""
    return returns.given(accepted(line_1=2, line_2=1), handed_over("line-1", 2), handed_over("line-2", 1))


@pytest.fixture
def back(delivered: Spec) -> Spec:
    """Both mugs announced, and back."""
    return delivered.given(request(line_1=2), received(("line-1", "mug", 2), return_id=R1))


def restocked(sku: str, quantity: int, reference: str, location: str = "paris-01", **other: str) -> StockRestocked:
    return StockRestocked.model_validate(
        {
            "location": location,
            "sku": sku,
            "quantity": quantity,
            "status": "sellable",
            "reference": reference,
            "occurred_at": INSPECTED_AT,
            **other,
        }
    )


def judged(line_id: str, sku: str, disposition: Disposition, quantity: int, return_id: str | None = R1) -> ReturnInspected:
    return ReturnInspected(
        order_id=ORDER,
        return_id=return_id,
        receipt_id="R1",
        location="paris-01",
        lines=(InspectedLine(line_id=line_id, sku=sku, disposition=disposition, quantity=quantity),),
    )


def credit(n: int, return_id: str | None = R1, **lines: int) -> CreditDue:
    return CreditDue(order_id=ORDER, credit_id=f"{ORDER}/c{n}", return_id=return_id, lines=units(**lines))


def test_a_resellable_unit_is_sellable_again_and_credited(back: Spec) -> None:
    back.when(inspected(("line-1", "mug", "resell", 1)))
    back.then(restocked("mug", 1, "R1:line-1:resell:1"), judged("line-1", "mug", "resell", 1), credit(1, line_1=1))


def test_a_unit_to_refurbish_is_kept_apart(back: Spec) -> None:
    back.when(inspected(("line-1", "mug", "refurbish", 2)))
    back.then(
        restocked("mug", 2, "R1:line-1:refurbish:2", status="quality_hold"),
        judged("line-1", "mug", "refurbish", 2),
        credit(1, line_1=2),
    )


@pytest.mark.parametrize("disposition", ["donate", "destroy", "back_to_supplier"])
def test_a_unit_nobody_will_sell_is_written_off_and_credited(back: Spec, disposition: Disposition) -> None:
    back.when(inspected(("line-1", "mug", disposition, 1)))
    back.then(
        StockWrittenOff(
            location="paris-01",
            sku="mug",
            quantity=1,
            disposition=disposition,
            reference=f"R1:line-1:{disposition}:1",
            occurred_at=INSPECTED_AT,
        ),
        judged("line-1", "mug", disposition, 1),
        credit(1, line_1=1),
    )


def test_units_of_one_line_may_fare_differently(back: Spec) -> None:
    back.when(inspected(("line-1", "mug", "resell", 1), ("line-1", "mug", "destroy", 1)))
    assert [type(body) for body in back.published] == [StockRestocked, StockWrittenOff, ReturnInspected, CreditDue]
    assert back.of(CreditDue) == [credit(1, line_1=2)]


def test_running_totals_restock_and_credit_the_difference_only(back: Spec) -> None:
    back.given(inspected(("line-1", "mug", "resell", 1)))
    back.when(inspected(("line-1", "mug", "resell", 2)))
    back.then(restocked("mug", 1, "R1:line-1:resell:2"), judged("line-1", "mug", "resell", 1), credit(2, line_1=1))


def test_an_inspection_before_its_receipt_implies_the_receipt(delivered: Spec) -> None:
    delivered.given(request(line_1=2))
    delivered.when(inspected(("line-1", "mug", "resell", 1), return_id=R1))
    assert [type(body) for body in delivered.published] == [ReturnReceived, StockRestocked, ReturnInspected, CreditDue]
    assert delivered.of(ReturnReceived)[0].missing == units(line_1=1)
    delivered.when(received(("line-1", "mug", 1), return_id=R1))
    delivered.then()
    delivered.when(received(("line-1", "mug", 2), return_id=R1))
    assert delivered.of(ReturnReceived)[0].lines == units(line_1=1)


def test_units_inspected_without_a_line_are_those_received(delivered: Spec) -> None:
    delivered.given(received(("line-1", "mug", 2), order_id=ORDER))
    delivered.when(inspected((None, "mug", "resell", 2)))
    delivered.then(
        restocked("mug", 2, "R1:line-1:resell:2"),
        judged("line-1", "mug", "resell", 2, return_id=None),
        credit(1, return_id=None, line_1=2),
    )


def test_no_credit_beyond_what_was_handed_over(delivered: Spec) -> None:
    delivered.given(received(("line-2", "lamp", 2), order_id=ORDER))
    delivered.when(inspected(("line-2", "lamp", "resell", 2), order_id=ORDER))
    assert delivered.of(StockRestocked)[0].quantity == 2
    assert delivered.of(CreditDue)[0].lines == units(line_2=1)


def test_credit_follows_when_the_hand_over_is_told_late(returns: Spec) -> None:
    returns.given(accepted(line_1=1))
    returns.when(inspected(("line-1", "mug", "resell", 1), order_id=ORDER), overdue=True)
    assert not returns.of(CreditDue)
    returns.when(handed_over("line-1", 1))
    returns.then(credit(1, return_id=None, line_1=1))


def test_undelivered_units_are_restocked_without_credit(returns: Spec) -> None:
    returns.given(accepted(line_1=2), shipped("T1", "line-1", 1), shipped("T2", "line-1", 1))
    returns.given(handed_over("line-1", 1), came_back("T2", "line-1", 1))
    returns.given(received((None, "mug", 1), tracking_number="T2"))
    returns.when(inspected((None, "mug", "resell", 1)))
    returns.then(restocked("mug", 1, "R1:line-1:resell:1"), judged("line-1", "mug", "resell", 1, return_id=None))


def test_goods_of_another_item_enter_stock_and_are_not_credited(delivered: Spec) -> None:
    delivered.given(received((None, "toaster", 1), order_id=ORDER))
    delivered.when(inspected((None, "toaster", "resell", 1), order_id=ORDER))
    delivered.then(restocked("toaster", 1, "R1:toaster:resell:1"))


def test_goods_of_nobody_enter_stock_too(returns: Spec) -> None:
    returns.given(received((None, "mug", 2)))
    returns.when(inspected((None, "mug", "resell", 2)))
    returns.then(restocked("mug", 2, "R1:mug:resell:2"))


def test_an_inspection_of_nobodys_goods_implies_their_receipt(returns: Spec) -> None:
    returns.when(inspected((None, "mug", "resell", 1)))
    returns.then()
    returns.when(inspected((None, "mug", "resell", 1)), overdue=True)
    assert [type(body) for body in returns.published] == [StockRestocked, ReturnExceptionOpened]


def test_goods_of_nobody_that_find_their_order_are_credited_and_move_stock_once(delivered: Spec) -> None:
    delivered.given(received((None, "mug", 2)), inspected((None, "mug", "resell", 1)))
    delivered.given(received((None, "mug", 2), order_id=ORDER))
    delivered.when(inspected((None, "mug", "resell", 2), order_id=ORDER))
    delivered.then(
        restocked("mug", 1, "R1:line-1:resell:2"),
        judged("line-1", "mug", "resell", 2, return_id=None),
        credit(1, return_id=None, line_1=2),
    )
    delivered.when(inspected((None, "mug", "resell", 2)))
    delivered.then()


def test_two_orders_in_one_receipt_move_stock_under_references_of_their_own(delivered: Spec) -> None:
    other = "web-fr:7"
    delivered.given(accepted(other, line_1=1), handed_over("line-1", 1, order_id=other))
    delivered.given(inspected(("line-1", "mug", "resell", 1), order_id=ORDER))
    delivered.when(inspected(("line-1", "mug", "resell", 1), order_id=other))
    (moved,) = delivered.of(StockRestocked)
    assert moved.reference != "R1:line-1:resell:1"
    assert moved.reference.endswith(":line-1:resell:1")


def test_a_location_restocks_what_it_received_from_elsewhere(delivered: Spec) -> None:
    """Scenario 9, on the stock's side: the receiving location's level rises, not the announced one's."""
    delivered.given(request(return_to="paris-01", line_1=1))
    delivered.given(received(("line-1", "mug", 1), return_id=R1, location="lyon-02"))
    delivered.when(inspected(("line-1", "mug", "resell", 1), location="lyon-02"))
    assert delivered.of(StockRestocked) == [restocked("mug", 1, "R1:line-1:resell:1", location="lyon-02")]


def test_scenario_11_every_unit_is_credited_once_whatever_the_order_of_the_reports(delivered: Spec) -> None:
    reports = [
        inspected(("line-1", "mug", "resell", 2), order_id=ORDER, receipt="R1"),
        received(("line-1", "mug", 1), order_id=ORDER, receipt="R1"),
        inspected(("line-1", "mug", "resell", 1), order_id=ORDER, receipt="R1"),
        received(("line-1", "mug", 2), order_id=ORDER, receipt="R1"),
        inspected(("line-2", "lamp", "destroy", 1), order_id=ORDER, receipt="R2"),
        inspected(("line-2", "lamp", "destroy", 1), order_id=ORDER, receipt="R3"),
    ]
    credited: dict[str, int] = {}
    for report in (*reports, *reversed(reports)):
        for due in delivered.when(report).of(CreditDue):
            for line in due.lines:
                credited[line.line_id] = credited.get(line.line_id, 0) + line.quantity
    assert credited == {"line-1": 2, "line-2": 1}


def test_a_row_survives_storage(back: Spec) -> None:
    back.given(inspected(("line-1", "mug", "resell", 1)), received((None, "vase", 1), order_id=ORDER, receipt="R2"))
    rows = list(back.world.states.values())
    assert back.state("purchase", ORDER) in rows
    assert [as_stored(row) for row in rows] == rows
