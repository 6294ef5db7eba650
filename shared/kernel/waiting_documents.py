"""State rows of one topic whose documents wait to be sent, by partition: a look at one takes no longer the more there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared.kernel.partition import partition_of
from shared.kernel.ports import Row, TopicPartition, place


class WaitingDocuments:
    """Of one publisher. Rows wait in the order in which they came; a newer version takes the place of the one that waits."""

    def __init__(self, topic: str, partitions: int) -> None:
        self._rows: dict[TopicPartition, dict[str, Row]] = {place(topic, number): {} for number in range(partitions)}
        self._topic, self._partitions = topic, partitions

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def put(self, rows: Mapping[str, Row]) -> None:
        for id, row in rows.items():
            self._of(id)[id] = row

    def put_newer(self, rows: Mapping[str, Row]) -> None:
        """What was read from the database may be older than what was offered since, and newer than what waits from before. The same version
        takes the place of one that may be on its way: what made it stale may have come behind that."""
        for id, row in rows.items():
            there = self._of(id)
            if id not in there or row.version >= there[id].version:
                there[id] = row

    def by_partition(self) -> Iterator[tuple[TopicPartition, Mapping[str, Row]]]:
        """Partitions for which any wait."""
        return ((at, rows) for at, rows in self._rows.items() if rows)

    def remove(self, at: TopicPartition, id: str, row: Row) -> None:
        """It was sent, or needs no document; not where another one waits in its place by now."""
        if self._rows[at].get(id) is row:
            del self._rows[at][id]

    def clear(self) -> None:
        for rows in self._rows.values():
            rows.clear()

    def _of(self, id: str) -> dict[str, Row]:
        return self._rows[place(self._topic, partition_of(id, self._partitions))]
