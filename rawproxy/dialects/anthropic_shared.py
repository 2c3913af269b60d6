"""What Anthropic's dialects spell alike: errors, what they say and how they are said.

Layer: dialects. Used by Messages and the legacy completions; knows neither. A body and a stream's
`error` event have one shape.
Source: https://platform.claude.com/docs/en/api/errors
"""

import re

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import ErrorReply
from rawproxy.dialects.events import Fail, FailKind, Overflow
from rawproxy.dialects.failures import MESSAGE_LENGTH, kind_of_status, read_overflow
from rawproxy.dialects.reading import decode, encode

__all__ = ["error_of", "read_error", "read_failure", "write_error"]

_KINDS: dict[str, FailKind] = {
    # `api_error` is not here: it says no more than the status does.
    "invalid_request_error": "invalid",
    "conflict_error": "invalid",
    "authentication_error": "authentication",
    "billing_error": "billing",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
}

_SAID: dict[FailKind, tuple[int, str]] = {
    # kind -> status, type
    "invalid": (400, "invalid_request_error"),
    "overflow": (400, "invalid_request_error"),
    "authentication": (401, "authentication_error"),
    "billing": (402, "billing_error"),
    "permission": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "rate_limit": (429, "rate_limit_error"),
    "server": (500, "api_error"),
    "timeout": (504, "timeout_error"),
    "overloaded": (529, "overloaded_error"),
}
_TYPES_BY_STATUS = {409: "conflict_error"}

_TOO_LONG = "prompt is too long"
_OVERFLOW = re.compile(rf"{_TOO_LONG}|context (?:limit|window|length)", re.IGNORECASE)


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    details: Raw = Raw()


class _Body(msgspec.Struct):
    """`message` alone: the clouds that host this API answer so."""

    error: _Error | str | None = None
    message: str | None = None


def read_error(status: int, body: bytes) -> Fail:
    """Read an error response. A body of another shape gives the status's kind; never raises."""
    try:
        said = decode(body, _Body)
    except ValueError:
        said = _Body()
    return _fail(said.error or said.message, status)


def read_failure(error: Raw) -> Fail:
    """Read the error object of a stream that broke off; never raises."""
    try:
        found = decode(error, _Error)
    except ValueError:
        found = None
    return _fail(found, None)


def _fail(found: _Error | str | None, status: int | None) -> Fail:
    error = _Error(message=found) if isinstance(found, str) else found or _Error()
    kind = _KINDS.get(error.type or "")
    if kind is None:
        kind = "server" if status is None else kind_of_status(status)
    other = "the upstream failed" if status is None else f"the upstream answered {status}"
    message = error.message or other
    overflow = read_overflow(message)
    if overflow or (kind in ("invalid", "too_large") and _OVERFLOW.search(message)):
        kind = "overflow"
    return Fail(kind, message[:MESSAGE_LENGTH], code=_code(error), status=status, overflow=overflow)


def _code(error: _Error) -> str | None:
    try:
        return decode(error.details, _Details).error_code if error.details else None
    except ValueError:
        return None


def error_of(fail: Fail, kind: str | None = None) -> dict[str, object]:
    """Return the object that says `fail`, in a stream or a body; `kind` replaces its `type`."""
    error: dict[str, object] = {"type": kind or _SAID[fail.kind][1], "message": _message(fail)}
    if fail.code is not None:
        error["details"] = {"error_code": fail.code}
    return {"type": "error", "error": error}


def write_error(fail: Fail) -> ErrorReply:
    """Return the HTTP status and body that say `fail`.

    The upstream's own status stays where it says the same, as 409 and 422 do.
    """
    status = _SAID[fail.kind][0]
    if fail.status and fail.kind in ("invalid", "server"):
        status = fail.status if kind_of_status(fail.status) == fail.kind else status
    return ErrorReply(status, encode(error_of(fail, _TYPES_BY_STATUS.get(status))))


def _message(fail: Fail) -> str:
    # Claude Code knows these two wordings: it asks for fewer tokens, or shortens the conversation.
    if fail.overflow:
        return _overflow_message(fail.overflow)
    if fail.kind == "overflow" and _TOO_LONG not in fail.message.lower():
        return f"{_TOO_LONG}: {fail.message}"
    return fail.message


def _overflow_message(overflow: Overflow) -> str:
    if overflow.output is None or overflow.input >= overflow.limit:
        return f"{_TOO_LONG}: {overflow.input} tokens > {overflow.limit} maximum"
    return (
        f"input length and `max_tokens` exceed context limit: {overflow.input} + "
        f"{overflow.output} > {overflow.limit}, decrease input length or `max_tokens` and try again"
    )
