"""Cancelling: the last word is per line, n cancelled, m too late, after the word of whoever holds the goods."""

from __future__ import annotations

from datetime import timedelta

from schemas.channel import AnsweredLine, RequestAnswered
from schemas.orders import CancellationRequested, LinesCancelled, OrderAccepted, OrderChanged, OrderClosed
from schemas.reference import Item
from schemas.sourcing import ChangePassedOn, LinesUnfillable, PartLine
from tests.support.order_capture import (
    ORDER,
    answered,
    came_back,
    cancel,
    capture,
    change,
    content,
    handed_over,
    mug,
    not_collected,
    passed_on,
    place,
    quantities,
    shipped,
    shirts,
)
from tests.support.spec import START, Spec


def names(spec: Spec) -> list[str]:
    return [type(message).__name__ for message in spec.published]


def last_word(spec: Spec) -> tuple[str, tuple[tuple[str, int, int], ...]]:
    (answer,) = spec.of(RequestAnswered)
    return answer.outcome, tuple((line.line_id, line.done, line.too_late) for line in answer.lines)


def unfillable(**units: int) -> LinesUnfillable:
    lines = tuple(PartLine(line_id=name, sku=name, quantity=count) for name, count in units.items())
    return LinesUnfillable(order_id=ORDER, lines=lines, reason="no_stock")


def test_a_held_order_is_cancelled_at_once() -> None:
    spec = capture().given(place(content(shirts(sku="coat"), mug()))).when(cancel())
    assert names(spec) == ["RequestAnswered", "LinesCancelled", "HoldResolved", "OrderClosed"]
    assert last_word(spec) == ("accepted", (("shirts", 2, 0), ("mug", 1, 0)))
    assert spec.of(OrderClosed)[0].outcome == "cancelled"
    assert not [key for key in spec.world.states if key.kind != "order"]


def test_lines_cancelled_before_acceptance_never_enter_the_snapshot() -> None:
    """Without the unknown item, the order goes on."""
    spec = capture().given(place(content(shirts(3), mug(sku="coat"))))
    spec.when(cancel(shirts=1, mug=1))
    assert names(spec) == ["RequestAnswered", "HoldResolved", "OrderAccepted"]
    order = spec.of(OrderAccepted)[0].order
    assert [(line.line_id, line.quantity, line.net_minor) for line in order.lines] == [("shirts", 2, 2000)]
    assert order.total_minor == 2000


def test_an_accepted_order_is_cancelled_after_the_word_of_sourcing() -> None:
    spec = capture().given(place()).when(cancel())
    spec.then(
        CancellationRequested(order_id=ORDER, request_id="cancel-1", lines=quantities(shirts=2, mug=1)),
    )
    spec.when(passed_on(cancelled={"shirts": 2, "mug": 1})).then(
        LinesCancelled(order_id=ORDER, request_id="cancel-1", lines=quantities(shirts=2, mug=1)),
        RequestAnswered(
            order_id=ORDER,
            request_id="cancel-1",
            request="CancelOrder",
            outcome="accepted",
            lines=(AnsweredLine(line_id="shirts", done=2), AnsweredLine(line_id="mug", done=1)),
        ),
        OrderClosed(order_id=ORDER, outcome="cancelled"),
    )


def test_scenario_08_one_line_of_several_is_cancelled_while_the_store_picks() -> None:
    """Sourcing still held one unit, the store has begun on the other."""
    spec = capture().given(place(), cancel(shirts=2))
    spec.when(passed_on(cancelled={"shirts": 1}, passed={"shirts": 1})).then()
    spec.when(answered(shirts=1))
    assert last_word(spec) == ("accepted", (("shirts", 1, 1),))
    assert spec.of(LinesCancelled)[0].lines == quantities(shirts=1)
    assert spec.of(OrderClosed) == []


def test_trackings_word_may_come_before_sourcings() -> None:
    spec = capture().given(place(), cancel(shirts=2))
    spec.when(answered(cancelled={"shirts": 1})).then()
    spec.when(passed_on(cancelled={"shirts": 1}, passed={"shirts": 1}))
    assert last_word(spec) == ("accepted", (("shirts", 2, 0),))


def test_too_late_for_everything_is_declined() -> None:
    spec = capture().given(place(), cancel(mug=1), passed_on(passed={"mug": 1})).when(answered(mug=1))
    assert last_word(spec) == ("declined", (("mug", 0, 1),))
    assert spec.of(LinesCancelled) == []


def test_unknown_lines_and_too_many_units_are_answered_too_late() -> None:
    spec = capture().given(place()).when(cancel(shirts=5, hat=1))
    assert spec.of(CancellationRequested)[0].lines == quantities(shirts=2)
    spec.when(passed_on(cancelled={"shirts": 2}))
    assert last_word(spec) == ("accepted", (("shirts", 2, 3), ("hat", 0, 1)))
    assert [problem.code for problem in spec.of(RequestAnswered)[0].problems] == ["too_late", "unknown_line"]


def test_an_unknown_line_alone_is_answered_at_once() -> None:
    spec = capture().given(place()).when(cancel(hat=1))
    assert last_word(spec) == ("declined", (("hat", 0, 1),))


def test_several_cancels_in_flight_add_up() -> None:
    """The second asks for what the first left; each gets its own last word."""
    spec = capture().given(place(content(shirts(3), mug())), cancel("first", shirts=2))
    spec.when(cancel("second", shirts=2))
    assert spec.of(CancellationRequested)[0].lines == quantities(shirts=1)
    spec.when(passed_on("second", {"shirts": 1}))
    assert last_word(spec) == ("accepted", (("shirts", 1, 1),))
    spec.when(passed_on("first", {"shirts": 2}))
    assert last_word(spec) == ("accepted", (("shirts", 2, 0),))
    assert spec.state("order", ORDER).lines["shirts"].cancelled == 3


def test_nothing_left_to_cancel_is_declined() -> None:
    spec = capture().given(place(), cancel("first")).when(cancel("second"))
    assert last_word(spec) == ("declined", ())
    assert [problem.code for problem in spec.of(RequestAnswered)[0].problems] == ["nothing_left"]


def test_cancels_in_flight_are_bounded() -> None:
    spec = capture().given(place(content(shirts(50))))
    spec.given(*(cancel(f"cancel-{number}", shirts=1) for number in range(20)))
    spec.when(cancel("one-more", shirts=1))
    assert [problem.code for problem in spec.of(RequestAnswered)[0].problems] == ["busy"]


def test_a_cancel_waits_for_the_end_of_a_change() -> None:
    spec = capture().given(place(), change(content(shirts(3), mug())))
    spec.when(cancel(shirts=3)).then()
    word = {"order_id": ORDER, "request_id": "change-1", "passed_on": False, "demand_changed": True}
    spec.when(ChangePassedOn.model_validate(word | {"accepted": True}))
    assert names(spec) == ["OrderChanged", "RequestAnswered", "CancellationRequested"]
    assert spec.of(OrderChanged)[0].order.lines[0].quantity == 3
    assert spec.of(CancellationRequested)[0].lines == quantities(shirts=3)


def test_services_are_cancelled_with_the_last_word_on_the_goods() -> None:
    wrapping = mug(channel_line_ref="wrap", kind="service", sku=None)
    spec = capture().given(place(content(shirts(), wrapping))).when(cancel())
    assert spec.of(CancellationRequested)[0].lines == quantities(shirts=2)
    spec.when(passed_on(cancelled={"shirts": 2}))
    assert last_word(spec) == ("accepted", (("shirts", 2, 0), ("wrap", 1, 0)))
    assert spec.of(OrderClosed)[0].outcome == "cancelled"


def test_a_service_without_its_goods_is_cancelled_a_gift_card_is_not() -> None:
    wrapping = mug(channel_line_ref="wrap", kind="service", sku=None)
    card = mug(channel_line_ref="card", kind="gift_card", sku=None)
    spec = capture().given(place(content(shirts(), wrapping, card))).when(unfillable(shirts=2))
    assert names(spec) == ["OrderInvoiced", "LinesCancelled", "OrderClosed"]
    assert spec.of(LinesCancelled)[0].lines == quantities(wrap=1)
    assert spec.of(OrderClosed)[0].outcome == "partly_completed"


def test_what_is_not_shipped_in_time_is_cancelled() -> None:
    due = START + timedelta(hours=2)
    spec = capture().given(place(content(cancel_after=due)), shipped(shirts=1)).advance(timedelta(hours=2))
    (request,) = spec.of(CancellationRequested)
    assert request.request_id.startswith("cancel_after:")
    spec.when(passed_on(request.request_id, {"shirts": 1, "mug": 1}, {"shirts": 1})).then()
    spec.when(answered(request.request_id, shirts=1))
    assert names(spec) == ["LinesCancelled"]
    spec.when(handed_over(shirts=1))
    assert spec.of(OrderClosed)[0].outcome == "partly_completed"


def test_a_held_order_is_cancelled_whole_by_its_own_instant() -> None:
    drawn = content(shirts(sku="coat"), cancel_after=START + timedelta(hours=2))
    spec = capture().given(place(drawn)).advance(timedelta(hours=2))
    assert names(spec) == ["LinesCancelled", "HoldResolved", "OrderClosed"]
    spec.documents(Item(sku="coat")).when(Item(sku="coat")).then()


def test_what_the_buyer_did_not_collect_is_cancelled() -> None:
    spec = capture().given(place()).when(not_collected(shirts=2))
    assert spec.published == [LinesCancelled(order_id=ORDER, request_id=None, lines=quantities(shirts=2), reason="not_collected")]


def test_what_the_carrier_brought_back_is_cancelled() -> None:
    spec = capture().given(place(), shipped(shirts=2, mug=1), handed_over(mug=1)).when(came_back(shirts=2))
    assert spec.published == [
        LinesCancelled(order_id=ORDER, request_id=None, lines=quantities(shirts=2), reason="parcel_returned"),
        OrderClosed(order_id=ORDER, outcome="partly_completed"),
    ]


def test_an_order_nobody_can_fill_ends() -> None:
    spec = capture().given(place()).when(unfillable(shirts=2, mug=1))
    assert spec.published == [OrderClosed(order_id=ORDER, outcome="cancelled")]


def test_a_cancel_in_flight_keeps_the_order_open_until_it_is_answered() -> None:
    spec = capture().given(place(), cancel(), passed_on(passed={"shirts": 2, "mug": 1}))
    spec.when(handed_over(shirts=2, mug=1))
    assert spec.of(OrderClosed) == []
    spec.when(answered(shirts=2, mug=1))
    assert names(spec) == ["RequestAnswered", "OrderClosed"]
    assert last_word(spec) == ("declined", (("shirts", 0, 2), ("mug", 0, 1)))


def test_a_word_on_a_cancel_nobody_asked_for_changes_nothing() -> None:
    capture().given(place()).when(passed_on("nobody", {"shirts": 1})).then()
