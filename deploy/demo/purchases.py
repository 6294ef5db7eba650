"""From a real basket to an order: who buys it through which channel, how it is paid, and prices that add up to the cent.

The data has prices by line. One that doesn't divide becomes the unit price rounded up, and a discount of the line that closes the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deploy.demo.baskets import Basket, BasketLine, Product
from deploy.demo.dice import Dice
from deploy.demo.places import Place, buyer_place
from schemas.channel import (
    Charge,
    Delivery,
    Discount,
    Line,
    LineKind,
    OrderContent,
    Party,
    Payment,
    PaymentTerms,
    Totals,
)
from schemas.reference import Method
from schemas.types import order_id_of

CURRENCY = "USD"
WEB, MARKET = "web", "market"
SHIPPING_MINOR, FREE_FROM_MINOR = 499, 3500
"""The web shop's own: the data has no shipping."""
SERVICE_DEPARTMENTS = frozenset(("FUEL", "COUPON", "RESTAURANT"))
SERVICE_CATEGORIES = frozenset(("COUPON/MISC ITEMS", "COUPONS/STORE & MFG", "FUEL"))
MOST_COUNTED = 100
"""A service's quantity above this is a measure (gallons in thousandths), not a number of things."""

Pays = Literal["authorised", "pending", "at_collection", "marketplace"]


@dataclass(frozen=True, slots=True)
class Purchase:
    """One basket as somebody orders it."""

    basket: Basket
    ref: str
    """The channel's own reference."""
    channel: str
    collects: bool
    """At the basket's own store; otherwise it goes home."""
    pays: Pays

    @property
    def order_id(self) -> str:
        return order_id_of(self.channel, self.ref)

    @property
    def payment_id(self) -> str:
        return f"card-{self.ref}"

    @property
    def home(self) -> Place:
        return buyer_place(self.basket.household, self.basket.store)


def store_id(store: int) -> str:
    return f"store-{store}"


def purchase_of(basket: Basket, dice: Dice) -> Purchase:
    """How a basket is ordered: seeded."""
    draw = dice.of("purchase", basket.basket)
    ref = f"{basket.basket}.{dice.run}" if dice.run else str(basket.basket)
    if draw.random() < 0.15:
        return Purchase(basket, ref, MARKET, collects=False, pays="marketplace")
    collects = draw.random() < 0.3
    if collects and draw.random() < 0.25:
        return Purchase(basket, ref, WEB, collects=True, pays="at_collection")
    return Purchase(basket, ref, WEB, collects=collects, pays="pending" if draw.random() < 0.2 else "authorised")


def kind_of(product: Product | None) -> LineKind:
    """Fuel, coupons, cafe and gift cards are no goods that anybody ships. An item that isn't on the list is taken for goods."""
    if product is None:
        return "goods"
    if "GIFT CARD" in product.type:
        return "gift_card"
    is_service = product.department in SERVICE_DEPARTMENTS or product.category in SERVICE_CATEGORIES
    return "service" if is_service else "goods"


def content_of(purchase: Purchase, products: dict[int, Product], *, mended: bool) -> OrderContent | None:
    """The order. Unmended, quantities of zero are in it, which no contract allows: the bad input it is.

    Mended, such a line is left out; of an item that isn't on the list it is one unit, given away. None where nothing is left."""
    lines = tuple(_mended(purchase.basket.lines, products)) if mended else purchase.basket.lines
    if not lines:
        return None
    stated = tuple(_line(number, line, products) for number, line in enumerate(_apportioned(lines), start=1))
    charges = _charges(purchase, stated)
    totals = totals_of(stated, charges)
    method: Method = "click_and_collect" if purchase.collects else "home"
    return OrderContent(
        display_ref=f"#{purchase.ref}",
        ship_to=_party(purchase),
        lines=stated,
        charges=charges,
        currency=CURRENCY,
        totals=totals,
        payment_terms=_terms(purchase),
        payments=_payments(purchase, totals.total_minor),
        delivery=Delivery(method=method, location=store_id(purchase.basket.store) if purchase.collects else None),
        note=f"A till basket of {purchase.basket.bought_at:%Y-%m-%d}.",
    )


def totals_of(lines: Sequence[Line], charges: Sequence[Charge]) -> Totals:
    gross = sum(line.quantity * line.unit_price_minor for line in lines)
    discounts = sum(discount.amount_minor for line in lines for discount in line.discounts)
    charged = sum(charge.amount_minor for charge in charges)
    return Totals(
        lines_minor=gross,
        discounts_minor=discounts,
        charges_minor=charged,
        taxes_minor=0,
        total_minor=gross - discounts + charged,
    )


def _mended(lines: Iterable[BasketLine], products: dict[int, Product]) -> Iterable[BasketLine]:
    for line in lines:
        if line.quantity > 0:
            yield line
        elif line.product not in products:
            yield replace(line, quantity=1)


def _apportioned(lines: Sequence[BasketLine]) -> list[BasketLine]:
    """A coupon worth more than its line lowers the other lines, the dearest first; what no line can bear is dropped."""
    excess = sum(max(0, line.coupon - line.paid) for line in lines)
    capped = [replace(line, coupon=min(line.coupon, line.paid)) for line in lines]
    for index in sorted(range(len(capped)), key=lambda index: capped[index].coupon - capped[index].paid):
        line = capped[index]
        borne = min(excess, line.paid - line.coupon)
        capped[index] = replace(line, coupon=line.coupon + borne)
        excess -= borne
    return capped


def _line(number: int, line: BasketLine, products: dict[int, Product]) -> Line:
    kind = kind_of(products.get(line.product))
    measured = kind == "service" and line.quantity > MOST_COUNTED
    quantity = 1 if measured else line.quantity
    gross = line.paid + line.loyalty + line.match
    unit_price = -(-gross // quantity) if quantity else gross
    rounding = unit_price * quantity - gross if quantity else 0
    stated: dict[str, object] = {
        "channel_line_ref": str(number),
        "kind": kind,
        "sku": str(line.product),
        "quantity": quantity,
        "unit_price_minor": unit_price,
        "discounts": _discounts(line, rounding),
        "attributes": {"till_quantity": str(line.quantity)} if measured else {},
    }
    if quantity == 0:
        return Line.model_construct(**stated)  # type: ignore[arg-type]
    return Line.model_validate(stated)


def _discounts(line: BasketLine, rounding: int) -> tuple[Discount, ...]:
    amounts = (("loyalty card", line.loyalty), ("coupon match", line.match), ("coupon", line.coupon), ("rounding", rounding))
    return tuple(Discount(label=label, amount_minor=amount) for label, amount in amounts if amount > 0)


def _charges(purchase: Purchase, lines: Sequence[Line]) -> tuple[Charge, ...]:
    goods = totals_of(lines, ()).total_minor
    free = purchase.collects or purchase.channel == MARKET or goods >= FREE_FROM_MINOR
    return () if free else (Charge(kind="shipping", amount_minor=SHIPPING_MINOR),)


def _terms(purchase: Purchase) -> PaymentTerms:
    match purchase.pays:
        case "at_collection":
            return "pay_at_collection"
        case "marketplace":
            return "marketplace"
        case "authorised" | "pending":
            return "capture_on_shipment"


def _payments(purchase: Purchase, total_minor: int) -> tuple[Payment, ...]:
    if purchase.pays in ("at_collection", "marketplace") or total_minor == 0:
        return ()
    status: Literal["pending", "authorised"] = "pending" if purchase.pays == "pending" else "authorised"
    return (Payment(payment_id=purchase.payment_id, amount_minor=total_minor, status=status),)


def _party(purchase: Purchase) -> Party:
    """Households are numbers in the data; nobody real is named."""
    home = purchase.home
    return Party(
        name=f"Household {purchase.basket.household}",
        street=(f"{purchase.basket.household} Example Street",),
        city=home.city,
        region=home.region,
        country=home.country,
        latitude=home.latitude,
        longitude=home.longitude,
    )
