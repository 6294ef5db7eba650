"""What moves units: reports of the location's feed, what fulfilment and returns did, and announced supply.

Each is booked once under (level, kind, reference). The feed and fulfilment may report the same issue, the feed and returns the same
return, in either order: where the location declares the kind its feed alone moves the level and the others mark units unsettled;
elsewhere the larger total moves it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from datetime import datetime

from schemas.forms import StockChanged
from schemas.fulfilment import FactLine, StockIssued, StockPicked
from schemas.returns import StockRestocked, StockWrittenOff
from schemas.stock import InboundAnnounced, InboundClosed, StockMoved
from schemas.types import CODE, ORDER
from services.inventory import rules
from services.inventory.events import (
    SupplyAnnounced,
    SupplyChanged,
    SupplyClosed,
    SupplyReceived,
    UnitsGivenUp,
    UnitsIssued,
    UnitsPicked,
)
from services.inventory.levels import Case, discrepancy, keep_safety, keys_of, look, move, note, tell
from services.inventory.reservations import fact_line_keys, standing
from services.inventory.state import (
    Booked,
    Effect,
    Figures,
    Inbound,
    Level,
    Reservation,
    booked_key,
    inbound_key,
    level_key,
    other_order,
    reservation_key,
)
from shared.kernel.model import Key, Yield
from shared.value import replace

_PART_LINE = re.compile(rf"(?P<part>(?P<order>{ORDER})/[0-9]{{1,6}}):(?P<line>{CODE})", re.ASCII)

Effects = tuple[Effect, ...]


# ---- which rows ----


def keys_of_movement(report: StockMoved) -> list[Key]:
    level = level_key(report.sku, report.location)
    keys = [level, booked_key(level, report.kind, report.reference)]
    if (line := _PART_LINE.fullmatch(report.reference)) is not None:
        keys += [reservation_key(line["part"], line["line"]), booked_key(level, "issue", report.reference)]
    if report.inbound_reference is not None:
        keys.append(inbound_key(level, report.inbound_reference))
    return keys


def keys_of_issue(fact: StockIssued) -> list[Key]:
    references = [(level_key(x.sku, fact.location), f"{fact.part_id}:{x.line_id}") for x in fact.lines]
    booked = [booked_key(level, "issue", reference) for level, reference in references]
    return [*fact_line_keys(fact.part_id, fact.location, fact.lines), *booked]


# ---- reports of the feed ----


def moved(case: Case, report: StockMoved) -> Iterator[Yield]:
    """A running total of its reference: the difference is booked; an older total than the booked one says nothing new."""
    key = level_key(report.sku, report.location)
    row = case.booked(key, report.kind, report.reference)
    outdated = report.occurred_at < row.feed_at and not case.given.changed
    if report.quantity == row.feed or outdated:
        return
    before = look(case, (key,))
    was = case.level(key)
    declared = case.declares(report.location, report.kind) or report.kind not in rules.WITH_OWN_REPORTS
    booking = rules.book(row, report.quantity, row.own, declared)
    effects = yield from _report(case, key, report, booking)
    noted = note(replace(row, feed_at=report.occurred_at), was, booking, effects, feed=report.quantity)
    yield noted
    if booking.unsettled:
        yield from move(case, key, {"unsettled": booking.unsettled}, case.now, decided=True)
    yield from _remark(case, was, report, report.quantity - row.feed, booking)
    if report.inbound_reference is not None:
        yield from _receive(case, key, report.inbound_reference, booking.moved)
    yield from tell(case, before, report.location, "moved", report.reference)


def _report(case: Case, key: Key, report: StockMoved, booking: rules.Booking) -> Generator[Yield, None, Effects]:
    """Move the level as the report says; its effects."""
    row, units = _named(case, report), booking.moved
    if not units:
        return ()
    if row is not None and report.kind == "issue" and units < 0:
        return (yield from _issue(case, key, row, -units, report.occurred_at, booking.ahead, unasked=False))
    if row is not None and report.kind == "status_change" and (report.from_status, report.to_status) == _PICKING:
        return (yield from _picked_by_feed(case, key, row, report, units))
    if row is not None and row.ahead and booking.ahead < 0:
        yield UnitsIssued(row.part_id, row.line_id, 0, 0, booking.ahead)
    return (yield from _plain(case, key, report, units))


def _plain(case: Case, key: Key, report: StockMoved, units: int) -> Generator[Yield, None, Effects]:
    change = rules.movement(report, units, case.level(key))
    yield from move(case, key, change, report.occurred_at, report.reference, booked=True)
    return (Effect(report.occurred_at, change),)


_PICKING = ("sellable", "picked")


def _named(case: Case, report: StockMoved) -> Reservation | None:
    """The reservation the reference names, where it is one of this level, or none yet."""
    line = _PART_LINE.fullmatch(report.reference)
    if line is None:
        return None
    return _standing_or_new(case, line["part"], line["line"], report.sku, report.location)


def _standing_or_new(case: Case, part_id: str, line_id: str, sku: str, location: str) -> Reservation:
    """The line's reservation of this level, or an empty one, which lends no units."""
    found = standing(case, part_id, line_id, sku, location)
    return found if found is not None else Reservation(part_id, line_id)


def _picked_by_feed(case: Case, key: Key, row: Reservation, report: StockMoved, units: int) -> Generator[Yield, None, Effects]:
    """The same pick as fulfilment reports: only what is beyond its reports moves units."""
    if not row.exists and case.booked(key, "issue", report.reference).moved:
        return ()
    if not row.exists or units < 0:
        return (yield from _plain(case, key, report, units))
    new = max(0, units - max(0, -row.lead))
    yield from _pick(case, key, row, new, units, row.order, report.occurred_at)
    return ()


def _remark(case: Case, level: Level, report: StockMoved, difference: int, booking: rules.Booking) -> Iterator[Yield]:
    """What a person should know about this report."""
    if case.given.changed:
        detail = "a report came again under the same id with other content; the difference was booked"
        yield discrepancy(level, "changed_report", difference, report.reference, detail)
    if booking.moved and report.occurred_at <= rules.counted_at(level, report.to_status):
        detail = "it happened before the last count, which contains it"
        yield discrepancy(level, "late_fact", booking.moved, report.reference, detail)


# ---- what fulfilment did ----


def picked(case: Case, fact: StockPicked) -> Iterator[Yield]:
    """Sellable and reserved become picked; what nobody reserved too, as far as it is there."""
    before = look(case, keys_of(fact.location, (line.sku for line in fact.lines)))
    for line in fact.lines:
        key = level_key(line.sku, fact.location)
        row = _row_for(case, fact.part_id, line, fact.location)
        if row is not None:
            units = line.quantity - min(line.quantity, max(0, row.lead))
            yield from _pick(case, key, row, units, -line.quantity, fact.order_id, fact.occurred_at)
    yield from tell(case, before, fact.location, "picked", fact.part_id)


def _row_for(case: Case, part_id: str, line: FactLine, location: str) -> Reservation | None:
    """The line's reservation of this level, or an absent one; None where the line's units are of another level.

    Such units (a substitute) are not followed as picked: they stay on the shelf until they are issued.
    """
    row = case.reservation(part_id, line.line_id)
    return row if not row.exists or (row.sku, row.location) == (line.sku, location) else None


def _pick(case: Case, key: Key, row: Reservation, units: int, lead: int, order_id: str, at: datetime) -> Iterator[Yield]:
    """Reserved units of the row first, then what lies on the shelf; who has them in the cart has them, whatever the level knew of."""
    level = case.level(key)
    from_open, reference = min(units, row.open), f"{row.part_id}:{row.line_id}"
    if units or row.exists:
        yield UnitsPicked(
            part_id=row.part_id,
            line_id=row.line_id,
            order_id=other_order(order_id, row.part_id),
            sku=level.sku,
            location=level.location,
            units=units,
            from_open=from_open,
            lead=lead,
            at=at,
        )
    yield from move(case, key, {"sellable": -units, "reserved": -from_open, "picked": units}, at, reference)


def issued(case: Case, fact: StockIssued) -> Iterator[Yield]:
    """Units left for the buyer or carrier."""
    before = look(case, keys_of(fact.location, (line.sku for line in fact.lines)))
    declared = case.declares(fact.location, "issue")
    for line in fact.lines:
        key, reference = level_key(line.sku, fact.location), f"{fact.part_id}:{line.line_id}"
        row = case.booked(key, "issue", reference)
        own = row.own - line.quantity
        booking = rules.book(row, row.feed, own, declared)
        effects = yield from _issue_own(case, key, fact, line, row, booking)
        yield note(row, case.level(key), booking, effects, own=own)
    yield from tell(case, before, fact.location, "issued", fact.part_id)


def _issue_own(
    case: Case, key: Key, fact: StockIssued, line: FactLine, row: Booked, booking: rules.Booking
) -> Generator[Yield, None, Effects]:
    reservation = _standing_or_new(case, fact.part_id, line.line_id, line.sku, fact.location)
    if booking.unsettled > 0:
        ready = max(0, reservation.picked - row.unsettled)
        yield from _set_aside(case, key, reservation, booking.unsettled, ready, fact)
    units, ahead = max(0, -booking.moved), min(reservation.ahead, -booking.ahead)
    effects = yield from _issue(case, key, reservation, units, fact.occurred_at, -ahead, fact.unasked)
    yield from _put_back(case, key, reservation, -booking.ahead - ahead)
    beyond = rules.split(units, reservation).shelf
    if beyond and not fact.unasked:
        detail = "issued beyond what was reserved for this line here; it came from the shelf"
        yield discrepancy(case.level(key), "unknown_reference", -beyond, row.reference, detail)
    return effects


def _set_aside(case: Case, key: Key, row: Reservation, units: int, ready: int, fact: StockIssued) -> Iterator[Yield]:
    """Handed over, and the feed has still to say so: the units are picked, if nobody said it, and wait."""
    if units > ready:
        lender = replace(row, open=0) if fact.unasked else row
        yield from _pick(case, key, lender, units - ready, 0, fact.order_id, fact.occurred_at)
    yield from move(case, key, {"unsettled": units}, case.now, decided=True)


def _put_back(case: Case, key: Key, row: Reservation, units: int) -> Iterator[Yield]:
    """The feed took these units from the shelf before fulfilment said they were picked: they were moved twice."""
    back = min(units, row.picked)
    if row.exists and back > 0:
        yield UnitsGivenUp(row.part_id, row.line_id, open=0, picked=back)
        yield from move(case, key, {"picked": -back, "sellable": back}, case.now, decided=True)


def _issue(case: Case, key: Key, row: Reservation, units: int, at: datetime, ahead: int, unasked: bool) -> Generator[Yield, None, Effects]:
    """From picked first, then the reserved shelf, then the shelf. `ahead`: the feed's lead over fulfilment changes so."""
    parts = rules.split(units, row, unasked)
    from_row = parts.picked + parts.open
    if row.exists and (from_row or ahead):
        lead = parts.open + max(0, -row.lead) if ahead > 0 and parts.open else 0
        yield UnitsIssued(row.part_id, row.line_id, parts.picked, parts.open, min(ahead, from_row), lead)
    if not units:
        return ()
    change = rules.issue(parts)
    reference = f"{row.part_id}:{row.line_id}"
    yield from move(case, key, change, at, reference, booked=True)
    return (*rules.history(row, parts.open, parts.picked), Effect(at, change))


# ---- what returns did ----


def restocked(case: Case, fact: StockRestocked) -> Iterator[Yield]:
    """Returned units enter a level, or wait for the feed to say so."""
    key = level_key(fact.sku, fact.location)
    before, row = look(case, (key,)), case.booked(key, "customer_return", fact.reference)
    own = row.own + fact.quantity
    booking = rules.book(row, row.feed, own, case.declares(fact.location, "customer_return"))
    change: Figures = {fact.status: booking.moved}
    effects = (Effect(fact.occurred_at, change),) if booking.moved else ()
    yield note(row, case.level(key), booking, effects, own=own)
    yield from move(case, key, change, fact.occurred_at, fact.reference, booked=bool(booking.moved))
    yield from move(case, key, {"unsettled": booking.unsettled}, case.now, decided=True)
    yield from tell(case, before, fact.location, "restocked", fact.reference)


def written_off(fact: StockWrittenOff) -> StockChanged:
    """Units that never enter a level: a fact for the books."""
    return StockChanged(location=fact.location, cause="written_off", reference=fact.reference, levels=())


# ---- announced supply ----


def announced(case: Case, report: InboundAnnounced) -> Iterator[Yield]:
    """Replaces an older announcement of the same line."""
    key = level_key(report.sku, report.location)
    row: Inbound = case.world.get(inbound_key(key, report.reference), Inbound())
    same = (row.expected, row.eta, row.confidence) == (report.expected, report.eta, report.confidence)
    if report.announced_at < row.announced_at or (report.announced_at == row.announced_at and (same or row.closed)):
        return
    yield SupplyAnnounced(
        sku=report.sku,
        location=report.location,
        reference=report.reference,
        expected=report.expected,
        eta=report.eta,
        confidence=report.confidence,
        announced_at=report.announced_at,
    )
    yield from _changed_announcement(case, key, report)
    yield from _supply(case, key, report.reference)


def closed(case: Case, report: InboundClosed) -> Iterator[Yield]:
    """Nothing more comes, unless a newer announcement says otherwise."""
    key = level_key(report.sku, report.location)
    row: Inbound = case.world.get(inbound_key(key, report.reference), Inbound())
    if row.closed or report.closed_at < row.announced_at:
        return
    yield SupplyClosed(report.sku, report.location, report.reference, report.closed_at)
    yield from _supply(case, key, report.reference)


def _changed_announcement(case: Case, key: Key, report: InboundAnnounced) -> Iterator[Yield]:
    if case.given.changed:
        detail = "an announcement came again under the same id with other content; the new one counts"
        yield discrepancy(case.level(key), "changed_report", 0, report.reference, detail)


def _receive(case: Case, key: Key, reference: str, units: int) -> Iterator[Yield]:
    level = case.level(key)
    if units:
        yield SupplyReceived(level.sku, level.location, reference, units)
        yield from _supply(case, key, reference, tells=False)


def _supply(case: Case, key: Key, reference: str, tells: bool = True) -> Iterator[Yield]:
    """Show with the level what is still to come under one reference."""
    row: Inbound = case.world.get(inbound_key(key, reference), Inbound())
    level, before = case.level(key), look(case, (key,))
    shown = next((entry for entry in level.supply if entry.reference == reference), None)
    wanted = (row.left, row.eta, row.confidence)
    if (shown is None and not row.left) or (shown is not None and (shown.units, shown.eta, shown.confidence) == wanted):
        return
    yield from keep_safety(case, level)
    yield SupplyChanged(level.sku, level.location, reference, *wanted)
    if tells:
        yield from tell(case, before, level.location, "inbound", reference)
