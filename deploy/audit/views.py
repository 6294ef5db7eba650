"""Checks on what running processes have in memory: their views of whole topics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

from deploy.audit.books import Books
from deploy.audit.findings import Findings
from deploy.audit.ledger import Ledger
from deploy.health import ask
from deploy.supervisor import NotUp, fleet
from shared.kernel.contents import Seen
from shared.kernel.ports import TopicPartition


def processes_of(home: Path) -> Mapping[str, int]:
    """The processes that run in a home, with the ports of their health pages; none where none run there."""
    try:
        return {each.name: each.health_port for each in fleet(home).replicas if each.pid}
    except NotUp:
        return {}


async def ask_processes(ports: Mapping[str, int]) -> dict[str, Mapping[TopicPartition, Seen]]:
    """What the views of each process have come to; one that doesn't answer is left out, for then it doesn't decide either."""
    answers = await asyncio.gather(*(asyncio.to_thread(ask, port, "/views") for port in ports.values()))
    return {name: _seen(text) for name, (status, text) in zip(ports, answers, strict=True) if status == 200}


def _seen(text: str) -> Mapping[TopicPartition, Seen]:
    told = {name.rpartition("/"): seen for name, seen in json.loads(text).items()}
    return {TopicPartition(topic, int(partition)): Seen(*seen) for (topic, _, partition), seen in told.items()}


def views_show_their_topics(books: Books, ledger: Ledger, found: Findings) -> None:
    """What a running process has read into its views is what their topics held so far: no document is missing, none is older."""
    for process, views in books.views.items():
        for at, seen in views.items():
            trail = ledger.trails.get(at)
            told = trail.up_to(seen.next) if trail is not None else None
            if told is not None:
                detail = f"{seen.documents} documents up to {seen.next}, the topic makes {told.documents}, or others of them"
                found.require(seen.sum == told.sum, process, f"{at.topic}/{at.partition}", detail)
