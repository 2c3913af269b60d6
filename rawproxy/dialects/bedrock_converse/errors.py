"""Errors of Bedrock: what they say, and how they are said.

Layer: dialects. The part of `bedrock_converse` for what went wrong. An error response has its type
in a header field, so that a body alone often shows no more than a message; a stream ends with an
exception message, of one of five types.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

import re

from rawproxy.dialects.base import ErrorReply
from rawproxy.dialects.events import Fail, FailKind, Overflow
from rawproxy.dialects.failures import MESSAGE_LENGTH, kind_of_status, read_overflow
from rawproxy.dialects.reading import decode, encode

__all__ = ["EXCEPTIONS", "read_error", "read_failure", "write_error", "write_failure"]

EXCEPTIONS = frozenset({
    "internalServerException", "modelStreamErrorException", "validationException",
    "throttlingException", "serviceUnavailableException",
})  # fmt: skip
"""The exceptions that a stream may end with."""

_ENDING = "exception"

_KINDS: dict[str, FailKind] = {
    # type, in lower case, without its ending
    "accessdenied": "permission",
    "expiredtoken": "authentication",
    "incompletesignature": "authentication",
    "internalserver": "server",
    "invalidsignature": "authentication",
    "missingauthenticationtoken": "authentication",
    "modelerror": "server",
    "modelnotready": "overloaded",
    "modelstreamerror": "server",
    "modeltimeout": "timeout",
    "requestentitytoolarge": "too_large",
    "resourcenotfound": "not_found",
    "servicequotaexceeded": "rate_limit",
    "serviceunavailable": "overloaded",
    "throttling": "rate_limit",
    "unrecognizedclient": "authentication",
    "validation": "invalid",
}
_STATUS_KINDS: dict[int, FailKind] = {424: "server"}  # the model failed, not the client

_SAID: dict[FailKind, tuple[int, str]] = {
    # kind -> status, type
    "invalid": (400, "ValidationException"),
    "overflow": (400, "ValidationException"),
    "authentication": (403, "UnrecognizedClientException"),
    "billing": (403, "AccessDeniedException"),
    "permission": (403, "AccessDeniedException"),
    "not_found": (404, "ResourceNotFoundException"),
    "too_large": (400, "ValidationException"),
    "rate_limit": (429, "ThrottlingException"),
    "server": (500, "InternalServerException"),
    "timeout": (408, "ModelTimeoutException"),
    "overloaded": (503, "ServiceUnavailableException"),
}
_ENDS: dict[FailKind, str] = {
    # what a stream has no type of its own for is the client's to mend: a validationException
    "rate_limit": "throttlingException",
    "server": "internalServerException",
    "timeout": "modelStreamErrorException",
    "overloaded": "serviceUnavailableException",
}

_TOO_LONG = re.compile(
    r"(?:prompt|input) is too long|context (?:limit|window|length)|input tokens exceed"
    r"|too many input tokens",
    re.IGNORECASE,
)


def read_error(status: int, body: bytes) -> Fail:
    """Read an error response, of whatever shape; never raises."""
    error = _members(body)
    word = error.get("__type") or error.get("code")
    return _fail(error, word if isinstance(word, str) else "", status)


def read_failure(word: str, data: bytes) -> Fail:
    """Read the exception or error `word` that ended a stream; never raises."""
    error = _members(data)
    code = error.get("code")
    if _kind(word) is None and isinstance(code, str):
        word = code
    return _fail(error, word, None)


def _members(data: bytes) -> dict[str, object]:
    try:
        return decode(data, dict[str, object])
    except ValueError:
        return {}


def _kind(word: str) -> FailKind | None:
    """Return what a type means: `ThrottlingException`, `com.amazon.coral#ThrottlingException:`."""
    name = word.rpartition("#")[2].partition(":")[0].lower()
    return _KINDS.get(name.removesuffix(_ENDING))


def _fail(error: dict[str, object], word: str, status: int | None) -> Fail:
    told = error.get("originalStatusCode")
    kind = _kind(word)
    if kind in (None, "server") and isinstance(told, int) and told >= 400:
        kind = kind_of_status(told)
    elif kind is None:
        known = "server" if status is None else kind_of_status(status)
        kind = _STATUS_KINDS.get(status or 0, known)
    other = "the upstream failed" if status is None else f"the upstream answered {status}"
    texts = (error.get(name) for name in ("originalMessage", "message", "Message"))
    message = next((text for text in texts if isinstance(text, str) and text), other)
    overflow = read_overflow(message)
    if overflow or (kind in ("invalid", "too_large") and _TOO_LONG.search(message)):
        kind = "overflow"
    return Fail(kind, message[:MESSAGE_LENGTH], status=status, overflow=overflow)


def write_error(fail: Fail) -> ErrorReply:
    """Return the HTTP response that says `fail`; its type stands in a header field."""
    status, word = _SAID[fail.kind]
    fields = ((b"x-amzn-errortype", word.encode()),)
    return ErrorReply(status, encode({"message": _message(fail)}), fields)


def write_failure(fail: Fail) -> tuple[str, bytes]:
    """Return the type and payload of the exception that ends a stream with `fail`."""
    said: dict[str, object] = {"message": _message(fail)}
    word = _ENDS.get(fail.kind, "validationException")
    if word == "modelStreamErrorException":
        said |= {"originalStatusCode": _SAID[fail.kind][0], "originalMessage": fail.message}
    return word, encode(said)


def _message(fail: Fail) -> str:
    # Clients look for the two wordings of the models behind this API to shorten what they send.
    if fail.overflow:
        return _overflow_message(fail.overflow)
    if fail.kind == "overflow" and not _TOO_LONG.search(fail.message):
        return f"Input is too long for requested model. {fail.message}"
    return fail.message


def _overflow_message(overflow: Overflow) -> str:
    if overflow.output is None or overflow.input >= overflow.limit:
        return f"prompt is too long: {overflow.input} tokens > {overflow.limit} maximum"
    return (
        f"input length and `max_tokens` exceed context limit: {overflow.input} + "
        f"{overflow.output} > {overflow.limit}, decrease input length or `max_tokens` and try again"
    )
