"""Databases that are lost, and restored: to the end of their archives, or to an older state.

With the fault `restore` every database has an archive that follows its commits at a distance, and publishers send only what it holds: then
a restore to its end is like a crash, and the services go on by themselves.

With `--restore SERVICE` that service has a journal and no archive. Once, its database is restored to a state of seconds or minutes ago,
whatever its topics show since; its replicas have died with it, or are in the middle of something. Then each of them must refuse to run, and
have changed nothing; `reconcile` repairs the database; and everything goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deploy.fleet import SERVICES
from shared.kernel.behind import DatabaseBehind
from shared.kernel.memory_clock import Hook
from shared.kernel.memory_log import MemoryTopics
from shared.kernel.memory_rows import Position
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Archive, Backup, Cell, Database
from shared.kernel.reconcile import reconcile
from tests.sim.plan import RESTORE
from tests.support.replicas import Crash, Process
from tests.support.turns import GIVE_WAY

if TYPE_CHECKING:
    from tests.sim.world import World

LAST_S = 20.0
"""How long it takes at most until a database is lost that will be at a step of its service."""
HOUSEKEEPING = ("position", "lane_sent", "published", "incarnation", "outbox", "parked")
"""Tables that others than decisions write, too; positions are compared by where reading goes on, the outbox by its lanes' numbers."""


class SlowArchive(Archive):
    """Receives commits some time after they were made, some at once."""

    def __init__(self, database: Database, world: World, delay_s: float) -> None:
        super().__init__(database)
        self._world = world
        self._delay_s = delay_s
        self._dice = world.plan.dice("archive")
        self._expects = False

    def send(self, writes: dict[Cell, Any]) -> None:
        super().send(writes)
        if not self._expects:
            self._expect()

    def _expect(self) -> None:
        self._expects = True
        self._world.agenda.later(self._dice.uniform(0, self._delay_s), "an archive receives", self._come)

    def _come(self) -> None:
        self._expects = False
        self.receive(self._dice.randint(1, 20))
        if self.behind():
            self._expect()


class Restores:
    """What is lost and restored in one world."""

    def __init__(self, world: World) -> None:
        self.happened: Counter[str] = Counter()
        self._world = world
        self._dice = world.plan.dice("restores")
        self._older: Backup | None = None
        self._restored: Mapping[str, Any] = {}
        """What the restored database held."""
        self._refused: set[str] = set()
        self._repaired = False
        self._armed = False
        if world.plan.has(RESTORE) and not world.plan.restore:
            delay_s = self._dice.choice((0.001, 0.05, 1.0, 5.0))
            for database in world.databases.values():
                database.archive = SlowArchive(database, world, delay_s)

    # ---- to the end of the archive ----

    def lose_database(self) -> None:
        """Whoever is connected hears it; some processes are lost with their database."""
        service = self._dice.choice(SERVICES)
        database = self._world.databases[service]
        if database.archive is None or not database.archive.holds("position"):
            return  # nothing of the set-up had arrived: that is a new database, and its service starts anew
        self.happened["commits lost"] += database.archive.behind()
        database.restore_archive()
        if self._dice.random() < 0.3:
            self._kill(service)

    def _kill(self, service: str, crashing: str = "") -> None:
        for process in self._replicas(service):
            if process.lives and process.name != crashing:
                process.die(Crash("lost with its database"))

    def _replicas(self, service: str) -> list[Process]:
        return [process for process in self._world.processes if process.service.name == service]

    # ---- to an older state ----

    @property
    def _service(self) -> str:
        return self._world.plan.restore

    @property
    def _database(self) -> Database:
        return self._world.databases[self._service]

    def begin(self) -> None:
        if self._service:
            plan = self._world.plan
            first_s = self._dice.uniform(0, 2 + plan.orders * plan.pace_s + self._dice.choice((0, 0, 3, 600)))
            self._later(first_s, "a backup is made", self._back_up)
            second_s = first_s + self._dice.choice((0.1, 1, 5, 60, 3600))
            if self._dice.random() < 0.5:
                self._later(second_s, "a database will be lost", self._arm)
                second_s += LAST_S
            self._later(second_s, "a database is lost", self._restore_older)

    def _arm(self) -> None:
        self._armed = True

    def hook(self, process: str, hook: Hook) -> Hook:
        """The database may be lost at any step of its service, too: between two messages of one commit, say."""
        if process.rpartition("-")[0] != self._service:
            return hook

        async def step(what: str) -> None:
            await hook(what)
            if self._armed and self._dice.random() < 0.1:
                self._restore_older(process)
                raise Crash("lost with its database")

        return step

    def _later(self, seconds: float, what: str, act: Callable[[], None]) -> None:
        self._world.agenda.later(seconds, what, act)

    def _back_up(self) -> None:
        self._older = self._database.backup()

    def _restore_older(self, crashing: str = "") -> None:
        if self.happened["restored"]:
            return
        assert self._older is not None
        self._armed = False
        self.happened["restored"] += 1
        if crashing or self._dice.random() < 0.5:
            self._kill(self._service, crashing)
        else:
            self.happened["under running replicas"] += 1
            self._later(LAST_S, "replicas are started again", lambda: self._kill(self._service))
        self._database.restore(self._older)
        self._restored = _decided(self._database)

    def refused(self, process: Process, error: BaseException) -> bool:
        """Whether a replica of the restored database ended as it must; the last one calls for the repair."""
        if not isinstance(error, DatabaseBehind) or process.service.name != self._service or not self._restored or self._repaired:
            return False
        self._refused.add(process.name)
        for other in self._replicas(self._service):
            if other.lives and other is not process:
                other.die(Crash("started again, to see that it refuses, too"))
        if len(self._refused) == len(self._replicas(self._service)):
            self._repaired = True
            self._world.turns.spawn("reconcile", self._repair(), self._world.failures.append)
        return True

    async def _repair(self) -> None:
        world, process = self._world, self._replicas(self._service)[0]
        if _decided(self._database) != self._restored:
            world.wrong.append(f"refuses_behind: {self._service} had committed something before it refused to run")
        store = MemoryStore(process.service, self._database, hook=_give_way, round_trip=world.round_trip)
        done = await reconcile(process.service, store, MemoryTopics(world.broker, _give_way), world.partitions())
        self.happened += Counter({"reconciled": 1, "commits done again": done.commits, "messages known again": done.messages})
        world.note(f"reconciled {done}")
        for replica in self._replicas(self._service):
            replica.start()

    def wrong(self) -> Iterator[str]:
        """What didn't go as it must."""
        if self._refused and not self._repaired:
            yield f"refuses_behind: only {', '.join(sorted(self._refused))} refused to run"


async def _give_way(what: str) -> None:
    await GIVE_WAY


def _decided(database: Database) -> Mapping[str, Any]:
    """All rows that decisions made."""
    tables = {name: rows for name, rows in database.backup().tables.items() if name not in HOUSEKEEPING and rows}
    positions: dict[Any, Position] = dict(database.table("position"))
    return {**tables, "read": {at: position.next for at, position in positions.items() if position.next}}
