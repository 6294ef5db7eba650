"""`nervure audit`: do all books agree?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.audit import WAIT_S, Audit, audit, promise_of
from deploy.audit.cuts import Drift
from deploy.audit.follow import EVERY_S, Round, Watcher
from deploy.audit.outlets import Drifts, Figures, drift_id
from deploy.commands.access import access, live_settings
from deploy.commands.printing import Json, page, plain, print_json, print_json_line, remarks
from shared.kernel.ports import ProduceFailed
from shared.settings import Settings

VIOLATED = 1


def audit_system(
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait at most until nothing moves.")] = WAIT_S,
    follow: Annotated[bool, typer.Option("--follow", help="Go on beside the running system until Ctrl-C; tell what is certain.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="With --follow: seconds from round to round, if one takes no longer.")] = EVERY_S,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="With --follow: serve /metrics on this port (0: any).")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="With --follow: end after so many seconds.")] = None,
    json: Json = False,
) -> None:
    """Compare all databases and all topics: stock, orders, money, lanes, requests. Changes nothing. Exit code 1 when something is wrong.

    With --follow it needs no rest: what differs is told once it has outlived everything that was in flight when it was seen, on the
    screen and on the topic oms.audit.drift.v1. With --json one object a line.
    """
    if follow:
        clean = asyncio.run(_follow(every, port, seconds, json))
    else:
        found = asyncio.run(audit(live_settings(), wait))
        if json:
            print_json(found.as_json())
        else:
            print_audit(found)
        clean = found.clean
    if not clean:
        raise typer.Exit(VIOLATED)


def print_audit(found: Audit) -> None:
    """The audit as a page for people."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("check", overflow="fold")
    table.add_column("looked at", justify="right")
    table.add_column("wrong", justify="right")
    for check, examined in found.examined.items():
        wrong = sum(1 for violation in found.violations if violation.check == check)
        table.add_row(promise_of(check), f"{examined:,}", f"[red]{wrong}[/red]" if wrong else "")
    page.print(table)
    for check, violations in groupby(found.violations, key=lambda violation: violation.check):
        page.print(f"\n[bold red]{check}[/bold red]")
        for violation in violations:
            plain(f"  {violation.service} {violation.what}: {violation.detail}")
    for note in found.notes:
        plain(f"Note: {note}")
    if not found.at_rest:
        page.print(f"\n[yellow]The system was not at rest[/yellow]: {found.moving}. Some of this may be a mere difference of moments.")
    verdict = "[bold green]clean[/bold green]" if found.clean else f"[bold red]{len(found.violations)} violations[/bold red]"
    page.print(f"\n{found.checks} checks: {verdict}.")


# ---- beside the running system ----


async def _follow(every_s: float, port: int | None, for_s: float | None, json: bool) -> bool:
    """Whether nothing is wrong at the end."""
    to = await access()
    teller = _Teller(to.settings, Drifts(to.connection), json)
    try:
        await teller.run(every_s, port, for_s)
    finally:
        if left := await teller.drifts.stop():
            teller.say(left)
    return not teller.watcher.suspicion.found


class _Teller:
    """Tells rounds on the screen, on the topic and in the figures."""

    def __init__(self, settings: Settings, drifts: Drifts, json: bool) -> None:
        self.drifts = drifts
        self.watcher = Watcher(settings, self._tell, self.say)
        self._figures = Figures(lambda: self.watcher.tide)
        self._json = json
        self._round = asyncio.Event()

    async def run(self, every_s: float, port: int | None, for_s: float | None) -> None:
        if port is not None:
            await self._figures.start(self.watcher.settings.health_host, port)
            remarks.print(f"Figures: http://{self.watcher.settings.health_host}:{self._figures.port}/metrics")
        sending = asyncio.create_task(self._send_on())
        try:
            await self.watcher.run(every_s, for_s)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await self._figures.stop()

    async def _send_on(self) -> None:
        while True:
            await self._round.wait()
            self._round.clear()
            try:
                await self.drifts.send()
            except ProduceFailed as error:
                self.say(f"Drift events could not be sent, and wait: {error}")

    def _tell(self, seen: Round) -> None:
        self._figures.note(seen)
        self.drifts.note(seen)
        self._round.set()
        if self._json:
            for drift in (*seen.found, *seen.gone):
                print_json_line(_drift(drift, seen))
            print_json_line(_round(seen))
            return
        if seen.number == 1:
            plain(f"Watching {seen.rows:,} rows and {seen.records:,} records; the first round took {seen.seconds:.1f} s. Ctrl-C ends it.")
        for drift in seen.found:
            violation = drift.violation
            plain(f"{seen.at:%H:%M:%S} WRONG {violation.check}: {violation.service} {violation.what}: {violation.detail}")
        for drift in seen.gone:
            plain(f"{seen.at:%H:%M:%S} gone  {drift.violation.check}: {drift.violation.service} {drift.violation.what}")

    def say(self, text: str) -> None:
        """A remark on the watching itself; empty: all is well again."""
        if self._json:
            print_json_line({"event": "remark", "at": datetime.now(UTC), "text": text or "All is well again."})
        else:
            remarks.print(text or "All is well again.", markup=False)


def _drift(drift: Drift, seen: Round) -> dict[str, Any]:
    event = "found" if drift in seen.found else "gone"
    return {"event": event, "at": seen.at, "drift_id": drift_id(drift), **drift.violation._asdict(), "first_seen": drift.first_seen}


def _round(seen: Round) -> dict[str, Any]:
    return {
        "event": "round",
        "at": seen.at,
        "number": seen.number,
        "seconds": round(seen.seconds, 3),
        "rows": seen.rows,
        "records": seen.records,
        "candidates": seen.candidates,
        "violations": sum(seen.violations.values()),
    }
