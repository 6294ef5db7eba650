"""Reference data: items, locations, channels, carriers and policies, as ERP, PIM and operators publish them.

Each document is the whole current state of one id; the newest record of a key is the valid one.
"""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import Field

from schemas.types import (
    Amount,
    Code,
    Count,
    Country,
    Currency,
    Data,
    Day,
    Gtin,
    Latitude,
    LocationId,
    Longitude,
    Message,
    Sku,
    Text,
    Zone,
)

Method = Literal[
    "home",
    "express",
    "appointment",
    "instant_courier",
    "click_and_collect",
    "ship_to_store",
    "locker",
    "in_store_takeaway",
]
MovementKind = Literal[
    "receipt",
    "sale",
    "customer_return",
    "issue",
    "transfer_out",
    "transfer_in",
    "adjustment",
    "damage",
    "status_change",
]
OrderKind = Literal["consumer", "business", "replenishment"]


class Item(Message):
    """What is sold."""

    sku: Sku
    description: Text = ""
    gtins: Annotated[tuple[Gtin, ...], Field(max_length=20)] = ()
    channel_skus: dict[Code, Code] = {}
    """Channel code to that channel's own sku for this item."""
    kind: Literal["goods", "service", "gift_card"] = "goods"
    weight_g: Count = 0
    boxes: Annotated[int, Field(ge=1, le=50)] = 1
    """Boxes one unit is packed in."""
    safety_stock: Count = 0
    """Units kept back at every location, unless its own figure says otherwise."""
    active: bool = True
    """An inactive item is refused on new orders; what is ordered already goes on."""


class Costs(Data):
    """What it costs to ship from a location; money in minor units of the policy's currency."""

    parcel_base_minor: Amount = 500
    """For each parcel: carrier base fee and packaging."""
    per_kg_minor: Amount = 50
    per_100_km_minor: Amount = 60
    handling_minor: Amount = 100
    """For each parcel: handling at this location."""
    line_labour_minor: Amount = 40
    """For each order line picked here."""


class OpeningHours(Data):
    """One weekday's local opening time; 0 is Monday."""

    weekday: Annotated[int, Field(ge=0, le=6)]
    opens: time
    closes: time


class Location(Message):
    """Where goods are held or handed over."""

    location: LocationId
    kind: Literal["warehouse", "store", "supplier", "factory", "locker", "pudo"]
    name: Text = ""
    zone: Zone
    country: Country
    postal_code: Text = ""
    city: Text = ""
    latitude: Latitude
    longitude: Longitude
    methods: tuple[Method, ...] = ("home",)
    """Delivery methods this location can serve."""
    order_cut_off: time = time(14, 0)
    """Local time up to which an order is worked on the same day."""
    preparation_minutes: Annotated[int, Field(ge=0, le=100_000)] = 60
    closed_on: tuple[Day, ...] = ()
    hours: tuple[OpeningHours, ...] = ()
    """Opening hours by weekday; empty means open every day, all day."""
    capacity_orders_a_day: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000_000
    costs: Costs = Costs()
    feed_reports: tuple[MovementKind, ...] = ()
    """Movement kinds this location's own feed reports; for those the feed alone moves the level."""
    safety_stock: dict[Sku, Count] = {}
    """Units kept back here for an item; replaces the item's own figure."""
    active: bool = True
    """An inactive location is offered no new work."""


class Channel(Message):
    """A seller."""

    channel: Code
    name: Text = ""
    currency: Currency = "EUR"
    legal_entity: Code = "main"
    unknown_item: Literal["hold", "reject"] = "hold"
    """What becomes of an order naming an item nobody knows."""
    bad_totals: Literal["hold", "reject"] = "reject"
    """What becomes of an order whose totals don't add up to the cent."""
    unpaid: Literal["hold", "accept"] = "hold"
    """Whether an order waits until its payments cover it (only for terms that need a payment first)."""
    hold_deadline_s: Annotated[int, Field(ge=1, le=31_536_000)] = 604_800
    """Seconds a hold may stay before the order is cancelled."""
    policy: Code = "default"
    """The sourcing policy its orders follow."""
    active: bool = True


class Carrier(Message):
    """Who moves parcels; times are rough service figures used for promises."""

    carrier: Code
    name: Text = ""
    service: Code = "standard"
    km_a_day: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Distance bridged in one working day."""
    days_at_least: Annotated[int, Field(ge=0, le=60)] = 1
    collection: time = time(17, 0)
    """Local time at which parcels are collected at every location."""


class Policy(Message):
    """How a channel's orders are sourced and followed. Durations are seconds: a demo in a hurry has short ones."""

    policy: Code
    version: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    currency: Currency = "EUR"
    carrier: Code = "post"
    locations: tuple[LocationId, ...] = ()
    """Locations that may serve; empty means all active ones."""
    max_parts: Annotated[int, Field(ge=1, le=50)] = 5
    """Most parcels one plan may split an order into."""
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """Most plans made for a line before it is a backorder or unfillable."""
    candidates_a_line: Annotated[int, Field(ge=1, le=100)] = 20
    backorder: bool = True
    """Whether what nobody has waits for stock; otherwise it is unfillable at once."""
    backorder_deadline_s: Annotated[int, Field(ge=1, le=31_536_000)] = 1_209_600
    grace_s: Annotated[int, Field(ge=0, le=31_536_000)] = 0
    """Seconds between the decision and the instruction to the location."""
    cancel_answer_s: Annotated[int, Field(ge=1, le=31_536_000)] = 3_600
    """Seconds a location has to answer a cancellation; silence means no."""
    accept_deadline_s: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400
    """Seconds a location has to accept an instruction before an alert is raised."""
    collect_deadline_s: Annotated[int, Field(ge=1, le=31_536_000)] = 604_800
    """Seconds goods wait for their buyer at a collection point."""
    presume_delivered_s: Annotated[int, Field(ge=1, le=31_536_000)] = 1_209_600
    """Seconds after shipping at which silence of the carrier counts as delivered."""
    return_window_s: Annotated[int, Field(ge=1, le=315_360_000)] = 2_592_000
    """Seconds after handing over in which a return may be requested."""
    return_deadline_s: Annotated[int, Field(ge=1, le=315_360_000)] = 1_814_400
    """Seconds an authorised return may stay unseen before it expires."""
    block_s: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400
    """Seconds an item stays blocked at a location that did not find it, unless counted before."""
