"""`nervure repair`: mend what can be mended without a guess."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from deploy.audit import WAIT_S
from deploy.commands.access import live_settings
from deploy.commands.printing import Json, page, plain, print_json
from deploy.repair import Repair, repair

LEFT = 1


def repair_system(
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait at most until nothing moves.")] = WAIT_S,
    json: Json = False,
) -> None:
    """Mend what the audit finds and no guess is needed for: state documents, gaps in lanes, letters that can be read by now.

    Says what it did, and what a person has to do about the rest. Exit code 1 when something is left.
    """
    found = asyncio.run(repair(live_settings(), dry, wait))
    if json:
        print_json(found.as_json())
    else:
        print_repair(found)
    if found.left:
        raise typer.Exit(LEFT)


def print_repair(found: Repair) -> None:
    """The repair as a page for people."""
    for mending in found.mended:
        plain(f"{mending.service} {mending.what}: {mending.done}")
    for left in found.left:
        plain(f"LEFT {left.violation.check}: {left.violation.service} {left.violation.what}: {left.violation.detail}")
        plain(f"     {left.remedy}")
    if found.moving:
        page.print(f"[yellow]The system was not at rest[/yellow]: {found.moving}. Some of this may be a mere difference of moments.")
    plain(f"{len(found.mended)} mended, {len(found.left)} left for a person.")
