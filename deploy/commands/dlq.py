"""`nervure dlq`: what no service could make sense of, and what to do about it."""

from __future__ import annotations

import asyncio
import json as json_module
import time
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from deploy.commands.access import live_settings
from deploy.commands.printing import Json, page, plain, print_json
from deploy.commands.status import instant
from deploy.parked import ALL, OPEN, Letter, discard, letter_named, letters, replay, status_of, waiting_behind

app = typer.Typer(help="Dead letters and quarantined inputs of all services.", no_args_is_help=True)
FAILED_AGAIN = 1
WAIT_S = 15.0
POLL_S = 0.3
DETAIL_COLUMNS = 120

Name = Annotated[str, typer.Argument(help="As `nervure dlq list` names it: `sourcing/12`, or `12` where that is unambiguous.")]


@app.command("list")
def list_letters(
    everything: Annotated[bool, typer.Option("--all", help="Replayed and discarded ones, too.")] = False, json: Json = False
) -> None:
    """List what is parked: where it came from, why, and whose rows wait for it."""
    found = asyncio.run(letters(live_settings(), ALL if everything else OPEN))
    if json:
        print_json([letter.as_json() for letter in found])
    elif found:
        page.print(_table(found))
    else:
        plain("No dead letters.")


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show one whole: headers, content, reason, and what waits behind it."""
    settings = live_settings()
    letter = asyncio.run(letter_named(settings, name))
    behind = waiting_behind(letter, asyncio.run(letters(settings)))
    if json:
        print_json(letter.as_json() | {"behind": [other.name for other in behind]})
    else:
        _print_letter(letter, behind)


@app.command("replay")
def replay_letter(name: Name, json: Json = False) -> None:
    """Run it again, with all that waits behind it, as soon as its cause is mended. Exit code 1 when it failed again."""
    settings = live_settings()
    letter = asyncio.run(letter_named(settings, name))
    asked = asyncio.run(replay(settings, letter))
    status = _await_replay(letter)
    if json:
        print_json({"replayed": [one.name for one in asked], "status": status})
    else:
        plain(_told(letter, asked, status))
    if status in ("dead", "quarantined"):
        raise typer.Exit(FAILED_AGAIN)


@app.command("discard")
def discard_letter(name: Name, json: Json = False) -> None:
    """Decide that it shall never have an effect. The record stays in the list."""
    settings = live_settings()
    letter = asyncio.run(letter_named(settings, name))
    behind = waiting_behind(letter, asyncio.run(letters(settings)))
    asyncio.run(discard(settings, letter))
    if json:
        print_json({"discarded": letter.name, "behind": [other.name for other in behind]})
        return
    plain(f"{letter.name} is discarded: it has no effect.")
    if behind:
        plain(f"{len(behind)} inputs waited behind it; run them: nervure dlq replay {behind[0].name}")


def _await_replay(letter: Letter) -> str:
    """The service does it within a second or two, if it runs."""
    deadline = time.monotonic() + WAIT_S
    while (status := asyncio.run(status_of(live_settings(), letter))) == "replay" and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return status


def _told(letter: Letter, asked: list[Letter], status: str) -> str:
    more = f" with {len(asked) - 1} that waited behind it" if len(asked) > 1 else ""
    if status == "replay":
        return f"{letter.name} is marked{more}; {letter.service} does not run or is busy, and runs it as soon as it can."
    if status == "replayed":
        return f"{letter.name} was run again{more}."
    return f"{letter.name} failed again: see `nervure dlq show {letter.name}` and the log of {letter.service}."


def _table(found: list[Letter]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "status", "since", "message", "key", "topic"):
        table.add_column(column, no_wrap=column in ("name", "status", "since"), overflow="fold")
    table.add_column("why", overflow="fold")
    for letter in found:
        why = f"{letter.reason}: {letter.detail}"[:DETAIL_COLUMNS]
        topic = f"{letter.record.topic}/{letter.record.partition}@{letter.record.offset}"
        names = letter.name, letter.status, instant(letter.at), letter.type, letter.key, topic, why
        table.add_row(*map(escape, names))
    return table


def _print_letter(letter: Letter, behind: list[Letter]) -> None:
    record = letter.record
    page.print(f"[bold]{letter.name}[/bold]  {letter.status} since {instant(letter.at)}")
    plain(f"{letter.type} from {record.topic}, partition {record.partition}, offset {record.offset}, key {letter.key}")
    plain(f"Why: {letter.reason}: {letter.detail}")
    if letter.waits_for:
        plain(f"Rows that wait: {', '.join(letter.waits_for)}")
    if behind:
        plain(f"Waiting behind it: {', '.join(other.name for other in behind)}")
    for name, value in record.headers:
        plain(f"  {name}: {(value or b'').decode(errors='replace')}")
    plain(_content(record.value))


def _content(value: bytes | None) -> str:
    try:
        return json_module.dumps(json_module.loads(value or b""), indent=2, ensure_ascii=False)
    except ValueError:
        return repr(value)
