"""What a process held when it was killed, proven by the log it wrote at level debug.

    decided        a batch was decided; nothing of it is written yet
    committed      that batch took effect in the database; its messages are in the outbox
    acknowledged   messages of lanes are known to be in their topics

So `decided` without its `committed` is a batch that nobody knew to be done, and `committed` messages without any later
`acknowledged` are messages that nobody knew to be published.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LastWords:
    """What one life of a process left undone, as its log tells."""

    uncommitted: Entry | None
    """The batch with messages to publish that it had decided last and not committed yet."""
    unpublished: Entry | None
    """The committed batch whose messages it had not seen acknowledged."""

    def __bool__(self) -> bool:
        return self.uncommitted is not None or self.unpublished is not None


def last_words(entries: Iterable[Entry]) -> LastWords:
    """Of the last life in a log."""
    uncommitted = unpublished = None
    for entry in entries:
        match entry.get("action"):
            case "started":
                uncommitted = unpublished = None
            case "decided":
                uncommitted = entry if entry["publishes"] else None
            case "committed":
                uncommitted, unpublished = None, entry if entry["published"] else unpublished
            case "decide_again" | "claim_again" | "halve" | "refuse":
                uncommitted = None
            case "acknowledged" if entry["lanes"]:
                unpublished = None
            case _:
                pass
    return LastWords(uncommitted, unpublished)


def entries(log: Path, since: int = 0) -> Iterator[Entry]:
    """The entries of a log, from this byte on."""
    with log.open("rb") as file:
        file.seek(since)
        yield from whole_lines(file)


def whole_lines(log: BinaryIO) -> Iterator[Entry]:
    """The entries that follow, up to a line that is still being written; what other programs wrote is skipped."""
    while line := log.readline():
        if not line.endswith(b"\n"):
            log.seek(-len(line), 1)
            return
        if line.startswith(b"{"):
            yield json.loads(line)
