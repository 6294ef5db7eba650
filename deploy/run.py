"""One replica of one service as a process: `python -m deploy.run SERVICE`, or `nervure run SERVICE`.

Exit codes: 0 drained after SIGTERM, 1 failed and may be started again, 2 configured wrongly, 3 a person must mend something first.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import structlog
import uvloop
from pydantic import ValidationError

from deploy.embedded import EmbeddedError, running_infrastructure
from deploy.errors import explain, settings_problems
from deploy.fleet import (
    KafkaFileUnfit,
    NoKafka,
    NoPostgres,
    PostgresFileUnfit,
    UnknownService,
    kafka_connection,
    load_service,
    service_dsn,
)
from shared.kernel.behind import DatabaseBehind
from shared.kernel.engine import TooManyQuarantines
from shared.kernel.kafka import MissingTopic
from shared.kernel.kafka_refusals import KafkaLoginRefused, KafkaNotTrusted
from shared.kernel.postgres import MigrationChanged
from shared.kernel.postgres_horizon import PublishGate
from shared.kernel.postgres_refusals import PostgresRefuses
from shared.kernel.replica import Replica, Running
from shared.settings import Settings

DRAINED, FAILED, MISCONFIGURED, NEEDS_A_PERSON = 0, 1, 2, 3
REFUSALS = (KafkaLoginRefused, KafkaNotTrusted, PostgresRefuses)
MISCONFIGURATIONS = (UnknownService, NoKafka, NoPostgres, KafkaFileUnfit, PostgresFileUnfit, *REFUSALS)
MENDED_BY_A_PERSON = (DatabaseBehind, MissingTopic, TooManyQuarantines, MigrationChanged)


def main(arguments: Sequence[str]) -> int:
    """The exit code; see above."""
    parser = argparse.ArgumentParser(prog="nervure run", description=__doc__)
    parser.add_argument("service")
    parser.add_argument("--replica", type=int, default=0)
    parser.add_argument("--until-stdin-closes", action="store_true", help="drain when the process that started this one is gone")
    asked = parser.parse_args(arguments)
    return serve(asked.service, asked.replica, until_stdin_closes=asked.until_stdin_closes)


def serve(service: str, replica: int = 0, *, until_stdin_closes: bool = False) -> int:
    """Run until SIGTERM or SIGINT, drain, return the exit code. What went wrong is said with its remedy on stderr."""
    try:
        settings = _with_servers(Settings())
        configure_logging(settings.log_level)
        runner = Replica(load_service(service), running(settings, service, replica))
    except ValidationError as error:
        return _say(MISCONFIGURED, settings_problems(error))
    except (*MISCONFIGURATIONS, EmbeddedError) as error:
        return _say(MISCONFIGURED, explain(error))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(_run(runner, until_stdin_closes))
    except REFUSALS as error:
        return _say(MISCONFIGURED, explain(error))
    except MENDED_BY_A_PERSON as error:
        return _say(NEEDS_A_PERSON, explain(error))
    except Exception as error:  # noqa: BLE001 - the last line of the process: said, and told by the exit code
        structlog.get_logger(service=service, replica=replica).exception("failed", action="exit")
        return _say(FAILED, explain(error))
    return DRAINED


def _with_servers(settings: Settings) -> Settings:
    """The servers the settings name, else those that run in the home. Raises NotRunning."""
    if settings.kafka is not None and settings.postgres is not None:
        return settings
    return with_views(settings, running_infrastructure(settings).applied_to(settings))


def with_views(asked: Settings, found: Settings) -> Settings:
    """Beside an embedded broker the views are kept in the home."""
    if asked.kafka is None and asked.views is None:
        return found.model_copy(update={"views": found.home / "views"})
    return found


def running(settings: Settings, service: str, replica: int) -> Running:
    """Where and as what this replica runs. Raises NoKafka, NoPostgres, KafkaFileUnfit, PostgresFileUnfit, UnknownService."""
    return Running(
        kafka=kafka_connection(settings),
        postgres=service_dsn(settings, service.replace("-", "_")),
        replica=replica,
        health_port=settings.health_port,
        health_host=settings.health_host,
        outbox_keep=timedelta(seconds=settings.outbox_keep_s),
        gate=publish_gate(settings),
        snapshot=settings.views / f"{service.replace('-', '_')}-{replica}.snapshot" if settings.views is not None else None,
        journal=settings.journal == "on",
    )


def publish_gate(settings: Settings) -> PublishGate:
    """As the settings name it."""
    names = tuple(name.strip() for name in settings.publish_gate_standbys.split(",") if name.strip())
    return PublishGate(settings.publish_gate, names)


async def _run(runner: Replica, until_stdin_closes: bool) -> None:
    loop = asyncio.get_running_loop()
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _drain_at_end_of_stdin, loop)
    runner.stop_on_signals()
    await runner.run()


def _drain_at_end_of_stdin(loop: asyncio.AbstractEventLoop) -> None:
    """The other end is held open by who started us, and by nobody else: its end is theirs."""
    if os.read(sys.stdin.fileno(), 1024) == b"":
        loop.remove_reader(sys.stdin.fileno())
        os.kill(os.getpid(), signal.SIGTERM)


def configure_logging(level: str) -> None:
    """One JSON object a line on stderr, for our own log and for that of the libraries."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def _say(code: int, text: str) -> int:
    with suppress(BrokenPipeError):
        print(text, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
