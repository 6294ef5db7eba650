"""What the books say of every level, followed through the availability topic, and what really lies on the shelves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from deploy.demo.shelves import Shelves, Spot
from deploy.demo.wire import Positions, Reads, hear
from schemas import topics
from schemas.types import Count, Data, LocationId, Sku, Version
from shared.kernel.kafka import Connection


class Booked(Data):
    """What is needed of an availability document."""

    sku: Sku
    location: LocationId
    version: Version
    sellable: Count


class Difference(NamedTuple):
    """A level whose books differ from its shelf, in units."""

    spot: Spot
    booked: int
    lies_there: int

    def __str__(self) -> str:
        return f"{self.spot.sku} at {self.spot.location}: booked {self.booked}, lies there {self.lies_there}"


READS: Reads = {topics.AVAILABILITY: (Booked,)}


class Books:
    """The newest document of each level. `missing` of those expected are not yet as expected."""

    def __init__(self, expected: Mapping[Spot, int]) -> None:
        self._levels: dict[Spot, Booked] = {}
        self._expected = expected
        self._missing = set(expected)

    async def follow(self, connection: Connection, start: Positions) -> None:
        """For ever."""
        async for batch in hear(connection, READS, start):
            for heard in batch:
                assert isinstance(heard.body, Booked)
                self.note(heard.body)

    def note(self, level: Booked) -> None:
        """A document; an older one than is known changes nothing."""
        spot = Spot(level.location, level.sku)
        known = self._levels.get(spot)
        if known is None or level.version > known.version:
            self._levels[spot] = level
            if self._expected.get(spot) == level.sellable:
                self._missing.discard(spot)

    @property
    def missing(self) -> int:
        return len(self._missing)

    def compare(self, shelves: Shelves, lost: Mapping[Spot, int]) -> tuple[tuple[Difference, ...], int]:
        """Levels whose books differ from the shelves; and how many differ only by a loss that nobody has come across."""
        differing, unnoticed = [], 0
        for spot in sorted(shelves.spots()):
            known = self._levels.get(spot)
            booked, lies_there = known.sellable if known else 0, shelves.on_shelf(spot)
            if booked != lies_there and booked - lies_there == lost.get(spot):
                unnoticed += 1
            elif booked != lies_there:
                differing.append(Difference(spot, booked, lies_there))
        return tuple(differing), unnoticed
