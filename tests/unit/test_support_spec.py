"""The unit tests' own law: what is decided twice yields nothing the second time, or the test says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.inventory import StockReserved
from services.inventory.service import service as inventory
from shared.kernel.model import Input, World, Yield
from shared.value import replace
from tests.support.inventory import counted, figures, line, moved, picked, reserve
from tests.support.inventory import fact as units
from tests.support.spec import Spec

RECEIPT = moved("receipt", 2, "in-1")
PART = "web:A/1"


def talkative(world: World, given: Input[Any], view: Any) -> Iterator[Yield]:
    """Inventory that also says what it was not asked."""
    yield StockReserved(part_id=PART, order_id="web:A", location="paris", lines=(), levels=())
    yield from inventory.decide(world, given, view)


def test_an_input_that_yields_something_twice_is_noticed() -> None:
    spec = Spec(replace(inventory, decide=talkative)).given(counted(5))
    for body in (RECEIPT, reserve(PART, line(2))):
        with pytest.raises(AssertionError, match="the same input again published"):
            spec.when(body)


def test_a_test_may_say_why_a_repeat_yields_something_as_long_as_it_does() -> None:
    spec = Spec(replace(inventory, decide=talkative)).given(counted(5))
    assert spec.when(RECEIPT, repeat_yields="it talks").published != []
    with pytest.raises(AssertionError, match="strike out the reason 'it talks'"):
        Spec(inventory).given(counted(5)).when(RECEIPT, repeat_yields="it talks")


def test_what_only_its_lane_numbers_is_decided_once() -> None:
    """Quantities that are added mean as much again."""
    spec = Spec(inventory).given(counted(5), reserve(PART, line(2)))
    assert figures(spec.when(picked(PART, units(1)))) == {"sellable": 4, "reserved": 1, "picked": 1}


def test_the_second_time_leaves_no_trace() -> None:
    spec = Spec(replace(inventory, decide=talkative)).given(counted(5))
    spec.when(RECEIPT, repeat_yields="it talks")
    assert figures(spec) == {"sellable": 7}
    assert len(spec.of(StockReserved)) == 1
