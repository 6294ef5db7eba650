"""Reference data as order capture sees it: whole documents, and items found by whatever a channel calls them."""

from __future__ import annotations

from schemas.reference import Channel, Item
from schemas.topics import ITEMS, Body, Topic
from shared.kernel.views import Documents


class Catalogue(Documents):
    """The newest items, locations, policies and channels; items also by GTIN and by a channel's own sku.

    An item's references are written `sku:<sku>`, `gtin:<gtin>` and `channel_sku:<channel>:<sku>`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._by_reference: dict[str, Item] = {}

    def item(self, reference: str) -> Item | None:
        """The item a reference means."""
        return self._by_reference.get(reference)

    def knows(self, reference: str) -> bool:
        """Whether the document it means is there: an item's, or `channel:<code>`."""
        kind, _, code = reference.partition(":")
        return (self.get(Channel, code) if kind == "channel" else self.item(reference)) is not None

    def channel(self, code: str) -> Channel:
        """The channel's document, or the defaults where it has none."""
        return self.get(Channel, code) or Channel(channel=code)

    def apply(self, body: Body) -> None:
        if isinstance(body, Item):
            self._unindex(body.sku)
            self._by_reference.update(dict.fromkeys(_references_of_item(body), body))
        super().apply(body)

    def forget(self, topic: Topic, key: str) -> None:
        if topic is ITEMS:
            self._unindex(key)
        super().forget(topic, key)

    def _unindex(self, sku: str) -> None:
        earlier = self.get(Item, sku)
        for reference in _references_of_item(earlier) if earlier else ():
            if self._by_reference.get(reference) is earlier:
                del self._by_reference[reference]


def references_of(document: Item | Channel) -> tuple[str, ...]:
    """Every name under which an order may wait for this document."""
    if isinstance(document, Channel):
        return (reference_of(document.channel),)
    return _references_of_item(document)


def reference_of(channel: str) -> str:
    return f"channel:{channel}"


def _references_of_item(item: Item) -> tuple[str, ...]:
    by_channel = (f"channel_sku:{channel}:{sku}" for channel, sku in item.channel_skus.items())
    return (f"sku:{item.sku}", *(f"gtin:{gtin}" for gtin in item.gtins), *by_channel)
