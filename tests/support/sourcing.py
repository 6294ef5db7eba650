"""What tests of sourcing share: orders, places, and an inventory small enough to be right at a glance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from schemas.channel import Completeness
from schemas.fulfilment import FactLine, LinesHandedOver, ParcelWasShipped
from schemas.inventory import (
    Availability,
    EndedLine,
    Future,
    Level,
    ReleaseStock,
    ReservationDeclined,
    ReservationReleased,
    ReservationShorted,
    ReservedLine,
    ReserveStock,
    StockChanged,
    StockReserved,
)
from schemas.orders import (
    CancellationRequested,
    ChangeRequested,
    Destination,
    LineQuantity,
    OrderAccepted,
    OrderChanged,
    OrderLine,
    OrderSnapshot,
)
from schemas.reference import Costs, Location, Method, OrderKind, Policy
from schemas.sourcing import Explanation, Part, PartLine
from schemas.topics import INVENTORY_COMMANDS, TOPIC_OF, Body
from services.sourcing.service import service
from tests.support.spec import START, Spec

ORDER = "web:1001"
PARIS = (48.86, 2.35)


def place(location: str, latitude: float = 48.86, longitude: float = 2.35, **fields: Any) -> Location:
    given: dict[str, Any] = {
        "kind": "store",
        "zone": "Europe/Paris",
        "country": "FR",
        "methods": ("home", "click_and_collect"),
        "costs": Costs(),
    }
    return Location(location=location, latitude=latitude, longitude=longitude, **(given | fields))


def goods(line_id: str, sku: str, quantity: int = 1, weight_g: int = 400) -> OrderLine:
    return OrderLine(line_id=line_id, sku=sku, quantity=quantity, weight_g=weight_g, net_minor=1_000 * quantity)


def snapshot(
    *lines: OrderLine,
    completeness: Completeness = "free",
    method: Method = "home",
    kind: OrderKind = "consumer",
    placed_at: datetime = START,
    **fields: Any,
) -> OrderSnapshot:
    given: dict[str, Any] = {
        "revision": 1,
        "channel": "web",
        "policy": "default",
        "currency": "EUR",
        "total_minor": sum(line.net_minor for line in lines),
        "payment_terms": "prepaid",
        "destination": Destination(country="FR", latitude=PARIS[0], longitude=PARIS[1]),
    }
    return OrderSnapshot(
        lines=lines,
        completeness=completeness,
        method=method,
        kind=kind,
        placed_at=placed_at,
        **(given | fields),
    )


def accepted(*lines: OrderLine, order_id: str = ORDER, **terms: Any) -> OrderAccepted:
    return OrderAccepted(order_id=order_id, order=snapshot(*lines, **terms))


def cancellation(*lines: tuple[str, int], request_id: str = "cancel-1", order_id: str = ORDER) -> CancellationRequested:
    return CancellationRequested(order_id=order_id, request_id=request_id, lines=quantities(*lines))


def change_requested(*lines: OrderLine, demand_changed: bool = True) -> ChangeRequested:
    return ChangeRequested(order_id=ORDER, request_id="change-1", order=snapshot(*lines, revision=2), demand_changed=demand_changed)


def changed(*lines: OrderLine, effect: Any = "demand", **terms: Any) -> OrderChanged:
    return OrderChanged(order_id=ORDER, order=snapshot(*lines, revision=2, **terms), effect=effect)


def quantities(*lines: tuple[str, int]) -> tuple[LineQuantity, ...]:
    return tuple(LineQuantity(line_id=line_id, quantity=quantity) for line_id, quantity in lines)


def shipped(part: Part, *lines: tuple[str, int]) -> ParcelWasShipped:
    return ParcelWasShipped(**fact(part, lines), parcel_id="p1", carrier="post", tracking_number="T1")


def collected(part: Part, *lines: tuple[str, int]) -> LinesHandedOver:
    return LinesHandedOver(**fact(part, lines), how="collected")


def fact(part: Part, lines: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    skus = {line.line_id: line.sku for line in part.lines}
    return {
        "order_id": part.part_id.rpartition("/")[0],
        "fulfilment_order_id": part.part_id,
        "location": part.location,
        "occurred_at": START,
        "lines": tuple(FactLine(line_id=i, sku=skus[i], quantity=n) for i, n in lines),
    }


def where(parts: tuple[Part, ...]) -> dict[str, dict[str, int]]:
    """Location to units by line."""
    return {part.location: {line.line_id: line.quantity for line in part.lines} for part in parts}


def planned(explanation: Explanation) -> dict[str, dict[str, int]]:
    return {p.location: {line.line_id: line.quantity for line in p.lines} for p in explanation.chosen.parts}


def part_lines(*lines: tuple[str, str, int]) -> tuple[PartLine, ...]:
    return tuple(PartLine(line_id=line_id, sku=sku, quantity=quantity) for line_id, sku, quantity in lines)


class Inventory:
    """The true levels; answers commands one by one, as the real one would."""

    def __init__(self) -> None:
        self.sellable: dict[tuple[str, str], int] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.held: dict[str, dict[str, tuple[str, str, int]]] = {}
        """Part to line to (sku, location, units)."""

    def atp(self, sku: str, location: str) -> int:
        reserved = sum(n for lines in self.held.values() for s, at, n in lines.values() if (s, at) == (sku, location))
        return self.sellable.get((sku, location), 0) - reserved

    def put(self, sku: str, location: str, units: int) -> None:
        self.sellable[sku, location] = self.sellable.get((sku, location), 0) + units
        self.versions[sku, location] = self.versions.get((sku, location), 0) + 1

    def document(self, sku: str, location: str, future: tuple[Future, ...] = ()) -> Availability:
        sellable, atp = self.sellable[sku, location], self.atp(sku, location)
        return Availability(
            sku=sku,
            location=location,
            version=self.versions[sku, location],
            sellable=sellable,
            reserved=sellable - atp,
            atp=max(0, atp),
            future=future,
        )

    def level(self, sku: str, location: str) -> Level:
        self.versions[sku, location] = self.versions.get((sku, location), 0) + 1
        sellable, atp = self.sellable.get((sku, location), 0), self.atp(sku, location)
        return Level(
            sku=sku,
            location=location,
            version=self.versions[sku, location],
            sellable=sellable,
            reserved=sellable - atp,
            atp=max(0, atp),
        )

    def answer(self, command: Body) -> Body | None:
        return self.reserve(command) if isinstance(command, ReserveStock) else self.release(command)

    def reserve(self, command: ReserveStock) -> Body:
        there: dict[str, int] = {}
        got: dict[str, int] = {}
        for line in command.lines:
            left = there.setdefault(line.sku, max(0, self.atp(line.sku, command.location)))
            got[line.line_id] = min(line.quantity, left)
            there[line.sku] -= got[line.line_id]
        enough = all(got[line.line_id] >= line.minimum for line in command.lines) and any(got.values())
        if enough:
            self.held[command.part_id] = {line.line_id: (line.sku, command.location, got[line.line_id]) for line in command.lines}
        fields: dict[str, Any] = {
            "part_id": command.part_id,
            "order_id": command.order_id,
            "location": command.location,
            "lines": tuple(ReservedLine(line_id=x.line_id, sku=x.sku, asked=x.quantity, reserved=got[x.line_id]) for x in command.lines),
            "levels": tuple(self.level(sku, command.location) for sku in there),
        }
        return StockReserved(**fields) if enough else ReservationDeclined(**fields)

    def release(self, command: Body) -> Body | None:
        assert isinstance(command, ReleaseStock)
        if command.part_id not in self.held:
            return None
        lines = [(line_id, units) for line_id, (_, _, units) in self.held[command.part_id].items()]
        return self.end(command.part_id, "released", *lines)

    def end(self, part_id: str, cause: Any, *lines: tuple[str, int]) -> ReservationReleased:
        return ReservationReleased(**self.taken(part_id, lines), cause=cause)

    def short(self, part_id: str, *lines: tuple[str, int]) -> ReservationShorted:
        """A fact takes the units themselves away."""
        for line_id, units in lines:
            sku, location, _ = self.held[part_id][line_id]
            self.sellable[sku, location] -= units
        return ReservationShorted(**self.taken(part_id, lines))

    def taken(self, part_id: str, lines: tuple[tuple[str, int], ...]) -> dict[str, Any]:
        held, location = self.held[part_id], ""
        ended = []
        for line_id, units in lines:
            sku, location, before = held[line_id]
            held[line_id] = (sku, location, before - units)
            if units:
                ended.append(EndedLine(line_id=line_id, sku=sku, quantity=units))
        return {
            "part_id": part_id,
            "order_id": part_id.rpartition("/")[0],
            "location": location,
            "lines": tuple(ended),
            "levels": tuple(self.level(sku, location) for sku in sorted({e.sku for e in ended})),
        }


class Trade:
    """Sourcing and an inventory that answers its commands at once, or when told."""

    def __init__(self, *places: Location, policy: Policy | None = None) -> None:
        self.spec = Spec(service).documents(*places, policy or Policy(policy="default"))
        self.inventory = Inventory()
        self.unanswered: list[Body] = []
        self.decisions: list[Body] = []
        """Everything published but commands, since it was last read."""

    def stock(self, levels: dict[tuple[str, str], int]) -> Trade:
        for (sku, location), units in levels.items():
            self.inventory.put(sku, location, units)
            self.spec.documents(self.inventory.document(sku, location))
        return self

    def walk_in(self, sku: str, location: str, units: int = 1) -> None:
        """Sold at the till; the view does not know yet."""
        self.inventory.put(sku, location, -units)

    def tell(self, *bodies: Body) -> list[Body]:
        """Sourcing reads these; nothing is answered yet. What it published but for its commands."""
        self.decisions = []
        for body in bodies:
            self.spec.when(body)
            self._note()
        return self.decisions

    def settle(self) -> list[Body]:
        """Inventory answers every command, and every command that its answers cause."""
        self.decisions = []
        for _ in range(100):
            if not self.unanswered:
                return self.decisions
            answer = self.inventory.answer(self.unanswered.pop(0))
            if answer is not None:
                self.spec.when(answer)
                self._note()
        raise AssertionError("sourcing asks for ever")

    def run(self, *bodies: Body) -> list[Body]:
        """Tell and settle."""
        told = self.tell(*bodies)
        return told + self.settle()

    def advance(self, by: timedelta) -> list[Body]:
        self.decisions = []
        self.spec.advance(by)
        self._note()
        decisions = self.decisions
        return decisions + self.settle()

    def arrive(self, sku: str, location: str, units: int) -> StockChanged:
        """Stock comes in: the fact, as inventory publishes it."""
        self.inventory.put(sku, location, units)
        level = self.inventory.level(sku, location)
        return StockChanged(location=location, cause="counted", levels=(level,), arrived=(sku,))

    def _note(self) -> None:
        for body in self.spec.published:
            commands = TOPIC_OF[type(body)] is INVENTORY_COMMANDS
            (self.unanswered if commands else self.decisions).append(body)
        self.spec.published.clear()
