"""Protections of databases that are lost and restored, switched off; see mutants.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.kernel import behind, publisher
from shared.kernel.behind import Heads, Tails
from shared.kernel.gate import Gate
from shared.kernel.model import Service
from shared.kernel.ports import Store, TopicPartition, Topics
from tests.sim.mutant import mutant, switch
from tests.sim.themed import ARCHIVED, RESTORED


@mutant("what is published is in the archive already: a restore to its end is never behind its topics", worlds=ARCHIVED)
def publish_gate() -> None:
    switch(Gate, "_is_held", lambda self, one, position: True)


@mutant("a service whose database is behind its topics doesn't run", worlds=RESTORED)
def restore_check() -> None:
    """It begins at what its topics show; what the database doesn't know of it is done a second time."""

    async def lanes(service: Service[Any], store: Store, topics: Topics, at: Sequence[TopicPartition]) -> tuple[Tails, Heads]:
        found = await behind._own_tails(service, topics, at)
        return {one: behind._highest(numbers) for one, numbers in found.items()}, await store.lane_heads(at)

    async def documents(*_: Any) -> None:
        return

    switch(publisher, "compare_lanes", lanes)
    switch(publisher, "compare_documents", documents)
