"""The servers of one home: brought up side by side, shared by whoever comes later, stopped by who started them."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from deploy.embedded.account import database_place
from deploy.embedded.endpoints import Endpoints
from deploy.embedded.errors import NotRunning, RemainsRun, ServerFailed, StateUnreadable
from deploy.embedded.kafka import Kafka
from deploy.embedded.lock import held
from deploy.embedded.ports import free_port, is_free
from deploy.embedded.postgres import Postgres
from deploy.embedded.process import Identity, find_marked, own_identity, stop
from deploy.embedded.server import await_ready
from deploy.embedded.state import STATE_FILE, ServerState, State, load, locked, save
from shared.settings import Settings

# A stop writes what is in memory; on a slow disk that takes a while.
STOP_WAIT_S = 30.0
# A port may be taken by somebody else between our look and the server's.
START_TRIES = 3
REMAINS_WAIT_S = 20.0
HOME_MODE = 0o711


class Server(Protocol):
    """What Kafka and Postgres have in common. `ports` names the ports it needs, `polite` is the signal that ends it."""

    name: str
    title: str
    ports: tuple[str, ...]
    polite: signal.Signals
    log: Path

    def mark(self, state: State) -> str: ...
    def address(self, state: State) -> str: ...
    def prepare(self, state: State, lock: int) -> None: ...
    def spawn(self, state: State, lock: int) -> Identity: ...
    def answers(self, state: State) -> bool: ...
    def erase(self, state: State) -> None: ...


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server of a home: its process id if it runs, the port clients use if it ever ran, its log."""

    server: str
    pid: int | None
    port: int | None
    log: Path


@dataclass(frozen=True, slots=True)
class Status:
    """The servers of a home; `starter` is the id of the living process that will stop them, None if there is none.

    `abandoned` tells whether the process that should have stopped them ended before it did."""

    home: Path
    servers: tuple[ServerStatus, ...]
    starter: int | None
    abandoned: bool

    @property
    def up(self) -> bool:
        """Whether every server runs."""
        return all(server.pid for server in self.servers)


class Embedded:
    """Kafka and Postgres (or those named by `only`) in the folder `home`.

    `cache` holds downloads for all homes of a user; `mirror` is the URL of a mirror of Maven Central. All methods
    block; in a coroutine call them through asyncio.to_thread."""

    def __init__(self, home: Path, *, cache: Path, mirror: str | None = None, only: Collection[str] = ()) -> None:
        self.home = home.resolve()
        servers: tuple[Server, ...] = (Kafka(self.home, cache, mirror), Postgres(self.home))
        self._servers = tuple(server for server in servers if not only or server.name in only)
        self._writing = threading.Lock()
        self._ours = False

    @classmethod
    def of(cls, settings: Settings, only: Collection[str] = ()) -> Self:
        """Those of the home that the settings name."""
        return cls(settings.home, cache=settings.cache, mirror=settings.maven, only=only)

    def start(self, *, stays: bool = False) -> Endpoints:
        """Bring up what doesn't run yet; return when all answer. What runs already is shared, not started twice.

        Who starts them stops them with `leave`, unless they shall outlive us (`stays`) or belong to another living
        process. Raises EmbeddedError; then nothing that we started is left running."""
        if not self.home.exists():
            self.home.mkdir(parents=True)
            self.home.chmod(HOME_MODE)
        with locked(self.home):
            before = self._claim(stays)
            try:
                self._bring_up_all()
            except BaseException:
                self._stop_all(spared=before)
                raise
            return self.endpoints()

    def stop(self) -> None:
        """End the servers, whoever started them; returns when they are gone. Their data stays."""
        if self.home.exists():
            with locked(self.home):
                self._stop_all()
                self._disown()

    def leave(self) -> None:
        """End the servers if that is on us: not if they were there before we came, or shall stay."""
        if self._ours:
            self.stop()

    def erase(self) -> None:
        """Stop the servers and delete the home with all its data."""
        self.stop()
        if state := load(self.home):
            for server in self._servers:
                server.erase(state)
        shutil.rmtree(self.home, ignore_errors=True)

    def endpoints(self) -> Endpoints:
        """Where the running servers are; the address of one that `only` leaves out is empty. Raises NotRunning."""
        state = load(self.home)
        if state is None or len(self._running(state)) < len(self._servers):
            raise NotRunning(home=self.home)
        addresses = {server.name: server.address(state) for server in self._servers}
        return Endpoints(kafka=addresses.get("kafka", ""), postgres=addresses.get("postgres", ""))

    def status(self) -> Status:
        """What runs, without waiting for anybody."""
        state = load(self.home) or State()
        running = self._running(state)
        servers = tuple(_status(each, state.of(each.name), running.get(each.name)) for each in self._servers)
        starter = state.starter.pid if running and state.starter and state.starter.alive else None
        return Status(self.home, servers, starter, abandoned=bool(state.starter and not state.starter.alive))

    def _claim(self, stays: bool) -> frozenset[str]:
        """Settle who stops the servers; returns the names of those that run already."""
        state = load(self.home) or self._new_state()
        running = self._running(state)
        belongs_to_another = bool(running) and (state.starter is None or state.starter.alive)
        self._ours = not belongs_to_another and not stays
        if not belongs_to_another:
            state = state.model_copy(update={"starter": own_identity() if self._ours else None})
        save(self.home, state)
        return frozenset(running)

    def _bring_up_all(self) -> None:
        taken: set[int] = set()
        with ThreadPoolExecutor(len(self._servers)) as pool:
            for done in [pool.submit(self._bring_up, server, taken) for server in self._servers]:
                done.result()

    def _bring_up(self, server: Server, taken: set[int]) -> None:
        """Start a server on other ports where somebody took the ones we had chosen, up to START_TRIES times."""
        for _ in range(START_TRIES - 1):
            try:
                return self._launch(server, taken)
            except ServerFailed:
                if all(map(is_free, self._state().of(server.name).ports.values())):
                    raise
        return self._launch(server, taken)

    def _launch(self, server: Server, taken: set[int]) -> None:
        """Wait for the server, which is the one an earlier start left running if there is such, else a new process."""
        state = self._state()
        left = _process(server, state) or find_marked(server.mark(state))
        if left is not None:
            try:
                self._await(server, left)
            except ServerFailed:
                """It was ending already, as one that has just been killed: a new one takes its place."""
            else:
                return
        self._await(server, self._spawn(server, taken))

    def _await(self, server: Server, process: Identity) -> None:
        self._remember(server, process=process)
        state = self._state()
        await_ready(server.title, process, server.log, lambda: server.answers(state))

    def _spawn(self, server: Server, taken: set[int]) -> Identity:
        """Under a lock that lasts until no process of the server is left: a database whose first process was killed isn't
        started again beside its own orphans, nor a home twice in two containers."""
        path = self.home / f"{server.name}.lock"
        remains = RemainsRun(server=server.title, lock=path, seconds=REMAINS_WAIT_S)
        with held(path, REMAINS_WAIT_S, otherwise=remains) as lock:
            server.prepare(self._state(), lock)
            known = self._state().of(server.name).ports
            with self._writing:
                ports = {name: free_port(known.get(name), taken) for name in server.ports}
            self._remember(server, ports=ports, process=None)
            return server.spawn(self._state(), lock)

    def _stop_all(self, spared: frozenset[str] = frozenset()) -> None:
        state = load(self.home) or State()
        with ThreadPoolExecutor(len(self._servers)) as pool:
            for done in [pool.submit(_stop, each, state) for each in self._servers if each.name not in spared]:
                done.result()

    def _running(self, state: State) -> dict[str, int]:
        """Process ids by server."""
        found = {server.name: _process(server, state) for server in self._servers}
        return {name: process.pid for name, process in found.items() if process}

    def _new_state(self) -> State:
        """The state of a new home. One of this name may have been deleted while its servers ran: that ends here.

        Raises StateUnreadable if there is data: then the home had a state that is lost."""
        if any((self.home / folder).exists() for folder in ("postgres", "kafka")):
            raise StateUnreadable(path=self.home / STATE_FILE, home=self.home, cause="it is missing")
        state = State(postgres_data=database_place(self.home))
        for server in self._servers:
            _stop(server, state)
            server.erase(state)
        return state

    def _disown(self) -> None:
        if state := load(self.home):
            save(self.home, state.model_copy(update={"starter": None}))

    def _state(self) -> State:
        """The state of a home that was claimed and therefore has one."""
        state = load(self.home)
        if state is None:
            raise StateUnreadable(path=self.home / STATE_FILE, home=self.home, cause="it was deleted")
        return state

    def _remember(self, server: Server, **changes: object) -> None:
        with self._writing:
            save(self.home, self._state().with_server(server.name, **changes))


def _process(server: Server, state: State) -> Identity | None:
    """The running process of a server, as the state tells; a copied home doesn't take the original's for its own."""
    process = state.of(server.name).process
    return process if process and process.mark == server.mark(state) and process.alive else None


def _stop(server: Server, state: State) -> None:
    if process := _process(server, state) or find_marked(server.mark(state)):
        stop(process, server.polite, STOP_WAIT_S, server.title)


def _status(server: Server, state: ServerState, pid: int | None) -> ServerStatus:
    return ServerStatus(server.title, pid, state.ports.get(server.ports[0]), server.log)
