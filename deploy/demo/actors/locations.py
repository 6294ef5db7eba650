"""Warehouses and stores: take instructions, pick what is really on the shelf, pack, ship or hand over, and answer every request.

A real adapter serves one location; this one serves all of them, each part by itself. Reports carry running totals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, ClassVar

from deploy.demo.actors.work import Work, totals
from deploy.demo.desk import Desk
from deploy.demo.shelves import Shelves, Spot
from deploy.demo.wire import Reads
from schemas import topics
from schemas.fulfilment import (
    AmendmentAnswered,
    AmendOrder,
    CancelAnswered,
    CancelFulfilment,
    FulfilOrder,
    HoldFulfilment,
    LinesCollected,
    LinesPicked,
    LocationReport,
    NotCollected,
    ParcelPacked,
    ParcelShipped,
    ReadyForCollection,
    RejectedLine,
    RejectionReason,
    ResumeFulfilment,
    WorkAccepted,
    WorkRejected,
)
from schemas.stock import CountedLine, StockCounted
from schemas.topics import Body

REJECTS_ALL, REJECTS_A_LINE = 0.012, 0.018
"""Shares of instructions a location can't take on (closed, no capacity), and of those with one damaged or wrong item."""
STAYS_AWAY, GIVES_BACK, KEEPS_SILENT, REPEATS = 0.06, 0.5, 0.05, 0.03
"""Shares of buyers who never collect, of picked units put back for a cancel, of cancels without answer, of reports sent twice."""
ACCEPT_S, PICK_S, SHIP_S, COLLECT_S, AWAY_S, RECOUNT_S = (0.1, 0.5), (0.3, 1.5), (0.3, 1.2), (0.5, 3.0), (4.0, 5.0), (1.5, 4.0)
"""Days in seconds: least and most for each step of the work."""

Request = FulfilOrder | AmendOrder | CancelFulfilment | HoldFulfilment | ResumeFulfilment


class Locations:
    """The work of these locations, by part. Instructions to others are somebody else's: the system may serve more than one demo."""

    reads: ClassVar[Reads] = {
        topics.FULFILMENT_ORDERS: (FulfilOrder, AmendOrder, CancelFulfilment, HoldFulfilment, ResumeFulfilment),
    }

    def __init__(self, desk: Desk, shelves: Shelves, carrier: str, serves: Collection[str]) -> None:
        self._desk, self._shelves, self._carrier, self._serves = desk, shelves, carrier, serves
        self._work: dict[str, Work] = {}
        self._recounts: set[Spot] = set()
        self._counts = 0

    def hear(self, body: Body) -> None:
        assert isinstance(body, FulfilOrder | AmendOrder | CancelFulfilment | HoldFulfilment | ResumeFulfilment)
        work = self._work.get(body.fulfilment_order_id)
        if work is not None:
            self._asked(work, body)
        elif isinstance(body, FulfilOrder) and body.location in self._serves:
            work = self._work[body.fulfilment_order_id] = Work.of(body)
            self._next(work, ACCEPT_S, self._accept)

    def _asked(self, work: Work, body: Request) -> None:
        match body:
            case AmendOrder():
                self._amend(work, body)
            case CancelFulfilment():
                self._desk.later(0.05, 0.6, f"{work.part_id} {body.request_id}", partial(self._cancel, work, body))
            case HoldFulfilment():
                work.paused = True
            case ResumeFulfilment():
                work.paused = False
            case FulfilOrder():
                """It works on it already."""

    def _next(self, work: Work, within_s: tuple[float, float], step: Callable[[Work], None]) -> None:
        """The next step of the work after a while; not while it is on hold, and not once nothing is left."""

        def go() -> None:
            if work.paused:
                self._next(work, within_s, step)
            elif work.open and work.stage != "closed":
                step(work)

        self._desk.later(*within_s, f"{work.part_id} {step.__name__}", go)

    # ---- taking it on ----

    def _accept(self, work: Work) -> None:
        self._reject_some(work)
        if work.open:
            work.stage = "accepted"
            self._report(work, WorkAccepted, "accepted")
            self._next(work, PICK_S, self._pick)

    def _reject_some(self, work: Work) -> None:
        draw = self._desk.dice.of(work.part_id, "reject")
        thrown = draw.random()
        if thrown < REJECTS_ALL:
            self._reject(work, dict(work.to_do), draw.choice(("no_capacity", "closed")))
        elif thrown < REJECTS_ALL + REJECTS_A_LINE:
            line = draw.choice(sorted(work.to_do))
            self._reject(work, {line: work.to_do[line]}, draw.choice(("damaged", "wrong_item")))

    def _reject(self, work: Work, units: Mapping[str, int], reason: RejectionReason) -> None:
        for line, count in units.items():
            given_up = work.give_up(line, count)
            if reason == "damaged":
                self._shelves.take(self._spot(work, line), given_up)
        lines = tuple(RejectedLine(line_id=line, total=count, reason=reason) for line, count in units.items() if count)
        if lines:
            self._report(work, WorkRejected, f"rejected-{reason}", lines=lines)

    # ---- the work ----

    def _pick(self, work: Work) -> None:
        """As much as the shelf has. Of what isn't there nothing will come: rejected as not found, or short."""
        not_found: dict[str, int] = {}
        for line, wanted in work.to_do.items():
            if wanted:
                work.picked[line] = self._shelves.pick(self._spot(work, line), wanted, work.part_id, self._desk.now())
                if work.picked[line] == 0:
                    not_found[line] = wanted
                if work.picked[line] < wanted:
                    self._count_again(self._spot(work, line))
        if not_found:
            self._reject(work, not_found, "not_found")
        work.to_do = {line: work.picked.get(line, 0) for line in work.to_do}
        if work.open:
            work.stage = "picked"
            self._report(work, LinesPicked, "picked", lines=totals(work.cart()), final=True)
            collects = work.instruction.method == "click_and_collect"
            self._next(work, SHIP_S, self._make_ready if collects else self._ship)

    def _ship(self, work: Work) -> None:
        for parcel_id, contents in work.parcels():
            parcel: dict[str, Any] = {
                "parcel_id": parcel_id,
                "lines": totals(contents),
                "carrier": self._carrier,
                "tracking_number": parcel_id,
            }
            self._report(work, ParcelPacked, f"packed-{parcel_id}", **parcel)
            self._report(work, ParcelShipped, f"shipped-{parcel_id}", **parcel)
        self._let_go(work)

    def _make_ready(self, work: Work) -> None:
        work.stage = "ready"
        self._report(work, ReadyForCollection, "ready", lines=totals(work.cart()))
        stays_away = self._desk.dice.chance(STAYS_AWAY, work.part_id, "stays away")
        self._next(work, AWAY_S if stays_away else COLLECT_S, self._take_back if stays_away else self._hand_over)

    def _hand_over(self, work: Work) -> None:
        self._report(work, LinesCollected, "collected", lines=totals(work.cart()))
        self._let_go(work)

    def _take_back(self, work: Work) -> None:
        self._report(work, NotCollected, "not-collected")
        for line, units in work.cart().items():
            self._shelves.put_back(self._spot(work, line), units)
        work.stage = "closed"

    def _let_go(self, work: Work) -> None:
        for line, units in work.cart().items():
            self._shelves.leave(self._spot(work, line), units)
        work.stage = "closed"

    # ---- requests ----

    def _cancel(self, work: Work, request: CancelFulfilment) -> None:
        """Yes to what isn't picked; to what is, every other time; no once it left. A few are never answered."""
        if self._desk.dice.chance(KEEPS_SILENT, work.part_id, request.request_id, "silent"):
            return
        accepted: dict[str, int] = {}
        if work.stage in ("new", "accepted"):
            accepted = {line.line_id: work.give_up(line.line_id, line.quantity) for line in request.lines}
        elif work.stage in ("picked", "ready") and self._desk.dice.chance(GIVES_BACK, work.part_id, request.request_id):
            accepted = {line.line_id: self._put_back(work, line.line_id, line.quantity) for line in request.lines}
        given_up = totals((line, units) for line, units in accepted.items() if units)
        self._report(work, CancelAnswered, f"cancel-{request.request_id}", request_id=request.request_id, accepted=given_up)

    def _put_back(self, work: Work, line: str, units: int) -> int:
        given_up = work.give_up(line, units)
        work.picked[line] = work.picked.get(line, 0) - given_up
        self._shelves.put_back(self._spot(work, line), given_up)
        return given_up

    def _amend(self, work: Work, revision: AmendOrder) -> None:
        """Another address is fine until the goods are in the cart."""
        accepted = work.stage in ("new", "accepted")
        if accepted:
            work.instruction = revision
        self._report(work, AmendmentAnswered, f"amended-{revision.revision}", revision=revision.revision, accepted=accepted)

    # ---- stock ----

    def _count_again(self, spot: Spot) -> None:
        """The shelf held less than it should: somebody counts it, once the carts have moved on."""
        if spot not in self._recounts:
            self._recounts.add(spot)
            self._desk.later(*RECOUNT_S, f"{spot.location} {spot.sku} count", partial(self._count, spot))

    def _count(self, spot: Spot) -> None:
        self._recounts.discard(spot)
        self._counts += 1
        count_id = self._desk.reference(f"recount:{spot.location}:{spot.sku}:{self._counts}")
        line = CountedLine(sku=spot.sku, quantity=self._shelves.physical(spot))
        count = StockCounted(location=spot.location, count_id=count_id, as_of=self._desk.now(), lines=(line,))
        self._desk.send(topics.STOCK_REPORTS, count, count_id)

    def _spot(self, work: Work, line: str) -> Spot:
        return Spot(work.instruction.location, work.sku(line))

    # ---- reports ----

    def _report(self, work: Work, kind: type[LocationReport], what: str, **facts: Any) -> None:
        """Send a report; a few are sent once more, as networks do."""
        report = kind(
            order_id=work.instruction.order_id,
            fulfilment_order_id=work.part_id,
            location=work.instruction.location,
            occurred_at=self._desk.now(),
            **facts,
        )
        again = self._desk.dice.chance(REPEATS, work.part_id, what, "again")
        for number in (1, 2) if again else (1,):
            self._desk.send(topics.FULFILMENT_REPORTS, report, f"{work.part_id}:{what}:{number}")
