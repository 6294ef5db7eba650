"""The JSON Schema of each message type: closed, as its writers see it.

Readers ignore fields they don't know; writers should still not send any: a misspelt field fails against the published schema
before it fails in production.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from schemas.topics import Body, Topic, messages

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NO_NUL = r"^[^\u0000]*$"
FIRST = ("$schema", "$id", "title", "description", "x-topic", "x-key", "type", "properties", "required")
"""Order of the keywords in a file; the others follow."""


class ClosedSchema(GenerateJsonSchema):
    """Objects without other fields, texts without NUL, no titles repeating the names of fields."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return {**super().model_schema(schema), "additionalProperties": False}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        closed = super().dict_schema(schema)
        return {**closed, "additionalProperties": False} if "patternProperties" in closed else closed

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        plain = super().function_after_schema(schema)
        refuses_nul = getattr(schema["function"]["function"], "__name__", "") == "_no_nul"
        return {**plain, "pattern": NO_NUL} if refuses_nul else plain

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema_of(topic: Topic, kind: type[Body]) -> JsonSchemaValue:
    """The closed schema of one message type; `x-topic` and `x-key` say where it travels and which field is its key."""
    found = kind.model_json_schema(schema_generator=ClosedSchema)
    major = topic.name.rpartition(".v")[2]
    found |= {
        "$schema": DIALECT,
        "$id": f"urn:nervure:schema:{kind.__name__}:{major}",
        "x-topic": topic.name,
        "x-key": topic.key,
    }
    order = [*FIRST, *(name for name in found if name not in FIRST and name != "$defs"), "$defs"]
    return {name: found[name] for name in order if name in found}


def files() -> dict[Path, str]:
    """Every JSON Schema file and its text."""
    return {FOLDER / f"{kind.__name__}.json": as_text(schema_of(topic, kind)) for topic, kind in messages()}


def as_text(value: JsonSchemaValue) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
