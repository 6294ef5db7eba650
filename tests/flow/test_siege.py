"""Hostile records by the hundred over the broker, among good orders: a slice of `make hostile`. See tests/hostile/README.md."""

from __future__ import annotations

import pytest

from tests.hostile.siege import Siege, shown
from tests.support.desk import Desk

RECORDS = 1_500
SEED = 1


@pytest.mark.timeout(600)
async def test_every_hostile_record_is_accounted_for_and_good_orders_end(desk: Desk) -> None:
    """Answered, booked, or exactly one dead letter; no process started again, no partition stuck, no lane begun by a stranger."""
    siege = Siege(desk, RECORDS, SEED)
    account = await siege.run()
    assert account.wrong == [], shown(account)
    assert len(siege.thrown) == RECORDS
    assert {"answered", "dead letter", "booked", "taken"} <= set(account.fates)
    await desk.rest()
