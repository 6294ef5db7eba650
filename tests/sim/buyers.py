"""Buyers and their channel: they order, change their minds, ask twice, send back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas import returns as rt
from tests.sim.deaf import DEAF

if TYPE_CHECKING:
    from tests.sim.outside import Outside

PRICE_MINOR = 1000
OPENS_S = 1.0
"""When the first may order: mostly the first counts are read by then."""
RESTLESS, RESTLESS_TIMES = "restless_buyers", 4
"""An oddity that only some worlds have: they change their minds so many times as often, and pay less than they owe."""
RETURNS = 0.3, 5.0
"""How many of those who got something send it back, and within how many seconds."""
DEAF_RETURNS = 0.9, 15.0
"""The same where topics can't be read: often so that the news of the hand-over isn't read yet."""
COMPLETENESS = ("free", "free", "allocate_complete", "cancel_remainder", "single_location")
BUYER = ch.Party(name="Buyer", street=("1 rue",), postal_code="75001", city="Paris", country="FR", latitude=48.8, longitude=2.3)


@dataclass
class Buyer:
    """One order and what was asked about it."""

    number: int
    dice: Random
    lines: dict[str, tuple[str, int]]
    """By line: item and units."""
    content: dict[str, Any]
    requests: list[ch.ChannelRequest] = field(default_factory=list)
    returns: list[rt.RequestReturn] = field(default_factory=list)
    asked: int = 0

    @property
    def order_id(self) -> str:
        return f"web:{self.number}"


class Buyers:
    """Everybody who orders."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._plan = outside.world.plan
        self.by_order: dict[str, Buyer] = {}

    def open(self) -> None:
        pace = self._plan.dice("pace")
        for number in range(1, self._plan.orders + 1):
            when = pace.uniform(0, 2 * self._plan.pace_s * number) + OPENS_S
            if self._plan.only_orders is None or number in self._plan.only_orders:
                buyer = self._buyer(number)
                self.by_order[buyer.order_id] = buyer
                self._later(when, buyer, "buys", self._place)

    def skus(self, order_id: str) -> dict[str, str]:
        """Items by line, of every content that was ever stated."""
        return {line: sku for line, (sku, _) in self.by_order[order_id].lines.items()}

    def _buyer(self, number: int) -> Buyer:
        dice = self._plan.dice("order", number)
        items = self._outside.items[:1] if self._plan.has("hot_item") else self._outside.items
        wanted = dice.sample(items, min(len(items), dice.choice((1, 1, 2))))
        content: dict[str, Any] = {"completeness": dice.choice(COMPLETENESS)}
        content["payment_terms"] = dice.choice(("on_account", "on_account", "capture_on_shipment"))
        content["priority"] = dice.choice((5, 5, 1, 9))
        if dice.random() < 0.2:
            content["delivery"] = ch.Delivery(method="click_and_collect", location=dice.choice(self._outside.locations))
        return Buyer(number, dice, {f"line-{item}": (item, dice.randint(1, 3)) for item in wanted}, content)

    def _later(self, seconds: float, buyer: Buyer, what: str, act: Callable[[Buyer], None]) -> None:
        self._outside.later(seconds, f"{buyer.order_id} {what}", lambda: act(buyer))

    # ---- what a buyer asks ----

    def _place(self, buyer: Buyer) -> None:
        dice, order = buyer.dice, self._content(buyer, {line: units for line, (_, units) in buyer.lines.items()})
        self._ask(buyer, ch.PlaceOrder(**self._head(buyer, "place"), placed_at=self._outside.world.instant(), order=order))
        if order.payment_terms == "capture_on_shipment" and dice.random() < 0.95:
            self._later(dice.uniform(0.0, 3), buyer, "pays", lambda buyer: self._pay(buyer, self._offered_minor(order, buyer.number)))
        for what, chance, act in (
            ("cancels", 0.15, self._cancel_all),
            ("cancels some", 0.15, self._cancel_some),
            ("changes the address", 0.1, self._change_address),
            ("changes quantities", 0.12, self._change_quantity),
            ("is suspected", 0.1, self._hold),
            ("asks for something else", 0.05, self._conflict),
        ):
            if dice.random() < chance * (RESTLESS_TIMES if self._plan.has(RESTLESS) else 1):
                self._later(dice.choice((0.0, 0.3, 2, 8)) * dice.random(), buyer, what, act)

    def _head(self, buyer: Buyer, what: str) -> dict[str, Any]:
        buyer.asked += 1
        return {"request_id": f"{what}-{buyer.number}-{buyer.asked}", "channel": "web", "channel_order_ref": str(buyer.number)}

    def _content(self, buyer: Buyer, units: dict[str, int], **fields: Any) -> ch.OrderContent:
        lines = tuple(
            ch.Line(channel_line_ref=line, sku=buyer.lines[line][0], quantity=count, unit_price_minor=PRICE_MINOR)
            for line, count in units.items()
        )
        total = PRICE_MINOR * sum(units.values())
        totals = ch.Totals(lines_minor=total, total_minor=total)
        stated: dict[str, Any] = {"lines": lines, "totals": totals, "ship_to": BUYER}
        return ch.OrderContent(**(stated | buyer.content | fields))

    def _ask(self, buyer: Buyer, request: ch.ChannelRequest) -> None:
        """Now and then the same is sent twice."""
        buyer.requests.append(request)
        self._outside.world.say(request, source="/web")
        if buyer.dice.random() < 0.15:
            self._later(buyer.dice.uniform(0, 3), buyer, "asks again", lambda _: self._again(request))

    def _again(self, request: ch.ChannelRequest) -> None:
        self._outside.world.say(request, source="/web")

    def _offered_minor(self, order: ch.OrderContent, number: int) -> int:
        """The restless ones pay less at times."""
        less = self._plan.has(RESTLESS) and self._plan.dice("pays", number).random() < 0.5
        return order.totals.total_minor // (2 if less else 1)

    def _pay(self, buyer: Buyer, amount_minor: int) -> None:
        now = self._outside.world.instant()
        self._outside.world.say(
            pay.PaymentAuthorised(
                order_id=buyer.order_id, payment_id=f"card-{buyer.number}", amount_minor=amount_minor, currency="EUR", occurred_at=now
            )
        )

    def _cancel_all(self, buyer: Buyer) -> None:
        self._ask(buyer, ch.CancelOrder(**self._head(buyer, "cancel")))

    def _cancel_some(self, buyer: Buyer) -> None:
        line = buyer.dice.choice(sorted(buyer.lines))
        units = buyer.dice.randint(1, buyer.lines[line][1])
        self._ask(buyer, ch.CancelOrder(**self._head(buyer, "cancel"), lines=(ch.CancelLine(line_id=line, quantity=units),)))

    def _change_address(self, buyer: Buyer) -> None:
        units = {line: units for line, (_, units) in buyer.lines.items()}
        moved = BUYER.model_copy(update={"city": "Lille"})
        self._ask(buyer, ch.ChangeOrder(**self._head(buyer, "change"), order=self._content(buyer, units, ship_to=moved)))

    def _change_quantity(self, buyer: Buyer) -> None:
        units = {line: buyer.dice.randint(1, 4) for line in buyer.lines}
        self._ask(buyer, ch.ChangeOrder(**self._head(buyer, "change"), order=self._content(buyer, units)))

    def _conflict(self, buyer: Buyer) -> None:
        """Another order under the same reference."""
        units = dict.fromkeys(buyer.lines, 5)
        order, now = self._content(buyer, units), self._outside.world.instant()
        self._ask(buyer, ch.PlaceOrder(**self._head(buyer, "place"), placed_at=now, order=order))

    def _hold(self, buyer: Buyer) -> None:
        hold = f"hold-{buyer.number}"
        self._ask(buyer, ch.HoldOrder(**self._head(buyer, "hold"), hold_id=hold, type="fraud"))
        resolution = buyer.dice.choice(("release", "release", "cancel", None))
        if resolution is not None:
            head = self._head(buyer, "resolve")
            request = ch.ResolveHold.model_validate(head | {"hold_id": hold, "resolution": resolution})
            self._later(buyer.dice.uniform(0, 10), buyer, "is cleared", lambda buyer: self._ask(buyer, request))

    # ---- what a buyer got ----

    def received(self, fact: ff.LinesHandedOver) -> None:
        buyer = self.by_order[fact.order_id]
        share, within_s = DEAF_RETURNS if self._plan.has(DEAF) else RETURNS
        if buyer.dice.random() < share:
            self._later(buyer.dice.uniform(0, within_s), buyer, "sends back", lambda buyer: self._send_back(buyer, fact))

    def _send_back(self, buyer: Buyer, fact: ff.LinesHandedOver) -> None:
        """At times more than they have."""
        buyer.asked += 1
        lines = tuple(rt.ReturnLine(line_id=line.line_id, quantity=line.quantity + (buyer.dice.random() < 0.1)) for line in fact.lines)
        request = rt.RequestReturn(
            request_id=f"return-{buyer.number}-{buyer.asked}",
            order_id=buyer.order_id,
            lines=lines,
            requested_at=self._outside.world.instant(),
        )
        buyer.returns.append(request)
        self._outside.world.say(request)
        if buyer.dice.random() < 0.15:
            self._later(1.0, buyer, "asks again to send back", lambda _: self._send_again(request))

    def _send_again(self, request: rt.RequestReturn) -> None:
        self._outside.world.say(request)
