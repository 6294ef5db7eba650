"""What is done to the running system. Each injury counts only once it has really happened: the process is gone, or stood still, the session
was ended, a write failed for want of space."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil

from deploy.embedded import EmbeddedError
from deploy.fleet import SERVICES
from deploy.health import ready
from shared.settings import database_name
from tests.chaos.cable import CUTS
from tests.chaos.ground import REPLICAS, Ground
from tests.chaos.recovery import Recoveries

STOPPED_S = (8.0, 11.0)
"""Longer than a session of a group member (6 s)."""
CUT_S = (4.0, 12.0)
"""Some cuts are shorter than a session, some longer."""
BROKER_AWAY_S, POSTGRES_AWAY_S = (0.0, 3.0), (0.0, 2.0)
FULL_S = (4.0, 8.0)
"""How long the disk stays full after the first write that failed."""
FULL_AT_MOST_S = 40.0
STORM_TURNS = 2
STORM_S = (1.0, 3.0)
GONE_S = 10.0
LOOK_S = 0.05
VICTIM_TRIES = 200
SERVER_TRIES = 3
SESSION_TRIES, SESSION_AGAIN_S, ANSWER_S = 20, 1.0, 5.0
NO_SPACE = b"No space left on device"
SESSION = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE datname = $1 AND pid <> pg_backend_pid() AND application_name <> 'nervure command' ORDER BY md5(pid::text || $2) LIMIT 1
) one
"""


class Injuries:
    """Injures a system, at the bidding of a plan."""

    def __init__(self, ground: Ground, recoveries: Recoveries, seed: int) -> None:
        self._ground = ground
        self._recoveries = recoveries
        self._dice = random.Random(f"injuries {seed}")
        self._frozen: set[tuple[str, int]] = set()
        self._cut: set[str] = set()
        self._stormed: set[str] = set()
        self._servers = asyncio.Lock()
        """One of the two servers is hurt at a time: what both lose at once is a power cut, which the embedded ones don't promise."""
        self.injected: Counter[str] = Counter()
        self.cuts: Counter[str] = Counter()
        """Of the cuts, how many of each sort."""
        self.missed: Counter[str] = Counter()
        """Those that found nobody to hit, or did not happen."""
        self.why_not: dict[str, str] = {}
        self._kinds: Mapping[str, Callable[[], Awaitable[bool]]] = {
            "kill": self.kill,
            "stop": self.stop,
            "session": self.session,
            "storm": self.storm,
            "cut": self.cut,
            "broker": self.broker,
            "postgres": self.postgres,
            "disk_full": self.disk_full,
        }

    async def inject(self, kind: str) -> None:
        """Do it, and see that it happened; returns when it is over."""
        if await self._kinds[kind]():
            self.injected[kind] += 1
        else:
            self.missed[kind] += 1

    # ---- service processes ----

    async def kill(self) -> bool:
        service, number = await self._victim()
        pid = self._ground.system.kill(service, number)
        if pid is None:
            return False
        self._recoveries.open("kill", [service])
        return await _gone(pid)

    async def stop(self) -> bool:
        service, number = await self._victim()
        pid = self._ground.system.pause(service, number)
        if pid is None:
            return False
        self._frozen.add((service, number))
        try:
            await asyncio.sleep(self._dice.uniform(*STOPPED_S))
            stood = _status(pid) == psutil.STATUS_STOPPED
        finally:
            self._ground.system.resume(service, number)
            self._frozen.discard((service, number))
        self._recoveries.outage_ended([service])
        self._recoveries.open("stop", [service])
        return stood

    async def storm(self) -> bool:
        service = await self._free_service(self._stormed)
        system, number = self._ground.system, REPLICAS
        self._stormed.add(service)
        try:
            for _ in range(STORM_TURNS):
                await asyncio.to_thread(system.launch, service, number)
                await self._until_ready(service, number)
                await asyncio.sleep(self._dice.uniform(*STORM_S))
                await asyncio.to_thread(system.dismiss, service, number)
        finally:
            self._stormed.discard(service)
        self._recoveries.outage_ended([service])
        self._recoveries.open("storm", [service])
        return True

    async def _victim(self) -> tuple[str, int]:
        """A replica that runs and isn't frozen: at work, or just starting."""
        for _ in range(VICTIM_TRIES):
            victim = self._dice.choice(SERVICES), self._dice.randrange(REPLICAS)
            if victim not in self._frozen and self._ground.system.pid(*victim) is not None:
                return victim
            await asyncio.sleep(LOOK_S)
        raise AssertionError("no replica of any service runs")

    async def _until_ready(self, service: str, number: int) -> None:
        """It joins as soon as it can; while the broker is away, it can't."""
        port = next(each.health_port for each in self._ground.system.replicas() if (each.service, each.number) == (service, number))
        deadline = time.monotonic() + GONE_S
        while await asyncio.to_thread(ready, port) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(LOOK_S * 4)

    async def _free_service(self, taken: set[str]) -> str:
        for _ in range(VICTIM_TRIES):
            if free := [service for service in SERVICES if service not in taken]:
                return self._dice.choice(free)
            await asyncio.sleep(LOOK_S * 4)
        raise AssertionError("every service is in it already")

    # ---- network, database sessions ----

    async def cut(self) -> bool:
        service = await self._free_service(self._cut)
        how, reset = self._dice.choice(CUTS), self._dice.random() < 0.5
        self._cut.add(service)
        self._ground.cables.cut(service, how)
        try:
            await asyncio.sleep(self._dice.uniform(*CUT_S))
        finally:
            self._ground.cables.mend(service, reset=reset)
            self._cut.discard(service)
        self._recoveries.outage_ended([service])
        self._recoveries.open("cut", [service])
        self.cuts[how] += 1
        return True

    async def session(self) -> bool:
        """One of some service's: as soon as there is one, where the database is just coming back."""
        for _ in range(SESSION_TRIES):
            service = self._dice.choice(SERVICES)
            if await self._end_a_session(service):
                self._recoveries.open("session", [service])
                return True
            await asyncio.sleep(SESSION_AGAIN_S)
        return False

    async def _end_a_session(self, service: str) -> bool:
        try:
            connection = await asyncpg.connect(self._postgres, timeout=ANSWER_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            return bool(await connection.fetchval(SESSION, database_name(service), str(self._dice.random()), timeout=ANSWER_S))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()

    @property
    def _postgres(self) -> str:
        postgres = self._ground.system.settings.postgres
        assert postgres is not None
        return postgres.get_secret_value()

    # ---- the servers ----

    async def broker(self) -> bool:
        async with self._outage("broker"):
            return await self._kill_server("kafka", BROKER_AWAY_S)

    async def postgres(self) -> bool:
        async with self._outage("postgres"):
            return await self._kill_server("postgres", POSTGRES_AWAY_S)

    async def disk_full(self) -> bool:
        """Filled until Postgres has failed to write, and some seconds on; then there is space again, and if it has died it is started."""
        disk, log = self._ground.disk, self._ground.home / "postgres.log"
        if disk.unfillable:
            self.why_not["disk_full"] = disk.unfillable
            return False
        async with self._outage("disk_full"):
            since = log.stat().st_size
            await asyncio.to_thread(disk.fill)
            try:
                failed = await _says(log, since, NO_SPACE, FULL_AT_MOST_S)
                await asyncio.sleep(self._dice.uniform(*FULL_S))
            finally:
                disk.give_back()
            await self._start_servers()
            return failed

    @asynccontextmanager
    async def _outage(self, kind: str) -> AsyncIterator[None]:
        """All services lose it; all have to come back."""
        async with self._servers:
            yield
            self._recoveries.outage_ended(SERVICES)
            self._recoveries.open(kind, SERVICES)

    async def _kill_server(self, server: str, away_s: tuple[float, float]) -> bool:
        pid = self._ground.servers.pid(server)
        assert pid is not None, f"{server} does not run"
        os.kill(pid, signal.SIGKILL)
        gone = await _gone(pid)
        await asyncio.sleep(self._dice.uniform(*away_s))
        await self._start_servers()
        return gone

    async def _start_servers(self) -> None:
        """Whatever doesn't run. On a busy machine the remains of a killed one may hold it up: then once more."""
        for _ in range(SERVER_TRIES - 1):
            try:
                await asyncio.to_thread(self._ground.servers.start)
                return
            except EmbeddedError:
                await asyncio.sleep(1.0)
        await asyncio.to_thread(self._ground.servers.start)


async def _gone(pid: int) -> bool:
    deadline = time.monotonic() + GONE_S
    while _status(pid) not in (None, psutil.STATUS_ZOMBIE):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def _status(pid: int) -> str | None:
    """What the process does; None where there is none."""
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return None


async def _says(log: Path, since: int, what: bytes, within_s: float) -> bool:
    """Whether that is written into a log from a byte on, within some time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with log.open("rb") as file:
            file.seek(since)
            if what in file.read():
                return True
        await asyncio.sleep(LOOK_S * 4)
    return False
