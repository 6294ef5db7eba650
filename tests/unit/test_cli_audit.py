"""Each check of the audit, on a small world where everything fits, and with one thing in it that can't be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.audit import CHECKS, Check, flow, lines, money, orders, stock, views
from deploy.audit import books as audit_books
from deploy.audit.books import NOTES, Books, Captured, CapturedLine, KeptRow, ServiceBooks, Sourced, Tracked
from deploy.audit.findings import MOST_VIOLATIONS, Findings
from deploy.audit.ledger import Asked, LaneContent, Ledger, MoneyOf, Shown
from deploy.audit.ledger import _note as note_record
from deploy.fleet import SERVICES
from schemas.status import LineStatus, Waiting
from schemas.topics import BY_NAME, CARRIERS
from services.fulfilment_tracking.status import MOST_UNITS
from services.inventory.service import service as inventory
from services.inventory.state import Level, Reservation
from services.order_capture.state import Money, Payment
from services.order_capture.state import Order as CaptureOrder
from services.returns.state import Line as ReturnLine
from services.sourcing.state import Line as SourcingLine
from shared.kernel.contents import Contents
from shared.kernel.ports import LaneId, Record, TopicPartition
from shared.value import replace

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ORDER, PART, LEVEL = "web-fr:1", "web-fr:1/1", "tea:paris"
COMMANDS = TopicPartition("oms.inventory.commands.v1", 0)
ORDERS = TopicPartition("oms.channel.orders.v1", 0)
SOURCING = LaneId("sourcing", 1)
REQUEST = Asked("oms.channel.orders.v1", ORDER, "r-1")
AVAILABILITY = "oms.inventory.availability.v1"
SHOWN_AT = TopicPartition(AVAILABILITY, 0)

World = tuple[Books, Ledger]
Mischief = Callable[[Books, Ledger], None]


def world() -> World:
    """Two of five teas are reserved for an accepted order, a third has reached the buyer."""
    empty = ServiceBooks([], [], [], [], [], [], [], [])
    books = Books(NOW, kernel=dict.fromkeys(SERVICES, empty))
    books.kernel["sourcing"] = empty._replace(lanes_out=[{"topic": COMMANDS.topic, "partition": 0, "incarnation": 1, "seq": 2}])
    books.kernel["inventory"] = empty._replace(
        lanes_in=[{"topic": COMMANDS.topic, "partition": 0, "service": "sourcing", "incarnation": 1, "seq": 2}],
        positions=[{"topic": COMMANDS.topic, "partition": 0, "next": 2}],
    )
    books.levels[LEVEL] = Level("tea", "paris", sellable=5, reserved=2)
    books.level_changes[LEVEL] = {"sellable": 5, "reserved": 2}
    books.reservations[f"{PART}:l1"] = Reservation(PART, "l1", order_id=ORDER, sku="tea", location="paris", open=2)
    books.captured[ORDER] = Captured("accepted", None, {"l1": captured()}, frozenset(), (), 900, 900, 300, 300, 300, 0, 300)
    books.tracked[ORDER] = Tracked("partly_shipped", False, {"l1": shown()}, frozenset({"l1"}), (waits(60),), (), {})
    books.sourced[ORDER] = Sourced(False, False, {"l1": SourcingLine("l1", "tea", 100, ordered=3, done=1)}, {(PART, "l1"): 2})
    books.returned[ORDER] = {"l1": ReturnLine(("tea",), ordered=3, handed_over=1)}
    books.shown[AVAILABILITY] = {LEVEL: KeptRow(4, b"four")}
    books.marks[AVAILABILITY] = {LEVEL: (4, 9)}
    return books, ledger()


def ledger() -> Ledger:
    found = Ledger({COMMANDS: 2, ORDERS: 1}, {COMMANDS: 0, ORDERS: 0})
    found.lanes[COMMANDS, SOURCING] = lane({1: b"a", 2: b"b"})
    found.states[AVAILABILITY][LEVEL] = Shown((1, 4), b"four", (1, 4), SHOWN_AT, 9)
    found.requests[REQUEST].add(b"content")
    found.answers[REQUEST] = 1
    found.reserve_commands[PART] = found.reserve_answers[PART] = 1
    found.accepted.add(ORDER)
    paid = found.money[ORDER]
    paid.total = paid.most_total = 900
    paid.claimed["p1", "authorised"] = 900
    paid.asked["m-1"] = ("capture", "p1", 300)
    paid.invoiced, paid.invoices["i-1"] = 300, 1
    return found


def lane(messages: dict[int, bytes]) -> LaneContent:
    content = LaneContent()
    for seq, digest in messages.items():
        assert content.note(seq, digest)
    return content


def captured() -> CapturedLine:
    return CapturedLine(goods=True, quantity=3, shipped=1, handed_over=1, cancelled=0, unfillable=0, credited=0)


def shown() -> LineStatus:
    return LineStatus(line_id="l1", sku="tea", ordered=3, released=3, shipped=1, handed_over=1, status="released")


def waits(seconds: float) -> Waiting:
    return Waiting(reason="location", until=NOW + timedelta(seconds=seconds))


def run(check: Check, found_in: World) -> Findings:
    found = Findings(check.__name__)
    check(*found_in, found)
    return found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_world_that_fits_passes(check: Check) -> None:
    assert run(check, world()).violations == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_says_what_it_holds_to(check: Check) -> None:
    assert (check.__doc__ or "").endswith(".")


def _level(**figures: int) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        books.levels[LEVEL] = replace(books.levels[LEVEL], **figures)

    return change


def _captured(**figures: int) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        order = books.captured[ORDER]
        books.captured[ORDER] = replace(order, lines={"l1": replace(order.lines["l1"], **figures)})

    return change


def _ended(books: Books, _: Ledger) -> None:
    books.captured[ORDER] = replace(books.captured[ORDER], stage="closed", outcome="completed")


def _document(**figures: int) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        order = books.tracked[ORDER]
        books.tracked[ORDER] = replace(order, lines={"l1": order.lines["l1"].model_copy(update=figures)})

    return change


def _waiting(*waiting: Waiting) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        books.tracked[ORDER] = replace(books.tracked[ORDER], waiting=waiting)

    return change


def _called(kind: str, reason: str) -> Mischief:
    """The order waits without a date, and an exception of this kind is open."""

    def change(books: Books, _: Ledger) -> None:
        books.tracked[ORDER] = replace(books.tracked[ORDER], waiting=(Waiting(reason=reason),), exceptions=(kind,))

    return change


def _sourced(units: int) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        books.sourced[ORDER] = replace(books.sourced[ORDER], held={(PART, "l1"): units})

    return change


def _returned(**figures: int) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        books.returned[ORDER] = {"l1": replace(books.returned[ORDER]["l1"], **figures)}

    return change


def _forgotten(books: Books, _: Ledger) -> None:
    books.reservations.clear()


def _kernel(service: str, name: str, /, **row: object) -> Mischief:
    def change(books: Books, _: Ledger) -> None:
        kernel = books.kernel[service]
        books.kernel[service] = kernel._replace(**{name: [row]})

    return change


def _asked(kind: str, amount: int) -> Mischief:
    def change(_: Books, found: Ledger) -> None:
        found.money[ORDER].asked["m-2"] = (kind, "p1", amount)

    return change


def _invoiced(_: Books, found: Ledger) -> None:
    found.money[ORDER].invoiced = 901


def _overtaken(books: Books, _: Ledger) -> None:
    _ended(books, Ledger({}, {}))
    books.captured[ORDER] = replace(books.captured[ORDER], taken_minor=301)


def _lost(_: Books, found: Ledger) -> None:
    found.lanes[COMMANDS, SOURCING] = lane({1: b"a", 3: b"c"})


def _forged(_: Books, found: Ledger) -> None:
    found.lanes[COMMANDS, SOURCING].differing.add(2)


def _unanswered(_: Books, found: Ledger) -> None:
    found.answers.clear()


def _answered_twice(_: Books, found: Ledger) -> None:
    found.answers[REQUEST] = 2


def _answered_unasked(_: Books, found: Ledger) -> None:
    found.answers[REQUEST._replace(request_id="r-2")] = 1


def _command_unanswered(_: Books, found: Ledger) -> None:
    found.reserve_answers.clear()


def _unreadable(_: Books, found: Ledger) -> None:
    found.unreadable.append((ORDERS, 7, None))


def _unknown(books: Books, _: Ledger) -> None:
    books.returned.clear()


def _stale(_: Books, found: Ledger) -> None:
    found.states[AVAILABILITY][LEVEL] = Shown((1, 3), b"three", (1, 4))


def _unrendered(books: Books, _: Ledger) -> None:
    books.shown[AVAILABILITY][LEVEL] = KeptRow(5, None, "KeyError: 'tea'")


def _unmarked(books: Books, found: Ledger) -> None:
    """The reader has marked what came after it."""
    books.marks[AVAILABILITY] = {"coffee:paris": (2, 10)}
    found.states[AVAILABILITY]["coffee:paris"] = Shown((1, 2), b"two", (1, 2), SHOWN_AT, 10)


def _untrue(_: Books, found: Ledger) -> None:
    found.states[AVAILABILITY][LEVEL] = Shown((1, 4), b"five", (1, 4))


def _view_lost(books: Books, found: Ledger) -> None:
    """A replica of sourcing has passed the level's document and doesn't have it."""
    record = Record(SHOWN_AT.topic, SHOWN_AT.partition, 0, 0, LEVEL.encode(), b"{}", (("ce_lane", b"inventory/1"), ("ce_seq", b"4")))
    found.trails[SHOWN_AT].note(record, BY_NAME[AVAILABILITY])
    found.trails[SHOWN_AT].note_caught_up(1)
    books.views["sourcing-0"] = {SHOWN_AT: Contents().seen(1)}


WRONG: list[tuple[Check, Mischief, str]] = [
    (stock.levels_are_possible, _level(picked=-1), "negative: picked"),
    (stock.levels_are_possible, _level(reserved=6), "6 reserved of 5 sellable"),
    (stock.reserved_is_the_sum_of_reservations, _forgotten, "2 reserved, but open reservations add up to 0"),
    (stock.levels_equal_their_history, _level(sellable=6), "6 sellable, but its history adds up to 5"),
    (stock.reservations_are_for_open_orders, _ended, "2 units are reserved for web-fr:1, which ended (completed)"),
    (stock.sourcing_and_inventory_agree, _sourced(1), "sourcing counts 1 units, inventory keeps 2"),
    (lines.lines_add_up, _captured(cancelled=3), "3 ordered, 3 cancelled, 0 unfillable, 1 handed over"),
    (lines.lines_add_up, _ended, "the order ended with units open"),
    (lines.documents_add_up, _document(unfillable=3), "3 ordered, 0 cancelled, 3 unfillable, 1 handed over"),
    (lines.documents_add_up, _document(credited=2), "2 credited of 1 handed over"),
    (lines.services_agree_on_lines, _document(handed_over=2), "handed over: capture 1, tracking 2"),
    (lines.services_agree_on_lines, _document(credited=1), "credited: capture 0, tracking 1"),
    (lines.sourcing_accounts_for_every_unit, _sourced(1), "3 ordered: 0 open, 0 waiting, 1 in parts, 1 done"),
    (lines.returns_stay_within_what_was_handed_over, _returned(credited=1), "1 credited of 0 inspected, 1 handed over"),
    (lines.returns_stay_within_what_was_handed_over, _returned(handed_over=2), "2 handed over, tracking counts 1"),
    (lines.nothing_is_credited_twice, _captured(credited=2), "2 credited of 1 that left"),
    (money.captures_stay_within_authorisations, _asked("capture", 601), "captures of 901 were asked for, 900 is authorised"),
    (money.refunds_stay_within_captures, _asked("refund", 301), "refunds of 301 were asked for, 300 was taken"),
    (money.invoices_stay_within_totals, _invoiced, "901 invoiced of 900"),
    (money.nothing_is_kept_beyond_what_is_owed, _overtaken, "301 kept, 300 may be kept"),
    (flow.lanes_are_gapless, _lost, "missing of 3: 2"),
    (flow.lanes_are_gapless, _forged, "two different messages have the number 2"),
    (flow.outboxes_are_in_their_topics, _lost, "2 committed, 3 in the topic"),
    (flow.readers_are_at_the_ends, _lost, "2 read of 3 in the topic"),
    (flow.requests_are_answered_once, _unanswered, "it was never answered"),
    (flow.requests_are_answered_once, _answered_twice, "2 answers to 1 different contents"),
    (flow.requests_are_answered_once, _answered_unasked, "it was answered, but nobody asked"),
    (flow.reserve_commands_are_answered_once, _command_unanswered, "1 commands, 0 answers"),
    (flow.unreadable_records_are_accounted_for, _unreadable, "neither a dead letter nor answered"),
    (flow.nothing_is_quarantined, _kernel("returns", "quarantined", kind="purchase", id=ORDER, reason="KeyError"), "failed (KeyError)"),
    (
        flow.no_gap_is_open,
        _kernel("returns", "spooled", topic="t", partition=0, service="order_capture", seq=3),
        "message 3 waits behind a gap",
    ),
    (
        flow.nothing_waits_too_long,
        _kernel("returns", "kept", kind="purchase", id=ORDER, topic="t", until=NOW - timedelta(seconds=1)),
        "a message of t waits for it since before",
    ),
    (
        flow.nothing_waits_too_long,
        _kernel("sourcing", "timers_overdue", kind="order", id=ORDER, name="deadline", due=NOW),
        "its timer deadline was due",
    ),
    (orders.orders_end_or_wait, _waiting(), "it hasn't ended (partly_shipped) and waits for nothing"),
    (orders.orders_end_or_wait, _waiting(waits(-61)), "which has passed"),
    (orders.orders_end_or_wait, _waiting(Waiting(reason="location")), "without a deadline, and nobody was told"),
    (orders.orders_end_or_wait, _called("unasked", "location"), "without a deadline, and nobody was told"),
    (orders.orders_end_or_wait, _called("late", "sourcing"), "without a deadline, and nobody was told"),
    (orders.orders_end_or_wait, _ended, "order capture has closed it (completed), its status is partly_shipped"),
    (orders.accepted_orders_are_known, _unknown, "it was accepted, and this service doesn't know it"),
    (orders.every_row_can_be_shown, _unrendered, "version 5 can't be shown: KeyError: 'tea'"),
    (orders.state_topics_show_the_rows, _stale, "version 3 stands after version 4"),
    (orders.state_topics_show_the_rows, _untrue, "says something else than the row"),
    (orders.read_back_marks_are_true, _unmarked, "version 0 at -1 is marked, version 4 stands at 9"),
    (views.views_show_their_topics, _view_lost, "0 documents up to 1, the topic makes 1"),
]


@pytest.mark.parametrize(("check", "mischief", "said"), WRONG, ids=[f"{check.__name__}: {said[:40]}" for check, _, said in WRONG])
def test_what_cannot_be_is_named(check: Check, mischief: Mischief, said: str) -> None:
    wrong = world()
    mischief(*wrong)
    found = run(check, wrong).violations
    assert any(said in violation.detail for violation in found), found


def test_every_check_finds_something() -> None:
    assert {check.__name__ for check, _, _ in WRONG} == {check.__name__ for check in CHECKS}


def test_a_fact_nobody_asked_for_is_excused_by_its_exception() -> None:
    """Shipped too many: booked, and a person was told."""
    books, found_in = world()
    _captured(handed_over=4)(books, found_in)
    books.tracked[ORDER] = replace(books.tracked[ORDER], exceptions=("shipped_too_many",))
    assert run(lines.lines_add_up, (books, found_in)).violations == []


def test_more_units_than_a_document_can_tell_are_no_difference() -> None:
    books, found_in = world()
    _returned(handed_over=MOST_UNITS + 7)(books, found_in)
    _document(handed_over=MOST_UNITS)(books, found_in)
    assert run(lines.returns_stay_within_what_was_handed_over, (books, found_in)).violations == []


@pytest.mark.parametrize(("asked", "findings"), [(2, 0), (1, 2)])
def test_units_that_their_location_was_asked_to_give_up_may_stay_reserved_when_the_order_has_ended(asked: int, findings: int) -> None:
    """Those, and no more; sourcing counts them no longer."""
    books, found_in = world()
    _ended(books, found_in)
    books.sourced[ORDER] = replace(books.sourced[ORDER], closed=True, held={})
    books.tracked[ORDER] = replace(books.tracked[ORDER], asked_back={(PART, "l1"): asked})
    checks = (stock.reservations_are_for_open_orders, stock.sourcing_and_inventory_agree)
    assert sum(len(run(check, (books, found_in)).violations) for check in checks) == findings


def test_a_row_on_which_a_rule_fails_does_not_end_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, once, and everything else is looked at as ever."""

    def fails(*_: object) -> None:
        raise KeyError("tea")

    broken = replace(inventory, states=(replace(inventory.states[0], render=fails),))
    monkeypatch.setattr(audit_books, "inventory", broken)
    books, found_in = world()
    NOTES["inventory", "level"](books, LEVEL, 5, books.levels[LEVEL])
    assert [each.detail for check in CHECKS for each in run(check, (books, found_in)).violations] == [
        f"{AVAILABILITY}: version 5 can't be shown: KeyError: 'tea'"
    ]


@pytest.mark.parametrize("nonsense", [b"{}", b"\xff", b"[]", b'{"carrier": 1}'])
def test_a_document_that_no_contract_reads_is_in_no_view(nonsense: bytes) -> None:
    """Whoever may write to a topic from outside may write that; the process and the audit take it for the same."""
    at = TopicPartition(CARRIERS.name, 0)
    good = Path("schemas/examples/Carrier.json").read_bytes()
    books, found_in = world()
    view = Contents()
    for offset, (key, value) in enumerate([(b"fast", good), (b"slow", nonsense), (b"fast", nonsense), (b"calm", good)]):
        record = Record(at.topic, at.partition, offset, 0, key, value, ())
        found_in.trails[at].note(record, CARRIERS)
        version = view.news(record, CARRIERS)
        assert version is not None
        if value == good:
            view.show(key, version)
        else:
            view.hide(key, version)
    found_in.trails[at].note_caught_up(4)
    books.views["sourcing-0"] = {at: view.seen(4)}
    assert run(views.views_show_their_topics, (books, found_in)).violations == []


def test_units_given_up_and_handed_over_unasked_are_excused_by_their_exception() -> None:
    """Order capture counts them as handed over, sourcing as unfillable."""
    books, found_in = world()
    line = SourcingLine("l1", "tea", 100, ordered=3, done=0, unfillable=1)
    books.sourced[ORDER] = replace(books.sourced[ORDER], lines={"l1": line})
    assert [each.detail for each in run(lines.sourcing_accounts_for_every_unit, (books, found_in)).violations] != []
    books.tracked[ORDER] = replace(books.tracked[ORDER], exceptions=("unasked",))
    assert run(lines.sourcing_accounts_for_every_unit, (books, found_in)).violations == []


@pytest.mark.parametrize(
    ("capture", "given_up"),
    [({}, 2), ({"unfillable": 1}, 0), ({"quantity": 4}, 0)],
    ids=["more than were handed over", "sourcing knows nothing of them", "another number was ordered"],
)
def test_an_exception_excuses_nothing_else(capture: dict[str, int], given_up: int) -> None:
    """One unit was handed over, and a person was told of that one."""
    books, found_in = world()
    line = SourcingLine("l1", "tea", 100, ordered=3, done=1 - min(given_up, 1), unfillable=given_up)
    books.sourced[ORDER] = replace(books.sourced[ORDER], lines={"l1": line}, held={(PART, "l1"): 3 - line.done - given_up})
    _captured(**capture)(books, found_in)
    books.tracked[ORDER] = replace(books.tracked[ORDER], exceptions=("unasked",))
    [told] = run(lines.sourcing_accounts_for_every_unit, (books, found_in)).violations
    assert "capture has" in told.detail


def test_money_taken_for_a_request_that_nobody_made_was_taken_all_the_same() -> None:
    """What answers a request of ours is counted once: as asked for."""
    paid = MoneyOf()
    paid.asked["m-1"] = ("capture", "p1", 300)
    paid.reported["p1", "captured", "m-1"] = 300
    assert paid.most("p1", "captured") == 0
    paid.reported["p1", "captured", "no-request-of-ours"] = 200
    assert paid.most("p1", "captured") == 200


def test_money_given_back_unasked_makes_up_only_for_its_own_payment() -> None:
    """A report of more than was taken with a card excuses nothing that is kept of another one."""
    books, _ = world()
    paid = {
        "card-1": Payment("card-1", captured_minor=100, refunded_minor=1_000_000),
        "card-2": Payment("card-2", captured_minor=300, refunded_minor=50),
    }
    NOTES["order_capture", "order"](books, ORDER, 1, CaptureOrder(ORDER, stage="accepted", money=Money(payments=paid)))
    assert books.captured[ORDER].taken_minor == 250


def test_a_lane_belongs_to_the_owner_of_its_topic() -> None:
    """A stranger's record is of no lane, whatever it claims: its highest number is nobody's gap."""
    events = BY_NAME["oms.fulfilment.events.v1"]
    for claimed in (b"stranger/1", b"\xff/1", b"sourcing/1"):
        found_in = Ledger({}, {})
        headers = (("ce_lane", claimed), ("ce_seq", b"9223372036854775807"), ("ce_id", b"x"))
        note_record(found_in, Record(events.name, 1, 5, 0, b"web-fr:1", b"{}", headers))
        assert (found_in.lanes, found_in.strays) == ({}, [(TopicPartition(events.name, 1), 5)])


@pytest.mark.parametrize(("kind", "reason"), [("late", "location"), ("late", "delivery"), ("parcel_returned", "parcel_returned")])
def test_an_order_may_wait_for_a_person_who_was_told_of_just_that(kind: str, reason: str) -> None:
    books, found = world()
    _called(kind, reason)(books, found)
    assert run(orders.orders_end_or_wait, (books, found)).violations == []


def test_what_is_being_captured_may_wait_for_its_refund() -> None:
    """A provider gives back only what it has confirmed."""
    books, found = world()
    _overtaken(books, found)
    books.captured[ORDER] = replace(books.captured[ORDER], capturing_minor=1)
    assert run(money.nothing_is_kept_beyond_what_is_owed, (books, found)).violations == []


def test_a_request_may_wait_for_its_answer() -> None:
    books, found_in = world()
    _unanswered(books, found_in)
    books.captured[ORDER] = replace(books.captured[ORDER], pending=frozenset({"r-1"}))
    assert run(flow.requests_are_answered_once, (books, found_in)).violations == []


def test_a_flood_of_violations_is_counted() -> None:
    found = Findings("some_check")
    for number in range(MOST_VIOLATIONS + 5):
        found.wrong("inventory", str(number), "wrong")
    assert len(found.all_violations()) == MOST_VIOLATIONS + 1
    assert found.all_violations()[-1].what == "5 more"
