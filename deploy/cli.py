"""`nervure`: the command line. Each command is a module in deploy/commands; here is only their list.

Exit codes: 0 done, 1 failed or found something wrong, 2 asked or configured wrongly, 3 nothing runs here (`run`: a person must mend
something), 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from deploy.commands import dlq, lanes, topics
from deploy.commands.audit import audit_system
from deploy.commands.printing import remarks
from deploy.commands.rebuild import rebuild_service
from deploy.commands.repair import repair_system
from deploy.commands.send import send
from deploy.commands.status import status
from deploy.commands.trace import trace
from deploy.commands.up import ReplicasUnfit, up
from deploy.commands.watch import watch
from deploy.demo.command import demo
from deploy.embedded import EmbeddedError, NotRunning
from deploy.errors import Explained, explain, is_about_settings
from deploy.run import MISCONFIGURATIONS, serve
from deploy.supervisor import NotUp
from shared.kernel.behind import DatabaseBehind
from shared.kernel.journal import JournalUnreadable
from shared.kernel.kafka import MissingTopic
from shared.kernel.ports import ProduceFailed, Transient
from shared.kernel.reconcile import JournalUnfit, NoJournal
from shared.kernel.republish import RowsExpired

FAILED, ASKED_WRONGLY, NOTHING_RUNS, INTERRUPTED = 1, 2, 3, 130
WRONGLY = (*MISCONFIGURATIONS, ReplicasUnfit)
UNREPAIRED = (DatabaseBehind, JournalUnfit, JournalUnreadable, NoJournal)
EXPECTED = (Explained, EmbeddedError, MissingTopic, ProduceFailed, RowsExpired, Transient, KafkaError, OSError, *UNREPAIRED)

app = typer.Typer(
    name="nervure",
    help="Nervure, an open, event-driven order management system.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    add_completion=False,
)
app.command()(up)
app.command()(demo)
app.command()(send)
app.command()(status)
app.command()(trace)
app.command()(watch)
app.command(name="audit")(audit_system)
app.command(name="rebuild")(rebuild_service)
app.command(name="repair")(repair_system)
app.add_typer(lanes.app, name="lanes")
app.add_typer(dlq.app, name="dlq")
app.add_typer(topics.app, name="topics")


@app.command()
def run(
    service: Annotated[str, typer.Argument(help="order_capture, inventory, sourcing, fulfilment_tracking or returns.")],
    replica: Annotated[int, typer.Option(min=0, help="Its number among the service's replicas, from 0.")] = 0,
) -> None:
    """Run one service in the foreground; SIGTERM drains it. Exit codes: 0 drained, 2 configuration, 3 a person must mend something."""
    raise typer.Exit(serve(service, replica))


def main() -> None:
    """The entry point: what can be expected to go wrong is said with its remedy, without a traceback."""
    logging.basicConfig(handlers=[logging.NullHandler()])
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except WRONGLY as error:
        _say_and_exit(error, ASKED_WRONGLY)
    except (NotRunning, NotUp) as error:
        _say_and_exit(error, NOTHING_RUNS)
    except EXPECTED as error:
        _say_and_exit(error, FAILED)
    except ValidationError as error:
        if not is_about_settings(error):
            raise
        _say_and_exit(error, ASKED_WRONGLY)


def _say_and_exit(error: Exception, code: int) -> None:
    remarks.print(explain(error), markup=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
