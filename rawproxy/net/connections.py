"""The client connections that stand: who serves them, how many there may be, how they end in a drain.

Layer: net. While the pump looks, plain calls serve a connection from its first byte on; it has a task
from when something has to be waited for: a handshake, a slow client, an upstream.
"""

import logging
from collections.abc import Callable

import outcome
import trio

from rawproxy.net.conn import Conn
from rawproxy.net.downstream import RECENT_SECONDS, Downstream
from rawproxy.net.welcome import (
    AnyDownstream,
    Entrance,
    Serving,
    Unwelcome,
    Why,
    may_be_http2,
    welcome,
)

__all__ = ["Connections", "Terms"]

_log = logging.getLogger("rawproxy")

Terms = Callable[[], tuple[Entrance, Serving]]
"""Returns what a new connection has to pass, and what our side of it works with then."""


class Connections:
    """All of them, of all listeners.

    Args:
        most: one more is closed at once.
        refused: is told why a connection came to nothing.
    """

    def __init__(self, most: int, refused: Callable[[Why], None]) -> None:
        self.most = most
        self.refused = refused
        self._count = 0
        self._runs = False
        self._untasked: set[_Untasked] = set()
        self._greeted: dict[trio.CancelScope, float] = {}  # not at a request yet; since when
        self._open: set[AnyDownstream] = set()
        self._draining = False
        self._empty = trio.Event()

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return self._count >= self.most

    async def run(self) -> None:
        """Wait until cancelled; then give up what has no task that would be cancelled, too.

        Without it every connection has a task.
        """
        self._runs = True
        try:
            await trio.sleep_forever()
        finally:
            self._runs = False
            for one in tuple(self._untasked):
                one.abandon()

    def start(self, conn: Conn, terms: Terms, nursery: trio.Nursery) -> None:
        """Serve a connection, in a task in `nursery` as soon as one is needed."""
        self._count += 1
        entrance, serving = terms()
        if not self._runs or not conn.pumped or entrance.stops(conn.peer):
            nursery.start_soon(self._run, conn, entrance, serving)
            return
        one = _Untasked(conn, serving)
        self._untasked.add(one)

        def over(ended: bool) -> None:
            self._untasked.discard(one)
            if ended:
                self._end(conn)
            else:
                nursery.start_soon(self._run, conn, entrance, serving, one.downstream)

        one.start(over)
        if self._draining:
            one.drain()

    async def _run(
        self,
        conn: Conn,
        entrance: Entrance,
        serving: Serving,
        downstream: AnyDownstream | None = None,
    ) -> None:
        """Serve one connection, from its beginning or from where plain calls have brought it.

        Whatever escapes from it ends here: other ones go on.
        """
        try:
            downstream = downstream or await self._greet(conn, entrance, serving)
            if downstream is not None:
                await self._serve(downstream)
        except Unwelcome as error:
            if error.why != "left":
                self.refused(error.why)
                _log.info("a connection from %s came to nothing: %s", conn.peer, error)
        except Exception:
            _log.exception("a connection ended by a fault of ours")
        finally:
            self._end(conn)

    def _end(self, conn: Conn) -> None:
        conn.close()
        self._count -= 1
        if self._draining and not self._count:
            self._empty.set()

    async def _greet(
        self, conn: Conn, entrance: Entrance, serving: Serving
    ) -> AnyDownstream | None:
        """Return what serves `conn`; None when a drain came, and no request soon enough."""
        now = trio.current_time()
        with trio.CancelScope() as scope:
            if self._draining:
                scope.deadline = now + RECENT_SECONDS
            self._greeted[scope] = now
            try:
                return await welcome(conn, entrance, serving)
            finally:
                del self._greeted[scope]
        return None

    async def _serve(self, downstream: AnyDownstream) -> None:
        self._open.add(downstream)
        try:
            if self._draining:
                downstream.drain()
            await downstream.serve()
        finally:
            self._open.discard(downstream)

    async def drain(self) -> None:
        """Close the idle ones, and return when those that serve a request are done with it.

        A connection that is young may have a request on its way: that one is waited for.
        """
        self._draining = True
        for scope, since in self._greeted.items():
            scope.deadline = since + RECENT_SECONDS
        for one in (*self._untasked, *self._open):
            one.drain()
        if self._count:
            await self._empty.wait()


class _Untasked:
    """A connection without a task, and with nothing to pass before its first request.

    Attributes:
        downstream: our side of it; None before it has sent anything, and where that may be HTTP/2.
    """

    __slots__ = ("_conn", "_drains", "_over", "_serving", "_since", "downstream")

    def __init__(self, conn: Conn, serving: Serving) -> None:
        self._conn = conn
        self._serving = serving
        self._since = trio.current_time()
        self._drains = False
        self._over: Callable[[bool], None] | None = None
        self.downstream: Downstream | None = None

    def start(self, over: Callable[[bool], None]) -> None:
        """Begin with it; `over` is called when it has ended, with True, or when it needs a task."""
        self._over = over
        until = self._since + self._serving.limits.idle_seconds
        self._conn.receive_later(until, self._conn.receive_now, self._on_first)

    def _on_first(self, result: outcome.Outcome[bytes]) -> None:
        if self._over is None:
            return
        data = result.value if isinstance(result, outcome.Value) else b""
        if not data:  # it has left without a word, or said none for too long
            self._over(True)
        elif may_be_http2(data):
            self._conn.unread(data)
            self._over(False)
        else:
            self.downstream = Downstream(self._conn, self._serving)
            if self._drains:
                self.downstream.drain()
            self.downstream.start(data, self._over)

    def drain(self) -> None:
        """Serve what is under way or on its way, and no more."""
        self._drains = True
        if self.downstream is not None:
            self.downstream.drain()
        else:
            seconds = min(self._serving.limits.idle_seconds, RECENT_SECONDS)
            self._conn.hurry(self._since + seconds)

    def abandon(self) -> None:
        """Give it up without a word."""
        over, self._over = self._over, None
        if self.downstream is not None:
            self.downstream.abandon()
        if over is not None:
            over(True)
