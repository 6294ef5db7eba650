"""Changes that reached published parts: accepted while nobody works on them, or when every location says yes in time."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.forms import ChangeRequested
from schemas.fulfilment import AmendmentAnswered, ChangeAnswered
from schemas.sourcing import ChangePassedOn
from services.fulfilment_tracking import rules
from services.fulfilment_tracking.cancels import end_units
from services.fulfilment_tracking.case import Case, as_units, open_exception
from services.fulfilment_tracking.events import (
    AmendmentHeard,
    ChangeAsked,
    ChangeOpened,
    ChangeSettled,
    ContentReplaced,
)
from services.fulfilment_tracking.parts import amend, release_all
from services.fulfilment_tracking.state import Change, Content, Part
from shared.kernel.model import Wake, Yield

CHANGE = "change:"
"""Timer `change:<request id>`: silence means no."""


def requested(case: Case, request: ChangeRequested) -> Iterator[Yield]:
    """Kept until sourcing says who decides."""
    yield ChangeOpened(case.order_id, case.now, request.request_id, Content.of(request.order), request.demand_changed)


def passed_on(case: Case, decision: ChangePassedOn) -> Iterator[Yield]:
    """Sourcing decided by itself, or leaves the answer to the parts."""
    change = case.order.changes.get(decision.request_id)
    if change is None:
        yield from _never_seen(case, decision)
    elif decision.passed_on:
        if not change.asked:
            yield from _decide(case, change)
    elif decision.accepted:
        yield from _take(case, change)
    else:
        yield from _drop(case, change)


def _never_seen(case: Case, decision: ChangePassedOn) -> Iterator[Yield]:
    if decision.passed_on:
        yield _answer(case, decision.request_id, accepted=False, detail="The changed content never arrived.")


def _decide(case: Case, change: Change) -> Iterator[Yield]:
    standing = [part for part in case.order.parts.values() if any(w.standing for w in part.lines.values())]
    if any(rules.is_touched(part, change.demand_changed) for part in standing):
        yield from _drop(case, change)
        yield _answer(case, change.request_id, accepted=False, detail="A location works on the order already.")
    elif instructed := [part for part in standing if part.revision > 0]:
        yield from _ask(case, change, instructed)
    else:
        yield from _take(case, change)
        yield _answer(case, change.request_id, accepted=True)


def _ask(case: Case, change: Change, parts: list[Part]) -> Iterator[Yield]:
    answer_by = rules.after_s(case.now, case.policy.cancel_answer_s)
    revisions = {part.part_id: part.revision + 1 for part in parts}
    yield ChangeAsked(case.order_id, case.now, change.request_id, revisions, answer_by)
    for part in parts:
        yield from amend(case, part, change.content)
    yield Wake(case.key, f"{CHANGE}{change.request_id}", answer_by)


def answered(case: Case, report: AmendmentAnswered) -> Iterator[Yield]:
    part = case.part(report.fulfilment_order_id)
    asked = (c for c in case.order.changes.values() if c.asked.get(part.part_id) == report.revision)
    change = next(asked, None)
    if change is None:
        yield from _unexpected(case, part, report)
    elif report.accepted:
        yield AmendmentHeard(part.part_id, case.now, change.request_id)
        yield from _accept_if_all_did(case, change.request_id)
    else:
        yield from _refuse(case, change, f"{part.location} refused it.")


def _accept_if_all_did(case: Case, request_id: str) -> Iterator[Yield]:
    change = case.order.changes[request_id]
    if not change.asked:
        yield from _take(case, change)
        yield Wake(case.key, f"{CHANGE}{request_id}", None)
        yield _answer(case, request_id, accepted=True)


def silence(case: Case, request_id: str) -> Iterator[Yield]:
    """The deadline has come: silence means no."""
    change = case.order.changes.get(request_id)
    if change is not None and change.answer_by is not None:
        yield from _refuse(case, change, "Not every location answered in time.")


def _refuse(case: Case, change: Change, detail: str) -> Iterator[Yield]:
    """One location said no: those that were told otherwise get the earlier content again, as a new revision."""
    content = case.order.content
    assert content is not None, "a change is opened for accepted orders only"
    yield from _drop(case, change)
    for part in map(case.part, change.amended):
        if part.left > 0:
            yield from amend(case, part, content)
    yield Wake(case.key, f"{CHANGE}{change.request_id}", None)
    yield _answer(case, change.request_id, accepted=False, detail=detail)


def _take(case: Case, change: Change) -> Iterator[Yield]:
    """The changed content counts from now on. Changed demand ends every part: sourcing plans the order anew."""
    yield ContentReplaced(case.order_id, case.now, change.content, change.demand_changed)
    yield ChangeSettled(case.order_id, case.now, change.request_id, accepted=True)
    if change.demand_changed:
        for part in tuple(case.order.parts.values()):
            units = as_units({line: work.left for line, work in part.lines.items()})
            if units:
                yield from end_units(case, part.part_id, "changed", units, case.now)
    yield from release_all(case)


def _drop(case: Case, change: Change) -> Iterator[Yield]:
    yield ChangeSettled(case.order_id, case.now, change.request_id, accepted=False)
    yield from release_all(case)


def _answer(case: Case, request_id: str, *, accepted: bool, detail: str = "") -> ChangeAnswered:
    return ChangeAnswered(order_id=case.order_id, request_id=request_id, accepted=accepted, detail=detail)


def _unexpected(case: Case, part: Part, report: AmendmentAnswered) -> Iterator[Yield]:
    """An answer to an old revision changes nothing; a refusal of the newest one needs a person."""
    if report.revision == part.revision > 1 and not report.accepted:
        yield from open_exception(
            case,
            "contradiction",
            f"{part.part_id}:revision-{report.revision}",
            f"{part.location} refused revision {report.revision} of {part.part_id} after the change was decided.",
            "Ask the location which content it works on.",
        )
