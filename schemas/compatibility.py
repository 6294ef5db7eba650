"""Whether today's readers can still read whatever was written under a released schema (BACKWARD_TRANSITIVE).

jsoncompat compares fields, types, enumerations and bounds; it ignores patterns, formats, and where a message travels: those are
compared here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsoncompat import check_compat
from pydantic import ValidationError

from schemas.topics import messages

FOLDER = Path(__file__).parent / "released"
Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""


def released() -> Iterator[tuple[str, str, Schema]]:
    """(release, message type, schema) of all that was ever released."""
    for file in sorted(FOLDER.glob("*/json/*.json")):
        yield file.parent.parent.name, file.stem, json.loads(file.read_text("utf-8"))


def released_examples() -> Iterator[tuple[str, str, str]]:
    """(release, message type, text)."""
    for file in sorted(FOLDER.glob("*/examples/*.json")):
        yield file.parent.parent.name, file.stem, file.read_text("utf-8")


def breaches(old: Schema, new: Schema) -> list[str]:
    """What readers of `new` can't read of what was written under `old`; empty where they can read everything."""
    return [*_moved(old, new), *(_removed(old, new) or _narrowed(old, new)), *_texts_changed(old, new)]


def unreadable_examples() -> list[str]:
    """Released examples that today's models refuse, and why."""
    models = {kind.__name__: kind for _, kind in messages()}
    found: list[str] = []
    for release, name, text in released_examples():
        try:
            models[name].model_validate_json(text)
        except ValidationError as error:
            found.append(f"{release}: {name}: {error}")
        except KeyError:
            found.append(f"{release}: {name} is gone")
    return found


def _moved(old: Schema, new: Schema) -> list[str]:
    names = ("x-topic", "x-key")
    return [f"{name}: {old.get(name)} became {new.get(name)}" for name in names if old.get(name) != new.get(name)]


def _removed(old: Schema, new: Schema) -> list[str]:
    left = dict(_walk(new, new))
    return [f"{path}: the field is gone" for path in dict(_walk(old, old)) if path not in left]


def _narrowed(old: Schema, new: Schema) -> list[str]:
    if _reads(old, old, new, new):
        return []
    fields = [name for name, part in _fields(old).items() if not _reads(part, old, _fields(new).get(name), new)]
    required = sorted(set(new.get("required", ())) - set(old.get("required", ())))
    where = [*fields, *(f"{name} (newly required)" for name in required)] or ["the message as a whole"]
    return [f"{name}: what was allowed is refused now" for name in where]


def _reads(old: Schema, old_root: Schema, new: Schema | None, new_root: Schema) -> bool:
    if new is None:
        return False
    return check_compat(_alone(old, old_root), _alone(new, new_root), "deserializer")


def _alone(part: Schema, root: Schema) -> str:
    """A part of a schema as one of its own; without `$id`, which jsoncompat takes for a reference."""
    without_id = {name: value for name, value in part.items() if name != "$id"}
    return json.dumps({**without_id, "$defs": root.get("$defs", {})})


def _fields(schema: Schema) -> Schema:
    fields: Schema = schema.get("properties", {})
    return fields


def _texts_changed(old: Schema, new: Schema) -> list[str]:
    """Patterns and formats that are new or other than they were. Dropping one is no breach."""
    before, after = _texts(old, old), _texts(new, new)
    return [
        f"{path}: {keyword} {before.get((path, keyword))} became {text}"
        for (path, keyword), text in after.items()
        if text is not None and any(known == path for known, _ in before) and before.get((path, keyword)) != text
    ]


def _texts(part: Schema, root: Schema) -> dict[tuple[str, str], str | None]:
    """(path, `pattern` or `format`) to its text, for every text of a schema."""
    texts = ((path, inner) for path, inner in _walk(part, root) if inner.get("type") == "string")
    return {(path, keyword): inner.get(keyword) for path, inner in texts for keyword in ("pattern", "format")}


def _walk(part: Schema, root: Schema, path: str = "", within: tuple[str, ...] = ()) -> Iterator[tuple[str, Schema]]:
    """Every part of a schema with its path, as in `lines.[].sku`; references are followed, each once a branch."""
    reference = part.get("$ref")
    if reference is not None:
        name = reference.rpartition("/")[2]
        if name not in within:
            yield from _walk(root["$defs"][name], root, path, (*within, name))
        return
    yield path, part
    for step, inner in _parts(part):
        yield from _walk(inner, root, f"{path}.{step}".strip(".") if step else path, within)


def _parts(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas inside a schema, each with its step; variants (a value or null) take none."""
    yield from _fields(schema).items()
    yield from ((f"{{{key}}}", inner) for key, inner in schema.get("patternProperties", {}).items())
    if "items" in schema:
        yield "[]", schema["items"]
    yield from (("", variant) for variant in schema.get("anyOf", ()))
