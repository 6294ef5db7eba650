"""Hostile records by the hundred over the broker, among good orders: a slice of `make hostile`. See tests/hostile/README.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from schemas.inventory import Availability
from schemas.topics import AVAILABILITY
from shared.kernel.codec import state_version
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing
from tests.hostile.siege import Siege, shown
from tests.support.desk import Desk, Place
from tests.support.steps import deliver, ended, left_clean

RECORDS = 1_500
SEED = 1
STRANGE_KEYS = (b"\xff\xfe", b"a\x00b", b"k" * 20_000)
FORGED = (("evil/1", "9"), ("inventory/1", "9" * 30), ("inventory/99999999999", "9"), ("", ""))
"""Lanes and versions under which a stranger's document has none."""


@pytest.mark.timeout(600)
async def test_every_hostile_record_is_accounted_for_and_good_orders_end(desk: Desk) -> None:
    """Answered, booked, or exactly one dead letter; no process started again, no partition stuck, no lane begun by a stranger."""
    siege = Siege(desk, RECORDS, SEED)
    account = await siege.run()
    assert account.wrong == [], shown(account)
    assert len(siege.thrown) == RECORDS
    assert {"answered", "dead letter", "booked", "taken"} <= set(account.fates)
    await desk.rest()


async def test_strangers_documents_in_a_services_state_topic_are_written_over(desk: Desk, place: Callable[..., Awaitable[Place]]) -> None:
    """Its owner goes on, says again what is true of its own keys, and takes no notice of keys that no row of its own has."""
    here = await place()
    await here.stock("paris", a=5)
    key = f"{here.sku('a')}:{here.at('paris')}"
    at, true = partition_of(key, desk.partitions), desk.level(here.sku("a"), here.at("paris"))
    assert true is not None
    lie = true.model_copy(update={"sellable": 900, "atp": 900}).model_dump_json().encode()
    forged = [Outgoing(key.encode(), lie, (("ce_lane", lane.encode()), ("ce_seq", seq.encode()))) for lane, seq in FORGED]
    await desk.raw(AVAILABILITY.name, at, *(Outgoing(strange, b"nonsense", ()) for strange in STRANGE_KEYS), *forged)

    def newest_is_the_owners() -> bool:
        documents = [each for each in desk.records(Availability) if each.record.key == key.encode()]
        return state_version(documents[-1].record) != (0, 0) and sum(state_version(each.record) == (0, 0) for each in documents) == len(
            FORGED
        )

    await desk.until(newest_is_the_owners, lambda: f"the owner's document of {key} after the forged ones")
    order = await here.place({"a": 2})
    await deliver(here, *await here.instructed(order))
    await ended(here, order, "completed")
    await here.holds("paris", "a", sellable=3, reserved=0)
    await desk.raw(AVAILABILITY.name, at, *(Outgoing(strange, None, ()) for strange in STRANGE_KEYS))
    await left_clean(here)
