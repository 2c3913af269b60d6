"""One upstream connection, and the pool of them.

Layer: net. Sends what gateway wrote, hands back the reply's head and body bytes. Knows no dialect.
A connection goes back into the pool only when its reply was read to the end, the framing said that
it may be used again, and the peer has not spoken since.
"""

import math
import ssl
from collections import deque
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

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
from rawproxy.gateway.providers import TlsFiles, Upstream
from rawproxy.net.conn import SCARCE, Conn, connected, connected_now
from rawproxy.net.pump import Pump, Taker, Then
from rawproxy.net.relay import Source
from rawproxy.net.resolve import Resolver
from rawproxy.net.upstream_http2 import Http2Link, NotProcessed
from rawproxy.wire.http import Body, Fields, HttpEvent, RequestHead, ResponseHead
from rawproxy.wire.http1 import Limits, ResponseReader, write_request
from rawproxy.wire.tls import Tls, client_context

__all__ = ["Reply", "Sent", "Upstreams"]

ADDRESS_SECONDS = 1.5
"""How long one of several addresses may take before the next one is tried."""

IDLE_SECONDS = 60.0
"""How long a connection may wait in the pool; servers close theirs after 60 to 75 seconds."""

IDLE_MOST = 256
"""Idle connections kept to one place."""

RESPONSE_LIMITS = Limits(head_bytes=65536, head_fields=200)
"""Upstreams send more fields than clients do, rate limits above all."""

H2, HTTP1 = "h2", "http/1.1"
"""The names of the protocols in TLS (RFC 7301 section 6, RFC 9113 3.2)."""


_BROKEN = "the upstream's connection broke"
_STALE = "the upstream closed an idle connection"


class Place(NamedTuple):
    """Where an upstream is: connections to one place are alike.

    Attributes:
        files: of certificates.
        http2: HTTP/2 may be spoken there: where TLS agrees on it, and without TLS at once.
    """

    scheme: str
    host: str
    port: int
    files: TlsFiles
    http2: bool


class Reply(Source, Protocol):
    """A response whose head has come, whatever the HTTP version. Its body is what `relay` reads.

    `receive` and its like raise UpstreamCut where the connection broke or the framing said that more was
    to come, and UpstreamNonsense where the framing is broken.

    Attributes:
        status, fields: of its head.
    """

    status: int
    fields: Fields

    def release(self) -> None:
        """Let go of it, read to its end or not."""
        ...


class Sent(Protocol):
    """A request on its way.

    Attributes:
        conn: where the response comes.
    """

    conn: Conn

    def send_now(self) -> bool:
        """Send it, as far as the kernel takes it now; False when some of it waits for `reply`."""
        ...

    async def reply(self) -> Reply:
        """Return the response, once its head has come. UpstreamError; NotProcessed: it may be sent anew."""
        ...

    def reply_now(self) -> Reply | None:
        """Do so with what one read gives now; None where more has to come.

        After NotProcessed `reply` has to be asked, which raises the same.
        """
        ...

    def release(self, *, ended: bool) -> None:
        """Let go of the connection, whose response was read to its end or not."""
        ...


class _Http1Link:
    """A connection on HTTP/1.1 and the reader of its current response."""

    __slots__ = ("_pool", "conn", "idle_since", "place", "reader", "used")

    def __init__(self, conn: Conn, place: Place, pool: "Upstreams") -> None:
        self.conn = conn
        self.place = place
        self._pool = pool
        self.reader = ResponseReader(RESPONSE_LIMITS)
        self.idle_since = 0.0
        self.used = False  # it came from the pool: its peer may have closed it meanwhile

    async def ask(self, head: RequestHead, body: bytes) -> "_Http1Reply":
        """Send a request; return its response once the head has come. Raises as `reply`."""
        self.begin(head, body)
        self.send_now()
        return await self.reply()

    def begin(self, head: RequestHead, body: bytes) -> None:
        """Write a request, which `send_now` sends, and `reply` as far as that has not."""
        try:
            self.conn.hold(write_request(head.method, head.target, head.fields, body))
        except BaseException:
            self._pool.drop(self)
            raise

    def send_now(self) -> bool:
        """Send what waits of the request, as far as the kernel takes it now; False when some still waits."""
        try:
            return self.conn.send_now(b"")
        except OSError:  # it may have answered before it closed: reading tells
            return True

    async def reply(self) -> "_Http1Reply":
        """Return the response to the request that was begun, once its head has come.

        Raises:
            NotProcessed: a pooled connection was closed before any byte of a response: the request
                was not processed, or at worst not answered by anyone (RFC 9110 9.2.2).
            UpstreamError: anything else that went wrong.
        """
        try:
            return await (self._while_sending() if self.conn.pending else self._read_head())
        except BaseException as error:
            self._pool.drop(self)
            if self._is_stale(error):
                raise NotProcessed(_STALE) from error
            raise

    def reply_now(self) -> "_Http1Reply | None":
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
            self._pool.drop(self)
            raise

    def _is_stale(self, why: BaseException) -> bool:
        return isinstance(why, UpstreamCut) and self.used and not self.reader.started

    async def _while_sending(self) -> "_Http1Reply":
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

    async def _read_head(self) -> "_Http1Reply":
        reply = None
        while reply is None:
            reply = self._head_in(await self.receive())
        return reply

    def _head_in(self, data: bytes) -> "_Http1Reply | None":
        """Return the response whose head `data`, or the end, completes."""
        try:
            events = self.reader.feed(data) if data else self.reader.close()
        except HttpError as error:
            raise _unsound(data, error) from error
        for at, event in enumerate(events):
            if isinstance(event, ResponseHead):
                return _Http1Reply(self, event, events[at + 1 :])
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
            self._pool.keep(self)
        else:
            self._pool.drop(self)


class _Http1Reply:
    """See `Reply`."""

    __slots__ = ("_conn", "_early", "_link", "_reader", "ended", "fields", "pumped", "status")

    def __init__(self, link: _Http1Link, head: ResponseHead, rest: list[HttpEvent]) -> None:
        self._link = link
        self._conn = link.conn
        self._reader = link.reader
        self._early = b"".join([event.data for event in rest if isinstance(event, Body)])
        self.status = head.status
        self.fields: Fields = head.fields
        self.ended = False
        self.pumped = link.conn.pumped

    def take(self, taker: Taker | None) -> None:
        if taker is None:
            self._conn.leave()
        else:
            self._conn.take(taker)

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


class Upstreams:
    """The pool of upstream connections.

    Args:
        resolver: names to addresses.
        pump: looks at the connections.
    """

    def __init__(self, resolver: Resolver | None = None, pump: Pump | None = None) -> None:
        self._resolver = resolver or Resolver()
        self._pump = pump
        self._places: dict[Upstream, Place] = {}
        self._idle: dict[Place, deque[_Http1Link]] = {}
        self._shared: dict[Place, list[Http2Link]] = {}
        self._speaks: dict[Place, str] = {}  # what was agreed on there last: "h2" or "http/1.1"
        self._opening: dict[Place, trio.Event] = {}
        self._contexts: dict[tuple[TlsFiles, bool], ssl.SSLContext] = {}
        self._nursery: trio.Nursery | None = None
        self.open = 0
        """Connections that stand, idle ones included."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the connections that are shared, until cancelled. Without it there is no HTTP/2."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def send(self, attempt: Attempt, clocks: Clocks, sent: Sent | None = None) -> Reply:
        """Send an attempt's request; return the reply once its head has come.

        Whoever has it releases it, in whatever way it ends. A cancel in any phase ends it at once.

        Args:
            attempt: what to send.
            clocks: of its exchange.
            sent: it was sent already, by `begin`.

        Raises:
            UpstreamError: which one tells what went wrong.
        """
        place = self._place(attempt.candidate.upstream)
        link = None
        try:
            if sent is not None:
                return await sent.reply()
            now = trio.current_time()
            link = self._take(place, now)
            if link is None:
                clocks.connecting(now)
                link = await self._link(place)
                now = trio.current_time()
            clocks.waiting(now)
            return await self._ask(link, attempt)
        except NotProcessed:
            clocks.connecting(trio.current_time())
            # The other idle ones may be as dead; a connection that is shared tells what it takes.
            shared = isinstance(link, Http2Link)
            link = await (self._link(place) if shared else self._connect(place))
            clocks.waiting(trio.current_time())
            return await self._ask(link, attempt)

    def begin(self, attempt: Attempt, clocks: Clocks) -> Sent | None:
        """Write an attempt's request; None where no connection is at hand of which one would be called."""
        if self._pump is None or not self._pump.moves:
            return None
        place = self._place(attempt.candidate.upstream)
        if self._shared.get(place):
            return None
        now = trio.current_time()
        link = self._take(place, now) or self._connect_now(place)
        if link is None or isinstance(link, Http2Link):
            return None
        clocks.waiting(now)
        link.begin(_head_of(attempt), attempt.body)
        return link

    def later(self, do: Then) -> bool:
        """Put `do` off until all that is ready now was handled; False where nothing is put off."""
        return self._pump is not None and self._pump.later(do)

    @staticmethod
    async def _ask(link: _Http1Link | Http2Link, attempt: Attempt) -> Reply:
        return await link.ask(_head_of(attempt), attempt.body)

    # -- connections

    def _place(self, upstream: Upstream) -> Place:
        place = self._places.get(upstream)
        if place is None:
            place = self._places[upstream] = _place_of(upstream)
        return place

    async def _link(self, place: Place) -> _Http1Link | Http2Link:
        """Return a connection to `place`: one that stands, or a new one."""
        while True:
            link = self._take(place, trio.current_time())
            if link is not None:
                return link
            if not place.http2 or self._speaks.get(place) == HTTP1:
                return await self._connect(place)
            # It may be shared: a burst of requests shall not open a connection for each of them.
            opening = self._opening.get(place)
            if opening is not None:
                await opening.wait()
                continue
            self._opening[place] = trio.Event()
            try:
                link = await self._connect(place)
            except BaseException:
                self._opened(place)
                raise
            if isinstance(link, _Http1Link):
                self._opened(place)
            return link  # the others learn first how many requests it takes at once

    def _opened(self, place: Place) -> None:
        if place in self._opening:
            self._opening.pop(place).set()

    async def _connect(self, place: Place) -> _Http1Link | Http2Link:
        tls = self._tls(place) if place.scheme == "https" else None
        conn = await self._connected(place)
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
        speaks = H2 if place.http2 and (tls is None or conn.protocol == H2) else HTTP1
        self._speaks[place] = speaks
        if speaks == HTTP1:
            return _Http1Link(conn, place, self)
        assert self._nursery is not None
        link = Http2Link(conn, place.scheme.encode(), RESPONSE_LIMITS, partial(self._opened, place))
        self._shared.setdefault(place, []).append(link)
        self._nursery.start_soon(self._read, place, link)
        return link

    async def _read(self, place: Place, link: Http2Link) -> None:
        try:
            await link.run()
        finally:
            self._shared[place].remove(link)
            self.open -= 1

    def _connect_now(self, place: Place) -> _Http1Link | None:
        """Return a new connection to an upstream of this machine; None where one has to be waited for."""
        if place.scheme != "http" or place.http2:
            return None
        found = self._resolver.own(place.host)
        if found is None:
            return None
        family, address = found
        sock = connected_now(family, (address, place.port))
        if sock is None:
            return None
        self.open += 1
        return _Http1Link(Conn(sock, address, self._pump), place, self)

    async def _connected(self, place: Place) -> Conn:
        why: Exception | None = None
        addresses = await self._resolver.resolve(place.host)
        for at, (family, address) in enumerate(addresses, 1):
            patience = ADDRESS_SECONDS if at < len(addresses) else math.inf
            with trio.move_on_after(patience):
                try:
                    sock = await connected(family, (address, place.port))
                    return Conn(sock, address, self._pump)
                except OSError as error:
                    why = error
        raise _unreachable(why) from why

    def _tls(self, place: Place) -> Tls:
        known = place.files, place.http2
        context = self._contexts.get(known)
        if context is None:
            # 30 to 100 ms each: built once, shared.
            try:
                context = self._contexts[known] = client_context(*place.files)
            except (ConfigError, OSError) as error:
                # They were there when the configuration was read.
                words = "the files of certificates for the upstream cannot be read"
                raise _unreachable(error.__cause__ or error, words) from error
            context.set_alpn_protocols([H2, HTTP1] if place.http2 else [HTTP1])
        return Tls(context, server_side=False, server_name=place.host)

    def _take(self, place: Place, now: float) -> _Http1Link | Http2Link | None:
        for shared in self._shared.get(place, ()):
            if shared.has_room:
                return shared
        idle = self._idle.get(place)
        while idle:
            link = idle.pop()
            if now - link.idle_since < IDLE_SECONDS and link.conn.is_quiet():
                link.idle_since, link.used = 0.0, True
                link.reader = ResponseReader(RESPONSE_LIMITS)
                return link
            self.drop(link)
        return None

    def keep(self, link: _Http1Link) -> None:
        """Put a connection into the pool."""
        idle = self._idle.setdefault(link.place, deque())
        link.idle_since = trio.current_time()
        idle.append(link)
        if len(idle) > IDLE_MOST:
            self.drop(idle.popleft())

    def drop(self, link: _Http1Link) -> None:
        """Close a connection. Dropping it again does nothing."""
        if not link.conn.closed:
            self.open -= 1
            link.conn.close()

    def sweep(self, now: float) -> None:
        """Close the connections that waited too long, or whose peer has closed them, or is gone."""
        for idle in self._idle.values():
            for _ in range(len(idle)):
                link = idle.popleft()
                if now - link.idle_since < IDLE_SECONDS and link.conn.is_quiet():
                    idle.append(link)
                else:
                    self.drop(link)
        for shared in self._shared.values():
            for one in tuple(shared):
                one.tick(now, IDLE_SECONDS)

    def renew(self) -> None:
        """Forget what the configuration said: certificates are read anew, and idle connections not kept."""
        self._contexts.clear()
        self._places.clear()
        self.close()

    def close(self) -> None:
        """Close all idle connections; the others end with what is on them."""
        for idle in self._idle.values():
            while idle:
                self.drop(idle.pop())
        for shared in self._shared.values():
            for one in tuple(shared):
                one.retire()
                if one.idle:
                    one.close()


def _head_of(attempt: Attempt) -> RequestHead:
    return RequestHead(b"POST", attempt.target, attempt.fields)


def _place_of(upstream: Upstream) -> Place:
    url = upstream.url
    assert url.hostname is not None
    secure = url.scheme == "https"
    http2 = upstream.http2 == "prior_knowledge" or (upstream.http2 == "auto" and secure)
    port = url.port or (443 if secure else 80)
    return Place(url.scheme, url.hostname, port, upstream.tls, http2)


def _unreachable(
    why: BaseException | None, words: str = "the upstream cannot be reached"
) -> UpstreamError:
    if isinstance(why, OSError) and why.errno in SCARCE:
        return Exhausted("the proxy is out of descriptors or memory")
    return UpstreamConnectError(words)


def _unsound(data: bytes, error: HttpError) -> UpstreamError:
    """Return what is wrong with an upstream whose `data`, or end, broke HTTP."""
    if data:
        return UpstreamNonsense(f"the upstream's HTTP is broken: {error}")
    return UpstreamCut("the upstream closed the connection before its reply was whole")


def _tls_words(error: Exception) -> str:
    if isinstance(error, WireError):
        return f"no TLS connection to the upstream: {error}"
    return "the upstream broke off the TLS handshake"
