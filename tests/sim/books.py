"""The audit's books and ledger, read from the databases and topics in memory: what it asks Postgres in SQL is answered here in Python."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deploy.audit import books as audit_books
from deploy.audit import ledger as audit_ledger
from deploy.audit.books import Books
from deploy.audit.ledger import READ_WHOLE, Ledger
from deploy.fleet import SERVICES
from schemas.topics import BY_NAME
from shared.kernel.memory_log import Broker
from shared.kernel.memory_tables import Database
from shared.kernel.ports import TopicPartition

OVERDUE = timedelta(seconds=60)


@dataclass(frozen=True)
class MemoryBooks:
    """As much of a database's snapshot as the kernel's books need."""

    database: Database

    async def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        return _ANSWERS[sql](self.database, *arguments)


def _lanes_out(database: Database) -> list[dict[str, Any]]:
    return [
        {"topic": at.topic, "partition": at.partition, "incarnation": head.incarnation, "seq": head.seq}
        for at, head in _sorted(database, "lane_out")
        if at.topic in BY_NAME
    ]


def _lanes_in(database: Database) -> list[dict[str, Any]]:
    return [
        {"topic": at.topic, "partition": at.partition, "service": lane.service, "incarnation": lane.incarnation, "seq": seq}
        for (at, lane), seq in _sorted(database, "lane_in")
    ]


def _positions(database: Database) -> list[dict[str, Any]]:
    return [{"topic": at.topic, "partition": at.partition, "next": position.next} for at, position in _sorted(database, "position")]


def _quarantined(database: Database) -> list[dict[str, Any]]:
    return [{"kind": key.kind, "id": key.id, "reason": reason} for key, reason in _sorted(database, "quarantine")]


def _parked(database: Database) -> list[dict[str, Any]]:
    return [
        {
            "number": row.number,
            "status": row.status,
            "topic": row.parked.record.topic,
            "partition": row.parked.record.partition,
            "off": row.parked.record.offset,
            "reason": row.reason,
        }
        for _, row in _sorted(database, "parked")
    ]


def _spooled(database: Database) -> list[dict[str, Any]]:
    return [
        {"topic": at.topic, "partition": at.partition, "service": lane.service, "incarnation": lane.incarnation, "seq": seq}
        for ((at, lane), seq), _ in _sorted(database, "spool")
    ]


def _kept(database: Database) -> list[dict[str, Any]]:
    rows = (kept.row for _, kept in _sorted(database, "kept"))
    return [{"kind": row.key.kind, "id": row.key.id, "until": row.until, "topic": row.record.topic} for row in rows]


def _timers_overdue(database: Database, before: datetime, limit: int) -> list[dict[str, Any]]:
    due = [timer for timer in database.table("timer").values() if timer.due < before]
    return [{"kind": timer.key.kind, "id": timer.key.id, "name": timer.name, "due": timer.due} for timer in due[:limit]]


def _level_changes(database: Database) -> dict[str, dict[str, int]]:
    """By level: the sum of all changes of each figure in its history."""
    sums: dict[str, dict[str, int]] = {}
    for entry in database.table("history").values():
        if entry.key.kind == "level" and entry.type:
            level = sums.setdefault(entry.key.id, {})
            for figure, units in (getattr(entry.event, "change", None) or {}).items():
                level[figure] = level.get(figure, 0) + units
    return sums


def _sorted(database: Database, table: str) -> list[tuple[Any, Any]]:
    return sorted(database.table(table).items(), key=lambda entry: entry[0])


Q = audit_books.Q
_ANSWERS: Mapping[str, Callable[..., list[dict[str, Any]]]] = {
    Q["lanes_out"]: _lanes_out,
    Q["lanes_in"]: _lanes_in,
    Q["positions"]: _positions,
    Q["quarantined_rows"]: _quarantined,
    Q["parked_places"]: _parked,
    Q["spooled_records"]: _spooled,
    Q["kept"]: _kept,
    Q["timers_overdue"]: _timers_overdue,
}


def read_books(databases: Mapping[str, Database], now: datetime) -> Books:
    """What the five databases keep."""
    books = Books(now)
    for name in SERVICES:
        snapshot: Any = MemoryBooks(databases[name])
        books.kernel[name] = at_once(audit_books.read_kernel(snapshot, now - OVERDUE))
        for (topic, id), shown in _sorted(databases[name], "published"):
            books.marks.setdefault(topic, {})[id] = (shown.version, shown.offset)
    for (name, kind), note in audit_books.NOTES.items():
        for id, row in _sorted(databases[name], f"state.{kind}"):
            note(books, str(id), row.version, row.state)
    books.level_changes = _level_changes(databases["inventory"])
    return books


def read_ledger(broker: Broker) -> Ledger:
    """What the topics hold."""
    partitions = broker.topics()
    at = [TopicPartition(topic.name, p) for topic in READ_WHOLE for p in range(partitions[topic.name])]
    held = {one: broker.partition(one) for one in at}
    ledger = Ledger({one: each.end for one, each in held.items()}, {one: each.begin for one, each in held.items()})
    for each in held.values():
        for record in each.records:
            ledger.records += 1
            audit_ledger._note(ledger, record)
    ledger.note_caught_up()
    return ledger


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
