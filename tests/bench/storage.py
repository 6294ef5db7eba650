"""Bytes on disk: of each topic, of each table with its indexes, of the home."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from deploy.embedded.postgres import Postgres
from deploy.embedded.state import load
from deploy.fleet import SERVICES, service_dsn
from tests.bench import usage
from tests.bench.ground import Ground

TABLES = """
SELECT n.nspname || '.' || coalesce(whole.relname, c.relname) AS name, sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class whole ON whole.oid = i.inhparent
WHERE c.relkind = 'r' AND n.nspname IN ('kernel', 'state') GROUP BY 1 ORDER BY 1
"""
"""Partitions count for their table; indexes and long values are in."""
TIDINESS = """
SELECT coalesce(sum(n_dead_tup), 0)::bigint AS dead_rows, coalesce(sum(autovacuum_count), 0)::bigint AS vacuums FROM pg_stat_user_tables
"""
COUNT = "SELECT count(*) FROM {table}"

Bytes = dict[str, int]
Taken = tuple[Bytes, Bytes, Bytes]
"""Of topics, of tables, of the processes' memory."""


async def stock_taking(ground: Ground) -> Taken:
    topics = await asyncio.to_thread(topic_bytes, ground)
    return topics, await table_bytes(ground), usage.resident_bytes(ground)


def topic_bytes(ground: Ground) -> Bytes:
    """What the broker's segments hold of each topic, over its partitions; indexes are left out."""
    found: Bytes = {}
    for folder in (ground.settings.home / "kafka" / "data").iterdir():
        topic, _, partition = folder.name.rpartition("-")
        if partition.isdigit() and folder.is_dir():
            found[topic] = found.get(topic, 0) + sum(_size(segment) for segment in folder.glob("*.log"))
    return found


async def table_bytes(ground: Ground) -> Bytes:
    """Of each table, as `<service>/<table>`."""
    found: Bytes = {}
    for service in SERVICES:
        for row in await _fetch(ground, service, TABLES):
            found[f"{service}/{row['name']}"] = row["bytes"]
    return found


async def tidiness(ground: Ground) -> dict[str, dict[str, int]]:
    """By service: rows that are dead and still take room, and how often tables were vacuumed."""
    return {service: dict((await _fetch(ground, service, TIDINESS))[0]) for service in SERVICES}


async def rows(ground: Ground, service: str, table: str) -> int:
    return int((await _fetch(ground, service, COUNT.format(table=table)))[0]["count"])


def disk_bytes(ground: Ground) -> Bytes:
    """`topics`: what the broker keeps; `database`: tables, indexes and write-ahead log; `rest`: logs and the like."""
    home, state = ground.settings.home, load(ground.settings.home)
    assert state is not None, "the home has no servers"
    topics, database = home / "kafka", Postgres(home).data(state)
    outside = 0 if database.is_relative_to(home) else _folder(database)
    inside = {"topics": _folder(topics), "database": outside or _folder(database)}
    return inside | {"rest": _folder(home) + outside - sum(inside.values())}


def grown(before: Mapping[str, int], after: Mapping[str, int], by: int) -> dict[str, float]:
    """Bytes for each of so many, where any were added."""
    each = {name: (size - before.get(name, 0)) / max(1, by) for name, size in after.items()}
    return {name: round(size, 1) for name, size in sorted(each.items()) if size}


async def _fetch(ground: Ground, service: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(service_dsn(ground.settings, service))
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


def _folder(folder: Path) -> int:
    """What it takes on the disk; files may go meanwhile."""
    return sum(_blocks(path) for path in folder.rglob("*"))


def _blocks(path: Path) -> int:
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
