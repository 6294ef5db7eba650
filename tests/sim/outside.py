"""Everybody around the system: what is published once is told to them at once, and they act when their dice say so."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from deploy.demo.shelves import Shelves, Spot
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas import reference, returns, stock
from schemas.topics import BY_NAME
from shared.kernel.codec import Undecodable, open_envelope, read_body
from shared.kernel.ports import Record
from tests.sim.buyers import Buyers
from tests.sim.locations import Locations
from tests.sim.supplier import Supplier
from tests.support.lane_book import LaneBook

if TYPE_CHECKING:
    from tests.sim.world import World

CHANNEL, POLICY, CARRIER = "web", "default", "post"
"""The policy of that name also says how long inventory blocks what was not found."""
MANY_COUNTS = "many_counts"
"""An oddity that only some worlds have: somebody counts all day, and tells it later."""
LATITUDES = (48.8, 45.7, 43.3, 50.6)


class Outside:
    """The people of one world, and what is really on the shelves."""

    def __init__(self, world: World) -> None:
        plan = world.plan
        self.world = world
        self.items = tuple(f"i{number}" for number in range(plan.items))
        self.locations = tuple(f"l{number}" for number in range(plan.locations))
        dice = plan.dice("opening")
        self.opening = {Spot(location, item): dice.randint(0, plan.opening) for location in self.locations for item in self.items}
        self.shelves = Shelves(self.opening)
        self.supplier = Supplier(self)
        self.supplied: Counter[Spot] = Counter()
        """Units that came later."""
        self.lost: Counter[Spot] = Counter()
        """Units that are there and can't be sold: damaged."""
        self.lanes = LaneBook()
        self.stock_people = StockPeople(self)
        self.buyers = Buyers(self)
        self.works = Locations(self)
        self.money = Provider(self)
        self.carrier = CarrierPeople(self)
        self.returns = ReturnsDesk(self)
        self._hears: dict[type, list[Callable[[Any], None]]] = defaultdict(list)
        for kind, hears in (
            (ff.FulfilOrder, self.works.instructed),
            (ff.AmendOrder, self.works.amended),
            (ff.CancelFulfilment, self.works.asked_to_cancel),
            (ff.HoldFulfilment, self.works.held),
            (ff.ResumeFulfilment, self.works.resumed),
            (ff.LinesHandedOver, self.buyers.received),
            (ff.ParcelWasShipped, self.carrier.shipped),
            (returns.ReturnAuthorised, self.returns.authorised),
            (pay.CapturePayment, self.money.asked),
            (pay.VoidPayment, self.money.asked),
            (pay.RefundPayment, self.money.asked),
        ):
            self._hears[kind].append(hears)
        self._topics = frozenset(topic.name for topic in BY_NAME.values() if any(kind in self._hears for kind in topic.types))

    def hear(self, record: Record) -> None:
        """A record was appended; what stands in its lane a second time is told once."""
        if record.topic not in self._topics:
            return
        topic = BY_NAME[record.topic]
        try:
            envelope = open_envelope(record, topic)
        except Undecodable:
            return
        kind = topic.type_named(envelope.type)
        if self.lanes.is_new(record, envelope, topic) and kind in self._hears:
            body = read_body(envelope, topic)
            for hears in self._hears[kind]:
                hears(body)

    def later(self, seconds: float, what: str, act: Callable[[], None]) -> None:
        self.world.agenda.later(seconds, what, act)

    # ---- the opening ----

    def publish_reference_data(self) -> None:
        say, dice = self.world.say, self.world.plan.dice("reference")
        for item in self.items:
            say(reference.Item(sku=item, weight_g=500, safety_stock=1 if dice.random() < 0.1 else 0))
        for number, location in enumerate(self.locations):
            say(
                reference.Location(
                    location=location,
                    kind="store",
                    zone="Europe/Paris",
                    country="FR",
                    latitude=LATITUDES[number],
                    longitude=2.3,
                    methods=("home", "click_and_collect"),
                )
            )
        say(self._policy(dice.random()))
        say(reference.Channel(channel=CHANNEL, policy=POLICY, unpaid=dice.choice(("accept", "hold")), hold_deadline_s=60))
        say(reference.Carrier(carrier=CARRIER))

    def _policy(self, thrown: float) -> reference.Policy:
        return reference.Policy(
            policy=POLICY,
            carrier=CARRIER,
            backorder=thrown < 0.8,
            backorder_deadline_s=60,
            grace_s=0 if thrown < 0.6 else 3,
            cancel_answer_s=15,
            accept_deadline_s=40,
            collect_deadline_s=30,
            presume_delivered_s=60,
            return_window_s=300,
            return_deadline_s=60,
            block_s=30,
            max_attempts=6,
        )

    def open(self) -> None:
        self.stock_people.open()
        self.supplier.open()
        self.buyers.open()


class StockPeople:
    """Who counts, who walks in, who brings goods."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._world = outside.world
        self._numbers = 0

    def open(self) -> None:
        for location in self._outside.locations:
            self.count(location)
        plan, dice = self._world.plan, self._world.plan.dice("stock people")
        if plan.quiet_trade:
            return
        day_s = plan.orders * plan.pace_s + 5
        for number in range(dice.randint(0, 8)):
            spot, when = dice.choice(sorted(self._outside.opening)), dice.uniform(0.5, day_s)
            act = dice.choice((self._walk_in, self._walk_in, self._bring, self._recount))
            self._outside.later(when, f"stock {number}", partial(act, spot))
        if plan.has(MANY_COUNTS):
            for number in range(2 * int(day_s)):
                self._outside.later(number / 2, f"count {number}", partial(self._recount, dice.choice(sorted(self._outside.opening))))

    def _reference(self, what: str) -> str:
        self._numbers += 1
        return f"{what}:{self._numbers}"

    def _walk_in(self, spot: Spot) -> None:
        """Somebody buys a unit from the shelf, whoever it was reserved for."""
        reference = self._reference("sale")
        if self._outside.shelves.sell(spot, 1, reference, self._world.turns.clock.now()):
            self._move(spot, "sale", -1, reference)

    def _bring(self, spot: Spot) -> None:
        self.bring(spot, 2)

    def bring(self, spot: Spot, units: int, inbound: str | None = None) -> None:
        """Goods arrive, announced under that reference or by nobody."""
        self._outside.shelves.put(spot, units)
        self._outside.supplied[spot] += units
        self._move(spot, "receipt", units, self._reference("receipt"), inbound)

    def _move(self, spot: Spot, kind: str, quantity: int, reference: str, inbound: str | None = None) -> None:
        report = stock.StockMoved.model_validate(
            {
                "location": spot.location,
                "sku": spot.sku,
                "kind": kind,
                "reference": reference,
                "quantity": quantity,
                "inbound_reference": inbound,
                "occurred_at": self._world.instant(),
            }
        )
        self._world.say(report)
        dice = self._world.plan.dice("feed", reference)
        if self._world.plan.has("repeating_feed") and dice.random() < 0.7:  # as a message of its own: only the reference is the same
            self._outside.later(dice.uniform(0.1, 10), f"{reference} is told again", lambda: self._world.say(report))

    def _recount(self, spot: Spot) -> None:
        self.count(spot.location, spot)

    def count(self, location: str, *spots: Spot) -> None:
        """What is really there, carts included; of the whole location where no spot is named."""
        shelves = self._outside.shelves
        counted = spots or tuple(spot for spot in self._outside.opening if spot.location == location)
        count = stock.StockCounted(
            location=location,
            count_id=self._reference("count"),
            as_of=self._world.instant(),
            lines=tuple(stock.CountedLine(sku=spot.sku, quantity=shelves.physical(spot)) for spot in counted),
        )
        if spots and self._world.plan.has(MANY_COUNTS):
            late_s = self._world.plan.dice("count", count.count_id).uniform(0, 6)
            self._outside.later(late_s, f"{count.count_id} is told", lambda: self._world.say(count))
        else:
            self._world.say(count)


class Provider:
    """The payment provider: does once what it is asked, and says so."""

    ANSWERS: dict[type, type[pay.PaymentFact]] = {  # noqa: RUF012 - a table
        pay.CapturePayment: pay.PaymentCaptured,
        pay.VoidPayment: pay.PaymentVoided,
        pay.RefundPayment: pay.PaymentRefunded,
    }

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._dice = outside.world.plan.dice("provider")
        self._declines = 0.3 if outside.world.plan.has("declined_payments") else 0.0
        self._done: set[str] = set()

    def asked(self, request: pay.PaymentRequest) -> None:
        if request.request_id not in self._done:
            self._done.add(request.request_id)
            kind = self.ANSWERS[type(request)]
            if kind is pay.PaymentCaptured and self._dice.random() < self._declines:
                kind = pay.PaymentDeclined
            self._outside.later(self._dice.uniform(0.1, 2), f"provider {request.request_id}", lambda: self._report(request, kind))

    def _report(self, request: pay.PaymentRequest, kind: type[pay.PaymentFact]) -> None:
        self._outside.world.say(
            kind(
                order_id=request.order_id,
                payment_id=request.payment_id,
                amount_minor=request.amount_minor,
                currency=request.currency,
                occurred_at=self._outside.world.instant(),
                request_id=request.request_id,
            )
        )


class CarrierPeople:
    """Brings every parcel, and says so, unless it keeps silent."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._dice = outside.world.plan.dice("carrier")
        self._silent = 0.5 if outside.world.plan.has("silent_carrier") else 0.0
        self._seen: set[str] = set()

    def left(self, tracking: str) -> None:
        """It has the parcel, whoever else knows of it."""
        if tracking in self._seen or self._dice.random() < self._silent:
            return
        self._seen.add(tracking)
        soon = self._dice.uniform(0.1, 3)
        for after, status in ((soon, "in_transit"), (soon + self._dice.uniform(0.1, 5), "delivered")):
            self._outside.later(after, f"carrier {tracking} {status}", partial(self._report, tracking, status))

    def shipped(self, fact: ff.ParcelWasShipped) -> None:
        """Nothing to do: it took the parcel when it left."""

    def _report(self, tracking: str, status: str) -> None:
        now = self._outside.world.instant()
        self._outside.world.say(
            ff.ParcelTracked.model_validate({"carrier": CARRIER, "tracking_number": tracking, "status": status, "occurred_at": now})
        )


class ReturnsDesk:
    """Takes back what was announced."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._dice = outside.world.plan.dice("returns desk")
        self._seen: set[str] = set()
        self.inspected: Counter[tuple[str, str]] = Counter()
        """By order and line: units that came back."""

    def authorised(self, fact: returns.ReturnAuthorised) -> None:
        if fact.return_id in self._seen or self._dice.random() < 0.2:
            return
        self._seen.add(fact.return_id)
        location = self._dice.choice(self._outside.locations)
        self._outside.later(self._dice.uniform(0.5, 5), f"goods of {fact.return_id}", lambda: self._receive(fact, location))

    def _receive(self, fact: returns.ReturnAuthorised, location: str) -> None:
        receipt = fact.return_id.replace(":", "-").replace("/", "-").replace("#", "-")[-60:]
        skus = self._outside.buyers.skus(fact.order_id)
        say, instant = self._outside.world.say, self._outside.world.instant
        lines = [(line.line_id, skus[line.line_id], line.quantity) for line in fact.lines]
        say(
            returns.GoodsReceived(
                location=location,
                receipt_id=receipt,
                return_id=fact.return_id,
                lines=tuple(returns.ReceivedLine(line_id=line, sku=sku, total=units) for line, sku, units in lines),
                received_at=instant(),
            )
        )
        inspect = partial(self._inspect, fact.order_id, location, receipt, lines)
        self._outside.later(self._dice.uniform(0.1, 2), f"inspection of {receipt}", inspect)

    def _inspect(self, order_id: str, location: str, receipt: str, lines: list[tuple[str, str, int]]) -> None:
        for line, sku, units in lines:
            self.inspected[order_id, line] += units
            self._outside.shelves.put(Spot(location, sku), units)
            self._outside.supplied[Spot(location, sku)] += units
        fit = tuple(returns.InspectedUnits(line_id=line, sku=sku, disposition="resell", total=total) for line, sku, total in lines)
        world = self._outside.world
        world.say(returns.GoodsInspected(location=location, receipt_id=receipt, units=fit, inspected_at=world.instant()))
