"""What every vendor's errors have in common: what a status means, and how a call is too long.

Layer: dialects. Used by the modules that read one vendor's errors; knows none of them.
Sources: RFC 9110 section 15, and the wordings of OpenAI, Anthropic and the servers that copy their
APIs (vLLM, llama.cpp, Mistral, OpenRouter).
"""

import re

from rawproxy.dialects.events import FailKind, Overflow

__all__ = ["MESSAGE_LENGTH", "kind_of_status", "read_overflow"]

MESSAGE_LENGTH = 2000
"""Characters of an upstream's error message that a client gets to see."""

_STATUS_KINDS: dict[int, FailKind] = {
    401: "authentication", 402: "billing", 403: "permission", 404: "not_found", 408: "timeout",
    413: "too_large", 429: "rate_limit", 503: "overloaded", 504: "timeout", 529: "overloaded",
}  # fmt: skip


def kind_of_status(status: int) -> FailKind:
    """Return what an HTTP error status means, where the body does not say."""
    return _STATUS_KINDS.get(status, "invalid" if 400 <= status < 500 else "server")


_REQUESTED = (  # OpenAI's own wording, and OpenRouter's
    r"context length is (?P<limit>\d+) .*?"
    r"(?:requested|resulted in)(?: about)? (?P<total>\d+) tokens"
    r"(?:[^)]*?(?P<output>\d+) in the (?:completion|output)\))?"
)
_OVERFLOWS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"too large: (?P<output>\d+)\. .*?context length is (?P<limit>\d+) .*?has (?P<input>\d+)",
        _REQUESTED,
        r"too long: (?P<input>\d+) tokens > (?P<limit>\d+)",
        r"context limit: (?P<input>\d+) \+ (?P<output>\d+) > (?P<limit>\d+)",
        r"limit of (?P<limit>\d+) tokens\. .*?resulted in (?P<input>\d+)",
        r"\((?P<input>\d+) tokens\) exceeds the available context size \((?P<limit>\d+)",
        r"\(length (?P<input>\d+)\) is longer than the maximum model length of (?P<limit>\d+)",
        r"contains (?P<input>\d+) tokens.*?with (?P<limit>\d+) maximum context length",
    )
)


def read_overflow(message: str) -> Overflow | None:
    """Return how far a call was over the context, where `message` tells it in a known wording."""
    for pattern in _OVERFLOWS:
        if match := pattern.search(message):
            said = {name: int(text) for name, text in match.groupdict().items() if text}
            output = said.get("output")
            given = said["total"] - (output or 0) if "total" in said else said["input"]
            return Overflow(max(0, given), said["limit"], output)
    return None
