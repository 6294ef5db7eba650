"""Every field of every message says what it means, and in which unit where it measures something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import time
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from schemas import json_schema
from schemas.topics import Body, Topic, messages
from schemas.types import Amount, Count, Day, Delta, Instant, Latitude, Longitude, Quantity

TYPES = [pytest.param(topic, kind, id=kind.__name__) for topic, kind in messages()]
REMEDY = "write a docstring under the field, then make schemas"
QUANTITY = r"\bbase units?\b"
UNIT_OF_NAME = {
    r"_minor$": r"\bminor units\b",
    r"_s$": r"\bSeconds\b",
    r"_minutes$": r"\bMinutes\b",
    r"_g$": r"\bgrams\b",
    r"(_km$|^km_)": r"\bkilometres\b",
    r"_ppm$": r"\bparts per million\b",
    r"^days_|_days$": r"\bdays\b",
    r"_a_day$": r"\bday\b",
    r"^confidence$": r"\bpercent\b",
}
UNIT_OF_TYPE = {
    Amount: r"\bminor units\b",
    Quantity: QUANTITY,
    Count: QUANTITY,
    Delta: QUANTITY,
    Instant: r"\bUTC\b",
    Day: r"\blocal days?\b",
    time: r"\bLocal time\b",
    Latitude: r"\bdegrees\b",
    Longitude: r"\bdegrees\b",
}
OTHER_UNIT = {
    "revision": r"\brevisions?\b",
    "eliminated": r"\bLocations\b",
    **dict.fromkeys(("parcels", "distance", "weight", "handling", "labour", "lateness"), r"\bminor units\b"),
    "CostTerms.total": r"\bminor units\b",
}
"""Fields whose type measures units of an item and which measure something else."""


class Told(NamedTuple):
    """A field and what is said of it."""

    path: str
    annotation: Any
    description: str


def models() -> Iterator[type[BaseModel]]:
    """Every message and every model inside one, once."""
    found: dict[type[BaseModel], None] = {}
    for _, kind in messages():
        _gather(kind, found)
    yield from found


def _gather(annotation: Any, found: dict[type[BaseModel], None]) -> None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
        found[annotation] = None
        for field in annotation.model_fields.values():
            _gather(field.annotation, found)
    for part in get_args(annotation):
        _gather(part, found)


def fields() -> Iterator[Told]:
    for kind in models():
        hints = get_type_hints(kind, include_extras=True)
        for name, field in kind.model_fields.items():
            yield Told(f"{kind.__name__}.{name}", hints[name], field.description or "")


def unit_of(told: Told) -> str | None:
    """A pattern of the unit that a field's description must name; None for what measures nothing."""
    name = told.path.rpartition(".")[2]
    other = OTHER_UNIT.get(told.path) or OTHER_UNIT.get(name)
    named = (unit for suffix, unit in UNIT_OF_NAME.items() if re.search(suffix, name))
    return other if other and measured(told.annotation) else next(named, None) or measured(told.annotation)


def measured(annotation: Any) -> str | None:
    """The unit of the first type in an annotation that has one."""
    for kind, unit in UNIT_OF_TYPE.items():
        if annotation == kind:
            return unit
    return next((inner for part in get_args(annotation) if (inner := measured(part))), None)


def undescribed(part: dict[str, Any]) -> list[str]:
    return [name for name, field in part.get("properties", {}).items() if not field.get("description", "").strip()]


@pytest.mark.parametrize(("topic", "kind"), TYPES)
def test_every_property_of_every_schema_has_a_description(topic: Topic, kind: type[Body]) -> None:
    schema = json_schema.schema_of(topic, kind)
    parts = {kind.__name__: schema, **schema.get("$defs", {})}
    missing = {name: names for name, part in parts.items() if (names := undescribed(part))}
    assert missing == {}, REMEDY
    assert [name for name, part in parts.items() if part.get("type") == "object" and not part.get("description")] == [], REMEDY


def test_every_measure_names_its_unit() -> None:
    wrong = {told.path: unit for told in fields() if (unit := unit_of(told)) and not re.search(unit, told.description, re.IGNORECASE)}
    assert wrong == {}, REMEDY


def test_descriptions_are_sentences() -> None:
    assert [told.path for told in fields() if not told.description.endswith(".")] == []


def test_measures_are_recognised() -> None:
    """Otherwise the units would be those of nothing."""
    units = {told.path: unit_of(told) for told in fields()}
    assert units["Line.quantity"] == QUANTITY
    assert units["Item.safety_stock"] == QUANTITY
    assert units["Location.safety_stock"] == QUANTITY
    assert units["Payment.valid_until"] == UNIT_OF_TYPE[Instant]
    assert units["CostTerms.total"] == UNIT_OF_TYPE[Amount]
    assert units["LineTotal.total"] == QUANTITY
    assert units["Item.sku"] is None
