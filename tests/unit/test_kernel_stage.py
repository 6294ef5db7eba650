"""What one batch makes of its inputs, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from shared.kernel.arrivals import wake_up
from shared.kernel.model import Found, Input, Key, Kind, Need, Service, Slice, Wake, Woken, World, derived
from shared.kernel.ports import Row, TimerRow
from shared.kernel.stage import Stage
from shared.kernel.views import Documents
from shared.value import Value, replace

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BOX = Key("box", "a")


class Box(Value, frozen=True):
    opened: tuple[str, ...] = ()


class BoxOpened(Value, frozen=True):
    by: str

    @property
    def key(self) -> Key:
        return BOX


class Card(Value, frozen=True):
    box: str
    rank: str


class CardPut(Value, frozen=True):
    card: str
    box: str
    rank: str

    @property
    def key(self) -> Key:
        return Key("card", self.card)


class CardTaken(Value, frozen=True):
    card: str

    @property
    def key(self) -> Key:
        return Key("card", self.card)


def evolve_box(state: Box, event: BoxOpened) -> Box:
    return replace(state, opened=(*state.opened, event.by))


def evolve_card(_: Card, event: CardPut | CardTaken) -> Card | None:
    return Card(event.box, event.rank) if isinstance(event, CardPut) else None


CARDS = Slice(BOX, "card", lambda _: 5)


def keys(body: Woken, _: Found) -> Need:
    if body.name == "look":
        return Need((BOX,), (CARDS,))
    return Need((BOX, Key("card", "1")))


def decide(world: World, given: Input[Woken], _: Documents) -> Iterator[Any]:
    match given.body.name:
        case "cancel":
            yield Wake(BOX, "open", None)
        case "postpone":
            yield Wake(BOX, "open", NOON + timedelta(hours=1))
        case "put":
            yield CardPut("1", "a", "1")
        case "put elsewhere":
            yield CardPut("1", "b", "1")
        case "take":
            yield CardTaken("1")
        case "name its cause":
            yield BoxOpened(str(given.cause))
        case "look":
            yield BoxOpened(f"saw {len(world.rows(CARDS))}")
        case name:
            yield BoxOpened(name)


SERVICE: Service[Documents] = Service(
    name="boxes",
    reads={},
    kinds=(
        Kind("box", Box, lambda _: Box(), evolve_box, (BoxOpened,)),
        Kind("card", Card, lambda _: Card("", ""), evolve_card, (CardPut, CardTaken), owner=lambda c: c.box, rank=lambda c: c.rank),
    ),
    keys=keys,
    decide=decide,
    view=Documents,
)


def timer(name: str) -> TimerRow:
    return TimerRow(BOX, name, NOON, 50, 0)


def staged(cards: bool, *names: str) -> tuple[Stage, list[str]]:
    """A batch of timers, and those of them that wait for the next batch."""
    stage = Stage(SERVICE, Documents(), {"~timers": 1}, {})
    waiting: list[str] = []
    card = Row(1, Card("a", "1"))
    stage.loaded([BOX, Key("card", "1")], {Key("card", "1"): card} if cards else {})
    stage.loaded_slices({(BOX, "card"): [(Key("card", "1"), card)] if cards else []})
    for name in names:
        arrival = wake_up(timer(name), 0)
        need = keys(arrival.body, {})
        if waiting or stage.must_wait(need, ()):
            waiting.append(name)
        else:
            stage.take(arrival, need)
    return stage, waiting


@pytest.mark.parametrize("name", ["cancel", "postpone"])
def test_a_timer_that_was_moved_or_cancelled_in_this_batch_does_not_fire(name: str) -> None:
    stage, _ = staged(False, name, "open")
    changes = stage.finish()
    assert changes.timers_fired == [timer(name)]
    assert changes.rows == []
    assert (changes.timers_cancelled, [one.due for one in changes.timers_set]) == (
        ([(BOX, "open")], []) if name == "cancel" else ([], [NOON + timedelta(hours=1)])
    )


def test_timers_that_nothing_touched_fire_in_one_batch() -> None:
    stage, waiting = staged(False, "open", "close")
    assert stage.get(BOX, None) == Box(("open", "close"))
    assert waiting == []


def test_a_timer_set_again_for_the_moment_it_fired_has_effects_of_its_own() -> None:
    """Their ids are made of the cause: else a reader would take what follows the second time for a repeat."""
    stage, waiting = staged(False, "name its cause", "name its cause")
    assert waiting == []
    box = stage.get(BOX, Box())
    assert len(set(box.opened)) == 2


@pytest.mark.parametrize(("cards", "change"), [(False, "put"), (True, "take"), (True, "put elsewhere")])
def test_a_slice_whose_rows_came_moved_or_went_in_this_batch_waits_for_the_next(cards: bool, change: str) -> None:
    """Although its owner is as it was."""
    assert staged(cards, change, "look")[1] == ["look"]


def test_a_slice_whose_rows_stayed_in_their_place_does_not_wait() -> None:
    stage, waiting = staged(True, "put", "look")
    assert waiting == []
    assert stage.get(BOX, None) == Box(("saw 1",))


def test_a_decision_sees_only_what_its_input_has_named() -> None:
    """Although another input of the batch had it loaded: what isn't named isn't waited for where the batch is cut otherwise."""
    stage, _ = staged(True, "look")
    assert stage.get(BOX, None) == Box(("saw 1",))
    with pytest.raises(KeyError, match="was not named"):
        stage.get(Key("card", "1"), None)


@pytest.mark.parametrize("role", ["", "house:Counted:0", "a\x00b", "é" * 200])
def test_an_id_that_derives_is_the_uuid5_of_its_cause(role: str) -> None:
    """Ids in topics were made with the standard library's: a decision that is repeated must find them again."""
    assert derived(NAMESPACE_URL, role) == uuid5(NAMESPACE_URL, role)
