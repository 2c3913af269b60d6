"""One upstream connection, and the pool of them.

Layer: net. Sends what gateway wrote, hands back the reply's head and body bytes. Knows no dialect.
A connection goes back into the pool only when its reply was read to the end, the framing said that
it may be used again, and the peer has not spoken since.
"""

import math
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from rawproxy.errors import (
    ConfigError,
    Exhausted,
    HttpError,
    UpstreamConnectError,
    UpstreamCut,
    UpstreamError,
    UpstreamNonsense,
    WireError,
)
from rawproxy.gateway.attempt import Attempt
from rawproxy.gateway.liveness import Clocks
from rawproxy.gateway.providers import TlsFiles
from rawproxy.net.conn import SCARCE, Conn, tune
from rawproxy.net.resolve import Resolver
from rawproxy.wire.http import Body, End, Fields, HttpEvent, ResponseHead
from rawproxy.wire.http1 import Limits, ResponseReader, write_request
from rawproxy.wire.tls import Tls, client_context

__all__ = ["Reply", "Upstreams"]

ADDRESS_SECONDS = 1.5
"""How long one of several addresses may take before the next one is tried."""

IDLE_SECONDS = 60.0
"""How long a connection may wait in the pool; servers close theirs after 60 to 75 seconds."""

IDLE_MOST = 256
"""Idle connections kept to one place."""

RESPONSE_LIMITS = Limits(head_bytes=65536, head_fields=200)
"""Upstreams send more fields than clients do, rate limits above all."""

Place = tuple[str, str, int, TlsFiles]
"""Scheme, host, port, files of TLS: connections to one place are alike."""


class _Link:
    """A connection and the reader of its current response."""

    __slots__ = ("conn", "idle_since", "reader", "used")

    def __init__(self, conn: Conn) -> None:
        self.conn = conn
        self.reader = ResponseReader(RESPONSE_LIMITS)
        self.idle_since = 0.0
        self.used = False  # it came from the pool: its peer may have closed it meanwhile


class Reply:
    """A response whose head has come. `receive` gives its body."""

    def __init__(self, link: _Link, head: ResponseHead, rest: list[HttpEvent]) -> None:
        self._link = link
        self._events = rest
        self.status = head.status
        self.fields: Fields = head.fields
        self.ended = False
        """Whether the body was read to its end."""

    async def receive(self) -> bytes:
        """Return the body bytes of one read; b"" at its end.

        Raises:
            UpstreamCut: the connection broke, or the framing said that more was to come.
            UpstreamNonsense: the framing is broken.
        """
        while not self.ended:
            events = self._events or await _read(self._link)
            self._events = []
            self.ended = bool(events) and isinstance(events[-1], End)
            if found := b"".join([event.data for event in events if isinstance(event, Body)]):
                return found
        return b""


async def _send_rest(link: _Link) -> None:
    # An error here is no news: the reading side finds out.
    with suppress(OSError):
        while not await link.conn.flush_some():
            pass


async def _read(link: _Link) -> list[HttpEvent]:
    """Return the events of one read."""
    try:
        data = await link.conn.receive()
    except (OSError, WireError) as error:
        raise UpstreamCut("the upstream's connection broke") from error
    try:
        return link.reader.feed(data) if data else link.reader.close()
    except HttpError as error:
        if data:
            raise UpstreamNonsense(f"the upstream's HTTP is broken: {error}") from error
        raise UpstreamCut(
            "the upstream closed the connection before its reply was whole"
        ) from error


class Upstreams:
    """The pool of upstream connections.

    Args:
        resolver: names to addresses.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver or Resolver()
        self._idle: dict[Place, deque[_Link]] = {}
        self._contexts: dict[TlsFiles, ssl.SSLContext] = {}
        self.open = 0
        """Connections that stand, idle ones included."""

    @asynccontextmanager
    async def send(self, attempt: Attempt, clocks: Clocks) -> AsyncIterator[Reply]:
        """Send an attempt's request; the body of the block reads the reply.

        Leaving the block early, or a cancel in any phase, closes the connection at once.

        Raises:
            UpstreamError: which one tells what went wrong.
        """
        url = attempt.candidate.upstream.url
        assert url.hostname is not None
        port = url.port or (443 if url.scheme == "https" else 80)
        place = (url.scheme, url.hostname, port, attempt.candidate.upstream.tls)
        request = write_request(b"POST", attempt.target, attempt.fields, attempt.body)
        clocks.connecting(trio.current_time())
        link = self._take(place) or await self._connect(place)
        try:
            try:
                head, rest = await self._ask(link, request, clocks)
            except UpstreamCut:
                if not link.used or link.reader.started:
                    raise
                # A pooled connection that was closed before any byte of a response: the request
                # was not processed, or at worst not answered by anyone (RFC 9110 9.2.2).
                self._drop(link)
                clocks.connecting(trio.current_time())
                link = await self._connect(place)
                head, rest = await self._ask(link, request, clocks)
            reply = Reply(link, head, rest)
            yield reply
            if reply.ended and link.reader.reusable and not link.conn.pending:
                self._keep(place, link)
        finally:
            if link.idle_since == 0.0:
                self._drop(link)

    async def _ask(
        self, link: _Link, request: bytes, clocks: Clocks
    ) -> tuple[ResponseHead, list[HttpEvent]]:
        clocks.waiting(trio.current_time())
        try:
            sent = link.conn.send_now(request)
        except OSError:
            sent = True  # it may have answered before it closed: reading tells
        if sent:
            return await self._head(link, clocks)
        # Some upstreams answer before they have read it all, and then read no more.
        failure: UpstreamError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_rest, link)
            try:
                return await self._head(link, clocks)
            except UpstreamError as error:  # a nursery would wrap it
                failure = error
            finally:
                nursery.cancel_scope.cancel()
        raise failure

    async def _head(self, link: _Link, clocks: Clocks) -> tuple[ResponseHead, list[HttpEvent]]:
        while True:
            events = await _read(link)
            for at, event in enumerate(events):
                if isinstance(event, ResponseHead):
                    clocks.heard(trio.current_time())
                    return event, events[at + 1 :]

    # -- connections

    async def _connect(self, place: Place) -> _Link:
        scheme, host, port, files = place
        conn: Conn | None = None
        why: Exception | None = None
        tls = self._tls(host, files) if scheme == "https" else None
        addresses = await self._resolver.resolve(host)
        for at, (family, address) in enumerate(addresses, 1):
            patience = ADDRESS_SECONDS if at < len(addresses) else math.inf
            with trio.move_on_after(patience):
                try:
                    conn = Conn(await _connected(family, (address, port)), address)
                    break
                except OSError as error:
                    why = error
        if conn is None:
            raise _unreachable(why) from why
        try:
            if tls is not None:
                await conn.handshake(tls)
        except (OSError, WireError) as error:
            conn.close()
            raise UpstreamConnectError(_tls_words(error)) from error
        except BaseException:
            conn.close()
            raise
        self.open += 1
        return _Link(conn)

    def _tls(self, host: str, files: TlsFiles) -> Tls:
        context = self._contexts.get(files)
        if context is None:
            # 30 to 100 ms each: built once, shared.
            try:
                context = self._contexts[files] = client_context(*files)
            except ConfigError as error:  # they were there when the configuration was read
                words = "the files of certificates for the upstream cannot be read"
                raise UpstreamConnectError(words) from error
        return Tls(context, server_side=False, server_name=host)

    def _take(self, place: Place) -> _Link | None:
        idle = self._idle.get(place)
        now = trio.current_time()
        while idle:
            link = idle.pop()
            if now - link.idle_since < IDLE_SECONDS and link.conn.is_quiet():
                link.idle_since, link.used = 0.0, True
                link.reader = ResponseReader(RESPONSE_LIMITS)
                return link
            self._drop(link)
        return None

    def _keep(self, place: Place, link: _Link) -> None:
        idle = self._idle.setdefault(place, deque())
        link.idle_since = trio.current_time() or 1e-9
        idle.append(link)
        if len(idle) > IDLE_MOST:
            self._drop(idle.popleft())

    def _drop(self, link: _Link) -> None:
        if not link.conn.closed:
            self.open -= 1
            link.conn.close()

    def sweep(self, now: float) -> None:
        """Close the connections that waited too long, or whose peer has closed them."""
        for idle in self._idle.values():
            for _ in range(len(idle)):
                link = idle.popleft()
                if now - link.idle_since < IDLE_SECONDS and link.conn.is_quiet():
                    idle.append(link)
                else:
                    self._drop(link)

    def renew(self) -> None:
        """Read certificates anew from now on; connections that were made with the old ones are not kept."""
        self._contexts.clear()
        self.close()

    def close(self) -> None:
        """Close all idle connections."""
        for idle in self._idle.values():
            while idle:
                self._drop(idle.pop())


async def _connected(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    """Return a socket that is connected to `address`. OSError; closed when it is not to be."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        tune(sock)
        try:
            sock.connect(address)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect failed") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _unreachable(why: Exception | None) -> UpstreamError:
    if isinstance(why, OSError) and why.errno in SCARCE:
        return Exhausted("the proxy is out of descriptors or memory")
    return UpstreamConnectError("the upstream cannot be reached")


def _tls_words(error: Exception) -> str:
    if isinstance(error, WireError):
        return f"no TLS connection to the upstream: {error}"
    return "the upstream broke off the TLS handshake"
