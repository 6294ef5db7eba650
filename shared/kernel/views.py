"""The plain view: whole reference and state topics by type and key, without an overlay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Self, TypeVar

from msgspec import Struct, ValidationError, msgpack

from schemas.topics import TOPIC_OF, Body, Topic
from schemas.types import Data, OpenData
from shared.kernel.codec import body_of
from shared.kernel.model import Event, Key

B = TypeVar("B", bound=Data | OpenData)
T = TypeVar("T")
DOCUMENTS_A_PIECE = 200
"""A millisecond's work."""
TYPES = {kind.__name__: kind for kind in TOPIC_OF}
pack = msgpack.Encoder().encode


class Written(Struct, tag="documents", array_like=True):
    """A piece of a dump: documents of one type, each as its JSON."""

    kind: str
    documents: list[bytes]


_written = msgpack.Decoder(Written)


def in_parts(all: Iterable[T], most: int) -> Iterator[Sequence[T]]:
    """All of them as they are now, so many at a time."""
    rest = iter(list(all))
    while part := list(islice(rest, most)):
        yield part


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

    def dump(self) -> Iterator[bytes]:
        for kind, documents in list(self._by_type.items()):
            for part in in_parts(documents.values(), DOCUMENTS_A_PIECE):
                yield pack(Written(kind.__name__, [document.model_dump_json().encode() for document in part]))

    def load(self, piece: bytes) -> None:
        self._take(_written.decode(piece))

    def _take(self, written: Written) -> None:
        if written.kind not in TYPES:
            raise ValidationError(f"no document is called {written.kind!r}")
        for document in written.documents:
            self.apply(body_of(TYPES[written.kind], document))

    def become(self, other: Self) -> None:
        vars(self).clear()
        vars(self).update(vars(other))

    def fold(self, event: Event) -> None:
        """No overlay: nothing to fold."""

    def commit(self) -> None:
        """No overlay: nothing to keep."""

    def rollback(self) -> None:
        """No overlay: nothing to undo."""

    def clear(self) -> None:
        """No overlay: nothing to make anew."""

    def restore(self, key: Key, state: Any) -> None:
        """No overlay: nothing to restore."""
