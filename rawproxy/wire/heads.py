"""The heads of HTTP/1.1 messages, read strictly: start line, fields, and what they say of the body.

Layer: wire. Knows one head at a time. Knows neither bodies (`bodies`) nor connections (`http1`).
Spec:  https://www.rfc-editor.org/rfc/rfc9112, the strict choice wherever it leaves one.

Two proxies that read one head differently can be talked into handing a request to the wrong
party. So what is doubtful is refused, never mended: both framings at once, a framing field twice,
folded lines, bare line ends, blanks before a colon.

The common head is read line by line, and most of its lines were read before: 4 us for a request
with fifteen fields, where h11 needs 33. Any other head has to keep the same rules and then please
h11 too. The rules come first, because h11 is laxer in several of them.
"""

import re

from rawproxy.errors import HttpError
from rawproxy.wire.fields import host_name, read_content_length
from rawproxy.wire.http import Alike, Fields, RequestHead, ResponseHead
from rawproxy.wire.terms import (
    Terms,
    check_host,
    pick_telling,
    read_response_terms,
    read_terms,
)

__all__ = [
    "FIELD_LINES",
    "LONGEST_KNOWN",
    "LONGEST_REPEATED",
    "MOST_KNOWN",
    "RequestHeads",
    "Section",
    "check_with_h11",
    "read_request_head",
    "read_response_head",
    "take_section",
]

# Possessive throughout (`++`): no head can make the engine go back, so the time is linear.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"

# HTTP/1.1, the usual methods, origin-form, and no obs-text (bytes above 0x7f) in any value.
_COMMON_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS) (/[!\"$-~]*+) HTTP/1\.1")
_COMMON_RESPONSE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\t -~]*+")
_COMMON_LINE = re.compile(rb"(%b):([\t -~]*+)" % _TOKEN)

_REPEATED = frozenset({
    b"accept", b"accept-encoding", b"accept-language", b"access-control-expose-headers", b"alt-svc",
    b"anthropic-beta", b"anthropic-version", b"cache-control", b"connection", b"content-type", b"date",
    b"host", b"openai-beta", b"openai-version", b"server", b"strict-transport-security",
    b"transfer-encoding", b"user-agent", b"vary", b"x-app", b"x-content-type-options",
    b"x-stainless-arch", b"x-stainless-async", b"x-stainless-lang", b"x-stainless-os",
    b"x-stainless-package-version", b"x-stainless-read-timeout", b"x-stainless-retry-count",
    b"x-stainless-runtime", b"x-stainless-runtime-version", b"x-stainless-timeout",
})  # fmt: skip
"""Fields that come again and again in the same words, and that no secret and no prompt stands in."""

MOST_KNOWN = 1024
"""Lines that are remembered: those of some dozens of programs, in half a MiB at most."""

LONGEST_KNOWN = 128
"""Bytes of a line that is remembered."""

LONGEST_REPEATED = 2048
"""Bytes of a head that is kept to be compared with the next one; each connection keeps one."""

_LENGTH_LINE = re.compile(rb"\r\ncontent-length:[\t ]*+([0-9]++)[\t ]*+(?=\r\n|\Z)", re.IGNORECASE)

_known: dict[bytes, tuple[bytes, bytes]] = {}
"""Lines that were read before. All heads share their fields: an exchange keeps its head for minutes."""

_Common = tuple[tuple[bytes, ...], Fields]

FIELD_LINES = re.compile(rb"(?:\r\n%b:[\t -~\x80-\xff]*+)*+" % _TOKEN)
"""All that may follow a start line, or the size line of the last chunk, up to the blank line."""

_REQUEST_LINE = re.compile(rb"(%b) ([!\"$-~]++) HTTP/([0-9]\.[0-9])" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*+)?")
_ABSOLUTE_FORM = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]++)(.*+)")

# Wrong in any head, however it goes on: a control character, or a line end that is not CRLF.
_NEVER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")

_BLANK_LINE = b"\r\n\r\n"


def take_section(data: bytes, limit: int) -> tuple[bytes, bytes] | None:
    """Return the section that `data` begins with, as `Section.feed` does; None where it has no end yet."""
    end = data.find(_BLANK_LINE, 0, limit)
    return (data[:end], data[end + len(_BLANK_LINE) :]) if end >= 0 else None


class Section:
    """Gathers lines up to a blank line: a head, or a trailer section.

    Args:
        limit: bytes, the blank line included.
    """

    __slots__ = ("_held", "_limit", "_scanned")

    def __init__(self, limit: int) -> None:
        self._held = bytearray()
        self._limit = limit
        self._scanned = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self._held)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the section, without its blank line, and what follows it; None before its end.

        Raises:
            HttpError: 431 past the limit; 400 as soon as a byte is wrong in any section.
        """
        held = self._held
        if not held and (found := take_section(data, self._limit)) is not None:
            return found
        held += data
        # The search steps back over a blank line of which three bytes were here already.
        end = held.find(_BLANK_LINE, max(0, self._scanned - 3), self._limit)
        if end >= 0:
            whole = self.take()
            return whole[:end], whole[end + len(_BLANK_LINE) :]
        if len(held) >= self._limit:
            raise HttpError(f"header lines have passed {self._limit} bytes", status=431)
        # A peer whose lines end in LF would otherwise be told so only when its time is up.
        if _NEVER.search(held, max(0, self._scanned - 1)):
            raise HttpError("a control character or a bare line end among header lines")
        self._scanned = len(held)
        return None

    def hold(self, data: bytes) -> None:
        """Keep bytes of the next section without looking at them."""
        self._held += data

    def take(self) -> bytes:
        """Return the bytes held, and forget them."""
        held = bytes(self._held)
        self._held.clear()
        self._scanned = 0
        return held


class RequestHeads:
    """Reads the heads of one connection's requests.

    A client says the same in each of them, but for the length of the body: from the second one on it
    is only compared, which takes a tenth of the time.

    Args:
        max_fields: how many fields there may be.

    Attributes:
        alike: the last head's; the one before has the same if it said the same.
    """

    __slots__ = ("_at", "_end", "_head", "_max_fields", "_start", "_terms", "alike")

    def __init__(self, max_fields: int) -> None:
        self.alike = Alike()
        self._max_fields = max_fields
        self._head: RequestHead | None = None  # the one before
        self._terms = Terms(0, keep_alive=True)
        self._start = b""  # what stood before the digits of its Content-Length; b"": not known
        self._end = b""  # what stood behind them
        self._at = 0  # which of its fields that is

    def read(self, head: bytes) -> tuple[RequestHead, Terms]:
        """Read a head: see `read_request_head`."""
        before, start = self._head, self._start
        if before is not None and start and head.startswith(start) and head.endswith(self._end):
            digits = head[len(start) : len(head) - len(self._end)]
            again = say_again(before, self._terms, self._at, digits)
            if again is not None:
                return again
        self.alike = Alike()
        found, terms = read_request_head(head, max_fields=self._max_fields)
        self._start = b""
        if before is not None and terms.refusal is None and len(head) <= LONGEST_REPEATED:
            self._remember(head, found.fields)  # the second one: more will come
        self._head, self._terms = found, terms
        return found, terms

    def _remember(self, head: bytes, fields: Fields) -> None:
        match = _LENGTH_LINE.search(head)
        if match is not None and (b"content-length", match[1]) in fields:
            self._start, self._end = head[: match.start(1)], head[match.end(1) :]
            self._at = fields.index((b"content-length", match[1]))


def say_again(
    head: RequestHead, terms: Terms, at: int, digits: bytes
) -> tuple[RequestHead, Terms] | None:
    """Return a head that says the same as `head`, but for its Content-Length; None where `digits` are none.

    Args:
        head: the one before.
        terms: what it says.
        at: which of its fields is Content-Length.
        digits: what that says now.
    """
    length = read_content_length(digits)
    if length is None:
        return None
    fields = head.fields.copy()
    fields[at] = (b"content-length", digits)
    again = RequestHead(head.method, head.target, fields, head.version)
    return again, Terms(length, terms.keep_alive, terms.expects_continue)


def read_request_head(head: bytes, *, max_fields: int) -> tuple[RequestHead, Terms]:
    """Read a request's head.

    A target in absolute-form becomes its origin-form, and its authority replaces `Host`.

    Args:
        head: the lines from the request line on, without the blank line.
        max_fields: how many fields there may be.

    Raises:
        HttpError: 400 for bad syntax or doubtful framing, 431 for too many fields, 501 for a
            transfer coding other than chunked, 505 for a version other than 1.0 and 1.1.
    """
    lines = head.split(b"\r\n")
    common = _read_common(_COMMON_REQUEST, lines)
    if common is not None:
        (method, target), fields = common
        version = b"1.1"
    else:
        method, target, version = _read_request_line(head)
        fields = _split_fields(lines)
    if len(fields) > max_fields:
        raise HttpError(f"more than {max_fields} header fields", status=431)
    telling = pick_telling(fields)
    check_host(telling.get(b"host", []), version)
    terms = read_terms(telling, version)
    if common is None:
        check_with_h11(head, response=False)
        target, fields = _resolve_target(method, target, fields)
    return RequestHead(method, target, fields, version), terms


def read_response_head(head: bytes, *, max_fields: int) -> tuple[ResponseHead, Terms]:
    """Read a response's head, interim responses included. Its reason phrase is dropped.

    Args:
        head: the lines from the status line on, without the blank line.
        max_fields: how many fields there may be.

    Raises:
        HttpError: as for a request, but for what only requests have.
    """
    lines = head.split(b"\r\n")
    common = _read_common(_COMMON_RESPONSE, lines)
    if common is not None:
        (digits,), fields = common
        status, version = int(digits), b"1.1"
    else:
        status, version = _read_status_line(head)
        fields = _split_fields(lines)
    if len(fields) > max_fields:
        raise HttpError(f"more than {max_fields} header fields", status=431)
    terms = read_response_terms(fields, version)
    if common is None:
        check_with_h11(head, response=True)
    return ResponseHead(status, fields, version), terms


def check_with_h11(head: bytes, *, response: bool) -> None:
    """Refuse what h11 refuses.

    Raises:
        HttpError: 400. h11's own words are not passed on, because they quote the head.
    """
    import h11  # 5 ms, and nearly all heads are common

    connection = h11.Connection(h11.CLIENT if response else h11.SERVER)
    if response:
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "upstream")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(head + _BLANK_LINE)
    try:
        connection.next_event()
    except h11.RemoteProtocolError:
        raise HttpError("the head breaks a rule of HTTP") from None


def _read_request_line(head: bytes) -> tuple[bytes, bytes, bytes]:
    """Return method, target and version of an uncommon head, once its lines keep the rules."""
    line, _, _ = head.partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise HttpError("the request line is malformed")
    method, target, version = match.groups()
    _check_lines(head, len(line), version)
    return method, target, version


def _read_status_line(head: bytes) -> tuple[int, bytes]:
    line, _, _ = head.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise HttpError("the status line is malformed")
    _check_lines(head, len(line), match[1])
    return int(match[2]), match[1]


def _check_lines(head: bytes, start: int, version: bytes) -> None:
    if version not in (b"1.0", b"1.1"):
        raise HttpError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
    if not FIELD_LINES.fullmatch(head, start):
        raise HttpError("a header line is malformed")


def _read_common(start: re.Pattern[bytes], lines: list[bytes]) -> _Common | None:
    """Return what is in a start line of the form `start`, and the fields after it.

    None when one of the lines is uncommon.
    """
    match = start.fullmatch(lines[0])
    if match is None:
        return None
    known = _known.get
    try:
        return match.groups(), [known(line) or _common_field(line) for line in lines[1:]]
    except _UncommonError:
        return None


class _UncommonError(Exception):
    """A line is not of the common form; whether it is allowed is for others to say."""


def _common_field(line: bytes) -> tuple[bytes, bytes]:
    match = _COMMON_LINE.fullmatch(line)
    if match is None:
        raise _UncommonError
    name, value = match.groups()
    field = name.lower(), value.strip(b" \t")
    if field[0] in _REPEATED and len(line) <= LONGEST_KNOWN:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[line] = field
    return field


def _split_fields(lines: list[bytes]) -> Fields:
    """Return the fields of a head whose lines have been checked; the first one is its start line."""
    pairs = [line.partition(b":") for line in lines[1:]]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]


def _resolve_target(method: bytes, target: bytes, fields: Fields) -> tuple[bytes, Fields]:
    """Source: https://www.rfc-editor.org/rfc/rfc9112#section-3.2"""
    if method == b"CONNECT":
        raise HttpError("this server opens no tunnels", status=501)
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, fields
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None or host_name(match[1]) is None:
        raise HttpError("the request target is malformed")
    authority, rest = match.groups()
    if not rest and method == b"OPTIONS":
        rest = b"*"
    elif not rest.startswith(b"/"):
        rest = b"/" + rest
    others = [field for field in fields if field[0] != b"host"]
    return rest, [(b"host", authority), *others]
