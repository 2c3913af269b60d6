"""From an accepted connection to its first request: PROXY header, TLS handshake, which HTTP.

Layer: net. Every connection does this in its own task: a client that is slow, broken or hostile here
costs nobody else anything.

    accepted --> from a load balancer? PROXY header --> TLS? handshake --> speak() --> requests
                |<------- server.limits.handshake_seconds ---------->|
"""

import ipaddress
from dataclasses import dataclass
from typing import Literal

import trio

from rawproxy.errors import WireError
from rawproxy.gateway.limits import Limits
from rawproxy.net.conn import Conn
from rawproxy.net.downstream import Downstream
from rawproxy.net.downstream_http2 import Http2Downstream
from rawproxy.net.response import Serving
from rawproxy.wire.client_hello import server_name
from rawproxy.wire.h2.frames import PREFACE
from rawproxy.wire.proxy_protocol import HeaderReader
from rawproxy.wire.tls import Certificates

__all__ = [
    "PROTOCOLS",
    "AnyDownstream",
    "Entrance",
    "Network",
    "Serving",
    "Unwelcome",
    "Why",
    "may_be_http2",
    "speak",
    "welcome",
]

PROTOCOLS = ("h2", "http/1.1")
"""What TLS clients may choose from (ALPN), the preferred one first. `speak` serves each of them."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Why = Literal["full", "proxy_header", "tls", "late", "left"]
"""Why a connection came to nothing before any request. Those that just `left` are no news."""

AnyDownstream = Downstream | Http2Downstream


class Unwelcome(Exception):
    """A connection came to nothing; the message holds none of the peer's bytes."""

    def __init__(self, why: Why, message: object) -> None:
        super().__init__(str(message))
        self.why = why


@dataclass(frozen=True, slots=True)
class Entrance:
    """What clients of a listener have to pass; swapped whole when the configuration is read again.

    Attributes:
        certificates: what they are shown; None: no TLS.
        load_balancers: networks whose connections begin with a PROXY header. From anybody else it is
            not accepted: they could claim to be anyone.
        seconds: how long all of it may take.
    """

    certificates: Certificates | None = None
    load_balancers: tuple[Network, ...] = ()
    seconds: float = 10.0

    def stops(self, peer: str) -> bool:
        """Return whether a connection from the address `peer` has anything to pass."""
        return self.certificates is not None or self.expects_header(peer)

    def expects_header(self, peer: str) -> bool:
        """Return whether a connection from the address `peer` has to begin with a PROXY header."""
        if not self.load_balancers:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:  # a unix socket has none
            return False
        return any(address in network for network in self.load_balancers)


def may_be_http2(data: bytes) -> bool:
    """Return whether a plain connection's first bytes are HTTP/2's, as far as they have come."""
    return data.startswith(PREFACE) or PREFACE.startswith(data)


async def welcome(conn: Conn, entrance: Entrance, serving: Serving) -> AnyDownstream:
    """Bring a connection to the point where it may send requests.

    Raises:
        Unwelcome: it came to nothing.
    """
    with trio.move_on_after(entrance.seconds) as scope:
        if entrance.expects_header(conn.peer):
            await _read_header(conn)
        if entrance.certificates is not None:
            await _shake_hands(conn, entrance.certificates)
    if scope.cancelled_caught:
        raise Unwelcome("late", f"not done within {entrance.seconds:g} s")
    return await speak(conn, serving)


async def speak(conn: Conn, serving: Serving) -> AnyDownstream:
    """Return our side of a connection, in the HTTP version that its client speaks.

    The one place that decides it: by `conn.protocol` (ALPN), or by the client's first bytes, which
    `conn.unread` gives back. Plain calls leave to it whatever `may_be_http2`.

    Raises:
        Unwelcome: it sent nothing, or nothing more.
    """
    protocol = conn.protocol or await _sniff(conn, serving.limits)
    kind = Http2Downstream if protocol == "h2" else Downstream
    return kind(conn, serving)


async def _sniff(conn: Conn, limits: Limits) -> str:
    """Return which HTTP the first bytes are; they are left for its reader (RFC 9113 3.3)."""
    data = b""
    until = trio.current_time() + limits.idle_seconds
    while PREFACE.startswith(data) and len(data) < len(PREFACE):
        try:
            more = await conn.receive(until)
        except trio.TooSlowError:
            break
        except OSError as error:
            raise Unwelcome("left", error) from error
        if not more:
            break  # HTTP/1.1 knows what to say of what there is
        data += more
        until = trio.current_time() + limits.head_seconds
    if not data:
        raise Unwelcome("left", "no request came")
    conn.unread(data)
    return "h2" if data.startswith(PREFACE) else "http/1.1"


async def _read_header(conn: Conn) -> None:
    """Read the PROXY header; from then on `conn.peer` is who the load balancer says."""
    reader = HeaderReader()
    try:
        while not reader.done:
            data = await conn.receive()
            if not data:
                raise WireError("the connection ended inside the PROXY header")
            reader.feed(data)
    except (OSError, WireError) as error:
        raise Unwelcome("proxy_header", error) from error
    conn.peer = reader.source or conn.peer
    conn.unread(reader.rest)


async def _shake_hands(conn: Conn, certificates: Certificates) -> None:
    try:
        name = await _name_asked(conn) if certificates.several else ""
        await conn.handshake(certificates.side(name))
    except (OSError, WireError) as error:
        raise Unwelcome("tls", error) from error


async def _name_asked(conn: Conn) -> str:
    """Return the name that the client asks for; its bytes are left for the handshake."""
    data = b""
    while (name := server_name(data)) is None:
        more = await conn.receive()
        if not more:
            raise WireError("the connection ended before the TLS handshake")
        data += more
    conn.unread(data)
    return name
