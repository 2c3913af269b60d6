"""The heads of HTTP/2 messages, once HPACK has been undone: lists of fields to heads.

Layer: wire. Knows pseudo-header fields and what HTTP/2 forbids. Knows no frames and no streams.
Spec:  https://www.rfc-editor.org/rfc/rfc9113#section-8

There are two ways to be wrong. What RFC 9113 calls malformed ends the stream (`Malformed`): nobody
who means well sends it. What is well-formed but not for this server gets an answer: the rules, and
the statuses, are those of HTTP/1.1 (`heads`), so that no request is read in two ways.
"""

import re
from itertools import chain

from hpack import NeverIndexedHeaderTuple

from rawproxy.errors import HttpError, WireError
from rawproxy.wire.fields import is_token
from rawproxy.wire.h2.blocks import FIELD_OVERHEAD
from rawproxy.wire.heads import LONGEST_REPEATED, say_again
from rawproxy.wire.http import Alike, Fields, RequestHead, ResponseHead
from rawproxy.wire.http1 import Limits
from rawproxy.wire.outgoing import check_request, check_status, write_fields
from rawproxy.wire.terms import Terms, check_host, pick_telling, read_length, read_terms

__all__ = [
    "Malformed",
    "RequestHeads",
    "check_trailers",
    "read_request",
    "read_response",
    "read_status",
    "write_request",
    "write_response",
]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9a-z]++"
_VALUE = rb"(?:[!-~\x80-\xff]++(?:[\t ]++[!-~\x80-\xff]++)*+)?+"
# Names and values, a line each: a value may hold a colon, so that would not tell them apart.
_FIELDS = re.compile(rb"(?:%b\n%b\n)*+" % (_TOKEN, _VALUE))
# What RFC 9113 8.2.1 calls malformed; other control characters are only refused.
_MALFORMED_NAME = re.compile(rb"[\x00-\x20A-Z\x7f-\xff:]|\A\Z")
_MALFORMED_VALUE = re.compile(rb"[\x00\r\n]|\A[\t ]|[\t ]\Z")

_TARGET = re.compile(rb"/[!\"$-~]*+")
_STATUS = re.compile(rb"[1-9][0-9]{2}")

_REQUEST_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = (b":method", b":scheme", b":path")
_RESPONSE_PSEUDO = frozenset({b":status"})
_NO_PSEUDO: frozenset[bytes] = frozenset()

_OF_THE_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Fields that HTTP/2 does not have: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2"""

# `te` says that its sender reads trailers, and we drop them.
_NOT_SENT = _OF_THE_CONNECTION | {b"te", b"host"}

_NOT_TO_BE_INDEXED = frozenset({
    b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"api-key",
    b"x-goog-api-key", b"x-amz-security-token",
})  # fmt: skip


class Malformed(WireError):
    """A message that RFC 9113 calls malformed: its stream ends with PROTOCOL_ERROR."""


class RequestHeads:
    """Reads the heads of one connection's requests.

    A client says the same in each of them, but for the length of the body: the second one is only compared.

    Args:
        limits: of each head.

    Attributes:
        alike: the last head's; the one before has the same if it said the same.
    """

    __slots__ = ("_at", "_fields", "_head", "_limits", "_place", "_terms", "alike")

    def __init__(self, limits: Limits) -> None:
        self.alike = Alike()
        self._limits = limits
        self._head: RequestHead | None = None  # the one before; None: it is not compared
        self._terms = Terms(0, keep_alive=True)
        self._fields: Fields = []  # as HPACK gave them
        self._at = self._place = 0  # which of these, and of the head's, is Content-Length

    def read(self, fields: Fields) -> tuple[RequestHead, Terms]:
        """Read a head: see `read_request`."""
        before, at = self._head, self._at
        if before is not None and _say_the_same(fields, self._fields, at):
            _check_size(fields, self._limits)
            again = say_again(before, self._terms, self._place, fields[at][1])
            if again is not None:
                return again
        self._head = None
        self.alike = Alike()
        head, terms = read_request(fields, self._limits)
        if terms.length is not None and terms.refusal is None:
            self._remember(fields, head, terms)
        return head, terms

    def _remember(self, fields: Fields, head: RequestHead, terms: Terms) -> None:
        lengths = [field for field in fields if field[0] == b"content-length"]
        if len(lengths) == 1 and _bytes_of(fields) <= LONGEST_REPEATED:
            self._fields, self._head, self._terms = fields, head, terms
            self._at, self._place = fields.index(lengths[0]), head.fields.index(lengths[0])


def _say_the_same(fields: Fields, before: Fields, at: int) -> bool:
    """Whether they are the same but for the value at `at`."""
    return (
        len(fields) == len(before)
        and fields[at][0] == before[at][0]
        and fields[:at] == before[:at]
        and fields[at + 1 :] == before[at + 1 :]
    )


def read_request(fields: Fields, limits: Limits) -> tuple[RequestHead, Terms]:
    """Read a request's head. `:authority` becomes the first field, `host`.

    Args:
        fields: as HPACK gave them.
        limits: `head_bytes` counts 32 bytes for each field beside its name and value.

    Raises:
        Malformed: by RFC 9113.
        HttpError: `status` is what to answer; as for HTTP/1.1.
    """
    _check_size(fields, limits)
    pseudo, rest = _split(fields, _REQUEST_PSEUDO)
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        if pseudo.keys() != {b":method", b":authority"}:
            raise Malformed("CONNECT has a method and an authority, and nothing else")
        raise HttpError("this server opens no tunnels", status=501)
    if any(name not in pseudo for name in _REQUIRED) or not pseudo[b":path"]:
        raise Malformed("a request has a method, a scheme and a path")
    target = pseudo[b":path"]
    _check_start(method, pseudo[b":scheme"], target)
    head = _with_host(pseudo.get(b":authority"), rest)
    telling = pick_telling(head)
    check_host(telling.get(b"host", []), b"2")
    return RequestHead(method, target, _join_cookies(head), b"2"), read_terms(telling, b"2")


def read_status(fields: Fields) -> int:
    """Return the status of a response's head, whose fields are then read by `read_response`.

    Raises:
        Malformed: there is none, or it is no three digits.
    """
    value = fields[0][1] if fields and fields[0][0] == b":status" else b""
    if not _STATUS.fullmatch(value):
        raise Malformed("a response without a status")
    return int(value)


def read_response(fields: Fields, limits: Limits) -> tuple[ResponseHead, int | None]:
    """Read a response's head; return it and its content-length, None without one.

    Raises:
        Malformed: by RFC 9113.
        HttpError: it breaks a rule of HTTP, or a limit.
    """
    _check_size(fields, limits)
    status = read_status(fields)
    _, rest = _split(fields, _RESPONSE_PSEUDO)
    return ResponseHead(status, rest, b"2"), read_length(pick_telling(rest), b"2")


def check_trailers(fields: Fields, limits: Limits) -> None:
    """Check a trailer section, which is then dropped.

    Raises:
        Malformed: by RFC 9113.
        HttpError: it breaks a rule of HTTP, or a limit.
    """
    _check_size(fields, limits)
    _split(fields, _NO_PSEUDO)


def write_request(head: RequestHead, scheme: bytes) -> list[tuple[bytes, bytes]]:
    """Return what HPACK is to encode for a request; its `host` becomes `:authority`.

    Raises:
        HttpError: 500, a part would not be read as what it is.
    """
    check_request(head.method, head.target)
    authorities = [value for name, value in head.fields if name == b"host"]
    if len(authorities) != 1:
        raise HttpError("a request is written with one Host", status=500)
    pseudo = [
        (b":method", head.method),
        (b":scheme", scheme),
        (b":authority", authorities[0]),
        (b":path", head.target),
    ]
    return pseudo + _write(head.fields)


def write_response(status: int, fields: Fields) -> list[tuple[bytes, bytes]]:
    """Return what HPACK is to encode for a response.

    Raises:
        HttpError: 500, a part would not be read as what it is.
    """
    check_status(status)
    return [(b":status", b"%d" % status), *_write(fields)]


def _bytes_of(fields: Fields) -> int:
    return sum(map(len, chain.from_iterable(fields)))


def _check_size(fields: Fields, limits: Limits) -> None:
    size = _bytes_of(fields) + FIELD_OVERHEAD * len(fields)
    if size > limits.head_bytes:
        raise HttpError(f"header fields have passed {limits.head_bytes} bytes", status=431)
    most = limits.head_fields
    if len(fields) > most and sum([not name.startswith(b":") for name, _ in fields]) > most:
        raise HttpError(f"more than {limits.head_fields} header fields", status=431)


def _split(fields: Fields, allowed: frozenset[bytes]) -> tuple[dict[bytes, bytes], Fields]:
    """Return the pseudo-header fields and the others, both checked."""
    pseudo: dict[bytes, bytes] = {}
    for name, value in fields:
        if not name.startswith(b":"):
            break
        if name not in allowed or name in pseudo:
            raise Malformed("a pseudo-header field that may not be here, or is here twice")
        if _MALFORMED_VALUE.search(value):
            raise Malformed("a pseudo-header field with a line end, or blanks around it")
        pseudo[name] = value
    rest = fields[len(pseudo) :]
    _check_fields(rest)
    return pseudo, rest


def _check_fields(fields: Fields) -> None:
    lines = b"".join([b"%b\n%b\n" % field for field in fields])
    if not _FIELDS.fullmatch(lines) or lines.count(b"\n") != 2 * len(fields):
        for name, value in fields:
            if _MALFORMED_NAME.search(name) or _MALFORMED_VALUE.search(value):
                raise Malformed("a field that HTTP/2 does not allow")
        raise HttpError("a header field is malformed")
    for name, value in fields:
        if name in _OF_THE_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise Malformed("a field that is about one HTTP/1.1 connection")


def _check_start(method: bytes, scheme: bytes, target: bytes) -> None:
    if not is_token(method):
        raise HttpError("the method is malformed")
    if scheme.lower() not in (b"http", b"https"):
        raise HttpError("the scheme is neither http nor https")
    if not _TARGET.fullmatch(target) and (target != b"*" or method != b"OPTIONS"):
        raise HttpError("the request target is malformed")


def _with_host(authority: bytes | None, fields: Fields) -> Fields:
    """Return the fields with `host` in front, which is what `:authority` means.

    Source: https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1
    """
    hosts = [field for field in fields if field[0] == b"host"]
    if authority is None:
        return [*hosts, *(field for field in fields if field[0] != b"host")] if hosts else fields
    if not hosts:
        return [(b"host", authority), *fields]
    if len(hosts) > 1 or hosts[0][1].lower() != authority.lower():
        raise HttpError("the Host field and the authority differ")
    return [(b"host", authority), *(field for field in fields if field[0] != b"host")]


def _join_cookies(fields: Fields) -> Fields:
    """Undo the cutting of cookies: https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3"""
    cookies = [value for name, value in fields if name == b"cookie"]
    if len(cookies) < 2:
        return fields
    joined = (b"cookie", b"; ".join(cookies))
    return [*(field for field in fields if field[0] != b"cookie"), joined]


def _write(fields: Fields) -> list[tuple[bytes, bytes]]:
    """Return what may be sent of `fields`. Secrets are kept out of the table that fields share."""
    names, _ = write_fields(fields)
    if _NOT_SENT.isdisjoint(names) and _NOT_TO_BE_INDEXED.isdisjoint(names):
        return [(name, value.strip(b" \t")) for name, value in fields]
    return [
        NeverIndexedHeaderTuple(name, value.strip(b" \t"))
        if name in _NOT_TO_BE_INDEXED
        else (name, value.strip(b" \t"))
        for name, value in fields
        if name not in _NOT_SENT
    ]
