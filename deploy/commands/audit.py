"""`nervure audit`: do all books agree?"""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Annotated

import typer
from rich.table import Table

from deploy.audit import WAIT_S, Audit, audit, promise_of
from deploy.commands.access import live_settings
from deploy.commands.printing import Json, page, plain, print_json

VIOLATED = 1


def audit_system(
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait at most until nothing moves.")] = WAIT_S,
    json: Json = False,
) -> None:
    """Compare all databases and all topics: stock, orders, money, lanes, requests. Changes nothing. Exit code 1 when something is wrong."""
    found = asyncio.run(audit(live_settings(), wait))
    if json:
        print_json(found.as_json())
    else:
        print_audit(found)
    if not found.clean:
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
