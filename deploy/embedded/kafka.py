"""Apache Kafka as one KRaft node: storage formatted once, configured at each start, reached over loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.embedded.jars import kafka_jars
from deploy.embedded.java import find_java
from deploy.embedded.ports import LOOPBACK, listens
from deploy.embedded.process import Identity, spawn
from deploy.embedded.server import run_to_end
from deploy.embedded.state import State

SETTINGS = Path(__file__).with_name("server.properties")
LOGGING = Path(__file__).with_name("log4j2.properties")
HEAP_MB = 512
METADATA_WAIT_MS = 5_000


class Kafka:
    """The broker of one home. `cache` holds the jars of all homes, `mirror` is the URL of a mirror of Maven Central."""

    name = "kafka"
    title = "Kafka"
    ports: tuple[str, ...] = ("broker", "controller")
    polite: signal.Signals = signal.SIGTERM
    format_with: tuple[str, ...] = ()
    """Further arguments of the format: the first logins of a broker that asks for some."""

    def __init__(self, home: Path, cache: Path, mirror: str | None) -> None:
        self.folder = home / "kafka"
        self.data = self.folder / "data"
        self.log = home / "kafka.log"
        self.cache = cache
        self.mirror = mirror

    def mark(self, state: State) -> str:
        """The argument that tells our broker from any other process."""
        return f"-Dnervure.kafka={self.folder}"

    def address(self, state: State) -> str:
        """The bootstrap servers."""
        return f"{LOOPBACK}:{state.of(self.name).ports['broker']}"

    def prepare(self, state: State, lock: int) -> None:
        """Format the storage if that wasn't done yet. Raises DownloadFailed, JarMismatch, JavaMissing, ServerFailed."""
        if not self.data.exists():
            self._format(state.cluster_id, lock)

    def spawn(self, state: State, lock: int) -> Identity:
        """Start the broker on the ports of the state; `lock` tells that it lives."""
        self._clear_temporary()
        properties = self._write_properties("server.properties", self.data, state.of(self.name).ports)
        heap = (f"-Xmx{HEAP_MB}m", "-XX:+ExitOnOutOfMemoryError", self.mark(state))
        command = [*self._machine, *heap, "kafka.Kafka", str(properties)]
        return spawn(command, mark=self.mark(state), lock=lock, log=self.log, cwd=self.folder, environ=self._environ)

    def answers(self, state: State) -> bool:
        """Whether a metadata request is answered, by this home's cluster."""
        port = state.of(self.name).ports["broker"]
        return listens(port) and asyncio.run(_cluster_id(self.address(state))) == state.cluster_id

    def erase(self, state: State) -> None:
        """Delete the log of every topic."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _format(self, cluster_id: str, lock: int) -> None:
        """Format beside the final folder, so that a start that was killed leaves no half a storage."""
        self._clear_temporary()
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        properties = self._write_properties("format.properties", draft, {name: 9092 + n for n, name in enumerate(self.ports)})
        tool = [*self._machine, "kafka.tools.StorageTool", "format", "--standalone", *self.format_with]
        command = [*tool, f"--cluster-id={cluster_id}", f"--config={properties}"]
        run_to_end("Kafka's format", command, lock=lock, log=self.log, cwd=self.folder, environ=self._environ)
        draft.rename(self.data)

    def _write_properties(self, name: str, data: Path, ports: Mapping[str, int]) -> Path:
        lines = (*self.addresses(ports), f"log.dirs={data}")
        path = self.folder / name
        path.write_text("\n".join((SETTINGS.read_text(), "# Of this home.", *lines, "")))
        return path

    def addresses(self, ports: Mapping[str, int]) -> tuple[str, ...]:
        """The properties that say where the broker listens."""
        return (
            f"listeners=PLAINTEXT://{LOOPBACK}:{ports['broker']},CONTROLLER://{LOOPBACK}:{ports['controller']}",
            f"advertised.listeners=PLAINTEXT://{LOOPBACK}:{ports['broker']}",
            f"controller.quorum.bootstrap.servers={LOOPBACK}:{ports['controller']}",
        )

    @cached_property
    def _environ(self) -> dict[str, str]:
        return {**os.environ, "CLASSPATH": os.pathsep.join(map(str, kafka_jars(self.cache, self.mirror)))}

    @cached_property
    def _machine(self) -> list[str]:
        """A small virtual machine: one collector thread, the quick compiler only."""
        flags = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.awt.headless=true")
        folders = (f"-Djava.io.tmpdir={self.folder / 'tmp'}", f"-Dlog4j2.configurationFile={LOGGING}")
        return [str(find_java()), *flags, *folders]

    def _clear_temporary(self) -> None:
        """Native libraries are unpacked here; a broker that was killed leaves them."""
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        (self.folder / "tmp").mkdir(parents=True)


async def _cluster_id(bootstrap_servers: str) -> str | None:
    """The id of the cluster there; None if it isn't ready to tell."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=METADATA_WAIT_MS)
    try:
        await admin.start()
        answer = await admin.describe_cluster()
    except (KafkaError, TimeoutError, OSError):
        return None
    finally:
        await admin.close()
    return str(answer["cluster_id"])
