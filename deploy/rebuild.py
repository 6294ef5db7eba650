"""Folding a service's own events again, and comparing what comes out with the rows it kept.

Works beside the running service: what differs at first sight is looked at again, rows and events in one snapshot.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from msgspec import DecodeError
from msgspec.structs import fields

from deploy.errors import Explained
from deploy.fleet import load_service
from deploy.reading import database
from shared.kernel.model import Key, Kind
from shared.kernel.postgres import PostgresStore
from shared.kernel.rows import RowCodec
from shared.kernel.sql import queries
from shared.settings import Settings
from shared.value import Value, encode

Q = queries(Path(__file__).with_name("queries.sql"))
MOST_DIFFERENCES = 100
ROWS_AT_ONCE = 500
FIELD_COLUMNS = 200


class RowsForeign(Explained):
    """The rows or events of {service} were written by other code than this: {cause}. Run the version that wrote them, or, if this home's
    data may go, delete it and start anew."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that isn't what its events make of it."""

    kind: str
    id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found; at most MOST_DIFFERENCES differences are listed."""

    service: str
    rows: int
    events: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Folded:
    """A row: None as state where nothing has happened to it yet."""

    version: int
    state: Any


async def rebuild(settings: Settings, service: str) -> Rebuilt:
    """Fold every event of the service again. Raises NoDatabase."""
    async with database(settings, service) as store:
        return await rebuild_store(store, service)


async def rebuild_store(store: PostgresStore, service: str) -> Rebuilt:
    """The same over an open database. Raises RowsForeign."""
    try:
        return await _rebuild(store, service)
    except DecodeError as error:
        raise RowsForeign(service=service, cause=str(error)) from error


async def _rebuild(store: PostgresStore, service: str) -> Rebuilt:
    kinds = {kind.name: kind for kind in load_service(service).kinds}
    folded, events = await _fold_all(store, kinds)
    rows, suspects = 0, defaultdict(list)
    for name in kinds:
        left = folded[name]
        async for id, row in store.scan(name):
            rows += 1
            if left.pop(id, None) != digest_of_row(Folded(row.version, row.state)):
                suspects[name].append(id)
        suspects[name] += left
    differences = [each for name, ids in suspects.items() for each in await _look_again(store, kinds[name], ids)]
    return Rebuilt(service, rows, events, tuple(differences[:MOST_DIFFERENCES]))


async def _fold_all(store: PostgresStore, kinds: Mapping[str, Kind[Any]]) -> tuple[dict[str, dict[str, bytes]], int]:
    """(digest of each row by kind and id, number of events); rows that ended are left out."""
    folded: dict[str, dict[str, bytes]] = {name: {} for name in kinds}
    current, row, events = None, None, 0
    async for key, version, event in store.history():
        if key != current:
            _note(folded, current, row)
            current, row = key, None
        row = fold(kinds[key.kind], key.id, row, version, event)
        events += 1
    _note(folded, current, row)
    return folded, events


def _note(folded: dict[str, dict[str, bytes]], key: Key | None, row: Folded | None) -> None:
    if key is not None and row is not None:
        folded[key.kind][key.id] = digest_of_row(row)


def fold(kind: Kind[Any], id: str, row: Folded | None, version: int, event: Any) -> Folded | None:
    """The row after one more event: None where it ended. Without an event the row was made empty, for a message kept for it."""
    if event is None:
        return row or Folded(version, None)
    before = row.state if row is not None and row.state is not None else kind.initial(id)
    after = kind.evolve(before, event)
    return Folded(version, after) if after is not None else None


def digest_of_row(row: Folded) -> bytes:
    text = encode(row.state) if row.state is not None else b""
    return hashlib.blake2b(b"%d\n%b" % (row.version, text), digest_size=12).digest()


async def _look_again(store: PostgresStore, kind: Kind[Any], ids: Sequence[str]) -> list[Difference]:
    """Digests may differ where values are equal (sets have no order), and rows may have changed meanwhile."""
    found: list[Difference] = []
    for start in range(0, len(ids), ROWS_AT_ONCE):
        if len(found) < MOST_DIFFERENCES:
            found += await _compare(store, kind, ids[start : start + ROWS_AT_ONCE])
    return found


async def _compare(store: PostgresStore, kind: Kind[Any], ids: Sequence[str]) -> list[Difference]:
    codec = RowCodec(kind)
    async with store.begin() as transaction:
        connection = transaction.connection
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        kept = {row["id"]: Folded(row["version"], codec.parse(row)) for row in await connection.fetch(codec.find_sql, list(ids))}
        events = await connection.fetch(Q["history_of"], kind.name, list(ids))
    folded = {id: fold_rows(kind, codec, id, rows) for id, rows in groupby(events, key=lambda row: str(row["id"]))}
    return [Difference(kind.name, id, detail) for id in ids if (detail := difference(kept.get(id), folded.get(id)))]


def fold_rows(kind: Kind[Any], codec: RowCodec, id: str, rows: Iterable[Any]) -> Folded | None:
    folded: Folded | None = None
    for row in rows:
        event = codec.parse_event(row["type"], row["doc"], id, row["at"]) if row["type"] else None
        folded = fold(kind, id, folded, row["version"], event)
    return folded


def difference(kept: Folded | None, folded: Folded | None) -> str:
    """What differs in words; empty where nothing does."""
    if kept == folded:
        return ""
    if kept is None:
        return "the events make this row, but it isn't there"
    if folded is None:
        return "the row is there, but its events don't make it"
    if kept.version != folded.version:
        return f"the row has version {kept.version}, its events make {folded.version}"
    return "; ".join(_fields(kept.state, folded.state)) or "the row's content differs"


def _fields(kept: Any, folded: Any) -> list[str]:
    if not isinstance(kept, Value) or type(kept) is not type(folded):
        return [f"the row has {kept!r}"[:FIELD_COLUMNS]]
    pairs = [(each.name, getattr(kept, each.name), getattr(folded, each.name)) for each in fields(kept)]
    return [f"{name}: the row has {_short(mine)}, its events make {_short(theirs)}" for name, mine, theirs in pairs if mine != theirs]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= FIELD_COLUMNS else f"{text[:FIELD_COLUMNS]}..."
