"""How a run of the demo ends: the figures for machines, what makes it no success, and the exit code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from deploy.audit import Audit
from deploy.audit.findings import Violation
from deploy.commands.printing import page
from deploy.demo.actors.channel import Channel
from deploy.demo.baskets import Basket
from deploy.demo.books import Difference
from deploy.demo.command import DEFAULT_DAY, DEFAULT_ORDERS, chosen, verdict
from deploy.demo.demo import Result
from deploy.demo.desk import Desk
from deploy.demo.dice import Dice
from deploy.demo.progress import Progress, console
from deploy.demo.promises import Oversold
from deploy.demo.purchases import Purchase
from deploy.demo.report import print_report, problems, report_of
from deploy.demo.shelves import Spot
from deploy.demo.tally import Standing, Tally
from deploy.demo.wire import Heard
from deploy.demo.world import World
from schemas import topics
from schemas.fulfilment import FactLine, ParcelWasShipped
from schemas.status import Waiting

NOW = datetime(2017, 6, 15, 12, tzinfo=UTC)
SPOT = Spot("store-1", "tea")
CLEAN = Audit(at_rest=True, moving="", examined={"lanes_are_gapless": 3}, violations=(), notes=())
DIRTY = replace(CLEAN, violations=(Violation("lanes_are_gapless", "inventory", "lane 1", "2 is missing"),))


class Nowhere:
    """A post and a diary of which nothing comes."""

    def send(self, *_: object, **__: object) -> None: ...

    def later(self, *_: object) -> None: ...


def purchase(ref: str) -> Purchase:
    return Purchase(Basket(basket=int(ref), store=1, household=1, bought_at=NOW, lines=()), ref, "web", collects=False, pays="authorised")


def result(**changes: Any) -> Result:
    """One order that has ended and one that waits for stock until noon."""
    purchases = (purchase("1"), purchase("2"))
    channel = Channel(Desk("/demo/test", Nowhere(), Nowhere(), Dice(7)), purchases, {})
    channel.placed |= {"web:1", "web:2"}
    made = Result(
        world=World(purchases, (), {}, (), (), (), (), {}, {}),
        tally=Tally(channel.placed),
        channel=channel,
        held_back_s=0.0,
        patience_ended=False,
        dead_letters=0,
        walk_in_units=0,
        differing=(),
        unnoticed=0,
        oversold=(),
    )
    tell(made, "web:1", 1)
    tell(made, "web:2", 1, Waiting(reason="stock", until=NOW))
    return replace(made, **changes)


def tell(of: Result, order: str, version: int, *waiting: Waiting) -> None:
    of.tally.hear(Heard(topics.ORDER_STATUS, Standing(order_id=order, version=version, status="accepted", waiting=waiting), NOW))


def found_wrong(of: Result, audit: Audit = CLEAN) -> list[str]:
    return problems(of, report_of(of, audit), audit)


# ---- the figures ----


def test_the_figures_have_the_keys_that_machines_read() -> None:
    made = report_of(result(oversold=(Oversold(SPOT, 2, 1),)), DIRTY).model_dump()
    assert list(made["orders"]) == [
        *("sent", "accepted", "held", "rejected", "sourced", "split", "backordered", "unfillable"),
        *("shipped", "delivered", "collected", "cancelled", "returned"),
    ]
    assert list(made["units"]) == ["ordered", "reserved", "shipped", "returned", "oversold"]
    assert {"p50", "p95", "p99"} < made["latency_ms"].keys()
    assert {"seconds", "orders_per_s", "dead_letters"} < made.keys()
    assert (made["orders"]["sent"], made["units"]["oversold"]) == (2, 3)
    assert (made["audit"]["checks"], [violation["service"] for violation in made["audit"]["violations"]]) == (1, ["inventory"])


def test_units_shipped_and_orders_are_counted_from_what_the_topics_say() -> None:
    of = result()
    lines = (FactLine(line_id="1", sku="tea", quantity=3),)
    fact = {"order_id": "web:1", "fulfilment_order_id": "web:1/1", "location": "store-1", "occurred_at": NOW, "lines": lines}
    parcel = ParcelWasShipped.model_validate(fact | {"parcel_id": "p", "carrier": "overland", "tracking_number": "t"})
    of.tally.hear(Heard(topics.FULFILMENT_EVENTS, parcel, NOW))
    made = report_of(of, CLEAN)
    assert (made.units.shipped, made.orders.shipped) == (3, 1)


def test_the_page_says_what_latency_counts_and_what_apart() -> None:
    of = result()
    with page.capture() as printed:
        print_report(page, of, report_of(of, CLEAN))
    told = printed.get()
    assert "neither been held nor backordered before" in told
    assert "after a hold no orders" in told
    assert "after a backorder no orders" in told


# ---- success ----


def test_a_run_is_a_success_when_every_order_has_ended_or_waits_with_a_deadline() -> None:
    assert found_wrong(result()) == []
    assert verdict(result(), report_of(result(), CLEAN), CLEAN) == 0


@pytest.mark.parametrize(
    ("changes", "audit", "says"),
    [
        ({"patience_ended": True}, CLEAN, "when patience ended"),
        ({}, DIRTY, "The audit found 1 violations."),
        (
            {"oversold": (Oversold(SPOT, 2, 1),)},
            CLEAN,
            "3 units were sold that never existed: tea at store-1: 2 promised and not there, 1 shipped on paper only",
        ),
        (
            {"differing": (Difference(SPOT, booked=4, lies_there=3),)},
            CLEAN,
            "1 levels differ between books and shelves: tea at store-1: booked 4, lies there 3",
        ),
    ],
    ids=["patience", "audit", "oversold", "shelves"],
)
def test_what_is_no_success_is_named_and_makes_the_exit_code_1(changes: dict[str, Any], audit: Audit, says: str) -> None:
    of = result(**changes)
    [problem] = found_wrong(of, audit)
    assert says in problem
    with page.capture() as printed:
        assert verdict(of, report_of(of, audit), audit) == 1
    assert "No success: " in printed.get()


@pytest.mark.parametrize("waiting", [(Waiting(reason="stock", until=None),), None], ids=["without a deadline", "without a status"])
def test_an_order_that_waits_for_ever_is_stuck_and_named(waiting: tuple[Waiting, ...] | None) -> None:
    of = result()
    if waiting is None:
        of.tally.stories["web:2"].status = None
    else:
        tell(of, "web:2", 2, *waiting)
    assert [story.order_id for story in of.stuck] == ["web:2"]
    assert found_wrong(of) == ["1 orders have neither ended nor wait with a reason and a deadline: web:2"]


def test_an_order_its_channel_gave_up_is_not_stuck() -> None:
    """It held nothing that anybody could ship, so no service ever had it."""
    of = result()
    of.tally.stories["web:2"].status = None
    of.channel.given_up.add("web:2")
    assert of.stuck == ()
    assert report_of(of, CLEAN).orders.rejected == 1


# ---- parameters and progress ----


def test_which_day_and_how_many() -> None:
    """With a day alone all of its orders; with neither the default ones."""
    day = datetime(2017, 3, 1)  # noqa: DTZ001 - as the command line gives it
    assert chosen(None, None) == (DEFAULT_DAY, DEFAULT_ORDERS)
    assert chosen(40, None) == (DEFAULT_DAY, 40)
    assert chosen(None, day) == (date(2017, 3, 1), None)
    assert chosen(40, day) == (date(2017, 3, 1), 40)


def test_progress_says_how_far_the_orders_are() -> None:
    of = result()
    progress = Progress(of.tally, orders=2)
    progress.placed, progress.note = 2, "1 orders and 0 things to do are left"
    assert progress.line().partition(": ")[2] == (
        "2 placed, 0 accepted, 0 sourced, 0 instructed, 0 shipped, 0 delivered, 1 ended (1 orders and 0 things to do are left)"
    )
    with console.capture() as shown:
        console.print(progress.view())
    told = " ".join(shown.get().split())
    assert all(word in told for word in ("placed", "accepted", "sourced", "instructed", "shipped", "delivered", "ended", "are left"))
