"""The writer's promises that need no broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.kernel.kafka import Connection, KafkaWriter
from shared.kernel.ports import Outgoing, TopicPartition


class QuickProducer:
    """Acknowledges what it is given after some turns of the loop; shaped like aiokafka's."""

    _sender = None

    def __init__(self, turns: int) -> None:
        self.client = self
        self._turns = turns

    def create_batch(self) -> QuickProducer:
        return self

    def append(self, **_: Any) -> int:
        return 1

    async def send_batch(self, *_: Any, **__: Any) -> asyncio.Task[None]:
        return asyncio.create_task(self._acknowledge())

    async def _acknowledge(self) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("turns", range(8))
async def test_whoever_is_cancelled_while_it_sends_is_cancelled(turns: int) -> None:
    """Also in the very turn in which the acknowledgement comes: a loop that sends can be ended."""
    writer = KafkaWriter(Connection("nowhere:9092"))
    writer._producer = QuickProducer(turns=3)
    sending = asyncio.create_task(writer.send({TopicPartition("t", 0): [Outgoing(b"k", b"v", ())]}))
    for _ in range(turns):
        await asyncio.sleep(0)
    asked = sending.cancel()
    await asyncio.wait([sending])
    assert sending.cancelled() == asked
