"""Dead letters and quarantined inputs of all services: reading them, and deciding about them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.errors import Explained
from deploy.fleet import SERVICES, service_name
from deploy.reading import NoDatabase, database
from shared.kernel.ports import Record
from shared.kernel.postgres import PostgresStore
from shared.kernel.sql import queries
from shared.settings import Settings

Q = queries(Path(__file__).with_name("queries.sql"))
OPEN = ("dead", "quarantined", "replay")
ALL = (*OPEN, "replayed", "discarded")


class NoSuchLetter(Explained):
    """There is no dead letter {name}. `nervure dlq list --all` lists them, with their names."""


class AmbiguousLetter(Explained):
    """Several services have a dead letter {name}: {names}. Name one of these."""


class NothingToDo(Explained):
    """The dead letter {name} is {status} already: there is nothing to {action}."""


class NotItsTurn(Explained):
    """{name} waits behind {earlier}, which concerns the same rows: their inputs run in order. Replay or discard {earlier} first."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One parked input."""

    service: str
    number: int
    status: str
    """dead: alone. quarantined: its rows wait for it. replay: asked for. replayed, discarded: over."""
    reason: str
    detail: str
    at: datetime
    record: Record
    waits_for: tuple[str, ...]
    """Rows (`<kind> <id>`) that wait."""

    @property
    def name(self) -> str:
        return f"{self.service}/{self.number}"

    @property
    def type(self) -> str:
        if self.record.topic.startswith("~"):
            return "timer"
        return (dict(self.record.headers).get("ce_type") or b"?").decode(errors="replace").removeprefix("nervure.")

    @property
    def key(self) -> str:
        return (self.record.key or b"").decode(errors="replace")

    def as_json(self) -> dict[str, Any]:
        record = self.record
        return {
            "name": self.name,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
            "at": self.at,
            "type": self.type,
            "key": self.key,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "appended_at": datetime.fromtimestamp(record.appended_ms / 1000, UTC),
            "waits_for": list(self.waits_for),
            "headers": {name: (value or b"").decode(errors="replace") for name, value in record.headers},
            "value": (record.value or b"").decode(errors="replace"),
        }


async def letters(settings: Settings, statuses: Sequence[str] = OPEN) -> list[Letter]:
    """Those of all services that have a database."""
    return [letter async for store, service in _stores(settings) for letter in await _letters(store, service, statuses)]


async def letter_named(settings: Settings, name: str) -> Letter:
    """The letter called `sourcing/12`, or `12` where only one service has such. Raises NoSuchLetter, AmbiguousLetter, UnknownService."""
    service, _, number = name.rpartition("/")
    if not number.isdecimal():
        raise NoSuchLetter(name=name)
    services = (service_name(service),) if service else SERVICES
    found = [letter for letter in await letters(settings, ALL) if letter.number == int(number) and letter.service in services]
    if not found:
        raise NoSuchLetter(name=name)
    if len(found) > 1:
        raise AmbiguousLetter(name=name, names=", ".join(letter.name for letter in found))
    return found[0]


async def replay(settings: Settings, letter: Letter) -> list[Letter]:
    """Ask the service to run it again, with all that waits behind it; returns them in order. Raises NothingToDo, NotItsTurn."""
    _check_open(letter, "replay")
    async with database(settings, letter.service) as store:
        everything = await _letters(store, letter.service, ("quarantined", "replay"))
        _check_turn(letter, everything)
        behind = [letter, *_behind(letter, everything)]
        await store.fetch(Q["replay"], [one.number for one in behind])
    return behind


async def discard(settings: Settings, letter: Letter) -> None:
    """Decide that it shall have no effect; what waited only behind it goes on at its next replay. Raises NothingToDo, NotItsTurn."""
    _check_open(letter, "discard")
    keys = [(kind, row_id) for kind, _, row_id in (row.partition(" ") for row in letter.waits_for)]
    async with database(settings, letter.service) as store, store.begin() as transaction:
        rows = [kind for kind, _ in keys], [row_id for _, row_id in keys]
        await transaction.connection.fetch(Q["lock_marks_of"], *rows)
        if not await transaction.connection.fetch(Q["discard"], letter.number):
            raise NothingToDo(name=letter.name, status="decided", action="discard")
        await transaction.connection.execute(Q["lift_of"], *rows)


async def status_of(settings: Settings, letter: Letter) -> str:
    """What has become of it by now."""
    async with database(settings, letter.service) as store:
        rows = await store.fetch(Q["parked_one"], letter.number)
    return str(rows[0]["status"]) if rows else "discarded"


def waiting_behind(letter: Letter, others: Sequence[Letter]) -> list[Letter]:
    """Open letters of its service that wait for it, or for one that waits for it, in order."""
    return _behind(letter, [other for other in others if other.service == letter.service and other.status == "quarantined"])


def _behind(letter: Letter, others: Sequence[Letter]) -> list[Letter]:
    rows, found = set(letter.waits_for), []
    for other in sorted(others, key=lambda one: one.number):
        if other.number > letter.number and rows.intersection(other.waits_for):
            rows |= set(other.waits_for)
            found.append(other)
    return found


def _check_open(letter: Letter, action: str) -> None:
    if letter.status not in OPEN:
        raise NothingToDo(name=letter.name, status=letter.status, action=action)


def _check_turn(letter: Letter, others: Sequence[Letter]) -> None:
    earlier = [o for o in others if o.number < letter.number and o.status == "quarantined" and set(o.waits_for) & set(letter.waits_for)]
    if earlier:
        raise NotItsTurn(name=letter.name, earlier=earlier[0].name)


async def _stores(settings: Settings) -> AsyncIterator[tuple[PostgresStore, str]]:
    for service in SERVICES:
        try:
            async with database(settings, service) as store:
                yield store, service
        except NoDatabase:
            continue


async def _letters(store: PostgresStore, service: str, statuses: Sequence[str]) -> list[Letter]:
    return [_letter(service, row) for row in await store.fetch(Q["parked"], list(statuses))]


def _letter(service: str, row: Mapping[str, Any]) -> Letter:
    headers = tuple((name, bytes.fromhex(value) if value is not None else None) for name, value in json.loads(row["headers"]))
    record = Record(row["topic"], row["partition"], row["off"], row["appended_ms"], row["key"], row["value"], headers)
    return Letter(service, row["number"], row["status"], row["reason"], row["detail"], row["at"], record, tuple(row["waits_for"]))
