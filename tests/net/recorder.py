"""An upstream that keeps every byte it gets, and a client that sends any bytes: nothing is parsed on the way.

What the upstream got is read afterwards by the strict reader of `tests.wire.strict`, and by h11.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import trio

from rawproxy.app.serve import open_proxy
from tests.net.fakes import whole
from tests.net.world import CHAT, reply_body, upstream
from tests.wire.strict import Reply, Request, Unfinished, read_reply, read_request, read_requests

SERVED = whole(200, reply_body(CHAT, "fine"))


class Recorder:
    """The upstream; it answers every request with the same reply."""

    def __init__(self) -> None:
        self.connections: list[bytearray] = []
        self.url = ""

    async def _serve(self, stream: trio.SocketStream) -> None:
        got = bytearray()
        self.connections.append(got)
        at = 0
        async with stream:
            async for data in stream:
                got += data
                while (request := _whole(bytes(got), at)) is not None:
                    at = request.end
                    await stream.send_all(SERVED)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Recorder"]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, host="127.0.0.1"), self._serve, 0
            )
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            yield self
            nursery.cancel_scope.cancel()

    def requests(self) -> list[Request]:
        """All that came, connection by connection; there is nothing between and behind them."""
        found: list[Request] = []
        for got in self.connections:
            ours, end = read_requests(bytes(got))
            assert end == "idle", bytes(got)
            assert b"".join(_again(request) for request in ours) == got
            assert [request.body for request in ours] == _bodies_by_h11(bytes(got))
            found += ours
        return found


def _whole(data: bytes, at: int) -> Request | None:
    try:
        return read_request(data, at)
    except Unfinished:
        return None


def _again(request: Request) -> bytes:
    """The only bytes that the proxy may have said it with."""
    lines = b"".join(b"%b: %b\r\n" % one for one in request.fields)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method, request.target, lines, request.body)


def _bodies_by_h11(data: bytes) -> list[bytes]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    bodies: list[bytes] = []
    while not isinstance(event := connection.next_event(), type):
        if isinstance(event, h11.Request):
            bodies.append(b"")
        elif isinstance(event, h11.Data):
            bodies[-1] += event.data
        elif isinstance(event, h11.EndOfMessage):
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    return bodies


class Link:
    """A client's connection that sends bytes as they are."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._got = b""
        self._at = 0
        self.ended = False
        self.reset = False

    async def send(self, *pieces: bytes) -> None:
        """Send each piece by itself; the proxy has read it before the next one goes."""
        try:
            for piece in pieces:
                await self._stream.send_all(piece)
                if len(pieces) > 1:
                    await trio.testing.wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            self.reset = True

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def _more(self) -> None:
        try:
            data = await self._stream.receive_some(65536)
        except trio.BrokenResourceError:
            self.reset = True
            data = b""
        self._got += data
        self.ended = not data

    async def reply(self, to: bytes = b"GET") -> Reply | None:
        """The next reply; None at the end of the connection, which has to come between replies."""
        while True:
            try:
                reply = read_reply(self._got, self._at, to=to, closed=self.ended)
            except Unfinished:
                if self.ended:
                    assert self._got[self._at :] == b""
                    return None
                await self._more()
                continue
            self._at = reply.end
            return reply

    async def last(self) -> Reply:
        """The reply that ends the connection; it may have been to a HEAD."""
        await self.end()
        try:
            reply = read_reply(self._got, self._at)
        except Unfinished:
            reply = read_reply(self._got, self._at, to=b"HEAD")
        assert reply.end == len(self._got)
        assert (b"connection", b"close") in reply.fields
        return reply

    async def end(self) -> bytes:
        """What comes until the end of the connection."""
        while not self.ended:
            await self._more()
        return self._got[self._at :]


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A connection to the proxy."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        yield Link(stream)


@asynccontextmanager
async def recorded(**server: Any) -> AsyncIterator[tuple[str, Recorder]]:
    """A proxy in front of a recorder; every model is asked there under its own name."""
    async with Recorder().running() as recorder:
        config = {
            "server": {"listen": ["127.0.0.1:0"], "hosts": ["h"], **server}, "admin": {"listen": ""},
            "upstreams": {"up": upstream(recorder.url, CHAT)},
            "routes": [{"model": "*", "to": ["up/*"]}],
        }  # fmt: skip
        async with open_proxy(config) as proxy:
            yield proxy.urls[0], recorder
