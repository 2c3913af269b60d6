"""The vendor's own way to write a schema, as JSON Schema.

Layer: dialects. `parameters` and `responseSchema` are a `Schema`, a part of OpenAPI 3.0 with types
in capitals; other vendors want JSON Schema, which this API takes in fields of its own.
Source: https://ai.google.dev/api/caching#Schema
"""

from collections.abc import Mapping

from msgspec import Raw

from rawproxy.dialects.gemini.spelling import camel
from rawproxy.dialects.reading import decode, encode

__all__ = ["json_schema"]

_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"}
_NO_TYPE = "TYPE_UNSPECIFIED"
_WHOLE = {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"}
"""Counts: 64 bits wide, so that they often come as strings."""

_NAMES = {"defs": "$defs", "ref": "$ref"}
_ALONE = {"items", "additionalProperties", "not"}
"""Keywords with a schema."""

_LISTS = {"anyOf", "oneOf", "allOf", "prefixItems"}
_MAPS = {"properties", "$defs", "defs"}
_DROPPED = {"propertyOrdering", "nullable"}


def json_schema(schema: Raw) -> Raw:
    """Return a `Schema` as JSON Schema. What is JSON Schema already keeps its spelling."""
    try:
        found = decode(schema, dict[str, object])
        written = _schema(found)
    except (ValueError, RecursionError):
        return schema
    return schema if written == found else Raw(encode(written))


def _schema(schema: Mapping[str, object]) -> dict[str, object]:
    written: dict[str, object] = {}
    for spelled, value in schema.items():
        name = camel(spelled)
        if name == "example":
            written["examples"] = [value]
        elif name == "type":
            written |= _type(value)
        elif name not in _DROPPED:
            written[_NAMES.get(name, name)] = _value(name, value)
    if schema.get("nullable") is True:
        _make_nullable(written)
    return written


def _type(value: object) -> dict[str, object]:
    if value == _NO_TYPE:
        return {}
    return {"type": value.lower() if isinstance(value, str) and value in _TYPES else value}


def _value(name: str, value: object) -> object:
    if name in _WHOLE and isinstance(value, str) and value.isdigit():
        return int(value)
    if name in _ALONE and isinstance(value, dict):
        return _schema(value)
    if name in _LISTS and isinstance(value, list):
        return [_schema(one) if isinstance(one, dict) else one for one in value]
    if name in _MAPS and isinstance(value, dict):
        return {key: _schema(one) if isinstance(one, dict) else one for key, one in value.items()}
    return value


def _make_nullable(schema: dict[str, object]) -> None:
    """Let a schema take null as well."""
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        choices = schema.get("enum")
        if isinstance(choices, list) and None not in choices:
            schema["enum"] = [*choices, None]
    elif isinstance(choices := schema.get("anyOf"), list):
        schema["anyOf"] = [*choices, {"type": "null"}]
