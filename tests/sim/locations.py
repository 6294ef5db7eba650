"""Locations: they take instructions, pick what is really on the shelf, ship or hand over, and answer every request.

The odd ones repeat themselves, report late and in disorder, and contradict what they said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from deploy.demo.actors.work import Work, totals
from deploy.demo.shelves import Spot
from schemas import fulfilment as ff

if TYPE_CHECKING:
    from tests.sim.outside import Outside

CARRIER = "post"


class Locations:
    """The work of all locations, by part."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._plan = outside.world.plan
        self._work: dict[str, Work] = {}
        self.left: Counter[tuple[str, str]] = Counter()
        """By order and line: units that left a location for the buyer."""
        self.odd_orders: set[str] = set()
        """A location contradicted itself about these."""
        self.hasty_orders: set[str] = set()
        """A location has sent what it had agreed to cancel."""
        self._numbers = 0

    def _dice(self, work: Work) -> Random:
        return self._plan.dice("work", work.part_id, work.stage)

    def _next(self, work: Work, what: str, step: Callable[[Work], None], longest_s: float = 2.0) -> None:
        seconds = self._plan.dice("pause", work.part_id, what).uniform(0.05, longest_s)
        self._outside.later(seconds, f"{work.part_id} {what}", lambda: self._go(work, what, step))

    def _go(self, work: Work, what: str, step: Callable[[Work], None]) -> None:
        """The next step, once the work isn't on hold; not where nothing is left of it."""
        if work.paused:
            self._outside.later(1.0, f"{work.part_id} is on hold", lambda: self._go(work, what, step))
        elif work.open and work.stage != "closed":
            step(work)

    # ---- what it is told ----

    def instructed(self, instruction: ff.FulfilOrder) -> None:
        if instruction.fulfilment_order_id not in self._work:
            work = self._work[instruction.fulfilment_order_id] = Work.of(instruction)
            self._next(work, "accepts", self._accept)

    def held(self, told: ff.HoldFulfilment) -> None:
        self._work[told.fulfilment_order_id].paused = True

    def resumed(self, told: ff.ResumeFulfilment) -> None:
        self._work[told.fulfilment_order_id].paused = False

    def amended(self, revision: ff.AmendOrder) -> None:
        work = self._work[revision.fulfilment_order_id]
        if self._plan.dice("amendment", work.part_id, revision.revision).random() < 0.9:
            self._outside.later(0.5, f"{work.part_id} amends", lambda: self._amend(work, revision))

    def _amend(self, work: Work, revision: ff.AmendOrder) -> None:
        accepted = work.stage in ("new", "accepted")
        if accepted:
            work.instruction = revision
        self._report(work, ff.AmendmentAnswered, revision=revision.revision, accepted=accepted)

    def asked_to_cancel(self, asked: ff.CancelFulfilment) -> None:
        work, dice = self._work[asked.fulfilment_order_id], self._plan.dice("cancel", asked.request_id)
        if dice.random() < 0.85:
            late = 12.0 if self._plan.has("slow_reports") else 3.0
            self._outside.later(dice.uniform(0.05, late), f"{work.part_id} answers", partial(self._cancel, work, asked, dice))

    def _cancel(self, work: Work, asked: ff.CancelFulfilment, dice: Random) -> None:
        """Yes to what isn't picked; to what is, every other time; no once it left."""
        accepted: dict[str, int] = {}
        ships = work.instruction.method != "click_and_collect"
        if work.stage in ("new", "accepted") and ships and self._plan.has("hasty_location") and dice.random() < 0.5:
            accepted = {line.line_id: min(line.quantity, work.to_do.get(line.line_id, 0)) for line in asked.lines}
            self.hasty_orders.add(work.instruction.order_id)
        elif work.stage in ("new", "accepted"):
            accepted = {line.line_id: work.give_up(line.line_id, line.quantity) for line in asked.lines}
        elif work.stage in ("picked", "ready") and dice.random() < 0.5:
            accepted = {line.line_id: self._put_back(work, line.line_id, line.quantity) for line in asked.lines}
        lines = totals((line, units) for line, units in accepted.items() if units)
        self._report(work, ff.CancelAnswered, request_id=asked.request_id, accepted=lines)

    def _put_back(self, work: Work, line: str, units: int) -> int:
        given_up = work.give_up(line, units)
        work.picked[line] = work.picked.get(line, 0) - given_up
        self._outside.shelves.put_back(self._spot(work, line), given_up)
        return given_up

    # ---- the work ----

    def _accept(self, work: Work) -> None:
        dice = self._dice(work)
        rejects = self._plan.has("rejecting_location") and work.instruction.location == self._outside.locations[0]
        if rejects or dice.random() < 0.08:
            self._reject(work, dict(work.to_do), "closed" if rejects else dice.choice(("no_capacity", "damaged", "other")))
        if work.open:
            work.stage = "accepted"
            if dice.random() < 0.9:
                self._report(work, ff.WorkAccepted)
            self._next(work, "picks", self._pick)

    def _reject(self, work: Work, units: dict[str, int], reason: ff.RejectionReason) -> None:
        """Only what is there can be damaged: the rest isn't found."""
        whys: list[tuple[str, int, ff.RejectionReason]] = []
        for line, count in units.items():
            given_up, spot = work.give_up(line, count), self._spot(work, line)
            damaged = self._outside.shelves.take(spot, given_up) if reason == "damaged" else 0
            self._outside.lost[spot] += damaged
            whys += [(line, damaged, "damaged"), (line, count - damaged, "not_found" if reason == "damaged" else reason)]
        lines = tuple(ff.RejectedLine(line_id=line, total=count, reason=why) for line, count, why in whys if count)
        if lines:
            self._report(work, ff.WorkRejected, lines=lines)

    def _pick(self, work: Work) -> None:
        """As much as the shelf has. Of what isn't there nothing will come: rejected as not found, or short."""
        not_found: dict[str, int] = {}
        for line, wanted in work.to_do.items():
            if wanted:
                now = self._outside.world.turns.clock.now()
                work.picked[line] = self._outside.shelves.pick(self._spot(work, line), wanted, work.part_id, now)
                if work.picked[line] == 0:
                    not_found[line] = wanted
                if work.picked[line] < wanted:
                    self._outside.later(3.0, f"{work.part_id} {line} is counted", partial(self._count, work, line))
        if not_found:
            self._reject(work, not_found, "not_found")
        work.to_do = {line: work.picked.get(line, 0) for line in work.to_do}
        if work.open:
            work.stage = "picked"
            self._report(work, ff.LinesPicked, lines=totals(work.cart()), final=True)
            collects = work.instruction.method == "click_and_collect"
            self._next(work, "goes on", self._make_ready if collects else self._ship)

    def _count(self, work: Work, line: str) -> None:
        self._outside.stock_people.count(work.instruction.location, self._spot(work, line))

    def _ship(self, work: Work) -> None:
        tracking = work.part_id.replace(":", "-").replace("/", "-")
        parcel: dict[str, Any] = {"parcel_id": tracking, "lines": totals(work.cart()), "carrier": CARRIER, "tracking_number": tracking}
        if self._dice(work).random() < 0.7:
            self._report(work, ff.ParcelPacked, **parcel)
        self._report(work, ff.ParcelShipped, **parcel)
        self._let_go(work)
        self._outside.carrier.left(tracking)

    def _make_ready(self, work: Work) -> None:
        work.stage = "ready"
        self._report(work, ff.ReadyForCollection, lines=totals(work.cart()))
        stays_away = self._dice(work).random() < 0.2
        self._next(work, "is over", self._take_back if stays_away else self._hand_over, 40.0 if stays_away else 5.0)

    def _hand_over(self, work: Work) -> None:
        self._report(work, ff.LinesCollected, lines=totals(work.cart()))
        self._let_go(work)

    def _take_back(self, work: Work) -> None:
        self._report(work, ff.NotCollected)
        for line, units in work.cart().items():
            self._outside.shelves.put_back(self._spot(work, line), units)
        work.stage = "closed"

    def _let_go(self, work: Work) -> None:
        for line, units in work.cart().items():
            self._outside.shelves.leave(self._spot(work, line), units)
            self.left[work.instruction.order_id, line] += units
        work.stage = "closed"

    def _spot(self, work: Work, line: str) -> Spot:
        return Spot(work.instruction.location, work.sku(line))

    # ---- reports ----

    def _report(self, work: Work, kind: type[ff.LocationReport], **facts: Any) -> None:
        report = kind(
            order_id=work.instruction.order_id,
            fulfilment_order_id=work.part_id,
            location=work.instruction.location,
            occurred_at=self._outside.world.instant(),
            **facts,
        )
        self._numbers += 1
        id, dice = f"r{self._numbers}", self._plan.dice("report", work.part_id, self._numbers)
        odd, slow = self._plan.has("odd_location"), self._plan.has("slow_reports")
        times = [dice.uniform(0, 6) if slow else 0.0]
        if dice.random() < (0.4 if odd else 0.05):
            times.append(times[0] + dice.uniform(0, 20 if odd else 2))
        for number, seconds in enumerate(times):
            again = number > 0 and dice.random() < 0.5
            self._outside.later(seconds, f"{work.part_id} reports {kind.__name__}", partial(self._say, report, f"{id}b" if again else id))
        if odd and dice.random() < 0.15:
            self._contradict(work, report, dice)

    def _say(self, report: ff.LocationReport, id: str) -> None:
        self._outside.world.say(report, source="/wms", id=id)

    def _contradict(self, work: Work, report: ff.LocationReport, dice: Random) -> None:
        """A while later it says something else about the same work, under a new id or, worse, under the same."""
        self.odd_orders.add(report.order_id)
        about = {"order_id": report.order_id, "fulfilment_order_id": report.fulfilment_order_id, "location": report.location}
        facts: dict[str, Any] = about | {"occurred_at": self._outside.world.instant()}
        lines = tuple(ff.LineTotal(line_id=line.line_id, total=dice.randint(0, line.quantity + 1)) for line in work.instruction.lines)
        rejected = tuple(ff.RejectedLine(line_id=line.line_id, total=max(1, line.total), reason="other") for line in lines)
        says: ff.LocationReport = dice.choice(
            (
                lambda: ff.LinesPicked(**facts, lines=lines),
                lambda: ff.WorkRejected(**facts, lines=rejected),
                lambda: ff.WorkAccepted(**facts),
                lambda: ff.NotCollected(**facts),
            )
        )()
        id = f"x{self._numbers}" if dice.random() < 0.7 else f"r{self._numbers}"
        self._outside.later(dice.uniform(0, 10), f"{work.part_id} contradicts itself", lambda: self._say(says, id))
