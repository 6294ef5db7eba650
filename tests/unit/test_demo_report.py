"""What the demo counts, and which orders it tells of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploy.demo.books import Booked, Books
from deploy.demo.report import interesting
from deploy.demo.shelves import Shelves, Spot
from deploy.demo.tally import Standing, Story, Tally, percentile
from deploy.demo.wire import Heard
from schemas import topics
from schemas.channel import Problem, RequestAnswered
from schemas.fulfilment import FactLine, LinesHandedOver
from schemas.inventory import Level, ReservedLine, StockReserved
from schemas.orders import OrderHeld
from schemas.status import OrderStatus, Waiting
from schemas.topics import Body, Topic

NOW = datetime(2017, 6, 15, 12, tzinfo=UTC)


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


def test_who_waited_for_somebody_says_nothing_about_latency(tally: Tally) -> None:
    story = tally.stories["web:1"]
    story.placed_at, story.instructed_at = NOW, NOW + timedelta(milliseconds=250)
    assert story.latency_ms == 250
    tally.hear(heard(topics.ORDER_EVENTS, OrderHeld(order_id="web:1", hold_id="h", type="payment", before_acceptance=True, deadline=NOW)))
    assert story.latency_ms is None


def test_units_collected_are_shipped_units_and_delivered_ones_were_counted_with_their_parcel(tally: Tally) -> None:
    tally.hear(heard(topics.FULFILMENT_EVENTS, handed_over("delivered")))
    assert (tally.units.shipped, tally.count("delivered"), tally.count("collected")) == (0, 1, 0)
    tally.hear(heard(topics.FULFILMENT_EVENTS, handed_over("collected")))
    assert (tally.units.shipped, tally.count("delivered"), tally.count("collected")) == (3, 1, 1)


def test_oversold_is_what_a_level_promised_beyond_its_books_at_worst(tally: Tally) -> None:
    for sellable, promised in ((5, 5), (5, 7), (6, 7)):
        tally.hear(heard(topics.RESERVATIONS, reserved("web:1", sellable, promised)))
    assert tally.oversold == 2


def test_orders_of_others_are_left_alone(tally: Tally) -> None:
    tally.hear(heard(topics.RESERVATIONS, reserved("web:9", 5, 2)))
    declined = RequestAnswered(
        order_id="web:9", request_id="r", request="PlaceOrder", outcome="declined", problems=(Problem(code="x", message="x"),)
    )
    tally.hear(heard(topics.CHANNEL_ANSWERS, declined))
    assert tally.units.reserved == 0
    assert tally.count("declined") == 0


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
