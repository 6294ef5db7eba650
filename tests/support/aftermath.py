"""What the tests of the shared system leave behind, whatever they were and in whatever order they ran: books that agree, lanes without
faults, logs without complaints. Asked when the last of them is over; a test that hurts a service on purpose says so while it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.audit import audit
from deploy.supervisor import System
from shared.settings import Settings
from tests.support.last_words import Entry, entries

COMPLAINTS = frozenset({"halve", "refuse", "quarantine", "exit"})
"""Log actions that no input, hostile ones included, makes a sound service take."""
CONSTRAINT = "CheckViolation"
"""What Postgres says where a constraint had to stop a write: the last line of defence."""
MOST_NAMED = 20


@dataclass
class Provocations:
    """When which services were hurt on purpose; then they may complain."""

    spans: list[tuple[str, datetime, datetime]] = field(default_factory=list)

    @contextmanager
    def of(self, service: str) -> Iterator[None]:
        """Its complaints while the block runs are wanted."""
        began = datetime.now(UTC)
        try:
            yield
        finally:
            self.spans.append((service, began, datetime.now(UTC)))

    def excuse(self, entry: Entry) -> bool:
        at = datetime.fromisoformat(entry["timestamp"])
        return any(service == entry.get("service") and began <= at <= ended for service, began, ended in self.spans)


async def found_wrong(settings: Settings) -> list[str]:
    """What the audit of a system says, each violation as a line; none where all is well."""
    found = await audit(settings)
    moving = [f"the system does not come to rest: {found.moving}"] if found.moving else []
    return [*moving, *(f"{each.check}: {each.service} {each.what}: {each.detail}" for each in found.violations)]


async def books_agree(settings: Settings) -> None:
    """All databases and topics fit together, and every row is what its events make of it."""
    _fail_on("The audit found", await found_wrong(settings))


def logs_are_calm(system: System, provoked: Provocations) -> None:
    """Nothing was halved, refused or quarantined, no constraint was hit, no process failed, but where a test meant it to."""
    logs = sorted((system.settings.home / "logs").glob("*.log"))
    _fail_on("The services complain of", [line for log in logs for line in complaints(log, provoked)])


def complaints(log: Path, provoked: Provocations) -> Iterator[str]:
    for entry in entries(log):
        if (entry.get("action") in COMPLAINTS or CONSTRAINT in str(entry)) and not provoked.excuse(entry):
            told = entry.get("error") or entry.get("detail") or entry.get("event")
            yield f"{log.stem} at {entry['timestamp']}: {entry.get('action')}: {told}"


def _fail_on(what: str, wrong: Sequence[str]) -> None:
    if wrong:
        more = [f"... and {len(wrong) - MOST_NAMED} more"] if len(wrong) > MOST_NAMED else []
        pytest.fail("\n".join([f"{what} {len(wrong)}:", *wrong[:MOST_NAMED], *more]), pytrace=False)
