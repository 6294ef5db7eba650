"""The published contracts: generated files, examples, references, and what the models refuse."""

from __future__ import annotations

import copy
import importlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from pydantic_asyncapi.v3 import AsyncAPI

from schemas import asyncapi, generate, json_schema
from schemas.channel import PlaceOrder
from schemas.reference import Location
from schemas.topics import BY_NAME, TOPICS, Body, Topic, messages
from schemas.types import unknown_fields
from shared.kernel.codec import external_record, lane_record, state_record
from shared.kernel.ports import LaneRow, OutboxRow

TYPES = [pytest.param(topic, kind, id=kind.__name__) for topic, kind in messages()]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
NOW = datetime(2026, 3, 2, 9, 14, 3, tzinfo=UTC)
Path_ = tuple[str | int, ...]


def example(kind: type[Body]) -> str:
    file = generate.EXAMPLES / f"{kind.__name__}.json"
    assert file.is_file(), f"{kind.__name__} has no example; remedy: write {file}"
    return file.read_text("utf-8")


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def with_leaf(value: Any, path: Path_, leaf: Any) -> str:
    """The example with one value replaced, as JSON."""
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = leaf
    return json.dumps(changed)


def refused_fields(kind: type[Body], text: str) -> set[Path_]:
    """Paths of the fields a model refuses; empty where it accepts the message."""
    try:
        kind.model_validate_json(text)
    except ValidationError as error:
        return {tuple(entry["loc"]) for entry in error.errors()}
    return set()


# ---- what is checked in ----


def test_the_generated_files_are_those_checked_in() -> None:
    assert generate.differences() == [], "remedy: make schemas"


def test_check_names_the_files_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(json_schema, "FOLDER", tmp_path / "json")
    monkeypatch.setattr(asyncapi, "FILE", tmp_path / "asyncapi.yaml")
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "json" / "PlaceOrder.json").write_text("{}")
    (tmp_path / "json" / "Gone.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert [line.split()[0] for line in told.splitlines()] == ["PlaceOrder.json", "Gone.json"]
    assert "python -m schemas.generate" in told


def test_generating_twice_gives_the_same_bytes() -> None:
    assert generate.contracts() == generate.contracts()


def test_every_message_type_has_a_name_of_its_own() -> None:
    names = [kind.__name__ for _, kind in messages()]
    assert len(set(names)) == len(names)
    assert {file.stem for file in generate.EXAMPLES.glob("*.json")} == set(names)


# ---- JSON Schemas and examples ----


@pytest.mark.parametrize(("topic", "kind"), TYPES)
def test_an_example_satisfies_schema_and_model_and_survives_the_round_trip(topic: Topic, kind: type[Body]) -> None:
    text = example(kind)
    schema = json_schema.schema_of(topic, kind)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(json.loads(text))
    body = kind.model_validate_json(text)
    assert json.loads(body.model_dump_json(exclude_unset=True)) == json.loads(text)
    validator.validate(json.loads(body.model_dump_json(exclude_none=True)))
    assert topic.key_of(body)


@pytest.mark.parametrize(("topic", "kind"), TYPES)
def test_schemas_are_closed_and_readers_are_tolerant(topic: Topic, kind: type[Body]) -> None:
    content = {**json.loads(example(kind)), "deliver_byy": "2026-03-05"}
    assert not Draft202012Validator(json_schema.schema_of(topic, kind)).is_valid(content)
    kind.model_validate_json(json.dumps(content))


def test_every_object_of_every_schema_is_closed() -> None:
    for topic, kind in messages():
        schema = json_schema.schema_of(topic, kind)
        for part in (schema, *schema.get("$defs", {}).values()):
            assert part.get("type") != "object" or part["additionalProperties"] is False, (kind, part.get("title"))


def test_a_request_keeps_what_it_does_not_know_for_its_answer() -> None:
    content = json.loads(example(PlaceOrder))
    content["order"]["lines"][1]["deliver_byy"] = "2026-03-05"
    body = PlaceOrder.model_validate_json(json.dumps(content))
    assert unknown_fields(body) == ("order.lines.1.deliver_byy",)


@pytest.mark.parametrize(("topic", "kind"), TYPES)
def test_every_reference_in_a_schema_resolves(topic: Topic, kind: type[Body]) -> None:
    schema = json_schema.schema_of(topic, kind)
    for reference in references(schema):
        assert resolve(schema, reference), reference
    assert schema["$id"] == f"urn:nervure:schema:{kind.__name__}:1"
    assert BY_NAME[schema["x-topic"]].type_named(kind.__name__) is kind


# ---- AsyncAPI ----


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolve(document: Any, reference: str) -> Any:
    """What a reference within a document points to; raises KeyError."""
    assert reference.startswith("#/"), reference
    for step in reference[2:].split("/"):
        document = document[step]
    return document


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    document = yaml.safe_load(asyncapi.FILE.read_text("utf-8"))
    found = list(references(document))
    assert found
    for reference in found:
        if reference.startswith("./"):
            assert (asyncapi.FILE.parent / reference).is_file(), reference
        else:
            assert resolve(document, reference), reference


def test_the_asyncapi_document_is_one_and_tells_every_topic() -> None:
    document = yaml.safe_load(asyncapi.FILE.read_text("utf-8"))
    for part in (*document["channels"].values(), *document["components"]["messages"].values()):
        assert part.pop("bindings")  # the library knows no key and misspells the topic's configuration
    AsyncAPI.model_validate(document)
    told = [channel["address"] for channel in document["channels"].values()]
    assert told == [topic.name for topic in TOPICS]
    assert list(document["components"]["messages"]) == [kind.__name__ for _, kind in messages()]


@pytest.mark.parametrize("name", list(asyncapi.READERS))
def test_operations_are_what_the_services_really_read(name: str) -> None:
    wiring = importlib.import_module(f"services.{name}.service").service
    read = {topic.name for topic in (*wiring.reads, *wiring.views)}
    told = {topic.name for topic in asyncapi.READERS[name]}
    assert told == read, "remedy: correct READERS in schemas/asyncapi.py, then make schemas"


def test_the_headers_told_are_the_headers_sent() -> None:
    body = PlaceOrder.model_validate_json(example(PlaceOrder))
    row = OutboxRow("t", 0, "k", "PlaceOrder", str(UUID(int=1)), NOW, "c", "c", "t", "order/k", 1, b"{}")
    records = {
        "ExternalHeaders": external_record(BY_NAME["oms.channel.orders.v1"], body, source="/shop", id="1", now=NOW),
        "EventHeaders": lane_record("sourcing", LaneRow(1, 1, row)),
        "StateHeaders": state_record("inventory", 1, "k", 1, NOW, body),
    }
    for name, record in records.items():
        required, further = asyncapi.HEADERS[name]
        sent = {header for header, _ in record.headers}
        assert set(required) <= sent, name
        assert sent <= {*required, *further}, name


# ---- what the models refuse, with the field's name ----


@pytest.mark.parametrize(("_topic", "kind"), TYPES)
def test_texts_with_nul_or_without_end_are_refused_by_name(_topic: Topic, kind: type[Body]) -> None:
    content = json.loads(example(kind))
    for path, leaf in leaves(content):
        if isinstance(leaf, str):
            assert path in refused_fields(kind, with_leaf(content, path, "a\x00b")), path
            assert path in refused_fields(kind, with_leaf(content, path, "x" * 5_000)), path


@pytest.mark.parametrize(("topic", "kind"), TYPES)
def test_nul_is_refused_by_the_schema_too(topic: Topic, kind: type[Body]) -> None:
    validator = Draft202012Validator(json_schema.schema_of(topic, kind))
    content = json.loads(example(kind))
    for path, leaf in leaves(content):
        if isinstance(leaf, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d.*|\d\d:\d\d:\d\d", leaf):
            assert not validator.is_valid(json.loads(with_leaf(content, path, "a\x00b"))), path


@pytest.mark.parametrize(("_topic", "kind"), TYPES)
def test_only_integers_within_bounds_are_integers(_topic: Topic, kind: type[Body]) -> None:
    content = json.loads(example(kind))
    for path, leaf in leaves(content):
        if isinstance(leaf, int) and not isinstance(leaf, bool):
            for wrong in ("5", 1.0, True, 10**16, -(10**16), 10**30):
                assert path in refused_fields(kind, with_leaf(content, path, wrong)), (path, wrong)


@pytest.mark.parametrize(("_topic", "kind"), TYPES)
def test_instants_without_an_offset_are_refused_by_name(_topic: Topic, kind: type[Body]) -> None:
    content = json.loads(example(kind))
    for path, leaf in leaves(content):
        if isinstance(leaf, str) and INSTANT.fullmatch(leaf):
            assert path in refused_fields(kind, with_leaf(content, path, leaf.removesuffix("Z"))), path
            kind.model_validate_json(with_leaf(content, path, leaf.replace("Z", "+01:00")))


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "91", '"45.76"', "true"])
def test_only_numbers_within_bounds_are_coordinates(wrong: str) -> None:
    text = example(Location).replace("48.8556", wrong)
    assert refused_fields(Location, text) == {("latitude",)}


@pytest.mark.parametrize("wrong", ["true", 1, "yes"])
def test_only_booleans_are_booleans(wrong: object) -> None:
    content = json.loads(example(PlaceOrder))
    content["order"]["taxes_included"] = wrong
    assert refused_fields(PlaceOrder, json.dumps(content)) == {("order", "taxes_included")}


@pytest.mark.parametrize("text", [r'{"request_id": "\ud800"}', r'{"request_id": "\udfff\ud800"}', "{", ""])
def test_what_is_no_json_fails_in_the_parser(text: str) -> None:
    """No field is known there: the error tells line and column."""
    with pytest.raises(ValidationError, match=r"line 1 column \d+") as caught:
        PlaceOrder.model_validate_json(text)
    assert [entry["type"] for entry in caught.value.errors()] == ["json_invalid"]
