"""What must hold of single decisions of sourcing: looked at as they are made, on what they were made on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from schemas.forms import Availability, OrderAccepted, StockChanged
from schemas.orders import rank_of
from services.sourcing.backorders import head
from services.sourcing.events import PlanMade
from services.sourcing.projection import Network
from services.sourcing.state import Place, Queue, Waiting, queue_key
from shared.kernel.model import Input, Service, Wake, Woken, World
from shared.value import replace

Tell = Callable[[str], None]


def watched(service: Service[Any], tell: Tell) -> Service[Any]:
    """The same service; what its decisions do wrong is told."""

    def decide(world: World, given: Input[Any], view: Any) -> Iterator[Any]:
        body = given.body
        if isinstance(body, OrderAccepted):
            yield from _newcomer(world, body, service.decide(world, given, view), view, tell)
        elif isinstance(body, StockChanged):
            yield from _offers(world, body.arrived, service.decide(world, given, view), view, tell)
        elif isinstance(body, Woken) and body.key.kind == "queue":
            yield from _offers(world, (body.key.id,), service.decide(world, given, view), view, tell)
        else:
            yield from service.decide(world, given, view)

    return replace(service, decide=decide, view=lambda: WatchedNetwork(tell))


class WatchedNetwork(Network):
    """A view that tells when what is coming is older than it was before."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell
        self._newest: dict[tuple[str, str], int] = {}

    def _announce(self, body: Availability) -> None:
        at = (body.sku, body.location)
        if body.version < (known := self._newest.get(at, body.version)):
            self._tell(f"announcements_go_forward: of {body.sku} at {body.location} version {body.version} counts, after {known}")
        self._newest[at] = body.version
        super()._announce(body)


# ---- newcomers ----


def _newcomer(world: World, body: OrderAccepted, outputs: Iterator[Any], view: Any, tell: Tell) -> Iterator[Any]:
    """A new order leaves to those who wait, and may keep units from it, what they wait for."""
    skus = {line.sku for line in body.order.lines if line.kind == "goods"}
    queues: dict[str, Queue] = {sku: world.get(queue_key(sku), Queue(sku)) for sku in skus}
    free = {sku: sum(view.free(sku).values()) for sku in skus}
    for output in outputs:
        if isinstance(output, PlanMade):
            for sku, units in _planned(output).items():
                waits = sum(units for name, units in queues[sku].protected.items() if "@" not in name and int(name) <= _urgency(body))
                if units > max(0, free[sku] - waits):
                    tell(f"newcomers_wait: {body.order_id} is planned {units} {sku} of {free[sku]}, and {waits} are waited for")
        yield output


def _urgency(body: OrderAccepted) -> int:
    return rank_of(body.order.kind, body.order.priority)


def _planned(plan: PlanMade) -> Mapping[str, int]:
    planned: dict[str, int] = {}
    for part in plan.parts:
        for units in part.lines:
            planned[units.sku] = planned.get(units.sku, 0) + units.quantity
    return planned


# ---- who waits ----


def _offers(world: World, skus: Sequence[str], outputs: Iterator[Any], view: Any, tell: Tell) -> Iterator[Any]:
    """Who waits with a better rank is offered first, and nobody is passed over for whom there is something."""
    places = {sku: dict(_places(world.rows(head(sku)))) for sku in skus}
    free = {sku: dict(view.free(sku)) for sku in skus}
    offered: dict[str, list[str]] = {sku: [] for sku in skus}
    for output in outputs:
        if isinstance(output, Wake) and output.name.startswith("serve:") and output.due is not None:
            offered[output.name.split(":")[1]].append(output.key.id)
        yield output
    for sku, orders in offered.items():
        if problem := _out_of_turn(places[sku], orders, free[sku]):
            tell(f"backorders_by_rank: {sku}: {problem}")


def _places(rows: Sequence[Waiting]) -> Iterator[tuple[str, Place]]:
    return ((row.order_id, row.place) for row in rows if row.place is not None)


def _out_of_turn(places: Mapping[str, Place], offered: Sequence[str], free: Mapping[str, int]) -> str:
    ranks = [places[order].rank for order in offered]
    if ranks != sorted(ranks):
        return f"offered to {', '.join(offered)}, out of rank"
    behind = max(ranks, default="")
    for order, place in places.items():
        there = sum(free.values()) if place.location is None else free.get(place.location, 0)
        if place.rank < behind and order not in offered and place.location is None and there > 0:
            return f"{order} was passed over for {offered[-1]}"
    return ""
