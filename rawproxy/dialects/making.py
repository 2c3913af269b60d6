"""JSON objects in the making: what writers of calls share.

Layer: dialects. Knows no dialect.
"""

import msgspec
from msgspec import Raw

from rawproxy.dialects.reading import decode, encode

__all__ = ["NO_SCHEMA", "Item", "closed", "json_object", "object_schema", "said"]

Item = dict[str, object]
"""One JSON object in the making."""

NO_SCHEMA = b'{"type":"object","properties":{}}'
"""The schema of a tool without arguments."""

_DATA = frozenset({"const", "default", "enum", "examples"})
"""Members of a schema that hold values, not schemas."""


def said(**members: object) -> Item:
    """Return those of `members` that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def json_object(text: str, *, one_line: bool = False) -> Raw | None:
    """Return tool arguments as the JSON object that they are; None for anything else.

    Args:
        text: JSON; blank for no arguments.
        one_line: white space goes where there are line ends in it; else it stays as it is spelled.
    """
    if not text.strip():
        return Raw(b"{}")
    raw = text.encode("utf-8", "replace")
    try:
        decode(raw, dict[str, Raw])
    except ValueError:
        return None
    if one_line and (b"\n" in raw or b"\r" in raw):
        return Raw(msgspec.json.format(raw, indent=-1))
    return Raw(raw)


def object_schema(schema: Raw) -> Raw:
    """Return a schema as that of an object; one that says its type keeps its spelling."""
    try:
        members = decode(schema, dict[str, Raw])
    except ValueError:
        return Raw(NO_SCHEMA)
    if not members:
        return Raw(NO_SCHEMA)
    return schema if "type" in members else Raw(encode({"type": "object"} | members))


def closed(schema: Raw) -> Raw:
    """Return a schema in which no object takes more than its properties, as strict ones have to be.

    It keeps its spelling where that is so already.
    """
    found = decode(schema, dict[str, object])
    return Raw(encode(found)) if _close(found) else schema


def _close(node: object) -> bool:
    """Close every object that says nothing of further properties; return whether there was one."""
    if isinstance(node, list):
        return sum(map(_close, node)) > 0  # all of them, where `any` would stop at the first
    if not isinstance(node, dict):
        return False
    inner = [_close(value) for name, value in node.items() if name not in _DATA]
    is_open = node.get("type") == "object" and "additionalProperties" not in node
    if is_open:
        node["additionalProperties"] = False
    return is_open or any(inner)
