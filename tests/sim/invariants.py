"""What must be true of a world: at every step, and once nothing is left to happen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from deploy.audit import CHECKS
from deploy.audit.findings import Findings
from deploy.fleet import SERVICES, load_service
from deploy.rebuild import Folded, difference, fold
from tests.sim.books import read_books, read_ledger
from tests.sim.model import predicted
from tests.sim.promises import promises
from tests.sim.supplier import supply_is_what_was_announced
from tests.sim.views import views_hold_their_documents

if TYPE_CHECKING:
    from tests.sim.world import World


def at_rest(world: World) -> list[str]:
    """Everything that is wrong, as `check: what`."""
    people = [*promises(world), *supply_is_what_was_announced(world)]
    return [*_audited(world), *_held(world), *_promised(world), *people, *_rebuilt(world), *_told(world)]


def _promised(world: World) -> Iterator[str]:
    """No reservation takes units that are not there: facts may leave promised units missing (owed), promising may not."""
    for entry in world.databases["inventory"].table("history").values():
        change = getattr(entry.event, "change", None) or {}
        if change.get("reserved", 0) > 0 and change.get("owed", 0) > 0:
            yield f"promised_once: {entry.key.id} was promised beyond what was free: {change}"


def _audited(world: World) -> Iterator[str]:
    books, ledger = read_books(world.databases, world.turns.clock.now()), read_ledger(world.broker)
    books.views = {each.name: each.pictures.seen() for each in world.processes if each.lives and not each.frozen and each.pictures}
    for check in CHECKS:
        found = Findings(check.__name__)
        check(books, ledger, found)
        for each in found.violations:
            yield f"{each.check}: {each.service} {each.what}: {each.detail}"
    yield from predicted(world, books, ledger)


def _held(world: World) -> Iterator[str]:
    for process in world.processes:
        if process.lives and not process.frozen:
            yield from views_hold_their_documents(process, world.broker)


def _rebuilt(world: World) -> Iterator[str]:
    """Folding all events of a service again makes exactly the rows it keeps."""
    for service in SERVICES:
        kinds = {kind.name: kind for kind in load_service(service).kinds}
        database = world.databases[service]
        entries = sorted(database.table("history").items(), key=lambda entry: (entry[1].key, entry[0]))
        folded = {}
        for key, events in groupby((entry for _, entry in entries), key=lambda entry: entry.key):
            row: Folded | None = None
            for entry in events:
                row = fold(kinds[key.kind], key.id, row, entry.version, entry.event)
            folded[key] = row
        for name in kinds:
            kept = {str(id): Folded(row.version, row.state) for id, row in database.table(f"state.{name}").items()}
            made = {key.id: row for key, row in folded.items() if key.kind == name and row is not None}
            for id in sorted(kept.keys() | made.keys()):
                if problem := difference(kept.get(id), made.get(id)):
                    yield f"rows_equal_their_events: {service} {name} {id}: {problem}"


def _told(world: World) -> Iterator[str]:
    """Nothing was refused, halved or quarantined but what the faults put there."""
    for entry in world.logged.entries:
        if entry.get("action") in ("refuse", "quarantine", "halve") and not world.faults.excuses(entry):
            yield f"nothing_fails: {entry.get('event')}: {entry.get('error') or entry.get('detail')}"
        if "deadlock" in str(entry.get("error")):
            yield f"nobody_blocks_in_a_circle: {entry.get('error')}"
    for fault in world.outside.lanes.faults:
        yield f"lanes_in_order: {fault}"
