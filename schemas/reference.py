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
    """The item's number."""
    description: Text = ""
    """The item's name, for people."""
    gtins: Annotated[tuple[Gtin, ...], Field(max_length=20)] = ()
    """GTINs of one base unit, the preferred one first."""
    channel_skus: dict[Code, Code] = {}
    """Channel code to that channel's own sku for this item."""
    kind: Literal["goods", "service", "gift_card"] = "goods"
    """goods are sourced and shipped; a service or gift_card is only charged."""
    weight_g: Count = 0
    """Weight of one base unit, in grams; 0 where unknown."""
    boxes: Annotated[int, Field(ge=1, le=50)] = 1
    """Boxes one unit is packed in."""
    safety_stock: Count = 0
    """Base units kept back at every location, unless its own figure says otherwise."""
    active: bool = True
    """An inactive item is refused on new orders; what is ordered already goes on."""


class Costs(Data):
    """What it costs to ship from a location; money in minor units of the policy's currency."""

    parcel_base_minor: Amount = 500
    """For each parcel: carrier base fee and packaging, in minor units."""
    per_kg_minor: Amount = 50
    """For each kilogram shipped, in minor units."""
    per_100_km_minor: Amount = 60
    """For each parcel and 100 kilometres of distance, in minor units."""
    handling_minor: Amount = 100
    """For each parcel: handling at this location, in minor units."""
    line_labour_minor: Amount = 40
    """For each order line picked here, in minor units."""


class OpeningHours(Data):
    """One weekday's local opening time; 0 is Monday."""

    weekday: Annotated[int, Field(ge=0, le=6)]
    """0 is Monday, 6 is Sunday."""
    opens: time
    """Local time of opening."""
    closes: time
    """Local time of closing."""


class Location(Message):
    """Where goods are held or handed over."""

    location: LocationId
    """The location's id."""
    kind: Literal["warehouse", "store", "supplier", "factory", "locker", "pudo"]
    """What kind of place it is."""
    name: Text = ""
    """The location's name, for people."""
    zone: Zone
    """IANA time zone of its local times and days."""
    country: Country
    """Country, ISO 3166-1 alpha-2."""
    postal_code: Text = ""
    """Postal code."""
    city: Text = ""
    """City."""
    latitude: Latitude
    """Latitude in degrees, WGS 84."""
    longitude: Longitude
    """Longitude in degrees, WGS 84."""
    methods: tuple[Method, ...] = ("home",)
    """Delivery methods this location can serve."""
    order_cut_off: time = time(14, 0)
    """Local time up to which an order is worked on the same day."""
    preparation_minutes: Annotated[int, Field(ge=0, le=100_000)] = 60
    """Minutes of opening time from instruction to handover."""
    closed_on: tuple[Day, ...] = ()
    """Local days on which it is closed beside its weekly hours."""
    hours: tuple[OpeningHours, ...] = ()
    """Opening hours by weekday; empty means open every day, all day."""
    capacity_orders_a_day: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000_000
    """Most orders it can work on in a day."""
    costs: Costs = Costs()
    """What it costs to ship from here."""
    feed_reports: tuple[MovementKind, ...] = ()
    """Movement kinds this location's own feed reports; for those the feed alone moves the level."""
    safety_stock: dict[Sku, Count] = {}
    """Base units kept back here for an item; replaces the item's own figure."""
    active: bool = True
    """An inactive location is offered no new work."""


class Channel(Message):
    """A seller."""

    channel: Code
    """The channel's id; the first part of its orders' ids."""
    name: Text = ""
    """The channel's name, for people."""
    currency: Currency = "EUR"
    """Currency the channel sells in, ISO 4217."""
    legal_entity: Code = "main"
    """The company that sells, where an order names none."""
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
    """An inactive channel's new orders are declined; what is ordered already goes on."""


class Carrier(Message):
    """Who moves parcels; times are rough service figures used for promises."""

    carrier: Code
    """The carrier's id."""
    name: Text = ""
    """The carrier's name, for people."""
    service: Code = "standard"
    """The carrier's service that instructions ask for."""
    km_a_day: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Kilometres bridged in one working day."""
    days_at_least: Annotated[int, Field(ge=0, le=60)] = 1
    """Fewest working days between collection and delivery."""
    collection: time = time(17, 0)
    """Local time at which parcels are collected at every location."""


class Policy(Message):
    """How a channel's orders are sourced and followed. Durations are seconds: a demo in a hurry has short ones."""

    policy: Code
    """The policy's id; channels name it."""
    version: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    """Version of the policy; every decision names it."""
    currency: Currency = "EUR"
    """Currency of every cost under this policy, ISO 4217."""
    carrier: Code = "post"
    """The carrier that moves its parcels."""
    locations: tuple[LocationId, ...] = ()
    """Locations that may serve; empty means all active ones."""
    max_parts: Annotated[int, Field(ge=1, le=50)] = 5
    """Most parcels one plan may split an order into."""
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """Most plans made for a line before it is a backorder or unfillable."""
    candidates_a_line: Annotated[int, Field(ge=1, le=100)] = 20
    """Most locations weighed for one line."""
    backorder: bool = True
    """Whether what nobody has waits for stock; otherwise it is unfillable at once."""
    backorder_deadline_s: Annotated[int, Field(ge=1, le=31_536_000)] = 1_209_600
    """Seconds a backorder waits for stock before it is unfillable."""
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
