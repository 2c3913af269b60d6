"""The upstreams, and the pool of connections to them.

Layer: net. Sends what gateway wrote, hands back the reply's head and body bytes. Knows no dialect.
A connection goes back into the pool only when its reply was read to the end, the framing said that
it may be used again, and the peer has not spoken since.
"""

import math
import ssl
from collections import defaultdict, deque
from functools import partial
from typing import NamedTuple, Protocol

import trio

from rawproxy.errors import (
    ConfigError,
    Exhausted,
    NotProcessed,
    UpstreamConnectError,
    UpstreamError,
    WireError,
)
from rawproxy.gateway.attempt import Attempt
from rawproxy.gateway.liveness import Clocks
from rawproxy.gateway.providers import TlsFiles, Upstream
from rawproxy.net.conn import SCARCE, Conn, connected, connected_now
from rawproxy.net.pump import Pump, Taker
from rawproxy.net.relay import Source
from rawproxy.net.resolve import Resolver
from rawproxy.net.upstream_http1 import RESPONSE_LIMITS, Http1Link
from rawproxy.net.upstream_http2 import Http2Link
from rawproxy.wire.http import Fields
from rawproxy.wire.tls import Session, Tls, client_context

__all__ = ["Reply", "Sent", "Upstreams"]

ADDRESS_SECONDS = 1.5
"""How long one of several addresses may take before the next one is tried."""

IDLE_SECONDS = 60.0
"""How long a connection may wait in the pool; servers close theirs after 60 to 75 seconds."""

IDLE_MOST = 256
"""Idle connections kept to one place."""

H2, HTTP1 = "h2", "http/1.1"
"""The names of the protocols in TLS (RFC 7301 section 6, RFC 9113 3.2)."""


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
    """A request on its way."""

    def take(self, taker: Taker | None) -> None:
        """Call `taker` each time that `reply_now` may have something; None: nobody any more."""
        ...

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


class _Home:
    """The connections to one place that wait for a request.

    Attributes:
        idle: those, the one that came last at the end.
        session: what the next one may take up of the TLS of the last.
    """

    def __init__(self, upstreams: "Upstreams") -> None:
        self._upstreams = upstreams
        self.idle: deque[Http1Link] = deque()
        self.session: Session | None = None

    def keep(self, link: Http1Link) -> None:
        """Take one that is fit for another request."""
        self._learn(link)
        link.rest()
        link.idle_since = self._upstreams.pump.now()
        self.idle.append(link)
        if len(self.idle) > IDLE_MOST:
            self.drop(self.idle.popleft())

    def lose(self, link: Http1Link) -> None:
        """Learn that one that waits is no good any more."""
        self.idle.remove(link)
        self.drop(link)

    def drop(self, link: Http1Link) -> None:
        """Close one. Dropping it again does nothing."""
        if not link.conn.closed:
            self._learn(link)
            self._upstreams.open -= 1
            link.conn.close()

    def take(self, now: float) -> Http1Link | None:
        """Return the one that was used last; None where there is none."""
        if not self.idle:
            return None
        link = self.idle.pop()
        if now - link.idle_since < IDLE_SECONDS:
            link.rise()
            return link
        self.drop(link)  # the others have waited longer
        self.close()
        return None

    def sweep(self, now: float) -> None:
        """Close those that have waited too long."""
        while self.idle and now - self.idle[0].idle_since >= IDLE_SECONDS:
            self.drop(self.idle.popleft())

    def close(self) -> None:
        """Close all of them."""
        while self.idle:
            self.drop(self.idle.pop())

    def _learn(self, link: Http1Link) -> None:
        if not link.used and (session := link.conn.session) is not None:
            self.session = session


class Upstreams:
    """The pool of upstream connections.

    Args:
        pump: looks at the connections.
        resolver: names to addresses.
    """

    def __init__(self, pump: Pump, resolver: Resolver | None = None) -> None:
        self.pump = pump
        self._resolver = resolver or Resolver()
        self._places: dict[Upstream, Place] = {}
        self._homes: defaultdict[Place, _Home] = defaultdict(partial(_Home, self))
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
            shared = self._speaks.get(place) == H2
            link = await (self._link(place) if shared else self._connect(place))
            clocks.waiting(trio.current_time())
            return await self._ask(link, attempt)

    def begin(self, attempt: Attempt, clocks: Clocks, now: float) -> Sent | None:
        """Write an attempt's request; None where no connection is at hand of which one would be called."""
        if not self.pump.moves:
            return None
        place = self._place(attempt.candidate.upstream)
        link = self._take(place, now) or self._connect_now(place)
        if link is None:
            return None
        clocks.waiting(now)
        return link.begin(attempt.start, attempt.body)

    @staticmethod
    async def _ask(link: Http1Link | Http2Link, attempt: Attempt) -> Reply:
        return await link.ask(attempt.start, attempt.body)

    # -- connections

    def _place(self, upstream: Upstream) -> Place:
        place = self._places.get(upstream)
        if place is None:
            place = self._places[upstream] = _place_of(upstream)
        return place

    async def _link(self, place: Place) -> Http1Link | Http2Link:
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
            if isinstance(link, Http1Link):
                self._opened(place)
            return link  # the others learn first how many requests it takes at once

    def _opened(self, place: Place) -> None:
        if place in self._opening:
            self._opening.pop(place).set()

    async def _connect(self, place: Place) -> Http1Link | Http2Link:
        secure = place.scheme == "https"
        conn = await (self._secured(place) if secure else self._connected(place))
        self.open += 1
        speaks = H2 if place.http2 and (not secure or conn.protocol == H2) else HTTP1
        self._speaks[place] = speaks
        if speaks == HTTP1:
            return Http1Link(conn, self._homes[place])
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

    def _connect_now(self, place: Place) -> Http1Link | None:
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
        return Http1Link(Conn(sock, address, self.pump), self._homes[place])

    async def _connected(self, place: Place) -> Conn:
        why: Exception | None = None
        addresses = await self._resolver.resolve(place.host)
        for at, (family, address) in enumerate(addresses, 1):
            patience = ADDRESS_SECONDS if at < len(addresses) else math.inf
            with trio.move_on_after(patience):
                try:
                    sock = await connected(family, (address, place.port))
                    return Conn(sock, address, self.pump)
                except OSError as error:
                    why = error
        raise _unreachable(why) from why

    async def _secured(self, place: Place) -> Conn:
        """Return a connection that has shaken hands."""
        home = self._homes[place]
        while True:
            session = home.session
            tls = self._tls(place, session)
            conn = await self._connected(place)
            try:
                await conn.handshake(tls)
            except (OSError, WireError) as error:
                conn.close()
                if session is None:
                    raise UpstreamConnectError(_tls_words(error)) from error
                home.session = None  # it may have been what the server could not do with
            except BaseException:
                conn.close()
                raise
            else:
                return conn

    def _tls(self, place: Place, session: Session | None) -> Tls:
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
        return Tls(context, server_side=False, server_name=place.host, session=session)

    def _take(self, place: Place, now: float) -> Http1Link | Http2Link | None:
        for shared in self._shared.get(place, ()):
            if shared.has_room:
                return shared
        return self._homes[place].take(now)

    def sweep(self, now: float) -> None:
        """Close the connections that waited too long, or whose peer is gone."""
        for home in self._homes.values():
            home.sweep(now)
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
        for home in self._homes.values():
            home.close()
        for shared in self._shared.values():
            for one in tuple(shared):
                one.retire()
                if one.idle:
                    one.close()


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


def _tls_words(error: Exception) -> str:
    if isinstance(error, WireError):
        return f"no TLS connection to the upstream: {error}"
    return "the upstream broke off the TLS handshake"
