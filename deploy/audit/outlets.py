"""Where the audit that goes on tells what it finds, beside the screen: figures for Prometheus, and a topic of its own."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web

from deploy.audit import promise_of
from deploy.audit.cuts import Drift, Tide
from deploy.audit.follow import Round
from schemas.audit import DriftFound, DriftGone
from schemas.topics import AUDIT_DRIFT
from shared.kernel.codec import external_record
from shared.kernel.health import Pages
from shared.kernel.kafka import Connection, KafkaWriter
from shared.kernel.ports import Outgoing, ProduceFailed, TopicPartition

SOURCE = "/nervure/audit"
AT = TopicPartition(AUDIT_DRIFT.name, 0)
MOST_WAITING = 10_000
"""Drift events kept while the broker is away; older ones are dropped."""
MOST_AT_ONCE = 100
TEXT, LONG_TEXT = 500, 4000


class Drifts:
    """Drift events into their topic, in order; what can't be sent now is sent after a later round."""

    def __init__(self, connection: Connection) -> None:
        self._writer = KafkaWriter(connection)
        self._waiting: deque[Outgoing] = deque(maxlen=MOST_WAITING)

    def note(self, seen: Round) -> None:
        for drift in seen.found:
            self._waiting.append(_record(_found(drift), seen.at))
        for drift in seen.gone:
            self._waiting.append(_record(_gone(drift, seen.at), seen.at))

    async def send(self) -> None:
        """Raises ProduceFailed."""
        while self._waiting:
            some = [self._waiting[place] for place in range(min(MOST_AT_ONCE, len(self._waiting)))]
            for _ in range((await self._writer.send({AT: some}))[AT]):
                self._waiting.popleft()

    async def stop(self) -> str:
        """Send what waits, if the broker is there; empty, or what could not be told."""
        try:
            await self.send()
        except ProduceFailed as error:
            return f"{len(self._waiting)} drift events could not be sent: {error}"
        finally:
            await self._writer.stop()
        return ""


def drift_id(drift: Drift) -> str:
    """Names a drift: the same for the same check, service and subject."""
    return hashlib.blake2b("\n".join(drift.violation[:3]).encode(), digest_size=12).hexdigest()


def _found(drift: Drift) -> DriftFound:
    violation = drift.violation
    return DriftFound(
        drift_id=drift_id(drift),
        check=violation.check,
        promise=promise_of(violation.check)[:TEXT],
        service=violation.service,
        what=_text(violation.what, TEXT),
        detail=_text(violation.detail, LONG_TEXT),
        first_seen_at=drift.first_seen,
        found_at=drift.found,
    )


def _gone(drift: Drift, at: datetime) -> DriftGone:
    violation = drift.violation
    what = _text(violation.what, TEXT)
    return DriftGone(drift_id=drift_id(drift), check=violation.check, service=violation.service, what=what, gone_at=at)


def _text(text: str, most: int) -> str:
    return text.replace("\x00", "")[:most]


def _record(body: DriftFound | DriftGone, at: datetime) -> Outgoing:
    return external_record(AUDIT_DRIFT, body, source=SOURCE, id=f"{body.drift_id}@{at.isoformat()}", now=at)


class Figures(Pages):
    """The last round over HTTP: /metrics (Prometheus text), and /livez while the process lives."""

    def __init__(self, tide: Callable[[], Tide | None]) -> None:
        super().__init__(metrics=self._metrics)
        self._tide = tide
        self._last: Round | None = None

    def note(self, seen: Round) -> None:
        self._last = seen

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="\n".join(self._lines()) + "\n")

    def _lines(self) -> list[str]:
        tide, last = self._tide(), self._last
        figures: dict[str, float] = {"cut_seconds": round(time.monotonic() - tide.since_s, 3)} if tide is not None else {}
        if last is None:
            return [f"nervure_audit_{name} {value}" for name, value in figures.items()]
        figures |= {
            "rounds_total": last.number,
            "round_timestamp_seconds": round(last.at.astimezone(UTC).timestamp(), 3),
            "round_seconds": round(last.seconds, 3),
            "round_rows": last.rows,
            "round_records": last.records,
            "candidates": last.candidates,
        }
        lines = [f"nervure_audit_{name} {value}" for name, value in figures.items()]
        return [*lines, *(f'nervure_audit_violations{{check="{check}"}} {count}' for check, count in last.violations.items())]
