"""JSON objects in the making."""

import json

import pytest
from msgspec import Raw

from rawproxy.dialects.making import NO_SCHEMA, closed, json_object, object_schema, said


def test_what_is_not_said_is_left_out() -> None:
    assert said(a=1, b=None, c=False, d="") == {"a": 1, "c": False, "d": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", b"{}"), (" \n", b"{}"), ('{"a": 1.50}', b'{"a": 1.50}'), ("[1]", None), ("{", None), ("x", None),
        ('{"a":\n1.50}', b'{"a":\n1.50}'), ('{"a":"\ud83d"}', b'{"a":"?"}'),
    ],
)  # fmt: skip
def test_arguments_keep_their_spelling(text: str, expected: bytes | None) -> None:
    found = json_object(text)
    assert (None if found is None else bytes(found)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [('{"a": 1}', b'{"a": 1}'), ('{"a":\n 1.50}', b'{"a":1.50}'), ('{"a":\r1}', b'{"a":1}')],
)
def test_arguments_on_one_line(text: str, expected: bytes) -> None:
    found = json_object(text, one_line=True)
    assert found is not None
    assert bytes(found) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (b"", NO_SCHEMA), (b"{}", NO_SCHEMA), (b"true", NO_SCHEMA),
        (b'{ "type":"object"}', b'{ "type":"object"}'),
        (b'{"properties":{}}', b'{"type":"object","properties":{}}'),
    ],
)  # fmt: skip
def test_a_schema_is_an_objects(schema: bytes, expected: bytes) -> None:
    assert bytes(object_schema(Raw(schema))) == expected


def test_every_object_is_closed_but_not_what_is_data() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": [{"type": "object"}, {"type": "object"}]},
            "b": {"type": "object", "additionalProperties": True},
            "c": {"enum": [{"type": "object"}]},
        },
    }
    found = json.loads(bytes(closed(Raw(json.dumps(schema).encode()))))
    assert found["additionalProperties"] is False
    assert [one["additionalProperties"] for one in found["properties"]["a"]["items"]] == [
        False,
        False,
    ]
    assert found["properties"]["b"]["additionalProperties"] is True
    assert found["properties"]["c"] == {"enum": [{"type": "object"}]}


def test_a_closed_schema_keeps_its_spelling() -> None:
    schema = Raw(b'{ "type" : "string" }')
    assert closed(schema) is schema
