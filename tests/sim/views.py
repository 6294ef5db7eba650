"""What a view holds, held against all documents of its topics: the audit only knows what a view has read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.topics import BY_NAME
from services.sourcing.projection import Network
from shared.kernel.arrivals import read_viewed
from shared.kernel.contents import Contents, Seen
from shared.kernel.memory_log import Broker
from shared.kernel.model import Service
from shared.kernel.ports import TopicPartition
from shared.kernel.views import Documents
from tests.support.replicas import Process


def views_hold_their_documents(process: Process, broker: Broker) -> Iterator[str]:
    """Of all documents that a process has read its view holds the newest of each; of a level perhaps what inventory has answered since. And
    it knows which they are."""
    if process.pictures is not None and process.service.views:
        whole, seen = _whole(process.service, broker, process.pictures.positions())
        for lacking in (*_lacking(process.pictures.view, whole), *_unknown(process.pictures.seen(), seen)):
            yield f"views_hold_their_documents: {process.name} {lacking}"


def _whole(service: Service[Any], broker: Broker, up_to: Mapping[TopicPartition, int]) -> tuple[Documents, dict[TopicPartition, Seen]]:
    """What who reads all records comes to."""
    view, seen = service.view(), {}
    for at, next in up_to.items():
        contents, topic = Contents(), BY_NAME[at.topic]
        for record in broker.records(at):
            version, key = contents.news(record, topic), record.key or b""
            if record.offset >= next or version is None:
                continue
            if record.value is None:
                view.forget(topic, key.decode())
                contents.hide(key, version)
            else:
                view.apply(read_viewed(service, record, topic))
                contents.show(key, version)
        seen[at] = contents.seen(next)
    return view, seen


def _unknown(found: Mapping[TopicPartition, Seen], seen: Mapping[TopicPartition, Seen]) -> Iterator[str]:
    for at, told in seen.items():
        if found[at] != told:
            yield f"knows {found[at]} of {at.topic}/{at.partition}, not {told}"


def _lacking(view: Any, whole: Documents) -> Iterator[str]:
    for kind, documents in whole._by_type.items():
        for key, document in documents.items():
            if view._by_type.get(kind, {}).get(key) != document:
                yield f"lacks {kind.__name__} {key}"
    if isinstance(whole, Network):
        for sku, places in whole._levels.items():
            for location, (version, _) in places.items():
                heard = max(view.heard(sku).get(location, (0, 0))[0], view._unheard.get((sku, location), (0, 0))[0])
                if heard < version:
                    yield f"has version {heard} of {sku} at {location}, not {version}"
                if (told := view._future.get(sku, {}).get(location)) != (future := whole._future.get(sku, {}).get(location)):
                    yield f"expects {told} of {sku} at {location}, not {future}"
