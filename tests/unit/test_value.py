"""Values: immutable, stored without what has its default, contract models inside them as their own JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from pydantic import AwareDatetime, BaseModel

from deploy.fleet import SERVICES, load_service
from schemas.orders import Destination
from shared.kernel.model import Kind
from shared.value import Value, decoder, encode, field, replace


class Box(Value, frozen=True):
    name: str
    packed_at: datetime | None = None
    units: dict[int, int] = field(default_factory=dict)
    to: Destination | None = None


FULL = Box("b", datetime(2026, 3, 2, 9, tzinfo=UTC), {1: 2}, Destination(country="FR"))


def test_a_value_is_stored_without_its_defaults_and_read_again() -> None:
    assert encode(Box("b")) == b'{"name":"b"}'
    assert encode(FULL) == b'{"name":"b","packed_at":"2026-03-02T09:00:00Z","units":{"1":2},"to":{"country":"FR"}}'
    for box in (Box("b"), FULL):
        assert decoder(Box).decode(encode(box)) == box


def test_a_copy_is_changed_and_the_value_is_not() -> None:
    assert replace(FULL, name="c") == Box("c", FULL.packed_at, FULL.units, FULL.to)
    with pytest.raises(TypeError, match="nothing"):
        replace(FULL, nothing=1)
    with pytest.raises(AttributeError):
        FULL.name = "c"  # type: ignore[misc]
    assert FULL.name == "b"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.units"):
        decoder(Box).decode(b'{"name":"b","units":{"1":"two"}}')
    with pytest.raises(msgspec.ValidationError, match=r"country(.|\n)*\$\.to"):
        decoder(Box).decode(b'{"name":"b","to":{"country":5}}')


def test_only_contract_models_may_be_inside() -> None:
    class Odd(Value, frozen=True):
        at: AwareDatetime | object

    with pytest.raises(NotImplementedError, match="object can't be stored"):
        encode(Odd(object()))


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"{name}-{kind.name}") for name in SERVICES for kind in load_service(name).kinds])
def test_rows_and_events_of_all_services_can_be_stored(kind: Kind[Any]) -> None:
    """A type that msgspec doesn't know is found only when such a row is written: so all are looked at here."""
    for stored in (kind.state, *kind.events):
        assert [odd for odd in strange(inspect.type_info(stored), set()) if not issubclass(odd, BaseModel)] == []


def strange(info: object, seen: set[type]) -> Iterator[type]:
    """Types inside this one that are left to the hooks."""
    if isinstance(info, inspect.CustomType):
        yield info.cls
    if isinstance(info, inspect.StructType | inspect.NamedTupleType):
        if info.cls not in seen:
            seen.add(info.cls)
            for each in info.fields:
                yield from strange(each.type, seen)
        return
    for name in ("item_type", "item_types", "key_type", "value_type", "types"):
        inner = getattr(info, name, ())
        for one in inner if isinstance(inner, tuple) else (inner,):
            yield from strange(one, seen)
