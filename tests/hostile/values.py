"""Hostile values: documents of the contracts, mutated field by field or byte by byte. All dice are the caller's: a seed gives the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from schemas import topics
from schemas.topics import messages
from tests.hostile.words import NAMES, NUMBERS, ODDITIES, TEXTS, TIMES, WORDS

EXAMPLES: Mapping[str, bytes] = {
    kind.__name__: (Path(topics.__file__).parent / "examples" / f"{kind.__name__}.json").read_bytes() for _, kind in messages()
}
"""One canonical document of every message type."""
MOST_MUTATIONS = 3


class Raw(str):
    """Stands in a document for a JSON token that no JSON writer would write."""

    __slots__ = ()


Document = dict[str, Any]
Place = tuple[Any, Any]
"""A container, and the index or name of something in it."""


def hostile_leaf(dice: Random) -> Any:
    kind = dice.randrange(10)
    if kind < 3:
        return Raw(dice.choice(NUMBERS))
    if kind < 4:
        return Raw(dice.choice(WORDS))
    if kind < 6:
        return dice.choice(TIMES)
    if kind < 7:
        return dice.randint(-3, 30)
    return dice.choice(TEXTS)


def places(document: Any) -> list[Place]:
    """Everything in a document, at any depth."""
    found: list[Place] = []
    waiting = [document]
    while waiting:
        container = waiting.pop()
        entries = container.items() if isinstance(container, dict) else enumerate(container)
        for at, entry in entries:
            found.append((container, at))
            if isinstance(entry, dict | list):
                waiting.append(entry)
    return found


def _replace(dice: Random, place: Place) -> None:
    place[0][place[1]] = hostile_leaf(dice)


def _nudge(dice: Random, place: Place) -> None:
    """A figure a little or much too large; a text a little longer, or another's; a list with its first entry twice or much too often."""
    container, at = place
    found = container[at]
    if isinstance(found, bool) or found is None or (isinstance(found, int) and abs(found) > 10**30):
        container[at] = hostile_leaf(dice)
    elif isinstance(found, int | float):
        container[at] = dice.choice((-found, found + 1, found - 1, found * 1_000, found * 10**9, found / 2, str(found)))
    elif isinstance(found, str):
        container[at] = dice.choice((found + "x", found * 40, found.upper(), found[:-1], found + "\x00", " " + found, found + "\ud800"))
    elif isinstance(found, list):
        container[at] = found * dice.choice((0, 2, 2, 30)) if found else [hostile_leaf(dice)]
    else:
        container[at] = [found]


def _drop(dice: Random, place: Place) -> None:
    del place[0][place[1]]


def _add(dice: Random, place: Place) -> None:
    """A field that no contract knows, somewhere."""
    found = place[0][place[1]]
    into = found if isinstance(found, dict) else place[0]
    if isinstance(into, dict):
        into[dice.choice(NAMES)] = hostile_leaf(dice)
    else:
        into.append(hostile_leaf(dice))


def _rename(dice: Random, place: Place) -> None:
    container, at = place
    if isinstance(container, dict):
        container[dice.choice((f"{at}s", str(at).upper(), dice.choice(NAMES)))] = container.pop(at)


def _borrow(dice: Random, place: Place) -> None:
    """What stands elsewhere in some other document, whatever its type."""
    other = json.loads(dice.choice(list(EXAMPLES.values())))
    container, at = dice.choice(places(other))
    place[0][place[1]] = container[at]


def _wrap(dice: Random, place: Place) -> None:
    container, at = place
    container[at] = dice.choice(([container[at]], {"value": container[at]}, {str(at): container[at]}))


MUTATIONS: tuple[Callable[[Random, Place], None], ...] = (
    _replace,
    _replace,
    _replace,
    _nudge,
    _nudge,
    _drop,
    _add,
    _rename,
    _borrow,
    _wrap,
)


def mutated(dice: Random, document: Any) -> Any:
    """The document after one to three mutations; it is changed in place."""
    for _ in range(dice.choice((1, 1, 1, 2, MOST_MUTATIONS))):
        if isinstance(document, dict | list) and (found := places(document)):
            dice.choice(MUTATIONS)(dice, dice.choice(found))
    return document


def text_of(document: Any) -> bytes:
    """The document as JSON; raw tokens as they are, lone surrogates as their escapes or as bytes that are no UTF-8."""
    raws: list[str] = []

    def planted(value: Any) -> Any:
        if isinstance(value, Raw):
            raws.append(str(value))
            return f"~raw-{len(raws) - 1}~"
        if isinstance(value, dict):
            return {name: planted(entry) for name, entry in value.items()}
        return [planted(entry) for entry in value] if isinstance(value, list) else value

    text = json.dumps(planted(document), ensure_ascii=True)
    for number, raw in enumerate(raws):
        text = text.replace(f'"~raw-{number}~"', raw)
    return text.encode()


def _flip(dice: Random, data: bytearray) -> None:
    for _ in range(dice.randint(1, 4)):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _cut(dice: Random, data: bytearray) -> None:
    at = dice.randrange(len(data) + 1)
    del data[at : at + dice.choice((1, 2, 10, len(data)))]


def _insert(dice: Random, data: bytearray) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = dice.choice(
        (b"\x00", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\\u0000", b"\\ud800", b'"', b"{", b"]", b",", b"\xef\xbb\xbf")
    )


def _repeat(dice: Random, data: bytearray) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = data[at : at + dice.randint(1, 40)] * dice.choice((1, 1, 50))


def _splice(dice: Random, data: bytearray) -> None:
    other = dice.choice(list(EXAMPLES.values()))
    data[dice.randrange(len(data) + 1) :] = other[dice.randrange(len(other)) :]


BYTES: tuple[Callable[[Random, bytearray], None], ...] = (_flip, _flip, _cut, _cut, _insert, _insert, _repeat, _splice)


def broken(dice: Random, data: bytes) -> bytes:
    """The bytes after some of them were changed."""
    found = bytearray(data)
    for _ in range(dice.randint(1, 2)):
        dice.choice(BYTES)(dice, found)
    return bytes(found)


def hostile_value(dice: Random, data: bytes) -> bytes:
    """Something hostile made of a document's JSON."""
    kind = dice.randrange(30)
    if kind == 0:
        return dice.choice(ODDITIES)
    if kind < 5:
        return broken(dice, data)
    try:
        value = text_of(mutated(dice, json.loads(data)))
    except (ValueError, RecursionError):
        return broken(dice, data)
    return broken(dice, value) if kind == 5 else value
