"""The little of a call that every decision needs, without reading all of it.

Layer: dialects. Most dialects name the model, `stream` and the number of answers in the body; some
say them in the path. A body that names one of them twice is refused: two readers of it would take
two different ones.
"""

import re
from functools import cache

import msgspec
from msgspec import Raw

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
    wanted = [name for name in (model, n, "" if given.stream is not None else "stream") if name]
    try:
        found = values(body, tuple(wanted) or ("stream",))
    except WireError as error:
        raise ClientError(f"the body cannot be read: {error}") from error
    try:
        named = given.model or decode(found.get(model, b"null"), str)
    except ValueError:
        raise ClientError(f"{model}: expected a string", param=model) from None
    if len(named) > LONGEST_MODEL:
        raise ClientError(f"model: longer than {LONGEST_MODEL} characters", param="model")
    stream, many = found.get("stream"), found.get(n)
    if given.stream is not None:
        streams = given.stream
    elif stream not in (None, b"null"):
        streams = stream.strip(b'"') == b"true"
    choices = int(many) if many is not None and many.isdigit() and len(many) < 4 else 1
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
    found = _values_at_once(body, names)
    if found is not None:
        return found
    spelled = ((name, splice.value(body, name)) for name in names)
    return {name: value for name, value in spelled if value is not None}


def _values_at_once(body: bytes, names: tuple[str, ...]) -> dict[str, bytes] | None:
    """Return what `values` does; None where it takes a longer look to say that each is there only once."""
    decoder, spelled = _quick(names)
    try:
        seen = decoder.decode(body)
    except (ValueError, RecursionError):
        return None  # not all of it is JSON; what is asked for may be there all the same
    if body.find(b"\\") >= 0 and _ESCAPED_LETTER.search(body):
        return None
    found = {name: bytes(raw) for name in names if (raw := getattr(seen, name))}
    for name in found:
        if _is_twice(body, spelled[name]):
            return None
    return found


def _is_twice(body: bytes, spelled: bytes) -> bool:
    """Return whether a name may be there twice, as a key or as a text."""
    at = body.rfind(spelled)  # from behind: forwards, `find` stops at every quote for a short name
    return at > 0 and body.rfind(spelled, 0, at) > 0


@cache
def _quick(
    names: tuple[str, ...],
) -> tuple[msgspec.json.Decoder[msgspec.Struct], dict[str, bytes]]:
    """Return what decodes these members and no others, and how they are spelled."""
    fields = [(name, Raw, Raw()) for name in names]
    shape = msgspec.defstruct("Shape", fields, gc=False)
    return msgspec.json.Decoder(shape), {name: b'"%b"' % name.encode() for name in names}
