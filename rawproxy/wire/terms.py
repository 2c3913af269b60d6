"""What the fields of a head say of its body and its connection, the same for every HTTP version.

Layer: wire. Knows the few fields that decide how a message is read. Knows no head as bytes: those
are read in `heads` (HTTP/1.1) and `h2.heads` (HTTP/2).
Spec:  https://www.rfc-editor.org/rfc/rfc9110 and https://www.rfc-editor.org/rfc/rfc9112#section-6
"""

from functools import lru_cache
from operator import itemgetter

import msgspec

from rawproxy.errors import HttpError
from rawproxy.wire.fields import host_name, read_content_length
from rawproxy.wire.http import Fields

__all__ = [
    "BODILESS",
    "CHUNKED",
    "FIRST_FINAL",
    "SWITCHING_PROTOCOLS",
    "Telling",
    "Terms",
    "check_host",
    "keeps_alive",
    "pick_telling",
    "read_length",
    "read_response_terms",
    "read_terms",
]

SWITCHING_PROTOCOLS = 101

FIRST_FINAL = 200
"""Responses below it are interim: another head follows (RFC 9110 15.2)."""

BODILESS = frozenset({204, 304})
"""Final responses that never have a body (RFC 9110 6.4.1)."""

CHUNKED = -1
"""Stands for a body's length where the chunked coding says where it ends."""

_TELLING = frozenset({
    b"connection", b"content-encoding", b"content-length", b"expect", b"host", b"transfer-encoding",
})  # fmt: skip

_name = itemgetter(0)
_NO_CODING = frozenset({b"", b"identity"})

Telling = dict[bytes, list[bytes]]
"""The values of the fields that tell, by name."""


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What a head says about its body and its connection.

    Attributes:
        length: bytes of the body; CHUNKED; None when no field tells.
        keep_alive: the connection may be used again after this message.
        expects_continue: the client holds its body back until it is told to go on.
        refusal: why a request that was read well is refused all the same: 415 or 417.
    """

    length: int | None
    keep_alive: bool
    expects_continue: bool = False
    refusal: HttpError | None = None


def pick_telling(fields: Fields) -> Telling:
    """Return the fields that decide how a message is read; the others are not looked at."""
    telling: Telling = {}
    for name, value in fields:
        if name in _TELLING:
            telling.setdefault(name, []).append(value)
    return telling


def check_host(hosts: list[bytes], version: bytes) -> None:
    """Refuse a request without one well-formed host.

    Raises:
        HttpError: 400.

    Source: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    """
    if not hosts and version == b"1.0":
        return  # it had no Host yet, and health checks are still written in it
    if len(hosts) != 1:
        raise HttpError("a request has exactly one Host field")
    if host_name(hosts[0]) is None:
        raise HttpError("the Host field is malformed")


def read_terms(telling: Telling, version: bytes) -> Terms:
    """Return what a request's head says. In HTTP/2 its end needs no field, so `length` may be None.

    Raises:
        HttpError: as `read_length`.
    """
    refusal = None
    expectations = telling.get(b"expect")
    if expectations and any(value.lower() != b"100-continue" for value in expectations):
        refusal = HttpError("the only expectation met is 100-continue", status=417)
    codings = telling.get(b"content-encoding")
    if codings and any(set(_items(value)) - _NO_CODING for value in codings):
        refusal = HttpError("a request body is sent without content coding", status=415)
    length = read_length(telling, version)
    return Terms(
        length=0 if length is None and version != b"2" else length,
        keep_alive=keeps_alive(telling, version),
        # RFC 9110 10.1.1: a client that speaks HTTP/1.0 does not wait.
        expects_continue=bool(expectations) and version != b"1.0",
        refusal=refusal,
    )


def read_response_terms(fields: Fields, version: bytes) -> Terms:
    """Return what a response's head says.

    Raises:
        HttpError: as `read_length`.
    """
    at = _only_length(tuple(map(_name, fields)))
    length = None if at is None else read_content_length(fields[at][1])
    if length is not None and version == b"1.1":
        return Terms(length, keep_alive=True)
    telling = pick_telling(fields)
    return Terms(read_length(telling, version), keeps_alive(telling, version))


@lru_cache(64)
def _only_length(names: tuple[bytes, ...]) -> int | None:
    """Return where Content-Length is, if it alone tells; an upstream sends the same names each time."""
    telling = [at for at, name in enumerate(names) if name in _TELLING]
    return telling[0] if [names[at] for at in telling] == [b"content-length"] else None


def read_length(telling: Telling, version: bytes) -> int | None:
    """Return the bytes of the body, CHUNKED, or None when no field tells.

    Raises:
        HttpError: 400 for what two readers could read differently, 501 for another coding.

    Source: https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    """
    codings = telling.get(b"transfer-encoding")
    lengths = telling.get(b"content-length")
    if codings:
        if lengths:
            raise HttpError("Transfer-Encoding and Content-Length exclude each other")
        if version == b"1.0":
            raise HttpError("HTTP/1.0 has no Transfer-Encoding")
        _check_codings(codings)
        return CHUNKED
    if not lengths:
        return None
    length = read_content_length(lengths[0])
    if length is None or len(lengths) > 1:
        raise HttpError("Content-Length is one plain number, sent once")
    return length


def keeps_alive(telling: Telling, version: bytes) -> bool:
    """Whether the connection may be used again after this message."""
    # HTTP/1.0 keep-alive is not spoken: proxies between would not know of it (RFC 9112 C.2.2).
    if version == b"1.0":
        return False
    values = telling.get(b"connection")
    return values is None or not any(map(_closes, values))


def _check_codings(values: list[bytes]) -> None:
    codings = _items(values[0])
    if len(values) > 1 or b"" in codings or b"chunked" in codings[:-1]:
        raise HttpError("Transfer-Encoding is malformed")
    if codings != [b"chunked"]:
        raise HttpError("the only transfer coding spoken here is chunked", status=501)


@lru_cache(64)
def _closes(value: bytes) -> bool:
    return b"close" in _items(value)


def _items(value: bytes) -> list[bytes]:
    """Return the members of a comma-separated list, in lower case."""
    return [item.strip(b" \t") for item in value.lower().split(b",")]
