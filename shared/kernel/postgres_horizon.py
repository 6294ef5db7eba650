"""How much of a Postgres database outlives its loss: what its standbys, or its archive of WAL, hold by now.

Promise: a commit is published only after each named standby has flushed its WAL record, or the archive has the file that holds it. So a
standby that is promoted, or a restore to the end of the archive, has every commit of which any topic shows anything. The price: nothing is
published while a standby is away; with an archive, not before the file is full or `archive_timeout` is over.

Why this and not `synchronous_standby_names`: there a commit whose wait is cancelled, or that a crash of the primary interrupts, is visible
locally although no standby has it, and a publisher that reads the table can't tell. Here what is visible is asked about afterwards: a
commit's record is flushed to the WAL before anybody sees its rows, so `pg_current_wal_flush_lsn()`, asked for after they were seen, lies
behind it (where commits are asynchronous, `pg_current_wal_insert_lsn()` does). The two go together well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import asyncpg

from shared.kernel.ports import Horizon
from shared.kernel.sql import queries
from shared.value import Value

Q = queries(Path(__file__).with_name("queries.sql"))
LOG_BYTES = 0x1_0000_0000
"""WAL files are numbered anew after so many bytes."""


class PublishGate(Value, frozen=True):
    """What must hold a commit before anything of it is published."""

    kind: Literal["off", "standby", "archive"]
    standbys: tuple[str, ...] = ()
    """Their application names: all of them."""


OPEN = PublishGate("off")


class LivingConnection(asyncpg.Connection):
    """A connection that knows which run of which database it leads to."""

    life = ""


async def note_life(connection: Any) -> None:
    """For every new connection of a pool."""
    connection.life = await connection.fetchval(Q["life"])


async def horizon(connection: Any, gate: PublishGate) -> Horizon:
    """See ports.Store. On a standby there is no such position: raises asyncpg.ObjectNotInPrerequisiteStateError."""
    if gate.kind == "off":
        return Horizon(connection.life, 0, 0)
    if gate.kind == "standby":
        row = await connection.fetchrow(Q["held_by_standbys"], list(gate.standbys))
        return Horizon(connection.life, row["committed"], row["held"])
    row = await connection.fetchrow(Q["held_by_archive"])
    return Horizon(connection.life, row["committed"], end_of(row["archived"], row["segment_bytes"]) if row["archived"] else 0)


def end_of(wal_file: str, segment_bytes: int) -> int:
    """The position behind a WAL file, by its name: timeline, log and segment, eight hex digits each."""
    log, segment = int(wal_file[8:16], 16), int(wal_file[16:24], 16)
    return log * LOG_BYTES + (segment + 1) * segment_bytes
