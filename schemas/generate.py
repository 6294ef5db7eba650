"""Writes the published contracts from the models: `python -m schemas.generate`.

--check            write nothing; exit 1 and name the files that differ
--release NAME     also keep today's schemas and examples as a release, for good; refuses what can't read earlier ones
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas import asyncapi, json_schema
from schemas.compatibility import FOLDER as RELEASED
from schemas.compatibility import breaches, released, unreadable_examples
from schemas.topics import messages

EXAMPLES = Path(__file__).parent / "examples"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description="Write the published contracts.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where files differ from the models")
    parser.add_argument("--release", metavar="NAME", help="keep today's schemas and examples as a release, for good")
    chosen = parser.parse_args(arguments)
    if chosen.check:
        return _report(differences(), "differs from the models; remedy: python -m schemas.generate")
    write()
    return release(chosen.release) if chosen.release else 0


def contracts() -> dict[Path, str]:
    """Every generated file and its text."""
    return {**json_schema.files(), **asyncapi.files()}


def differences() -> list[str]:
    """Generated files that differ from what is checked in, and checked-in ones nobody generates."""
    expected = contracts()
    stale = [file.name for file, text in expected.items() if not file.is_file() or file.read_text("utf-8") != text]
    return [*stale, *(file.name for file in _leftovers(expected))]


def write() -> None:
    expected = contracts()
    for file in _leftovers(expected):
        file.unlink()
    for file, text in expected.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")


def incompatibilities() -> list[str]:
    """What today's models can't read of what was ever released."""
    today = {kind.__name__: json_schema.schema_of(topic, kind) for topic, kind in messages()}
    found = unreadable_examples()
    for name, kind, old in released():
        breached = breaches(old, today[kind]) if kind in today else ["the message type is gone"]
        found.extend(f"{name}: {kind}: {breach}" for breach in breached)
    return found


def release(name: str) -> int:
    folder = RELEASED / name
    if folder.exists():
        return _report([name], "is released already, and what is released never changes; choose another name")
    broken = incompatibilities()
    if broken:
        return _report(broken, "(not compatible with what is released: make a new message type or topic version)")
    shutil.copytree(json_schema.FOLDER, folder / "json")
    shutil.copytree(EXAMPLES, folder / "examples")
    return 0


def _leftovers(expected: dict[Path, str]) -> list[Path]:
    return [file for file in sorted(json_schema.FOLDER.glob("*.json")) if file not in expected]


def _report(findings: Sequence[str], remark: str) -> int:
    for finding in findings:
        sys.stderr.write(f"{finding} {remark}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
