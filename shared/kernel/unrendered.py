"""Rows whose document can't be made: a rule failed on them. They are left out and told, and everybody else goes on.

Such a row stays dirty. It is tried again after some seconds, whatever became of it meanwhile: a row that changes all the time must not fill
the log. What its topic shows is older than the row until then, which is what the audit says.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from structlog.typing import FilteringBoundLogger

from shared.kernel.model import State
from shared.kernel.ports import Row

RETRY_S = 5.0
"""Seconds until a row whose document could not be made is tried again."""
MOST_TOLD = 500
"""Characters of an error that are told."""


class Failed(NamedTuple):
    """The newest failure of one row."""

    version: int
    retry_at: float


class Unrendered:
    """Of one publisher: by topic and id, as many as are dirty at most."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._failed: dict[tuple[str, str], Failed] = {}

    def __len__(self) -> int:
        return len(self._failed)

    def waits(self, topic: str, id: str, now: float) -> bool:
        """Whether it failed so lately that it isn't its turn."""
        failed = self._failed.get((topic, id))
        return failed is not None and now < failed.retry_at

    def passed(self, topic: str, id: str) -> None:
        """It has a document, or needs none any more."""
        self._failed.pop((topic, id), None)

    def note(self, state: State[Any], id: str, row: Row, error: Exception, now: float) -> None:
        """One more failure: an alarm, once for each version of a row."""
        topic = state.topic.name
        before = self._failed.get((topic, id))
        self._failed[topic, id] = Failed(row.version, now + RETRY_S)
        if before is None or before.version != row.version:
            told = f"{type(error).__name__}: {error}"[:MOST_TOLD]
            self._log.error("a row can't be shown", action="alarm", topic=topic, row=id, version=row.version, error=told)

    def forget(self) -> None:
        self._failed.clear()
