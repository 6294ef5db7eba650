"""What a home remembers between starts: ports, processes, the database password; one JSON file of mode 0600."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.embedded.errors import HomeBusy, HomeForeign, StateUnreadable
from deploy.embedded.lock import held
from deploy.embedded.process import Identity

STATE_FILE = "state.json"
LOCK_FILE = "lock"
# Longer than the slowest start, so that who waits sees its result.
LOCK_WAIT_S = 180.0


class ServerState(BaseModel):
    """One server of a home: its ports by name, kept from start to start, and its process if one was started."""

    model_config = ConfigDict(frozen=True)

    ports: dict[str, int] = {}
    process: Identity | None = None


class State(BaseModel):
    """What is fixed when the home is made, and what runs in it.

    `cluster_id` is Kafka's; `password` is the database user's; `postgres_data` is where the database lies if that is
    outside the home (see account.py). `starter` is the process that stops the servers as it ends; None if they stay."""

    model_config = ConfigDict(frozen=True)

    cluster_id: str = Field(default_factory=lambda: base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("="))
    password: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    postgres_data: Path | None = None
    servers: dict[str, ServerState] = {}
    starter: Identity | None = None

    def of(self, server: str) -> ServerState:
        """What is known of one server; nothing before its first start."""
        return self.servers.get(server, ServerState())

    def with_server(self, server: str, **changes: object) -> State:
        """The same with something about one server changed."""
        changed = self.of(server).model_copy(update=changes)
        return self.model_copy(update={"servers": {**self.servers, server: changed}})


def load(home: Path) -> State | None:
    """The state of a home; None if it has none yet. Raises StateUnreadable, HomeForeign."""
    path = home / STATE_FILE
    try:
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise HomeForeign(home=home) from error
    except ValidationError as error:
        raise StateUnreadable(path=path, home=home, cause=error.errors()[0]["msg"]) from error


def save(home: Path, state: State) -> None:
    """Replace the file as a whole: a reader, or a start after a power cut, sees the old or the new one."""
    draft = home / f"{STATE_FILE}.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(state.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(home / STATE_FILE)


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the home while starting or stopping. Raises HomeBusy, HomeForeign."""
    path = home / LOCK_FILE
    if path.exists() and not os.access(path, os.W_OK):
        raise HomeForeign(home=home)
    with held(path, LOCK_WAIT_S, otherwise=HomeBusy(home=home, seconds=LOCK_WAIT_S, lock=path)):
        yield
