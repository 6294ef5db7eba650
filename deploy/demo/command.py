"""`nervure demo`: real baskets from order to delivery on a system of its own, then a report."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from deploy.commands.printing import page
from deploy.demo.progress import say
from deploy.embedded import Embedded, EmbeddedError
from deploy.embedded.lock import held
from deploy.supervisor import System
from shared.settings import Settings

if TYPE_CHECKING:
    from deploy.audit import Audit
    from deploy.demo.demo import Result
    from deploy.demo.dice import Dice
    from deploy.demo.report import Report
    from deploy.demo.world import World

HOME = "demo"
"""The demo's own folder inside the home."""
DEFAULT_DAY, DEFAULT_ORDERS = date(2017, 6, 15), 500
NO_SUCCESS = 1
LOCK_WAIT_S = 1.0


class DemoRuns(EmbeddedError):
    """A demo runs already in {home}. End it there with Ctrl-C, or give this one a home of its own with NERVURE_HOME."""


def demo(
    orders: Annotated[int | None, typer.Option(min=1, max=150_000, help="How many; with --day alone the whole day's, else 500.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all choices.")] = 7,
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day, of 2017 (else 15 June).")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the system running after the report, until Ctrl-C.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Real retail baskets through all five services, placed to delivered, then a report. Exit code 0: audit clean, no
    order stuck, nothing oversold, books and shelves alike."""
    from deploy.demo.baskets import load
    from deploy.demo.dice import Dice
    from deploy.demo.world import world_of

    settings, fresh = demo_settings(Settings())
    dice = Dice(seed, run="" if fresh else secrets.token_hex(3))
    world = world_of(load(settings.cache), *chosen(orders, day), dice)
    with _interruptible(), _started(settings, fresh) as system:
        code = _report(system, world, dice, json)
        if keep:
            _stay(system)
    raise typer.Exit(code)


def chosen(orders: int | None, day: datetime | None) -> tuple[date, int | None]:
    """The first day and how many orders; None for all of that day's."""
    if day is None:
        return DEFAULT_DAY, orders or DEFAULT_ORDERS
    return day.date(), orders


def demo_settings(settings: Settings) -> tuple[Settings, bool]:
    """The demo's own home, and whether it begins with nothing in it: not where the settings name servers."""
    fresh = settings.kafka is None and settings.postgres is None
    return settings.model_copy(update={"home": settings.home / HOME}), fresh


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does: cleanly."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _started(settings: Settings, fresh: bool) -> Iterator[System]:
    """A running system, on fresh servers where they are ours; drained at the end. Raises DemoRuns, EmbeddedError."""
    settings.home.parent.mkdir(parents=True, exist_ok=True)
    with held(settings.home.with_suffix(".lock"), LOCK_WAIT_S, otherwise=DemoRuns(home=settings.home)):
        if fresh:
            _clear(settings)
        with _drained(System(settings, on_change=_tell)) as system:
            yield system


@contextmanager
def _drained(system: System) -> Iterator[System]:
    """Started and ready; at the end it is drained, and nobody interrupts that."""
    began = time.monotonic()
    try:
        system.start()
        system.wait_ready()
        say(f"System ready after {time.monotonic() - began:.1f} s: {len(system.replicas())} services; home {system.settings.home}.")
        yield system
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        system.stop()


def _tell(line: str) -> None:
    """What happened to a process, but for its first start."""
    if not line.endswith(": started"):
        say(f"  {line}")


def _clear(settings: Settings) -> None:
    """Stop and delete what an earlier demo left. Raises EmbeddedError."""
    if settings.home.exists():
        Embedded.of(settings).erase()


def _report(system: System, world: World, dice: Dice, json: Path | None) -> int:
    """Run, audit, print; the exit code. Raises what broke the run off."""
    from deploy.audit import audit
    from deploy.demo.demo import run
    from deploy.demo.report import print_report, report_of

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        try:
            result = loop.run(run(system, world, dice))
        except BaseExceptionGroup as several:
            raise _first(several) from several
        say("Auditing: databases against topics.")
        found = loop.run(audit(system.settings))
        report = report_of(result, found)
        if json is not None:
            json.write_text(report.model_dump_json(indent=2) + "\n")
        print_report(page, result, report)
        loop.run(_tell_stories(system, result))
    return verdict(result, report, found)


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """What broke first of several that broke together."""
    error: BaseException = several
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _tell_stories(system: System, result: Result) -> None:
    from deploy.commands.trace import print_story
    from deploy.demo.report import interesting
    from deploy.fleet import kafka_connection
    from deploy.orders import newest_status
    from deploy.tracing import story_of
    from shared.kernel.kafka import KafkaTopics

    topics = KafkaTopics(kafka_connection(system.settings))
    for title, story in interesting(list(result.tally.stories.values())):
        page.rule(f"[bold]One order, {title}")
        status = await newest_status(topics, story.order_id)
        print_story(story.order_id, status, await story_of(topics, story.order_id))


def verdict(result: Result, report: Report, audit: Audit) -> int:
    """Prints the audit and whether the run is a success; the exit code."""
    from deploy.commands.audit import print_audit
    from deploy.demo.report import problems

    page.rule("[bold]Audit")
    print_audit(audit)
    found = problems(result, report, audit)
    for problem in found:
        page.print(f"[bold red]No success:[/bold red] {problem}")
    if not found:
        page.print("[bold green]Every order has ended, or waits with a reason and a deadline; books and shelves agree.[/bold green]")
    return NO_SUCCESS if found else 0


def _stay(system: System) -> None:
    home = system.settings.home
    say(f"The system keeps running until Ctrl-C. Look at it from another terminal with NERVURE_HOME={home} set:")
    say("  nervure status ORDER, nervure trace ORDER, nervure lanes, nervure watch, nervure audit")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("Draining.")
