"""Sends kept rows of a lane once more: readers that have them drop them, readers with a gap go on."""

from __future__ import annotations

from shared.kernel.codec import lane_record
from shared.kernel.ports import Store, TopicPartition, Writer

BATCH_ROWS = 200


class RowsExpired(Exception):
    """The outbox no longer keeps the rows asked for. Remedy: none by command; a reader that misses them has to be mended by hand."""


async def republish(store: Store, writer: Writer, service: str, at: TopicPartition, first: int, last: int) -> int:
    """Appends the rows `first` to `last` (both included) again, in order; returns how many. Raises RowsExpired, ProduceFailed."""
    sent, after = 0, first - 1
    while after < last:
        rows = [row for row in await store.outbox(at, after, BATCH_ROWS) if row.seq <= last]
        if not rows or rows[0].seq != after + 1:
            raise RowsExpired(f"{at.topic}/{at.partition}: seq {after + 1} is not kept")
        count = (await writer.send({at: [lane_record(service, row) for row in rows]}))[at]
        sent, after = sent + count, rows[count - 1].seq
    return sent
