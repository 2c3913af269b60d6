"""One client connection on HTTP/2: a task for each request, one that reads and one that writes.

Layer: net. Spec: https://www.rfc-editor.org/rfc/rfc9113. What a stream may do is `wire.http2`'s to say;
how its bytes share the connection is `mux`'s.
"""

import logging
import math
from collections.abc import Callable
from contextlib import suppress

import trio

from rawproxy.errors import HttpError, WireError
from rawproxy.net.body import collect
from rawproxy.net.conn import Conn
from rawproxy.net.mux import INTERNAL_ERROR, NO_ERROR, Lane, LaneReset, Mux
from rawproxy.net.response import ClientGone, Request, Response, Serving
from rawproxy.wire.http import Fields, RequestHead
from rawproxy.wire.http1 import Limits as HeadLimits
from rawproxy.wire.http2 import Http2Server, Refused

__all__ = ["Http2Downstream", "Http2Response"]

_log = logging.getLogger("rawproxy")

GOODBYE_SECONDS = 1.0
"""How long a drained connection without streams waits for the answer to its PING before it closes."""


class Http2Response(Response):
    """The writing side of one exchange on HTTP/2.

    Args:
        lane: its stream.
        wire: writes its head.
        head: of the request.
        write_seconds: how long an answer outside of any exchange may take.
    """

    def __init__(
        self, lane: Lane, wire: Http2Server, head: RequestHead, *, write_seconds: float
    ) -> None:
        super().__init__(lane, b"".join, head, keep_alive=True, write_seconds=write_seconds)
        self._lane = lane
        self._wire = wire

    def _whole(self, status: int, fields: Fields, body: bytes) -> bytes:
        self._lane.finish()
        return self._head(status, fields) + body

    def _head(self, status: int, fields: Fields) -> bytes:
        if self._lane.code is None:
            self._wire.head(self._lane.number, status, fields, end=False)
        return b""

    def _last(self, parts: list[bytes]) -> bytes:
        self._lane.finish()
        return b"".join(parts)

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left` when the client has given the stream up, or has left altogether."""
        self._lane.on_lost = left
        if self._lane.code is not None:
            left()

    def unwatch(self) -> None:
        """Look at the client no more."""
        self._lane.on_lost = None


class Http2Downstream:
    """One client connection.

    Args:
        conn: the connection, after its TLS handshake.
        serving: what it works with; the handler is cancelled when the connection ends.
    """

    def __init__(self, conn: Conn, serving: Serving) -> None:
        self.conn = conn
        self._serving = serving
        self._limits = limits = serving.limits
        self._wire = Http2Server(
            HeadLimits(limits.head_bytes, limits.head_fields, limits.body_bytes),
            streams=limits.streams_per_connection,
            requests=limits.requests_per_connection,
            now=trio.current_time(),
        )
        self._mux = Mux(conn, self._wire, self._begin, limits.write_seconds)
        self._reading = trio.CancelScope()
        self._debt: int | None = None  # the frame that has begun and is not whole
        self._debt_since = 0.0
        self._idle_since: float | None = None
        self._streams: trio.Nursery | None = None

    async def serve(self) -> None:
        """Serve requests until one side closes."""
        try:
            async with trio.open_nursery() as both:
                both.start_soon(self._write)
                self._mux.flush()
                async with trio.open_nursery() as self._streams:
                    await self._read()
                    self._mux.lose()
                both.cancel_scope.cancel()
        finally:
            self.conn.close()

    def drain(self) -> None:
        """Take no new requests, and close when those that run are done."""
        self._wire.drain(trio.current_time())
        self._mux.flush()
        self._rearm()

    # -- the connection

    async def _read(self) -> None:
        """Read until the client has left, broke the protocol, took too long, or nothing is left to do."""
        with self._reading, suppress(trio.TooSlowError):
            try:
                while not self._wire.done and await self._mux.read(self._until()):
                    pass
            except (OSError, WireError) as error:
                _log.debug("an HTTP/2 connection ended: %s", error)
                return
        if not self._wire.done:
            # The second time tells the last request that was taken (RFC 9113 6.8).
            self.drain()
            self.drain()

    async def _write(self) -> None:
        try:
            await self._mux.write()
        except OSError:
            self._reading.cancel()

    def _rearm(self) -> None:
        """Set how long the read that waits may do so from now on."""
        self.conn.hurry(self._until())
        if self._wire.done:
            self._reading.cancel()

    def _until(self) -> float:
        """Return how long the client may let us wait."""
        now, limits = trio.current_time(), self._limits
        until = math.inf
        if self._wire.unfinished != self._debt:
            self._debt, self._debt_since = self._wire.unfinished, now
        if self._debt is not None:
            until = self._debt_since + limits.head_seconds
        self._idle_since = None if self._mux.lanes else (self._idle_since or now)
        if self._idle_since is not None:
            patience = GOODBYE_SECONDS if self._wire.draining else limits.idle_seconds
            until = min(until, self._idle_since + patience)
        return until

    # -- streams

    def _begin(self, number: int, event: RequestHead | Refused) -> None:
        assert self._streams is not None
        lane = self._mux.open(number)
        if isinstance(event, Refused):
            lane.on(event)
            self._streams.start_soon(self._stream, lane, RequestHead(b"GET", b"/", [], b"2"))
        else:
            self._streams.start_soon(self._stream, lane, event)

    async def _stream(self, lane: Lane, head: RequestHead) -> None:
        """Serve one request. Whatever escapes from it ends here: other streams go on."""
        limit = self._limits.write_seconds
        response = Http2Response(lane, self._wire, head, write_seconds=limit)
        code = INTERNAL_ERROR
        try:
            with self._serving.room.share() as share:
                try:
                    body = await collect(lane.receive, self._limits, share)
                except HttpError as error:
                    await self._serving.refuse(error, head, response)
                else:
                    await self._serving.handler(Request(head, body, self.conn.peer), response)
            code = NO_ERROR  # what the client has not sent yet of its body is not wanted
        except (ClientGone, LaneReset):
            pass
        except Exception:
            _log.exception("a stream ended by a fault of ours")
        finally:
            self._mux.forget(lane, code)
            self._rearm()
