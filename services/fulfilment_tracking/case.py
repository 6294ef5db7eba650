"""One order under decision, and how an exception about it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from schemas.fulfilment import FactLine, FulfilmentExceptionOpened
from schemas.orders import LineQuantity
from schemas.reference import Policy
from services.fulfilment_tracking.events import TroubleOpened
from services.fulfilment_tracking.state import Goods, Order, Part, Units, order_key
from shared.kernel.model import Key, World, Yield
from shared.kernel.views import Documents
from shared.value import Value

DETAIL_LENGTH = 500
ExceptionKind = Literal[
    "shipped_after_cancel",
    "shipped_too_many",
    "unasked",
    "other_location",
    "unknown_line",
    "accepted_after_deadline",
    "late",
    "parcel_returned",
    "unknown_order",
    "contradiction",
]


class Case(Value, frozen=True):
    """What deciding about one order needs. `order` is read anew each time, so it shows what was yielded before."""

    world: World
    order_id: str
    now: datetime
    view: Documents

    @property
    def key(self) -> Key:
        return order_key(self.order_id)

    @property
    def order(self) -> Order:
        found: Order | None = self.world.get(self.key, None)
        return found if found is not None else Order(self.order_id)

    @property
    def policy(self) -> Policy:
        return self.policy_named(self.order.content.policy if self.order.content else "default")

    def policy_named(self, name: str) -> Policy:
        return self.view.get(Policy, name) or Policy(policy=name)

    def part(self, part_id: str) -> Part:
        return self.order.parts[part_id]

    def part_numbered(self, number: str) -> Part | None:
        return self.order.parts.get(f"{self.order_id}/{number}")


def open_exception(case: Case, kind: ExceptionKind, about: str, detail: str, action: str) -> Iterator[Yield]:
    """Tell a person, once for each thing it is about."""
    order = case.order
    if order.has_trouble(kind, about):
        return
    exception_id = f"{case.order_id}#fulfilment-{order.troubles_opened + 1}"
    detail, action = detail[:DETAIL_LENGTH], action[:DETAIL_LENGTH]
    yield TroubleOpened(case.order_id, case.now, exception_id, kind, about, detail, action, own=True)
    yield FulfilmentExceptionOpened(order_id=case.order_id, exception_id=exception_id, kind=kind, detail=detail, action=action)


def fact_lines(part: Part, units: Iterable[Units]) -> tuple[FactLine, ...]:
    """Units of planned lines, with the items that were planned."""
    return tuple(FactLine(line_id=entry.line_id, sku=part.lines[entry.line_id].sku, quantity=entry.quantity) for entry in units)


def goods_lines(goods: Iterable[Goods]) -> tuple[FactLine, ...]:
    """Goods whose item is known."""
    return tuple(FactLine(line_id=entry.line_id, sku=entry.sku, quantity=entry.quantity) for entry in goods if entry.sku)


def line_quantities(units: Iterable[Units]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=entry.line_id, quantity=entry.quantity) for entry in units)


def units_of(lines: Iterable[LineQuantity]) -> tuple[Units, ...]:
    """Units by line, in the order of the lines; a line may be named more than once."""
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.line_id] = sums.get(line.line_id, 0) + line.quantity
    return tuple(Units(line_id, quantity) for line_id, quantity in sums.items())


def as_units(quantities: Mapping[str, int]) -> tuple[Units, ...]:
    return tuple(Units(line_id, quantity) for line_id, quantity in quantities.items() if quantity > 0)
