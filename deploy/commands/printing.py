"""Where commands print: pages for people, one JSON document for machines, remarks on stderr."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

PIPE_WIDTH = 160
"""Columns where the output is no terminal that could tell."""

page = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
remarks = Console(stderr=True, highlight=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def print_json(document: Any) -> None:
    """One JSON document on stdout; instants and ids as text."""
    print(json.dumps(document, indent=2, default=str, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """One JSON document on a line of its own, at once."""
    print(json.dumps(document, default=str, ensure_ascii=False), flush=True)


def plain(text: str) -> None:
    """Text from messages and logs, without any markup in it taking effect."""
    page.print(text, markup=False, soft_wrap=True)


def is_terminal() -> bool:
    return sys.stdout.isatty()
