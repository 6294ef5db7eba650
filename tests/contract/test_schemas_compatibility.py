"""Whatever was written under a released schema is read for good; the checker sees what jsoncompat alone would miss."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import compatibility, generate, json_schema
from schemas.channel import PlaceOrder
from schemas.compatibility import Schema, breaches
from schemas.reference import Item
from schemas.returns import GoodsReceived
from schemas.topics import CHANNEL_ORDERS, ITEMS, RETURN_RECEIPTS

Change = Callable[[Schema], None]
RECEIVED = json_schema.schema_of(RETURN_RECEIPTS, GoodsReceived)
PLACED = json_schema.schema_of(CHANNEL_ORDERS, PlaceOrder)
ITEM = json_schema.schema_of(ITEMS, Item)


def changed(schema: Schema, change: Change) -> Schema:
    new = copy.deepcopy(schema)
    change(new)
    return new


def removes(name: str, *path: str | int) -> Change:
    return lambda schema: _at(schema, path).pop(name)


def sets(name: str, value: Any, *path: str | int) -> Change:
    return lambda schema: _at(schema, path).__setitem__(name, value)


def _at(place: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        place = place[step]
    return place


LINE = ("$defs", "ReceivedLine")
BREACHES = [
    pytest.param(RECEIVED, removes("tracking_number", "properties"), "tracking_number", id="a removed field"),
    pytest.param(RECEIVED, removes("total", *LINE, "properties"), "lines.[].total", id="a removed field of a line"),
    pytest.param(RECEIVED, sets("required", [*RECEIVED["required"], "order_id"]), "order_id", id="newly required"),
    pytest.param(RECEIVED, sets("required", ["sku", "total", "line_id"], *LINE), "lines", id="newly required in a line"),
    pytest.param(ITEM, sets("enum", ["goods", "service"], "properties", "kind"), "kind", id="a narrowed enumeration"),
    pytest.param(RECEIVED, sets("pattern", "^R[0-9]+$", "properties", "receipt_id"), "receipt_id", id="another pattern"),
    pytest.param(ITEM, sets("pattern", "^[a-z]+$", "properties", "description"), "description", id="a text's pattern"),
    pytest.param(RECEIVED, sets("pattern", "^[a-z]+$", *LINE, "properties", "sku"), "lines.[].sku", id="a line's pattern"),
    pytest.param(
        RECEIVED,
        sets("pattern", "^[a-z]+$", "properties", "tracking_number", "anyOf", 0),
        "tracking_number",
        id="the pattern of a text or null",
    ),
    pytest.param(
        ITEM,
        sets("patternProperties", {"^[a-z]+$": {"type": "string"}}, "properties", "channel_skus"),
        "channel_skus",
        id="the pattern of names",
    ),
    pytest.param(RECEIVED, sets("format", "date", "properties", "received_at"), "received_at", id="another format"),
    pytest.param(RECEIVED, sets("format", "date", "properties", "location"), "location", id="a new format"),
    pytest.param(RECEIVED, sets("maximum", 1000, *LINE, "properties", "total"), "lines", id="a tightened bound"),
    pytest.param(ITEM, sets("maxLength", 100, "properties", "description"), "description", id="a shorter text"),
    pytest.param(RECEIVED, sets("maxItems", 100, "properties", "lines"), "lines", id="a shorter list"),
    pytest.param(RECEIVED, sets("type", "integer", "properties", "receipt_id"), "receipt_id", id="another type"),
    pytest.param(RECEIVED, sets("x-topic", "oms.returns.receipts.v2"), "x-topic", id="another topic"),
    pytest.param(RECEIVED, sets("x-key", "receipt_id"), "x-key", id="another key"),
]
HARMLESS = [
    pytest.param(RECEIVED, lambda _: None, id="nothing"),
    pytest.param(RECEIVED, sets("note", {"type": "string"}, "properties"), id="a new optional field"),
    pytest.param(RECEIVED, sets("lot", {"type": "string", "pattern": "^L"}, *LINE, "properties"), id="one with a pattern"),
    pytest.param(RECEIVED, sets("required", ["location", "lines"]), id="no longer required"),
    pytest.param(ITEM, sets("enum", ["goods", "service", "gift_card", "rental"], "properties", "kind"), id="a new value"),
    pytest.param(RECEIVED, sets("maximum", 2_000_000_000, *LINE, "properties", "total"), id="a wider bound"),
    pytest.param(RECEIVED, removes("pattern", "properties", "receipt_id"), id="a dropped pattern"),
    pytest.param(RECEIVED, sets("description", "Said better.", "properties", "location"), id="another description"),
]


def test_todays_models_read_everything_that_was_ever_released() -> None:
    assert list(compatibility.released()), "nothing is released; remedy: python -m schemas.generate --release NAME"
    assert generate.incompatibilities() == []


@pytest.mark.parametrize(("old", "change", "where"), BREACHES)
def test_a_breach_is_found_and_named(old: Schema, change: Change, where: str) -> None:
    found = breaches(old, changed(old, change))
    assert found
    assert found[0].startswith(where)


@pytest.mark.parametrize(("old", "change"), HARMLESS)
def test_what_harms_no_reader_is_no_breach(old: Schema, change: Change) -> None:
    assert breaches(old, changed(old, change)) == []


def test_a_breach_deep_inside_is_found() -> None:
    change = sets("pattern", "^X$", "$defs", "Party", "properties", "country", "anyOf", 0)
    found = breaches(PLACED, changed(PLACED, change))
    assert {breach.partition(":")[0] for breach in found} == {
        "order.sold_to.country",
        "order.bill_to.country",
        "order.ship_to.country",
    }


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of releases of our own, with today's schemas as release `one`."""
    monkeypatch.setattr(compatibility, "FOLDER", tmp_path)
    monkeypatch.setattr(generate, "RELEASED", tmp_path)
    assert generate.release("one") == 0
    return tmp_path


def test_a_release_keeps_schemas_and_examples(releases: Path) -> None:
    assert generate.incompatibilities() == []
    assert len(list(compatibility.released())) == len(list(compatibility.released_examples()))
    assert generate.release("two") == 0
    assert {name for name, _, _ in compatibility.released()} == {"one", "two"}
    assert (releases / "two").is_dir()


def test_what_is_released_never_changes(releases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.release("one") == 1
    assert "released already" in capsys.readouterr().err
    assert (releases / "one").is_dir()


def test_every_earlier_release_counts_not_only_the_last(releases: Path) -> None:
    """A field dropped in one step and a field required in the next are both seen: backward, transitively."""
    file = releases / "one" / "json" / "GoodsReceived.json"
    old = json.loads(file.read_text("utf-8"))
    old["properties"]["pallet"] = {"type": "string"}
    file.write_text(json.dumps(old), "utf-8")
    shutil.copytree(releases / "one", releases / "two")
    (releases / "two" / "json" / "GoodsReceived.json").write_text(json_schema.as_text(RECEIVED), "utf-8")
    found = generate.incompatibilities()
    assert found == ["one: GoodsReceived: pallet: the field is gone"]
    assert generate.release("three") == 1


def test_a_released_example_that_a_model_refuses_is_named(releases: Path) -> None:
    """Rules of the models that no JSON Schema tells are held by the examples."""
    file = releases / "one" / "examples" / "PlaceOrder.json"
    content = json.loads(file.read_text("utf-8"))
    content["order"]["lines"][1]["channel_line_ref"] = "line-1"
    file.write_text(json.dumps(content), "utf-8")
    (found,) = generate.incompatibilities()
    assert found.startswith("one: PlaceOrder: ")
    assert "every channel_line_ref must be different" in found


def test_a_type_that_is_gone_is_named(releases: Path) -> None:
    for folder in ("json", "examples"):
        (releases / "one" / folder / "GoodsReceived.json").rename(releases / "one" / folder / "GoodsLost.json")
    assert generate.incompatibilities() == ["one: GoodsLost is gone", "one: GoodsLost: the message type is gone"]
