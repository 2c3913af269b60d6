"""One client connection: reads requests, starts an exchange for each, writes the replies.

Layer: net. HTTP/1.1, one request at a time; requests that were pipelined wait their turn.
"""

import math
from collections.abc import Callable

import outcome
import trio

from rawproxy.errors import HttpError
from rawproxy.net.body import collect
from rawproxy.net.conn import Conn
from rawproxy.net.response import Begun, ClientGone, Request, Response, Serving
from rawproxy.wire.http import Body, End, Fields, HttpEvent, RequestHead
from rawproxy.wire.http1 import (
    CONTINUE,
    LAST_CHUNK,
    RequestReader,
    write_chunk,
    write_response_head,
)
from rawproxy.wire.http1 import Limits as HeadLimits

__all__ = ["Downstream", "Http1Response"]

PIPELINED_BYTES = 65536
"""Bytes of later requests that are read while one is served; after them the client has to wait."""


RECENT_SECONDS = 1.0
"""A connection that was in use so recently may have a request on its way: a drain waits for it."""

LINGER_SECONDS = 2.0
"""How long a client that goes on sending is read after the last reply, so that it can read that."""


class Http1Response(Response):
    """The writing side of one exchange on HTTP/1.1.

    Args:
        conn: the client's connection.
        reader: of its requests.
        head: of the request: its version and method decide the framing.
        keep_alive: whether the connection may go on afterwards.
        write_seconds: how long an answer outside of any exchange may take.
    """

    __slots__ = ("_chunks", "_conn", "_left", "_looks", "_reader")

    def __init__(
        self,
        conn: Conn,
        reader: RequestReader,
        head: RequestHead,
        *,
        keep_alive: bool,
        write_seconds: float,
    ) -> None:
        self._chunks = head.version == b"1.1"
        framed = write_chunk if self._chunks else b"".join
        super().__init__(conn, framed, head, keep_alive=keep_alive, write_seconds=write_seconds)
        self._conn = conn
        self._reader = reader
        self._looks = False  # what comes is read; not once that is too much
        self._left: Callable[[], None] | None = None  # to be called as long as it is watched

    def _whole(self, status: int, fields: Fields, body: bytes) -> bytes:
        return write_response_head(status, self._with_connection(fields)) + body

    def _head(self, status: int, fields: Fields) -> bytes:
        if self._chunks:
            fields = [*fields, (b"transfer-encoding", b"chunked")]
        else:
            self.keep_alive = False
        return write_response_head(status, self._with_connection(fields))

    def _last(self, parts: list[bytes]) -> bytes:
        return self.framed(parts) + (LAST_CHUNK if self._chunks else b"")

    def _with_connection(self, fields: Fields) -> Fields:
        if not self.keep_alive:
            return [*fields, (b"connection", b"close")]
        if not self._chunks:
            return [*fields, (b"connection", b"keep-alive")]
        return fields

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left` when the client has left; until then keep what it sends ahead.

        A client that closes its sending side has left: no known client waits for a reply after that.
        """
        self._conn.take(self._look)
        self._looks, self._left = True, left

    def unwatch(self) -> None:
        """Look at the client no more."""
        self._look_away()
        self._left = None

    def retry(self) -> None:
        """Hand over what waits; see whether a client that is not read from has left."""
        super().retry()
        if self._left is not None and not self._looks and self._conn.is_hung_up():
            self._on_left()

    def _look(self) -> None:
        try:
            data = self._conn.receive_now()
            if data:
                self._reader.feed(data)
        except (OSError, HttpError):
            data = b""
        if data == b"":
            self._on_left()
        elif self._reader.buffered >= PIPELINED_BYTES:
            self._look_away()

    def _look_away(self) -> None:
        if self._looks:
            self._looks = False
            self._conn.leave()

    def _on_left(self) -> None:
        left = self._left
        self.unwatch()
        if left is not None:
            left()


class Downstream:
    """One client connection.

    Args:
        conn: the connection.
        serving: what it works with; the handler is cancelled when the connection ends.
    """

    def __init__(self, conn: Conn, serving: Serving) -> None:
        self.conn = conn
        self._serving = serving
        self._limits = limits = serving.limits
        self._reader = RequestReader(
            HeadLimits(limits.head_bytes, limits.head_fields, limits.body_bytes)
        )
        self._events: list[HttpEvent] = []
        self._idle_since = trio.current_time()
        self._idles = False  # waits for a request
        self._draining = False
        self._response: Http1Response | None = None
        self._served = 0
        self._begun: Begun | None = None  # a request that plain calls have begun to serve
        self._woken = False  # by one
        self._over: Callable[[bool], None] | None = None  # as long as there is no task
        self._result: outcome.Outcome[bytes] | None = None  # of the wait before there was one
        self._share = serving.room.share()  # of the request that is read or served
        self._lingers = False  # the last word was ours: the client may still be sending

    async def serve(self) -> None:
        """Serve requests until one side closes."""
        try:
            while await self._one():
                self._lingers = False
                self._idle_since = trio.current_time()
                if self._reader.buffered:  # the next request is here already: others come first
                    await trio.lowlevel.checkpoint()
            if self._lingers:
                await self.conn.linger(LINGER_SECONDS)
        except (ClientGone, OSError):
            pass
        finally:
            self.conn.close()

    def start(self, data: bytes, over: Callable[[bool], None]) -> None:
        """Serve requests by plain calls, without a task, while the pump looks.

        Args:
            data: was read already.
            over: is called when it has ended, with True, or when `serve` has to go on.
        """
        self._over, self._idles = over, True
        result: outcome.Outcome[bytes] = outcome.Value(data)
        try:
            if self._take_in(data) is None:
                self.conn.receive_later(self._idle_until(), self._look, self._on_waited)
                return
        except Exception as error:
            result = outcome.Error(error)
        self._on_waited(result)

    def abandon(self) -> None:
        """Give up what `start` has begun: the connection ends without a word."""
        self._over = None
        if self._begun is not None:
            self._begun.abandon()
        self._share.give_back()
        self.conn.close()

    def drain(self) -> None:
        """Serve what is under way and no more; one that waits for a request is closed."""
        self._draining = True
        if self._response is not None and not self._response.begun:
            self._response.keep_alive = False
        if self._idles:
            self.conn.hurry(self._idle_until())

    def _idle_until(self) -> float:
        since = self._idle_since if self._begun is None else trio.current_time()
        seconds = self._limits.idle_seconds
        return since + (min(seconds, RECENT_SECONDS) if self._draining else seconds)

    @property
    def _idled(self) -> bool:
        """Whether no request came for as long as one may be waited for."""
        return self._begun is None and trio.current_time() >= self._idle_until()

    async def _one(self) -> bool:
        """Serve one request, and those before and after it that no task is needed for; return whether another may follow."""
        with self._share:
            request, goes_on = None, False
            try:
                served = self._result is not None  # by plain calls, before there was a task
                if not served:
                    if self._reader.ended:
                        self._events = self._events or self._reader.next()
                    request = await self._request()
                    served = request is not None and self._begin(request)
                if served:
                    request, goes_on = None, await self._wait()
            except HttpError as error:
                await self._answer_broken(error)
                return False
            except BaseException:
                if self._begun is not None:
                    self._begun.abandon()
                raise
            begun, self._begun = self._begun, None
            if begun is not None:
                await begun.run()
            elif request is not None:
                assert self._response is not None
                await self._serving.handler(request, self._response)
            else:
                return goes_on
            # Its request was read whole, and a drain has a limit of its own.
            self._lingers = not self._draining
            return self._goes_on()

    def _goes_on(self) -> bool:
        """Return whether another request may follow the one before."""
        assert self._response is not None
        return self._response.keep_alive and not self.conn.closed

    # -- requests that no task is needed for

    def _begin(self, request: Request) -> bool:
        """Serve a request by plain calls; False where a task has to, if only from somewhere on (`_begun`)."""
        self._served += 1
        last = self._served >= self._limits.requests_per_connection
        keep = self._reader.keep_alive and not last and not self._draining
        self._response = self._respond(request.head, keep_alive=keep)
        if not self.conn.pumped:
            return False
        self._begun = self._serving.beginner(request, self._response)
        return self._begun is not None and self._begun.begin(self._done, self._wake)

    def _done(self, now: float) -> None:
        """Learn that plain calls have served a request."""
        self._begun = None
        self._share.give_back()
        if self._goes_on() and not self._reader.buffered:
            self._reader.next()
            self._idle_since = now
        else:
            self._lingers = not self._goes_on() and not self._draining
            self._wake()

    def _wake(self) -> None:
        self._woken = True
        self.conn.wake()

    async def _wait(self) -> bool:
        """Wait as long as plain calls serve requests; return whether a task has something to do, or False: no more comes."""
        data = b""
        self._idles = True
        try:
            while not self._woken:
                result, self._result = self._result, None
                try:
                    if result is not None:
                        data = result.unwrap()
                    else:
                        data = await self.conn.receive(self._idle_until(), self._look)
                    break
                except trio.TooSlowError:
                    if self._idled:
                        return False
        finally:
            self._idles, self._woken, self._result = False, False, None
        if self._begun is not None or self._events:
            return True
        if self._served and not self._goes_on():
            return False
        if self._reader.ended:
            self._events = self._reader.next()  # it came while plain calls served the one before
            return True
        if not data:
            self._reader.close()
        return bool(data)

    def _look(self) -> bytes | None:
        """Read while the task waits; None as long as it need not wake."""
        if self._begun is not None:
            return self._look_ahead(self._begun)
        data = self.conn.receive_now()
        return self._take_in(data) if data else data

    def _take_in(self, data: bytes) -> bytes | None:
        """Take what was read while nothing is served; None as long as no task is needed for it."""
        self._events += self._reader.feed(data)
        return None if self._ended() and self._begin_whole() else data

    def _on_waited(self, result: outcome.Outcome[bytes]) -> None:
        """Learn that there is something for a task, or nothing any more."""
        over = self._over
        if over is None:
            return
        late = isinstance(result, outcome.Error) and isinstance(result.error, trio.TooSlowError)
        if late and not self._idled:
            self.conn.receive_later(self._idle_until(), self._look, self._on_waited)
            return
        left = isinstance(result, outcome.Value) and not result.value and not self._woken
        self._over, self._result = None, result
        over(late or (left and self._begun is None and self._reader.idle))

    def _begin_whole(self) -> bool:
        """Do as `_begin` with the request that has come in one read."""
        head, *events = self._events
        assert isinstance(head, RequestHead)
        body = events[0].data if isinstance(events[0], Body) else b""
        try:
            self._share.take(len(body))
        except HttpError:
            return False  # the task will say it
        goes_on = self._begin(Request(head, body, self.conn.peer, self._reader.alike))
        if self._begun is not None:
            self._events = []
        else:  # the task does all of it
            self._served -= 1
            self._share.give_back()
        return goes_on

    def _look_ahead(self, begun: Begun) -> bytes | None:
        """Read while plain calls serve a request."""
        try:
            data = self.conn.receive_now()
        except OSError:
            data = b""
        if data:
            self._reader.feed(data)
        if data is not None and (not data or self._reader.buffered >= PIPELINED_BYTES):
            begun.stop(left=not data)
            return data
        return None

    # -- reading

    async def _request(self) -> Request | None:
        """Return the next request; None when the client has no more, or plain calls have begun with it."""
        if self._reader.idle and not self._events and not await self._first_bytes():
            return None
        if self._begun is not None:
            return None
        if not self._events:
            await self._rest_of_head()
        head = self._events.pop(0)
        assert isinstance(head, RequestHead)
        if self._ended():  # it came with its body
            body = self._taken()
            self._share.take(len(body))
        else:
            if self._reader.wants_continue:
                await self.conn.send(CONTINUE)
            body = await collect(self._piece, self._limits, self._share)
        self._events = []
        return Request(head, body, self.conn.peer, self._reader.alike)

    async def _first_bytes(self) -> bool:
        """Wait for the first bytes of a request; False when none come."""
        if self._served and self.conn.pumped:
            return await self._wait()
        self._idles = True
        try:
            return await self._more(self._idle_until())
        except trio.TooSlowError:
            return False
        finally:
            self._idles = False

    async def _rest_of_head(self) -> None:
        # Its first byte is here. From now on the client is in debt.
        seconds = self._limits.head_seconds
        until = trio.current_time() + seconds
        try:
            while not self._events:
                if not await self._more(until):
                    raise HttpError("the connection ended inside a request head")
        except trio.TooSlowError:
            if self._reader.idle:  # nothing but empty lines
                raise ClientGone from None
            message = f"no whole request head within {seconds:g} s"
            raise HttpError(message, status=408) from None

    async def _piece(self, until: float) -> bytes:
        """Return the next bytes of the body; b"" at its end. trio.TooSlowError: not by then."""
        while True:
            data = self._taken()
            if data or self._ended():
                return data
            if not await self._more(until):
                raise HttpError("the connection ended inside a request body")

    def _taken(self) -> bytes:
        """Take what was read of the body; its End stays."""
        data = b"".join([event.data for event in self._events if isinstance(event, Body)])
        self._events = self._events[-1:] if self._ended() else []
        return data

    def _ended(self) -> bool:
        return bool(self._events) and isinstance(self._events[-1], End)

    async def _more(self, until: float = math.inf) -> bool:
        """Read once; False at the end of the connection. trio.TooSlowError: not by then."""
        data = await self.conn.receive(until)
        if not data:
            self._reader.close()
            return False
        self._events += self._reader.feed(data)
        return True

    async def _answer_broken(self, error: HttpError) -> None:
        self._lingers = True
        # Where the head could not be read, its path is not known either.
        head = self._reader.head or RequestHead(b"GET", b"/", [])
        await self._serving.refuse(error, head, self._respond(head, keep_alive=False))

    def _respond(self, head: RequestHead, *, keep_alive: bool) -> Http1Response:
        limit = self._limits.write_seconds
        return Http1Response(
            self.conn, self._reader, head, keep_alive=keep_alive, write_seconds=limit
        )
