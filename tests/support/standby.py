"""A Postgres with a standby: both made for one test, reached through one address that is switched over when the first one dies."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from deploy.embedded import account
from deploy.embedded.ports import LOOPBACK, free_port
from deploy.embedded.postgres import MAKE, USER, binary
from deploy.embedded.process import User

START_S = 30.0
SPARE = "spare"
"""The standby's name; and of what takes its place once it was promoted."""
PRIMARY = {
    "wal_level": "replica",
    "max_wal_senders": "8",
    "max_connections": "100",
    "unix_socket_directories": "",
    "fsync": "off",  # processes are killed here, machines aren't
    "wal_receiver_status_interval": "1s",
    "jit": "off",
}


class Pair:
    """A primary, its standby, and the address that leads to the one of them that counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        taken: set[int] = set()
        self._ports = {name: free_port(None, taken) for name in ("primary", "standby")}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._leads_to = "primary"
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """The DSN that leads to the pair."""
        self._folder.chmod(0o711)
        await asyncio.to_thread(self._make_primary)
        await asyncio.to_thread(self._make_standby)
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        return self.dsn(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in self._processes.values():
            _signal_all(process, signal.SIGCONT)
            _signal_all(process, signal.SIGKILL)
            process.wait(START_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def dsn(self, port: int) -> str:
        return f"postgresql://{USER}@{LOOPBACK}:{port}/postgres"

    # ---- what happens to them ----

    def halt_standby(self) -> None:
        """It receives nothing from now on, and doesn't know."""
        _signal_all(self._processes["standby"], signal.SIGSTOP)

    def kill_primary(self) -> None:
        _signal_all(self._processes["primary"], signal.SIGKILL)
        self._processes["primary"].wait(START_S)

    def promote(self) -> None:
        """The standby is started again, takes over with what it has on disk, and something takes its place."""
        _signal_all(self._processes["standby"], signal.SIGKILL)
        self._processes["standby"].wait(START_S)
        (self._data("standby") / "postmaster.pid").unlink(missing_ok=True)
        self._start_server("standby")
        self._run("pg_ctl", "promote", "-D", str(self._data("standby")), "-w")
        self._leads_to = "standby"
        files = self._received("wal")
        files.mkdir(mode=0o700)
        account.give(files, account.server_user())
        source = f"host={LOOPBACK} port={self._ports['standby']} user={USER} application_name={SPARE}"
        self._spawn("receiver", "pg_receivewal", "-D", str(files), "-d", source, "--synchronous", "--no-password")

    def back_up(self, database: str) -> Path:
        """A dump of one database, as it is at this moment."""
        self._run("pg_dump", "-Fc", "-f", str(self._received("dump")), *self._reach(database))
        return self._received("dump")

    def restore(self, database: str, dump: Path) -> None:
        """The database is what it was then."""
        self._run("psql", "-c", f'DROP DATABASE "{database}" WITH (FORCE)', *self._reach("postgres"))
        self._run("psql", "-c", f'CREATE DATABASE "{database}"', *self._reach("postgres"))
        self._run("pg_restore", *self._reach(database), str(dump))

    def _reach(self, database: str) -> tuple[str, ...]:
        return ("-h", LOOPBACK, "-p", str(self._ports[self._leads_to]), "-U", USER, "-d", database)

    def _received(self, name: str) -> Path:
        """A place where the user of Postgres may write."""
        folder = self._folder / "received"
        if not folder.exists():
            folder.mkdir(mode=0o700)
            account.give(folder, account.server_user())
        return folder / name

    # ---- making them ----

    def _make_primary(self) -> None:
        data, maker = self._data("primary"), account.maker_user()
        data.mkdir(mode=0o700)
        account.give(data, maker)
        options = [option for option in MAKE if not option.startswith("--auth")]
        command = [str(binary("initdb")), f"--pgdata={data}", "--auth=trust", "--no-sync", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=data, **_as(maker))
        with (data / "pg_hba.conf").open("a") as access:
            access.write(f"host replication all {LOOPBACK}/32 trust\n")
        account.give(data, account.server_user())
        self._serve_database("primary")

    def _make_standby(self) -> None:
        data = self._data("standby")
        data.mkdir(mode=0o700)
        account.give(data, account.server_user())
        source = f"host={LOOPBACK} port={self._ports['primary']} user={USER} application_name={SPARE}"
        self._run("pg_basebackup", "-D", str(data), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self._serve_database("standby", {"primary_conninfo": source})

    def _serve_database(self, name: str, more: dict[str, str] | None = None) -> None:
        """Started, and answering."""
        data = self._data(name)
        settings = {**PRIMARY, "listen_addresses": LOOPBACK, "port": str(self._ports[name]), **(more or {})}
        with (data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
        account.give(data, account.server_user())
        self._start_server(name)

    def _start_server(self, name: str) -> None:
        self._spawn(name, "postgres", "-D", str(self._data(name)))
        deadline = time.monotonic() + START_S
        while self._run_code("pg_isready", "-h", LOOPBACK, "-p", str(self._ports[name]), "-U", USER, "-d", "postgres"):
            assert time.monotonic() < deadline, f"{name} does not answer"
            time.sleep(0.05)

    def _data(self, name: str) -> Path:
        return self._folder / name

    def _spawn(self, name: str, program: str, *arguments: str) -> None:
        command = [str(binary(program)), *arguments]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, **_as(account.server_user())
            )

    def _run(self, program: str, *arguments: str) -> None:
        assert self._run_code(program, *arguments) == 0, f"{program} failed"

    def _run_code(self, program: str, *arguments: str) -> int:
        command = [str(binary(program)), *arguments]
        quiet = subprocess.DEVNULL
        return subprocess.run(command, check=False, stdout=quiet, stderr=quiet, cwd=self._folder, **_as(account.server_user())).returncode

    # ---- the address ----

    def _accept(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(client_in, client_out))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        try:
            server_in, server_out = await asyncio.open_connection(LOOPBACK, self._ports[self._leads_to])
        except OSError:
            client_out.close()
            return
        self._open |= {client_out, server_out}
        ways = [asyncio.create_task(_pass_on(client_in, server_out)), asyncio.create_task(_pass_on(server_in, client_out))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for side in (client_out, server_out):
            side.close()
            self._open.discard(side)


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()


def _as(user: User | None) -> dict[str, Any]:
    environment = {**os.environ, "HOME": "/", "PGCONNECT_TIMEOUT": "5"}
    return {"env": environment, **({"user": user.uid, "group": user.gid, "extra_groups": []} if user is not None else {})}


def _signal_all(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """It and all processes it has started, each of which is a session of its own."""
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(process.pid)
        for each in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)
