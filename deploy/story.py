"""What a message says, in words: one sentence for each type, in the past tense, and the sourcing explanation in full.

Quantities are units of the item's base unit, money is in minor units of its currency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from schemas import audit, channel, fulfilment, inventory, orders, payments, returns, sourcing, stock
from schemas.channel import Problem
from schemas.sourcing import CostTerms, Explanation, PlanCost, Promise
from schemas.topics import Body

MOST_LINES = 6
MOST_CANDIDATES = 6
RULED_OUT: Mapping[str, str] = {
    "inactive": "not active",
    "method": "without this delivery method",
    "method_not_served": "without this delivery method",
    "not_in_policy": "outside the policy",
    "not_collection_point": "not where the buyer collects",
    "no_stock": "without stock of any of it",
    "rejected_before": "rejected it before",
    "costlier": "farther or dearer than those looked at",
    "beyond_cap": "beyond the number the policy looks at",
}
COST_WORDS = ("parcels", "distance", "weight", "handling", "labour", "lateness")
TIMERS: Mapping[str, str] = {
    "release": "its release time had come",
    "late": "the location was late",
    "cancel": "the time to answer the cancellation was over",
    "change": "the time to answer the change was over",
    "collect": "the time to collect was over",
    "presume": "the carrier had been silent for too long",
    "hold": "the hold's deadline had come",
    "cancel_after": "the order's own deadline had come",
    "recheck": "it was looked at again",
    "second_look": "it was looked at again",
    "deadline": "the backorder's deadline had come",
    "serve": "stock had arrived and it was its turn",
    "queue": "its place in the queue changed",
    "answers": "an answer was overdue",
    "short": "a fact had left fewer units than were promised",
    "unblock": "the block had ended",
    "expire": "the return's deadline had come",
}
"""Why a timer fires, by the first word of its name."""


def tell(body: Body) -> str:
    """The message as a sentence without its subject: `accepted the order`."""
    for family in FAMILIES:
        if said := family(body):
            return said
    return words(type(body).__name__)


def why_timer(name: str) -> str:
    """Why something happened that a timer caused."""
    return TIMERS.get(name.partition(":")[0], f"the timer {name} fired")


def words(name: str) -> str:
    """`LinesBackordered` as `lines backordered`."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).replace("_", " ").strip()


def money(minor: int, currency: str) -> str:
    return f"{minor / 100:,.2f} {currency}"


def units(lines: Iterable[Any]) -> str:
    """`2 x tea, 1 x mug`: by item where the message names it, else `2 of line 1`."""
    return _some([_of_line(line) for line in lines], MOST_LINES, "lines")


def _of_line(line: Any) -> str:
    sku = getattr(line, "sku", None)
    return f"{_amount(line)} x {sku}" if sku else f"{_amount(line)} of line {line.line_id}"


def _amount(line: Any) -> int:
    for name in ("quantity", "total", "reserved", "done"):
        if hasattr(line, name):
            return int(getattr(line, name))
    return 0


def _some(texts: Sequence[str], most: int, what: str) -> str:
    more = f" and {len(texts) - most} more {what}" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def problems(entries: Sequence[Problem]) -> str:
    return "; ".join(f"{entry.field + ': ' if entry.field else ''}{entry.message}" for entry in entries)


def _because(text: str) -> str:
    return f" ({text})" if text else ""


# ---- channels and orders ----


def _channel(body: Body) -> str:
    match body:
        case channel.PlaceOrder(order=content):
            lines = _some(
                [f"{x.quantity} x {x.sku or x.gtin or x.channel_sku or x.channel_line_ref}" for x in content.lines], MOST_LINES, "lines"
            )
            total = money(content.totals.total_minor, content.currency)
            return f"placed the order: {lines}, {total}, {words(content.delivery.method)}{_to(content.ship_to)}"
        case channel.ChangeOrder(order=content):
            total = money(content.totals.total_minor, content.currency)
            return f"asked to change the order to {len(content.lines)} lines, {total}{_because(body.reason)}"
        case channel.CancelOrder():
            what = units(body.lines) or "the whole order"
            return f"asked to cancel {what}{_because(body.reason)}"
        case channel.HoldOrder():
            return f"put the {body.type} hold {body.hold_id} on the order{_because(body.reason)}"
        case channel.ResolveHold():
            return f"resolved the hold {body.hold_id}: {body.resolution}"
        case channel.RequestAnswered():
            lines = ", ".join(f"line {x.line_id}: {x.done} done" + (f", {x.too_late} too late" if x.too_late else "") for x in body.lines)
            again = ", once more" if body.repeated else ""
            details = [text for text in (lines, problems(body.problems)) if text]
            return f"answered {body.request}{again}: {body.outcome}" + (f" ({'; '.join(details)})" if details else "")
        case _:
            return ""


def _to(party: channel.Party | None) -> str:
    place = " ".join(part for part in (party.postal_code, party.city, party.country) if part) if party else ""
    return f" to {place}" if place else ""


def _order(body: Body) -> str:
    match body:
        case orders.OrderAccepted(order=order):
            held = f", held by {', '.join(body.held)}" if body.held else ""
            return f"accepted the order as revision {order.revision} under policy {order.policy}{held}"
        case orders.OrderRejected():
            return f"rejected the order: {problems(body.problems)}"
        case orders.OrderInvoiced():
            return f"invoiced {money(body.amount_minor, body.currency)} for {units(body.lines)}"
        case orders.OrderClosed():
            return f"closed the order: {words(body.outcome)}"
        case orders.MoneyExceptionOpened():
            return _exception(body.kind, body.detail, body.action)
        case _:
            return ""


def _hold_or_change(body: Body) -> str:
    match body:
        case orders.OrderHeld():
            when = "before accepting it" if body.before_acceptance else "after accepting it"
            reasons = f": {problems(body.problems)}" if body.problems else ""
            return f"held the order {when} ({body.type}) until {body.deadline:%Y-%m-%d %H:%M:%S}{reasons}"
        case orders.HoldResolved():
            left = f"; still held by {', '.join(body.open_holds)}" if body.open_holds else ""
            return f"ended the hold {body.hold_id}: {body.resolution}{left}"
        case orders.ChangeRequested():
            return f"passed the change {body.request_id} on behind the demand"
        case orders.OrderChanged(order=order):
            return f"changed the order to revision {order.revision} (effect: {body.effect})"
        case orders.CancellationRequested():
            return f"passed the cancellation of {units(body.lines)} on behind the demand{_because(body.reason)}"
        case orders.LinesCancelled():
            return f"cancelled {units(body.lines)} for good{_because(body.reason)}"
        case _:
            return ""


def _exception(kind: str, detail: str, action: str) -> str:
    return f"opened an exception, {words(kind)}: {detail} To do: {action}"


def _money(body: Body) -> str:
    match body:
        case payments.PaymentRequest():
            asked = {"CapturePayment": "capture", "VoidPayment": "give up", "RefundPayment": "refund"}[type(body).__name__]
            return f"asked to {asked} {money(body.amount_minor, body.currency)} of payment {body.payment_id}{_because(body.reason)}"
        case payments.PaymentDeclined():
            return f"declined {money(body.amount_minor, body.currency)} of payment {body.payment_id}{_because(body.reason)}"
        case payments.PaymentFact():
            done = type(body).__name__.removeprefix("Payment").lower()
            return f"{done} {money(body.amount_minor, body.currency)} of payment {body.payment_id}"
        case _:
            return ""


# ---- sourcing and inventory ----


def _sourcing(body: Body) -> str:
    match body:
        case sourcing.OrderSourced():
            parts = "; ".join(f"{part.location} does {units(part.lines)} as part {part.part_id.rpartition('/')[2]}" for part in body.parts)
            again = {"new": "", "resourced": " anew", "backorder": " from the backorder", "change": " after the change"}[body.cause]
            return f"decided{again}: {parts}{', the order is split' if body.split else ''}"
        case sourcing.LinesBackordered():
            return f"backordered {units(body.lines)} until {body.deadline:%Y-%m-%d %H:%M:%S}: {words(body.reason)}"
        case sourcing.LinesUnfillable():
            return f"gave up {units(body.lines)}: {words(body.reason)}{_because(body.detail)}"
        case sourcing.PartShorted():
            return f"took {units(body.lines)} off part {body.part_id.rpartition('/')[2]} at {body.location}: its stock is gone"
        case sourcing.CancellationPassedOn():
            texts = [("cancelled", body.cancelled), ("passed on", body.passed_on), ("too late for", body.too_late)]
            return "on the cancellation: " + ("; ".join(f"{what} {units(lines)}" for what, lines in texts if lines) or "nothing was left")
        case sourcing.ChangePassedOn():
            return f"on the change: {'accepted' if body.accepted else 'passed on to fulfilment' if body.passed_on else 'declined'}"
        case sourcing.SourcingExceptionOpened():
            return _exception(body.kind, body.detail, body.action)
        case _:
            return ""


def promise(of: Promise) -> str:
    """`delivery by Tuesday 24 November (Europe/Paris)`."""
    return f"{of.kind} by {of.day:%A %d %B} ({of.zone})"


def explain_sourcing(decision: sourcing.OrderSourced) -> list[str]:
    """Why these locations, what it costs and what else was possible, and what the buyer is told."""
    told = [line for explanation in decision.explanation for line in _explanation(explanation)]
    return [*told, f"Promise: {promise(decision.promise)}."]


def _explanation(why: Explanation) -> list[str]:
    told = [f"Policy {why.policy} version {why.policy_version}, attempt {why.attempt}: {_candidates(why)}."]
    if why.eliminated:
        told.append(
            "Ruled out: " + ", ".join(f"{count} {RULED_OUT.get(name, words(name))}" for name, count in why.eliminated.items()) + "."
        )
    told.append(f"Chosen: {_plan(why.chosen)} for {_cost(why.chosen.cost, why.currency)}.")
    for other in why.alternatives:
        dearer = other.cost.total - why.chosen.cost.total
        told.append(f"Instead: {_plan(other)} for {money(other.cost.total, why.currency)}, {money(dearer, why.currency)} more.")
    if not why.alternatives:
        told.append("No other plan was possible.")
    return told


def _candidates(why: Explanation) -> str:
    texts = []
    for one in why.candidates:
        distance = f"{one.distance_km} km, " if one.distance_km is not None else ""
        levels = ", ".join(f"{level.atp} x {level.sku}" for level in one.levels[:MOST_LINES])
        texts.append(f"{one.location} ({distance}{levels or 'nothing free'})")
    count = len(texts)
    cap = ", the nearest of more" if why.capped else ""
    return f"{count} candidate{'s' if count != 1 else ''}{cap}" + (f": {_some(texts, MOST_CANDIDATES, 'locations')}" if texts else "")


def _plan(plan: PlanCost) -> str:
    if len(plan.parts) == 1:
        return f"{plan.parts[0].location} alone"
    return " + ".join(f"{part.location} ({units(part.lines)})" for part in plan.parts) or "nothing"


def _cost(cost: CostTerms, currency: str) -> str:
    terms = ", ".join(f"{name} {getattr(cost, name) / 100:.2f}" for name in COST_WORDS if getattr(cost, name))
    return money(cost.total, currency) + (f" ({terms})" if terms else "")


def _inventory(body: Body) -> str:
    match body:
        case inventory.ReserveStock():
            return f"asked {body.location} for {units(body.lines)} as part {body.part_id.rpartition('/')[2]}"
        case inventory.ReleaseStock():
            return f"gave part {body.part_id.rpartition('/')[2]} at {body.location} back: {words(body.reason)}"
        case inventory.StockReserved():
            short = [line for line in body.lines if line.reserved < line.asked]
            less = f" (asked for {', '.join(f'{x.asked} x {x.sku}' for x in short)})" if short else ""
            return f"reserved {units(body.lines)} at {body.location}{less}"
        case inventory.ReservationDeclined():
            free = ", ".join(f"{level.atp} x {level.sku}" for level in body.levels)
            return f"declined the reservation at {body.location}: {words(body.reason)}" + (f"; free there: {free}" if free else "")
        case inventory.ReservationReleased():
            return f"released {units(body.lines)} at {body.location}: {words(body.cause)}"
        case inventory.ReservationShorted():
            return f"took {units(body.lines)} at {body.location} from the reservation: the units are gone"
        case inventory.StockChanged():
            figures = ", ".join(f"{x.sku} {x.sellable} sellable, {x.reserved} reserved" for x in body.levels[:MOST_LINES])
            return f"{words(body.cause)} at {body.location}" + (f": {figures}" if figures else "")
        case inventory.DiscrepancyFound():
            return f"found a discrepancy at {body.location}: {body.quantity:+d} x {body.sku}, {words(body.kind)}{_because(body.detail)}"
        case _:
            return ""


def _stock(body: Body) -> str:
    match body:
        case stock.StockCounted():
            return f"counted {len(body.lines)} items ({body.count_id}): {units(body.lines)}"
        case stock.StockMoved():
            return f"reported {words(body.kind)}: {body.quantity:+d} x {body.sku} ({body.reference})"
        case stock.InboundAnnounced():
            return f"announced {body.expected} x {body.sku} for {body.eta:%Y-%m-%d %H:%M} ({body.reference})"
        case stock.InboundClosed():
            return f"closed the announcement {body.reference}: {words(body.reason)}"
        case _:
            return ""


# ---- fulfilment ----


def _instruction(body: Body) -> str:
    match body:
        case fulfilment.FulfilOrder():
            return f"instructed {body.location}: {units(body.lines)}, ship by {body.ship_by:%Y-%m-%d %H:%M}"
        case fulfilment.AmendOrder():
            return f"sent {body.location} revision {body.revision} of its work: {units(body.lines)}"
        case fulfilment.HoldFulfilment():
            return f"told {body.location} to stop for now"
        case fulfilment.ResumeFulfilment():
            return f"told {body.location} to go on"
        case fulfilment.CancelFulfilment():
            return f"asked {body.location} to cancel {units(body.lines)}, answer by {body.answer_by:%H:%M:%S}"
        case _:
            return ""


def _report(body: Body) -> str:
    match body:
        case fulfilment.WorkAccepted():
            return "takes the work on"
        case fulfilment.WorkRejected():
            reasons = ", ".join(f"{_of_line(line)} ({words(line.reason)})" for line in body.lines)
            return f"can't do {reasons}{_because(body.note)}"
        case fulfilment.LinesPicked():
            return f"has picked {units(body.lines) or 'nothing'}{', and will pick no more' if body.final else ''}"
        case fulfilment.ParcelPacked():
            return f"packed parcel {body.parcel_id}: {units(body.lines)}"
        case fulfilment.ParcelShipped():
            return f"gave parcel {body.parcel_id} to {body.carrier} ({body.tracking_number}): {units(body.lines)}"
        case fulfilment.CancelAnswered():
            return f"answered the cancellation: {units(body.accepted) or 'nothing'} cancelled"
        case fulfilment.AmendmentAnswered():
            return f"{'accepted' if body.accepted else 'refused'} revision {body.revision}"
        case _:
            return ""


def _arrival(body: Body) -> str:
    match body:
        case fulfilment.ReadyForCollection():
            return f"has {units(body.lines)} ready for the buyer"
        case fulfilment.LinesCollected():
            return f"handed {units(body.lines)} to the buyer"
        case fulfilment.NotCollected():
            return "the buyer did not come; the goods go back to the shelf"
        case fulfilment.ReceivedAtDestination():
            return f"received {units(body.lines)} of parcel {body.parcel_id}{', damaged: ' + units(body.damaged) if body.damaged else ''}"
        case fulfilment.ParcelTracked():
            return f"{body.tracking_number}: {words(body.status)}{_because(' '.join(x for x in (body.raw_code, body.place) if x))}"
        case _:
            return ""


def _reservation_ended(body: fulfilment.ReservationEnded) -> str:
    reason = f", {words(body.reason)}" if body.reason != "none" else ""
    match body.cause:
        case "shorted" if body.reason == "damaged":
            return f"{body.location} found {units(body.lines)} damaged that it has no more to do"
        case "shorted":
            return f"{body.location} gave up {units(body.lines)} whose stock was taken"
        case "served":
            return f"{units(body.lines)} reserved at {body.location} are free again: others left in their place"
        case _:
            return f"{body.location} won't do {units(body.lines)}: {words(body.cause)}{reason}"


def _fulfilment(body: Body) -> str:
    match body:
        case fulfilment.FulfilmentFact():
            return f"{_FACTS[type(body)](body)} (part {body.fulfilment_order_id.rpartition('/')[2]}, {body.location})"
        case fulfilment.CancellationAnswered():
            cancelled, too_late = (units(lines) or "nothing" for lines in (body.cancelled, body.too_late))
            return f"last word on the cancellation: {cancelled} cancelled, {too_late} too late"
        case fulfilment.ChangeAnswered():
            return f"{'accepted' if body.accepted else 'declined'} the change{_because(body.detail)}"
        case fulfilment.FulfilmentExceptionOpened():
            return _exception(body.kind, body.detail, body.action)
        case fulfilment.StockPicked():
            return f"{units(body.lines)} left the shelf of {body.location}"
        case fulfilment.StockIssued():
            return f"{units(body.lines)} left {body.location}{', which nobody asked for' if body.unasked else ''}"
        case fulfilment.IssueDated():
            return f"{units(body.lines)} had left {body.location} at {body.occurred_at:%H:%M:%S} already"
        case fulfilment.ReservationEnded():
            return _reservation_ended(body)
        case _:
            return ""


_HOW = {"delivered": "delivered to the buyer", "collected": "collected by the buyer", "presumed": "presumed delivered"}
_FACTS: Mapping[type[fulfilment.FulfilmentFact], Callable[[Any], str]] = {
    fulfilment.FulfilmentScheduled: lambda body: f"scheduled the fulfilment order for {body.release_at:%Y-%m-%d %H:%M:%S}",
    fulfilment.FulfilmentInstructed: lambda body: f"the instruction went out, revision {body.revision}",
    fulfilment.FulfilmentAccepted: lambda _: "the location works on it",
    fulfilment.LinesRejectedByLocation: lambda body: f"{units(body.lines)} rejected: {words(body.reason)}",
    fulfilment.LinesWerePicked: lambda body: f"{units(body.lines)} picked",
    fulfilment.ParcelWasPacked: lambda body: f"parcel {body.parcel_id} packed: {units(body.lines)}",
    fulfilment.ParcelWasShipped: lambda body: f"parcel {body.parcel_id} shipped with {body.carrier}: {units(body.lines)}",
    fulfilment.LinesReadyForCollection: lambda body: f"{units(body.lines)} ready, to be collected by {body.collect_by:%Y-%m-%d %H:%M}",
    fulfilment.LinesHandedOver: lambda body: f"{units(body.lines)} {_HOW[body.how]}",
    fulfilment.LinesNotCollected: lambda body: f"{units(body.lines)} not collected",
    fulfilment.ParcelMoved: lambda body: f"parcel {body.parcel_id}: {words(body.status)}",
    fulfilment.ParcelCameBack: lambda body: f"parcel {body.parcel_id} came back: {units(body.lines)}",
}


# ---- returns ----


def _return(body: Body) -> str:
    match body:
        case returns.RequestReturn():
            return f"asked to send {units(body.lines)} back" + (f" to {body.return_to}" if body.return_to else "")
        case returns.CancelReturn():
            return f"called the return {body.return_id} off"
        case returns.GoodsReceived():
            return f"received {units(body.lines)} back (receipt {body.receipt_id})"
        case returns.GoodsInspected():
            return "inspected " + ", ".join(f"{unit.total} x {unit.sku}: {words(unit.disposition)}" for unit in body.units)
        case returns.StockRestocked():
            return f"{body.quantity} x {body.sku} back in stock at {body.location} as {words(body.status)}"
        case returns.StockWrittenOff():
            return f"{body.quantity} x {body.sku} written off at {body.location}: {words(body.disposition)}"
        case returns.ReturnReceived():
            return _received_back(body)
        case returns.ReturnInspected():
            return "booked the inspection: " + ", ".join(f"{x.quantity} x {x.sku} to {words(x.disposition)}" for x in body.lines)
        case _:
            return ""


def _received_back(body: returns.ReturnReceived) -> str:
    announced = body.announced_at_location
    told = f"{units(body.lines)} are back at {body.location}" + (
        f" instead of {announced}" if announced not in (None, body.location) else ""
    )
    more = [("unexpected", body.unexpected), ("missing", body.missing)]
    return told + "".join(f", {what}: {units(lines)}" for what, lines in more if lines)


def _return_decided(body: Body) -> str:
    match body:
        case returns.ReturnAuthorised():
            return f"authorised the return {body.return_id} of {units(body.lines)} until {body.expires_at:%Y-%m-%d %H:%M:%S}"
        case returns.ReturnDeclined():
            left = ", ".join(f"line {line.line_id}: {line.left} left" for line in body.lines)
            details = "; ".join(text for text in (left, body.detail) if text)
            return f"declined the return: {words(body.reason)}{_because(details)}"
        case returns.ReturnCancelled():
            return f"cancelled the return {body.return_id}"
        case returns.ReturnExpired():
            return f"the return {body.return_id} expired: nothing came of {units(body.lines)}"
        case returns.CreditDue():
            return f"credit is due for {units(body.lines)}"
        case returns.ReturnExceptionOpened():
            return _exception(body.kind, body.detail, body.action)
        case _:
            return ""


def _drift(body: Body) -> str:
    match body:
        case audit.DriftFound(service=service, what=what, detail=detail):
            return f"the audit found {service} wrong about {what}: {detail}"
        case audit.DriftGone(service=service, what=what):
            return f"what the audit found wrong of {service} about {what} is gone"
        case _:
            return ""


FAMILIES: Sequence[Callable[[Body], str]] = (
    _channel,
    _order,
    _hold_or_change,
    _money,
    _sourcing,
    _inventory,
    _instruction,
    _report,
    _arrival,
    _fulfilment,
    _return,
    _return_decided,
    _stock,
    _drift,
)
"""Each says nothing of messages that aren't its own."""
