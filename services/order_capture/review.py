"""Is this a valid order? Every reason why not is collected, never only the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.channel import Problem
from schemas.reference import Channel, Item, Location, Method
from services.order_capture.content import Content, Line, Party, plain
from services.order_capture.projection import Catalogue, reference_of
from services.order_capture.rules import MOST_MINOR, charges_net_minor, sums_of
from services.order_capture.state import CAPTURING_TERMS, Check
from services.order_capture.state import Line as KeptLine
from shared.value import Value

MOST_CONTENT_BYTES = 180_000
"""Of an order as JSON: 500 plain lines have 165 kB. A row of the store has 512 kB, and may hold an order and its change."""
UNKNOWN_CHANNEL = "unknown_channel"
COLLECTING_METHODS: tuple[Method, ...] = ("click_and_collect", "ship_to_store", "locker", "in_store_takeaway")
"""Methods that hand over at a location."""


class Finding(Value, frozen=True):
    """One reason. `check` is None where it can't be mended: the order is declined."""

    check: Check | None
    problem: Problem


class DraftLine(Value, frozen=True):
    """One line as stated, and what is known of it."""

    stated: Line
    net_minor: int
    """The whole line after discounts, tax included."""
    left: int
    """Units that are still wanted."""
    item: Item | None


class Draft(Value, frozen=True):
    """An order as far as its validity goes."""

    channel: str
    content: Content
    lines: tuple[DraftLine, ...]
    owed_minor: int
    covered_minor: int
    """Authorised or captured by its payments."""


def draft_lines(content: Content, channel: str, kept: Iterable[KeptLine], view: Catalogue) -> tuple[DraftLine, ...]:
    """The lines of a content with their items, each looked up once."""
    by_id = {line.line_id: line for line in kept}
    lines = []
    for line in content.lines:
        known = by_id[line.channel_line_ref]
        lines.append(DraftLine(line, known.net_minor, known.kept, item_of(line, channel, view)))
    return tuple(lines)


def review(draft: Draft, view: Catalogue, now: datetime) -> tuple[Finding, ...]:
    """Everything that is wrong with a new content, as the channel's policy weighs it."""
    channel = view.channel(draft.channel)
    findings = (
        *_size(draft.content),
        *_times(draft.content, now),
        *_location(draft.content, view),
        *_amounts(draft),
        *_inactive(draft),
        *review_mendable(draft, view),
    )
    return tuple(_weighed(finding, channel) for finding in findings)


def review_mendable(draft: Draft, view: Catalogue) -> tuple[Finding, ...]:
    """What is wrong that data, payments, the channel or a person can still mend; an order that is held already may wait for its channel."""
    return (
        *_channel(draft, view),
        *_unknown_items(draft),
        *_address(draft.content, view),
        *_totals(draft.content),
        *_payment(draft, view.channel(draft.channel)),
    )


def references_of_line(line: Line, channel: str) -> Iterator[str]:
    """How the line names its item, as the catalogue writes references; the first one known counts."""
    if line.sku:
        yield f"sku:{line.sku}"
    if line.gtin:
        yield f"gtin:{line.gtin}"
    if line.channel_sku:
        yield f"channel_sku:{channel}:{line.channel_sku}"


def item_of(line: Line, channel: str, view: Catalogue) -> Item | None:
    for reference in references_of_line(line, channel):
        item = view.item(reference)
        if item is not None:
            return item
    return None


def awaited_references(draft: Draft, view: Catalogue) -> tuple[str, ...]:
    """References of the documents that must arrive before the order can go on: its channel's, as long as it doesn't sell this way, and
    those of items."""
    channel = (reference_of(draft.channel),) if any(_channel(draft, view)) else ()
    lines = (line for _, line in _unresolved(draft))
    return (*channel, *dict.fromkeys(name for line in lines for name in references_of_line(line, draft.channel)))


def receiver_of(content: Content) -> Party:
    return content.ship_to or content.sold_to


def _weighed(finding: Finding, channel: Channel) -> Finding:
    """The finding as this channel wants it treated: some hold where others reject. A channel that is known, and doesn't sell this way,
    is nothing to wait for."""
    rejected = (
        (finding.check == "item" and channel.unknown_item == "reject")
        or (finding.check == "totals" and channel.bad_totals == "reject")
        or (finding.check == "channel" and finding.problem.code != UNKNOWN_CHANNEL)
    )
    return Finding(None, finding.problem) if rejected else finding


def _channel(draft: Draft, view: Catalogue) -> Iterator[Finding]:
    channel = view.get(Channel, draft.channel)
    if channel is None:
        remedy = "Publish the channel; the order goes on by itself then."
        yield Finding("channel", _problem(UNKNOWN_CHANNEL, "channel", f"Nobody knows channel {draft.channel}.", remedy))
    elif not channel.active:
        remedy = "Activate the channel, then place the order under a new reference."
        yield Finding("channel", _problem("inactive_channel", "channel", f"Channel {draft.channel} is inactive.", remedy))
    elif channel.currency != draft.content.currency:
        message = f"The channel sells in {channel.currency}, the order is in {draft.content.currency}."
        yield Finding("channel", _problem("wrong_currency", "order.currency", message, "State the order in the channel's currency."))


def _size(content: Content) -> Iterator[Finding]:
    size = len(plain(content))
    if size > MOST_CONTENT_BYTES:
        message = f"The order has {size} bytes, at most {MOST_CONTENT_BYTES} can be kept."
        yield _refused("too_large", "order", message, "Shorten texts and attributes, or split the order.")


def _times(content: Content, now: datetime) -> Iterator[Finding]:
    for field, instant in (("accept_by", content.accept_by), ("cancel_after", content.cancel_after)):
        if instant is not None and instant <= now:
            message = f"{field} is {instant.isoformat()}, which has passed."
            yield _refused(f"{field}_passed", f"order.{field}", message, "State a later instant, or none.")


def _location(content: Content, view: Catalogue) -> Iterator[Finding]:
    delivery, field = content.delivery, "order.delivery.location"
    collects = delivery.method in COLLECTING_METHODS
    if delivery.location is None:
        if collects:
            message = f"Method {delivery.method} hands over at a location, and none is named."
            yield _refused("no_location", field, message, "Name the location where the buyer collects.")
        return
    location = view.get(Location, delivery.location)
    if location is None:
        message = f"Nobody knows location {delivery.location}."
        yield _refused("unknown_location", field, message, "Publish the location first, or name another one.")
    elif not location.active:
        yield _refused("inactive_location", field, f"Location {delivery.location} is inactive.", "Name an active location.")
    elif collects and delivery.method not in location.methods:
        message = f"Location {delivery.location} doesn't serve {delivery.method}."
        yield _refused("method_not_served", field, message, f"Choose one of {', '.join(location.methods)}.")


def _amounts(draft: Draft) -> Iterator[Finding]:
    """Amounts no message could carry, and discounts beyond the price."""
    nets = [*(line.net_minor for line in draft.lines), charges_net_minor(draft.content)]
    for number, net in enumerate(nets):
        if net < 0:
            field = f"order.lines.{number}" if number < len(draft.lines) else "order.charges"
            yield _refused("negative_amount", field, f"It comes to {net} after discounts.", "Discount at most the price.")
    total = sum(nets)
    if total > MOST_MINOR:
        message = f"The order comes to {total}, at most {MOST_MINOR} can be handled."
        yield _refused("amount_too_large", "order.totals", message, "Split the order.")


def _inactive(draft: Draft) -> Iterator[Finding]:
    for number, line in enumerate(draft.lines):
        if line.item is not None and not line.item.active:
            message = f"Item {line.item.sku} is no longer sold."
            yield _refused("inactive_item", f"order.lines.{number}", message, "Leave the line out.")


def _unknown_items(draft: Draft) -> Iterator[Finding]:
    for number, line in _unresolved(draft):
        names = " or ".join(references_of_line(line, draft.channel))
        message = f"Nobody knows {names}."
        yield Finding("item", _problem("unknown_item", f"order.lines.{number}", message, "Publish the item."))


def _unresolved(draft: Draft) -> Iterator[tuple[int, Line]]:
    """Lines of goods, with their numbers, that are still wanted and whose item isn't known."""
    for number, line in enumerate(draft.lines):
        if line.item is None and line.left > 0 and line.stated.kind == "goods":
            yield number, line.stated


def _address(content: Content, view: Catalogue) -> Iterator[Finding]:
    delivery = content.delivery
    if delivery.method in COLLECTING_METHODS:
        return
    if delivery.location is not None and view.get(Location, delivery.location) is not None:
        return
    receiver, remedy = receiver_of(content), "Send the whole address with a ChangeOrder."
    if receiver.country is None:
        yield Finding("address", _problem("no_country", "order.ship_to.country", "The country is missing.", remedy))
    if not any(line.strip() for line in receiver.street):
        yield Finding("address", _problem("no_street", "order.ship_to.street", "The street is missing.", remedy))


def _totals(content: Content) -> Iterator[Finding]:
    for field, right in sums_of(content)._asdict().items():
        stated = getattr(content.totals, field)
        if stated != right:
            message = f"It says {stated}, lines and charges come to {right}."
            problem = _problem("totals_differ", f"order.totals.{field}", message, "Send totals that add up to the cent.")
            yield Finding("totals", problem)


def _payment(draft: Draft, channel: Channel) -> Iterator[Finding]:
    waits = draft.content.payment_terms in CAPTURING_TERMS and channel.unpaid == "hold"
    if waits and draft.covered_minor < draft.owed_minor:
        message = f"Payments cover {draft.covered_minor} of {draft.owed_minor}."
        remedy = "Have the rest authorised or captured; the order goes on by itself then."
        yield Finding("payment", _problem("not_covered", "order.payments", message, remedy))


def _refused(code: str, field: str, message: str, remedy: str) -> Finding:
    return Finding(None, _problem(code, field, message, remedy))


def _problem(code: str, field: str, message: str, remedy: str) -> Problem:
    return Problem(code=code, field=field, message=message, remedy=remedy)
