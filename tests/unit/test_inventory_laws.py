"""Laws that hold whatever is reported, in whatever order: nothing negative, nothing promised twice, no unit made or lost unsaid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.inventory import DiscrepancyFound, ReservationReleased, ReservationShorted, StockReserved
from services.inventory.service import service
from services.inventory.state import Level, Reservation
from tests.support.inventory import (
    PARIS,
    SKU,
    at,
    counted,
    dated,
    ended,
    fact,
    figures,
    issued,
    level_of,
    line,
    location,
    moved,
    picked,
    release,
    reserve,
    restocked,
    sold,
)
from tests.support.spec import Spec, as_stored

PARTS = [f"web:{name}/1" for name in "ABCD"]
UNITS = st.integers(1, 6)
PART = st.sampled_from(PARTS)
BASES = ["physical", "shelf_without_picked", "available_after_allocations"]
LEVEL = f"{SKU}:{PARIS}"


def reservations_of(inventory: Spec) -> list[Reservation]:
    return [state for key, state in inventory.world.states.items() if key.kind == "reservation"]


def is_sound(inventory: Spec) -> None:
    """What the database checks of every level, and what it can't see."""
    level: Level | None = inventory.state("level", LEVEL)
    if level is None:
        return
    others = (level.left_out, level.picked, level.in_transit, level.quality_hold, level.damaged, level.display, level.unsettled)
    assert min(others) >= 0
    assert 0 <= level.reserved <= level.sellable
    assert 0 <= level.owed <= level.reserved
    assert level.owed == 0 or level.reserved == level.sellable
    assert sum(row.open for row in reservations_of(inventory)) == level.reserved


def total(inventory: Spec) -> int:
    """Units at the location, wherever they lie."""
    level = level_of(inventory)
    return level.sellable - level.owed + level.picked + level.quality_hold + level.damaged


# ---- anything, in any order ----

ANYTHING = st.one_of(
    st.tuples(st.just("reserve"), PART, UNITS, st.integers(0, 99)),
    st.tuples(st.just("release"), PART),
    st.tuples(st.just("pick"), PART, UNITS, st.integers(0, 30)),
    st.tuples(st.just("issue"), PART, UNITS, st.integers(0, 30), st.booleans()),
    st.tuples(st.just("end"), PART, UNITS, st.sampled_from(["none", "damaged", "not_found"]), st.integers(0, 30)),
    st.tuples(st.just("feed issue"), PART, UNITS, st.integers(0, 30)),
    st.tuples(st.just("feed pick"), PART, UNITS, st.integers(0, 30)),
    st.tuples(st.just("sale"), UNITS, st.integers(0, 30)),
    st.tuples(st.just("receipt"), UNITS, st.integers(0, 30)),
    st.tuples(st.just("quality"), UNITS, st.integers(0, 30)),
    st.tuples(st.just("restock"), UNITS),
    st.tuples(st.just("count"), st.integers(0, 15), st.integers(0, 30), st.sampled_from(BASES)),
    st.tuples(st.just("full"), st.integers(0, 30)),
)


MAKERS: dict[str, Callable[..., Any]] = {
    "reserve": lambda n, part, units, rank: reserve(f"{part[:-1]}{n}", line(units), rank=rank),
    "release": lambda _, part: release(part),
    "pick": lambda _, part, units, minute: picked(part, fact(units), when=at(minute)),
    "issue": lambda _, part, units, minute, unasked: issued(part, fact(units), when=at(minute), unasked=unasked),
    "end": lambda _, part, units, reason, minute: ended(part, "rejected", fact(units), reason=reason, when=at(minute)),
    "feed issue": lambda _, part, units, minute: moved("issue", -units, f"{part}:1", at(minute)),
    "feed pick": lambda _, part, units, minute: moved("status_change", units, f"{part}:1", at(minute), to_status="picked"),
    "sale": lambda n, units, minute: sold(units, f"till-{n}", at(minute)),
    "receipt": lambda n, units, minute: moved("receipt", units, f"in-{n}", at(minute)),
    "quality": lambda n, units, minute: moved("status_change", units, f"qc-{n % 5}", at(minute), to_status="quality_hold"),
    "restock": lambda n, units: restocked(units, f"r-{n % 5}"),
    "count": lambda n, units, minute, basis: counted(units, at(minute), f"c-{n}", basis=basis),
    "full": lambda n, minute: counted(1, at(minute), f"f-{n}", sku="jam", scope="full"),
}


def message(step: tuple[Any, ...], number: int) -> Any:
    return MAKERS[step[0]](number, *step[1:])


def renumbered(step: tuple[Any, ...], made: Sequence[str], pick: int) -> tuple[Any, ...]:
    """Facts name parts that were asked for, mostly."""
    if step[0] in ("release", "pick", "issue", "end", "feed issue", "feed pick") and made:
        return (step[0], made[pick % len(made)], *step[2:])
    return step


@given(
    steps=st.lists(st.tuples(ANYTHING, st.integers(0, 20), st.booleans()), max_size=40),
    declared=st.sets(st.sampled_from(["issue", "customer_return", "status_change"])),
)
@settings(max_examples=400, deadline=None)
def test_no_sequence_of_inputs_makes_a_level_unsound(steps: list[tuple[tuple[Any, ...], int, bool]], declared: set[Any]) -> None:
    inventory = Spec(service).documents(location(feed_reports=tuple(sorted(declared))))
    inventory.given(counted(8))
    made: list[str] = []
    for number, (step, pick, settles) in enumerate(steps, start=2):
        body = message(renumbered(step, made, pick), number)
        if step[0] == "reserve":
            made.append(body.part_id)
        inventory._decide(body)
        is_sound(inventory)
        if settles:
            inventory._run_timers(inventory.now)
            is_sound(inventory)
    inventory._run_timers(inventory.now)
    is_sound(inventory)
    assert level_of(inventory).owed == 0


# ---- no unit is made or lost unsaid ----


@given(steps=st.lists(ANYTHING, max_size=30))
@settings(max_examples=300, deadline=None)
def test_units_are_what_was_reported_and_what_was_said_to_differ(steps: list[tuple[Any, ...]]) -> None:
    """In the order things happen: reported movements, plus differences of counts, less what stopped at zero."""
    inventory = Spec(service).documents(location())
    inventory.given(counted(8))
    expected, made = 8, list(PARTS)
    for number, step in enumerate(steps, start=2):
        if step[0] in ("full", "feed issue", "feed pick", "quality"):
            continue
        body = _at_its_turn(message(renumbered(step, made, number), number), number)
        if step[0] == "reserve":
            made.append(body.part_id)
        inventory.now = at(100 + number)
        inventory.when(body)
        expected += _reported(body)
        expected += sum(_said(found) for found in inventory.of(DiscrepancyFound))
        assert total(inventory) == expected


def _at_its_turn(body: Any, number: int) -> Any:
    field = "as_of" if hasattr(body, "as_of") else "occurred_at"
    return body.model_copy(update={field: at(100 + number)}) if hasattr(body, field) else body


def _reported(body: Any) -> int:
    match type(body).__name__:
        case "StockMoved" | "StockRestocked":
            return int(body.quantity)
        case "StockIssued":
            return -sum(int(entry.quantity) for entry in body.lines)
        case _:
            return 0


def _said(found: DiscrepancyFound) -> int:
    if found.kind == "count_difference":
        return found.quantity
    return -found.quantity if found.kind == "below_zero" else 0


# ---- arrival order ----


@st.composite
def days(draw: st.DrawFn) -> tuple[list[list[Any]], list[Any]]:
    """What happened to a well stocked level, as streams that keep their own order, and the counts taken meanwhile."""
    minutes = st.integers(1, 100)
    streams: list[list[Any]] = []
    for number in range(draw(st.integers(0, 4))):
        streams.append([sold(draw(UNITS), f"till-{number}", at(draw(minutes)))])
        streams.append([moved("receipt", draw(UNITS), f"in-{number}", at(draw(minutes)))])
        streams.append([moved("status_change", draw(UNITS), f"qc-{number}", at(draw(minutes)), to_status="damaged")])
    for part in PARTS:
        start = draw(minutes)
        streams.append(_life(part, draw(st.integers(0, 3)), start, start + draw(minutes)))
    unasked = draw(st.lists(st.tuples(UNITS, minutes), max_size=2))
    streams += [[issued(f"web:X{n}/1", fact(units), when=at(when), unasked=True)] for n, (units, when) in enumerate(unasked)]
    counts = [
        counted(draw(st.integers(500, 1500)), at(moment), f"c-{moment}", basis=draw(st.sampled_from(BASES)))
        for moment in draw(st.sets(minutes, max_size=3))
    ]
    return streams, counts


def _life(part: str, kind: int, start: int, end: int) -> list[Any]:
    """A part of four units: half picked; then issued, given back, or rejected; or issued and reported by the feed too."""
    if kind == 0:
        return [picked(part, fact(2), when=at(start)), issued(part, fact(3), when=at(end))]
    if kind == 1:
        return [picked(part, fact(2), when=at(start)), ended(part, "not_collected", fact(4), when=at(end))]
    if kind == 2:
        return [picked(part, fact(1), when=at(start)), picked(part, fact(1), when=at(end))]
    return [issued(part, fact(4), when=at(end)), moved("issue", -4, f"{part}:1", at(end))]


def _happened(body: Any) -> Any:
    return body.as_of if hasattr(body, "as_of") else body.occurred_at


def after(bodies: Sequence[Any]) -> tuple[dict[str, int], list[tuple[str, int, int]]]:
    inventory = Spec(service).documents(location())
    inventory.given(counted(1000, at(-10)), *(reserve(part, line(4)) for part in PARTS))
    inventory.now = at(300)
    inventory.given(*bodies)
    is_sound(inventory)
    rows = sorted((row.part_id, row.open, row.picked) for row in reservations_of(inventory))
    return figures(inventory), rows


@given(day=days(), chance=st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_the_order_of_arrival_does_not_matter(day: tuple[list[list[Any]], list[Any]], chance: Any) -> None:
    """As things happened, or with everything late and mixed (each stream in its own order): the same level."""
    streams, counts = day
    streams = [sorted(stream, key=_happened) for stream in streams]
    in_time = sorted([body for stream in [*streams, counts] for body in stream], key=_happened)
    mixed: list[Any] = []
    waiting = [list(stream) for stream in [*streams, *([count] for count in counts)]]
    while waiting := [stream for stream in waiting if stream]:
        mixed.append(chance.choice(waiting).pop(0))
    assert after(in_time) == after(mixed)


@st.composite
def real_days(draw: st.DrawFn) -> tuple[list[list[Any]], dict[str, int]]:
    """What really happens to a few units, as streams of reports that keep their own order, and what lies there in the end.

    Parts are picked as far as there is something on the shelf, and leave or go back; walk-ins buy, goods come, and whoever counts finds
    shelf and carts."""
    shelf, carts = 4, 0
    streams: dict[str, list[Any]] = {}
    open_parts, waiting = list(PARTS), []
    for minute in range(1, draw(st.integers(2, 11))):
        what = draw(st.sampled_from(["pick", "pick", "leave", "put back", "sell", "receive", "count"]))
        if what == "pick" and open_parts and shelf:
            part, units = open_parts.pop(0), draw(st.integers(1, min(2, shelf)))
            shelf, carts = shelf - units, carts + units
            waiting.append((part, units))
            streams[part] = [picked(part, fact(units), when=at(minute))]
        elif what in ("leave", "put back") and waiting:
            part, units = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
            carts -= units
            shelf += units if what == "put back" else 0
            streams[part] += _back(part, units, minute) if what == "put back" else _gone(part, units, minute, draw(st.integers(0, 3)))
        elif what == "sell" and shelf:
            shelf -= 1
            streams[f"till-{minute}"] = [sold(1, f"till-{minute}", at(minute))]
        elif what == "receive":
            shelf += 2
            streams[f"in-{minute}"] = [moved("receipt", 2, f"in-{minute}", at(minute))]
        elif what == "count":
            streams[f"c-{minute}"] = [counted(shelf + carts, at(minute), f"c-{minute}")]
    return list(streams.values()), {"sellable": shelf, "picked": carts}


def _back(part: str, units: int, minute: int) -> list[Any]:
    return [ended(part, "cancelled", fact(units), when=at(minute))]


def _gone(part: str, units: int, minute: int, later: int) -> list[Any]:
    """The carrier may be the first to say so, and have had it later."""
    if not later:
        return [issued(part, fact(units), when=at(minute))]
    known = at(minute + later)
    return [issued(part, fact(units), when=known), dated(part, fact(units), booked_at=known, when=at(minute))]


@given(day=real_days(), chance=st.randoms(use_true_random=False), told_late=st.booleans())
@settings(max_examples=500, deadline=None)
def test_once_all_is_told_the_level_is_what_lies_there(day: tuple[list[list[Any]], dict[str, int]], chance: Any, told_late: bool) -> None:
    """However late and mixed the reports come (each stream in its own order), and wherever the level stopped at zero meanwhile: told late,
    or told at once and read late."""
    streams, there = day
    inventory = Spec(service).documents(location())
    inventory.given(counted(4, at(0)), *(reserve(part, line(1)) for part in PARTS))
    waiting = [list(stream) for stream in streams]
    while waiting := [stream for stream in waiting if stream]:
        body = chance.choice(waiting).pop(0)
        inventory.now = at(300) if told_late else body.booked_at if hasattr(body, "booked_at") else _happened(body)
        inventory.when(body)
        is_sound(inventory)
    level = level_of(inventory)
    assert {"sellable": level.sellable, "picked": level.picked, "left_out": level.left_out} == there | {"left_out": 0}


# ---- answers and rows ----


@given(
    stock=st.integers(0, 12),
    asked=st.lists(st.tuples(UNITS, st.integers(0, 99)), min_size=1, max_size=8),
    sales=st.lists(UNITS, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_every_reserved_unit_ends_once(stock: int, asked: list[tuple[int, int]], sales: list[int]) -> None:
    """Reserved is released or shorted, never both, and nothing of it stays."""
    inventory = Spec(service).documents(location())
    inventory.given(counted(stock))
    held: dict[str, int] = {}
    for number, (units, rank) in enumerate(asked):
        for answer in inventory.when(reserve(f"web:{number}/1", line(units), rank=rank)).of(StockReserved):
            held[answer.part_id] = answer.lines[0].reserved
    for number, units in enumerate(sales):
        for lost in inventory.when(sold(units, f"till-{number}")).of(ReservationShorted):
            held[lost.part_id] -= lost.lines[0].quantity
    for part_id in held:
        for freed in inventory.when(release(part_id)).of(ReservationReleased):
            held[part_id] -= sum(entry.quantity for entry in freed.lines)
    assert set(held.values()) <= {0}
    assert level_of(inventory).reserved == 0
    assert reservations_of(inventory) == []


def test_every_row_and_event_survives_storage() -> None:
    """As JSON, as the store keeps them; row ids without spaces, so that a parked timer can be read back."""
    inventory = Spec(service).documents(location(feed_reports=("issue",), safety_stock={SKU: 1}))
    inventory.given(counted(8), reserve(PARTS[0], line(3)), picked(PARTS[0], fact(1)), issued(PARTS[0], fact(1)))
    inventory.given(moved("receipt", 4, "gr-1", inbound_reference="po-1"), reserve(PARTS[1], line(4)), release(PARTS[1]))
    inventory.given(counted(2, at(10), "c-2", scope="full"), sold(6), ended(PARTS[0], "short", fact(1)))
    assert {key.kind for key in inventory.world.states} == {kind.name for kind in service.kinds}
    for key, state in inventory.world.states.items():
        assert as_stored(state) == state
        assert " " not in key.id
