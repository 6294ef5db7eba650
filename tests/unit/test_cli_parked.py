"""Whose turn it is among parked inputs: what waits behind what."""

from __future__ import annotations

from datetime import UTC, datetime

from deploy.parked import Letter, waiting_behind
from shared.kernel.ports import Record


def letter(number: int, *rows: str, status: str = "quarantined", service: str = "sourcing") -> Letter:
    record = Record("oms.orders.events.v1", 0, number, 0, b"web-fr:1", b"{}", (("ce_type", b"nervure.OrderAccepted"),))
    return Letter(service, number, status, "KeyError", "", datetime(2026, 1, 1, tzinfo=UTC), record, rows)


def test_later_inputs_of_the_same_rows_wait() -> None:
    first, same, other = letter(1, "order a"), letter(2, "order a"), letter(3, "order b")
    assert waiting_behind(first, [first, same, other]) == [same]


def test_an_input_makes_all_its_own_rows_wait() -> None:
    first, both, third = letter(1, "order a"), letter(2, "order a", "queue tea"), letter(3, "queue tea")
    assert waiting_behind(first, [third, both, first]) == [both, third]


def test_dead_letters_and_other_services_wait_for_nobody() -> None:
    first, dead, elsewhere = letter(1, "order a"), letter(2, "order a", status="dead"), letter(3, "order a", service="returns")
    assert waiting_behind(first, [first, dead, elsewhere]) == []


def test_a_letter_is_named_by_its_service_and_number() -> None:
    assert (letter(7).name, letter(7).type, letter(7).key) == ("sourcing/7", "OrderAccepted", "web-fr:1")
