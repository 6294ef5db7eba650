"""What must hold of sourcing's plans and of what it sees, after every commit of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from schemas.inventory import Level, ReservationDeclined
from schemas.topics import RESERVATIONS
from services.inventory import rules
from services.sourcing.events import PartDeclined, PlanMade
from shared.kernel.model import Key
from tests.sim.promises import read

if TYPE_CHECKING:
    from tests.sim.world import World

Spot = tuple[str, str]


class Plans:
    """Follows the events that sourcing keeps."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read = 0
        self._declined: dict[tuple[Key, Spot], int] = {}
        """By order and (item, location): the version of the level by which it was declined there last."""
        self._given_back: frozenset[str] = frozenset()
        """Locations at which units were being given up before the commit that is looked at."""
        self._was_deciding: list[Any] = []
        self._seen: dict[tuple[Any, Spot], int] = {}
        """By view: the newest version of a level it had."""

    def look(self) -> list[str]:
        """What is wrong since the last look."""
        database = self._world.databases["sourcing"]
        history: dict[Any, Any] = database.table("history")
        fresh = [number for number in range(self._read + 1, database.given("history") + 1) if number in history]
        self._read = fresh[-1] if fresh else self._read
        if (deciding := self._deciding()) != self._was_deciding:
            self._declined, self._was_deciding = {}, deciding
        before, self._given_back = self._given_back, self._gives_back()
        giving = before | self._given_back
        wrong = [problem for number in fresh for problem in self._note(history[number].key, history[number].event, giving)]
        return [*wrong, *self._went_back()]

    def _deciding(self) -> list[Any]:
        """Who decides what, and with which views. What a decline tells is known to whoever heard it, until the level's topic shows it: who
        begins anew, or takes an order over, may ask once more."""
        engines = [process.engine for process in self._world.processes if process.service.name == "sourcing"]
        return [(engine._view, engine._generation) for engine in engines if engine is not None]

    def _note(self, order: Key, event: Any, giving: frozenset[str]) -> Iterator[str]:
        if isinstance(event, PartDeclined):
            for level in self._said(f"{order.id}/{event.number}"):
                self._declined[order, (level.sku, level.location)] = level.version
        elif isinstance(event, PlanMade):
            for part in event.parts:
                for units in part.lines if part.location not in giving else ():
                    yield from self._in_vain(order, (units.sku, part.location), units.quantity)

    def _said(self, part_id: str) -> tuple[Level, ...]:
        """The levels that inventory has told with its decline."""
        said = (body for _, body in read(self._world, RESERVATIONS) if isinstance(body, ReservationDeclined) and body.part_id == part_id)
        return next((body.levels for body in said), ())

    def _in_vain(self, order: Key, spot: Spot, units: int) -> Iterator[str]:
        """A location that has declined is asked again only once something changed or is given back there, or for what it said it has."""
        version = self._version(*spot)
        if self._declined.get((order, spot)) != version or version == 0:
            return
        there = rules.atp(self._world.databases["inventory"].table("state.level")[f"{spot[0]}:{spot[1]}"].state)
        if units > there:
            yield f"declines_teach: {order.id} asks {spot[1]} again for {units} {spot[0]}, and it has said that it has {there}"

    def _gives_back(self) -> frozenset[str]:
        """Locations at which somebody is giving units up."""
        orders = (row.state for row in self._world.databases["sourcing"].table("state.order").values() if row.state is not None)
        return frozenset(part.location for order in orders for part in order.parts.values() if part.state in ("withdrawn", "releasing"))

    def _version(self, sku: str, location: str) -> int:
        row = self._world.databases["inventory"].table("state.level").get(f"{sku}:{location}")
        return row.version if row is not None else 0

    def _went_back(self) -> Iterator[str]:
        """A view never shows a level older than it did before."""
        for process in self._world.processes:
            if process.service.name != "sourcing" or process.engine is None:
                continue
            view = process.engine._view
            for sku, levels in view._levels.items():
                for location, (version, _) in levels.items():
                    known = self._seen.get((view, (sku, location)), 0)
                    if version < known:
                        yield f"views_go_forward: {process.name} had {sku} at {location} in version {known}, now {version}"
                    self._seen[view, (sku, location)] = version
