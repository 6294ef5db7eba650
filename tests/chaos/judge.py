"""The judgement over a round at rest: what people asked for and really did, held against what services say and keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.audit import audit
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas import returns as rt
from schemas.inventory import Availability
from schemas.orders import OrderClosed, OrderInvoiced
from schemas.status import OrderStatus
from shared.settings import Settings
from tests.chaos.findings import Findings
from tests.chaos.load import Day, SteadyTrade
from tests.support.aftermath import COMPLAINTS, CONSTRAINT
from tests.support.desk import Place
from tests.support.last_words import entries
from tests.support.robots import OPENING
from tests.support.steps import is_ours, is_stuck, oddly_answered, overdrawn

AUDIT_WAIT_S = 60.0
MENDS_ITSELF = frozenset({"exit"})
"""A process that ends is started again; whether it then does its work is judged by its work."""


def judge_place(place: Place, found: Findings) -> None:
    """What holds for the orders of every world, whatever people did there."""
    statuses = place.desk.statuses(place.channel)
    for text in oddly_answered(place):
        found.add("lost" if text.endswith("has no answer") else "doubled", text)
    for level in (level for location in place.locations for level in place.desk.levels(location)):
        if level.reserved or level.picked:
            found.lost(f"units that are kept for nobody: {level}")
    for level in overdrawn(place.desk.all(Availability, where=lambda level: level.location in place.locations)):
        found.oversold(f"promised what isn't there: {level}")
    for status in filter(is_stuck, statuses):
        found.lost(f"{status.order_id} is stuck: {status.status}, waits for {status.waiting}")
    once(found, "instruction", [work.fulfilment_order_id for work in ours(place, ff.FulfilOrder)])
    once(found, "return", [told.request_id for told in ours(place, rt.ReturnAuthorised) if not told.repeated])
    once(found, "end of", [told.order_id for told in ours(place, OrderClosed)])


def judge_day(day: Day, found: Findings) -> None:
    """Books against shelves; every unit of every line at the buyer's or given up; money as invoiced."""
    place = day.place
    closed = {told.order_id for told in ours(place, OrderClosed)}
    for order_id in day.orders.keys() - closed:
        found.lost(f"{order_id} never ends")
    for (location, sku), units in day.shelves.items():
        level = place.desk.level(sku, location)
        if level is None:
            found.lost(f"{sku} at {location} is in no book")
        elif level.sellable > units:
            found.oversold(f"{sku} at {location}: {units} lie there, the books promise {level.sellable}")
        elif (level.sellable, level.damaged) != (units, day.damaged[location, sku]):
            found.lost(f"{sku} at {location}: {units} lie there and {day.damaged[location, sku]} damaged, in the books {level}")
    for status in place.desk.statuses(place.channel):
        judge_lines(status, found)
        judge_money(place, status.order_id, found)


def judge_lines(status: OrderStatus, found: Findings) -> None:
    """More than ordered only where a person was told."""
    for line in status.lines:
        rest = line.ordered - line.handed_over - line.cancelled - line.unfillable
        if rest > 0:
            found.lost(f"{status.order_id}: {rest} units of {line} are nowhere")
        elif rest < 0 and not status.exceptions:
            found.doubled(f"{status.order_id}: {-rest} units too many in {line}")


def judge_money(place: Place, order_id: str, found: Findings) -> None:
    taken = sum(asked.amount_minor for asked in place.desk.all(pay.CapturePayment, order_id=order_id))
    taken -= sum(asked.amount_minor for asked in place.desk.all(pay.RefundPayment, order_id=order_id))
    invoiced = sum(invoice.amount_minor for invoice in place.desk.all(OrderInvoiced, order_id=order_id))
    if taken not in (0, invoiced):
        found.add("doubled" if taken > invoiced else "lost", f"{order_id}: {taken} captured, {invoiced} invoiced")


def judge_trade(trade: SteadyTrade, found: Findings) -> None:
    """What came in is at the buyers' or on the shelves; money was taken for exactly what was kept; each return has its credit, once."""
    place = trade.place
    left: Counter[str] = Counter()
    for level in (level for location in place.locations for level in place.desk.levels(location)):
        left[level.sku] += level.sellable
    expected = Counter({place.sku(item): units for (_, item), units in OPENING.items()})
    for status in place.desk.statuses(place.channel):
        for line in status.lines:
            expected[line.sku] += line.credited - line.shipped
            if line.ordered != line.handed_over + line.cancelled + line.backordered:
                found.lost(f"{status.order_id}: units of {line} are nowhere")
    for sku in left.keys() | expected.keys():
        if left[sku] != expected[sku]:
            found.add("oversold" if left[sku] > expected[sku] else "lost", f"{sku}: {left[sku]} in the books, {expected[sku]} are left")
    once(found, "credit", [credit.order_id for credit in ours(place, rt.CreditDue)])
    taken, owed = trade._money_taken(), trade._money_owed()
    for order_id in taken.keys() | owed.keys():
        if taken[order_id] != owed[order_id]:
            found.add("doubled" if taken[order_id] > owed[order_id] else "lost", f"{order_id}: {taken[order_id]} taken of {owed[order_id]}")


async def judge_books(settings: Settings, found: Findings) -> None:
    """All databases and topics fit together, and every row is what its events make of it."""
    audited = await audit(settings, AUDIT_WAIT_S)
    if audited.moving:
        found.lost(f"the system does not come to rest: {audited.moving}")
    for each in audited.violations:
        found.other(f"audit, {each.check}: {each.service} {each.what}: {each.detail}")


def judge_logs(logs: Path, found: Findings) -> None:
    """Nothing was halved, refused or quarantined, no constraint was hit: an outage is no fault of a message."""
    for log in sorted(logs.glob("*.log")):
        for entry in entries(log):
            if (entry.get("action") in COMPLAINTS - MENDS_ITSELF) or CONSTRAINT in str(entry):
                told = entry.get("error") or entry.get("detail") or entry.get("event")
                found.other(f"{log.stem} at {entry.get('timestamp')}: {entry.get('action')}: {told}")


def ours(place: Place, kind: type[Any]) -> list[Any]:
    return place.desk.all(kind, lambda body: is_ours(place, body))


def once(found: Findings, what: str, ids: list[str]) -> None:
    for id, times in repeated(ids):
        found.doubled(f"{what} {id}: {times} times")


def repeated(ids: list[str]) -> Iterator[tuple[str, int]]:
    return ((id, times) for id, times in Counter(ids).items() if times > 1)
