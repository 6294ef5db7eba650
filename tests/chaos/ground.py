"""The ground a round stands on: a broker reached by cables, a Postgres on a small disk, all services in replicas."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from deploy.embedded import Embedded
from deploy.embedded.kafka import Kafka
from deploy.embedded.ports import LOOPBACK, free_port
from deploy.embedded.postgres import Postgres
from deploy.embedded.state import State, save
from deploy.fleet import SERVICES
from deploy.supervisor import EMBEDDED_OUTBOX_KEEP_S, System
from shared.settings import Settings
from tests.chaos.cable import Cables
from tests.chaos.disk import Disk, small_disk, unmount

HOME_PREFIX = "nervure-chaos-"
REPLICAS = 2
RESTART_S = (0.2,)
"""A process that is killed a hundred times isn't one that keeps failing: it starts again at once, as after a first failure."""
READY_S = 180.0


class CabledKafka(Kafka):
    """The embedded broker with a listener more for each service, advertised at the port of the service's cable."""

    ports: tuple[str, ...] = ("broker", "controller", *SERVICES)

    def __init__(self, home: Path, settings: Settings, cables: Mapping[str, int]) -> None:
        super().__init__(home, settings.cache, settings.maven)
        self._cables = cables

    def addresses(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        listens, advertises, quorum = super().addresses(ports)
        return (
            listens + "".join(f",{_listener(name)}://{LOOPBACK}:{ports[name]}" for name in SERVICES),
            advertises + "".join(f",{_listener(name)}://{LOOPBACK}:{self._cables[name]}" for name in SERVICES),
            quorum,
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
            + "".join(f",{_listener(name)}:PLAINTEXT" for name in SERVICES),
        )


def _listener(service: str) -> str:
    return service.replace("_", "").upper()


class Servers(Embedded):
    """That broker, and the embedded Postgres; either may be killed and is brought up again by `start`."""

    def __init__(self, home: Path, settings: Settings, cables: Mapping[str, int]) -> None:
        super().__init__(home, cache=settings.cache, mirror=settings.maven)
        self._servers = (CabledKafka(self.home, settings, cables), Postgres(self.home))

    def port(self, server: str, name: str) -> int:
        return self._state().of(server).ports[name]

    def pid(self, server: str) -> int | None:
        """The process id of `kafka` or `postgres`, where it runs."""
        state = self._state()
        process = state.of(server).process
        return process.pid if process is not None and process.alive else None


@dataclass(frozen=True, slots=True)
class Ground:
    """What runs, and where it can be hurt."""

    home: Path
    servers: Servers
    cables: Cables
    disk: Disk
    system: System


@contextmanager
def ground(home: Path, seed: int, on_change: Callable[[str], None]) -> Iterator[Ground]:
    """Everything up and ready; stopped at the end. The home stays, with all logs."""
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(home))
        save(home, State(postgres_data=disk.folder / "postgres"))
        taken: set[int] = set()
        ports = {service: free_port(None, taken) for service in SERVICES}
        servers = Servers(home, Settings(), ports)
        stack.callback(servers.stop)
        endpoints = servers.start()
        cables = Cables({service: (ports[service], servers.port("kafka", service)) for service in SERVICES}, seed)
        cables.start()
        stack.callback(cables.stop)
        changes = {"home": home, "views": home / "views", "kafka": endpoints.kafka, "postgres": SecretStr(endpoints.postgres)}
        system = System(
            Settings().model_copy(update={**changes, "outbox_keep_s": EMBEDDED_OUTBOX_KEEP_S}),
            dict.fromkeys(SERVICES, REPLICAS),
            on_change=on_change,
            variables={service: {"NERVURE_KAFKA": cables.bootstrap(service)} for service in SERVICES},
            backoff_s=RESTART_S,
        )
        stack.enter_context(system)
        system.wait_ready(READY_S)
        yield Ground(home, servers, cables, disk, system)


def new_home() -> Path:
    """A folder that the database's user can pass through."""
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    home.chmod(0o711)
    return home


def clear_abandoned() -> None:
    """Deletes the homes of rounds that were killed: their servers, their mounted disks, their data."""
    for left in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*"):
        servers = Embedded(left, cache=Settings().cache)
        if left.stat().st_uid == os.geteuid() and servers.status().abandoned:
            servers.erase()
            unmount(left)
            shutil.rmtree(left, ignore_errors=True)


def keep_logs(home: Path, folder: Path) -> Path:
    """Copies what tells the story of a round, without the data; returns where to."""
    kept = folder / home.name
    kept.mkdir(parents=True, exist_ok=True)
    for log in (*home.glob("*.log"), *home.glob("*.jsonl"), *(home / "logs").glob("*.log")):
        shutil.copy2(log, kept / log.name)
    os.sync()
    return kept
