"""What OpenAI's dialects spell alike: errors and usage.

Layer: dialects. Used by Chat Completions, Completions and Responses; knows none of them.
Sources: https://platform.openai.com/docs/guides/error-codes and the `openai` package's types.
"""

import re

import msgspec

from rawproxy.dialects.base import ErrorReply
from rawproxy.dialects.events import Fail, FailKind, Overflow, Usage
from rawproxy.dialects.failures import MESSAGE_LENGTH, kind_of_status, read_overflow
from rawproxy.dialects.reading import decode, encode, whole_count

__all__ = [
    "TokenUsage",
    "error_of",
    "read_error",
    "read_failure",
    "read_usage",
    "write_error",
    "write_usage",
]

Count = int | float | None
"""Tokens; some servers count in floats."""


class _InputDetails(msgspec.Struct):
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    audio_tokens: Count = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count = None
    audio_tokens: Count = None
    accepted_prediction_tokens: Count = None
    rejected_prediction_tokens: Count = None


class TokenUsage(msgspec.Struct):
    """`usage` of Chat Completions and Completions (`prompt_cache_hit_tokens` is DeepSeek's)."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_cache_hit_tokens: Count = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


_NO_INPUT, _NO_OUTPUT = _InputDetails(), _OutputDetails()


def read_usage(usage: TokenUsage) -> Usage:
    """Return the counts. Reasoning that the total shows to be extra is added to the output."""
    given = usage.prompt_tokens_details or _NO_INPUT
    made = usage.completion_tokens_details or _NO_OUTPUT
    cached = given.cached_tokens
    reasoning = made.reasoning_tokens or 0
    output = usage.completion_tokens
    if output is not None and usage.total_tokens == (usage.prompt_tokens or 0) + output + reasoning:
        output += reasoning
    return Usage(
        input=whole_count(usage.prompt_tokens),
        output=whole_count(output),
        cache_read=whole_count(usage.prompt_cache_hit_tokens if cached is None else cached),
        cache_write=whole_count(given.cache_write_tokens),
        reasoning=whole_count(made.reasoning_tokens),
        audio_input=whole_count(given.audio_tokens),
        audio_output=whole_count(made.audio_tokens),
        prediction_accepted=whole_count(made.accepted_prediction_tokens),
        prediction_rejected=whole_count(made.rejected_prediction_tokens),
    )


def write_usage(usage: Usage) -> dict[str, object]:
    """Return the counts as a `usage` object; details that nobody counted are left out."""
    given = {
        "cached_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "audio_tokens": usage.audio_input,
    }
    made = {
        "reasoning_tokens": usage.reasoning,
        "audio_tokens": usage.audio_output,
        "accepted_prediction_tokens": usage.prediction_accepted,
        "rejected_prediction_tokens": usage.prediction_rejected,
    }
    written: dict[str, object] = {
        "prompt_tokens": usage.input or 0,
        "completion_tokens": usage.output or 0,
        "total_tokens": (usage.input or 0) + (usage.output or 0),
    }
    for name, details in (("prompt_tokens_details", given), ("completion_tokens_details", made)):
        if said := {key: count for key, count in details.items() if count is not None}:
            written[name] = said
    return written


_WORD_KINDS: dict[str, FailKind] = {
    # What `code` or `type` say more exactly than the status does.
    "context_length_exceeded": "overflow",
    "exceed_context_size_error": "overflow",
    "insufficient_quota": "billing",
    "billing_error": "billing",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "invalid_api_key": "authentication",
    "authentication_error": "authentication",
    "permission_error": "permission",
    "model_not_found": "not_found",
    "not_found_error": "not_found",
    "request_too_large": "too_large",
    "overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "timeout": "timeout",
    "timeout_error": "timeout",
}
_TYPE_KINDS: dict[str, FailKind] = {
    # What is believed only where no status was told.
    "invalid_request_error": "invalid",
    "BadRequestError": "invalid",
    "tokens": "rate_limit",
    "requests": "rate_limit",
}

_KINDS: dict[FailKind, tuple[int, str, str | None]] = {
    # kind -> status, type, code
    "invalid": (400, "invalid_request_error", None),
    "overflow": (400, "invalid_request_error", "context_length_exceeded"),
    "authentication": (401, "invalid_request_error", "invalid_api_key"),
    "billing": (429, "insufficient_quota", "insufficient_quota"),
    "permission": (403, "permission_error", None),
    "not_found": (404, "invalid_request_error", "model_not_found"),
    "too_large": (413, "invalid_request_error", "request_too_large"),
    "rate_limit": (429, "rate_limit_exceeded", "rate_limit_exceeded"),
    "server": (500, "server_error", None),
    "timeout": (504, "server_error", "timeout"),
    "overloaded": (503, "server_error", "overloaded"),
}


def read_error(status: int, body: bytes) -> Fail:
    """Read an error response; never raises. A body that is none (HTML) gives the status's kind."""
    try:
        found = decode(body, object)
    except ValueError:
        found = None
    if isinstance(found, list) and found:
        found = found[0]
    if isinstance(found, dict):
        found = found.get("error") or found
    return _fail(found, status)


def read_failure(error: msgspec.Raw | bytes) -> Fail:
    """Read the error object of a stream that broke off; never raises."""
    try:
        found = decode(error, object)
    except ValueError:
        found = None
    return _fail(found, None)


def _fail(found: object, status: int | None) -> Fail:
    error = found if isinstance(found, dict) else {"message": found}
    code, word, param = error.get("code"), error.get("type"), error.get("param")
    if status is None and isinstance(code, int) and 400 <= code < 600:
        status = code
    message = next(
        (text for key in ("message", "detail") if isinstance(text := error.get(key), str) and text),
        "the upstream failed" if status is None else f"the upstream answered {status}",
    )
    overflow = read_overflow(message)
    kind = _WORD_KINDS.get(str(code)) or _WORD_KINDS.get(str(word))
    if kind is None and status is not None:
        kind = kind_of_status(status)
    kind = kind or _TYPE_KINDS.get(str(word), "server")
    if overflow or (kind in ("invalid", "too_large") and _TOO_LONG.search(message)):
        kind = "overflow"
    return Fail(
        kind,
        message[:MESSAGE_LENGTH],
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
        status=status,
        overflow=overflow,
    )


_TOO_LONG = re.compile(
    r"maximum context length|context window|context size|context limit|prompt is too long",
    re.IGNORECASE,
)


def error_of(fail: Fail) -> dict[str, object]:
    """Return the error object that says `fail`, in a stream or a body."""
    _, word, code = _KINDS[fail.kind]
    return {
        "message": _overflow_message(fail.overflow) if fail.overflow else fail.message,
        "type": word,
        "param": fail.param,
        "code": code if fail.kind == "overflow" else fail.code or code,
    }


def write_error(fail: Fail) -> ErrorReply:
    """Return the HTTP status and body that say `fail`.

    The upstream's own status stays where it says the same, as 409 and 422 do.
    """
    status = _KINDS[fail.kind][0]
    if fail.status and fail.kind in ("invalid", "server"):
        status = fail.status if kind_of_status(fail.status) == fail.kind else status
    return ErrorReply(status, encode({"error": error_of(fail)}))


def _overflow_message(overflow: Overflow) -> str:
    # The wording of OpenAI itself: agents parse it to shorten what they send next.
    limit = f"This model's maximum context length is {overflow.limit} tokens. However, "
    if overflow.output is None:
        return f"{limit}your messages resulted in {overflow.input} tokens."
    return (
        f"{limit}you requested {overflow.input + overflow.output} tokens ({overflow.input} in the "
        f"messages, {overflow.output} in the completion)."
    )
