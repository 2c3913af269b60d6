"""The little of a call that every decision needs, without reading all of it.

Layer: dialects. Most dialects name the model, `stream` and the number of answers in the body; some
say them in the path. A body that names one of them twice is refused: two readers of it would take
two different ones.
"""

import re
from contextlib import suppress
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import UNSET

from rawproxy.dialects.base import Given, Glance
from rawproxy.dialects.reading import decode
from rawproxy.errors import ClientError, WireError
from rawproxy.wire import splice

__all__ = ["LONGEST_MODEL", "choices", "glance", "values"]

T = TypeVar("T")

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
        found = values(body, (model, n, "stream"), object)
    except WireError as error:
        raise ClientError(f"the body cannot be read: {error}") from error
    named = given.model or found.get(model)
    if not isinstance(named, str):
        raise ClientError(f"{model}: expected a string", param=model)
    if len(named) > LONGEST_MODEL:
        raise ClientError(f"model: longer than {LONGEST_MODEL} characters", param="model")
    stream = found.get("stream")
    if given.stream is not None:
        streams = given.stream
    elif stream is not None:
        streams = stream is True or stream == "true"
    return Glance(named, streams, choices(found.get(n)))


def choices(said: object) -> int:
    """Return how many answers are asked for; 1 for anything but a number of up to three digits."""
    return said if type(said) is int and 0 <= said < 1000 else 1


# A letter of ASCII may be escaped in a key, too.
_ESCAPED_LETTER = re.compile(rb"\\u00[67]")


def values(body: bytes, names: tuple[str, ...], kind: type[T]) -> dict[str, T]:
    """Return the values of top-level members, of those that are there and can be read.

    Args:
        body: the request.
        names: of ASCII letters; "" is looked for nowhere.
        kind: what they are read as: `object`, or `Raw`.

    Raises:
        WireError: it is no JSON object, or has one of them twice.
    """
    found = _values_at_once(body, names, kind)
    if found is not None:
        return found
    found = {}
    for name in filter(None, names):
        spelled = splice.value(body, name)
        if spelled is not None:
            with suppress(ValueError):
                found[name] = decode(spelled, kind)
    return found


def _values_at_once(body: bytes, names: tuple[str, ...], kind: type[T]) -> dict[str, T] | None:
    """Return what `values` does; None where it takes a longer look to say that each is there only once."""
    decoder, members = _quick(names, kind)  # type: ignore[arg-type]  # a type has a hash
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
    names: tuple[str, ...],
    kind: type,
) -> tuple[msgspec.json.Decoder[msgspec.Struct], list[tuple[str, bytes]]]:
    """Return what decodes these members and no others, and how they are spelled."""
    members = [(name, b'"%b"' % name.encode()) for name in names if name]
    fields = [(name, kind, UNSET) for name, _ in members]
    return msgspec.json.Decoder(msgspec.defstruct("Shape", fields, gc=False)), members
