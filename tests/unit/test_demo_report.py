"""What the demo counts, and which orders it tells of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.demo.books import Booked, Books
from deploy.demo.report import interesting
from deploy.demo.shelves import Shelves, Spot
from deploy.demo.tally import Standing, Story, Tally, percentile
from deploy.demo.wire import REMEMBERED, Heard, Known
from schemas import topics
from schemas.channel import Line, OrderContent, PlaceOrder, Problem, RequestAnswered, Totals
from schemas.fulfilment import FactLine, FulfilOrder, LinesHandedOver
from schemas.inventory import Level, ReservedLine, StockReserved
from schemas.orders import OrderHeld
from schemas.sourcing import LinesBackordered
from schemas.status import OrderStatus, Waiting
from schemas.topics import Body, Topic
from shared.kernel.ports import TopicPartition

NOW = datetime(2017, 6, 15, 12, tzinfo=UTC)
FULFIL = FulfilOrder.model_validate_json((Path(__file__).parents[2] / "schemas" / "examples" / "FulfilOrder.json").read_bytes())


def heard(topic: Topic, body: Body, after_ms: int = 0) -> Heard:
    return Heard(topic, body, NOW + timedelta(milliseconds=after_ms))


def standing(version: int, waiting: tuple[Waiting, ...] = ()) -> Standing:
    return Standing(order_id="web:1", version=version, status="accepted", waiting=waiting)


def handed_over(how: str) -> LinesHandedOver:
    fact = {
        "order_id": "web:1",
        "fulfilment_order_id": "web:1/1",
        "location": "store-1",
        "occurred_at": NOW,
        "lines": (FactLine(line_id="1", sku="a", quantity=3),),
        "how": how,
    }
    return LinesHandedOver.model_validate(fact)


def reserved(order_id: str, sellable: int, promised: int) -> StockReserved:
    level = Level(sku="a", location="store-1", version=1, sellable=sellable, reserved=promised, atp=0)
    line = ReservedLine(line_id="1", sku="a", asked=2, reserved=2)
    return StockReserved(part_id=f"{order_id}/1", order_id=order_id, location="store-1", lines=(line,), levels=(level,))


@pytest.fixture
def tally() -> Tally:
    return Tally(["web:1", "web:2"])


def test_the_newest_status_counts_whatever_the_order_of_arrival(tally: Tally) -> None:
    until = Waiting(reason="stock", until=NOW)
    tally.hear(heard(topics.ORDER_STATUS, standing(3)))
    tally.hear(heard(topics.ORDER_STATUS, standing(2, waiting=(until,))))
    story = tally.stories["web:1"]
    assert (story.ended, story.waits_with_deadline) == (True, False)
    tally.hear(heard(topics.ORDER_STATUS, standing(4, waiting=(until,))))
    assert (story.ended, story.waits_with_deadline) == (False, True)
    tally.hear(heard(topics.ORDER_STATUS, standing(5, waiting=(until, Waiting(reason="parcel_returned", until=None)))))
    assert (story.ended, story.waits_with_deadline) == (False, False)


def test_what_is_read_of_a_status_is_in_the_whole_document() -> None:
    whole = OrderStatus(order_id="web:1", version=7, channel="web", status="held", waiting=(Waiting(reason="hold", until=NOW),))
    assert Standing.model_validate_json(whole.model_dump_json()) == Standing(
        order_id="web:1", version=7, status="held", waiting=(Waiting(reason="hold", until=NOW),)
    )


def placed(order: str, after_ms: int = 0) -> Heard:
    line = Line(channel_line_ref="1", sku="a", quantity=1, unit_price_minor=0)
    content = OrderContent(lines=(line,), totals=Totals(lines_minor=0, total_minor=0))
    body = PlaceOrder(request_id="r", channel="web", channel_order_ref=order.partition(":")[2], placed_at=NOW, order=content)
    return heard(topics.CHANNEL_ORDERS, body, after_ms)


def instructed(order: str, after_ms: int) -> Heard:
    return heard(topics.FULFILMENT_ORDERS, FULFIL.model_copy(update={"order_id": order}), after_ms)


def held(order: str, after_ms: int) -> Heard:
    body = OrderHeld(order_id=order, hold_id="h", type="payment", before_acceptance=True, deadline=NOW)
    return heard(topics.ORDER_EVENTS, body, after_ms)


def backordered(order: str, after_ms: int) -> Heard:
    return heard(topics.SOURCING_DECISIONS, LinesBackordered(order_id=order, lines=(), reason="no_stock", deadline=NOW), after_ms)


@pytest.mark.parametrize("arrival", [1, -1], ids=["as it happened", "the other way round"])
def test_latency_is_told_apart_by_what_was_waited_for_before_the_first_instruction(arrival: int) -> None:
    """Whatever topic is heard first: when a message was appended counts."""
    tally = Tally([f"web:{number}" for number in range(1, 6)])
    told = (
        *(placed("web:1"), instructed("web:1", 250), instructed("web:1", 900)),
        *(placed("web:2"), held("web:2", 100), instructed("web:2", 3_000)),
        *(placed("web:3"), backordered("web:3", 200), instructed("web:3", 5_000)),
        *(placed("web:4"), instructed("web:4", 350), held("web:4", 400), backordered("web:4", 500)),
        placed("web:5"),
    )
    for each in told[::arrival]:
        tally.hear(each)
    assert sorted(tally.latencies_ms("nothing")) == [250, 350]
    assert (tally.latencies_ms("hold"), tally.latencies_ms("stock")) == ([3_000], [5_000])


def test_the_run_lasts_from_the_first_order_to_the_end_of_the_last(tally: Tally) -> None:
    """An order that waits again, for a return say, ends when that is done; what is told of an ended one later makes it no longer."""
    until = (Waiting(reason="return", until=NOW),)
    tally.hear(placed("web:2", 500))
    tally.hear(placed("web:1", 1_000))
    assert tally.seconds == 0
    for version, waiting, after_ms in ((1, (), 4_000), (2, until, 5_000), (3, (), 7_500), (4, (), 9_000)):
        tally.hear(heard(topics.ORDER_STATUS, standing(version, waiting), after_ms))
    assert tally.seconds == 7


def test_units_collected_are_shipped_units_and_delivered_ones_were_counted_with_their_parcel(tally: Tally) -> None:
    tally.hear(heard(topics.FULFILMENT_EVENTS, handed_over("delivered")))
    assert (tally.units.shipped, tally.count("delivered"), tally.count("collected")) == (0, 1, 0)
    tally.hear(heard(topics.FULFILMENT_EVENTS, handed_over("collected")))
    assert (tally.units.shipped, tally.count("delivered"), tally.count("collected")) == (3, 1, 1)


def test_orders_of_others_are_left_alone(tally: Tally) -> None:
    tally.hear(heard(topics.RESERVATIONS, reserved("web:9", 5, 2)))
    declined = RequestAnswered(
        order_id="web:9", request_id="r", request="PlaceOrder", outcome="declined", problems=(Problem(code="x", message="x"),)
    )
    tally.hear(heard(topics.CHANNEL_ANSWERS, declined))
    assert tally.units.reserved == 0
    assert tally.count("declined") == 0


def test_a_message_that_stands_twice_in_its_topic_is_heard_once() -> None:
    """As after kill -9 of its publisher; long afterwards nobody sends it again, so nobody remembers it."""
    known, here, there = Known(), TopicPartition("t", 0), TopicPartition("t", 1)
    told = [(here, "a"), (here, "b"), (here, "a"), (there, "a")]
    assert [known.is_new(*each) for each in told] == [True, True, False, True]
    for number in range(REMEMBERED):
        known.is_new(here, str(number))
    assert known.is_new(here, "a")


def test_percentiles() -> None:
    assert [percentile(range(100), share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([], 0.5) == 0.0


def test_one_order_of_each_kind_is_told_the_smallest_one_and_none_twice() -> None:
    def story(name: str, lines: int, **facts: object) -> Story:
        made = Story(name, delivered=True, status=Standing(order_id=name, version=1, status="completed", lines=({},) * lines))
        for key, value in facts.items():
            setattr(made, key, value)
        return made

    told = interesting(
        [
            story("web:1", 9, split=True),
            story("web:2", 3, split=True),
            story("web:3", 4, split=True, resourced=1),
            story("web:4", 2, resourced=1, units_back=2),
            story("web:5", 7, units_back=1),
        ]
    )
    assert [each.order_id for _, each in told] == ["web:2", "web:4", "web:5"]


def test_losses_nobody_came_across_are_told_apart_from_wrong_books() -> None:
    known, lost, wrong = (Spot("store-1", sku) for sku in ("a", "b", "c"))
    shelves = Shelves({known: 4, lost: 1, wrong: 2})
    books = Books({known: 4, lost: 3, wrong: 5})
    for spot, units in ((known, 4), (lost, 3), (wrong, 5)):
        books.note(Booked(sku=spot.sku, location=spot.location, version=1, sellable=units))
    assert books.missing == 0
    differing, unnoticed = books.compare(shelves, {lost: 2})
    assert [(each.spot, each.booked, each.lies_there) for each in differing] == [(wrong, 5, 2)]
    assert unnoticed == 1
