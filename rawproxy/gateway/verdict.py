"""What an upstream's failure means: for its key, for the other candidates, for the client.

Layer: gateway. One table; every way an attempt can fail becomes a `Fail` first.
"""

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from rawproxy.dialects.events import Fail, FailKind
from rawproxy.errors import Exhausted, RawproxyError, UpstreamStall
from rawproxy.gateway.keys import Outcome
from rawproxy.wire.fields import get, read_retry_after, read_retry_after_ms
from rawproxy.wire.http import Fields

__all__ = [
    "Verdict",
    "client_fail",
    "fail_of",
    "retry_after",
    "shown",
    "verdict",
    "with_retry_after",
]


class Verdict(msgspec.Struct, frozen=True):
    """What follows from a failure.

    Attributes:
        key: what the key learns.
        then: `answer` the client (it caused the failure itself), try the `key` after this one at the
            same candidate first, or go on to the next `candidate`.
        hidden: the client is not told the upstream's words: they are about our credentials.
    """

    key: Outcome
    then: Literal["answer", "key", "candidate"]
    hidden: bool = False


_TABLE: dict[FailKind, Verdict] = {
    "invalid": Verdict(Outcome.NOT_THE_KEY, "answer"),
    "overflow": Verdict(Outcome.NOT_THE_KEY, "answer"),
    "too_large": Verdict(Outcome.NOT_THE_KEY, "answer"),
    "not_found": Verdict(Outcome.NOT_THE_KEY, "candidate"),
    "authentication": Verdict(Outcome.DENIED, "key", hidden=True),
    "permission": Verdict(Outcome.FORBIDDEN, "key", hidden=True),
    "billing": Verdict(Outcome.FORBIDDEN, "key", hidden=True),
    "rate_limit": Verdict(Outcome.LIMITED, "key"),
    "server": Verdict(Outcome.NOT_THE_KEY, "candidate"),
    "timeout": Verdict(Outcome.NOT_THE_KEY, "candidate"),
    "overloaded": Verdict(Outcome.NOT_THE_KEY, "candidate"),
}

_HIDDEN: dict[FailKind, str] = {
    "authentication": "the upstream refused our credential",
    "permission": "the upstream does not let our credential use this model",
    "billing": "the upstream account has no credit left",
}


def verdict(fail: Fail, *, own_credential: bool = False) -> Verdict:
    """Return what `fail` means.

    Args:
        fail: what the upstream said, or what became of it.
        own_credential: the client's own credential went upstream: whatever the upstream says of
            it is the client's business, and no other key will be tried.
    """
    found = _TABLE[fail.kind]
    if own_credential and found.key is not Outcome.NOT_THE_KEY:
        return Verdict(Outcome.NOT_THE_KEY, "candidate" if fail.kind == "rate_limit" else "answer")
    return found


def shown(fail: Fail, verdict: Verdict) -> Fail:
    """Return what the client is told of `fail`: trouble with our own credentials is a bad gateway."""
    if not verdict.hidden:
        return fail
    return Fail("server", _HIDDEN[fail.kind], status=502)


def fail_of(error: RawproxyError) -> Fail:
    """Return an error of ours as what the client is told."""
    if isinstance(error, Exhausted):
        return Fail("overloaded", str(error), status=error.status, retry_after=error.retry_after)
    kind: FailKind = "timeout" if isinstance(error, UpstreamStall) else "server"
    return Fail(kind, str(error), status=error.status)


def with_retry_after(fail: Fail, seconds: float | None) -> Fail:
    """Return `fail` with the time that the response's header field named, unless it has one itself."""
    return (
        fail
        if seconds is None or fail.retry_after is not None
        else replace(fail, retry_after=seconds)
    )


def retry_after(fields: Fields, wall: float) -> float | None:
    """Return the seconds that a response asks us to wait; the finer field wins.

    Args:
        fields: its header.
        wall: Unix seconds, about now.
    """
    if (value := get(fields, b"retry-after-ms")) is not None:
        seconds = read_retry_after_ms(value)
        if seconds is not None:
            return seconds
    if (value := get(fields, b"retry-after")) is not None:
        return read_retry_after(value, datetime.fromtimestamp(wall, UTC))
    return None


_KIND_OF_STATUS: dict[int, FailKind] = {
    401: "authentication", 403: "permission", 404: "not_found", 413: "too_large", 503: "overloaded",
}  # fmt: skip


def client_fail(error: RawproxyError) -> Fail:
    """Return a fault of the client's request as what it is told."""
    return Fail(
        _KIND_OF_STATUS.get(error.status, "invalid"), str(error), status=error.status,
        code=getattr(error, "code", None), param=getattr(error, "param", None),
        retry_after=getattr(error, "retry_after", None),
    )  # fmt: skip
