"""Orders as the status topic shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pydantic import ValidationError

from deploy.errors import Explained
from deploy.reading import whole
from schemas.status import OrderStatus
from schemas.topics import ORDER_STATUS
from schemas.types import is_order_id
from shared.kernel.codec import state_version
from shared.kernel.kafka import KafkaTopics
from shared.kernel.partition import partition_of
from shared.kernel.ports import Record, TopicPartition

MOST_NAMED = 5
ENDED = ("completed", "partly_completed", "cancelled", "rejected")
"""Statuses of orders of which nothing more is expected, short of a return."""


class NoSuchOrder(Explained):
    """No order {order} is known. Check the spelling, `<channel>:<reference>`; an order that was just sent appears within a second. What
    its channel was answered, and any dead letter, is in `nervure trace {order}`."""


class AmbiguousOrder(Explained):
    """{reference} is the reference of several orders: {orders}. Name one of them with its channel."""


async def partitions_of_order(topics: KafkaTopics, order: str) -> list[TopicPartition]:
    """Where the status of an order is, or of all orders where `order` is only a channel's reference."""
    count = await topics.partitions(ORDER_STATUS.name)
    numbers = [partition_of(order, count)] if is_order_id(order) else list(range(count))
    return [TopicPartition(ORDER_STATUS.name, number) for number in numbers]


async def newest_status(topics: KafkaTopics, order: str) -> OrderStatus:
    """The status document of `<channel>:<reference>`, or of the reference alone. Raises NoSuchOrder, AmbiguousOrder."""
    found: dict[str, tuple[tuple[int, int], OrderStatus]] = {}
    async for key, version, status in statuses(topics, await partitions_of_order(topics, order)):
        if _matches(key, order) and status is not None and (key not in found or version >= found[key][0]):
            found[key] = version, status
    if not found:
        raise NoSuchOrder(order=order)
    if len(found) > 1:
        raise AmbiguousOrder(reference=order, orders=_some(sorted(found)))
    return next(iter(found.values()))[1]


def _matches(key: str, order: str) -> bool:
    return key == order or (not is_order_id(order) and key.partition(":")[2] == order)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


async def statuses(topics: KafkaTopics, at: Sequence[TopicPartition]) -> AsyncIterator[tuple[str, tuple[int, int], OrderStatus | None]]:
    """(order, version, document) of every status record, in their order; None where it is deleted or unreadable."""
    async for record in whole(topics, at):
        yield (record.key or b"").decode(errors="replace"), state_version(record), status_of(record)


def status_of(record: Record) -> OrderStatus | None:
    try:
        return OrderStatus.model_validate_json(record.value) if record.value else None
    except ValidationError:
        return None
