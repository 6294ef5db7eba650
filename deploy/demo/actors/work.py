"""One fulfilment order as its location sees it: what is left to do, picked, packed and given up. Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.fulfilment import Instruction, LineTotal

Stage = Literal["new", "accepted", "picked", "ready", "closed"]
LINES_A_PARCEL = 12
"""More lines than that go in two parcels."""


@dataclass(slots=True)
class Work:
    """Units by line. `to_do` shrinks with every unit cancelled, rejected or not found."""

    instruction: Instruction
    to_do: dict[str, int] = field(default_factory=dict)
    picked: dict[str, int] = field(default_factory=dict)
    stage: Stage = "new"
    paused: bool = False

    @classmethod
    def of(cls, instruction: Instruction) -> Work:
        return cls(instruction, {line.line_id: line.quantity for line in instruction.lines})

    @property
    def part_id(self) -> str:
        return self.instruction.fulfilment_order_id

    @property
    def open(self) -> int:
        return sum(self.to_do.values())

    def sku(self, line_id: str) -> str:
        return next(line.sku for line in self.instruction.lines if line.line_id == line_id)

    def give_up(self, line_id: str, units: int) -> int:
        """Fewer units to do; returns how many could still be given up."""
        given_up = min(units, self.to_do.get(line_id, 0))
        if given_up:
            self.to_do[line_id] -= given_up
        return given_up

    def cart(self) -> dict[str, int]:
        """Units that are picked and not given up since."""
        return {line: units for line, units in self.picked.items() if units > 0}

    def parcels(self) -> Iterator[tuple[str, Mapping[str, int]]]:
        """Parcel numbers and contents: what is in the cart, in one parcel or two."""
        cart = sorted(self.cart().items())
        number = self.part_id.translate(str.maketrans(":/+", "...", ""))
        for index in range(0, len(cart), LINES_A_PARCEL):
            yield f"{number}.{index // LINES_A_PARCEL + 1}", dict(cart[index : index + LINES_A_PARCEL])


def totals(units: Mapping[str, int] | Iterable[tuple[str, int]]) -> tuple[LineTotal, ...]:
    entries = units.items() if isinstance(units, Mapping) else units
    return tuple(LineTotal(line_id=line, total=total) for line, total in entries)
