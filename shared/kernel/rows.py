"""How the rows of a kind are stored: as a JSON document, or in typed columns. Makes the SQL and the values of both."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import compress
from operator import attrgetter, is_not
from typing import Any

from msgspec.json import Decoder
from msgspec.structs import astuple, fields

from shared.kernel.model import Kind
from shared.kernel.ports import RowChange
from shared.kernel.short import Stored
from shared.value import Value, decoder, encode

MAX_DOCUMENT_BYTES = 512_000
JSON = ("json", "jsonb")
"""Documents are `json`: kept as the text they come as, which costs half of what `jsonb` does to write, and a quarter to read."""
HEAD = {"id": "text", "version": "bigint", "owner": "text", "rank": "text"}
"""The columns that every kind has, and their types."""
BASE = {"base": "bigint"}
"""What comes with the rows that are changed: the version each had."""
_PLAIN: dict[Any, str] = {int: "bigint", str: "text", bool: "boolean", datetime: "timestamptz", date: "date"}


class DocumentTooLarge(Exception):
    """A row's document would exceed 512 kB. Remedy: the order has too many lines or facts; split it at the channel."""


class Column(Value, frozen=True):
    """One field of a typed row."""

    name: str
    sql_type: str
    decoder: Decoder[Any] | None
    """Set where the field is stored as JSON."""

    def dump(self, value: Any) -> Any:
        return encode(value).decode() if self.decoder is not None else value

    def values(self, states: Sequence[Any]) -> list[Any]:
        """What is written of these rows."""
        values = map(attrgetter(self.name), states)
        return list(map(self.dump, values)) if self.decoder is not None else list(values)


class RowCodec:
    """Everything the store needs to know about one kind."""

    def __init__(self, kind: Kind[Any]) -> None:
        self.kind = kind
        self.table = f'state."{kind.name}"'
        self._state = Stored(kind.state, kind.told)
        self._events = {event.__name__: Stored(event, kind.named) for event in kind.events}
        self.columns = _columns(kind.state) if kind.typed else ()
        self._decoders = [(index, column.decoder.decode) for index, column in enumerate(self.columns) if column.decoder is not None]
        self.names = tuple(column.name for column in self.columns) if kind.typed else ("doc",)
        self._types = {column.name: column.sql_type for column in self.columns} if kind.typed else {"doc": "json"}
        asked = (*(("owner", "rank") if kind.told is not None else ()), *self.names)
        self.select = ", ".join(f'"{name}"' for name in asked)
        self.select_r = ", ".join(f'r."{name}"' for name in asked)
        self._build()

    def _build(self) -> None:
        self.find_sql = f"SELECT id, version, {self.select} FROM {self.table} WHERE id = ANY($1::text[])"
        self.slice_sql = (
            f"SELECT o.owner AS of, r.id, r.version, {self.select_r} FROM unnest($1::text[], $2::int[]) AS o(owner, n), "
            f"LATERAL (SELECT * FROM {self.table} s WHERE s.owner = o.owner ORDER BY s.rank, s.id LIMIT o.n) r"
        )
        self.scan_sql = f"SELECT id, version, {self.select} FROM {self.table} WHERE id > $1 ORDER BY id LIMIT $2"
        self.dirty_sql = (
            f"SELECT r.id, r.version, {self.select_r} FROM {self.table} r "
            f"LEFT JOIN kernel.published p ON p.topic = $1 AND p.id = r.id "
            f"WHERE r.id > $2 AND p.version IS DISTINCT FROM r.version ORDER BY r.id LIMIT $3"
        )

    def table_sql(self) -> str:
        """The table of a document kind; typed kinds bring their own by migration."""
        if self.kind.typed:
            return ""
        owned = self.kind.owner is not None
        index = f'CREATE INDEX IF NOT EXISTS "{self.kind.name}_owner" ON {self.table} (owner, rank, id) WHERE owner IS NOT NULL;'
        return (
            f"CREATE TABLE IF NOT EXISTS {self.table} (id text PRIMARY KEY, version bigint NOT NULL CHECK (version > 0), "
            f'doc json, owner text, rank text COLLATE "C") WITH (fillfactor = 80);\n' + (index if owned else "")
        )

    def load_sql(self, first: int) -> str:
        """The rows whose ids come as an array at this placeholder. Those of all document kinds have the same columns."""
        names = self.select if self.kind.typed else f"{'owner, rank' if self.kind.told is not None else 'NULL AS owner, NULL AS rank'}, doc"
        return f"SELECT id, version, {names} FROM {self.table} WHERE id = ANY(${first}::text[])"

    def insert_sql(self, names: Sequence[str], first: int) -> str:
        """Makes rows of what comes as arrays, from this placeholder on: `head`, then these columns."""
        values = "".join(f", {self._cast(name)}" for name in names)
        return (
            f"INSERT INTO {self.table} ({', '.join([*HEAD, *map(_quoted, names)])}) "
            f"SELECT u.id, u.version, u.owner, u.rank{values} FROM {self._source(HEAD, names, first=first)} WHERE true"
        )

    def update_sql(self, names: Sequence[str], first: int) -> str:
        """Writes these columns; behind them come the versions the rows had."""
        sets = "".join(f", {_quoted(name)} = {self._cast(name)}" for name in names)
        return (
            f"UPDATE {self.table} t SET version = u.version, owner = u.owner, rank = u.rank{sets} "
            f"FROM {self._source(HEAD, names, BASE, first=first)} WHERE t.id = u.id AND t.version = u.base"
        )

    def delete_sql(self, first: int) -> str:
        """Removes rows, by their ids and the versions they had."""
        return f"DELETE FROM {self.table} t USING {self._source(('id',), BASE, first=first)} WHERE t.id = u.id AND t.version = u.base"

    def _source(self, *names: Iterable[str], first: int) -> str:
        """Arrays of these columns, as rows."""
        columns = [name for some in names for name in some]
        arrays = ", ".join(f"${place}::{self._array(name)}[]" for place, name in enumerate(columns, start=first))
        return f"unnest({arrays}) AS u({', '.join(map(_quoted, columns))})"

    def _array(self, name: str) -> str:
        kind = {**HEAD, **BASE, **self._types}[name]
        return "text" if kind in JSON else kind

    def _cast(self, name: str) -> str:
        return f"u.{_quoted(name)}::{self._types[name]}" if self._types[name] in JSON else f"u.{_quoted(name)}"

    def head(self, changes: Sequence[RowChange]) -> list[list[Any]]:
        """Of the columns named HEAD."""
        owner, rank = self.kind.owner, self.kind.rank
        return [
            [change.key.id for change in changes],
            [change.version for change in changes],
            [owner(c.state) if owner is not None and c.state is not None else None for c in changes],
            [rank(c.state) if rank is not None and c.state is not None else None for c in changes],
        ]

    def values(self, changes: Sequence[RowChange], names: Sequence[str]) -> list[list[Any]]:
        """Of these columns."""
        if not self.kind.typed:
            return [[None if change.empty else self.dump(change.state) for change in changes]]
        states = [change.state for change in changes]
        return [column.values(states) for column in self.columns if column.name in names]

    def differing(self, changes: Sequence[RowChange]) -> tuple[str, ...]:
        """The columns in which a row isn't what was loaded: of thirty, a reservation changes three."""
        if not self.kind.typed or any(change.before is None for change in changes):
            return self.names
        found: set[str] = set()
        for change in changes:
            found.update(compress(self.names, map(is_not, astuple(change.before), astuple(change.state))))
        return tuple(name for name in self.names if name in found)

    def dump(self, state: Any) -> str:
        text = self._state.dump(state)
        if len(text) > MAX_DOCUMENT_BYTES:
            raise DocumentTooLarge(f"{self.kind.name}: {len(text)} bytes, at most {MAX_DOCUMENT_BYTES}")
        return text.decode()

    def parse(self, record: Any) -> Any:
        """The state of a selected row; None where the row is empty."""
        if not self.kind.typed:
            doc = record["doc"]
            if self.kind.told is None or doc is None:
                return None if doc is None else self._state.parse(doc)
            return self._state.parse(doc, record["id"], record["owner"], record["rank"])
        values = [*record.values()][-len(self.columns) :]  # they come last, in the order of the fields
        for index, decode in self._decoders:
            values[index] = decode(values[index]) if values[index] is not None else None
        return self.kind.state(*values)

    def dump_event(self, event: Any) -> str:
        return self._events[type(event).__name__].dump(event).decode()

    def parse_event(self, name: str, doc: str, id: str, at: datetime) -> Any:
        """An event that happened to the row with this id, at this time."""
        return self._events[name].parse(doc, id, at)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _columns(state: type) -> tuple[Column, ...]:
    hints = typing.get_type_hints(state)
    return tuple(_column(field.name, hints[field.name]) for field in fields(state))


def _column(name: str, hint: Any) -> Column:
    bare = hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        bare = options[0] if len(options) == 1 else hint
    if bare in _PLAIN:
        return Column(name, _PLAIN[bare], None)
    return Column(name, "jsonb", decoder(hint))
