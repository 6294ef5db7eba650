"""The plain view: whole reference and state topics by type and key, without an overlay."""

from __future__ import annotations

from typing import Any, TypeVar

from schemas.topics import TOPIC_OF, Body, Topic
from schemas.types import Data, OpenData
from shared.kernel.model import Event, Key

B = TypeVar("B", bound=Data | OpenData)


class Documents:
    """The newest document of each key. Services with a richer picture extend it."""

    def __init__(self) -> None:
        self._by_type: dict[type, dict[str, Body]] = {}

    def get(self, kind: type[B], key: str) -> B | None:
        found = self._by_type.get(kind, {}).get(key)
        return found if isinstance(found, kind) else None

    def all(self, kind: type[B]) -> tuple[B, ...]:
        return tuple(document for document in self._by_type.get(kind, {}).values() if isinstance(document, kind))

    def apply(self, body: Body) -> None:
        self._by_type.setdefault(type(body), {})[TOPIC_OF[type(body)].key_of(body)] = body

    def forget(self, topic: Topic, key: str) -> None:
        for kind in topic.types:
            self._by_type.get(kind, {}).pop(key, None)

    def fold(self, event: Event) -> None:
        """No overlay: nothing to fold."""

    def commit(self) -> None:
        """No overlay: nothing to keep."""

    def rollback(self) -> None:
        """No overlay: nothing to undo."""

    def forget_overlay(self) -> None:
        """No overlay: nothing to forget."""

    def restore(self, key: Key, state: Any) -> None:
        """No overlay: nothing to restore."""
