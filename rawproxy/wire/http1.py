"""HTTP/1.1, both sides: bytes to events, and events to bytes.

Layer: wire. Knows messages on one connection. Knows neither sockets nor clocks, and no LLM API.
Spec:  https://www.rfc-editor.org/rfc/rfc9112

`RequestReader` is the server's side, `ResponseReader` the client's; both are feeders, over the
heads of `heads` and the bodies of `bodies`. An error ends a connection: after it a reader only
raises it again, for no later byte can be trusted to mean what its sender meant.

What goes out goes out through the `write_*` functions, always from parts and never from bytes that
came in, and nothing leaves them that could be read as more than one message.
"""

import re
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from rawproxy.errors import HttpError
from rawproxy.wire.bodies import BodyReader, Chunked, Length, UntilClose
from rawproxy.wire.heads import RequestHeads, Section, read_response_head, take_section
from rawproxy.wire.http import Alike, Body, End, Fields, HttpEvent, RequestHead, ResponseHead
from rawproxy.wire.outgoing import check_request, check_status, write_fields
from rawproxy.wire.terms import BODILESS, CHUNKED, FIRST_FINAL, SWITCHING_PROTOCOLS, Terms

__all__ = [
    "CONTINUE",
    "LAST_CHUNK",
    "MAX_INTERIM",
    "Limits",
    "RequestReader",
    "RequestStart",
    "ResponseReader",
    "write_chunk",
    "write_response_head",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response for which a reader that `wants_continue` waits."""

LAST_CHUNK = b"0\r\n\r\n"
"""Ends a body in the chunked coding. Without it the body reads as truncated."""

MAX_INTERIM = 8
"""Interim responses before one response. One or two are usual; a flood must not hold us for ever."""

_NO_LIMIT = 2**64
_NO_CONTENT = 204
_NOT_MODIFIED = 304
_END = End()

# RFC 9112 2.2: lines before a request line that are empty are skipped.
_EMPTY_LINES = re.compile(rb"\A(?:\r\n)++")

# The statuses that proxies and LLM APIs send. A reason may be empty, and nobody should read it.
_REASONS = {
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content", 206: b"Partial Content",
    301: b"Moved Permanently", 302: b"Found", 304: b"Not Modified", 307: b"Temporary Redirect",
    308: b"Permanent Redirect", 400: b"Bad Request", 401: b"Unauthorized",
    402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    406: b"Not Acceptable", 408: b"Request Timeout", 409: b"Conflict", 410: b"Gone",
    411: b"Length Required", 412: b"Precondition Failed", 413: b"Content Too Large",
    415: b"Unsupported Media Type", 416: b"Range Not Satisfiable", 417: b"Expectation Failed",
    421: b"Misdirected Request", 422: b"Unprocessable Content", 424: b"Failed Dependency",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in _REASONS.items()
}
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_NO_BODY_EXPECTED = frozenset({b"GET", b"HEAD"})


class Limits(msgspec.Struct, frozen=True):
    """What a message may take of our memory.

    Attributes:
        head_bytes: bytes of a head, blank line included, and of a trailer section.
        head_fields: number of fields in a head.
        body_bytes: bytes of a request's body, without framing. Responses are not held to it.
    """

    head_bytes: int = 32768
    head_fields: int = 100
    body_bytes: int = 33554432


class RequestReader:
    """Reads the requests of one connection, one at a time.

    `feed` and `next` return a RequestHead, Body events and an End, as they come: at most one Body
    for a read. After the End, the reader keeps what is fed and waits for `next`.

    Args:
        limits: of each request.

    Attributes:
        head: of the last request; it stands also after an error in that request's body.
        ended: a request was read to its end: `next` has to come before the next one.
        keep_alive: the last head allows another request on this connection.
        wants_continue: a head came whose body the client holds back until it gets CONTINUE.
    """

    __slots__ = (
        "_body", "_failure", "_heads", "_limits", "_section", "_skipped", "ended", "head",
        "keep_alive", "wants_continue",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.head: RequestHead | None = None
        self.keep_alive = False
        self.wants_continue = False
        self._limits = limits
        self._heads = RequestHeads(limits.head_fields)
        self._section = Section(limits.head_bytes)
        self._skipped = 0  # bytes of empty lines
        self._body: BodyReader | None = None  # None until the head has come
        self.ended = False
        self._failure: HttpError | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing of a next request has arrived yet; empty lines are nothing."""
        return (self.ended or self._body is None) and not self._section.size

    @property
    def alike(self) -> Alike:
        """What the last head has in common with those before it that said the same."""
        return self._heads.alike

    @property
    def buffered(self) -> int:
        """Bytes kept of requests that have not begun: while it is large, stop reading."""
        return self._section.size if self.ended else 0

    def feed(self, data: bytes) -> list[HttpEvent]:
        """Return the events that `data` completes.

        Raises:
            HttpError: `status` is what to answer before closing. Each further call raises it too.
        """
        if self._failure is not None:
            _raise_again(self._failure)
        try:
            return self._feed(data)
        except HttpError as error:
            self._failure = error
            self.keep_alive = self.wants_continue = False
            raise

    def next(self) -> list[HttpEvent]:
        """Begin the next request with the bytes kept; call it when the response has been written.

        Raises:
            HttpError: as `feed`, if the bytes kept are no request.
        """
        assert self.ended, "the request has not ended"
        self.head = None
        self._body = None
        self.ended = False
        self._skipped = 0
        return self.feed(self._section.take()) if self._section.size else []

    def close(self) -> None:
        """Learn that the client has sent its last byte.

        Raises:
            HttpError: a request was unfinished.
        """
        if self._failure is not None:
            _raise_again(self._failure)
        if not self.ended and not self.idle:
            raise HttpError("the connection ended inside a request")

    def _feed(self, data: bytes) -> list[HttpEvent]:
        if self.ended:
            self._section.hold(data)
            return []
        events: list[HttpEvent] = []
        if self._body is None:
            found = self._section.feed(self._without_empty_lines(data))
            if found is None:
                return events
            lines, data = found
            self.head, terms = self._heads.read(lines)
            events.append(self.head)
            self._begin_body(terms, data)
        elif data:
            self.wants_continue = False
        assert self._body is not None
        body, rest = self._body.take(data)
        if body:
            events.append(Body(body))
        if rest is not None:
            events.append(_END)
            self.ended = True
            if rest:
                self._section.hold(rest)
        return events

    def _without_empty_lines(self, data: bytes) -> bytes:
        size = self._section.size
        if not size and not data.startswith(b"\r"):
            return data
        if size < 2:  # not more than the first half of a CRLF
            data = self._section.take() + data
            if data.startswith(b"\r\n"):
                rest = _EMPTY_LINES.sub(b"", data)
                self._skipped += len(data) - len(rest)
                if self._skipped > self._limits.head_bytes:
                    raise HttpError("too many empty lines before a request", status=431)
                return rest
        return data

    def _begin_body(self, terms: Terms, data: bytes) -> None:
        limits = self._limits
        length = terms.length or 0
        if terms.refusal:
            raise terms.refusal
        if length > limits.body_bytes:
            raise HttpError(f"the body has more than {limits.body_bytes} bytes", status=413)
        if length == CHUNKED:
            self._body = Chunked(max_bytes=limits.body_bytes, max_trailers=limits.head_bytes)
        else:
            self._body = Length(length)
        self.keep_alive = terms.keep_alive
        self.wants_continue = terms.expects_continue and length != 0 and not data


class ResponseReader:
    """Reads the response to one request.

    `feed` and `close` return a ResponseHead, Body events and an End, as they come: at most one
    Body for a read. Interim responses are swallowed.

    Args:
        limits: of the response; `body_bytes` is not looked at.
        head_request: the request was a HEAD, so there is no body whatever the head says.

    Attributes:
        started: at least one byte of a response has arrived.
        ended: all of it has.
    """

    __slots__ = (
        "_body", "_failure", "_head_request", "_interim", "_keep_alive", "_limits", "_section",
        "ended", "started",
    )  # fmt: skip

    def __init__(self, limits: Limits, *, head_request: bool = False) -> None:
        self.started = self.ended = False
        self._limits = limits
        self._head_request = head_request
        self._section: Section | None = None  # of a head that does not come in one read
        self._interim = 0
        self._body: BodyReader | None = None  # None until the head has come
        self._keep_alive = False
        self._failure: HttpError | None = None

    @property
    def reusable(self) -> bool:
        """Whether the response has ended, and the connection is fit for another request."""
        return self.ended and self._keep_alive

    def feed(self, data: bytes) -> list[HttpEvent]:
        """Return the events that `data` completes. Bytes after the End are dropped.

        Raises:
            HttpError: the response breaks a rule or a limit. Each further call raises it too.
        """
        if self._failure is not None:
            _raise_again(self._failure)
        if data:
            self.started = True
        try:
            return self._feed(data)
        except HttpError as error:
            self._failure = error
            raise

    def close(self) -> list[HttpEvent]:
        """Learn that the upstream has sent its last byte; return the End that this may be.

        Raises:
            HttpError: the response was unfinished.
        """
        if self._failure is not None:
            _raise_again(self._failure)
        if self.ended:
            self._keep_alive = False
            return []
        if not isinstance(self._body, UntilClose):
            raise HttpError("the connection ended inside a response")
        self.ended = True
        return [_END]

    def more(self, data: bytes) -> bytes:
        """Return what `data` holds of the body, once the head has come: `feed` without events.

        Raises:
            HttpError: as `feed`.
        """
        if self._failure is not None:
            _raise_again(self._failure)
        assert self._body is not None
        try:
            body, rest = (b"", data) if self.ended else self._body.take(data)
        except HttpError as error:
            self._failure = error
            raise
        if rest is not None:
            self.ended = True
            if rest:
                # Bytes that nobody asked for would be read as the answer to somebody else's request.
                self._keep_alive = False
        return body

    def _feed(self, data: bytes) -> list[HttpEvent]:
        events: list[HttpEvent] = []
        while self._body is None:
            found = self._head_in(data)
            if found is None:
                return events
            lines, data = found
            head, terms = read_response_head(lines, max_fields=self._limits.head_fields)
            self._take_head(head, terms, events)
        before = self.ended
        if body := self.more(data):
            events.append(Body(body))
        if self.ended and not before:
            events.append(_END)
        return events

    def _head_in(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the head that `data` completes, and what follows it; None before its end."""
        if self._section is None:
            found = take_section(data, self._limits.head_bytes)
            if found is not None:
                return found
            self._section = Section(self._limits.head_bytes)
        return self._section.feed(data)

    def _take_head(self, head: ResponseHead, terms: Terms, events: list[HttpEvent]) -> None:
        if head.status >= FIRST_FINAL:
            events.append(head)
            self._body, self._keep_alive = self._body_of(head.status, terms)
            return
        self._interim += 1
        if head.status == SWITCHING_PROTOCOLS or self._interim > MAX_INTERIM:
            raise HttpError("an interim response that was not asked for")
        if terms.length is not None:
            raise HttpError("an interim response has no body")

    def _body_of(self, status: int, terms: Terms) -> tuple[BodyReader, bool]:
        """Return what reads the body, and whether the connection may be used after it.

        Source: https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        """
        if self._head_request or status == _NOT_MODIFIED:
            return Length(0), terms.keep_alive
        if status == _NO_CONTENT:
            # With a length of its own the upstream may mean to send that many bytes.
            return Length(0), terms.keep_alive and not terms.length
        if terms.length is None:
            return UntilClose(), False
        if terms.length == CHUNKED:
            chunked = Chunked(max_bytes=_NO_LIMIT, max_trailers=self._limits.head_bytes)
            return chunked, terms.keep_alive
        return Length(terms.length), terms.keep_alive


class RequestStart:
    """How requests begin that are sent again and again: it is checked and written once, and stays as it is.

    Args:
        method: a token.
        target: in origin-form, or `*`.
        fields: names in lower case, `host` among them once, and no framing field.
    """

    __slots__ = ("_lines", "fields", "method", "target")

    def __init__(self, method: bytes, target: bytes, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self._lines = b""

    def write(self, body: bytes) -> bytes:
        """Return a whole request. Its Content-Length is added, but to a GET or HEAD without body.

        Raises:
            HttpError: 500, a part would not be read as what it is.
        """
        lines = self._lines
        if not lines:
            self._lines = lines = self._written()
        if body or self.method not in _NO_BODY_EXPECTED:
            return b"%bcontent-length: %d\r\n\r\n%b" % (lines, len(body), body)
        return lines + b"\r\n"

    def _written(self) -> bytes:
        names, lines = write_fields(self.fields)
        check_request(self.method, self.target)
        if names.count(b"host") != 1 or not _FRAMING.isdisjoint(names):
            raise HttpError("a request is written with one Host and without framing", status=500)
        return b"%b %b HTTP/1.1\r\n%b" % (self.method, self.target, lines)


def write_response_head(status: int, fields: Fields) -> bytes:
    """Return the head of a response, blank line included.

    Args:
        status: 100 to 999. The reason phrase is the registered one, or empty.
        fields: names in lower case; one framing field at most, or the body ends with the
            connection; none where the status means that there is no body (RFC 9112 6.3).

    Raises:
        HttpError: 500, a part would not be read as what it is.
    """
    names, lines = write_fields(fields)
    framing = sum(map(names.count, _FRAMING))
    if framing > 1:
        raise HttpError("a response is written with one framing field at most", status=500)
    if framing and (status < FIRST_FINAL or status in BODILESS):
        # What it announced would be read as the next response.
        raise HttpError("a response without a body is written without framing", status=500)
    status_line = _STATUS_LINES.get(status)
    if status_line is None:
        check_status(status)
        status_line = b"HTTP/1.1 %d \r\n" % status
    return b"%b%b\r\n" % (status_line, lines)


def write_chunk(parts: Sequence[bytes]) -> bytes:
    """Return one chunk around the joined parts; b"" for none, since an empty chunk ends the body."""
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _raise_again(failure: HttpError) -> NoReturn:
    raise HttpError(str(failure), status=failure.status)
