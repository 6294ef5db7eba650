"""Tables in memory, as weak as Postgres at READ COMMITTED: what two sessions may do to each other there, they may do here.

    a statement sees what was committed when it began, and its own session's writes
    a row lock is held until the end of the transaction; who waits for it is served in order of arrival
    after the wait the newest committed version counts: gone, it is passed over; no longer fitting, it is left alone
    a row that doesn't exist can't be locked; who inserts one makes others who insert the same wait for the outcome
    a circle of sessions that wait for each other is broken: the one that closes it fails

Values are immutable. A statement that doesn't wait runs without giving way, so what it reads is one snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from shared.kernel.ports import Clock, Signal, Transient
from shared.value import Value

ARCHIVE = "archive"
"""Stands for a table that changes when commits arrive in the archive."""
LOCK_TIMEOUT_S = 10.0
"""How long a session waits for one row before its statement fails."""


Cell = tuple[str, Hashable]
"""One row's place, whether a row is there or not: its table, its key."""


@dataclass(slots=True)
class _Waiter:
    session: Session
    signal: Signal


class Backup(Value, frozen=True):
    """Everything that was committed at one moment."""

    tables: Mapping[str, Mapping[Hashable, Any]]
    numbers: Mapping[str, int]


class Archive:
    """What is left of a database that is lost: a copy that follows its commits at a distance."""

    def __init__(self, database: Database) -> None:
        self.position = database.position
        """Up to which commit it has them."""
        self._tables = {name: dict(rows) for name, rows in database.backup().tables.items()}
        self._coming: deque[dict[Cell, Any]] = deque()
        self._changed = database.changed

    def send(self, writes: dict[Cell, Any]) -> None:
        """One more commit is on its way."""
        self._coming.append(writes)

    def receive(self, commits: int) -> None:
        """So many of those on their way arrive, in order."""
        for _ in range(min(commits, len(self._coming))):
            self.position += 1
            for (table, key), value in self._coming.popleft().items():
                _write(self._tables.setdefault(table, {}), key, value)
        self._changed({ARCHIVE})

    def behind(self) -> int:
        """How many commits are on their way."""
        return len(self._coming)

    def holds(self, table: str) -> bool:
        """Whether it has any rows of a table."""
        return bool(self._tables.get(table))

    def provide(self, table: str, key: Hashable, value: Any) -> None:
        self._tables.setdefault(table, {}).setdefault(key, value)

    def contents(self, numbers: Mapping[str, int]) -> Backup:
        self._coming.clear()
        return Backup({name: dict(rows) for name, rows in self._tables.items()}, dict(numbers))


def _write(table: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


class Database:
    """The committed rows of one database, and who holds locks on them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.life = 1
        """Which one this is: a restore begins another."""
        self.position = 0
        """How many transactions that wrote something were committed in this life and those it continues."""
        self.archive: Archive | None = None
        self.sessions: list[Session] = []
        """The open ones, in order of their beginning."""
        self._written: dict[str, int] = {}
        """How many commits have written into each table."""
        self._watching: list[tuple[Collection[str], Callable[[], None]]] = []
        self._tables: dict[str, dict[Hashable, Any]] = {}
        self._owners: dict[Cell, Session] = {}
        """Who holds the lock on a row."""
        self._queues: dict[Cell, deque[_Waiter]] = {}
        """Who waits for it, in order."""
        self._numbers: dict[str, int] = {}

    def table(self, name: str) -> dict[Hashable, Any]:
        try:
            return self._tables[name]
        except KeyError:
            return self._tables.setdefault(name, {})

    def provide(self, table: str, key: Hashable, value: Any) -> None:
        """A row that belongs to the set-up: there from the beginning, wherever it is missing."""
        self.table(table).setdefault(key, value)
        if self.archive is not None:
            self.archive.provide(table, key, value)

    def news(self, tables: Collection[str]) -> tuple[int, int]:
        """Another one than before where any of these tables was written since."""
        return self.life, sum([self._written.get(table, 0) for table in tables])

    def watch(self, tables: Collection[str], tell: Callable[[], None]) -> None:
        """Called once, when there is something new in any of these tables."""
        self._watching.append((tables, tell))

    def unwatch(self, tell: Callable[[], None]) -> None:
        self._watching = [watcher for watcher in self._watching if watcher[1] is not tell]

    def changed(self, tables: AbstractSet[str]) -> None:
        """There may be something new in these tables: written, or arrived in the archive."""
        for table in tables:
            self._written[table] = self._written.get(table, 0) + 1
        told = [tell for watched, tell in self._watching if not tables.isdisjoint(watched)]
        self._watching = [watcher for watcher in self._watching if tables.isdisjoint(watcher[0])]
        for tell in told:
            tell()

    def number(self, name: str) -> int:
        """The next number of an identity column; a roll-back doesn't give it back."""
        self._numbers[name] = self._numbers.get(name, 0) + 1
        return self._numbers[name]

    def given(self, name: str) -> int:
        """The newest number of an identity column, whether its row was committed or not."""
        return self._numbers.get(name, 0)

    def waiting(self) -> int:
        """How many sessions wait for a lock."""
        return sum(map(len, self._queues.values()))

    def backup(self) -> Backup:
        return Backup({name: dict(rows) for name, rows in self._tables.items()}, dict(self._numbers))

    def restore(self, backup: Backup) -> None:
        """Back to an older state; every open session is lost."""
        for session in list(self.sessions):
            session.lose("the database was restored")
        self._tables = {name: dict(rows) for name, rows in backup.tables.items()}
        self._numbers = dict(backup.numbers)
        self.life += 1
        told, self._watching = self._watching, []
        for _, tell in told:
            tell()

    def restore_archive(self) -> None:
        """The database is lost, and restored to the end of its archive."""
        assert self.archive is not None
        self.position = self.archive.position
        self.restore(self.archive.contents(self._numbers))

    def committed(self, writes: dict[Cell, Any]) -> None:
        """A transaction takes effect that wrote something."""
        for (table, key), value in writes.items():
            _write(self.table(table), key, value)
        self.position += 1
        if self.archive is not None:
            self.archive.send(dict(writes))
        self.changed({table for table, _ in writes})

    def owner_of(self, cell: Cell) -> Session | None:
        return self._owners.get(cell)

    def queue_of(self, cell: Cell) -> deque[_Waiter]:
        """Who waits for a lock that somebody holds."""
        return self._queues.setdefault(cell, deque())

    def take(self, cell: Cell, session: Session) -> None:
        """Nobody holds it."""
        self._owners[cell] = session

    def let_go(self, cell: Cell) -> None:
        """The next one who waits gets the lock."""
        queue = self._queues.get(cell)
        if not queue:
            del self._owners[cell]
            self._queues.pop(cell, None)
            return
        waiter = queue.popleft()
        self._owners[cell] = waiter.session
        waiter.session.hold(cell)
        waiter.signal.set()


class Session:
    """One transaction. All its waiting methods raise Transient: on deadlock, on time-out, when its connection was lost."""

    __slots__ = ("_held", "_lost", "_over", "_writes", "client", "database", "waits_for")

    def __init__(self, database: Database, client: object = None) -> None:
        self.database = database
        self.client = client
        """Whose connection it is on."""
        self._held: dict[Cell, None] = {}
        self._writes: dict[Cell, Any] = {}
        """None: deleted."""
        self.waits_for: Cell | None = None
        self._lost = ""
        self._over = False
        database.sessions.append(self)

    # ---- reading: what is committed now, and what this session wrote ----

    def get(self, table: str, key: Hashable) -> Any:
        """The row, or None."""
        if self._writes and (cell := (table, key)) in self._writes:
            return self._writes[cell]
        return self.database.table(table).get(key)

    def items(self, table: str) -> Iterable[tuple[Any, Any]]:
        """To be gone through within the statement."""
        rows = self.database.table(table)
        own = {key: value for (written, key), value in self._writes.items() if written == table} if self._writes else None
        if not own:
            return rows.items()
        written = [(key, value) for key, value in own.items() if value is not None]
        return [*((key, value) for key, value in rows.items() if key not in own), *written]

    # ---- writing: for rows that this session holds ----

    def put(self, table: str, key: Hashable, value: Any) -> None:
        """Writes a row that is held, or that nobody else can know of."""
        cell = (table, key)
        if cell not in self._held:
            self.database.take(cell, self)
            self._held[cell] = None
        self._writes[cell] = value

    def lock_now(self, table: str, key: Hashable) -> bool:
        """Locks a row that is there, where that takes no waiting."""
        cell = (table, key)
        return cell in self._held or self._held_at_once(cell)

    async def lock(self, table: str, key: Hashable) -> Any:
        """Waits for a row that was there when the statement began; its newest version, or None where it is gone by now."""
        cell = (table, key)
        had = cell in self._held
        if not (had or self._held_at_once(cell)):
            await self._hold(cell)
        newest = self.get(table, key)
        if newest is None and not had:
            self._let_go(cell)
        return newest

    async def insert(self, table: str, key: Hashable, value: Any) -> bool:
        """Whether the row could be inserted; waits for whoever inserts, changes or deletes the same just now."""
        cell = (table, key)
        if self.get(table, key) is not None and not self._in_doubt(cell):
            return False
        had = cell in self._held
        if not (had or self._held_at_once(cell)):
            await self._hold(cell)
        if self.get(table, key) is None:
            self.put(table, key, value)
            return True
        if not had:
            self._let_go(cell)
        return False

    async def upsert(self, table: str, key: Hashable, value: Any, change: Callable[[Any], Any]) -> bool:
        """Inserts `value`, or writes `change(newest)` unless that is None; whether anything was written."""
        while not await self.insert(table, key, value):
            newest = await self.lock(table, key)
            if newest is not None:
                changed = change(newest)
                if changed is not None:
                    self.put(table, key, changed)
                return changed is not None
        return True

    async def update(
        self, table: str, keys: Iterable[Hashable], fits: Callable[[Any, Any], bool], change: Callable[[Any, Any], Any]
    ) -> int:
        """Writes `change(key, row)` (None deletes) for the rows that fit when the statement begins, and still do once they are locked."""
        found = [key for key in dict.fromkeys(keys) if (row := self.get(table, key)) is not None and fits(key, row)]
        done = 0
        for key in found:
            newest = self.get(table, key) if self.lock_now(table, key) else await self.lock(table, key)
            if newest is not None and fits(key, newest):
                self.put(table, key, change(key, newest))
                done += 1
        return done

    async def delete(self, table: str, keys: Iterable[Hashable], fits: Callable[[Any, Any], bool] = lambda *_: True) -> int:
        return await self.update(table, keys, fits, lambda *_: None)

    # ---- the end ----

    def check(self) -> None:
        """Raises Transient where the connection is gone."""
        if self._lost:
            raise Transient(self._lost)
        assert not self._over, "the transaction is over, or failed before: leave it"

    def commit(self) -> None:
        self.check()
        if self._writes:
            self.database.committed(self._writes)
        self._end()

    def roll_back(self) -> None:
        """Never fails; may come twice."""
        self._end()

    def lose(self, why: str) -> None:
        """The connection breaks: rolled back at once, and whoever uses it hears so."""
        if not self._over:
            self._lost = why
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self.database.sessions.remove(self)
        if self.waits_for is not None:
            self._stop_waiting()
        if self._held:
            self._writes.clear()
            for cell in self._held:
                self.database.let_go(cell)
            self._held.clear()

    # ---- locks ----

    def hold(self, cell: Cell) -> None:
        """The lock is this session's now."""
        self._held[cell] = None

    def wrote(self, cell: Cell) -> bool:
        return cell in self._writes

    def _in_doubt(self, cell: Cell) -> bool:
        """Whether somebody else has written the row and not committed yet."""
        owner = self.database.owner_of(cell)
        return owner is not None and owner is not self and owner.wrote(cell)

    def _held_at_once(self, cell: Cell) -> bool:
        """Takes the lock, where nobody holds it."""
        if self.database.owner_of(cell) is not None:
            return False
        self.database.take(cell, self)
        self._held[cell] = None
        return True

    async def _hold(self, cell: Cell) -> None:
        """Waits for a lock that somebody else holds."""
        if self._closes_circle(cell):
            self._fail("deadlock detected")
        waiter = _Waiter(self, self.database.clock.signal())
        self.database.queue_of(cell).append(waiter)
        self.waits_for = cell
        try:
            await self._wait(cell, waiter.signal)
        finally:
            self._stop_waiting()

    async def _wait(self, cell: Cell, signal: Signal) -> None:
        clock = self.database.clock
        give_up = clock.now_s() + LOCK_TIMEOUT_S
        while cell not in self._held:
            left = give_up - clock.now_s()
            if left <= 0:
                self._fail(f"no lock on {cell} within {LOCK_TIMEOUT_S} s")
            await signal.wait(left)
            self.check()

    def _stop_waiting(self) -> None:
        cell, self.waits_for = self.waits_for, None
        if cell is not None and self.database.owner_of(cell) is not None:
            queue = self.database.queue_of(cell)
            for waiter in [waiter for waiter in queue if waiter.session is self]:
                queue.remove(waiter)
                waiter.signal.set()

    def _closes_circle(self, cell: Cell) -> bool:
        """Whether someone this session would wait for waits for this session."""
        seen: set[int] = set()
        front = self._ahead(cell, None)
        while front:
            other = front.pop()
            if other is self:
                return True
            if id(other) not in seen and other.waits_for is not None:
                seen.add(id(other))
                front += self._ahead(other.waits_for, other)
        return False

    def _ahead(self, cell: Cell, of: Session | None) -> list[Session]:
        """Who gets the lock before `of` (before a newcomer, where that is None)."""
        owner = self.database.owner_of(cell)
        if owner is None:
            return []
        ahead = [owner]
        for waiter in self.database.queue_of(cell):
            if waiter.session is of:
                break
            ahead.append(waiter.session)
        return ahead

    def _let_go(self, cell: Cell) -> None:
        self._held.pop(cell, None)
        self.database.let_go(cell)

    def _fail(self, why: str) -> None:
        """The statement fails, and the transaction with it."""
        self._end()
        raise Transient(why)
