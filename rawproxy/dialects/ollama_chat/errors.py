"""What Ollama's errors say, in a response or in a stream, and how they are written.

Layer: dialects. The part of `ollama_chat` that knows errors: `{"error": "..."}`, and nothing more.
Source: https://github.com/ollama/ollama/blob/main/docs/api.md, and the wordings of the server.
"""

import re

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects import openai_shared
from rawproxy.dialects.base import ErrorReply
from rawproxy.dialects.events import Fail, FailKind
from rawproxy.dialects.failures import kind_of_status
from rawproxy.dialects.openai_shared import error_of
from rawproxy.dialects.reading import encode

__all__ = ["error_line", "read_error", "read_failure", "write_error"]

_STATUSES: dict[FailKind, int] = {
    "invalid": 400, "overflow": 400, "authentication": 401, "billing": 429, "permission": 403,
    "not_found": 404, "too_large": 413, "rate_limit": 429, "server": 500, "timeout": 504,
    "overloaded": 503,
}  # fmt: skip
_TOO_LONG = re.compile(r"exceeds? (?:the |maximum )?context length", re.IGNORECASE)
_WORDS: tuple[tuple[re.Pattern[str], FailKind], ...] = (
    # what tells the kind where no status does
    (re.compile(r"\bmodel\b.*\bnot found\b", re.IGNORECASE | re.DOTALL), "not_found"),
    (re.compile(r"does not support", re.IGNORECASE), "invalid"),
    (re.compile(r"server busy", re.IGNORECASE), "overloaded"),
)


def read_error(status: int, body: bytes) -> Fail:
    """Read an error response, of whatever shape; never raises."""
    fail = openai_shared.read_error(status, body)
    return replace(fail, kind="overflow") if _TOO_LONG.search(fail.message) else fail


def read_failure(error: Raw) -> Fail:
    """Read the `error` of a line; never raises. Only its words tell its kind."""
    fail = openai_shared.read_failure(error)
    if fail.kind != "server":
        return fail
    if _TOO_LONG.search(fail.message):
        return replace(fail, kind="overflow")
    found = next((kind for words, kind in _WORDS if words.search(fail.message)), fail.kind)
    return replace(fail, kind=found)


def error_line(fail: Fail) -> bytes:
    """Return the JSON object that says `fail`."""
    return encode({"error": error_of(fail)["message"]})


def write_error(fail: Fail) -> ErrorReply:
    """Return the HTTP status and body that say `fail`.

    The upstream's own status stays where it says the same, as 409 and 422 do.
    """
    status = _STATUSES[fail.kind]
    if fail.status and fail.kind in ("invalid", "server"):
        status = fail.status if kind_of_status(fail.status) == fail.kind else status
    return ErrorReply(status, error_line(fail))
