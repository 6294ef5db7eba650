"""Protections of the kernel's reading, switched off: lanes, inbox, views, waits for what is unread, what is kept or quarantined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from schemas.topics import INVENTORY_COMMANDS, Topic
from services.sourcing.projection import Network
from shared.kernel import engine, feed, pictures
from shared.kernel.arrivals import Arrival
from shared.kernel.codec import state_version
from shared.kernel.contents import NOTHING, Contents, Version, version_of
from shared.kernel.engine import Engine
from shared.kernel.feed import Feed
from shared.kernel.memory_transaction import MemoryTransaction
from shared.kernel.ports import Changes, LaneRow, OutboxRow, Record
from shared.kernel.stage import Stage
from tests.sim.mutant import mutant, part, switch
from tests.sim.themed import DEAF, LONG_DEAF, OVERTAKEN, SUPPLIED, Worlds


@mutant("records of a lane seen before are dropped")
def lane_dedupe() -> None:
    _take_twice(lambda topic: True)


@part("commands to inventory seen before are dropped: it notes which it has answered")
def commands_deduped() -> None:
    _take_twice(lambda topic: topic == INVENTORY_COMMANDS.name)


def _take_twice(of: Callable[[str], bool]) -> None:
    passes = Stage._passes_lane

    def everything_passes(self: Stage, arrival: Arrival) -> bool:
        if arrival.lane is not None and arrival.record is not None and arrival.envelope is not None and of(arrival.record.topic):
            lane = (arrival.record.at, arrival.lane)
            if 0 < arrival.envelope.seq <= self.moved.get(lane, self.marks.get(lane, 0)):
                return True
        return passes(self, arrival)

    switch(Stage, "_passes_lane", everything_passes)


@mutant("records behind a gap of their lane wait in the spool")
def gap_spool() -> None:
    passes = Stage._passes_lane

    def gaps_pass(self: Stage, arrival: Arrival) -> bool:
        if arrival.lane is not None and arrival.record is not None and arrival.envelope is not None:
            lane = (arrival.record.at, arrival.lane)
            if arrival.envelope.seq > self.moved.get(lane, self.marks.get(lane, 0)):
                self.moved[lane] = arrival.envelope.seq
                return True
        return passes(self, arrival)

    switch(Stage, "_passes_lane", gaps_pass)


@mutant("external messages whose (source, id) is known are dropped")
def inbox() -> None:
    switch(Stage, "_seen", lambda self, arrival: (False, False))


@mutant("after a fetch error all partitions are read again from their positions", worlds=Worlds("fetch_error"))
def seek_again() -> None:
    recorded = Engine.read

    async def read(self: Engine) -> None:
        fetch = self._reader.fetch

        async def swallowed(seconds: float) -> Any:
            try:
                return await fetch(seconds)
            except Exception:  # noqa: BLE001 - that is the mutant
                return []

        self._reader.fetch = swallowed  # type: ignore[assignment,method-assign]
        await recorded(self)

    switch(Engine, "read", read)


@mutant("external records wait while older internal ones are unread", worlds=DEAF)
def time_alignment() -> None:
    switch(Feed, "_free", lambda self, queue: True)


@mutant("after ten minutes what people say is judged, whatever is still unread", worlds=LONG_DEAF)
def waits_have_an_end() -> None:
    switch(feed, "WAIT_AT_MOST_MS", float("inf"))


@mutant("timers wait for every older input", worlds=DEAF)
def timers_wait_for_inputs() -> None:
    switch(Feed, "horizon_ms", lambda self: float("inf"))


@mutant("the follower of a view passes on only newer documents", worlds=SUPPLIED)
def newer_documents_pass() -> None:
    """What is told of the view stays right: which documents are the newest."""

    class Unsorted(Contents):
        def news(self, record: Record, topic: Topic) -> Version | None:
            return version_of(*state_version(record)) if topic.kind == "state" else version_of(0, record.offset + 1)

        def show(self, key: bytes, version: Version) -> None:
            if version > self._versions.get(key, NOTHING):
                super().show(key, version)

    switch(pictures, "Contents", Unsorted)


@mutant("a view takes a level only in a newer version")
def newer_levels_count() -> None:
    def see(self: Network, sku: str, location: str, version: int, atp: int) -> None:
        self._levels.setdefault(sku, {})[location] = (version, atp)
        self._count(sku, location)

    switch(Network, "_see", see)


@mutant("a view counts only documents newer than the one it has", parts=("newer_documents_pass", "newer_levels_count"), worlds=SUPPLIED)
def newest_document_counts() -> None:
    """Nothing beside its parts."""


@mutant("a message for a row that isn't there yet is kept")
def kept_messages() -> None:
    switch(Stage, "_keep", lambda self, arrival, keep: None)


@part("keeping a message makes an empty row, so that the row's maker collides with it: all that is kept is tried every 30 s")
def kept_row() -> None:
    keep = Stage._keep

    def without_row(self: Stage, arrival: Arrival, kept: Any) -> None:
        row = self._rows[kept.key]
        existed, row.existed = row.existed, True
        keep(self, arrival, kept)
        row.existed = existed

    switch(Stage, "_keep", without_row)


@part("all that is kept is tried again now and then: whoever makes a row sees what was kept for it")
def kept_tried_again() -> None:
    switch(engine, "KEPT_S", 1e9)


@mutant("a message is not left waiting for a row that is there", parts=("kept_row", "kept_tried_again"), worlds=OVERTAKEN)
def kept_row_and_retry() -> None:
    """Nothing beside its parts."""


@mutant("who takes for granted that nothing is kept writes nothing where something is", worlds=Worlds("rule_bug", given={"replicas": 2}))
def attached_looked_after() -> None:
    write = MemoryTransaction.write

    async def unseen(
        self: MemoryTransaction, changes: Changes, messages: Sequence[OutboxRow] = (), *, unattached: bool = False
    ) -> list[LaneRow]:
        return await write(self, changes, messages)

    switch(MemoryTransaction, "write", unseen)


@mutant("what a row waits for behind a failed input keeps its order", worlds=Worlds("rule_bug"))
def quarantine_order() -> None:
    switch(Stage, "_waits_in_quarantine", lambda self, arrival, need: False)
