"""What holds whatever happens: totals don't care about order or repetition, and every unit is somewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.fulfilment import (
    CancellationAnswered,
    LinesHandedOver,
    ParcelWasShipped,
    RejectionReason,
    ReservationEnded,
    StockIssued,
    StockPicked,
)
from schemas.status import TrackingStatus
from schemas.topics import Body
from services.fulfilment_tracking.state import Work
from tests.support.fulfilment_tracking import (
    PART,
    STORE,
    WAREHOUSE,
    accepted,
    at_work,
    cancel,
    collected,
    exceptions,
    gives_up,
    line,
    moves,
    nobody_came,
    order,
    packs,
    part,
    picks,
    ready,
    rejects,
    ships,
    shorted,
    sourced,
    status,
    takes_on,
    tracking,
)
from tests.support.spec import Spec, as_stored

MOST = 5


def run(spec: Spec, messages: Sequence[Body]) -> list[Body]:
    """Everything that is published on the way."""
    published: list[Body] = []
    for message in messages:
        spec.when(message)
        published += spec.published
    return published


def units(published: Sequence[Body], kind: type, **fields: object) -> Counter[str]:
    """Units by line of the messages of one type with these fields."""
    count: Counter[str] = Counter()
    for message in published:
        if isinstance(message, kind) and all(getattr(message, name) == value for name, value in fields.items()):
            for entry in getattr(message, "lines", ()):
                count[entry.line_id] += entry.quantity
    return count


@st.composite
def shuffled(draw: st.DrawFn, reports: Sequence[Body]) -> list[Body]:
    """All of them in any order, some of them twice or more."""
    again = draw(st.lists(st.sampled_from(list(reports)), max_size=4))
    return list(draw(st.permutations([*reports, *again])))


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, int], list[Body]]:
    """What a location does, step by step: rejects some, picks, finds some short, packs and ships the rest; it arrives."""
    asked = {name: draw(st.integers(1, MOST)) for name in ("shirt", "mug")}
    refused = {name: draw(st.integers(0, n)) for name, n in asked.items()}
    done = {name: draw(st.integers(0, asked[name] - refused[name])) for name in asked}
    first = {name: draw(st.integers(0, n)) for name, n in done.items()}
    parcels = [first, {name: done[name] - first[name] for name in done}]
    reports: list[Body] = [
        takes_on(),
        rejects(at=2, shirt=refused["shirt"], mug=refused["mug"]),
        picks(at=3, shirt=first["shirt"], mug=first["mug"]),
        picks(final=True, at=4, shirt=done["shirt"], mug=done["mug"]),
    ]
    for number, contents in enumerate(parcels):
        if any(contents.values()):
            name = f"p{number}"
            shirt, mug = contents["shirt"], contents["mug"]
            reports += [packs(name, at=5, shirt=shirt, mug=mug), ships(name, at=6, shirt=shirt, mug=mug)]
            reports.append(moves("delivered", parcel_id=name))
    return asked, done, reports


@given(st.data())
@settings(deadline=None)
def test_reports_in_any_order_and_number_give_the_same_quantities(data: st.DataObject) -> None:
    asked, done, reports = data.draw(stories())
    spec = at_work(shirt=asked["shirt"], mug=asked["mug"])
    published = run(spec, data.draw(shuffled(reports)))
    for name, n in asked.items():
        told = line(spec, name)
        assert (told.released, told.picked, told.packed, told.shipped, told.handed_over) == (done[name],) * 5
        assert work(spec, name).left == 0
        assert units(published, StockIssued, unasked=False)[name] == done[name]
        assert units(published, ReservationEnded)[name] == n - done[name]
        assert units(published, LinesHandedOver)[name] == done[name]
        assert units(published, StockPicked)[name] <= done[name]
    assert units(published, StockIssued, unasked=True) == Counter()
    assert exceptions(spec) == []


@given(st.data())
@settings(deadline=None)
def test_a_cancel_is_answered_once_however_the_location_s_reports_come(data: st.DataObject) -> None:
    """What it gives up, rejects and finds short comes to the same sum; what was asked for is cancelled first."""
    asked = data.draw(st.integers(1, MOST))
    given_up = data.draw(st.integers(1, asked))
    refused = data.draw(st.integers(0, asked - given_up))
    done = data.draw(st.integers(0, asked - given_up - refused))
    reports: list[Body] = [gives_up(at=2, shirt=given_up), picks(final=True, at=4, shirt=done)]
    if refused:
        reports.append(rejects(at=3, shirt=refused))
    if done:
        reports.append(ships(at=5, shirt=done))
    spec = at_work(shirt=asked).given(cancel(shirt=given_up))
    published = run(spec, data.draw(shuffled(reports)))
    (answer,) = [message for message in published if isinstance(message, CancellationAnswered)]
    assert [entry.quantity for entry in answer.cancelled] == [given_up] and answer.too_late == ()
    assert units(published, ReservationEnded, cause="cancelled")["shirt"] == given_up
    assert units(published, ReservationEnded)["shirt"] == asked - done
    assert units(published, StockIssued, unasked=False)["shirt"] == done
    assert exceptions(spec) == []


@given(st.data())
@settings(deadline=None)
def test_collections_in_any_order_give_the_same_quantities(data: st.DataObject) -> None:
    asked = data.draw(st.integers(1, MOST))
    some = data.draw(st.integers(1, asked))
    reports: list[Body] = [takes_on(), picks(shirt=some), ready(at=4, shirt=some), ready(at=7, shirt=asked)]
    reports += [collected(at=6, shirt=some), collected(at=8, shirt=asked)]
    spec = at_work("click_and_collect", shirt=asked)
    published = run(spec, data.draw(shuffled(reports)))
    told = line(spec)
    assert (told.ready, told.handed_over, told.picked, work(spec).left) == (asked, asked, asked, 0)
    assert units(published, StockIssued, unasked=False)["shirt"] == asked
    assert units(published, LinesHandedOver)["shirt"] == asked
    assert exceptions(spec) == []


@given(st.data())
@settings(deadline=None)
def test_a_carrier_s_reports_in_any_order_end_in_the_same_status(data: st.DataObject) -> None:
    story: list[TrackingStatus] = ["label_created", "in_transit", "attempt_failed", "in_transit", "out_for_delivery"]
    story.append(data.draw(st.sampled_from(["delivered", "returned"])))
    reports: list[Body] = [moves(step, at=10 * n) for n, step in enumerate(story, start=1)]
    reports += [packs(tracking_number="T-p1", shirt=2), ships(shirt=2)]
    spec = at_work(shirt=2)
    published = run(spec, data.draw(shuffled(reports)))
    parcel = status(spec).parcels[0]
    assert parcel.status == story[-1]
    assert line(spec).handed_over == (2 if story[-1] == "delivered" else 0)
    assert units(published, StockIssued, unasked=False)["shirt"] == 2


# ---- anything at all ----

COUNT = st.integers(1, MOST)
PLACE = st.sampled_from((STORE, STORE, STORE, WAREHOUSE))
PARCEL = st.sampled_from(("p1", "p2"))
REQUEST = st.sampled_from(("c1", "c2", "c3"))
AT = st.integers(1, 100)
WHY: tuple[RejectionReason, ...] = ("not_found", "damaged")
ANYTHING: st.SearchStrategy[Body] = st.one_of(
    st.just(takes_on()),
    st.builds(lambda n, at, to, why: rejects(why, shirt=n, at=at, location=to), COUNT, AT, PLACE, st.sampled_from(WHY)),
    st.builds(lambda n, final, at, to: picks(shirt=n, final=final, at=at, location=to), COUNT, st.booleans(), AT, PLACE),
    st.builds(lambda n, parcel: packs(parcel, tracking_number=f"T-{parcel}", shirt=n), COUNT, PARCEL),
    st.builds(lambda n, parcel, at, to: ships(parcel, shirt=n, at=at, location=to), COUNT, PARCEL, AT, PLACE),
    st.builds(lambda n: ships("p3", hat=n), COUNT),
    st.builds(lambda n, at: ready(shirt=n, at=at), COUNT, AT),
    st.builds(lambda n, to: collected(shirt=n, location=to), COUNT, PLACE),
    st.builds(nobody_came, AT),
    st.builds(lambda n, request: cancel(request, shirt=n), COUNT, REQUEST),
    st.builds(lambda n, request: gives_up(request, shirt=n), COUNT, REQUEST),
    st.builds(lambda n: shorted(shirt=n), COUNT),
    st.builds(moves, st.sampled_from(("in_transit", "delivered", "exception", "returned")), AT, PARCEL),
)


def work(spec: Spec, name: str = "shirt") -> Work:
    return order(spec).parts[PART].lines[name]


@given(st.lists(ANYTHING, max_size=25), st.booleans())
@settings(deadline=None, max_examples=300)
def test_every_unit_is_somewhere(messages: list[Body], at_once: bool) -> None:
    """planned = ended + served + left, and stock follows to the unit, however little sense the reports make."""
    release = part(shirt=3) if at_once else part(release_at=spec_later(), shirt=3)
    spec = tracking().given(accepted(shirt=3), sourced(release))
    published: list[Body] = []
    for message in messages:
        spec.when(message)
        published += spec.published
        _adds_up(spec, published)
    _is_whole(spec)


def spec_later() -> Any:
    return moves("delivered", at=10_000).occurred_at


def _adds_up(spec: Spec, published: list[Body]) -> None:
    one = work(spec)
    assert one.planned == one.gone + one.served + one.left == 3
    assert one.left >= 0 and 0 <= one.carted <= one.left and one.shorted_open >= 0
    put_back = units(published, ReservationEnded, cause="shorted", reason="none")["shirt"]
    spoilt = units(published, ReservationEnded, cause="shorted", reason="damaged")["shirt"]
    ended = units(published, ReservationEnded, part_id=PART)["shirt"] - put_back - spoilt
    issued = units(published, StockIssued, unasked=False)["shirt"]
    taken = one.ended.get("shorted", 0)
    assert ended + issued == one.planned - one.left - taken
    assert one.shorted_carted >= 0 and put_back + one.shorted_carted <= taken
    assert 0 <= one.unexplained <= one.told_off and spoilt <= one.told_off
    left_for_buyer = units(published, StockIssued)["shirt"]
    assert left_for_buyer == one.served + one.over == one.shipped + one.collected
    assert units(published, ParcelWasShipped)["shirt"] == one.shipped
    answers = Counter(message.request_id for message in published if isinstance(message, CancellationAnswered))
    assert all(count == 1 for count in answers.values())


def _is_whole(spec: Spec) -> None:
    """The document says what it waits for, its quantities are in order, and the rows survive storage."""
    document = status(spec)
    assert document.waiting
    told = line(spec)
    assert told.handed_over <= told.shipped + work(spec).collected
    assert told.packed <= told.picked <= told.released + told.reserved
    assert told.shipped + work(spec).collected <= told.picked
    for state in spec.world.states.values():
        assert as_stored(state) == state
