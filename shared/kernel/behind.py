"""Is the database behind its topics? Compared at start, with every claim, and whenever the database is another one than before.

Every replica compares all topics of its service, not only those it publishes to: else one could read on, and commit over what it doesn't
know of, before the one whose topic is ahead had looked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.kernel.codec import MAX_INCARNATION, number_of
from shared.kernel.model import Service
from shared.kernel.ports import Store, TopicPartition, Topics

TAIL_RECORDS, TAIL_GROWTH = 20, 10
"""How many of a partition's newest records are looked at for this service's last ones; and how many times more where there is none."""


class DatabaseBehind(Exception):
    """A topic holds messages this database has never written: it was restored to an older state, and going on from there would give
    numbers a second time. Remedy: stop all replicas of the service, then `nervure lanes reconcile SERVICE`; or restore it to its newest
    state, the end of its archive."""


Tails = Mapping[TopicPartition, Mapping[int, int]]
"""Lane to the highest sequence of each incarnation that its topic shows."""
Heads = Mapping[TopicPartition, tuple[int, int, int]]
"""See Store.lane_heads."""


async def compare_lanes(service: Service[Any], store: Store, topics: Topics, at: Sequence[TopicPartition]) -> tuple[Tails, Heads]:
    """(what the topics show, what the database has committed). Raises DatabaseBehind where a topic is ahead."""
    found = await _own_tails(service, topics, at)
    tails = {one: _highest(numbers) for one, numbers in found.items()}
    heads = await store.lane_heads(at) if at else {}
    for one, (incarnation, seq, _) in sorted(heads.items()):
        tail = tails.get(one, {}).get(incarnation, 0)
        if tail > seq or max(tails.get(one, {}), default=0) > incarnation:
            raise DatabaseBehind(f"{one.topic}/{one.partition} shows seq {tail}, the database {seq} (incarnation {incarnation})")
    return tails, heads


async def compare_documents(service: Service[Any], store: Store, topics: Topics, partitions: Mapping[str, int], incarnation: int) -> None:
    """Raises DatabaseBehind where a state topic shows a version that its row has not reached."""
    for state in service.states:
        name = state.topic.name
        at = [TopicPartition(name, p) for p in range(partitions[name])]
        shown = [entry for entries in (await _own_tails(service, topics, at)).values() for entry in entries]
        rows = await store.rows(state.kind, sorted({id for id, _, _ in shown})) if shown else {}
        for id, shown_incarnation, version in shown:
            known = (incarnation, rows[id].version if id in rows else 0)
            if (shown_incarnation, version) > known:
                raise DatabaseBehind(f"{name} shows {id} in version {version}, the database {known[1]} (incarnation {known[0]})")


async def _own_tails(
    service: Service[Any], topics: Topics, at: Sequence[TopicPartition]
) -> dict[TopicPartition, list[tuple[str, int, int]]]:
    """(key, incarnation, sequence or version) of this service's newest records in each partition, deletions left out; strangers'
    records are passed over, however many they are."""
    own: dict[TopicPartition, list[tuple[str, int, int]]] = {}
    sought, newest = list(at), TAIL_RECORDS
    bounds: Mapping[TopicPartition, tuple[int, int]] = {}
    while sought:
        for one, records in (await topics.tails(sought, newest)).items():
            found = [(_id_in(r.key), *_lane_of(r.headers, service.name)) for r in records if r.value]
            own[one] = [entry for entry in found if entry[1]]
        sought = [one for one in sought if not own[one]]
        bounds = bounds or (await topics.bounds(sought) if sought else {})
        sought = [one for one in sought if bounds[one][1] - bounds[one][0] > newest]
        newest *= TAIL_GROWTH
    return own


def _highest(numbers: Sequence[tuple[str, int, int]]) -> dict[int, int]:
    """Incarnation to its highest sequence."""
    highest: dict[int, int] = {}
    for _, incarnation, seq in numbers:
        highest[incarnation] = max(seq, highest.get(incarnation, 0))
    return highest


def _id_in(key: bytes | None) -> str:
    """The row that a state topic's key names, whatever bytes it is made of."""
    return (key or b"").decode("utf-8", "replace").replace("\x00", "?")


def _lane_of(headers: Sequence[tuple[str, bytes | None]], service: str) -> tuple[int, int]:
    """(incarnation, seq) of a record of this service's lane; (0, 0) where it is none."""
    found = dict(headers)
    owner, _, incarnation = (found.get("ce_lane") or b"").decode("utf-8", "replace").rpartition("/")
    if owner != service:
        return 0, 0
    return number_of(incarnation.encode(), MAX_INCARNATION), number_of(found.get("ce_seq"))
