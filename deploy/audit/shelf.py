"""One service's database in the books, read again and again: what stands as it stood isn't parsed and folded a second time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from itertools import groupby
from typing import Any
from zlib import crc32

import asyncpg
from msgspec import DecodeError
from pydantic import ValidationError

from deploy.audit.books import NOTES, Books, Q, read_kernel
from deploy.audit.findings import Findings
from deploy.fleet import SERVICES, load_service
from deploy.reading import Snapshot, open_pool, snapshot
from deploy.rebuild import Folded, difference, digest_of_row, fold_rows
from shared.kernel.rows import RowCodec
from shared.settings import Settings

SLICES = 60
"""A row that doesn't change is parsed and folded again once in so many rounds."""
SLACK = 5_000
"""Numbers of the history that may have been given to transactions which had not committed when we looked last."""
UNREADABLE = (DecodeError, ValidationError)


class Shelf:
    """What is known of one service's rows from round to round: their digests, and which of them aren't what their events make."""

    def __init__(self, service: str, pool: asyncpg.Pool) -> None:
        self.service = service
        self.wrong: dict[tuple[str, str], str] = {}
        """By kind and id: how a row differs from its events, or why it can't be read."""
        self.rows = 0
        self.pool = pool
        self._stored: dict[str, dict[str, bytes]] = {kind.name: {} for kind in load_service(service).kinds}
        self._round = 0
        self._history = 0

    async def read(self, books: Books, overdue_before: datetime) -> None:
        """The database as it is now, all of it at one moment. Raises PostgresSilent; then the next read begins anew."""
        try:
            async with snapshot(self.pool, self.service) as now:
                await self._read(now, books, overdue_before)
        except BaseException:
            self._forget()
            raise
        self._round += 1

    def _forget(self) -> None:
        """What was read but not compared is read again; which rows there were is still known."""
        for known in self._stored.values():
            known.update(dict.fromkeys(known, b""))

    async def _read(self, now: Snapshot, books: Books, overdue_before: datetime) -> None:
        books.kernel[self.service] = await read_kernel(now, overdue_before)
        again = await self._to_look_at_again(now)
        self.rows = 0
        for kind in self._stored:
            fresh = await self._read_kind(now, books, kind, again.get(kind, set()))
            if kind == "level":
                await _read_level_changes(now, books, fresh)
            await self._fold(now, kind, fresh)
        for topic in (state.topic.name for state in load_service(self.service).states):
            books.marks[topic] = {row["id"]: (row["version"], row["off"]) for row in await now.fetch(Q["marks_of"], topic)}

    async def _to_look_at_again(self, now: Snapshot) -> dict[str, set[str]]:
        """By kind: rows with new events, and those that were wrong."""
        again: dict[str, set[str]] = {}
        for row in await now.fetch(Q["history_since"], self._history - SLACK) if self._history else ():
            again.setdefault(row["kind"], set()).add(row["id"])
        for kind, id in self.wrong:
            again.setdefault(kind, set()).add(id)
        self._history = (await now.fetch(Q["history_end"]))[0]["number"]
        return again

    async def _read_kind(self, now: Snapshot, books: Books, kind: str, again: Collection[str]) -> dict[str, bytes]:
        """Digest of each row that is new or has changed, whose turn it is, or that is gone (then empty), for comparing with its events."""
        known, codec, note = self._stored[kind], now.codecs[kind], NOTES.get((self.service, kind))
        fresh, there = dict.fromkeys(again, b""), set[str]()
        async for row in now.rows(kind):
            id = row["id"]
            there.add(id)
            stored = hashlib.blake2b(repr(tuple(row)).encode(), digest_size=12).digest()
            if known.get(id) == stored and id not in again and crc32(id.encode()) % SLICES != self._round % SLICES:
                continue
            known[id] = stored
            fresh[id] = self._note(books, codec, row, note)
        for id in known.keys() - there:
            del known[id]
            fresh[id] = b""
        if note is not None:
            for id in fresh.keys() - there:
                note(books, id, 0, None)
        self.rows += len(there)
        return fresh

    def _note(self, books: Books, codec: RowCodec, row: Any, note: Any) -> bytes:
        try:
            state = codec.parse(row)
            if note is not None:
                note(books, row["id"], row["version"], state)
        except UNREADABLE:
            return b"unreadable"
        return digest_of_row(Folded(row["version"], state))

    async def _fold(self, now: Snapshot, kind: str, fresh: dict[str, bytes]) -> None:
        """Compare these rows with what their events make: by digest, and by value where those differ (sets have no order)."""
        if not fresh:
            return
        ids = list(fresh)
        codec, left = now.codecs[kind], dict(fresh)
        rows: list[Any] = []
        async for row in now.stream(Q["history_of"], kind, ids):
            if rows and rows[0]["id"] != row["id"]:
                _strike(codec, rows, left)
                rows = []
            rows.append(row)
        if rows:
            _strike(codec, rows, left)
        for id in ids:
            self.wrong.pop((kind, id), None)
        suspects = [id for id, digest in left.items() if digest]
        for id, detail in (await self._differences(now, codec, suspects)).items():
            self.wrong[kind, id] = detail

    async def _differences(self, now: Snapshot, codec: RowCodec, ids: list[str]) -> dict[str, str]:
        if not ids:
            return {}
        found: dict[str, str] = {}
        history = groupby(await now.fetch(Q["history_of"], codec.kind.name, ids), key=lambda row: str(row["id"]))
        events = {id: list(rows) for id, rows in history}
        kept = {row["id"]: row for row in await now.fetch(codec.find_sql, ids)}
        for id in ids:
            try:
                row = Folded(kept[id]["version"], codec.parse(kept[id])) if id in kept else None
                detail = difference(row, fold_rows(codec.kind, codec, id, events.get(id, ())))
            except UNREADABLE as error:
                detail = f"it can't be read: {error}"
            if detail:
                found[id] = detail
        return found


def _strike(codec: RowCodec, rows: list[Any], left: dict[str, bytes]) -> None:
    """Take out of `left` what is as its events make it; a row that is not there and should be is marked."""
    id = str(rows[0]["id"])
    try:
        folded = fold_rows(codec.kind, codec, id, rows)
    except UNREADABLE:
        left[id] = b"unreadable"
        return
    if (digest_of_row(folded) if folded is not None else b"") == left.get(id, b""):
        left.pop(id, None)
    else:
        left[id] = left.get(id) or b"missing"


async def _read_level_changes(now: Snapshot, books: Books, fresh: Collection[str]) -> None:
    for id in fresh:
        books.level_changes.pop(id, None)
    for row in await now.fetch(Q["level_changes"], list(fresh)) if fresh else ():
        books.level_changes.setdefault(row["id"], {})[row["figure"]] = int(row["units"])


async def open_shelves(settings: Settings) -> list[Shelf]:
    """All five databases, for who closes them. Raises NoDatabase, PostgresSilent."""
    pools: dict[str, asyncpg.Pool] = {}
    try:
        for service in SERVICES:
            pools[service] = await open_pool(settings, service)
    except BaseException:
        for pool in pools.values():
            pool.terminate()
        raise
    return [Shelf(service, pool) for service, pool in pools.items()]


async def close_shelves(shelves: Collection[Shelf]) -> None:
    for shelf in shelves:
        shelf.pool.terminate()


def note_wrong(shelves: Collection[Shelf], found: Findings) -> None:
    """What differs from its events, as the check says it."""
    for shelf in shelves:
        found.saw(shelf.rows)
        for (kind, id), detail in shelf.wrong.items():
            found.wrong(shelf.service, f"{kind} {id}", detail)
