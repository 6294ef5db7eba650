"""Who mends what the system can't mend by itself, with what the commands do: `nervure lanes republish`, `nervure dlq replay`."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deploy.fleet import SERVICES, load_service
from deploy.lanes import lane_of
from schemas.topics import BY_NAME
from shared.kernel.memory_log import MemoryWriter
from shared.kernel.memory_rows import ParkedRow
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Session
from shared.kernel.ports import Record, TopicPartition
from shared.kernel.republish import republish
from tests.sim.rule_bug import PlantedBug

if TYPE_CHECKING:
    from tests.sim.world import World

LOOKS_AT_MOST = 200
AGAIN_S = 2.0


class Operator:
    """One person at the command line. Nothing of what is done here is hit by faults; what the broker doesn't take is done later."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._looks = 0
        self._replayed = False
        """Whether the rule is mended, and all that was known to be refused has run again."""

    # ---- lost records ----

    def miss(self, at: TopicPartition, lost: list[Record], after_s: float) -> None:
        """These records of a lane are no longer in their topic: their rows go out again, a while later."""
        seqs = [seq for lane, seq in map(lane_of, lost) if lane.service == BY_NAME[at.topic].owner]
        if seqs:
            self._later(after_s, f"lanes republish {at.topic}/{at.partition}", lambda: self._republish(at, min(seqs), max(seqs)))

    def _republish(self, at: TopicPartition, first: int, last: int) -> None:
        if not self._world.faults.takes(at) or self._knows_less(at, last):
            self._later(AGAIN_S, f"lanes republish {at.topic}/{at.partition}", lambda: self._republish(at, first, last))
            return
        service = BY_NAME[at.topic].owner
        store = MemoryStore(load_service(service), self._world.databases[service])
        self._do("republish", self._sent(republish(store, MemoryWriter(self._world.broker), service, at, first, last)))

    def _knows_less(self, at: TopicPartition, last: int) -> bool:
        """Whether the database was restored to an older state, and has not been reconciled yet."""
        return bool(self._world.databases[BY_NAME[at.topic].owner].table("lane_out")[at].seq < last)

    @staticmethod
    async def _sent(work: Coroutine[Any, Any, int]) -> None:
        await work

    # ---- inputs that failed ----

    def replay_until_done(self) -> None:
        """The rule is mended: what it refused, and what waits behind, runs again until nothing is left of it."""
        self._looks += 1
        assert self._looks < LOOKS_AT_MOST, "what was refused is never replayed"
        open_ = [name for name in SERVICES if any(map(_is_open, self._parked(name)))]
        for name in open_:
            self._do("replay", self._replay(name))
        self._replayed = not open_
        if open_:
            self._later(AGAIN_S, "dlq replay", self.replay_until_done)

    def committed(self, service: str) -> None:
        """Something has taken effect in this service. Whoever was stopped while it refused an input, by the rule as it was, puts it aside
        once it wakes, be that long after the rule was mended. What only waits calls for nobody: it may not, once all has run again."""
        if self._replayed and any(_is_open(row) and row.reason == PlantedBug.__name__ for row in self._parked(service)):
            self._replayed = False
            self._later(AGAIN_S, "dlq replay", self.replay_until_done)

    def _parked(self, service: str) -> Collection[ParkedRow]:
        rows: Mapping[Any, ParkedRow] = self._world.databases[service].table("parked")
        return rows.values()

    async def _replay(self, service: str) -> None:
        session = Session(self._world.databases[service])
        asked = dict(_wait(session))
        await session.update(
            "parked", asked, lambda _, row: _is_open(row), lambda _, row: row._replace(parked=row.parked._replace(status="replay"))
        )
        session.commit()

    # ---- how ----

    def _later(self, seconds: float, what: str, act: Any) -> None:
        self._world.agenda.later(seconds, f"operator: {what}", act)

    def _do(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._world.turns.spawn(f"operator {what}", work, self._world.failures.append)


def _is_open(row: ParkedRow) -> bool:
    return row.status in ("quarantined", "replay") or (row.status == "dead" and row.reason == PlantedBug.__name__)


def _wait(session: Session) -> Iterator[tuple[Any, ParkedRow]]:
    return ((place, row) for place, row in session.items("parked") if _is_open(row) and row.status != "replay")
