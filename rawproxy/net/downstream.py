"""One client connection: reads requests, starts an exchange for each, writes the replies.

Layer: net. HTTP/1.1, one request at a time; requests that were pipelined wait their turn.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio

from rawproxy.errors import HttpError
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Clocks
from rawproxy.net.conn import Conn
from rawproxy.wire.http import Body, End, Fields, HttpEvent, RequestHead
from rawproxy.wire.http1 import (
    CONTINUE,
    LAST_CHUNK,
    RequestReader,
    write_chunk,
    write_response_head,
)
from rawproxy.wire.http1 import Limits as HeadLimits

__all__ = ["ClientGone", "Downstream", "Request", "Response"]

NO_CONTENT = 204

PIPELINED_BYTES = 65536
"""Bytes of later requests that are read while one is served; after them the client has to wait."""


WATCH_SECONDS = 0.25
"""How often a client that has sent too much ahead is looked at: its socket is not read any more."""


class ClientGone(Exception):
    """The client has left. Not an error: a cancelled scope, and an outcome in the Record."""


@dataclass(slots=True)
class Request:
    """One request, whole."""

    head: RequestHead
    body: bytes


class Response:
    """The writing side of one exchange on HTTP/1.1.

    Args:
        conn: the client's connection.
        head: of the request: its version and method decide the framing.
        keep_alive: whether the connection may go on afterwards.
        write_seconds: how long an answer outside of any exchange may take.
    """

    def __init__(
        self, conn: Conn, head: RequestHead, *, keep_alive: bool, write_seconds: float
    ) -> None:
        self._conn = conn
        self._write_seconds = write_seconds
        self._bodiless = head.method == b"HEAD"
        self._chunks = head.version == b"1.1"
        self.keep_alive = keep_alive
        self.clocks: Clocks | None = None
        self.extra: Fields = []
        """Fields that every response of this listener gets (CORS)."""
        self._flushing = False
        self.begun = False
        self.gone = False
        """The client has left, and the reply is read on for its usage: writes go nowhere."""

    async def answer(self, status: int, fields: Fields, body: bytes) -> None:
        """Write a whole response."""
        framed = fields
        if status != NO_CONTENT:  # RFC 9110 8.6: it has no length either
            framed = [*fields, (b"content-length", str(len(body)).encode())]
        self.begun = True
        head = write_response_head(status, self._framed(framed))
        await self._send(head if self._bodiless else head + body)

    async def begin(self, status: int, fields: Fields, parts: list[bytes]) -> None:
        """Write the head, unless it went already, and the first parts, in one write."""
        await self._send(self._beginning(status, fields, parts))

    def begin_now(self, status: int, fields: Fields, parts: list[bytes]) -> None:
        """Do as `begin`, without waiting: what the kernel does not take goes out with the next write."""
        self._push(self._beginning(status, fields, parts))

    async def send(self, parts: list[bytes]) -> None:
        """Write more of the body."""
        await self._send(self._chunk(parts))

    def push(self, parts: list[bytes]) -> bool:
        """Write more of the body without waiting; False when some of it waits for `flush`."""
        return self._put(self._chunk(parts))

    def nudge(self, part: bytes) -> None:
        """Write more of the body without waiting."""
        self._push(self._chunk([part]))

    async def finish(self, parts: list[bytes]) -> None:
        """Write the last parts and end the body cleanly."""
        await self._send(self._chunk(parts) + (LAST_CHUNK if self._chunks else b""))

    def abort(self) -> None:
        """End the body uncleanly: what was sent must not look whole."""
        self.keep_alive = False
        self._conn.abort()

    def retry(self) -> None:
        """Hand the kernel what waits, as far as it takes it now."""
        # While a write waits for room, what it waits for is its own to send.
        if self._conn.pending and not self._flushing:
            self._push(b"")

    @property
    def flushed(self) -> bool:
        """Whether the kernel has taken everything."""
        return not self._conn.pending

    def _beginning(self, status: int, fields: Fields, parts: list[bytes]) -> bytes:
        if self.begun:
            return self._chunk(parts)
        self.begun = True
        if self._chunks:
            fields = [*fields, (b"transfer-encoding", b"chunked")]
        else:
            self.keep_alive = False
        return write_response_head(status, self._framed(fields)) + self._chunk(parts)

    def _framed(self, fields: Fields) -> Fields:
        if not self.keep_alive:
            fields = [*fields, (b"connection", b"close")]
        elif not self._chunks:
            fields = [*fields, (b"connection", b"keep-alive")]
        return [*fields, *self.extra]

    def _chunk(self, parts: list[bytes]) -> bytes:
        return write_chunk(parts) if self._chunks else b"".join(parts)

    def _push(self, data: bytes) -> None:
        with suppress(ClientGone):  # the watcher finds out
            self._put(data)

    async def _send(self, data: bytes) -> None:
        if self.clocks is None:
            await self._send_unclocked(data)
        elif not self._put(data):
            del data
            await self.flush()

    def _put(self, data: bytes) -> bool:
        """Hand `data` to the kernel as far as it takes it now; False when some of it waits."""
        if self.gone:
            return True
        waited = self._conn.pending
        try:
            done = self._conn.send_now(data)
        except OSError as error:
            raise ClientGone from error
        assert self.clocks is not None
        # Bytes that only join others that wait are no progress of the client's.
        if not waited or self._conn.pending < waited + len(data):
            self.clocks.progressed(trio.current_time(), left=not done)
        return done

    async def flush(self) -> None:
        """Return when the kernel has taken everything that waits."""
        assert self.clocks is not None
        self._flushing = True
        try:
            while self._conn.pending:
                before = self._conn.pending
                done = await self._conn.flush_some()
                if self._conn.pending < before:
                    self.clocks.progressed(trio.current_time(), left=not done)
        except OSError as error:
            raise ClientGone from error
        finally:
            self._flushing = False

    async def _send_unclocked(self, data: bytes) -> None:
        """Write an answer of ours, outside of any exchange: it has one limit for all of it."""
        with trio.move_on_after(self._write_seconds) as scope:
            try:
                await self._conn.send(data)
            except OSError as error:
                raise ClientGone from error
        if scope.cancelled_caught:
            raise ClientGone


Handler = Callable[[Request, Response, "Downstream"], Awaitable[None]]


class Downstream:
    """One client connection.

    Args:
        conn: the connection.
        limits: what a client may take.
        handler: serves one request; cancelled when the connection ends.
        refuse: writes the answer to a request that broke HTTP, or a limit.
    """

    def __init__(
        self,
        conn: Conn,
        limits: Limits,
        handler: Handler,
        refuse: Callable[[HttpError, RequestHead, Response], Awaitable[None]],
    ) -> None:
        self.conn = conn
        self._limits = limits
        self._handler = handler
        self._refuse = refuse
        self._reader = RequestReader(
            HeadLimits(limits.head_bytes, limits.head_fields, limits.body_bytes)
        )
        self._events: list[HttpEvent] = []
        self.idle_scope: trio.CancelScope | None = None
        """Set while the connection waits for a request: a drain may cancel it there."""
        self.draining = False
        self._served = False

    async def serve(self) -> None:
        """Serve requests until one side closes."""
        try:
            while not self.draining and await self._one():
                pass
        except (ClientGone, OSError):
            pass
        finally:
            self.conn.close()

    async def _one(self) -> bool:
        """Serve one request; return whether another may follow."""
        try:
            if self._served:
                self._events = self._reader.next()
            request = await self._request()
        except HttpError as error:
            await self._answer_broken(error)
            return False
        self._served = True
        if request is None:
            return False
        keep = self._reader.keep_alive and not self.draining
        response = Response(
            self.conn, request.head, keep_alive=keep, write_seconds=self._limits.write_seconds
        )
        await self._handler(request, response, self)
        return response.keep_alive and not self.conn.closed

    async def _request(self) -> Request | None:
        """Return the next request; None when the client has no more."""
        head = await self._head()
        if head is None:
            return None
        if self._reader.wants_continue and not self._ended():
            await self.conn.send(CONTINUE)
        return Request(head, await self._body())

    async def _head(self) -> RequestHead | None:
        limits = self._limits
        with trio.CancelScope() as scope:
            self.idle_scope = scope
            if self._reader.idle and not self._events:
                scope.deadline = trio.current_time() + limits.idle_seconds
                if not await self._more():
                    return None
            self.idle_scope = None
            # Its first byte is here. From now on the client is in debt.
            scope.deadline = trio.current_time() + limits.head_seconds
            while not self._events:
                if not await self._more():
                    raise HttpError("the connection ended inside a request head")
        if scope.cancelled_caught:
            if self._reader.idle:
                return None
            raise HttpError(f"no whole request head within {limits.head_seconds:g} s", status=408)
        head = self._events.pop(0)
        assert isinstance(head, RequestHead)
        return head

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        began = trio.current_time()
        while True:
            for event in self._events:
                if isinstance(event, Body):
                    parts.append(event.data)
                    size += len(event.data)
            if self._ended():
                return b"".join(parts)
            self._check_rate(size, trio.current_time() - began)
            self._events = []
            with trio.move_on_after(self._limits.body_seconds) as scope:
                if not await self._more():
                    raise HttpError("the connection ended inside a request body")
            if scope.cancelled_caught:
                gap = self._limits.body_seconds
                raise HttpError(f"nothing of the request body came for {gap:g} s", status=408)

    def _ended(self) -> bool:
        return bool(self._events) and isinstance(self._events[-1], End)

    def _check_rate(self, size: int, seconds: float) -> None:
        rate = self._limits.body_rate
        if seconds > self._limits.body_seconds and size < rate * seconds:
            raise HttpError(f"the request body came slower than {rate:g} bytes/s", status=408)

    async def _more(self) -> bool:
        """Read once; False at the end of the connection."""
        data = await self.conn.receive()
        if not data:
            self._reader.close()
            return False
        self._events += self._reader.feed(data)
        return True

    async def watch(self) -> None:
        """Return when the client has left; until then keep what it sends ahead.

        A client that closes its sending side has left: no known client waits for a reply after that.
        """
        try:
            while self._reader.buffered < PIPELINED_BYTES:
                data = await self.conn.receive()
                if not data:
                    return
                self._reader.feed(data)
        except (OSError, HttpError):
            return
        while not self.conn.is_hung_up():  # noqa: ASYNC110 - the kernel knows, and tells nobody
            await trio.sleep(WATCH_SECONDS)

    async def _answer_broken(self, error: HttpError) -> None:
        # Where the head could not be read, its path is not known either.
        head = self._reader.head or RequestHead(b"GET", b"/", [])
        limit = self._limits.write_seconds
        await self._refuse(
            error, head, Response(self.conn, head, keep_alive=False, write_seconds=limit)
        )
