"""What a world that doesn't come to rest is still about."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from deploy.fleet import SERVICES
from shared.kernel.ports import TIMERS

if TYPE_CHECKING:
    from tests.sim.world import World

MOST = 3


def what_moves(world: World) -> str:
    """The first of everything that isn't done."""
    busy = [process.name for process in world.processes if not world._is_still(process)]
    unpublished = [name for name in SERVICES if not world._is_published(name)]
    timers = [f"{name} {timer.name}" for name, each in world.databases.items() for timer in each.table("timer").values()]
    kept = {name: len(each.table("kept")) for name, each in world.databases.items() if each.table("kept")}
    return (
        f"unread {_some(_unread(world))}, unshown {_some(_unshown(world))}, busy {busy}, unpublished {unpublished}, "
        f"timers {timers[:MOST]}, kept {kept}, {len(world.agenda)} on the agenda"
    )


def _some(found: Iterator[str]) -> list[str]:
    return list(islice(found, MOST))


def _unread(world: World) -> Iterator[str]:
    for name in SERVICES:
        positions: dict[Any, Any] = world.databases[name].table("position")
        for at, position in positions.items():
            if at.topic != TIMERS and position.next < world._end(at):
                yield f"{name} {at.topic}/{at.partition} from {position.next}"


def _unshown(world: World) -> Iterator[str]:
    for name in SERVICES:
        for state in world._states[name]:
            for id, row in world.databases[name].table(f"state.{state.kind}").items():
                if row.state is not None and not world._is_shown(world.databases[name], state, str(id), row):
                    yield f"{state.topic.name} {id} in version {row.version}"
