"""The one running system of a test run: five service processes over its broker and database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from deploy.supervisor import System
from shared.settings import Settings
from tests.support.aftermath import Provocations, books_agree, logs_are_calm


@pytest.fixture(scope="session")
def provocations() -> Provocations:
    """Where a test says which service it hurts."""
    return Provocations()


@pytest.fixture(scope="session")
def system(settings: Settings, provocations: Provocations, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All services, ready, saying all they can in their logs; audited when the last test that used them is over, then drained."""
    home = tmp_path_factory.mktemp("home")
    with System(settings.model_copy(update={"home": home, "views": home / "views", "log_level": "debug"})) as running:
        running.wait_ready()
        yield running
        logs_are_calm(running, provocations)
        asyncio.run(books_agree(running.settings))
