"""The running system on one machine: embedded servers where needed, topics, and a process for each replica, kept alive.

    with System(Settings(), replicas={"sourcing": 2}) as system:
        system.wait_ready()

All methods block; in a coroutine call them through asyncio.to_thread.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from deploy.embedded import infrastructure
from deploy.embedded.errors import EmbeddedError
from deploy.embedded.lock import held
from deploy.embedded.ports import free_port
from deploy.embedded.process import Identity, own_identity
from deploy.embedded.server import tail
from deploy.errors import Explained
from deploy.fleet import SERVICES, create_topics, kafka_connection, service_name
from deploy.health import ready
from deploy.run import DRAINED, MISCONFIGURED, NEEDS_A_PERSON, with_views
from schemas.topics import CHANNEL_ORDERS
from shared.kernel.kafka import KafkaTopics
from shared.settings import Settings

STATE_FILE = "services.json"
LOCK_FILE = "services.lock"
LOCK_WAIT_S = 1.0
WATCH_S = 0.1
BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)
"""Waits before the first, second, ... restart of a process that keeps failing."""
STEADY_S = 60.0
"""A process that lived so long starts again at the first wait."""
DRAIN_WAIT_S = 25.0
READY_WAIT_S = 90.0
EMBEDDED_OUTBOX_KEEP_S = 600
LOG_LIMIT_BYTES = 50_000_000
ROOT = Path(__file__).resolve().parent.parent

State = Literal["running", "waits to restart", "stopped", "paused", "needs a person", "misconfigured"]
FINAL: Mapping[int, State] = {DRAINED: "stopped", NEEDS_A_PERSON: "needs a person", MISCONFIGURED: "misconfigured"}
"""Exit codes after which a process isn't started again."""


class AlreadyUp(EmbeddedError):
    """Services of {home} run already: started by process {pid}. Stop them there (Ctrl-C, or `kill -TERM {pid}`), or take another
    home with NERVURE_HOME."""


class NotReady(Explained):
    """After {seconds} s not ready: {waits}. The end of its log: {tail} Mend what it names, then start again."""


class TooManyReplicas(Explained):
    """{count} replicas of {service} were asked for, but the topics have {partitions} partitions: the others would have nothing to do. Ask
    for fewer, or begin a new home with NERVURE_PARTITIONS={count}."""


class NotUp(Explained):
    """No services run in {home}. Start them with `nervure up`, or name the home they run in with NERVURE_HOME."""


class Replica(BaseModel):
    """One process of a service, as other commands see it."""

    model_config = ConfigDict(frozen=True)

    service: str
    number: int
    state: State = "running"
    process: Identity | None = None
    health_port: int
    log: Path
    restarts: int = 0
    last_exit: int | None = None
    """Exit code of the run before; negative: the signal that ended it."""

    @property
    def name(self) -> str:
        return f"{self.service}-{self.number}"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None


class Fleet(BaseModel):
    """What runs in a home: <home>/services.json."""

    model_config = ConfigDict(frozen=True)

    supervisor: Identity
    replicas: tuple[Replica, ...]


@dataclass(slots=True)
class _Child:
    """What only the supervisor knows of a replica."""

    replica: Replica
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    failures: int = 0
    start_again_s: float = 0.0


class System:
    """Everything `nervure up` runs. `on_change` is told in one line what happened to a process; `variables` are environment variables
    that only the processes of one service get, by service."""

    def __init__(
        self,
        settings: Settings,
        replicas: Mapping[str, int] | None = None,
        *,
        services: Sequence[str] = SERVICES,
        on_change: Callable[[str], None] = lambda _: None,
        variables: Mapping[str, Mapping[str, str]] | None = None,
        backoff_s: Sequence[float] = BACKOFF_S,
    ) -> None:
        counts = {service_name(name): count for name, count in (replicas or {}).items()}
        self.settings = _absolute(settings)
        self.services = tuple(services)
        self._counts = {name: counts.get(name, 1) for name in services}
        self._on_change = on_change
        self._variables = variables or {}
        self._backoff_s = tuple(backoff_s)
        self._stack = ExitStack()
        self._children: dict[tuple[str, int], _Child] = {}
        self._ports: set[int] = set()
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- the whole ----

    def start(self) -> None:
        """Servers, topics, processes; returns when the processes are started (see `wait_ready`). `settings` then names the servers.

        Raises EmbeddedError, AlreadyUp, TooManyReplicas, and what the broker raises; nothing is left running then."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        with self._unwound_on_failure():
            self._stack.enter_context(_alone(self.settings.home))
            endpoints = self._stack.enter_context(infrastructure(self.settings))
            found = with_views(self.settings, endpoints.applied_to(self.settings))
            self.settings = _with_outbox_keep(self.settings, found)
            asyncio.run(self._prepare_topics())
            self._stack.callback(self._drain)
            for service, count in self._counts.items():
                for number in range(count):
                    self._children[service, number] = self._new(service, number)
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()

    async def _prepare_topics(self) -> None:
        """Raises TooManyReplicas: a partition is read by one replica, so further ones would have nothing to do."""
        await create_topics(self.settings, self.services)
        partitions = (await KafkaTopics(kafka_connection(self.settings)).existing())[CHANNEL_ORDERS.name]
        for service, count in self._counts.items():
            if count > partitions:
                raise TooManyReplicas(service=service, count=count, partitions=partitions)

    def stop(self) -> None:
        """Drain every process, then stop the servers that were started here."""
        self._stack.close()

    def wait_ready(self, within_s: float = READY_WAIT_S) -> None:
        """Return when every process says so at /readyz. Raises NotReady."""
        deadline = time.monotonic() + within_s
        while waits := self._not_ready():
            replica, _ = waits[0]
            if time.monotonic() > deadline or replica.state in FINAL.values():
                named = "; ".join(f"{each.name} ({each.state}) {reason}" for each, reason in waits)
                raise NotReady(seconds=round(within_s), waits=named, tail=tail(replica.log))
            time.sleep(WATCH_S)

    def _not_ready(self) -> list[tuple[Replica, str]]:
        return [(each, why) for each in self.replicas() if (why := _waits(each))]

    @contextmanager
    def _unwound_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stack.close()
            raise

    # ---- one process ----

    def replicas(self) -> tuple[Replica, ...]:
        """All processes, as they are now."""
        with self._lock:
            return tuple(child.replica for child in self._children.values())

    def pid(self, service: str, number: int = 0) -> int | None:
        """The process id of a replica; None while it doesn't run."""
        with self._lock:
            return self._children[service, number].replica.pid

    def kill(self, service: str, number: int = 0) -> int | None:
        """kill -9; the supervisor starts it again. Returns the id of the process that was killed; None if none ran."""
        return self._signal(service, number, signal.SIGKILL)

    def terminate(self, service: str, number: int = 0) -> int | None:
        """Drain it; it stays stopped until `launch`."""
        return self._signal(service, number, signal.SIGTERM)

    def pause(self, service: str, number: int = 0) -> int | None:
        """Freeze it where it is (SIGSTOP), as a machine that hangs; `resume` lets it go on."""
        return self._signal(service, number, signal.SIGSTOP)

    def resume(self, service: str, number: int = 0) -> int | None:
        return self._signal(service, number, signal.SIGCONT)

    def launch(self, service: str, number: int = 0) -> None:
        """Start a replica that was stopped, or one more."""
        with self._lock:
            child = self._children.get((service, number))
            if child is None:
                self._new(service, number)
            elif child.process is None or child.process.poll() is not None:
                self._spawn(child)
                self._note(child, "started")

    def dismiss(self, service: str, number: int) -> None:
        """Drain a replica and forget it; its share of the work is the others'."""
        self.terminate(service, number)
        child = self._children[service, number]
        self._await_end(child, DRAIN_WAIT_S)
        with self._lock:
            del self._children[service, number]
            self._ports.discard(child.replica.health_port)
            self._note(child, "dismissed")

    def _signal(self, service: str, number: int, what: signal.Signals) -> int | None:
        with self._lock:
            process = self._children[service, number].process
            if process is None or process.poll() is not None:
                return None
            process.send_signal(what)
            return process.pid

    # ---- starting and watching ----

    def _new(self, service: str, number: int) -> _Child:
        log = self.settings.home / "logs" / f"{service}-{number}.log"
        log.parent.mkdir(exist_ok=True)
        with self._lock:
            child = _Child(Replica(service=service, number=number, health_port=free_port(None, self._ports), log=log))
            self._children[service, number] = child
            self._spawn(child)
            self._note(child, "started")
        return child

    def _spawn(self, child: _Child) -> None:
        replica = child.replica
        self._ports.discard(replica.health_port)
        port = free_port(replica.health_port, self._ports)
        _rotate(replica.log)
        with replica.log.open("ab") as output:
            child.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.run", replica.service, "--replica", str(replica.number), "--until-stdin-closes"],
                cwd=ROOT,
                env=self._environ(replica.service, port),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child.started_s = time.monotonic()
        identity = Identity(pid=child.process.pid, started_s=time.time(), mark=replica.service)
        child.replica = replica.model_copy(update={"process": identity, "health_port": port, "state": "running"})

    def _environ(self, service: str, health_port: int) -> dict[str, str]:
        own = {**self._variables.get(service, {}), "NERVURE_HEALTH_PORT": str(health_port)}
        return {**os.environ, **environ(self.settings), **own}

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_S):
            with self._lock:
                for child in self._children.values():
                    self._look_after(child)

    def _look_after(self, child: _Child) -> None:
        if child.replica.state == "waits to restart":
            if time.monotonic() >= child.start_again_s:
                child.replica = child.replica.model_copy(update={"restarts": child.replica.restarts + 1})
                self._spawn(child)
                self._note(child, "started again")
        elif child.replica.state == "running" and child.process is not None and child.process.poll() is not None:
            self._ended(child, child.process.returncode)

    def _ended(self, child: _Child, code: int) -> None:
        if child.process is not None and child.process.stdin is not None:
            child.process.stdin.close()
        if time.monotonic() - child.started_s > STEADY_S:
            child.failures = 0
        wait_s = self._backoff_s[min(child.failures, len(self._backoff_s) - 1)]
        child.failures += 1
        child.start_again_s = time.monotonic() + wait_s
        state = FINAL.get(code, "waits to restart")
        child.replica = child.replica.model_copy(update={"state": state, "process": None, "last_exit": code})
        self._note(
            child, f"{_ending(code)}; {state}" + (f" in {wait_s:g} s" if state == "waits to restart" else f", see {child.replica.log}")
        )

    def _note(self, child: _Child, what: str) -> None:
        fleet = Fleet(supervisor=own_identity(), replicas=self.replicas())
        draft = self.settings.home / f"{STATE_FILE}.new"
        draft.write_text(fleet.model_dump_json(indent=2))
        draft.replace(self.settings.home / STATE_FILE)
        self._on_change(f"{child.replica.name}: {what}")

    # ---- ending ----

    def _drain(self) -> None:
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        children = [child for child in self._children.values() if child.process is not None and child.process.poll() is None]
        for child in children:
            self._signal(child.replica.service, child.replica.number, signal.SIGCONT)
            self._signal(child.replica.service, child.replica.number, signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_WAIT_S
        for child in children:
            self._await_end(child, max(0.1, deadline - time.monotonic()))
        (self.settings.home / STATE_FILE).unlink(missing_ok=True)
        self._children.clear()

    def _await_end(self, child: _Child, within_s: float) -> None:
        assert child.process is not None
        try:
            child.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._on_change(f"{child.replica.name}: still there after {DRAIN_WAIT_S:g} s, killed; what it had not committed is done again")
            child.process.kill()
            child.process.wait()
        if child.process.stdin is not None:
            with suppress(BrokenPipeError):
                child.process.stdin.close()


def fleet(home: Path) -> Fleet:
    """The processes of a home. Raises NotUp."""
    try:
        found = Fleet.model_validate_json((home / STATE_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise NotUp(home=home.resolve()) from None
    if not found.supervisor.alive:
        raise NotUp(home=home.resolve())
    return found


def environ(settings: Settings) -> dict[str, str]:
    """Variables that give a child process the same settings, secrets included."""
    values: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        values[f"NERVURE_{name.upper()}"] = "" if text is None else str(text)
    return values


def _absolute(settings: Settings) -> Settings:
    folders = {name: getattr(settings, name).resolve() for name in ("home", "cache", "views") if getattr(settings, name) is not None}
    return settings.model_copy(update=folders)


def _with_outbox_keep(asked: Settings, found: Settings) -> Settings:
    """Beside an embedded broker sent messages are kept for minutes, not days: its disk is a laptop's."""
    if asked.kafka is None and "outbox_keep_s" not in asked.model_fields_set:
        return found.model_copy(update={"outbox_keep_s": EMBEDDED_OUTBOX_KEEP_S})
    return found


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One supervisor a home. Raises AlreadyUp."""
    try:
        pid = fleet(home).supervisor.pid
    except NotUp:
        pid = 0
    with held(home / LOCK_FILE, LOCK_WAIT_S, otherwise=AlreadyUp(home=home, pid=pid)):
        yield


def _waits(replica: Replica) -> str:
    if replica.state != "running":
        return replica.state
    return ready(replica.health_port)


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".old.log"))
