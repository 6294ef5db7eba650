"""What a view holds, held against all documents of its topics: the audit only knows what a view has read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from schemas.topics import BY_NAME
from services.sourcing.projection import Network
from shared.kernel.contents import Contents
from shared.kernel.memory_log import Broker
from shared.kernel.model import Service
from shared.kernel.pictures import partitions_of_all
from shared.kernel.stage import read_document
from shared.kernel.views import Documents

if TYPE_CHECKING:
    from tests.sim.world import World


def views_hold_their_documents(world: World) -> Iterator[str]:
    """Whoever has read all of a topic holds each newest document; of a level perhaps what inventory has answered since."""
    for process in world.processes:
        if process.lives and not process.frozen and process.pictures is not None and process.service.views:
            for lacking in _lacking(process.pictures.view, _whole(process.service, world.broker)):
                yield f"views_hold_their_documents: {process.name} {lacking}"


def _whole(service: Service[Any], broker: Broker) -> Documents:
    view: Documents = service.view()
    for at in partitions_of_all(service.views, broker.topics()):
        contents, topic = Contents(), BY_NAME[at.topic]
        for record in broker.records(at):
            version, key = contents.news(record, topic), record.key or b""
            if version is not None and record.value is None:
                view.forget(topic, key.decode())
            elif version is not None:
                view.apply(read_document(record, topic))
                contents.show(key, version)
    return view


def _lacking(view: Any, whole: Documents) -> Iterator[str]:
    for kind, documents in whole._by_type.items():
        for key, document in documents.items():
            if view._by_type.get(kind, {}).get(key) != document:
                yield f"lacks {kind.__name__} {key}"
    if isinstance(whole, Network):
        for sku, places in whole._levels.items():
            for location, (version, _) in places.items():
                heard = max(view.version(sku, location), view._unheard.get((sku, location), (0, 0))[0])
                if heard < version:
                    yield f"has version {heard} of {sku} at {location}, not {version}"
