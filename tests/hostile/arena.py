"""Where hostile records meet real stock and real orders: documents about the things of one place, before they are made hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import uuid4

from schemas import topics
from schemas.topics import TOPICS, Topic
from shared.kernel.ports import Outgoing
from tests.hostile.records import Hostile, hostile_record
from tests.hostile.values import EXAMPLES
from tests.support.desk import Place

MARK = "x-hostile"
"""Header by which a dead letter is recognised."""
UNKNOWN = 0.15
"""Share of names that nobody knows."""
ITEMS = ("a", "b", "c")
QUICK: dict[str, Any] = {"cancel_answer_s": 3, "backorder_deadline_s": 5, "collect_deadline_s": 10, "max_attempts": 2}
"""Nobody answers for the locations of the arena: what waits for them ends soon."""
EVENTS = tuple(topic for topic in TOPICS if topic.kind == "events")
SHARES: tuple[tuple[Topic, int], ...] = (
    (topics.CHANNEL_ORDERS, 22),
    (topics.PAYMENT_REPORTS, 10),
    (topics.STOCK_REPORTS, 18),
    (topics.FULFILMENT_REPORTS, 18),
    (topics.CARRIER_REPORTS, 6),
    (topics.RETURN_REQUESTS, 7),
    (topics.RETURN_RECEIPTS, 8),
    (topics.ITEMS, 2),
    (topics.LOCATIONS, 2),
    (topics.POLICIES, 1),
    (topics.CHANNELS, 1),
    (topics.CARRIERS, 1),
)
STRANGERS = 4
"""Of a hundred records, those that a stranger writes to a topic of events, which belongs to a service."""
MOST_BYTES = 1_000_000
"""What the broker takes in one batch, headers and key included, with some room."""


class Arena(Mapping[str, bytes]):
    """The place that hostile records are about: documents of its things by type, as `hostile_record` wants them."""

    def __init__(self, place: Place, dice: Random) -> None:
        self.place = place
        self.dice = dice
        self.orders: list[str] = []
        """Real ones, placed in good faith before the storm."""
        self._number = 0
        self._run = uuid4().hex[:6]

    def throw(self) -> tuple[str, Hostile, Outgoing]:
        """One more hostile record: its mark, what it is, and as it is sent. None of them can speak for a service."""
        self._number += 1
        topic = self._topic()
        while True:
            drawn = hostile_record(self.dice, topic, self, number=self._number, source=f"/stranger/{self._run}".encode())
            headers = tuple((name, value) for name, value in drawn.headers if not _speaks_for(topic, name, value))
            mark = f"{self._run}-{self._number}"
            sent = Outgoing(drawn.key or b"", drawn.value, (*((n, v) for n, v in headers if v is not None), (MARK, mark.encode())))
            if len(sent.key) + len(sent.value or b"") + sum(len(n) + len(v) for n, v in sent.headers) < MOST_BYTES and _is_taken(
                topic, sent
            ):
                return mark, Hostile(topic, drawn.type, sent.key, sent.value, sent.headers), sent

    def _topic(self) -> Topic:
        if self.dice.random() * 100 < STRANGERS:
            return self.dice.choice(EVENTS)
        return self.dice.choices([topic for topic, _ in SHARES], [share for _, share in SHARES])[0]

    def __iter__(self) -> Iterator[str]:
        return iter(EXAMPLES)

    def __len__(self) -> int:
        return len(EXAMPLES)

    def __getitem__(self, name: str) -> bytes:
        return json.dumps(self._localised(json.loads(EXAMPLES[name]), self._names())).encode()

    def _names(self) -> Mapping[str, Any]:
        """One consistent set of names: what is said of one order, at one location, by one channel."""
        dice, place, token = self.dice, self.place, f"{self._run}-{self._number}"
        order_id = dice.choice(self.orders) if self.orders and dice.random() < 0.55 else f"{place.channel}:h{token}"
        known = place.at(dice.choice(("paris", "lyon")))
        location = known if dice.random() > UNKNOWN else f"{place.name}-nowhere"
        other = f"{place.name}-{dice.choice('xyz')}"
        return {
            "channel": order_id.partition(":")[0],
            "channel_order_ref": order_id.partition(":")[2],
            "order_id": order_id,
            "fulfilment_order_id": f"{order_id}/{dice.choice((1, 1, 1, 2, 9))}",
            "location": location,
            "carrier": place.carrier,
            "tracking_number": f"T{dice.choice((token, '1', '2', '3'))}",
            "request_id": f"r{token}",
            "hold_id": dice.choice(("h1", "h2")),
            "payment_id": dice.choice(("card-1", f"p{token}")),
            "count_id": f"c{token}",
            "receipt_id": f"g{dice.choice((token, '1', '2'))}",
            "parcel_id": dice.choice(("P1", "P2")),
            "reference": dice.choice((f"x{token}", f"{order_id}/1:a")),
            "policy": other,
        }

    def _localised(self, found: Any, names: Mapping[str, Any], of: str = "") -> Any:
        if isinstance(found, dict):
            return {name: self._named(name, value, names) for name, value in found.items()}
        return [self._localised(entry, names, of) for entry in found] if isinstance(found, list) else found

    def _named(self, name: str, value: Any, names: Mapping[str, Any]) -> Any:
        if isinstance(value, dict | list):
            return self._localised(value, names, name)
        if name == "sku":
            return self.place.sku(self.dice.choice(ITEMS) if self.dice.random() > UNKNOWN else "nothing")
        if name in ("line_id", "channel_line_ref"):
            return self.dice.choice(ITEMS)
        if isinstance(value, str) and name.endswith(("_at", "as_of", "eta")) and self.dice.random() < 0.8:
            return datetime.now(UTC).isoformat()
        return names.get(name, value)


def _speaks_for(topic: Topic, name: str, value: bytes | None) -> bool:
    """Whether it is the word of the service that owns the topic: who may write there can say anything, so the broker must not let them."""
    return name.lower() == "ce_lane" and not topic.external and (value or b"").startswith(topic.owner.encode())


def _is_taken(topic: Topic, sent: Outgoing) -> bool:
    """A compacted topic has no records without a key; names of reference documents that other places use stay theirs."""
    return not topic.compacted or bool(sent.key)


def by_partition(thrown: Sequence[tuple[Topic, int, Outgoing]]) -> Mapping[tuple[str, int], list[Outgoing]]:
    found: dict[tuple[str, int], list[Outgoing]] = {}
    for topic, partition, record in thrown:
        found.setdefault((topic.name, partition), []).append(record)
    return found
