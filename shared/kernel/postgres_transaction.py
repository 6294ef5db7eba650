"""One transaction on Postgres, and what may go wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
    HistoryEntry,
    LaneRow,
    NotOwner,
    OutboxRow,
    Quarantine,
    Record,
    Row,
    RowChange,
    StoredInput,
    TopicPartition,
    Transient,
    parked_of,
)
from shared.kernel.postgres_columns import (
    HISTORY_COLUMNS,
    OUTBOX_COLUMNS,
    columns,
    kept_of,
    mark_columns,
    outbox_values,
    record_columns,
    record_of,
    timer_columns,
)
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


class PostgresTransaction:
    """One READ COMMITTED transaction."""

    def __init__(self, connection: Any, codecs: Mapping[str, RowCodec]) -> None:
        self.connection = connection
        self._codecs = codecs

    @property
    def life(self) -> str:
        return str(getattr(self.connection, "life", ""))

    async def find(self, keys: Sequence[Key]) -> dict[Key, Row]:
        return await self._read(keys, locked=False)

    async def load(self, keys: Sequence[Key]) -> dict[Key, Row]:
        return await self._read(keys, locked=True)

    async def _read(self, keys: Sequence[Key], locked: bool) -> dict[Key, Row]:
        found: dict[Key, Row] = {}
        for kind, group in groupby(sorted(keys), key=lambda key: key.kind):
            codec = self._codecs[kind]
            sql = codec.load_sql if locked else codec.find_sql
            for row in await self.connection.fetch(sql, [key.id for key in group]):
                found[Key(kind, row["id"])] = Row(row["version"], codec.parse(row))
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

    async def write(self, changes: Changes) -> None:
        await self._write_rows(changes.rows)
        await self._write_history(changes.history)
        await self._write_inbox(changes)
        await self._write_timers(changes)
        await self._take(changes.taken)
        await self._put_aside(changes)
        await self._move_offsets(changes)

    async def _write_rows(self, rows: Sequence[RowChange]) -> None:
        for kind, group in groupby(sorted(rows, key=lambda c: c.key), key=lambda c: c.key.kind):
            codec, changes = self._codecs[kind], list(group)
            gone = [c for c in changes if c.state is None and not c.empty]
            fresh = [c for c in changes if c.base == 0 and (c.state is not None or c.empty)]
            changed = [c for c in changes if c.base > 0 and (c.state is not None or c.empty)]
            if fresh:
                await self._insert_rows(codec, fresh)
            if changed:
                names = codec.differing(changed)
                arguments = *codec.head(changed), *codec.values(changed, names), [c.base for c in changed]
                await self._expect(len(changed), codec.update_sql(names), *arguments)
            if gone := [c for c in gone if c.base > 0]:
                await self._expect(len(gone), codec.delete_sql, [c.key.id for c in gone], [c.base for c in gone])

    async def _insert_rows(self, codec: RowCodec, fresh: Sequence[RowChange]) -> None:
        """In order of their ids. COPY costs half of INSERT ... ON CONFLICT; a row that somebody else has made meanwhile fails it."""
        kind, records = codec.kind.name, zip(*codec.head(fresh), *codec.values(fresh, codec.names), strict=True)
        try:
            await self.connection.copy_records_to_table(kind, schema_name="state", records=records, columns=[*HEAD, *codec.names])
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != f"{kind}_pkey":
                raise
            raise Collision(f"{kind}: {error.detail}") from error

    async def _expect(self, count: int, sql: str, *args: Any) -> None:
        done = rows_done(await self.connection.execute(sql, *args))
        if done != count:
            raise Collision(f"{done} of {count} rows: {sql[:60]}")

    async def _write_history(self, entries: Sequence[HistoryEntry]) -> None:
        if entries:
            records = [
                (
                    e.key.kind,
                    e.key.id,
                    e.version,
                    e.type,
                    self._codecs[e.key.kind].dump_event(e.event) if e.event is not None else "",
                    e.at,
                )
                for e in entries
            ]
            await self.connection.copy_records_to_table("history", schema_name="kernel", records=records, columns=HISTORY_COLUMNS)

    async def _write_inbox(self, changes: Changes) -> None:
        fresh = [mark for mark in changes.inbox if mark.before is None]
        again = [mark for mark in changes.inbox if mark.before is not None]
        if fresh:
            await self._expect(len(fresh), Q["mark_inbox"], *mark_columns(fresh))
        if again:
            await self._expect(len(again), Q["mark_inbox_again"], *mark_columns(again), [mark.before for mark in again])

    async def _write_timers(self, changes: Changes) -> None:
        fired, cancelled, made = changes.timers_fired, changes.timers_cancelled, changes.timers_set
        if fired:
            await self._expect(len(fired), Q["fire_timers"], *timer_columns(fired), [t.due for t in fired])
        if cancelled:
            await self.connection.execute(
                Q["cancel_timers"], [k.kind for k, _ in cancelled], [k.id for k, _ in cancelled], [n for _, n in cancelled]
            )
        if made:
            when = [t.due for t in made], [t.rank for t in made], [t.shard for t in made], [t.trace for t in made]
            await self.connection.execute(Q["set_timers"], *timer_columns(made), *when)

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

    async def _move_offsets(self, changes: Changes) -> None:
        moves, marks = changes.offsets, changes.marks
        if not moves and not marks:
            return
        done = await self.connection.execute(
            Q["move_offsets"],
            *columns([m.at for m in moves]),
            [m.epoch for m in moves],
            [m.loaded for m in moves],
            [m.next for m in moves],
            *columns([m.at for m in marks]),
            [m.lane.service for m in marks],
            [m.lane.incarnation for m in marks],
            [m.seq for m in marks],
        )
        if rows_done(done) != len(moves):
            raise NotOwner(f"{rows_done(done)} of {len(moves)} positions moved")

    async def ask_again(self, records: Sequence[Record]) -> list[StoredInput]:
        rows = await self.connection.fetch(Q["ask_again"], *columns([one.at for one in records]), [one.offset for one in records])
        return [StoredInput(row["number"], "replay", record_of(row)) for row in rows]

    async def number(self, rows: Sequence[OutboxRow]) -> list[LaneRow]:
        if not rows:
            return []
        counts = Counter(row.at for row in rows)
        taken = await self.connection.fetch(Q["take_lanes"], *columns(list(counts)), list(counts.values()))
        heads = {TopicPartition(r["topic"], r["partition"]): [r["incarnation"], r["seq"]] for r in taken}
        numbered = []
        for row in rows:
            head = heads[row.at]
            head[1] += 1
            numbered.append(LaneRow(head[1], head[0], row))
        await self.connection.copy_records_to_table(
            "outbox", schema_name="kernel", records=[outbox_values(r) for r in numbered], columns=OUTBOX_COLUMNS
        )
        return numbered


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
