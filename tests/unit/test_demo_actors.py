"""The demo's actors: each message they hear is answered once, with running totals, by what really lies on the shelf."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from deploy.demo.actors.carrier import Carrier
from deploy.demo.actors.locations import Locations
from deploy.demo.actors.payments import PaymentProvider
from deploy.demo.actors.product_data import ProductData
from deploy.demo.actors.supplier import Supplier
from deploy.demo.actors.work import LINES_A_PARCEL, Work
from deploy.demo.desk import Desk
from deploy.demo.dice import Dice
from deploy.demo.shelves import Shelves, Spot
from schemas.channel import Problem
from schemas.fulfilment import (
    CancelAnswered,
    CancelFulfilment,
    FactLine,
    FulfilOrder,
    InstructionLine,
    LinesCollected,
    LinesPicked,
    ParcelShipped,
    ParcelTracked,
    ParcelWasShipped,
    WorkRejected,
)
from schemas.orders import Contact, LineQuantity, OrderHeld
from schemas.payments import CapturePayment, PaymentCaptured
from schemas.reference import Item, Method
from schemas.sourcing import LinesBackordered, PartLine, Promise
from schemas.stock import StockCounted, StockMoved
from schemas.topics import Body, Topic

NOW = datetime(2017, 6, 15, 12, tzinfo=UTC)
STORE = "store-1"
M = TypeVar("M", bound=Body)


class Sent:
    """Stands at the end of the wire: keeps what is sent."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.ids: list[str] = []

    def send(self, topic: Topic, body: Body, *, source: str, id: str) -> None:
        assert type(body) in topic.types
        self.bodies.append(type(body).model_validate_json(body.model_dump_json()))
        self.ids.append(f"{source} {id}")

    def of(self, kind: type[M]) -> list[M]:
        return [body for body in self.bodies if isinstance(body, kind)]


class Rushed:
    """Time that passes as fast as there is something to do."""

    def __init__(self) -> None:
        self._now_s, self._count = 0.0, 0
        self._todo: list[tuple[float, int, Callable[[], None]]] = []

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._todo, (self._now_s + delay_s, self._count, act))

    def pass_by(self, until_s: float = 1e9) -> None:
        while self._todo and self._todo[0][0] <= until_s:
            self._now_s, _, act = heapq.heappop(self._todo)
            act()


class Stage:
    """One actor's surroundings."""

    def __init__(self, seed: int = 7) -> None:
        self.sent, self.time = Sent(), Rushed()
        self.desk = Desk("/demo/test", self.sent, self.time, Dice(seed))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def instruction(lines: dict[str, int], part: str = "web:1/1", method: Method = "home") -> FulfilOrder:
    """Line n is of item `sku-n`."""
    return FulfilOrder(
        fulfilment_order_id=part,
        order_id=part.rpartition("/")[0],
        location=STORE,
        revision=1,
        method=method,
        lines=tuple(InstructionLine(line_id=line, sku=f"sku-{line}", quantity=units) for line, units in lines.items()),
        ship_to=Contact(),
        ship_by=NOW,
        promise=Promise(kind="delivery", day=NOW.date(), zone="UTC", latest=NOW),
        priority=5,
        currency="USD",
        channel="web",
    )


def locations(stage: Stage, shelf: dict[str, int]) -> tuple[Locations, Shelves]:
    shelves = Shelves({Spot(STORE, f"sku-{line}"): units for line, units in shelf.items()})
    return Locations(stage.desk, shelves, "overland", {STORE}), shelves


def shipped(stage: Stage) -> dict[str, int]:
    return {line.line_id: line.total for parcel in stage.sent.of(ParcelShipped) for line in parcel.lines}


# ---- locations ----


def test_what_lies_there_is_picked_and_shipped(stage: Stage) -> None:
    actor, shelves = locations(stage, {"1": 5, "2": 1})
    actor.hear(instruction({"1": 2, "2": 1}))
    stage.time.pass_by()
    assert shipped(stage) == {"1": 2, "2": 1}
    assert (shelves.physical(Spot(STORE, "sku-1")), shelves.physical(Spot(STORE, "sku-2"))) == (3, 0)


def test_an_instruction_to_a_location_of_somebody_else_is_left_to_them(stage: Stage) -> None:
    actor, shelves = locations(stage, {"1": 5})
    spot = Spot("somewhere-else", "sku-1")
    actor.hear(instruction({"1": 2}).model_copy(update={"location": spot.location}))
    stage.time.pass_by()
    assert (shipped(stage), len(shelves.misses(spot))) == ({}, 0)


def test_an_instruction_told_twice_is_done_once(stage: Stage) -> None:
    actor, shelves = locations(stage, {"1": 5})
    for _ in range(2):
        actor.hear(instruction({"1": 2}))
    stage.time.pass_by()
    assert shelves.on_shelf(Spot(STORE, "sku-1")) == 3


def test_what_does_not_lie_there_is_rejected_or_short_and_counted_again(stage: Stage) -> None:
    actor, _ = locations(stage, {"1": 1})
    actor.hear(instruction({"1": 3, "2": 2}))
    stage.time.pass_by()
    (rejected,) = [line for report in stage.sent.of(WorkRejected) for line in report.lines]
    assert (rejected.line_id, rejected.total, rejected.reason) == ("2", 2, "not_found")
    assert {(line.line_id, line.total) for report in stage.sent.of(LinesPicked) for line in report.lines} == {("1", 1)}
    assert shipped(stage) == {"1": 1}
    assert {count.lines[0].sku: count.lines[0].quantity for count in stage.sent.of(StockCounted)} == {"sku-1": 0, "sku-2": 0}


def test_many_lines_go_in_two_parcels(stage: Stage) -> None:
    many = {f"{number}": 1 for number in range(LINES_A_PARCEL + 1)}
    actor, _ = locations(stage, many)
    actor.hear(instruction(many))
    stage.time.pass_by()
    assert len({parcel.parcel_id for parcel in stage.sent.of(ParcelShipped)}) == 2
    assert shipped(stage) == many


def test_who_collects_gets_it_over_the_counter(stage: Stage) -> None:
    actor, shelves = locations(stage, {"1": 5})
    actor.hear(instruction({"1": 2}, method="click_and_collect"))
    stage.time.pass_by()
    assert not stage.sent.of(ParcelShipped)
    assert {(line.line_id, line.total) for report in stage.sent.of(LinesCollected) for line in report.lines} == {("1", 2)}
    assert shelves.physical(Spot(STORE, "sku-1")) == 3


def cancel(units: int) -> CancelFulfilment:
    return CancelFulfilment(
        fulfilment_order_id="web:1/1",
        order_id="web:1",
        location=STORE,
        request_id="c1",
        lines=(LineQuantity(line_id="1", quantity=units),),
        answer_by=NOW,
    )


@pytest.mark.parametrize("after_s", [0.0, 1.0, 1.5, 2.0, 9.0])
def test_whenever_a_cancel_comes_what_is_given_up_is_not_shipped(after_s: float) -> None:
    """Given up and shipped add up to the order, and the shelf has the rest, at every seed."""
    for seed in range(20):
        stage = Stage(seed)
        actor, shelves = locations(stage, {"1": 5})
        actor.hear(instruction({"1": 3}))
        stage.time.pass_by(after_s)
        actor.hear(cancel(2))
        stage.time.pass_by()
        given_up = max((line.total for answer in stage.sent.of(CancelAnswered) for line in answer.accepted), default=0)
        left = shipped(stage).get("1", 0)
        turned_away = sum(line.total for report in stage.sent.of(WorkRejected)[:1] for line in report.lines)
        assert given_up + left + turned_away == 3
        damaged = turned_away if any(line.reason == "damaged" for report in stage.sent.of(WorkRejected) for line in report.lines) else 0
        assert shelves.physical(Spot(STORE, "sku-1")) == 5 - left - damaged


def test_work_gives_up_no_more_than_there_is() -> None:
    work = Work.of(instruction({"1": 3}))
    assert (work.give_up("1", 2), work.give_up("1", 2), work.give_up("9", 1)) == (2, 1, 0)
    assert work.open == 0


# ---- the others ----


def test_a_payment_request_is_done_once_however_often_it_is_heard(stage: Stage) -> None:
    actor = PaymentProvider(stage.desk)
    for _ in range(3):
        actor.hear(CapturePayment(request_id="r1", order_id="web:1", payment_id="p1", amount_minor=500, currency="USD"))
    stage.time.pass_by()
    (captured,) = stage.sent.of(PaymentCaptured)
    assert (captured.request_id, captured.amount_minor) == ("r1", 500)


def test_a_parcel_is_delivered_or_comes_back(stage: Stage) -> None:
    actor = Carrier(stage.desk)
    for number in range(200):
        actor.hear(
            ParcelWasShipped(
                order_id=f"web:{number}",
                fulfilment_order_id=f"web:{number}/1",
                location=STORE,
                occurred_at=NOW,
                parcel_id=f"p{number}",
                carrier="overland",
                tracking_number=f"t{number}",
                lines=(FactLine(line_id="1", sku="a", quantity=1),),
            )
        )
    stage.time.pass_by()
    ends = [event.status for event in stage.sent.of(ParcelTracked) if event.status in ("delivered", "returned")]
    assert len(ends) == 200
    assert 0 < ends.count("returned") < 15
    assert len(set(stage.sent.ids)) == len(stage.sent.ids)


def test_goods_arrive_where_they_were_announced_and_on_the_shelf(stage: Stage) -> None:
    shelves = Shelves({})
    actor = Supplier(stage.desk, shelves, "warehouse-1")
    lines = tuple(PartLine(line_id=str(number), sku=f"sku-{number}", quantity=3) for number in range(20))
    for _ in range(2):
        actor.hear(LinesBackordered(order_id="web:1", lines=lines, reason="no_stock", deadline=NOW))
    stage.time.pass_by()
    receipts = stage.sent.of(StockMoved)
    assert 5 < len(receipts) < 20
    assert {receipt.sku: receipt.quantity for receipt in receipts} == {spot.sku: shelves.on_shelf(spot) for spot in shelves.spots()}


def test_every_other_unknown_item_is_described_once(stage: Stage) -> None:
    actor = ProductData(stage.desk, [Item(sku="5978656"), Item(sku="5978648")])
    for sku in ("5978656", "5978656", "5978648", "999"):
        problem = Problem(code="unknown_item", field="order.lines.0", message=f"Nobody knows sku:{sku}.")
        held = OrderHeld(order_id="web:1", hold_id="item", type="item", before_acceptance=True, deadline=NOW, problems=(problem,))
        actor.hear(held)
    stage.time.pass_by()
    assert [item.sku for item in stage.sent.of(Item)] == ["5978656"]
