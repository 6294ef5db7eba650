"""Progress on stderr: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_STEPS = 5


def say(line: str) -> None:
    """One line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Yields a function to be called after each of `total` steps."""
    console = Console(stderr=True)
    with _bar(console, what, total) if console.is_terminal else _lines(what, total) as step:
        yield step


@contextmanager
def _bar(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def _lines(what: str, total: int) -> Iterator[Callable[[], None]]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done == total or done % max(1, total // PLAIN_STEPS) == 0:
            say(f"{what}: {done} of {total}")

    say(f"{what} ({total})")
    yield step
