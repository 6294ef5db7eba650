"""The one running system of a test run: five service processes over its broker and database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.supervisor import System
from shared.settings import Settings


@pytest.fixture(scope="session")
def system(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All services, ready, saying all they can in their logs; drained at the end."""
    home = tmp_path_factory.mktemp("home")
    with System(settings.model_copy(update={"home": home, "log_level": "debug"})) as running:
        running.wait_ready()
        yield running
