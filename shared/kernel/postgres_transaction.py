"""One transaction on Postgres, and what may go wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg

from shared.kernel.model import Key, Slice
from shared.kernel.ports import (
    NOTHING_ATTACHED,
    Attached,
    Changes,
    Collision,
    CommitUnknown,
    InboxMark,
    LaneRow,
    OutboxRow,
    Quarantine,
    Record,
    Row,
    RowChange,
    StoredInput,
    Transient,
    parked_of,
)
from shared.kernel.postgres_batch import BatchWrite, is_fresh
from shared.kernel.postgres_columns import (
    HISTORY_COLUMNS,
    OUTBOX_COLUMNS,
    columns,
    history_columns,
    kept_of,
    mark_columns,
    outbox_columns,
    record_columns,
    record_of,
)
from shared.kernel.postgres_load import statements
from shared.kernel.rows import HEAD, RowCodec
from shared.kernel.sql import queries

Q = queries(Path(__file__).with_name("queries.sql"))
LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncio.TimeoutError)
"""InternalClientError is what a statement meets between the server's last word and the end of the connection."""
TRANSIENT = (
    *LOST,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)
"""The last two are a standby's, until it is promoted."""
COPIED_FROM = 150
"""Rows, events and messages together that one statement takes. For more, COPY costs a tenth less; for few, several round trips more."""


class PostgresTransaction:
    """One READ COMMITTED transaction."""

    def __init__(self, connection: Any, codecs: Mapping[str, RowCodec]) -> None:
        self.connection = connection
        self._codecs = codecs

    @property
    def life(self) -> str:
        return str(getattr(self.connection, "life", ""))

    async def find(self, keys: Sequence[Key]) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for kind, group in groupby(sorted(keys), key=lambda key: key.kind):
            codec = self._codecs[kind]
            for row in await self.connection.fetch(codec.find_sql, [key.id for key in group]):
                found[Key(kind, row["id"])] = Row(row["version"], codec.parse(row))
        return found

    async def load(self, keys: Sequence[Key]) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for statement in statements(self._codecs, keys):
            found |= statement.rows(await self.connection.fetch(statement.sql(), *statement.arguments))
        return found

    async def slices(self, wanted: Sequence[tuple[Slice, int]]) -> dict[tuple[Key, str], list[tuple[Key, Row]]]:
        found: dict[tuple[Key, str], list[tuple[Key, Row]]] = {(of.owner, of.kind): [] for of, _ in wanted}
        for kind, group in groupby(sorted(wanted, key=lambda w: w[0].kind), key=lambda w: w[0].kind):
            codec, asked = self._codecs[kind], list(group)
            most: dict[Key, int] = {}
            for of, count in asked:
                most[of.owner] = max(count, most.get(of.owner, 0))
            by_id = {owner.id: owner for owner in most}
            for row in await self.connection.fetch(codec.slice_sql, [o.id for o in most], list(most.values())):
                found[by_id[row["of"]], kind].append((Key(kind, row["id"]), Row(row["version"], codec.parse(row))))
        return found

    async def attached(self, keys: Sequence[Key]) -> Attached:
        if not await self.connection.fetchval(Q["anything_attached"]):
            return NOTHING_ATTACHED
        rows = await self.connection.fetch(Q["attached"], [key.kind for key in keys], [key.id for key in keys])
        by_what: dict[str, set[Key]] = {"k": set(), "q": set()}
        for row in rows:
            by_what[row["what"]].add(Key(row["kind"], row["id"]))
        return Attached(frozenset(by_what["k"]), frozenset(by_what["q"]))

    async def kept_for(self, keys: Sequence[Key]) -> list[StoredInput]:
        rows = await self.connection.fetch(Q["kept_for"], [key.kind for key in keys], [key.id for key in keys])
        return [kept_of(row) for row in rows]

    async def known(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        rows = await self.connection.fetch(Q["known"], [source for source, _ in ids], [id for _, id in ids])
        return {(row["source"], row["id"]): row["digest"] for row in rows}

    # ---- writing ----

    async def write(self, changes: Changes, messages: Sequence[OutboxRow] = (), *, unattached: bool = False) -> list[LaneRow]:
        if _is_unusual(changes):
            await self._write_batch(replace(changes, offsets=[], marks=[]), (), unattached)
            await self._mark_again([mark for mark in changes.inbox if mark.before is not None])
            await self._take(changes.taken)
            await self._put_aside(changes)
            changes, unattached = Changes(offsets=changes.offsets, marks=changes.marks), False
        return await self._write_batch(changes, messages, unattached)

    async def _write_batch(self, changes: Changes, messages: Sequence[OutboxRow], unattached: bool) -> list[LaneRow]:
        """What is new is copied where there is much of it. Whoever makes rows has them locked before their history gets its numbers."""
        try:
            if len(changes.rows) + len(changes.history) + len(messages) <= COPIED_FROM:
                return await self._state(BatchWrite(self._codecs, changes, messages), unattached)
            await self._copy_rows([change for change in changes.rows if is_fresh(change)])
            await self._copy("kernel", "history", HISTORY_COLUMNS, history_columns(self._codecs, changes.history))
            old = replace(changes, rows=[change for change in changes.rows if not is_fresh(change)], history=[])
            numbered = await self._state(BatchWrite(self._codecs, old, messages, stores=False), unattached)
            sent = *outbox_columns(messages, [one.seq for one in numbered]), [one.incarnation for one in numbered]
            await self._copy("kernel", "outbox", OUTBOX_COLUMNS, sent)
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name not in {f"{row.key.kind}_pkey" for row in changes.rows}:
                raise
            raise Collision(f"{error.constraint_name}: {error.detail}") from error
        return numbered

    async def _state(self, batch: BatchWrite, unattached: bool) -> list[LaneRow]:
        return batch.numbered(await self.connection.fetch(batch.sql(), *batch.arguments()), unattached=unattached)

    async def _copy_rows(self, fresh: Sequence[RowChange]) -> None:
        """By kind and id."""
        for kind, group in groupby(sorted(fresh, key=lambda c: c.key), key=lambda c: c.key.kind):
            codec, changes = self._codecs[kind], list(group)
            await self._copy("state", kind, [*HEAD, *codec.names], [*codec.head(changes), *codec.values(changes, codec.names)])

    async def _copy(self, schema: str, table: str, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        if columns[0]:
            records = zip(*columns, strict=True)
            await self.connection.copy_records_to_table(table, schema_name=schema, columns=names, records=records)

    async def _expect(self, count: int, sql: str, *args: Any) -> None:
        done = rows_done(await self.connection.execute(sql, *args))
        if done != count:
            raise Collision(f"{done} of {count} rows: {sql[:60]}")

    async def _mark_again(self, again: Sequence[InboxMark]) -> None:
        if again:
            await self._expect(len(again), Q["mark_inbox_again"], *mark_columns(again), [mark.before for mark in again])

    async def _take(self, taken: Sequence[StoredInput]) -> None:
        kept = [one.id for one in taken if one.purpose == "kept"]
        replayed = [one.id for one in taken if one.purpose == "replay"]
        spooled = [one.record for one in taken if one.purpose == "spooled"]
        if kept:
            await self._expect(len(kept), Q["forget_kept"], kept)
        if replayed:
            await self._expect(len(replayed), Q["replayed"], replayed)
            await self.connection.execute(Q["lock_marks"], replayed)
            await self.connection.execute(Q["lift"], replayed)
        if spooled:
            await self._expect(len(spooled), Q["unspool"], *columns([r.at for r in spooled]), [r.offset for r in spooled])

    async def _put_aside(self, changes: Changes) -> None:
        if kept := changes.kept:
            keys = [row.key.kind for row in kept], [row.key.id for row in kept]
            waits = [row.until for row in kept], [row.shard for row in kept]
            await self.connection.execute(Q["keep"], *keys, *waits, *record_columns([row.record for row in kept]))
        if changes.quarantines:
            await self._quarantine(changes.quarantines)
        if parked := parked_of(changes):
            waits_for = [json.dumps([f"{key.kind} {key.id}" for key in one.waits_for]) for one in parked]
            why = [one.status for one in parked], [one.reason for one in parked], [one.detail for one in parked], waits_for
            await self.connection.execute(Q["park"], *why, *record_columns([one.record for one in parked]))
        if spooled := changes.spooled:
            lanes = [row.lane.service for row in spooled], [row.lane.incarnation for row in spooled], [row.seq for row in spooled]
            await self.connection.execute(Q["spool"], *lanes, *record_columns([row.record for row in spooled]))

    async def _quarantine(self, quarantines: Sequence[Quarantine]) -> None:
        if behind := sorted({key for one in quarantines for key in one.behind}):
            held = await self.connection.fetch(Q["hold_marks"], [key.kind for key in behind], [key.id for key in behind])
            if len(held) != len(behind):
                raise Collision(f"{len(held)} of {len(behind)} marks: hold_marks")
        marks = {key: one.reason for one in reversed(quarantines) for key in one.keys}
        await self.connection.execute(Q["quarantine"], [k.kind for k in marks], [k.id for k in marks], list(marks.values()))

    async def ask_again(self, records: Sequence[Record]) -> list[StoredInput]:
        rows = await self.connection.fetch(Q["ask_again"], *columns([one.at for one in records]), [one.offset for one in records])
        return [StoredInput(row["number"], "replay", record_of(row)) for row in rows]


def _is_unusual(changes: Changes) -> bool:
    """Whether a batch writes what has statements of its own, between the rows and the positions."""
    aside = changes.taken or changes.kept or changes.quarantines or changes.dead_letters or changes.spooled
    return bool(aside) or any(mark.before is not None for mark in changes.inbox)


async def commit(connection: Any, transaction: Any) -> None:
    try:
        await transaction.commit()
    except (*LOST, asyncpg.OperatorInterventionError) as error:  # a server that is told to stop may have committed already
        _terminate(connection)
        raise CommitUnknown(f"{error!r}") from error
    except asyncio.CancelledError:
        _terminate(connection)
        raise
    except TRANSIENT as error:
        raise Transient(f"{error!r}") from error


def _terminate(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # a lost connection has left the pool already
        connection.terminate()


async def roll_back(connection: Any, transaction: Any) -> None:
    try:
        await transaction.rollback()
    except (*LOST, asyncpg.PostgresError):
        _terminate(connection)


def rows_done(status: str) -> int:
    return int(status.rsplit(" ", 1)[-1])
