"""Listeners: TCP, unix and inherited sockets, the accept loop, the cap on connections, draining.

Layer: net.
"""

import ctypes
import errno
import ipaddress
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path

import trio

from rawproxy.net.conn import SCARCE, UNACKNOWLEDGED_SECONDS, Conn, tune
from rawproxy.net.downstream import RECENT_SECONDS
from rawproxy.net.pump import Pump
from rawproxy.net.welcome import AnyDownstream, Unwelcome, Why

__all__ = [
    "BACKLOG", "Connections", "Greet", "Listening", "adopt", "open_tcp", "open_unix", "peer_of",
    "steer_away",
]  # fmt: skip

_log = logging.getLogger("rawproxy")

BACKLOG = 4096
"""Connections that the kernel may queue for us; it clips to its own `somaxconn`."""

PAUSE_SECONDS = 0.1
"""After running out of descriptors or memory: some connection has to end first."""

LINGER_SECONDS = 0.05
"""How long a listener that closes goes on accepting: handshakes that are under way end meanwhile."""

_ATTACH_REUSEPORT_CBPF, _DETACH_REUSEPORT_BPF = 51, 68
"""SO_* of Linux (socket(7)); the module `socket` does not name them."""

_LINUX = sys.platform == "linux"
_SECOND = 1

Greet = Callable[[Conn], Awaitable[AnyDownstream]]
"""Brings a connection to its first request, and makes our side of it. Unwelcome: it came to nothing."""


async def open_tcp(host: str, port: int, *, share: bool = False) -> list[socket.socket]:
    """Return listening sockets, one for each address of `host`.

    Args:
        host: a name or an address.
        port: 0 for a free one.
        share: whether another process of this user, a rawproxy too, may be listening there. Without
            it the address has to be free; whoever asks with it later joins.

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
            _bind(sock, address, share=share)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(sock: socket.socket, address: tuple[object, ...], *, share: bool) -> None:
    if share:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    # Only after the bind: a port that is taken is told, and yet a later process can join.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.listen(BACKLOG)
    if share and _LINUX:
        with suppress(OSError):  # what the last one that closed had steered to others
            sock.setsockopt(socket.SOL_SOCKET, _DETACH_REUSEPORT_BPF, 0)
    sock.setblocking(False)


def steer_away(sock: socket.socket) -> None:
    """Send new connections to the process that has joined this address, if there is one.

    The kernel resets what waits in the queue of a socket that closes, and what is in the middle of its
    handshake there. So nothing new may come into it. A program of classic BPF that returns 1 chooses
    the second socket of the address, which is the one that joined; where there is none, the kernel
    falls back to all there are.
    """
    if _LINUX and sock.family != socket.AF_UNIX:
        program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, _SECOND))  # BPF_RET
        option = struct.pack("HP", 1, ctypes.addressof(program))
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, option)


def adopt(fd: int) -> socket.socket:
    """Return the listening socket that this process has inherited as descriptor `fd`.

    Raises:
        OSError: it is none.
    """
    sock = socket.socket(fileno=fd)
    try:
        known = sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not known or sock.type != socket.SOCK_STREAM or not listens:
            raise OSError(errno.EINVAL, "it is no stream socket that listens")
    except OSError:
        sock.detach()  # not ours to close
        raise
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def open_unix(path: str, *, share: bool = False) -> socket.socket:
    """Return a listening unix socket with mode 0660; a stale one is removed if nobody answers on it.

    Args:
        path: where.
        share: whether somebody may be listening there: the path is then taken over in one step, and
            what waits for the other one stays with it.

    Raises:
        OSError: somebody listens there, or the path holds something that is no socket.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        taken = _remove_stale(path)
        if taken and not share:
            raise OSError(errno.EADDRINUSE, "somebody listens there already")
        bound = f"{path}.{os.getpid()}" if taken else path
        before = os.umask(0o117)
        try:
            sock.bind(bound)
        finally:
            os.umask(before)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        if taken:
            Path(bound).rename(path)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> bool:
    """Make room for a socket at `path`; return whether somebody listens there."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return False
    return True


class Connections:
    """The client connections that stand, all listeners together.

    Args:
        most: one more is closed at once.
        refused: is told why a connection came to nothing.
    """

    def __init__(self, most: int, refused: Callable[[Why], None]) -> None:
        self.most = most
        self.refused = refused
        self._count = 0
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

    def start(self, conn: Conn, greet: Greet, nursery: trio.Nursery) -> None:
        """Greet and serve a connection, as a task of its own."""
        self._count += 1
        nursery.start_soon(self._run, conn, greet)

    async def _run(self, conn: Conn, greet: Greet) -> None:
        """Greet and serve one connection. Whatever escapes from it ends here: other ones go on."""
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
        """Return what serves `conn`; None when a drain came, and no request soon enough."""
        now = trio.current_time()
        with trio.CancelScope() as scope:
            if self._draining:
                scope.deadline = now + RECENT_SECONDS
            self._greeted[scope] = now
            try:
                return await greet(conn)
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
        for downstream in tuple(self._open):
            downstream.drain()
        if self._count:
            await self._empty.wait()


class Listening:
    """The listeners whose connections are served alike. They can change while it runs.

    Args:
        connections: counts what they accept.
        greeting: what greets the connections of a listener; asked once for each.
        nursery: where tasks run.
        pump: looks at the connections.
    """

    def __init__(
        self,
        connections: Connections,
        greeting: Callable[[socket.socket], Greet],
        nursery: trio.Nursery,
        pump: Pump | None = None,
    ) -> None:
        self._pump = pump
        self.connections = connections
        self._greeting = greeting
        self._nursery = nursery
        self._scopes: dict[socket.socket, trio.CancelScope] = {}
        self._accepting = 0
        self._closed = trio.Event()
        self._write_seconds = 0.0

    def listen(self, sockets: Iterable[socket.socket], write_seconds: float) -> None:
        """Accept on `sockets` from now on, and close all others: what waits in them is still served.

        Args:
            sockets: listening, non-blocking ones. They are ours to close.
            write_seconds: how long a client may take none of a reply's bytes.
        """
        self._write_seconds = write_seconds
        wanted = set(sockets)
        for sock in self._scopes.keys() - wanted:
            steer_away(sock)
            self._scopes.pop(sock).deadline = trio.current_time() + LINGER_SECONDS
        for sock in wanted - self._scopes.keys():
            self._scopes[sock] = trio.CancelScope()
            self._accepting += 1
            self._nursery.start_soon(self._accept, sock, self._greeting(sock), self._scopes[sock])

    async def close(self) -> None:
        """Close all, and return when that is done."""
        self.listen([], 0.0)
        if self._accepting:
            await self._closed.wait()

    async def _accept(self, sock: socket.socket, greet: Greet, scope: trio.CancelScope) -> None:
        with sock:
            with scope:
                await self._accept_on(sock, greet)
            with suppress(OSError):  # BlockingIOError: the queue is empty
                while True:
                    self._take(sock, greet)
        self._accepting -= 1
        if not self._accepting and not self._scopes:
            self._closed.set()

    async def _accept_on(self, sock: socket.socket, greet: Greet) -> None:
        failed = False
        while True:
            try:
                if failed:
                    await trio.sleep(PAUSE_SECONDS)
                failed = False
                await self._accept_all(sock, greet)
            except Exception:  # whatever it is, the next client is not to pay for it
                _log.exception("accepting pauses: a fault of ours")
                failed = True

    async def _accept_all(self, sock: socket.socket, greet: Greet) -> None:
        """Accept until cancelled; each connection is started as a task of its own."""
        short = False
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                self._take(sock, greet)
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

    def _take(self, listener: socket.socket, greet: Greet) -> None:
        """Take one connection from the queue. OSError: there is none, or no room for it."""
        sock, address = listener.accept()
        if self.connections.full:
            sock.close()
            self.connections.refused("full")
            return
        try:
            # Our own clock tells what a client that stops reading was; the kernel's comes after it.
            tune(sock, UNACKNOWLEDGED_SECONDS + self._write_seconds)
            conn = Conn(sock, peer_of(sock.family, address), self._pump)
        except OSError:  # it is gone already
            sock.close()
            return
        except BaseException:
            sock.close()
            raise
        self.connections.start(conn, greet, self._nursery)


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
