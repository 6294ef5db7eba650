"""Named queries of a .sql file, loaded once: `-- name: x` begins each."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\$(\d+)")


def queries(path: Path) -> dict[str, str]:
    """Name to text."""
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    return {name: text.strip().rstrip(";") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def placeholders(sql: str) -> int:
    """How many parameters a statement has."""
    return max(map(int, _PLACEHOLDER.findall(sql)), default=0)


def server_and_name(dsn: str) -> tuple[str, str]:
    """(DSN of the server's own database, name of this one): its parameters, such as sslmode, hold for both."""
    path, mark, parameters = dsn.partition("?")
    head, _, name = path.rpartition("/")
    return f"{head}/postgres{mark}{parameters}", name
