"""Protections of snapshots of views, switched off; see mutants.py."""

from __future__ import annotations

from collections.abc import Iterator

from shared.kernel.contents import Contents
from shared.kernel.memory_shelf import MemoryShelf
from shared.kernel.snapshots import Snapshots
from tests.sim.mutant import mutant, switch
from tests.sim.themed import KEPT


@mutant("a snapshot holds every document", worlds=KEPT)
def snapshots_whole() -> None:
    """It lacks one of each partition."""
    dump = Contents.dump

    def without_one(self: Contents) -> Iterator[bytes]:
        kept = Contents()
        kept._versions, kept._keys, kept._hidden = self._versions, self._keys[1:], self._hidden
        return dump(kept)

    switch(Contents, "dump", without_one)


@mutant("a snapshot tells how far was read before it was begun", worlds=KEPT)
def snapshot_places_first() -> None:
    make = Snapshots.make

    async def made(self: Snapshots, pause_s: float) -> None:
        await make(self, pause_s)
        assert isinstance(self._shelf, MemoryShelf)
        assert self._shelf.pieces is not None
        self._shelf.pieces[0] = self._head()

    switch(Snapshots, "make", made)


@mutant("what a snapshot knows to be read is in it: contents come before what the view holds", worlds=KEPT)
def snapshot_contents_first() -> None:
    def view_first(self: Snapshots) -> Iterator[bytes]:
        yield self._head()
        yield from self._held()
        yield from self._known()

    switch(Snapshots, "_pieces", view_first)
