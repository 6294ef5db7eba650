"""What flow tests share over the running system: one desk for all, and a little world for each scenario."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from deploy.fleet import kafka_connection
from deploy.supervisor import System
from tests.support.desk import Desk, Place


@pytest.fixture(scope="session")
async def desk(system: System) -> AsyncIterator[Desk]:
    desk = Desk(system, kafka_connection(system.settings), system.settings.partitions)
    await desk.start()
    yield desk
    await desk.stop()
    assert desk.lanes.faults == [], "lanes with gaps, or with a number for two messages"


@pytest.fixture
def place(request: pytest.FixtureRequest, desk: Desk) -> Callable[..., Awaitable[Place]]:
    """Builds the scenario's own little world: `await place(items=("a",), locations=("paris",), ...)`."""

    async def build(**arguments: Any) -> Place:
        name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:24]
        return await Place(desk, f"{name}-{uuid4().hex[:5]}").build(**arguments)

    return build
