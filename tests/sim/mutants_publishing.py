"""Protections of the kernel's publishing, switched off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.kernel.memory_store import MemoryStore
from shared.kernel.ports import Outgoing, ProduceFailed, TopicPartition
from shared.kernel.publisher import Publisher
from tests.sim.mutant import mutant, switch
from tests.sim.themed import Worlds


async def _sending(publisher: Publisher, send: Any, round_: Callable[[Publisher], Awaitable[bool]]) -> bool:
    """A round in which the publisher's writer sends so."""
    true, publisher._writer.send = publisher._writer.send, send  # type: ignore[method-assign]
    try:
        return await round_(publisher)
    finally:
        publisher._writer.send = true  # type: ignore[method-assign]


@mutant("at most one batch of a partition is in flight", worlds=Worlds("lost_ack"))
def one_in_flight() -> None:
    """Two halves at once: where the first is refused, a fresh producer id lets the second in."""
    round_ = Publisher.round

    async def two_at_once(self: Publisher) -> bool:
        send = self._writer.send

        async def sent(batches: Mapping[TopicPartition, Any]) -> dict[TopicPartition, int]:
            first: dict[TopicPartition, list[Outgoing]] = {at: batch[: (len(batch) + 1) // 2] for at, batch in batches.items()}
            second = {at: batch[len(first[at]) :] for at, batch in batches.items() if len(batch) > 1}
            refused: ProduceFailed | None = None
            try:
                await send(first)
            except ProduceFailed as error:
                refused = error
            if second:
                await send(second)
            if refused is not None:
                raise refused
            return {at: len(batch) for at, batch in batches.items()}

        return await _sending(self, sent, round_)

    switch(Publisher, "round", two_at_once)


@mutant("a publisher begins at the last message its topic has")
def acknowledged_tail() -> None:
    own = Publisher.own

    async def from_the_head(self: Publisher, shards: Any) -> None:
        await own(self, shards)
        for lane in self._lanes.values():
            lane.acked = lane.head

    switch(Publisher, "own", from_the_head)


@mutant("only what was acknowledged is taken as sent")
def acknowledged_only() -> None:
    round_ = Publisher.round

    async def hopeful(self: Publisher) -> bool:
        send = self._writer.send

        async def sent(batches: Mapping[TopicPartition, Any]) -> Any:
            try:
                return await send(batches)
            except Exception:  # noqa: BLE001 - that is the mutant
                return {at: len(batch) for at, batch in batches.items()}

        return await _sending(self, sent, round_)

    switch(Publisher, "round", hopeful)


@mutant("own documents are read back, and stale ones published again", worlds=Worlds("stale_state"))
def read_back() -> None:
    """Marks are noted all the same."""
    read = MemoryStore.read_back

    async def nothing_stale(self: MemoryStore, seen: Any) -> list[str]:
        await read(self, seen)
        return []

    async def nothing_dirty(self: Publisher) -> None:
        return

    switch(MemoryStore, "read_back", nothing_stale)
    switch(Publisher, "_mark_dirty", nothing_dirty)
