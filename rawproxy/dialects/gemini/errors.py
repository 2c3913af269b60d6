"""Errors of the Gemini API: what they say, in a response or in a stream, and how they are said.

Layer: dialects. The part of `gemini` for what went wrong: `google.rpc.Status`, in which a word tells
the kind and `details` may tell how long to wait.
Source: https://ai.google.dev/gemini-api/docs/troubleshooting and
https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
"""

import re

from rawproxy.dialects.base import ErrorReply
from rawproxy.dialects.events import Fail, FailKind, Overflow
from rawproxy.dialects.failures import MESSAGE_LENGTH, kind_of_status, read_overflow
from rawproxy.dialects.gemini.spelling import Item
from rawproxy.dialects.reading import decode, encode

__all__ = ["failure_of", "read_error", "read_failure", "write_error"]

RETRY = "type.googleapis.com/google.rpc.RetryInfo"
"""The type of the detail that says how long to wait."""

_WORD_KINDS: dict[str, FailKind] = {
    "INVALID_ARGUMENT": "invalid",
    "OUT_OF_RANGE": "invalid",
    "UNIMPLEMENTED": "invalid",
    "FAILED_PRECONDITION": "permission",  # the account's: its country, or its billing
    "UNAUTHENTICATED": "authentication",
    "PERMISSION_DENIED": "permission",
    "NOT_FOUND": "not_found",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "INTERNAL": "server",
    "UNKNOWN": "server",
    "UNAVAILABLE": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
}
_REASON_KINDS: dict[str, FailKind] = {
    # what a detail says more exactly: a wrong key is told as INVALID_ARGUMENT
    "API_KEY_INVALID": "authentication",
    "API_KEY_EXPIRED": "authentication",
    "BILLING_DISABLED": "billing",
}
_SAID: dict[FailKind, tuple[int, str]] = {
    # kind -> status, word
    "invalid": (400, "INVALID_ARGUMENT"),
    "overflow": (400, "INVALID_ARGUMENT"),
    "authentication": (401, "UNAUTHENTICATED"),
    "billing": (403, "PERMISSION_DENIED"),
    "permission": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "server": (500, "INTERNAL"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
    "overloaded": (503, "UNAVAILABLE"),
}

_OVERFLOW = re.compile(
    r"input token count (?:\(|is )(?P<input>\d+)\)?"
    r"(?: and the output asked for \((?P<output>\d+)\))?"
    r" (?:exceeds?|but model only supports up to) ?"
    r"(?:the maximum number of tokens allowed \()?(?P<limit>\d+)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"exceeds? the maximum number of tokens|input context is too long|token limit", re.IGNORECASE
)
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


def read_error(status: int, body: bytes) -> Fail:
    """Read an error response, of whatever shape; never raises. A stream's is a list of one."""
    try:
        found = decode(body, object)
    except ValueError:
        found = None
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("error") or found
    return _fail(found, status)


def read_failure(error: bytes) -> Fail:
    """Read the `error` of a stream that broke off; never raises."""
    try:
        found = decode(error, object)
    except ValueError:
        found = None
    return _fail(found, None)


def _fail(found: object, status: int | None) -> Fail:
    error = found if isinstance(found, dict) else {"message": found}
    code, word, message = error.get("code"), error.get("status"), error.get("message")
    if status is None and isinstance(code, int) and 400 <= code < 600:
        status = code
    if not isinstance(message, str) or not message:
        message = "the upstream failed" if status is None else f"the upstream answered {status}"
    reason, delay = _details(error.get("details"))
    kind = _REASON_KINDS.get(reason) or _WORD_KINDS.get(word if isinstance(word, str) else "")
    if kind is None or (kind == "invalid" and status == 413):
        kind = "server" if status is None else kind_of_status(status)
    overflow = _read_overflow(message)
    if overflow or (kind == "invalid" and _TOO_LONG.search(message)):
        kind = "overflow"
    return Fail(kind, message[:MESSAGE_LENGTH], status=status, retry_after=delay, overflow=overflow)


def _details(details: object) -> tuple[str, float | None]:
    """Return the reason and the seconds to wait that `details` name."""
    reason, delay = "", None
    for one in details if isinstance(details, list) else ():
        if not isinstance(one, dict):
            continue
        if isinstance(said := one.get("reason"), str):
            reason = said
        if match := _DELAY.fullmatch(str(one.get("retryDelay"))):
            delay = float(match[1])
    return reason, delay


def _read_overflow(message: str) -> Overflow | None:
    match = _OVERFLOW.search(message)
    if match is None:
        return read_overflow(message)
    output = match["output"]
    return Overflow(int(match["input"]), int(match["limit"]), int(output) if output else None)


def failure_of(fail: Fail) -> Item:
    """Return the `error` object that says `fail`, in a stream or a body."""
    status, word = _SAID[fail.kind]
    error: Item = {"code": status, "message": _message(fail), "status": word}
    if fail.retry_after is not None:
        error["details"] = [{"@type": RETRY, "retryDelay": f"{fail.retry_after:g}s"}]
    return error


def write_error(fail: Fail) -> ErrorReply:
    """Return the HTTP response that says `fail`.

    The upstream's own status stays where it says the same, as 409 and 422 do.
    """
    error = failure_of(fail)
    status = _SAID[fail.kind][0]
    if fail.status and fail.kind in ("invalid", "server"):
        status = fail.status if kind_of_status(fail.status) == fail.kind else status
        error["code"] = status
    return ErrorReply(status, encode({"error": error}))


def _message(fail: Fail) -> str:
    if fail.overflow is None:
        return fail.message
    over = fail.overflow
    told = "" if over.output is None else f" and the output asked for ({over.output})"
    verb = "exceeds" if over.output is None else "exceed"
    return (
        f"The input token count ({over.input}){told} {verb} the maximum number of tokens allowed "
        f"({over.limit})."
    )
