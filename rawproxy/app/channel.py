"""What the first process and its workers say to each other, over a pair of unix sockets.

Layer: app. One JSON document a line; listening sockets travel beside it (SCM_RIGHTS of unix(7)). The
configuration travels here, secrets and all: it stands on no command line and in no file.
"""

import array
import socket
from collections.abc import Sequence

import msgspec
import trio

from rawproxy.app.metrics import Families
from rawproxy.app.sections import Config
from rawproxy.app.sockets import Place
from rawproxy.gateway.keys import Secret

__all__ = [
    "Ask", "Begin", "Channel", "Configure", "Drain", "Ended", "Failed", "Hello", "Message",
    "Ready", "Told",
]  # fmt: skip

MOST_SOCKETS = 253
"""Descriptors in one message: SCM_MAX_FD of the kernel."""

READ_BYTES = 65536


class Begin(msgspec.Struct, frozen=True, tag=True):
    """To a new worker, before all else."""

    log_level: str


class Configure(msgspec.Struct, frozen=True, tag=True):
    """To a worker: this is the configuration from now on, and these the listeners, one socket each."""

    config: Config
    places: list[Place]


class Ask(msgspec.Struct, frozen=True, tag=True):
    """To a worker: what are your metrics?"""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """To a worker: end."""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """From a worker: everything is imported."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it serves by the configuration that it was given last."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """From a worker: it cannot use that configuration."""

    why: str


class Told(msgspec.Struct, frozen=True, tag=True):
    """From a worker: its metrics."""

    families: Families


class Ended(msgspec.Struct, frozen=True, tag=True):
    """From a worker: how its drain went: exchanges that ended by themselves, and that were ended."""

    ended: int
    cut: int


Message = Begin | Configure | Ask | Drain | Hello | Ready | Failed | Told | Ended


def _written(value: object) -> object:
    if isinstance(value, Secret):
        return "" + value
    raise NotImplementedError


def _read(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError


_ENCODER = msgspec.json.Encoder(enc_hook=_written)
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message, dec_hook=_read)


class Channel:
    """One end. Messages come out in the order in which they went in.

    Args:
        sock: a connected unix stream socket; it is ours to close.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._sending = trio.Lock()
        self._held = bytearray()
        self._scanned = 0
        self._sockets: list[socket.socket] = []

    async def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> None:
        """Send a message, and copies of `sockets` with it; nothing when the other end is gone."""
        data = memoryview(_ENCODER.encode(message) + b"\n")
        rights = array.array("i", [sock.fileno() for sock in sockets])
        async with self._sending:
            try:
                if sockets:
                    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                    data = data[await self._sock.sendmsg([data], beside) :]
                while data:
                    data = data[await self._sock.send(data) :]
            except OSError:
                pass  # whoever receives finds out

    async def receive(self) -> Message | None:
        """Return the next message; None when the other end is gone."""
        while (end := self._held.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._held)
            try:
                data = await self._receive()
            except OSError:
                return None
            if not data:
                return None
            self._held += data
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        self._scanned = 0
        return _DECODER.decode(line)

    def take_sockets(self, count: int) -> list[socket.socket]:
        """Return the sockets that came with the last message."""
        taken, self._sockets = self._sockets[:count], self._sockets[count:]
        return taken

    async def _receive(self) -> bytes:
        room = socket.CMSG_SPACE(MOST_SOCKETS * array.array("i").itemsize)
        data, beside, _, _ = await self._sock.recvmsg(READ_BYTES, room)
        for level, kind, rights in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds = array.array("i")
                fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
                for fd in fds:
                    sock = socket.socket(fileno=fd)
                    sock.set_inheritable(False)
                    self._sockets.append(sock)
        return data

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
        for sock in self._sockets:
            sock.close()
