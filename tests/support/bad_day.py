"""A bad day at two locations: buyers change their minds, locations reject, lose, stay silent, report twice and in disorder.

    day = BadDay(place, seed)
    await day.open()
    await day.trade(orders=60)
    await day.close()            # everybody finishes what they promised; then the books must agree with the shelves

Who does what is thrown with dice of a fixed seed; when it meets the services is up to the machine.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from schemas import channel as ch
from schemas import fulfilment as ff
from schemas import payments as pay
from schemas.status import OrderStatus
from schemas.topics import Body
from tests.support.desk import Desk, Place, soon
from tests.support.steps import cancel_request, moved, paid, request, shipped, tracking_number

ITEMS = ("plenty", "enough", "scarce", "rare")
OPENING = {"plenty": 200, "enough": 60, "scarce": 12, "rare": 3}
"""Units of each item at each location."""
REJECTIONS: tuple[ff.RejectionReason, ...] = ("not_found", "damaged", "no_capacity", "closed", "other")
TURN_S = 0.05
CLOSES_WITHIN_S = 60.0
MOST_TURNS = 1200


@dataclass
class Job:
    """One instruction at its location."""

    work: ff.FulfilOrder
    left: dict[str, int]
    """Units by line that the location still means to ship."""
    picked: dict[str, int] = field(default_factory=dict)
    parcels: int = 0
    paused: bool = False
    given_up: dict[str, int] = field(default_factory=dict)
    """Units by line rejected or found missing, in all."""


@dataclass
class BadDay:
    """The people around one place's orders, on a day when everything goes wrong."""

    place: Place
    seed: int
    shelves: dict[tuple[str, str], int] = field(default_factory=dict)
    """(location, sku) to the units that really lie there and can be sold."""
    damaged: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Those that a location has put aside."""
    jobs: dict[str, Job] = field(default_factory=dict)
    orders: dict[str, ch.PlaceOrder] = field(default_factory=dict)
    requests: list[ch.ChannelRequest] = field(default_factory=list)
    _read: dict[type, int] = field(default_factory=dict)
    _sold: int = 0

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)

    @property
    def desk(self) -> Desk:
        return self.place.desk

    async def open(self) -> None:
        for location in ("paris", "lyon"):
            await self.place.stock(location, **OPENING)
            self.shelves |= {(self.place.at(location), self.place.sku(item)): units for item, units in OPENING.items()}

    async def trade(self, orders: int) -> None:
        """Buyers come one after the other; whoever is there already may change their mind at any moment."""
        for _ in range(orders):
            await self._say(self._buy())
            for _ in range(self.dice.randrange(3)):
                await self._say(self._change_of_mind())
            if self.dice.random() < 0.1:
                await self._say(self._walk_in())
            await self._turn(0.4)

    async def close(self) -> None:
        """No new ideas: holds are resolved, locations do all that is left, and who still waits for goods gives up."""
        cancelled: set[str] = set()
        for turn in range(MOST_TURNS):
            if self._all_ended():
                return
            await self._turn(1.0)
            if turn % 20 == 10:
                await self._say(self._resolve_all())
                await self._say(self._give_up_waiting(cancelled))
        raise AssertionError(f"orders that do not end: {[status for status in self._statuses() if not is_ended(status)]}")

    # ---- what everybody sees ----

    def _statuses(self) -> list[OrderStatus]:
        return self.desk.statuses(self.place.channel)

    def _all_ended(self) -> bool:
        statuses = self._statuses()
        asked = {asked.request_id for asked in self.requests}
        answers = self.desk.all(ch.RequestAnswered, lambda answer: answer.request_id in asked)
        everything_said = {answer.request_id for answer in answers} == asked
        return everything_said and len(statuses) == len(self.orders) and all(map(is_ended, statuses)) and not self._delivering()

    def _delivering(self) -> bool:
        return any(parcel.status != "delivered" for status in self._statuses() for parcel in status.parcels)

    def _news(self, kind: type) -> list[Any]:
        seen = self.desk.records(kind)
        fresh = [one.body for one in islice(seen, self._read.get(kind, 0), None)]
        self._read[kind] = len(seen)
        return [body for body in fresh if body.order_id in self.orders]

    async def _say(self, bodies: Iterator[Body]) -> None:
        await self.desk.say_all(list(bodies))

    async def _turn(self, busy: float) -> None:
        """Everybody reacts to what they were told; `busy` is the share of jobs that go on in this turn."""
        await self._say(self._reactions())
        for job in list(self.jobs.values()):
            if not job.paused and any(job.left.values()) and self.dice.random() < busy:
                await self._say(self._some_work(job))
        await asyncio.sleep(TURN_S)

    # ---- buyers ----

    def _buy(self) -> Iterator[Body]:
        wanted = self.dice.sample(ITEMS, self.dice.randint(1, 3))
        lines = {item: self.dice.randint(1, 4) for item in wanted}
        content: dict[str, Any] = {"completeness": self.dice.choice(("free", "free", "allocate_complete", "cancel_remainder"))}
        if self.dice.random() < 0.3:
            content |= {"payment_terms": "capture_on_shipment"}
        order = self.place.order(lines, **content)
        self.orders[order.order_id] = order
        yield from self._ask(order)
        if content.get("payment_terms"):
            yield paid(pay.PaymentAuthorised, order.order_id, order.order.totals.total_minor)

    def _change_of_mind(self) -> Iterator[Body]:
        order = self.dice.choice(list(self.orders.values()))
        lines = {line.channel_line_ref: line.quantity for line in order.order.lines}
        some = self.dice.choice(list(lines))
        match self.dice.randrange(6):
            case 0:
                yield from self._ask(cancel_request(self.place, order.order_id))
            case 1 | 2:
                yield from self._ask(cancel_request(self.place, order.order_id, **{some: self.dice.randint(1, lines[some])}))
            case 3:
                yield from self._ask(self._changed(order, lines, city="Lille"))
            case 4:
                changed = self._changed(order, lines | {some: self.dice.randint(1, 5)}, city="Paris")
                yield from self._ask(changed)
                yield from self._pay_more(order, changed)
            case _:
                yield from self._ask(
                    request(self.place, ch.HoldOrder, order.order_id, hold_id=f"hold-{self.dice.randrange(3)}", type="fraud")
                )

    def _changed(self, order: ch.PlaceOrder, lines: dict[str, int], city: str) -> ch.ChangeOrder:
        receiver = ch.Party(name="Buyer", street=("1 rue",), city=city, country="FR", latitude=48.8, longitude=2.3)
        terms, completeness = order.order.payment_terms, order.order.completeness
        again = self.place.order(lines, ref=order.channel_order_ref, ship_to=receiver, payment_terms=terms, completeness=completeness)
        return request(self.place, ch.ChangeOrder, order.order_id, order=again.order)

    def _pay_more(self, order: ch.PlaceOrder, changed: ch.ChangeOrder) -> Iterator[Body]:
        """Who pays by card and wants more than before has the rest authorised, too."""
        rest = changed.order.totals.total_minor - order.order.totals.total_minor
        if rest > 0 and order.order.payment_terms == "capture_on_shipment":
            yield paid(pay.PaymentAuthorised, order.order_id, rest, payment_id=f"card-for-{changed.request_id}")

    def _ask(self, asked: ch.ChannelRequest) -> Iterator[Body]:
        """Now and then a request is sent twice."""
        self.requests.append(asked)
        yield asked
        if self.dice.random() < 0.2:
            yield asked

    def _walk_in(self) -> Iterator[Body]:
        """Somebody buys a unit from the shelf, whoever it was reserved for."""
        location, item = self.dice.choice(("paris", "lyon")), self.dice.choice(ITEMS)
        if self._take(self.place.at(location), self.place.sku(item), 1):
            self._sold += 1
            yield moved(self.place, location, item, "sale", -1, f"till:{self._sold}")

    def _resolve_all(self) -> Iterator[Body]:
        for status in self._statuses():
            for hold in status.holds:
                yield from self._ask(request(self.place, ch.ResolveHold, status.order_id, hold_id=hold))

    def _give_up_waiting(self, cancelled: set[str]) -> Iterator[Body]:
        for status in self._statuses():
            if any(waiting.reason == "stock" for waiting in status.waiting) and status.order_id not in cancelled:
                cancelled.add(status.order_id)
                waiting_units = {line.line_id: line.backordered for line in status.lines if line.backordered}
                yield from self._ask(cancel_request(self.place, status.order_id, **waiting_units))
            elif not is_ended(status):
                cancelled.discard(status.order_id)

    # ---- locations and carriers ----

    def _reactions(self) -> Iterator[Body]:
        for work in self._news(ff.FulfilOrder):
            self.jobs[work.fulfilment_order_id] = Job(work, {line.line_id: line.quantity for line in work.lines})
        for told in self._news(ff.HoldFulfilment):
            self.jobs[told.fulfilment_order_id].paused = True
        for told in self._news(ff.ResumeFulfilment):
            self.jobs[told.fulfilment_order_id].paused = False
        for amended in self._news(ff.AmendOrder):
            yield from self._amendment(amended)
        for asked in self._news(ff.CancelFulfilment):
            yield from self._cancellation(asked)

    def _amendment(self, amended: ff.AmendOrder) -> Iterator[Body]:
        if self.dice.random() < 0.8:
            job = self.jobs[amended.fulfilment_order_id]
            accepted = self.dice.random() < 0.7
            yield self.place.report(ff.AmendmentAnswered, job.work, revision=amended.revision, accepted=accepted)

    def _cancellation(self, asked: ff.CancelFulfilment) -> Iterator[Body]:
        """Yes to some of what is not shipped yet, or no, or silence; a short one means that the goods are gone."""
        job = self.jobs[asked.fulfilment_order_id]
        if self.dice.random() < 0.2:
            return
        accepted: dict[str, int] = {}
        for line in asked.lines:
            units = min(line.quantity, job.left[line.line_id])
            accepted[line.line_id] = units if self.dice.random() < 0.7 else 0
            job.left[line.line_id] -= accepted[line.line_id]
        lines = tuple(ff.LineTotal(line_id=name, total=units) for name, units in accepted.items() if units)
        yield ff.CancelAnswered(
            order_id=asked.order_id,
            fulfilment_order_id=asked.fulfilment_order_id,
            location=asked.location,
            request_id=asked.request_id,
            accepted=lines,
            occurred_at=soon(),
        )

    def _some_work(self, job: Job) -> Iterator[Body]:
        dice = self.dice.random()
        if dice < 0.12:
            yield from self._reject(job)
        elif dice < 0.22:
            yield self.place.report(ff.WorkAccepted, job.work)
        else:
            yield from self._ship(job, some=dice < 0.4)

    def _reject(self, job: Job) -> Iterator[Body]:
        line = self.dice.choice([name for name, units in job.left.items() if units])
        reason = self.dice.choice(REJECTIONS)
        if reason == "damaged" and not self._put_aside(job, line):
            reason = "not_found"
        job.given_up[line] = job.given_up.get(line, 0) + job.left[line]
        job.left[line] = 0
        rejected = ff.RejectedLine(line_id=line, total=job.given_up[line], reason=reason)
        yield from self._twice(self.place.report(ff.WorkRejected, job.work, lines=(rejected,)))

    def _put_aside(self, job: Job, line: str) -> bool:
        """The damaged units of a line, where they are all there."""
        at = job.work.location, next(each.sku for each in job.work.lines if each.line_id == line)
        there = self.shelves[at] >= job.left[line]
        if there:
            self.damaged[at] += self._take(*at, job.left[line])
        return there

    def _ship(self, job: Job, *, some: bool) -> Iterator[Body]:
        """What really lies there goes into a parcel; what doesn't is rejected. Reports come in any order."""
        parcel: dict[str, int] = {}
        for line in job.work.lines:
            wanted = self.dice.randint(0, job.left[line.line_id]) if some else job.left[line.line_id]
            there = self._take(job.work.location, line.sku, wanted)
            if there < wanted and not some:
                job.given_up[line.line_id] = job.given_up.get(line.line_id, 0) + wanted - there
                job.left[line.line_id] = there
                missing = ff.RejectedLine(line_id=line.line_id, total=job.given_up[line.line_id], reason="not_found")
                yield self.place.report(ff.WorkRejected, job.work, lines=(missing,))
            if there:
                parcel[line.line_id] = there
                job.left[line.line_id] -= there
                job.picked[line.line_id] = job.picked.get(line.line_id, 0) + there
        if parcel:
            job.parcels += 1
            yield from self._parcel(job, f"p{job.parcels}", parcel)

    def _parcel(self, job: Job, name: str, contents: dict[str, int]) -> Iterator[Body]:
        work, everything = job.work, dict.fromkeys((line.line_id for line in job.work.lines), 0)
        left = shipped(self.place, work, name, **(everything | contents))
        reports: list[Body] = [
            self.place.report(ff.WorkAccepted, work),
            self.place.report(ff.LinesPicked, work, lines=self.place.totals(work, **(everything | job.picked))),
            self.place.report(ff.ParcelPacked, work, parcel_id=name, lines=left.lines),
            left,
        ]
        if self.dice.random() < 0.3:
            self.dice.shuffle(reports)
        label = tracking_number(work, name)
        reports += [
            ff.ParcelTracked(carrier=self.place.carrier, tracking_number=label, status="in_transit", occurred_at=soon()),
            ff.ParcelTracked(carrier=self.place.carrier, tracking_number=label, status="delivered", occurred_at=soon()),
        ]
        for report in reports:
            yield from self._twice(report)

    def _twice(self, report: Body) -> Iterator[Body]:
        yield report
        if self.dice.random() < 0.15:
            yield report

    def _take(self, location: str, sku: str, units: int) -> int:
        there = min(units, self.shelves[location, sku])
        self.shelves[location, sku] -= there
        return there


def is_ended(status: OrderStatus) -> bool:
    return status.status in ("completed", "partly_completed", "cancelled", "rejected") and not status.waiting
