"""Kafka and Postgres on one laptop, without root, Docker or anything installed.

`with infrastructure(Settings()) as servers:` is the way in. Servers that run elsewhere are used where the
settings name them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.embedded.embedded import Embedded, ServerStatus, Status
from deploy.embedded.endpoints import Endpoints
from deploy.embedded.errors import EmbeddedError, NotRunning
from shared.settings import Settings

__all__ = [
    "Embedded",
    "EmbeddedError",
    "Endpoints",
    "NotRunning",
    "ServerStatus",
    "Status",
    "infrastructure",
    "running_infrastructure",
]


@contextmanager
def infrastructure(settings: Settings) -> Iterator[Endpoints]:
    """The servers to use: those the settings name, and embedded ones for what they don't name.

    Embedded servers that we start are stopped at the end; those that ran before are left running.
    Raises EmbeddedError."""
    missing = _missing(settings)
    servers = Embedded.of(settings, only=missing)
    try:
        yield _named(settings, servers.start() if missing else None)
    finally:
        servers.leave()


def running_infrastructure(settings: Settings) -> Endpoints:
    """The same servers, but nothing is started. Raises NotRunning."""
    missing = _missing(settings)
    return _named(settings, Embedded.of(settings, only=missing).endpoints() if missing else None)


def _missing(settings: Settings) -> tuple[str, ...]:
    named = {"kafka": settings.kafka, "postgres": settings.postgres}
    return tuple(server for server, address in named.items() if address is None)


def _named(settings: Settings, started: Endpoints | None) -> Endpoints:
    postgres = settings.postgres.get_secret_value() if settings.postgres else ""
    found = started or Endpoints(kafka="", postgres="")
    return Endpoints(kafka=settings.kafka or found.kafka, postgres=postgres or found.postgres)
