"""Listeners: TCP and unix sockets, the accept loop, the cap on connections, and draining.

Layer: net.
"""

import errno
import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from rawproxy.net.conn import SCARCE, UNACKNOWLEDGED_SECONDS, Conn, tune
from rawproxy.net.welcome import AnyDownstream, Unwelcome, Why

__all__ = ["BACKLOG", "Connections", "Greet", "accept", "open_tcp", "open_unix", "peer_of"]

_log = logging.getLogger("rawproxy")

BACKLOG = 4096
"""Connections that the kernel may queue for us; it clips to its own `somaxconn`."""

PAUSE_SECONDS = 0.1
"""After running out of descriptors or memory: some connection has to end first."""

Greet = Callable[[Conn], Awaitable[AnyDownstream]]
"""Brings a connection to its first request, and makes our side of it. Unwelcome: it came to nothing."""


async def open_tcp(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets, one for each address of `host`.

    Raises:
        OSError: an address cannot be bound.
    """
    found = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(sockets) > 1:  # all addresses of a name share one port
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def open_unix(path: str) -> socket.socket:
    """Return a listening unix socket with mode 0660; a stale one is removed if nobody answers on it.

    Raises:
        OSError: somebody listens there, or the path holds something that is no socket.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o117)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(errno.EADDRINUSE, "somebody listens there already")


class Connections:
    """The client connections that stand, all listeners together.

    Args:
        most: one more is closed at once.
        refused: is told why a connection came to nothing.
    """

    def __init__(self, most: int, refused: Callable[[Why], None]) -> None:
        self._most = most
        self._count = 0
        self._greeted: set[trio.CancelScope] = set()  # on their way to their first request
        self._open: set[AnyDownstream] = set()
        self._draining = False
        self._empty = trio.Event()
        self.refused = refused

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return self._count >= self._most

    async def serve(self, conn: Conn, greet: Greet) -> None:
        """Greet and serve one connection. Whatever escapes from it ends here: other ones go on."""
        self._count += 1
        try:
            downstream = await self._greet(conn, greet)
            if downstream is not None:
                await self._serve(downstream)
        except Unwelcome as error:
            if error.why != "left":
                self.refused(error.why)
                _log.info("a connection from %s came to nothing: %s", conn.peer, error)
        except Exception:
            _log.exception("a connection ended by a fault of ours")
        finally:
            conn.close()
            self._count -= 1
            if self._draining and not self._count:
                self._empty.set()

    async def _greet(self, conn: Conn, greet: Greet) -> AnyDownstream | None:
        """Return what serves `conn`; None when a drain came before its first request."""
        with trio.CancelScope() as scope:
            self._greeted.add(scope)
            try:
                downstream = await greet(conn)
            finally:
                self._greeted.discard(scope)
            return None if self._draining else downstream
        return None

    async def _serve(self, downstream: AnyDownstream) -> None:
        self._open.add(downstream)
        try:
            await downstream.serve()
        finally:
            self._open.discard(downstream)

    async def drain(self) -> None:
        """Close the idle ones, and return when those that serve a request are done with it."""
        self._draining = True
        for scope in self._greeted:
            scope.cancel()
        for downstream in tuple(self._open):
            downstream.drain()
        if self._count:
            await self._empty.wait()


async def accept(
    listener: socket.socket,
    connections: Connections,
    greet: Greet,
    start: Callable[[Callable[[Conn, Greet], Awaitable[None]], Conn, Greet], None],
    write_seconds: float,
) -> None:
    """Accept until cancelled; each connection is started as a task of its own.

    Args:
        listener: a listening, non-blocking socket.
        connections: counts them.
        greet: brings a connection to its first request, and makes our side of it.
        start: starts a task.
        write_seconds: how long a client may take none of a reply's bytes.
    """
    short = False
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno not in SCARCE:
                continue  # the client was gone before we came to it
            if not short:
                _log.warning("accepting pauses: %s", os.strerror(error.errno or 0))
            short = True
            await trio.sleep(PAUSE_SECONDS)
            continue
        short = False
        if connections.full:
            sock.close()
            connections.refused("full")
            continue
        try:
            # Our own clock tells what a client that stops reading was; the kernel's comes after it.
            tune(sock, UNACKNOWLEDGED_SECONDS + write_seconds)
        except OSError:  # it is gone already
            sock.close()
            continue
        start(connections.serve, Conn(sock, peer_of(sock.family, address)), greet)


def peer_of(family: int, address: object) -> str:
    """Return who is on the other side of an accepted socket: an address, or `unix`.

    Args:
        family: of the socket.
        address: as `accept` gave it.
    """
    if family == socket.AF_UNIX or not isinstance(address, tuple):
        return "unix"
    found = ipaddress.ip_address(address[0].partition("%")[0])
    # A listener for both families, as systemd makes them, shows IPv4 like this (RFC 4291 2.5.5.2).
    return str(getattr(found, "ipv4_mapped", None) or found)
