"""The order as the other services see it: enriched, apportioned, and what a change of it means for the goods."""

from __future__ import annotations

from datetime import datetime

from schemas.forms import Contact, Destination, OrderLine, OrderSnapshot, PackingSlip
from schemas.reference import Location
from services.order_capture.content import Content
from services.order_capture.projection import Catalogue
from services.order_capture.review import COLLECTING_METHODS, Draft, DraftLine, receiver_of
from services.order_capture.rules import charges_net_minor, line_net_minor, value_minor
from services.order_capture.state import Effect, Line
from shared.value import replace

MOST_DESCRIPTION = 100
"""Characters of an item's description that travel with every order."""


def lines_of(content: Content) -> tuple[Line, ...]:
    """The lines as the channel states them."""
    return tuple(Line(line.channel_line_ref, line.kind, line.quantity, line_net_minor(content, line)) for line in content.lines)


def snapshot_of(draft: Draft, view: Catalogue, *, order_id: str, placed_at: datetime, revision: int) -> OrderSnapshot:
    """The order as it may be sourced: what is left of each line; every line of goods has a known item."""
    content, channel = draft.content, draft.channel
    lines = tuple(_line(line) for line in draft.lines if line.left > 0)
    charges = charges_net_minor(content)
    total = charges + sum(line.net_minor for line in lines)
    delivery = content.delivery
    return OrderSnapshot(
        revision=revision,
        channel=channel,
        kind=content.kind,
        policy=view.channel(channel).policy,
        placed_at=placed_at,
        currency=content.currency,
        lines=lines,
        charges_minor=charges,
        total_minor=total,
        payment_terms=content.payment_terms,
        to_collect_minor=total if content.payment_terms == "pay_at_collection" else 0,
        method=delivery.method,
        collect_at=delivery.location if delivery.method in COLLECTING_METHODS else None,
        earliest=delivery.earliest,
        latest=delivery.latest,
        completeness=content.completeness,
        priority=content.priority,
        ship_by=content.ship_by,
        deliver_by=content.deliver_by,
        cancel_after=content.cancel_after,
        destination=_destination(content, view),
        ship_to=_contact(content, view),
        packing_slip=_packing_slip(order_id, draft, view),
    )


def effect_of(old: OrderSnapshot, new: OrderSnapshot) -> Effect | None:
    """What a change means for the goods; None where nothing changes. Both have the same channel, terms and currency."""
    if _demand(old) != _demand(new):
        return "demand"
    if _instructions(old) != _instructions(new):
        return "instructions"
    return None if replace(new, revision=old.revision) == old else "commercial"


def _line(line: DraftLine) -> OrderLine:
    stated, item = line.stated, line.item
    return OrderLine(
        line_id=stated.channel_line_ref,
        kind=item.kind if item is not None and stated.kind == "goods" else stated.kind,
        sku=item.sku if item is not None else stated.sku or stated.channel_line_ref,
        gtin=stated.gtin or (item.gtins[0] if item is not None and item.gtins else None),
        description=item.description[:MOST_DESCRIPTION] if item is not None else "",
        quantity=line.left,
        weight_g=item.weight_g if item is not None else 0,
        net_minor=value_minor(line.net_minor, stated.quantity, line.left),
        attributes=stated.attributes,
        gift_message=stated.gift_message,
        substitution_allowed=stated.substitution_allowed,
    )


def _destination(content: Content, view: Catalogue) -> Destination:
    """Where the goods go, as coarse as planning needs it."""
    place = _location(content, view) or receiver_of(content)
    return Destination(country=place.country, postal_code=place.postal_code, latitude=place.latitude, longitude=place.longitude)


def _location(content: Content, view: Catalogue) -> Location | None:
    """The location the goods go to: where the buyer collects, or which is itself the receiver (replenishment)."""
    if content.delivery.location is None:
        return None
    goes_there = content.delivery.method in COLLECTING_METHODS or receiver_of(content).country is None
    return view.get(Location, content.delivery.location) if goes_there else None


def _contact(content: Content, view: Catalogue) -> Contact:
    """Who receives the goods; a location that receives them itself gives its own name and place."""
    party, location = receiver_of(content), _location(content, view)
    if location is not None and party.country is None:
        return Contact(
            name=party.name or location.name,
            postal_code=location.postal_code,
            city=location.city,
            country=location.country,
            email=party.email,
            phone=party.phone,
        )
    return Contact(
        name=party.name,
        company=party.company,
        street=party.street,
        postal_code=party.postal_code,
        city=party.city,
        region=party.region,
        country=party.country,
        email=party.email,
        phone=party.phone,
    )


def _packing_slip(order_id: str, draft: Draft, view: Catalogue) -> PackingSlip:
    """What the location prints beside the address and the goods."""
    content = draft.content
    return PackingSlip(
        order_ref=content.display_ref or order_id.partition(":")[2],
        legal_entity=content.legal_entity or view.channel(draft.channel).legal_entity,
        brand=content.brand,
        purchase_order=content.purchase_order,
        note=content.note,
    )


def _demand(order: OrderSnapshot) -> tuple[object, ...]:
    """What sourcing plans with: a difference means planning anew."""
    goods = frozenset((line.line_id, line.sku, line.quantity) for line in order.lines if line.kind == "goods")
    where = (order.method, order.collect_at, order.completeness)
    return (goods, *where, order.earliest, order.latest, order.ship_by, order.deliver_by, order.priority)


def _instructions(order: OrderSnapshot) -> tuple[object, ...]:
    """What locations are told beside the goods."""
    lines = {line.line_id: (line.attributes, line.gift_message, line.substitution_allowed) for line in order.lines if line.kind == "goods"}
    return (lines, order.destination, order.ship_to, order.to_collect_minor)
