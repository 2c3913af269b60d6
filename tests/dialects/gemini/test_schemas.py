"""rawproxy.dialects.gemini.schemas: the vendor's schemas as JSON Schema."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.gemini.schemas import json_schema


@pytest.mark.parametrize(
    ("schema", "plain"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED", "description": "d"}, {"description": "d"}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        (
            {"type": "STRING", "nullable": True, "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"any_of": [{"type": "STRING"}, 1], "nullable": True},
            {"anyOf": [{"type": "string"}, 1, {"type": "null"}]},
        ),
        ({"nullable": True}, {}),
        ({"nullable": False, "type": "NUMBER"}, {"type": "number"}),
        ({"type": "ARRAY", "minItems": "2", "items": {"type": "BOOLEAN"}},
         {"type": "array", "minItems": 2, "items": {"type": "boolean"}}),
        ({"type": "OBJECT", "properties": {"max_items": {"type": "NULL"}, "x": 1},
          "propertyOrdering": ["max_items"], "additional_properties": False},
         {"type": "object", "properties": {"max_items": {"type": "null"}, "x": 1},
          "additionalProperties": False}),
        ({"defs": {"a_b": {"type": "STRING"}}, "ref": "#/defs/a_b", "example": 1},
         {"$defs": {"a_b": {"type": "string"}}, "$ref": "#/defs/a_b", "examples": [1]}),
        ({"type": "weird", "maxLength": 3}, {"type": "weird", "maxLength": 3}),
    ],
)  # fmt: skip
def test_a_schema(schema: dict[str, Any], plain: dict[str, Any]) -> None:
    assert json.loads(bytes(json_schema(Raw(json.dumps(schema).encode())))) == plain


@pytest.mark.parametrize("text", [b'{"type" : "object"}', b"[1]", b'"x"'])
def test_what_is_json_schema_keeps_its_spelling(text: bytes) -> None:
    assert bytes(json_schema(Raw(text))) == text
