"""What is written to a client: one response, whatever the HTTP version.

Layer: net. `Response` holds what is alike: the clocks, what waits, who has left. A subclass for each
version gives it its framing.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import trio

from rawproxy.errors import HttpError
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Clocks
from rawproxy.gateway.room import Room
from rawproxy.net.pump import Then
from rawproxy.wire.http import Alike, Fields, RequestHead

__all__ = [
    "Begun",
    "ClientGone",
    "Handler",
    "Out",
    "Refuse",
    "Request",
    "Response",
    "Serving",
    "never",
]

NO_CONTENT = 204


class ClientGone(Exception):
    """The client has left. Not an error: a cancelled scope, and an outcome in the Record."""


@dataclass(slots=True)
class Request:
    """One request, whole.

    Attributes:
        client: the address it comes from, or `unix`.
        alike: holds what the handler makes of the head, for others of its connection that say the same.
    """

    head: RequestHead
    body: bytes
    client: str = ""
    alike: Alike = field(default_factory=Alike)


class Out(Protocol):
    """Where bytes go: a connection, or one stream of it."""

    @property
    def pending(self) -> int:
        """Bytes that were not taken yet."""
        ...

    def send_now(self, data: bytes) -> bool:
        """Hand over `data`, as far as it is taken now; False when some of it waits. OSError."""
        ...

    def hold(self, data: bytes) -> None:
        """Let `data` wait for the next `send_now`, behind what waits already. OSError."""
        ...

    async def flush_some(self) -> bool:
        """Wait until more is taken; False when some still waits. OSError."""
        ...

    def abort(self) -> None:
        """End without the framing's end."""
        ...


class Response(ABC):
    """The writing side of one exchange.

    Args:
        out: takes the bytes.
        framed: returns the bytes of more of the body.
        head: of the request; the answer to a HEAD has no body.
        keep_alive: whether the connection may go on afterwards.
        write_seconds: how long an answer outside of any exchange may take.
    """

    __slots__ = (
        "_bodiless", "_flushing", "_out", "_write_seconds", "begun", "clocks", "extra", "framed",
        "gone", "keep_alive",
    )  # fmt: skip

    def __init__(
        self,
        out: Out,
        framed: Callable[[list[bytes]], bytes],
        head: RequestHead,
        *,
        keep_alive: bool,
        write_seconds: float,
    ) -> None:
        self._out = out
        self.framed = framed
        self._write_seconds = write_seconds
        self._bodiless = head.method == b"HEAD"
        self.keep_alive = keep_alive
        self.clocks: Clocks | None = None
        self.extra: Fields = []
        """Fields that every response of this listener gets (CORS)."""
        self._flushing = False
        self.begun = False
        self.gone = False
        """The client has left, and the reply is read on for its usage: writes go nowhere."""

    @abstractmethod
    def _whole(self, status: int, fields: Fields, body: bytes) -> bytes:
        """Return the bytes of a whole response."""

    @abstractmethod
    def _head(self, status: int, fields: Fields) -> bytes:
        """Return the bytes of a head whose body comes piece by piece."""

    @abstractmethod
    def _last(self, parts: list[bytes]) -> bytes:
        """Return the bytes of the last of the body, and of its end."""

    @abstractmethod
    def watch(self, left: Callable[[], None]) -> None:
        """Call `left` when the client has left, until `unwatch`."""

    @abstractmethod
    def unwatch(self) -> None:
        """Look at the client no more. Has to be called before its connection is closed."""

    async def answer(self, status: int, fields: Fields, body: bytes) -> None:
        """Write a whole response."""
        await self._send(self._answer(status, fields, body))

    def hold_answer(self, status: int, fields: Fields, body: bytes, now: float) -> None:
        """Do as `answer`, as far as that `hand_over` or `flush` sends it."""
        self._hold(self._answer(status, fields, body), now)

    async def begin(self, status: int, fields: Fields, parts: list[bytes]) -> None:
        """Write the head, unless it went already, and the first parts, in one write."""
        await self._send(self._beginning(status, fields, parts))

    def begin_now(self, status: int, fields: Fields, parts: list[bytes]) -> None:
        """Do as `begin`, without waiting: what is not taken goes out with the next write."""
        self._push(self._beginning(status, fields, parts))

    async def send(self, parts: list[bytes]) -> None:
        """Write more of the body."""
        await self._send(self.framed(parts))

    def nudge(self, part: bytes) -> None:
        """Write more of the body without waiting."""
        self._push(self.framed([part]))

    async def finish(self, parts: list[bytes]) -> None:
        """Write the last parts and end the body cleanly."""
        await self._send(self._last(parts))

    def hold_end(self, parts: list[bytes], now: float) -> None:
        """Do as `finish`, as far as that `hand_over` or `flush` sends it."""
        self._hold(self._last(parts), now)

    def hand_over(self, now: float) -> bool:
        """Send what waits, without waiting; False when some of it waits on for `flush`."""
        return self.push(b"", now)

    def abort(self) -> None:
        """End the body uncleanly: what was sent must not look whole."""
        self.keep_alive = False
        self._out.abort()

    def retry(self) -> None:
        """Hand over what waits, as far as it is taken now."""
        # While a write waits for room, what it waits for is its own to send.
        if self._out.pending and not self._flushing:
            self._push(b"")

    @property
    def flushed(self) -> bool:
        """Whether everything was taken."""
        return not self._out.pending

    async def flush(self) -> None:
        """Return when everything that waits was taken."""
        assert self.clocks is not None
        self._flushing = True
        try:
            while self._out.pending:
                before = self._out.pending
                done = await self._out.flush_some()
                if self._out.pending < before:
                    self.clocks.progressed(trio.current_time(), left=not done)
        except OSError as error:
            raise ClientGone from error
        finally:
            self._flushing = False

    def _answer(self, status: int, fields: Fields, body: bytes) -> bytes:
        if status != NO_CONTENT:  # RFC 9110 8.6: it has no length either
            fields = [*fields, (b"content-length", str(len(body)).encode())]
        self.begun = True
        fields = [*fields, *self.extra]
        return self._whole(status, fields, b"" if self._bodiless else body)

    def _beginning(self, status: int, fields: Fields, parts: list[bytes]) -> bytes:
        if self.begun:
            return self.framed(parts)
        self.begun = True
        return self._head(status, [*fields, *self.extra]) + self.framed(parts)

    def _push(self, data: bytes) -> None:
        with suppress(ClientGone):  # reading finds out
            self.push(data, trio.current_time())

    async def _send(self, data: bytes) -> None:
        if self.clocks is None:
            await self._send_unclocked(data)
        elif not self.push(data, trio.current_time()):
            del data
            await self.flush()

    def _hold(self, data: bytes, now: float) -> None:
        """Let `data` wait."""
        if self.gone:
            return
        assert self.clocks is not None
        if not self._out.pending:
            self.clocks.progressed(now, left=True)
        try:
            self._out.hold(data)
        except OSError as error:
            raise ClientGone from error

    def push(self, data: bytes, now: float) -> bool:
        """Hand over `data`, which is framed, as far as it is taken now; False when some of it waits for `flush`."""
        if self.gone:
            return True
        out = self._out
        waited = out.pending
        try:
            done = out.send_now(data)
        except OSError as error:
            raise ClientGone from error
        clocks = self.clocks
        assert clocks is not None
        if done and clocks.blocked_since is None:  # nearly always: a call would be dear
            clocks.downstream_at = now
        # Bytes that only join others that wait are no progress of the client's.
        elif not waited or out.pending < waited + len(data):
            clocks.progressed(now, left=not done)
        return done

    async def _send_unclocked(self, data: bytes) -> None:
        """Write an answer of ours, outside of any exchange: it has one limit for all of it."""
        with trio.move_on_after(self._write_seconds) as scope:
            try:
                done = self._out.send_now(data)
                while not done:
                    done = await self._out.flush_some()
            except OSError as error:
                raise ClientGone from error
        if scope.cancelled_caught:
            raise ClientGone


Handler = Callable[[Request, Response], Awaitable[None]]
"""Serves one request."""

Refuse = Callable[[HttpError, RequestHead, Response], Awaitable[None]]
"""Answers a request that broke HTTP, or a limit."""


class Begun(Protocol):
    """A request that is served by plain calls as long as nothing has to be waited for."""

    def begin(self, done: Then, wake: Callable[[], None]) -> bool:
        """Begin; return whether plain calls go on with it: False, and `run` has to.

        Args:
            done: is called when it is over, and no task was needed.
            wake: is called when `run` has to go on.
        """
        ...

    def stop(self, *, left: bool) -> None:
        """Do nothing more until `run`; `left`: the client has left."""
        ...

    async def run(self) -> None:
        """Serve it to its end, from wherever it stands."""
        ...

    def abandon(self) -> None:
        """Give it up: its connection ends without a word."""
        ...


def never(request: Request, response: "Response") -> None:
    """Serve nothing by plain calls."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a connection's side of ours works with.

    Attributes:
        limits: what one client may take.
        handler: serves a request.
        refuse: writes the answer to a request that broke HTTP, or a limit.
        room: counts the request bodies of all connections.
        beginner: returns what serves a request by plain calls, where that can be.
    """

    limits: Limits
    handler: Handler
    refuse: Refuse
    room: Room
    beginner: Callable[[Request, Response], Begun | None] = never
