"""The same store on Postgres and in memory, with the troubles a test may want: sessions side by side, lost answers, cut connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import asyncpg

from schemas.topics import owned_by
from shared.kernel.memory_store import MemoryStore
from shared.kernel.memory_tables import Database
from shared.kernel.ports import CommitUnknown, Store, StoredInput, Transaction
from shared.kernel.postgres import open_store
from shared.kernel.real import RealClock
from tests.support.counting import HOUSE
from tests.support.proxy import CommitAnswerLost

T = TypeVar("T")
OPEN = ("dead", "quarantined")
PARTITIONS = 2
OWNED = [(topic, PARTITIONS) for topic in owned_by(HOUSE.name)]


class Abandoned(Exception):
    """The test left a session without a commit."""


class Session:
    """One transaction, opened and ended by hand."""

    def __init__(self, context: AbstractAsyncContextManager[Transaction], rig: Rig) -> None:
        self._context = context
        self._rig = rig
        self._over = False

    async def __aenter__(self) -> Self:
        self.transaction = await self._rig.soon(self._context.__aenter__())
        return self

    async def commit(self) -> None:
        self._over = True
        await self._rig.soon(self._context.__aexit__(None, None, None))

    async def __aexit__(self, *_: object) -> None:
        if not self._over:
            self._over = True
            await self._context.__aexit__(Abandoned, Abandoned(), None)


class Rig:
    """Some stores on one database."""

    patience_s = 8.0
    """What isn't done by then waits for ever."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []
        self.stores: list[Any] = []

    async def store(self) -> Any:
        """A store of one more process."""
        raise NotImplementedError

    async def waiting(self) -> int:
        """How many sessions wait for a lock."""
        raise NotImplementedError

    async def lose_commit(self, taken: bool) -> None:
        """The answer of the next commit will be lost; `taken`: the commit took effect all the same."""
        raise NotImplementedError

    async def cut(self) -> None:
        """Every connection to the database breaks."""
        raise NotImplementedError

    async def ask_replay(self) -> list[StoredInput]:
        """Everything that is parked shall run again, as `nervure dlq replay` asks for; returns it."""
        await self._mark_replay()
        return [one for one in await self.first.stored_due([0], datetime.now(UTC), 1000, False) if one.purpose == "replay"]

    async def _mark_replay(self) -> None:
        raise NotImplementedError

    async def open(self) -> None:
        self.first = await self.store()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for store in self.stores:
            await store.close()

    def session(self, store: Store | None = None) -> Session:
        return Session((store or self.first).begin(), self)

    async def soon(self, doing: Awaitable[T]) -> T:
        """What must not wait for anybody."""
        try:
            async with asyncio.timeout(self.patience_s):
                return await doing
        except TimeoutError:
            raise AssertionError("it waits, and nobody should have to") from None

    async def blocked(self, doing: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """What must wait for another session's lock."""
        before = await self.waiting()
        task = asyncio.create_task(doing)
        self._tasks.append(task)
        try:
            async with asyncio.timeout(self.patience_s):
                while await self.waiting() == before:
                    assert not task.done(), f"it did not wait: {task}"
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError("it waits for no lock") from None
        return task


class MemoryRig(Rig):
    """On tables in memory, with states stored as text and parsed again."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(RealClock())
        self._trouble: dict[str, Exception] = {}

    async def store(self) -> MemoryStore:
        store = MemoryStore(HOUSE, self.database, owned=OWNED, hook=self._hook, round_trip=True)
        self.stores.append(store)
        return store

    async def _hook(self, what: str) -> None:
        if what in self._trouble:
            raise self._trouble.pop(what)

    async def waiting(self) -> int:
        return self.database.waiting()

    async def _mark_replay(self) -> None:
        parked = self.database.table("parked")
        parked |= {place: row._replace(parked=row.parked._replace(status="replay")) for place, row in parked.items() if row.status in OPEN}

    async def lose_commit(self, taken: bool) -> None:
        self._trouble["commit answer" if taken else "commit"] = CommitUnknown("lost")

    async def cut(self) -> None:
        for store in self.stores:
            store.cut()


class PostgresRig(Rig):
    """On a database that is emptied before, through a proxy that can lose answers."""

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._dsn = dsn
        self._proxy = CommitAnswerLost(dsn)

    async def open(self) -> None:
        self._through = await self._proxy.start()
        self.beside = await asyncpg.connect(self._dsn)
        tables = await self.beside.fetch("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('kernel', 'state')")
        for schema, table in tables:
            if table not in ("migration", "incarnation"):
                await self.beside.execute(f'DELETE FROM {schema}."{table}"')
        await super().open()

    async def close(self) -> None:
        await super().close()
        await self.beside.close()
        await self._proxy.stop()

    async def store(self) -> Any:
        store = await open_store(HOUSE, self._through, owned=OWNED)
        self.stores.append(store)
        return store

    async def waiting(self) -> int:
        count = await self.beside.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(count)

    async def _mark_replay(self) -> None:
        await self.beside.execute("UPDATE kernel.parked SET status = 'replay' WHERE status = ANY($1)", OPEN)

    async def lose_commit(self, taken: bool) -> None:
        if taken:
            self._proxy.armed = True
        else:
            await self.cut()

    async def cut(self) -> None:
        await self.beside.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
