"""One stream socket, plain or under TLS: bytes in, bytes out, nothing lost to a cancel.

Layer: net. Plain non-blocking sockets, not `trio.SocketStream`: a third of the cost for an event.
Writing is tried first; what the kernel does not take waits in `pending`, so a write that is
cancelled can be resumed, and nobody else's bytes can get in between.
"""

import contextlib
import errno
import math
import select
import socket
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import outcome
import trio

from rawproxy.errors import WireError
from rawproxy.net.pump import Pump, Taker, Then
from rawproxy.wire.tls import Session, Tls

__all__ = [
    "READ_BYTES", "SCARCE", "Conn", "connected", "connected_now", "joined", "rest_of", "tune",
]  # fmt: skip

READ_BYTES = 32768
"""Bytes asked for in one read. What a stalled client costs is a small multiple of it."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 30, 10, 3
"""A peer that went without a word is found within a minute (RFC 9293 3.8.4)."""

UNACKNOWLEDGED_SECONDS = 30.0
"""How long sent bytes may stay unacknowledged, and a window closed (RFC 9293 3.8.3)."""

UNSENT_BYTES = 131072
"""What the kernel takes of a connection before it has room to send it. By itself it takes megabytes: a
client that reads nothing would have its upstream talk on, and a thousand of them fill the memory."""

LONGEST_TIMEOUT = 86400.0
"""Seconds; the kernel counts milliseconds in 31 bits."""

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of a system that has no more descriptors or memory: nobody's fault, and it passes."""

# l_onoff 1, l_linger 0: close() sends RST.
_RESET = struct.pack("ii", 1, 0)


def tune(sock: socket.socket, unacknowledged_seconds: float = UNACKNOWLEDGED_SECONDS) -> None:
    """Set what every TCP connection of ours needs; other sockets are left alone."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ("TCP_NOTSENT_LOWAT", UNSENT_BYTES),
        ("TCP_USER_TIMEOUT", int(min(unacknowledged_seconds, LONGEST_TIMEOUT) * 1000)),
    ):
        if hasattr(socket, option):  # not every system has each of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _connecting(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    """Return a socket that connects to `address`, or has done so. OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        tune(sock)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


async def connected(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    """Return a socket that is connected to `address`. OSError; closed when it is not to be."""
    sock = _connecting(family, address)
    try:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect failed")
    except BaseException:
        sock.close()
        raise
    return sock


def connected_now(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket | None:
    """Return a socket that is connected to `address`; None where that fails, or is not done at once."""
    try:
        sock = _connecting(family, address)
    except OSError:
        return None
    try:
        sock.getpeername()
    except OSError:  # not connected, for now or for good
        sock.close()
        return None
    return sock


def joined(waits: bytes | memoryview, data: bytes | memoryview) -> bytes | memoryview:
    """Return what waits and, behind it, `data`; a copy only where there is something of both."""
    if not data:
        return waits
    return b"".join((waits, data)) if waits else data


def rest_of(data: bytes | memoryview, taken: int) -> bytes | memoryview:
    """Return `data` without its first `taken` bytes, as a view as long as it is more than half of what that holds.

    Copied each time, 60 MB that go out 16 KB at a time would be 110 GB; so they are less than 60 MB.
    """
    rest = memoryview(data)[taken:]
    return rest if 2 * len(rest) > memoryview(rest.obj).nbytes else bytes(rest)


class Conn:
    """A connected, non-blocking socket; plain until the handshake.

    Args:
        sock: the socket; it is ours to close.
        peer: who is on the other side: an address, or `unix`.
        pump: looks at it; without one trio does, and `take` cannot be used.
    """

    __slots__ = (
        "_early",
        "_fd",
        "_hurried",
        "_pending",
        "_pump",
        "_sock",
        "_tls",
        "closed",
        "peer",
        "pending",
    )

    def __init__(self, sock: socket.socket, peer: str = "", pump: Pump | None = None) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self._pump = pump
        self._hurried: trio.CancelScope | None = None
        self._tls: Tls | None = None
        self._pending: bytes | memoryview = b""
        self._early = b""  # what `receive` gives before it reads on
        self.peer = peer
        self.closed = False
        self.pending = 0
        """Bytes that the kernel has not taken yet; under TLS ciphertext: nothing is encrypted twice."""

    @property
    def protocol(self) -> str | None:
        """What both sides agreed on in the handshake (ALPN); None without TLS, or without any."""
        return self._tls.alpn if self._tls is not None else None

    @property
    def session(self) -> Session | None:
        """What the next connection to the same server may take up of its TLS; see `Tls`."""
        return self._tls.session if self._tls is not None else None

    async def handshake(self, tls: Tls) -> None:
        """Do the TLS handshake; from then on all bytes go through `tls`.

        Raises:
            OSError: the connection broke.
            WireError: it failed; the message names the reason.
        """
        data, self._early = self._early, b""
        await self.send(tls.start())
        while not tls.handshaken:
            data = data or await self._read()
            if not data:
                tls.eof()
            try:
                self._early += tls.feed(data)
            finally:
                await self.send(tls.take())
            data = b""
        self._tls = tls

    async def receive(
        self, until: float = math.inf, look: Callable[[], bytes | None] | None = None
    ) -> bytes:
        """Return the bytes of one read; b"" at the end.

        Args:
            until: how long to wait for them, on trio's clock.
            look: reads in place of `receive_now` when bytes came, which it may keep to itself: None.

        Raises:
            OSError: the connection broke; as it did when TLS was broken, or ended without saying so:
                a cut must not look like an end.
            trio.TooSlowError: nothing came.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._ended:
            return b""
        return await self._received(look or self.receive_now, until)

    async def _received(
        self, receive: Callable[[], bytes | None], until: float = math.inf
    ) -> bytes:
        """Return what `receive` gives, once it gives anything but None."""
        if (pump := self._pump) is not None and pump.moves:
            return await pump.receive(self._fd, receive, until)
        data: bytes | None = None
        with trio.CancelScope(deadline=until) as self._hurried:
            while data is None:
                await trio.lowlevel.wait_readable(self._sock)
                data = receive()
        if data is None and (data := receive()) is None:  # what is there by now came in time
            raise trio.TooSlowError
        return data

    def receive_later(
        self,
        until: float,
        look: Callable[[], bytes | None],
        over: Callable[[outcome.Outcome[bytes]], None],
    ) -> None:
        """Do as `receive` where it has to wait, and the pump looks; call `over` with what comes of it."""
        assert self._pump is not None
        self._pump.receive_later(self._fd, look, until, over)

    def hurry(self, until: float) -> None:
        """Let the `receive` that waits do so until then; where none does, nothing happens."""
        if (pump := self._pump) is not None and pump.moves:
            pump.hurry(self._fd, until)
        elif self._hurried is not None:
            self._hurried.deadline = until

    def wake(self) -> None:
        """Have the `receive` that waits return b"", while the pump looks; where none does, nothing happens."""
        if self._pump is not None:
            self._pump.wake(self._fd)

    @property
    def pumped(self) -> bool:
        """Whether the pump calls who takes what comes on it."""
        return self._pump is not None and self._pump.moves and not self.closed

    def take(self, taker: Taker) -> None:
        """Call `taker` each time that bytes, an end or an error came, until `leave`; it has not to raise."""
        assert self._pump is not None
        self._pump.take(self._fd, taker)

    def leave(self) -> None:
        """Call nobody any more; harmless where nobody was. Has to come before `close`."""
        if self._pump is not None and not self.closed:
            self._pump.leave(self._fd)

    def together(self) -> AbstractContextManager[None]:
        """Have what is put off by `later` in this block done at its end."""
        return nullcontext() if self._pump is None else self._pump.together()

    def later(self, do: Then) -> bool:
        """Put `do` off until all that is ready now was handled; False where nothing is put off."""
        return self._pump is not None and self._pump.later(do)

    def receive_now(self) -> bytes | None:
        """Return what one read gives now: None where nothing came, b"" at the end. OSError as `receive`."""
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        return data if self._tls is None else self._open(self._tls, data)

    @property
    def _ended(self) -> bool:
        return self._tls is not None and self._tls.ended

    def _open(self, tls: Tls, data: bytes) -> bytes | None:
        """Return what TLS makes of one read."""
        try:
            if not data:
                tls.eof()
            try:
                plain = tls.feed(data)
            finally:
                # Not waited for: another task may be writing. What the kernel does not take now goes
                # with the next write, and TLS bounds what a peer can ask for.
                if tls.outgoing.pending:
                    self._left(joined(self._pending, tls.take()))
                    self.send_now(b"")
        except WireError as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, str(error)) from error
        return plain or (b"" if tls.ended else None)

    def unread(self, data: bytes) -> None:
        """Give back bytes that were received: they come again with the next `receive`, or TLS gets them."""
        self._early = data + self._early

    def send_now(self, data: bytes) -> bool:
        """Hand what waits and `data` to the kernel, as far as it takes it now; False when some of it waits.

        Raises:
            OSError: the connection broke.
        """
        out: bytes | memoryview = data if self._tls is None else self._sealed(self._tls, data)
        if self.pending:
            out = joined(self._pending, out)
        elif not out:
            return True
        try:
            sent = self._sock.send(out)
        except BlockingIOError:
            sent = 0
        if sent < len(out):
            return self._left(out, sent)
        if self.pending:
            self._pending, self.pending = b"", 0
        return True

    def hold(self, data: bytes) -> None:
        """Let `data` wait for the next write, behind what waits already. OSError as `send_now`."""
        if self._tls is not None:
            data = self._sealed(self._tls, data)
        self._pending = joined(self._pending, data)
        self.pending = len(self._pending)

    @staticmethod
    def _sealed(tls: Tls, data: bytes) -> bytes:
        """Return what TLS makes of what is written."""
        try:
            return tls.send(data)
        except WireError as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, str(error)) from error

    async def flush_some(self) -> bool:
        """Wait until the kernel takes more, and give it that; False when some still waits."""
        await trio.lowlevel.wait_writable(self._sock)
        return self.send_now(b"")

    async def send(self, data: bytes) -> None:
        """Hand all of `data` to the kernel."""
        done = self.send_now(data)
        while not done:
            done = await self.flush_some()

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def is_hung_up(self) -> bool:
        """Return whether the peer has closed or reset, even where its bytes were not all read."""
        poll = select.poll()
        poll.register(self._fd, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close, with a close_notify where the kernel takes it at once. Closing again does nothing."""
        if self.closed:
            return
        self._closing()
        self._say_end()
        self._sock.close()

    async def linger(self, seconds: float) -> None:
        """Say that nothing more is sent, and drop what still comes until the peer closes too.

        Closing a socket that has unread bytes resets it, and a reset takes away what the peer has
        not read yet of our last words.

        Args:
            seconds: how long at most.

        Source: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
        """
        if self.closed:
            return
        self._say_end()
        with trio.move_on_after(seconds), contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            while await self._read():
                pass

    def abort(self) -> None:
        """Close with a reset: what was sent must not look whole."""
        if self.closed:
            return
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTCONN):
                raise
        self._closing()
        self._sock.close()

    def _closing(self) -> None:
        self.closed = True
        trio.lowlevel.notify_closing(self._sock)
        if self._pump is not None:
            self._pump.forget(self._fd)

    def _say_end(self) -> None:
        """Send a close_notify, where the kernel takes it at once."""
        if self._tls is not None and not self.pending:
            with contextlib.suppress(OSError):
                self._sock.send(self._tls.close())

    def _left(self, data: bytes | memoryview, sent: int = 0) -> bool:
        """Keep what the kernel did not take; return whether that is nothing."""
        self._pending = rest_of(data, sent) if sent else data
        self.pending = len(self._pending)
        return not self.pending

    async def _read(self) -> bytes:
        return await self._received(self._read_now)

    def _read_now(self) -> bytes | None:
        try:
            return self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
