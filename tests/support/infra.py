"""One Kafka and one Postgres for a whole test run.

Existing ones where NERVURE_KAFKA and NERVURE_POSTGRES name them; else containers, where NERVURE_TEST_INFRA=containers and an
engine answers; else embedded ones in a temporary home. What was started is stopped and deleted at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from deploy.embedded import Embedded, Endpoints, infrastructure
from deploy.embedded.kafka import SETTINGS as KAFKA_SETTINGS
from deploy.embedded.progress import say
from shared.settings import Settings

if TYPE_CHECKING:
    from testcontainers.community.kafka import KafkaContainer

HOME_PREFIX = "nervure-test-"
STATE_FILE = "state.json"
CONTAINER_WAIT_S = 120
POSTGRES_IMAGE = "postgres:18"
# What the container sets by itself, and what it may not be told twice.
CONTAINERS_OWN = ("process.roles", "node.id", "controller.listener.names", "listener.security.protocol.map")


@pytest.fixture(scope="session")
def endpoints() -> Iterator[Endpoints]:
    """Where the servers of this test run are."""
    with servers(Settings()) as found:
        yield found


@pytest.fixture(scope="session")
def settings(endpoints: Endpoints) -> Settings:
    """The settings of a service that uses them."""
    return endpoints.applied_to(Settings())


@contextmanager
def servers(settings: Settings) -> Iterator[Endpoints]:
    """The servers the variables ask for; see above."""
    with ExitStack() as stack:
        if os.environ.get("NERVURE_TEST_INFRA") == "containers" and engine_answers():
            settings = stack.enter_context(containers(settings))
        home = stack.enter_context(temporary_home(settings))
        yield stack.enter_context(infrastructure(settings.model_copy(update={"home": home})))


@contextmanager
def temporary_home(settings: Settings) -> Iterator[Path]:
    """A home that is deleted at the end, with what runs in it. One that a killed test run left behind is deleted too."""
    for left in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*"):
        erase_if_abandoned(left, settings)
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    home.chmod(0o711)
    try:
        yield home
    finally:
        Embedded(home, cache=settings.cache).erase()


def erase_if_abandoned(home: Path, settings: Settings) -> None:
    """Delete a home whose starter was killed; leave those of test runs beside ours, and of other users."""
    with suppress(FileNotFoundError):  # its own run deletes it just now
        if home.stat().st_uid == os.geteuid() and (home / STATE_FILE).exists():
            left = Embedded(home, cache=settings.cache)
            if left.status().abandoned:
                left.erase()


def engine_answers() -> bool:
    """Whether a container engine answers."""
    from docker import from_env
    from docker.errors import DockerException

    try:
        engine = from_env()
    except DockerException as error:
        say(f"No container engine answers ({error}); the servers are embedded ones.")
        return False
    engine.close()
    return True


@contextmanager
def containers(settings: Settings) -> Iterator[Settings]:
    """The settings, with containers for the servers they don't name."""
    changes: dict[str, object] = {}
    with ExitStack() as stack:
        if settings.kafka is None:
            kafka = kafka_container().start(timeout=CONTAINER_WAIT_S)
            stack.callback(kafka.stop)
            changes["kafka"] = kafka.get_bootstrap_server()
        if settings.postgres is None:
            changes["postgres"] = SecretStr(stack.enter_context(postgres_container()))
        yield settings.model_copy(update=changes)


def kafka_container() -> KafkaContainer:
    """A broker without ZooKeeper, configured as the embedded one."""
    from testcontainers.community.kafka import KafkaContainer

    container = KafkaContainer().with_kraft()
    for key, value in broker_settings():
        container.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
    return container


def broker_settings() -> Iterator[tuple[str, str]]:
    """The embedded broker's settings that hold for a container too."""
    for line in KAFKA_SETTINGS.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#") and key not in CONTAINERS_OWN:
            yield key, value


@contextmanager
def postgres_container() -> Iterator[str]:
    """The DSN of a server in a container."""
    from testcontainers.community.postgres import PostgresContainer

    with PostgresContainer(POSTGRES_IMAGE, driver=None) as server:
        yield server.get_connection_url()
