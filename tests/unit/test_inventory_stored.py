"""Rows and events of inventory as they are stored, and as they were: what a row's id, owner and rank tell stood in documents too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.inventory.decide import BOOKED, LEVEL, PART, RESERVATION
from services.inventory.events import (
    LevelMoved,
    LevelUnblocked,
    MovementBooked,
    PartAnswered,
    UnitsGivenUp,
    UnitsPicked,
    UnitsReserved,
)
from services.inventory.state import (
    NEVER,
    Booked,
    Effect,
    Pick,
    Reservation,
    instant_of,
    latest_first,
    owner_of_reservation,
    shorting_order,
)
from shared.kernel.model import Kind
from shared.kernel.rows import RowCodec
from shared.value import encode

PART_ID, LINE_ID = "web:1/1", "a"
ID = f"{PART_ID}:{LINE_ID}"
AT = datetime(2026, 11, 29, 6, tzinfo=UTC)
PROMISED = datetime(2026, 11, 30, 22, 59, 59, tzinfo=UTC)
RESERVED = datetime(2026, 11, 29, 5, 55, 40, 816_123, tzinfo=UTC)
HELD = Reservation(PART_ID, LINE_ID, "tea", "paris", 15, PROMISED, RESERVED, open=2, picks=(Pick(RESERVED, 1),), lead=-1)
BOOKED_ROW = Booked("tea:paris", "sale", "till:1:2", feed=-1, effects=(Effect(RESERVED, {"sellable": -1}),))


def beside(kind: Kind[Any], id: str, state: Any) -> dict[str, Any]:
    """The columns of the row."""
    assert kind.owner is not None
    assert kind.rank is not None
    return {"id": id, "owner": kind.owner(state), "rank": kind.rank(state)}


@pytest.mark.parametrize(
    ("kind", "id", "state", "doc"),
    [
        (RESERVATION, ID, HELD, '{"open":2,"picks":[{"at":"2026-11-29T05:55:40.816123Z","units":1}],"lead":-1}'),
        (RESERVATION, ID, Reservation(PART_ID, LINE_ID, order_id="web:2", ahead=1), '{"order_id":"web:2","ahead":1}'),
        (
            BOOKED,
            "tea:paris:sale:till:1:2",
            BOOKED_ROW,
            '{"feed":-1,"effects":[{"at":"2026-11-29T05:55:40.816123Z","change":{"sellable":-1}}]}',
        ),
    ],
)
def test_a_row_says_nothing_twice_and_is_read_as_it_was(kind: Kind[Any], id: str, state: Any, doc: str) -> None:
    codec = RowCodec(kind)
    assert codec.dump(state) == doc
    assert codec.parse(beside(kind, id, state) | {"doc": doc}) == state


@pytest.mark.parametrize("far", [datetime(1, 1, 1, tzinfo=UTC), NEVER, RESERVED, datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)])
def test_an_instant_in_a_rank_is_exact_and_sorts_the_latest_first(far: datetime) -> None:
    assert instant_of(latest_first(far)) == far
    assert len(latest_first(far)) == 15
    assert (latest_first(far) < latest_first(PROMISED)) == (far > PROMISED)


WHOLE_ROW = (
    '{"part_id":"web:1/1","line_id":"a","order_id":"web:1","sku":"tea","location":"paris","priority":15,'
    '"promised_at":"2026-11-30T22:59:59Z","reserved_at":"2026-11-29T05:55:40.816123Z","open":2}'
)


def test_a_reservation_that_was_stored_whole_is_read_as_it_was_whatever_its_rank_looks_like() -> None:
    found = RowCodec(RESERVATION).parse({"id": ID, "owner": "tea:paris", "rank": "0840998203...", "doc": WHOLE_ROW})
    assert found == Reservation(PART_ID, LINE_ID, "tea", "paris", 15, PROMISED, RESERVED, "web:1", open=2)
    assert found.order == "web:1"
    assert owner_of_reservation(found) == "tea:paris"


def test_what_an_earlier_event_makes_is_what_its_row_had() -> None:
    doc = (
        '{"part_id":"web:1/1","line_id":"a","order_id":"web:1","sku":"tea","location":"paris","units":2,"priority":15,'
        '"promised_at":"2026-11-30T22:59:59Z","at":"2026-11-29T05:55:40.816123Z"}'
    )
    event = RowCodec(RESERVATION).parse_event("UnitsReserved", doc, ID, AT)
    folded = RESERVATION.evolve(RESERVATION.initial(ID), event)
    assert folded == RowCodec(RESERVATION).parse({"id": ID, "owner": None, "rank": None, "doc": WHOLE_ROW})


EVENTS = [
    (LEVEL, "tea:paris", LevelMoved("tea", "paris", {"reserved": 2}), '{"change":{"reserved":2}}'),
    (LEVEL, "tea:paris", LevelUnblocked("tea", "paris"), "{}"),
    (
        RESERVATION,
        ID,
        UnitsReserved(PART_ID, LINE_ID, AT, "tea", "paris", 2, PROMISED),
        '{"sku":"tea","location":"paris","units":2,"promised_at":"2026-11-30T22:59:59Z"}',
    ),
    (
        RESERVATION,
        ID,
        UnitsPicked(PART_ID, LINE_ID, "tea", "paris", RESERVED, units=1, from_open=1, order_id="web:2"),
        '{"sku":"tea","location":"paris","at":"2026-11-29T05:55:40.816123Z","units":1,"from_open":1,"order_id":"web:2"}',
    ),
    (RESERVATION, ID, UnitsGivenUp(PART_ID, LINE_ID, open=1), '{"open":1}'),
    (PART, PART_ID, PartAnswered(PART_ID, got=(("a", "tea"),)), '{"got":[["a","tea"]]}'),
    (
        BOOKED,
        "tea:paris:sale:till:1",
        MovementBooked("tea", "paris", "sale", "till:1", -1, RESERVED, 0, -1, 0, ()),
        '{"feed":-1,"feed_at":"2026-11-29T05:55:40.816123Z","moved":-1}',
    ),
]


@pytest.mark.parametrize(("kind", "id", "event", "doc"), EVENTS)
def test_an_event_does_not_repeat_what_its_row_is_called(kind: Kind[Any], id: str, event: Any, doc: str) -> None:
    codec = RowCodec(kind)
    assert codec.dump_event(event) == doc
    assert codec.parse_event(type(event).__name__, doc, id, AT) == event
    assert event.key.id == id


@pytest.mark.parametrize(("kind", "id", "event"), [entry[:3] for entry in EVENTS])
def test_an_event_that_was_stored_whole_is_read_as_it_is(kind: Kind[Any], id: str, event: Any) -> None:
    assert RowCodec(kind).parse_event(type(event).__name__, encode(event).decode(), "another id", NEVER) == event


def test_ranks_are_ordered_as_before() -> None:
    """Open ones first, then the highest priority number, the latest promise, the latest reserved."""
    rows = [
        Reservation(PART_ID, str(number), "tea", "paris", priority, promised, reserved, open=units)
        for number, (units, priority, promised, reserved) in enumerate(
            [
                (1, 90, NEVER, NEVER),
                (1, 50, PROMISED, RESERVED),
                (1, 50, PROMISED, NEVER),
                (1, 50, NEVER, RESERVED),
                (0, 99, PROMISED, RESERVED),
            ]
        )
    ]
    ranks = [shorting_order(row) for row in rows]
    assert ranks == sorted(set(ranks))


def test_a_part_that_was_answered_before_names_the_same_lines() -> None:
    before = RowCodec(PART).parse_event("PartAnswered", '{"part_id":"web:1/1","lines":[{"line_id":"a","sku":"tea"}]}', PART_ID, AT)
    row = RowCodec(PART).parse(
        {"id": PART_ID, "owner": None, "rank": None, "doc": '{"answered":true,"lines":[{"line_id":"a","sku":"tea"}]}'}
    )
    assert PART.evolve(PART.initial(PART_ID), before) == row
    now = PART.evolve(PART.initial(PART_ID), PartAnswered(PART_ID, got=(("a", "tea"),)))
    assert now is not None
    assert now.served == row.served == (("a", "tea"),)
