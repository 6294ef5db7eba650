"""What holds after any sequence of reports, in any order, any number of times."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.returns import CreditDue, GoodsInspected, GoodsReceived, ReturnReceived, StockRestocked, StockWrittenOff
from schemas.topics import Body
from services.returns.service import service
from services.returns.state import Purchase
from shared.value import decoder, encode
from tests.support.returns import ORDER, SKUS, accepted, came_back, cancel, handed_over, inspected, received, request
from tests.support.spec import Spec

LINES = st.sampled_from(["line-1", "line-2", "line-3"])
RECEIPTS = st.sampled_from(["R1", "R2"])
TOTALS = st.integers(1, 4)
DISPOSITIONS = st.sampled_from(["resell", "refurbish", "destroy"])
RETURNS = st.sampled_from([f"{ORDER}/r{n}" for n in (1, 2, 3)])

REQUESTS = st.builds(lambda n, line, quantity: request(f"ask-{n}", **{line: quantity}), st.integers(1, 5), LINES, st.integers(1, 3))
CANCELS = st.builds(lambda n, return_id: cancel(f"keep-{n}", return_id), st.integers(1, 3), RETURNS)
HAND_OVERS = st.builds(handed_over, LINES, st.integers(1, 2))
CARRIER_RETURNS = st.builds(came_back, st.sampled_from(["T1", "T2"]), LINES, st.integers(1, 2))
RECEIVED = st.builds(
    lambda line, named, total, receipt: received((line if named else None, SKUS[line], total), receipt=receipt, order_id=ORDER),
    LINES,
    st.booleans(),
    TOTALS,
    RECEIPTS,
)
INSPECTED = st.builds(
    lambda line, named, disposition, total, receipt: inspected(
        (line if named else None, SKUS[line], disposition, total), receipt=receipt, order_id=ORDER
    ),
    LINES,
    st.booleans(),
    DISPOSITIONS,
    TOTALS,
    RECEIPTS,
)
STORIES = st.lists(REQUESTS | CANCELS | HAND_OVERS | CARRIER_RETURNS | RECEIVED | INSPECTED, max_size=25)


@settings(max_examples=300, deadline=None)
@given(STORIES)
def test_units_add_up_whatever_is_reported(story: list[Body]) -> None:
    returns = Spec(service).given(accepted(line_1=3, line_2=2, line_3=2))
    told: list[Body] = []
    for body in story:
        overdue = isinstance(body, GoodsReceived | GoodsInspected)
        told.extend(returns.when(body, overdue=overdue).published)
    purchase = returns.state("purchase", ORDER)
    _nothing_is_owed_twice(purchase, told)
    _what_was_told_is_what_is_kept(purchase, told)


def _nothing_is_owed_twice(purchase: Purchase, told: list[Body]) -> None:
    credited = Counter[str]()
    for due in told:
        if isinstance(due, CreditDue):
            credited.update({line.line_id: line.quantity for line in due.lines})
    for line_id, line in purchase.lines.items():
        assert credited[line_id] == line.credited == min(line.inspected, line.handed_over)
        assert min(line.received, line.undelivered, line.inspected) >= 0
        assert purchase.expected(line_id) <= max(0, line.handed_over - line.received)


def _what_was_told_is_what_is_kept(purchase: Purchase, told: list[Body]) -> None:
    back, moved = Counter[str](), Counter[str]()
    for body in told:
        if isinstance(body, ReturnReceived):
            back.update({line.line_id: line.quantity for line in body.lines})
        elif isinstance(body, StockRestocked | StockWrittenOff):
            moved[body.sku] += body.quantity
    slots = [slot for receipt in purchase.receipts.values() for slot in receipt.slots.values()]
    assert all(back[line_id] == line.received for line_id, line in purchase.lines.items())
    assert moved == sum((Counter({slot.sku: sum(slot.inspected.values())}) for slot in slots), Counter())
    assert all(slot.uninspected >= 0 for slot in slots)


@settings(max_examples=100, deadline=None)
@given(STORIES)
def test_storage_changes_no_decision(story: list[Body]) -> None:
    """The database gives a document's names back in an order of its own."""
    kept, stored = (Spec(service).given(accepted(line_1=3, line_2=2, line_3=2)) for _ in range(2))
    for body in story:
        overdue = isinstance(body, GoodsReceived | GoodsInspected)
        stored.world.states = {key: as_stored(state) for key, state in stored.world.states.items()}
        assert stored.when(body, overdue=overdue).published == kept.when(body, overdue=overdue).published
    assert stored.world.states == kept.world.states


def as_stored(state: Any) -> Any:
    document = json.loads(encode(state))
    return decoder(type(state)).decode(json.dumps(reordered(document)))


def reordered(value: Any) -> Any:
    """Names the other way round."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(entry) for entry in value] if isinstance(value, list) else value
