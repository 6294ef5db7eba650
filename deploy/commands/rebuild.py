"""`nervure rebuild SERVICE`: is what a service keeps what its events say?"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from deploy.commands.access import live_settings
from deploy.commands.printing import Json, plain, print_json
from deploy.fleet import service_name
from deploy.rebuild import rebuild

DIFFERENT = 1


def rebuild_service(
    service: Annotated[str, typer.Argument(help="order_capture, inventory, sourcing, fulfilment_tracking or returns.")],
    json: Json = False,
) -> None:
    """Fold all events of a service again and compare the outcome with the rows it kept. Changes nothing. Exit code 1 when they differ."""
    found = asyncio.run(rebuild(live_settings(), service_name(service)))
    if json:
        print_json(asdict(found))
    else:
        for each in found.differences:
            plain(f"{each.kind} {each.id}: {each.detail}")
        verdict = "no row differs" if not found.differences else f"{len(found.differences)} rows differ"
        plain(f"{found.service}: {found.events} events folded again, compared with {found.rows} rows: {verdict}.")
    if found.differences:
        raise typer.Exit(DIFFERENT)
