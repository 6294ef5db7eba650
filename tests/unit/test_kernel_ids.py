"""Ids and partitions, worked out here, are those of the libraries that everybody else takes."""

from __future__ import annotations

import random
from uuid import UUID, uuid5

from aiokafka.partitioner import murmur2 as as_aiokafka

from shared.kernel.model import derived_text
from shared.kernel.partition import murmur2, partition_of

DICE = random.Random(5)


def test_an_id_derived_from_its_cause_is_a_uuid5() -> None:
    for number in range(1_000):
        cause, role = UUID(bytes=DICE.randbytes(16)), f"sourcing:Größe:{number}"
        assert derived_text(cause, role) == str(uuid5(cause, role))


def test_a_key_belongs_to_the_partition_that_other_clients_send_it_to() -> None:
    for size in range(300):
        key = DICE.randbytes(size)
        assert murmur2(key) == as_aiokafka(key) & 0xFFFFFFFF
    assert partition_of("web-fr:100234", 4) == (as_aiokafka(b"web-fr:100234") & 0x7FFFFFFF) % 4
