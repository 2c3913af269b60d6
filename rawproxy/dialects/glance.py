"""The little of a call that every decision needs, without reading all of it.

Layer: dialects. Most dialects name the model, `stream` and the number of answers in the body; some
say them in the path. A body that names one of them twice is refused: two readers of it would take
two different ones.
"""

import re
from collections.abc import Hashable
from contextlib import suppress
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from rawproxy.dialects.base import Given, Glance
from rawproxy.dialects.reading import decode
from rawproxy.errors import ClientError, WireError
from rawproxy.wire import splice

__all__ = ["LONGEST_MODEL", "glance", "values"]

LONGEST_MODEL = 256
"""Characters. Names are kept in records and shown in headers; an ARN has 150."""


def glance(
    body: bytes, given: Given, *, model: str = "model", n: str = "n", streams: bool = False
) -> Glance:
    """Return the model, whether a stream is asked for, and how many answers.

    Args:
        body: the request.
        given: what its path and header say; that wins.
        model: the field that names the model; "" where only `given` does.
        n: the field with the number of answers; "" where there is none.
        streams: whether a call that does not say `stream` wants one.

    Raises:
        ClientError: it is no JSON object, names one of them twice, or a model of another type
            than text or of more than LONGEST_MODEL characters.
    """
    try:
        found = _read_values(body, (model, n, "stream"))
    except WireError as error:
        raise ClientError(f"the body cannot be read: {error}") from error
    named = given.model or found.get(model)
    if not isinstance(named, str):
        raise ClientError(f"{model}: expected a string", param=model)
    if len(named) > LONGEST_MODEL:
        raise ClientError(f"model: longer than {LONGEST_MODEL} characters", param="model")
    stream, many = found.get("stream"), found.get(n)
    if given.stream is not None:
        streams = given.stream
    elif stream is not None:
        streams = stream is True or stream == "true"
    choices = many if type(many) is int and 0 <= many < 1000 else 1
    return Glance(named, streams, choices)


# A letter of ASCII may be escaped in a key, too.
_ESCAPED_LETTER = re.compile(rb"\\u00[67]")


def values(body: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the values of top-level members as they are spelled, of those that are there.

    Args:
        body: the request.
        names: of ASCII letters.

    Raises:
        WireError: it is no JSON object, or has one of them twice.
    """
    found = _values_at_once(body, names, Raw)
    if found is not None:
        return {name: bytes(raw) for name, raw in found.items()}
    spelled = ((name, splice.value(body, name)) for name in names)
    return {name: value for name, value in spelled if value is not None}


def _read_values(body: bytes, names: tuple[str, ...]) -> dict[str, object]:
    """Return what `values` does, each as it reads, or spelled where it cannot be read; "" is not looked for."""
    found = _values_at_once(body, names, object)
    if found is not None:
        return found
    found = {**values(body, tuple(filter(None, names)))}
    for name, spelled in found.items():
        with suppress(ValueError):
            found[name] = decode(spelled, object)
    return found


def _values_at_once(body: bytes, names: tuple[str, ...], kind: Hashable) -> dict[str, Any] | None:
    """Return the values as `kind`; None where it takes a longer look to say that each is there only once."""
    decoder, members = _quick(names, kind)
    try:
        seen = decoder.decode(body)
    except (ValueError, RecursionError):
        return None  # not all of it is JSON; what is asked for may be there all the same
    if b"\\" in body and _ESCAPED_LETTER.search(body):
        return None
    found = {}
    for name, spelled in members:
        value = getattr(seen, name)
        if value is not UNSET:
            # From behind: forwards, `find` stops at every quote for a short name.
            at = body.rfind(spelled)
            if at > 0 and body.rfind(spelled, 0, at) > 0:
                return None  # a key or a text; maybe it is there twice
            found[name] = value
    return found


@cache
def _quick(
    names: tuple[str, ...], kind: Hashable
) -> tuple[msgspec.json.Decoder[msgspec.Struct], list[tuple[str, bytes]]]:
    """Return what decodes these members and no others, and how they are spelled."""
    members = [(name, b'"%b"' % name.encode()) for name in names if name]
    fields = [(name, kind, UNSET) for name, _ in members]
    return msgspec.json.Decoder(msgspec.defstruct("Shape", fields, gc=False)), members
