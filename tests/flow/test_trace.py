"""`nervure trace` of one split, one re-sourced and one returned order reads as a story: who did what, because of what, and why so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from deploy.supervisor import System, environ
from schemas import returns as rt
from tests.support.cli import Nervure
from tests.support.desk import Desk, Place
from tests.support.steps import authorise_return, deliver, ended, inspected, received, reject

NewPlace = Callable[..., Awaitable[Place]]

ACCEPTED = "order_capture accepted the order as revision 1 under policy shop"
CLOSED = "order_capture closed the order: completed"
COST_OF_BOTH = "14.22 EUR (parcels 10.00, distance 0.67, weight 0.75, handling 2.00, labour 0.80)"
CHOSEN_BOTH = f"Chosen: paris (2 of line a) + lyon (1 of line b) for {COST_OF_BOTH}."
CHOSEN_PARIS = "Chosen: paris alone for 6.90 EUR (parcels 5.00, weight 0.50, handling 1.00, labour 0.40)."
CHOSEN_LYON = "Chosen: lyon alone for 7.57 EUR (parcels 5.00, distance 0.67, weight 0.50, handling 1.00, labour 0.40)."


@dataclass(frozen=True, slots=True)
class Told:
    """The story of an order, its place's name left out; a chapter is who did it and what."""

    page: str
    chapters: dict[str, dict[str, Any]]

    def chain(self, *sentences: str) -> None:
        """Each is told once, after the one before and because of it."""
        for cause, effect in pairwise(self._chapters(sentences)):
            assert effect["cause"] == cause["number"], (effect["says"], "is not because of", cause["says"])
            assert effect["number"] > cause["number"]

    def in_order(self, *sentences: str) -> None:
        """Each is told after the one before, whatever caused it."""
        numbers = [chapter["number"] for chapter in self._chapters(sentences)]
        assert numbers == sorted(numbers), list(zip(sentences, numbers, strict=True))

    def details(self, sentence: str) -> list[str]:
        [chapter] = self._chapters((sentence,))
        return list(chapter["details"])

    def _chapters(self, sentences: tuple[str, ...]) -> list[dict[str, Any]]:
        missing = [sentence for sentence in sentences if sentence not in self.chapters]
        assert missing == [], "\n".join(("not told:", *missing, "told:", *self.chapters))
        return [self.chapters[sentence] for sentence in sentences]


@pytest.fixture
def told(system: System, desk: Desk) -> Callable[[Place, str], Awaitable[Told]]:
    """`await told(place, order)` once nothing moves any more."""
    nervure = Nervure(environ(system.settings))

    async def told(place: Place, order: str) -> Told:
        await desk.rest()
        page = await asyncio.to_thread(nervure, "trace", order)
        story = (await asyncio.to_thread(nervure, "trace", order, "--json")).json["story"]
        for chapter in story:
            chapter["details"] = [_plain(place, line) for line in chapter["details"]]
        assert page.code == 0
        assert all((chapter["cause"] or 0) < chapter["number"] for chapter in story)
        return Told(_plain(place, " ".join(page.out.split())), {_plain(place, f"{each['who']} {each['says']}"): each for each in story})

    return told


def _plain(place: Place, text: str) -> str:
    """`paris` for its location, `shop` for its channel and policy."""
    return text.replace(f"{place.name}-", "").replace(place.name, "shop")


ToldOf = Callable[[Place, str], Awaitable[Told]]


async def test_a_split_order_reads_as_a_story(place: NewPlace, told: ToldOf) -> None:
    """Two locations are asked, both promise, the decision says why two, both ship, and the last parcel closes the order."""
    here = await place()
    await here.stock("paris", a=3)
    await here.stock("lyon", b=2)
    order = await here.place({"a": 2, "b": 1})
    await deliver(here, *await here.instructed(order, 2))
    await ended(here, order, "completed")
    story = await told(here, order)

    placed = "shop placed the order: 2 x a, 1 x b, 30.00 EUR, home to 75001 Paris FR"
    decided = "sourcing decided: paris does 2 x a as part 1; lyon does 1 x b as part 2, the order is split"
    for part, location, units, line in ((1, "paris", "2 x a", "2 of line a"), (2, "lyon", "1 x b", "1 of line b")):
        asked, reserved = f"sourcing asked {location} for {units} as part {part}", f"inventory reserved {units} at {location}"
        instructed = _instructed(story, location, units)
        shipped = f"{location} gave parcel p1 to post (1-{part}-p1): {line}"
        delivered = f"fulfilment_tracking {units} delivered to the buyer (part {part}, {location})"
        story.chain(placed, ACCEPTED, asked, reserved)
        story.chain(decided, instructed)
        story.chain(shipped, f"fulfilment_tracking {units} left {location}")
        story.chain(f"post 1-{part}-p1: delivered", delivered)
        story.in_order(reserved, decided, instructed, f"{location} takes the work on", shipped, delivered, CLOSED)
    assert _from_chosen(story, decided) == [CHOSEN_BOTH, "No other plan was possible."]
    assert story.details(decided)[0] == "Policy shop version 1, attempt 1: 2 candidates: lyon (111 km, 2 x b), paris (0 km, 3 x a)."
    assert story.details(decided)[-1].startswith("Promise: delivery by ")
    assert f"{decided.removeprefix('sourcing ')} <- " in story.page
    assert "No other plan was possible." in story.page


async def test_a_resourced_order_reads_as_a_story(place: NewPlace, told: ToldOf) -> None:
    """The location says no and why, its reservation ends, sourcing decides anew without it, and the other one ships."""
    here = await place()
    await here.stock("paris", a=3)
    await here.stock("lyon", a=5)
    order = await here.place({"a": 2})
    [first] = await here.instructed(order)
    await reject(here, first, "not_found")
    [second] = [each for each in await here.instructed(order, 2) if each.location == here.at("lyon")]
    await deliver(here, second)
    await ended(here, order, "completed")
    story = await told(here, order)

    first_plan, second_plan = "sourcing decided: paris does 2 x a as part 1", "sourcing decided anew: lyon does 2 x a as part 2"
    refusal, released = "paris can't do 2 of line a (not found)", "inventory released 2 x a at paris: rejected"
    story.chain("sourcing asked paris for 2 x a as part 1", "inventory reserved 2 x a at paris", first_plan)
    story.chain(first_plan, _instructed(story, "paris", "2 x a"))
    story.chain(
        refusal,
        "fulfilment_tracking paris won't do 2 x a: rejected, not found",
        released,
        "sourcing asked lyon for 2 x a as part 2",
        "inventory reserved 2 x a at lyon",
        second_plan,
        _instructed(story, "lyon", "2 x a"),
    )
    story.chain(refusal, "fulfilment_tracking 2 x a rejected: not found (part 1, paris)")
    story.in_order(ACCEPTED, first_plan, refusal, second_plan, "lyon takes the work on", CLOSED)
    assert _from_chosen(story, first_plan) == [CHOSEN_PARIS, "Instead: lyon alone for 7.57 EUR, 0.67 EUR more."]
    assert _from_chosen(story, second_plan) == [CHOSEN_LYON, "No other plan was possible."]
    assert "attempt 2: 1 candidate: lyon (111 km, 5 x a)." in story.details(second_plan)[0]


async def test_a_returned_order_reads_as_a_story(place: NewPlace, told: ToldOf) -> None:
    """Sold, delivered, invoiced; then asked, authorised, received elsewhere, inspected, restocked, and credit is due."""
    here = await place()
    await here.stock("paris", a=3)
    order = await here.place({"a": 2})
    await deliver(here, *await here.instructed(order))
    await ended(here, order, "completed")
    authorised = await authorise_return(here, order, a=1)
    await here.desk.say(received(here, "lyon", "r", return_id=authorised.return_id, a=1), inspected(here, "lyon", "r", a=1))
    await here.desk.see(rt.CreditDue, order_id=order)
    story = await told(here, order)

    delivered = "fulfilment_tracking 2 x a delivered to the buyer (part 1, paris)"
    asked, inspection = "channel asked to send 1 of line a back", "lyon inspected 1 x a: resell"
    granted = f"returns authorised the return shop:1/r1 of 1 of line a until {authorised.expires_at:%Y-%m-%d %H:%M:%S}"
    story.chain(delivered, CLOSED)
    story.chain(delivered, "order_capture invoiced 20.00 EUR for 2 of line a")
    story.chain(asked, granted)
    story.chain("lyon received 1 x a back (receipt r)", "returns 1 of line a are back at lyon")
    story.chain(inspection, "returns 1 x a back in stock at lyon as sellable", "inventory restocked at lyon: a 1 sellable, 0 reserved")
    story.chain(inspection, "returns booked the inspection: 1 x a to resell")
    story.chain(inspection, "returns credit is due for 1 of line a")
    story.in_order(ACCEPTED, delivered, asked, granted, "lyon received 1 x a back (receipt r)", inspection)
    assert _from_chosen(story, "sourcing decided: paris does 2 x a as part 1") == [CHOSEN_PARIS, "No other plan was possible."]


def _instructed(story: Told, location: str, units: str) -> str:
    """The whole sentence of the instruction; its date is the day of the test."""
    [sentence] = [each for each in story.chapters if each.startswith(f"fulfilment_tracking instructed {location}: {units}, ship by ")]
    return sentence


def _from_chosen(story: Told, decision: str) -> list[str]:
    """What was chosen, and what else was possible."""
    details = story.details(decision)
    start = next(index for index, line in enumerate(details) if line.startswith("Chosen: "))
    return details[start:-1]
