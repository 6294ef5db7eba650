"""No text tells anybody to run a command that doesn't exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.cli import app

ROOT = Path(__file__).parents[2]
ROOMS = ("deploy", "schemas", "services", "shared")
NAMED = re.compile(r"`nervure ([a-z]+)(?: ([a-z]+))?|\bnervure (lanes|dlq|topics) ([a-z]+)\b")


@cache
def commands() -> dict[str, frozenset[str]]:
    """Each command, with those of its group where it is one."""
    found = getattr(get_command(app), "commands", {})
    return {name: frozenset(getattr(command, "commands", {})) for name, command in found.items()}


def missing(text: str) -> list[str]:
    """Commands that the text names and nobody can run."""
    known, lacking = commands(), []
    for match in NAMED.finditer(" ".join(text.split())):
        command, part = (match[1] or match[3]), (match[2] or match[4])
        if command not in known or (part and known[command] and part not in known[command]):
            lacking.append(f"{command} {part or ''}".strip())
    return lacking


def texts() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def test_every_command_that_a_message_names_exists() -> None:
    assert [(where, lacking) for where, text in texts() if (lacking := missing(text))] == []


@pytest.mark.parametrize(
    "text", ["run `nervure lanes recover X`", "`nervure\n    reconcile`", "then: nervure dlq forget {name}", "`nervure topics make`"]
)
def test_a_command_that_does_not_exist_is_found(text: str) -> None:
    assert missing(text)


@pytest.mark.parametrize(
    "text", ["`nervure up`", "`nervure lanes`", "`nervure lanes republish TOPIC`", "`nervure audit --json`", "`nervure run SERVICE`"]
)
def test_a_command_that_exists_is_not(text: str) -> None:
    assert missing(text) == []
