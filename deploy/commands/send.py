"""`nervure send FILE`: messages of channels, locations, carriers, providers, checked and published as an adapter would."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.commands.access import Access, access
from deploy.commands.printing import Json, plain, print_json, remarks
from deploy.errors import Explained
from deploy.messages import Draft, Faulty, read_drafts
from shared.kernel.codec import external_record
from shared.kernel.kafka import KafkaWriter
from shared.kernel.partition import partition_of
from shared.kernel.ports import Outgoing, ProduceFailed, TopicPartition

FAULTY = 2
SOURCE = "/nervure/cli"
MOST_ATTEMPTS = 5


class FileUnreadable(Explained):
    """{path} can't be read: {cause}. Name a file of JSON, or `-` for standard input."""


class NotSent(Explained):
    """Kafka did not confirm everything: {cause}. Send the same file again: what arrived already has no effect twice."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Where one message went."""

    type: str
    topic: str
    partition: int
    key: str
    id: str
    unknown_fields: tuple[str, ...]


def send(
    file: Annotated[str, typer.Argument(help="A file of JSON, or `-` for standard input: one message, a list, or one a line.")],
    type_name: Annotated[str | None, typer.Option("--type", help="What the messages are, where they don't say it themselves.")] = None,
    source: Annotated[str, typer.Option(help="Who sends: with a message's id it tells repeats from new facts.")] = SOURCE,
    check: Annotated[bool, typer.Option("--check", help="Only check; needs no running system.")] = False,
    json: Json = False,
) -> None:
    """Check messages against their schemas and publish them with the right key. Nothing is sent unless all are right (else exit code 2).

    A message is a CloudEvents object, or {"type": "PlaceOrder", ...its fields}, or its fields alone with --type or in a PlaceOrder.json.
    """
    try:
        drafts = read_drafts(_text(file), datetime.now(UTC), source, type_name, otherwise=Path(file).stem)
    except Faulty as error:
        _print_faults(error, json)
        raise typer.Exit(FAULTY) from None
    sent = [] if check else asyncio.run(publish(drafts))
    _print_sent(drafts, sent, json)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnreadable(path=file, cause=error) from None


async def publish(drafts: Sequence[Draft]) -> list[Sent]:
    """Append all, in their order within each partition. Raises NotSent."""
    to = await access()
    existing = await to.topics.existing()
    sent, batches = [], defaultdict(list)
    for draft in drafts:
        record = external_record(draft.topic, draft.body, source=draft.source, id=draft.id, now=draft.at, correlation=draft.correlation)
        key = draft.topic.key_of(draft.body)
        at = TopicPartition(draft.topic.name, partition_of(key, existing[draft.topic.name]))
        batches[at].append(record)
        sent.append(Sent(type(draft.body).__name__, at.topic, at.partition, key, draft.id, draft.unknown))
    await _append(to, batches)
    return sent


async def _append(to: Access, batches: Mapping[TopicPartition, Sequence[Outgoing]]) -> None:
    """A batch larger than the broker takes is cut, so several rounds may be needed."""
    writer, left = KafkaWriter(to.connection), {at: list(records) for at, records in batches.items()}
    await writer.start()
    failures = 0
    try:
        while left:
            try:
                counts = await writer.send(left)
            except ProduceFailed as error:
                failures += 1
                if failures == MOST_ATTEMPTS:
                    raise NotSent(cause=error) from error
                continue
            left = {at: records[counts[at] :] for at, records in left.items() if counts[at] < len(records)}
    finally:
        await writer.stop()


def _print_faults(error: Faulty, json: bool) -> None:
    if json:
        print_json({"sent": [], "problems": [asdict(fault) for fault in error.faults]})
        return
    for fault in error.faults:
        where = f"message {fault.message}" if fault.message else "the input"
        remarks.print(f"{where}{', ' + fault.field if fault.field else ''}: {fault.problem}. Remedy: {fault.remedy}", markup=False)
    count = len(error.faults)
    remarks.print(f"Nothing was sent: {count} problem{'s' if count > 1 else ''} to mend first.")


def _print_sent(drafts: Sequence[Draft], sent: Sequence[Sent], json: bool) -> None:
    if json:
        print_json({"sent": [asdict(one) for one in sent], "checked": len(drafts), "problems": []})
        return
    for one in sent:
        plain(f"{one.type} of {one.key} went to {one.topic}, partition {one.partition}; id {one.id}")
    for draft in drafts:
        for field in draft.unknown:
            remarks.print(f"message {draft.number}, {field}: no contract knows this field; is it misspelt?", markup=False)
    orders = list(dict.fromkeys(_order(draft.body) for draft in drafts if _order(draft.body)))
    if not sent:
        plain(f"{len(drafts)} message{'s are' if len(drafts) != 1 else ' is'} right; nothing was sent.")
    elif orders:
        plain(f"Follow it: nervure status {orders[0]}")


def _order(body: Any) -> str:
    return str(getattr(body, "order_id", "") or "")
