"""What an order is asked to be, as it was read: in the form of PlaceOrder, or by its contract. Both have the same fields."""

from __future__ import annotations

from msgspec import json

from schemas import channel, placing
from schemas.types import OpenData, unknown_fields

PlaceOrder = channel.PlaceOrder | placing.PlaceOrder
Content = channel.OrderContent | placing.OrderContent
Line = channel.Line | placing.Line
Charge = channel.Charge | placing.Charge
Party = channel.Party | placing.Party
Payment = channel.Payment | placing.Payment
Discount = channel.Discount | placing.Discount
Tax = channel.Tax | placing.Tax


def unknown_in(request: OpenData | placing.PlaceOrder) -> tuple[str, ...]:
    """Fields no contract knows: a form has none."""
    return unknown_fields(request) if isinstance(request, OpenData) else ()


def plain(content: Content) -> bytes:
    """Its JSON without what has its default, as it would be kept."""
    if isinstance(content, placing.OrderContent):
        return json.encode(content)
    return content.model_dump_json(exclude_defaults=True).encode()


def by_contract(content: Content) -> channel.OrderContent:
    """Without fields that no contract knows: they are answered, not kept."""
    if isinstance(content, placing.OrderContent):
        return channel.OrderContent.model_validate_json(json.encode(content))
    known = _known(content) if unknown_fields(content) else content
    assert isinstance(known, channel.OrderContent)
    return known


def _known(value: object) -> object:
    if isinstance(value, OpenData):
        fields = type(value).model_fields
        return type(value).model_validate({name: _known(getattr(value, name)) for name in fields})
    return tuple(map(_known, value)) if isinstance(value, tuple) else value


def in_order(request: channel.ChannelRequest | placing.PlaceOrder) -> bytes:
    """What it asks, whoever asks, why, and under which request id: as JSON in one order, and without defaults."""
    if isinstance(request, placing.PlaceOrder):
        said = {name: getattr(request, name) for name in ("channel", "channel_order_ref", "placed_at", "order")}
        return json.encode(said, order="sorted")
    dumped = request.model_dump_json(exclude={"request_id", "actor", "reason"}, exclude_defaults=True)
    return json.encode(json.decode(dumped), order="sorted")
