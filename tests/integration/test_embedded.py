"""The embedded servers: started, used, killed, shared, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from deploy.embedded import Embedded, Endpoints, NotRunning, account, infrastructure, jars, progress, running_infrastructure
from deploy.embedded.errors import DownloadFailed, JarMismatch, ServerFailed, StateUnreadable
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import Identity, find_marked, own_identity, stop
from deploy.embedded.state import load
from shared.settings import Settings
from tests.support.infra import temporary_home

START_LIMIT_S = 15
RECOVERY_LIMIT_S = 20
TRIES = 3
"""How often a time is taken, the best counts: other work on the machine makes some starts slower, and none quicker."""
TOPIC = "oms.test.records.v1"
# Starts the servers of a home as `nervure up` does, and waits to be killed.
SUPERVISOR = """
import sys, time
from deploy.embedded import infrastructure
from shared.settings import Settings
with infrastructure(Settings()) as servers:
    print(servers.kafka, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def none_named() -> Iterator[None]:
    """These tests are about the embedded servers, also where a test run has others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NERVURE_KAFKA", raising=False)
        patch.delenv("NERVURE_POSTGRES", raising=False)
        yield


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with temporary_home(Settings()) as folder:
        yield folder


@pytest.fixture(scope="module")
def first_start_s(home: Path) -> float:
    """How long it took to start the servers in a home with nothing in it."""
    return start_s(of(home))


@pytest.fixture(scope="module")
def servers(home: Path, first_start_s: float) -> Embedded:
    """Running servers."""
    assert first_start_s > 0
    return of(home)


@pytest.fixture(scope="module")
def other_home() -> Iterator[Path]:
    with temporary_home(Settings()) as folder:
        yield folder


def of(home: Path) -> Embedded:
    return Embedded(home, cache=Settings().cache)


def start_s(servers: Embedded) -> float:
    began = time.monotonic()
    servers.start()
    return time.monotonic() - began


def pids(servers: Embedded) -> list[int]:
    return [each.pid for each in servers.status().servers if each.pid]


async def keep(servers: Endpoints, text: str) -> None:
    """A record in a new topic, a row in a new table."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
        await admin.start()
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
        await admin.close()
        await producer.send_and_wait(TOPIC, text.encode())
    database = await asyncpg.connect(servers.postgres)
    await database.execute("CREATE TABLE kept (text text)")
    await database.execute("INSERT INTO kept VALUES ($1)", text)
    await database.close()


async def kept(servers: Endpoints) -> tuple[str, str]:
    """The record and the row."""
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=servers.kafka, auto_offset_reset="earliest") as consumer:
        record = await asyncio.wait_for(consumer.getone(), timeout=20)
    database = await asyncpg.connect(servers.postgres)
    row = await database.fetchval("SELECT text FROM kept")
    await database.close()
    return record.value.decode(), row


def command(name: str, home: Path) -> subprocess.Popen[str]:
    return python("-m", "deploy.embedded", name, "--home", str(home))


def python(*arguments: str, home: Path | None = None) -> subprocess.Popen[str]:
    environ = {**os.environ, "NERVURE_HOME": str(home)} if home else None
    return subprocess.Popen([sys.executable, *arguments], env=environ, stdout=subprocess.PIPE, text=True)


def test_a_first_start_is_quick(first_start_s: float) -> None:
    taken = [first_start_s]
    while min(taken) > START_LIMIT_S and len(taken) < TRIES:
        with temporary_home(Settings()) as folder:
            taken.append(start_s(of(folder)))
    assert min(taken) < START_LIMIT_S, taken


async def test_after_kill_9_of_both_servers_the_next_start_has_all_data_on_the_same_ports(servers: Embedded) -> None:
    before, taken = servers.endpoints(), list[float]()
    await keep(before, "still here")
    while not taken or (min(taken) > RECOVERY_LIMIT_S and len(taken) < TRIES):
        for pid in pids(servers):
            os.kill(pid, signal.SIGKILL)
        taken.append(await asyncio.to_thread(start_s, servers))
        assert servers.endpoints() == before
        assert await kept(before) == ("still here", "still here")
    assert min(taken) < RECOVERY_LIMIT_S, taken


def test_a_server_that_is_just_ending_is_replaced(servers: Embedded, home: Path) -> None:
    """Killed a moment ago it still shows as a process: whoever starts the servers then waits for its end, and brings up a new one."""
    state = load(home)
    assert state is not None
    killed = state.of("kafka").process
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)
    wait_for(lambda: not killed.alive)
    with python("-c", "import time; time.sleep(1.5)", killed.mark) as ending:
        wait_for(lambda: find_marked(killed.mark) is not None)
        servers.start()
        assert ending.wait(timeout=10) == 0
    assert servers.endpoints().kafka
    assert killed.pid not in pids(servers)


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_commits_and_checkpoints_reach_the_disk_and_only_a_password_opens_the_database(servers: Embedded) -> None:
    async def ask() -> list[str]:
        database = await asyncpg.connect(servers.endpoints().postgres)
        names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses")
        values = [await database.fetchval(f"SHOW {name}") for name in names]
        await database.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(servers.endpoints().postgres, password="guessed")
        return values

    with asyncio.Runner() as runner:
        assert runner.run(ask()) == ["on", "on", "on", "on", LOOPBACK]


def test_the_password_shows_neither_in_the_state_file_to_others_nor_in_a_repr(servers: Embedded, home: Path) -> None:
    assert (home / "state.json").stat().st_mode & 0o777 == 0o600
    assert "@" not in repr(servers.endpoints())


def test_servers_live_in_sessions_of_their_own_so_that_ctrl_c_does_not_reach_them(servers: Embedded) -> None:
    assert [os.getsid(pid) for pid in pids(servers)] == pids(servers)


def test_a_second_start_shares_the_servers_and_leaves_them_to_who_started_them(servers: Embedded, home: Path) -> None:
    before = pids(servers)
    second = of(home)
    assert second.start() == servers.endpoints()
    second.leave()
    with command("start", home) as third:
        assert f"NERVURE_KAFKA={servers.endpoints().kafka}\n" in third.communicate()[0]
    assert (pids(servers), servers.status().starter) == (before, os.getpid())


def test_two_starts_at_once_bring_up_one_pair_of_servers_beside_those_of_another_home(servers: Embedded, other_home: Path) -> None:
    with command("start", other_home) as one, command("start", other_home) as two:
        assert one.communicate()[0] == two.communicate()[0] != ""
    assert len({*pids(servers), *pids(of(other_home))}) == 4
    assert of(other_home).endpoints() == running_infrastructure(Settings(home=other_home)) != servers.endpoints()


def test_a_stop_ends_both_cleanly_and_asking_for_them_then_says_how_to_start(other_home: Path) -> None:
    ended = [psutil.Process(pid) for pid in pids(of(other_home))]
    with command("stop", other_home) as done:
        assert done.wait() == 0
    assert [each for each in ended if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    assert (other_home / "kafka" / "data" / ".kafka_cleanshutdown").exists()
    assert "database system is shut down" in (other_home / "postgres.log").read_text().splitlines()[-1]
    with pytest.raises(NotRunning, match="nervure up"):
        running_infrastructure(Settings(home=other_home))


async def test_a_port_that_somebody_took_meanwhile_is_given_up_for_another(other_home: Path) -> None:
    found = of(other_home)
    taken = [each.port for each in found.status().servers]
    with ExitStack() as stack:
        for port in taken:
            stack.enter_context(socket.create_server((LOOPBACK, port or 0)))
        moved = await asyncio.to_thread(found.start)
    assert not {each.port for each in found.status().servers} & set(taken)
    await keep(moved, "moved")
    assert await kept(moved) == ("moved", "moved")
    await asyncio.to_thread(found.stop)


def test_after_kill_9_of_the_supervisor_the_next_start_takes_its_servers_over(other_home: Path) -> None:
    with python("-c", SUPERVISOR, home=other_home) as supervisor:
        assert supervisor.stdout
        kafka = supervisor.stdout.readline().strip()
        before = pids(of(other_home))
        supervisor.kill()
    with infrastructure(Settings(home=other_home)) as taken_over:
        assert (taken_over.kafka, pids(of(other_home))) == (kafka, before)
    assert pids(of(other_home)) == []


def test_servers_that_are_named_are_used_and_nothing_is_started(tmp_path: Path) -> None:
    named = Settings(kafka="kafka.example:9092", postgres=SecretStr("postgresql://db.example/oms"), home=tmp_path / "none")
    with infrastructure(named) as found:
        assert found == Endpoints(kafka="kafka.example:9092", postgres="postgresql://db.example/oms")
    assert not (tmp_path / "none").exists()


def test_a_home_behind_a_closed_folder_works_and_the_folder_stays_closed(other_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For root: Postgres' own user can't get there, so the database lies elsewhere. Kafka is named, Postgres embedded."""
    monkeypatch.setattr(account, "OUTSIDE", other_home / "outside")
    closed = other_home / "closed"
    closed.mkdir(mode=0o700)
    settings = Settings(kafka="kafka.example:9092", home=closed / "home")
    with infrastructure(settings) as found:
        assert (found.kafka, found.postgres.partition(":")[0]) == ("kafka.example:9092", "postgresql")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert (closed / "home" / "postgres").exists() == (os.geteuid() != 0)
    of(closed / "home").erase()
    assert list(closed.iterdir()) == []


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with temporary_home(Settings()) as folder:
        (folder / "broken.conf").write_text("shared_buffers = 'none'\n")
        monkeypatch.setattr("deploy.embedded.postgres.SETTINGS", folder / "broken.conf")
        broken = Embedded(folder, cache=Settings().cache, only=("postgres",))
        with pytest.raises(ServerFailed, match=r'(?s)Postgres ended while starting.*invalid value for parameter "shared_buf'):
            broken.start()
        assert pids(broken) == []


def test_a_state_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(StateUnreadable, match=str(tmp_path)):
        of(tmp_path).status()


def test_a_stranger_who_has_the_process_id_of_a_server_is_not_stopped() -> None:
    with python("-c", "import time; time.sleep(600)") as stranger:
        found = psutil.Process(stranger.pid)
        for guess in (
            Identity(pid=found.pid, started_s=found.create_time(), mark="-Dnervure.kafka=elsewhere"),
            Identity(pid=found.pid, started_s=found.create_time() - 3600, mark=sys.executable),
        ):
            stop(guess, signal.SIGTERM, 1, "Kafka")
        assert (stranger.poll(), own_identity().alive) == (None, True)
        stranger.kill()


def test_a_jar_with_another_checksum_is_named_and_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "org/example/broker/1.0/broker-1.0.jar"
    (tmp_path / "list").write_text(f"{'0' * 64}  {place}\n")
    monkeypatch.setattr(jars, "LIST", tmp_path / "list")
    (tmp_path / "maven" / place).parent.mkdir(parents=True)
    (tmp_path / "maven" / place).write_text("altered")
    with pytest.raises(JarMismatch, match=place):
        jars.kafka_jars(tmp_path)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Maven repository of ten small jars, which are all of the list."""
    places = [f"org/example/part{number}/1.0/part{number}-1.0.jar" for number in range(10)]
    for place in places:
        jar = tmp_path / "mirror" / place
        jar.parent.mkdir(parents=True)
        jar.write_text(place)
    listed = [f"{jars.sha256(tmp_path / 'mirror' / place)}  {place}\n" for place in places]
    (tmp_path / "list").write_text("".join(listed))
    monkeypatch.setattr(jars, "LIST", tmp_path / "list")
    handler = partial(SilentFiles, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()


class SilentFiles(SimpleHTTPRequestHandler):
    """Serves a folder and tells nobody."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Not of interest."""


def test_a_download_shows_how_far_it_is_and_fetches_only_what_is_missing(
    tmp_path: Path, mirror: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = jars.kafka_jars(tmp_path / "cache", mirror)
    assert [path.name for path in found] == [f"part{number}-1.0.jar" for number in range(10)]
    assert capsys.readouterr().err.splitlines() == [
        "Downloading Apache Kafka (10)",
        *(f"Downloading Apache Kafka: {done} of 10" for done in (2, 4, 6, 8, 10)),
    ]
    found[3].unlink()
    assert jars.kafka_jars(tmp_path / "cache", mirror) == found
    assert capsys.readouterr().err.splitlines() == ["Downloading Apache Kafka (1)", "Downloading Apache Kafka: 1 of 1"]
    assert jars.kafka_jars(tmp_path / "cache", mirror) == found
    assert capsys.readouterr().err == ""


def test_in_a_terminal_the_download_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress.counting("Downloading Apache Kafka", 3) as step:
        for _ in range(3):
            step()
    shown = capsys.readouterr().err
    assert "Downloading Apache Kafka" in shown and "3/3" in shown and "━" in shown


def test_a_download_that_fails_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="NERVURE_MAVEN"):
        jars.kafka_jars(tmp_path, mirror=f"http://{LOOPBACK}:9")
