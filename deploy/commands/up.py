"""`nervure up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import psutil
import typer
from rich.live import Live
from rich.table import Table

from deploy.commands.printing import Json, is_terminal, page, plain, print_json_line, remarks
from deploy.errors import Explained
from deploy.fleet import SERVICES, service_name
from deploy.health import metrics
from deploy.supervisor import Replica, System
from shared.settings import Settings

REFRESH_S = 1.0
MOST_REPLICAS = 64


class ReplicasUnfit(Explained):
    """`--replicas {text}` says nothing. Write a service and a number from 1 to 64, `--replicas sourcing=2`, once for each service."""


def up(
    replicas: Annotated[list[str] | None, typer.Option(help="Processes of a service, `sourcing=2`; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """Start broker and database if needed, create the topics, run and supervise all services until Ctrl-C."""
    began = time.monotonic()
    counts = replica_counts(replicas or [])
    system = System(Settings(), counts, on_change=_tell_json if json else _tell)
    with _ended_by(signal.default_int_handler):
        try:
            system.start()
            system.wait_ready()
            _tell_ready(system, time.monotonic() - began, json)
            _stay(system, json)
        except KeyboardInterrupt:
            remarks.print("Draining; services first, then the servers started here.")
        finally:
            with _ended_by(signal.SIG_IGN):
                system.stop()
    remarks.print("Stopped. All data stays in the home; `nervure up` goes on where this ended.")


@contextmanager
def _ended_by(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Ctrl-C and SIGTERM do the same meanwhile: interrupt, or nothing, so that nobody cuts the draining off."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def replica_counts(texts: list[str]) -> Mapping[str, int]:
    """`["sourcing=2", "returns=1,inventory=2"]` as numbers by service. Raises ReplicasUnfit, UnknownService."""
    counts: dict[str, int] = {}
    for text in ",".join(texts).split(",") if texts else []:
        name, _, number = text.partition("=")
        if not number.isdecimal() or not 0 < int(number) <= MOST_REPLICAS:
            raise ReplicasUnfit(text=text)
        counts[service_name(name.strip())] = int(number)
    return counts


def _tell(line: str) -> None:
    remarks.print(f"{datetime.now(UTC):%H:%M:%S} {line}", markup=False)


def _tell_json(line: str) -> None:
    replica, _, what = line.partition(": ")
    print_json_line({"at": datetime.now(UTC), "replica": replica, "what": what})


def _tell_ready(system: System, seconds: float, json: bool) -> None:
    replicas = system.replicas()
    if json:
        print_json_line({"at": datetime.now(UTC), "ready": True, "replicas": [each.model_dump(mode="json") for each in replicas]})
        return
    plain(f"Ready after {seconds:.1f} s: {len(replicas)} processes of {len(SERVICES)} services; Kafka at {system.settings.kafka}.")
    plain(f"Logs: {system.settings.home / 'logs'}. Try `nervure send FILE`, `nervure watch`, `nervure audit`. Ctrl-C drains and stops.")


def _stay(system: System, json: bool) -> None:
    if json or not is_terminal():
        while True:
            time.sleep(REFRESH_S)
    with Live(_table(system), console=page, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(_table(system), refresh=True)


def _table(system: System) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("service")
    table.add_column("state")
    for column in ("pid", "restarts", "lag", "inputs", "outbox", "dead letters", "MB"):
        table.add_column(column, justify="right")
    for replica in system.replicas():
        table.add_row(replica.name, replica.state, str(replica.pid or ""), str(replica.restarts), *_figures(replica))
    return table


def _figures(replica: Replica) -> tuple[str, ...]:
    found = metrics(replica.health_port) if replica.pid else {}
    names = ("lag_records", "inputs_total", "outbox_unsent", "stored_dead_letters")
    return *(f"{found[name]:,.0f}" if name in found else "" for name in names), _memory(replica.pid)


def _memory(pid: int | None) -> str:
    try:
        return f"{psutil.Process(pid).memory_info().rss / 1e6:.0f}" if pid else ""
    except psutil.NoSuchProcess:
        return ""
