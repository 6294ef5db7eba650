"""What a view holds of its service's own rows: those of the shards its replica owns, and of those a lost answer left in doubt the truth."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.kernel.memory_clock import VirtualClock
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.model import Key
from shared.kernel.overlay import Overlay
from shared.kernel.partition import partition_of
from shared.kernel.ports import Changes, RowChange
from shared.kernel.views import Documents
from shared.value import replace
from tests.support.counting import HOUSE, Counter
from tests.support.turns import Turns

SHARDS = 2
IDS = ("a", "b", "c", "d", "e", "f")
SERVICE = replace(HOUSE, overlay=("counter",))


class Shown(Documents):
    """Remembers its overlay."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Any] = {}

    def clear(self) -> None:
        self.rows.clear()

    def restore(self, key: Key, state: Any) -> None:
        self.rows[key.id] = state


def of_shard(shard: int) -> dict[str, Counter]:
    return {id: Counter(id, 1) for id in IDS if partition_of(id, SHARDS) == shard}


@pytest.fixture
async def store() -> MemoryStore:
    clock: VirtualClock = Turns(1, datetime(2026, 3, 2, tzinfo=UTC)).clock
    store = MemoryStore(SERVICE, Database(clock))
    async with store.begin() as transaction:
        await transaction.write(Changes(rows=[RowChange(Key("counter", id), 0, 1, Counter(id, 1)) for id in IDS]))
    return store


async def test_a_replica_has_the_rows_of_its_shards_and_gives_up_those_it_loses(store: MemoryStore) -> None:
    view = Shown()
    overlay = Overlay(SERVICE, store, view, SHARDS)
    await overlay.restore("life", 1, (0, 1))
    assert view.rows == of_shard(0) | of_shard(1)
    await overlay.restore("life", 1, (1,))
    assert view.rows == of_shard(1) != {}
    await overlay.restore("life", 1, ())
    assert view.rows == {}


async def test_with_the_same_shards_only_what_is_in_doubt_is_read_again(store: MemoryStore) -> None:
    view = Shown()
    overlay = Overlay(SERVICE, store, view, SHARDS)
    await overlay.restore("life", 1, (0, 1))
    view.rows.clear()
    overlay.doubt([Key("counter", "a"), Key("other", "b")])
    await overlay.restore("life", 1, (0, 1))
    assert view.rows == {"a": Counter("a", 1)}
    view.rows.clear()
    overlay.doubt([Key("counter", "a")])
    overlay.settle()
    await overlay.restore("life", 1, (0, 1))
    assert view.rows == {}


async def test_of_another_database_everything_is_read_again(store: MemoryStore) -> None:
    view = Shown()
    overlay = Overlay(SERVICE, store, view, SHARDS)
    await overlay.restore("life", 1, (0,))
    view.rows.clear()
    await overlay.restore("next life", 1, (0,))
    assert view.rows == of_shard(0) != {}


async def test_shards_that_went_and_came_back_are_read_again(store: MemoryStore) -> None:
    """As of a process that was stopped meanwhile: their rows were another replica's in between."""
    view = Shown()
    overlay = Overlay(SERVICE, store, view, SHARDS)
    await overlay.restore("life", 1, (0,))
    view.rows["gone"] = Counter("gone", 1)
    await overlay.restore("life", 2, (0,))
    assert view.rows == of_shard(0)
