"""One upstream connection on HTTP/1.1: a request at a time.

Layer: net. Spec: https://www.rfc-editor.org/rfc/rfc9112.
"""

from contextlib import suppress
from typing import Protocol

import trio

from rawproxy.errors import (
    HttpError,
    NotProcessed,
    UpstreamCut,
    UpstreamError,
    UpstreamNonsense,
    WireError,
)
from rawproxy.net.conn import Conn
from rawproxy.net.pump import Taker
from rawproxy.wire.http import Body, Fields, HttpEvent, ResponseHead
from rawproxy.wire.http1 import Limits, RequestStart, ResponseReader

__all__ = ["RESPONSE_LIMITS", "Home", "Http1Link", "Http1Reply"]

RESPONSE_LIMITS = Limits(head_bytes=65536, head_fields=200)
"""Upstreams send more fields than clients do, rate limits above all."""

_BROKEN = "the upstream's connection broke"
_STALE = "the upstream closed an idle connection"


class Home(Protocol):
    """Where connections to one place wait for their next request."""

    def keep(self, link: "Http1Link") -> None:
        """Take one that is fit for another request."""
        ...

    def lose(self, link: "Http1Link") -> None:
        """Learn that one that waits is no good any more."""
        ...

    def drop(self, link: "Http1Link") -> None:
        """Close one. Dropping it again does nothing."""
        ...


class Http1Link:
    """A connection and the reader of its current response.

    Args:
        conn: the connection.
        home: where it goes after each response.

    Attributes:
        idle_since: when it went there.
        used: it was there before: its peer may have closed it meanwhile.
    """

    __slots__ = ("_home", "conn", "idle_since", "reader", "used")

    def __init__(self, conn: Conn, home: Home) -> None:
        self.conn = conn
        self._home = home
        self.reader = ResponseReader(RESPONSE_LIMITS)
        self.idle_since = 0.0
        self.used = False

    def rest(self) -> None:
        """Wait for the next request. A peer that closes or speaks before that is let go of at once."""
        self.conn.take(self._on_news)

    def rise(self) -> None:
        """Be ready for a request again."""
        self.conn.leave()
        self.used = True
        self.reader = ResponseReader(RESPONSE_LIMITS)

    def _on_news(self) -> None:
        try:
            data = self.conn.receive_now()
        except (OSError, WireError):
            data = b""
        if data is not None:  # TLS may have had something to say that is none of ours
            self._home.lose(self)

    async def ask(self, start: RequestStart, body: bytes) -> "Http1Reply":
        """Send a request; return its response once the head has come. Raises as `reply`."""
        self.begin(start, body)
        self.send_now()
        return await self.reply()

    def begin(self, start: RequestStart, body: bytes) -> "Http1Link":
        """Write a request, which `send_now` sends, and `reply` as far as that has not; return the link."""
        try:
            self.conn.hold(start.write(body))
        except BaseException:
            self._home.drop(self)
            raise
        return self

    def take(self, taker: Taker | None) -> None:
        """Call `taker` each time that there is something to read; None: nobody any more."""
        if taker is None:
            self.conn.leave()
        else:
            self.conn.take(taker)

    def send_now(self) -> bool:
        """Send what waits of the request, as far as the kernel takes it now; False when some still waits."""
        try:
            return self.conn.send_now(b"")
        except OSError:  # it may have answered before it closed: reading tells
            return True

    async def reply(self) -> "Http1Reply":
        """Return the response to the request that was begun, once its head has come.

        Raises:
            NotProcessed: a pooled connection was closed before any byte of a response: the request
                was not processed, or at worst not answered by anyone (RFC 9110 9.2.2).
            UpstreamError: anything else that went wrong.
        """
        try:
            return await (self._while_sending() if self.conn.pending else self._read_head())
        except BaseException as error:
            self._home.drop(self)
            if self._is_stale(error):
                raise NotProcessed(_STALE) from error
            raise

    def reply_now(self) -> "Http1Reply | None":
        """Do as `reply`, with what one read gives now; None where the head is not whole with it.

        After NotProcessed it is `reply` that has to be asked: it raises the same.
        """
        try:
            try:
                data = self.conn.receive_now()
            except (OSError, WireError) as error:
                raise UpstreamCut(_BROKEN) from error
            return None if data is None else self._head_in(data)
        except BaseException as error:
            if self._is_stale(error):
                raise NotProcessed(_STALE) from error
            self._home.drop(self)
            raise

    def _is_stale(self, why: BaseException) -> bool:
        return isinstance(why, UpstreamCut) and self.used and not self.reader.started

    async def _while_sending(self) -> "Http1Reply":
        """Read the head; some upstreams answer before they have read it all, and then read no more."""
        failure: UpstreamError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_rest)
            try:
                return await self._read_head()
            except UpstreamError as error:  # a nursery would wrap it
                failure = error
            finally:
                nursery.cancel_scope.cancel()
        raise failure

    async def _read_head(self) -> "Http1Reply":
        reply = None
        while reply is None:
            reply = self._head_in(await self.receive())
        return reply

    def _head_in(self, data: bytes) -> "Http1Reply | None":
        """Return the response whose head `data`, or the end, completes."""
        try:
            events = self.reader.feed(data) if data else self.reader.close()
        except HttpError as error:
            raise _unsound(data, error) from error
        for at, event in enumerate(events):
            if isinstance(event, ResponseHead):
                return Http1Reply(self, event, events[at + 1 :])
        return None

    async def _send_rest(self) -> None:
        # An error here is no news: the reading side finds out.
        with suppress(OSError):
            while not await self.conn.flush_some():
                pass

    async def receive(self) -> bytes:
        """Return the bytes of one read."""
        try:
            return await self.conn.receive()
        except (OSError, WireError) as error:
            raise UpstreamCut(_BROKEN) from error

    def release(self, *, ended: bool) -> None:
        """Keep the connection, if it is fit for another request."""
        if ended and self.reader.reusable and not self.conn.pending:
            self._home.keep(self)
        else:
            self._home.drop(self)


class Http1Reply:
    """See `Reply`."""

    __slots__ = ("_conn", "_early", "_link", "_reader", "ended", "fields", "pumped", "status")

    def __init__(self, link: Http1Link, head: ResponseHead, rest: list[HttpEvent]) -> None:
        self._link = link
        self._conn = link.conn
        self._reader = link.reader
        first = rest[0] if rest else None
        self._early = first.data if isinstance(first, Body) else b""  # a read gives one at most
        self.status = head.status
        self.fields: Fields = head.fields
        self.ended = False
        self.pumped = link.conn.pumped

    def take(self, taker: Taker | None) -> None:
        self._link.take(taker)

    def held(self) -> bytes | None:
        early, self._early = self._early, b""
        self.ended = self._reader.ended
        return early if early or self.ended else None

    def receive_now(self) -> bytes | None:
        try:
            data = self._conn.receive_now()
        except (OSError, WireError) as error:
            raise UpstreamCut(_BROKEN) from error
        return None if data is None else self._body_of(data)

    def used(self) -> None:
        """The kernel knows by what was read."""

    async def receive(self) -> bytes:
        found = self.held()
        while found is None:
            found = self._body_of(await self._link.receive())
        return found

    def _body_of(self, data: bytes) -> bytes | None:
        """Return what a read holds of the body; None where that is nothing, and more will come."""
        reader, body = self._reader, b""
        try:
            if data:
                body = reader.more(data)
            else:
                reader.close()
        except HttpError as error:
            raise _unsound(data, error) from error
        self.ended = reader.ended
        return body if body or self.ended else None

    def release(self) -> None:
        self._link.release(ended=self.ended)


def _unsound(data: bytes, error: HttpError) -> UpstreamError:
    """Return what is wrong with an upstream whose `data`, or end, broke HTTP."""
    if data:
        return UpstreamNonsense(f"the upstream's HTTP is broken: {error}")
    return UpstreamCut("the upstream closed the connection before its reply was whole")
