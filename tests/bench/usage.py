"""CPU and memory of everything that runs: services, broker, database (in all, and by the service whose database it works on), the load."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import asyncpg
import psutil

from deploy.embedded import Embedded
from deploy.fleet import SERVICES
from deploy.health import metrics
from shared.settings import database_name
from tests.bench.ground import Ground

BROKER, DATABASE, LOAD = "kafka", "postgres", "load"
BACKENDS = "SELECT pid, datname FROM pg_stat_activity WHERE datname IS NOT NULL"


class Work(NamedTuple):
    """What the loop of one service has done: transactions, inputs, and how long a transaction took from its begin to its commit."""

    batches: float
    inputs: float
    seconds: float


async def cpu_s(ground: Ground) -> dict[str, float]:
    """CPU seconds so far of each service, `kafka`, `postgres` and the `load` itself; `postgres/<service>` are the sessions of one database,
    which are part of `postgres`."""
    found: dict[str, float] = {}
    for one in ground.system.replicas():
        if one.pid:
            found[one.service] = found.get(one.service, 0.0) + _cpu_s(one.pid)
    for server in Embedded.of(ground.settings).status().servers:
        if server.pid is not None:
            found[server.server.lower()] = _cpu_s(server.pid)
    return found | {LOAD: time.process_time()} | await _by_database(ground)


async def _by_database(ground: Ground) -> dict[str, float]:
    connection = await asyncpg.connect(ground.postgres)
    try:
        backends = await connection.fetch(BACKENDS)
    finally:
        await connection.close()
    owners = {database_name(service): service for service in SERVICES}
    found: dict[str, float] = {}
    for row in backends:
        if row["datname"] in owners:
            name = f"{DATABASE}/{owners[row['datname']]}"
            found[name] = found.get(name, 0.0) + _cpu_s(row["pid"])
    return found


def spent_ms(before: Mapping[str, float], after: Mapping[str, float], orders: int) -> dict[str, float]:
    """Milliseconds an order, of what was there before."""
    return {name: 1000 * (after[name] - before[name]) / max(1, orders) for name in before if name in after}


def work(ground: Ground) -> dict[str, Work]:
    """Of each service, over all its replicas."""
    found: dict[str, Work] = {}
    for one in ground.system.replicas():
        told = metrics(one.health_port)
        mine = Work(told.get("batches_total", 0.0), told.get("inputs_total", 0.0), told.get("batch_seconds_total", 0.0))
        found[one.service] = Work(*map(sum, zip(found.get(one.service, Work(0.0, 0.0, 0.0)), mine, strict=True)))
    return found


def done_between(before: Mapping[str, Work], after: Mapping[str, Work]) -> dict[str, Work]:
    return {name: Work(*(b - a for a, b in zip(before[name], after[name], strict=True))) for name in after}


def peak_mb(ground: Ground) -> dict[str, int]:
    """Peak resident memory of each service, in MB; of its replicas the largest."""
    found: dict[str, int] = {}
    for one in ground.system.replicas():
        mb = int(metrics(one.health_port).get("resident_bytes_peak", 0) / 1e6)
        found[one.service] = max(mb, found.get(one.service, 0))
    return found


def resident_bytes(ground: Ground) -> dict[str, int]:
    """Resident memory of each service now; of its replicas the sum."""
    found: dict[str, int] = {}
    for one in ground.system.replicas():
        if one.pid:
            with suppress(psutil.NoSuchProcess):
                found[one.service] = found.get(one.service, 0) + psutil.Process(one.pid).memory_info().rss
    return found


def _cpu_s(pid: int) -> float:
    """Of a process, its children that live and those it has seen end; 0 where it is gone."""
    try:
        process = psutil.Process(pid)
        own = process.cpu_times()
        living = [child.cpu_times() for child in process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return own.user + own.system + own.children_user + own.children_system + sum(one.user + one.system for one in living)


def inputs(port: int) -> float:
    """What one process has taken in so far."""
    return metrics(port).get("inputs_total", 0.0)
