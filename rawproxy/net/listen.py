"""Listeners: TCP and unix sockets, the accept loop, the cap on connections, and draining.

Layer: net.
"""

import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from rawproxy.net.conn import UNACKNOWLEDGED_SECONDS, Conn, tune
from rawproxy.net.downstream import Downstream

__all__ = ["BACKLOG", "Connections", "accept", "open_tcp", "open_unix"]

_log = logging.getLogger("rawproxy")

BACKLOG = 4096
"""Connections that the kernel may queue for us; it clips to its own `somaxconn`."""

PAUSE_SECONDS = 0.1
"""After running out of descriptors or memory: some connection has to end first."""

_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


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
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Downstream] = set()
        self._draining = False
        self._empty = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether there is no room for one more."""
        return len(self._open) >= self._most

    async def serve(self, downstream: Downstream) -> None:
        """Serve one connection. Whatever escapes from it ends here: other connections go on."""
        self._open.add(downstream)
        try:
            await downstream.serve()
        except Exception:
            _log.exception("a connection ended by a fault of ours")
        finally:
            self._open.discard(downstream)
            downstream.conn.close()
            if self._draining and not self._open:
                self._empty.set()

    async def drain(self) -> None:
        """Close the idle ones, and return when those that serve a request are done with it."""
        self._draining = True
        for downstream in tuple(self._open):
            downstream.draining = True
            if downstream.idle_scope is not None:
                downstream.idle_scope.cancel()
        if self._open:
            await self._empty.wait()


async def accept(
    listener: socket.socket,
    connections: Connections,
    connect: Callable[[Conn], Downstream],
    start: Callable[[Callable[[Downstream], Awaitable[None]], Downstream], None],
    write_seconds: float,
) -> None:
    """Accept until cancelled; each connection is started as a task of its own.

    Args:
        listener: a listening, non-blocking socket.
        connections: counts them.
        connect: makes the connection's side of ours.
        start: starts a task.
        write_seconds: how long a client may take none of a reply's bytes.
    """
    failed = False
    while True:
        try:
            if failed:
                await trio.sleep(PAUSE_SECONDS)
            failed = False
            await _accept(listener, connections, connect, start, write_seconds)
        except Exception:  # whatever it is, the next client is not to pay for it
            _log.exception("accepting pauses: a fault of ours")
            failed = True


async def _accept(
    listener: socket.socket,
    connections: Connections,
    connect: Callable[[Conn], Downstream],
    start: Callable[[Callable[[Downstream], Awaitable[None]], Downstream], None],
    write_seconds: float,
) -> None:
    short = False
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno not in _SCARCE:
                continue  # the client was gone before we came to it
            if not short:
                _log.warning("accepting pauses: %s", os.strerror(error.errno or 0))
            short = True
            await trio.sleep(PAUSE_SECONDS)
            continue
        short = False
        if connections.full:
            sock.close()
            continue
        try:
            # Our own clock tells what a client that stops reading was; the kernel's comes after it.
            tune(sock, UNACKNOWLEDGED_SECONDS + write_seconds)
            downstream = connect(Conn(sock))
        except OSError:  # it is gone already
            sock.close()
            continue
        except BaseException:
            sock.close()
            raise
        start(connections.serve, downstream)
