"""One client connection on HTTP/2: a task that reads and one that writes.

Layer: net. Spec: https://www.rfc-editor.org/rfc/rfc9113. What a stream may do is `wire.http2`'s to say;
how its bytes share the connection is `mux`'s. A request is served by plain calls; as long as one has something
to wait for, it has a task of its own.
"""

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio

from rawproxy.errors import HttpError, WireError
from rawproxy.gateway.room import Share
from rawproxy.net.body import collect
from rawproxy.net.conn import Conn
from rawproxy.net.mux import INTERNAL_ERROR, NO_ERROR, Lane, LaneReset, Mux
from rawproxy.net.response import Begun, ClientGone, Request, Response, Serving
from rawproxy.wire.http import Alike, Fields, RequestHead
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


@dataclass(slots=True, eq=False)
class _Stream:
    """One request on its way.

    Attributes:
        alike: of its head.
        share: of the room for request bodies.
        request: once it was found whole.
        begun: plain calls have begun to serve it.
    """

    lane: Lane
    head: RequestHead
    alike: Alike
    response: Http2Response
    share: Share
    request: Request | None = None
    begun: Begun | None = None


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
        self._fresh: list[_Stream] = []  # begun with what was read last
        self._plain: set[_Stream] = set()  # served by plain calls
        self._tasks: trio.Nursery | None = None  # those that serve the others

    async def serve(self) -> None:
        """Serve requests until one side closes."""
        try:
            async with trio.open_nursery() as both:
                both.start_soon(self._write)
                self._mux.flush()
                async with trio.open_nursery() as self._tasks:
                    await self._read()
                    self._mux.lose()
                both.cancel_scope.cancel()
        finally:
            for stream in tuple(self._plain):
                assert stream.begun is not None
                stream.begun.abandon()
                self._end(stream, INTERNAL_ERROR)
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
                    if self._fresh:
                        self._serve_fresh()
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
        """Learn of a request; the rest of it may come with the same read."""
        lane = self._mux.open(number)
        if isinstance(event, Refused):
            lane.on(event)
            event = RequestHead(b"GET", b"/", [], b"2")
        limit = self._limits.write_seconds
        response = Http2Response(lane, self._wire, event, write_seconds=limit)
        alike, share = self._wire.alike(number), self._serving.room.share()
        self._fresh.append(_Stream(lane, event, alike, response, share))

    def _serve_fresh(self) -> None:
        """Serve the requests that the last read has brought."""
        assert self._tasks is not None
        fresh, self._fresh = self._fresh, []
        with self.conn.together():
            for stream in fresh:
                try:
                    if not self._serve_whole(stream):
                        self._tasks.start_soon(self._serve, stream)
                except Exception:
                    self._on_fault()
                    self._end(stream, INTERNAL_ERROR)

    def _serve_whole(self, stream: _Stream) -> bool:
        """Serve a request that has come whole by plain calls; False where a task has to, or more has to come."""
        lane = stream.lane
        if not lane.whole or lane.refusal is not None:
            return False
        body = lane.receive_now() or b""
        try:
            stream.share.take(len(body))
        except HttpError as error:
            lane.refusal = error  # the task will say it
            return False
        return self._serve_now(stream, body)

    def _serve_now(self, stream: _Stream, body: bytes) -> bool:
        """Serve a request by plain calls; False where a task has to, if only from somewhere on (`begun`)."""
        stream.request = Request(stream.head, body, self.conn.peer, stream.alike)
        if not self.conn.pumped:
            return False
        stream.begun = begun = self._serving.beginner(stream.request, stream.response)
        done, wake = partial(self._done, stream), partial(self._hand_over, stream)
        if begun is None or not begun.begin(done, wake):
            return False
        self._plain.add(stream)
        stream.response.watch(partial(self._left, stream, begun))
        return True

    def _done(self, stream: _Stream, _: float) -> None:
        """Learn that plain calls have served a request."""
        self._end(stream, NO_ERROR)

    def _left(self, stream: _Stream, begun: Begun) -> None:
        begun.stop(left=True)
        self._hand_over(stream)

    def _hand_over(self, stream: _Stream) -> None:
        """Have a task go on where plain calls do not."""
        assert self._tasks is not None
        self._plain.discard(stream)
        stream.response.unwatch()
        self._tasks.start_soon(self._serve, stream)

    async def _serve(self, stream: _Stream) -> None:
        """Serve a request, as far as plain calls do not. Whatever escapes from it ends here: other streams go on."""
        plain, code = False, INTERNAL_ERROR
        try:
            if stream.request is None:
                plain = await self._collect(stream)
            if not plain and stream.begun is not None:
                await stream.begun.run()
            elif not plain and stream.request is not None:
                await self._serving.handler(stream.request, stream.response)
            code = NO_ERROR  # what the client has not sent yet of its body is not wanted
        except (ClientGone, LaneReset):
            pass
        except Exception:
            self._on_fault()
        finally:
            if not plain:
                self._end(stream, code)

    async def _collect(self, stream: _Stream) -> bool:
        """Wait for the rest of a request; return whether plain calls serve it. Without one it was refused."""
        try:
            body = await collect(stream.lane.receive, self._limits, stream.share)
        except HttpError as error:
            await self._serving.refuse(error, stream.head, stream.response)
            return False
        with self.conn.together():
            return self._serve_now(stream, body)

    @staticmethod
    def _on_fault() -> None:
        _log.exception("a stream ended by a fault of ours")

    def _end(self, stream: _Stream, code: int) -> None:
        """Let go of a stream; where it is not over, it is reset with `code`."""
        self._plain.discard(stream)
        stream.response.unwatch()
        stream.share.give_back()
        self._mux.forget(stream.lane, code)
        self._rearm()
