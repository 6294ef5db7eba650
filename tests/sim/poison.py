"""Records that nobody can read, or that are not what they say."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from schemas.topics import Topic
from shared.kernel.ports import Outgoing, Record

VALUES = (b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"order_id": 5}', b'"' + b"x" * 200 + b'"', b"[" * 500)
KEYS = (b"web:1", b"nobody", b"", b"\xff")


def poisoned(dice: Random, topic: Topic, same: Sequence[Record]) -> Outgoing:
    """Noise under a header of this topic, or a real record with something cut off."""
    if not same or dice.random() < 0.5:
        kind = dice.choice(topic.types).__name__
        headers = [("ce_type", f"nervure.{kind}".encode()), ("ce_source", b"/noise"), ("ce_id", b"n%d" % dice.randrange(10**9))]
        if dice.random() < 0.5:
            headers += [("ce_lane", b"sourcing/1"), ("ce_seq", b"")]
        return Outgoing(dice.choice(KEYS), dice.choice(VALUES), tuple(headers[dice.randrange(2) :]))
    record = dice.choice(same)
    value = record.value or b""
    kept = tuple((name, value) for name, value in record.headers if value is not None and name not in ("ce_lane", "ce_id"))
    id = (("ce_id", b"cut-%d" % dice.randrange(10**9)),)
    return Outgoing(record.key or b"", value[: dice.randrange(1, max(2, len(value)))], kept + id)
