"""Inventory's rows in a real database: they come back as they were, in shorting order, and the table refuses what can't be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from deploy.embedded import Endpoints
from services.inventory.counts import MovesAfter, site_slice
from services.inventory.reservations import shorting_slice
from services.inventory.service import service
from services.inventory.state import NEVER, Reservation, level_key, shorting_order
from shared.kernel.model import Key, Slice
from shared.kernel.ports import Changes, RowChange
from shared.kernel.postgres import PostgresStore, open_store
from tests.support.inventory import PARIS, SKU, at, counted, fact, issued, line, location, moved, picked, reserve, sold
from tests.support.spec import Spec

LEVEL = level_key(SKU, PARIS)


@pytest.fixture
async def dsn(endpoints: Endpoints) -> str:
    head, _, tail = endpoints.postgres.rpartition("/")
    _, mark, parameters = tail.partition("?")
    return f"{head}/inventory_{uuid4().hex[:8]}{mark}{parameters}"


@pytest.fixture
async def store(dsn: str) -> AsyncIterator[PostgresStore]:
    store = await open_store(service, dsn)
    yield store
    await store.close()


@pytest.fixture
def inventory() -> Spec:
    """A level with reservations of several urgencies, movements, supply, and a full count of its location."""
    inventory = Spec(service).documents(location(safety_stock={SKU: 1}))
    inventory.given(counted(20), *(sold(1, f"till-{minute}", at(minute)) for minute in (3, 1, 2)))
    for name, rank in (("A", 10), ("B", 90), ("C", 50)):
        inventory.given(reserve(f"web:{name}/1", line(2), rank=rank))
    inventory.given(reserve("web:D/1", line(1), rank=99), picked("web:D/1", fact(1)), issued("web:A/1", fact(1)))
    inventory.given(moved("receipt", 4, "gr-1", inbound_reference="po-1"), counted(3, at(-5), "c-2", sku="jam", scope="full"))
    return inventory


async def stored(store: PostgresStore, inventory: Spec) -> None:
    rows = [RowChange(key, 0, inventory.world.versions[key], state) for key, state in inventory.world.states.items()]
    async with store.begin() as transaction:
        await transaction.write(Changes(rows=rows))


async def test_rows_come_back_as_they_were(store: PostgresStore, inventory: Spec) -> None:
    await stored(store, inventory)
    keys = list(inventory.world.states)
    assert {key.kind for key in keys} >= {"level", "reservation", "part", "booked", "inbound", "count", "site"}
    async with store.begin() as transaction:
        rows = await transaction.load(keys)
    assert {key: row.state for key, row in rows.items()} == inventory.world.states


async def test_slices_come_in_the_order_the_decisions_expect(store: PostgresStore, inventory: Spec) -> None:
    await stored(store, inventory)
    reservations, moves, levels = shorting_slice(LEVEL), Slice(LEVEL, "booked", MovesAfter(NEVER)), site_slice(PARIS)
    async with store.begin() as transaction:
        found = await transaction.slices([(reservations, 9), (moves, 9), (levels, 9)])
    first = {kind: [key.id for key, _ in rows] for (_, kind), rows in found.items()}
    assert first["reservation"] == ["web:B/1:1", "web:C/1:1", "web:A/1:1", "web:D/1:1"]
    assert first["level"] == [f"jam:{PARIS}", f"{SKU}:{PARIS}"]
    states = [inventory.world.states[Key("booked", row)].latest for row in first["booked"]]
    assert states == sorted(states, reverse=True)


@pytest.mark.parametrize(
    "change",
    [
        "sellable = -1, reserved = 0",
        "picked = -1",
        "damaged = -1",
        "reserved = sellable + 1",
        "reserved = -1",
        "owed = 1",
        "sellable = 2, reserved = 2, owed = 3",
        "sellable = NULL",
        "reserved = NULL",
    ],
)
async def test_scenario_14_nobody_can_write_negative_stock_or_promise_a_unit_twice(
    store: PostgresStore, dsn: str, inventory: Spec, change: str
) -> None:
    await stored(store, inventory)
    connection = await asyncpg.connect(dsn)
    try:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute(f"""UPDATE state."level" SET {change} WHERE id = $1""", LEVEL.id)
    finally:
        await connection.close()


def rank_of_before(state: Reservation) -> str:
    """As it was written until migration 3."""
    instants = (10**18 - round(each.timestamp() * 1_000_000) for each in (state.promised_at, state.reserved_at))
    return shorting_order(state)[:3] + "".join(f"{each:019d}" for each in instants)


async def test_ranks_of_before_are_brought_to_their_form_of_today(store: PostgresStore, dsn: str, inventory: Spec) -> None:
    """With an index of before, too; reservations stay in shorting order, and the latest movement stays the first."""
    await stored(store, inventory)
    reservations = {key.id: state for key, state in inventory.world.states.items() if key.kind == "reservation"}
    await store.fetch("CREATE INDEX of_before ON state.reservation (owner, rank, id)")
    await store.fetch("DROP INDEX state.reservation_owner")
    await store.fetch("ALTER INDEX state.of_before RENAME TO reservation_owner")
    for id, state in reservations.items():
        await store.fetch("UPDATE state.reservation SET rank = $2 WHERE id = $1", id, rank_of_before(state))
    today = {row["id"]: row["rank"] for row in await store.fetch("SELECT id, rank FROM state.booked")}
    await store.fetch("UPDATE state.booked SET rank = lpad(('x' || lpad(rank, 16, '0'))::bit(64)::bigint::text, 19, '0')")
    await store.fetch("DELETE FROM kernel.migration WHERE number = 3")
    again = await open_store(service, dsn)
    try:
        ranks = {row["id"]: row["rank"] for row in await again.fetch("SELECT id, rank FROM state.reservation")}
        assert ranks == {id: shorting_order(state) for id, state in reservations.items()}
        assert {row["id"]: row["rank"] for row in await again.fetch("SELECT id, rank FROM state.booked")} == today
        [index] = await again.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'state' AND indexname = 'reservation_owner'")
        assert "(owner, rank)" in index["indexdef"]
    finally:
        await again.close()
