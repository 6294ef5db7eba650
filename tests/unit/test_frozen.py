"""`shared.frozen.replace` does what `dataclasses.replace` does."""

from __future__ import annotations

import dataclasses

import pytest

from shared.frozen import replace


@dataclasses.dataclass(frozen=True, slots=True)
class Shelf:
    name: str
    units: int = 0
    notes: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Cold(Shelf):
    celsius: int = 4


@pytest.mark.parametrize("value", [Shelf("a", 3, {"b": 1}), Cold("a", 3, {}, -18)])
def test_the_copy_has_the_changed_fields_and_all_others(value: Shelf) -> None:
    before = dataclasses.replace(value)
    assert replace(value) == value
    assert replace(value, units=7, name="c") == dataclasses.replace(value, units=7, name="c")
    assert value == before


def test_the_copy_is_frozen_and_hashable_as_the_original() -> None:
    copy = replace(Shelf("a"), units=1)
    assert type(copy) is Shelf
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.units = 2  # type: ignore[misc]


def test_a_field_it_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError):
        replace(Shelf("a"), unit=1)  # type: ignore[call-arg]
