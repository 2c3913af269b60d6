"""Usage in a passed stream whose client did not ask for it: asked for, noted, and dropped again.

Layer: dialects. Used by Chat Completions and Completions, which ask for it alike; knows neither.
Source: https://platform.openai.com/docs/api-reference/chat/create (stream_options.include_usage)
"""

import re

from msgspec import Raw

from rawproxy.dialects.reading import decode, encode
from rawproxy.errors import WireError
from rawproxy.wire import splice
from rawproxy.wire.frame import Frame

__all__ = ["ask_usage", "is_usage_only"]

# The usage chunk is the one with no choices; others carry `"usage":null` at most.
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


def ask_usage(body: bytes) -> bytes | None:
    """Return a streaming call with `stream_options.include_usage`; None where it asks already.

    Nothing else of the body changes. Options that cannot be read are the upstream's to refuse.
    """
    options: dict[str, Raw] = {}
    try:
        given = splice.value(body, "stream_options")
        if given is not None and given != b"null":
            options = decode(given, dict[str, Raw])
    except (WireError, ValueError):
        return None
    if bytes(options.get("include_usage", b"")) == b"true":
        return None
    return splice.replace(body, "stream_options", encode(options | {"include_usage": True}))


def is_usage_only(frame: Frame) -> bool:
    """Return whether a frame is the chunk that only `include_usage` brings."""
    return bool(_NO_CHOICES.search(frame.raw) and _USAGE.search(frame.raw))
