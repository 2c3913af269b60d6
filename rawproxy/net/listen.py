"""Listeners: TCP, unix and inherited sockets, and the accept loop.

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
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path

import trio

from rawproxy.net.conn import SCARCE, UNACKNOWLEDGED_SECONDS, Conn, tune
from rawproxy.net.connections import Connections, Terms
from rawproxy.net.pump import Pump

__all__ = [
    "AT_ONCE", "BACKLOG", "Listening", "adopt", "open_tcp", "open_unix", "peer_of",
    "steer_away",
]  # fmt: skip

_log = logging.getLogger("rawproxy")

BACKLOG = 4096
"""Connections that the kernel may queue for us; it clips to its own `somaxconn`."""

PAUSE_SECONDS = 0.1
"""After running out of descriptors or memory: some connection has to end first."""

LINGER_SECONDS = 0.05
"""How long a listener that closes goes on accepting: handshakes that are under way end meanwhile."""

AT_ONCE = 16
"""Connections taken from a queue before others have their turn. With one of them, a thousand streams that
are ready all the time let one client in for each round of theirs."""

KNOWN_PEERS = 1024
"""Addresses whose spelling is remembered: finding it out takes forty calls."""

_ATTACH_REUSEPORT_CBPF, _DETACH_REUSEPORT_BPF = 51, 68
"""SO_* of Linux (socket(7)); the module `socket` does not name them."""

_LINUX = sys.platform == "linux"
_SECOND = 1


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


class Listening:
    """The listeners whose connections are served alike. They can change while it runs.

    Args:
        connections: counts what they accept.
        terms: returns those of a listener's connections; asked once for each listener.
        nursery: where tasks run.
        pump: looks at the connections.
    """

    def __init__(
        self,
        connections: Connections,
        terms: Callable[[socket.socket], Terms],
        nursery: trio.Nursery,
        pump: Pump | None = None,
    ) -> None:
        self._pump = pump
        self.connections = connections
        self._terms = terms
        self._nursery = nursery
        self._scopes: dict[socket.socket, trio.CancelScope] = {}
        self._accepting = 0
        self._closed = trio.Event()
        self._write_seconds = 0.0
        self._short = False  # of descriptors or memory

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
            self._nursery.start_soon(self._accept, sock, self._terms(sock), self._scopes[sock])

    async def close(self) -> None:
        """Close all, and return when that is done."""
        self.listen([], 0.0)
        if self._accepting:
            await self._closed.wait()

    async def _accept(self, sock: socket.socket, terms: Terms, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._accept_on(sock, terms)
            with suppress(OSError):  # BlockingIOError: the queue is empty
                while True:
                    self._take(sock, terms)
        finally:
            if self._pump is not None:
                self._pump.forget(sock.fileno())
            sock.close()
        self._accepting -= 1
        if not self._accepting and not self._scopes:
            self._closed.set()

    async def _accept_on(self, sock: socket.socket, terms: Terms) -> None:
        failed = False
        while True:
            try:
                if failed:
                    await trio.sleep(PAUSE_SECONDS)
                failed = False
                await self._accept_all(sock, terms)
            except Exception:  # whatever it is, the next client is not to pay for it
                _log.exception("accepting pauses: a fault of ours")
                failed = True

    async def _accept_all(self, sock: socket.socket, terms: Terms) -> None:
        """Accept until cancelled."""
        take = partial(self._take_some, sock, terms)
        pump = self._pump if self._pump is not None and self._pump.moves else None
        while True:
            try:
                if self._short:
                    take()
                if pump is not None:
                    await pump.receive(sock.fileno(), take)
                else:
                    await trio.lowlevel.wait_readable(sock)
                    take()
            except OSError as error:
                if not self._short:
                    _log.warning("accepting pauses: %s", os.strerror(error.errno or 0))
                self._short = True
                await trio.sleep(PAUSE_SECONDS)

    def _take_some(self, listener: socket.socket, terms: Terms) -> None:
        """Take what is in the queue, up to `AT_ONCE` connections. OSError: there is no room for one."""
        try:
            for _ in range(AT_ONCE):
                self._take(listener, terms)
        except OSError as error:
            if error.errno in SCARCE:
                raise
            # Else the queue is empty, or the client was gone before we came to it.

    def _take(self, listener: socket.socket, terms: Terms) -> None:
        """Take one connection from the queue. OSError: there is none, or no room for it."""
        sock, address = listener.accept()
        self._short = False
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
        self.connections.start(conn, terms, self._nursery)


def peer_of(family: int, address: object) -> str:
    """Return who is on the other side of an accepted socket: an address, or `unix`.

    Args:
        family: of the socket.
        address: as `accept` gave it.
    """
    if family == socket.AF_UNIX or not isinstance(address, tuple):
        return "unix"
    return _plainly(address[0])


@lru_cache(KNOWN_PEERS)
def _plainly(host: str) -> str:
    found = ipaddress.ip_address(host.partition("%")[0])
    # A listener for both families, as systemd makes them, shows IPv4 like this (RFC 4291 2.5.5.2).
    return str(getattr(found, "ipv4_mapped", None) or found)
