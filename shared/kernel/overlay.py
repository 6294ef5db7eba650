"""What a service's view holds of its own rows: those of the shards its replica owns.

Whoever owns a row hears what becomes of it, and nobody else does. So with other shards the overlay is made anew; kept from before, it would
wait for ever for news of rows that are another replica's by now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shared.kernel.model import Key, Service, View
from shared.kernel.partition import partition_of
from shared.kernel.ports import Store


class Overlay:
    """The overlay of one replica's view."""

    def __init__(self, service: Service[Any], store: Store, view: View, shards: int) -> None:
        self._kinds = service.overlay
        self._store = store
        self._view = view
        self._of_all = shards
        self._made_of: tuple[str, int, tuple[int, ...]] | None = None
        """Which life of the database, generation of the group, and shards: what went and came back was another's in between."""
        self._in_doubt: frozenset[Key] = frozenset()
        """Rows that the last batch changed, until its commit is known."""

    def doubt(self, changed: Iterable[Key]) -> None:
        """A batch that changes these rows is about to be committed."""
        self._in_doubt = frozenset(key for key in changed if key.kind in self._kinds)

    def settle(self) -> None:
        """It was committed."""
        self._in_doubt = frozenset()

    async def restore(self, life: str, generation: int, shards: tuple[int, ...]) -> None:
        """As the store has it: all of it after a new assignment or of another database, else what is in doubt. Raises
        Transient; then it is made anew the next time."""
        wanted = (life, generation, shards)
        if self._made_of != wanted:
            self._made_of = None
            await self._make(frozenset(shards))
            self._made_of = wanted
        for kind in self._kinds:
            ids = sorted(key.id for key in self._in_doubt if key.kind == kind)
            for id, row in (await self._store.rows(kind, ids)).items() if ids else ():
                self._view.restore(Key(kind, id), row.state)
        self.settle()

    async def _make(self, shards: frozenset[int]) -> None:
        self._view.clear()
        for kind in self._kinds:
            async for id, row in self._store.scan(kind):
                if row.state is not None and partition_of(id, self._of_all) in shards:
                    self._view.restore(Key(kind, id), row.state)
        self._view.commit()
