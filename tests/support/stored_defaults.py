"""The defaults of everything the services store: a stored row or event leaves out what has its default, so a default that changes changes
the meaning of what was stored long ago. They are listed in tests/contract/stored_defaults.json, which only ever grows.

`python -m tests.support.stored_defaults` adds what is new to the list; it changes nothing that is there.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import fields as struct_fields
from pydantic import BaseModel

from deploy.fleet import SERVICES, load_service
from shared.value import Value, encode

LIST = Path(__file__).resolve().parent.parent / "contract" / "stored_defaults.json"
COMMAND = "python -m tests.support.stored_defaults"
REQUIRED = "required"
KEEP_IT = (
    "leave it as it is and add a field of another name; or bring every stored row and event to the new meaning (an upcaster), and then "
    f"change {LIST.name} by hand"
)

Field = Any
"""REQUIRED, or {"default": what is left out}."""
Listing = dict[str, dict[str, dict[str, Field]]]
"""By service (`schemas`: contract models inside stored values), type and field. A named tuple is stored as a list: its fields bear their
places."""


def today() -> Listing:
    """All types that are stored, as they are in the code."""
    found: Listing = {}
    known: dict[tuple[str, str], type] = {}
    for service in SERVICES:
        roots = [kind_type for kind in load_service(service).kinds for kind_type in (kind.state, *kind.events)]
        for stored in _reachable(roots):
            owner = "schemas" if issubclass(stored, BaseModel) else service
            assert known.setdefault((owner, stored.__name__), stored) is stored, f"two types of {owner} are called {stored.__name__}"
            found.setdefault(owner, {})[stored.__name__] = dict(_fields(stored))
    return found


def _reachable(roots: list[type]) -> Iterator[type]:
    """These types and all that their fields are made of."""
    waiting, seen = list(roots), set()
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if _is_record(kind):
            yield kind
            waiting += [part for hint in typing.get_type_hints(kind).values() for part in _parts(hint)]


def _parts(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _parts(inner)


def _is_record(kind: type) -> bool:
    return issubclass(kind, Value | BaseModel) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _fields(kind: type) -> Iterator[tuple[str, Field]]:
    if issubclass(kind, BaseModel):
        for name, model_field in kind.model_fields.items():
            yield name, REQUIRED if model_field.is_required() else _default(model_field.get_default(call_default_factory=True))
    elif issubclass(kind, Value):
        for value_field in struct_fields(kind):
            made = value_field.default_factory() if callable(value_field.default_factory) else value_field.default
            yield value_field.encode_name, REQUIRED if value_field.required else _default(made)
    else:
        defaults: Mapping[str, Any] = kind._field_defaults  # type: ignore[attr-defined]
        for place, name in enumerate(kind._fields):  # type: ignore[attr-defined]
            yield f"{place} {name}", _default(defaults[name]) if name in defaults else REQUIRED


def _default(value: Any) -> Field:
    return {"default": json.loads(encode(value))}


def problems(listed: Listing, now: Listing) -> list[str]:
    """What would be read otherwise than it was written, each with its remedy."""
    found = []
    for owner, stored in listed.items():
        for kind, before in stored.items():
            after = now.get(owner, {}).get(kind)
            if after is not None:
                found += [f"{owner}: {kind}.{text}" for text in _of_type(before, after)]
    return found


def _of_type(before: Mapping[str, Field], after: Mapping[str, Field]) -> Iterator[str]:
    for name, field in before.items():
        if field == REQUIRED or after.get(name, field) == field:
            continue
        if after[name] == REQUIRED:
            yield f"{name} has no default any more: what left it out can't be read. Remedy: {KEEP_IT}."
        else:
            was, is_ = json.dumps(field["default"]), json.dumps(after[name]["default"])
            yield f"{name} was left out where it was {was}; its default is {is_} now. Remedy: {KEEP_IT}."
    for name, field in after.items():
        if name not in before and field == REQUIRED:
            yield f"{name} is new and has no default: what was stored before lacks it. Remedy: give it one."


def grown(listed: Listing, now: Listing) -> Listing:
    """The list with all that is new, in alphabetical order of services and types. What is gone stays: its names mean what they meant."""
    owners = sorted({*listed, *now})
    return {
        owner: {
            kind: listed.get(owner, {}).get(kind, {}) | now.get(owner, {}).get(kind, {})
            for kind in sorted({*listed.get(owner, {}), *now.get(owner, {})})
        }
        for owner in owners
    }


def listed() -> Listing:
    """The checked-in list."""
    found: Listing = json.loads(LIST.read_text("utf-8"))
    return found


def as_text(listing: Listing) -> str:
    """One type a line."""
    types = {
        owner: ",\n".join(f"  {json.dumps(kind)}: {json.dumps(fields)}" for kind, fields in stored.items())
        for owner, stored in listing.items()
    }
    return "{\n" + ",\n".join(f" {json.dumps(owner)}: {{\n{lines}\n }}" for owner, lines in types.items()) + "\n}\n"


def main() -> int:
    """Writes the list; refuses where something would be read otherwise."""
    before, now = listed() if LIST.exists() else {}, today()
    if found := problems(before, now):
        print("\n".join(found), file=sys.stderr)
        return 1
    LIST.write_text(as_text(grown(before, now)), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
