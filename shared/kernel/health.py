"""Health of one replica over HTTP: /livez, /readyz, /metrics (Prometheus text), and what its views have come to: /views (JSON)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from shared.kernel.ports import Store, Transient

if TYPE_CHECKING:
    from shared.kernel.engine import Engine
    from shared.kernel.pictures import Pictures
    from shared.kernel.publisher import Publisher


def _peak_bytes() -> int:
    """Peak resident memory of this process in bytes; 0 where the system does not tell (getrusage counts the parent before exec)."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


class Pages:
    """Pages of text over HTTP; /livez is one of them, and answers while the process lives."""

    def __init__(self, **pages: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        self.port = 0
        self._pages = pages
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        app = web.Application()
        app.add_routes([web.get(f"/{name}", page) for name, page in {"livez": self._livez, **self._pages}.items()])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")


class Health(Pages):
    """Live: the process answers. Ready: its views are caught up and it owns what the group assigned."""

    def __init__(self, service: str, engine: Engine, publisher: Publisher, pictures: Pictures, store: Store) -> None:
        super().__init__(readyz=self._readyz, metrics=self._metrics, views=self._views)
        self._service = service
        self._engine = engine
        self._publisher = publisher
        self._pictures = pictures
        self._store = store

    async def _readyz(self, _: web.Request) -> web.Response:
        waits = [] if self._pictures.ready else ["views are still being read"]
        if not self._engine.feed.claimed():
            waits.append("no partition is assigned yet")
        stopped = [f"{at.topic}/{at.partition}" for at in self._engine.overflow]
        waits += [f"{at} has a gap and its spool is full: nervure lanes" for at in stopped]
        return web.Response(status=503 if waits else 200, text="; ".join(waits) + "\n" if waits else "ready\n")

    async def _views(self, _: web.Request) -> web.Response:
        """By topic and partition: [next offset, documents, sum]; see contents.py."""
        return web.json_response({f"{at.topic}/{at.partition}": seen for at, seen in sorted(self._pictures.seen().items())})

    async def _metrics(self, _: web.Request) -> web.Response:
        try:
            depth = await self._store.depth()
        except Transient:
            depth = {}
        return web.Response(text="\n".join(self._lines(dict(depth))) + "\n")

    def _lines(self, depth: dict[str, int]) -> list[str]:
        counters, held, timers = self._engine.counters, self._engine.feed.held, self._engine.timers_held
        now_ms = self._engine.now_ms()
        figures: dict[str, float] = {
            "batches_total": counters.batches,
            "batch_seconds_total": round(counters.batch_s, 4),
            "inputs_total": counters.inputs,
            "collisions_total": counters.collisions,
            "retries_total": counters.retries,
            "claims_total": counters.claims,
            "external_late_total": counters.late,
            "external_waits_total": held.count,
            "external_wait_seconds_total": (held.over_ms + held.lasts_ms(now_ms)) / 1000,
            "timer_waits_total": timers.count,
            "timer_wait_seconds_total": (timers.over_ms + timers.lasts_ms(now_ms)) / 1000,
            "timer_wait_seconds": timers.lasts_ms(now_ms) / 1000,
            "published_total": self._publisher.published,
            "produce_failures_total": self._publisher.failures,
            "documents_unsent": self._publisher.documents(),
            "documents_unrendered": len(self._publisher.unrendered),
            "spools_full": len(self._engine.overflow),
            "lag_records": sum(self._engine.feed.lag().values()),
            "outbox_unsent": self._publisher.depth(),
            "view_documents_total": self._pictures.applied,
            "view_refused_total": self._pictures.broken,
            "resident_bytes_peak": _peak_bytes(),
        }
        figures |= {f"stored_{name}": count for name, count in depth.items()}
        lines = [f'nervure_{name}{{service="{self._service}"}} {value}' for name, value in figures.items()]
        lines += [
            f'nervure_inputs_by_outcome_total{{service="{self._service}",outcome="{what}"}} {count}'
            for what, count in sorted(counters.by_what.items())
        ]
        lines += [
            f'nervure_view_position{{service="{self._service}",topic="{at.topic}",partition="{at.partition}"}} {position}'
            for at, position in sorted(self._pictures.positions().items())
        ]
        return lines
