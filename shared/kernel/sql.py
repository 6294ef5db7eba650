"""Named queries of a .sql file, loaded once: `-- name: x` begins each."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def queries(path: Path) -> dict[str, str]:
    """Name to text."""
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    return {name: text.strip().rstrip(";") for name, text in zip(parts[1::2], parts[2::2], strict=True)}
