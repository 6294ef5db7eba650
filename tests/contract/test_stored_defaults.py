"""What was stored is read as it was meant, for good: defaults of stored fields never change."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.support.stored_defaults import COMMAND, Listing, grown, listed, problems, today

Change = Callable[[Listing], None]


def test_no_default_of_anything_stored_has_changed() -> None:
    assert problems(listed(), today()) == []


def test_everything_stored_is_listed() -> None:
    assert grown(listed(), today()) == listed(), f"something stored is new. Remedy: {COMMAND}, and check in what it writes"


def test_all_five_services_and_what_their_values_hold_are_in_it() -> None:
    """States and events, what they are made of, and contract models inside them."""
    found = listed()
    assert set(found) == {"order_capture", "inventory", "sourcing", "fulfilment_tracking", "returns", "schemas"}
    assert found["sourcing"]["Terms"]["revision"] == {"default": None}
    assert found["sourcing"]["LevelSeen"] == {"0 sku": "required", "1 location": "required", "2 version": "required", "3 atp": "required"}
    assert found["schemas"]["Destination"]


STORED: Listing = {"returns": {"Line": {"sku": "required", "units": {"default": 0}, "gone": {"default": []}}, "Old": {"a": "required"}}}


def sets(name: str, value: object) -> Change:
    return lambda listing: listing["returns"]["Line"].update({name: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (sets("units", {"default": 1}), "returns: Line.units was left out where it was 0; its default is 1 now. Remedy: leave it as it is"),
        (sets("units", {"default": None}), "its default is null now"),
        (sets("units", "required"), "returns: Line.units has no default any more"),
        (sets("lot", "required"), "returns: Line.lot is new and has no default: what was stored before lacks it. Remedy: give it one."),
        (sets("gone", {"default": ["x"]}), "returns: Line.gone was left out where it was []"),
    ],
)
def test_what_would_be_read_otherwise_is_named_with_its_remedy(change: Change, said: str) -> None:
    now = copy.deepcopy(STORED)
    change(now)
    (found,) = problems(STORED, now)
    assert said in found


def test_what_harms_nothing_that_was_stored_is_no_problem_and_joins_the_list() -> None:
    """New types; new fields with a default; a default where there was none; fields and types that are gone, whose names stay taken."""
    line = {"sku": {"default": ""}, "units": {"default": 0}, "lot": {"default": None}}
    now: Listing = {"returns": {"Line": line, "New": {"b": "required"}}}
    assert problems(STORED, now) == []
    assert grown(STORED, now) == {
        "returns": {
            "Line": {"sku": {"default": ""}, "units": {"default": 0}, "gone": {"default": []}, "lot": {"default": None}},
            "New": {"b": "required"},
            "Old": {"a": "required"},
        }
    }
