"""Failures inside a reply of the Responses API: what `error` events and failed responses say.

Layer: dialects. The part of `openai_responses` for errors that come after the HTTP status; error
responses are those of `openai_shared`.
Source: `ResponseError` of the `openai` package 3.51.0; what Codex 0.169 makes of the codes.
"""

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.events import Fail, FailKind, Stop
from rawproxy.dialects.openai_responses.items import Item
from rawproxy.dialects.openai_shared import error_of, read_failure

__all__ = ["malformed", "read_failed", "write_failed"]

_KINDS: dict[str, FailKind] = {
    # What the codes of this API alone mean; the others are in openai_shared.
    "invalid_prompt": "invalid",
    "data_residency_mismatch": "permission",
    "bio_policy": "permission",
    "misalignment_policy_violation": "permission",
    "vector_store_timeout": "timeout",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
}
_IMAGE = "image"
"""In every code that is about a picture of the call."""

_CODES: dict[FailKind, str] = {"invalid": "invalid_prompt", "permission": "invalid_prompt"}
"""The code where the failure has none of its own: with another one Codex would ask again."""


def read_failed(error: Raw | bytes) -> Fail:
    """Read the error of a failed response, or an `error` event; never raises."""
    fail = read_failure(error)
    if fail.kind == "server" and fail.code is not None:
        kind = _KINDS.get(fail.code, "invalid" if _IMAGE in fail.code else fail.kind)
        return replace(fail, kind=kind)
    return fail


def malformed(stop: Stop) -> Fail:
    """Return what a reply that nobody can read is here: a failure."""
    return Fail("server", stop.detail or "the model's output cannot be read")


def write_failed(fail: Fail) -> tuple[Item, Item]:
    """Return the error as an `error` event says it, and as the failed response does.

    The second always has a code. Codex reads how long to wait from the message.
    """
    error = error_of(fail)
    if fail.kind == "rate_limit" and fail.retry_after and "try again in" not in fail.message:
        error["message"] = f"{fail.message} Please try again in {fail.retry_after:g}s."
    code = error["code"] or _CODES.get(fail.kind, "server_error")
    return error, {"code": code, "message": error["message"]}
